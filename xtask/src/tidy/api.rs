//! The library's public items are those of `docs/api.txt`: none becomes public, changes or goes
//! away by accident.
//!
//! The list comes from rustdoc's JSON, which stable toolchains write only when asked as a nightly
//! one would be. Only rustdoc is asked so: a setting for the whole build would build everything anew.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::folders::Folders;
use crate::process;

const LIST: &str = "docs/api.txt";

/// The version of rustdoc's JSON that the `public-api` of our `Cargo.lock` reads.
const FORMAT: u64 = 57;

/// The modules that `lib.rs` hides: they serve the binary, and what embedders need of them is exported
/// from the root.
const HIDDEN: [&str; 13] = [
    "api", "authn", "backup", "cli", "config", "database", "doctor", "egress", "gateway", "platform",
    "registry", "sandbox", "text",
];

const ROOT: &str = "host/src/lib.rs";

const RUSTDOC: &str = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n";

/// Names each item that differs from the list.
pub(super) fn check(folders: &Folders) -> Result<Vec<String>> {
    let listed = fs::read_to_string(folders.root.join(LIST)).with_context(|| format!("reading {LIST}"))?;
    Ok(differences(&listed, &actual(folders)?))
}

/// Writes the list as the library is.
pub(super) fn update(folders: &Folders) -> Result<()> {
    fs::write(folders.root.join(LIST), actual(folders)?).with_context(|| format!("writing {LIST}"))?;
    println!("{LIST} is written: each line that it lost or changed breaks those who embed the host");
    Ok(())
}

fn actual(folders: &Folders) -> Result<String> {
    println!("tidy: reading the library's public items (the first time compiles what it depends on)");
    let wrapper = folders.target.join("rustdoc-json");
    fs::write(&wrapper, RUSTDOC).with_context(|| format!("writing {}", wrapper.display()))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    let mut command = process::cargo();
    command
        .args(["rustdoc", "--package", "portcullis", "--lib", "--quiet", "--"])
        .args(["-Zunstable-options", "--output-format", "json", "--cap-lints", "allow"])
        // What is exported from a hidden module is listed by its members only if the module is read too.
        .arg("--document-hidden-items")
        .env("RUSTDOC", &wrapper)
        .current_dir(&folders.root);
    process::run(&mut command, process::BUILD_TIME_MAX)?;
    items(&folders.target.join("doc/portcullis.json"), &folders.root)
}

fn items(json: &Path, root: &Path) -> Result<String> {
    let text = fs::read_to_string(json).with_context(|| format!("reading {}", json.display()))?;
    let found = serde_json::from_str::<serde_json::Value>(&text)?["format_version"].as_u64();
    if found != Some(FORMAT) {
        bail!(
            "this rustdoc writes JSON of format {found:?}, and {FORMAT} is read: use the Rust of CI, or a newer `public-api`"
        );
    }
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let exported = exported(&fs::read_to_string(root.join(ROOT)).with_context(|| format!("reading {ROOT}"))?);
    let lines: BTreeSet<String> =
        api.items().filter_map(|item| as_exported(&format!("{item}\n"), &exported)).collect();
    Ok(lines.into_iter().collect())
}

/// What the root exports from modules that it hides, such as `gateway::Host`.
fn exported(root: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for statement in root.split("\npub use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        let Some((module, names)) = statement.split_once("::") else { continue };
        let names = names.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        paths.extend(names.filter(|name| !name.is_empty()).map(|name| format!("{module}::{name}")));
    }
    paths
}

/// An item as those who embed the host name it: none if its own path, the first in its line, leads
/// through a hidden module that the root does not export it from.
fn as_exported(line: &str, exported: &[String]) -> Option<String> {
    let (before, own) = line.split_once("portcullis::")?;
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let module = own.split("::").next().unwrap_or_default();
    let known = exported.iter().find(|path| own.strip_prefix(path.as_str()).is_some_and(ends));
    match known {
        Some(path) => Some(format!("{before}portcullis::{}", &own[path.find("::")? + 2..])),
        None if HIDDEN.contains(&module) => None,
        None => Some(line.to_owned()),
    }
}

fn differences(listed: &str, actual: &str) -> Vec<String> {
    let (listed, actual): (BTreeSet<&str>, BTreeSet<&str>) =
        (listed.lines().collect(), actual.lines().collect());
    let gone = listed.difference(&actual).map(|item| {
        format!(
            "{LIST}: `{item}` is gone or changed, which breaks those who use it. If that is meant: raise the \
             version in Cargo.toml as semver asks, say so in CHANGELOG.md, and run `cargo xtask tidy --update-api`"
        )
    });
    let new = actual.difference(&listed).map(|item| {
        format!("{LIST}: `{item}` is public now. If that is meant, run `cargo xtask tidy --update-api`")
    });
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_and_what_is_new_is_named() {
        let broken = differences("pub fn a()\npub fn b(u8)\n", "pub fn a()\npub fn b(u16)\n");
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(
            broken[0].contains("`pub fn b(u8)` is gone") && broken[1].contains("`pub fn b(u16)` is public")
        );
        assert!(differences("a\nb\n", "b\na\n").is_empty());
    }

    #[test]
    fn what_the_root_exports_from_a_hidden_module_is_listed_under_the_root() {
        let exported =
            exported("\npub use authn::local_admin;\npub use gateway::{\n    Host, HostError,\n};\n");
        let seen = |line| as_exported(line, &exported);
        assert_eq!(
            seen("pub fn portcullis::gateway::Host::call(portcullis::ids::CallId)").as_deref(),
            Some("pub fn portcullis::Host::call(portcullis::ids::CallId)")
        );
        assert_eq!(seen("pub struct portcullis::gateway::HostInside"), None);
        let kept = "pub fn portcullis::policy::authorize(portcullis::gateway::Inside)";
        assert_eq!(seen(kept).as_deref(), Some(kept));
    }
}
