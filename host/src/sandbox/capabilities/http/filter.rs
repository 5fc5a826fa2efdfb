//! What an answer passes through on its way to the guest.

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;

use crate::egress::EgressError;

/// Sees the whole answer before the guest does, part by part, and may change or refuse each.
pub(crate) trait AnswerFilter: std::fmt::Debug + Send + Sync {
    /// The head.
    ///
    /// # Errors
    /// The exchange ends with it.
    fn head(&mut self, headers: &mut HeaderMap) -> Result<(), EgressError>;

    /// The next part of the body, or its end. `None` for a part that is held back: it is given later; after
    /// the end this is asked until it answers `None`.
    fn body(&mut self, frame: Option<Frame<Bytes>>) -> Option<Result<Frame<Bytes>, EgressError>>;
}

/// Lets all through: for requests that carry nothing but what the guest gave them.
#[derive(Debug)]
pub(super) struct Unfiltered;

impl AnswerFilter for Unfiltered {
    fn head(&mut self, _: &mut HeaderMap) -> Result<(), EgressError> {
        Ok(())
    }

    fn body(&mut self, frame: Option<Frame<Bytes>>) -> Option<Result<Frame<Bytes>, EgressError>> {
        frame.map(Ok)
    }
}
