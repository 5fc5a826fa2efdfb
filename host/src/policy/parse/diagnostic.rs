//! What is wrong with a grants file, and where: enough to draw the line and a caret under it.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One error in a grants file. The admin who wrote the file can mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error("{line}:{column}: {key}: {message}")]
pub struct Diagnostic {
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to write instead, where that is known.
    pub help: Option<String>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The dotted path of the key, such as `grant[1].limits.memory`; the first grant is `grant[0]`.
    /// Empty where no key is near.
    pub key: String,
    /// The bytes of the file that it is about.
    pub span: Range<usize>,
}

impl Diagnostic {
    /// An error about `span` of `text`. A span that reaches beyond the text is cut to it.
    pub fn new(text: &str, span: Range<usize>, key: &str, message: String, help: Option<String>) -> Self {
        let start = floor_char_boundary(text, span.start);
        let end = floor_char_boundary(text, span.end).max(start);
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            message,
            help,
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            key: key.to_owned(),
            span: start..end,
        }
    }
}

/// The nearest character boundary at or before `index`.
fn floor_char_boundary(text: &str, index: usize) -> usize {
    let index = index.min(text.len());
    (0..=index).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let at = |text: &str, span| {
            let diagnostic = Diagnostic::new(text, span, "", String::new(), None);
            (diagnostic.line, diagnostic.column, diagnostic.span)
        };
        assert_eq!(at("", 0..0), (1, 1, 0..0));
        assert_eq!(at("ab\ncd", 4..5), (2, 2, 4..5));
        assert_eq!(at("é = 1\n", 3..4), (1, 3, 3..4));
        assert_eq!(at("é = 1\n", 1..4), (1, 1, 0..4), "a span inside a character begins before it");
        assert_eq!(at("ab", 7..9), (1, 3, 2..2), "a span beyond the end is cut");
    }
}
