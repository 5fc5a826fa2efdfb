//! Compiled components on disk: kept so that a start takes milliseconds, loaded only if this host made
//! them.
//!
//! Native code runs unchecked, so the file begins with a MAC over the code, the component's digest,
//! and the engine's version and settings, made with a key that only this host has. What was checked is
//! what is loaded: the same bytes in memory.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiler::{ARTIFACT_BYTES_MAX, Fingerprint};
use crate::ids::PackageDigest;

const SUFFIX: &str = ".artifact";
/// Of a file that is being written; never read.
const TEMPORARY_PREFIX: &str = ".writing-";
const MAC_BYTES: usize = 32;
const FILE_BYTES_MAX: u64 = MAC_BYTES as u64 + ARTIFACT_BYTES_MAX;
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
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for Artifacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artifacts").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Artifacts {
    pub(crate) fn new(folder: PathBuf, key: [u8; 32], engine: &Engine) -> Self {
        Self { folder, key, fingerprint: Fingerprint::of(engine) }
    }

    fn path(&self, digest: PackageDigest) -> PathBuf {
        self.folder.join(format!("{}{SUFFIX}", digest.hex()))
    }

    fn mac(&self, digest: PackageDigest, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(MAC_CONTEXT, &self.key));
        hasher.update(digest.as_bytes());
        hasher.update(&self.fingerprint.0);
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

    /// Loads code that the compiler of this host has just made.
    ///
    /// # Errors
    /// If no sandbox of this host has room for the component.
    pub(crate) fn adopt(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` asks that the bytes come from `serialize` of a compatible engine. They come
        // from this host's own compiler, in this process or through a pipe that nobody else holds, and the
        // fingerprint said that it has the same version and settings.
        unsafe { Component::deserialize(engine, code) }
    }

    /// Keeps a component's code.
    ///
    /// # Errors
    /// If it can't be written. The component works all the same, until the host ends.
    pub(crate) fn store(&self, digest: PackageDigest, code: &[u8]) -> std::io::Result<()> {
        let mac = self.mac(digest, code);
        let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(&self.folder)?;
        file.write_all(mac.as_bytes())?;
        file.write_all(code)?;
        file.as_file().sync_data()?;
        file.persist(self.path(digest))?;
        Ok(())
    }

    /// Deletes the code of components that are not `registered`, and what a host that died left half written.
    ///
    /// # Errors
    /// If the folder can't be read. What can't be deleted is refused or used rightly later: the MAC tells.
    pub(crate) fn keep_only(&self, registered: &BTreeSet<PackageDigest>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let digest =
                name.strip_suffix(SUFFIX).map(|hex| format!("sha256:{hex}").parse::<PackageDigest>());
            let is_left = match digest {
                Some(Ok(digest)) => !registered.contains(&digest),
                Some(Err(_)) => false,
                None => name.starts_with(TEMPORARY_PREFIX),
            };
            if is_left {
                let _ = std::fs::remove_file(entry.path());
            }
        }
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
    if length > FILE_BYTES_MAX {
        return Err(ArtifactError::Refused(format!("{length} bytes are more than an artifact can have")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(refused)?;
    Ok(bytes)
}
