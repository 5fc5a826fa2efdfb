//! What a tool costs by the language that it is written in: its size, compiling it once at
//! registration, loading what was compiled, the first call of a host that has just started, and a call
//! in a fresh sandbox after that.
//!
//! Prints a table, with what one such call used, and keeps the times where criterion keeps its own, so that `cargo xtask bench
//! languages --json` gives them. Nothing here asserts a speed.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads guests and writes its numbers")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis::audit::AuditSettings;
use portcullis::authn::local_admin;
use portcullis::config::{DataFolder, Ownership};
use portcullis::database::Database;
use portcullis::egress::SystemResolver;
use portcullis::gateway::{CallRequest, GrantsSource, Host, HostOptions};
use portcullis::limits::Usage;
use portcullis::policy::Durability;
use portcullis::sandbox::compiler::Compiler;
use portcullis::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const AGENT: &str = "bench";
/// Each of them compiles; compiling is what takes long.
const REGISTRATIONS: usize = 3;
/// Each of them starts a host.
const STARTS: usize = 10;
const WARM_CALLS: usize = 500;

/// A guest, how it is called here, and one of its tools that does next to nothing.
struct Guest {
    label: &'static str,
    name: &'static str,
    tool: &'static str,
    arguments: Value,
}

fn guests() -> [Guest; 5] {
    let guest = |label, name, tool, arguments| Guest { label, name, tool, arguments };
    [
        guest("Rust, no WASI of its own", "echo", "text", json!({ "value": "a short string" })),
        guest("Rust, std", "std-probe", "list-folder", json!({ "path": "/data" })),
        guest("C", "c", "word-count", json!({ "text": "a short string" })),
        guest("JavaScript", "javascript", "query", json!({ "document": "[]", "field": "a", "least": 1 })),
        guest("Python", "python", "say", json!({ "text": "a short string" })),
    ]
}

/// What was measured of a guest.
#[derive(Default)]
struct Row {
    bytes: usize,
    artifact_bytes: u64,
    register: Vec<Duration>,
    load: Vec<Duration>,
    cold: Vec<Duration>,
    warm: Vec<Duration>,
    usage: Usage,
}

fn guest_bytes(name: &str) -> Bytes {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests").join(name).with_extension("wasm");
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()))
        .into()
}

fn take(data: &Path) -> DataFolder {
    match DataFolder::take(data).expect("usable") {
        Ownership::Ours(folder) => folder,
        Ownership::Others { .. } => panic!("the folder is ours"),
    }
}

async fn open(data: &Path) -> Host {
    let options = HostOptions {
        audit: AuditSettings { durability: Durability::Relaxed, ..AuditSettings::default() },
        ..HostOptions::default()
    };
    Host::open(take(data), options).await.expect("it opens")
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").metadata().expect("metadata").len()).sum()
}

async fn timed<T>(times: &mut Vec<Duration>, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let result = work.await;
    times.push(started.elapsed());
    result
}

async fn call(host: &Host, guest: &Guest) -> Usage {
    let request = CallRequest {
        principal: AGENT.parse().expect("a name"),
        package: guest.name.parse().expect("a name"),
        tool: guest.tool.parse().expect("a name"),
        argument_bytes: 32,
        arguments: guest.arguments.clone(),
        trace: None,
        admission: Default::default(),
    };
    host.call(request).await.expect("it answers").report.usage
}

async fn register(host: &Host, guest: &Guest, bytes: &Bytes, folder: &Path) {
    let name = || guest.name.parse().expect("a name");
    host.add_package(&local_admin(), bytes.clone(), Some(name()), None, |_| {}).await.expect("registered");
    host.approve(&local_admin(), &name(), None).await.expect("approved");
    let text = format!(
        "[[grant]]\npackage = \"{}\"\nagents = [\"{AGENT}\"]\n[[grant.filesystem]]\nhost_path = \"files\"\n\
         guest_path = \"/data\"\naccess = \"read\"\n",
        guest.name
    );
    let source = GrantsSource { file: "bench".into(), folder: folder.into(), text };
    host.apply_grants(&local_admin(), &source).await.expect("granted");
}

async fn measure(guest: &Guest) -> Row {
    let bytes = guest_bytes(guest.name);
    let mut row = Row { bytes: bytes.len(), ..Row::default() };
    let mut kept = None;
    for _ in 0..REGISTRATIONS {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(temporary.path().join("files")).expect("made");
        let host = open(&temporary.path().join("data")).await;
        timed(&mut row.register, register(&host, guest, &bytes, temporary.path())).await;
        host.close().await.expect("closed");
        kept = Some(temporary);
    }
    let temporary = kept.expect("it was registered");
    let data = temporary.path().join("data");
    for _ in 0..STARTS {
        let folder = take(&data);
        let (artifacts, key) = (folder.paths().artifacts(), folder.artifact_key().expect("a key"));
        row.artifact_bytes = folder_bytes(&artifacts);
        let database = Database::open(&folder.paths().database()).await.expect("it opens");
        drop(folder);
        let options = SandboxOptions {
            artifacts,
            key,
            compiler: Compiler::default(),
            limits: Default::default(),
            resolver: Arc::new(SystemResolver::default()),
            roots: portcullis::egress::Roots::System,
            state: database.key_value(),
        };
        let sandbox = Sandbox::new(options).expect("a sandbox");
        let digest = portcullis::ids::PackageDigest::of(&bytes);
        let read = async { Ok::<_, String>(bytes.clone()) };
        timed(&mut row.load, sandbox.prepare(digest, &[], read)).await.expect("loaded");
        database.close().await;
    }
    for _ in 0..STARTS {
        let host = open(&data).await;
        timed(&mut row.cold, call(&host, guest)).await;
        host.close().await.expect("closed");
    }
    let host = open(&data).await;
    row.usage = call(&host, guest).await;
    for _ in 0..WARM_CALLS {
        timed(&mut row.warm, call(&host, guest)).await;
    }
    host.close().await.expect("closed");
    row
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Keeps times in the form of criterion's samples, one iteration each.
fn keep(guest: &Guest, what: &str, times: &[Duration]) {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/criterion/languages")
        .join(guest.name)
        .join(what)
        .join("new");
    let nanoseconds: Vec<u128> = times.iter().map(Duration::as_nanos).collect();
    let sample = json!({ "iters": vec![1.0; times.len()], "times": nanoseconds });
    let kept = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join("sample.json"), sample.to_string()));
    if let Err(error) = kept {
        println!("{}: the times could not be kept: {error}", folder.display());
    }
}

fn main() {
    let name = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if name.is_some_and(|name| !"languages".contains(&name)) {
        return;
    }
    let runtime = Runtime::new().expect("a runtime");
    println!(
        "\n{:<23} {:>8} {:>12} {:>10} {:>7} {:>7} {:>11} {:>7} {:>8} {:>10} {:>10}",
        "languages",
        "size KiB",
        "artifact KiB",
        "register s",
        "load ms",
        "cold ms",
        "warm p50 µs",
        "p99 µs",
        "Mfuel",
        "memory KiB",
        "host calls"
    );
    for guest in guests() {
        let row = runtime.block_on(measure(&guest));
        let half = |times: &[Duration]| percentile(times, 50).as_secs_f64();
        println!(
            "{:<23} {:>8} {:>12} {:>10.2} {:>7.2} {:>7.2} {:>11.0} {:>7.0} {:>8.3} {:>10} {:>10}",
            guest.label,
            row.bytes >> 10,
            row.artifact_bytes >> 10,
            half(&row.register),
            half(&row.load) * 1e3,
            half(&row.cold) * 1e3,
            half(&row.warm) * 1e6,
            percentile(&row.warm, 99).as_secs_f64() * 1e6,
            row.usage.fuel as f64 / 1e6,
            row.usage.memory_peak >> 10,
            row.usage.host_calls
        );
        for (what, times) in
            [("register", &row.register), ("load", &row.load), ("cold", &row.cold), ("warm", &row.warm)]
        {
            keep(&guest, what, times);
        }
    }
}
