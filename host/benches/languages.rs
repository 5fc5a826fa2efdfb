//! What a tool costs by the language that it is written in: its size, compiling it once at
//! registration, loading what was compiled, the first call of a host that has just started, and a call
//! in a fresh sandbox after that.
//!
//! Floors: compiling the same bytes by bare wasmtime, and a warm call of the least guest; the tools differ, so rows are
//! not to be compared with each other but for their order of magnitude. Nothing here asserts a speed.

mod figures;
mod floor;

use std::path::Path;
use std::sync::Arc;

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
use portcullis::sandbox::{Ground, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wasmtime::component::Component;

use self::figures::{Figure, Figures, Times, Unit, quick, scaled};
use self::floor::{guest_bytes, tuned_engine};

const AGENT: &str = "bench";
/// Each of them compiles; compiling is what takes long. The large ones are registered once.
const REGISTRATIONS: usize = 3;
const LARGE_BYTES: usize = 1 << 20;
/// Each of them starts a host.
const STARTS: usize = 10;
const WARM_CALLS: usize = 500;

/// A guest, and one of its tools that does next to nothing.
struct Guest {
    name: &'static str,
    tool: &'static str,
    arguments: Value,
}

fn guests() -> [Guest; 5] {
    let guest = |name, tool, arguments| Guest { name, tool, arguments };
    [
        // Rust without WASI of its own, and with std.
        guest("echo", "text", json!({ "value": "a short string" })),
        guest("std-probe", "list-folder", json!({ "path": "/data" })),
        guest("c", "word-count", json!({ "text": "a short string" })),
        guest("javascript", "query", json!({ "document": "[]", "field": "a", "least": 1 })),
        guest("python", "say", json!({ "text": "a short string" })),
    ]
}

/// What was measured of a guest.
#[derive(Default)]
struct Row {
    bytes: usize,
    artifact_bytes: u64,
    compile: Times,
    register: Times,
    load: Times,
    cold: Times,
    warm: Times,
    usage: Usage,
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
    let bytes = Bytes::from(guest_bytes(guest.name));
    let mut row = Row { bytes: bytes.len(), ..Row::default() };
    let mut kept = None;
    let registrations = if bytes.len() > LARGE_BYTES { 1 } else { scaled(REGISTRATIONS, 1) };
    let engine = tuned_engine();
    for _ in 0..registrations {
        row.compile.of(async { Component::new(&engine, &bytes).expect("it compiles") }).await;
        let temporary = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(temporary.path().join("files")).expect("made");
        let host = open(&temporary.path().join("data")).await;
        row.register.of(register(&host, guest, &bytes, temporary.path())).await;
        host.close().await.expect("closed");
        kept = Some(temporary);
    }
    let temporary = kept.expect("it was registered");
    let data = temporary.path().join("data");
    for _ in 0..scaled(STARTS, 2) {
        let folder = take(&data);
        let (artifacts, key) = (folder.paths().artifacts(), folder.artifact_key().expect("a key"));
        row.artifact_bytes = folder_bytes(&artifacts);
        let database = Database::open(&folder.paths().database()).await.expect("it opens");
        drop(folder);
        let options = SandboxOptions {
            compiler: Compiler::default(),
            resolver: Arc::new(SystemResolver::default()),
            roots: portcullis::egress::Roots::System,
            state: database.key_value(),
            stand_ins: Default::default(),
            prepares: false,
        };
        let ground = Ground::new(artifacts, key, Default::default()).expect("an engine");
        let sandbox = Sandbox::new(ground, options).expect("a sandbox");
        let digest = portcullis::ids::PackageDigest::of(&bytes);
        let read = async { Ok::<_, String>(bytes.clone()) };
        row.load.of(sandbox.prepare(digest, &[], read)).await.expect("loaded");
        database.close().await;
    }
    for _ in 0..scaled(STARTS, 2) {
        let host = open(&data).await;
        row.cold.of(call(&host, guest)).await;
        host.close().await.expect("closed");
    }
    let host = open(&data).await;
    row.usage = call(&host, guest).await;
    for _ in 0..scaled(WARM_CALLS, 20) {
        row.warm.of(call(&host, guest)).await;
    }
    host.close().await.expect("closed");
    row
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let mut figures = Figures::new();
    let mut least: Option<Times> = None;
    // To try it out, no minutes of compiling.
    for guest in guests().into_iter().filter(|guest| !quick() || guest_bytes(guest.name).len() < LARGE_BYTES)
    {
        let row = runtime.block_on(measure(&guest));
        let name = |what: &str| format!("languages/{}/{what}", guest.name);
        let artifact = Figure::new(name("artifact"), row.artifact_bytes as f64, Unit::Bytes);
        figures.row(artifact.beside(name("component"), row.bytes as f64));
        let memory = Figure::new(name("memory_of_a_call"), row.usage.memory_peak as f64, Unit::Bytes);
        figures.row(memory.beside(name("component"), row.bytes as f64));
        figures.times(&name("register"), &row.register, Some((&name("bare_compile"), &row.compile)), None);
        for (what, times) in [("load", &row.load), ("cold_call", &row.cold)] {
            figures.times(&name(what), times, Some((&name("warm_call"), &row.warm)), None);
        }
        let floor = least.as_ref().map(|least| ("languages/echo/warm_call", least));
        figures.times(&name("warm_call"), &row.warm, floor, None);
        least.get_or_insert(row.warm);
    }
}
