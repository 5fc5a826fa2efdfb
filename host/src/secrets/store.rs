//! Secrets at rest: each an age file for the host's key, in a row of the database.
//!
//! The key is made when the first secret is stored, and never while something is stored that it would
//! not open: a key that was lost must be put back, not replaced.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Mutex;

use super::key::{KeyOrigin, NoKey, SecretsKey};
use super::leak::TooManySecrets;
use super::value::{SecretValue, ValueError};
use crate::config::{DataFolder, DataFolderError, DataPaths};
use crate::database::{Database, DatabaseError, Sealed, StoredSecret};
use crate::ids::{Revision, SecretName};

/// Why a secret can't be stored or opened. What is stored stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The key is not there.
    #[error(
        "stored secrets can't be opened: their key {path} is not there; put it back with mode 600, or give it in $PORTCULLIS_SECRETS_KEY; if it is lost, `portcullis secret remove` each and set it anew"
    )]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The key is another one than they were stored with.
    #[error(
        "stored secrets can't be opened with the key in {key}: they were encrypted for another; put that back, or `portcullis secret remove` each and set it anew"
    )]
    OtherKey {
        /// Where the key is that was tried.
        key: KeyOrigin,
    },
    /// What should be a key is none.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// What is stored is not what this host wrote.
    #[error(
        "secret {name} is damaged in the database; set it anew with `portcullis secret set`, or restore a backup"
    )]
    Damaged {
        /// Which.
        name: SecretName,
    },
    /// It was replaced or removed since it was looked up.
    #[error("secret {name} was replaced or removed")]
    Gone {
        /// Which.
        name: SecretName,
    },
    /// It can't be encrypted.
    #[error("the secret can't be encrypted: {0}")]
    Encrypt(String),
    /// A call was given more of them than can be looked for. The admin's fault.
    #[error(transparent)]
    TooMany(#[from] TooManySecrets),
    /// A value that can't be kept. The admin's fault.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The key's file can't be read or made.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The secrets of one data folder.
#[derive(Debug)]
pub struct Secrets {
    database: Database,
    /// Where the key's file is, or will be.
    path: PathBuf,
    /// Held while the first key is made, so that two are not.
    key: Mutex<Option<Arc<SecretsKey>>>,
}

impl Secrets {
    /// Takes the key that is given, else that of the folder, if it has one.
    ///
    /// # Errors
    /// If the folder's key can't be read, others can read it, or it is none.
    pub fn open(
        database: Database,
        folder: &DataFolder,
        given: Option<SecretsKey>,
    ) -> Result<Self, SecretsError> {
        let path = folder.paths().secrets_key();
        let key = match given {
            Some(key) => Some(key),
            None => read_key(folder.paths())?,
        };
        Ok(Self { database, path, key: Mutex::new(key.map(Arc::new)) })
    }

    /// What is stored, by name; never a value.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn list(&self) -> Result<Vec<StoredSecret>, DatabaseError> {
        self.database.stored_secrets().await
    }

    /// Encrypts a value, with a key that is made if nothing is stored yet.
    ///
    /// # Errors
    /// [`SecretsError`] `KeyMissing` or `OtherKey` if what is stored needs another key: there is one key
    /// for all.
    pub async fn seal(&self, folder: &DataFolder, value: &SecretValue) -> Result<Sealed, SecretsError> {
        let key = self.key_to_store(folder).await?;
        let age = age::encrypt(&key.identity().to_public(), value.expose());
        let age = age.map_err(|error| SecretsError::Encrypt(error.to_string()))?;
        Ok(Sealed { ciphertext: STANDARD.encode(age), recipient: key.recipient() })
    }

    async fn key_to_store(&self, folder: &DataFolder) -> Result<Arc<SecretsKey>, SecretsError> {
        let mut held = self.key.lock().await;
        let stored_for = self.database.secret_recipients().await?;
        if let Some(key) = &*held {
            let is_other = stored_for.iter().any(|recipient| *recipient != key.recipient());
            return if is_other { Err(other_key(key)) } else { Ok(Arc::clone(key)) };
        }
        if !stored_for.is_empty() {
            return Err(SecretsError::KeyMissing { path: self.path.clone() });
        }
        let (key, text) = SecretsKey::generate(self.path.clone());
        folder.keep_secrets_key(&text)?;
        Ok(Arc::clone(held.insert(Arc::new(key))))
    }

    /// The value that a revision has set.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub async fn value(&self, name: &SecretName, revision: Revision) -> Result<SecretValue, SecretsError> {
        let sealed = self.database.sealed_secret(name, revision).await?;
        let sealed = sealed.ok_or_else(|| SecretsError::Gone { name: name.clone() })?;
        let key = self.key.lock().await.clone();
        let key = key.ok_or_else(|| SecretsError::KeyMissing { path: self.path.clone() })?;
        open_sealed(&key, name, &sealed)
    }
}

/// The key of a data folder, if there is one. For those who only look as well.
///
/// # Errors
/// As [`Secrets::open`].
pub fn read_key(paths: &DataPaths) -> Result<Option<SecretsKey>, SecretsError> {
    let Some(text) = paths.secrets_key_text()? else { return Ok(None) };
    Ok(Some(SecretsKey::parse(&text, KeyOrigin::File(paths.secrets_key()))?))
}

/// Opens what is stored.
///
/// # Errors
/// [`SecretsError`] `OtherKey` or `Damaged`.
pub fn open_sealed(
    key: &SecretsKey,
    name: &SecretName,
    sealed: &Sealed,
) -> Result<SecretValue, SecretsError> {
    let damaged = || SecretsError::Damaged { name: name.clone() };
    let age = STANDARD.decode(&sealed.ciphertext).map_err(|_| damaged())?;
    match age::decrypt(key.identity(), &age) {
        Ok(value) => SecretValue::new(value).map_err(|_| damaged()),
        Err(age::DecryptError::NoMatchingKeys) if sealed.recipient != key.recipient() => Err(other_key(key)),
        Err(_) => Err(damaged()),
    }
}

fn other_key(key: &SecretsKey) -> SecretsError {
    SecretsError::OtherKey { key: key.origin().clone() }
}

#[cfg(test)]
mod tests;
