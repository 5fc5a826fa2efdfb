//! What a tool is told when it asks how it is set up: configuration, environment variables, arguments.
//!
//! Nothing of the host's own environment is ever among them. The values are an admin's text, which admins
//! are shown; secrets are kept elsewhere.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most characters of a value that are shown.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// A name with its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What a tool gets as its arguments, as programs get them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ArgumentsRule {
    /// All of them, in order. Programs take the first for their own name.
    pub arguments: Vec<String>,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is {}", self.name, Shown(&self.value))
    }
}

impl fmt::Display for ArgumentsRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("arguments")?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", Shown(argument)))
    }
}

/// A value in quotes, escaped, with its length if it is cut.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
            None => write!(f, "{text:?}"),
            Some((end, _)) => write!(f, "{:?}… ({} bytes)", &text[..end], text.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_escaped_and_cut() {
        let shown = |value: &str| Setting { name: "k".to_owned(), value: value.to_owned() }.to_string();
        assert_eq!(shown("a\n\u{1b}[31m\u{202e}"), r#""k" is "a\n\u{1b}[31m\u{202e}""#);
        assert_eq!(shown(&"é".repeat(200)), format!("\"k\" is \"{}\"", "é".repeat(200)));
        assert_eq!(shown(&"é".repeat(201)), format!("\"k\" is \"{}\"… (402 bytes)", "é".repeat(200)));
        let arguments = ArgumentsRule { arguments: vec!["tool".to_owned(), "-v".to_owned()] };
        assert_eq!(arguments.to_string(), r#"arguments "tool" "-v""#);
    }
}
