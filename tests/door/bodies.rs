//! Bodies and clients that would take more of the host than they are given.

use std::io::{Read, Write};

use serde_json::json;

use super::Door;
use crate::harness::client::Answer;

const CALL: &str = "/v1/calls?package=p&tool=t";

/// Case 76: what is too large or too deep is refused with the status that says so.
#[test]
fn bodies_that_are_too_large_or_too_deep_are_refused() {
    let door = Door::open();
    let agent = door.caller("ann", "agent");
    // One GiB that is only announced, and one that comes without an end.
    let head = agent.head("POST", CALL, "content-length: 1073741824\r\n");
    assert_eq!(agent.exchange(&head, b"").problem(), (413, "too-large".to_owned()));
    let mut stream = agent.connect();
    stream.write_all(agent.head("POST", CALL, "transfer-encoding: chunked\r\n").as_bytes()).expect("sent");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let sent = (0..1_000).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
    assert!(sent < 1_000, "all of it was taken");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(agent.ask("POST", CALL, deep.as_bytes()).problem(), (400, "bad-input".to_owned()));
    assert_eq!(door.admin.ask("POST", "/v1/keys", deep.as_bytes()).problem(), (400, "bad-input".to_owned()));
    let head = format!("GET /v1/tools HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let mut stream = agent.connect();
    // It is refused before it is sent to its end.
    let _ = stream.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    door.anonymous.get("/healthz").expect(200);
}

/// Case 77: a document that two parsers could read in two ways is refused, wherever it comes.
#[test]
fn documents_that_can_be_read_in_two_ways_are_refused() {
    let door = Door::open();
    let agent = door.caller("ann", "agent");
    for (client, method, target, good) in [
        (&agent, "POST", CALL, json!({"name": "ann"})),
        (&door.admin, "POST", "/v1/keys", json!({"principal": "ann"})),
        (&door.admin, "PUT", "/v1/freeze", json!({"because": "x"})),
        (&door.admin, "PUT", "/v1/principals/zed", json!({"role": "agent"})),
        (&door.admin, "PUT", "/v1/grants", json!({"file": "g", "folder": "/", "text": ""})),
    ] {
        let good = good.to_string();
        let inner = &good[1..good.len() - 1];
        for bad in [
            format!("{{{inner},{inner}}}"),
            format!("{{{inner},\"x\":{{\"a\":1,\"a\":1}}}}"),
            format!("{{{inner},\"x\":NaN}}"),
            format!("{{{inner},\"x\":1e999}}"),
            format!("{{{inner},\"x\":Infinity}}"),
            format!("{{{inner},}}"),
            format!("{good}{good}"),
            format!("\u{feff}{good}"),
            format!("/* */{good}"),
        ] {
            let answer = client.ask(method, target, bad.as_bytes());
            assert_eq!(answer.problem(), (400, "bad-input".to_owned()), "{target} {bad}");
        }
        let answer = client.ask(method, target, b"{\"a\":\"\xff\"}");
        assert_eq!(answer.problem(), (400, "bad-input".to_owned()), "{target}");
        assert_ne!(client.ask(method, target, good.as_bytes()).status, 400, "{target}: its twin is read");
    }
}

/// Case 78: who is slow to ask, to send, or to take what was asked for, is let go.
#[test]
fn slow_clients_are_closed() {
    let door = Door::open();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Half a head.
            let mut stream = door.anonymous.connect();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: local").expect("sent");
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).expect("closed before the test's own patience ends");
        });
        scope.spawn(|| {
            // Nothing at all.
            let mut stream = door.anonymous.connect();
            let mut rest = Vec::new();
            assert_eq!(stream.read_to_end(&mut rest).expect("closed"), 0);
        });
        scope.spawn(|| {
            // Idle after an answer.
            let mut stream = door.anonymous.connect();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
            let answer = Answer::read(stream);
            assert_eq!(answer.status, 200);
        });
        scope.spawn(|| {
            // A body that stops.
            let mut stream = door.admin.connect();
            let head = door.admin.head("POST", "/v1/keys", "content-length: 100\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            stream.write_all(b"{\"principal\":").expect("sent");
            assert_eq!(Answer::read(stream).problem(), (408, "too-slow".to_owned()));
        });
    });
    door.anonymous.get("/healthz").expect(200);
}
