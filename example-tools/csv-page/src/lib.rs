//! A page about a CSV text: what is in it is summed up by one other tool, and rendered by a second.
//!
//! It has no power but to call these two, and each of them runs with its own grants, which here are none.

use portcullis_sdk::invoke::{self, InvokeError};
use portcullis_sdk::{Resource, ToolError, log, progress, tool, tools};
use serde_json::{Value, json};

tools![page];

/// Makes an HTML page about a CSV text whose first line names the columns: a title, what an author says of
/// it in Markdown, and a table of its columns.
#[tool]
fn page(
    /// The title.
    title: &str,
    /// The CSV text (RFC 4180).
    csv: &str,
    /// What there is to say of it, in Markdown.
    #[serde(default)]
    notes: String,
) -> Result<Resource, ToolError> {
    progress::report(0.0, Some(2.0), "summing up");
    let table = summary(csv)?;
    if progress::is_cancelled() {
        return Err(ToolError::failed("cancelled after it was summed up"));
    }
    progress::report(1.0, Some(2.0), "rendering");
    let markdown = format!("# {}\n\n{notes}\n\n{table}\n", title.replace(['\r', '\n'], " "));
    let html = render(&markdown)?;
    log::info(format_args!("a page of {} bytes", html.len()));
    Ok(Resource::text("csv-page:///page.html", html).with_mime_type("text/html"))
}

/// The columns as a table in Markdown.
fn summary(csv: &str) -> Result<String, ToolError> {
    let answer = match invoke::call("csv-report", "summarise", &json!({ "csv": csv })) {
        // The same text was this tool's argument.
        Err(InvokeError::Failed(reason)) => return Err(ToolError::invalid_arguments(reason)),
        answer => answer?,
    };
    let markdown = answer.content.iter().find(|part| part["mime_type"] == "text/markdown");
    match markdown.and_then(|part| part["text"].as_str()) {
        Some(markdown) => Ok(markdown.to_owned()),
        None => Err(ToolError::failed("csv-report gave no table")),
    }
}

fn render(markdown: &str) -> Result<String, ToolError> {
    let options = json!({
        "tables": true, "strikethrough": false, "task-lists": false, "footnotes": false,
        "smart-punctuation": false,
    });
    let answer = invoke::call("markdown", "render", &json!({ "markdown": markdown, "options": options }))?;
    match answer.structured {
        Some(Value::String(html)) => Ok(html),
        _ => Err(ToolError::failed("markdown gave no text")),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_sdk::testing::{call, furnish};
    use portcullis_sdk::{Content, ErrorKind, ResourceBody};

    use super::*;

    #[test]
    fn two_tools_make_a_page() {
        furnish::tools(|package, tool, arguments| {
            let text = |text: String| json!({"type": "resource", "uri": "x", "mime_type": "text/markdown", "text": text});
            match (package, tool) {
                ("csv-report", "summarise") if arguments["csv"] == "bad" => {
                    Err(InvokeError::Failed("no columns".to_owned()))
                }
                ("csv-report", "summarise") => {
                    Ok(invoke::Answer { content: vec![text("| a |".to_owned())], structured: None })
                }
                ("markdown", "render") => Ok(invoke::Answer {
                    content: Vec::new(),
                    structured: Some(arguments["markdown"].clone()),
                }),
                _ => Err(InvokeError::Denied("not granted".to_owned())),
            }
        });
        let made = call::<page>(json!({"title": "A\nB", "csv": "a\n1\n", "notes": "*n*"})).expect("a page");
        let [Content::Resource(Resource { body: ResourceBody::Text(html), .. })] = &made[..] else {
            panic!("{made:?}");
        };
        assert_eq!(html, "# A B\n\n*n*\n\n| a |\n");
        assert_eq!(furnish::steps().len(), 2);
        let error = call::<page>(json!({"title": "", "csv": "bad"})).expect_err("refused");
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::InvalidArguments, "no columns"));
    }

    #[test]
    fn without_a_grant_there_is_no_page() {
        let error = call::<page>(json!({"title": "", "csv": "a\n1\n"})).expect_err("not granted");
        assert!(error.message.starts_with("the tool may not be called"), "{}", error.message);
    }
}
