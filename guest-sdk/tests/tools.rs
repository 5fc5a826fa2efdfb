//! Tools as authors write them: what the function gets and what the agent gets.

use std::collections::BTreeMap;

use portcullis_sdk::testing::{call, call_text, definition};
use portcullis_sdk::{
    Audio, Content, ErrorKind, Image, Json, Resource, ResourceBody, Tool, ToolError, tool, tools,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

mod inner {
    /// In a module.
    #[portcullis_sdk::tool]
    pub(crate) fn path() -> &'static str {
        "a path"
    }
}

tools![count, search, inner::path];

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    Newest,
    Oldest,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Span {
    from: u32,
    to: Option<u32>,
}

/// Searches.
///
/// - in everything
#[tool]
fn search(
    /// What to look for.
    text: &str,
    /// How many to give.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100))]
    count: u8,
    order: Option<Order>,
    spans: &[Span],
    #[serde(rename = "where")] place: Option<BTreeMap<String, Value>>,
) -> Json<Value> {
    Json(json!({ "text": text, "count": count, "order": order, "spans": spans, "where": place }))
}

fn ten() -> u8 {
    10
}

/// Counts.
#[tool(name = "count-letters")]
fn count(mut text: String) -> usize_text::Text {
    text.push('!');
    text.len().to_string()
}

mod usize_text {
    pub(crate) type Text = String;
}

#[test]
fn a_definition_says_what_the_function_says() {
    let search = definition::<search>();
    assert_eq!((search.name, search.description), ("search", "Searches.\n\n- in everything"));
    let expected = json!({
        "type": "object",
        "properties": {
            "text": { "type": "string", "description": "What to look for." },
            "count": {
                "type": "integer", "format": "uint8", "minimum": 1, "maximum": 100, "default": 10,
                "description": "How many to give.",
            },
            "order": { "anyOf": [{ "$ref": "#/$defs/Order" }, { "type": "null" }] },
            "spans": { "type": "array", "items": { "$ref": "#/$defs/Span" } },
            "where": { "type": ["object", "null"], "additionalProperties": true },
        },
        "required": ["text", "spans"],
        "additionalProperties": false,
        "$defs": {
            "Order": { "type": "string", "enum": ["newest", "oldest"] },
            "Span": {
                "type": "object",
                "properties": {
                    "from": { "type": "integer", "format": "uint32", "minimum": 0, "maximum": u32::MAX },
                    "to": { "type": ["integer", "null"], "format": "uint32", "minimum": 0, "maximum": u32::MAX },
                },
                "required": ["from"],
            },
        },
    });
    assert_eq!(search.input_schema, expected, "{:#}", search.input_schema);
    assert_eq!(<count as Tool>::NAME, "count-letters");
    let none = definition::<inner::path>().input_schema;
    assert_eq!(none, json!({ "type": "object", "properties": {}, "additionalProperties": false }));
}

#[test]
fn arguments_arrive_and_defaults_stand_in() {
    let given = json!({
        "text": "a", "count": 3, "order": "oldest", "spans": [{"from": 1, "to": 2}], "where": {"x": [1]},
    });
    assert_eq!(call::<search>(given.clone()), Ok(vec![Content::Structured(given)]));
    let defaults = json!({ "text": "a", "count": 10, "order": null, "spans": [], "where": null });
    let found = call::<search>(json!({ "text": "a", "spans": [] }));
    assert_eq!(found, Ok(vec![Content::Structured(defaults)]));
    assert_eq!(call::<count>(json!({ "text": "ab" })), Ok(vec![Content::Text("3".to_owned())]));
    assert_eq!(inner::path(), "a path");
}

/// The host asks the schema first. The function's own reader must name the place as well.
#[test]
fn arguments_that_do_not_fit_are_told_by_their_path() {
    for (text, path) in [
        (r#"{"text": 7, "spans": []}"#, "$.text: invalid type: integer `7`, expected a string"),
        (r#"{"spans": []}"#, "$: missing field `text`"),
        (r#"{"text": "a", "spans": [], "more": 1}"#, "$.more: unknown field `more`"),
        (r#"{"text": "a", "spans": [{"from": 1}, {"from": -1}]}"#, "$.spans[1].from: invalid value"),
        (r#"{"text": "a", "spans": [], "count": 256}"#, "$.count: invalid value"),
        (r#"{"text": "a", "spans": [], "order": "best"}"#, "$.order: unknown variant `best`"),
        (r#"{"text": "a", "spans": [], "text": "b"}"#, "$.text: the key is given twice"),
        (r#"{"text": "a", "spans": [{"from": 1, "from": 2}]}"#, "$.spans[0].from: the key is given twice"),
        ("7", "$: the arguments must be a JSON object"),
    ] {
        let error = <search as Tool>::call(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArguments);
        assert!(error.message.starts_with(path), "{text}: {error:?}");
        let error = call_text::<search>(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArguments);
        assert!(error.message.starts_with('$'), "{text}: {error:?}");
    }
    // Only the schema says so.
    let error = call::<search>(json!({ "text": "a", "spans": [], "count": 101 })).unwrap_err();
    assert!(error.message.starts_with("$.count: "), "{error:?}");
}

/// Everything that can be returned.
#[tool]
#[expect(clippy::type_complexity, reason = "it is about nesting")]
fn every_kind() -> (String, Option<Image>, Option<Image>, Vec<Audio>, (Resource, Content)) {
    (
        "text".to_owned(),
        Some(Image::png([1])),
        None,
        vec![Audio::new("audio/wav", [2]), Audio::new("audio/ogg", [3])],
        (Resource::text("a:b", "c").with_mime_type("text/plain"), Content::Structured(json!(1))),
    )
}

/// Nothing.
#[tool]
fn silent() {}

/// An error of some other type.
#[tool]
fn parsed(text: &str) -> Result<(), std::num::ParseIntError> {
    text.parse::<u8>().map(|_| ())
}

/// An error whose fault is said.
#[tool]
fn picky(text: &str) -> Result<Option<Json<String>>, ToolError> {
    match text {
        "" => Err(ToolError::invalid_arguments("say something")),
        "json" => Ok(Some(Json("yes".to_owned()))),
        other => Err(format!("no {other}"))?,
    }
}

/// Two structured values, seen only when they are there.
#[tool]
fn twice() -> Vec<Content> {
    vec![Content::Structured(json!(1)); 2]
}

/// Keys that JSON does not have.
#[tool]
fn unwritable() -> Json<BTreeMap<Option<u8>, u8>> {
    Json(BTreeMap::from([(Some(1), 1), (None, 2)]))
}

#[test]
fn results_become_content() {
    let expected = vec![
        Content::Text("text".to_owned()),
        Content::Image(Image { mime_type: "image/png".to_owned(), data: vec![1] }),
        Content::Audio(Audio { mime_type: "audio/wav".to_owned(), data: vec![2] }),
        Content::Audio(Audio { mime_type: "audio/ogg".to_owned(), data: vec![3] }),
        Content::Resource(Resource {
            uri: "a:b".to_owned(),
            mime_type: Some("text/plain".to_owned()),
            body: ResourceBody::Text("c".to_owned()),
        }),
        Content::Structured(json!(1)),
    ];
    assert_eq!(call::<every_kind>(json!({})), Ok(expected));
    assert_eq!(call::<silent>(json!({})), Ok(Vec::new()));
    assert_eq!(definition::<every_kind>().output_schema, None);
}

#[test]
fn errors_say_whose_fault_they_are() {
    let told = |error: Result<Vec<Content>, ToolError>| error.unwrap_err();
    let out_of_range = "number too large to fit in target type";
    assert_eq!(told(call::<parsed>(json!({"text": "256"}))), ToolError::failed(out_of_range));
    let wrong = ToolError::invalid_arguments("say something");
    assert_eq!(told(call::<picky>(json!({"text": ""}))), wrong);
    assert_eq!(told(call::<picky>(json!({"text": "x"}))), ToolError::failed("no x"));
    assert_eq!(call::<picky>(json!({"text": "json"})), Ok(vec![Content::Structured(json!("yes"))]));
    assert!(told(call::<twice>(json!({}))).message.contains("2 structured values"));
    let unwritable = told(call::<unwritable>(json!({})));
    assert_eq!(unwritable.kind, ErrorKind::Failed);
    assert!(unwritable.message.contains("can't be written as JSON"), "{unwritable:?}");
}

#[derive(Serialize, JsonSchema)]
struct Node {
    children: Vec<Node>,
}

/// Deep.
#[tool]
fn recursive() -> Json<Node> {
    Json(Node { children: Vec::new() })
}

#[test]
#[should_panic(expected = "recursive: the host refuses a schema that contains itself")]
fn a_recursive_schema_is_seen_by_a_test() {
    let _ = call::<recursive>(json!({}));
}

/// Says more than its schema.
struct Liar;

impl Serialize for Liar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("seven")
    }
}

impl JsonSchema for Liar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Liar".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer" })
    }
}

/// Lies.
#[tool]
fn lies() -> Json<Liar> {
    Json(Liar)
}

#[test]
#[should_panic(expected = "lies: the structured result does not match its schema")]
fn a_result_that_breaks_its_schema_is_seen_by_a_test() {
    let _ = call::<lies>(json!({}));
}
