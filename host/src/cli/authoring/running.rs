//! `portcullis run`: one call in a throw-away host, and the smallest grant that it needed.

use std::path::Path;

use serde::Serialize;

use super::allowed;
use super::needed::{Needed, needed};
use super::scratch::Scratch;
use crate::api::Problem;
use crate::arguments::parse_arguments;
use crate::cli::arguments::RunArguments;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{input, show};
use crate::gateway::{AddedPackage, CallAnswer, CallError, HostError};
use crate::ids::{CallId, ToolName};

/// The answer, and what it took.
#[derive(Serialize)]
struct Ran {
    #[serde(flatten)]
    answer: CallAnswer,
    /// A grants file.
    grant: String,
    denied: Vec<String>,
}

/// Runs a tool once.
pub(in crate::cli) async fn run(arguments: RunArguments, output: &Output) -> Result<(), Failure> {
    let RunArguments { file, tool, args, allowed } = arguments;
    let bytes = input::component(file).await?;
    let text = input::arguments(args).await?;
    let value = parse_arguments(&text).map_err(|error| Failure::input(format!("arguments: {error}")))?;
    let scratch = Scratch::open().await?;
    let done = async {
        let added = scratch.install(bytes, None).await?;
        let tool = chosen(tool, &added)?;
        let grants = allowed::grants(&added.package, &allowed)?;
        let granted =
            scratch.grant(&grants, Path::new(".")).await.map_err(|error| refused(error, &grants))?;
        let called = scratch.call(&added.package, &tool, value).await;
        let call = call_of(&called);
        let records = call.map(|call| scratch.records(call)).transpose()?.unwrap_or_default();
        let Needed { grant, denied, .. } = needed(&added.package, granted.first(), &records);
        match called {
            Ok(answer) => {
                if !output.json {
                    show::printed(&answer.report, output);
                }
                let ran = Ran { answer, grant, denied };
                output.answer(&ran, |ran| show::answer(&ran.answer.answer))?;
                tell(&ran.grant, &ran.denied, output);
                if !output.json {
                    output.aside(&show::usage(&ran.answer.report.usage));
                }
                Ok(())
            }
            Err(error) => {
                tell(&grant, &denied, output);
                Err(Problem::from(error).into())
            }
        }
    };
    let done = done.await;
    scratch.close().await?;
    done
}

/// The tool that is named, or the only one.
pub(super) fn chosen(tool: Option<ToolName>, added: &AddedPackage) -> Result<ToolName, Failure> {
    let tools = &added.description.tools;
    match (tool, tools.as_slice()) {
        (Some(tool), _) => Ok(tool),
        (None, [tool]) => Ok(tool.name.clone()),
        (None, _) => {
            let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
            Err(Failure::input(format!("it has several tools, name one: {}", names.join(", "))))
        }
    }
}

/// The call, if one began.
pub(super) fn call_of(called: &Result<CallAnswer, CallError>) -> Option<CallId> {
    match called {
        Ok(answer) => Some(answer.report.call),
        Err(CallError::Failed { report, .. }) => Some(report.call),
        Err(CallError::Denied { call, .. }) => Some(*call),
        Err(_) => None,
    }
}

/// A grant of flags that can't be: the errors point into the text that the flags made.
fn refused(error: HostError, grants: &str) -> Failure {
    Failure::from(error).about("--allow-…".to_owned(), grants.to_owned())
}

fn tell(grant: &str, denied: &[String], output: &Output) {
    if output.json {
        return;
    }
    for line in denied {
        output.aside(&format!("denied: {line}"));
    }
    output.aside("the smallest grant that this run needed:");
    for line in grant.lines() {
        output.aside(&format!("  {line}"));
    }
}
