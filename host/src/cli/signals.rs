//! The signals that ask the program to end: SIGINT (Ctrl-C), SIGTERM, SIGHUP (the terminal is gone).

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Catches them from the moment that it is made.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to catch them.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next, and says whether it was SIGHUP.
    pub(super) async fn next_is_hangup(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => false,
            _ = self.terminate.recv() => false,
            _ = self.hangup.recv() => true,
        }
    }

    /// Waits for the next.
    pub(super) async fn next(&mut self) {
        self.next_is_hangup().await;
    }
}
