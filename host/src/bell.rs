//! When a thread that works for others sleeps, and who wakes it.
//!
//! Waking a thread costs more than a short call's records, so only what is urgent wakes it. For the rest it looks by
//! itself, for a while after it last had work; when it has had none for long it sleeps until it is woken by whatever
//! comes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::Thread;
use std::time::Duration;

/// How often the thread looks by itself: the longest that what is not urgent waits for it.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// After so many looks in vain it sleeps until it is woken.
const LOOKS_MAX: u32 = 50;

/// Shared by a thread and those who send to it.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Whether the thread sleeps until it is woken.
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    /// Names the thread to be woken: called once, by itself.
    pub(crate) fn attend(&self) {
        // A second call would be by the same thread.
        let _ = self.thread.set(std::thread::current());
    }

    /// Something was sent. `urgent`: somebody waits for an answer, or soon will.
    pub(crate) fn sent(&self, urgent: bool) {
        // Orders the message before the look at `asleep`, as `sleep` orders `asleep` before the last
        // look at the queue: one of the two sees the other.
        fence(Ordering::SeqCst);
        if urgent || self.asleep.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Wakes the thread. One that is awake finds this when it next goes to sleep.
    pub(crate) fn ring(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Sleeps, after `looks` in vain: at most for `longest`, if it is given. `is_empty` is the last look, for what came
    /// meanwhile.
    pub(crate) fn sleep(&self, looks: u32, longest: Option<Duration>, is_empty: impl FnOnce() -> bool) {
        if looks < LOOKS_MAX {
            std::thread::park_timeout(LOOK_INTERVAL);
            return;
        }
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if is_empty() {
            match longest {
                Some(longest) => std::thread::park_timeout(longest),
                None => std::thread::park(),
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}
