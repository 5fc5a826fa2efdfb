//! How a host does with 1, 100 and 10,000 registered, approved and granted packages: how long the built program takes
//! to be ready, the memory that it has then, and how long a call and a list of tools take, for an agent that may use ten
//! of them and for one that may use all.
//!
//! Each package has bytes of its own: one small component, with another number in a section that nothing reads. One
//! is registered by the program; the others are written by the registry as it writes any, with the description of that
//! one, and without compiled code: what is called first is compiled then. Grants are applied by the program.

#![allow(clippy::print_stderr, reason = "progress is not a figure")]
#![allow(clippy::disallowed_methods, reason = "a benchmark works with files")]

mod figures;
mod served;

use std::path::Path;
use std::time::Instant;

use figures::{Aim, Figure, Figures, Times, Unit, scaled};
use portcullis::authn::local_admin;
use portcullis::database::Database;
use portcullis::ids::{PackageDigest, PackageName};
use portcullis::registry::Registry;
use serde_json::{Value, json};
use served::{Served, request_with, run};

/// What an agent may use that may use little.
const FEW: usize = 10;
/// Grants in one file: the most.
const GRANTS: usize = 1_000;
/// Packages that are called once each, to see what loaded code takes.
const LOADED: usize = 500;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if chosen.iter().any(|name| !"breadth".contains(name.as_str())) {
        return;
    }
    let mut figures = Figures::new();
    let mut one = None;
    for count in scaled(vec![1, 100, 10_000], vec![1, 100]) {
        let times = measure(&mut figures, count, one.as_ref());
        one.get_or_insert(times);
    }
}

/// The least tool there is, with a number that makes it another.
fn component(number: usize) -> Vec<u8> {
    let mut bytes = wat::parse_str(
        r#"(component
             (core module $m (func (export "answer") (result i32) (i32.const 42)))
             (core instance $i (instantiate $m))
             (func (export "answer") (result u32) (canon lift (core func $i "answer"))))"#,
    )
    .expect("valid text");
    let section = format!("\u{6}number{number:08}");
    bytes.extend([0, u8::try_from(section.len()).expect("short")]);
    bytes.extend(section.into_bytes());
    bytes
}

fn name(number: usize) -> PackageName {
    format!("tool{number}").parse().expect("a name")
}

/// Registers, approves and grants so many, and gives the keys of two agents: one may use few of them, one all.
fn fill(data: &Path, count: usize) -> [String; 2] {
    let file = data.with_extension("wasm");
    std::fs::write(&file, component(0)).expect("written");
    run(data, &["package", "add", file.to_str().expect("text"), "--name", name(0).as_str()]);
    run(data, &["package", "approve", name(0).as_str()]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let database = Database::open(&data.join("portcullis.db")).await.expect("it opens");
        let registry = Registry::open(database.clone(), &data.join("packages")).await.expect("it opens");
        let (by, now) = (local_admin(), jiff::Timestamp::now());
        let first = PackageDigest::of(&component(0));
        let description = registry.description(&name(0), first).await.expect("registered");
        for number in 1..count {
            let (name, bytes) = (name(number), component(number));
            let digest = PackageDigest::of(&bytes);
            let version = semver::Version::new(0, 0, 0);
            let added = registry.add(&name, &version, digest, (bytes, &[]), &description, (&by, now)).await;
            added.expect("registered");
            registry.approve(&name, Some(digest), now).await.expect("approved");
        }
        database.close().await;
    });
    let grant = |number: usize| {
        let agents = if number < FEW { r#""few", "all""# } else { r#""all""# };
        format!("[[grant]]\npackage = \"{}\"\nagents = [{agents}]\n", name(number))
    };
    for from in (0..count).step_by(GRANTS) {
        let text: String = (from..count.min(from + GRANTS)).map(grant).collect();
        let file = data.with_extension("toml");
        std::fs::write(&file, text).expect("written");
        run(data, &["grant", "apply", file.to_str().expect("text")]);
    }
    std::fs::write(data.join("audit.toml"), "durability = \"relaxed\"\n").expect("written");
    ["few", "all"].map(|agent| run(data, &["key", "create", agent]))
}

/// Gives the times of a call, which those with more packages stand beside.
fn measure(figures: &mut Figures, count: usize, one: Option<&Times>) -> Times {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let data = temporary.path().join("data");
    let filled = Instant::now();
    let [few, all] = fill(&data, count);
    eprintln!("{count} packages were made in {:.1} s", filled.elapsed().as_secs_f64());
    let part = |what: &str| format!("breadth/{count}/{what}");
    let mut starts = Times::default();
    for _ in 0..scaled(5, 1) {
        starts.push(Served::start(&data).ready_after);
    }
    let served = Served::start(&data);
    let mut start = Figure::new(part("start"), starts.median(), Unit::Nanoseconds);
    let mut memory = Figure::new(part("memory"), served.resident(false) as f64, Unit::Bytes);
    if count == 10_000 {
        start = start.aim(Aim::ValueAtMost(1e9));
        memory = memory.aim(Aim::ValueAtMost(150e6));
    }
    figures.row(start);
    figures.row(memory);
    let calls = calls(&served, &all, count);
    figures.times(&part("call"), &calls, one.map(|one| ("breadth/1/call", one)), None);
    for (agent, key) in [("few", &few), ("all", &all)] {
        lists(figures, &served, key, &part(agent), if agent == "few" { count.min(FEW) } else { count });
    }
    let before = served.resident(false);
    let loaded = count.min(scaled(LOADED, 10));
    let mut client = served.client();
    for number in 0..loaded {
        let called = client.ask(&call(&all, number));
        assert_eq!(called.0, 200, "{}", String::from_utf8_lossy(&called.1));
    }
    if loaded > 100 {
        let each = served.resident(false).saturating_sub(before) as f64 / loaded as f64;
        figures.row(Figure::new(part("memory_of_a_loaded_one"), each, Unit::Bytes));
    }
    calls
}

fn call(key: &str, number: usize) -> Vec<u8> {
    request_with("POST", &format!("/v1/calls?package={}&tool=answer", name(number)), key, "", "{}")
}

/// Calls of one package after the other of some that are loaded.
fn calls(served: &Served, key: &str, count: usize) -> Times {
    let mut client = served.client();
    let mut times = Times::default();
    for round in 0..scaled(2_000, 50) {
        // Spread over all of them.
        let number = (round % FEW) * count.saturating_sub(1) / FEW;
        let request = call(key, number);
        let started = Instant::now();
        let (status, body) = client.ask(&request);
        let took = started.elapsed();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        if round >= 2 * FEW {
            times.push(took);
        }
    }
    times
}

/// The tools of an agent: by HTTP at once, by MCP in pages.
fn lists(figures: &mut Figures, served: &Served, key: &str, name: &str, expected: usize) {
    let mut client = served.client();
    let (mut http, mut page, mut pages) = (Times::default(), Times::default(), Times::default());
    let plain = request_with("GET", "/v1/tools", key, "", "");
    for _ in 0..scaled(20, 2) {
        let started = Instant::now();
        let (status, body) = client.ask(&plain);
        http.push(started.elapsed());
        let tools: Vec<Value> = serde_json::from_slice(&body).expect("a list");
        assert_eq!((status, tools.len()), (200, expected));
    }
    for _ in 0..scaled(3, 1) {
        let (mut cursor, mut found) = (Value::Null, 0);
        let whole = Instant::now();
        loop {
            let started = Instant::now();
            let answer = mcp_list(&mut client, key, &cursor);
            page.push(started.elapsed());
            found += answer["tools"].as_array().expect("a list").len();
            cursor = answer["nextCursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        pages.push(whole.elapsed());
        assert_eq!(found, expected);
    }
    for (what, times) in [("http_list", &http), ("mcp_page", &page), ("mcp_all_pages", &pages)] {
        figures.row(Figure::new(format!("{name}/{what}"), times.median(), Unit::Nanoseconds));
    }
}

fn mcp_list(client: &mut served::Client, key: &str, cursor: &Value) -> Value {
    let mut message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/list",
        "params": {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "breadth", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    });
    if !cursor.is_null() {
        message["params"]["cursor"] = cursor.clone();
    }
    let more = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
                mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/list\r\n";
    let (status, body) = client.ask(&request_with("POST", "/mcp", key, more, &message.to_string()));
    let text = String::from_utf8_lossy(&body).into_owned();
    assert_eq!(status, 200, "{text}");
    // One document, or the events of a stream.
    let document =
        text.lines().find_map(|line| line.strip_prefix("data: ").filter(|data| data.starts_with('{')));
    let answer: Value = serde_json::from_str(document.unwrap_or(&text)).expect("JSON");
    answer["result"].clone()
}
