//! Checkpoints: what the host says of its log, signed, so that nobody can take it back.
//!
//! A checkpoint is a note of C2SP `tlog-checkpoint`: origin, number of records, root of their tree, signed
//! with Ed25519 (C2SP `signed-note`). The newest stands in the file `checkpoint` beside the segments; it is
//! written after what it speaks of is on disk. Copies kept elsewhere hold the host to its word.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use signed_note::{Note, Signer as _, StandardSigner, StandardVerifier, Verifier as _, VerifierList};
use tlog_tiles::{Checkpoint as Head, Hash};
use zeroize::Zeroizing;

use super::disk::{self, Disk};

/// The most bytes of a checkpoint's file, by C2SP `signed-note`.
const NOTE_BYTES_MAX: u64 = 1_000_000;

/// The file of the newest checkpoint.
pub(super) fn path_of(folder: &Path) -> PathBuf {
    folder.join("checkpoint")
}

/// Why a key or a checkpoint can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a key.
    #[error("this is not a key of checkpoints: {0}")]
    Key(String),
    /// Not a checkpoint.
    #[error("this is not a checkpoint: {0}")]
    Malformed(String),
    /// No signature of the key, or a wrong one.
    #[error("the checkpoint is not signed by {key}: {reason}")]
    Signature {
        /// The key's name.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Of another log.
    #[error("the checkpoint is of the log {found}, and the key of {expected}")]
    Origin {
        /// Of the checkpoint.
        found: String,
        /// The key's.
        expected: String,
    },
}

/// The host's secret key, with which it signs checkpoints. Its name is the log's origin.
#[derive(Clone)]
pub struct CheckpointKey {
    signer: StandardSigner,
    public: String,
    text: Zeroizing<String>,
}

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl CheckpointKey {
    /// From the 32 secret bytes of an Ed25519 key. The name is made from its public half.
    ///
    /// # Errors
    /// [`CheckpointError::Key`], which can't be.
    pub fn new(secret: &[u8; 32]) -> Result<Self, CheckpointError> {
        let verifying = SigningKey::from_bytes(secret).verifying_key();
        let short: String = verifying.as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self::named(&format!("portcullis/{short}"), secret)
    }

    /// A new key for a log that has none.
    ///
    /// # Errors
    /// [`CheckpointError::Key`] if the system gives no random numbers.
    pub fn generate() -> Result<Self, CheckpointError> {
        Self::new(&*random()?)
    }

    /// A new key for the same log.
    ///
    /// # Errors
    /// [`CheckpointError::Key`] if the system gives no random numbers.
    pub fn successor(&self) -> Result<Self, CheckpointError> {
        Self::named(self.signer.name(), &*random()?)
    }

    fn named(name: &str, secret: &[u8; 32]) -> Result<Self, CheckpointError> {
        let verifying = SigningKey::from_bytes(secret).verifying_key();
        let public = signed_note::new_ed25519_verifier_key(name, &verifying);
        let id = public.split('+').nth(1).unwrap_or_default();
        let encoded = Zeroizing::new(base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            Zeroizing::new([&[1], secret.as_slice()].concat()).as_slice(),
        ));
        Self::parse(&format!("PRIVATE+KEY+{name}+{id}+{}", *encoded))
    }

    /// Reads a secret key: `PRIVATE+KEY+NAME+ID+BASE64`, as Go's `sumdb/note` writes it.
    ///
    /// # Errors
    /// [`CheckpointError::Key`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let wrong = |reason: &str| CheckpointError::Key(reason.to_owned());
        let text = text.trim();
        let signer = StandardSigner::new(text).map_err(|error| CheckpointError::Key(format!("{error:?}")))?;
        // The base64 alphabet has a plus of its own, so it is all that follows the id.
        let encoded = text.splitn(5, '+').nth(4).unwrap_or_default();
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| wrong("it is not base64"))?;
        let secret: &[u8; 32] = match bytes.split_first() {
            Some((1, secret)) => secret.try_into().map_err(|_| wrong("it has not 32 bytes"))?,
            _ => return Err(wrong("it is no Ed25519 key")),
        };
        let verifying = SigningKey::from_bytes(secret).verifying_key();
        let public = signed_note::new_ed25519_verifier_key(signer.name(), &verifying);
        Ok(Self { signer, public, text: Zeroizing::new(text.to_owned()) })
    }

    /// The secret key as [`parse`](Self::parse) reads it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The public half, as C2SP `signed-note` writes it: what a verifier needs.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// A signed checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`], which can't be.
    pub(super) fn sign(&self, size: u64, root: Hash) -> Result<Vec<u8>, CheckpointError> {
        let malformed = |error: String| CheckpointError::Malformed(error);
        let head = Head::new(self.signer.name(), size, root, "").map_err(|e| malformed(e.to_string()))?;
        let mut note = Note::new(&head.to_bytes(), &[]).map_err(|error| malformed(error.to_string()))?;
        note.add_sigs(&[&self.signer]).map_err(|error| malformed(error.to_string()))?;
        Ok(note.to_bytes())
    }

    /// Its public half, to check with.
    ///
    /// # Errors
    /// As [`VerifierKey::parse`].
    pub fn verifier(&self) -> Result<VerifierKey, CheckpointError> {
        VerifierKey::parse(&self.public)
    }
}

fn random() -> Result<Zeroizing<[u8; 32]>, CheckpointError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret).map_err(|error| CheckpointError::Key(error.to_string()))?;
    Ok(secret)
}

/// A public key of checkpoints: `NAME+ID+BASE64`, of C2SP `signed-note`.
#[derive(Clone)]
pub struct VerifierKey {
    verifier: StandardVerifier,
    text: String,
}

impl std::fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VerifierKey").field(&self.text).finish()
    }
}

impl VerifierKey {
    /// Reads a key.
    ///
    /// # Errors
    /// [`CheckpointError::Key`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let text = text.trim();
        let verifier =
            StandardVerifier::new(text).map_err(|error| CheckpointError::Key(format!("{error:?}")))?;
        Ok(Self { verifier, text: text.to_owned() })
    }

    /// It, as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The log that it is for.
    pub fn origin(&self) -> &str {
        self.verifier.name()
    }

    /// Reads a checkpoint that is signed with this key.
    ///
    /// # Errors
    /// [`CheckpointError`]: it is not one, of another log, or not signed with this key.
    pub fn check(&self, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let parsed = Note::from_bytes(note).map_err(|error| CheckpointError::Malformed(error.to_string()))?;
        let known = VerifierList::new(vec![Box::new(self.verifier.clone())]);
        parsed.verify(&known).map_err(|error| CheckpointError::Signature {
            key: self.origin().to_owned(),
            reason: error.to_string(),
        })?;
        let head =
            Head::from_bytes(parsed.text()).map_err(|error| CheckpointError::Malformed(error.to_string()))?;
        if head.origin() != self.origin() {
            let (found, expected) = (head.origin().to_owned(), self.origin().to_owned());
            return Err(CheckpointError::Origin { found, expected });
        }
        Ok(Checkpoint { size: head.size(), root: *head.hash() })
    }
}

/// What a host said of its log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    /// How many records the log had.
    pub size: u64,
    /// The root of their tree.
    pub(super) root: Hash,
}

/// The text of a file with a key or a checkpoint: at most 1,000,000 bytes.
///
/// # Errors
/// If it can't be read, or is longer.
pub fn read_note(path: &Path) -> io::Result<Vec<u8>> {
    let mut note = Vec::new();
    fs::File::open(path)?.take(NOTE_BYTES_MAX + 1).read_to_end(&mut note)?;
    if note.len() as u64 > NOTE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for a key or a checkpoint"));
    }
    Ok(note)
}

/// The newest checkpoint's text; none if there is no checkpoint, or an empty file: what a power loss may leave
/// of one, which is put in its place without a sync of its own.
pub(super) fn read(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    match read_note(&path_of(folder)) {
        Ok(note) => Ok((!note.is_empty()).then_some(note)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a checkpoint in the place of the one before, so that a reader sees one of the two.
pub(super) fn write(disk: &dyn Disk, folder: &Path, note: &[u8]) -> io::Result<()> {
    let next = folder.join("checkpoint.next");
    let file = match disk.create(&next) {
        // Left by a host that died.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&next)?;
            disk.create(&next)
        }
        created => created,
    }?;
    disk::write_all(&*file, note)?;
    disk.rename(&next, &path_of(folder))
}
