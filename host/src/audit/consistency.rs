//! Consistency proofs: that a log which was signed once grew into the one that was signed later, with nothing
//! taken back or changed. Made of the kept hashes, checked with the public key alone.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tlog_tiles::{EMPTY_HASH, Hash, check_tree, prove_tree};

use super::checkpoint::{Checkpoint, CheckpointError, VerifierKey};
use super::hash::TreeHash;
use super::prove::{ProveError, newest};
use super::receipt::PROOF_HASHES_MAX;
use super::tree::StoredHashes;
use super::trust::TrustedKeys;

/// What the form of this version is called.
pub const CONSISTENCY_FORMAT: &str = "portcullis-consistency/1";

/// The most bytes of a proof: two checkpoints and 64 hashes have far fewer.
pub const CONSISTENCY_BYTES_MAX: usize = 4 << 20;

/// What proves that one checkpoint's log grew into another's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// [`CONSISTENCY_FORMAT`].
    pub format: String,
    /// The log: the name of the key that signs its checkpoints.
    pub origin: String,
    /// The earlier checkpoint.
    pub from: String,
    /// The later one.
    pub to: String,
    /// The proof of RFC 6962, 2.1.2.
    pub proof: Vec<TreeHash>,
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyError {
    /// Too much to read.
    #[error("the proof has {bytes} bytes or more, at most {CONSISTENCY_BYTES_MAX} are read")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// Not a proof.
    #[error("this is not a consistency proof: {0}")]
    Malformed(String),
    /// Of another version.
    #[error("the proof is of the form {found:?}, and this program knows {CONSISTENCY_FORMAT}")]
    Format {
        /// What it says.
        found: String,
    },
    /// Of another log.
    #[error("the proof is of the log {found:?}, and the key of {expected}")]
    OtherLog {
        /// What it says.
        found: String,
        /// The key's.
        expected: String,
    },
    /// A checkpoint does not hold.
    #[error("the {which} checkpoint: {error}")]
    Checkpoint {
        /// Which.
        which: &'static str,
        /// Why not.
        error: CheckpointError,
    },
    /// The earlier covers more than the later.
    #[error("the earlier checkpoint covers {from} records, the later only {to}: exchange them")]
    Backwards {
        /// The earlier's.
        from: u64,
        /// The later's.
        to: u64,
    },
    /// The proof is between other checkpoints than those that were given.
    #[error("the proof's {which} checkpoint is not the one that was given")]
    OtherCheckpoint {
        /// Which.
        which: &'static str,
    },
    /// It does not hold.
    #[error(
        "the log of {from} records did not grow into the one of {to}: records were changed or taken back, or the proof was"
    )]
    Inconsistent {
        /// The earlier's.
        from: u64,
        /// The later's.
        to: u64,
    },
}

/// What was found to be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifiedConsistency {
    /// The log.
    pub origin: String,
    /// How many records the earlier checkpoint covers.
    pub from: u64,
    /// How many the later covers: the first of them are those of the earlier.
    pub to: u64,
    /// The later's root.
    pub root: TreeHash,
}

/// Proves that the log of one checkpoint grew into that of another, or into what it was signed for last.
///
/// # Errors
/// [`ProveError`]: a checkpoint does not hold, or the log is not the one of both.
pub fn prove_consistency(
    folder: &Path,
    key: &VerifierKey,
    from: &[u8],
    to: Option<&[u8]>,
) -> Result<ConsistencyProof, ProveError> {
    let to = to.map_or_else(|| newest(folder), |note| Ok(note.to_vec()))?;
    let keys = TrustedKeys::of_log(folder, key).map_err(|error| ProveError::io(folder, error))?;
    let (earlier, later) = checkpoints(&keys, from, &to)?;
    let proof = if earlier.size == 0 || earlier.size == later.size {
        Vec::new()
    } else {
        let stored = StoredHashes::open(folder).map_err(|error| ProveError::io(folder, error))?;
        prove_tree(later.size, earlier.size, &stored).map_err(|_| ProveError::HashesMissing)?
    };
    check(&earlier, &later, &proof)?;
    Ok(ConsistencyProof {
        format: CONSISTENCY_FORMAT.to_owned(),
        origin: key.origin().to_owned(),
        from: String::from_utf8_lossy(from).into_owned(),
        to: String::from_utf8_lossy(&to).into_owned(),
        proof: proof.into_iter().map(TreeHash::from).collect(),
    })
}

/// Verifies a proof with the log's public key alone, or what it handed over to; if checkpoints are given, that it is
/// between these.
///
/// # Errors
/// [`ConsistencyError`]: what does not hold.
pub fn verify_consistency(
    text: &[u8],
    keys: &TrustedKeys,
    from: Option<&[u8]>,
    to: Option<&[u8]>,
) -> Result<VerifiedConsistency, ConsistencyError> {
    let given = parse(text)?;
    if given.origin != keys.origin() {
        return Err(ConsistencyError::OtherLog { found: given.origin, expected: keys.origin().to_owned() });
    }
    let (earlier, later) = checkpoints(keys, given.from.as_bytes(), given.to.as_bytes())?;
    for (which, note, checkpoint) in [("earlier", from, earlier), ("later", to, later)] {
        let Some(note) = note else { continue };
        let kept = keys.check(note).map_err(|error| ConsistencyError::Checkpoint { which, error })?;
        if kept != checkpoint {
            return Err(ConsistencyError::OtherCheckpoint { which });
        }
    }
    if given.proof.len() > PROOF_HASHES_MAX {
        return Err(ConsistencyError::Inconsistent { from: earlier.size, to: later.size });
    }
    let proof: Vec<Hash> = given.proof.iter().map(|hash| hash.to_hash()).collect();
    check(&earlier, &later, &proof)?;
    let (from, to, root) = (earlier.size, later.size, later.root.into());
    Ok(VerifiedConsistency { origin: given.origin, from, to, root })
}

fn parse(text: &[u8]) -> Result<ConsistencyProof, ConsistencyError> {
    #[derive(Deserialize)]
    struct Form {
        format: String,
    }
    if text.len() > CONSISTENCY_BYTES_MAX {
        return Err(ConsistencyError::TooLarge { bytes: text.len() });
    }
    let malformed = |error: serde_json::Error| ConsistencyError::Malformed(error.to_string());
    let Form { format } = serde_json::from_slice(text).map_err(malformed)?;
    if format != CONSISTENCY_FORMAT {
        return Err(ConsistencyError::Format { found: format.chars().take(80).collect() });
    }
    serde_json::from_slice(text).map_err(malformed)
}

fn checkpoints(
    keys: &TrustedKeys,
    from: &[u8],
    to: &[u8],
) -> Result<(Checkpoint, Checkpoint), ConsistencyError> {
    let check = |which, note| keys.check(note).map_err(|error| ConsistencyError::Checkpoint { which, error });
    let (earlier, later) = (check("earlier", from)?, check("later", to)?);
    if earlier.size > later.size {
        return Err(ConsistencyError::Backwards { from: earlier.size, to: later.size });
    }
    Ok((earlier, later))
}

fn check(earlier: &Checkpoint, later: &Checkpoint, proof: &[Hash]) -> Result<(), ConsistencyError> {
    let holds = if earlier.size == 0 {
        // The tree of nothing grows into every other; the crate, as the RFC, has no proof of that.
        proof.is_empty() && earlier.root == EMPTY_HASH
    } else {
        check_tree(&proof.to_vec(), later.size, later.root, earlier.size, earlier.root).is_ok()
    };
    if holds { Ok(()) } else { Err(ConsistencyError::Inconsistent { from: earlier.size, to: later.size }) }
}
