//! Says how much there is of a text, and which words it has most: a pure computation.
//!
//! The same tool is there in Python and in JavaScript, and all three pass the cases in `tests/`.

use std::collections::BTreeMap;

use portcullis_sdk::{Json, ToolError, tool, tools};
use schemars::JsonSchema;
use serde::Serialize;

tools![stats];

/// The most words that are listed.
const TOP_MAX: u32 = 100;

/// How much there is.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Stats {
    /// Lines; the last need not end.
    lines: usize,
    /// What stands between white space.
    words: usize,
    /// The words that are there most, in lower case: by their number, then by the alphabet.
    top: Vec<Word>,
}

/// A word.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Word {
    /// In lower case.
    word: String,
    /// How often it is there.
    times: usize,
}

/// Says how many lines and words a text has, and which words are there most.
#[tool]
fn stats(
    /// The text.
    text: &str,
    /// How many words are listed.
    #[serde(default = "three")]
    top: u32,
) -> Result<Json<Stats>, ToolError> {
    if top > TOP_MAX {
        return Err(ToolError::invalid_arguments(format!("at most {TOP_MAX} words are listed")));
    }
    let mut times = BTreeMap::new();
    for word in text.split_whitespace() {
        *times.entry(word.to_lowercase()).or_insert(0_usize) += 1;
    }
    let words = times.values().sum();
    let mut listed: Vec<Word> = times.into_iter().map(|(word, times)| Word { word, times }).collect();
    // Stable: those of the same number stay in the order of the alphabet.
    listed.sort_by_key(|word| std::cmp::Reverse(word.times));
    listed.truncate(top as usize);
    Ok(Json(Stats { lines: text.lines().count(), words, top: listed }))
}

fn three() -> u32 {
    3
}

#[cfg(test)]
mod tests {
    use portcullis_sdk::testing::call;
    use portcullis_sdk::{Content, ErrorKind};
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_counted_and_listed() {
        let expected = json!({"lines": 2, "words": 3, "top": [{"word": "b", "times": 2}]});
        let result = call::<stats>(json!({"text": "b a\nB", "top": 1}));
        assert_eq!(result, Ok(vec![Content::Structured(expected)]));
    }

    #[test]
    fn no_more_words_are_listed_than_anyone_reads() {
        let refused = call::<stats>(json!({"text": "", "top": 101})).expect_err("too many");
        assert_eq!(refused.kind, ErrorKind::InvalidArguments);
    }
}
