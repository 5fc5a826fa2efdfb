//! What passes between a running call and whoever waits for it: how far it is, and the wish that it end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How long a call that was asked to end may go on, so that its tool can answer with what it has.
pub const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// How far a call is, as its tool says: untrusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is done so far, in any unit. A finite number.
    pub done: f64,
    /// What there is to be done, in the same unit, if the tool knows it. A finite number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// What it is about: cleaned, one line, at most 1,000 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The line to a call: hears its progress, and asks it to end. Clones are the same line.
#[derive(Clone, Debug)]
pub struct CallControl {
    progress: watch::Sender<Option<Progress>>,
    cancelled: watch::Sender<bool>,
}

impl Default for CallControl {
    fn default() -> Self {
        Self { progress: watch::Sender::new(None), cancelled: watch::Sender::new(false) }
    }
}

impl CallControl {
    /// Hears how far the call is. Only the latest step is kept.
    pub fn progress(&self) -> watch::Receiver<Option<Progress>> {
        self.progress.subscribe()
    }

    /// Asks the call to end. Its tool can see that; [`CANCEL_GRACE`] later it is ended.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Whether the call was asked to end.
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Keeps a step, for whoever listens.
    pub(super) fn report(&self, step: Progress) {
        self.progress.send_replace(Some(step));
    }

    /// Ends when a call that was asked to end has had its time to do so.
    pub(super) async fn grace_is_over(&self) {
        let mut cancelled = self.cancelled.subscribe();
        // The sender is this line's own, so that waiting never fails.
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
        tokio::time::sleep(CANCEL_GRACE).await;
    }
}
