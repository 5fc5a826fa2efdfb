//! How far a call is, for whoever waits for it. It needs no grant.

use crate::host;

/// Says that `done` of `total` steps are done, and what is going on.
///
/// Steps that come faster than anyone can read may be left out; the last one is kept.
pub fn report(done: f64, total: Option<f64>, message: &str) {
    host::report(done, total, message);
}

/// Whether the caller asked for the call to end. A tool that then answers with what it has is given a moment to
/// do so, before it is ended.
pub fn is_cancelled() -> bool {
    host::is_cancelled()
}
