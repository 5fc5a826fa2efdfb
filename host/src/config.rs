//! The data folder: where things are, who owns it, and the key that only this host has.
//!
//! One process owns a data folder at a time. Ownership is a lock that the kernel lets go when the
//! process ends, however it ends. This module reads no settings from the environment.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The longest path of a Unix socket on Linux, without its NUL (`unix(7)`).
const SOCKET_PATH_BYTES_MAX: usize = 107;
const KEY_BYTES: usize = 32;

/// Why a data folder can't be used. The fault of whoever set it up.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// It can't be made, read or written.
    #[error("data folder: {path}: {reason}; choose another with --data-dir, or mend its permissions")]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Somebody else could read a secret.
    #[error(
        "{path} can be read by others (mode {mode:03o}); run `chmod 600 {path}` after making sure that nobody did"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The owner's socket would not fit.
    #[error("data folder {path}: the path is too long for a socket in it, by {excess} bytes")]
    PathTooLong {
        /// The folder.
        path: PathBuf,
        /// How much too long.
        excess: usize,
    },
}

/// Where things are in a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPaths {
    root: PathBuf,
}

impl DataPaths {
    /// The folder itself: absolute and canonical.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The registry, grants and principals.
    pub fn database(&self) -> PathBuf {
        self.root.join("portcullis.db")
    }

    /// The log's segments.
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// Components, by digest.
    pub fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    /// Compiled components, by digest.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// The admin's limits of this host; need not be there.
    pub fn limits(&self) -> PathBuf {
        self.root.join("limits.toml")
    }

    /// Where the owner listens.
    pub fn socket(&self) -> PathBuf {
        self.root.join("owner.sock")
    }

    fn lock(&self) -> PathBuf {
        self.root.join("owner.lock")
    }

    fn artifact_key(&self) -> PathBuf {
        self.root.join("artifact.key")
    }
}

/// A data folder that this process owns, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct DataFolder {
    paths: DataPaths,
    /// Locked; closing it lets the folder go.
    _lock: File,
}

/// What came of asking for a data folder.
#[derive(Debug)]
#[must_use]
pub enum Ownership {
    /// This process owns it now.
    Ours(DataFolder),
    /// Another process does.
    Others {
        /// Where it listens.
        paths: DataPaths,
        /// Its process id, if it has said so already.
        pid: Option<u32>,
    },
}

impl DataFolder {
    /// Makes the folder if it is not there, and asks for it. Does not wait.
    ///
    /// # Errors
    /// [`DataFolderError`]; nothing is left half made that a second try would not mend.
    pub fn take(root: &Path) -> Result<Ownership, DataFolderError> {
        make_folder(root)?;
        let root = std::fs::canonicalize(root).map_err(unusable(root))?;
        let paths = DataPaths { root };
        let socket_bytes = paths.socket().as_os_str().len();
        if socket_bytes > SOCKET_PATH_BYTES_MAX {
            let excess = socket_bytes - SOCKET_PATH_BYTES_MAX;
            return Err(DataFolderError::PathTooLong { path: paths.root, excess });
        }
        let path = paths.lock();
        let mut lock = private_file().open(&path).map_err(unusable(&path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Ownership::Others { paths, pid: read_pid(lock) }),
            Err(errno) => return Err(unusable(&path)(errno.into())),
        }
        for folder in [paths.audit(), paths.packages(), paths.artifacts()] {
            make_folder(&folder)?;
        }
        let write_pid = |lock: &mut File| -> std::io::Result<()> {
            lock.set_len(0)?;
            writeln!(lock, "{}", std::process::id())
        };
        write_pid(&mut lock).map_err(unusable(&path))?;
        Ok(Ownership::Ours(Self { paths, _lock: lock }))
    }

    /// Where things are in it.
    pub fn paths(&self) -> &DataPaths {
        &self.paths
    }

    /// The key under which compiled components are kept; made at the first start.
    ///
    /// # Errors
    /// If it can't be read or made, or others can read it.
    pub fn artifact_key(&self) -> Result<[u8; KEY_BYTES], DataFolderError> {
        let path = self.paths.artifact_key();
        let mut key = [0; KEY_BYTES];
        match File::open(&path) {
            Ok(mut file) => {
                let mode = file.metadata().map_err(unusable(&path))?.mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(DataFolderError::Exposed { path, mode });
                }
                file.read_exact(&mut key).map_err(unusable(&path))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                getrandom::fill(&mut key)
                    .map_err(|error| unusable(&path)(std::io::Error::other(error.to_string())))?;
                self.keep(&path, &key).map_err(unusable(&path))?;
            }
            Err(error) => return Err(unusable(&path)(error)),
        }
        Ok(key)
    }

    /// The text of the admin's limits of this host, if there is one; at most one byte more than
    /// `bytes_max`, so that who reads it can say that it is too long.
    ///
    /// # Errors
    /// If it can't be read, or is not text: then no limits may be guessed.
    pub fn limits_text(&self, bytes_max: usize) -> Result<Option<String>, DataFolderError> {
        let path = self.paths.limits();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&path)(error)),
        };
        let mut text = String::new();
        let read = file.take(bytes_max as u64 + 1).read_to_string(&mut text);
        read.map(|_| Some(text)).map_err(unusable(&path))
    }

    /// Writes under a name of its own first: a key that is half written must never be read.
    fn keep(&self, path: &Path, key: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.paths.root)?;
        file.write_all(key)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(&self.paths.root)?.sync_all()
    }
}

fn unusable(path: &Path) -> impl FnOnce(std::io::Error) -> DataFolderError {
    let path = path.to_owned();
    move |error| DataFolderError::Unusable { path, reason: error.to_string() }
}

/// A folder that nobody else can look into.
fn make_folder(path: &Path) -> Result<(), DataFolderError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable(path))
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

fn read_pid(mut lock: File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ours(root: &Path) -> DataFolder {
        match DataFolder::take(root).expect("usable") {
            Ownership::Ours(folder) => folder,
            Ownership::Others { pid, .. } => panic!("owned by {pid:?}"),
        }
    }

    #[test]
    fn a_folder_has_one_owner_until_it_is_dropped() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let first = ours(temporary.path());
        let second = DataFolder::take(temporary.path()).expect("usable");
        assert!(matches!(second, Ownership::Others { pid: Some(pid), .. } if pid == std::process::id()));
        drop(first);
        drop(ours(temporary.path()));
    }

    #[test]
    fn the_key_stays_the_same_and_is_refused_when_others_can_read_it() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = ours(temporary.path());
        let key = folder.artifact_key().expect("made");
        assert_eq!(folder.artifact_key().expect("read"), key);
        assert_ne!(key, [0; KEY_BYTES]);
        let path = folder.paths().artifact_key();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("changed");
        assert!(matches!(folder.artifact_key(), Err(DataFolderError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_with_the_reason() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let deep = temporary.path().join("x".repeat(120));
        assert!(matches!(DataFolder::take(&deep), Err(DataFolderError::PathTooLong { .. })));
    }
}
