//! Runs the tests that can go on for hours, for as long as one has, each time with other numbers.
//!
//! A soak is one of the promises' tests with more time: the engine is linked once for both. It ends by
//! itself, at its time or at its count, and fails as a test does, with the seed that shows it again. The one named
//! `fuzz` is libFuzzer's search, by programs of its own.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::bench::{self, build_guests, install_wrk};
use crate::figures::{self, PROFILE};
use crate::folders::Folders;
use crate::fuzz;
use crate::guests::guests;
use crate::process;
use crate::test::{LAST, build};

/// Each soak: its name, its test, and what it does.
const SOAKS: [(&str, &str, &str); 6] = [
    (
        "components",
        "mutated::components_that_nobody_wrote_do_no_harm",
        "random and damaged components, the whole way",
    ),
    ("calls", "steady::calls_leave_nothing_behind", "a million calls of all kinds; nothing is left behind"),
    (
        "kills",
        "evidence::a_host_that_is_killed_at_any_moment_has_evidence_of_all_that_it_did",
        "a thousand kill -9; nothing acknowledged is lost",
    ),
    (
        "taken",
        "calls::kills::a_host_that_is_killed_under_load_lists_what_it_took",
        "kill -9 under the calls of agents; what was taken is listed, and nothing runs twice",
    ),
    (
        "api",
        "door::schemathesis::nothing_that_can_be_asked_is_answered_otherwise_than_described",
        "requests made of the description of the API, by schemathesis, with each role",
    ),
    (
        "race",
        "files::race::case_38_a_swapped_folder_leads_nowhere",
        "a million walks through a folder that is swapped",
    ),
];

/// A host that is asked over loopback: a program of its own, and `wrk`.
const LOAD: &str = "load";

/// The fuzz targets, all of them.
const FUZZ: &str = "fuzz";

const MINUTES: u64 = 10;
/// What a soak may take beyond its time: to begin, and to read its log at the end.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// What to run, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// One of [`SOAKS`], [`LOAD`] or [`FUZZ`]; all, one after the other, if there is none.
    name: Option<String>,
    /// For each.
    minutes: u64,
    /// At random if there is none.
    seed: Option<u64>,
    /// The figures as one JSON document on stdout; progress goes to stderr.
    json: bool,
}

impl Options {
    /// Reads the words after `soak`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Options { name: None, minutes: MINUTES, seed: None, json: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || -> Result<u64> {
                let text = words.next().with_context(|| format!("`{word}` needs a number"))?;
                text.parse().with_context(|| format!("`{word} {text}`"))
            };
            match *word {
                "--json" => options.json = true,
                "--minutes" => options.minutes = number()?,
                "--seed" => options.seed = Some(number()?),
                option if option.starts_with('-') => bail!("`soak` does not take `{option}`"),
                name if options.name.is_none()
                    && ([LOAD, FUZZ].contains(&name) || SOAKS.iter().any(|(soak, ..)| *soak == name)) =>
                {
                    options.name = Some(name.to_owned());
                }
                name => bail!("there is no soak `{name}`\n\n{}", list()),
            }
        }
        Ok(options)
    }
}

fn list() -> String {
    let line = |name: &str, what: &str| format!("  {name:<12} {what}");
    let mut lines = SOAKS.map(|(name, _, what)| line(name, what)).to_vec();
    lines.push(line(LOAD, "throughput, memory, an agent in a loop, idle subscriptions: over loopback"));
    lines.push(line(FUZZ, "libFuzzer's search for inputs that parsers and judges do not bear"));
    lines.join("\n")
}

/// Builds what is needed, runs the soaks, and gives their figures.
pub(crate) fn soak(folders: &Folders, options: &Options) -> Result<()> {
    let seed = options.seed.map_or_else(random_seed, Ok)?;
    let is_wanted = |name: &str| options.name.as_deref().is_none_or(|wanted| wanted == name);
    let mut figures = Map::new();
    if SOAKS.iter().any(|(name, ..)| is_wanted(name)) {
        soak_tests(folders, options, seed, &mut figures)?;
    }
    if is_wanted(LOAD) {
        figures.insert(LOAD.to_owned(), load(folders, options)?);
    }
    if is_wanted(FUZZ) {
        eprintln!("==> soak {FUZZ}: each target {} min, seed {seed}", options.minutes);
        let of_this = fuzz::fuzz(folders, Duration::from_secs(options.minutes * 60), seed)
            .with_context(|| format!("again with: cargo xtask soak {FUZZ} --seed {seed}"))?;
        figures.insert(FUZZ.to_owned(), of_this);
    }
    if options.json {
        println!("{:#}", Value::Object(figures));
    }
    Ok(())
}

/// Builds the program and its driver, and has it measured. Needs `wrk`, which is installed if it is not there.
fn load(folders: &Folders, options: &Options) -> Result<Value> {
    install_wrk()?;
    build_guests()?;
    eprintln!("==> soak {LOAD}: over loopback; about {} min", options.minutes);
    let run = figures::run(folders, PROFILE, false);
    let file = figures::file(folders)?;
    let mut command = bench::command(folders, PROFILE, LOAD)?;
    command.env("PORTCULLIS_SOAK_SECONDS", (options.minutes * 60).to_string()).env(figures::FILE, &file);
    process::run(&mut command, Duration::from_secs(options.minutes * 60) + PATIENCE)?;
    let rows = figures::some(figures::rows(&file)?)?;
    if !options.json {
        println!("{}", figures::table(&run, &rows));
    }
    Ok(figures::document(run, &rows))
}

/// Those that are tests.
fn soak_tests(
    folders: &Folders,
    options: &Options,
    seed: u64,
    figures: &mut Map<String, Value>,
) -> Result<()> {
    if options.json {
        // Stdout is for the document alone.
        build_guests()?;
    } else {
        guests(folders)?;
    }
    let programs = build(folders)?;
    let program = programs.iter().find(|program| program.package == LAST);
    let program = program.with_context(|| format!("{LAST} has no tests"))?;
    let report = folders.target.join("soak.json");
    for (name, test, what) in SOAKS {
        if options.name.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        eprintln!("==> soak {name}: {what}; at most {} min, seed {seed}", options.minutes);
        // Figures of an earlier run are not figures of this one.
        let _ = fs::remove_file(&report);
        let mut command = program.command();
        command
            .args([test, "--exact", "--nocapture"])
            .env("PORTCULLIS_SOAK_SECONDS", (options.minutes * 60).to_string())
            .env("PORTCULLIS_SOAK_SEED", seed.to_string())
            .env("PORTCULLIS_SOAK_REPORT", &report)
            // With an arena and a cache for each thread, most of what a million calls add to memory is what
            // glibc's malloc keeps in these (docs/performance.md); without, a leak stands out.
            .env("MALLOC_ARENA_MAX", "1")
            .env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");
        let time_max = Duration::from_secs(options.minutes * 60) + PATIENCE;
        let again = || format!("again with: cargo xtask soak {name} --seed {seed}");
        if options.json {
            eprint!("{}", process::read(&mut command, time_max).with_context(again)?);
        } else {
            process::run(&mut command, time_max).with_context(again)?;
        }
        let text = fs::read(&report).with_context(|| format!("soak {name} ran no test of this name"))?;
        let mut of_this: Value = serde_json::from_slice(&text)?;
        of_this["seed"] = seed.into();
        figures.insert(name.to_owned(), of_this);
    }
    Ok(())
}

/// Another one each time; printed, so that it can be given.
fn random_seed() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock after 1970")?;
    Ok(since.as_secs() ^ u64::from(since.subsec_nanos()) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parsed = Options::parse(&["calls", "--minutes", "3", "--seed", "7", "--json"]).expect("valid");
        assert_eq!(parsed, Options { name: Some("calls".to_owned()), minutes: 3, seed: Some(7), json: true });
        assert_eq!(Options::parse(&[]).expect("valid").minutes, MINUTES);
        for bad in [&["no-such"][..], &["calls", "kills"], &["--minutes"], &["--seed", "x"], &["--sed", "1"]]
        {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// A test that was renamed would soak nothing.
    #[test]
    fn each_soak_is_a_test_that_is_there() {
        let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
        for (name, test, _) in SOAKS {
            let (module, function) = test.rsplit_once("::").expect("a path");
            let file = tests.join(module.replace("::", "/")).with_extension("rs");
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(text.contains(&format!("fn {function}()")) && text.contains("Plan::new("), "{name}");
        }
    }
}
