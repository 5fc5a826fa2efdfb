//! One tool. What agents read of it is its doc comment, and those of its arguments.

use portcullis_sdk::{Json, tool, tools};
use schemars::JsonSchema;
use serde::Serialize;

tools![count];

/// How much there is of a text.
#[derive(Serialize, JsonSchema)]
struct Counts {
    /// What stands between white space.
    words: usize,
    /// A last line need not end.
    lines: usize,
}

/// Counts the words and lines of a text.
#[tool]
fn count(
    /// The text.
    text: &str,
) -> Json<Counts> {
    Json(Counts { words: text.split_whitespace().count(), lines: text.lines().count() })
}

#[cfg(test)]
mod tests {
    use portcullis_sdk::{Content, testing};
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_words_and_lines() {
        let result = testing::call::<count>(json!({"text": "one two\nthree"}));
        assert_eq!(result, Ok(vec![Content::Structured(json!({"words": 3, "lines": 2}))]));
    }
}
