//! Compiled components on disk: kept so that a start takes milliseconds, loaded only if this host made
//! them.
//!
//! Native code runs unchecked, so the file begins with a MAC over the code, the component's digest,
//! and the engine's version and settings, made with a key that only this host has. What was checked is
//! what is loaded: the same bytes in memory.

use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::ids::PackageDigest;

/// The largest artifact that is read: a 64 MiB component compiles to about 200 MiB.
const ARTIFACT_BYTES_MAX: u64 = 1 << 30;
const MAC_BYTES: usize = 32;
/// Says what the MAC is for, so that no other use of the key can be mistaken for it.
const MAC_CONTEXT: &str = "portcullis compiled artifact v1";

/// Why a stored artifact was not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    /// There is none.
    #[error("there is no compiled artifact")]
    Missing,
    /// The bytes are not what this host wrote for this component and engine.
    #[error("{0}")]
    Refused(String),
}

/// The folder of artifacts, and the key.
pub(crate) struct Artifacts {
    folder: PathBuf,
    key: [u8; 32],
    /// Version and settings of the engine.
    fingerprint: blake3::Hash,
}

impl std::fmt::Debug for Artifacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artifacts").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Collects what wasmtime says of its settings.
struct Fingerprint(blake3::Hasher);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(low)
    }
}

impl Artifacts {
    pub(crate) fn new(folder: PathBuf, key: [u8; 32], engine: &Engine) -> Self {
        let mut fingerprint = Fingerprint(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut fingerprint);
        env!("CARGO_PKG_VERSION").hash(&mut fingerprint);
        Self { folder, key, fingerprint: fingerprint.0.finalize() }
    }

    fn path(&self, digest: PackageDigest) -> PathBuf {
        self.folder.join(format!("{}.artifact", digest.hex()))
    }

    fn mac(&self, digest: PackageDigest, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(MAC_CONTEXT, &self.key));
        hasher.update(digest.as_bytes());
        hasher.update(self.fingerprint.as_bytes());
        hasher.update(code);
        hasher.finalize()
    }

    /// Loads a component's code, if it is what this host wrote.
    ///
    /// # Errors
    /// [`ArtifactError`]: compile anew.
    pub(crate) fn load(&self, engine: &Engine, digest: PackageDigest) -> Result<Component, ArtifactError> {
        let bytes = read_bounded(&self.path(digest))?;
        let refused = |reason: &str| ArtifactError::Refused(reason.to_owned());
        let (mac, code) =
            bytes.split_first_chunk::<MAC_BYTES>().ok_or_else(|| refused("the file is too short"))?;
        // Comparing hashes of blake3 takes the same time wherever they differ.
        if blake3::Hash::from_bytes(*mac) != self.mac(digest, code) {
            return Err(refused(
                "its MAC does not fit: it was altered, or made by another host, engine or setting",
            ));
        }
        // SAFETY: `deserialize` asks that the bytes come from `serialize` of a compatible engine. The
        // MAC covers these very bytes and the engine's settings, and only this host has its key.
        unsafe { Component::deserialize(engine, code) }
            .map_err(|error| ArtifactError::Refused(error.to_string()))
    }

    /// Keeps a component's code.
    ///
    /// # Errors
    /// If it can't be written. The component works all the same, until the host ends.
    pub(crate) fn store(&self, digest: PackageDigest, component: &Component) -> std::io::Result<()> {
        let code = component.serialize().map_err(std::io::Error::other)?;
        let mac = self.mac(digest, &code);
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(mac.as_bytes())?;
        file.write_all(&code)?;
        file.as_file().sync_data()?;
        file.persist(self.path(digest))?;
        Ok(())
    }

    /// Forgets a component's code.
    pub(crate) fn remove(&self, digest: PackageDigest) {
        // What can't be removed now is refused or used rightly later: the MAC tells.
        let _ = std::fs::remove_file(self.path(digest));
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ArtifactError> {
    let refused = |error: std::io::Error| ArtifactError::Refused(error.to_string());
    // Nothing is followed, and nobody waits for the other end of a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => std::fs::File::from(descriptor),
        Err(Errno::NOENT) => return Err(ArtifactError::Missing),
        Err(Errno::LOOP) => return Err(ArtifactError::Refused("it is a symbolic link".to_owned())),
        Err(error) => return Err(refused(error.into())),
    };
    let metadata = file.metadata().map_err(refused)?;
    if !metadata.is_file() {
        return Err(ArtifactError::Refused("it is not a regular file".to_owned()));
    }
    let length = metadata.len();
    if length > ARTIFACT_BYTES_MAX {
        return Err(ArtifactError::Refused(format!("{length} bytes are more than an artifact can have")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(ARTIFACT_BYTES_MAX).read_to_end(&mut bytes).map_err(refused)?;
    Ok(bytes)
}
