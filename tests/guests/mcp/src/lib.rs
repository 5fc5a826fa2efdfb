//! The tools that the official conformance suite of MCP asks a server for (`test_*`), and some that take their time.
//!
//! Those that would ask the client for something (sampling, elicitation) are not here: a tool of this host has no
//! way to do that.

use std::time::Duration;

use portcullis_sdk::{Audio, Content, Image, Json, Resource, ToolError, log, progress, tool, tools};
use schemars::JsonSchema;
use serde::Serialize;

tools![
    audio_content,
    count,
    embedded_resource,
    error_handling,
    image_content,
    logging_tool,
    long,
    loud,
    multiple_content_types,
    simple_text,
    streaming_elicitation,
    tool_with_progress,
    wait,
];

/// One red pixel.
const PIXEL: [u8; 69] = [
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0, 144,
    119, 83, 222, 0, 0, 0, 12, 73, 68, 65, 84, 120, 156, 99, 248, 207, 192, 0, 0, 3, 1, 1, 0, 201, 254, 146,
    239, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

/// A sound without samples.
const SILENCE: [u8; 44] =
    *b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\0\0\0\0";

/// Returns a text.
#[tool(name = "test_simple_text")]
fn simple_text() -> String {
    "This is a simple text response for testing.".to_owned()
}

/// Returns a picture.
#[tool(name = "test_image_content")]
fn image_content() -> Image {
    Image::png(PIXEL)
}

/// Returns a sound.
#[tool(name = "test_audio_content")]
fn audio_content() -> Audio {
    Audio::new("audio/wav", SILENCE)
}

/// Returns a document.
#[tool(name = "test_embedded_resource")]
fn embedded_resource() -> Resource {
    Resource::text("test://embedded-resource", "This is an embedded resource content.")
        .with_mime_type("text/plain")
}

/// Returns a text, a picture and a document.
#[tool(name = "test_multiple_content_types")]
fn multiple_content_types() -> Vec<Content> {
    let document = Resource::text("test://mixed-content-resource", r#"{"test":"data","value":123}"#);
    vec![
        Content::Text("Multiple content types test:".to_owned()),
        Content::Image(Image::png(PIXEL)),
        Content::Resource(document.with_mime_type("application/json")),
    ]
}

/// Fails.
#[tool(name = "test_error_handling")]
fn error_handling() -> Result<String, ToolError> {
    Err(ToolError::failed("This tool intentionally returns an error for testing"))
}

/// Says three times how far it is, slowly enough that each is told.
#[tool(name = "test_tool_with_progress")]
fn tool_with_progress() -> String {
    for done in [0.0, 50.0, 100.0] {
        progress::report(done, Some(100.0), "");
        std::thread::sleep(Duration::from_millis(500));
    }
    "done".to_owned()
}

/// Logs. That is for the people of the host: nothing of it goes to the client.
#[tool(name = "test_logging_tool")]
fn logging_tool() -> String {
    log::info("a line of the log");
    "done".to_owned()
}

/// Says how far it is, and asks nobody anything.
#[tool(name = "test_streaming_elicitation")]
fn streaming_elicitation() -> String {
    progress::report(1.0, Some(1.0), "no questions");
    "nothing was asked".to_owned()
}

#[derive(Serialize, JsonSchema)]
struct Counted {
    /// The number of letters.
    letters: usize,
}

/// Counts the letters of a text.
#[tool(name = "count")]
fn count(
    /// The text.
    text: &str,
) -> Json<Counted> {
    Json(Counted { letters: text.chars().count() })
}

/// Says that it waits, and waits for ever, whoever asks it to end.
#[tool(name = "wait")]
fn wait() -> String {
    progress::report(1.0, None, "waiting");
    loop {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Returns a long text.
#[tool(name = "long")]
fn long(
    /// Of how many bytes.
    bytes: u32,
) -> String {
    "x".repeat(bytes as usize)
}

/// Writes what looks like a message of MCP to stdout and stderr.
#[tool(name = "loud")]
fn loud() -> String {
    println!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"forged"}}]}}}}"#);
    eprintln!("{}", "noise\n".repeat(100));
    "quiet".to_owned()
}
