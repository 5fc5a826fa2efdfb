//! JavaScript, by componentize-js, which puts the engine into the component.

use std::path::PathBuf;

use serde_json::Value;

use super::{BuildError, Job};
use crate::authoring::files::read_text;
use crate::policy::Asked;

/// The module that implements the world, unless `sources` names another.
const SOURCE: &str = "tool.js";
const SCRIPT: &str = include_str!("../templates/javascript/build.mjs");
const LIBRARY: &str = "@bytecodealliance/componentize-js";

const MISSING: &str = "\
componentize-js is not in node_modules of the project. It comes from npm, for node 18 or later:
  npm install
  (on Debian: apt-get install -y nodejs npm)";

pub(super) fn build(job: &Job<'_>) -> Result<(PathBuf, String), BuildError> {
    let programs = &job.programs;
    let missing = || BuildError::NoToolchain(MISSING.to_owned());
    let node = programs.find("node").ok_or_else(missing)?;
    let modules = job.folder.join("node_modules");
    let package = read_text(&modules.join(LIBRARY).join("package.json"), 1 << 20).map_err(|_| missing())?;
    let package: Value = serde_json::from_str(&package).map_err(|_| missing())?;
    let version = package["version"].as_str().unwrap_or_default();
    let output = job.scratch.join("javascript.wasm");
    let source = job.settings.sources.first().map_or(SOURCE, String::as_str);
    // A tool answers no requests from outside. One that asks for none sends none either.
    let asks_http = job.manifest.asks.iter().any(|ask| matches!(ask.what, Asked::Http(_)));
    let disabled = if asks_http { "fetch-event" } else { "fetch-event,http" };
    let mut command = programs.command(node);
    command
        .args(["--input-type=module", "-"])
        .arg(&modules)
        .arg(job.folder.join(source))
        .arg(job.folder.join(&job.settings.wit))
        .arg(job.settings.world.as_deref().unwrap_or("tool"))
        .arg(disabled)
        .arg(&output)
        .current_dir(job.folder);
    programs.run(&mut command, SCRIPT.as_bytes())?;
    Ok((output, format!("componentize-js {version}")))
}
