//! Runs all tests, the tests of the promises last.
//!
//! Cargo builds everything in one go, and the test programs are then run one by one: another
//! selection of packages for each run would build shared dependencies again.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::clients::clients;
use crate::folders::Folders;
use crate::guests::guests;
use crate::process::{self, BUILD_TIME_MAX, timed};
use crate::programs::programs;

/// The package whose tests run last, so that the last line of all output is its summary.
pub(crate) const LAST: &str = "portcullis-tests";

/// A built test program.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TestProgram {
    pub(crate) package: String,
    /// Of a library's or program's own tests this is false, so that they come before the others.
    test_target: bool,
    target: String,
    folder: PathBuf,
    program: PathBuf,
}

/// Builds the guests and installs clients, then builds and runs all tests.
pub(crate) fn test(folders: &Folders) -> Result<()> {
    timed("guests", || guests(folders))?;
    timed("clients", || clients(folders))?;
    timed("programs of the system", programs)?;
    timed("tests of the guests' own logic", || test_guests(folders))?;
    let programs = timed("building the host and the tests", || build(folders))?;
    let (last, first): (Vec<&TestProgram>, Vec<&TestProgram>) =
        programs.iter().partition(|program| program.package == LAST);
    if last.is_empty() {
        bail!("{LAST} has no tests");
    }
    for program in first {
        timed(&format!("{} ({})", program.package, program.target), || run(program))?;
    }
    timed("documentation tests", || {
        process::run(
            process::cargo().args(["test", "--workspace", "--doc", "--quiet"]).current_dir(&folders.root),
            BUILD_TIME_MAX,
        )
    })?;
    for program in last {
        println!("==> {} ({})", program.package, program.target);
        run(program)?;
    }
    Ok(())
}

fn test_guests(folders: &Folders) -> Result<()> {
    for workspace in ["example-tools", "tests/guests", "tests/generator"] {
        let mut command = process::clean("cargo");
        command
            .args(["test", "--workspace", "--locked", "--quiet"])
            .env("CARGO_TARGET_DIR", folders.guests().join("host"))
            .current_dir(folders.root.join(workspace));
        process::run(&mut command, BUILD_TIME_MAX)?;
    }
    Ok(())
}

/// Builds the host and all tests, and says where these are. In one go: what tests depend on has a few features more,
/// and the host built by itself would be the same crates once again.
pub(crate) fn build(folders: &Folders) -> Result<Vec<TestProgram>> {
    let mut command = process::cargo();
    command
        .args(["build", "--workspace", "--tests", "--bin", "portcullis"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(&folders.root);
    let messages = process::read(&mut command, BUILD_TIME_MAX).context("building the tests")?;
    let mut programs = Vec::new();
    for line in messages.lines() {
        programs.extend(test_program(line).with_context(|| format!("cargo said {line}"))?);
    }
    // Cargo names them as they are done, which is never the same order.
    programs.sort();
    Ok(programs)
}

/// Reads one of cargo's messages: a built test program, or something else.
fn test_program(line: &str) -> Result<Option<TestProgram>> {
    let message: Value = serde_json::from_str(line)?;
    let Some(program) = message["executable"].as_str() else { return Ok(None) };
    if message["profile"]["test"] != true {
        return Ok(None);
    }
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text is missing");
    let manifest = PathBuf::from(text(&message["manifest_path"])?);
    let folder = manifest.parent().context("a manifest lies in a folder")?.to_owned();
    // `path+file:///folder#name@version`, or without the name where it is the folder's.
    let id = text(&message["package_id"])?;
    let after = id.rsplit('#').next().unwrap_or_default();
    let package = match after.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let test_target = message["target"]["kind"][0] == "test";
    Ok(Some(TestProgram {
        test_target,
        package,
        target: text(&message["target"]["name"])?,
        folder,
        program: program.into(),
    }))
}

impl TestProgram {
    /// Runs it as cargo would.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("CARGO_MANIFEST_DIR", &self.folder).current_dir(&self.folder);
        command
    }
}

fn run(program: &TestProgram) -> Result<()> {
    process::run(&mut program.command(), BUILD_TIME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_taken_from_what_cargo_says() {
        let artifact = r#"{"reason":"compiler-artifact","package_id":"path+file:///r/tests#portcullis-tests@0.1.0",
            "manifest_path":"/r/tests/Cargo.toml","target":{"name":"promises","kind":["test"]},"profile":{"test":true},
            "executable":"/r/target/debug/deps/promises-1"}"#;
        let program = test_program(artifact).expect("valid").expect("a test program");
        assert_eq!((program.package.as_str(), program.target.as_str()), (LAST, "promises"));
        assert_eq!(program.folder, PathBuf::from("/r/tests"));
        let library = artifact.replace("[\"test\"]", "[\"lib\"]").replace("promises", "zzz");
        assert!(
            test_program(&library).expect("valid").expect("a test program") < program,
            "the summary is last"
        );

        let short = artifact.replace("#portcullis-tests@", "#");
        assert_eq!(test_program(&short).expect("valid").expect("a test program").package, "tests");
        let binary = artifact.replace("\"test\":true", "\"test\":false");
        assert_eq!(test_program(&binary).expect("valid"), None);
        assert_eq!(test_program(r#"{"reason":"build-finished","success":true}"#).expect("valid"), None);
        assert!(test_program("{").is_err());
    }
}
