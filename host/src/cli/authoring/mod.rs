//! What authors do: `new`, `build`, `dev`, `run`, `test`. A guest runs in a throw-away host only, with a grant that says what it may.

mod allowed;
mod building;
mod dev;
mod inspecting;
mod needed;
mod running;
mod scratch;
mod testing;

pub(super) use building::{Outcome, build};
pub(super) use dev::dev;
pub(super) use inspecting::{Inspected, inspect};
pub(super) use running::run;
pub(super) use testing::test;

use std::path::Path;

use serde::Serialize;

use super::arguments::NewArguments;
use super::failure::Failure;
use super::output::Output;
use crate::api::{ErrorKind, Problem};
use crate::authoring::build::BuildError;
use crate::authoring::project::{NewProject, ProjectError, SdkSource};
use crate::gateway::Blame;
use crate::text::clean_line;

#[derive(Serialize)]
struct Made {
    project: String,
}

/// `portcullis new`.
pub(super) fn new(arguments: NewArguments, output: &Output) -> Result<(), Failure> {
    let NewArguments { name, lang, kind, sdk } = arguments;
    let sdk = sdk.map_or(SdkSource::Embedded, SdkSource::At);
    let project = NewProject { name, language: lang, kind: kind.into(), sdk };
    let folder = project.write(Path::new(".")).map_err(|error| match error {
        ProjectError::File(..) => Failure::host(error.to_string()),
        ProjectError::Name(..)
        | ProjectError::NoSdk(_)
        | ProjectError::SdkElsewhere(_)
        | ProjectError::Exists(_)
        | ProjectError::NotTheSdk(_) => Failure::input(error.to_string()),
    })?;
    let made = Made { project: folder.to_string_lossy().into_owned() };
    let name = &project.name;
    output.answer(&made, |_| {
        format!("made {name}/, a tool in {lang}\n\nnext:  cd {name} && portcullis build && portcullis test")
    })
}

/// What went wrong with a build, for who asked for it.
fn build_failure(error: BuildError) -> Failure {
    let detail = error.to_string();
    match error {
        BuildError::Manifest { path, text, diagnostics } => {
            let problem =
                Problem { diagnostics, ..Problem::new(ErrorKind::InvalidSettings, detail, Blame::Tool) };
            Failure::from(problem).about(clean_line(&path.to_string_lossy(), 1_000), text)
        }
        BuildError::TooLarge(reached) => Problem::component_too_large(reached).into(),
        BuildError::NoProject { .. }
        | BuildError::NoToolchain(_)
        | BuildError::Failed { .. }
        | BuildError::NotImported { .. }
        | BuildError::Wit { .. }
        | BuildError::NotAComponent(_)
        | BuildError::Section(_) => Failure::input(detail),
        BuildError::File { .. } | BuildError::Stopped => Failure::host(detail),
    }
}
