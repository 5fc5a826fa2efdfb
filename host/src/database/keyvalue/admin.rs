//! What an admin may do with the state of packages: see how much there is, and clear it. Keys and values are not
//! shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};

use super::{StoreId, StoreSize, row_of};
use crate::database::change::{ChangeError, Plan};
use crate::database::{Database, DatabaseError, GrantsChange, Step, from_integer, from_text, to_integer};
use crate::ids::{PackageName, PrincipalId};

/// The most stores of one listing.
const STORES_LISTED_MAX: usize = 10_000;

/// A store with what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldStore {
    /// Which.
    #[serde(flatten)]
    pub store: StoreId,
    /// How much.
    #[serde(flatten)]
    pub held: StoreSize,
}

/// The stores of all packages, or of one: by package, name and agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldStores {
    /// At most 10,000 of them.
    pub stores: Vec<HeldStore>,
    /// Whether these are all.
    pub is_whole: bool,
}

type Columns = (String, String, String, i64, i64);

impl Database {
    /// What is kept. A store from which all keys were deleted may be among it, or not.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn held_stores(&self, package: Option<&PackageName>) -> Result<HeldStores, DatabaseError> {
        let rows = sqlx::query_as(
            "SELECT package, name, agent, keys, bytes FROM kv_stores WHERE $1 = '' OR package = $1 \
             ORDER BY package, name, agent LIMIT $2",
        );
        let rows = rows.bind(package.map_or("", PackageName::as_str));
        let rows = rows.bind(to_integer(STORES_LISTED_MAX as u64 + 1)?);
        let mut rows: Vec<Columns> = rows.fetch_all(&self.readers).await?;
        let is_whole = rows.len() <= STORES_LISTED_MAX;
        rows.truncate(STORES_LISTED_MAX);
        let held = |(package, name, agent, keys, bytes): Columns| {
            let agent: Option<PrincipalId> = match agent.as_str() {
                "" => None,
                agent => Some(from_text("kv_stores.agent", agent)?),
            };
            let package = from_text("kv_stores.package", &package)?;
            Ok(HeldStore {
                store: StoreId { package, agent, name: from_text("kv_stores.name", &name)? },
                held: StoreSize {
                    keys: from_integer("kv_stores.keys", keys)?,
                    bytes: from_integer("kv_stores.bytes", bytes)?,
                },
            })
        };
        let stores = rows.into_iter().map(held).collect::<Result<_, DatabaseError>>()?;
        Ok(HeldStores { stores, is_whole })
    }

    /// Plans that all keys of a store are deleted. Says what it holds now: calls that run may change that
    /// until it is done, and begin the store anew afterwards.
    ///
    /// # Errors
    /// [`ChangeError::NoSuchStore`], or the database's.
    pub async fn prepare_clear(
        &self,
        store: &StoreId,
        by: &PrincipalId,
        now: jiff::Timestamp,
    ) -> Result<(GrantsChange, StoreSize), ChangeError> {
        let guard = self.begin_change().await?;
        self.refuse_unsettled().await?;
        let mut connection = self.readers.acquire().await?;
        let Some(row) = row_of(&mut connection, store).await? else {
            return Err(ChangeError::NoSuchStore(Box::new(store.clone())));
        };
        drop(connection);
        let step = Some(Step::ClearStore { store: store.clone() });
        let plan = Plan { step, ..Plan::new(self.revision().await?, by, now) };
        let change = GrantsChange::prepare(self.clone(), guard, plan).await?;
        Ok((change, StoreSize { keys: row.keys, bytes: row.bytes }))
    }
}

/// Deletes a store with all its keys; changes nothing if it is gone already.
pub(in crate::database) async fn clear_store(
    transaction: &mut Transaction<'_, Sqlite>,
    store: &StoreId,
) -> Result<(), DatabaseError> {
    let Some(row) = row_of(transaction, store).await? else { return Ok(()) };
    for statement in ["DELETE FROM kv_entries WHERE store = $1", "DELETE FROM kv_stores WHERE id = $1"] {
        sqlx::query(statement).bind(row.id).execute(&mut **transaction).await?;
    }
    Ok(())
}
