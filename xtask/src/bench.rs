//! Runs the benchmarks, and makes one table or one JSON document of what they found.
//!
//! Built with the profile that everything is built with unless another is said: the engine is optimised in it, and
//! compiling it once more takes a quarter of an hour. Our own crates are compiled as they are shipped
//! ([`process::as_shipped`]). Each file of `host/benches` is a benchmark of its name.

mod check;

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::debian::apt_install;
use crate::figures::{self, FILE, PROFILE, QUICK};
use crate::folders::Folders;
use crate::peers;
use crate::process::{self, BUILD_TIME_MAX};

/// What the comparison with the baseline is asked for by.
const CHECK: &str = "check";
const BENCHES: &str = "host/benches";
/// How often each benchmark is run for a comparison, unless it is said.
const RUNS: usize = 5;
/// Those that ask with `wrk`, which is installed if it is not there.
const NEED_WRK: [&str; 3] = ["load", "memory", "concurrency"];

/// What to run, and how to show it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Only benchmarks whose name contains this; after a `/`, only this part of them.
    name: Option<String>,
    /// One JSON document on stdout; progress goes to stderr.
    json: bool,
    /// Each part does just enough to show that it works.
    quick: bool,
    profile: String,
    /// Of [`CHECK`]: how often each benchmark is run.
    runs: usize,
    /// Of [`CHECK`]: what is found becomes the baseline.
    update: bool,
}

impl Options {
    /// Reads the words after `bench`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Options {
            name: None,
            json: false,
            quick: false,
            profile: PROFILE.to_owned(),
            runs: RUNS,
            update: false,
        };
        let (mut words, mut runs) = (words.iter(), None);
        while let Some(word) = words.next() {
            let mut next = || words.next().with_context(|| format!("`{word}` needs a word after it"));
            match *word {
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--update" => options.update = true,
                "--profile" => options.profile = (*next()?).to_owned(),
                "--runs" => {
                    let text = next()?;
                    runs = Some(text.parse().with_context(|| format!("`--runs {text}`"))?);
                }
                option if option.starts_with('-') => bail!("`bench` does not take `{option}`"),
                name if options.name.is_none() => options.name = Some(name.to_owned()),
                name => bail!("`bench` takes one name; `{name}` is the second"),
            }
        }
        if !options.is_check() && (options.update || runs.is_some()) {
            bail!("`--update` and `--runs` are of `bench {CHECK}`");
        }
        if runs == Some(0) {
            bail!("no run finds nothing");
        }
        if options.update && options.quick {
            bail!("what is only tried out is no baseline");
        }
        options.runs = runs.unwrap_or(RUNS);
        Ok(options)
    }

    fn is_check(&self) -> bool {
        self.name.as_deref() == Some(CHECK)
    }
}

/// Builds what is needed, runs the benchmarks, and gives their figures.
pub(crate) fn bench(folders: &Folders, options: &Options) -> Result<()> {
    if options.name.as_deref() == Some(peers::NAME) {
        return peers::bench(folders, options.json, options.quick);
    }
    if options.is_check() {
        return check::check(folders, options);
    }
    build_guests()?;
    let name = options.name.as_deref().unwrap_or_default();
    let (name, part) = name.split_once('/').unwrap_or((name, ""));
    let all = benches(&folders.root.join(BENCHES))?;
    let chosen: Vec<&String> = all.iter().filter(|bench| bench.contains(name)).collect();
    if chosen.is_empty() {
        bail!("no benchmark of the name `{name}`: there are {}, {} and {CHECK}", all.join(", "), peers::NAME);
    }
    // Before the work, which is load as well.
    let run = figures::run(folders, &options.profile, options.quick);
    let file = figures::file(folders)?;
    let parts: Vec<&str> = (!part.is_empty()).then_some(part).into_iter().collect();
    let mut failed = Vec::new();
    for bench in chosen {
        // The others have figures nevertheless; they took minutes.
        if let Err(error) = run_bench(folders, options, bench, &parts, &file) {
            eprintln!("{bench}: {error:#}");
            failed.push(bench.as_str());
        }
    }
    let rows = figures::some(figures::rows(&file)?)?;
    if options.json {
        println!("{:#}", figures::document(run, &rows));
    } else {
        println!("{}", figures::table(&run, &rows));
    }
    if !failed.is_empty() {
        bail!("these failed, and what figures they gave is not all: {}", failed.join(", "));
    }
    Ok(())
}

/// Stdout is for the figures alone.
pub(crate) fn build_guests() -> Result<()> {
    let mut own = Command::new(std::env::current_exe()?);
    eprint!("{}", process::read(own.arg("guests"), BUILD_TIME_MAX)?);
    Ok(())
}

/// The names of all, in order.
fn benches(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|stem| Some(stem.to_str()?.to_owned())));
        }
    }
    names.sort();
    Ok(names)
}

/// Runs one, or parts of it, and has its rows appended to the file.
fn run_bench(folders: &Folders, options: &Options, bench: &str, parts: &[&str], file: &Path) -> Result<()> {
    if NEED_WRK.contains(&bench) {
        install_wrk()?;
    }
    eprintln!("==> bench {bench} {}", parts.join(" "));
    let mut command = command(folders, &options.profile, bench)?;
    command.args(parts).env(FILE, file);
    if options.quick {
        command.env(QUICK, "1");
    }
    process::run(&mut command, BUILD_TIME_MAX)
}

/// A benchmark whose output is progress. What follows are its own arguments.
pub(crate) fn command(folders: &Folders, profile: &str, bench: &str) -> Result<Command> {
    let mut command = process::as_shipped(process::cargo());
    command.args([
        "bench",
        "--quiet",
        "--package",
        "portcullis",
        "--profile",
        profile,
        "--bench",
        bench,
        "--",
    ]);
    let progress = std::io::stderr().as_fd().try_clone_to_owned().context("copying stderr")?;
    command.current_dir(&folders.root).stdout(Stdio::from(progress));
    Ok(command)
}

/// Installs `wrk` if it is not there.
pub(crate) fn install_wrk() -> Result<()> {
    if Command::new("wrk").arg("--version").output().is_err() {
        eprintln!("==> installing wrk");
        apt_install(&["wrk"]).context("install wrk")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parsed = Options::parse(&["--json", "call/library", "--profile", "release"]).expect("valid");
        assert_eq!(parsed.name.as_deref(), Some("call/library"));
        assert_eq!((parsed.json, parsed.profile.as_str(), parsed.quick), (true, "release", false));
        let parsed = Options::parse(&["check", "--runs", "3", "--update"]).expect("valid");
        assert_eq!((parsed.is_check(), parsed.runs, parsed.update), (true, 3, true));
        for bad in [
            &["a", "b"][..],
            &["--jsn"],
            &["--profile"],
            &["call", "--update"],
            &["--runs", "3"],
            &["check", "--runs", "0"],
            &["check", "--runs", "x"],
            &["check", "--update", "--quick"],
        ] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// Cargo builds what the manifest names, and the names are those of the files.
    #[test]
    fn each_file_is_a_benchmark_that_cargo_knows() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let manifest = fs::read_to_string(root.join("host/Cargo.toml")).expect("text");
        let all = benches(&root.join(BENCHES)).expect("there");
        assert!(all.iter().any(|name| name == "call"), "{all:?}");
        for name in &all {
            let entry = format!("[[bench]]\nname = \"{name}\"\nharness = false\n");
            assert!(manifest.contains(&entry), "host/Cargo.toml has no\n{entry}");
        }
    }
}
