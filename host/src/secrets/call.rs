//! The secrets of one running call: their values, and what to look for in all that leaves it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::leak::{Patterns, TooManySecrets};
use super::store::Secrets;
use super::value::SecretValue;
use crate::ids::SecretName;
use crate::policy::{AuthorizedSecret, OnLeak};

/// The values that a call was given, to see them or to use them unseen. Wiped when the call ends. By default
/// none.
#[derive(Debug, Default)]
pub struct CallSecrets {
    values: BTreeMap<SecretName, SecretValue>,
    patterns: Arc<Patterns>,
}

impl CallSecrets {
    /// These values.
    ///
    /// # Errors
    /// [`TooManySecrets`].
    pub fn new(secrets: Vec<(SecretName, SecretValue, OnLeak)>) -> Result<Self, TooManySecrets> {
        let patterns = Patterns::new(secrets.iter().map(|(name, value, on_leak)| (name, value, *on_leak)))?;
        let values = secrets.into_iter().map(|(name, value, _)| (name, value)).collect();
        Ok(Self { values, patterns: Arc::new(patterns) })
    }

    /// The value of a secret; none if it was not given, or can't be opened now.
    pub fn value(&self, name: &SecretName) -> Option<&SecretValue> {
        self.values.get(name)
    }

    /// What to look for.
    pub fn patterns(&self) -> &Arc<Patterns> {
        &self.patterns
    }
}

impl Secrets {
    /// Opens what a call was given. What can't be opened is left out, and the host says why: the call goes
    /// on without it.
    ///
    /// # Errors
    /// [`TooManySecrets`].
    pub async fn open_for_call(&self, given: &[AuthorizedSecret]) -> Result<CallSecrets, TooManySecrets> {
        if given.is_empty() {
            return Ok(CallSecrets::default());
        }
        let mut opened = Vec::with_capacity(given.len());
        for AuthorizedSecret { name, revision, on_leak } in given {
            match self.value(name, *revision).await {
                Ok(value) => opened.push((name.clone(), value, *on_leak)),
                Err(error) => tracing::warn!(%error, secret = %name, "a call goes without a secret"),
            }
        }
        CallSecrets::new(opened)
    }
}
