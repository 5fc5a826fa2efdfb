//! The state that packages keep, as stores of keys and values: counted, bounded, and right under concurrency.
//!
//! Each change is one transaction on the one connection that writes, so none is lost and a batch is made
//! whole or not at all; it is on disk when the method returns. Reading uses connections of its own, and
//! sees every change that has returned.
//!
//! It never decides who may use a store: whoever calls has a [`StoreId`] that was made from a grant.

pub(super) mod admin;
mod change;
#[cfg(test)]
mod tests;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{SqliteConnection, SqlitePool};

pub use self::admin::{HeldStore, HeldStores};
use self::change::Change;
use super::{DatabaseError, from_integer, to_integer};
use crate::ids::{PackageName, PrincipalId, StoreKey, StoreName};
use crate::limits::LimitReached;

/// The most stores of a host.
const STORES_MAX: usize = 100_000;

/// The most bytes of one value.
pub(crate) const VALUE_BYTES_MAX: usize = 4 << 20;

/// The most keys in one batch.
pub(crate) const BATCH_KEYS_MAX: usize = 1_000;

/// The most bytes of values that one answer holds.
pub(crate) const BATCH_BYTES_MAX: usize = 8 << 20;

/// The most keys of one page of a listing.
pub(crate) const PAGE_KEYS_MAX: usize = 500;

/// The state of packages. Clones share it.
#[derive(Clone, Debug)]
pub struct KeyValue {
    /// One connection: see [`Database`](super::Database).
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Which store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreId {
    /// Whose state it is.
    pub package: PackageName,
    /// The agent in whose calls it is seen; `None`: those of all agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<PrincipalId>,
    /// Its name in the package.
    #[serde(rename = "store")]
    pub name: StoreName,
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store {} of package {}", self.name, self.package)?;
        match &self.agent {
            Some(agent) => write!(f, " for agent {agent}"),
            None => f.write_str(" for all agents"),
        }
    }
}

/// How much a store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreBounds {
    /// Bytes of keys and values.
    pub bytes_max: u64,
    /// Keys.
    pub keys_max: u64,
}

/// What a store holds, after a change or at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreSize {
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Keys.
    pub keys: u64,
}

/// Some of the keys of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// In the order in which they were first set.
    pub keys: Vec<String>,
    /// Where the next page begins, if there is one.
    pub cursor: Option<u64>,
}

/// Why a store did not do what was asked. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum KeyValueError {
    /// The store is full: the fault of the tool, or of a grant that gives it too little.
    #[error(transparent)]
    Full(#[from] LimitReached),
    /// The value is too long to be kept. The tool's fault.
    #[error("the value has {bytes} bytes, at most {VALUE_BYTES_MAX} are kept under one key")]
    ValueTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Too many keys at once. The tool's fault.
    #[error("the batch has {keys} keys, at most {BATCH_KEYS_MAX} are taken at once")]
    BatchTooLong {
        /// How many.
        keys: usize,
    },
    /// The values that were asked for are too much for one answer. The tool's fault.
    #[error("the values have more than {BATCH_BYTES_MAX} bytes together; ask for fewer keys at once")]
    AnswerTooLong,
    /// What should be incremented is not a number. The tool's fault.
    #[error("the value is not a decimal number from 0 to 2^64 - 1")]
    NotANumber,
    /// The sum is no number of 64 bits. The tool's fault.
    #[error("the sum would be above 2^64 - 1")]
    Overflow,
    /// The package was removed while its tool was running.
    #[error("the package is not registered any more")]
    NoPackage,
    /// The database failed, or was busy for too long: the host's fault.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for KeyValueError {
    fn from(error: sqlx::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

type Answer<T> = Result<T, KeyValueError>;

impl KeyValue {
    pub(super) fn new(writer: SqlitePool, readers: SqlitePool) -> Self {
        Self { writer, readers }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`KeyValueError::Database`].
    pub async fn get(&self, store: &StoreId, key: &StoreKey) -> Answer<Option<Vec<u8>>> {
        let value = sqlx::query_scalar(
            "SELECT e.value FROM kv_entries e JOIN kv_stores s ON s.id = e.store \
             WHERE s.package = $1 AND s.agent = $2 AND s.name = $3 AND e.key = $4",
        );
        let value = value.bind(store.package.as_str()).bind(store.agent()).bind(store.name.as_str());
        Ok(value.bind(key.as_str()).fetch_optional(&self.readers).await?)
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// [`KeyValueError::Database`].
    pub async fn exists(&self, store: &StoreId, key: &StoreKey) -> Answer<bool> {
        let count = sqlx::query_scalar(
            "SELECT COUNT(*) FROM kv_entries e JOIN kv_stores s ON s.id = e.store \
             WHERE s.package = $1 AND s.agent = $2 AND s.name = $3 AND e.key = $4",
        );
        let count = count.bind(store.package.as_str()).bind(store.agent()).bind(store.name.as_str());
        let count: i64 = count.bind(key.as_str()).fetch_one(&self.readers).await?;
        Ok(count > 0)
    }

    /// The values of at most [`BATCH_KEYS_MAX`] keys, all of one moment, in the order of the keys.
    ///
    /// # Errors
    /// [`KeyValueError::BatchTooLong`], [`KeyValueError::AnswerTooLong`], [`KeyValueError::Database`].
    pub async fn get_many(&self, store: &StoreId, keys: &[StoreKey]) -> Answer<Vec<Option<Vec<u8>>>> {
        batch_of(keys.len())?;
        let mut moment = self.readers.begin().await?;
        let mut values = Vec::with_capacity(keys.len());
        let Some(row) = row_of(&mut moment, store).await? else {
            values.resize(keys.len(), None);
            return Ok(values);
        };
        let mut room = BATCH_BYTES_MAX;
        for key in keys {
            let value: Option<Vec<u8>> =
                sqlx::query_scalar("SELECT value FROM kv_entries WHERE store = $1 AND key = $2")
                    .bind(row.id)
                    .bind(key.as_str())
                    .fetch_optional(&mut *moment)
                    .await?;
            let bytes = value.as_ref().map_or(0, Vec::len);
            room = room.checked_sub(bytes).ok_or(KeyValueError::AnswerTooLong)?;
            values.push(value);
        }
        Ok(values)
    }

    /// Keys of a store, at most [`PAGE_KEYS_MAX`], from where an earlier page ended. A key that is there all
    /// the while is on one page exactly, whatever is set and deleted meanwhile.
    ///
    /// # Errors
    /// [`KeyValueError::Database`].
    pub async fn list_keys(&self, store: &StoreId, cursor: Option<u64>) -> Answer<KeyPage> {
        // No key has a higher number than a column can hold.
        let Ok(from) = i64::try_from(cursor.unwrap_or(0)) else { return Ok(KeyPage::default()) };
        let rows = sqlx::query_as(
            "SELECT e.key, e.number FROM kv_entries e JOIN kv_stores s ON s.id = e.store \
             WHERE s.package = $1 AND s.agent = $2 AND s.name = $3 AND e.number >= $4 \
             ORDER BY e.number LIMIT $5",
        );
        let rows = rows.bind(store.package.as_str()).bind(store.agent()).bind(store.name.as_str());
        let rows = rows.bind(from).bind(to_integer(PAGE_KEYS_MAX as u64 + 1)?);
        let mut rows: Vec<(String, i64)> = rows.fetch_all(&self.readers).await?;
        let next = if rows.len() > PAGE_KEYS_MAX { rows.pop() } else { None };
        let cursor = next.map(|(_, number)| from_integer("kv_entries.number", number)).transpose()?;
        Ok(KeyPage { keys: rows.into_iter().map(|(key, _)| key).collect(), cursor })
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// [`KeyValueError`].
    pub async fn set(
        &self,
        store: &StoreId,
        bounds: StoreBounds,
        key: &StoreKey,
        value: &[u8],
    ) -> Answer<StoreSize> {
        let mut change = Change::begin(&self.writer, store).await?;
        change.put(key, value).await?;
        change.commit(bounds).await
    }

    /// Gives at most [`BATCH_KEYS_MAX`] keys their values: all of them or none.
    ///
    /// # Errors
    /// [`KeyValueError`].
    pub async fn set_many(
        &self,
        store: &StoreId,
        bounds: StoreBounds,
        entries: &[(StoreKey, Vec<u8>)],
    ) -> Answer<StoreSize> {
        batch_of(entries.len())?;
        let mut change = Change::begin(&self.writer, store).await?;
        for (key, value) in entries {
            change.put(key, value).await?;
        }
        change.commit(bounds).await
    }

    /// Deletes at most [`BATCH_KEYS_MAX`] keys: all of them or none. One that is not there is passed over.
    ///
    /// # Errors
    /// [`KeyValueError::BatchTooLong`], [`KeyValueError::Database`].
    pub async fn delete_many(&self, store: &StoreId, keys: &[StoreKey]) -> Answer<StoreSize> {
        batch_of(keys.len())?;
        let mut change = Change::begin(&self.writer, store).await?;
        for key in keys {
            change.remove(key).await?;
        }
        // What only becomes less is within any bound.
        change.commit(StoreBounds { bytes_max: u64::MAX, keys_max: u64::MAX }).await
    }

    /// Adds to the number under a key, which is 0 if it is not there, and returns the sum and what the store holds. Numbers are kept as
    /// decimal text, so that `get` and `set` of any language can read and write them.
    ///
    /// # Errors
    /// [`KeyValueError`].
    pub async fn increment(
        &self,
        store: &StoreId,
        bounds: StoreBounds,
        key: &StoreKey,
        delta: u64,
    ) -> Answer<(u64, StoreSize)> {
        let mut change = Change::begin(&self.writer, store).await?;
        let number = match change.value(key).await? {
            None => 0,
            Some(value) => parse_number(&value).ok_or(KeyValueError::NotANumber)?,
        };
        let sum = number.checked_add(delta).ok_or(KeyValueError::Overflow)?;
        change.put(key, sum.to_string().as_bytes()).await?;
        Ok((sum, change.commit(bounds).await?))
    }
}

impl StoreId {
    /// The column: no principal has an empty name.
    fn agent(&self) -> &str {
        self.agent.as_ref().map_or("", PrincipalId::as_str)
    }
}

fn batch_of(keys: usize) -> Answer<()> {
    if keys > BATCH_KEYS_MAX { Err(KeyValueError::BatchTooLong { keys }) } else { Ok(()) }
}

/// Digits only: no sign and no space, and at most 2^64 - 1.
fn parse_number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// What is known of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    id: i64,
    keys: u64,
    bytes: u64,
    next_number: u64,
}

async fn row_of(connection: &mut SqliteConnection, store: &StoreId) -> Result<Option<Row>, DatabaseError> {
    let row = sqlx::query_as(
        "SELECT id, keys, bytes, next_number FROM kv_stores WHERE package = $1 AND agent = $2 AND name = $3",
    );
    let row: Option<(i64, i64, i64, i64)> = row
        .bind(store.package.as_str())
        .bind(store.agent())
        .bind(store.name.as_str())
        .fetch_optional(connection)
        .await?;
    let Some((id, keys, bytes, next_number)) = row else { return Ok(None) };
    Ok(Some(Row {
        id,
        keys: from_integer("kv_stores.keys", keys)?,
        bytes: from_integer("kv_stores.bytes", bytes)?,
        next_number: from_integer("kv_stores.next_number", next_number)?,
    }))
}
