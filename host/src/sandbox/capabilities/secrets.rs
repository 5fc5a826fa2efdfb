//! `portcullis:tool/secrets`: no secret is granted to be seen, so each is refused.

use super::CallState;
use crate::sandbox::bindings::portcullis::tool::secrets;

mod reads {
    crate::sandbox::capabilities::gate::host_functions! { "portcullis:tool/secrets":
        GET = "get";
    }
}

/// The functions of `portcullis:tool/secrets`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[reads::ALL];

impl secrets::Host for CallState {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Vec<u8>, secrets::SecretError>> {
        self.refuse(reads::GET, Some(&name), "not-permitted").await?;
        Ok(Err(secrets::SecretError::NotPermitted))
    }
}
