//! `portcullis backup` and `restore`: where the archive is on this machine, and what is said of it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use super::arguments::{BackupArguments, RestoreArguments};
use super::client::Client;
use super::commands::send;
use super::failure::Failure;
use super::output::Output;
use super::progress::Meter;
use super::{environment, show};
use crate::authn::local_admin;
use crate::backup::{self, BackupError, Manifest};
use crate::database::known_schema;
use crate::gateway::{HostError, HostOptions, RestoreStep, restore_backup};
use crate::ids::{Revision, Sequence};

/// The longest silence of a host that writes a backup.
const PIECE_PATIENCE: Duration = Duration::from_secs(120);

/// What was written or put back.
#[derive(Debug, Serialize)]
pub(super) struct Archived {
    pub(super) file: PathBuf,
    /// Where it was put, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data_dir: Option<PathBuf>,
    pub(super) bytes: u64,
    pub(super) made_at: jiff::Timestamp,
    pub(super) components: usize,
    pub(super) record: Sequence,
    pub(super) revision: Revision,
}

impl Archived {
    fn new(file: PathBuf, data_dir: Option<PathBuf>, manifest: &Manifest) -> Self {
        let members = &manifest.members;
        Self {
            file,
            data_dir,
            bytes: members.iter().map(|member| member.bytes).sum(),
            made_at: manifest.of.made_at,
            components: members.iter().filter(|member| member.name.starts_with("packages/")).count(),
            record: manifest.of.record,
            revision: manifest.of.revision,
        }
    }
}

/// Asks for a backup, writes it to a temporary file beside its place, reads it back, and only then gives
/// it its name.
pub(super) async fn backup(
    client: Client,
    arguments: BackupArguments,
    output: &Output,
) -> Result<(), Failure> {
    let BackupArguments { file, force } = arguments;
    if !force && file.symlink_metadata().is_ok() {
        let detail = format!("{} is there already; --force replaces it", file.display());
        return Err(Failure::input(detail));
    }
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let unusable = |error: std::io::Error| Failure::input(format!("{}: {error}", folder.display()));
    let mut temporary =
        tempfile::Builder::new().prefix(".portcullis-backup-").tempfile_in(&folder).map_err(unusable)?;
    let mut pieces = client.pieces(send(Method::POST, "/v1/backup", Bytes::new())?).await?;
    let mut meter = Meter::new(output, "writing", pieces.bytes_expected());
    while let Some(piece) = pieces.next(PIECE_PATIENCE).await? {
        temporary.write_all(&piece).map_err(|error| not_written(&file, &error))?;
        meter.advance(piece.len() as u64);
    }
    drop(meter);
    temporary.as_file().sync_all().map_err(|error| not_written(&file, &error))?;
    // What was never read is no backup.
    let manifest = verify(temporary.path(), output)?;
    let kept = if force { temporary.persist(&file) } else { temporary.persist_noclobber(&file) };
    kept.map_err(|error| not_written(&file, &error.error))?;
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(|error| not_written(&file, &error))?;
    output.answer(&Archived::new(file, None, &manifest), show::backed_up)
}

fn not_written(file: &Path, error: &std::io::Error) -> Failure {
    Failure::host(format!("{} can't be written: {error}; nothing is left of it", file.display()))
}

fn verify(file: &Path, output: &Output) -> Result<Manifest, Failure> {
    let total = std::fs::metadata(file).ok().map(|metadata| metadata.len());
    let mut meter = Meter::new(output, "checking", total);
    let verified = backup::verify(file, known_schema(), &mut |bytes| meter.advance(bytes));
    Ok(verified?)
}

/// Puts a backup into a new data folder, and settles it.
pub(super) async fn restore(
    data_folder: Option<PathBuf>,
    arguments: RestoreArguments,
    output: &Output,
) -> Result<(), Failure> {
    let root = environment::chosen(data_folder)?;
    let disk_reserve_bytes = environment::disk_reserve_bytes()?;
    let secrets_key = environment::secrets_key()?;
    let options = HostOptions { disk_reserve_bytes, secrets_key, ..HostOptions::default() };
    // The archive is what was given; what else can't be used is the machine's.
    let opened = File::open(&arguments.file).and_then(|file| file.metadata());
    let total = opened
        .map_err(|error| Failure::input(format!("{} can't be read: {error}", arguments.file.display())))?
        .len();
    let (sender, mut steps) = tokio::sync::mpsc::channel(64);
    // One that is not shown in time is not shown.
    let progress = Arc::new(move |step, bytes| {
        let _ = sender.try_send((step, bytes));
    });
    let restored = restore_backup(arguments.file.clone(), root.clone(), local_admin(), options, progress);
    let mut restored = std::pin::pin!(restored);
    let mut meter: Option<(RestoreStep, Meter<'_>)> = None;
    let manifest = loop {
        tokio::select! {
            done = &mut restored => break done,
            Some((step, bytes)) = steps.recv() => {
                if meter.as_ref().is_none_or(|(shown, _)| *shown != step) {
                    // The one before it disappears first.
                    drop(meter.take());
                    meter = Some((step, Meter::new(output, name(step), Some(total))));
                }
                if let Some((_, meter)) = &mut meter {
                    meter.advance(bytes);
                }
            }
        }
    };
    drop(meter);
    let manifest = manifest.map_err(|error| {
        if root.join("restoring").exists() {
            output.note(&format!("{} holds half of the backup: delete it", root.display()));
        }
        Failure::from(error)
    })?;
    output.answer(&Archived::new(arguments.file, Some(root), &manifest), show::restored)
}

fn name(step: RestoreStep) -> &'static str {
    match step {
        RestoreStep::Checking => "checking",
        RestoreStep::Unpacking => "unpacking",
    }
}

/// An error of an archive, as those of the host are.
impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        HostError::from(error).into()
    }
}
