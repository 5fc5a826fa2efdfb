//! `portcullis dev`: a project is built when it changes, and the last good build is served; at its end nothing is left.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::client::{Answer, Client};
use crate::harness::process::{Cli, wait_until};
use crate::harness::talk::{STATELESS, request, stateless};

/// The longest that a build may take on a machine that does other things too.
const EVENT_TIME_MAX: Duration = Duration::from_secs(10 * 60);
const NEVER_SERVED: &str = "nothing is served yet";

/// The program, with what it says of what happens. Killed when it is dropped.
struct Dev {
    child: Child,
    input: Option<ChildStdin>,
    events: Receiver<Value>,
    client: Client,
    /// Where it keeps what it keeps.
    scratch: PathBuf,
}

impl Dev {
    fn start(cli: &Cli, more: &[&str]) -> Self {
        let scratch = cli.path("scratch");
        std::fs::create_dir_all(&scratch).expect("made");
        let mut command = cli.command(["dev", "project", "--json"].iter().chain(more));
        command.env("TMPDIR", &scratch).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let (sender, events) = channel();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        let mut dev = Self { child, input, events, client: Client::new(0), scratch };
        let serving = dev.wait("serving");
        let url = serving["url"].as_str().expect("a URL").to_owned();
        let port = url.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/mcp"));
        let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{url}"));
        dev.client = Client::new(port).with_key(serving["key"].as_str().expect("a key"));
        dev
    }

    /// The next of a kind; those before it are passed over.
    #[track_caller]
    fn wait(&self, kind: &str) -> Value {
        loop {
            let event = self.events.recv_timeout(EVENT_TIME_MAX).unwrap_or_else(|_| panic!("no {kind}"));
            if event["event"] == kind {
                return event;
            }
        }
    }

    fn line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not closed");
        writeln!(input, "{line}").expect("it reads");
    }

    /// The answer to a line.
    fn call(&mut self, line: &str) -> Value {
        self.line(line);
        loop {
            let event = self.events.recv_timeout(EVENT_TIME_MAX).expect("an answer");
            if event["event"] == "answer" || event["event"] == "call_failed" {
                return event;
            }
        }
    }

    /// What an agent gets by MCP.
    fn ask(client: &Client, arguments: &Value) -> Answer {
        let params = stateless(json!({"name": "project__count", "arguments": arguments}));
        let body = request("1", "tools/call", params).to_string();
        let headers = format!(
            "content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             mcp-protocol-version: {STATELESS}\r\nmcp-method: tools/call\r\nmcp-name: project__count\r\n\
             content-length: {}\r\n",
            body.len()
        );
        client.exchange(&client.head("POST", "/mcp", &headers), body.as_bytes())
    }

    fn count(&self, text: &str) -> Value {
        let answer = Self::ask(&self.client, &json!({ "text": text })).expect(200).json();
        answer["result"]["structuredContent"].clone()
    }

    /// It has ended in good order, and nothing is left.
    fn ended(mut self) {
        let mut status = None;
        wait_until("it ends", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        let left: Vec<_> = std::fs::read_dir(&self.scratch).expect("there").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Both fail if it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A project in C, which is built in a second.
fn project(cli: &Cli) -> PathBuf {
    cli.run(["new", "project", "--lang", "c"]).expect(0);
    cli.path("project")
}

fn change(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).expect("there");
    let changed = text.replacen(from, to, 1);
    assert_ne!(text, changed);
    std::fs::write(file, changed).expect("written");
}

#[test]
fn a_change_is_built_and_served_and_a_mistake_leaves_the_last_good_one() {
    let cli = Cli::new();
    let folder = project(&cli);
    let source = folder.join("tool.c");
    let mut dev = Dev::start(&cli, &[]);
    let built = dev.wait("built");
    assert_eq!((&built["package"], &built["tools"]), (&json!("project"), &json!(["count"])));
    assert_eq!(dev.count("one two"), json!({"words": 2, "lines": 1}));
    assert_eq!(dev.call("count {\"text\": \"a\"}")["answer"]["structured"], json!({"words": 1, "lines": 1}));

    // Another answer, for agents that are connected as for lines.
    let right = "result = (struct counts){0};";
    change(&source, right, "result = (struct counts){.words = 40};");
    let again = dev.wait("built");
    assert_ne!(again["digest"], built["digest"]);
    assert_eq!(dev.count("one two"), json!({"words": 42, "lines": 1}));

    // What can't be built is told, and changes nothing.
    change(&source, "result = (struct counts)", "result = (struct counts");
    let failed = dev.wait("build_failed");
    assert_eq!(failed["still_served"], true);
    assert!(failed["error"].as_str().expect("a text").contains("tool.c"), "{failed}");
    assert_eq!(dev.count("one two"), json!({"words": 42, "lines": 1}));
    assert_eq!(dev.call("count {\"text\": \"a\"}")["answer"]["structured"]["words"], 41);

    // Nor does a manifest with an error; mended, it is built again.
    change(&source, "result = (struct counts{.words = 40}", "result = (struct counts){.words = 1}");
    dev.wait("built");
    let manifest = folder.join("portcullis.toml");
    change(&manifest, "version = \"0.1.0\"", "version = \"one\"");
    assert!(dev.wait("build_failed")["error"].as_str().expect("a text").contains("version"));
    assert_eq!(dev.count("one two")["words"], 3);
    change(&manifest, "version = \"one\"", "version = \"0.0.1\"");
    dev.wait("built");
    assert_eq!(dev.count("one two")["words"], 3);
    drop(dev.input.take());
    dev.ended();
}

/// The files below a folder whose names have this in them.
fn kept(folder: &Path, part: &str) -> usize {
    let mut folders = vec![folder.to_owned()];
    let mut found = 0;
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(inner).expect("there").map_while(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().contains(part) {
                found += 1;
            }
        }
    }
    found
}

#[test]
fn a_long_session_does_not_fill_the_disk() {
    let cli = Cli::new();
    let source = project(&cli).join("tool.c");
    let mut dev = Dev::start(&cli, &[]);
    let first = dev.wait("built")["digest"].as_str().expect("a digest").to_owned();
    let hash = first.trim_start_matches("sha256:");
    assert!(kept(&dev.scratch, hash) > 0, "the file of a component has its digest in its name");
    change(&source, "result = (struct counts){0};", "result = (struct counts){.words = 0};");
    for words in 1..=9 {
        let (before, after) = (format!(".words = {}}}", words - 1), format!(".words = {words}}}"));
        change(&source, &before, &after);
        dev.wait("built");
        assert_eq!(dev.count("a")["words"], words + 1);
    }
    assert_eq!(kept(&dev.scratch, hash), 0, "the first of ten builds is gone");
    drop(dev.input.take());
    dev.ended();
}

#[test]
fn a_project_that_was_never_built_serves_nothing_until_it_is() {
    let cli = Cli::new();
    let folder = project(&cli);
    let source = folder.join("tool.c");
    change(&source, "int in_word", "int in word");
    let mut dev = Dev::start(&cli, &[]);
    assert_eq!(dev.wait("build_failed")["still_served"], false);
    let refused = dev.call("count {}");
    assert_eq!((&refused["event"], &refused["error"]), (&json!("call_failed"), &json!(NEVER_SERVED)));
    change(&source, "int in word", "int in_word");
    dev.wait("built");
    assert_eq!(dev.count("a")["words"], 1);
    kill_process(Pid::from_child(&dev.child), Signal::INT).expect("a child of ours can be sent signals");
    dev.ended();
}

#[test]
fn lines_are_calls_or_are_told_what_they_are_not() {
    let cli = Cli::new();
    project(&cli);
    let mut dev = Dev::start(&cli, &[]);
    // Without a wait: what is piped in is called when there is something to call.
    assert_eq!(dev.call("count {\"text\": \"a\"}")["event"], "answer");
    for (line, told) in [
        ("none {}", "no tool none"),
        ("count", "text"),
        ("count {\"text\": 7}", "$.text"),
        ("count {", "arguments"),
        ("co/unt {}", "co/unt"),
    ] {
        let refused = dev.call(line);
        assert_eq!(refused["event"], "call_failed", "{line}: {refused}");
        assert!(refused["error"].as_str().is_some_and(|error| error.contains(told)), "{line}: {refused}");
    }
    dev.line("");
    assert_eq!(dev.call("  count   {\"text\": \"a\"}  ")["event"], "answer");
    dev.line(":quit");
    dev.ended();
}

/// It is for whoever started it: without the key nobody is answered, and the grant says what the tool may.
#[test]
fn only_the_key_opens_it_and_the_grant_bounds_the_tool() {
    let cli = Cli::new();
    let folder = project(&cli);
    let grants = folder.join("grants.toml");
    let mut dev = Dev::start(&cli, &[]);
    dev.wait("built");
    let given = json!({"text": "a"});
    let nobody = Client::new(dev.client.port);
    Dev::ask(&nobody, &given).expect(401);
    let other = nobody.with_key("pcl_0123456789ab_0000000000000000000000000000000000000000000");
    Dev::ask(&other, &given).expect(401);
    assert_eq!(dev.call("count {\"text\": \"a\"}")["event"], "answer");

    // The project's grant changes without a build.
    change(&grants, "fuel = 100_000_000", "fuel = 10");
    assert_eq!(dev.wait("granted")["grants"], "grants.toml");
    let refused = dev.call("count {\"text\": \"a\"}");
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("fuel")), "{refused}");
    change(&grants, "fuel = 10", "feul = 10");
    assert!(dev.wait("grants_refused")["error"].as_str().expect("a text").contains("feul"));
    change(&grants, "feul = 10", "fuel = 100_000_000");
    dev.wait("granted");
    assert_eq!(dev.call("count {\"text\": \"a\"}")["event"], "answer");
    drop(dev.input.take());
    dev.ended();

    // Flags come before it.
    let mut dev = Dev::start(&cli, &["--limit", "fuel=10"]);
    assert_eq!(dev.wait("granted")["grants"], "the flags");
    dev.wait("built");
    assert_eq!(dev.call("count {\"text\": \"a\"}")["event"], "call_failed");
}

#[test]
fn a_package_that_is_renamed_takes_the_place_of_the_one_before_it() {
    let cli = Cli::new();
    let folder = project(&cli);
    let mut dev = Dev::start(&cli, &[]);
    dev.wait("built");
    change(&folder.join("portcullis.toml"), "name = \"project\"", "name = \"renamed\"");
    // The grant is of a package that is no more.
    dev.wait("grants_refused");
    assert_eq!(dev.wait("built")["package"], "renamed");
    assert_eq!(dev.call("count {\"text\": \"a\"}")["event"], "call_failed");
    change(&folder.join("grants.toml"), "package = \"project\"", "package = \"renamed\"");
    dev.wait("granted");
    assert_eq!(dev.call("count {\"text\": \"a\"}")["event"], "answer");
    let gone = Dev::ask(&dev.client, &json!({"text": "a"})).expect(200).json();
    assert!(gone["error"].is_object(), "the old name is nobody's: {gone}");
    drop(dev.input.take());
    dev.ended();
}

#[test]
fn what_can_not_be_served_is_refused_at_once() {
    let cli = Cli::new();
    let refused = cli.run(["dev", "."]).expect(2);
    assert!(refused.stderr.contains("portcullis new"), "{refused:?}");
    project(&cli);
    cli.run(["dev", "project", "--allow-http", "all"]).expect(2);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let refused = cli.run(["dev", "project", "--port", &port]).expect(2);
    assert!(refused.stderr.contains("--port"), "{refused:?}");
    assert!(!cli.data.exists());
}
