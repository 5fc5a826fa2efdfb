//! Calls as server-sent events.

use std::io::{Read, Write};
use std::net::TcpStream;

use portcullis::audit::event::{CallOutcome, Event};
use serde_json::Value;

use super::{AGENT, ASYNC, EVENTS, SLEEP, door, key, milliseconds, outcome, taken, until};
use crate::door::Door;
use crate::harness::client::{Answer, Client};
use crate::harness::guest;
use crate::harness::process::wait_until;

/// An answer that is read as it comes.
pub(super) struct Stream {
    stream: TcpStream,
    text: String,
}

impl Stream {
    pub(super) fn open(client: &Client, head: &str, body: &[u8]) -> Self {
        let mut stream = client.connect();
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(body).expect("sent");
        Self { stream, text: String::new() }
    }

    pub(super) fn post(client: &Client, target: &str, more: &str, body: &[u8]) -> Self {
        let head = client.head("POST", target, &format!("content-length: {}\r\n{more}", body.len()));
        Self::open(client, &head, body)
    }

    /// Reads until the answer has this, and gives it so far.
    #[track_caller]
    pub(super) fn until(&mut self, part: &str) -> &str {
        while !self.text.contains(part) {
            let mut buffer = [0; 4_096];
            let length = self.stream.read(&mut buffer).expect("it comes");
            assert!(length > 0, "it ended without {part:?}:\n{}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        &self.text
    }

    /// The rest, whether it ends well or not.
    pub(super) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes);
        self.text.push_str(&String::from_utf8_lossy(&bytes));
        self.text.clone()
    }
}

/// The events of an answer: their names and their data. Comments are left out.
#[track_caller]
fn events(answer: &Answer) -> Vec<(String, Value)> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    let text = std::str::from_utf8(&answer.body).expect("UTF-8");
    let mut events = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':')) {
        let (name, data) = block.split_once('\n').unwrap_or_else(|| panic!("{block:?}"));
        let name = name.strip_prefix("event: ").unwrap_or_else(|| panic!("{block:?}"));
        let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("{block:?}"));
        events.push((name.to_owned(), serde_json::from_str(data).expect("JSON")));
    }
    events
}

fn last(answer: &Answer) -> (String, Value) {
    events(answer).pop().expect("a last event")
}

fn with_callers() -> (Door, Client) {
    let door = Door::open();
    door.cli.install("callers", &guest("callers"), super::LONG);
    let ann = door.caller(AGENT, "agent");
    (door, ann)
}

#[test]
fn progress_comes_as_it_is_made_and_then_what_came_of_it() {
    let (door, ann) = with_callers();
    let target = "/v1/calls?package=callers&tool=report";
    for more in [EVENTS.to_owned(), format!("{EVENTS}{}", key("k")), format!("{EVENTS}{}", key("k"))] {
        let answer = ann.ask_with("POST", target, &more, br#"{"steps": 7}"#);
        let mut events = events(&answer);
        let (name, result) = events.pop().expect("a last event");
        assert_eq!(name, "result");
        assert!(result["call"].is_string() && result["usage"].is_object(), "{result}");
        for (name, step) in events {
            assert_eq!((name.as_str(), &step["total"]), ("progress", &7.0.into()), "{step}");
        }
    }
    assert_eq!(super::admitted(&door.cli, "report"), 2, "that with a key ran once");
    // What goes wrong is the last event as well; what can't be asked is a problem at once.
    let denied = ann.ask_with("POST", "/v1/calls?package=nothing&tool=report", EVENTS, b"{}");
    let (name, problem) = last(&denied);
    assert_eq!((name.as_str(), &problem["type"]), ("error", &"urn:portcullis:error:not-found".into()));
    let malformed = ann.ask_with("POST", target, EVENTS, b"{");
    assert_eq!(malformed.problem(), (400, "bad-input".to_owned()));
    let both = ann.ask_with("POST", target, &format!("{EVENTS}{ASYNC}"), b"{}");
    assert_eq!(both.problem(), (400, "bad-input".to_owned()));
    let document = ann.ask_with("POST", target, "accept: application/json\r\n", br#"{"steps": 1}"#);
    assert_eq!(document.header("content-type"), Some("application/json"));
}

/// Whoever closes the stream in which a call runs ends it; whoever closes one that follows a call does not, and no
/// more does one who gave a key, to ask again.
#[test]
fn closing_a_stream_ends_only_the_call_that_runs_in_it() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let mut stream = Stream::post(&ann, SLEEP, EVENTS, &milliseconds(300_000));
    stream.until("\r\n\r\n");
    let call = door.cli.wait_for_record("it is admitted", |record| match &record.event {
        Event::CallAdmitted { context, .. } => Some(context.call.to_string()),
        _ => None,
    });
    drop(stream);
    wait_until("it is cancelled", || outcome(&door.cli, &call) == Some(CallOutcome::Cancelled));

    let call = taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(1_500)));
    let mut follower = Stream::open(&ann, &ann.head("GET", &format!("/v1/calls/{call}/events"), ""), b"");
    assert!(follower.until("\r\n\r\n").contains("content-type: text/event-stream"));
    drop(follower);
    let (name, result) = last(&ann.get(&format!("/v1/calls/{call}/events")));
    assert_eq!((name.as_str(), result["call"].as_str()), ("result", Some(&*call)));
    assert_eq!(outcome(&door.cli, &call), Some(CallOutcome::Ok));
    // The same to who comes when it has ended.
    assert_eq!(last(&ann.get(&format!("/v1/calls/{call}/events"))).1, result);

    let more = format!("{EVENTS}{}", key("k"));
    let mut stream = Stream::post(&ann, SLEEP, &more, &milliseconds(1_501));
    stream.until("\r\n\r\n");
    wait_until("it is admitted", || super::admitted(&door.cli, "sleep") == 3);
    drop(stream);
    let running = ann.get("/v1/calls?limit=1").expect(200).json()["calls"][0].clone();
    until(&ann, running["call"].as_str().expect("an id"), "succeeded");
    let again = ann.ask_with("POST", SLEEP, &key("k"), &milliseconds(1_501)).expect(200);
    assert_eq!(again.json()["call"], running["call"]);
    assert_eq!(super::admitted(&door.cli, "sleep"), 3);
}

/// Who hears nothing else hears that somebody is there.
#[test]
fn a_stream_that_is_silent_is_kept_alive() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let call = taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(300_000)));
    let mut follower = Stream::open(&ann, &ann.head("GET", &format!("/v1/calls/{call}/events"), ""), b"");
    let mut owner = Stream::post(&ann, SLEEP, EVENTS, &milliseconds(300_000));
    for stream in [&mut follower, &mut owner] {
        stream.until("\r\n\r\n");
        stream.until("\r\n:\n\n");
    }
    // And who follows is told of the end by whomever it comes.
    ann.ask("DELETE", &format!("/v1/calls/{call}"), b"").expect(200);
    assert!(follower.rest().contains("event: error\ndata: {\"type\":\"urn:portcullis:error:cancelled\""));
}
