//! Why a tool gave no result.

use std::fmt;

/// Why a tool gave no result, and whose fault that is.
///
/// Any error that can be shown becomes one by `?` or `.into()`, of the kind [`ErrorKind::Failed`]. For that to be
/// possible `ToolError` itself is not `Display`. The text is the error's alternate form (`{:#}`), in
/// which `anyhow` writes the whole chain of causes.
///
/// ```
/// use portcullis_sdk::ToolError;
///
/// fn number(text: &str) -> Result<i64, ToolError> {
///     Ok(text.parse::<i64>()?)
/// }
/// assert_eq!(number("x"), Err(ToolError::failed("invalid digit found in string")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolError {
    /// Whose fault it is.
    pub kind: ErrorKind,
    /// What went wrong, for the agent. The host keeps the first 1,000 bytes.
    pub message: String,
}

/// Whose fault it is that a tool gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The arguments, although they match the schema. The agent may try again with others.
    InvalidArguments,
    /// The tool, or what it depends on.
    Failed,
}

impl ToolError {
    /// The agent's arguments are wrong in a way that the schema can't say.
    pub fn invalid_arguments(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidArguments, message: message.into() }
    }

    /// The tool, or what it depends on, failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into() }
    }
}

impl<E: fmt::Display> From<E> for ToolError {
    fn from(error: E) -> Self {
        Self::failed(format!("{error:#}"))
    }
}
