//! The one place that speaks SQL: packages, grants, groups, principals, quarantines, encrypted secrets, hashes of API
//! keys, revisions, calls that outlive their request,
//! and the state that packages keep, in and out as domain types.
//!
//! It judges nothing that needs the file system, the clock or a component: what it keeps was checked
//! before. Statements are portable SQL; what is SQLite's own is in [`Database::open`] and `error.rs`.

pub mod audit_index;
mod calls;
mod change;
mod error;
mod evidence;
mod grants;
mod keys;
mod keyvalue;
mod look;
mod packages;
mod quotas;
mod secrets;
mod standing;
#[cfg(test)]
mod tests;
mod trust;
mod upgrade;

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlitePool};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use calls::{CallMode, Keeping, KeptBounds, KeptEnd, KeptQuery, KeptRow, NewKeptCall};
pub use change::{ChangeError, GrantsChange, Preview, Settled};
pub use error::DatabaseError;
pub use evidence::SealedEvidenceKey;
pub use grants::{GrantHistory, RevisionRow};
pub use keys::{ApiKey, NewKey};
pub use keyvalue::{
    HeldStore, HeldStores, KeyPage, KeyValue, KeyValueError, StoreBounds, StoreId, StoreSize,
};
pub use look::{Content, Look, grant_histories, look};
pub use packages::{Added, NewPackage, Package, PackageRemoval, PackageState};
pub use quotas::QuotaUsage;
pub use secrets::{Sealed, StoredSecret};
pub use standing::Step;
pub use trust::TrustInForce;
pub use upgrade::known_schema;

/// The schema, in the binary.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a caller waits for its turn. Longer than [`BUSY_TIMEOUT`], so that one caller who waits
/// for the file does not fail the next.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that read the state of packages: reading waits for no change and no backup.
const READERS_MAX: u32 = 4;

/// The database of one data folder. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    /// One connection, for all that changes something: its uses are short, whoever waits gets it in turn,
    /// and so each sees the one before.
    pool: SqlitePool,
    /// Connections that can't write, opened when they are first needed.
    readers: SqlitePool,
    /// Held while packages or grants change, from the plan until it is in force.
    changing: Arc<Mutex<()>>,
}

/// The right to change packages or grants. One at a time.
pub(crate) type ChangeGuard = OwnedMutexGuard<()>;

impl Database {
    /// Opens the database at `path`, or makes it, with mode 0600, and brings its schema up to date.
    ///
    /// Every commit is on disk when it returns (write-ahead log, `synchronous = FULL`). Before an older
    /// schema is brought up to date, a copy is kept in `upgrades/` beside it, of which the last three stay.
    ///
    /// # Errors
    /// [`DatabaseError`], above all `Open`, `Corrupt`, `ReadOnly`, and `NewerSchema`, which changes nothing.
    pub async fn open(path: &Path) -> Result<Self, DatabaseError> {
        Self::open_with(path, &MIGRATIONS).await
    }

    async fn open_with(path: &Path, migrations: &Migrator) -> Result<Self, DatabaseError> {
        on_file(path, private_file).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // A doctored file can't run functions by its views and triggers.
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(TURN_TIMEOUT)
            .connect_lazy_with(options.clone().read_only(true));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(TURN_TIMEOUT)
            // Kept for good: closing the last connection deletes the `-wal` file, and the entry of
            // the next one would not be on disk yet when a commit answers.
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        let damage: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_all(&pool).await?;
        if let Some(damage) = damage.into_iter().find(|line| line != "ok") {
            return Err(DatabaseError::corrupt(damage));
        }
        upgrade::bring_up_to_date(&pool, path, migrations).await?;
        on_file(path, flush_folder).await?;
        Ok(Self { pool, readers, changing: Arc::default() })
    }

    /// The state that packages keep, and nothing else of the database.
    pub fn key_value(&self) -> KeyValue {
        KeyValue::new(self.pool.clone(), self.readers.clone())
    }

    /// Closes the file. Later calls fail.
    pub async fn close(&self) {
        // Who closes last moves what is in the write-ahead log into the file, which a reader may not.
        self.readers.close().await;
        self.pool.close().await;
    }

    /// Lets plans be written and makes each commit of one fail, as long as this is open.
    #[cfg(test)]
    pub(crate) async fn refuse_commits(&self) {
        sqlx::query(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.revisions \
             BEGIN SELECT RAISE(ABORT, 'refused by a test'); END",
        )
        .execute(&self.pool)
        .await
        .expect("a trigger can be made");
    }

    /// All connections: as long as one has these, nothing else reads or writes.
    #[cfg(test)]
    pub(crate) async fn all_connections(&self) -> Vec<impl Sized> {
        let mut all = vec![self.pool.acquire().await.expect("it is free")];
        for _ in 0..READERS_MAX {
            all.push(self.readers.acquire().await.expect("it is free"));
        }
        all
    }

    /// Writes a whole copy into a file that is there and empty, and waits for the disk. Changes wait
    /// meanwhile.
    ///
    /// # Errors
    /// [`DatabaseError`]; what is in the file then is worth nothing.
    pub async fn copy_into(&self, target: &Path) -> Result<(), DatabaseError> {
        upgrade::copy_into(&self.pool, target).await
    }

    /// Waits, at most 10 seconds, for the right to change packages or grants.
    pub(crate) async fn begin_change(&self) -> Result<ChangeGuard, DatabaseError> {
        tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.changing).lock_owned())
            .await
            .map_err(|_| DatabaseError::Busy)
    }
}

/// Does blocking work on the database's file off the async threads.
async fn on_file(path: &Path, work: fn(&Path) -> std::io::Result<()>) -> Result<(), DatabaseError> {
    let owned = path.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&owned)).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|source| DatabaseError::Open { path: path.to_owned(), source })
}

/// Makes the entries of the file and its `-wal` durable: SQLite flushes their content only.
fn flush_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

/// Makes sure that the file is there, is no symlink, and is nobody else's to read. SQLite gives its
/// `-wal` and `-shm` files the mode of the main one.
fn private_file(path: &Path) -> std::io::Result<()> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).map_err(std::io::Error::other)?;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// A value as a JSON column.
fn to_json(value: &impl Serialize) -> Result<String, DatabaseError> {
    serde_json::to_string(value).map_err(|error| DatabaseError::Other(sqlx::Error::Encode(error.into())))
}

/// A JSON column as a value; `column` names it in the error.
fn from_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, DatabaseError> {
    serde_json::from_str(text).map_err(|error| DatabaseError::corrupt(format!("{column}: {error}")))
}

/// A text column as a checked value; `column` names it in the error.
fn from_text<T>(column: &str, text: &str) -> Result<T, DatabaseError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| DatabaseError::corrupt(format!("{column}: {error}")))
}

/// A number as a column. SQL's integers end at 2^63 - 1, which no counter of ours reaches.
fn to_integer(number: u64) -> Result<i64, DatabaseError> {
    i64::try_from(number).map_err(|error| DatabaseError::Other(sqlx::Error::Encode(error.into())))
}

/// An integer column as a number; `column` names it in the error.
fn from_integer(column: &str, number: i64) -> Result<u64, DatabaseError> {
    u64::try_from(number).map_err(|_| DatabaseError::corrupt(format!("{column}: {number} is negative")))
}
