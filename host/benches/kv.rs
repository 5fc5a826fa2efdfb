//! What a read and a write of key-value state cost a guest through the gate, beside the same statements of
//! SQLite without it, in one run.
//!
//! Batches of both take turns; each number is the median over batches of what one operation took. The
//! guest's operations are made by one call for each batch, whose own cost (sandbox, admission, last record)
//! is measured by calls that do one operation, and taken off. Nothing here asserts a speed.

#![expect(clippy::disallowed_methods, reason = "guests are read from where they were built")]

mod figures;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis::audit::AuditSettings;
use portcullis::authn::local_admin;
use portcullis::config::{DataFolder, Ownership};
use portcullis::database::{Database, KeyValue, StoreBounds, StoreId};
use portcullis::gateway::{CallRequest, GrantsSource, Host, HostOptions};
use portcullis::policy::Durability;
use serde_json::{Value, json};

use self::figures::{Figure, Figures, Unit, scaled};

const AGENT: &str = "bench";
const VALUE_BYTES: usize = 100;
const BATCHES: usize = 31;
const READS: u32 = 500;
const WRITES: u32 = 50;

const GRANTS: &str = "[[grant]]\npackage = \"state\"\nagents = [\"bench\"]\n\
    limits = { wall_time = \"5m\", fuel = 1_000_000_000_000 }\n\
    [[grant.keyvalue]]\nstore = \"default\"\nscope = \"package\"\naccess = \"read-write\"\n";

#[tokio::main]
async fn main() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let (host, database) = open(temporary.path()).await;
    let state = database.key_value();
    call(&host, "write-often", WRITES).await;
    let (mut through_gate, mut alone) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for _ in 0..scaled(BATCHES, 3) {
        for (index, (tool, times)) in [("read-often", READS), ("write-often", WRITES)].into_iter().enumerate()
        {
            let once = timed(call(&host, tool, 1)).await;
            let all = timed(call(&host, tool, times)).await;
            through_gate[index].push(all.saturating_sub(once) / (times - 1));
            alone[index].push(timed(statements(&state, tool, times)).await / times);
        }
    }
    let mut figures = Figures::new();
    for (index, name) in ["get", "set"].into_iter().enumerate() {
        let [gate, sqlite] =
            [&mut through_gate[index], &mut alone[index]].map(|times| median(times).as_secs_f64() * 1e9);
        let figure = Figure::new(format!("kv/{name}"), gate, Unit::Nanoseconds);
        figures.row(figure.beside(format!("kv/{name}/sqlite"), sqlite));
    }
    database.close().await;
    host.close().await.expect("closed");
}

/// A host with the guest, and a second connection to its database.
async fn open(folder: &Path) -> (Host, Database) {
    let Ownership::Ours(data) = DataFolder::take(&folder.join("data")).expect("a folder") else {
        panic!("a fresh folder is nobody's");
    };
    let path = data.paths().database();
    let options = HostOptions {
        audit: AuditSettings { durability: Durability::Relaxed, ..AuditSettings::default() },
        ..HostOptions::default()
    };
    let host = Host::open(data, options).await.expect("it opens");
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/state.wasm");
    let bytes = std::fs::read(&guest).expect("run `cargo xtask guests` first");
    let name: portcullis::ids::PackageName = "state".parse().expect("a name");
    let admin = local_admin();
    host.add_package(&admin, Bytes::from(bytes), Some(name.clone()), None, |_| {}).await.expect("added");
    host.approve(&admin, &name, None).await.expect("approved");
    host.apply_grants(&admin, &GrantsSource::new(GRANTS, folder)).await.expect("granted");
    (host, Database::open(&path).await.expect("it opens"))
}

async fn call(host: &Host, tool: &str, times: u32) {
    let mut arguments = json!({"store": "default", "key": "key", "times": times});
    if tool == "write-often" {
        arguments["bytes"] = Value::from(VALUE_BYTES);
    }
    let request = CallRequest::new(AGENT, "state", tool, &arguments.to_string()).expect("a request");
    host.call(request).await.expect("an answer");
}

/// The same reads or writes without guest, gate and log.
async fn statements(state: &KeyValue, tool: &str, times: u32) {
    let store = StoreId {
        package: "state".parse().expect("a name"),
        agent: None,
        name: "default".parse().expect("a name"),
    };
    let (key, value) = ("key".parse().expect("a key"), [b'x'; VALUE_BYTES]);
    let bounds = StoreBounds { bytes_max: 1 << 20, keys_max: 10_000 };
    for _ in 0..times {
        match tool {
            "read-often" => assert!(state.get(&store, &key).await.expect("read").is_some()),
            _ => drop(state.set(&store, bounds, &key, &value).await.expect("written")),
        }
    }
}

async fn timed(work: impl Future<Output = ()>) -> Duration {
    let started = Instant::now();
    work.await;
    started.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
