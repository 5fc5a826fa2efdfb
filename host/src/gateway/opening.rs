//! What a host that opens does beside its database and its log, instead of after them.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::HostError;
use crate::config::DataFolder;
use crate::database::{Database, PackageState};
use crate::ids::{PackageDigest, PackageName};
use crate::limits::HostLimits;
use crate::sandbox::{Ground, SandboxError};

/// The engine, as it is being made on a thread of its own.
#[derive(Debug)]
#[must_use = "an engine that nobody waits for is made for nothing"]
pub(super) struct Beginning(JoinHandle<Result<Ground, SandboxError>>);

impl Beginning {
    /// Begins.
    ///
    /// # Errors
    /// If the key of compiled components can't be read or made.
    pub(super) fn begin(folder: &DataFolder, limits: &Arc<HostLimits>) -> Result<Self, HostError> {
        let (key, artifacts) = (folder.artifact_key()?, folder.paths().artifacts());
        let limits = Arc::clone(limits);
        Ok(Self(tokio::task::spawn_blocking(move || Ground::new(artifacts, key, limits))))
    }

    /// Waits for the engine, and has it load the package that is expected to be called, if there is one.
    ///
    /// # Errors
    /// If this machine can't run an engine. Whether the package may be called at all its call is told.
    pub(super) async fn ground(
        self,
        database: &Database,
        expected: Option<&PackageName>,
    ) -> Result<Ground, HostError> {
        let digest = match expected {
            Some(name) => approved(database, name).await,
            None => None,
        };
        let mut ground = match self.0.await {
            Ok(ground) => ground?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if let Some(digest) = digest {
            ground.begin_load(digest);
        }
        Ok(ground)
    }
}

async fn approved(database: &Database, name: &PackageName) -> Option<PackageDigest> {
    let packages = database.packages_named(name).await.ok()?;
    packages.into_iter().find(|package| package.state == PackageState::Approved).map(|package| package.digest)
}
