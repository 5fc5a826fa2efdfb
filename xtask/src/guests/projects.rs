//! Builds what is there in Python and JavaScript with the SDK of each language: example tools, and a guest that uses
//! every helper. Projects as `portcullis new --kind sdk` makes them, with the guests' own files in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use super::cache::{self, Sources, files};
use super::{JAVASCRIPT, PYTHON, SDK, javascript, name_of, python};
use crate::folders::Folders;
use crate::process;

/// The folders that have one for each language.
const PROJECTS: [&str; 4] =
    ["example-tools/api-client", "example-tools/counter", "example-tools/text-stats", "tests/guests/helpers"];

/// What builds the component of a JavaScript project.
const SCRIPT: &str = "host/src/authoring/templates/javascript/build.mjs";

#[derive(Clone, Copy, Debug)]
enum Language {
    Python,
    JavaScript,
}

impl Language {
    const ALL: [Language; 2] = [Language::Python, Language::JavaScript];

    /// The folder of the language, of examples and of the SDK.
    const fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::JavaScript => "javascript",
        }
    }

    /// Where the SDK is in a project, and in the SDK's own folder.
    const fn sdk(self) -> (&'static str, &'static str) {
        match self {
            Language::Python => ("portcullis_sdk", "portcullis_sdk"),
            Language::JavaScript => ("sdk", ""),
        }
    }
}

/// The names of their components, such as `counter-python`.
pub(super) fn names() -> impl Iterator<Item = String> {
    PROJECTS.into_iter().flat_map(|project| Language::ALL.map(|language| name(project, language)))
}

fn name(project: &str, language: Language) -> String {
    format!("{}-{}", name_of(project), language.name())
}

/// Builds what is not built.
pub(super) fn build(folders: &Folders) -> Result<()> {
    for project in PROJECTS {
        for language in Language::ALL {
            build_one(folders, project, language)?;
        }
    }
    Ok(())
}

fn build_one(folders: &Folders, project: &str, language: Language) -> Result<()> {
    let set = format!("{project}/{}", language.name());
    let name = [name(project, language)];
    let own = folders.root.join(&set);
    let sdk = folders.root.join(SDK);
    let made_from = [
        own.clone(),
        sdk.join(language.name()),
        sdk.join("wit"),
        folders.root.join("wit"),
        folders.root.join("xtask/src/guests"),
    ];
    let sources = Sources::read(&made_from.each_ref().map(PathBuf::as_path))?;
    if let Some(stamp) = cache::fitting(&folders.guests(), &set, &sources, &name) {
        println!("{set}: as it was built before ({stamp})");
        return Ok(());
    }
    println!("{set}: building");
    let start = Instant::now();
    let project = folders.guests().join("build/projects").join(&name[0]);
    lay_out(folders, &own, language, &project)?;
    let wanted = folders.guests().join(format!("{}.wasm", name[0]));
    let (mut command, built_with) = match language {
        Language::Python => {
            let componentize =
                python::componentize(&folders.target.join("python"), &folders.root.join(PYTHON))?;
            (componentize.build("tool", &[project.join("wit")], &project, &wanted), componentize.describe())
        }
        Language::JavaScript => {
            let componentize =
                javascript::componentize(&folders.target.join("javascript"), &folders.root.join(JAVASCRIPT))?;
            let sends = fs::read_to_string(own.join("wit/world.wit"))?.contains("portcullis:sdk/http");
            let disabled = if sends { "fetch-event" } else { "fetch-event,http" };
            let script = folders.root.join(SCRIPT);
            (componentize.build_project(&script, &project, disabled, &wanted), componentize.describe())
        }
    };
    process::run(&mut command, process::INSTALL_TIME_MAX)?;
    cache::stamp(&folders.guests(), &set, &sources, &built_with)?;
    println!("{set}: built with {built_with} in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The example's files, the SDK, and the WIT of both, where a project has them.
fn lay_out(folders: &Folders, own: &Path, language: Language, project: &Path) -> Result<()> {
    if project.exists() {
        fs::remove_dir_all(project).with_context(|| format!("removing {}", project.display()))?;
    }
    copy(own, project)?;
    let (there, here) = language.sdk();
    copy(&folders.root.join(SDK).join(language.name()).join(here), &project.join(there))?;
    let deps = project.join("wit/deps");
    copy(&folders.root.join(SDK).join("wit"), &deps.join("portcullis-sdk"))?;
    copy(&folders.root.join("wit/deps"), &deps)?;
    for file in files(&folders.root.join("wit"))? {
        if file.parent() == Some(&folders.root.join("wit")) {
            copy_file(&file, &deps.join("portcullis-tool").join(file.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    files(from)?.iter().try_for_each(|file| copy_file(file, &to.join(file.strip_prefix(from)?)))
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}
