//! What models are told of a tool. All of it but the name is text of the package: bounded, cleaned, and marked.

use serde_json::{Map, Value, json};

use crate::gateway::GrantedTool;
use crate::text::clean;

/// The longest description, in bytes, without the words that mark it.
const DESCRIPTION_BYTES_MAX: usize = 4 << 10;
/// The longest description inside a schema, in bytes.
const NOTE_BYTES_MAX: usize = 1 << 10;

/// Keywords of JSON Schema whose text is for readers.
const NOTES: [&str; 3] = ["description", "title", "$comment"];
/// Would have clients put arguments into headers, where proxies and their logs see them. Not served.
const HEADER_KEYWORD: &str = "x-mcp-header";

/// What its package says of it, if anything, begun with who says so.
pub(super) fn description(granted: &GrantedTool) -> Option<String> {
    let said = clean(granted.description().description.trim(), DESCRIPTION_BYTES_MAX);
    (!said.is_empty()).then(|| format!("Package {} says: {said}", granted.package))
}

/// A schema without what could hide from readers. What it validates stays the same.
pub(super) fn schema(schema: &Value) -> Map<String, Value> {
    match cleaned(schema) {
        Value::Object(schema) => schema,
        // `true` and `false` are schemas too; clients want an object.
        Value::Bool(false) => Map::from_iter([("not".to_owned(), json!({}))]),
        Value::Null | Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// Its depth was bounded when the package was registered.
fn cleaned(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.iter().filter_map(cleaned_entry).collect()),
        Value::Array(items) => Value::Array(items.iter().map(cleaned).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn cleaned_entry((key, value): (&String, &Value)) -> Option<(String, Value)> {
    match value {
        Value::String(text) if NOTES.contains(&key.as_str()) => {
            Some((key.clone(), Value::String(clean(text, NOTE_BYTES_MAX))))
        }
        Value::String(_) if key == HEADER_KEYWORD => None,
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => Some((key.clone(), cleaned(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_says_the_same_and_hides_nothing() {
        let given = json!({
            "type": "object",
            "description": "a\u{202e}b\u{1b}[31mc",
            "properties": {
                "title": { "type": "string", "title": "T\u{e0041}", "x-mcp-header": "Secret", "pattern": "\u{202e}" },
                "x-mcp-header": { "type": "string" },
            },
            "enum": ["\u{202e}"],
        });
        let expected = json!({
            "type": "object",
            "description": "abc",
            "properties": {
                "title": { "type": "string", "title": "T", "pattern": "\u{202e}" },
                "x-mcp-header": { "type": "string" },
            },
            "enum": ["\u{202e}"],
        });
        assert_eq!(Value::Object(schema(&given)), expected);
        assert_eq!(schema(&json!(true)), Map::new());
        assert_eq!(Value::Object(schema(&json!(false))), json!({ "not": {} }));
    }
}
