//! Case 79: a request that is made twice with one Idempotency-Key is done once.

use portcullis::audit::event::{CallOutcome, Event};
use serde_json::json;

use super::{
    ADD, AGENT, ASYNC, SLEEP, admitted, door, events::Stream, key, milliseconds, note, outcome, taken, until,
};
use crate::harness::process::{grant, wait_until};

#[test]
fn case_79_the_same_request_with_the_same_key_runs_once() {
    let door = door();
    let (ann, bob) = (door.caller(AGENT, "agent"), door.caller("other", "agent"));
    let first = ann.ask_with("POST", ADD, &key("k-1"), &note("first")).expect(200);
    assert_eq!(first.header("idempotent-replayed"), None);
    // However it is written.
    for body in [note("first"), br#" {"text" : "kept", "name":"\u0066irst"} "#.to_vec()] {
        let again = ann.ask_with("POST", ADD, &key("k-1"), &body).expect(200);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("content-type"), first.header("content-type"));
    }
    assert_eq!(admitted(&door.cli, "add"), 1);

    // Another request is refused, whatever differs.
    for (target, more, body) in [
        (ADD, key("k-1"), note("second")),
        ("/v1/calls?package=notes&tool=get", key("k-1"), note("first")),
        (ADD, format!("{ASYNC}{}", key("k-1")), note("first")),
    ] {
        let refused = ann.ask_with("POST", target, &more, &body);
        assert_eq!(refused.problem(), (422, "idempotency-key-reused".to_owned()), "{target}");
    }
    assert_eq!(admitted(&door.cli, "add"), 1);

    // A key is its caller's own: another's is another, and tells nothing of the first.
    let others = bob.ask_with("POST", ADD, &key("k-1"), &note("second")).expect(200);
    assert_eq!(others.header("idempotent-replayed"), None);
    assert_ne!(others.json()["call"], first.json()["call"]);
    // Without one, it is done again: the tool finds what it did before.
    assert_eq!(ann.ask("POST", ADD, &note("first")).problem(), (502, "tool-error".to_owned()));
    assert_eq!(admitted(&door.cli, "add"), 3);

    // The answer outlives the host.
    let crate::door::Door { cli, server, .. } = door;
    server.kill();
    let (server, port) = cli.serve_network(&[]);
    let ann = crate::harness::client::Client { port, ..ann };
    let again = ann.ask_with("POST", ADD, &key("k-1"), &note("first")).expect(200);
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
    assert_eq!(admitted(&cli, "add"), 3);
    server.interrupt().expect(0);
}

#[test]
fn a_key_is_one_quoted_text() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    for line in ["k", "\"\"", "\"k", "\"k\", \"l\"", "\"k\";a=1", "7", &format!("\"{}\"", "x".repeat(256))] {
        let more = format!("idempotency-key: {line}\r\n");
        assert_eq!(
            ann.ask_with("POST", ADD, &more, &note("n")).problem(),
            (400, "bad-input".to_owned()),
            "{line}"
        );
    }
    let twice = format!("{}{}", key("k"), key("k"));
    assert_eq!(ann.ask_with("POST", ADD, &twice, &note("n")).problem(), (400, "bad-input".to_owned()));
    assert_eq!(admitted(&door.cli, "add"), 0);
    ann.ask_with("POST", ADD, &format!("idempotency-key:   \"{}\"  \r\n", "x".repeat(255)), &note("n"))
        .expect(200);
}

/// While it goes on, who asks again is told so, and where; a client that went away loses nothing.
#[test]
fn a_request_that_goes_on_is_not_begun_again() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let stream = Stream::post(&ann, SLEEP, &key("k"), &milliseconds(2_000));
    wait_until("it is admitted", || admitted(&door.cli, "sleep") == 1);
    let refused = ann.ask_with("POST", SLEEP, &key("k"), &milliseconds(2_000));
    assert_eq!(refused.problem(), (409, "idempotency-key-in-use".to_owned()));
    let call = refused.json()["call"].as_str().expect("an id").to_owned();
    let other = ann.ask_with("POST", SLEEP, &key("k"), &milliseconds(2_001));
    assert_eq!(other.problem(), (422, "idempotency-key-reused".to_owned()));
    drop(stream);
    until(&ann, &call, "succeeded");
    assert_eq!(outcome(&door.cli, &call), Some(CallOutcome::Ok), "the client that went away did not end it");
    let again = ann.ask_with("POST", SLEEP, &key("k"), &milliseconds(2_000)).expect(200);
    assert_eq!(again.json()["call"], json!(call));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));

    // An asynchronous one was answered already, and is again.
    let more = format!("{ASYNC}{}", key("l"));
    let first = taken(&ann.ask_with("POST", SLEEP, &more, &milliseconds(300_000)));
    until(&ann, &first, "running");
    let again = ann.ask_with("POST", SLEEP, &more, &milliseconds(300_000));
    assert_eq!((again.header("idempotent-replayed"), taken(&again)), (Some("true"), first.clone()));
    assert_eq!(admitted(&door.cli, "sleep"), 2);
    ann.ask("DELETE", &format!("/v1/calls/{first}"), b"").expect(200);
    until(&ann, &first, "cancelled");
    assert_eq!(taken(&ann.ask_with("POST", SLEEP, &more, &milliseconds(300_000))), first);
    assert_eq!(admitted(&door.cli, "sleep"), 2);
}

/// A tool's failure is an answer like any other; what never began had no effect, and may be tried again.
#[test]
fn a_failure_is_given_again_and_a_refusal_is_not() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let get =
        |more: &str| ann.ask_with("POST", "/v1/calls?package=notes&tool=get", more, br#"{"name":"none"}"#);
    let failed = get(&key("k"));
    assert_eq!(failed.problem(), (502, "tool-error".to_owned()));
    let again = get(&key("k"));
    assert_eq!(
        (again.status, &again.body, again.header("content-type")),
        (502, &failed.body, failed.header("content-type"))
    );
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(admitted(&door.cli, "get"), 1);

    let none = door.cli.file("none.toml", grant("std-probe", "tools = [\"compute\"]\n"));
    door.cli.run(["grant", "apply", &none]).expect(0);
    let sleep = || ann.ask_with("POST", SLEEP, &key("s"), &milliseconds(1));
    assert_eq!(sleep().problem(), (404, "not-found".to_owned()));
    let all = door.cli.file("all.toml", grant("std-probe", ""));
    door.cli.run(["grant", "apply", &all]).expect(0);
    let ran = sleep().expect(200);
    assert_eq!(ran.header("idempotent-replayed"), None);
    assert_eq!(sleep().expect(200).header("idempotent-replayed"), Some("true"));
}

/// Many at once with one key: one runs.
#[test]
fn of_many_requests_at_once_with_one_key_one_runs() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || {
            let ann = ann.clone();
            scope.spawn(move || ann.ask_with("POST", ADD, &key("one"), &note("one")).status)
        };
        let asked: Vec<_> = (0..16).map(|_| ask()).collect();
        asked.into_iter().map(|asked| asked.join().expect("no panic")).collect()
    });
    assert!(
        statuses.contains(&200) && statuses.iter().all(|status| [200, 409].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(admitted(&door.cli, "add"), 1);
    let finished = door.events().iter().filter(|event| matches!(event, Event::CallFinished { .. })).count();
    assert_eq!(finished, 1);
}

/// What an agent erases of itself does not stay here.
#[test]
fn erasing_a_principals_evidence_erases_its_kept_answers() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let text = "a text that nobody else has";
    let body = json!({"name": "n", "text": text}).to_string();
    ann.ask_with("POST", ADD, &key("a"), body.as_bytes()).expect(200);
    let get = || ann.ask_with("POST", "/v1/calls?package=notes&tool=get", &key("g"), br#"{"name":"n"}"#);
    assert!(String::from_utf8_lossy(&get().expect(200).body).contains(text));
    door.cli.run(["audit", "erase", AGENT]).expect(0);
    let gone = get();
    assert_eq!(gone.problem(), (410, "gone".to_owned()));
    assert_eq!(admitted(&door.cli, "get"), 1, "it is not run again");
    let call = gone.json()["call"].as_str().expect("an id").to_owned();
    let shown = super::show(&ann, &call);
    assert!(shown["state"] == "succeeded" && shown["result"].is_null(), "{shown}");
}

/// What is kept is told again by a host that can take nothing new.
#[test]
fn a_low_disk_refuses_new_requests_and_answers_old_ones() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let first = ann.ask_with("POST", ADD, &key("k"), &note("first")).expect(200);
    let crate::door::Door { mut cli, server, .. } = door;
    server.interrupt().expect(0);
    cli.environment = vec![("PORTCULLIS_DISK_RESERVE", "1000000GiB".to_owned())];
    let (server, port) = cli.serve_network(&[]);
    let ann = crate::harness::client::Client { port, ..ann };
    let again = ann.ask_with("POST", ADD, &key("k"), &note("first")).expect(200);
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
    for more in [String::new(), key("l"), ASYNC.to_owned()] {
        let refused = ann.ask_with("POST", ADD, &more, &note("second"));
        assert_eq!(refused.problem(), (503, "disk-low".to_owned()), "{more}");
    }
    assert_eq!(admitted(&cli, "add"), 1);
    server.interrupt().expect(0);
}
