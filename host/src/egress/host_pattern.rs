//! Which hosts a rule names: one host, or those below a name. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::url::UrlHost;
use crate::ids::text_schema;

/// One host, or all hosts below a name. Compared in canonical form ([`UrlHost`]), so that case,
/// trailing dots and the spelling of numbers make no difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// This host only.
    Exactly(UrlHost),
    /// `*.example.com`: each name that ends in `.example.com`, at any depth; not `example.com` itself.
    Below(String),
}

text_schema!(HostPattern, "a host: a name, *.NAME, or an address", "^[!-~]{1,260}$");

impl HostPattern {
    /// Whether it names the host.
    pub fn matches(&self, host: &UrlHost) -> bool {
        match (self, host) {
            (HostPattern::Exactly(own), host) => own == host,
            (HostPattern::Below(suffix), UrlHost::Name(name)) => name
                .strip_suffix(suffix.as_str())
                .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
            (HostPattern::Below(_), UrlHost::Address(_)) => false,
        }
    }
}

/// Why a text names no hosts. The message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// `host:port`, which some parsers read as a scheme.
    #[error("{0:?} names a port: write the host here, and the port in `ports`")]
    Port(String),
    /// A URL, or part of one.
    #[error("{0:?} is more than a host: write only the host, such as \"api.example.com\"")]
    MoreThanHost(String),
    /// A star that does not stand for whole labels in front.
    #[error("{0:?} has a star where none can be: write \"*.example.com\" for all hosts below a name")]
    Star(String),
    /// Not a host.
    #[error("{0:?} is not a host: write a name such as \"api.example.com\", or an address")]
    Malformed(String),
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let shown = || crate::text::clean_line(text, 80);
        // Without its brackets an IPv6 address is as plain, and as long as it is one, it names no port.
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(HostPattern::Exactly(UrlHost::Address(address.to_canonical())));
        }
        if text.contains("://") || text.contains(['/', '@', '?', '#']) {
            return Err(HostPatternError::MoreThanHost(shown()));
        }
        let after_address = text.rsplit_once(']').map_or(text, |(_, after)| after);
        if after_address.contains(':') {
            return Err(HostPatternError::Port(shown()));
        }
        let (suffix, below) = text.strip_prefix("*.").map_or((text, false), |suffix| (suffix, true));
        if suffix.contains('*') {
            return Err(HostPatternError::Star(shown()));
        }
        // In a request a percent sign stands for something else. Here it is a mistake.
        let host = if suffix.contains('%') { None } else { UrlHost::parse(suffix).ok() };
        match (host, below) {
            (Some(UrlHost::Name(name)), true) => Ok(HostPattern::Below(name)),
            (Some(host), false) => Ok(HostPattern::Exactly(host)),
            (Some(UrlHost::Address(_)), true) => Err(HostPatternError::Star(shown())),
            (None, _) => Err(HostPatternError::Malformed(shown())),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exactly(host) => host.fmt(f),
            HostPattern::Below(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<Self, HostPatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}
