//! What an agent is told of a tool. All of it but the name is text of the package: bounded, cleaned, and marked.

use std::sync::Arc;

use rmcp::model::{JsonObject, MetaObject, Tool};
use serde_json::{Map, Value, json};

use crate::gateway::GrantedTool;
use crate::ids::ToolName;
use crate::text::clean;

/// The longest description, in bytes, without the words that mark it.
const DESCRIPTION_BYTES_MAX: usize = 4 << 10;
/// The longest description inside a schema, in bytes.
const NOTE_BYTES_MAX: usize = 1 << 10;
/// The most tools of a page.
const PAGE_TOOLS_MAX: usize = 100;
/// The most bytes of a page's schemas, but for a single tool that has more.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Keywords of JSON Schema whose text is for readers.
const NOTES: [&str; 3] = ["description", "title", "$comment"];
/// Would have clients put arguments into headers, where proxies and their logs see them. Not served.
const HEADER_KEYWORD: &str = "x-mcp-header";

/// What a client gets.
pub(super) fn tool(granted: &GrantedTool) -> Tool {
    let described = granted.description();
    let said = clean(described.description.trim(), DESCRIPTION_BYTES_MAX);
    let marked = (!said.is_empty()).then(|| format!("Package {} says: {said}", granted.package));
    let input = schema(&described.input_schema);
    let mut tool = Tool::new_with_raw(granted.name.to_string(), marked.map(Into::into), input);
    tool.output_schema = described.output_schema.as_ref().map(schema);
    let mut meta = MetaObject::new();
    let source = json!({
        "package": granted.package,
        "tool": described.name,
        "digest": granted.digest(),
        "trusted": false,
    });
    meta.insert("portcullis/source".to_owned(), source);
    tool.with_meta(meta)
}

/// The tools behind the cursor that fit a page, and the cursor of the next one.
pub(super) fn page(tools: Vec<Tool>, after: Option<&ToolName>) -> (Vec<Tool>, Option<String>) {
    let mut rest = tools.into_iter().filter(|tool| after.is_none_or(|after| *tool.name > *after.as_str()));
    let (mut page, mut bytes) = (Vec::new(), 0);
    let next = rest.find_map(|tool| {
        bytes += schema_bytes(&tool);
        if page.is_empty() || (page.len() < PAGE_TOOLS_MAX && bytes <= PAGE_BYTES_MAX) {
            page.push(tool);
            return None;
        }
        page.last().map(|last: &Tool| last.name.to_string())
    });
    (page, next)
}

fn schema_bytes(tool: &Tool) -> usize {
    let bytes = |schema: &Arc<JsonObject>| serde_json::to_vec(schema).map_or(0, |text| text.len());
    bytes(&tool.input_schema) + tool.output_schema.as_ref().map_or(0, bytes)
}

/// A schema without what could hide from readers. What it validates stays the same.
fn schema(schema: &Value) -> Arc<JsonObject> {
    match cleaned(schema) {
        Value::Object(schema) => Arc::new(schema),
        // `true` and `false` are schemas too; MCP wants an object.
        Value::Bool(false) => Arc::new(Map::from_iter([("not".to_owned(), json!({}))])),
        Value::Null | Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Arc::default()
        }
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
        assert_eq!(Value::Object((*schema(&given)).clone()), expected);
        assert_eq!(*schema(&json!(true)), Map::new());
        assert_eq!(Value::Object((*schema(&json!(false))).clone()), json!({ "not": {} }));
    }

    #[test]
    fn pages_follow_each_other_without_a_gap_and_one_large_tool_is_a_page() {
        let large = Arc::new(Map::from_iter([("x".to_owned(), json!("x".repeat(PAGE_BYTES_MAX)))]));
        let tools: Vec<Tool> = (0..250)
            .map(|number| {
                let schema = if number == 120 { Arc::clone(&large) } else { Arc::default() };
                Tool::new_with_raw(format!("t__{number:03}"), None, schema)
            })
            .collect();
        let (mut after, mut lengths, mut names) = (None, Vec::new(), Vec::new());
        loop {
            let (page, next) = page(tools.clone(), after.as_ref());
            lengths.push(page.len());
            names.extend(page.into_iter().map(|tool| tool.name));
            let Some(next) = next else { break };
            after = Some(next.parse().expect("a cursor is a name"));
        }
        assert_eq!(lengths, [100, 20, 1, 100, 29]);
        assert!(names.iter().eq(tools.iter().map(|tool| &tool.name)));
    }
}
