//! How much is held under a granted folder, and how much may be.
//!
//! What is held is counted once for each folder of the host and shared by all calls that write there.
//! It is measured by a walk when it is first needed, kept up to date by each change that guests make,
//! and measured again (at most once a second) before a change is refused, in case somebody else
//! removed files. Lengths count, not blocks: a sparse file costs what it claims to be.
//!
//! A file that was unlinked while a guest has it open is counted until it is closed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use cap_std::fs::{Dir, MetadataExt};

use super::operations::Failure;
use crate::limits::Limit;

/// A folder with more entries than this counts as full: walking it would take too long.
const WALKED_ENTRIES_MAX: u64 = 1_000_000;
/// How old a measurement must be before a refusal makes another.
const MEASUREMENT_AGE_MIN: Duration = Duration::from_secs(1);

/// Device and inode: what a file is, whatever its names are.
type FileId = (u64, u64);

/// What is held under each granted folder of this host.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Mutex<HashMap<PathBuf, Weak<Mutex<Held>>>>);

impl Quotas {
    /// The account of a folder, shared with every call that has it at the moment.
    pub(super) fn account(&self, host_path: &Path, bytes_max: u64, files_max: u64) -> Quota {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.retain(|_, held| held.strong_count() > 0);
        let held = accounts.get(host_path).and_then(Weak::upgrade).unwrap_or_else(|| {
            let held = Arc::default();
            accounts.insert(host_path.to_owned(), Arc::downgrade(&held));
            held
        });
        Quota { bytes_max, files_max, held }
    }
}

/// One grant's bound on what is held under a folder.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    bytes_max: u64,
    files_max: u64,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    measured: Option<Instant>,
    bytes: u64,
    files: u64,
    open: HashMap<FileId, OpenFile>,
}

#[derive(Debug, Default)]
struct OpenFile {
    handles: u64,
    /// Its length, once its last name is gone: no walk finds it, and it is counted until the last
    /// handle is gone too.
    unlinked_bytes: Option<u64>,
}

impl Quota {
    /// Takes the account for one change: nobody else changes the folder through us meanwhile.
    pub(super) fn lock<'a>(&'a self, root: &'a Dir) -> Account<'a> {
        Account { quota: self, root, held: self.held.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The same, unless somebody has it.
    pub(super) fn try_lock<'a>(&'a self, root: &'a Dir) -> Option<Account<'a>> {
        let held = match self.held.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Account { quota: self, root, held })
    }
}

/// An account that is taken for one change.
#[derive(Debug)]
pub(super) struct Account<'a> {
    quota: &'a Quota,
    root: &'a Dir,
    held: MutexGuard<'a, Held>,
}

impl Account<'_> {
    /// Adds to what is held, if there is room.
    ///
    /// # Errors
    /// [`Failure::Full`], and nothing is added.
    pub(super) fn reserve(&mut self, bytes: u64, files: u64) -> Result<(), Failure> {
        if self.held.measured.is_none() {
            self.measure()?;
        }
        let mut fits = self.fits(bytes, files);
        if fits.is_err() && self.held.measured.is_none_or(|at| at.elapsed() >= MEASUREMENT_AGE_MIN) {
            self.measure()?;
            fits = self.fits(bytes, files);
        }
        fits.map_err(Failure::Full)?;
        self.held.bytes = self.held.bytes.saturating_add(bytes);
        self.held.files = self.held.files.saturating_add(files);
        Ok(())
    }

    /// Gives back what a change freed or a failed one did not use.
    pub(super) fn release(&mut self, bytes: u64, files: u64) {
        self.held.bytes = self.held.bytes.saturating_sub(bytes);
        self.held.files = self.held.files.saturating_sub(files);
    }

    /// A guest opened this file.
    pub(super) fn opened(&mut self, id: FileId) {
        self.held.open.entry(id).or_default().handles += 1;
    }

    /// A guest closed this file, whose length is `bytes`.
    pub(super) fn closed(&mut self, id: FileId, bytes: u64) {
        let Some(file) = self.held.open.get_mut(&id) else { return };
        file.handles -= 1;
        if file.handles == 0 {
            let unlinked = file.unlinked_bytes.is_some();
            self.held.open.remove(&id);
            if unlinked {
                self.release(bytes, 0);
            }
        }
    }

    /// A guest changed the length of this file, and it was reserved or released.
    pub(super) fn resized(&mut self, id: FileId, bytes: u64) {
        if let Some(unlinked) = self.held.open.get_mut(&id).and_then(|file| file.unlinked_bytes.as_mut()) {
            *unlinked = bytes;
        }
    }

    /// A name of this file is gone; `links` says how many it had.
    pub(super) fn unlinked(&mut self, id: FileId, bytes: u64, links: u64) {
        self.release(0, 1);
        if links > 1 {
            return;
        }
        match self.held.open.get_mut(&id) {
            Some(file) => file.unlinked_bytes = Some(bytes),
            None => self.release(bytes, 0),
        }
    }

    fn fits(&self, bytes: u64, files: u64) -> Result<(), Limit> {
        let within = |held: u64, more: u64, max: u64| {
            more == 0 || held.checked_add(more).is_some_and(|sum| sum <= max)
        };
        if !within(self.held.bytes, bytes, self.quota.bytes_max) {
            return Err(Limit::FileBytes);
        }
        if !within(self.held.files, files, self.quota.files_max) {
            return Err(Limit::Files);
        }
        Ok(())
    }

    fn measure(&mut self) -> Result<(), Failure> {
        let (bytes, files) = measure(self.root)?;
        let unlinked = self.held.open.values().filter_map(|file| file.unlinked_bytes);
        self.held.bytes = unlinked.fold(bytes, u64::saturating_add);
        self.held.files = files;
        self.held.measured = Some(Instant::now());
        Ok(())
    }
}

/// Bytes and entries below a folder. Symlinks count as entries and are not followed; a file with
/// two names counts twice.
fn measure(root: &Dir) -> Result<(u64, u64), Failure> {
    let mut folders = vec![root.try_clone()?];
    let (mut bytes, mut files) = (0_u64, 0_u64);
    while let Some(folder) = folders.pop() {
        for entry in folder.entries()? {
            let entry = entry?;
            files += 1;
            if files > WALKED_ENTRIES_MAX {
                return Ok((u64::MAX, u64::MAX));
            }
            // An entry may vanish between being listed and being looked at.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                if let Ok(child) = entry.open_dir() {
                    folders.push(child);
                }
            } else if metadata.is_file() {
                bytes = bytes.saturating_add(metadata.len());
            }
        }
    }
    Ok((bytes, files))
}

/// Device and inode of a file.
pub(super) fn file_id(metadata: &cap_std::fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).expect("it opens");
        (folder, dir)
    }

    #[test]
    fn what_is_there_counts_and_what_does_not_fit_is_refused_whole() {
        let (_temporary, dir) = folder();
        dir.create_dir("sub").expect("made");
        dir.write("sub/old", [0; 60]).expect("written");
        let quota = Quotas::default().account(Path::new("/x"), 100, 3);
        let mut account = quota.lock(&dir);
        assert!(matches!(account.reserve(41, 0), Err(Failure::Full(Limit::FileBytes))));
        account.reserve(40, 1).expect("fits exactly");
        assert!(matches!(account.reserve(0, 1), Err(Failure::Full(Limit::Files))));
        account.release(40, 1);
        account.reserve(40, 1).expect("fits again");
        assert!(matches!(account.reserve(u64::MAX, 0), Err(Failure::Full(Limit::FileBytes))));
    }

    #[test]
    fn an_unlinked_open_file_counts_until_it_is_closed() {
        let (_temporary, dir) = folder();
        let quota = Quotas::default().account(Path::new("/x"), 100, 10);
        let mut account = quota.lock(&dir);
        account.reserve(100, 1).expect("fits");
        account.opened((1, 1));
        account.unlinked((1, 1), 100, 1);
        assert!(account.reserve(1, 0).is_err(), "the bytes are still on the disk");
        account.closed((1, 1), 100);
        account.reserve(100, 1).expect("freed");
    }

    #[test]
    fn an_unlinked_open_file_counts_when_the_folder_is_measured_again() {
        let (_temporary, dir) = folder();
        let quota = Quotas::default().account(Path::new("/x"), 100, 10);
        let mut account = quota.lock(&dir);
        account.reserve(100, 1).expect("fits");
        account.opened((1, 1));
        account.unlinked((1, 1), 100, 1);
        // As if the measurement were old: no walk finds the file.
        account.held.measured = None;
        assert!(account.reserve(1, 0).is_err(), "the bytes are still on the disk");
        account.release(60, 0);
        account.resized((1, 1), 40);
        account.held.measured = None;
        assert!(account.reserve(61, 0).is_err());
        account.reserve(60, 0).expect("fits beside the forty");
        account.release(60, 0);
        account.closed((1, 1), 40);
        account.reserve(100, 1).expect("freed");
    }
}
