//! What those need who give checkpoints to others: the newest, the proof that the log only grew, and what a witness
//! signs (C2SP `tlog-cosignature`, version 1).

use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use signed_note::{Note, Signature as NoteSignature};
use tlog_tiles::{Checkpoint as Head, prove_tree};

use super::checkpoint;
use super::tree::StoredHashes;

/// The type of a witness's key.
const COSIGNATURE: u8 = 0x04;
/// Bytes of a cosignature: key id is not counted; a time, and an Ed25519 signature.
const COSIGNATURE_BYTES: usize = 8 + 64;
/// The most lines of an answer that are looked at.
const LINES_MAX: usize = 16;

/// The newest checkpoint of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestCheckpoint {
    /// How many records it covers.
    pub size: u64,
    /// Its text.
    pub note: Vec<u8>,
}

/// Reads the newest checkpoint; none if there is none yet.
///
/// # Errors
/// If it can't be read, or is none.
pub fn newest_checkpoint(folder: &Path) -> io::Result<Option<NewestCheckpoint>> {
    let Some(note) = checkpoint::read(folder)? else { return Ok(None) };
    let size = size_of(&note).ok_or_else(|| io::Error::other("the file is no checkpoint"))?;
    Ok(Some(NewestCheckpoint { size, note }))
}

/// How many records the newest checkpoint covers, and how long ago it was signed, if there is one that can be read.
pub fn newest_checkpoint_age(folder: &Path) -> Option<(u64, Duration)> {
    let newest = newest_checkpoint(folder).ok()??;
    let written =
        std::fs::metadata(checkpoint::path_of(folder)).and_then(|metadata| metadata.modified()).ok()?;
    // Of a clock that was set back meanwhile it is as good as new.
    Some((newest.size, written.elapsed().unwrap_or_default()))
}

/// How many records a checkpoint covers, if it is one. Its signatures are not checked.
pub fn size_of(note: &[u8]) -> Option<u64> {
    let note = Note::from_bytes(note).ok()?;
    Some(Head::from_bytes(note.text()).ok()?.size())
}

/// The proof that the log of `from` records grew into that of `to`, by the kept hashes.
///
/// # Errors
/// A text: the hashes can't be read, or are fewer.
pub fn consistency(folder: &Path, from: u64, to: u64) -> Result<Vec<[u8; 32]>, String> {
    if from == 0 || from == to {
        return Ok(Vec::new());
    }
    let hashes = StoredHashes::open(folder).map_err(|error| format!("the hashes can't be read: {error}"))?;
    let proof = prove_tree(to, from, &hashes).map_err(|error| format!("there is no proof: {error}"))?;
    Ok(proof.into_iter().map(|hash| hash.0).collect())
}

/// The public key of a witness: `NAME+ID+BASE64`.
#[derive(Clone, Debug)]
pub struct WitnessKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl WitnessKey {
    /// Reads a key.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("this is no key: NAME+ID+BASE64".to_owned());
        };
        let id = u32::from_str_radix(id, 16).map_err(|_| "the key's id is not hexadecimal".to_owned())?;
        let bytes = STANDARD.decode(key).map_err(|_| "the key is not base64".to_owned())?;
        if bytes.first() != Some(&COSIGNATURE) {
            return Err("this is no key of a witness: its type is not 0x04 (cosignature/v1)".to_owned());
        }
        if !signed_note::is_key_name_valid(name) || signed_note::key_id(name, &bytes) != id {
            return Err("the key's id is not of its name and key".to_owned());
        }
        let public: [u8; 32] = bytes[1..].try_into().map_err(|_| "the key has not 32 bytes".to_owned())?;
        let key = VerifyingKey::from_bytes(&public).map_err(|error| error.to_string())?;
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// Finds the witness's signature of a checkpoint among the lines of its answer; gives that line.
    ///
    /// # Errors
    /// A text: there is none, or it is wrong.
    pub fn check(&self, note: &[u8], answer: &[u8]) -> Result<String, String> {
        let note = Note::from_bytes(note).map_err(|error| error.to_string())?;
        for line in answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(LINES_MAX) {
            let Ok(signature) = NoteSignature::from_bytes(line) else { continue };
            if signature.name() != self.name || signature.id() != self.id {
                continue;
            }
            return match self.is_signed(note.text(), signature.signature()) {
                true => Ok(format!("{}\n", String::from_utf8_lossy(line))),
                false => Err("the witness's signature is wrong".to_owned()),
            };
        }
        Err(format!("the answer has no signature of {}", self.name))
    }

    fn is_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((time, signature)) = signature.split_at_checked(COSIGNATURE_BYTES - 64) else {
            return false;
        };
        let (Ok(time), Ok(signature)) = (time.try_into(), Signature::from_slice(signature)) else {
            return false;
        };
        let mut message = format!("cosignature/v1\ntime {}\n", u64::from_be_bytes(time)).into_bytes();
        message.extend_from_slice(text);
        self.key.verify_strict(&message, &signature).is_ok()
    }
}
