//! The built program, served on loopback for benchmarks, and the least client that asks it.

#![allow(dead_code, reason = "each benchmark takes what it needs of it")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads what the program says of itself")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No start and no answer takes longer.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(120);
/// The longest answer: the list of ten thousand tools.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A host that is served. Ended in good order when it is dropped.
pub(crate) struct Served {
    server: Child,
    pub(crate) port: u16,
    /// From its start to its first answer on `/readyz`.
    pub(crate) ready_after: Duration,
}

impl Served {
    pub(crate) fn start(data: &Path) -> Self {
        let said = data.join("serving.json");
        // Of an earlier host.
        let _ = std::fs::remove_file(&said);
        let started = Instant::now();
        let mut command = program(data);
        command.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().expect("it starts");
        let mut served = Self { server, port: 0, ready_after: Duration::ZERO };
        while served.port == 0 || !served.is_ready() {
            let ended = served.server.try_wait().expect("a child of ours");
            assert!(ended.is_none() && started.elapsed() < TIME_MAX, "it is not ready: {ended:?}");
            std::thread::sleep(Duration::from_millis(1));
            let text = std::fs::read(&said).unwrap_or_default();
            let said: Value = serde_json::from_slice(&text).unwrap_or_default();
            let url = said["urls"][0].as_str().unwrap_or_default();
            served.port = url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        }
        served.ready_after = started.elapsed();
        served
    }

    fn is_ready(&self) -> bool {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        Client::over(stream).ask(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").0 == 200
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    /// Bytes of memory that the host has now, or had at most.
    pub(crate) fn resident(&self, peak: bool) -> u64 {
        resident(self.server.id(), peak)
    }

    /// Descriptors that the host has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.server.id())).expect("it runs").count()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let told = i32::try_from(self.server.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = told {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.server.wait();
    }
}

/// Bytes of memory that a process has now, or had at most.
pub(crate) fn resident(pid: u32, peak: bool) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let name = if peak { "VmHWM:" } else { "VmRSS:" };
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says it");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

pub(crate) fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("--data-dir").arg(data);
    command
}

/// Runs the program once; what it printed.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> String {
    let ran = program(data).args(arguments).stderr(Stdio::inherit()).output().expect("it runs");
    assert!(ran.status.success(), "{arguments:?}");
    String::from_utf8(ran.stdout).expect("text").trim().to_owned()
}

/// The bytes of a request whose head has these lines more.
pub(crate) fn request(method: &str, target: &str, head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n{head}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The same with a key.
pub(crate) fn request_with(method: &str, target: &str, key: &str, more: &str, body: &str) -> Vec<u8> {
    request(method, target, &format!("authorization: Bearer {key}\r\n{more}"), body)
}

/// One connection that stays open, without Nagle's delay.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("connected"))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("set");
        stream.set_read_timeout(Some(TIME_MAX)).expect("set");
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
