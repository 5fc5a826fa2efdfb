//! State that outlives a call, in a store that a grant names (`[[grant.keyvalue]]`).
//!
//! ```no_run
//! use portcullis_sdk::kv::{self, KvError};
//!
//! fn visits(of: &str) -> Result<u64, KvError> {
//!     kv::open("default")?.increment(of, 1)
//! }
//! ```
//!
//! Of calls that run at once, [`Store::increment`], [`Store::set_many`] and [`Store::delete_many`] are each made as
//! one; between a [`Store::get`] and a [`Store::set`] another call may write.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host;

/// An open store.
#[derive(Debug)]
pub struct Store(host::Bucket);

/// Why a store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvError {
    /// The host knows no store of this name.
    NoSuchStore,
    /// No grant gives the store, or it may only be read.
    AccessDenied,
    /// The store is full or busy, the key is no key, or the value no number, as the text says.
    Other(String),
    /// The value is not the JSON that was expected, or can't be written as JSON.
    Json(String),
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvError::NoSuchStore => f.write_str("there is no such store"),
            KvError::AccessDenied => f.write_str("the store is not granted to this tool for this"),
            KvError::Other(reason) => f.write_str(reason),
            KvError::Json(reason) => write!(f, "the value is not the JSON that was expected: {reason}"),
        }
    }
}

impl std::error::Error for KvError {}

/// Opens a store by the name that grants give it.
///
/// # Errors
/// [`KvError::AccessDenied`] without a grant.
pub fn open(name: &str) -> Result<Store, KvError> {
    host::Bucket::open(name).map(Store)
}

impl Store {
    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// [`KvError::Other`].
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(key)
    }

    /// The value of a key, read from JSON.
    ///
    /// # Errors
    /// [`KvError::Json`] if it is something else, [`KvError::Other`].
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, KvError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        serde_json::from_slice(&value).map(Some).map_err(|error| KvError::Json(error.to_string()))
    }

    /// Gives a key a value. Keys are texts of 1 to 1,024 bytes.
    ///
    /// # Errors
    /// [`KvError::AccessDenied`] in a store that may only be read; [`KvError::Other`], above all when it is full.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), KvError> {
        self.0.set(key, value.as_ref())
    }

    /// Gives a key a value, written as JSON.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`KvError::Json`] if it can't be written.
    pub fn set_json(&self, key: &str, value: &impl Serialize) -> Result<(), KvError> {
        self.set(key, serde_json::to_vec(value).map_err(|error| KvError::Json(error.to_string()))?)
    }

    /// Deletes a key, if it is there.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn delete(&self, key: &str) -> Result<(), KvError> {
        self.0.delete(key)
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// [`KvError::Other`].
    pub fn exists(&self, key: &str) -> Result<bool, KvError> {
        self.0.exists(key)
    }

    /// All keys, in the order in which they were first set. The grant's `keys_max` bounds them.
    ///
    /// # Errors
    /// [`KvError::Other`].
    pub fn keys(&self) -> Result<Vec<String>, KvError> {
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let (page, next) = self.0.page(cursor)?;
            keys.extend(page);
            if next.is_none() {
                return Ok(keys);
            }
            cursor = next;
        }
    }

    /// Adds to the number under a key (0 if it is not there) and gives the sum. Numbers are kept as decimal text.
    ///
    /// # Errors
    /// As [`set`](Self::set); [`KvError::Other`] also if the value is no number, or the sum is above 2^64 - 1.
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, KvError> {
        self.0.increment(key, delta)
    }

    /// The values of up to 1,000 keys, all of one moment.
    ///
    /// # Errors
    /// [`KvError::Other`].
    pub fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        self.0.get_many(keys)
    }

    /// Gives up to 1,000 keys their values: all of them, or none if there is an error.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_many(&self, entries: &[(String, Vec<u8>)]) -> Result<(), KvError> {
        self.0.set_many(entries)
    }

    /// Deletes up to 1,000 keys: all of them, or none if there is an error.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn delete_many(&self, keys: &[String]) -> Result<(), KvError> {
        self.0.delete_many(keys)
    }
}
