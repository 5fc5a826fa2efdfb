//! What can be written about calls.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use clap::{Args, Subcommand};

use crate::gateway::CallState;
use crate::ids::{CallId, IdempotencyKey, PackageName, PrincipalId, ToolName, TraceParent};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  portcullis call notes search --as writer --args '{\"text\": \"milk\"}'
  portcullis call notes add --as writer --args @note.json
  generate | portcullis call notes add --as writer --args - --json | jq .structured
  portcullis call report make --as writer --detach

The answer's text goes to stdout. What the tool printed, and one line with the call's id and cost,
go to stderr.")]
pub(in crate::cli) struct CallArguments {
    /// The package
    pub(in crate::cli) package: PackageName,
    /// Which of its tools
    pub(in crate::cli) tool: ToolName,
    /// The arguments, a JSON object: as text, @FILE, or - for stdin
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(in crate::cli) args: String,
    /// The agent in whose name it is called
    #[arg(long = "as", value_name = "AGENT")]
    pub(in crate::cli) principal: PrincipalId,
    /// Where the call belongs in your trace (W3C Trace Context): recorded, and told to nobody
    #[arg(long, value_name = "VALUE")]
    pub(in crate::cli) traceparent: Option<TraceParent>,
    /// Do not wait: print the call's id, with which `calls` and `cancel` find it. `portcullis serve` must run
    #[arg(long)]
    pub(in crate::cli) detach: bool,
    /// A text of yours that stands for this call: asked again with it, the same answer is given, and nothing runs twice
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) idempotency_key: Option<IdempotencyKey>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CallsCommand {
    /// List calls that were detached or have a key, the newest first
    #[command(after_help = "Example:\n  portcullis calls list --state running")]
    List {
        /// Only those in this state
        #[arg(long, value_parser = PossibleValuesParser::new(CallState::ALL.map(CallState::name)).map(state))]
        state: Option<CallState>,
        /// Only those older than this one
        #[arg(long, value_name = "CALL")]
        after: Option<CallId>,
        /// At most so many, 1 to 500. Default: 100
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show a call: how it is, and what came of it
    Show {
        /// The call
        call: CallId,
    },
    /// Wait for a call, and show its answer as `call` does
    ///
    /// The call goes on if this is interrupted.
    Wait {
        /// The call
        call: CallId,
    },
    /// Write the receipt of a call, which proves it to whoever has the log's public key
    ///
    /// Of any call that has ended, whether or not it was detached. `audit verify-receipt` verifies it.
    #[command(after_help = "Example:\n  portcullis calls receipt 019a… --out receipt.json")]
    Receipt {
        /// The call
        call: CallId,
        /// Where to. Default: stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

fn state(name: String) -> CallState {
    let found = CallState::ALL.into_iter().find(|state| state.name() == name);
    found.expect("only names of states get here")
}
