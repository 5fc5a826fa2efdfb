//! What a governed call costs, beside the same call on bare wasmtime, in one run.
//!
//! Floors: `bare_default` is wasmtime with the pooling allocator at its defaults; `bare_tuned` has our
//! own engine settings. Both make a fresh store and instance for each call, count fuel and check
//! epochs, with WASI linked by wasmtime, and neither decides nor records anything.
//!
//! Criterion measures; percentiles are of single calls, written to `percentiles.json` beside its
//! results and printed as a table at the end. Nothing here asserts a speed.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "floors are bare wasmtime, without the gate")]

mod floor;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::audit::AuditSettings;
use portcullis::authn::local_admin;
use portcullis::config::{DataFolder, Ownership};
use portcullis::gateway::{CallRequest, GrantsSource, Host, HostOptions};
use portcullis::policy::Durability;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wasmtime::{Config, Engine, InstanceAllocationStrategy};

use self::floor::{Floor, guest_bytes};

const AGENT: &str = "bench";
const FILE_BYTES: u64 = 4096;
/// Enough that the call around them does not count.
const CLOCK_READS: u32 = 1_000;

/// Durations of single calls, by the name of the measurement.
static SINGLE_CALLS: Mutex<BTreeMap<String, Vec<u64>>> = Mutex::new(BTreeMap::new());

/// Measures one call at a time.
fn measure(criterion: &mut Criterion, runtime: &Runtime, name: &str, call: impl AsyncFn()) {
    let mut calls = Vec::new();
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            runtime.block_on(async {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let started = Instant::now();
                    call().await;
                    let took = started.elapsed();
                    calls.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                    total += took;
                }
                total
            })
        });
    });
    if !calls.is_empty() {
        SINGLE_CALLS.lock().expect("one thread").insert(name.to_owned(), calls);
    }
}

fn default_engine() -> Engine {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true);
    config.allocation_strategy(InstanceAllocationStrategy::pooling());
    Engine::new(&config).expect("an engine")
}

/// Our host over a temporary folder, with both guests granted.
struct Ours {
    host: Host,
    _temporary: tempfile::TempDir,
}

impl Ours {
    async fn new(durability: Durability) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(temporary.path().join("files")).expect("made");
        std::fs::write(temporary.path().join("files/file"), vec![b'x'; 4096]).expect("written");
        let Ownership::Ours(folder) = DataFolder::take(&temporary.path().join("data")).expect("usable")
        else {
            panic!("the folder is new");
        };
        let host = Host::open(
            folder,
            HostOptions {
                audit: AuditSettings { durability, ..AuditSettings::default() },
                ..HostOptions::default()
            },
        )
        .await
        .expect("it opens");
        let mut grants = String::new();
        for name in ["echo", "std-probe"] {
            let package = name.parse().expect("a name");
            let bytes = Bytes::from(guest_bytes(name));
            host.add_package(&local_admin(), bytes, Some(package), None, |_| {}).await.expect("registered");
            host.approve(&local_admin(), &name.parse().expect("a name"), None).await.expect("approved");
            grants += &format!("[[grant]]\npackage = \"{name}\"\nagents = [\"{AGENT}\"]\n");
        }
        grants += "[[grant.filesystem]]\nhost_path = \"files\"\nguest_path = \"/data\"\naccess = \"read\"\n";
        let source = GrantsSource { file: "bench".into(), folder: temporary.path().into(), text: grants };
        host.apply_grants(&local_admin(), &source).await.expect("granted");
        Self { host, _temporary: temporary }
    }

    async fn call(&self, package: &str, tool: &str, arguments: Value) -> Value {
        let request = CallRequest {
            principal: AGENT.parse().expect("a name"),
            package: package.parse().expect("a name"),
            tool: tool.parse().expect("a name"),
            argument_bytes: 32,
            arguments,
            trace: None,
            admission: Default::default(),
        };
        self.host.call(request).await.expect("it answers").answer.structured.unwrap_or_default()
    }
}

fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let files = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(files.path().join("file"), vec![b'x'; 4096]).expect("written");
    let default = default_engine();
    let tuned = portcullis::sandbox::tuned_floor_engine().expect("an engine");
    let relaxed = runtime.block_on(Ours::new(Durability::Relaxed));
    let committed = runtime.block_on(Ours::new(Durability::Committed));

    let text = "a short string";
    for (name, engine) in [("call/bare_default", &default), ("call/bare_tuned", &tuned)] {
        let floor = Floor::new(engine, "echo", ECHO, "text", files.path());
        measure(criterion, &runtime, name, async || {
            let (answer,): (String,) = floor.call((text,)).await;
            assert_eq!(answer, text);
        });
    }
    for (name, ours) in [("call/ours_relaxed", &relaxed), ("call/ours_committed", &committed)] {
        measure(criterion, &runtime, name, async || {
            assert_eq!(ours.call("echo", "text", json!({ "value": text })).await, text);
        });
    }
    let floor = Floor::new(&tuned, "std-probe", PROBE, "read-clock", files.path());
    for (name, times) in [("clock/bare_tuned_0", 0), ("clock/bare_tuned_1000", CLOCK_READS)] {
        measure(criterion, &runtime, name, async || floor.call::<_, ()>((times,)).await);
    }
    for (name, times) in [("clock/ours_relaxed_0", 0), ("clock/ours_relaxed_1000", CLOCK_READS)] {
        measure(criterion, &runtime, name, async || {
            relaxed.call("std-probe", "read-clock", json!({ "times": times })).await;
        });
    }
    let floor = Floor::new(&tuned, "std-probe", PROBE, "read-file", files.path());
    measure(criterion, &runtime, "read_4k/bare_tuned", async || {
        let (answer,): (Result<u64, String>,) = floor.call(("/data/file", FILE_BYTES)).await;
        assert_eq!(answer, Ok(FILE_BYTES));
    });
    measure(criterion, &runtime, "read_4k/ours_relaxed", async || {
        let arguments = json!({ "path": "/data/file", "bytes-max": FILE_BYTES });
        assert_eq!(relaxed.call("std-probe", "read-file", arguments).await, json!(FILE_BYTES));
    });
    report();
}

const ECHO: &str = "test:echo/values@0.1.0";
const PROBE: &str = "test:std-probe/probe@0.1.0";

/// Prints p50, p99 and ratios, and keeps the percentiles beside criterion's results.
fn report() {
    let measured = SINGLE_CALLS.lock().expect("one thread");
    let mut table = BTreeMap::new();
    for (name, calls) in measured.iter() {
        let mut calls = calls.clone();
        calls.sort_unstable();
        let percentile = |percent: usize| calls[(calls.len() * percent / 100).min(calls.len() - 1)];
        table.insert(name.as_str(), (percentile(50), percentile(99), calls.len()));
    }
    println!("\n{:<26} {:>10} {:>10} {:>8}", "single calls", "p50 µs", "p99 µs", "calls");
    for (name, (p50, p99, count)) in &table {
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1_000.0;
        println!("{name:<26} {:>10.1} {:>10.1} {count:>8}", microseconds(*p50), microseconds(*p99));
    }
    let ratio = |one: &str, other: &str| {
        if let (Some(one_row), Some(other_row)) = (table.get(one), table.get(other)) {
            println!("{one} / {other}: {:.2} at p50", one_row.0 as f64 / other_row.0 as f64);
        }
    };
    ratio("call/ours_relaxed", "call/bare_default");
    ratio("call/ours_relaxed", "call/bare_tuned");
    ratio("call/ours_committed", "call/bare_tuned");
    ratio("read_4k/ours_relaxed", "read_4k/bare_tuned");
    let clock = |side: &str| {
        let (none, many) = (
            table.get(format!("clock/{side}_0").as_str())?,
            table.get(format!("clock/{side}_1000").as_str())?,
        );
        Some(many.0.saturating_sub(none.0) as f64 / f64::from(CLOCK_READS))
    };
    if let (Some(bare), Some(ours)) = (clock("bare_tuned"), clock("ours_relaxed")) {
        println!("one clock read: bare {bare:.0} ns, ours {ours:.0} ns, {:.0} ns more", ours - bare);
    }
    for (name, (p50, p99, count)) in &table {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/criterion").join(name.replace('/', "_"));
        let document = json!({ "calls": count, "p50_ns": p50, "p99_ns": p99 });
        if folder.is_dir() && std::fs::write(folder.join("percentiles.json"), document.to_string()).is_err() {
            println!("{name}: the percentiles could not be kept");
        }
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    targets = benches
}
criterion_main!(all);
