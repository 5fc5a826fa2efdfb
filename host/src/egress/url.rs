//! One form of each URL: what is judged is what is sent.
//!
//! The text is parsed by the WHATWG's rules (crate `url`), then narrowed: what servers read in more than
//! one way is refused here, and what has several spellings is brought into one. Pure.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use ::url::{Host, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most bytes of a URL.
pub const URL_BYTES_MAX: usize = 8 << 10;

/// The most bytes of a host's name, by RFC 1035.
const NAME_BYTES_MAX: usize = 253;
/// The most bytes of one label of a host's name, by RFC 1035.
const LABEL_BYTES_MAX: usize = 63;

/// How a request is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// Both.
    pub const ALL: [Scheme; 2] = [Scheme::Http, Scheme::Https];

    /// As a URL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Scheme {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        match text {
            _ if text.eq_ignore_ascii_case("http") => Ok(Scheme::Http),
            _ if text.eq_ignore_ascii_case("https") => Ok(Scheme::Https),
            _ => Err(UrlError::Scheme),
        }
    }
}

/// The host of a URL, in its one form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UrlHost {
    /// A name: lower case, in ASCII (IDNA), without a trailing dot, 1 to 253 bytes.
    Name(String),
    /// An address, however it was written. One that IPv6 only wraps (`::ffff:0:0/96`) is IPv4.
    Address(IpAddr),
}

impl UrlHost {
    /// Reads a host as an authority writes it: a name, an IPv4 address in any spelling, or an IPv6
    /// address in brackets.
    ///
    /// # Errors
    /// [`UrlError::Host`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_BYTES_MAX || text.chars().any(ambiguous) {
            return Err(UrlError::Host);
        }
        let host = Host::parse(text).map_err(|_| UrlError::Host)?;
        Self::narrowed(host)
    }

    fn narrowed<S: AsRef<str>>(host: Host<S>) -> Result<Self, UrlError> {
        match host {
            Host::Ipv4(address) => Ok(UrlHost::Address(address.into())),
            Host::Ipv6(address) => Ok(UrlHost::Address(IpAddr::V6(address).to_canonical())),
            Host::Domain(name) => {
                let name = name.as_ref();
                let name = name.strip_suffix('.').unwrap_or(name);
                if is_name(name) { Ok(UrlHost::Name(name.to_owned())) } else { Err(UrlError::Host) }
            }
        }
    }
}

/// As an authority writes it: IPv6 in brackets.
impl fmt::Display for UrlHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlHost::Name(name) => f.write_str(name),
            UrlHost::Address(IpAddr::V4(address)) => address.fmt(f),
            UrlHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Letters, digits, `-` and `_` in labels of 1 to 63 bytes. Underscores are no host names by RFC 952,
/// but are met in the wild, and mean the same to everyone.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(label)
}

/// What parsers drop, trim or turn into a slash, each in its own way.
fn ambiguous(character: char) -> bool {
    character.is_control() || character.is_whitespace() || character == '\\'
}

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither `http` nor `https`.
    #[error("its scheme is neither http nor https")]
    Scheme,
    /// No host, or none that can be looked up.
    #[error("its host is missing or malformed")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// A user or password before the host.
    #[error("it has a user or password: put credentials into a header")]
    UserInfo,
    /// A control character, white space or a backslash.
    #[error("it has a control character, white space or a backslash: percent-encode it")]
    Ambiguous,
    /// No path, or one that does not begin with `/`.
    #[error("its path does not begin with a slash")]
    Path,
    /// `//` in the path.
    #[error("its path has an empty segment, which servers read in more than one way")]
    EmptySegment,
    /// An encoded slash, backslash, control character or dot segment in the path.
    #[error("its path hides a slash, a dot segment or a control character in percent-encoding")]
    Hidden,
    /// A part after `#`, which is never sent.
    #[error("it has a fragment, which is never sent")]
    Fragment,
    /// Longer than [`URL_BYTES_MAX`].
    #[error("it is longer than 8,192 bytes")]
    TooLong,
}

/// A URL of which there is one spelling only. Two of them are equal if a server would be asked the same.
///
/// Dot segments are resolved, hexadecimal digits are upper case, and characters that need no
/// percent-encoding have none. Empty segments (`//`), encoded slashes, backslashes and control
/// characters are refused, so that an API that needs them can't be reached. At most [`URL_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CanonicalUrl {
    scheme: Scheme,
    host: UrlHost,
    port: u16,
    path: String,
    query: Option<String>,
}

impl CanonicalUrl {
    /// From the parts of a request as `wasi:http` has them.
    ///
    /// # Errors
    /// [`UrlError`]: what is wrong.
    pub fn from_parts(scheme: Scheme, authority: &str, path_and_query: &str) -> Result<Self, UrlError> {
        if authority.len().saturating_add(path_and_query.len()) > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        if authority.chars().chain(path_and_query.chars()).any(ambiguous) {
            return Err(UrlError::Ambiguous);
        }
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        if authority.is_empty() || authority.contains(['/', '?', '#']) {
            return Err(UrlError::Host);
        }
        if path_and_query.contains('#') {
            return Err(UrlError::Fragment);
        }
        if !path_and_query.starts_with('/') {
            return Err(UrlError::Path);
        }
        let url = Url::parse(&format!("{scheme}://{authority}{path_and_query}"));
        let url = url.map_err(|error| {
            if error == ::url::ParseError::InvalidPort { UrlError::Port } else { UrlError::Host }
        })?;
        let path = canonical_path(url.path())?;
        let made = Self {
            scheme,
            host: UrlHost::narrowed(url.host().ok_or(UrlError::Host)?)?,
            port: url.port().unwrap_or(scheme.default_port()),
            path,
            query: url.query().map(str::to_owned),
        };
        match made.port {
            0 => Err(UrlError::Port),
            // Encoding makes a text longer.
            _ if made.to_string().len() > URL_BYTES_MAX => Err(UrlError::TooLong),
            _ => Ok(made),
        }
    }

    /// From a whole text such as `https://api.example.com/v1?page=2`.
    ///
    /// # Errors
    /// [`UrlError`]: what is wrong.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = scheme.parse()?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) };
        Self::from_parts(scheme, authority, &path)
    }

    /// How it is carried.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// To whom it goes.
    pub fn host(&self) -> &UrlHost {
        &self.host
    }

    /// To which port: never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, percent-encoded, beginning with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows `?`, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The same with another query, which is encoded where it must be.
    ///
    /// # Errors
    /// [`UrlError`], as when it is parsed.
    pub fn with_query(&self, query: Option<&str>) -> Result<Self, UrlError> {
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        Self::from_parts(self.scheme, &self.authority(), &format!("{}{query}", self.path))
    }

    /// Host, and port if it is not the scheme's: the value of `Host` and `:authority`.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Path and query: what the request's first line asks for.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The keys of the query, decoded, as any server may read them: pairs are divided by `&`, and by
    /// `;` as well, which old servers do.
    pub fn query_keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let query = self.query.as_deref().unwrap_or_default().as_bytes();
        let by_ampersand = ::url::form_urlencoded::parse(query);
        let by_both = query.split(|byte| *byte == b';').flat_map(::url::form_urlencoded::parse);
        by_ampersand.chain(by_both).map(|(key, _)| key)
    }

    /// The URL without its query, which may hold what is secret: for people and for the log.
    pub fn without_query(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority(), self.path)
    }
}

impl fmt::Display for CanonicalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_query())?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for CanonicalUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

/// The one spelling of a path whose dot segments are resolved already.
pub(super) fn canonical_path(path: &str) -> Result<String, UrlError> {
    let segments = path.strip_prefix('/').ok_or(UrlError::Path)?;
    let mut canonical = String::with_capacity(path.len());
    let mut left = segments.split('/').count();
    for segment in segments.split('/') {
        left -= 1;
        if segment.is_empty() && left > 0 {
            return Err(UrlError::EmptySegment);
        }
        let decoded = percent_decoded(segment.as_bytes());
        // Some servers decode twice.
        if is_hiding(&decoded) || is_hiding(&percent_decoded(&decoded)) {
            return Err(UrlError::Hidden);
        }
        canonical.push('/');
        push_canonical(&mut canonical, segment);
    }
    Ok(canonical)
}

/// Whether a decoded segment would be more than a segment to a server. What follows `;` is a parameter
/// to some, who then see `..` in `..;x`.
fn is_hiding(decoded: &[u8]) -> bool {
    let name = decoded.split(|byte| *byte == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
        || decoded.iter().any(|byte| byte.is_ascii_control() || matches!(byte, b'/' | b'\\'))
}

/// Appends a segment: unreserved characters (RFC 3986, 2.3) plain, other escapes in upper case.
fn push_canonical(to: &mut String, segment: &str) {
    let mut rest = segment;
    while let Some(at) = rest.find('%') {
        let (plain, escape) = rest.split_at(at);
        to.push_str(plain);
        match escape_value(escape.as_bytes()) {
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') => {
                to.push(char::from(byte));
                rest = &escape[3..];
            }
            Some(byte) => {
                to.push_str(&format!("%{byte:02X}"));
                rest = &escape[3..];
            }
            // A percent sign that begins no escape: encoded, so that nobody reads one into it.
            None => {
                to.push_str("%25");
                rest = &escape[1..];
            }
        }
    }
    to.push_str(rest);
}

/// The byte that `%41…` stands for.
fn escape_value(escape: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*escape.get(at)?).to_digit(16);
    u8::try_from(digit(1)? * 16 + digit(2)?).ok()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match escape_value(rest).filter(|_| byte == b'%') {
            Some(value) => {
                decoded.push(value);
                rest = &rest[3..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}
