//! `portcullis audit verify`: holds a log against what its host signed, without a host.

use std::fs;
use std::path::{Path, PathBuf};

use super::arguments::VerifyArguments;
use super::environment;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::progress::Meter;
use crate::audit::verify::{Verified, VerifyError, verify};
use crate::audit::{VerifierKey, read_note};
use crate::config::DataPaths;

/// Verifies, and says by the exit code whether the log holds.
pub(super) async fn run(
    data_folder: Option<PathBuf>,
    arguments: VerifyArguments,
    output: Output,
) -> Result<Exit, Failure> {
    let worked = tokio::task::spawn_blocking(move || work(data_folder, &arguments, &output));
    worked.await.unwrap_or_else(|error| Err(Failure::host(format!("it was not done to its end: {error}"))))
}

fn work(data_folder: Option<PathBuf>, arguments: &VerifyArguments, output: &Output) -> Result<Exit, Failure> {
    let VerifyArguments { folder, key, checkpoint } = arguments;
    let paths = || environment::chosen(data_folder.clone()).map(|root| DataPaths::of(&root));
    let folder = folder.clone().map_or_else(|| paths().map(|paths| paths.audit()), Ok)?;
    let key = match key {
        Some(key) if key.contains('+') => key.clone(),
        Some(file) => text(Path::new(file))?,
        None => text(&paths()?.audit_public_key())?,
    };
    let key = VerifierKey::parse(&key).map_err(|error| Failure::input(error.to_string()))?;
    let earlier = checkpoint.as_deref().map(text).transpose()?;
    let mut meter = Meter::new(output, "verifying", total(&folder));
    let verified = verify(&folder, &key, earlier.as_deref().map(str::as_bytes), |bytes| meter.advance(bytes));
    drop(meter);
    match verified {
        Ok(verified) => {
            output.answer(&verified, told)?;
            Ok(Exit::Ok)
        }
        Err(error @ (VerifyError::Io { .. } | VerifyError::NoCheckpoint { .. })) => {
            Err(Failure::host(error.to_string()))
        }
        Err(error) => {
            let error = error.to_string();
            match output.json {
                true => output.answer(&serde_json::json!({ "not_verified": error }), |_| String::new())?,
                false => output.note(&format!("not verified: {error}")),
            }
            Ok(Exit::NotVerified)
        }
    }
}

fn told(verified: &Verified) -> String {
    let Verified { origin, covered, uncovered, root, earlier } = verified;
    let after = match uncovered {
        0 => String::new(),
        count => format!("\n{count} records after it are not signed yet"),
    };
    let earlier = earlier.map(|size| format!("\nit still has the {size} records of the earlier checkpoint"));
    let earlier = earlier.unwrap_or_default();
    format!("verified: {covered} records of {origin}, root {root}{earlier}{after}")
}

fn text(path: &Path) -> Result<String, Failure> {
    let unreadable = |reason: String| Failure::input(format!("{}: {reason}", path.display()));
    let note = read_note(path).map_err(|error| unreadable(error.to_string()))?;
    String::from_utf8(note).map_err(|error| unreadable(error.to_string()))
}

/// About how much is to be read.
fn total(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let segments = entries.filter(|entry| entry.path().extension().is_some_and(|name| name == "jsonl"));
    Some(segments.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum())
}
