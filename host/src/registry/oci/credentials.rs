//! Credentials for a registry, from docker's configuration and its helpers' answers. Pure: the file is opened, and a
//! helper run, by the caller.

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
    /// An identity token: the registry's token service gives one for a repository in exchange for it. It is sent
    /// nowhere else.
    Identity(Zeroizing<String>),
}

/// What docker's configuration says of a registry.
#[derive(Clone, Debug)]
pub enum Found {
    /// These.
    Credentials(Credentials),
    /// A helper program has them.
    Helper {
        /// It: `docker-credential-NAME`.
        program: String,
        /// What it is asked about, which it reads on stdin.
        server: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::None => "None",
            Credentials::Basic { .. } => "Basic",
            Credentials::Token(_) => "Token",
            Credentials::Identity(_) => "Identity",
        })
    }
}

/// Why docker's configuration is of no use. The fault of who keeps it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Not what docker writes.
    #[error("docker's configuration can't be read: {0}")]
    Malformed(String),
    /// The name of a helper is none.
    #[error(
        "docker's configuration leaves the credentials of {registry} to a helper whose name is not 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'"
    )]
    HelperName {
        /// Whose.
        registry: String,
    },
    /// A helper answers with something else than credentials.
    #[error(
        "the credential helper answers with something else than docker's JSON of ServerURL, Username and Secret"
    )]
    HelperAnswer,
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
    #[serde(rename = "identitytoken")]
    identity: Option<String>,
}

/// What a helper writes (docker's credential helpers, `get`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The name that a helper gives where the secret is an identity token.
const IDENTITY_USER: &str = "<token>";
/// How a helper's program is called, before its name.
const HELPER: &str = "docker-credential-";
const HELPER_NAME_BYTES_MAX: usize = 64;

/// The credentials of a registry (host, and port if one is written) in the text of docker's `config.json`: by the very
/// name, or as a URL of it. A helper for this registry comes first, then what the file has itself, then the store that
/// has all others.
///
/// # Errors
/// [`CredentialsError`].
pub fn from_docker_config(text: &str, registry: &str) -> Result<Found, CredentialsError> {
    // serde's message may quote what it has read.
    let malformed = |_| CredentialsError::Malformed("it is not the JSON that docker writes".to_owned());
    let config: DockerConfig = serde_json::from_str(text).map_err(malformed)?;
    let is_meant = |name: &str| {
        let name = name.strip_prefix("https://").or(name.strip_prefix("http://")).unwrap_or(name);
        name.split('/').next() == Some(registry)
    };
    if let Some((name, helper)) = config.helpers.iter().find(|(name, _)| is_meant(name)) {
        return helper_of(helper, name, registry);
    }
    let named = config.auths.into_iter().find(|(name, _)| is_meant(name));
    let (server, auth) = match named {
        Some((name, auth)) => (name, Some(auth)),
        None => (registry.to_owned(), None),
    };
    if let Some(credentials) = auth.map(|auth| written(auth, registry)).transpose()?.flatten() {
        return Ok(Found::Credentials(credentials));
    }
    match config.store.filter(|store| !store.is_empty()) {
        Some(store) => helper_of(&store, &server, registry),
        None => Ok(Found::Credentials(Credentials::None)),
    }
}

fn helper_of(name: &str, server: &str, registry: &str) -> Result<Found, CredentialsError> {
    let is_name = (1..=HELPER_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !is_name {
        return Err(CredentialsError::HelperName { registry: registry.to_owned() });
    }
    Ok(Found::Helper { program: format!("{HELPER}{name}"), server: server.to_owned() })
}

/// What the file has itself.
fn written(auth: Auth, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Zeroizing::new);
    let Auth { auth, username, password, token, identity } = auth;
    if let Some(token) = some(token) {
        return Ok(Some(Credentials::Token(token)));
    }
    if let Some(token) = some(identity) {
        return Ok(Some(Credentials::Identity(token)));
    }
    if let Some(encoded) = some(auth) {
        let wrong = || {
            CredentialsError::Malformed(format!("`auth` of {registry} is not the base64 of USER:PASSWORD"))
        };
        let bytes = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| wrong())?);
        let decoded = std::str::from_utf8(&bytes).map_err(|_| wrong())?;
        let (user, password) = decoded.split_once(':').ok_or_else(wrong)?;
        return Ok(Some(Credentials::Basic {
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        }));
    }
    Ok(match (username, some(password)) {
        (Some(user), Some(password)) => Some(Credentials::Basic { user, password }),
        (Some(_) | None, _) => None,
    })
}

/// What a helper wrote to stdout.
///
/// # Errors
/// [`CredentialsError::HelperAnswer`], which quotes nothing of it.
pub fn from_helper(stdout: &[u8]) -> Result<Credentials, CredentialsError> {
    let answer: HelperAnswer = serde_json::from_slice(stdout).map_err(|_| CredentialsError::HelperAnswer)?;
    let secret = Zeroizing::new(answer.secret);
    Ok(match answer.username.as_str() {
        IDENTITY_USER => Credentials::Identity(secret),
        user => Credentials::Basic { user: user.to_owned(), password: secret },
    })
}
