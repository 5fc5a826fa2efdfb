//! What can be written after `portcullis audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{KeyCommand, asking};
use crate::ids::{CallId, PrincipalId};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditCommand {
    /// Show the last records of the log, or those of one call
    #[command(after_help = "\
Examples:
  portcullis audit tail --last 20 --follow
  portcullis audit tail --call 01890a5d-ac96-774b-bcce-b302099a8057 --json | jq .function")]
    Tail(TailArguments),
    #[command(flatten)]
    Evidence(EvidenceCommand),
    /// Write the private part of a call's receipt: the salt that opens its commitments
    ///
    /// Whoever has it can be shown what the call asked or answered, and check that; without it nobody can guess
    /// either. That it was given is in the log.
    #[command(after_help = "\
Example:
  portcullis audit opening 01890a5d-ac96-774b-bcce-b302099a8057 --out opening.json
  portcullis audit verify-receipt receipt.json --key audit.pub --opening opening.json --arguments asked.json")]
    Opening {
        /// The call
        call: CallId,
        /// The file to write. Default: stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show what a call asked and answered, if a grant of it says `record = "payloads"`
    ///
    /// That it was shown is in the log. Secrets of the call are not in there.
    #[command(
        after_help = "Example:\n  portcullis audit payload 01890a5d-ac96-774b-bcce-b302099a8057 --json | jq .arguments.value"
    )]
    Payload {
        /// The call
        call: CallId,
    },
    /// Show or rotate the key that signs checkpoints
    #[command(subcommand)]
    Key(KeyCommand),
    /// Erase what opens a principal's commitments, and what was kept whole of its calls; or that of one call
    ///
    /// The log stays as it is and verifiable; nobody can tell any more what the principal's calls asked and answered.
    /// Of one call only what was kept whole is erased: its commitments can be opened as before. Backups keep what they
    /// have.
    #[command(after_help = "\
Examples:
  portcullis audit erase researcher
  portcullis audit erase --call 01890a5d-ac96-774b-bcce-b302099a8057")]
    Erase(EraseArguments),
    /// Show how far records are shipped and checkpoints anchored, and what fails
    ///
    /// Ends with 1 if one is an alarm: it lags for longer than its `lag_max`, or says that the log is not what
    /// it was.
    #[command(
        visible_alias = "anchors",
        after_help = "Example:\n  portcullis audit outlets --json | jq '.[] | select(.alarm)'"
    )]
    Outlets,
}

/// What needs no host, and works beside one: it reads files and changes nothing of the log.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum EvidenceCommand {
    /// Verify the log against what its host signed: needs no host, and changes nothing
    ///
    /// Reads every line and makes the tree of their hashes anew. Ends with 8 if the log is not what was signed, and
    /// says where. An earlier checkpoint, kept elsewhere, shows that nothing was taken back since.
    #[command(after_help = "\
Examples:
  portcullis audit verify
  portcullis audit verify --folder evidence/audit --key audit.pub --checkpoint monday.checkpoint")]
    Verify(VerifyArguments),
    /// Write the receipt of a call: what proves it to whoever has the log's public key, and not the log
    ///
    /// It holds the call's last record, the proof that it is in the log that was signed, and the checkpoint;
    /// commitments to what was asked and answered, never that itself. Needs no host, and changes nothing.
    #[command(after_help = "\
Examples:
  portcullis audit prove 01890a5d-ac96-774b-bcce-b302099a8057 --out receipt.json
  portcullis audit prove 01890a5d-ac96-774b-bcce-b302099a8057 --with-records --out receipt.json")]
    Prove(ProveArguments),
    /// Write all that proves some calls into one file, encrypted for whoever is to check it
    ///
    /// Receipts with all records of each call, those that its tool made included, the grants that allowed them, the
    /// components that ran, the public key and its rotations, and a manifest with the SHA-256 of each. An age file around a tar: `age -d` opens it as well.
    /// Needs no host. At most 10,000 calls.
    #[command(after_help = "\
Examples:
  portcullis audit bundle 01890a5d-ac96-774b-bcce-b302099a8057 --to age1… --out evidence.age
  portcullis audit bundle --since 2027-01-01T00:00:00Z --to age1… --out evidence.age")]
    Bundle(BundleArguments),
    /// Open a bundle and verify all that is in it
    ///
    /// Ends with 8 if something is changed, missing or too much.
    #[command(
        after_help = "Example:\n  portcullis audit bundle-verify evidence.age --identity key.txt --key audit.pub"
    )]
    BundleVerify(BundleVerifyArguments),
    /// Write the JSON Schema of the log's records to stdout
    #[command(after_help = "Example:\n  portcullis audit schema > audit-record.schema.json")]
    Schema,
    /// Verify a receipt with the log's public key alone
    ///
    /// Ends with 8 if it does not hold, and says what. A checkpoint that you kept shows that the receipt is of
    /// the same log as that; if the two are of different size, give the proof that `audit consistency` wrote.
    #[command(after_help = "\
Examples:
  portcullis audit verify-receipt receipt.json --key audit.pub
  portcullis audit verify-receipt receipt.json --key audit.pub --checkpoint monday.checkpoint --consistency proof.json")]
    VerifyReceipt(VerifyReceiptArguments),
    /// Write the rotations of the log's key: what leads whoever trusts one of its keys to the next ones
    ///
    /// For those who verify receipts and proofs without the log. Each rotation is the record that names the new key,
    /// and the proof that it is in the log that the old key signed.
    #[command(after_help = "\
Examples:
  portcullis audit rotations --out rotations.json
  portcullis audit verify-receipt receipt.json --key first.pub --rotations rotations.json")]
    Rotations(RotationsArguments),
    /// Write the proof that the log of one checkpoint grew into that of a later one
    #[command(
        after_help = "Example:\n  portcullis audit consistency --from monday.checkpoint --out proof.json"
    )]
    Consistency(ConsistencyArguments),
    /// Verify what `audit consistency` wrote, with the log's public key alone
    ///
    /// Ends with 8 if it does not hold.
    #[command(
        after_help = "Example:\n  portcullis audit verify-consistency proof.json --key audit.pub --from monday.checkpoint"
    )]
    VerifyConsistency(VerifyConsistencyArguments),
    /// Find records by time, call, principal, package, interface, decision, outcome, subject
    ///
    /// All parts that are given must fit. Needs no host, and works beside one. An index beside the log, which is
    /// brought up to date first, says where the records are; what is shown are the log's own lines. Where the
    /// index can't be written the log is read whole.
    #[command(after_help = asking::QUERY_EXAMPLES)]
    Query(Box<asking::QueryArguments>),
    /// Show the whole story of a call: its records and those of the calls that its tool made, as a tree with times
    #[command(after_help = asking::SHOW_EXAMPLES)]
    Show(asking::ShowArguments),
    /// Make the index of the log anew from the log
    #[command(after_help = "Example:\n  portcullis audit reindex")]
    Reindex(asking::ReindexArguments),
}

impl EvidenceCommand {
    /// Whether a host can be asked for it, so that `--server` may name one: not if a folder or a key of this machine is
    /// named, and not for what verifies, which trusts nobody's word.
    pub(in crate::cli) fn is_of_a_host(&self) -> bool {
        let is_free = |log: &LogArguments| log.folder.is_none() && log.key.is_none();
        match self {
            EvidenceCommand::Query(asked) => asked.asked.folder.is_none() && !asked.asked.no_index,
            EvidenceCommand::Show(asked) => asked.asked.folder.is_none() && !asked.asked.no_index,
            EvidenceCommand::Reindex(asked) => asked.folder.is_none(),
            // The host proves against its newest checkpoint.
            EvidenceCommand::Prove(asked) => is_free(&asked.log) && asked.checkpoint.is_none(),
            EvidenceCommand::Consistency(asked) => is_free(&asked.log),
            EvidenceCommand::Rotations(asked) => is_free(&asked.log),
            EvidenceCommand::Verify(_)
            | EvidenceCommand::Bundle(_)
            | EvidenceCommand::BundleVerify(_)
            | EvidenceCommand::Schema
            | EvidenceCommand::VerifyReceipt(_)
            | EvidenceCommand::VerifyConsistency(_) => false,
        }
    }
}

#[derive(Clone, Debug, Args)]
#[group(id = "erased", required = true, multiple = false, args = ["principal", "call"])]
pub(in crate::cli) struct EraseArguments {
    /// Whose
    pub(in crate::cli) principal: Option<PrincipalId>,
    /// Only what was kept whole of this call
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) call: Option<CallId>,
}

/// Which log, and whose key.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct LogArguments {
    /// The folder of the log. Default: that of the data folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) folder: Option<PathBuf>,
    /// The public key, or a file with it. Default: `audit.pub` of the data folder
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) key: Option<String>,
}

#[derive(Clone, Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["call", "since"])]
pub(in crate::cli) struct BundleArguments {
    /// The call
    pub(in crate::cli) call: Option<CallId>,
    /// All calls since a time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: Option<jiff::Timestamp>,
    /// For whom: an age recipient (age1…)
    #[arg(long, value_name = "RECIPIENT")]
    pub(in crate::cli) to: String,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct BundleVerifyArguments {
    /// The bundle
    pub(in crate::cli) file: PathBuf,
    /// The file with the age identity that it is for, as `age-keygen` writes it
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) identity: PathBuf,
    /// The log's public key, or a file with it: yours, not the bundle's. Default: `audit.pub` of the data folder
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) key: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ProveArguments {
    /// The call
    pub(in crate::cli) call: CallId,
    /// The file to write. Default: stdout
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Put all of the call's own records into it, which name paths and hosts
    #[arg(long)]
    pub(in crate::cli) with_records: bool,
    /// The checkpoint to prove it against, a copy of the log's file `checkpoint`. Default: the newest
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) checkpoint: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct VerifyReceiptArguments {
    /// The receipt
    pub(in crate::cli) file: PathBuf,
    /// The log's public key, or a file with it. Default: `audit.pub` of the data folder
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) key: Option<String>,
    /// The rotations of the log's key, which `audit rotations` wrote, if it was rotated since yours
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) rotations: Option<PathBuf>,
    /// A checkpoint of the same log that you kept
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) checkpoint: Option<PathBuf>,
    /// The proof that it and the receipt's grew one from the other
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    pub(in crate::cli) consistency: Option<PathBuf>,
    /// The private part of the receipt, which `audit opening` wrote
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) opening: Option<PathBuf>,
    /// What the call is said to have asked: its arguments, a JSON object
    #[arg(long, value_name = "FILE", requires = "opening")]
    pub(in crate::cli) arguments: Option<PathBuf>,
    /// What the call is said to have answered: `content` and `structured` of its answer, a JSON object
    #[arg(long, value_name = "FILE", requires = "opening")]
    pub(in crate::cli) result: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct RotationsArguments {
    /// The file to write. Default: stdout
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ConsistencyArguments {
    /// The earlier checkpoint, a copy of the log's file `checkpoint`
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) from: PathBuf,
    /// The later checkpoint. Default: the newest
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) to: Option<PathBuf>,
    /// The file to write. Default: stdout
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct VerifyConsistencyArguments {
    /// The proof
    pub(in crate::cli) file: PathBuf,
    /// The log's public key, or a file with it. Default: `audit.pub` of the data folder
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) key: Option<String>,
    /// The rotations of the log's key, which `audit rotations` wrote, if it was rotated since yours
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) rotations: Option<PathBuf>,
    /// The earlier checkpoint, if you kept it: the proof must be from it
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) from: Option<PathBuf>,
    /// The later checkpoint, if you kept it: the proof must lead to it
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) to: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct VerifyArguments {
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
    /// An earlier checkpoint of the same log: a copy of its file `checkpoint`
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) checkpoint: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(in crate::cli) struct TailArguments {
    /// Only the records of this call
    #[arg(long, value_name = "ID", conflicts_with = "last")]
    pub(in crate::cli) call: Option<CallId>,
    /// How many records, from the end; 100 if nothing is said
    #[arg(long, value_name = "N")]
    pub(in crate::cli) last: Option<usize>,
    /// Go on with new records until interrupted
    #[arg(long)]
    pub(in crate::cli) follow: bool,
}
