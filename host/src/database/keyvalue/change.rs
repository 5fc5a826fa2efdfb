//! One change of a store: a transaction that counts what it does.

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::{
    Answer, KeyValueError, Row, STORES_MAX, StoreBounds, StoreId, StoreSize, VALUE_BYTES_MAX, row_of,
};
use crate::database::{DatabaseError, from_integer, to_integer};
use crate::ids::StoreKey;
use crate::limits::{Limit, LimitReached};

/// A change of one store. Dropped, it changes nothing.
pub(super) struct Change<'s> {
    transaction: Transaction<'static, Sqlite>,
    store: &'s StoreId,
    /// As it was; `None` if there is no such store yet.
    before: Option<Row>,
    row: Row,
}

impl<'s> Change<'s> {
    pub(super) async fn begin(writer: &SqlitePool, store: &'s StoreId) -> Answer<Self> {
        let mut transaction = writer.begin().await?;
        let before = row_of(&mut transaction, store).await?;
        let row = match before {
            Some(row) => row,
            None => new_row(&mut transaction).await?,
        };
        Ok(Self { transaction, store, before, row })
    }

    pub(super) async fn value(&mut self, key: &StoreKey) -> Answer<Option<Vec<u8>>> {
        let value = sqlx::query_scalar("SELECT value FROM kv_entries WHERE store = $1 AND key = $2");
        Ok(value.bind(self.row.id).bind(key.as_str()).fetch_optional(&mut *self.transaction).await?)
    }

    /// The length of what is under a key.
    async fn value_bytes(&mut self, key: &StoreKey) -> Answer<Option<u64>> {
        let bytes = sqlx::query_scalar("SELECT LENGTH(value) FROM kv_entries WHERE store = $1 AND key = $2");
        let bytes: Option<i64> =
            bytes.bind(self.row.id).bind(key.as_str()).fetch_optional(&mut *self.transaction).await?;
        Ok(bytes.map(|bytes| from_integer("kv_entries.value", bytes)).transpose()?)
    }

    pub(super) async fn put(&mut self, key: &StoreKey, value: &[u8]) -> Answer<()> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(KeyValueError::ValueTooLong { bytes: value.len() });
        }
        if self.before.is_none() {
            self.make_store().await?;
        }
        let held = value.len() as u64;
        let old = self.value_bytes(key).await?;
        let row = &mut self.row;
        let statement = match old {
            Some(old) => {
                row.bytes = row.bytes.saturating_sub(old).saturating_add(held);
                let update = sqlx::query("UPDATE kv_entries SET value = $3 WHERE store = $1 AND key = $2");
                update.bind(row.id).bind(key.as_str()).bind(value)
            }
            None => {
                row.bytes = row.bytes.saturating_add(held).saturating_add(key.as_str().len() as u64);
                row.keys += 1;
                let number = to_integer(row.next_number)?;
                row.next_number += 1;
                let insert =
                    sqlx::query("INSERT INTO kv_entries (store, key, value, number) VALUES ($1, $2, $3, $4)");
                insert.bind(row.id).bind(key.as_str()).bind(value).bind(number)
            }
        };
        statement.execute(&mut *self.transaction).await?;
        Ok(())
    }

    pub(super) async fn remove(&mut self, key: &StoreKey) -> Answer<()> {
        let Some(old) = self.value_bytes(key).await? else { return Ok(()) };
        let delete = sqlx::query("DELETE FROM kv_entries WHERE store = $1 AND key = $2");
        delete.bind(self.row.id).bind(key.as_str()).execute(&mut *self.transaction).await?;
        self.row.bytes = self.row.bytes.saturating_sub(old).saturating_sub(key.as_str().len() as u64);
        self.row.keys = self.row.keys.saturating_sub(1);
        Ok(())
    }

    /// Makes the store's row, if its package is still registered: a call that outlives its package by a
    /// moment leaves nothing behind for whoever has the name next.
    async fn make_store(&mut self) -> Answer<()> {
        let made = sqlx::query(
            "INSERT INTO kv_stores (id, package, agent, name, keys, bytes, next_number) \
             SELECT $1, $2, $3, $4, 0, 0, 0 WHERE EXISTS (SELECT 1 FROM packages WHERE name = $2)",
        );
        let made = made.bind(self.row.id).bind(self.store.package.as_str()).bind(self.store.agent());
        let made = made.bind(self.store.name.as_str()).execute(&mut *self.transaction).await?;
        if made.rows_affected() == 0 {
            return Err(KeyValueError::NoPackage);
        }
        self.before = Some(self.row);
        Ok(())
    }

    /// Makes it, if the store does not grow beyond its bounds by it.
    pub(super) async fn commit(mut self, bounds: StoreBounds) -> Answer<StoreSize> {
        // Nothing was there and nothing was set.
        let Some(before) = self.before else { return Ok(StoreSize::default()) };
        let Row { id, keys, bytes, next_number } = self.row;
        for (limit, held, value, max) in [
            (Limit::KvBytes, before.bytes, bytes, bounds.bytes_max),
            (Limit::KvKeys, before.keys, keys, bounds.keys_max),
        ] {
            if value > held && value > max {
                return Err(LimitReached { limit, value, max }.into());
            }
        }
        sqlx::query("UPDATE kv_stores SET keys = $2, bytes = $3, next_number = $4 WHERE id = $1")
            .bind(id)
            .bind(to_integer(keys)?)
            .bind(to_integer(bytes)?)
            .bind(to_integer(next_number)?)
            .execute(&mut *self.transaction)
            .await?;
        self.transaction.commit().await?;
        Ok(StoreSize { bytes, keys })
    }
}

/// A store that is not there yet, with the number that it would have.
async fn new_row(connection: &mut SqliteConnection) -> Answer<Row> {
    let (count, last): (i64, i64) =
        sqlx::query_as("SELECT COUNT(*), COALESCE(MAX(id), 0) FROM kv_stores").fetch_one(connection).await?;
    if from_integer("kv_stores", count)? >= STORES_MAX as u64 {
        return Err(DatabaseError::TooMany { what: "stores", max: STORES_MAX }.into());
    }
    Ok(Row { id: last + 1, keys: 0, bytes: 0, next_number: 0 })
}
