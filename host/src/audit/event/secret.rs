//! What the log says of secrets: that one was used, and that one was about to leave. Never a value.

use serde::{Deserialize, Serialize};

use crate::ids::SecretName;
use crate::secrets::Encoding;

/// A secret that the host puts into a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretInjected {
    /// Which.
    pub secret: SecretName,
    /// Where, such as `header authorization`.
    pub into: String,
    /// Whether the tool had something of its own there, which gave way.
    pub replaced: bool,
}

/// A secret that was about to leave its call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretLeak {
    /// Which.
    pub secret: SecretName,
    /// In which form it was found.
    pub found_as: Encoding,
    /// Where.
    pub place: LeakPlace,
    /// What was done.
    pub action: LeakAction,
}

/// Where a secret was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakPlace {
    /// In the tool's answer.
    Result,
    /// In what the tool says of its failure.
    Error,
    /// In what it wrote to stdout.
    Stdout,
    /// In what it wrote to stderr.
    Stderr,
    /// In what it logged.
    Log,
    /// In what it told of its progress.
    Progress,
    /// In what a record says of a host call.
    Record,
    /// In the arguments for another tool.
    Arguments,
    /// In a request that the secret is not bound to.
    Request,
    /// In the response to a request.
    Response,
    /// In what it wrote to a socket.
    Socket,
    /// In a name that it asked to be looked up.
    Lookup,
    /// In a key or a value that it asked to be kept.
    State,
}

impl LeakPlace {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            LeakPlace::Result => "result",
            LeakPlace::Error => "error",
            LeakPlace::Stdout => "stdout",
            LeakPlace::Stderr => "stderr",
            LeakPlace::Log => "log",
            LeakPlace::Progress => "progress",
            LeakPlace::Record => "record",
            LeakPlace::Arguments => "arguments",
            LeakPlace::Request => "request",
            LeakPlace::Response => "response",
            LeakPlace::Socket => "socket",
            LeakPlace::Lookup => "lookup",
            LeakPlace::State => "state",
        }
    }
}

/// What was done about a leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakAction {
    /// A mark stands in its place.
    Redacted,
    /// It did not leave, nor what was around it.
    Refused,
}
