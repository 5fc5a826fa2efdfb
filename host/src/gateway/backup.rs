//! A backup of a host that goes on: database, components and log of one moment.
//!
//! At that moment nothing is being changed, so that what the database knows is in the log and the other
//! way round. Calls go on; those that run then are interrupted ones in the backup.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, RwLockReadGuard};
use tokio::time::timeout;

use super::{Host, HostError, HostOptions, blocking};
use crate::audit::event::Event;
use crate::audit::query::{self, LogPart};
use crate::backup::{self, BackupError, Manifest, Moment, Part, Source};
use crate::config::{DataFolder, Ownership};
use crate::database::known_schema;
use crate::ids::PrincipalId;

/// The longest that a change waits for a backup's moment, or that for a change.
const TURN_TIME_MAX: Duration = Duration::from_secs(10);

/// What the copy of the database is called while it is needed.
const COPY_PREFIX: &str = ".backup-";

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreStep {
    /// The archive is read to its end, before anything is made.
    Checking,
    /// Its files are written.
    Unpacking,
}

/// Told the bytes of each piece. Must not block.
pub type RestoreProgress = Arc<dyn Fn(RestoreStep, u64) + Send + Sync>;

/// Puts a backup into a new data folder, settles database and log, and records that.
///
/// # Errors
/// [`HostError::Backup`], above all `NotWhole`, `Newer` and `NotEmpty`, which change nothing. After any
/// other error the folder is to be deleted; no host opens it half restored.
pub async fn restore_backup(
    file: PathBuf,
    root: PathBuf,
    by: PrincipalId,
    options: HostOptions,
    progress: RestoreProgress,
) -> Result<Manifest, HostError> {
    let unpack = move || -> Result<(DataFolder, Manifest), HostError> {
        backup::verify(&file, known_schema(), &mut |bytes| progress(RestoreStep::Checking, bytes))?;
        refuse_non_empty(&root)?;
        let Ownership::Ours(folder) = DataFolder::take(&root)? else {
            return Err(HostError::Occupied("another process has just taken the folder"));
        };
        let manifest = backup::restore(&file, &folder, &mut |bytes| progress(RestoreStep::Unpacking, bytes))?;
        Ok((folder, manifest))
    };
    let (folder, manifest) = blocking(unpack).await?;
    let host = Host::open(folder, options).await?;
    host.record_restored(&by, &manifest).await?;
    host.close().await?;
    Ok(manifest)
}

fn refuse_non_empty(root: &Path) -> Result<(), BackupError> {
    let failed = |source: std::io::Error| BackupError::Io {
        action: "look into",
        path: root.to_owned(),
        source: Arc::new(source),
    };
    match std::fs::read_dir(root) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(Ok(_)) => Err(BackupError::NotEmpty { path: root.to_owned() }),
            Some(Err(error)) => Err(failed(error)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// A backup that can be written: components are not removed until this is dropped.
#[derive(Debug)]
pub struct Backup {
    /// What to write.
    pub source: Source,
    _keeping: OwnedMutexGuard<()>,
    /// Nor are files of the log.
    _files: OwnedRwLockReadGuard<()>,
}

impl Host {
    /// Takes what a backup is made of, and records that.
    ///
    /// # Errors
    /// [`HostError::Occupied`] if another is being made; if a component is missing or altered, since a
    /// backup without it would not be whole.
    pub async fn backup(&self, by: &PrincipalId) -> Result<Backup, HostError> {
        let Ok(keeping) = Arc::clone(&self.keeping).try_lock_owned() else {
            return Err(HostError::Occupied("a backup is being made, or a package removed"));
        };
        let root = self.paths().root().to_owned();
        let copy = blocking(move || new_copy(&root)).await?;
        let changing = timeout(TURN_TIME_MAX, self.changing.write()).await;
        let changing =
            changing.map_err(|_| HostError::Occupied("a change of packages or grants is being made"))?;
        // In the backup itself, so that it can be told from the original.
        let record = self.log.append(Event::BackupTaken { by: by.clone() }).await?;
        self.database.copy_into(&copy).await?;
        let packages = self.registry.list().await?;
        let audit = self.audit_folder();
        let files = self.log.hold_files().await;
        let log = blocking(move || query::parts(&audit)).await?;
        let made_at = self.now();
        let revision = self.policy().revision;
        drop(changing);
        let digests: BTreeSet<_> = packages.iter().map(|package| package.digest).collect();
        for digest in &digests {
            self.registry.bytes(*digest).await?;
        }
        let part = |(path, bytes)| Part { path, bytes };
        let (closed, open): (Vec<_>, Vec<_>) = log.segments.into_iter().partition(|part| part.is_compressed);
        let numbered = |segment: LogPart| (segment.first, part((segment.path, segment.bytes)));
        let closed_segments: Vec<_> = closed.into_iter().map(numbered).collect();
        let segments: Vec<_> = open.into_iter().map(numbered).collect();
        let (hashes, start) = (log.hashes.map(part), log.start.map(part));
        let quarantine: Vec<_> = log.quarantine.into_iter().map(|(name, at)| (name, part(at))).collect();
        let kept = self.payloads.clone();
        let payloads = blocking(move || kept.list()).await?;
        let payloads: Vec<_> =
            payloads.into_iter().map(|(name, path, bytes)| (name, Part { path, bytes })).collect();
        let limits = part_if_there(self.paths().limits())?;
        let audit_settings = part_if_there(self.paths().audit_settings())?;
        let serve_settings = part_if_there(self.paths().serve_settings())?;
        let api_key = part_if_there(self.paths().api_key())?;
        let of_packages: u64 = packages.iter().map(|package| package.bytes).sum();
        let kept =
            quarantine.iter().map(|(_, part)| part).chain(&hashes).chain(&start).map(|part| part.bytes);
        let of_log = segments.iter().chain(&closed_segments).map(|(_, part)| part.bytes).chain(kept);
        let of_database = std::fs::metadata(&copy).map_or(0, |metadata| metadata.len());
        let of_payloads: u64 = payloads.iter().map(|(_, part)| part.bytes).sum();
        let bytes = of_packages + of_log.sum::<u64>() + of_database + of_payloads;
        let folder = self.paths().packages();
        let source = Source {
            of: Moment {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                made_at,
                schema: known_schema(),
                revision,
                record,
            },
            database: copy,
            limits,
            audit_settings,
            serve_settings,
            api_key,
            packages: digests
                .into_iter()
                .map(|digest| (digest, folder.join(format!("{}.wasm", digest.hex()))))
                .collect(),
            segments,
            closed_segments,
            hashes,
            start,
            quarantine,
            payloads,
            bytes,
        };
        Ok(Backup { source, _keeping: keeping, _files: files })
    }

    /// Records that this data folder was put back from a backup.
    ///
    /// # Errors
    /// If the log can't be written.
    async fn record_restored(&self, by: &PrincipalId, manifest: &Manifest) -> Result<(), HostError> {
        let Moment { made_at, revision, record, .. } = manifest.of.clone();
        self.log.append(Event::Restored { made_at, revision, record, by: by.clone() }).await?;
        Ok(())
    }

    /// A change of packages or grants is made under this, from its record to its end, so that a backup
    /// has all of it or nothing.
    pub(super) async fn begin_change(&self) -> Result<RwLockReadGuard<'_, ()>, HostError> {
        let turn = timeout(TURN_TIME_MAX, self.changing.read()).await;
        turn.map_err(|_| HostError::Occupied("a backup is being made"))
    }

    /// Components and payloads are removed under this: none of a backup that is being written.
    pub(super) async fn begin_removal(&self) -> Result<OwnedMutexGuard<()>, HostError> {
        let turn = timeout(TURN_TIME_MAX, Arc::clone(&self.keeping).lock_owned()).await;
        turn.map_err(|_| HostError::Occupied("a backup is being made, which has what is to be removed"))
    }
}

/// A file that need not be there.
fn part_if_there(path: PathBuf) -> Result<Option<Part>, BackupError> {
    match std::fs::metadata(&path) {
        Ok(metadata) => Ok(Some(Part { path, bytes: metadata.len() })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BackupError::io("look at", &path)(error)),
    }
}

/// An empty file, after what earlier backups of a host that died have left was removed.
fn new_copy(root: &Path) -> Result<tempfile::TempPath, BackupError> {
    let failed = |source: std::io::Error| BackupError::Io {
        action: "make a copy of the database in",
        path: root.to_owned(),
        source: Arc::new(source),
    };
    for entry in std::fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(COPY_PREFIX)) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    let copy = tempfile::Builder::new().prefix(COPY_PREFIX).tempfile_in(root).map_err(failed)?;
    Ok(copy.into_temp_path())
}
