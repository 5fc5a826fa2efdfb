//! `wasi:random`: numbers from the operating system, a bounded amount in one request.
//!
//! The "insecure" functions are served from the same source: a second one would be one more thing
//! to get wrong.

use sha2::{Digest, Sha256};

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

/// Where random numbers come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The operating system.
    System,
    /// In a tool's test: SHA-256 of a seed and a count, the same for each call.
    Seeded { seed: u64, count: u64 },
}

impl Source {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        seed.map_or(Source::System, |seed| Source::Seeded { seed, count: 0 })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> wasmtime::Result<()> {
        match self {
            Source::System => getrandom::fill(bytes).map_err(|error| {
                wasmtime::format_err!("the operating system gave no random numbers: {error}")
            }),
            Source::Seeded { seed, count } => {
                for chunk in bytes.chunks_mut(32) {
                    let block =
                        Sha256::new().chain_update(seed.to_le_bytes()).chain_update(count.to_le_bytes());
                    chunk.copy_from_slice(&block.finalize()[..chunk.len()]);
                    *count += 1;
                }
                Ok(())
            }
        }
    }

    fn number(&mut self) -> wasmtime::Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
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
        self.random.fill(&mut bytes)?;
        Ok(bytes)
    }
}

impl random::Host for CallState {
    async fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.harmless(secure::GET_RANDOM_BYTES, |state| state.random_bytes(length)).await
    }

    async fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.harmless(secure::GET_RANDOM_U64, |state| state.random.number()).await
    }
}

impl insecure::Host for CallState {
    async fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.harmless(not_secure::GET_INSECURE_RANDOM_BYTES, |state| state.random_bytes(length)).await
    }

    async fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.harmless(not_secure::GET_INSECURE_RANDOM_U64, |state| state.random.number()).await
    }
}

impl insecure_seed::Host for CallState {
    async fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.harmless(seed::INSECURE_SEED, |state| Ok((state.random.number()?, state.random.number()?))).await
    }
}
