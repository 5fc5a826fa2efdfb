//! Makes receipts: finds a call in the log, and proves that its last record is in the tree that was signed.
//!
//! Reads the files, so it works beside a host and without one. Reads the log once, up to the call's end, one
//! line at a time. What it makes it has verified.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tlog_tiles::{check_record, prove_record};

use super::checkpoint::{self, Checkpoint, CheckpointError, VerifierKey};
use super::consistency::ConsistencyError;
use super::event::{Event, Record};
use super::index::{FoundLine, IndexError, LogIndex};
use super::query::{self, Filter, ReadError};
use super::receipt::{Facts, Included, RECEIPT_BYTES_MAX, RECEIPT_FORMAT, Receipt};
use super::search::{Order, Question};
use super::start;
use super::tree::{StoredHashes, leaf_of};
use super::trust::TrustedKeys;
use crate::ids::{CallId, PrincipalId, Sequence};

/// What a receipt may hold of the call's own records, so that it can be read again whatever must be escaped.
pub(super) const RECORDS_BYTES_MAX: usize = RECEIPT_BYTES_MAX / 2;

/// How often a checkpoint that covers a call is looked for.
const COVERED_LOOK: Duration = Duration::from_millis(50);

/// Why there is no proof.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProveError {
    /// A file could not be read.
    #[error("could not read {path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing was signed yet.
    #[error("{path} has no checkpoint: the host never signed this log", path = path.display())]
    NoCheckpoint {
        /// The log's folder.
        path: PathBuf,
    },
    /// The checkpoint does not hold.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The log has no such call.
    #[error("the log has no call {call}")]
    NoSuchCall {
        /// Which.
        call: CallId,
    },
    /// Nothing is left of the text of the host's start before it, which a receipt has.
    #[error(
        "the text of the record of the host's start before call {call} was dropped, so that no receipt can be made of it"
    )]
    StartDropped {
        /// Which.
        call: CallId,
    },
    /// It has not ended.
    #[error("the call {call} still runs, or its host died: it has no last record yet")]
    NotFinished {
        /// Which.
        call: CallId,
    },
    /// The checkpoint is older than the call.
    #[error(
        "the call's last record is {record}, and the checkpoint covers the {covered} before it: take a later one"
    )]
    NotCovered {
        /// The record.
        record: Sequence,
        /// What the checkpoint covers.
        covered: u64,
    },
    /// The call's own records would not fit.
    #[error(
        "the call's own records have more than {RECORDS_BYTES_MAX} bytes: make the receipt without them, or a bundle"
    )]
    TooLarge,
    /// There are no hashes of the records.
    #[error("the log's file `tree` lacks hashes; the next start of the host makes it anew")]
    HashesMissing,
    /// The record is not the one that was signed.
    #[error(
        "record {record} is not the one that was signed; `portcullis audit verify` says what was changed"
    )]
    Changed {
        /// Which.
        record: Sequence,
    },
    /// The checkpoints are not of one log.
    #[error(transparent)]
    Consistency(#[from] ConsistencyError),
}

impl ProveError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source: Arc::new(source) }
    }
}

/// Makes the receipt of a call: against the newest checkpoint, or the one that is given. `with_records` puts
/// all of the call's own records into it. `progress` is told the bytes that were read.
///
/// # Errors
/// [`ProveError`], above all `NoSuchCall`, `NotFinished` and `NotCovered`.
pub fn prove_call(
    folder: &Path,
    key: &VerifierKey,
    call: CallId,
    checkpoint: Option<&[u8]>,
    with_records: bool,
    progress: impl FnMut(u64),
) -> Result<Receipt, ProveError> {
    let prover = Prover::new(folder, key, checkpoint)?;
    let story = find(folder, call, with_records, progress)?;
    prover.receipt(call, story)
}

/// Makes the receipt of a call of a running host, which is found by an index that is up to date. With `of`, of none but
/// one that was made in this principal's name. Waits as long as `patience` for a checkpoint that covers it.
///
/// # Errors
/// [`ProveError`], above all `NoSuchCall`, also for another's, `NotFinished` and `NotCovered`.
pub async fn prove_indexed(
    folder: &Path,
    key: &VerifierKey,
    index: &LogIndex,
    call: CallId,
    of: Option<&PrincipalId>,
    patience: Duration,
) -> Result<Receipt, ProveError> {
    let failed = |error: IndexError| match error {
        IndexError::Read(error) => ProveError::Read(error),
        IndexError::Database { .. } | IndexError::Disagrees { .. } | IndexError::TooMuch { .. } => {
            ProveError::io(folder, io::Error::other(error))
        }
    };
    let story = find_indexed(folder, index, call, of).await.map_err(failed)??;
    let begun = Instant::now();
    loop {
        let (folder, key, story) = (folder.to_owned(), key.clone(), story.clone());
        let proving =
            tokio::task::spawn_blocking(move || Prover::new(&folder, &key, None)?.receipt(call, story));
        match proving.await {
            Ok(Err(ProveError::NotCovered { .. } | ProveError::NoCheckpoint { .. }))
                if begun.elapsed() < patience =>
            {
                tokio::time::sleep(COVERED_LOOK).await;
            }
            Ok(proved) => return proved,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// What the log has of a call that has ended, without its own records.
async fn find_indexed(
    folder: &Path,
    index: &LogIndex,
    call: CallId,
    of: Option<&PrincipalId>,
) -> Result<Result<Story, ProveError>, IndexError> {
    let newest = async |call: Option<CallId>, event: &str, after: Option<Sequence>| {
        let question = Question { call, event: Some(event.to_owned()), ..Question::default() };
        let lines = index.find(&question, Order::NewestFirst, after, 1).await?;
        Ok::<_, IndexError>(lines.into_iter().next().map(Line::from))
    };
    let is_own = |line: &Line| {
        let record = serde_json::from_str::<Record>(&line.text).ok();
        let own = record.and_then(|Record { event, .. }| {
            if let Event::CallDenied { principal, .. } = event {
                return Some(principal);
            }
            event.context().map(|context| context.principal.clone())
        });
        of.is_none_or(|of| own.as_ref() == Some(of))
    };
    let finished = newest(Some(call), "call_finished", None).await?;
    let last = match finished {
        Some(line) => Some(line),
        None => newest(Some(call), "call_denied", None).await?,
    };
    let Some(last) = last else {
        let admitted = newest(Some(call), "call_admitted", None).await?;
        let still_runs = admitted.is_some_and(|line| is_own(&line));
        return Ok(Err(match still_runs {
            true => ProveError::NotFinished { call },
            false => ProveError::NoSuchCall { call },
        }));
    };
    if !is_own(&last) {
        return Ok(Err(ProveError::NoSuchCall { call }));
    }
    // A call that the next host closed belongs to the one that ran it: the start before it was admitted.
    let first = newest(Some(call), "call_admitted", None).await?;
    let before = first.as_ref().unwrap_or(&last).seq;
    let host = match newest(None, "host_started", Some(before)).await? {
        Some(line) => Some(line),
        None => match start::read(folder) {
            Ok(line) => line,
            Err(error) => return Ok(Err(ProveError::io(&start::path_of(folder), error))),
        },
    };
    let Some(host) = host else { return Ok(Err(ProveError::StartDropped { call })) };
    Ok(Ok(Story { host, last, records: None }))
}

/// Makes receipts against one checkpoint.
pub(super) struct Prover {
    origin: String,
    note: Vec<u8>,
    checkpoint: Checkpoint,
    stored: StoredHashes,
}

impl Prover {
    /// Against the newest checkpoint, or the one that is given.
    pub(super) fn new(
        folder: &Path,
        key: &VerifierKey,
        checkpoint: Option<&[u8]>,
    ) -> Result<Self, ProveError> {
        let note = checkpoint.map_or_else(|| newest(folder), |note| Ok(note.to_vec()))?;
        let keys = TrustedKeys::of_log(folder, key).map_err(|error| ProveError::io(folder, error))?;
        let checkpoint = keys.check(&note)?;
        let stored = StoredHashes::open(folder).map_err(|error| ProveError::io(folder, error))?;
        Ok(Self { origin: key.origin().to_owned(), note, checkpoint, stored })
    }

    /// The receipt of what the log has of a call.
    pub(super) fn receipt(&self, call: CallId, story: Story) -> Result<Receipt, ProveError> {
        let Story { host, last, records } = story;
        if last.seq.0 >= self.checkpoint.size {
            return Err(ProveError::NotCovered { record: last.seq, covered: self.checkpoint.size });
        }
        let included = |line| included(&self.stored, &self.checkpoint, line);
        let (record, host) = (included(last)?, included(host)?);
        let parse = |included: &Included| {
            let changed = ProveError::Changed { record: included.sequence };
            serde_json::from_str::<Record>(&included.line).map_err(|_| changed)
        };
        let facts = Facts::of(&parse(&record)?, &parse(&host)?);
        let (_, facts) = facts.ok_or(ProveError::Changed { record: record.sequence })?;
        Ok(Receipt {
            format: RECEIPT_FORMAT.to_owned(),
            origin: self.origin.clone(),
            call,
            facts,
            record,
            host,
            records,
            checkpoint: String::from_utf8_lossy(&self.note).into_owned(),
        })
    }
}

/// The newest checkpoint's text: a C2SP signed note.
///
/// # Errors
/// [`ProveError::NoCheckpoint`], or it can't be read.
pub fn newest_checkpoint(folder: &Path) -> Result<Vec<u8>, ProveError> {
    newest(folder)
}

pub(super) fn newest(folder: &Path) -> Result<Vec<u8>, ProveError> {
    let note = checkpoint::read(folder).map_err(|error| ProveError::io(folder, error))?;
    note.ok_or_else(|| ProveError::NoCheckpoint { path: folder.to_owned() })
}

/// A line and its place.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) seq: Sequence,
    pub(super) text: String,
}

impl From<FoundLine> for Line {
    fn from(FoundLine { seq, line }: FoundLine) -> Self {
        Self { seq, text: String::from_utf8_lossy(&line).into_owned() }
    }
}

/// What the log has of a call.
#[derive(Clone)]
pub(super) struct Story {
    pub(super) host: Line,
    pub(super) last: Line,
    pub(super) records: Option<Vec<String>>,
}

/// Reads the log up to the call's last record.
fn find(
    folder: &Path,
    call: CallId,
    with_records: bool,
    mut progress: impl FnMut(u64),
) -> Result<Story, ProveError> {
    let id = call.to_string();
    let mut reader = query::read(folder, Filter::default());
    let mut host = start::read(folder).map_err(|error| ProveError::io(&start::path_of(folder), error))?;
    let mut began = false;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(seq) = reader.next_line()? {
        let text = reader.line()?;
        progress(text.len() as u64 + 1);
        // No text of a guest reads so: its quotes are escaped.
        let is_start = !began && text.contains(r#""event":"host_started""#);
        if !is_start && !text.contains(&id) {
            continue;
        }
        let record: Record = reader.record()?;
        let line = Line { seq, text: text.to_owned() };
        if let Event::HostStarted { .. } = record.event {
            host = Some(line);
            continue;
        }
        let is_denied = matches!(record.event, Event::CallDenied { call: denied, .. } if denied == call);
        let is_own = record.event.context().is_some_and(|context| context.call == call);
        let is_last = is_denied || is_own && matches!(record.event, Event::CallFinished { .. });
        if is_last {
            let host = host.ok_or(ProveError::StartDropped { call })?;
            let records = (with_records && is_own).then_some(records);
            return Ok(Story { host, last: line, records });
        }
        if is_own {
            began = true;
            if with_records {
                bytes += line.text.len();
                if bytes > RECORDS_BYTES_MAX {
                    return Err(ProveError::TooLarge);
                }
                records.push(line.text);
            }
        }
    }
    Err(if began { ProveError::NotFinished { call } } else { ProveError::NoSuchCall { call } })
}

/// A record with the proof that the checkpoint's tree has it.
pub(super) fn included(
    stored: &StoredHashes,
    checkpoint: &Checkpoint,
    line: Line,
) -> Result<Included, ProveError> {
    let Line { seq, text } = line;
    let proof = prove_record(checkpoint.size, seq.0, stored).map_err(|_| ProveError::HashesMissing)?;
    check_record(&proof, checkpoint.size, checkpoint.root, seq.0, leaf_of(text.as_bytes()))
        .map_err(|_| ProveError::Changed { record: seq })?;
    Ok(Included { sequence: seq, line: text, proof: proof.into_iter().map(Into::into).collect() })
}
