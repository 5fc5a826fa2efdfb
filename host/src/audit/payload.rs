//! Arguments and results that grants have kept whole: one encrypted file each, outside the log.
//!
//! The log has commitments to them. They are handed to the kernel, not waited for on disk: a power loss may take
//! those of the last seconds, and erasing a key leaves them unreadable before they are removed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::commitment::{KeptPayload, canonical};
use crate::ids::CallId;
use crate::secrets::{Ending, EvidenceKey, EvidenceKeyError, Patterns, PayloadKind};

/// The most bytes of one file: more than arguments and results may have.
const FILE_BYTES_MAX: u64 = 256 << 20;

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
#[derive(Clone, Debug)]
pub struct Payloads {
    folder: PathBuf,
}

/// Its first byte, before the text.
const WHOLE: u8 = 0;
const REDACTED: u8 = 1;

impl Payloads {
    /// In a folder, which is made with the first of them.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps one, without the secrets of its call.
    ///
    /// # Errors
    /// [`PayloadError`]: it is not kept, or not all of it.
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
        self.make_folder(key.number()).map_err(io)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(&sealed)).map_err(io)
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
        let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut sealed));
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
        Ok(removed)
    }

    fn path(&self, key: u64, call: CallId, kind: PayloadKind) -> PathBuf {
        self.folder.join(key.to_string()).join(format!("{call}.{}", kind.name()))
    }

    fn make_folder(&self, key: u64) -> io::Result<()> {
        for folder in [self.folder.as_path(), &self.folder.join(key.to_string()) as &Path] {
            match DirBuilder::new().mode(0o700).create(folder) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
