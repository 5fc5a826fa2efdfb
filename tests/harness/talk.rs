//! A conversation in MCP with `portcullis mcp`, as a desktop client has it: lines on stdin and stdout, raw.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{COMMAND_TIME_MAX, Cli, wait_until};

/// The revision that has no handshake.
pub(crate) const STATELESS: &str = "2026-07-28";
/// The revision before that.
pub(crate) const LEGACY: &str = "2025-11-25";

/// The program on one side, a test on the other. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    errors: Receiver<String>,
    /// What was heard and not asked for yet.
    heard: Vec<Value>,
}

impl Talk {
    /// Starts the program, and says nothing yet.
    pub(crate) fn start(cli: &Cli, agent: &str) -> Self {
        Self::run(cli.command(["mcp", "--agent", agent]))
    }

    /// The same with a command of its own.
    pub(crate) fn run(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let (sender, errors) = channel();
        let mut stderr = child.stderr.take().expect("piped");
        std::thread::spawn(move || {
            let mut text = String::new();
            // A pipe that breaks ends the text.
            let _ = stderr.read_to_string(&mut text);
            let _ = sender.send(text);
        });
        Self { child, input, lines, errors, heard: Vec::new() }
    }

    /// The same, after the handshake of the older revision.
    pub(crate) fn begin(cli: &Cli, agent: &str) -> Self {
        let mut talk = Self::start(cli, agent);
        let client = json!({ "name": "test", "version": "1" });
        let hello = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client });
        let answer = talk.ask("initialize", hello);
        assert_eq!(answer["result"]["protocolVersion"], LEGACY, "{answer}");
        talk.tell("notifications/initialized", json!({}));
        talk
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("stdin is open");
        input.write_all(bytes).and_then(|()| input.flush()).expect("the program reads");
    }

    /// Writes one message.
    pub(crate) fn send(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes());
    }

    /// Sends a notification.
    pub(crate) fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request, and waits for its answer.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = format!("ask {method}");
        self.send(&request(&id, method, params));
        self.answer(&id)
    }

    /// Calls a tool, and waits for what comes of it.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Waits for the answer to a request.
    pub(crate) fn answer(&mut self, id: &str) -> Value {
        self.hear(id, |message| message["id"] == id)
    }

    /// Waits for a notification.
    pub(crate) fn notified(&mut self, method: &str) -> Value {
        self.hear(method, |message| message["method"] == method)
    }

    /// Waits for a message that fits; others are kept. Whatever is written must be a message.
    #[track_caller]
    pub(crate) fn hear(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.heard.iter().position(&fits) {
                return self.heard.remove(at);
            }
            match self.lines.recv_timeout(COMMAND_TIME_MAX) {
                Ok(line) => self.heard.push(parsed(&line)),
                Err(error) => panic!("no {what} ({error}), but {:?}", self.heard),
            }
        }
    }

    /// What has come meanwhile, and nobody asked for.
    pub(crate) fn others(&mut self, wait: Duration) -> Vec<Value> {
        loop {
            match self.lines.recv_timeout(wait) {
                Ok(line) => self.heard.push(parsed(&line)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return std::mem::take(&mut self.heard);
                }
            }
        }
    }

    /// Closes stdin, and waits for the program's end: its exit code, what else it wrote, and stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<Value>, String) {
        drop(self.input.take());
        let mut status = None;
        wait_until("the program ends", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        let rest = self.others(COMMAND_TIME_MAX);
        let errors = self.errors.recv_timeout(COMMAND_TIME_MAX).expect("stderr ends");
        (status.and_then(|status| status.code()), rest, errors)
    }

    /// Waits until the program ends by itself, though nobody closed its stdin.
    pub(crate) fn ended(mut self) {
        wait_until("the program ends", || self.child.try_wait().expect("a child of ours").is_some());
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // Both fail if it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parsed(line: &[u8]) -> Value {
    let text = String::from_utf8_lossy(line);
    let message: Value =
        serde_json::from_slice(line).unwrap_or_else(|error| panic!("not a message ({error}): {text}"));
    assert_eq!(message["jsonrpc"], "2.0", "{text}");
    message
}

/// A request.
pub(crate) fn request(id: &str, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// Parameters as each request of the revision without a handshake has them.
pub(crate) fn stateless(mut params: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let given = params["_meta"].take();
    params["_meta"] = meta;
    if let Value::Object(given) = given {
        params["_meta"].as_object_mut().expect("an object").extend(given);
    }
    params
}
