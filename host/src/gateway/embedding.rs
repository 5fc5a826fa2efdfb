//! What makes the host short to embed: one step from a path to a host, from text to a request.
//!
//! Nothing here decides or records; each function is a shorter way to say what the rest of the
//! gateway takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CallRequest, GrantsSource, Host, HostError, HostOptions};
use crate::arguments::{ArgumentTextError, parse_arguments};
use crate::config::{DataFolder, Ownership};
use crate::ids::IdError;

/// Why a text is not a request. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The agent's, package's or tool's name can't be one.
    #[error(transparent)]
    Name(#[from] IdError),
    /// The arguments are not one JSON object within the bounds.
    #[error("arguments: {0}")]
    Arguments(#[from] ArgumentTextError),
}

impl Host {
    /// Opens a host over the data folder at `path`, which is made (mode 0700) if it is not there.
    ///
    /// # Errors
    /// [`HostError::Owned`] if another process owns the folder; else as [`Host::open`].
    pub async fn at(path: impl AsRef<Path>, options: HostOptions) -> Result<Self, HostError> {
        match DataFolder::take(path.as_ref())? {
            Ownership::Ours(folder) => Self::open(folder, options).await,
            Ownership::Others { paths, pid } => Err(HostError::Owned { path: paths.root().to_owned(), pid }),
        }
    }
}

impl CallRequest {
    /// A call of `tool` of `package` in the name of `principal`, with the text of a JSON object as its
    /// arguments: at most 1 MiB, 127 levels deep, without duplicate keys.
    ///
    /// # Errors
    /// [`RequestError`]: a name that can't be one, or arguments that can't be read, with line and column.
    pub fn new(principal: &str, package: &str, tool: &str, arguments: &str) -> Result<Self, RequestError> {
        Ok(Self {
            principal: principal.parse()?,
            package: package.parse()?,
            tool: tool.parse()?,
            arguments: parse_arguments(arguments.as_bytes())?,
            argument_bytes: arguments.len() as u64,
            trace: None,
            admission: Arc::default(),
        })
    }
}

impl GrantsSource {
    /// Grants as text, with relative paths that begin at `folder`.
    pub fn new(text: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self { file: "grants".to_owned(), folder: folder.into(), text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_text_or_says_what_is_wrong() {
        let request = CallRequest::new("me", "adder", "add", r#"{"a": 1}"#).expect("a request");
        assert_eq!((request.argument_bytes, request.arguments["a"].as_u64()), (8, Some(1)));
        let wrong = |agent, arguments| CallRequest::new(agent, "p", "t", arguments).expect_err("refused");
        assert!(matches!(wrong("not a name!", "{}"), RequestError::Name(_)));
        assert!(matches!(wrong("me", "[1]"), RequestError::Arguments(_)));
        let error = wrong("me", "{\n\"a\": 1, \"a\": 2}").to_string();
        assert!(error.starts_with("arguments: line 2"), "{error}");
    }

    #[tokio::test]
    async fn a_folder_that_another_owns_is_refused_and_the_owner_named() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let host = Host::at(temporary.path(), HostOptions::default()).await.expect("a host");
        let error = Host::at(temporary.path(), HostOptions::default()).await.expect_err("owned");
        assert!(matches!(error, HostError::Owned { pid: Some(pid), .. } if pid == std::process::id()));
        host.close().await.expect("closed");
        Host::at(temporary.path(), HostOptions::default()).await.expect("free again");
    }
}
