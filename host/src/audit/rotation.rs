//! How one key of checkpoints hands over to the next, so that whoever trusts the first can trust the last.
//!
//! A rotation is a record, `key_rotated`, that names the new key. The old key's checkpoint over that record is
//! kept beside it, in `keys/`: what the old key signed says what comes after it.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, CheckpointError, VerifierKey};
use super::disk::{self, Disk};
use super::event::{Event, Record};
use super::segment;
use crate::ids::Sequence;

/// The most bytes of one file, and the most files.
const FILE_BYTES_MAX: u64 = 4 << 20;
const ROTATIONS_MAX: usize = 10_000;

/// One rotation, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// The key that signed until then.
    pub(super) from: String,
    /// The key that signs from then on.
    pub(super) to: String,
    /// The line of the record, without its newline.
    pub(super) record: String,
    /// A checkpoint of the old key that covers it.
    pub(super) checkpoint: String,
}

/// What a rotation says, once it is held against the old key. Whether the log has the record is still to be seen.
#[derive(Clone, Debug)]
pub(super) struct HandedOver {
    /// Where the record is to be.
    pub(super) seq: Sequence,
    /// What the old key signed.
    pub(super) checkpoint: Checkpoint,
    /// The new key.
    pub(super) key: VerifierKey,
}

impl Rotation {
    /// Holds it against the key that it is from.
    pub(super) fn check(&self, from: &VerifierKey) -> Result<HandedOver, CheckpointError> {
        let malformed = |reason: &str| CheckpointError::Malformed(reason.to_owned());
        let checkpoint = from.check(self.checkpoint.as_bytes())?;
        let record: Record =
            serde_json::from_str(&self.record).map_err(|error| malformed(&error.to_string()))?;
        let Event::KeyRotated { key, .. } = &record.event else {
            return Err(malformed("its record is not of a rotation"));
        };
        if *key != self.to {
            return Err(malformed("its record names another key"));
        }
        if checkpoint.size <= record.seq.0 {
            return Err(malformed("its checkpoint does not cover its record"));
        }
        let key = VerifierKey::parse(key)?;
        if key.origin() != from.origin() {
            let (found, expected) = (key.origin().to_owned(), from.origin().to_owned());
            return Err(CheckpointError::Origin { found, expected });
        }
        Ok(HandedOver { seq: record.seq, checkpoint, key })
    }
}

fn folder_of(folder: &Path) -> PathBuf {
    folder.join("keys")
}

/// Keeps a rotation, so that it outlives a crash.
pub(super) fn write(disk: &dyn Disk, folder: &Path, seq: Sequence, rotation: &Rotation) -> io::Result<()> {
    let keys = folder_of(folder);
    segment::create_folder(&keys)?;
    let json = serde_json::to_vec(rotation).map_err(io::Error::other)?;
    disk::replace(disk, &keys.join(format!("{:020}.json", seq.0)), &json)
}

/// All rotations of a log, the first one first.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Rotation>> {
    let entries = match fs::read_dir(folder_of(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
        if files.len() > ROTATIONS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "there are too many rotations"));
        }
    }
    files.sort();
    files.iter().map(|path| read_one(path)).collect()
}

fn read_one(path: &Path) -> io::Result<Rotation> {
    let mut json = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut json)?;
    serde_json::from_slice(&json).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} is no rotation: {error}", path.display()))
    })
}

/// Whether a rotation to a key was kept: then it is to be ended, and not to be forgotten.
///
/// # Errors
/// If what is kept can't be read.
pub fn is_kept(folder: &Path, public: &str) -> io::Result<bool> {
    Ok(read(folder)?.iter().any(|rotation| rotation.to == public))
}
