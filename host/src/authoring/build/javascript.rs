//! JavaScript, by componentize-js, which puts the engine into the component.

use std::path::PathBuf;

use serde_json::Value;

use super::{BuildError, Job};
use crate::authoring::files::read_text;
use crate::authoring::sdk;
use crate::policy::Asked;
use crate::text::clean_line;

/// The most bytes of an interface's name that are told.
const INTERFACE_BYTES_MAX: usize = 200;

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
    let ran = programs.run(&mut command, SCRIPT.as_bytes());
    ran.map_err(|error| not_imported(error, &job.settings.wit))?;
    Ok((output, format!("componentize-js {version}")))
}

/// What the engine says of a module that is neither a file nor an import of the world. Python's helpers say it
/// themselves, where they are imported; an import of JavaScript can't be tried.
fn not_imported(error: BuildError, wit: &str) -> BuildError {
    let BuildError::Failed { said, .. } = &error else { return error };
    let module = said.split_once("Error loading module \"").and_then(|(_, rest)| rest.split_once('"'));
    let Some((module, _)) = module.filter(|(module, _)| is_interface(module)) else { return error };
    let interface = clean_line(module, INTERFACE_BYTES_MAX);
    let (helper, line) = match sdk::helper_of(&interface) {
        Some((helper, line)) => (Some(helper), line),
        None => (None, format!("import {interface};")),
    };
    BuildError::NotImported { interface, helper, wit: wit.to_owned(), line }
}

/// `namespace:package/interface@version`, and no file.
fn is_interface(module: &str) -> bool {
    let package = module.split_once('/').map(|(package, _)| package);
    package.is_some_and(|package| package.contains(':') && !package.contains("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(said: &str) -> String {
        let (command, status) = ("node".to_owned(), "exit status: 1".to_owned());
        not_imported(BuildError::Failed { command, status, said: said.to_owned() }, "wit").to_string()
    }

    #[test]
    fn an_import_that_the_world_lacks_is_told_with_its_line() {
        let said = |module: &str| {
            format!(
                "Exception while evaluating\nReferenceError: Error loading module \"{module}\" (resolved path \"x\"): No such file"
            )
        };
        let told_of = |module: &str| told(&said(module));
        for (module, helper) in [
            ("wasi:keyvalue/atomics@0.2.0-draft", "kv"),
            ("wasi:http/outgoing-handler@0.2.12", "http"),
            ("portcullis:tool/secrets@0.1.0", "secrets"),
        ] {
            let told = told_of(module);
            assert!(told.contains(&format!("include portcullis:sdk/{helper}@0.1.0;")), "{told}");
            assert!(told.contains(module) && told.contains(&format!("sdk/{helper}.js")), "{told}");
        }
        let other = told_of("wasi:clocks/wall-clock@0.2.12");
        assert!(
            other.contains("import wasi:clocks/wall-clock@0.2.12;") && !other.contains("sdk/"),
            "{other}"
        );
        // What is no interface is told as the toolchain tells it.
        for other in [&said("./gone.js"), &said("lodash"), "SyntaxError: x", "Error loading module \"a:b"] {
            assert!(told(other).contains(other), "{other}");
        }
    }
}
