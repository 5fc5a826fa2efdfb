//! `portcullis:tool/invoke`: calls of other tools.

use super::CallState;
use crate::sandbox::bindings::portcullis::tool::invoke;

mod calls {
    crate::sandbox::capabilities::gate::host_functions! { "portcullis:tool/invoke":
        CALL = "call", Always;
    }
}

/// The functions of `portcullis:tool/invoke`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[calls::ALL];

impl invoke::Host for CallState {
    async fn call(
        &mut self,
        package: String,
        tool: String,
        _: String,
    ) -> wasmtime::Result<Result<invoke::Answer, invoke::InvokeError>> {
        self.refuse(calls::CALL, Some(&format!("{package}/{tool}")), "denied").await?;
        Ok(Err(invoke::InvokeError::Denied("no grant of this call names the tool".to_owned())))
    }
}
