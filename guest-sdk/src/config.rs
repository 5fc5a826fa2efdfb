//! What an admin set up for the tool (`[grant.config]`).

use std::fmt;
use std::str::FromStr;

use crate::host;

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// None is granted, or the host can't read it, as the text says.
    Unavailable(String),
    /// A value does not parse.
    Invalid {
        /// Its key.
        key: String,
        /// Why not.
        reason: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unavailable(reason) => write!(f, "there is no configuration: {reason}"),
            ConfigError::Invalid { key, reason } => {
                write!(f, "the configuration of {key:?} is wrong: {reason}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// The value of a key; `None` if other keys are granted and this one is not.
///
/// # Errors
/// [`ConfigError::Unavailable`].
pub fn get(key: &str) -> Result<Option<String>, ConfigError> {
    host::config(key).map_err(ConfigError::Unavailable)
}

/// The value of a key as a number, an address or anything else that parses.
///
/// # Errors
/// [`ConfigError`].
pub fn parse<T: FromStr>(key: &str) -> Result<Option<T>, ConfigError>
where
    T::Err: fmt::Display,
{
    let invalid = |error: T::Err| ConfigError::Invalid { key: key.to_owned(), reason: error.to_string() };
    get(key)?.map(|value| value.parse().map_err(invalid)).transpose()
}

/// All keys with their values.
///
/// # Errors
/// [`ConfigError::Unavailable`].
pub fn all() -> Result<Vec<(String, String)>, ConfigError> {
    host::config_all().map_err(ConfigError::Unavailable)
}
