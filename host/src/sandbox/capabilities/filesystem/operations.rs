//! What is done on the disk: blocking functions over handles, each resolving beneath a granted folder.
//!
//! No gate, no records, no async: the callers decide and record. Nothing here takes a path of the
//! host.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsMaybeDirExt, SystemTimeSpec};
use cap_std::fs::{
    Dir, File, FileExt, FileType, FileTypeExt, Metadata, MetadataExt, OpenOptions, OpenOptionsExt,
};
use rustix::fs::{OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::path::GuestPath;
use super::quota::{Account, file_id};
use super::{FileHandle, FolderHandle, Mount};
use crate::limits::Limit;
use crate::sandbox::bindings::wasi::clocks::wall_clock::Datetime;
use crate::sandbox::bindings::wasi::filesystem::types::{
    DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, MetadataHashValue,
    NewTimestamp, OpenFlags,
};
use crate::sandbox::capabilities::io::READ_BYTES_MAX;

/// Why an operation was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The disk said so, or the arguments were wrong.
    Code(ErrorCode),
    /// The path leads out of the granted folder.
    Outside,
    /// It is a device, a FIFO or a socket.
    NotRegular,
    /// The grant allows reading only.
    ReadOnly,
    /// The call has as many as it may.
    TooMany(Limit),
    /// The grant's quota has no room.
    Full(Limit),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // cap-std reports an escape as a permission error of its own making, without a number.
        if error.raw_os_error().is_none() && error.kind() == io::ErrorKind::PermissionDenied {
            return Failure::Outside;
        }
        Failure::Code(error_code(&error))
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

fn error_code(error: &io::Error) -> ErrorCode {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw_os_error) else {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's enum, which grows")]
        return match error.kind() {
            io::ErrorKind::NotFound => ErrorCode::NoEntry,
            io::ErrorKind::AlreadyExists => ErrorCode::Exist,
            io::ErrorKind::InvalidInput => ErrorCode::Invalid,
            io::ErrorKind::NotADirectory => ErrorCode::NotDirectory,
            io::ErrorKind::IsADirectory => ErrorCode::IsDirectory,
            _ => ErrorCode::Io,
        };
    };
    const CODES: &[(Errno, ErrorCode)] = &[
        (Errno::ACCESS, ErrorCode::Access),
        (Errno::BADF, ErrorCode::BadDescriptor),
        (Errno::BUSY, ErrorCode::Busy),
        (Errno::DQUOT, ErrorCode::Quota),
        (Errno::EXIST, ErrorCode::Exist),
        (Errno::FBIG, ErrorCode::FileTooLarge),
        (Errno::ILSEQ, ErrorCode::IllegalByteSequence),
        (Errno::INTR, ErrorCode::Interrupted),
        (Errno::INVAL, ErrorCode::Invalid),
        (Errno::ISDIR, ErrorCode::IsDirectory),
        (Errno::LOOP, ErrorCode::Loop),
        (Errno::MFILE, ErrorCode::InsufficientMemory),
        (Errno::MLINK, ErrorCode::TooManyLinks),
        (Errno::NAMETOOLONG, ErrorCode::NameTooLong),
        (Errno::NFILE, ErrorCode::InsufficientMemory),
        (Errno::NOENT, ErrorCode::NoEntry),
        (Errno::NOMEM, ErrorCode::InsufficientMemory),
        (Errno::NOSPC, ErrorCode::InsufficientSpace),
        (Errno::NOTDIR, ErrorCode::NotDirectory),
        (Errno::NOTEMPTY, ErrorCode::NotEmpty),
        (Errno::NOTSUP, ErrorCode::Unsupported),
        (Errno::OVERFLOW, ErrorCode::Overflow),
        (Errno::PERM, ErrorCode::NotPermitted),
        (Errno::ROFS, ErrorCode::ReadOnly),
        (Errno::SPIPE, ErrorCode::InvalidSeek),
        (Errno::TXTBSY, ErrorCode::TextFileBusy),
        (Errno::XDEV, ErrorCode::CrossDevice),
    ];
    CODES.iter().find(|(number, _)| *number == errno).map_or(ErrorCode::Io, |(_, code)| *code)
}

/// What `open-at` found.
pub(super) enum Opened {
    Folder(Dir),
    File(File),
}

/// What `open-at` was asked for.
#[derive(Clone, Copy)]
pub(super) struct OpenRequest {
    pub(super) follow: bool,
    pub(super) open_flags: OpenFlags,
    pub(super) flags: DescriptorFlags,
}

impl OpenRequest {
    /// Whether opening alone changes the folder or the file.
    pub(super) fn is_effect(&self) -> bool {
        self.open_flags.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE)
    }

    /// Whether it needs a grant that allows writing.
    pub(super) fn needs_write(&self) -> bool {
        self.is_effect() || self.flags.contains(DescriptorFlags::WRITE)
    }

    fn options(&self) -> OpenOptions {
        let write = self.needs_write();
        let mut options = OpenOptions::new();
        options
            .read(self.flags.contains(DescriptorFlags::READ) || !write)
            .write(write)
            .maybe_dir(true)
            .follow(if self.follow { FollowSymlinks::Yes } else { FollowSymlinks::No })
            // A FIFO would keep a blocking open waiting for its other end for ever.
            .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
        if self.open_flags.contains(OpenFlags::CREATE) {
            if self.open_flags.contains(OpenFlags::EXCLUSIVE) {
                options.create_new(true);
            } else {
                options.create(true);
            }
        }
        options.truncate(self.open_flags.contains(OpenFlags::TRUNCATE));
        options
    }
}

/// Opens a regular file or a folder.
pub(super) fn open(folder: &FolderHandle, path: &GuestPath, request: OpenRequest) -> Result<Opened, Failure> {
    // As in POSIX, what a slash follows is a folder and not a symlink to one.
    let request = OpenRequest { follow: request.follow || path.must_be_folder, ..request };
    let must_be_folder = path.must_be_folder || request.open_flags.contains(OpenFlags::DIRECTORY);
    if must_be_folder && request.open_flags.contains(OpenFlags::CREATE) {
        return Err(Failure::Code(ErrorCode::Invalid));
    }
    let mut account = folder.mount.lock();
    let before = look_for_regular(folder, path, request.follow)?;
    if let Some(before) = &before
        && must_be_folder
        && !before.is_dir()
    {
        return Err(Failure::Code(ErrorCode::NotDirectory));
    }
    let creates = before.is_none() && request.open_flags.contains(OpenFlags::CREATE);
    if let Some(account) = account.as_mut().filter(|_| creates) {
        account.reserve(0, 1)?;
    }
    let opened = folder.dir.open_with(path.as_path(), &request.options());
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            if let Some(account) = account.as_mut().filter(|_| creates) {
                account.release(0, 1);
            }
            return Err(error.into());
        }
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(Opened::Folder(Dir::from_std_file(file.into_std())));
    }
    if !metadata.is_file() {
        return Err(Failure::NotRegular);
    }
    if must_be_folder {
        return Err(Failure::Code(ErrorCode::NotDirectory));
    }
    if let Some(account) = &mut account {
        if let Some(before) = before.filter(|_| request.open_flags.contains(OpenFlags::TRUNCATE)) {
            account.release(before.len(), 0);
        }
        account.opened(file_id(&metadata));
    }
    Ok(Opened::File(file))
}

/// What is there now, as far as it can be known without opening it: `None` if nothing is. Devices and
/// the like are refused here already, since opening some of them does something.
pub(super) fn look_for_regular(
    folder: &FolderHandle,
    path: &GuestPath,
    follow: bool,
) -> Result<Option<Metadata>, Failure> {
    match found(folder, path, follow) {
        Ok(metadata) if metadata.is_file() || metadata.is_dir() || metadata.is_symlink() => {
            Ok(Some(metadata))
        }
        Ok(_) => Err(Failure::NotRegular),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Looks where a name lies, and says so if that is out of the granted folder. The name itself may be a
/// symlink: who removes or moves it does not follow it.
pub(super) fn look(folder: &FolderHandle, path: &GuestPath) -> Result<(), Failure> {
    folder.dir.symlink_metadata(path.as_path())?;
    Ok(())
}

/// As in POSIX, what a slash follows is a folder and not a symlink to one.
fn found(folder: &FolderHandle, path: &GuestPath, follow: bool) -> io::Result<Metadata> {
    match follow || path.must_be_folder {
        true => folder.dir.metadata(path.as_path()),
        false => folder.dir.symlink_metadata(path.as_path()),
    }
}

/// Reads at an offset. Fewer bytes than asked for do not mean the end; none do.
pub(super) fn read(file: &File, offset: u64, length: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; usize::try_from(length.min(READ_BYTES_MAX)).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Writes all bytes at an offset, or at the end.
pub(super) fn write(handle: &FileHandle, offset: Option<u64>, bytes: &[u8]) -> Result<(), Failure> {
    let mut account = handle.mount.lock();
    let before = handle.file.metadata()?;
    let length = before.len();
    let offset = offset.unwrap_or(length);
    let end = offset.checked_add(bytes.len() as u64).ok_or(Failure::Code(ErrorCode::FileTooLarge))?;
    let longest = if bytes.is_empty() { length } else { end.max(length) };
    if let Some(account) = &mut account {
        account.reserve(longest - length, 0)?;
    }
    let written = handle.file.write_all_at(bytes, offset);
    if let Some(account) = &mut account {
        let now = match written {
            Ok(()) => longest,
            Err(_) => handle.file.metadata().map_or(longest, |metadata| metadata.len()),
        };
        account.release(longest.saturating_sub(now.max(length)), 0);
        account.resized(file_id(&before), now);
    }
    Ok(written?)
}

/// Cuts or extends a file.
pub(super) fn set_size(handle: &FileHandle, size: u64) -> Result<(), Failure> {
    let mut account = handle.mount.lock();
    let before = handle.file.metadata()?;
    let length = before.len();
    if let Some(account) = &mut account {
        account.reserve(size.saturating_sub(length), 0)?;
    }
    let done = handle.file.set_len(size);
    if let Some(account) = &mut account {
        match done {
            Ok(()) => {
                account.release(length.saturating_sub(size), 0);
                account.resized(file_id(&before), size);
            }
            Err(_) => account.release(size.saturating_sub(length), 0),
        }
    }
    Ok(done?)
}

/// Makes a folder.
pub(super) fn create_folder(folder: &FolderHandle, path: &GuestPath) -> Result<(), Failure> {
    let mut account = folder.mount.lock();
    reserve_entry(&mut account)?;
    let done = folder.dir.create_dir(path.as_path());
    if done.is_err() {
        release_entry(&mut account);
    }
    Ok(done?)
}

/// Removes an empty folder.
pub(super) fn remove_folder(folder: &FolderHandle, path: &GuestPath) -> Result<(), Failure> {
    let mut account = folder.mount.lock();
    if !path.is_named() {
        return Err(Failure::Code(ErrorCode::Invalid));
    }
    folder.dir.remove_dir(path.as_path())?;
    release_entry(&mut account);
    Ok(())
}

/// Removes a name of a file or symlink.
pub(super) fn unlink(folder: &FolderHandle, path: &GuestPath) -> Result<(), Failure> {
    let mut account = folder.mount.lock();
    let metadata = folder.dir.symlink_metadata(path.as_path())?;
    if metadata.is_dir() {
        return Err(Failure::Code(ErrorCode::IsDirectory));
    }
    if path.must_be_folder {
        return Err(Failure::Code(ErrorCode::NotDirectory));
    }
    folder.dir.remove_file(path.as_path())?;
    if let Some(account) = &mut account {
        account.unlinked(file_id(&metadata), counted_length(&metadata), metadata.nlink());
    }
    Ok(())
}

/// Gives a file a second name in the same grant.
pub(super) fn link(
    from: &FolderHandle,
    from_path: &GuestPath,
    to: &FolderHandle,
    to_path: &GuestPath,
) -> Result<(), Failure> {
    same_mount(from, to)?;
    let mut account = from.mount.lock();
    let metadata = from.dir.symlink_metadata(from_path.as_path())?;
    if !metadata.is_file() {
        return Err(if metadata.is_dir() {
            Failure::Code(ErrorCode::NotPermitted)
        } else {
            Failure::NotRegular
        });
    }
    if from_path.must_be_folder || to_path.must_be_folder {
        return Err(Failure::Code(ErrorCode::NotDirectory));
    }
    reserve_entry(&mut account)?;
    let done = from.dir.hard_link(from_path.as_path(), &to.dir, to_path.as_path());
    if done.is_err() {
        release_entry(&mut account);
    }
    Ok(done?)
}

/// Moves a file or folder within one grant.
pub(super) fn rename(
    from: &FolderHandle,
    from_path: &GuestPath,
    to: &FolderHandle,
    to_path: &GuestPath,
) -> Result<(), Failure> {
    same_mount(from, to)?;
    let mut account = from.mount.lock();
    let moved = from.dir.symlink_metadata(from_path.as_path())?;
    if (from_path.must_be_folder || to_path.must_be_folder) && !moved.is_dir() {
        return Err(Failure::Code(ErrorCode::NotDirectory));
    }
    let replaced = to.dir.symlink_metadata(to_path.as_path()).ok();
    from.dir.rename(from_path.as_path(), &to.dir, to_path.as_path())?;
    if let (Some(account), Some(replaced)) = (&mut account, replaced)
        && file_id(&replaced) != file_id(&moved)
    {
        account.unlinked(file_id(&replaced), counted_length(&replaced), replaced.nlink());
    }
    Ok(())
}

/// Where a symlink points. An absolute target would name a path of the host, so it is refused.
pub(super) fn read_link(folder: &FolderHandle, path: &GuestPath) -> Result<String, Failure> {
    if path.must_be_folder {
        stat_at(folder, path, true)?;
        return Err(Failure::Code(ErrorCode::Invalid));
    }
    let target = folder.dir.read_link_contents(path.as_path())?;
    if target.is_absolute() {
        return Err(Failure::Outside);
    }
    target.into_os_string().into_string().map_err(|_| Failure::Code(ErrorCode::IllegalByteSequence))
}

/// Lists a folder.
pub(super) fn list(
    folder: &FolderHandle,
    entries_max: u64,
) -> Result<Vec<Result<DirectoryEntry, ErrorCode>>, Failure> {
    let mut entries = Vec::new();
    for entry in folder.dir.entries()? {
        if entries.len() as u64 >= entries_max {
            return Err(Failure::Code(ErrorCode::Overflow));
        }
        let entry = entry?;
        let type_ = entry.file_type().map_or(DescriptorType::Unknown, descriptor_type);
        let name = entry.file_name().into_string().map_err(|_| ErrorCode::IllegalByteSequence);
        entries.push(name.map(|name| DirectoryEntry { type_, name }));
    }
    Ok(entries)
}

/// The metadata of an open file or folder.
pub(super) fn stat(metadata: &Metadata) -> DescriptorStat {
    let time = |time: io::Result<cap_std::time::SystemTime>| {
        // A time before 1970 has no form in WASI: it is left out.
        let since = time.ok()?.into_std().duration_since(UNIX_EPOCH).ok()?;
        Some(Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() })
    };
    DescriptorStat {
        type_: descriptor_type(metadata.file_type()),
        link_count: metadata.nlink(),
        size: metadata.len(),
        data_access_timestamp: time(metadata.accessed()),
        data_modification_timestamp: time(metadata.modified()),
        status_change_timestamp: u64::try_from(metadata.ctime()).ok().map(|seconds| Datetime {
            seconds,
            nanoseconds: u32::try_from(metadata.ctime_nsec()).unwrap_or(0),
        }),
    }
}

/// The metadata of what a path leads to.
pub(super) fn stat_at(folder: &FolderHandle, path: &GuestPath, follow: bool) -> Result<Metadata, Failure> {
    let metadata = match follow || path.must_be_folder {
        true => folder.dir.metadata(path.as_path())?,
        false => folder.dir.symlink_metadata(path.as_path())?,
    };
    if path.must_be_folder && !metadata.is_dir() {
        return Err(Failure::Code(ErrorCode::NotDirectory));
    }
    Ok(metadata)
}

/// A number that tells files apart without telling the host's inode numbers.
pub(super) fn metadata_hash(metadata: &Metadata, key: &[u8; 32]) -> MetadataHashValue {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&metadata.dev().to_le_bytes());
    hasher.update(&metadata.ino().to_le_bytes());
    let mut reader = hasher.finalize_xof();
    let mut half = || {
        let mut bytes = [0; 8];
        reader.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    };
    MetadataHashValue { lower: half(), upper: half() }
}

/// Sets the times of an open file or folder.
pub(super) fn set_times(
    file: &impl std::os::fd::AsFd,
    accessed: NewTimestamp,
    modified: NewTimestamp,
) -> Result<(), Failure> {
    let spec = |time: NewTimestamp| -> Result<Timespec, Failure> {
        Ok(match time {
            NewTimestamp::NoChange => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            NewTimestamp::Now => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
            NewTimestamp::Timestamp(time) => Timespec {
                tv_sec: i64::try_from(time.seconds).map_err(|_| Failure::Code(ErrorCode::Overflow))?,
                tv_nsec: i64::from(checked_nanoseconds(time)?),
            },
        })
    };
    let times = Timestamps { last_access: spec(accessed)?, last_modification: spec(modified)? };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// Sets the times of what a path leads to.
pub(super) fn set_times_at(
    folder: &FolderHandle,
    path: &GuestPath,
    follow: bool,
    accessed: NewTimestamp,
    modified: NewTimestamp,
) -> Result<(), Failure> {
    let spec = |time: NewTimestamp| -> Result<Option<SystemTimeSpec>, Failure> {
        Ok(match time {
            NewTimestamp::NoChange => None,
            NewTimestamp::Now => Some(SystemTimeSpec::SymbolicNow),
            NewTimestamp::Timestamp(time) => Some(SystemTimeSpec::Absolute(system_time(time)?)),
        })
    };
    let (accessed, modified) = (spec(accessed)?, spec(modified)?);
    let metadata = stat_at(folder, path, follow)?;
    if !(metadata.is_file() || metadata.is_dir() || metadata.is_symlink()) {
        return Err(Failure::NotRegular);
    }
    // `set_times` would open the file, and wait if it has become a FIFO: the path is resolved instead,
    // and its last component, which then is no symlink, is set without being opened.
    match follow || path.must_be_folder {
        true => {
            let resolved = folder.dir.canonicalize(path.as_path())?;
            folder.dir.set_symlink_times(resolved, accessed, modified)?;
        }
        false => folder.dir.set_symlink_times(path.as_path(), accessed, modified)?,
    }
    Ok(())
}

fn checked_nanoseconds(time: Datetime) -> Result<u32, Failure> {
    if time.nanoseconds < 1_000_000_000 {
        Ok(time.nanoseconds)
    } else {
        Err(Failure::Code(ErrorCode::Invalid))
    }
}

fn system_time(time: Datetime) -> Result<cap_std::time::SystemTime, Failure> {
    // The kernel's seconds are signed.
    i64::try_from(time.seconds).map_err(|_| Failure::Code(ErrorCode::Overflow))?;
    let since = Duration::new(time.seconds, checked_nanoseconds(time)?);
    let time: SystemTime = UNIX_EPOCH.checked_add(since).ok_or(Failure::Code(ErrorCode::Overflow))?;
    Ok(cap_std::time::SystemTime::from_std(time))
}

fn descriptor_type(kind: FileType) -> DescriptorType {
    if kind.is_dir() {
        DescriptorType::Directory
    } else if kind.is_file() {
        DescriptorType::RegularFile
    } else if kind.is_symlink() {
        DescriptorType::SymbolicLink
    } else if kind.is_fifo() {
        DescriptorType::Fifo
    } else if kind.is_socket() {
        DescriptorType::Socket
    } else if kind.is_block_device() {
        DescriptorType::BlockDevice
    } else if kind.is_char_device() {
        DescriptorType::CharacterDevice
    } else {
        DescriptorType::Unknown
    }
}

/// The length that the quota counts: only regular files hold bytes.
fn counted_length(metadata: &Metadata) -> u64 {
    if metadata.is_file() { metadata.len() } else { 0 }
}

/// Moving or linking across grants would carry a file from one set of rules to another.
fn same_mount(from: &FolderHandle, to: &FolderHandle) -> Result<(), Failure> {
    if Arc::ptr_eq(&from.mount, &to.mount) { Ok(()) } else { Err(Failure::Code(ErrorCode::CrossDevice)) }
}

fn reserve_entry(account: &mut Option<Account<'_>>) -> Result<(), Failure> {
    account.as_mut().map_or(Ok(()), |account| account.reserve(0, 1))
}

fn release_entry(account: &mut Option<Account<'_>>) {
    if let Some(account) = account {
        account.release(0, 1);
    }
}

impl Mount {
    /// The account of the folder, if it may be written.
    fn lock(&self) -> Option<Account<'_>> {
        self.quota.as_ref().map(|quota| quota.lock(&self.root))
    }

    /// A guest closed a file of this grant. Waits for whoever has the account.
    pub(super) fn closed(&self, file: &File) {
        if let Some(account) = self.lock() {
            close(account, file);
        }
    }

    /// The same, but only if nobody has the account; says whether it was done.
    pub(super) fn closed_at_once(&self, file: &File) -> bool {
        match self.quota.as_ref().map(|quota| quota.try_lock(&self.root)) {
            Some(Some(account)) => {
                close(account, file);
                true
            }
            Some(None) => false,
            None => true,
        }
    }
}

fn close(mut account: Account<'_>, file: &File) {
    if let Ok(metadata) = file.metadata() {
        account.closed(file_id(&metadata), metadata.len());
    }
}
