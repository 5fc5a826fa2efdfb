//! Which keys may have signed: the one that a verifier trusts, and those that it handed over to, one by one.
//!
//! A rotation's statement stands by itself: the record that names the new key, with the proof that it is in the tree
//! that the old key signed. Trust goes forwards only: a new key says nothing of the one before it.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, CheckpointError, VerifierKey};
use super::event::Event;
use super::prove::{Line, ProveError, included};
use super::receipt::{Included, ReceiptError};
use super::rotation;
use super::tree::StoredHashes;

/// What the form of this version is called.
pub const ROTATIONS_FORMAT: &str = "portcullis-rotations/1";

/// The most bytes of such a document: some ten thousand rotations.
pub const ROTATIONS_BYTES_MAX: usize = 64 << 20;

/// All rotations of a log's key, for whoever trusts one of its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotations {
    /// [`ROTATIONS_FORMAT`].
    pub format: String,
    /// The log: the name of its keys.
    pub origin: String,
    /// The first one first.
    pub rotations: Vec<Statement>,
}

/// One key's word for the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The key that signed until then.
    pub from: String,
    /// The key that signs from then on.
    pub to: String,
    /// The record that says so.
    pub record: Included,
    /// A checkpoint of the old key that covers it.
    pub checkpoint: String,
}

/// Why a document of rotations says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationsError {
    /// Too much to read.
    #[error("the rotations have {bytes} bytes or more, at most {ROTATIONS_BYTES_MAX} are read")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// Not such a document.
    #[error("these are not the rotations of a key: {0}")]
    Malformed(String),
    /// Of another version.
    #[error("the rotations are of the form {found:?}, and this program knows {ROTATIONS_FORMAT}")]
    Format {
        /// What it says.
        found: String,
    },
    /// Of another log.
    #[error("the rotations are of the log {found:?}, and the key of {expected}")]
    OtherLog {
        /// What they say.
        found: String,
        /// The key's.
        expected: String,
    },
    /// The old key did not sign for the new one.
    #[error("the rotation from key {from}: {error}")]
    Checkpoint {
        /// The old key.
        from: String,
        /// What does not hold.
        error: CheckpointError,
    },
    /// Its record is not what the old key signed.
    #[error("the rotation from key {from}: {error}")]
    Record {
        /// The old key.
        from: String,
        /// What does not hold.
        error: ReceiptError,
    },
    /// Its record names another key.
    #[error("the rotation from key {from}: its record does not name the key {to}")]
    OtherKey {
        /// The old key.
        from: String,
        /// What it is said to name.
        to: String,
    },
}

/// The keys that may have signed. The first is the one that is trusted by itself.
#[derive(Clone, Debug)]
pub struct TrustedKeys {
    keys: Vec<VerifierKey>,
}

impl From<VerifierKey> for TrustedKeys {
    fn from(key: VerifierKey) -> Self {
        Self { keys: vec![key] }
    }
}

impl TrustedKeys {
    /// A key, and those that it handed over to, as a document of rotations proves. Rotations before the key are
    /// passed over: they say nothing of it.
    ///
    /// # Errors
    /// [`RotationsError`]: nothing of the document is believed then.
    pub fn with_rotations(key: VerifierKey, text: &[u8]) -> Result<Self, RotationsError> {
        let given = parse(text)?;
        if given.origin != key.origin() {
            let (found, expected) = (given.origin, key.origin().to_owned());
            return Err(RotationsError::OtherLog { found, expected });
        }
        let mut trusted = Self::from(key);
        for statement in given.rotations {
            if statement.from == trusted.newest().text() {
                let next = statement.check(trusted.newest())?;
                trusted.push(next);
            }
        }
        Ok(trusted)
    }

    /// All keys that a log's own folder names, whichever of them is given: for whoever makes a proof, and has to read
    /// what any of them signed. It shows nothing, but what is made with it is held against a key that is trusted.
    pub(super) fn of_log(folder: &Path, key: &VerifierKey) -> std::io::Result<Self> {
        let mut named = Self::from(key.clone());
        for rotation in rotation::read(folder)? {
            for text in [&rotation.from, &rotation.to] {
                let is_new = named.keys.iter().all(|known| known.text() != text);
                if let Ok(other) = VerifierKey::parse(text)
                    && is_new
                    && other.origin() == key.origin()
                {
                    named.push(other);
                }
            }
        }
        Ok(named)
    }

    pub(super) fn push(&mut self, key: VerifierKey) {
        self.keys.push(key);
    }

    /// The log that they are for.
    pub fn origin(&self) -> &str {
        self.newest().origin()
    }

    /// The last one that was handed over to.
    pub fn newest(&self) -> &VerifierKey {
        self.keys.last().expect("there is the one that is trusted by itself")
    }

    /// A checkpoint that one of the keys signed: the newest first.
    ///
    /// # Errors
    /// [`CheckpointError`], that of the newest key if none has signed it.
    pub fn check(&self, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let mut first = None;
        for key in self.keys.iter().rev() {
            match key.check(note) {
                Err(error @ CheckpointError::Signature { .. }) => first = first.or(Some(error)),
                checked => return checked,
            }
        }
        Err(first.unwrap_or_else(|| CheckpointError::Key("there is none".to_owned())))
    }
}

impl Statement {
    /// The key that `from` hands over to, if it does.
    fn check(&self, from: &VerifierKey) -> Result<VerifierKey, RotationsError> {
        let name = || self.from.chars().take(200).collect::<String>();
        let of_checkpoint = |error| RotationsError::Checkpoint { from: name(), error };
        let checkpoint = from.check(self.checkpoint.as_bytes()).map_err(of_checkpoint)?;
        let record = self.record.check(&checkpoint, "the record of the rotation");
        let record = record.map_err(|error| RotationsError::Record { from: name(), error })?;
        let other = || RotationsError::OtherKey { from: name(), to: self.to.chars().take(200).collect() };
        let Event::KeyRotated { key, .. } = record.event else { return Err(other()) };
        if key != self.to {
            return Err(other());
        }
        let key = VerifierKey::parse(&key).map_err(of_checkpoint)?;
        if key.origin() != from.origin() {
            let (found, expected) = (key.origin().to_owned(), from.origin().to_owned());
            return Err(of_checkpoint(CheckpointError::Origin { found, expected }));
        }
        Ok(key)
    }
}

/// The rotations of the log in a folder, each with its proof: for whoever verifies without the log.
///
/// # Errors
/// [`ProveError`]: what is kept of a rotation does not hold.
pub fn rotations_of(folder: &Path, key: &VerifierKey) -> Result<Rotations, ProveError> {
    let kept = rotation::read(folder).map_err(|error| ProveError::io(folder, error))?;
    let mut rotations = Vec::with_capacity(kept.len());
    if !kept.is_empty() {
        let stored = StoredHashes::open(folder).map_err(|error| ProveError::io(folder, error))?;
        for rotation in kept {
            let from = VerifierKey::parse(&rotation.from)?;
            let over = rotation.check(&from)?;
            let line = Line { seq: over.seq, text: rotation.record };
            let record = included(&stored, &over.checkpoint, line)?;
            let (from, to, checkpoint) = (rotation.from, rotation.to, rotation.checkpoint);
            rotations.push(Statement { from, to, record, checkpoint });
        }
    }
    Ok(Rotations { format: ROTATIONS_FORMAT.to_owned(), origin: key.origin().to_owned(), rotations })
}

fn parse(text: &[u8]) -> Result<Rotations, RotationsError> {
    #[derive(Deserialize)]
    struct Form {
        format: String,
    }
    if text.len() > ROTATIONS_BYTES_MAX {
        return Err(RotationsError::TooLarge { bytes: text.len() });
    }
    let malformed = |error: serde_json::Error| RotationsError::Malformed(error.to_string());
    let Form { format } = serde_json::from_slice(text).map_err(malformed)?;
    if format != ROTATIONS_FORMAT {
        return Err(RotationsError::Format { found: format.chars().take(80).collect() });
    }
    serde_json::from_slice(text).map_err(malformed)
}
