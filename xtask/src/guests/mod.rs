//! Builds the guests: the example tools, and what the tests drive.
//!
//! A guest is built once: a hash of its sources, kept beside it, says whether it still fits. Never
//! part of a cargo build, because it needs a toolchain that a user of the host does not.

mod c;
mod cache;
mod docs;
mod javascript;
mod projects;
mod python;
pub(crate) mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::folders::Folders;
use crate::process;
pub(crate) use cache::{files, hex};

use cache::Sources;
use toolchain::Way;

/// The workspaces of Rust guests.
const WORKSPACES: [&str; 2] = ["example-tools", "tests/guests"];
/// The guests in other languages: each is a folder, and a set of its own.
const PYTHON: &str = "tests/guests/python";
const JAVASCRIPT: &str = "tests/guests/javascript";
const C: &str = "tests/guests/c";
/// Guests of the WIT of another one, in other languages.
const ECHO: &str = "tests/guests/echo";
const ECHO_PYTHON: &str = "tests/guests/echo-python";
const ECHO_JAVASCRIPT: &str = "tests/guests/echo-javascript";

/// The program that makes guests at random: it runs on this machine.
const GENERATOR: &str = "tests/generator";
/// What guests in Rust may be written with.
const SDK: &str = "guest-sdk";

/// Builds what is not built, into `target/guests/NAME.wasm`.
pub(crate) fn guests(folders: &Folders) -> Result<()> {
    let mut way = toolchain::detect();
    for workspace in WORKSPACES {
        build_workspace(folders, workspace, &mut way)?;
    }
    build_set(folders, PYTHON, build_python)?;
    build_set(folders, JAVASCRIPT, build_javascript)?;
    build_set(folders, C, build_c)?;
    projects::build(folders)?;
    build_set(folders, ECHO_PYTHON, build_echo_python)?;
    build_set(folders, ECHO_JAVASCRIPT, build_echo_javascript)?;
    build_generator(folders)
}

/// Into `target/guests/host`, where guests' own logic is tested as well.
fn build_generator(folders: &Folders) -> Result<()> {
    let mut command = process::clean("cargo");
    command
        .args(["build", "--locked", "--quiet"])
        .env("CARGO_TARGET_DIR", folders.guests().join("host"))
        .current_dir(folders.root.join(GENERATOR));
    process::run(&mut command, process::BUILD_TIME_MAX)
}

/// The names of all guests, by the folder that holds their sources.
pub(crate) fn names(folders: &Folders) -> Result<Vec<String>> {
    let mut names = [PYTHON, JAVASCRIPT, C, ECHO_PYTHON, ECHO_JAVASCRIPT].map(name_of).to_vec();
    for workspace in WORKSPACES {
        names.extend(crates(&folders.root.join(workspace))?);
    }
    names.extend(projects::names());
    names.sort();
    Ok(names)
}

/// The crates of a workspace are its folders with a manifest.
fn crates(workspace: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace).with_context(|| format!("reading {}", workspace.display()))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What a set is made from: its own sources, the interfaces, this builder, and the SDK if it is Rust.
fn read_sources(folders: &Folders, source: &Path) -> Result<Sources> {
    let mut made_from = vec![source.to_owned()];
    made_from.extend(["wit", "xtask/src/guests"].map(|folder| folders.root.join(folder)));
    if WORKSPACES.iter().any(|workspace| source == folders.root.join(workspace)) {
        made_from.push(folders.root.join(SDK));
    }
    let wit = wit_of(folders, source);
    if !wit.starts_with(source) {
        made_from.push(wit);
    }
    let made_from: Vec<&Path> = made_from.iter().map(PathBuf::as_path).collect();
    Sources::read(&made_from)
}

/// The WIT that a guest has: its own, or that of the guest whose it shares.
fn wit_of(folders: &Folders, source: &Path) -> PathBuf {
    if [ECHO_PYTHON, ECHO_JAVASCRIPT].iter().any(|set| source == folders.root.join(set)) {
        return folders.root.join(ECHO).join("wit");
    }
    source.join("wit")
}

fn name_of(folder: &str) -> String {
    folder.rsplit('/').next().unwrap_or(folder).to_owned()
}

fn build_workspace(folders: &Folders, workspace: &str, way: &mut Option<Way>) -> Result<()> {
    let source = folders.root.join(workspace);
    let names = crates(&source)?;
    let sources = read_sources(folders, &source)?;
    if let Some(stamp) = cache::fitting(&folders.guests(), workspace, &sources, &names)
        && way.as_ref().is_none_or(|way| way.describe() == stamp)
    {
        println!("{workspace}: {} guests as they were built before ({stamp})", names.len());
        return Ok(());
    }
    if way.is_none() {
        *way = Some(toolchain::install()?);
    }
    let way = way.as_ref().context("a toolchain was found or installed")?;
    println!("{workspace}: building {} guests with {}", names.len(), way.describe());
    let start = Instant::now();
    let build = folders.guests().join("build");
    process::run(&mut way.build(&source, &build)?, process::BUILD_TIME_MAX)?;
    for name in &names {
        let built = way.artifact(&build, name);
        let wanted = folders.guests().join(format!("{name}.wasm"));
        let mut component = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
        // A guest without WIT of its own lists its tools itself, descriptions included.
        if let Ok(wit) = fs::read_to_string(source.join(name).join("wit/world.wit")) {
            component = docs::append(component, &docs::read(&wit));
        }
        fs::write(&wanted, component).with_context(|| format!("writing {}", wanted.display()))?;
    }
    cache::stamp(&folders.guests(), workspace, &sources, &way.describe())?;
    println!("{workspace}: built in {:.1} s: {}", start.elapsed().as_secs_f64(), names.join(", "));
    Ok(())
}

/// Builds the guest of one folder into the file that it is given, unless it still fits. `build` says
/// what it was built with.
fn build_set(
    folders: &Folders,
    set: &str,
    build: fn(&Folders, &Path, &Path) -> Result<String>,
) -> Result<()> {
    let source = folders.root.join(set);
    let names = [name_of(set)];
    let sources = read_sources(folders, &source)?;
    if let Some(stamp) = cache::fitting(&folders.guests(), set, &sources, &names) {
        println!("{set}: as it was built before ({stamp})");
        return Ok(());
    }
    println!("{set}: building");
    let start = Instant::now();
    let wanted = folders.guests().join(format!("{}.wasm", names[0]));
    let built_with = build(folders, &source, &wanted)?;
    if let Ok(wit) = fs::read_to_string(wit_of(folders, &source).join("world.wit")) {
        let component = fs::read(&wanted).with_context(|| format!("reading {}", wanted.display()))?;
        fs::write(&wanted, docs::append(component, &docs::read(&wit)))?;
    }
    cache::stamp(&folders.guests(), set, &sources, &built_with)?;
    println!("{set}: built with {built_with} in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn build_python(folders: &Folders, source: &Path, wanted: &Path) -> Result<String> {
    let componentize = python::componentize(&folders.target.join("python"), source)?;
    let wit = [folders.root.join("wit"), source.join("wit")];
    let mut command = componentize.build("test:python/python-tool", &wit, source, wanted);
    process::run(&mut command, process::INSTALL_TIME_MAX)?;
    Ok(componentize.describe())
}

/// With what the other guest in Python is built with.
fn build_echo_python(folders: &Folders, source: &Path, wanted: &Path) -> Result<String> {
    let componentize = python::componentize(&folders.target.join("python"), &folders.root.join(PYTHON))?;
    let mut command = componentize.build("test:echo/echo", &[wit_of(folders, source)], source, wanted);
    process::run(&mut command, process::INSTALL_TIME_MAX)?;
    Ok(componentize.describe())
}

fn build_javascript(folders: &Folders, source: &Path, wanted: &Path) -> Result<String> {
    let componentize = javascript::componentize(&folders.target.join("javascript"), source)?;
    let wit = componentize.stage_wit(&folders.root.join("wit"), source)?;
    let mut command = componentize.build("javascript-tool", &wit, source, source, wanted);
    process::run(&mut command, process::INSTALL_TIME_MAX)?;
    Ok(componentize.describe())
}

/// With what the other guest in JavaScript is built with.
fn build_echo_javascript(folders: &Folders, source: &Path, wanted: &Path) -> Result<String> {
    let builder = folders.root.join(JAVASCRIPT);
    let componentize = javascript::componentize(&folders.target.join("javascript"), &builder)?;
    let mut command = componentize.build("echo", &wit_of(folders, source), &builder, source, wanted);
    process::run(&mut command, process::INSTALL_TIME_MAX)?;
    Ok(componentize.describe())
}

fn build_c(folders: &Folders, source: &Path, wanted: &Path) -> Result<String> {
    let compiler = c::compiler()?;
    for mut command in compiler.build(source, &folders.guests().join("build"), wanted)? {
        process::run(&mut command, process::INSTALL_TIME_MAX)?;
    }
    Ok(compiler.describe())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_a_source_of_all_rust_guests() {
        let root = std::env::temp_dir().join(format!("xtask-guests-{}", std::process::id()));
        let folders = Folders { target: root.join("target"), root };
        for folder in ["wit", "xtask/src/guests", SDK, PYTHON].iter().chain(&WORKSPACES) {
            fs::create_dir_all(folders.root.join(folder)).expect("made");
        }
        let read = |folder: &str| read_sources(&folders, &folders.root.join(folder)).expect("read");
        let before = [WORKSPACES[0], WORKSPACES[1], PYTHON].map(read);
        fs::write(folders.root.join(SDK).join("lib.rs"), "").expect("written");
        let after = [WORKSPACES[0], WORKSPACES[1], PYTHON].map(read);
        assert!(before[0] != after[0] && before[1] != after[1]);
        assert_eq!(before[2], after[2]);
        fs::remove_dir_all(&folders.root).expect("removed");
    }
}
