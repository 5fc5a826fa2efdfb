//! The archive of a data folder: a tar file that holds database, components and log of one moment, and
//! last a manifest with the SHA-256 of each.
//!
//! Knows names, sizes and sums, not what is in a database or a record. What it reads it trusts in
//! nothing: only files of a closed set of names, nothing but regular ones, each within its bound. What
//! belongs to one machine is left out: compiled components, and the key of their MACs. So are the keys of stored
//! secrets and of evidence, without which the rest says nothing. The key of the hashes of API keys is in it: those
//! can't be guessed, with it or without, and a restored host lets the same keys in.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::payload::{PAYLOAD_BYTES_MAX, PayloadName};
use crate::ids::{PackageDigest, Revision, Sequence};

pub use read::{restore, verify};
pub use write::{Part, Source, write};

/// The version of the archive's form.
const FORMAT: u32 = 2;

/// The name of the last member.
const MANIFEST: &str = "manifest.json";
const DATABASE: &str = "portcullis.db";
const LIMITS: &str = "limits.toml";
const AUDIT_SETTINGS: &str = "audit.toml";
const SERVE_SETTINGS: &str = "serve.toml";
const API_KEY: &str = "api.key";
const HASHES: &str = "audit/tree";
const START: &str = "audit/start";
const PACKAGES: &str = "packages";
const AUDIT: &str = "audit";
const PAYLOADS: &str = "payloads";
const QUARANTINE: &str = "audit/quarantine";

/// The most files in a backup, and the most bytes of the manifest that names them. Payloads are two files a call.
const MEMBERS_MAX: usize = 1_000_000;
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
const DATABASE_BYTES_MAX: u64 = 64 << 30;
/// The most bytes of one file of the log. What it may take is bounded by the archive, which is not
/// compressed, and by the room that is looked for first.
const LOG_BYTES_MAX: u64 = 1 << 50;
/// More than any host reads of it.
const LIMITS_BYTES_MAX: u64 = 1 << 20;
const API_KEY_BYTES: u64 = 32;
const QUARANTINE_NAME_BYTES_MAX: usize = 80;

/// How much is copied at once.
const BLOCK_BYTES: usize = 64 << 10;

/// Why a backup could not be made, read or put back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or folder could not be used: the disk's fault, or its admin's.
    #[error("could not {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The stream could not be written on: whoever read it is gone, or its disk is full.
    #[error("the backup could not be written to its end: {0}")]
    Stream(Arc<io::Error>),
    /// The file is not a backup, or not any more. Nothing was restored.
    #[error("this is not a whole backup: {0}; nothing was restored")]
    NotWhole(String),
    /// A newer version made it.
    #[error(
        "the backup was made by version {version}, whose {what} is {found}; this version knows {known}: use a newer portcullis"
    )]
    Newer {
        /// The version that made it.
        version: String,
        /// Of what.
        what: &'static str,
        /// Its number.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// There is something in the folder that the backup is to be put into.
    #[error("{path} is not empty; a backup is put into a new folder: name one with --data-dir", path = path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The disk has not enough room.
    #[error("the backup has {needed} bytes, and {free} are free on the disk of {path}", path = path.display())]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// What it takes.
        needed: u64,
        /// What is there.
        free: u64,
    },
}

impl BackupError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { action, path, source: Arc::new(error) }
    }
}

/// What a backup is of, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the archive's form.
    pub format: u32,
    /// What it is of.
    #[serde(flatten)]
    pub of: Moment,
    /// Each member before this one, in order.
    pub members: Vec<Member>,
}

/// The state of a host at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The version of the host that made it.
    pub version: String,
    /// When.
    pub made_at: Timestamp,
    /// The schema of the database.
    pub schema: i64,
    /// The revision of the grants in force.
    pub revision: Revision,
    /// The record of the log that says that the backup was taken. A few later ones may follow it.
    pub record: Sequence,
}

/// One file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name in the archive, which is that in the data folder.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Their SHA-256, in hex.
    pub sha256: String,
}

/// What may be in an archive. Whatever else is in one is refused, and so is whatever a path could lead
/// to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum MemberName {
    Database,
    Limits,
    AuditSettings,
    ServeSettings,
    ApiKey,
    Package(PackageDigest),
    Segment(Sequence),
    ClosedSegment(Sequence),
    Hashes,
    Start,
    Quarantine(String),
    Payload(PayloadName),
    Manifest,
}

impl MemberName {
    fn parse(name: &str) -> Option<Self> {
        match name {
            DATABASE => return Some(Self::Database),
            LIMITS => return Some(Self::Limits),
            AUDIT_SETTINGS => return Some(Self::AuditSettings),
            SERVE_SETTINGS => return Some(Self::ServeSettings),
            API_KEY => return Some(Self::ApiKey),
            HASHES => return Some(Self::Hashes),
            START => return Some(Self::Start),
            MANIFEST => return Some(Self::Manifest),
            _ => {}
        }
        if let Some(file) = name.strip_prefix("packages/") {
            let digest = format!("sha256:{}", file.strip_suffix(".wasm")?).parse().ok()?;
            return (Self::Package(digest).text() == name).then_some(Self::Package(digest));
        }
        if let Some(file) = name.strip_prefix("audit/quarantine/") {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            let is_plain = !file.starts_with('.') && !file.is_empty() && file.bytes().all(plain);
            return (is_plain && file.len() <= QUARANTINE_NAME_BYTES_MAX)
                .then(|| Self::Quarantine(file.to_owned()));
        }
        if let Some(file) = name.strip_prefix("payloads/") {
            let payload = Self::Payload(PayloadName::parse(file)?);
            return (payload.text() == name).then_some(payload);
        }
        let file = name.strip_prefix("audit/")?;
        let segment = match file.strip_suffix(".jsonl") {
            Some(digits) => Self::Segment(Sequence(digits.parse().ok()?)),
            None => Self::ClosedSegment(Sequence(file.strip_suffix(".jsonl.zst")?.parse().ok()?)),
        };
        (segment.text() == name).then_some(segment)
    }

    fn text(&self) -> String {
        match self {
            Self::Database => DATABASE.to_owned(),
            Self::Limits => LIMITS.to_owned(),
            Self::AuditSettings => AUDIT_SETTINGS.to_owned(),
            Self::ServeSettings => SERVE_SETTINGS.to_owned(),
            Self::ApiKey => API_KEY.to_owned(),
            Self::Hashes => HASHES.to_owned(),
            Self::Start => START.to_owned(),
            Self::ClosedSegment(first) => format!("{AUDIT}/{:020}.jsonl.zst", first.0),
            Self::Package(digest) => format!("{PACKAGES}/{}.wasm", digest.hex()),
            Self::Segment(first) => format!("{AUDIT}/{:020}.jsonl", first.0),
            Self::Quarantine(file) => format!("{QUARANTINE}/{file}"),
            Self::Payload(payload) => format!("{PAYLOADS}/{payload}"),
            Self::Manifest => MANIFEST.to_owned(),
        }
    }

    fn bytes_max(&self) -> u64 {
        match self {
            Self::Database => DATABASE_BYTES_MAX,
            Self::Limits | Self::AuditSettings | Self::ServeSettings => LIMITS_BYTES_MAX,
            Self::ApiKey => API_KEY_BYTES,
            Self::Package(_) => crate::limits::Limit::ComponentBytes.row().ceiling,
            Self::Segment(_) | Self::ClosedSegment(_) | Self::Hashes | Self::Start | Self::Quarantine(_) => {
                LOG_BYTES_MAX
            }
            Self::Payload(_) => PAYLOAD_BYTES_MAX,
            Self::Manifest => MANIFEST_BYTES_MAX,
        }
    }
}
