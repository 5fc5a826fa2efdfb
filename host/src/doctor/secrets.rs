//! Stored secrets: whether there is a key, and whether it opens each of them. Shows no value.

use super::{Check, DatabaseState};
use crate::config::DataPaths;
use crate::database::Look;
use crate::secrets::{SecretsError, SecretsKey, open_sealed, read_key};

const NAME: &str = "secrets";

pub(super) fn check(paths: &DataPaths, given: Option<&SecretsKey>, database: &DatabaseState) -> Check {
    let key = match given {
        Some(key) => Ok(Some(key.clone())),
        None => read_key(paths),
    };
    let key = match key {
        Ok(key) => key,
        Err(error) => {
            return Check::fail(
                NAME,
                error.to_string(),
                "no host starts with a key that is not safe or none",
            );
        }
    };
    let stored = match database {
        DatabaseState::Looked(Ok(Look { content: Some(content), .. })) => &content.secrets,
        DatabaseState::Looked(_) | DatabaseState::Missing | DatabaseState::WithOwner => {
            let found = match key {
                Some(key) => format!("there is a key in {}; what is stored was not opened", key.origin()),
                None => "there is no key yet: the first secret makes it".to_owned(),
            };
            return Check::info(NAME, found);
        }
    };
    match (key, stored.len()) {
        (_, 0) => Check::ok(NAME, "none are stored"),
        (None, count) => {
            let error = SecretsError::KeyMissing { path: paths.secrets_key() };
            Check::fail(NAME, format!("{count} are stored"), error.to_string())
        }
        (Some(key), count) => {
            let opened =
                stored.iter().try_for_each(|(name, sealed)| open_sealed(&key, name, sealed).map(drop));
            match opened {
                Ok(()) => {
                    Check::ok(NAME, format!("{count} are stored, and the key in {} opens them", key.origin()))
                }
                Err(error) => Check::fail(
                    NAME,
                    error.to_string(),
                    "put the right key back in secrets.key or $PORTCULLIS_SECRETS_KEY; never delete the one that is there",
                ),
            }
        }
    }
}
