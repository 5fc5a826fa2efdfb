//! Arguments and results that grants have kept whole: one encrypted file each, outside the log.
//!
//! The log has commitments to them. They are on disk, and their names are, before the record that speaks of them is
//! made; and erasing a key leaves them unreadable before they are removed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::commitment::{KeptPayload, canonical};
use super::disk::{self, Disk, RealDisk};
use crate::ids::CallId;
use crate::secrets::{Ending, EvidenceKey, EvidenceKeyError, Patterns, PayloadKind};

/// The most bytes of one file: more than arguments and results may have.
pub const PAYLOAD_BYTES_MAX: u64 = 256 << 20;

/// The name of one file: `KEY/CALL.KIND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadName {
    /// The number of the key that it is encrypted with.
    pub key: u64,
    /// The call.
    pub call: CallId,
    /// What of it.
    pub kind: PayloadKind,
}

impl std::fmt::Display for PayloadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}.{}", self.key, self.call, self.kind.name())
    }
}

impl PayloadName {
    /// Reads what [`Display`](std::fmt::Display) writes, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, file) = text.split_once('/')?;
        let (call, kind) = file.split_once('.')?;
        let kind = KINDS.into_iter().find(|known| known.name() == kind)?;
        let name = Self { key: key.parse().ok()?, call: call.parse().ok()?, kind };
        (name.to_string() == text).then_some(name)
    }
}

const KINDS: [PayloadKind; 2] = [PayloadKind::Arguments, PayloadKind::Result];

/// Why a payload can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The file.
    #[error("could not {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It does not open.
    #[error("{path}: {source}", path = path.display())]
    Sealed {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: EvidenceKeyError,
    },
}

/// Where payloads are kept.
#[derive(Clone)]
pub struct Payloads {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
}

impl std::fmt::Debug for Payloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payloads").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Its first byte, before the text.
const WHOLE: u8 = 0;
const REDACTED: u8 = 1;

impl Payloads {
    /// In a folder, which is made with the first of them.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, disk: Arc::new(RealDisk) }
    }

    /// As [`new`](Self::new), with a disk of the caller's making.
    #[cfg(test)]
    pub(super) fn on(folder: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { folder, disk }
    }

    /// Keeps one, without the secrets of its call. Waits for the disk.
    ///
    /// # Errors
    /// [`PayloadError`]: it is not kept, and what there is of it is removed if it can be.
    pub fn keep(
        &self,
        key: &EvidenceKey,
        call: CallId,
        kind: PayloadKind,
        value: &Value,
        secrets: &Arc<Patterns>,
    ) -> Result<(), PayloadError> {
        let text = canonical(value);
        let redacted = secrets.redact(&text, Ending::Whole).map(|(clean, _)| clean);
        let plain = match redacted {
            Some(clean) => [&[REDACTED], clean.as_slice()].concat(),
            None => [&[WHOLE], text.as_slice()].concat(),
        };
        let path = self.path(key.number(), call, kind);
        let sealed = key.seal(call, kind, &plain);
        let sealed = sealed.map_err(|source| PayloadError::Sealed { path: path.clone(), source })?;
        let io = |source| PayloadError::Io { action: "write", path: path.clone(), source };
        let folder = self.make_folder(key.number()).map_err(io)?;
        let file = self.disk.create(&path).map_err(io)?;
        let written = disk::write_all(&*file, &sealed).and_then(|()| file.sync());
        written.and_then(|()| self.disk.sync_folder(&folder)).map_err(|error| {
            // The call that it is of does not go on, and nothing speaks of it.
            let _ = self.disk.remove(&path);
            io(error)
        })
    }

    /// All that is kept, and how many bytes each has. Other files are left alone.
    ///
    /// # Errors
    /// [`PayloadError`]: the folder can't be read.
    pub fn list(&self) -> Result<Vec<(PayloadName, PathBuf, u64)>, PayloadError> {
        let mut found = Vec::new();
        for key in entries(&self.folder)? {
            // A file here is nobody's.
            if !key.is_dir() {
                continue;
            }
            for file in entries(&key)? {
                let relative = file.strip_prefix(&self.folder).ok().and_then(Path::to_str);
                let Some(name) = relative.and_then(PayloadName::parse) else { continue };
                let measured = fs::symlink_metadata(&file);
                let io = |source| PayloadError::Io { action: "measure", path: file.clone(), source };
                let metadata = measured.map_err(io)?;
                if metadata.is_file() {
                    found.push((name, file, metadata.len()));
                }
            }
        }
        found.sort_by(|one, other| one.1.cmp(&other.1));
        Ok(found)
    }

    /// Whether something is kept of a call.
    ///
    /// # Errors
    /// [`PayloadError`]: it can't be looked at.
    pub fn has(&self, key: u64, call: CallId) -> Result<bool, PayloadError> {
        for kind in KINDS {
            let path = self.path(key, call, kind);
            let there = path.try_exists();
            if there.map_err(|source| PayloadError::Io { action: "look for", path, source })? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes what is kept of one call; how many files that were.
    ///
    /// # Errors
    /// [`PayloadError`]: some may be there yet.
    pub fn remove_call(&self, key: u64, call: CallId) -> Result<u64, PayloadError> {
        let mut removed = 0;
        for kind in KINDS {
            let path = self.path(key, call, kind);
            match self.disk.remove(&path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(PayloadError::Io { action: "remove", path, source }),
            }
        }
        if removed > 0 {
            let path = self.folder.join(key.to_string());
            let synced = self.disk.sync_folder(&path);
            synced.map_err(|source| PayloadError::Io { action: "sync", path, source })?;
        }
        Ok(removed)
    }

    /// Reads one, if it was kept.
    ///
    /// # Errors
    /// [`PayloadError`]: it is there, and can't be read.
    pub fn read(
        &self,
        key: &EvidenceKey,
        call: CallId,
        kind: PayloadKind,
    ) -> Result<Option<KeptPayload>, PayloadError> {
        let path = self.path(key.number(), call, kind);
        let mut sealed = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(PAYLOAD_BYTES_MAX).read_to_end(&mut sealed));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(PayloadError::Io { action: "read", path, source }),
        }
        let altered = |source| PayloadError::Sealed { path: path.clone(), source };
        let plain = key.open(call, kind, &sealed).map_err(altered)?;
        let (first, text) = plain.split_first().ok_or_else(|| altered(EvidenceKeyError::Altered))?;
        // A mark may stand where JSON does not have texts; it is a text of its own then.
        let value = serde_json::from_slice(text)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(text).into_owned()));
        Ok(Some(KeptPayload { value, redacted: *first == REDACTED }))
    }

    /// Removes what was encrypted with a key. Each file is named: nothing else is followed.
    ///
    /// # Errors
    /// [`PayloadError`]: some are there yet.
    pub fn remove(&self, key: u64) -> Result<u64, PayloadError> {
        let folder = self.folder.join(key.to_string());
        let io = |source| PayloadError::Io { action: "remove what is in", path: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(io(error)),
        };
        let mut removed = 0;
        for entry in entries {
            fs::remove_file(entry.map_err(io)?.path()).map_err(io)?;
            removed += 1;
        }
        fs::remove_dir(&folder).map_err(io)?;
        self.disk.sync_folder(&self.folder).map_err(io)?;
        Ok(removed)
    }

    fn path(&self, key: u64, call: CallId, kind: PayloadKind) -> PathBuf {
        self.folder.join(PayloadName { key, call, kind }.to_string())
    }

    /// The folder of a key, which is on disk with its name.
    fn make_folder(&self, key: u64) -> io::Result<PathBuf> {
        let of_key = self.folder.join(key.to_string());
        for folder in [&self.folder, &of_key] {
            match DirBuilder::new().mode(0o700).create(folder) {
                Ok(()) => folder.parent().map_or(Ok(()), |parent| self.disk.sync_folder(parent))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(of_key)
    }
}

/// What is in a folder; nothing if it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, PayloadError> {
    let io = |source| PayloadError::Io { action: "list", path: folder.to_owned(), source };
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry.map_err(io)?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io(error)),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test puts a stranger's file among those of ours")]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::audit::disk::DiskFile;
    use crate::secrets::CallSecrets;

    /// A disk that notes what is done, and fails at one step.
    #[derive(Default)]
    struct Noting {
        steps: Arc<Mutex<Vec<String>>>,
        fails_at: Option<&'static str>,
    }

    impl Noting {
        fn step(&self, step: String) -> io::Result<()> {
            let fails = self.fails_at.is_some_and(|at| step.starts_with(at));
            self.steps.lock().expect("no panic").push(step);
            if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        }
    }

    struct NotingFile(Arc<dyn DiskFile>, Arc<Noting>);

    impl DiskFile for NotingFile {
        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            self.1.step("write".to_owned())?;
            self.0.write(bytes)
        }

        fn sync(&self) -> io::Result<()> {
            self.1.step("sync file".to_owned())?;
            self.0.sync()
        }
    }

    struct NotingDisk(Arc<Noting>);

    fn name(path: &Path) -> &str {
        path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    impl Disk for NotingDisk {
        fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            self.0.step("create".to_owned())?;
            Ok(Arc::new(NotingFile(RealDisk.create(path)?, Arc::clone(&self.0))))
        }

        fn append(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            RealDisk.append(path)
        }

        fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
            RealDisk.truncate(path, length)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealDisk.rename(from, to)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.0.step("remove".to_owned())?;
            RealDisk.remove(path)
        }

        fn sync_folder(&self, folder: &Path) -> io::Result<()> {
            self.0.step(format!("sync folder {}", name(folder)))?;
            RealDisk.sync_folder(folder)
        }
    }

    async fn key() -> (tempfile::TempDir, Arc<EvidenceKey>) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = crate::database::Database::open(&folder.path().join("db")).await.expect("a database");
        let keys = crate::secrets::EvidenceKeys::new(database, [7; 32]);
        let principal = "ann".parse().expect("a name");
        let key = keys.of(&principal, jiff::Timestamp::UNIX_EPOCH).await.expect("a key");
        (folder, key)
    }

    #[tokio::test]
    async fn a_payload_is_on_disk_with_its_name_before_it_is_said_to_be_kept() {
        let (folder, key) = key().await;
        let noting = Arc::new(Noting::default());
        let disk = Arc::new(NotingDisk(Arc::clone(&noting)));
        let payloads = Payloads::on(folder.path().join("payloads"), disk);
        let secrets = Arc::clone(CallSecrets::default().patterns());
        let call = CallId::generate();
        let value = json!({"a": 1});
        payloads.keep(&key, call, PayloadKind::Arguments, &value, &secrets).expect("kept");
        let root = name(folder.path()).to_owned();
        let steps = std::mem::take(&mut *noting.steps.lock().expect("no panic"));
        let folders = [format!("sync folder {root}"), "sync folder payloads".to_owned()];
        let file = ["create", "write", "sync file", "sync folder 1"].map(str::to_owned);
        assert_eq!(steps, [&folders[..], &file].concat());
        payloads.keep(&key, call, PayloadKind::Result, &value, &secrets).expect("kept");
        assert_eq!(*noting.steps.lock().expect("no panic"), file, "the folders are there");
        let kept = payloads.read(&key, call, PayloadKind::Arguments).expect("readable").expect("there");
        assert_eq!((kept.value, kept.redacted), (value, false));
        fs::write(folder.path().join("payloads/1/stranger"), "x").expect("written");
        let names: Vec<_> =
            payloads.list().expect("listed").into_iter().map(|(name, ..)| name.to_string()).collect();
        assert_eq!(names, [format!("1/{call}.arguments"), format!("1/{call}.result")]);
        assert_eq!(payloads.remove_call(1, CallId::generate()).expect("nothing"), 0);
        assert_eq!(payloads.remove_call(1, call).expect("removed"), 2);
        assert_eq!(payloads.list().expect("listed").len(), 0);
    }

    #[tokio::test]
    async fn what_can_not_be_put_on_disk_is_not_kept_at_all() {
        for fails_at in ["create", "write", "sync file", "sync folder 1", "sync folder payloads"] {
            let (folder, key) = key().await;
            let noting = Noting { fails_at: Some(fails_at), ..Noting::default() };
            let disk = Arc::new(NotingDisk(Arc::new(noting)));
            let payloads = Payloads::on(folder.path().join("payloads"), disk);
            let (secrets, call) = (Arc::clone(CallSecrets::default().patterns()), CallId::generate());
            let kept = payloads.keep(&key, call, PayloadKind::Result, &json!(1), &secrets);
            kept.expect_err(fails_at);
            assert_eq!(payloads.list().expect("listed").len(), 0, "{fails_at}");
        }
    }

    #[test]
    fn only_names_of_payloads_are_taken_for_such() {
        let call = "01890a5d-ac96-774b-bcce-b302099a8057";
        let good = format!("7/{call}.result");
        assert_eq!(PayloadName::parse(&good).expect("a name").to_string(), good);
        for bad in [
            format!("07/{call}.result"),
            format!("+7/{call}.result"),
            format!("7/{}.result", call.to_uppercase()),
            format!("7/{call}.results"),
            format!("7/{call}"),
            format!("../7/{call}.result"),
            format!("7/../{call}.result"),
            format!("/7/{call}.result"),
            "7/.result".to_owned(),
            String::new(),
        ] {
            assert_eq!(PayloadName::parse(&bad), None, "{bad}");
        }
    }
}
