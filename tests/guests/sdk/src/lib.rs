//! Tools written with `portcullis-sdk`: every kind of argument, result and error.
//!
//! `tests/sdk.rs` calls each in the sandbox and compares with the tests below, which call it on the host.

mod listing;

use std::collections::BTreeMap;

use portcullis_sdk::{Audio, Content, Image, Json, Resource, ToolError, tool, tools};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

tools![
    add,
    arguments,
    bytes,
    choose,
    every_content,
    fail,
    listing::what_listing_saw,
    nothing,
    one_of_each,
    panic,
    pictures,
    retry,
    say,
];

/// A sum.
#[derive(Serialize, JsonSchema)]
struct Sum {
    /// Of both numbers.
    sum: i64,
}

/// Adds two numbers.
#[tool]
fn add(
    /// The first.
    a: i64,
    /// The second.
    b: i64,
) -> Result<Json<Sum>, ToolError> {
    let sum = a.checked_add(b).ok_or_else(|| ToolError::invalid_arguments("the sum is too large"))?;
    Ok(Json(Sum { sum }))
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Colour {
    Red,
    DarkBlue,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Corner {
    x: f64,
    y: f64,
}

fn five() -> u8 {
    5
}

/// Gives its arguments back.
#[tool]
#[expect(clippy::too_many_arguments, reason = "one of each kind")]
fn arguments(
    text: &str,
    numbers: &[u8],
    small: Option<i32>,
    #[serde(default)] flag: bool,
    #[serde(default = "five")]
    #[schemars(range(max = 10))]
    limited: u8,
    #[serde(rename = "type")] kind: Option<Colour>,
    corners: Option<Vec<Corner>>,
    counts: Option<BTreeMap<String, u32>>,
    r#move: Option<char>,
) -> Content {
    Content::Structured(json!({
        "text": text, "numbers": numbers, "small": small, "flag": flag, "limited": limited, "type": kind,
        "corners": corners, "counts": counts, "move": r#move,
    }))
}

/// A resource of bytes.
#[tool]
fn bytes() -> Resource {
    Resource::bytes("test:///bytes", [0, 255])
}

/// Gives what was asked for.
#[tool]
fn choose(colours: Vec<Colour>) -> Vec<String> {
    let name = |colour| match colour {
        Colour::Red => "red".to_owned(),
        Colour::DarkBlue => "dark blue".to_owned(),
    };
    colours.into_iter().map(name).collect()
}

/// Returns each kind of content, as it is decided at run time.
#[tool(name = "every-content")]
fn every_content() -> Vec<Content> {
    vec![
        Content::Text("a text".to_owned()),
        Content::Image(Image::png(*b"\x89PNG\r\n\x1a\n")),
        Content::Audio(Audio::new("audio/wav", *b"RIFF")),
        Content::Resource(Resource::text("test:///text", "a document").with_mime_type("text/plain")),
        Content::Resource(Resource::bytes("test:///bytes", [0, 255])),
        Content::Structured(json!({ "kinds": 5 })),
    ]
}

/// Fails by its own fault, with any error that can be shown.
#[tool]
fn fail(number: &str) -> Result<String, std::num::ParseIntError> {
    Ok(number.parse::<u8>()?.to_string())
}

/// Returns nothing.
#[tool]
fn nothing() {}

/// Returns each kind of content, each by its type.
#[tool]
fn one_of_each() -> (&'static str, Image, Audio, Resource, Json<Sum>) {
    (
        "a text",
        Image::svg("<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
        Audio::new("audio/wav", *b"RIFF"),
        Resource::text("test:///text", "a document"),
        Json(Sum { sum: 3 }),
    )
}

/// Panics.
#[tool]
fn panic(message: &str) {
    panic!("{message}");
}

/// Returns two structured values, which no result may hold.
#[tool]
fn pictures() -> Vec<Content> {
    vec![Content::Structured(json!(1)), Content::Structured(json!(2))]
}

/// Fails by the fault of its caller.
#[tool]
fn retry() -> Result<(), ToolError> {
    Err(ToolError::invalid_arguments("try something else"))
}

/// Prints a text to stdout and stderr.
#[tool]
fn say(text: String) -> String {
    println!("out: {text}");
    eprintln!("err: {text}");
    text
}

#[cfg(test)]
mod tests {
    use portcullis_sdk::testing::{call, call_text, definition};
    use portcullis_sdk::{ErrorKind, Tool};

    use super::*;

    #[test]
    fn a_tool_is_still_a_function() {
        assert_eq!(add(1, 2).map(|sum| sum.0.sum), Ok(3));
        assert_eq!(choose(vec![Colour::Red]), ["red"]);
        nothing();
    }

    #[test]
    fn a_tool_is_called_through_json() {
        assert_eq!(call::<add>(json!({"a": 1, "b": 2.0})), Ok(vec![Content::Structured(json!({"sum": 3}))]));
        assert_eq!(call::<nothing>(json!({})), Ok(Vec::new()));
        assert_eq!(call::<one_of_each>(json!({})).map(|parts| parts.len()), Ok(5));
        assert_eq!(call::<every_content>(json!({})), Ok(every_content()));
        let error = call::<fail>(json!({"number": "256"})).expect_err("too large");
        assert_eq!(error, ToolError::failed("number too large to fit in target type"));
        let error = call::<pictures>(json!({})).expect_err("two values");
        assert_eq!(error.kind, ErrorKind::Failed);
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_path() {
        for (text, path) in [
            (r#"{"a": 1, "b": "two"}"#, "$.b: "),
            (r#"{"a": 1, "a": 1, "b": 2}"#, "$.a: the key is given twice"),
            (r#"{"a": 1, "b": 2, "c": 3}"#, "$: "),
            (r#"{"a": 1"#, "$: the arguments are not JSON"),
            ("[]", "$: the arguments must be a JSON object"),
        ] {
            let error = call_text::<add>(text).expect_err(text);
            assert_eq!(error.kind, ErrorKind::InvalidArguments);
            assert!(error.message.starts_with(path), "{text}: {error:?}");
        }
    }

    #[test]
    fn definitions_are_what_the_host_takes() {
        let add = definition::<add>();
        assert_eq!((add.name, add.description), ("add", "Adds two numbers."));
        assert_eq!(definition::<every_content>().name, "every-content");
        assert!(add.output_schema.is_some() && definition::<arguments>().output_schema.is_none());
        assert_eq!(<listing::what_listing_saw as Tool>::NAME, "what_listing_saw");
    }
}
