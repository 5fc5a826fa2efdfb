//! One request, as the tests write it. Plain data.

use serde::Deserialize;

/// A request, and what becomes of its answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// `GET` unless said.
    pub method: Option<String>,
    /// `http` unless said.
    pub scheme: Option<String>,
    pub authority: String,
    pub path: Option<String>,
    pub headers: Vec<(String, String)>,
    /// Written after the request was handed over, in parts of at most 4,096 bytes.
    pub body: Option<String>,
    /// Writes so many bytes instead.
    pub body_bytes: Option<usize>,
    /// Never finishes the body, and drops it.
    pub unfinished: bool,
    pub trailers: Vec<(String, String)>,
    pub connect_timeout_ms: Option<u64>,
    pub first_byte_timeout_ms: Option<u64>,
    pub between_bytes_timeout_ms: Option<u64>,
    /// Follows so many redirects, as any client would.
    pub redirects: u32,
    /// Keeps the answer until the end of the call, its body unread.
    pub hold: bool,
    /// Drops the answer's future at once.
    pub abandon: bool,
    /// Shows the answer's headers too.
    pub show_headers: bool,
    /// Does the same so many times; the line is of the last.
    pub times: Option<u32>,
}

/// Reads a list of steps.
pub fn parse(text: &str) -> Result<Vec<Step>, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
