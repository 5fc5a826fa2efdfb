//! The commands of `audit` that read files and need no host: which they are, and what they share.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::{EvidenceCommand, LogArguments};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::{bundle, environment, proofs, query, verify};
use crate::audit::schema::record_schema;
use crate::audit::{VerifierKey, read_note};
use crate::config::DataPaths;

/// Does what needs no host, and says by the exit code whether what was given holds.
pub(super) async fn run(
    data_folder: Option<PathBuf>,
    command: EvidenceCommand,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        EvidenceCommand::Query(asked) => query::query(data_folder, *asked, output).await,
        EvidenceCommand::Show(asked) => query::show(data_folder, asked, output).await,
        EvidenceCommand::Reindex(asked) => query::reindex(data_folder, asked, output).await,
        EvidenceCommand::Schema => schema(&output),
        EvidenceCommand::Bundle(arguments) => {
            reading(data_folder, move |place| bundle::bundle(place, &arguments, &output)).await
        }
        EvidenceCommand::BundleVerify(arguments) => {
            reading(data_folder, move |place| bundle::verify(place, &arguments, &output)).await
        }
        EvidenceCommand::Verify(arguments) => {
            reading(data_folder, move |place| verify::run(place, &arguments, &output)).await
        }
        EvidenceCommand::Prove(arguments) => {
            reading(data_folder, move |place| proofs::prove(place, &arguments, &output)).await
        }
        EvidenceCommand::VerifyReceipt(arguments) => {
            reading(data_folder, move |place| proofs::verify_receipt(place, &arguments, &output)).await
        }
        EvidenceCommand::Rotations(arguments) => {
            reading(data_folder, move |place| proofs::rotations(place, &arguments, &output)).await
        }
        EvidenceCommand::Consistency(arguments) => {
            reading(data_folder, move |place| proofs::consistency(place, &arguments, &output)).await
        }
        EvidenceCommand::VerifyConsistency(arguments) => {
            reading(data_folder, move |place| proofs::verify_consistency(place, &arguments, &output)).await
        }
    }
}

/// Does what blocks on files on a thread of its own.
async fn reading(
    data_folder: Option<PathBuf>,
    work: impl FnOnce(&Place) -> Result<Exit, Failure> + Send + 'static,
) -> Result<Exit, Failure> {
    let worked = tokio::task::spawn_blocking(move || work(&Place { data_folder })).await;
    worked.unwrap_or_else(|error| Err(Failure::host(format!("it was not done to its end: {error}"))))
}

fn schema(output: &Output) -> Result<Exit, Failure> {
    let schema = serde_json::to_string_pretty(&record_schema())
        .map_err(|error| Failure::host(format!("the schema can't be written: {error}")))?;
    output.line(&schema).map(|()| Exit::Ok)
}

/// Where a log is, and its key, unless other places are named.
#[derive(Debug)]
pub(super) struct Place {
    data_folder: Option<PathBuf>,
}

impl Place {
    fn paths(&self) -> Result<DataPaths, Failure> {
        environment::chosen(self.data_folder.clone()).map(|root| DataPaths::of(&root))
    }

    /// The log's folder and its key.
    pub(super) fn log(&self, arguments: &LogArguments) -> Result<(PathBuf, VerifierKey), Failure> {
        let folder = arguments.folder.clone().map_or_else(|| self.paths().map(|paths| paths.audit()), Ok)?;
        Ok((folder, self.key(arguments.key.as_deref())?))
    }

    /// The key: as text, from a file, or the data folder's.
    pub(super) fn key(&self, given: Option<&str>) -> Result<VerifierKey, Failure> {
        let text = self.key_text(given)?;
        VerifierKey::parse(&text).map_err(|error| Failure::input(error.to_string()))
    }

    /// The same as text.
    pub(super) fn key_text(&self, given: Option<&str>) -> Result<String, Failure> {
        match given {
            Some(key) if key.contains('+') => Ok(key.to_owned()),
            Some(file) => text(Path::new(file)),
            None => text(&self.paths()?.audit_public_key()),
        }
    }

    /// Where grants are.
    pub(super) fn database(&self) -> Result<PathBuf, Failure> {
        Ok(self.paths()?.database())
    }

    /// Where components are.
    pub(super) fn packages(&self) -> Result<PathBuf, Failure> {
        Ok(self.paths()?.packages())
    }
}

/// The text of a key or a checkpoint.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    let unreadable = |reason: String| Failure::input(format!("{}: {reason}", path.display()));
    let note = read_note(path).map_err(|error| unreadable(error.to_string()))?;
    String::from_utf8(note).map_err(|error| unreadable(error.to_string()))
}

/// Says that what was given does not hold.
pub(super) fn not_verified(error: &dyn std::fmt::Display, output: &Output) -> Result<Exit, Failure> {
    let error = error.to_string();
    match output.json {
        true => output.answer(&serde_json::json!({ "not_verified": error }), |_| String::new())?,
        false => output.note(&format!("not verified: {}", crate::text::clean(&error, 8 << 10))),
    }
    Ok(Exit::NotVerified)
}

/// Writes a document to a file, which is there when it is whole, or to stdout.
pub(super) fn write<T: Serialize>(
    document: &T,
    out: Option<&Path>,
    output: &Output,
    told: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let json = serde_json::to_string(document)
        .map_err(|error| Failure::host(format!("it can't be written as JSON: {error}")))?;
    let Some(file) = out else { return output.line(&json) };
    let failed =
        |error: std::io::Error| Failure::host(format!("{} can't be written: {error}", file.display()));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary =
        tempfile::Builder::new().prefix(".portcullis-").tempfile_in(folder).map_err(failed)?;
    temporary.write_all(json.as_bytes()).and_then(|()| temporary.write_all(b"\n")).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(file).map_err(|error| failed(error.error))?;
    output.answer(&serde_json::json!({ "file": file }), |_| told())
}

/// About how many bytes of a log are to be read.
pub(super) fn total(folder: &Path) -> Option<u64> {
    crate::audit::query::text_bytes(folder).ok()
}
