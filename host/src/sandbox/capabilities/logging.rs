//! `wasi:logging`: no log is granted, so a guest's lines are dropped.
//!
//! The interface has no way to say no: the guest goes on, and the record says that it was denied. It
//! names the line's context, never its message.

use super::CallState;
use crate::sandbox::bindings::wasi::logging::logging;

mod lines {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:logging/logging":
        LOG = "log";
    }
}

/// The functions of `wasi:logging`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[lines::ALL];

impl logging::Host for CallState {
    async fn log(&mut self, _: logging::Level, context: String, _: String) -> wasmtime::Result<()> {
        self.refuse(lines::LOG, Some(&context), "dropped").await
    }
}
