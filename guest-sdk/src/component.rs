//! The tools as exports of the world `portcullis:tool/tool`. Only where a component is built.

use crate::content::{Content, ResourceBody};
use crate::error::{ErrorKind, ToolError};
use crate::tool::Definition;

#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "portcullis:tool/tool",
        pub_export_macro: true,
        export_macro_name: "export_tools",
    });
}

pub use bindings::export_tools;
pub use bindings::exports::portcullis::tool::tools as world;

pub fn definition(definition: Definition) -> world::ToolDefinition {
    world::ToolDefinition {
        name: definition.name.to_owned(),
        description: definition.description.to_owned(),
        input_schema: definition.input_schema.to_string(),
        output_schema: definition.output_schema.map(|schema| schema.to_string()),
    }
}

pub fn answer(answer: Result<Vec<Content>, ToolError>) -> Result<Vec<world::Content>, world::ToolError> {
    match answer {
        Ok(content) => Ok(content.into_iter().map(part).collect()),
        Err(ToolError { kind, message }) => {
            let kind = match kind {
                ErrorKind::InvalidArguments => world::ErrorKind::InvalidArguments,
                ErrorKind::Failed => world::ErrorKind::Failed,
            };
            Err(world::ToolError { kind, message })
        }
    }
}

fn part(content: Content) -> world::Content {
    match content {
        Content::Text(text) => world::Content::Text(text),
        Content::Image(image) => {
            world::Content::Image(world::Blob { data: image.data, mime_type: image.mime_type })
        }
        Content::Audio(audio) => {
            world::Content::Audio(world::Blob { data: audio.data, mime_type: audio.mime_type })
        }
        Content::Resource(resource) => world::Content::Resource(world::EmbeddedResource {
            uri: resource.uri,
            mime_type: resource.mime_type,
            body: match resource.body {
                ResourceBody::Text(text) => world::ResourceBody::Text(text),
                ResourceBody::Bytes(bytes) => world::ResourceBody::Blob(bytes),
            },
        }),
        Content::Structured(value) => world::Content::Structured(value.to_string()),
    }
}
