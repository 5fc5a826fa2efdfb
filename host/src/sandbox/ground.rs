//! What a sandbox stands on, and what takes its time to make: the engine, what is linked, the compiled components on
//! disk. It needs neither the database nor the log, so a host that starts makes it beside them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::artifact::{ArtifactError, Artifacts};
use super::capabilities::{self, CallState};
use super::{SandboxError, engine};
use crate::ids::PackageDigest;
use crate::limits::HostLimits;

/// A component that is being loaded before anybody asked for it.
pub(super) type Loading = (PackageDigest, JoinHandle<Result<Component, ArtifactError>>);

/// The engine, ready, and nothing on it.
pub struct Ground {
    pub(super) engine: Engine,
    pub(super) ticker: engine::Ticker,
    pub(super) linker: Linker<CallState>,
    pub(super) artifacts: Arc<Artifacts>,
    pub(super) limits: Arc<HostLimits>,
    pub(super) loading: Option<Loading>,
}

impl std::fmt::Debug for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground").field("artifacts", &self.artifacts).finish_non_exhaustive()
    }
}

impl Ground {
    /// Makes the engine and links all that guests may import, within the bounds of this host. Compiled components are
    /// kept in the folder, under MACs with the key: 32 secret bytes.
    ///
    /// # Errors
    /// If this machine can't run an engine.
    pub fn new(artifacts: PathBuf, key: [u8; 32], limits: Arc<HostLimits>) -> Result<Self, SandboxError> {
        let failed = |error: wasmtime::Error| SandboxError(format!("{error:#}"));
        let engine = engine::engine(&limits).map_err(failed)?;
        let ticker = engine::Ticker::start(&engine).map_err(|error| SandboxError(error.to_string()))?;
        let mut linker = Linker::new(&engine);
        capabilities::add_to_linker(&mut linker).map_err(failed)?;
        let artifacts = Arc::new(Artifacts::new(artifacts, key, &engine));
        Ok(Self { engine, ticker, linker, artifacts, limits, loading: None })
    }

    /// Begins to load the code of a package that is about to be called, on a thread of its own. Its first call finds
    /// it loaded, or waits for the rest; what can't be loaded, that call is told.
    pub fn begin_load(&mut self, digest: PackageDigest) {
        let (artifacts, engine) = (Arc::clone(&self.artifacts), self.engine.clone());
        let loading = tokio::task::spawn_blocking(move || artifacts.load(&engine, digest));
        self.loading = Some((digest, loading));
    }
}
