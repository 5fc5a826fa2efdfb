//! Offers tools through `portcullis:tool`: schemas made in code, every kind of content, both kinds
//! of error, and one tool that prints.

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "portcullis:tool/tool" });
}

use bindings::exports::portcullis::tool::tools::{
    Blob, Content, EmbeddedResource, ErrorKind, Guest, ResourceBody, ToolDefinition, ToolError,
};
use serde_json::{Value, json};

struct Listed;

impl Guest for Listed {
    fn list_tools() -> Vec<ToolDefinition> {
        let definition =
            |name: &str, description: &str, input: Value, output: Option<Value>| ToolDefinition {
                name: name.to_owned(),
                description: description.to_owned(),
                input_schema: input.to_string(),
                output_schema: output.map(|schema| schema.to_string()),
            };
        let nothing = json!({ "type": "object", "additionalProperties": false });
        vec![
            definition(
                "add",
                "Adds two numbers.",
                json!({
                    "type": "object",
                    "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } },
                    "required": ["a", "b"],
                    "additionalProperties": false,
                }),
                Some(json!({
                    "type": "object",
                    "properties": { "sum": { "type": "integer" } },
                    "required": ["sum"],
                })),
            ),
            definition("every-content", "Returns each kind of content.", nothing, None),
            definition(
                "fail",
                "Fails, by the fault of its caller or its own.",
                json!({
                    "type": "object",
                    "properties": { "kind": { "enum": ["invalid-arguments", "failed"] } },
                    "required": ["kind"],
                }),
                None,
            ),
            definition(
                "say",
                "Prints a text to stdout and stderr.",
                json!({
                    "type": "object",
                    "properties": { "text": { "type": "string" } },
                    "required": ["text"],
                }),
                None,
            ),
        ]
    }

    fn call_tool(name: String, arguments: String) -> Result<Vec<Content>, ToolError> {
        let arguments: Value = serde_json::from_str(&arguments).map_err(invalid)?;
        match name.as_str() {
            "add" => add(&arguments),
            "every-content" => Ok(every_content()),
            "fail" => Err(match arguments["kind"].as_str() {
                Some("failed") => ToolError { kind: ErrorKind::Failed, message: "as asked".to_owned() },
                _ => invalid("as asked"),
            }),
            "say" => {
                let text = arguments["text"].as_str().ok_or_else(|| invalid("text is missing"))?;
                println!("out: {text}");
                eprintln!("err: {text}");
                Ok(vec![Content::Text(text.to_owned())])
            }
            other => Err(invalid(format!("no tool {other}"))),
        }
    }
}

fn invalid(message: impl ToString) -> ToolError {
    ToolError { kind: ErrorKind::InvalidArguments, message: message.to_string() }
}

fn add(arguments: &Value) -> Result<Vec<Content>, ToolError> {
    let number = |key: &str| arguments[key].as_i64().ok_or_else(|| invalid(format!("{key} is missing")));
    let sum = number("a")?.checked_add(number("b")?).ok_or_else(|| invalid("too large"))?;
    Ok(vec![Content::Structured(json!({ "sum": sum }).to_string())])
}

fn every_content() -> Vec<Content> {
    let blob = |data: &[u8], mime_type: &str| Blob { data: data.to_vec(), mime_type: mime_type.to_owned() };
    let document = |uri: &str, mime_type: Option<&str>, body| {
        let mime_type = mime_type.map(str::to_owned);
        Content::Resource(EmbeddedResource { uri: uri.to_owned(), mime_type, body })
    };
    vec![
        Content::Text("a text".to_owned()),
        Content::Image(blob(b"\x89PNG\r\n\x1a\n", "image/png")),
        Content::Audio(blob(b"RIFF", "audio/wav")),
        document("test:///text", Some("text/plain"), ResourceBody::Text("a document".to_owned())),
        document("test:///bytes", None, ResourceBody::Blob(vec![0, 255])),
        Content::Structured(json!({ "kinds": 5 }).to_string()),
    ]
}

bindings::export!(Listed with_types_in bindings);
