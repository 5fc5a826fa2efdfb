//! The value of a secret, for an API that needs it in the tool.
//!
//! Prefer a grant that injects a secret into requests: then the tool never has it. What is read here can't be
//! taken back: never put it into a result, an error or a log line.

use std::fmt;

use crate::host;

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// No grant lets this tool see the secret.
    NotPermitted,
    /// The host can't read it now.
    Unavailable,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecretError::NotPermitted => "no grant lets this tool see the secret",
            SecretError::Unavailable => "the host can't read the secret now",
        })
    }
}

impl std::error::Error for SecretError {}

/// A secret's value. It is not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of a secret that a grant lets this tool see.
///
/// # Errors
/// [`SecretError`].
pub fn get(name: &str) -> Result<Secret, SecretError> {
    host::secret(name).map(Secret)
}
