//! Credentials for a registry, from docker's configuration. Pure: the file is opened by the caller, and no helper
//! program is run.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

/// The most bytes of docker's configuration.
pub const DOCKER_CONFIG_BYTES_MAX: usize = 1 << 20;

/// What a registry is told of who asks. Sent only when it asks, over TLS or to this machine.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// A name and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// A token that is sent as it is.
    Token(Zeroizing<String>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::None => "None",
            Credentials::Basic { .. } => "Basic",
            Credentials::Token(_) => "Token",
        })
    }
}

/// Why docker's configuration is of no use. The fault of who keeps it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Not what docker writes.
    #[error("docker's configuration can't be read: {0}")]
    Malformed(String),
    /// A helper program has them.
    #[error(
        "docker's configuration leaves the credentials of {registry} to the helper {helper}, and no helper is run: give --token-file, or a configuration with `auths`"
    )]
    Helper {
        /// Whose.
        registry: String,
        /// The helper.
        helper: String,
    },
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "registrytoken")]
    token: Option<String>,
}

/// The credentials of a registry (host, and port if one is written) in the text of docker's `config.json`: of
/// `auths`, by the very name, or as a URL of it.
///
/// # Errors
/// [`CredentialsError`].
pub fn from_docker_config(text: &str, registry: &str) -> Result<Credentials, CredentialsError> {
    // serde's message may quote what it has read.
    let malformed = |_| CredentialsError::Malformed("it is not the JSON that docker writes".to_owned());
    let config: DockerConfig = serde_json::from_str(text).map_err(malformed)?;
    let is_meant = |name: &str| {
        let name = name.strip_prefix("https://").or(name.strip_prefix("http://")).unwrap_or(name);
        name.split('/').next() == Some(registry)
    };
    if let Some((_, helper)) = config.helpers.iter().find(|(name, _)| is_meant(name)) {
        return Err(CredentialsError::Helper { registry: registry.to_owned(), helper: helper.clone() });
    }
    let Some((_, auth)) = config.auths.into_iter().find(|(name, _)| is_meant(name)) else {
        return Ok(Credentials::None);
    };
    match (auth, config.store) {
        (Auth { token: Some(token), .. }, _) => Ok(Credentials::Token(Zeroizing::new(token))),
        (Auth { auth: Some(encoded), .. }, _) if !encoded.is_empty() => {
            let encoded = Zeroizing::new(encoded);
            let wrong = || {
                CredentialsError::Malformed(format!(
                    "`auth` of {registry} is not the base64 of USER:PASSWORD"
                ))
            };
            let bytes = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| wrong())?);
            let decoded = std::str::from_utf8(&bytes).map_err(|_| wrong())?;
            let (user, password) = decoded.split_once(':').ok_or_else(wrong)?;
            Ok(Credentials::Basic { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) })
        }
        (Auth { username: Some(user), password: Some(password), .. }, _) => {
            Ok(Credentials::Basic { user, password: Zeroizing::new(password) })
        }
        (_, Some(helper)) => Err(CredentialsError::Helper { registry: registry.to_owned(), helper }),
        (_, None) => Ok(Credentials::None),
    }
}
