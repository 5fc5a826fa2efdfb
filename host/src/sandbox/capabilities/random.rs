//! `wasi:random`: numbers from the operating system, a bounded amount in one request.
//!
//! The "insecure" functions are served from the same source: a second one would be one more thing
//! to get wrong.

use super::CallState;
use crate::limits::{Limit, LimitReached};
use crate::sandbox::bindings::wasi::random::{insecure, insecure_seed, random};

mod secure {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:random/random":
        GET_RANDOM_BYTES = "get-random-bytes";
        GET_RANDOM_U64 = "get-random-u64";
    }
}

mod not_secure {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:random/insecure":
        GET_INSECURE_RANDOM_BYTES = "get-insecure-random-bytes";
        GET_INSECURE_RANDOM_U64 = "get-insecure-random-u64";
    }
}

mod seed {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:random/insecure-seed":
        INSECURE_SEED = "insecure-seed";
    }
}

/// The functions of `wasi:random`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[secure::ALL, not_secure::ALL, seed::ALL];

fn fill(bytes: &mut [u8]) -> wasmtime::Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| wasmtime::format_err!("the operating system gave no random numbers: {error}"))
}

fn number() -> wasmtime::Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

impl CallState {
    fn random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        let max = self.gate.limits().random_bytes;
        if length > max {
            return Err(LimitReached { limit: Limit::RandomBytes, value: length, max }.into());
        }
        let usage = self.gate.usage();
        usage.random_bytes_peak = usage.random_bytes_peak.max(length);
        let mut bytes = vec![0; usize::try_from(length)?];
        fill(&mut bytes)?;
        Ok(bytes)
    }
}

impl random::Host for CallState {
    async fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.harmless(secure::GET_RANDOM_BYTES, |state| state.random_bytes(length)).await
    }

    async fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.harmless(secure::GET_RANDOM_U64, |_| number()).await
    }
}

impl insecure::Host for CallState {
    async fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.harmless(not_secure::GET_INSECURE_RANDOM_BYTES, |state| state.random_bytes(length)).await
    }

    async fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.harmless(not_secure::GET_INSECURE_RANDOM_U64, |_| number()).await
    }
}

impl insecure_seed::Host for CallState {
    async fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.harmless(seed::INSECURE_SEED, |_| Ok((number()?, number()?))).await
    }
}
