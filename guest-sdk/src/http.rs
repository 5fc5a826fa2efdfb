//! Requests over HTTP, as grants allow them (`[[grant.http]]`).
//!
//! ```no_run
//! use portcullis_sdk::http::{self, HttpError};
//!
//! #[derive(serde::Deserialize)]
//! struct Release {
//!     name: String,
//! }
//!
//! fn latest() -> Result<String, HttpError> {
//!     let url = "https://api.example.test/releases/latest";
//!     let release: Release = http::get(url).header("accept", "application/json").send()?.success()?.json()?;
//!     Ok(release.name)
//! }
//! ```
//!
//! Redirects are not followed: the answer's `location` says where to, and a grant must allow that as well.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host;

/// The most bytes of an answer's body, unless a request says otherwise.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A request that is being made up, or why it can't be.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `send`"]
pub struct RequestBuilder(Result<Request, HttpError>);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// `https` or `http`.
    pub scheme: String,
    /// Host, and port if it is not the scheme's.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The most bytes of the answer's body.
    pub answer_bytes_max: usize,
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer, or not one that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The URL, a header or the body can't be sent. Nothing was.
    Request(String),
    /// No grant allows it.
    Denied,
    /// It could not be sent, or its answer could not be received.
    Failed(String),
    /// The answer's body has more bytes than the request allows.
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// The answer's status is not that of success.
    Status(u16),
    /// The body is not the JSON or text that was expected.
    Body(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Request(reason) => write!(f, "the request can't be sent: {reason}"),
            HttpError::Denied => f.write_str("no grant allows this request"),
            HttpError::Failed(reason) => write!(f, "the request failed: {reason}"),
            HttpError::TooLong { bytes_max } => write!(f, "the answer has more than {bytes_max} bytes"),
            HttpError::Status(status) => write!(f, "the server answered with status {status}"),
            HttpError::Body(reason) => write!(f, "the answer is not what was expected: {reason}"),
        }
    }
}

impl std::error::Error for HttpError {}

/// A GET request.
pub fn get(url: &str) -> RequestBuilder {
    request("GET", url)
}

/// A POST request.
pub fn post(url: &str) -> RequestBuilder {
    request("POST", url)
}

/// A PUT request.
pub fn put(url: &str) -> RequestBuilder {
    request("PUT", url)
}

/// A DELETE request.
pub fn delete(url: &str) -> RequestBuilder {
    request("DELETE", url)
}

/// A request of any method.
pub fn request(method: &str, url: &str) -> RequestBuilder {
    RequestBuilder(split(url).map(|(scheme, authority, path)| Request {
        method: method.to_owned(),
        scheme: scheme.to_owned(),
        authority: authority.to_owned(),
        path,
        headers: Vec::new(),
        body: Vec::new(),
        answer_bytes_max: ANSWER_BYTES_MAX,
    }))
}

/// Divides a URL into scheme, authority, and path with query. What each may hold the host judges.
fn split(url: &str) -> Result<(&str, &str, String), HttpError> {
    let wrong = |reason: &str| Err(HttpError::Request(format!("{url:?} is not a URL: {reason}")));
    let Some((scheme, rest)) = url.split_once("://") else { return wrong("it has no scheme") };
    if !matches!(scheme, "http" | "https") {
        return wrong("its scheme is neither http nor https");
    }
    // What follows a '#' is for the reader of a page, and is never sent.
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() {
        return wrong("it names no host");
    }
    if authority.contains('@') {
        return wrong("it has a user name or a password in it");
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((scheme, authority, path))
}

impl RequestBuilder {
    fn with(self, change: impl FnOnce(&mut Request)) -> Self {
        Self(self.0.map(|mut request| {
            change(&mut request);
            request
        }))
    }

    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|request| request.headers.push((name.to_owned(), value.to_owned())))
    }

    /// Adds a query parameter, percent-encoded.
    pub fn query(self, name: &str, value: &str) -> Self {
        self.with(|request| {
            request.path.push(if request.path.contains('?') { '&' } else { '?' });
            encode(&mut request.path, name);
            request.path.push('=');
            encode(&mut request.path, value);
        })
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.with(|request| request.body = body.into())
    }

    /// Sets the body to a value as JSON, with the `content-type` of it.
    pub fn json(self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => Self(self.0.and(Err(HttpError::Request(error.to_string())))),
        }
    }

    /// Sets the most bytes that the answer's body may have, instead of [`ANSWER_BYTES_MAX`].
    pub fn answer_bytes_max(self, bytes_max: usize) -> Self {
        self.with(|request| request.answer_bytes_max = bytes_max)
    }

    /// Sends it and waits for the whole answer.
    ///
    /// # Errors
    /// [`HttpError`]. An answer with any status is an answer: see [`Response::success`].
    pub fn send(self) -> Result<Response, HttpError> {
        host::send(&self.0?)
    }
}

impl Response {
    /// Itself, if its status is one of success (200 to 299).
    ///
    /// # Errors
    /// [`HttpError::Status`].
    pub fn success(self) -> Result<Self, HttpError> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(HttpError::Status(self.status)) }
    }

    /// The first value of a header; its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// The body, read from JSON.
    ///
    /// # Errors
    /// [`HttpError::Body`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body).map_err(|error| HttpError::Body(error.to_string()))
    }

    /// The body as text in UTF-8.
    ///
    /// # Errors
    /// [`HttpError::Body`].
    pub fn text(&self) -> Result<&str, HttpError> {
        std::str::from_utf8(&self.body).map_err(|error| HttpError::Body(error.to_string()))
    }
}

/// Writes what a query may hold as it is, and the rest percent-encoded (RFC 3986, 2.3).
fn encode(to: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            to.push(char::from(byte));
        } else {
            to.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_divided_and_what_is_none_is_refused() {
        let parts = |url: &str| split(url).map(|(scheme, host, path)| format!("{scheme} {host} {path}"));
        assert_eq!(parts("https://a.test").as_deref(), Ok("https a.test /"));
        assert_eq!(parts("http://a.test:8080/b?c=d#e").as_deref(), Ok("http a.test:8080 /b?c=d"));
        assert_eq!(parts("https://a.test?c").as_deref(), Ok("https a.test /?c"));
        for bad in ["", "a.test/b", "ftp://a.test", "https://", "https:///b", "https://user:pass@a.test/"] {
            assert!(matches!(parts(bad), Err(HttpError::Request(_))), "{bad}");
        }
    }

    #[test]
    fn query_parameters_are_encoded() {
        let RequestBuilder(request) = get("https://a.test/b").query("q", "a b&c=é").query("n", "1");
        assert_eq!(request.map(|request| request.path), Ok("/b?q=a%20b%26c%3D%C3%A9&n=1".to_owned()));
    }
}
