//! Patterns with stars: the one matcher, and the patterns in which people ask for names and subjects. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::text_schema;

/// The most bytes of a [`Wildcard`].
const WILDCARD_BYTES_MAX: usize = 4_096;

/// A text in which `*` stands for any characters, slashes too, and `?` for one. All else is itself, and case counts.
///
/// Matching takes time in the product of both lengths at worst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Wildcard(String);

text_schema!(
    Wildcard,
    "text in which * is any text, and ? one character: 1 to 4,096 bytes",
    "^[\\s\\S]{1,4096}$"
);

/// Why a text is no [`Wildcard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern has 1 to {WILDCARD_BYTES_MAX} bytes")]
pub struct WildcardError;

impl Wildcard {
    /// Whether it stands for this text.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) = (self.0.chars().collect(), text.chars().collect());
        is_match(&pattern, &text, |element| *element == '*', |element, one| *element == '?' || element == one)
    }

    /// The text, if it stands for itself alone.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains(['*', '?'])).then_some(&self.0)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Wildcard {
    type Err = WildcardError;

    fn from_str(text: &str) -> Result<Self, WildcardError> {
        let is_bounded = (1..=WILDCARD_BYTES_MAX).contains(&text.len());
        if is_bounded { Ok(Self(text.to_owned())) } else { Err(WildcardError) }
    }
}

impl TryFrom<String> for Wildcard {
    type Error = WildcardError;

    fn try_from(text: String) -> Result<Self, WildcardError> {
        text.parse()
    }
}

impl From<Wildcard> for String {
    fn from(wildcard: Wildcard) -> Self {
        wildcard.0
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a pattern matches a text, of which every element is matched by one of the pattern, but for a
/// star, which matches any number. It goes back to the last star only: an earlier one can't help, since
/// the last may take whatever that would have taken.
pub(crate) fn is_match<P, T>(
    pattern: &[P],
    text: &[T],
    is_star: impl Fn(&P) -> bool,
    matches: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while let Some(element) = text.get(at) {
        match pattern.get(of) {
            Some(star) if is_star(star) => {
                last_star = Some((of, at));
                of += 1;
            }
            Some(one) if matches(one, element) => {
                at += 1;
                of += 1;
            }
            Some(_) | None => {
                let Some((star, taken)) = last_star else { return false };
                last_star = Some((star, taken + 1));
                (of, at) = (star + 1, taken + 1);
            }
        }
    }
    pattern[of.min(pattern.len())..].iter().all(is_star)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, text, fits) in [
            ("/notes/a", "/notes/a", true),
            ("/notes/a", "/notes/ab", false),
            ("/notes/*", "/notes/2026/a.txt", true),
            ("*.txt", "/notes/a.txt", true),
            ("/n?tes/*", "/nötes/", true),
            ("/n?tes/*", "/ntes/", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("[a]*", "[a]b", true),
            ("[a]*", "ab", false),
            ("A", "a", false),
        ] {
            let wildcard: Wildcard = pattern.parse().expect("short enough");
            assert_eq!(wildcard.matches(text), fits, "{pattern} {text}");
        }
        assert!("".parse::<Wildcard>().is_err());
        assert!("x".repeat(4_097).parse::<Wildcard>().is_err());
    }
}
