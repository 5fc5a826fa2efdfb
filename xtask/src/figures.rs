//! What benchmarks found, in one shape: their rows, the table of them, and the document with the machine.
//!
//! `host/benches/figures/mod.rs` writes the rows. Whether an aim is met is said here, so that it is said in one way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::folders::Folders;
use crate::process;

/// Tells a benchmark which file its rows are appended to.
pub(crate) const FILE: &str = "PORTCULLIS_BENCH_FIGURES";
/// The profile of benchmarks, unless another is said.
pub(crate) const PROFILE: &str = "dev";
/// Tells a benchmark that it is only tried out.
pub(crate) const QUICK: &str = "PORTCULLIS_BENCH_QUICK";

/// The percentiles that stand in one line of the table.
const PARTS: [&str; 3] = ["p50", "p99", "p99.9"];

/// A bound for the ratio or for the value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Aim {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    ValueAtMost(f64),
    ValueAtLeast(f64),
}

/// A value, beside the floor of its run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    value: f64,
    unit: String,
    /// Its name and value.
    floor: Option<(String, f64)>,
    pub(crate) ratio: Option<f64>,
    aim: Option<Aim>,
    /// As it was read.
    json: Value,
}

impl Row {
    /// # Errors
    /// If the row is not of the shape that benchmarks write: a row that is half understood is none.
    pub(crate) fn parse(json: Value) -> Result<Self> {
        let text = |key: &str| json[key].as_str().map(str::to_owned).with_context(|| format!("no `{key}`"));
        let number = |value: &Value| value.as_f64().context("a number is missing");
        // A key that is not there reads as null.
        let given = |key: &str| Some(&json[key]).filter(|value| !value.is_null());
        let floor = given("floor").map(|floor| {
            let name = floor["name"].as_str().context("a floor without a name")?;
            Ok::<_, anyhow::Error>((name.to_owned(), number(&floor["value"])?))
        });
        let (floor, ratio) = (floor.transpose()?, given("ratio").map(number).transpose()?);
        let aim = given("aim").map(Aim::parse).transpose()?;
        Ok(Self {
            name: text("name")?,
            value: number(&json["value"])?,
            unit: text("unit")?,
            floor,
            ratio,
            aim,
            json,
        })
    }

    /// Nothing if there is no aim; an aim for a ratio that could not be had is not met.
    fn met(&self) -> Option<bool> {
        Some(match self.aim? {
            Aim::RatioAtMost(bound) => self.ratio.is_some_and(|ratio| ratio <= bound),
            Aim::RatioAtLeast(bound) => self.ratio.is_some_and(|ratio| ratio >= bound),
            Aim::ValueAtMost(bound) => self.value <= bound,
            Aim::ValueAtLeast(bound) => self.value >= bound,
        })
    }

    pub(crate) fn floor_name(&self) -> Option<&str> {
        self.floor.as_ref().map(|(name, _)| name.as_str())
    }

    /// Of a rate more is better; of time and memory less.
    pub(crate) fn more_is_better(&self) -> bool {
        self.unit == "per second"
    }

    fn to_json(&self) -> Value {
        let mut json = self.json.clone();
        json["met"] = json!(self.met());
        json
    }

    /// The names of what was measured and of its floor, and which percentile both are of.
    fn percentile(&self) -> Option<(&str, &str, &str)> {
        let (name, part) = self.name.rsplit_once('/')?;
        let floor = match self.floor_name() {
            None => "",
            Some(floor) => floor.strip_suffix(part)?.strip_suffix('/')?,
        };
        PARTS.contains(&part).then_some((name, floor, part))
    }
}

impl Aim {
    fn parse(json: &Value) -> Result<Self> {
        let bound = |key: &str| json[key].as_f64();
        let of_ratio = bound("ratio_at_most")
            .map(Aim::RatioAtMost)
            .or_else(|| bound("ratio_at_least").map(Aim::RatioAtLeast));
        let of_value = || {
            let most = bound("value_at_most").map(Aim::ValueAtMost);
            most.or_else(|| bound("value_at_least").map(Aim::ValueAtLeast))
        };
        of_ratio.or_else(of_value).with_context(|| format!("not an aim: {json}"))
    }

    fn show(self, unit: &str) -> String {
        match self {
            Aim::RatioAtMost(bound) => format!("≤ {bound}x"),
            Aim::RatioAtLeast(bound) => format!("≥ {bound}x"),
            Aim::ValueAtMost(bound) => format!("≤ {}", show(bound, unit)),
            Aim::ValueAtLeast(bound) => format!("≥ {}", show(bound, unit)),
        }
    }
}

/// An empty file for the rows of a run. Those of an earlier run are not of this one.
pub(crate) fn file(folders: &Folders) -> Result<PathBuf> {
    let file = folders.target.join("bench-figures.jsonl");
    fs::create_dir_all(&folders.target)?;
    fs::write(&file, "").with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// The rows that benchmarks wrote.
pub(crate) fn rows(file: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let rows = text.lines().map(|line| {
        let row = serde_json::from_str(line).map_err(Into::into).and_then(Row::parse);
        row.with_context(|| format!("a row of {}: {line}", file.display()))
    });
    rows.collect()
}

/// What figures are of: the machine, the commit, and how it was built.
pub(crate) fn run(folders: &Folders, profile: &str, is_quick: bool) -> Value {
    let git = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    let commit = process::ask(Command::new("git").args(git).current_dir(&folders.root));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // What is changed of the profile, by the environment and for all benchmarks: such figures are not those of the profile
    // alone.
    let of_profile = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        name.starts_with("CARGO_PROFILE_").then(|| format!("{name}={value}"))
    };
    let ours = process::as_shipped_settings().into_iter().filter(|_| profile == PROFILE);
    let ours = ours.map(|(name, value)| format!("{name}={value}"));
    let settings: Vec<String> = std::env::vars_os().filter_map(of_profile).chain(ours).collect();
    json!({
        "commit": commit,
        "unix_seconds": since.as_secs(),
        "profile": profile,
        "profile_settings": settings,
        "quick": is_quick,
        "machine": machine(),
    })
}

fn machine() -> Value {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |path: &str, name: &str| {
        let text = text(path);
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
    };
    let memory = after("/proc/meminfo", "MemTotal");
    let memory = memory.and_then(|text| text.strip_suffix(" kB")?.trim().parse::<u64>().ok());
    json!({
        "cores": std::thread::available_parallelism().ok(),
        "cpu": after("/proc/cpuinfo", "model name"),
        "architecture": std::env::consts::ARCH,
        "kernel": text("/proc/sys/kernel/osrelease").trim(),
        "memory_bytes": memory.map(|kilobytes| kilobytes * 1024),
        "disk": disk(&std::env::temp_dir(), &text("/proc/mounts")),
        "load_before": text("/proc/loadavg").split(' ').next().and_then(|load| load.parse::<f64>().ok()),
    })
}

/// The file system of a folder and what it is on; whether that turns, where the kernel says so.
fn disk(folder: &Path, mounts: &str) -> Option<String> {
    let mount = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?))
    };
    let mounted = mounts.lines().filter_map(mount).filter(|(_, at, _)| folder.starts_with(at));
    let (device, _, kind) = mounted.max_by_key(|(_, at, _)| at.len())?;
    let name = device.trim_start_matches("/dev/");
    let rotates = fs::read_to_string(format!("/sys/block/{name}/queue/rotational"));
    let rotates = match rotates.as_deref().map(str::trim) {
        Ok("0") => ", not rotating",
        Ok("1") => ", said to rotate",
        _ => "",
    };
    Some(format!("{kind} on {device}{rotates}"))
}

/// One document of all.
pub(crate) fn document(mut run: Value, rows: &[Row]) -> Value {
    run["figures"] = rows.iter().map(Row::to_json).collect();
    run
}

/// One table of all, in Markdown, with what they are of.
pub(crate) fn table(run: &Value, rows: &[Row]) -> String {
    let mut lines = vec![
        ["what", "value or p50", "p99", "p99.9", "beside", "floor", "ratio", "aim", ""].map(str::to_owned),
    ];
    for row in rows {
        let of = row.percentile();
        let beside = |wanted: &str| {
            let (name, floor, _) = of?;
            rows.iter().find(|other| other.percentile() == Some((name, floor, wanted)))
        };
        // What is aimed at has a line of its own, with its own ratio.
        let is_tail = of.is_some_and(|(_, _, part)| part != PARTS[0]);
        if is_tail && row.aim.is_none() && beside(PARTS[0]).is_some() {
            continue;
        }
        let is_first = of.is_some_and(|(_, _, part)| part == PARTS[0]);
        let tail = |part: &str| {
            let found = beside(part).filter(|_| is_first);
            found.map(|row| show(row.value, &row.unit)).unwrap_or_default()
        };
        let (name, floor) = match of.filter(|_| is_first) {
            Some((name, floor, _)) => (name, floor),
            None => (row.name.as_str(), row.floor_name().unwrap_or_default()),
        };
        lines.push([
            name.to_owned(),
            show(row.value, &row.unit),
            tail(PARTS[1]),
            tail(PARTS[2]),
            floor.to_owned(),
            row.floor.as_ref().map(|(_, value)| show(*value, &row.unit)).unwrap_or_default(),
            row.ratio.map(|ratio| format!("{}x", short(ratio))).unwrap_or_default(),
            row.aim.map(|aim| aim.show(&row.unit)).unwrap_or_default(),
            match row.met() {
                None => String::new(),
                Some(true) => "met".to_owned(),
                Some(false) => "missed".to_owned(),
            },
        ]);
    }
    format!("{}\n\n{}", described(run), markdown(&lines))
}

/// Rows of equal width; the first is the head.
pub(crate) fn markdown<const N: usize>(lines: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(3)
    });
    let show = |line: &[String; N]| {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: [String; N] = widths.map(|width| "-".repeat(width));
    let mut shown: Vec<String> = lines.iter().map(show).collect();
    shown.insert(1.min(shown.len()), show(&rule));
    shown.join("\n")
}

/// What figures are of, in a line.
pub(crate) fn described(run: &Value) -> String {
    let machine = &run["machine"];
    let text = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        text.unwrap_or_else(|| if value.is_null() { "?".to_owned() } else { value.to_string() })
    };
    let gib = machine["memory_bytes"].as_f64().map_or("?".to_owned(), |bytes| short(bytes / 1_073_741_824.0));
    let settings = run["profile_settings"].as_array().cloned().unwrap_or_default();
    let settings: String = settings.iter().map(|setting| format!(", {}", text(setting))).collect();
    format!(
        "Commit {}, profile {}{settings}{}. {} cores of {}, Linux {}, {gib} GiB, {}; load before {}.",
        text(&run["commit"]),
        text(&run["profile"]),
        if run["quick"] == true { ", quick: these figures are worth nothing" } else { "" },
        text(&machine["cores"]),
        text(&machine["cpu"]),
        text(&machine["kernel"]),
        text(&machine["disk"]),
        text(&machine["load_before"]),
    )
}

/// A value for people.
fn show(value: f64, unit: &str) -> String {
    let scaled = |steps: &[(f64, &str)]| {
        let fits = steps.iter().find(|(least, _)| value.abs() >= *least).or(steps.last());
        fits.map_or_else(|| short(value), |(least, name)| format!("{} {name}", short(value / least)))
    };
    match unit {
        "ns" => scaled(&[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")]),
        "bytes" => scaled(&[(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1_024.0, "KiB"), (1.0, "B")]),
        "per second" => format!("{value:.0}/s"),
        other => format!("{} {other}", short(value)),
    }
}

/// Three digits, and not more than are there.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// No figure at all is a mistake of whoever asked, or of a benchmark.
pub(crate) fn some(rows: Vec<Row>) -> Result<Vec<Row>> {
    if rows.is_empty() {
        bail!("no benchmark gave a figure: is the part's name right?");
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, value: f64, floor: &str, of_floor: f64, aim: Value) -> Row {
        let json = json!({
            "name": name, "value": value, "unit": "ns",
            "floor": { "name": floor, "value": of_floor }, "ratio": value / of_floor, "aim": aim,
        });
        Row::parse(json).expect("a row")
    }

    #[test]
    fn aims_are_met_or_missed_on_the_right_side() {
        let met = |aim: Value| row("a", 30.0, "b", 20.0, aim).met();
        assert_eq!(met(Value::Null), None);
        assert_eq!(met(json!({ "ratio_at_most": 1.5 })), Some(true));
        assert_eq!(met(json!({ "ratio_at_most": 1.4 })), Some(false));
        assert_eq!(met(json!({ "ratio_at_least": 1.6 })), Some(false));
        assert_eq!(met(json!({ "value_at_most": 30 })), Some(true));
        assert_eq!(met(json!({ "value_at_least": 31 })), Some(false));
        // The ratio to a floor of nothing is none.
        let mut json = row("a", 30.0, "b", 20.0, json!({ "ratio_at_most": 2 })).json;
        json["ratio"] = Value::Null;
        assert_eq!(Row::parse(json).expect("a row").met(), Some(false));
    }

    #[test]
    fn what_is_no_row_is_refused() {
        let good = row("a", 30.0, "b", 20.0, Value::Null).json;
        for (key, bad) in [
            ("name", json!(1)),
            ("value", json!("30")),
            ("unit", Value::Null),
            ("floor", json!({ "value": 1 })),
            ("ratio", json!("1.5")),
            ("aim", json!({ "at_most": 2 })),
        ] {
            let mut json = good.clone();
            json[key] = bad;
            assert!(Row::parse(json).is_err(), "{key}");
        }
    }

    #[test]
    fn percentiles_stand_in_one_line_with_the_ratio_of_the_median() {
        let rows = [
            row("call/ours/p50", 20_000.0, "call/bare/p50", 10_000.0, json!({ "ratio_at_most": 1.15 })),
            row("call/ours/p99", 60_000.0, "call/bare/p99", 50_000.0, Value::Null),
            row("call/ours/p50", 20_000.0, "call/default/p50", 40_000.0, Value::Null),
            // Beside its own median: a line of its own.
            row("call/ours/p99", 60_000.0, "call/ours/p50", 20_000.0, json!({ "ratio_at_most": 2 })),
            row("call/both/p50", 20_000.0, "call/bare/p50", 10_000.0, Value::Null),
            // Aimed at: a line of its own as well.
            row("call/both/p99", 60_000.0, "call/bare/p99", 50_000.0, json!({ "ratio_at_most": 2 })),
        ];
        let table = table(&json!({}), &rows);
        let lines: Vec<String> = table
            .lines()
            .filter(|line| line.starts_with("| call/"))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "| call/ours | 20.0 µs | 60.0 µs | | call/bare | 10.0 µs | 2.00x | ≤ 1.15x | missed |",
                "| call/ours | 20.0 µs | | | call/default | 40.0 µs | 0.50x | | |",
                "| call/ours/p99 | 60.0 µs | | | call/ours/p50 | 20.0 µs | 3.00x | ≤ 2x | missed |",
                "| call/both | 20.0 µs | 60.0 µs | | call/bare | 10.0 µs | 2.00x | | |",
                "| call/both/p99 | 60.0 µs | | | call/bare/p99 | 50.0 µs | 1.20x | ≤ 2x | met |",
            ],
            "{table}"
        );
    }

    #[test]
    fn the_document_says_which_aims_are_met() {
        let rows = [row("a", 1.0, "b", 2.0, json!({ "ratio_at_most": 1 }))];
        let document = document(json!({ "commit": "c" }), &rows);
        assert_eq!((&document["commit"], &document["figures"][0]["met"]), (&json!("c"), &json!(true)));
        assert_eq!(document["figures"][0]["ratio"], 0.5);
    }

    #[test]
    fn the_disk_is_that_of_the_folder() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmpfiles xfs rw 0 0\n";
        assert_eq!(disk(Path::new("/tmp/x"), mounts).as_deref(), Some("tmpfs on tmpfs"));
        assert_eq!(disk(Path::new("/var"), mounts).as_deref(), Some("ext4 on /dev/a"));
    }
}
