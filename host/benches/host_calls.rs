//! What a single host call costs a guest through the gate, beside the same on bare wasmtime, in one run: reading the
//! clock, printing a line, reading a file of 4 KiB.
//!
//! One is what a call with many takes more than a call with none, divided by their number; of the file, what a call
//! that opens, stats and reads it takes more than a call that does nothing. Key-value state has a benchmark of its
//! own: its floor is SQLite. Nothing here asserts a speed.

mod figures;
mod floor;
mod ours;

use portcullis::policy::Durability;
use serde_json::json;
use tokio::runtime::Runtime;

use self::figures::rounds::{Measured, Rounds};
use self::figures::{Aim, Figure, Figures, Unit, scaled, wanted};
use self::floor::{Floor, tuned_engine};
use self::ours::{FILE_BYTES, FILES, Ours, files};

const PROBE: &str = "test:std-probe/probe@0.1.0";
/// Enough that the call around them does not count.
const TIMES: u32 = 1_000;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let turns = scaled(20, 2);
    let (many, few) = (scaled(20, 10), scaled(200, 20));
    let folder = tempfile::tempdir().expect("a temporary folder");
    files(folder.path());
    let folder = folder.path().join("files");
    let engine = tuned_engine();
    let bare = |function| Floor::new(&engine, "std-probe", PROBE, function, Some(&folder));
    let (clock, lines, file) = (bare("read-clock"), bare("print-lines"), bare("read-file"));
    let ours = runtime.block_on(Ours::new(Durability::Relaxed, &["std-probe"], FILES));
    let ours = &ours;
    let mut rounds = Rounds::default();
    for (part, tool, floor) in [("clock", "read-clock", &clock), ("log_line", "print-lines", &lines)] {
        if !wanted(part) {
            continue;
        }
        for (times, pieces) in [(0, few), (TIMES, many)] {
            rounds.add(&runtime, &format!("{part}/bare/{times}"), pieces, async move || {
                floor.call::<_, ()>((times,)).await;
            });
            rounds.add(&runtime, &format!("{part}/ours/{times}"), pieces, async move || {
                ours.call("std-probe", tool, json!({ "times": times })).await;
            });
        }
    }
    if wanted("read_4k") {
        rounds.add(&runtime, "read_4k/bare/0", few, async || clock.call::<_, ()>((0_u32,)).await);
        rounds.add(&runtime, "read_4k/ours/0", few, async || {
            ours.call("std-probe", "read-clock", json!({ "times": 0 })).await;
        });
        rounds.add(&runtime, "read_4k/bare/1", few, async || {
            let (answer,): (Result<u64, String>,) = file.call(("/data/file", FILE_BYTES)).await;
            assert_eq!(answer, Ok(FILE_BYTES));
        });
        rounds.add(&runtime, "read_4k/ours/1", few, async || {
            let arguments = json!({ "path": "/data/file", "bytes-max": FILE_BYTES });
            assert_eq!(ours.call("std-probe", "read-file", arguments).await, json!(FILE_BYTES));
        });
    }
    report(&rounds.run(turns));
}

fn report(measured: &Measured) {
    let mut figures = Figures::new();
    for (part, times, aim) in [("clock", TIMES, Some(2.0)), ("log_line", TIMES, None), ("read_4k", 1, None)] {
        let one = |side: &str| {
            let median = |times: u32| Some(measured.of(&format!("{part}/{side}/{times}"))?.median());
            Some((median(times)? - median(0)?) / f64::from(times))
        };
        if let (Some(bare), Some(ours)) = (one("bare"), one("ours")) {
            let mut figure = Figure::new(format!("host_calls/{part}"), ours, Unit::Nanoseconds)
                .beside(format!("host_calls/{part}/bare_tuned"), bare);
            if let Some(aim) = aim {
                figure = figure.aim(Aim::RatioAtMost(aim));
            }
            figures.row(figure);
        }
    }
    let whole = [("read_4k/ours/1", "read_4k/bare/1")];
    for (name, floor) in whole {
        if let (Some(ours), Some(bare)) = (measured.of(name), measured.of(floor)) {
            let floor = ("host_calls/read_4k/whole_call/bare_tuned", bare);
            figures.times("host_calls/read_4k/whole_call", ours, Some(floor), None);
        }
    }
}
