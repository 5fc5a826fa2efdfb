//! The interfaces of the host. A component imports those whose helpers it uses, and no others.

use crate::http::{HttpError, Request, Response};
use crate::invoke::InvokeError;
use crate::kv::KvError;
use crate::log::Level;
use crate::secrets::SecretError;

#[allow(missing_debug_implementations, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package portcullis:sdk;
            world helpers {
                import portcullis:tool/invoke@0.1.0;
                import portcullis:tool/progress@0.1.0;
                import portcullis:tool/secrets@0.1.0;
                import wasi:config/store@0.2.0-rc.1;
                import wasi:http/outgoing-handler@0.2.12;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
                import wasi:logging/logging@0.1.0-draft;
            }
        ",
        world: "portcullis:sdk/helpers",
        generate_all,
    });
}

mod exchange;

pub(crate) use exchange::send;

use bindings::portcullis::tool as ours;
use bindings::wasi::config::store as settings;
use bindings::wasi::keyvalue::{atomics, batch, store};
use bindings::wasi::logging::logging;

impl From<store::Error> for KvError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NoSuchStore => KvError::NoSuchStore,
            store::Error::AccessDenied => KvError::AccessDenied,
            store::Error::Other(reason) => KvError::Other(reason),
        }
    }
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Bucket(store::Bucket);

impl Bucket {
    pub(crate) fn open(name: &str) -> Result<Self, KvError> {
        Ok(Self(store::open(name)?))
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.0.get(key)?)
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), KvError> {
        Ok(self.0.set(key, value)?)
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), KvError> {
        Ok(self.0.delete(key)?)
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, KvError> {
        Ok(self.0.exists(key)?)
    }

    pub(crate) fn page(&self, cursor: Option<u64>) -> Result<(Vec<String>, Option<u64>), KvError> {
        let page = self.0.list_keys(cursor)?;
        Ok((page.keys, page.cursor))
    }

    pub(crate) fn increment(&self, key: &str, delta: u64) -> Result<u64, KvError> {
        Ok(atomics::increment(&self.0, key, delta)?)
    }

    pub(crate) fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        Ok(batch::get_many(&self.0, keys)?.into_iter().map(|pair| pair.map(|(_, value)| value)).collect())
    }

    pub(crate) fn set_many(&self, entries: &[(String, Vec<u8>)]) -> Result<(), KvError> {
        Ok(batch::set_many(&self.0, entries)?)
    }

    pub(crate) fn delete_many(&self, keys: &[String]) -> Result<(), KvError> {
        Ok(batch::delete_many(&self.0, keys)?)
    }
}

fn reason(error: settings::Error) -> String {
    match error {
        settings::Error::Upstream(reason) | settings::Error::Io(reason) => reason,
    }
}

pub(crate) fn config(key: &str) -> Result<Option<String>, String> {
    settings::get(key).map_err(reason)
}

pub(crate) fn config_all() -> Result<Vec<(String, String)>, String> {
    settings::get_all().map_err(reason)
}

pub(crate) fn log(level: Level, context: &str, message: &str) {
    let level = match level {
        Level::Trace => logging::Level::Trace,
        Level::Debug => logging::Level::Debug,
        Level::Info => logging::Level::Info,
        Level::Warn => logging::Level::Warn,
        Level::Error => logging::Level::Error,
        Level::Critical => logging::Level::Critical,
    };
    logging::log(level, context, message);
}

pub(crate) fn report(done: f64, total: Option<f64>, message: &str) {
    ours::progress::report(&ours::progress::Step { done, total, message: message.to_owned() });
}

pub(crate) fn is_cancelled() -> bool {
    ours::progress::is_cancelled()
}

/// The content as JSON text, and the structured value as JSON text.
pub(crate) fn invoke(
    package: &str,
    tool: &str,
    arguments: &str,
) -> Result<(String, Option<String>), InvokeError> {
    use ours::invoke::InvokeError as Error;
    match ours::invoke::call(package, tool, arguments) {
        Ok(answer) => Ok((answer.content, answer.structured)),
        Err(Error::Denied(reason)) => Err(InvokeError::Denied(reason)),
        Err(Error::NotFound(reason)) => Err(InvokeError::NotFound(reason)),
        Err(Error::InvalidArguments(reason)) => Err(InvokeError::InvalidArguments(reason)),
        Err(Error::Refused(reason)) => Err(InvokeError::Refused(reason)),
        Err(Error::LimitReached(reason)) => Err(InvokeError::LimitReached(reason)),
        Err(Error::Failed(reason)) => Err(InvokeError::Failed(reason)),
    }
}

pub(crate) fn secret(name: &str) -> Result<Vec<u8>, SecretError> {
    ours::secrets::get(name).map_err(|error| match error {
        ours::secrets::SecretError::NotPermitted => SecretError::NotPermitted,
        ours::secrets::SecretError::Unavailable => SecretError::Unavailable,
    })
}

const _: fn(&Request) -> Result<Response, HttpError> = send;
