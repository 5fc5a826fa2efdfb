//! What passes between a running call and whoever waits for it: how far it is, and the wish that it end.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

/// How long a call that was asked to end may go on, so that its tool can answer with what it has.
pub const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// How far a call is, as its tool says: untrusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default)]
pub struct CallControl(Arc<Line>);

#[derive(Debug, Default)]
struct Line {
    /// Made when somebody listens, or something is told: most calls do neither.
    progress: OnceLock<watch::Sender<Option<Progress>>>,
    is_cancelled: AtomicBool,
    cancelled: Notify,
    /// Its tool may have done something.
    has_begun: AtomicBool,
}

impl Line {
    fn progress(&self) -> &watch::Sender<Option<Progress>> {
        self.progress.get_or_init(|| watch::Sender::new(None))
    }
}

impl CallControl {
    /// Hears how far the call is. Only the latest step is kept.
    pub fn progress(&self) -> watch::Receiver<Option<Progress>> {
        self.0.progress().subscribe()
    }

    /// Asks the call to end. Its tool can see that; [`CANCEL_GRACE`] later it is ended.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::SeqCst);
        self.0.cancelled.notify_waiters();
    }

    /// Whether the call was asked to end.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::SeqCst)
    }

    /// Whether the call was admitted, so that its tool may have done something.
    pub fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::SeqCst)
    }

    /// Notes that it was.
    pub(crate) fn begin(&self) {
        self.0.has_begun.store(true, Ordering::SeqCst);
    }

    /// Keeps a step, for whoever listens.
    pub(super) fn report(&self, step: Progress) {
        self.0.progress().send_replace(Some(step));
    }

    /// Ends when a call that was asked to end has had its time to do so.
    pub(super) async fn grace_is_over(&self) {
        let mut cancelled = pin!(self.0.cancelled.notified());
        // Before the look, so that what is asked between the two is heard.
        cancelled.as_mut().enable();
        if !self.is_cancelled() {
            cancelled.await;
        }
        tokio::time::sleep(CANCEL_GRACE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_hears_of_a_wish_made_before_and_one_made_later() {
        let before = CallControl::default();
        before.cancel();
        before.grace_is_over().await;
        let later = CallControl::default();
        let waiting = tokio::spawn({
            let later = later.clone();
            async move { later.grace_is_over().await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished() && !later.is_cancelled());
        later.cancel();
        waiting.await.expect("it hears");
        assert!(later.is_cancelled());
    }

    #[test]
    fn the_latest_step_is_kept_for_whoever_listens() {
        let control = CallControl::default();
        let step = |done| Progress { done, total: None, message: String::new() };
        control.report(step(1.0));
        control.report(step(2.0));
        assert_eq!(*control.progress().borrow(), Some(step(2.0)));
        assert_eq!(*CallControl::default().progress().borrow(), None);
    }
}
