//! Names of artifacts: `oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:HEX]`. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::egress::{CanonicalUrl, Scheme, UrlHost};
use crate::ids::PackageDigest;

/// The most bytes of a repository's name (distribution specification, "Pulling manifests").
const REPOSITORY_BYTES_MAX: usize = 255;
/// The most bytes of a tag.
const TAG_BYTES_MAX: usize = 128;
/// How a reference begins.
pub(super) const SCHEME: &str = "oci://";

/// Why a text is no reference. The fault of who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Another scheme, or none.
    #[error("write it as oci://HOST/REPOSITORY:TAG, or @sha256:HEX instead of the tag")]
    Scheme,
    /// The host is none.
    #[error("the registry's host: {0}")]
    Host(String),
    /// The repository is none.
    #[error(
        "a repository's name has parts of a-z, 0-9, and single '.', '_', '__' or '-' between them, divided by '/', {REPOSITORY_BYTES_MAX} bytes at most"
    )]
    Repository,
    /// The tag is none.
    #[error(
        "a tag has 1 to {TAG_BYTES_MAX} of A-Z, a-z, 0-9, '.', '_' and '-', and begins with none of '.' and '-'"
    )]
    Tag,
    /// The digest is none of SHA-256.
    #[error("a digest is sha256: and 64 lower-case hex digits")]
    Digest,
}

/// An artifact in a registry, by tag, by digest, or by both: then the digest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    scheme: Scheme,
    authority: String,
    host: UrlHost,
    repository: String,
    tag: Option<String>,
    digest: Option<PackageDigest>,
}

impl Reference {
    /// Host, and port if one was written.
    pub fn registry(&self) -> &str {
        &self.authority
    }

    /// The repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> Option<PackageDigest> {
        self.digest
    }

    /// The registry's host.
    pub(super) fn host(&self) -> &UrlHost {
        &self.host
    }

    /// Whether the registry is this very machine by its name.
    pub(super) fn is_loopback(&self) -> bool {
        is_this_machine(&self.host)
    }

    /// How it is spoken to: with TLS, unless it is this very machine and nothing else was said.
    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The same, spoken to with TLS also on this machine.
    ///
    /// # Errors
    /// [`ReferenceError::Host`].
    pub fn over_tls(self) -> Result<Self, ReferenceError> {
        let url = CanonicalUrl::from_parts(Scheme::Https, &self.authority, "/");
        let url = url.map_err(|error| ReferenceError::Host(error.to_string()))?;
        Ok(Self { scheme: Scheme::Https, authority: url.authority(), ..self })
    }

    /// What its requests begin with.
    pub(super) fn base(&self) -> String {
        format!("{}://{}/v2/{}", self.scheme, self.authority, self.repository)
    }

    /// What names the manifest in a request: the digest, else the tag, else `latest`.
    pub(super) fn manifest(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same artifact by its digest.
    pub fn pinned(&self, digest: PackageDigest) -> Pinned {
        Pinned { registry: self.authority.clone(), repository: self.repository.clone(), digest }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.authority, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let rest = text.strip_prefix(SCHEME).ok_or(ReferenceError::Scheme)?;
        let (authority, path) = rest.split_once('/').ok_or(ReferenceError::Repository)?;
        let url = CanonicalUrl::from_parts(Scheme::Https, authority, "/");
        let url = url.map_err(|error| ReferenceError::Host(error.to_string()))?;
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => (path, Some(digest.parse().map_err(|_| ReferenceError::Digest)?)),
            None => (path, None),
        };
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) if is_tag(tag) => (repository, Some(tag.to_owned())),
            Some(_) => return Err(ReferenceError::Tag),
            None => (path, None),
        };
        if !is_repository(repository) {
            return Err(ReferenceError::Repository);
        }
        let scheme = if is_this_machine(url.host()) { Scheme::Http } else { Scheme::Https };
        // Written out, unless it is the one of this scheme.
        let url = CanonicalUrl::from_parts(scheme, authority, "/");
        let url = url.map_err(|error| ReferenceError::Host(error.to_string()))?;
        let authority = url.authority();
        let (host, repository) = (url.host().clone(), repository.to_owned());
        Ok(Self { scheme, authority, host, repository, tag, digest })
    }
}

fn is_this_machine(host: &UrlHost) -> bool {
    match host {
        UrlHost::Name(name) => name == "localhost",
        UrlHost::Address(IpAddr::V4(address)) => address.is_loopback(),
        UrlHost::Address(IpAddr::V6(address)) => address.is_loopback(),
    }
}

fn is_tag(text: &str) -> bool {
    (1..=TAG_BYTES_MAX).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_repository(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| is_alphanumeric(*byte));
        let bytes = part.as_bytes();
        let between: Vec<&str> = part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .filter(|run| !run.is_empty())
            .collect();
        let is_separator =
            |run: &&str| matches!(*run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
        is_edge(bytes.first()) && is_edge(bytes.last()) && between.iter().all(is_separator)
    };
    text.len() <= REPOSITORY_BYTES_MAX && text.split('/').all(is_part)
}

/// An artifact by the digest of its manifest: it can't become another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    registry: String,
    repository: String,
    digest: PackageDigest,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}@{}", self.registry, self.repository, self.digest)
    }
}
