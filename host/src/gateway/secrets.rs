//! What an admin does with stored secrets. Each change is a revision: planned, recorded, and only then put
//! in force, and running calls that hold the former value end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Host, HostError, Taken};
use crate::audit::event::Event;
use crate::database::{Step, StoredSecret};
use crate::ids::{PrincipalId, SecretName};
use crate::secrets::SecretValue;

/// What came of storing or removing a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretChanged {
    /// What came of it.
    #[serde(flatten)]
    pub taken: Taken,
    /// Its name.
    pub name: SecretName,
}

impl Host {
    /// Stores a secret, or replaces its value; running calls that were given the former one end.
    ///
    /// # Errors
    /// If the key of stored secrets is missing or another one, or it can't be recorded or stored. What was
    /// stored before stays then.
    pub async fn set_secret(
        &self,
        by: &PrincipalId,
        name: SecretName,
        value: &SecretValue,
    ) -> Result<SecretChanged, HostError> {
        let _changing = self.begin_change().await?;
        let sealed = self.secrets.seal(&self.folder, value).await?;
        let change = self.database.prepare_secret(&name, sealed, by, self.now()).await;
        let change = change.map_err(HostError::Change)?;
        let revision = change.revision();
        self.log.append(Event::SecretSet { revision, name: name.clone(), by: by.clone() }).await?;
        let stopped = self.commit(change).await?;
        Ok(SecretChanged { taken: Taken { revision, changed: true, stopped }, name })
    }

    /// What is stored, by name; never a value.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn list_secrets(&self) -> Result<Vec<StoredSecret>, HostError> {
        Ok(self.secrets.list().await?)
    }

    /// Removes a secret; running calls that were given it end. Grants that name it stay, and give nothing
    /// of it until it is stored again. Needs no key.
    ///
    /// # Errors
    /// If no such secret is stored, or it can't be recorded.
    pub async fn remove_secret(
        &self,
        by: &PrincipalId,
        name: SecretName,
    ) -> Result<SecretChanged, HostError> {
        let taken = self.take(by, Step::RemoveSecret { name: name.clone() }).await?;
        Ok(SecretChanged { taken, name })
    }
}
