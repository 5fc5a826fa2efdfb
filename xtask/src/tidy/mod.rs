//! The rules of the repository that no compiler checks. Each says why it is there when it fails.
//!
//! Reads what git tracks, or would track. Changes nothing, but for its `--update-…`.

mod api;
mod layers;
mod reference;
mod source;
mod text;
mod threats;
mod ways;
mod wit;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::folders::Folders;
use crate::{guests, process};

/// A file of the repository.
#[derive(Debug)]
struct File {
    /// Its path from the root of the repository, with `/`.
    path: String,
    /// What it holds.
    text: String,
}

/// Checks all rules, and names everything that breaks one.
pub(crate) fn tidy(folders: &Folders) -> Result<()> {
    let files = files(&folders.root)?;
    let mut broken = Vec::new();
    broken.extend(layers::check(&files));
    broken.extend(untested_guests(&files, &guest_names(folders, &files)?));
    broken.extend(text::check(&files));
    broken.extend(threats::check(&files));
    broken.extend(ways::check(&files));
    broken.extend(wit::check(&folders.root)?);
    broken.extend(reference::check(&folders.root)?);
    broken.extend(api::check(folders)?);
    if broken.is_empty() {
        println!("tidy: {} files keep the rules", files.len());
        return Ok(());
    }
    bail!("{} places break a rule of the repository:\n  {}", broken.len(), broken.join("\n  "))
}

/// Accepts the pinned WIT as it is.
pub(crate) fn update_wit(folders: &Folders) -> Result<()> {
    wit::update(&folders.root)
}

/// Writes the capability reference as the WIT says.
pub(crate) fn update_reference(folders: &Folders) -> Result<()> {
    reference::update(&folders.root)
}

/// Accepts the library's public items as they are.
pub(crate) fn update_api(folders: &Folders) -> Result<()> {
    api::update(folders)
}

/// What git tracks or would track, as far as it is text.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listed =
        process::read(&mut command, process::LOOK_TIME_MAX).context("tidy asks git for the files")?;
    let mut files = Vec::new();
    for path in listed.split_terminator('\0') {
        let full = root.join(path);
        // A file that was deleted is still listed until the deletion is committed.
        if !full.is_file() {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("reading {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

/// All guests: the built ones, and those that are text.
fn guest_names(folders: &Folders, files: &[File]) -> Result<Vec<String>> {
    let mut names = guests::names(folders)?;
    let texts = files.iter().filter_map(|file| file.path.strip_prefix("tests/guests/")?.strip_suffix(".wat"));
    names.extend(texts.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()));
    Ok(names)
}

fn untested_guests(files: &[File], names: &[String]) -> Vec<String> {
    let in_tests = |file: &&File| {
        file.path.starts_with("tests/")
            && !file.path.starts_with("tests/guests/")
            && file.path.ends_with(".rs")
    };
    let named = |name: &String| {
        let forms = [format!("\"{name}\""), format!("{name}.wasm"), format!("{name}.wat")];
        files.iter().filter(in_tests).any(|file| forms.iter().any(|form| file.text.contains(form)))
    };
    let untested = names.iter().filter(|name| !named(name));
    untested
        .map(|name| {
            format!(
                "guest `{name}`: no source under tests/ names it. A guest that no test runs proves nothing."
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_guest_must_be_named_by_a_test() {
        let files = [
            file("tests/src/files.rs", "guest(\"files\"); load(\"bad.wat\")"),
            file("tests/guests/echo/src/lib.rs", "\"echo\""),
            file("host/src/main.rs", "\"echo\""),
        ];
        let names = ["files", "echo", "bad", "file"].map(str::to_owned);
        let broken = untested_guests(&files, &names);
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].contains("`echo`") && broken[1].contains("`file`"), "{broken:?}");
    }
}
