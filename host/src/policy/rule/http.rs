//! Which requests of HTTP a tool may send.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::inject::Injection;
use super::listed;
use super::secret::OnLeak;
use crate::egress::{CanonicalUrl, HostPattern, PathPattern, Scheme};
use crate::ids::text_schema;

/// The most bytes of a method's name.
const METHOD_BYTES_MAX: usize = 32;

/// A method of HTTP: 1 to 32 of `A-Z` and `-`, but `CONNECT`, which makes a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpMethod(String);

text_schema!(HttpMethod, "an HTTP method, in capitals", "^[A-Z-]+$");

impl HttpMethod {
    /// As a request writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a method. The message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpMethodError {
    /// A tunnel can't be judged.
    #[error("CONNECT makes a tunnel, which nobody can judge: it can't be granted")]
    Connect,
    /// Not a method.
    #[error("{0:?} is not a method: write it in capitals, such as \"GET\"; there is no word for all")]
    Malformed(String),
}

impl FromStr for HttpMethod {
    type Err = HttpMethodError;

    fn from_str(text: &str) -> Result<Self, HttpMethodError> {
        let is_method = (1..=METHOD_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        match text {
            "CONNECT" => Err(HttpMethodError::Connect),
            _ if is_method => Ok(Self(text.to_owned())),
            _ => Err(HttpMethodError::Malformed(crate::text::clean_line(text, 80))),
        }
    }
}

impl TryFrom<String> for HttpMethod {
    type Error = HttpMethodError;

    fn try_from(text: String) -> Result<Self, HttpMethodError> {
        text.parse()
    }
}

impl From<HttpMethod> for String {
    fn from(method: HttpMethod) -> Self {
        method.0
    }
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Requests that may be sent. Each part must allow a request; no list is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct HttpRule {
    /// To which hosts.
    pub hosts: BTreeSet<HostPattern>,
    /// With or without TLS.
    pub schemes: BTreeSet<Scheme>,
    /// To which ports.
    pub ports: BTreeSet<u16>,
    /// With which methods.
    pub methods: BTreeSet<HttpMethod>,
    /// For which paths.
    pub paths: BTreeSet<PathPattern>,
    /// With which keys in the query; `None` means any, and an empty list none.
    pub query: Option<BTreeSet<String>>,
    /// Networks in which a host may lie beside the public internet.
    #[schemars(with = "BTreeSet<String>")]
    pub addresses: BTreeSet<IpNet>,
    /// How many requests a minute, of all calls by this rule; `None` means any number.
    pub requests_per_minute: Option<NonZeroU32>,
    /// What the host puts into each of them; no two in the same place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inject: Vec<Injection>,
    /// What is done where an answer gives away what was injected.
    #[serde(default)]
    pub on_leak: OnLeak,
}

/// The first part of a rule that does not allow a request, in the order in which they are judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpMismatch {
    /// Its host.
    Host,
    /// Its scheme.
    Scheme,
    /// Its port.
    Port,
    /// Its method.
    Method,
    /// Its path.
    Path,
    /// A key of its query.
    QueryKey(String),
}

impl HttpRule {
    /// Whether it allows a request.
    ///
    /// # Errors
    /// What it does not allow of it.
    pub fn judge(&self, method: &str, url: &CanonicalUrl) -> Result<(), HttpMismatch> {
        let refused_key = || {
            let allowed = self.query.as_ref()?;
            url.query_keys().find(|key| !allowed.contains(key.as_ref()))
        };
        if !self.hosts.iter().any(|pattern| pattern.matches(url.host())) {
            Err(HttpMismatch::Host)
        } else if !self.schemes.contains(&url.scheme()) {
            Err(HttpMismatch::Scheme)
        } else if !self.ports.contains(&url.port()) {
            Err(HttpMismatch::Port)
        } else if !self.methods.iter().any(|allowed| allowed.0 == method) {
            Err(HttpMismatch::Method)
        } else if !self.paths.iter().any(|pattern| pattern.matches(url.path())) {
            Err(HttpMismatch::Path)
        } else if let Some(key) = refused_key() {
            Err(HttpMismatch::QueryKey(key.into_owned()))
        } else {
            Ok(())
        }
    }
}

/// One line: what is the default of its kind is left out.
impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        listed(f, &self.methods)?;
        f.write_str(" ")?;
        listed(f, &self.schemes)?;
        f.write_str("://{")?;
        listed(f, &self.hosts)?;
        f.write_str("}:")?;
        listed(f, &self.ports)?;
        f.write_str(" ")?;
        listed(f, &self.paths)?;
        if let Some(query) = &self.query {
            f.write_str(", query keys: ")?;
            match query.is_empty() {
                true => f.write_str("none")?,
                false => listed(f, query.iter().map(|key| key.escape_default()))?,
            }
        }
        if !self.addresses.is_empty() {
            f.write_str(", also in ")?;
            listed(f, &self.addresses)?;
        }
        if let Some(rate) = self.requests_per_minute {
            write!(f, ", {rate} a minute")?;
        }
        if !self.inject.is_empty() {
            f.write_str(", unseen by the tool: ")?;
            listed(f, &self.inject)?;
            write!(f, " (on leak: {})", self.on_leak.name())?;
        }
        Ok(())
    }
}
