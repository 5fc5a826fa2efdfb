//! What a function answered, in a form that a test can compare.

use std::fmt::Debug;

use crate::bindings::exports::test::every_function::calls::Answer;
use crate::bindings::portcullis::tool::invoke::InvokeError;
use crate::bindings::portcullis::tool::secrets::SecretError;
use crate::bindings::wasi::config::store::Error as ConfigError;
use crate::bindings::wasi::filesystem::types::ErrorCode as FileError;
use crate::bindings::wasi::http::types::{ErrorCode as HttpError, HeaderError};
use crate::bindings::wasi::io::streams::StreamError;
use crate::bindings::wasi::keyvalue::store::Error as StoreError;
use crate::bindings::wasi::sockets::network::ErrorCode as NetworkError;

/// Why a function could not be called.
pub(crate) struct NoHandle(pub(crate) String);

pub(crate) type Outcome = Result<Answer, NoHandle>;

/// An error as WIT names it.
pub(crate) trait Named {
    fn named(&self) -> String;
}

impl Named for FileError {
    fn named(&self) -> String {
        self.name().to_owned()
    }
}

impl Named for NetworkError {
    fn named(&self) -> String {
        self.name().to_owned()
    }
}

impl Named for StreamError {
    fn named(&self) -> String {
        match self {
            StreamError::Closed => "closed",
            StreamError::LastOperationFailed(_) => "last-operation-failed",
        }
        .to_owned()
    }
}

impl Named for ConfigError {
    fn named(&self) -> String {
        match self {
            ConfigError::Upstream(_) => "upstream",
            ConfigError::Io(_) => "io",
        }
        .to_owned()
    }
}

impl Named for StoreError {
    fn named(&self) -> String {
        match self {
            StoreError::NoSuchStore => "no-such-store",
            StoreError::AccessDenied => "access-denied",
            StoreError::Other(_) => "other",
        }
        .to_owned()
    }
}

impl Named for InvokeError {
    fn named(&self) -> String {
        match self {
            InvokeError::Denied(_) => "denied",
            InvokeError::NotFound(_) => "not-found",
            InvokeError::InvalidArguments(_) => "invalid-arguments",
            InvokeError::Refused(_) => "refused",
            InvokeError::LimitReached(_) => "limit-reached",
            InvokeError::Failed(_) => "failed",
        }
        .to_owned()
    }
}

impl Named for SecretError {
    fn named(&self) -> String {
        self.name().to_owned()
    }
}

impl Named for HeaderError {
    fn named(&self) -> String {
        match self {
            HeaderError::InvalidSyntax => "invalid-syntax",
            HeaderError::Forbidden => "forbidden",
            HeaderError::Immutable => "immutable",
        }
        .to_owned()
    }
}

impl Named for HttpError {
    fn named(&self) -> String {
        if matches!(self, HttpError::HttpRequestDenied) {
            "HTTP-request-denied".to_owned()
        } else {
            format!("{self:?}")
        }
    }
}

/// An error that says nothing.
impl Named for () {
    fn named(&self) -> String {
        "error".to_owned()
    }
}

/// The answer of a function that can't fail.
#[expect(clippy::unnecessary_wraps, reason = "every driver has the same type")]
pub(crate) fn plain(value: impl Debug) -> Outcome {
    Ok(Answer::Ok(format!("{value:?}")))
}

/// The answer of a function that says nothing.
pub(crate) fn silent(call: impl FnOnce()) -> Outcome {
    call();
    plain(())
}

/// The answer of a function that can fail.
pub(crate) fn fallible<T: Debug, E: Named>(result: Result<T, E>) -> Outcome {
    Ok(match result {
        Ok(value) => Answer::Ok(format!("{value:?}")),
        Err(error) => Answer::Error(error.named()),
    })
}

/// A handle that a function needs, or why there is none.
pub(crate) fn needed<T, E: Named>(result: Result<T, E>) -> Result<T, NoHandle> {
    result.map_err(|error| NoHandle(error.named()))
}
