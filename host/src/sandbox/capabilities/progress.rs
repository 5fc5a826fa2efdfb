//! `portcullis:tool/progress`: how far a call is, and whether its caller wants it to end.

use super::CallState;
use crate::sandbox::bindings::portcullis::tool::progress;

mod calls {
    crate::sandbox::capabilities::gate::host_functions! { "portcullis:tool/progress":
        REPORT = "report";
        IS_CANCELLED = "is-cancelled";
    }
}

/// The functions of `portcullis:tool/progress`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[calls::ALL];

impl progress::Host for CallState {
    async fn report(&mut self, _: progress::Step) -> wasmtime::Result<()> {
        self.harmless(calls::REPORT, |_| Ok(())).await
    }

    async fn is_cancelled(&mut self) -> wasmtime::Result<bool> {
        self.harmless(calls::IS_CANCELLED, |_| Ok(false)).await
    }
}
