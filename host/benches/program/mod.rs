//! The built program, served on loopback, and a client that keeps its connection: what a benchmark of the protocols
//! asks. And a server that does nothing, or only a call of bare wasmtime, as the floor of both.

#![allow(dead_code, reason = "each benchmark takes what it needs of it")]
#![allow(clippy::disallowed_methods, reason = "a benchmark starts the program that it measures")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::floor::{Floor, guest_path};

/// No answer takes longer.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

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
        let ran = self.program().args(arguments).output().expect("it runs");
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("text").trim().to_owned()
    }

    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("--data-dir").arg(&self.folder);
        command
    }
}

/// A host that is served. Ended when it is dropped.
pub(crate) struct Served {
    server: Child,
    pub(crate) port: u16,
    pub(crate) looping: String,
    pub(crate) polite: String,
    data: Data,
}

impl Served {
    pub(crate) fn new(durability: &str) -> Self {
        Self::over(Data::new(durability))
    }

    pub(crate) fn over(data: Data) -> Self {
        let [looping, polite] = ["looping", "polite"].map(|agent| data.run(&["key", "create", agent]));
        let mut serve = data.program();
        serve.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::null());
        let server = serve.spawn().expect("it starts");
        let port = port(&data.folder.join("serving.json"), server.id());
        Self { server, port, looping, polite, data }
    }

    /// The bytes of a request as the polite agent.
    pub(crate) fn request(&self, target: &str, more: &str, body: &str) -> Vec<u8> {
        let head = format!("authorization: Bearer {}\r\n{more}", self.polite);
        request(target, &head, body)
    }

    /// The same as the agent in a loop.
    pub(crate) fn request_of_looping(&self, target: &str, body: &str) -> Vec<u8> {
        request(target, &format!("authorization: Bearer {}\r\n", self.looping), body)
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    pub(crate) fn resident_kilobytes(&self) -> u64 {
        resident_kilobytes(self.server.id())
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

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The resident memory of a process.
pub(crate) fn resident_kilobytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()).expect("it runs")
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

/// The bytes of a request whose head has these lines more.
pub(crate) fn request(target: &str, head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n{head}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// One connection that stays open, without Nagle's delay.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("set");
        stream.set_read_timeout(Some(ANSWER_TIME_MAX)).expect("set");
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, request: &[u8]) {
        self.stream.get_mut().write_all(request).expect("sent");
    }

    /// Asks, and gives status and body.
    pub(crate) fn ask(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.send(request);
        self.answer()
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.stream.read_line(&mut line).expect("a line"), 0, "the connection ended");
        line
    }

    pub(crate) fn answer(&mut self) -> (u16, Vec<u8>) {
        let status = self.line().split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
        let (mut length, mut in_pieces) = (0, false);
        loop {
            let line = self.line().to_ascii_lowercase();
            let Some((name, value)) = line.split_once(": ") else { break };
            match name {
                "content-length" => length = value.trim().parse().expect("a length"),
                "transfer-encoding" => in_pieces = value.trim() == "chunked",
                _ => {}
            }
        }
        let mut body = Vec::new();
        if !in_pieces {
            self.piece(length, &mut body);
            return (status, body);
        }
        loop {
            let line = self.line();
            let length = usize::from_str_radix(line.trim(), 16).expect("a length");
            self.piece(length, &mut body);
            assert_eq!(self.line(), "\r\n");
            if length == 0 {
                return (status, body);
            }
        }
    }

    fn piece(&mut self, length: usize, body: &mut Vec<u8>) {
        let before = body.len();
        assert!(before + length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        body.resize(before + length, 0);
        self.stream.read_exact(&mut body[before..]).expect("a body");
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
