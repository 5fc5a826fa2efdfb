//! What a benchmark found, in the one shape that all of them give it: a name, a value with its unit, the floor that was
//! measured in the same run, and what is aimed at.
//!
//! A row is a line of JSON in the file that `cargo xtask bench` names; it makes the table and the document of all of
//! them, and says which aims are met. Nothing here asserts a speed.

#![allow(dead_code, reason = "each benchmark takes what it needs of it")]
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is told by its environment what to do")]

pub(crate) mod rounds;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// As the program has it: what is measured in this process is measured with it, floors as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The file that rows are appended to. Without it they are only printed.
const FILE: &str = "PORTCULLIS_BENCH_FIGURES";
/// Anything but nothing: each part does just enough to show that it works, and its figures are worth little.
const QUICK: &str = "PORTCULLIS_BENCH_QUICK";

/// Whether this is only to be tried out.
pub(crate) fn quick() -> bool {
    std::env::var_os(QUICK).is_some_and(|value| !value.is_empty())
}

/// How often, how long or how many: `full`, or `short` where this is only to be tried out.
pub(crate) fn scaled<T>(full: T, short: T) -> T {
    if quick() { short } else { full }
}

/// Whether a part of a benchmark is to be measured: all are, unless the command line names some.
pub(crate) fn wanted(part: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|name| name == part)
}

/// What a value is of. Of time and memory less is better, of a rate more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
    PerSecond,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::Bytes => "bytes",
            Unit::PerSecond => "per second",
        }
    }
}

/// A bound for the ratio to the floor, or for the value itself in its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    ValueAtMost(f64),
    ValueAtLeast(f64),
}

impl Aim {
    fn to_json(self) -> Value {
        match self {
            Aim::RatioAtMost(bound) => json!({ "ratio_at_most": bound }),
            Aim::RatioAtLeast(bound) => json!({ "ratio_at_least": bound }),
            Aim::ValueAtMost(bound) => json!({ "value_at_most": bound }),
            Aim::ValueAtLeast(bound) => json!({ "value_at_least": bound }),
        }
    }
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: Unit,
    floor: Option<(String, f64)>,
    aim: Option<Aim>,
}

impl Figure {
    /// `name` begins with that of the benchmark: `call/library/relaxed/p50`.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { name: name.into(), value, unit, floor: None, aim: None }
    }

    /// The floor of the same run, in the same unit. One value beside two floors is two rows.
    pub(crate) fn beside(mut self, name: impl Into<String>, value: f64) -> Self {
        self.floor = Some((name.into(), value));
        self
    }

    pub(crate) fn aim(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    fn ratio(&self) -> Option<f64> {
        let (_, floor) = self.floor.as_ref()?;
        let ratio = self.value / floor;
        ratio.is_finite().then_some(ratio)
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "value": self.value,
            "unit": self.unit.name(),
            "floor": self.floor.as_ref().map(|(name, value)| json!({ "name": name, "value": value })),
            "ratio": self.ratio(),
            "aim": self.aim.map(Aim::to_json),
        })
    }
}

/// The rows of one benchmark, given on as they are found.
#[derive(Debug)]
pub(crate) struct Figures {
    file: Option<File>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        let file = std::env::var_os(FILE).map(|path| {
            let opened = OpenOptions::new().create(true).append(true).open(&path);
            opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        });
        Self { file }
    }

    pub(crate) fn row(&mut self, figure: Figure) {
        let ratio = figure.ratio().map(|ratio| format!("  {ratio:.2}x")).unwrap_or_default();
        println!("{:<48} {:>16.1} {}{ratio}", figure.name, figure.value, figure.unit.name());
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", figure.to_json()).expect("the file of the figures can be written");
        }
    }

    /// Rows of p50, p99 and p99.9, as far as there are times enough, each beside the same of the floor. The aim is of
    /// the p50.
    pub(crate) fn times(
        &mut self,
        name: &str,
        times: &Times,
        floor: Option<(&str, &Times)>,
        aim: Option<Aim>,
    ) {
        for (part, permille, least) in [("p50", 500, 1), ("p99", 990, 100), ("p99.9", 999, 1_000)] {
            if times.count() < least {
                continue;
            }
            let mut figure = Figure::new(format!("{name}/{part}"), times.at(permille), Unit::Nanoseconds);
            if let Some((floor_name, floor)) = floor.filter(|(_, floor)| floor.count() >= least) {
                figure = figure.beside(format!("{floor_name}/{part}"), floor.at(permille));
            }
            if let Some(aim) = aim.filter(|_| part == "p50") {
                figure = figure.aim(aim);
            }
            self.row(figure);
        }
    }
}

/// How long single pieces of work took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    nanoseconds: Vec<u64>,
}

impl Times {
    pub(crate) fn push(&mut self, took: Duration) {
        self.nanoseconds.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Does it and keeps how long it took.
    pub(crate) async fn of<T>(&mut self, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let result = work.await;
        self.push(started.elapsed());
        result
    }

    pub(crate) fn count(&self) -> usize {
        self.nanoseconds.len()
    }

    /// The least time that so many of a thousand do not exceed; 0 if there are none.
    pub(crate) fn at(&self, permille: usize) -> f64 {
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * permille).div_ceil(1_000).max(1);
        sorted.get(rank - 1).copied().unwrap_or(0) as f64
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(500)
    }
}
