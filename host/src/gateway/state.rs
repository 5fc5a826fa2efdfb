//! What an admin does with the state that packages keep: sees how much there is, and clears it. Clearing is a
//! revision: planned, recorded, and only then done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::standing::event;
use super::{Host, HostError, Taken};
use crate::database::{HeldStores, Step, StoreId, StoreSize};
use crate::ids::{PackageName, PrincipalId};

/// What came of clearing a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateCleared {
    /// What came of it.
    #[serde(flatten)]
    pub taken: Taken,
    /// Which.
    #[serde(flatten)]
    pub store: StoreId,
    /// What it held.
    #[serde(flatten)]
    pub held: StoreSize,
}

impl Host {
    /// The stores that packages keep, of one package or of all: never a key or a value.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn stores(&self, package: Option<&PackageName>) -> Result<HeldStores, HostError> {
        Ok(self.database.held_stores(package).await?)
    }

    /// Deletes all keys of a store. Calls that run go on, and find it empty; grants of it stay.
    ///
    /// # Errors
    /// If there is no such store, or it can't be recorded.
    pub async fn clear_store(&self, by: &PrincipalId, store: StoreId) -> Result<StateCleared, HostError> {
        let _changing = self.begin_change().await?;
        let planned = self.database.prepare_clear(&store, by, self.now()).await;
        let (change, held) = planned.map_err(HostError::Change)?;
        let revision = change.revision();
        self.log.append(event(Step::ClearStore { store: store.clone() }, &change)).await?;
        let stopped = self.commit(change).await?;
        Ok(StateCleared { taken: Taken { revision, changed: true, stopped }, store, held })
    }
}
