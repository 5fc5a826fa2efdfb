//! A host under load: the built program, asked over loopback. `cargo xtask soak load` runs it.
//!
//! Throughput beside bare wasmtime's, memory over very many calls, what one agent in a loop does to another, and what
//! idle subscriptions hold. `wrk` makes the load; whoever is measured beside it asks from here. Bounded in count and
//! time. Nothing here asserts a speed: it gives figures, and fails where an answer is an error.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::print_stderr, reason = "progress is not a figure")]
#![expect(
    clippy::disallowed_methods,
    reason = "it starts programs, and its floor is bare wasmtime, without the gate"
)]

mod floor;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::floor::{Floor, guest_path};

/// Set by `cargo xtask soak load`: how long all of it may take, in seconds. Without it nothing is done, since
/// `cargo bench` runs all benchmarks.
const SECONDS: &str = "PORTCULLIS_SOAK_SECONDS";
/// Set by `cargo xtask soak load`: the file for the figures.
const REPORT: &str = "PORTCULLIS_SOAK_REPORT";

const CONNECTIONS: u64 = 64;
const CALLS_MAX: u64 = 1_000_000;
const SUBSCRIPTIONS: usize = 2_000;
const POLITE_CALLS: usize = 1_000;
/// For so long at most is somebody beside the polite agent.
const BESIDE_TIME_MAX: Duration = Duration::from_secs(180);
/// No answer takes longer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

const ECHO: &str = "/v1/calls?package=echo&tool=text";
const COMPUTE: &str = "/v1/calls?package=std-probe&tool=compute";
const TEXT: &str = r#"{"value":"a short string"}"#;
/// Some tenths of a second of one core.
const ROUNDS: &str = r#"{"rounds":100000000}"#;

fn main() {
    let Some(seconds) = std::env::var(SECONDS).ok().and_then(|text| text.parse::<u64>().ok()) else {
        return;
    };
    // Half for memory, and the rest for what takes its own time.
    let each = Duration::from_secs((seconds / 20).clamp(5, 30));
    let mut figures = json!({});
    let mut part = |name: &str, measure: &dyn Fn() -> Value| {
        figures[name] = measure();
        eprintln!("{name}: {}", figures[name]);
    };
    part("throughput", &|| throughput(each));
    part("subscriptions", &subscriptions);
    part("beside_a_loop", &beside_a_loop);
    part("memory", &|| memory(Duration::from_secs(seconds / 2)));
    println!("{figures:#}");
    if let Some(file) = std::env::var_os(REPORT) {
        std::fs::write(file, figures.to_string()).expect("written");
    }
}

/// A host that is served, with two packages for two agents. Ended when it is dropped.
struct Served {
    server: Child,
    port: u16,
    looping: String,
    polite: String,
    _temporary: tempfile::TempDir,
}

impl Served {
    fn new(durability: &str) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let data = temporary.path().join("data");
        let run = |arguments: &[&str]| {
            let mut command = program(&data);
            let ran = command.args(arguments).stderr(Stdio::inherit()).output().expect("it runs");
            assert!(ran.status.success(), "{arguments:?}");
            String::from_utf8(ran.stdout).expect("text").trim().to_owned()
        };
        for name in ["echo", "std-probe"] {
            let file = guest_path(name);
            run(&["package", "add", file.to_str().expect("text"), "--name", name]);
            run(&["package", "approve", name]);
        }
        let grants = "[[grant]]\npackage = \"echo\"\nagents = [\"looping\", \"polite\"]\n\
                      [[grant]]\npackage = \"std-probe\"\nagents = [\"looping\"]\n\
                      limits = { fuel = 100_000_000_000, wall_time = \"5m\" }\n";
        let file = temporary.path().join("grants.toml");
        std::fs::write(&file, grants).expect("written");
        run(&["grant", "apply", file.to_str().expect("text")]);
        std::fs::write(data.join("audit.toml"), format!("durability = \"{durability}\"\n")).expect("written");
        let [looping, polite] = ["looping", "polite"].map(|agent| run(&["key", "create", agent]));
        let mut serve = program(&data);
        let server =
            serve.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::null());
        let server = server.spawn().expect("it starts");
        let port = port(&data.join("serving.json"), server.id());
        Self { server, port, looping, polite, _temporary: temporary }
    }

    /// A request's bytes.
    fn request(&self, key: &str, target: &str, more: &str, body: &str) -> Vec<u8> {
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {key}\r\n{more}\
             content-length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        head.into_bytes()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.set_nodelay(true).expect("set");
        stream.set_read_timeout(Some(ANSWER_TIME_MAX)).expect("set");
        stream
    }

    /// How long each of some calls takes, one after the other over one connection, in microseconds.
    fn times(&self, calls: usize) -> Vec<u64> {
        let mut stream = BufReader::new(self.connect());
        let request = self.request(&self.polite, ECHO, "", TEXT);
        let mut times = Vec::with_capacity(calls);
        for _ in 0..calls {
            let started = Instant::now();
            stream.get_mut().write_all(&request).expect("sent");
            assert_eq!(answer(&mut stream), 200);
            times.push(u64::try_from(started.elapsed().as_micros()).expect("short"));
        }
        times.sort_unstable();
        times
    }

    fn resident_kilobytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()).expect("it runs")
    }

    /// Has `wrk` ask until the time is over.
    fn wrk(&self, script: &Path, connections: u64, time: Duration) -> Child {
        let mut command = Command::new("wrk");
        command.args(["-t1", "--latency", "--timeout", "60"]);
        command.arg(format!("-c{connections}")).arg(format!("-d{}s", time.as_secs()));
        command.arg("-s").arg(script).arg(format!("http://127.0.0.1:{}", self.port));
        command.stdout(Stdio::piped()).spawn().expect("wrk is installed")
    }

    /// What `wrk` is to ask.
    fn script(&self, name: &str, target: &str, body: &str) -> PathBuf {
        let file = self._temporary.path().join(name);
        let text = format!(
            "wrk.method = 'POST'\nwrk.path = '{target}'\nwrk.body = '{body}'\n\
             wrk.headers['Authorization'] = 'Bearer {}'\n",
            self.looping
        );
        std::fs::write(&file, text).expect("written");
        file
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("--data-dir").arg(data);
    command
}

fn port(file: &Path, pid: u32) -> u16 {
    let deadline = Instant::now() + ANSWER_TIME_MAX;
    loop {
        let said = std::fs::read(file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let url = said.as_ref().and_then(|said| said["urls"][0].as_str());
        if let Some(port) = url.and_then(|url| url.rsplit(':').next()?.parse().ok()) {
            return port;
        }
        assert!(Instant::now() < deadline, "process {pid} does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Reads one answer with its body; its status.
fn answer(stream: &mut BufReader<TcpStream>) -> u16 {
    let (mut status, mut length, mut line) = (0, 0, String::new());
    loop {
        line.clear();
        assert_ne!(stream.read_line(&mut line).expect("a line"), 0, "the connection ended");
        if status == 0 {
            status = line.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
        } else if let Some((name, value)) = line.split_once(": ") {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        } else if line == "\r\n" {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            return status;
        }
    }
}

/// What `wrk` said: calls, calls a second, its 99th percentile. Any error is one too many.
fn said(wrk: Child) -> Value {
    let ran = wrk.wait_with_output().expect("it ended");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let failed = ["Non-2xx", "Socket errors"].iter().any(|word| text.contains(word));
    assert!(ran.status.success() && !failed, "{text}");
    let after = |word: &str| text.lines().find_map(|line| line.trim().strip_prefix(word).map(str::trim));
    let calls: u64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .expect("wrk says how many");
    let rate: f64 = after("Requests/sec:").and_then(|text| text.parse().ok()).expect("wrk says how fast");
    json!({ "calls": calls, "calls_a_second": rate, "p99": after("99%") })
}

fn percentiles(times: &[u64]) -> Value {
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    json!({ "p50_us": at(50), "p99_us": at(99), "max_us": times.last() })
}

/// (a) 64 connections and a tool that answers at once, beside what bare wasmtime does on all cores.
fn throughput(time: Duration) -> Value {
    let bare = bare(time);
    let mut figures = json!({ "bare": bare });
    for durability in ["committed", "relaxed"] {
        eprintln!("throughput, {durability}");
        let served = Served::new(durability);
        let script = served.script("echo.lua", ECHO, TEXT);
        said(served.wrk(&script, CONNECTIONS, Duration::from_secs(2)));
        let mut ours = said(served.wrk(&script, CONNECTIONS, time));
        ours["ratio_to_bare"] = json!(ours["calls_a_second"].as_f64().unwrap_or_default() / bare);
        figures[durability] = ours;
    }
    figures
}

/// Calls a second of bare wasmtime, with our own engine settings, on all cores.
fn bare(time: Duration) -> f64 {
    eprintln!("bare wasmtime");
    let engine = portcullis::sandbox::tuned_floor_engine().expect("an engine");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let floor = Arc::new(Floor::new(&engine, "echo", "test:echo/values@0.1.0", "text", folder.path()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    runtime.block_on(async {
        let tasks = (0..CONNECTIONS).map(|_| {
            let (floor, over, calls) = (Arc::clone(&floor), Arc::clone(&over), Arc::clone(&calls));
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

/// (b) Resident memory after so many calls.
fn memory(time: Duration) -> Value {
    let served = Served::new("relaxed");
    let script = served.script("echo.lua", ECHO, TEXT);
    let deadline = Instant::now() + time;
    let (mut calls, mut looks) = (0, Vec::new());
    let mut next = 10_000;
    while calls < CALLS_MAX && Instant::now() < deadline {
        let rate = if calls == 0 { 2 } else { 10 };
        calls +=
            said(served.wrk(&script, CONNECTIONS, Duration::from_secs(rate)))["calls"].as_u64().unwrap_or(0);
        if calls >= next {
            looks.push(json!({ "calls": calls, "resident_kb": served.resident_kilobytes() }));
            eprintln!("memory: {}", looks[looks.len() - 1]);
            next = calls + 50_000;
        }
    }
    json!({ "calls": calls, "looks": looks })
}

/// (c) What a polite agent, which makes one call at a time, waits for its answers: alone, beside an agent whose tools
/// compute, and beside one that makes short calls as fast as it can.
fn beside_a_loop() -> Value {
    let mut figures = json!({});
    for durability in ["committed", "relaxed"] {
        let served = Served::new(durability);
        served.times(POLITE_CALLS / 10);
        eprintln!("a polite agent, {durability}");
        let mut of_this = json!({ "alone": percentiles(&served.times(POLITE_CALLS)) });
        let compute = served.script("compute.lua", COMPUTE, ROUNDS);
        let echo = served.script("echo.lua", ECHO, TEXT);
        // A connection of its own for each place, and as many more as wait.
        for (name, script, connections) in [
            ("beside_16_that_compute", &compute, 16),
            ("beside_64_that_compute", &compute, 64),
            ("beside_64_short", &echo, 64),
        ] {
            let mut wrk = served.wrk(script, connections, BESIDE_TIME_MAX);
            std::thread::sleep(Duration::from_secs(2));
            let times = served.times(POLITE_CALLS);
            let still_runs = wrk.try_wait().expect("a child of ours").is_none();
            // What computes does not end with wrk's time: only the polite one is measured.
            let _ = wrk.kill();
            let _ = wrk.wait();
            let mut beside = percentiles(&times);
            beside["whole_time_beside"] = still_runs.into();
            of_this[name] = beside;
        }
        figures[durability] = of_this;
    }
    figures
}

/// (d) What idle subscriptions of MCP hold.
fn subscriptions() -> Value {
    let served = Served::new("relaxed");
    served.times(100);
    let before = served.resident_kilobytes();
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
    let request = served.request(&served.polite, "/mcp", more, &message.to_string());
    let mut open = Vec::new();
    for number in 0..SUBSCRIPTIONS {
        let mut stream = BufReader::new(served.connect());
        stream.get_mut().write_all(&request).expect("sent");
        let mut line = String::new();
        while !line.contains("acknowledged") {
            line.clear();
            let read = stream.read_line(&mut line).expect("a line");
            assert_ne!(read, 0, "subscription {number} has ended");
            assert!(!line.starts_with("HTTP/1.1 4"), "subscription {number}: {line}");
        }
        open.push(stream.into_inner());
    }
    let after = served.resident_kilobytes();
    eprintln!("{} subscriptions: {before} kB before, {after} kB after", open.len());
    json!({ "open": open.len(), "before_kb": before, "after_kb": after, "each_kb": (after - before) as f64 / open.len() as f64 })
}
