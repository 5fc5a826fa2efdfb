//! What a benchmark of the protocols asks: a host with two guests and two agents, over HTTP or over stdio. And a server
//! that does nothing, or only a call of bare wasmtime, as the floor of both.

#![allow(dead_code, reason = "each benchmark takes what it needs of it")]
#![allow(clippy::disallowed_methods, reason = "a benchmark starts the program that it measures")]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::floor::{Floor, guest_path};
use crate::served::{Client, Served, program, request_with, run};

const SETTLE_TIME: Duration = Duration::from_millis(500);

pub(crate) const ECHO: &str = "/v1/calls?package=echo&tool=text";
pub(crate) const TEXT: &str = r#"{"value":"a short string"}"#;

/// A data folder with the guests `echo` and `std-probe`, for the agents `looping` and `polite`.
pub(crate) struct Data {
    pub(crate) folder: PathBuf,
    pub(crate) temporary: tempfile::TempDir,
}

impl Data {
    pub(crate) fn new(durability: &str) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let data = Self { folder: temporary.path().join("data"), temporary };
        for name in ["echo", "std-probe"] {
            let file = guest_path(name);
            data.run(&["package", "add", file.to_str().expect("text"), "--name", name]);
            data.run(&["package", "approve", name]);
        }
        data.grant(
            "[[grant]]\npackage = \"echo\"\nagents = [\"looping\", \"polite\"]\n\
             [[grant]]\npackage = \"std-probe\"\nagents = [\"looping\"]\n\
             limits = { fuel = 100_000_000_000, wall_time = \"5m\" }\n",
        );
        let settings = format!("durability = \"{durability}\"\n");
        std::fs::write(data.folder.join("audit.toml"), settings).expect("written");
        data
    }

    pub(crate) fn grant(&self, grants: &str) {
        let file = self.temporary.path().join("grants.toml");
        std::fs::write(&file, grants).expect("written");
        self.run(&["grant", "apply", file.to_str().expect("text")]);
    }

    /// What a command prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        run(&self.folder, arguments)
    }

    pub(crate) fn program(&self) -> Command {
        program(&self.folder)
    }
}

/// A host that is served to two agents.
pub(crate) struct ForAgents {
    served: Served,
    pub(crate) port: u16,
    pub(crate) looping: String,
    pub(crate) polite: String,
    data: Data,
}

impl ForAgents {
    pub(crate) fn new(durability: &str) -> Self {
        Self::over(Data::new(durability))
    }

    pub(crate) fn over(data: Data) -> Self {
        let [looping, polite] = ["looping", "polite"].map(|agent| data.run(&["key", "create", agent]));
        let served = Served::start(&data.folder);
        Self { port: served.port, served, looping, polite, data }
    }

    /// The bytes of a request as the polite agent.
    pub(crate) fn request(&self, target: &str, more: &str, body: &str) -> Vec<u8> {
        request_with("POST", target, &self.polite, more, body)
    }

    /// The same as the agent in a loop.
    pub(crate) fn request_of_looping(&self, target: &str, body: &str) -> Vec<u8> {
        request_with("POST", target, &self.looping, "", body)
    }

    pub(crate) fn connect(&self) -> Client {
        self.served.client()
    }

    /// Bytes of memory that the host has now.
    pub(crate) fn resident(&self) -> u64 {
        self.served.resident(false)
    }

    /// Has `wrk` ask until the time is over.
    pub(crate) fn wrk(&self, script: &Path, connections: u64, time: Duration) -> Child {
        wrk(self.port, script, connections, time)
    }

    /// What `wrk` is to ask, as the agent in a loop.
    pub(crate) fn script(&self, name: &str, target: &str, body: &str) -> PathBuf {
        let head = format!("wrk.headers['Authorization'] = 'Bearer {}'\n", self.looping);
        script(self.data.temporary.path(), name, target, &head, body)
    }
}

/// A message of MCP.
pub(crate) fn message(id: u64, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

/// What a client says first.
pub(crate) fn initialize() -> Value {
    json!({
        "protocolVersion": MCP_REVISION, "capabilities": {}, "clientInfo": { "name": "bench", "version": "1" },
    })
}

pub(crate) const MCP_REVISION: &str = "2025-11-25";
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// The program as an MCP server for one client, over its stdin and stdout. Ended when it is dropped.
pub(crate) struct McpStdio {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _data: Data,
}

impl McpStdio {
    pub(crate) fn new(durability: &str) -> Self {
        let data = Data::new(durability);
        let mut command = data.program();
        command.args(["mcp", "--agent", "polite"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut spoken = Self { child, input, output: BufReader::new(output), _data: data };
        spoken.ask(&message(0, "initialize", &initialize()));
        spoken.write(INITIALIZED);
        spoken
    }

    fn write(&mut self, message: &str) {
        self.input.write_all(format!("{message}\n").as_bytes()).expect("it reads");
    }

    /// The next message that it writes. The client must not be sent anything else meanwhile.
    pub(crate) fn ask(&mut self, message: &str) -> String {
        self.write(message);
        let mut line = String::new();
        assert_ne!(self.output.read_line(&mut line).expect("a line"), 0, "it closed its stdout");
        line
    }
}

impl Drop for McpStdio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves `/null`, which answers what it was sent, and `/bare`, which has a fresh sandbox of bare wasmtime answer:
/// no judge, no log, no limits. In this process, by axum as our own server is.
pub(crate) fn null(runtime: &Runtime, floor: Arc<Floor>) -> SocketAddr {
    let bare = move |body: Bytes| {
        let floor = Arc::clone(&floor);
        async move {
            let arguments: Value = serde_json::from_slice(&body).expect("JSON");
            let (text,): (String,) = floor.call((arguments["value"].as_str().expect("a text"),)).await;
            json!({ "structured": text }).to_string()
        }
    };
    let router =
        axum::Router::new().route("/null", post(async |body: Bytes| body)).route("/bare", post(bare));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("set"));
    runtime.spawn(async move { axum::serve(listener, router).await });
    address
}

/// Has `wrk` ask a server until the time is over. First it waits until calls are given up that a former one left
/// unanswered: they hold places of the same agent, which has 64 beside those that run.
pub(crate) fn wrk(port: u16, script: &Path, connections: u64, time: Duration) -> Child {
    std::thread::sleep(SETTLE_TIME);
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency", "--timeout", "60"]);
    command.arg(format!("-c{connections}")).arg(format!("-d{}s", time.as_secs()));
    command.arg("-s").arg(script).arg(format!("http://127.0.0.1:{port}"));
    command.stdout(Stdio::piped()).spawn().expect("wrk is installed")
}

/// What `wrk` is to ask, as a file in the folder.
pub(crate) fn script(folder: &Path, name: &str, target: &str, head: &str, body: &str) -> PathBuf {
    let file = folder.join(name);
    let text = format!("wrk.method = 'POST'\nwrk.path = '{target}'\nwrk.body = '{body}'\n{head}");
    std::fs::write(&file, text).expect("written");
    file
}

/// What `wrk` found.
pub(crate) struct Said {
    pub(crate) calls: u64,
    pub(crate) calls_a_second: f64,
}

/// What `wrk` said when it had ended. Any error is one too many.
pub(crate) fn said(wrk: Child) -> Said {
    let ran = wrk.wait_with_output().expect("it ended");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let failed = ["Non-2xx", "Socket errors"].iter().any(|word| text.contains(word));
    assert!(ran.status.success() && !failed, "{text}");
    let line = |word: &str| text.lines().find_map(|line| line.trim().strip_prefix(word).map(str::trim));
    let calls = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let rate = line("Requests/sec:").and_then(|text| text.parse().ok());
    Said { calls: calls.expect("wrk says how many"), calls_a_second: rate.expect("wrk says how fast") }
}
