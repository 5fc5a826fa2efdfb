//! Looks into a database that no host has open, and changes nothing of it.
//!
//! Works on a copy in a temporary folder: SQLite would write beside the file even to read it, if its
//! last host died.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::grants::GrantHistory;
use super::packages::Package;
use super::{Database, DatabaseError, Sealed, upgrade};
use crate::ids::{GrantId, Revision, SecretName};

/// The most bytes that are copied to look at.
const LOOK_BYTES_MAX: u64 = 1 << 30;

/// The longest wait for a host that writes.
const BUSY_TIME_MAX: Duration = Duration::from_secs(10);

/// What is in a database.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Its schema.
    pub schema: i64,
    /// The rest; none if the schema is not this version's.
    pub content: Option<Content>,
}

/// What is in a database of this version's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// The revision of the grants in force.
    pub revision: Revision,
    /// A change that was begun and neither made nor dropped; the next start settles it.
    pub pending: Option<Revision>,
    /// All components.
    pub packages: Vec<Package>,
    /// The encrypted values of all stored secrets.
    pub secrets: Vec<(SecretName, Sealed)>,
}

/// Looks into the database at `path`, which nobody may have open.
///
/// # Errors
/// [`DatabaseError`]: `Open` if it is not there, can't be read or is too large to be copied, `Corrupt` if
/// it is damaged.
pub async fn look(path: &Path) -> Result<Look, DatabaseError> {
    let open = |source| DatabaseError::Open { path: path.to_owned(), source };
    let from = path.to_owned();
    let copied = tokio::task::spawn_blocking(move || copy(&from)).await;
    let (_folder, copy) = copied.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(open)?;
    let options = SqliteConnectOptions::new()
        .filename(&copy)
        .create_if_missing(false)
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    let database = Database { readers: pool.clone(), pool, changing: Default::default() };
    let looked = database.look().await;
    database.close().await;
    looked
}

/// Grants by their numbers, in force or not, of a database that a host may have open. Nothing is written into it.
///
/// # Errors
/// [`DatabaseError`]: it is not there, of another schema, or damaged.
pub async fn grant_histories(
    path: &Path,
    ids: &BTreeSet<GrantId>,
) -> Result<Vec<GrantHistory>, DatabaseError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIME_MAX)
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    let database = Database { readers: pool.clone(), pool, changing: Default::default() };
    let found = database.grant_histories(ids).await;
    database.close().await;
    found
}

impl Database {
    async fn look(&self) -> Result<Look, DatabaseError> {
        let damage: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_all(&self.pool).await?;
        if let Some(damage) = damage.into_iter().find(|line| line != "ok") {
            return Err(DatabaseError::corrupt(damage));
        }
        let schema = upgrade::schema(&self.pool).await?;
        if schema != upgrade::known_schema() {
            return Ok(Look { schema, content: None });
        }
        let content = Content {
            revision: self.revision().await?,
            pending: self.pending_revision().await?,
            packages: self.packages().await?,
            secrets: self.sealed_secrets().await?,
        };
        Ok(Look { schema, content: Some(content) })
    }
}

/// Copies the database and what was not yet moved into it.
fn copy(path: &Path) -> io::Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let target = folder.path().join("look.db");
    copy_file(path, &target)?;
    match copy_file(&beside(path, "-wal"), &beside(&target, "-wal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok((folder, target)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let metadata = source.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > LOOK_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {LOOK_BYTES_MAX} bytes, which is too many to copy"
        )));
    }
    let mut target = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut io::Read::take(&mut source, LOOK_BYTES_MAX), &mut target).map(drop)
}
