//! Compiled components on disk: kept so that a start takes milliseconds, loaded only if this host made
//! them.
//!
//! Native code runs unchecked, so the file begins with a MAC over the code, the component's digest,
//! and the engine's version and settings, made with a key that only this host has. What was checked is
//! what is loaded: the same bytes in memory.
//!
//! A file is a mark of its form, the MAC, and the code. The code is looked at in parts of a fixed size, each with a
//! keyed hash, and the MAC is over all of these in their order: so several threads read and check at once, each what
//! it has just read. `docs/decisions/030-code-is-checked-where-it-runs.md` says why.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiler::{ARTIFACT_BYTES_MAX, Fingerprint};
use super::image::{Image, LARGE_PAGE_BYTES};
use crate::ids::PackageDigest;

const SUFFIX: &str = ".artifact";
/// Of a file that is being written; never read.
const TEMPORARY_PREFIX: &str = ".writing-";
/// How each file begins. Those of the first form begin with their MAC.
const MARK: [u8; 16] = *b"pc-artifact-v2\n\0";
const MAC_BYTES: usize = 32;
const HEADER_BYTES: usize = MARK.len() + MAC_BYTES;
const FILE_BYTES_MAX: u64 = HEADER_BYTES as u64 + ARTIFACT_BYTES_MAX;
/// Say what a key is for, so that no other use of it can be mistaken for this, nor a part for the whole.
const MAC_CONTEXT: &str = "portcullis compiled artifact v2";
const PART_CONTEXT: &str = "portcullis part of a compiled artifact v2";
/// What one thread reads and checks at a time: no two of them then make the kernel find the same large page.
const PART_BYTES: usize = LARGE_PAGE_BYTES;
/// What is read before it is hashed: as much as stays in a core's own cache.
const READ_BYTES: usize = 256 << 10;
/// Threads that read one artifact, the caller's among them, where the machine has so many cores.
const READERS_MAX: usize = 4;
/// A thread takes longer to start than so few parts to read.
const PARTS_PER_READER_MIN: usize = 3;

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

    /// Over what a component's code is, made of its parts' hashes.
    fn mac(&self, digest: PackageDigest, length: usize, parts: &[blake3::Hash]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(MAC_CONTEXT, &self.key));
        hasher.update(digest.as_bytes());
        hasher.update(&self.fingerprint.0);
        hasher.update(&(length as u64).to_le_bytes());
        for part in parts {
            hasher.update(part.as_bytes());
        }
        hasher.finalize()
    }

    fn part_key(&self) -> [u8; 32] {
        blake3::derive_key(PART_CONTEXT, &self.key)
    }

    /// Loads a component's code, if it is what this host wrote.
    ///
    /// # Errors
    /// [`ArtifactError`]: compile anew.
    pub(crate) fn load(&self, engine: &Engine, digest: PackageDigest) -> Result<Component, ArtifactError> {
        let image = self.read(digest)?;
        // SAFETY: `load` asks that the bytes come from `serialize` of a compatible engine. The MAC covers these very
        // bytes and the engine's settings, and only this host has its key; the engine is the sandbox's own.
        let loaded = unsafe { image.load(engine) };
        let component = loaded.map_err(|error| ArtifactError::Refused(error.to_string()))?;
        // Here, where nobody else waits for the thread: the first call would do it, and says so if it can't be done.
        let _ = component.initialize_copy_on_write_image();
        Ok(component)
    }

    /// Reads the code of a component into memory that nobody else can write to, and checks it there.
    fn read(&self, digest: PackageDigest) -> Result<Image, ArtifactError> {
        let refused = |reason: &str| ArtifactError::Refused(reason.to_owned());
        let failed = |error: io::Error| ArtifactError::Refused(error.to_string());
        let (file, length) = open_bounded(&self.path(digest))?;
        let length = length.checked_sub(HEADER_BYTES).ok_or_else(|| refused("the file is too short"))?;
        let (mut mark, mut mac) = ([0; MARK.len()], [0; MAC_BYTES]);
        file.read_exact_at(&mut mark, 0).map_err(failed)?;
        if mark != MARK {
            return Err(refused("it is not in this version's form"));
        }
        file.read_exact_at(&mut mac, MARK.len() as u64).map_err(failed)?;
        let mut image = Image::new(length).map_err(failed)?;
        // A file that was cut meanwhile ends the reading; one that grew is read as far as it went.
        let parts = read_parts(&file, image.bytes_mut(), &self.part_key()).map_err(failed)?;
        // Comparing hashes of blake3 takes the same time wherever they differ.
        if blake3::Hash::from_bytes(mac) != self.mac(digest, length, &parts) {
            return Err(refused(
                "its MAC does not fit: it was altered, or made by another host, engine or setting",
            ));
        }
        Ok(image)
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
        let key = self.part_key();
        let parts: Vec<blake3::Hash> =
            code.chunks(PART_BYTES).map(|part| blake3::keyed_hash(&key, part)).collect();
        let mac = self.mac(digest, code.len(), &parts);
        let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(&self.folder)?;
        file.write_all(&MARK)?;
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

/// Opens an artifact; how long it is.
fn open_bounded(path: &Path) -> Result<(File, usize), ArtifactError> {
    let refused = |error: io::Error| ArtifactError::Refused(error.to_string());
    // Nothing is followed, and nobody waits for the other end of a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT) => return Err(ArtifactError::Missing),
        Err(Errno::LOOP) => return Err(ArtifactError::Refused("it is a symbolic link".to_owned())),
        Err(error) => return Err(refused(error.into())),
    };
    let metadata = file.metadata().map_err(refused)?;
    if !metadata.is_file() {
        return Err(ArtifactError::Refused("it is not a regular file".to_owned()));
    }
    let length = metadata.len();
    match usize::try_from(length).ok().filter(|_| length <= FILE_BYTES_MAX) {
        Some(bytes) => Ok((file, bytes)),
        None => Err(ArtifactError::Refused(format!("{length} bytes are more than an artifact can have"))),
    }
}

/// Fills memory with the code of a file, and gives the keyed hash of each part of it, in their order.
fn read_parts(file: &File, code: &mut [u8], key: &[u8; 32]) -> io::Result<Vec<blake3::Hash>> {
    let count = code.len().div_ceil(PART_BYTES);
    let readers = (count / PARTS_PER_READER_MIN).clamp(1, READERS_MAX);
    let readers = std::thread::available_parallelism().map_or(1, |cores| readers.min(cores.get()));
    let hashes = Mutex::new(vec![blake3::Hash::from_bytes([0; 32]); count]);
    let parts = Mutex::new(code.chunks_mut(PART_BYTES).enumerate());
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let read = || -> io::Result<()> {
        while let Some((number, part)) = next() {
            let hash = read_part(file, HEADER_BYTES + number * PART_BYTES, part, key)?;
            hashes.lock().unwrap_or_else(PoisonError::into_inner)[number] = hash;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        // A machine that has no thread to give has one that reads all of it.
        let others: Vec<_> =
            (1..readers).map_while(|_| std::thread::Builder::new().spawn_scoped(scope, read).ok()).collect();
        let mine = read();
        let theirs = others.into_iter().map(|reader| match reader.join() {
            Ok(read) => read,
            Err(_) => Err(io::Error::other("a thread that read it ended")),
        });
        theirs.fold(mine, io::Result::and)
    })?;
    Ok(hashes.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Reads one part, and hashes each piece of it while it is still in the core's cache.
fn read_part(file: &File, offset: usize, part: &mut [u8], key: &[u8; 32]) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new_keyed(key);
    let mut offset = offset as u64;
    for piece in part.chunks_mut(READ_BYTES) {
        file.read_exact_at(piece, offset)?;
        hasher.update(piece);
        offset += piece.len() as u64;
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::super::engine;
    use super::*;

    /// Longer than what one thread reads, and ending within a part.
    const LARGE_BYTES: usize = 7 * PART_BYTES + 12_345;

    fn artifacts(folder: &Path, key: u8) -> Artifacts {
        Artifacts::new(folder.to_owned(), [key; 32], &engine::compiler_engine().expect("an engine"))
    }

    fn digest() -> PackageDigest {
        PackageDigest::of(b"a component")
    }

    /// Bytes of which no two parts are the same.
    fn code(length: usize) -> Vec<u8> {
        let mut code = vec![0; length];
        blake3::Hasher::new().update(&length.to_le_bytes()).finalize_xof().fill(&mut code);
        code
    }

    fn reason(artifacts: &Artifacts) -> String {
        artifacts.read(digest()).expect_err("it must be refused").to_string()
    }

    #[test]
    fn what_was_stored_is_read_whatever_its_length() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let artifacts = artifacts(folder.path(), 1);
        for length in [0, 1, READ_BYTES, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, LARGE_BYTES] {
            let code = code(length);
            artifacts.store(digest(), &code).expect("stored");
            let image = artifacts.read(digest()).expect("it is what was stored");
            assert!(image.bytes() == code, "{length} bytes");
        }
    }

    #[test]
    fn a_changed_byte_is_refused_wherever_it_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let artifacts = artifacts(folder.path(), 1);
        for length in [10, LARGE_BYTES] {
            artifacts.store(digest(), &code(length)).expect("stored");
            let path = artifacts.path(digest());
            let file = File::options().read(true).write(true).open(&path).expect("it is there");
            let end = HEADER_BYTES + length;
            // All of the header; around each border of parts and pieces; the last.
            let borders = (HEADER_BYTES..end).step_by(READ_BYTES).flat_map(|border| [border, border + 1]);
            let before = (HEADER_BYTES + READ_BYTES..end).step_by(READ_BYTES).map(|border| border - 1);
            for place in (0..HEADER_BYTES).chain(borders).chain(before).chain([end - 1]) {
                let mut byte = [0];
                file.read_exact_at(&mut byte, place as u64).expect("read");
                file.write_all_at(&[byte[0] ^ 0x10], place as u64).expect("written");
                let reason = reason(&artifacts);
                let expected = if place < MARK.len() { "form" } else { "MAC" };
                assert!(reason.contains(expected), "byte {place} of {end}: {reason}");
                file.write_all_at(&byte, place as u64).expect("written");
            }
            artifacts.read(digest()).expect("as it was stored");
        }
    }

    #[test]
    fn a_file_that_is_longer_or_shorter_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let artifacts = artifacts(folder.path(), 1);
        artifacts.store(digest(), &code(LARGE_BYTES)).expect("stored");
        let file = File::options().write(true).open(artifacts.path(digest())).expect("it is there");
        let whole = (HEADER_BYTES + LARGE_BYTES) as u64;
        for length in [whole + 1, whole - 1, (HEADER_BYTES + PART_BYTES) as u64, HEADER_BYTES as u64] {
            file.set_len(length).expect("set");
            assert!(reason(&artifacts).contains("MAC"), "{length} bytes");
        }
        file.set_len(HEADER_BYTES as u64 - 1).expect("set");
        assert!(reason(&artifacts).contains("too short"));
        file.set_len(0).expect("set");
        assert!(reason(&artifacts).contains("too short"));
        file.set_len(FILE_BYTES_MAX + 1).expect("set");
        assert!(reason(&artifacts).contains("more than an artifact can have"));
    }

    #[test]
    fn parts_in_another_order_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let artifacts = artifacts(folder.path(), 1);
        let code = code(LARGE_BYTES);
        artifacts.store(digest(), &code).expect("stored");
        let file = File::options().write(true).open(artifacts.path(digest())).expect("it is there");
        file.write_all_at(&code[PART_BYTES..2 * PART_BYTES], HEADER_BYTES as u64).expect("written");
        let second = (HEADER_BYTES + PART_BYTES) as u64;
        file.write_all_at(&code[..PART_BYTES], second).expect("written");
        assert!(reason(&artifacts).contains("MAC"));
    }

    #[test]
    fn what_another_key_component_or_form_made_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ours = artifacts(folder.path(), 1);
        ours.store(digest(), &code(100)).expect("stored");
        assert!(reason(&artifacts(folder.path(), 2)).contains("MAC"));
        let other = PackageDigest::of(b"another component");
        std::fs::rename(ours.path(digest()), ours.path(other)).expect("renamed");
        assert!(matches!(ours.read(digest()), Err(ArtifactError::Missing)));
        assert!(matches!(ours.read(other), Err(ArtifactError::Refused(_))));
        // The first form: a MAC, and the code.
        let mut file = File::create(ours.path(digest())).expect("made");
        file.write_all(&code(MAC_BYTES + 100)).expect("written");
        assert!(reason(&ours).contains("form"));
    }
}
