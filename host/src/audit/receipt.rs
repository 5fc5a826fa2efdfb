//! Receipts: what proves one call to somebody who has the log's public key, and not the log.
//!
//! A receipt holds the call's last record as it stands in the log, the proof that it is in the tree that a
//! checkpoint was signed for, and that checkpoint. It holds commitments to what was asked and answered, never
//! that itself, so it can be shown to strangers. Nothing here reads a log; see [`prove`](super::prove).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tlog_tiles::check_record;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::commitment::Commitment;
use super::consistency::{ConsistencyError, verify_consistency};
use super::event::{CallContext, Event, Record};
use super::hash::TreeHash;
use super::line::sequence_of;
use super::tree::{Frontier, leaf_of};
use super::trust::TrustedKeys;
use crate::ids::{CallId, PackageDigest, PackageName, PrincipalId, Revision, Sequence, ToolName};

/// What the form of this version is called.
pub const RECEIPT_FORMAT: &str = "portcullis-receipt/1";

/// The most bytes of a receipt: enough for the records of most calls.
pub const RECEIPT_BYTES_MAX: usize = 64 << 20;

/// No proof of a tree of fewer than 2^64 leaves has more hashes.
pub(super) const PROOF_HASHES_MAX: usize = 64;

/// What proves one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`RECEIPT_FORMAT`].
    pub format: String,
    /// The log: the name of the key that signs its checkpoints.
    pub origin: String,
    /// The call.
    pub call: CallId,
    /// What the records below say, for whoever reads it. Checked against them.
    pub facts: Facts,
    /// The call's last record.
    pub record: Included,
    /// The `host_started` of the host that ran it: which engine. The newest before the call, as the prover says.
    pub host: Included,
    /// All records of the call before the last, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<String>>,
    /// The checkpoint whose tree has the records: a C2SP signed note.
    pub checkpoint: String,
}

/// A record and the proof that it is in the tree of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Included {
    /// Its place.
    pub sequence: Sequence,
    /// Its line, byte for byte, without the newline: the leaf.
    pub line: String,
    /// The audit path of RFC 6962, 2.1.1.
    pub proof: Vec<TreeHash>,
}

/// What a receipt says of its call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// When the last record was made.
    pub time: jiff::Timestamp,
    /// Who called.
    pub principal: PrincipalId,
    /// The package.
    pub package: PackageName,
    /// Its bytes; absent if the call was denied and none were approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<PackageDigest>,
    /// The tool.
    pub tool: ToolName,
    /// The revision of the grants that it was judged by.
    pub revision: Revision,
    /// The call whose tool made this one, if an agent did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<CallId>,
    /// How it ended, as the log names it, or `denied`.
    pub outcome: String,
    /// How many records the call has before its last; absent if it was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// The root of the tree over their lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_root: Option<TreeHash>,
    /// The commitment to what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_commitment: Option<Commitment>,
    /// The commitment to what was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_commitment: Option<Commitment>,
    /// The host's version.
    pub version: String,
    /// The engine that ran it, and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

impl Facts {
    /// What a call's last record, and that of its host's start, say; none if they are others.
    pub(super) fn of(last: &Record, host: &Record) -> Option<(CallId, Self)> {
        let Event::HostStarted { version, engine, .. } = &host.event else { return None };
        let (version, engine, time) = (version.clone(), engine.clone(), last.time);
        if let Event::CallFinished { context, end } = &last.event {
            let CallContext { call, principal, package, digest, tool, revision, parent, trace: _ } =
                &**context;
            let facts = Self {
                time,
                principal: principal.clone(),
                package: package.clone(),
                digest: Some(*digest),
                tool: tool.clone(),
                revision: *revision,
                parent: *parent,
                outcome: end.outcome.name().to_owned(),
                records: Some(end.records),
                records_root: end.records_root,
                arguments_commitment: end.arguments_commitment,
                result_commitment: end.result_commitment,
                version,
                engine,
            };
            return Some((*call, facts));
        }
        let Event::CallDenied { call, principal, package, digest, tool, revision, parent, .. } = &last.event
        else {
            return None;
        };
        let facts = Self {
            time,
            principal: principal.clone(),
            package: package.clone(),
            digest: *digest,
            tool: tool.clone(),
            revision: *revision,
            parent: *parent,
            outcome: "denied".to_owned(),
            records: None,
            records_root: None,
            arguments_commitment: None,
            result_commitment: None,
            version,
            engine,
        };
        Some((*call, facts))
    }
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Too much to read.
    #[error("the receipt has {bytes} bytes or more, at most {RECEIPT_BYTES_MAX} are read")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// Not a receipt.
    #[error("this is not a receipt: {0}")]
    Malformed(String),
    /// Of another version.
    #[error("the receipt is of the form {found:?}, and this program knows {RECEIPT_FORMAT}")]
    Format {
        /// What it says.
        found: String,
    },
    /// Of another log.
    #[error("the receipt is of the log {found:?}, and the key of {expected}")]
    OtherLog {
        /// What it says.
        found: String,
        /// The key's.
        expected: String,
    },
    /// Its checkpoint does not hold.
    #[error("{which}: {error}")]
    Checkpoint {
        /// Which.
        which: &'static str,
        /// Why not.
        error: CheckpointError,
    },
    /// A record is not in the tree that was signed.
    #[error("{what} is not in the log that the checkpoint was signed for, or was changed")]
    NotIncluded {
        /// Which.
        what: &'static str,
    },
    /// It says something that its records do not.
    #[error("{what} is not what the signed record says")]
    Contradicts {
        /// What.
        what: &'static str,
    },
    /// The call's own records are not those that its last record counts.
    #[error("the call's own records are not those that its last record has the count and root of: {0}")]
    Records(String),
    /// The checkpoint that was kept is of the same size, and another.
    #[error("the log was forked: a checkpoint that you kept has another root over the same {size} records")]
    Forked {
        /// How many.
        size: u64,
    },
    /// The checkpoint that was kept is of another size.
    #[error(
        "the receipt's checkpoint covers {found} records and the one that you kept {kept}: a proof that one grew into the other is needed (`portcullis audit consistency --from … --to …`)"
    )]
    NeedsConsistency {
        /// The receipt's.
        found: u64,
        /// The one that was kept.
        kept: u64,
    },
    /// The proof between the two does not hold.
    #[error(transparent)]
    Consistency(#[from] ConsistencyError),
}

/// What was found to be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifiedReceipt {
    /// The log.
    pub origin: String,
    /// The call.
    pub call: CallId,
    /// The place of its last record.
    pub record: Sequence,
    /// What the signed records say.
    pub facts: Facts,
    /// How many of the call's own records were checked against count and root, if they are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_records: Option<u64>,
    /// How many records the checkpoint covers.
    pub covered: u64,
    /// The root over them.
    pub root: TreeHash,
    /// How many records the checkpoint covers that it was held against, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_against: Option<u64>,
}

/// A checkpoint that the verifier has from elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Its text.
    pub checkpoint: &'a [u8],
    /// The proof that it and the receipt's grew one from the other, if they are of different size.
    pub consistency: Option<&'a [u8]>,
}

const OF_RECEIPT: &str = "the receipt's checkpoint";
const KEPT: &str = "the checkpoint that you kept";

/// Verifies a receipt with the log's public key alone, or what it handed over to. With a checkpoint that was kept elsewhere, also that the
/// receipt is of the same log as that one.
///
/// # Errors
/// [`ReceiptError`]: what does not hold.
pub fn verify_receipt(
    text: &[u8],
    keys: &TrustedKeys,
    kept: Option<Kept<'_>>,
) -> Result<VerifiedReceipt, ReceiptError> {
    let receipt = parse(text)?;
    if receipt.origin != keys.origin() {
        return Err(ReceiptError::OtherLog { found: receipt.origin, expected: keys.origin().to_owned() });
    }
    let checked = keys.check(receipt.checkpoint.as_bytes());
    let checkpoint = checked.map_err(|error| ReceiptError::Checkpoint { which: OF_RECEIPT, error })?;
    let last = receipt.record.check(&checkpoint, "the call's last record")?;
    let host = receipt.host.check(&checkpoint, "the record of the host's start")?;
    let (call, facts) = Facts::of(&last, &host).ok_or_else(|| {
        ReceiptError::Malformed("its records are not the end of a call and a host's start".to_owned())
    })?;
    if call != receipt.call {
        return Err(ReceiptError::Contradicts { what: "the call's id" });
    }
    if facts != receipt.facts || receipt.host.sequence >= receipt.record.sequence {
        return Err(ReceiptError::Contradicts { what: "what the receipt says of the call" });
    }
    let own_records = match &receipt.records {
        Some(records) => Some(check_own(records, &receipt, &last)?),
        None => None,
    };
    let held_against = match kept {
        Some(kept) => Some(hold_against(&receipt, checkpoint, keys, kept)?),
        None => None,
    };
    Ok(VerifiedReceipt {
        origin: receipt.origin,
        call,
        record: receipt.record.sequence,
        facts,
        own_records,
        covered: checkpoint.size,
        root: checkpoint.root.into(),
        held_against,
    })
}

/// Reads a receipt, and refuses what another program might read otherwise: what is written back must be the
/// same JSON.
fn parse(text: &[u8]) -> Result<Receipt, ReceiptError> {
    #[derive(Deserialize)]
    struct Form {
        format: String,
    }
    if text.len() > RECEIPT_BYTES_MAX {
        return Err(ReceiptError::TooLarge { bytes: text.len() });
    }
    let malformed = |error: serde_json::Error| ReceiptError::Malformed(error.to_string());
    let Form { format } = serde_json::from_slice(text).map_err(malformed)?;
    if format != RECEIPT_FORMAT {
        return Err(ReceiptError::Format { found: format.chars().take(80).collect() });
    }
    let receipt: Receipt = serde_json::from_slice(text).map_err(malformed)?;
    let given: serde_json::Value = serde_json::from_slice(text).map_err(malformed)?;
    if serde_json::to_value(&receipt).map_err(malformed)? != given {
        return Err(ReceiptError::Malformed("it is not written as receipts are".to_owned()));
    }
    Ok(receipt)
}

impl Included {
    /// The record, if the checkpoint's tree has it.
    pub(super) fn check(&self, checkpoint: &Checkpoint, what: &'static str) -> Result<Record, ReceiptError> {
        let not_included = || ReceiptError::NotIncluded { what };
        if self.proof.len() > PROOF_HASHES_MAX || sequence_of(self.line.as_bytes()) != Some(self.sequence) {
            return Err(not_included());
        }
        let proof = self.proof.iter().map(|hash| hash.to_hash()).collect();
        let leaf = leaf_of(self.line.as_bytes());
        check_record(&proof, checkpoint.size, checkpoint.root, self.sequence.0, leaf)
            .map_err(|_| not_included())?;
        serde_json::from_str(&self.line)
            .map_err(|error| ReceiptError::Malformed(format!("{what} can't be read: {error}")))
    }
}

/// Holds the call's own records against the count and root in its last one.
fn check_own(records: &[String], receipt: &Receipt, last: &Record) -> Result<u64, ReceiptError> {
    let wrong = |reason: String| ReceiptError::Records(reason);
    let Event::CallFinished { end, .. } = &last.event else {
        return Err(wrong("a call that was denied has none".to_owned()));
    };
    let Some(root) = end.records_root else {
        return Err(wrong("its host kept no root of them".to_owned()));
    };
    if end.records != records.len() as u64 {
        return Err(wrong(format!("{} are given, and it counts {}", records.len(), end.records)));
    }
    let mut tree = Frontier::default();
    for line in records {
        tree.push(leaf_of(line.as_bytes())).map_err(|error| wrong(error.to_string()))?;
    }
    if TreeHash::from(tree.root()) != root {
        return Err(wrong("their root is another".to_owned()));
    }
    let mut before = None;
    for line in records {
        let record: Record = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        let is_own = record.event.context().is_some_and(|context| context.call == receipt.call);
        if !is_own || Some(record.seq) <= before || record.seq >= receipt.record.sequence {
            return Err(wrong(format!("record {} is out of place", record.seq)));
        }
        before = Some(record.seq);
    }
    Ok(end.records)
}

/// Holds the receipt's checkpoint against one that was kept elsewhere; gives what that one covers.
fn hold_against(
    receipt: &Receipt,
    checkpoint: Checkpoint,
    keys: &TrustedKeys,
    kept: Kept<'_>,
) -> Result<u64, ReceiptError> {
    let known = keys.check(kept.checkpoint);
    let known = known.map_err(|error| ReceiptError::Checkpoint { which: KEPT, error })?;
    if known.size == checkpoint.size {
        let is_same = known.root == checkpoint.root;
        return if is_same { Ok(known.size) } else { Err(ReceiptError::Forked { size: known.size }) };
    }
    let Some(proof) = kept.consistency else {
        return Err(ReceiptError::NeedsConsistency { found: checkpoint.size, kept: known.size });
    };
    let of_receipt = receipt.checkpoint.as_bytes();
    let (from, to) = if known.size < checkpoint.size {
        (kept.checkpoint, of_receipt)
    } else {
        (of_receipt, kept.checkpoint)
    };
    verify_consistency(proof, keys, Some(from), Some(to))?;
    Ok(known.size)
}
