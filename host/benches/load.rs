//! A host under load: the built program, asked over loopback. `cargo xtask soak load` runs it.
//!
//! Throughput beside bare wasmtime's, memory over very many calls, what one agent in a loop does to another, and what
//! idle subscriptions hold. `wrk` makes the load; whoever is measured beside it asks from here. Bounded in count and
//! time. Nothing here asserts a speed: it gives figures, and fails where an answer is an error.

#![expect(clippy::print_stderr, reason = "progress is not a figure")]
#![expect(
    clippy::disallowed_methods,
    reason = "it starts programs, and its floor is bare wasmtime, without the gate"
)]

mod figures;
mod floor;
mod program;
mod served;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;

use self::figures::{Aim, Figure, Figures, Times, Unit, scaled};
use self::floor::{Floor, tuned_engine};
use self::program::{ECHO, ForAgents, TEXT, null, said, script, wrk};

/// Set by `cargo xtask soak load`: how long all of it may take, in seconds. Without it only throughput is measured, as
/// a part of all benchmarks.
const SECONDS: &str = "PORTCULLIS_SOAK_SECONDS";

const CONNECTIONS: u64 = 64;
const CALLS_MAX: u64 = 1_000_000;
/// Between two pieces of ten seconds: no quota lets more than a million calls a minute pass, of which this is nearly one.
const REST: Duration = Duration::from_secs(5);
const SUBSCRIPTIONS: usize = 2_000;
const POLITE_CALLS: usize = 1_000;
/// For so long at most is somebody beside the polite agent.
const BESIDE_TIME_MAX: Duration = Duration::from_secs(180);

const COMPUTE: &str = "/v1/calls?package=std-probe&tool=compute";
/// Some tenths of a second of one core.
const ROUNDS: &str = r#"{"rounds":100000000}"#;

fn main() {
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse::<u64>().ok());
    let mut figures = Figures::new();
    let Some(seconds) = seconds else {
        throughput(&mut figures, Duration::from_secs(scaled(10, 1)));
        return;
    };
    // Half for memory, and the rest for what takes its own time.
    throughput(&mut figures, Duration::from_secs((seconds / 20).clamp(5, 30)));
    subscriptions(&mut figures);
    beside_a_loop(&mut figures);
    memory(&mut figures, Duration::from_secs(seconds / 2));
}

/// How long each of some calls of the polite agent takes, one after the other over one connection.
fn times(served: &ForAgents, calls: usize) -> Times {
    let (mut client, asked) = (served.connect(), served.request(ECHO, "", TEXT));
    let mut times = Times::default();
    for _ in 0..calls {
        let started = Instant::now();
        assert_eq!(client.ask(&asked).0, 200);
        times.push(started.elapsed());
    }
    times
}

/// (a) 64 connections and a tool that answers at once. Beside what bare wasmtime does on all cores, and beside servers
/// that `wrk` asks in the same way: one that does nothing, and one that has bare wasmtime answer. The last is what is
/// left for anybody who serves it over HTTP, `wrk`'s own share of the cores taken off.
fn throughput(figures: &mut Figures, time: Duration) {
    let floor = Arc::new(Floor::echo(&tuned_engine()));
    let alone = bare(&floor, time);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rate = |port: u16, script: &Path| {
        said(wrk(port, script, CONNECTIONS, time.min(Duration::from_secs(2))));
        said(wrk(port, script, CONNECTIONS, time)).calls_a_second
    };
    let (of_null, of_bare) = {
        // Ended before ours begins.
        let runtime = Runtime::new().expect("a runtime");
        let port = null(&runtime, Arc::clone(&floor)).port();
        let of = |name, target| rate(port, &script(folder.path(), name, target, "", TEXT));
        (of("null.lua", "/null"), of("bare.lua", "/bare"))
    };
    let mut row = |name: &str, value: f64, floor: (&str, f64), aim: Option<Aim>| {
        let figure = Figure::new(format!("load/{name}"), value, Unit::PerSecond);
        let figure = figure.beside(format!("load/{}", floor.0), floor.1);
        figures.row(if let Some(aim) = aim { figure.aim(aim) } else { figure });
    };
    row("null_http", of_null, ("bare_tuned", alone), None);
    row("bare_http", of_bare, ("bare_tuned", alone), None);
    row("bare_http", of_bare, ("null_http", of_null), None);
    for durability in ["committed", "relaxed"] {
        let served = ForAgents::new(durability);
        let ours = rate(served.port, &served.script("echo.lua", ECHO, TEXT));
        let aim = (durability == "committed").then_some(Aim::RatioAtLeast(0.6));
        row(durability, ours, ("bare_tuned", alone), aim);
        row(durability, ours, ("bare_http", of_bare), None);
        row(durability, ours, ("null_http", of_null), None);
    }
}

/// Calls a second of bare wasmtime, with our own engine settings, on all cores.
fn bare(floor: &Arc<Floor>, time: Duration) -> f64 {
    let runtime = Runtime::new().expect("a runtime");
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    runtime.block_on(async {
        let tasks = (0..CONNECTIONS).map(|_| {
            let (floor, over, calls) = (Arc::clone(floor), Arc::clone(&over), Arc::clone(&calls));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let (answer,): (String,) = floor.call(("a short string",)).await;
                    assert_eq!(answer, "a short string");
                    calls.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        tokio::time::sleep(time).await;
        over.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("no panic");
        }
    });
    calls.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// (b) Resident memory after so many calls, beside that after the first ten thousand.
fn memory(figures: &mut Figures, time: Duration) {
    let served = ForAgents::new("relaxed");
    let script = served.script("echo.lua", ECHO, TEXT);
    let deadline = Instant::now() + time;
    let (mut calls, mut next, mut first) = (0, 10_000, None);
    while calls < CALLS_MAX && Instant::now() < deadline {
        let seconds = if calls == 0 { 2 } else { 10 };
        if calls > 0 {
            std::thread::sleep(REST);
        }
        calls += said(served.wrk(&script, CONNECTIONS, Duration::from_secs(seconds))).calls;
        if calls >= next {
            let resident = served.resident() as f64;
            let of_first = *first.get_or_insert(resident);
            let figure = Figure::new(format!("load/memory/after_{calls}_calls"), resident, Unit::Bytes);
            figures.row(figure.beside("load/memory/after_the_first", of_first));
            next = calls + 50_000;
        }
    }
}

/// (c) What a polite agent, which makes one call at a time, waits for its answers: alone, beside an agent whose tools
/// compute, and beside one that makes short calls as fast as it can.
fn beside_a_loop(figures: &mut Figures) {
    for durability in ["committed", "relaxed"] {
        let served = ForAgents::new(durability);
        times(&served, POLITE_CALLS / 10);
        let alone = times(&served, POLITE_CALLS);
        let name_of = |name: &str| format!("load/polite/{durability}/{name}");
        figures.times(&name_of("alone"), &alone, None, None);
        let compute = served.script("compute.lua", COMPUTE, ROUNDS);
        let echo = served.script("echo.lua", ECHO, TEXT);
        // A connection of its own for each place, and as many more as wait.
        for (name, script, connections) in [
            ("beside_16_that_compute", &compute, 16),
            ("beside_64_that_compute", &compute, 64),
            // One loop of one client; several; as many connections as a pool may have.
            ("beside_1_short", &echo, 1),
            ("beside_8_short", &echo, 8),
            ("beside_64_short", &echo, 64),
        ] {
            let mut wrk = served.wrk(script, connections, BESIDE_TIME_MAX);
            std::thread::sleep(Duration::from_secs(2));
            let beside = times(&served, POLITE_CALLS);
            let still_runs = wrk.try_wait().expect("a child of ours").is_none();
            // What computes does not end with wrk's time: only the polite one is measured.
            let _ = wrk.kill();
            let _ = wrk.wait();
            if !still_runs {
                eprintln!("{}: the other had ended before all calls were made", name_of(name));
            }
            for (part, permille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
                let figure =
                    Figure::new(format!("{}/{part}", name_of(name)), beside.at(permille), Unit::Nanoseconds);
                let figure = figure.beside(format!("{}/{part}", name_of("alone")), alone.at(permille));
                figures.row(if part == "p99" { figure.aim(Aim::RatioAtMost(2.0)) } else { figure });
            }
        }
    }
}

/// (d) What idle subscriptions of MCP hold.
fn subscriptions(figures: &mut Figures) {
    let served = ForAgents::new("relaxed");
    times(&served, 100);
    let before = served.resident();
    let message = json!({
        "jsonrpc": "2.0", "id": "sub", "method": "subscriptions/listen",
        "params": {
            "notifications": { "toolsListChanged": true },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "load", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    });
    let more = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
                mcp-protocol-version: 2026-07-28\r\nmcp-method: subscriptions/listen\r\n";
    let request = served.request("/mcp", more, &message.to_string());
    let mut open = Vec::new();
    for number in 0..SUBSCRIPTIONS {
        let mut client = served.connect();
        client.send(&request);
        loop {
            let line = client.line();
            assert!(!line.starts_with("HTTP/1.1 4"), "subscription {number}: {line}");
            if line.contains("acknowledged") {
                break;
            }
        }
        open.push(client);
    }
    let held = served.resident().saturating_sub(before) as f64;
    let figure = Figure::new(format!("load/subscriptions/{}", open.len()), held, Unit::Bytes);
    figures.row(figure.beside("load/subscriptions/none", before as f64).aim(Aim::ValueAtMost(100e6)));
}
