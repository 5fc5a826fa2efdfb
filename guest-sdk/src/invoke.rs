//! Calls of other tools of the same host (`[[grant.invoke]]`).
//!
//! The tool that is called has its own grants for the same agent. Its fuel and its time come out of those of
//! the call that makes it.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::host;

/// What a tool answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its parts: a list of objects with a `type`, as the HTTP API gives them.
    pub content: Vec<Value>,
    /// The result as one value, if the tool gives one.
    pub structured: Option<Value>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvokeError {
    /// No grant of this call names the tool, or the agent may not call it.
    Denied(String),
    /// There is no such package or tool.
    NotFound(String),
    /// The arguments don't fit the tool's schema, or are no JSON object.
    InvalidArguments(String),
    /// Calls are too deep or too many, the tool would be its own caller, or there is no room now.
    Refused(String),
    /// A limit ended it.
    LimitReached(String),
    /// It said that it failed, or crashed.
    Failed(String),
    /// It answered, but not what was expected.
    Answer(String),
}

impl fmt::Display for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, reason) = match self {
            InvokeError::Denied(reason) => ("the tool may not be called", reason),
            InvokeError::NotFound(reason) => ("there is no such tool", reason),
            InvokeError::InvalidArguments(reason) => ("the arguments don't fit", reason),
            InvokeError::Refused(reason) => ("the call was refused", reason),
            InvokeError::LimitReached(reason) => ("a limit ended the call", reason),
            InvokeError::Failed(reason) => ("the tool failed", reason),
            InvokeError::Answer(reason) => ("the tool answered something else", reason),
        };
        write!(f, "{what}: {reason}")
    }
}

impl std::error::Error for InvokeError {}

/// Calls a tool and waits for its answer. The arguments are anything that serde writes as a JSON object.
///
/// # Errors
/// [`InvokeError`].
pub fn call(package: &str, tool: &str, arguments: &impl Serialize) -> Result<Answer, InvokeError> {
    let arguments =
        serde_json::to_string(arguments).map_err(|error| InvokeError::InvalidArguments(error.to_string()))?;
    let (content, structured) = host::invoke(package, tool, &arguments)?;
    let parse = |text: &str| {
        serde_json::from_str::<Value>(text).map_err(|error| InvokeError::Answer(error.to_string()))
    };
    let content = match parse(&content)? {
        Value::Array(parts) => parts,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            return Err(InvokeError::Answer("its content is no list".to_owned()));
        }
    };
    Ok(Answer { content, structured: structured.as_deref().map(parse).transpose()? })
}

impl Answer {
    /// All of its text, one part a line.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|part| part["text"].as_str());
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The structured value as a type.
    ///
    /// # Errors
    /// [`InvokeError::Answer`] if there is none, or it is something else.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, InvokeError> {
        let value = self.structured.clone().unwrap_or(Value::Null);
        serde_json::from_value(value).map_err(|error| InvokeError::Answer(error.to_string()))
    }
}
