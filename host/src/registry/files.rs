//! Components as files, named by their digest: written whole or not at all, hashed when read.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};

use super::RegistryError;
use crate::ids::PackageDigest;
use crate::limits::Limit;

/// The end of a file that is being written; never read.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// The folder of components. Names are digests, so none can lead out of it.
#[derive(Clone, Debug)]
pub(super) struct PackageFiles {
    folder: Arc<Dir>,
}

impl PackageFiles {
    /// Opens the folder, and makes it if it is not there.
    pub(super) async fn open(path: &Path) -> Result<Self, RegistryError> {
        let path = path.to_owned();
        let folder = run("opening the folder of packages", move || {
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Dir::open_ambient_dir(&path, ambient_authority()),
            }
        })
        .await?;
        Ok(Self { folder: Arc::new(folder) })
    }

    /// Writes a component: to a temporary file, flushed, then renamed, then the folder flushed. What
    /// is there already, whole, is left alone.
    pub(super) async fn write(&self, digest: PackageDigest, bytes: Vec<u8>) -> Result<(), RegistryError> {
        let folder = Arc::clone(&self.folder);
        let found = run("writing a component", move || {
            let found = PackageDigest::of(&bytes);
            if found == digest && !matches!(read(&folder, digest), Ok(ReadFile::Whole(_))) {
                write_atomically(&folder, &file_name(digest), &bytes)?;
            }
            Ok(found)
        })
        .await?;
        if found == digest { Ok(()) } else { Err(RegistryError::WrongDigest { expected: digest, found }) }
    }

    /// Reads a component and checks that it is the one.
    pub(super) async fn read(&self, digest: PackageDigest) -> Result<Vec<u8>, RegistryError> {
        let folder = Arc::clone(&self.folder);
        match run("reading a component", move || read(&folder, digest)).await? {
            ReadFile::Whole(bytes) => Ok(bytes),
            ReadFile::Missing => Err(RegistryError::Missing { digest }),
            ReadFile::Altered => Err(RegistryError::Altered { digest }),
        }
    }

    /// Deletes a component; it need not be there.
    pub(super) async fn delete(&self, digest: PackageDigest) -> Result<(), RegistryError> {
        let folder = Arc::clone(&self.folder);
        run("deleting a component", move || {
            remove(&folder, &file_name(digest))?;
            flush_folder(&folder)
        })
        .await
    }

    /// Deletes temporary files, and components that are not in `registered`. Other files are not ours.
    pub(super) async fn keep_only(&self, registered: BTreeSet<PackageDigest>) -> Result<(), RegistryError> {
        let folder = Arc::clone(&self.folder);
        run("tidying the folder of packages", move || {
            for entry in folder.entries()? {
                let name = entry?.file_name();
                let Some(name) = name.to_str() else { continue };
                let component = name.strip_suffix(".wasm").map(|hex| format!("sha256:{hex}").parse());
                let unknown = match component {
                    Some(Ok(digest)) => !registered.contains(&digest),
                    Some(Err(_)) => false,
                    None => name.ends_with(TEMPORARY_SUFFIX),
                };
                if unknown {
                    remove(&folder, name)?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Runs blocking work off the async threads.
async fn run<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RegistryError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|source| RegistryError::File { action, source })
}

fn file_name(digest: PackageDigest) -> String {
    format!("{}.wasm", digest.hex())
}

enum ReadFile {
    Whole(Vec<u8>),
    Missing,
    Altered,
}

/// Reads at most one byte more than a component may have, so that a swapped file can't fill the memory.
fn read(folder: &Dir, digest: PackageDigest) -> io::Result<ReadFile> {
    let max = Limit::ComponentBytes.row().ceiling;
    // Without waiting: the file could have been swapped for a pipe.
    let no_block = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let mut options = OpenOptions::new();
    let file = match folder.open_with(file_name(digest), options.read(true).custom_flags(no_block)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ReadFile::Missing),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(ReadFile::Altered);
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    let whole = bytes.len() as u64 <= max && PackageDigest::of(&bytes) == digest;
    Ok(if whole { ReadFile::Whole(bytes) } else { ReadFile::Altered })
}

fn write_atomically(folder: &Dir, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    // Left by a host that died: writers take turns, so it is nobody's.
    remove(folder, &temporary)?;
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = folder.open_with(&temporary, options.write(true).create_new(true).mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        folder.rename(&temporary, folder, name)?;
        flush_folder(folder)
    })();
    if written.is_err() {
        // Best effort: what stays is deleted by the next write or by tidying, and never read.
        let _ = remove(folder, &temporary);
    }
    written
}

fn remove(folder: &Dir, name: &str) -> io::Result<()> {
    match folder.remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a rename or a deletion durable. Opened anew, since a `Dir` is a handle by path (`O_PATH`),
/// which can't be flushed.
fn flush_folder(folder: &Dir) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(folder, ".", flags, Mode::empty())?;
    Ok(rustix::fs::fsync(handle)?)
}
