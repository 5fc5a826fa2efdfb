//! `portcullis:tool/progress`: how far a call is, and whether its caller wants it to end.

use super::CallState;
use crate::audit::event::LeakPlace;
use crate::sandbox::bindings::portcullis::tool::progress;
use crate::sandbox::control::Progress;
use crate::sandbox::screen;
use crate::text::clean_line;

/// The most bytes of a step's message.
const MESSAGE_BYTES_MAX: usize = 1_000;

mod calls {
    crate::sandbox::capabilities::gate::host_functions! { "portcullis:tool/progress":
        REPORT = "report";
        IS_CANCELLED = "is-cancelled";
    }
}

/// The functions of `portcullis:tool/progress`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[calls::ALL];

impl progress::Host for CallState {
    async fn report(&mut self, step: progress::Step) -> wasmtime::Result<()> {
        self.harmless(calls::REPORT, |state| {
            // JSON has no other numbers; a step without one says nothing.
            if step.done.is_finite() {
                let total = step.total.filter(|total| total.is_finite());
                let message = screen::text(
                    &mut state.gate,
                    LeakPlace::Progress,
                    clean_line(&step.message, MESSAGE_BYTES_MAX),
                );
                if let Ok(message) = message {
                    state.control.report(Progress { done: step.done, total, message });
                }
            }
            Ok(())
        })
        .await
    }

    async fn is_cancelled(&mut self) -> wasmtime::Result<bool> {
        self.harmless(calls::IS_CANCELLED, |state| Ok(state.control.is_cancelled())).await
    }
}
