//! Tools of the world `portcullis:tool`: what `list-tools` says, checked, and what `call-tool` answers.
//!
//! All of it is untrusted text: bounded and cleaned before anyone sees it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::bindings::tool::exports::portcullis::tool::tools as tool_world;
use super::convert::listed::CheckedSchema;
use super::inspect::PackageError;
use super::invocation::{Content, InvokeError, ToolAnswer};
use crate::ids::ToolName;
use crate::limits::{Limit, LimitReached};
use crate::package::{ToolDescription, ToolExport};
use crate::text::clean;

/// The most tools that a component may list.
const TOOLS_MAX: usize = 256;
/// The longest description that is kept.
const DESCRIPTION_BYTES_MAX: usize = 4 << 10;
/// The most that is kept of what a tool says of its failure.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// Checks what `list-tools` said.
///
/// # Errors
/// [`PackageError::ListTools`]: bad or equal names, bad schemas, too many.
pub(super) fn descriptions(
    listed: Vec<tool_world::ToolDefinition>,
) -> Result<Vec<ToolDescription>, PackageError> {
    if listed.len() > TOOLS_MAX {
        return Err(PackageError::ListTools(format!("{} tools, at most {TOOLS_MAX}", listed.len())));
    }
    let mut tools = listed.into_iter().map(description).collect::<Result<Vec<_>, _>>()?;
    sort_by_name(&mut tools)?;
    Ok(tools)
}

/// Orders tools, listed and typed ones.
///
/// # Errors
/// [`PackageError::ListTools`] if two have one name.
pub(super) fn sort_by_name(tools: &mut [ToolDescription]) -> Result<(), PackageError> {
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    match tools.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(PackageError::ListTools(format!("two tools are named {}", pair[0].name))),
        None => Ok(()),
    }
}

fn description(tool: tool_world::ToolDefinition) -> Result<ToolDescription, PackageError> {
    let name: ToolName = tool.name.parse().map_err(|error| PackageError::ListTools(format!("{error}")))?;
    let schema = |what: &str, text: &str| -> Result<Value, PackageError> {
        let wrong = |reason: String| PackageError::ListTools(format!("the {what} schema of {name} {reason}"));
        let value = serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        CheckedSchema::new(&value).map_err(|error| wrong(format!("can't be used: {error}")))?;
        Ok(value)
    };
    let input_schema = schema("input", &tool.input_schema)?;
    if input_schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err(PackageError::ListTools(format!(
            "the input schema of {name} must say \"type\": \"object\""
        )));
    }
    let output_schema = tool.output_schema.as_deref().map(|text| schema("output", text)).transpose()?;
    Ok(ToolDescription {
        description: clean(&tool.description, DESCRIPTION_BYTES_MAX),
        name,
        input_schema,
        output_schema,
        export: ToolExport::Listed,
    })
}

/// The compiled form of a schema that [`descriptions`] has checked before.
pub(super) fn checked_schema(tool: &ToolDescription) -> Result<Arc<CheckedSchema>, PackageError> {
    let schema =
        CheckedSchema::new(&tool.input_schema).map_err(|error| PackageError::ListTools(error.to_string()))?;
    Ok(Arc::new(schema))
}

/// What `call-tool` answered.
pub(super) fn answer(
    answer: Result<Vec<tool_world::Content>, tool_world::ToolError>,
    output_max: u64,
) -> Result<ToolAnswer, InvokeError> {
    let content = match answer {
        Ok(content) => content,
        Err(error) => {
            let message = clean(&error.message, MESSAGE_BYTES_MAX);
            return Err(match error.kind {
                tool_world::ErrorKind::InvalidArguments => InvokeError::Arguments(message),
                tool_world::ErrorKind::Failed => InvokeError::Tool { message, data: None },
            });
        }
    };
    let bytes = content.iter().map(content_bytes).fold(0_u64, u64::saturating_add);
    if bytes > output_max {
        return Err(LimitReached { limit: Limit::Output, value: bytes, max: output_max }.into());
    }
    let mut answer = ToolAnswer::default();
    for part in content {
        match part {
            tool_world::Content::Text(text) => answer.content.push(Content::Text { text }),
            tool_world::Content::Image(blob) => {
                answer.content.push(Content::Image {
                    data: BASE64.encode(blob.data),
                    mime_type: mime(&blob.mime_type),
                });
            }
            tool_world::Content::Audio(blob) => {
                answer.content.push(Content::Audio {
                    data: BASE64.encode(blob.data),
                    mime_type: mime(&blob.mime_type),
                });
            }
            tool_world::Content::Resource(resource) => answer.content.push(named(resource)),
            tool_world::Content::Structured(text) => {
                let value: Value = serde_json::from_str(&text).map_err(|error| {
                    InvokeError::Crashed(format!("its structured result is not JSON: {error}"))
                })?;
                answer.content.push(Content::Text { text: value.to_string() });
                if answer.structured.replace(value).is_some() {
                    return Err(InvokeError::Crashed("it gave two structured results".to_owned()));
                }
            }
        }
    }
    Ok(answer)
}

fn named(resource: tool_world::EmbeddedResource) -> Content {
    let (text, blob) = match resource.body {
        tool_world::ResourceBody::Text(text) => (Some(text), None),
        tool_world::ResourceBody::Blob(bytes) => (None, Some(BASE64.encode(bytes))),
    };
    let mime_type = resource.mime_type.as_deref().map(mime);
    Content::Resource { uri: clean(&resource.uri, MESSAGE_BYTES_MAX), mime_type, text, blob }
}

fn mime(text: &str) -> String {
    clean(text, 100)
}

fn content_bytes(content: &tool_world::Content) -> u64 {
    let bytes = match content {
        tool_world::Content::Text(text) | tool_world::Content::Structured(text) => text.len(),
        tool_world::Content::Image(blob) | tool_world::Content::Audio(blob) => blob.data.len(),
        tool_world::Content::Resource(resource) => match &resource.body {
            tool_world::ResourceBody::Text(text) => text.len(),
            tool_world::ResourceBody::Blob(bytes) => bytes.len(),
        },
    };
    bytes as u64
}
