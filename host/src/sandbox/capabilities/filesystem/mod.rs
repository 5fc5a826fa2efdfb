//! `wasi:filesystem`: granted folders, and nothing else.
//!
//! A folder is opened once, by the path that the admin granted, and all that a guest does resolves
//! beneath that handle. Regular files and folders only; no symlinks are made; moving and linking stay
//! within one grant. Streams over files are ours: see [`FileStream`].

mod host;
mod operations;
mod path;
mod quota;
mod recorded;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::{Dir, File};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use tokio::sync::Semaphore;
use wasmtime_wasi::TrappableError;

pub(crate) use self::host::FUNCTIONS;
use self::operations::Failure;
pub(crate) use self::quota::Quotas;
use crate::policy::{Access, AuthorizedFolder};
use crate::sandbox::bindings::wasi::filesystem::types::{DirectoryEntry, ErrorCode};

/// An error code for the guest, or a trap.
pub(crate) type FileError = TrappableError<ErrorCode>;

type FileResult<T> = Result<T, FileError>;

/// Work on disks that all calls together do at once. It can't be cancelled, and shares its threads
/// with the rest of the process.
pub(crate) const DISK_WORKERS_MAX: usize = 64;

/// The granted folders of one call, and its streams over files.
pub(crate) struct Filesystem {
    mounts: Vec<Arc<Mount>>,
    /// By the number of their handle in the resource table.
    streams: HashMap<u32, FileStream>,
    open_files: u64,
    hash_key: [u8; 32],
    /// Taken by each piece of work on a disk, of all calls.
    disk_workers: Arc<Semaphore>,
    /// Taken by this call's work on a disk, so that its end can wait for it.
    settled: Arc<Semaphore>,
}

/// One granted folder.
#[derive(Debug)]
pub(super) struct Mount {
    guest_path: Arc<str>,
    rule: Arc<str>,
    access: Access,
    root: Arc<Dir>,
    quota: Option<quota::Quota>,
}

/// An open file or folder: what a guest's `descriptor` is.
#[derive(Clone, Debug)]
pub enum Descriptor {
    /// A folder.
    Folder(FolderHandle),
    /// A regular file.
    File(FileHandle),
}

/// An open folder.
#[derive(Clone, Debug)]
pub struct FolderHandle {
    dir: Arc<Dir>,
    path: Arc<str>,
    mount: Arc<Mount>,
}

/// An open file.
#[derive(Clone, Debug)]
pub struct FileHandle {
    file: Arc<HeldFile>,
    path: Arc<str>,
    mount: Arc<Mount>,
    readable: bool,
    writable: bool,
}

/// A file that is open, and counted by its grant's quota until it is closed.
#[derive(Debug)]
struct HeldFile {
    file: Option<File>,
    mount: Arc<Mount>,
}

impl std::ops::Deref for HeldFile {
    type Target = File;

    fn deref(&self) -> &File {
        self.file.as_ref().expect("only drop takes the file out")
    }
}

impl Drop for HeldFile {
    /// Whoever else uses the quota may be busy on the disk, so this never waits for it where guests run.
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let mount = Arc::clone(&self.mount);
        match (mount.quota.is_some(), tokio::runtime::Handle::try_current()) {
            (false, _) => {}
            (true, Ok(runtime)) if !mount.closed_at_once(&file) => {
                runtime.spawn_blocking(move || mount.closed(&file));
            }
            (true, Ok(_)) => {}
            (true, Err(_)) => mount.closed(&file),
        }
    }
}

/// A stream over a file: position, subject and rule.
pub(crate) struct FileStream {
    handle: FileHandle,
    /// `None`: at the end, wherever that is.
    offset: Option<u64>,
}

/// A folder's listing that is being read.
#[derive(Debug)]
pub struct Entries(std::vec::IntoIter<Result<DirectoryEntry, ErrorCode>>, Arc<str>, Arc<str>);

impl Filesystem {
    /// Opens the folders of an authorized call.
    ///
    /// # Errors
    /// If a folder is not there any more, or a component of its path has become a symlink.
    pub(crate) fn open(
        folders: &[AuthorizedFolder],
        quotas: &Quotas,
        disk_workers: Arc<Semaphore>,
    ) -> Result<Self, MountError> {
        let mounts = folders
            .iter()
            .map(|folder| Ok(Arc::new(Mount::open(folder, quotas)?)))
            .collect::<Result<_, MountError>>()?;
        let mut hash_key = [0; 32];
        if !folders.is_empty() {
            getrandom::fill(&mut hash_key)?;
        }
        Ok(Self {
            mounts,
            streams: HashMap::new(),
            open_files: 0,
            hash_key,
            disk_workers,
            settled: Arc::new(Semaphore::new(1)),
        })
    }

    /// The stream over a file that a handle stands for; `None` for other streams.
    pub(crate) fn stream(&self, rep: u32) -> Option<&FileStream> {
        self.streams.get(&rep)
    }

    /// Forgets a stream whose handle was dropped.
    pub(crate) fn drop_stream(&mut self, rep: u32) {
        self.streams.remove(&rep);
    }

    /// What is taken while this call's work on a disk is under way.
    pub(crate) fn settled(&self) -> Arc<Semaphore> {
        Arc::clone(&self.settled)
    }
}

impl FileStream {
    /// The file's path as the guest knows it.
    pub(crate) fn subject(&self) -> Arc<str> {
        Arc::clone(&self.handle.path)
    }

    /// The rule that allows it.
    pub(crate) fn rule(&self) -> Cow<'static, str> {
        self.handle.mount.rule()
    }
}

/// A granted folder can't be opened: an admin's affair. Agents are told too, so it names the rule and
/// no path of the host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    /// The folder is gone, or a component of its path has become a symlink.
    #[error("the folder granted as {guest_path} ({rule}) can't be opened: {reason}")]
    Folder {
        /// Where the guest would see it.
        guest_path: String,
        /// Such as `grant 7 filesystem 0`.
        rule: String,
        /// The operating system's word.
        reason: rustix::io::Errno,
    },
    /// The operating system gave no random numbers for the key of metadata hashes.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl Mount {
    fn open(folder: &AuthorizedFolder, quotas: &Quotas) -> Result<Self, MountError> {
        let rule = &folder.rule;
        let root = open_folder(&rule.host_path).map_err(|reason| MountError::Folder {
            guest_path: rule.guest_path.clone(),
            rule: folder.rule_name(),
            reason,
        })?;
        let quota = match rule.access {
            Access::Read => None,
            Access::ReadWrite => Some(quotas.account(&rule.host_path, rule.quota_bytes, rule.quota_files)),
        };
        Ok(Self {
            guest_path: Arc::from(rule.guest_path.as_str()),
            rule: Arc::from(folder.rule_name()),
            access: rule.access,
            root: Arc::new(root),
            quota,
        })
    }

    fn rule(&self) -> Cow<'static, str> {
        Cow::Owned(self.rule.to_string())
    }
}

/// The one place that turns a host path of a grant into a handle. No component may be a symlink:
/// the grant was for the path as it was.
fn open_folder(path: &Path) -> rustix::io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat2(
        CWD,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?;
    Ok(Dir::from_std_file(fd.into()))
}

impl Descriptor {
    fn path(&self) -> Arc<str> {
        match self {
            Descriptor::Folder(folder) => Arc::clone(&folder.path),
            Descriptor::File(file) => Arc::clone(&file.path),
        }
    }

    fn mount(&self) -> &Arc<Mount> {
        match self {
            Descriptor::Folder(folder) => &folder.mount,
            Descriptor::File(file) => &file.mount,
        }
    }

    fn folder(&self) -> Result<&FolderHandle, Failure> {
        match self {
            Descriptor::Folder(folder) => Ok(folder),
            Descriptor::File(_) => Err(Failure::Code(ErrorCode::NotDirectory)),
        }
    }

    fn file(&self) -> Result<&FileHandle, Failure> {
        match self {
            Descriptor::Folder(_) => Err(Failure::Code(ErrorCode::IsDirectory)),
            Descriptor::File(file) => Ok(file),
        }
    }
}
