//! The data folder: where things are, who owns it, and the keys that only this host has.
//!
//! One process owns a data folder at a time. Ownership is a lock that the kernel lets go when the
//! process ends, however it ends. This module reads no settings from the environment.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::platform;

/// The longest path of a Unix socket on Linux, without its NUL (`unix(7)`).
const SOCKET_PATH_BYTES_MAX: usize = 107;
const KEY_BYTES: usize = 32;
/// Far more than an age identity with its comments has, or a key of notes.
const KEY_TEXT_BYTES_MAX: usize = 4 << 10;

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
    /// It is another user's: what this one made in it, that one could not use.
    #[error(
        "{path} belongs to user {user}, this is user {ours}; run it as that user, or choose a folder of your own with --data-dir"
    )]
    NotOurs {
        /// The file or folder.
        path: PathBuf,
        /// Its owner.
        user: u32,
        /// Who asks.
        ours: u32,
    },
    /// Somebody else could put files in it.
    #[error(
        "{path} can be changed by others (mode {mode:03o}); run `chmod 700 {path}` after making sure that nobody did"
    )]
    OpenToChange {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A backup was being put back into it when that ended.
    #[error(
        "{path} holds half of a backup: `portcullis restore` did not come to its end; delete the folder and restore again"
    )]
    HalfRestored {
        /// The folder.
        path: PathBuf,
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

    /// How the log is kept; need not be there.
    pub fn audit_settings(&self) -> PathBuf {
        self.root.join("audit.toml")
    }

    /// How agents and programs reach the host; need not be there.
    pub fn serve_settings(&self) -> PathBuf {
        self.root.join("serve.toml")
    }

    /// Where the owner listens.
    pub fn socket(&self) -> PathBuf {
        self.root.join("owner.sock")
    }

    /// The key that hashes of API keys are made with.
    pub fn api_key(&self) -> PathBuf {
        self.root.join("api.key")
    }

    /// The first admin's API key, as long as nobody removes the file.
    pub fn admin_key(&self) -> PathBuf {
        self.root.join("admin.key")
    }

    /// Where the owner listens for agents and programs: a file that is there while it does.
    pub fn serving(&self) -> PathBuf {
        self.root.join("serving.json")
    }

    /// Takes back what was said of that: nobody listens any more, or not yet.
    pub fn drop_serving(&self) {
        let path = self.serving();
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "{} is left", path.display());
        }
    }

    /// Where a backup is unpacked before it is put in its place.
    pub fn restoring(&self) -> PathBuf {
        self.root.join("restoring")
    }

    /// Held by the owner.
    pub fn lock(&self) -> PathBuf {
        self.root.join("owner.lock")
    }

    /// The key of the compiled components' MACs.
    pub fn artifact_key(&self) -> PathBuf {
        self.root.join("artifact.key")
    }

    /// The key of stored secrets; made with the first of them, unless another was given.
    pub fn secrets_key(&self) -> PathBuf {
        self.root.join("secrets.key")
    }

    /// The text of the key of stored secrets, if there is one; wiped when it is dropped.
    ///
    /// # Errors
    /// If it can't be read, is no text of at most 4 KiB, or others can read it.
    pub fn secrets_key_text(&self) -> Result<Option<Zeroizing<String>>, DataFolderError> {
        secret_text(&self.secrets_key())
    }

    /// Arguments and results that grants have kept whole, encrypted.
    pub fn payloads(&self) -> PathBuf {
        self.root.join("payloads")
    }

    /// The key that keys of evidence are kept under.
    pub fn evidence_key(&self) -> PathBuf {
        self.root.join("evidence.key")
    }

    /// The secret key that signs the log's checkpoints.
    pub fn audit_key(&self) -> PathBuf {
        self.root.join("audit.key")
    }

    /// The key that is to sign next, while it is being rotated.
    pub fn next_audit_key(&self) -> PathBuf {
        self.root.join("audit.key.next")
    }

    /// Its public half, to be given to whoever verifies the log.
    pub fn audit_public_key(&self) -> PathBuf {
        self.root.join("audit.pub")
    }

    /// Where things would be in a folder, whether it is there or not. For those who only look.
    pub fn of(root: &Path) -> Self {
        let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        Self { root }
    }

    /// Whether a process owns the folder now, and which, if it has said so. For those who only look.
    ///
    /// # Errors
    /// If the lock can't be opened.
    pub fn owner(&self) -> std::io::Result<Option<Option<u32>>> {
        let file = match File::open(self.lock()) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Shared, and let go at once: a host that starts at this very moment tries again.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(Errno::WOULDBLOCK) => Ok(Some(read_pid(file))),
            Err(errno) => Err(errno.into()),
        }
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
        if !path.try_exists().map_err(unusable(&path))? {
            // Before a file of this user stands in a folder of another's, who could not open it.
            refuse_foreign_folder(paths.root())?;
        }
        let mut lock = private_file().open(&path).map_err(unusable(&path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Ownership::Others { paths, pid: read_pid(lock) }),
            Err(errno) => return Err(unusable(&path)(errno.into())),
        }
        refuse_foreign_folder(paths.root())?;
        let restoring = paths.restoring();
        if restoring.try_exists().map_err(unusable(&restoring))? {
            return Err(DataFolderError::HalfRestored { path: paths.root });
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
        self.secret_key(self.paths.artifact_key())
    }

    /// The key that keys of evidence are kept under; made at the first start.
    ///
    /// # Errors
    /// As [`artifact_key`](Self::artifact_key).
    pub fn evidence_key(&self) -> Result<[u8; KEY_BYTES], DataFolderError> {
        self.secret_key(self.paths.evidence_key())
    }

    /// The key that hashes of API keys are made with; made at the first start.
    ///
    /// # Errors
    /// As [`artifact_key`](Self::artifact_key).
    pub fn api_key(&self) -> Result<[u8; KEY_BYTES], DataFolderError> {
        self.secret_key(self.paths.api_key())
    }

    /// Keeps the first admin's API key for whoever can open the data folder.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep_admin_key(&self, text: &str) -> Result<(), DataFolderError> {
        let path = self.paths.admin_key();
        self.keep(&path, text.as_bytes()).map_err(unusable(&path))
    }

    /// The text of the key that signs the log's checkpoints, if there is one; wiped when it is dropped.
    ///
    /// # Errors
    /// If it can't be read, is no text, or others can read it.
    pub fn audit_key(&self) -> Result<Option<Zeroizing<String>>, DataFolderError> {
        secret_text(&self.paths.audit_key())
    }

    /// The key that is to sign from a rotation on, if one is under way.
    ///
    /// # Errors
    /// As [`audit_key`](Self::audit_key).
    pub fn next_audit_key(&self) -> Result<Option<Zeroizing<String>>, DataFolderError> {
        secret_text(&self.paths.next_audit_key())
    }

    /// Keeps the first key that signs checkpoints.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep_audit_key(&self, text: &str) -> Result<(), DataFolderError> {
        let path = self.paths.audit_key();
        self.keep(&path, text.as_bytes()).map_err(unusable(&path))
    }

    /// Keeps the key of a rotation that begins.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep_next_audit_key(&self, text: &str) -> Result<(), DataFolderError> {
        let path = self.paths.next_audit_key();
        self.keep(&path, text.as_bytes()).map_err(unusable(&path))
    }

    /// Ends a rotation: the next key is the key.
    ///
    /// # Errors
    /// If it can't be put in its place.
    pub fn take_next_audit_key(&self) -> Result<(), DataFolderError> {
        let (next, path) = (self.paths.next_audit_key(), self.paths.audit_key());
        let renamed = std::fs::rename(&next, &path).and_then(|()| File::open(&self.paths.root)?.sync_all());
        renamed.map_err(unusable(&path))
    }

    /// Drops the key of a rotation that came to nothing.
    ///
    /// # Errors
    /// If it can't be removed.
    pub fn drop_next_audit_key(&self) -> Result<(), DataFolderError> {
        let path = self.paths.next_audit_key();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unusable(&path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Puts the public half of the key beside it, for people.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep_audit_public_key(&self, text: &str) -> Result<(), DataFolderError> {
        let path = self.paths.audit_public_key();
        let line = format!("{text}\n");
        let mut kept = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(line.len() as u64 + 1).read_to_end(&mut kept));
        if read.is_ok() && kept == line.as_bytes() {
            return Ok(());
        }
        self.keep(&path, line.as_bytes()).map_err(unusable(&path))
    }

    fn secret_key(&self, path: PathBuf) -> Result<[u8; KEY_BYTES], DataFolderError> {
        let mut key = [0; KEY_BYTES];
        match File::open(&path) {
            Ok(mut file) => {
                refuse_exposed(&path, &file)?;
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

    /// Keeps the key of stored secrets, which must not be there yet.
    ///
    /// # Errors
    /// If it can't be written: then none is there that was not before.
    pub fn keep_secrets_key(&self, text: &str) -> Result<(), DataFolderError> {
        let path = self.paths.secrets_key();
        if path.try_exists().map_err(unusable(&path))? {
            return Err(unusable(&path)(std::io::ErrorKind::AlreadyExists.into()));
        }
        self.keep(&path, text.as_bytes()).map_err(unusable(&path))
    }

    /// The text of the settings file at `path`, such as the admin's limits of this host, if it is there; at
    /// most one byte more than `bytes_max`, so that who reads it can say that it is too long.
    ///
    /// # Errors
    /// If it can't be read, or is not text: then no settings may be guessed.
    pub fn settings_text(path: &Path, bytes_max: usize) -> Result<Option<String>, DataFolderError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path)(error)),
        };
        let mut text = String::new();
        let read = file.take(bytes_max as u64 + 1).read_to_string(&mut text);
        read.map(|_| Some(text)).map_err(unusable(path))
    }

    /// Says where this process listens, for clients on this machine.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep_serving(&self, text: &str) -> Result<(), DataFolderError> {
        let path = self.paths.serving();
        self.keep(&path, text.as_bytes()).map_err(unusable(&path))
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

/// Writes a settings file into a data folder, which is made if it is not there. One that is there is replaced only if
/// that is said.
///
/// # Errors
/// If it is there, or can't be written.
pub fn write_settings(path: &Path, text: &str, replace: bool) -> Result<(), DataFolderError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        if replace {
            file.persist(path)?
        } else {
            file.persist_noclobber(path)?
        };
        File::open(folder)?.sync_all()
    };
    write().map_err(unusable(path))
}

/// The text of a file that an admin names, of at most `bytes_max`.
///
/// # Errors
/// If it is not there, can't be read, is longer, or no text.
pub fn public_text(path: &Path, bytes_max: usize) -> Result<String, DataFolderError> {
    let file = File::open(path).map_err(unusable(path))?;
    let mut text = String::new();
    read_at_most(file, bytes_max, &mut text).map_err(unusable(path))?;
    Ok(text)
}

/// The same of a file with a secret, which its owner and group may read, and nobody else; wiped when it is dropped.
///
/// # Errors
/// As [`public_text`], or if others can read it.
pub fn private_text(path: &Path, bytes_max: usize) -> Result<Zeroizing<String>, DataFolderError> {
    let file = File::open(path).map_err(unusable(path))?;
    let mode = platform::Ownership::from(&file.metadata().map_err(unusable(path))?).mode;
    if mode & 0o007 != 0 {
        return Err(DataFolderError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(bytes_max));
    read_at_most(file, bytes_max, &mut text).map_err(unusable(path))?;
    Ok(text)
}

fn read_at_most(file: File, bytes_max: usize, text: &mut String) -> std::io::Result<()> {
    file.take(bytes_max as u64 + 1).read_to_string(text)?;
    if text.len() > bytes_max {
        return Err(std::io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(())
}

/// The text of a file with a secret, if it is there; wiped when it is dropped.
fn secret_text(path: &Path) -> Result<Option<Zeroizing<String>>, DataFolderError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path)(error)),
    };
    refuse_exposed(path, &file)?;
    let mut text = Zeroizing::new(String::with_capacity(KEY_TEXT_BYTES_MAX));
    file.take(KEY_TEXT_BYTES_MAX as u64).read_to_string(&mut text).map_err(unusable(path))?;
    Ok(Some(text))
}

fn unusable(path: &Path) -> impl FnOnce(std::io::Error) -> DataFolderError {
    let path = path.to_owned();
    move |error| DataFolderError::Unusable { path, reason: error.to_string() }
}

/// A file with a secret is this user's, and nobody else can read it.
fn refuse_exposed(path: &Path, file: &File) -> Result<(), DataFolderError> {
    let found = platform::Ownership::from(&file.metadata().map_err(unusable(path))?);
    let (path, ours) = (path.to_owned(), platform::user());
    if found.user != ours {
        return Err(DataFolderError::NotOurs { path, user: found.user, ours });
    }
    if !found.is_private() {
        return Err(DataFolderError::Exposed { path, mode: found.mode });
    }
    Ok(())
}

/// A data folder is this user's, and nobody else can put files in it.
fn refuse_foreign_folder(root: &Path) -> Result<(), DataFolderError> {
    let found = platform::Ownership::from(&std::fs::metadata(root).map_err(unusable(root))?);
    let (path, ours) = (root.to_owned(), platform::user());
    if found.user != ours {
        return Err(DataFolderError::NotOurs { path, user: found.user, ours });
    }
    if found.is_open_to_change() {
        return Err(DataFolderError::OpenToChange { path, mode: found.mode });
    }
    Ok(())
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
    fn a_key_or_a_folder_of_another_user_is_refused() {
        if platform::user() != 0 {
            eprintln!("not tested: files can be given to another user by root only");
            return;
        }
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let root = temporary.path().join("data");
        let folder = ours(&root);
        folder.artifact_key().expect("made");
        let key = folder.paths().artifact_key();
        std::os::unix::fs::chown(&key, Some(12_345), None).expect("given away");
        assert!(matches!(folder.artifact_key(), Err(DataFolderError::NotOurs { user: 12_345, .. })));
        drop(folder);
        std::os::unix::fs::chown(&root, Some(12_345), None).expect("given away");
        assert!(matches!(DataFolder::take(&root), Err(DataFolderError::NotOurs { ours: 0, .. })));
        let foreign = temporary.path().join("foreign");
        std::fs::create_dir(&foreign).expect("made");
        std::os::unix::fs::chown(&foreign, Some(12_345), None).expect("given away");
        assert!(matches!(DataFolder::take(&foreign), Err(DataFolderError::NotOurs { .. })));
        assert!(!foreign.join("owner.lock").exists(), "nothing of this user is left in it");
    }

    #[test]
    fn a_folder_that_others_can_change_is_refused_with_what_to_run() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let root = temporary.path().join("data");
        drop(ours(&root));
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o770)).expect("changed");
        let error = DataFolder::take(&root).expect_err("refused");
        assert!(matches!(error, DataFolderError::OpenToChange { mode: 0o770, .. }), "{error}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).expect("changed");
        drop(ours(&root));
    }

    #[test]
    fn those_who_only_look_see_the_owner_and_change_nothing() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let root = temporary.path().join("data");
        assert_eq!(DataPaths::of(&root).owner().expect("looked"), None);
        assert!(!root.exists());
        let folder = ours(&root);
        assert_eq!(DataPaths::of(&root).owner().expect("looked"), Some(Some(std::process::id())));
        drop(folder);
        assert_eq!(DataPaths::of(&root).owner().expect("looked"), None);
    }

    #[test]
    fn a_half_restored_folder_is_refused() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let paths = ours(temporary.path()).paths().clone();
        std::fs::create_dir(paths.restoring()).expect("made");
        let error = DataFolder::take(temporary.path()).expect_err("refused");
        assert!(matches!(error, DataFolderError::HalfRestored { .. }), "{error}");
        std::fs::remove_dir(paths.restoring()).expect("removed");
        drop(ours(temporary.path()));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_with_the_reason() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let deep = temporary.path().join("x".repeat(120));
        assert!(matches!(DataFolder::take(&deep), Err(DataFolderError::PathTooLong { .. })));
    }
}
