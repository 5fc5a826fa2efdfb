//! `wasi:config`: no configuration is granted, so every question is refused.
//!
//! The interface has no error for that. An empty answer would say that the key has no value, which
//! is something else; so the guest gets `upstream`, with the reason as its text.

use super::CallState;
use crate::sandbox::bindings::wasi::config::store;

mod reads {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:config/store":
        GET = "get";
        GET_ALL = "get-all";
    }
}

/// The functions of `wasi:config`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[reads::ALL];

fn refused() -> store::Error {
    store::Error::Upstream("not permitted: no configuration is granted".to_owned())
}

impl store::Host for CallState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        self.refuse(reads::GET, Some(&key), "upstream").await?;
        Ok(Err(refused()))
    }

    async fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        self.refuse(reads::GET_ALL, None, "upstream").await?;
        Ok(Err(refused()))
    }
}
