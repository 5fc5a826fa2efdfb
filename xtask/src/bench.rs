//! Runs the benchmarks, and gives their numbers as JSON.
//!
//! Built with the profile that everything is built with: the engine is optimised in it, and
//! compiling it once more takes a quarter of an hour.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::folders::Folders;
use crate::guests::guests;
use crate::peers;
use crate::process::{self, BUILD_TIME_MAX};

/// What to run, and how to show it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Only benchmarks whose name contains this.
    name: Option<String>,
    /// One JSON document on stdout; progress goes to stderr.
    json: bool,
}

impl Options {
    /// Reads the words after `bench`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Options::default();
        for word in words {
            match *word {
                "--json" => options.json = true,
                option if option.starts_with('-') => bail!("`bench` does not take `{option}`"),
                name if options.name.is_none() => options.name = Some(name.to_owned()),
                name => bail!("`bench` takes one name; `{name}` is the second"),
            }
        }
        Ok(options)
    }
}

/// Builds the guests, runs the benchmarks, and gives their numbers.
pub(crate) fn bench(folders: &Folders, options: &Options) -> Result<()> {
    if options.name.as_deref() == Some(peers::NAME) {
        return peers::bench(folders, options.json);
    }
    if !options.json {
        guests(folders)?;
        return process::run(&mut command(folders, options), BUILD_TIME_MAX);
    }
    // Stdout is for the document alone, so that a program may read it.
    let mut own = Command::new(std::env::current_exe()?);
    eprint!("{}", process::read(own.arg("guests"), BUILD_TIME_MAX)?);
    let results = folders.target.join("criterion");
    if results.is_dir() {
        // Numbers of earlier runs are not numbers of this one.
        fs::remove_dir_all(&results).with_context(|| format!("removing {}", results.display()))?;
    }
    eprint!("{}", process::read(&mut command(folders, options), BUILD_TIME_MAX)?);
    println!("{:#}", numbers(&results)?);
    Ok(())
}

fn command(folders: &Folders, options: &Options) -> Command {
    let mut command = process::cargo();
    command.args(["bench", "--package", "portcullis", "--profile", "dev", "--benches", "--"]);
    command.args(&options.name).current_dir(&folders.root);
    command
}

/// Each benchmark's numbers in nanoseconds. Percentiles are of criterion's samples; where a sample
/// has more than one iteration, `iterations_max` says so, and they are percentiles of means.
fn numbers(results: &Path) -> Result<Value> {
    let mut all = BTreeMap::new();
    for folder in measured(results)? {
        let name = folder.strip_prefix(results)?.to_string_lossy().into_owned();
        let sample: Value = serde_json::from_slice(&fs::read(folder.join("new/sample.json"))?)?;
        all.insert(name.clone(), summary(&sample).with_context(|| format!("reading the samples of {name}"))?);
    }
    if all.is_empty() {
        bail!("no benchmark of this name");
    }
    Ok(json!(all))
}

fn measured(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if folder.join("new/sample.json").is_file() {
        found.push(folder.to_owned());
    }
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != "new" {
            found.extend(measured(&entry.path())?);
        }
    }
    Ok(found)
}

fn summary(sample: &Value) -> Result<Value> {
    let list = |key: &str| -> Result<Vec<f64>> {
        let values = sample[key].as_array().context("a list is missing")?;
        values.iter().map(|value| value.as_f64().context("not a number")).collect()
    };
    let (iterations, times) = (list("iters")?, list("times")?);
    let mut each: Vec<f64> = times.iter().zip(&iterations).map(|(time, count)| time / count).collect();
    each.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (each.first(), each.last()) else { bail!("there are no samples") };
    Ok(json!({
        "samples": each.len(),
        "iterations_max": iterations.iter().copied().fold(0.0, f64::max),
        "min_ns": least,
        "p50_ns": percentile(&each, 50),
        "p99_ns": percentile(&each, 99),
        "max_ns": most,
        "mean_ns": times.iter().sum::<f64>() / iterations.iter().sum::<f64>(),
    }))
}

/// The smallest value that `percent` of all values do not exceed. `sorted` is not empty.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parsed = Options::parse(&["--json", "call"]).expect("valid");
        assert_eq!(parsed, Options { name: Some("call".to_owned()), json: true });
        assert!(Options::parse(&["a", "b"]).is_err());
        assert!(Options::parse(&["--jsn"]).is_err());
    }

    #[test]
    fn a_summary_is_of_the_time_of_one_iteration() {
        let sample = json!({ "iters": [1.0, 2.0, 4.0], "times": [30.0, 20.0, 80.0] });
        let summary = summary(&sample).expect("valid");
        assert_eq!((&summary["min_ns"], &summary["p50_ns"]), (&json!(10.0), &json!(20.0)));
        assert_eq!((&summary["p99_ns"], &summary["iterations_max"]), (&json!(30.0), &json!(4.0)));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 99)), (50.0, 99.0));
        assert!(super::summary(&json!({ "iters": [], "times": [] })).is_err());
    }
}
