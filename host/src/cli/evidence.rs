//! The commands of `audit` that read files and need no host: which they are, and what they share.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::{AuditCommand, LogArguments};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::{bundle, environment, proofs, query, verify};
use crate::audit::schema::record_schema;
use crate::audit::{VerifierKey, read_note};
use crate::config::DataPaths;

/// Whether a command is done here.
pub(super) fn needs_no_host(command: &AuditCommand) -> bool {
    match command {
        AuditCommand::Verify(_)
        | AuditCommand::Prove(_)
        | AuditCommand::VerifyReceipt(_)
        | AuditCommand::Consistency(_)
        | AuditCommand::VerifyConsistency(_)
        | AuditCommand::Bundle(_)
        | AuditCommand::BundleVerify(_)
        | AuditCommand::Schema
        | AuditCommand::Query(_)
        | AuditCommand::Show(_)
        | AuditCommand::Reindex(_) => true,
        AuditCommand::Tail(_)
        | AuditCommand::Key(_)
        | AuditCommand::Outlets
        | AuditCommand::Opening { .. }
        | AuditCommand::Payload { .. }
        | AuditCommand::Erase { .. } => false,
    }
}

/// Does such a command, and says by the exit code whether what was given holds.
pub(super) async fn run(
    data_folder: Option<PathBuf>,
    command: AuditCommand,
    output: Output,
) -> Result<Exit, Failure> {
    let command = match command {
        AuditCommand::Query(asked) => return query::query(data_folder, *asked, output).await,
        AuditCommand::Show(asked) => return query::show(data_folder, asked, output).await,
        AuditCommand::Reindex(asked) => return query::reindex(data_folder, asked, output).await,
        command @ (AuditCommand::Verify(_)
        | AuditCommand::Prove(_)
        | AuditCommand::VerifyReceipt(_)
        | AuditCommand::Consistency(_)
        | AuditCommand::VerifyConsistency(_)
        | AuditCommand::Bundle(_)
        | AuditCommand::BundleVerify(_)
        | AuditCommand::Schema
        | AuditCommand::Key(_)
        | AuditCommand::Outlets
        | AuditCommand::Opening { .. }
        | AuditCommand::Payload { .. }
        | AuditCommand::Erase { .. }
        | AuditCommand::Tail(_)) => command,
    };
    let worked = tokio::task::spawn_blocking(move || {
        let place = Place { data_folder };
        match command {
            AuditCommand::Schema => schema(&output),
            AuditCommand::Bundle(arguments) => bundle::bundle(&place, &arguments, &output),
            AuditCommand::BundleVerify(arguments) => bundle::verify(&place, &arguments, &output),
            AuditCommand::Verify(arguments) => verify::run(&place, &arguments, &output),
            AuditCommand::Prove(arguments) => proofs::prove(&place, &arguments, &output),
            AuditCommand::VerifyReceipt(arguments) => proofs::verify_receipt(&place, &arguments, &output),
            AuditCommand::Consistency(arguments) => proofs::consistency(&place, &arguments, &output),
            AuditCommand::VerifyConsistency(arguments) => {
                proofs::verify_consistency(&place, &arguments, &output)
            }
            AuditCommand::Tail(_)
            | AuditCommand::Outlets
            | AuditCommand::Query(_)
            | AuditCommand::Show(_)
            | AuditCommand::Reindex(_)
            | AuditCommand::Key(_)
            | AuditCommand::Opening { .. }
            | AuditCommand::Payload { .. }
            | AuditCommand::Erase { .. } => Ok(Exit::Ok),
        }
    });
    worked.await.unwrap_or_else(|error| Err(Failure::host(format!("it was not done to its end: {error}"))))
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
