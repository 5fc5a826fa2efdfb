//! What the log asks of a file system to change it. A trait, so that tests can have disks that fail, and
//! disks that lose what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// A file that only grows.
pub(super) trait DiskFile: Send + Sync {
    /// As `write(2)` on a file opened for appending: may write less than asked.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// As `fdatasync(2)`. Called no more once it has failed: the kernel may have dropped the pages.
    fn sync(&self) -> io::Result<()>;
}

impl DiskFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Where the log's files are.
pub(super) trait Disk: Send + Sync {
    /// Makes a file that is not there yet, for its owner only.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file, made if it is not there, to be appended to.
    fn append(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Cuts a file, and waits for the disk.
    fn truncate(&self, path: &Path, length: u64) -> io::Result<()>;
    /// Puts a file in the place of another.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Waits until what was made, renamed and removed in a folder is on disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The machine's.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(new_file(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        Ok(Arc::new(file))
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        sync_folder(folder)
    }
}

/// A file that was not there, for its owner only, to be appended to.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes all of `bytes`, or says why not. On an error a part may have been written.
pub(super) fn write_all(file: &dyn DiskFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes `path` anew, or puts it in the place of what was there, so that whoever reads sees one of the two,
/// after a power loss as well.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_added_extension("next");
    match disk.remove(&next) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(&next)?;
    write_all(&*file, bytes)?;
    file.sync()?;
    disk.rename(&next, path)?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))
}
