//! Which paths a rule names: a glob over canonical segments. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::url::{CanonicalUrl, Scheme};
use crate::ids::text_schema;
use crate::wildcard::is_match;

/// The most bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 1_024;

/// A glob over a canonical path, case-sensitive.
///
/// `*` stands for any characters within one segment (a segment that is only `*` is never empty), and a
/// segment `**` for any number of segments. At the end, `/a/**` is what lies below `/a/`, and `/a/`
/// itself, but not `/a`. Matching takes time in the product of both lengths at worst.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(String);

text_schema!(PathPattern, "a path: * is any text within a part, ** any text", "^/[!-~]*$");

impl PathPattern {
    /// All paths.
    pub fn all() -> Self {
        Self("/**".to_owned())
    }

    /// Whether it names a path. The path is canonical, as [`CanonicalUrl::path`] gives it.
    pub fn matches(&self, path: &str) -> bool {
        let (Some(pattern), Some(path)) = (self.0.strip_prefix('/'), path.strip_prefix('/')) else {
            return false;
        };
        let mut parts: Vec<Part<'_>> = pattern.split('/').map(Part::new).collect();
        if parts.last() == Some(&Part::Many) {
            // Below the end there is one segment at least, be it the empty one after the last slash.
            parts.insert(parts.len() - 1, Part::One);
        }
        let segments: Vec<&str> = path.split('/').collect();
        is_match(&parts, &segments, |part| *part == Part::Many, |part, segment| part.matches(segment))
    }
}

/// One segment of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part<'p> {
    /// `**`: any number of segments.
    Many,
    /// One segment, whatever it is.
    One,
    /// One segment by a glob.
    Glob(&'p str),
}

impl<'p> Part<'p> {
    fn new(segment: &'p str) -> Self {
        if segment == "**" { Part::Many } else { Part::Glob(segment) }
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Part::Many | Part::One => true,
            Part::Glob("*") => !segment.is_empty(),
            Part::Glob(glob) => is_match(glob.as_bytes(), segment.as_bytes(), |p| *p == b'*', |p, s| p == s),
        }
    }
}

/// Why a text is no pattern of paths. The message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternError {
    /// It does not begin with a slash.
    #[error("{0:?} does not begin with a slash: write a path such as \"/repos/**\"")]
    NoSlash(String),
    /// It has a query or a fragment.
    #[error("{0:?} is more than a path: query keys are given in `query`")]
    MoreThanPath(String),
    /// `**` beside other characters.
    #[error("{0:?} has ** beside other characters: it stands for whole segments, as in \"/a/**/b\"")]
    Stars(String),
    /// No request can have such a path.
    #[error("{0:?} matches no request: {1}")]
    NeverSent(String, String),
    /// Longer than 1,024 bytes.
    #[error("a pattern of paths has at most 1,024 bytes")]
    TooLong,
}

impl FromStr for PathPattern {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        let shown = || crate::text::clean_line(text, 80);
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PathPatternError::TooLong);
        }
        if !text.starts_with('/') {
            return Err(PathPatternError::NoSlash(shown()));
        }
        if text.contains(['?', '#']) {
            return Err(PathPatternError::MoreThanPath(shown()));
        }
        if text.split('/').any(|segment| segment.contains("**") && segment != "**") {
            return Err(PathPatternError::Stars(shown()));
        }
        let is_dots =
            |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        if text.split('/').any(is_dots) {
            let why = "requests are judged after . and .. are resolved".to_owned();
            return Err(PathPatternError::NeverSent(shown(), why));
        }
        // A star is a character like others to a URL: the pattern gets the spelling of what it is to match.
        match CanonicalUrl::from_parts(Scheme::Https, "host", text) {
            Ok(url) if url.path().len() > PATTERN_BYTES_MAX => Err(PathPatternError::TooLong),
            Ok(url) => Ok(Self(url.path().to_owned())),
            Err(error) => Err(PathPatternError::NeverSent(shown(), error.to_string())),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PathPattern {
    type Error = PathPatternError;

    fn try_from(text: String) -> Result<Self, PathPatternError> {
        text.parse()
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.0
    }
}
