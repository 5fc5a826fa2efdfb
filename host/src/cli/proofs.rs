//! `portcullis audit prove`, `consistency`, and what verifies them: without a host, and without the log.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::arguments::{
    ConsistencyArguments, ProveArguments, VerifyConsistencyArguments, VerifyReceiptArguments,
};
use super::evidence::{self, Place, not_verified, text, total};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::progress::Meter;
use crate::api::{ErrorKind, Problem};
use crate::audit::commitment::{OPENING_BYTES_MAX, Opened, verify_opening};
use crate::audit::consistency::{self, CONSISTENCY_BYTES_MAX, ConsistencyError, VerifiedConsistency};
use crate::audit::prove::{ProveError, prove_call};
use crate::audit::receipt::{self, Kept, RECEIPT_BYTES_MAX, VerifiedReceipt};
use crate::gateway::Blame;
use crate::text::clean_line;

/// How long a receipt waits for a checkpoint that covers its call, and how often that is looked for.
const COVERED_WAIT_MAX: Duration = Duration::from_secs(2);
const COVERED_LOOK: Duration = Duration::from_millis(50);

/// Writes a receipt.
pub(super) fn prove(place: &Place, arguments: &ProveArguments, output: &Output) -> Result<Exit, Failure> {
    let ProveArguments { call, out, with_records, checkpoint, log } = arguments;
    let (folder, key) = place.log(log)?;
    let checkpoint = checkpoint.as_deref().map(text).transpose()?;
    let checkpoint = checkpoint.as_deref().map(str::as_bytes);
    let prove_once = || {
        let mut meter = Meter::new(output, "looking for the call", total(&folder));
        prove_call(&folder, &key, *call, checkpoint, *with_records, |bytes| meter.advance(bytes))
    };
    let begun = Instant::now();
    let mut proved = prove_once();
    // A running host signs within a second of the answer.
    while checkpoint.is_none()
        && matches!(proved, Err(ProveError::NotCovered { .. }))
        && begun.elapsed() < COVERED_WAIT_MAX
    {
        std::thread::sleep(COVERED_LOOK);
        proved = prove_once();
    }
    match proved {
        Ok(receipt) => {
            evidence::write(&receipt, out.as_deref(), output, || {
                format!("the receipt of call {call} is written")
            })?;
            Ok(Exit::Ok)
        }
        Err(error) => not_proved(error, output),
    }
}

/// Writes a consistency proof.
pub(super) fn consistency(
    place: &Place,
    arguments: &ConsistencyArguments,
    output: &Output,
) -> Result<Exit, Failure> {
    let ConsistencyArguments { from, to, out, log } = arguments;
    let (folder, key) = place.log(log)?;
    let (from, to) = (text(from)?, to.as_deref().map(text).transpose()?);
    let to = to.as_deref().map(str::as_bytes);
    match consistency::prove_consistency(&folder, &key, from.as_bytes(), to) {
        Ok(proof) => {
            evidence::write(&proof, out.as_deref(), output, || "the proof is written".to_owned())?;
            Ok(Exit::Ok)
        }
        Err(error) => not_proved(error, output),
    }
}

/// Whether the log does not hold, or there is nothing to prove.
fn not_proved(error: ProveError, output: &Output) -> Result<Exit, Failure> {
    match error {
        ProveError::Io { .. }
        | ProveError::Read(_)
        | ProveError::NoCheckpoint { .. }
        | ProveError::HashesMissing => Err(Failure::host(error.to_string())),
        ProveError::NoSuchCall { .. }
        | ProveError::TooLarge
        | ProveError::Consistency(ConsistencyError::Backwards { .. }) => {
            Err(Failure::input(error.to_string()))
        }
        ProveError::NotFinished { .. } | ProveError::NotCovered { .. } => {
            Err(Problem::new(ErrorKind::Busy, error.to_string(), Blame::Host).into())
        }
        ProveError::Checkpoint(_) | ProveError::Changed { .. } | ProveError::Consistency(_) => {
            not_verified(&error, output)
        }
    }
}

/// Verifies a receipt.
pub(super) fn verify_receipt(
    place: &Place,
    arguments: &VerifyReceiptArguments,
    output: &Output,
) -> Result<Exit, Failure> {
    let VerifyReceiptArguments { file, key, checkpoint, consistency, opening, arguments, result } = arguments;
    let key = place.key(key.as_deref())?;
    let receipt = read(file, RECEIPT_BYTES_MAX)?;
    let checkpoint = checkpoint.as_deref().map(text).transpose()?;
    let consistency = consistency.as_deref().map(|file| read(file, CONSISTENCY_BYTES_MAX)).transpose()?;
    let kept = checkpoint
        .as_deref()
        .map(|checkpoint| Kept { checkpoint: checkpoint.as_bytes(), consistency: consistency.as_deref() });
    let verified = match receipt::verify_receipt(&receipt, &key, kept) {
        Ok(verified) => verified,
        Err(error) => return not_verified(&error, output),
    };
    let opened = match opening {
        None => None,
        Some(opening) => {
            let opening = read(opening, OPENING_BYTES_MAX)?;
            let (arguments, result) = (shown(arguments.as_deref())?, shown(result.as_deref())?);
            match verify_opening(&verified, &opening, arguments.as_ref(), result.as_ref()) {
                Ok(opened) => Some(opened),
                Err(error) => return not_verified(&error, output),
            }
        }
    };
    let told = Told { verified, opened };
    output.answer(&told, |told| {
        let opened = told.opened.map(told_opened).unwrap_or_default();
        format!("{}{opened}", told_receipt(&told.verified))
    })?;
    Ok(Exit::Ok)
}

/// What was found, and what was opened.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    verified: VerifiedReceipt,
    #[serde(skip_serializing_if = "Option::is_none")]
    opened: Option<Opened>,
}

fn told_opened(opened: Opened) -> String {
    let parts = [(opened.arguments, "asked"), (opened.result, "answered")];
    parts
        .iter()
        .filter(|(is_open, _)| *is_open)
        .map(|(_, what)| format!("\nwhat is shown is what it {what}"))
        .collect()
}

/// What somebody was shown of a call.
fn shown(file: Option<&Path>) -> Result<Option<Value>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let text = read(file, OPENING_BYTES_MAX)?;
    let value = serde_json::from_slice(&text);
    value.map(Some).map_err(|error| Failure::input(format!("{}: {error}", file.display())))
}

/// Verifies a consistency proof.
pub(super) fn verify_consistency(
    place: &Place,
    arguments: &VerifyConsistencyArguments,
    output: &Output,
) -> Result<Exit, Failure> {
    let VerifyConsistencyArguments { file, key, from, to } = arguments;
    let key = place.key(key.as_deref())?;
    let proof = read(file, CONSISTENCY_BYTES_MAX)?;
    let (from, to) = (from.as_deref().map(text).transpose()?, to.as_deref().map(text).transpose()?);
    let (from, to) = (from.as_deref().map(str::as_bytes), to.as_deref().map(str::as_bytes));
    match consistency::verify_consistency(&proof, &key, from, to) {
        Ok(verified) => {
            output.answer(&verified, |verified: &VerifiedConsistency| {
                let VerifiedConsistency { origin, from, to, root } = verified;
                format!("verified: the {from} records of {origin} are the first of its {to}, root {root}")
            })?;
            Ok(Exit::Ok)
        }
        Err(error) => not_verified(&error, output),
    }
}

/// A file of at most so many bytes; one byte more is read, so that it is refused as too long.
fn read(file: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let opened = File::open(file);
    let read = opened.and_then(|opened| opened.take(bytes_max as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::input(format!("{}: {error}", file.display())))?;
    Ok(bytes)
}

fn told_receipt(verified: &VerifiedReceipt) -> String {
    let VerifiedReceipt { origin, call, record, facts, own_records, covered, root, held_against } = verified;
    let engine = facts.engine.as_deref().unwrap_or("an engine that is not named");
    let digest = facts.digest.map(|digest| format!(" {digest}")).unwrap_or_default();
    let own = own_records.map(|count| format!("\nits {count} own records are those that it had"));
    let held = held_against.map(|size| format!("\nof the same log as the checkpoint over {size} records"));
    format!(
        "verified: call {call} is record {record} of {origin}\n\
         {} {} by {}, revision {}: {}, at {}\n\
         package{digest}, host {}, {}\n\
         in the {covered} records of root {root}{}{}",
        facts.package,
        facts.tool,
        facts.principal,
        facts.revision,
        clean_line(&facts.outcome, 100),
        facts.time,
        clean_line(&facts.version, 100),
        clean_line(engine, 100),
        own.unwrap_or_default(),
        held.unwrap_or_default(),
    )
}
