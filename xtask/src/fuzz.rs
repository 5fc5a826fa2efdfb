//! Builds the fuzz targets of `host/fuzz` with coverage of the host, and lets libFuzzer search.
//!
//! Needs a C++ compiler, and nothing of a nightly toolchain: there is no sanitizer, since what is searched for are
//! panics and properties that do not hold. What was interesting is kept in `target/fuzz/corpus` for the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::folders::Folders;
use crate::process::{self, BUILD_TIME_MAX};

/// What one input may take, in seconds, and what a target may hold, in MiB.
const INPUT_SECONDS_MAX: u32 = 20;
const MEMORY_MIB_MAX: u32 = 2_048;
/// What a target may take beyond its time.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Builds the targets, and runs each for a time. Gives the figures of each.
pub(crate) fn fuzz(folders: &Folders, time: Duration, seed: u64) -> Result<Value> {
    let (package, target) = (folders.root.join("host/fuzz"), folders.target.join("fuzz"));
    let mut build = process::cargo();
    build
        .args(["build", "--quiet", "--locked"])
        .env("RUSTC_WRAPPER", package.join("instrument.sh"))
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(&package);
    process::run(&mut build, BUILD_TIME_MAX).context("the fuzz targets (libFuzzer needs a C++ compiler)")?;
    let mut figures = Map::new();
    for name in targets(&package)? {
        eprintln!("    {name} for {} s", time.as_secs());
        figures.insert(name.clone(), search(&package, &target, &name, time, seed)?);
    }
    Ok(Value::Object(figures))
}

/// The names of the targets.
fn targets(package: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(package.join("fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn search(package: &Path, target: &Path, name: &str, time: Duration, seed: u64) -> Result<Value> {
    let corpus = target.join("corpus").join(name);
    let findings = target.join("findings");
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&findings)?;
    let found: PathBuf = findings.join(format!("{name}-"));
    let mut command = process::clean(target.join("debug").join(name));
    command
        .args([&corpus, &package.join("seeds").join(name)])
        .arg(format!("-max_total_time={}", time.as_secs()))
        // libFuzzer's is a number of 32 bits, and 0 stands for none.
        .arg(format!("-seed={}", seed % u64::from(u32::MAX) + 1))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-artifact_prefix={}", found.display()))
        .arg("-print_final_stats=1")
        .current_dir(package);
    let output = process::capture(&mut command, time + PATIENCE)?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let last: Vec<&str> = told.lines().rev().take(60).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("{name} found something; the input is in {}*\n{}", found.display(), last.join("\n"));
    }
    let executed = figure(&told, "stat::number_of_executed_units:").context("libFuzzer gave no figures")?;
    // Of the last line that tells it: how many edges of the host were reached.
    let covered = told.lines().rev().find_map(|line| figure(line, " cov:")).unwrap_or(0);
    eprintln!("    {name}: {executed} inputs, {covered} edges, nothing found");
    Ok(json!({ "inputs": executed, "edges": covered }))
}

/// The number after a word.
fn figure(text: &str, word: &str) -> Option<u64> {
    text.split(word).nth(1)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let told = "#9 NEW    cov: 31 ft: 40 corp: 2/9b\nstat::number_of_executed_units: 12345\n";
        assert_eq!(figure(told, "stat::number_of_executed_units:"), Some(12_345));
        assert_eq!(figure(told, " cov:"), Some(31));
        assert_eq!(figure(told, "nothing:"), None);
    }

    /// A target without properties, a seed or an entry in the manifest would search nothing, or not be built.
    #[test]
    fn each_target_is_whole() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/fuzz");
        let manifest = fs::read_to_string(package.join("Cargo.toml")).expect("a manifest");
        let names = targets(&package).expect("a folder");
        assert!(!names.is_empty());
        for name in names {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            assert!(package.join("properties").join(format!("{name}.rs")).is_file(), "{name}");
            assert!(fs::read_dir(package.join("seeds").join(&name)).expect("seeds").count() > 0, "{name}");
        }
    }
}
