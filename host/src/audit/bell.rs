//! When the writer sleeps, and who wakes it.
//!
//! Waking a thread costs more than a short call's records, so only those who wait for an answer wake
//! the writer. For the rest it looks by itself, for a while after it last had work; when it has had
//! none for long it sleeps until it is woken by whatever comes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::Thread;
use std::time::Duration;

/// How often the writer looks by itself: the longest that a record nobody waits for stays in memory.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// After so many looks in vain it sleeps until it is woken.
const LOOKS_MAX: u32 = 50;

/// Shared by the writer and those who send to it.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// Whether the writer sleeps until it is woken.
    asleep: AtomicBool,
    writer: OnceLock<Thread>,
}

impl Bell {
    /// Names the thread to be woken: called once, by the writer.
    pub(super) fn attend(&self) {
        // A second call would be by the same thread.
        let _ = self.writer.set(std::thread::current());
    }

    /// Something was sent. `urgent`: somebody waits for an answer.
    pub(super) fn sent(&self, urgent: bool) {
        // Orders the message before the look at `asleep`, as `sleep` orders `asleep` before the last
        // look at the queue: one of the two sees the other.
        fence(Ordering::SeqCst);
        if urgent || self.asleep.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Wakes the writer. One that is awake finds this when it next goes to sleep.
    pub(super) fn ring(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Sleeps, after `looks` in vain. `is_empty` is the last look, for what came meanwhile.
    pub(super) fn sleep(&self, looks: u32, is_empty: impl FnOnce() -> bool) {
        if looks < LOOKS_MAX {
            std::thread::park_timeout(LOOK_INTERVAL);
            return;
        }
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if is_empty() {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}
