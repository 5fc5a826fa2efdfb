//! Calls that outlive their request: asynchronous ones, those with an Idempotency-Key, and their events. Each test
//! speaks to the built program over TCP.

mod command_line;
mod events;
mod keys;
mod kills;

use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event};
use portcullis::ids::CallId;
use serde_json::{Value, json};

use crate::door::Door;
use crate::harness::client::{Answer, Client};
use crate::harness::process::{Cli, grant, notes_folder, wait_until};
use crate::harness::{AGENT, guest};

const LONG: &str = "limits = { wall_time = \"300s\", concurrency = 64 }\n";
const ASYNC: &str = "prefer: respond-async\r\n";
const EVENTS: &str = "accept: text/event-stream\r\n";

const ADD: &str = "/v1/calls?package=notes&tool=add";
const SLEEP: &str = "/v1/calls?package=std-probe&tool=sleep";

/// A host with notes, which write files, and `std-probe`, which sleeps; both for [`AGENT`], notes for `other` as well.
fn door() -> Door {
    let door = Door::serve(world(), &[]);
    let other = grant("notes", &notes_folder("notes")).replace(AGENT, "other");
    let both = door.cli.file("both.toml", format!("{}{other}", grant("notes", &notes_folder("notes"))));
    door.cli.run(["grant", "apply", &both]).expect(0);
    door
}

fn world() -> Cli {
    let cli = Cli::new();
    cli.install("std-probe", &guest("std-probe"), LONG);
    cli.install_notes();
    cli
}

fn note(name: &str) -> Vec<u8> {
    json!({"name": name, "text": "kept"}).to_string().into_bytes()
}

fn milliseconds(milliseconds: u64) -> Vec<u8> {
    json!({"milliseconds": milliseconds}).to_string().into_bytes()
}

/// A line of a head that gives a key.
fn key(key: &str) -> String {
    format!("idempotency-key: \"{key}\"\r\n")
}

/// The id of a call that was taken.
#[track_caller]
fn taken(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    let call = answer.json()["call"].as_str().expect("an id").to_owned();
    assert_eq!(answer.header("location"), Some(&*format!("/v1/calls/{call}")));
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    call
}

fn show(client: &Client, call: &str) -> Value {
    client.get(&format!("/v1/calls/{call}")).expect(200).json()
}

/// Waits until a call is in a state, and shows it.
#[track_caller]
fn until(client: &Client, call: &str, state: &str) -> Value {
    let mut shown = Value::Null;
    wait_until(&format!("call {call} is {state}"), || {
        shown = show(client, call);
        shown["state"] == state
    });
    shown
}

/// How many calls of a tool were admitted.
fn admitted(cli: &Cli, tool: &str) -> usize {
    let is_it =
        |event: &Event| matches!(event, Event::CallAdmitted { context, .. } if context.tool.as_str() == tool);
    cli.log().iter().filter(|record| is_it(&record.event)).count()
}

/// How a call ended, as the log says.
fn outcome(cli: &Cli, call: &str) -> Option<CallOutcome> {
    let call: CallId = call.parse().expect("an id");
    cli.log().into_iter().find_map(|record| match record.event {
        Event::CallFinished { context, end } if context.call == call => Some(end.outcome),
        _ => None,
    })
}

/// Answered at once, with where the answer will be; it is there when the call has ended, for who asked and for nobody
/// else.
#[test]
fn a_call_that_nobody_waits_for_is_answered_later() {
    let door = door();
    let (ann, bob) = (door.caller(AGENT, "agent"), door.caller("other", "agent"));
    let auditor = door.caller("eve", "auditor");
    let call = taken(&ann.ask_with("POST", ADD, ASYNC, &note("first")));
    let shown = until(&ann, &call, "succeeded");
    assert_eq!(
        (&shown["mode"], &shown["asked_by"], &shown["tool"]),
        (&json!("async"), &json!(AGENT), &json!("add"))
    );
    assert_eq!(shown["result"]["call"], json!(call));
    assert!(shown["result"]["structured"].is_string() || shown["result"]["content"].is_array(), "{shown}");
    assert!(
        shown["ended"].is_string() && shown["kept_until"].is_string() && shown["error"].is_null(),
        "{shown}"
    );

    // What was asked is in the log before the 202, and what was done before the end.
    let id: CallId = call.parse().expect("an id");
    let names: Vec<&str> = door
        .events()
        .iter()
        .filter(|event| event.call() == Some(id))
        .filter_map(|event| match event {
            Event::CallAccepted(accepted) => {
                assert_eq!((accepted.principal.as_str(), accepted.by.as_str()), (AGENT, AGENT));
                Some("accepted")
            }
            Event::CallAdmitted { .. } => Some("admitted"),
            Event::CallFinished { .. } => Some("finished"),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["accepted", "admitted", "finished"]);

    // A call that failed is one as well.
    let failed =
        taken(&ann.ask_with("POST", "/v1/calls?package=notes&tool=get", ASYNC, br#"{"name":"none"}"#));
    let shown = until(&ann, &failed, "failed");
    assert_eq!(
        (&shown["error"]["type"], &shown["error"]["call"]),
        (&json!("urn:portcullis:error:tool-error"), &json!(failed))
    );
    assert!(shown["result"].is_null());

    // Of another's nobody is told that it is there.
    let never = CallId::generate().to_string();
    for (method, rest) in [("GET", ""), ("GET", "/events"), ("GET", "/receipt"), ("DELETE", "")] {
        let said = |client: &Client, call: &str| {
            let answer = client.ask(method, &format!("/v1/calls/{call}{rest}"), b"").expect(404);
            answer.json().to_string().replace(call, "CALL")
        };
        assert_eq!(said(&bob, &call), said(&bob, &never), "{method} {rest}");
        assert_eq!(said(&bob, &never), said(&ann, &never), "{method} {rest}");
    }
    let list = |client: &Client| {
        client.get("/v1/calls").expect(200).json()["calls"].as_array().expect("a list").clone()
    };
    assert_eq!(list(&bob), [] as [Value; 0]);
    let ids = |client: &Client| list(client).iter().map(|call| call["call"].clone()).collect::<Vec<_>>();
    for client in [&ann, &door.admin, &auditor] {
        assert_eq!(ids(client), [json!(failed), json!(call)], "the newest first");
        assert!(list(client).iter().all(|call| call["result"].is_null() && call["error"].is_null()));
    }
    // Admins see what was said, auditors that it was.
    assert_eq!(show(&door.admin, &call)["result"], show(&ann, &call)["result"]);
    for call in [&call, &failed] {
        let seen = show(&auditor, call);
        assert!(seen["result"].is_null() && seen["error"].is_null() && seen["state"].is_string(), "{seen}");
    }
    assert_eq!(auditor.get(&format!("/v1/calls/{call}/events")).problem(), (403, "forbidden".to_owned()));
}

/// What cannot be granted is told in the same words as to who waits.
#[test]
fn what_is_not_granted_is_not_there_for_an_asynchronous_call_either() {
    let door = door();
    let bob = door.caller("other", "agent");
    let target = |package: &str| format!("/v1/calls?package={package}&tool=sleep");
    let later = |package: &str| {
        let call = taken(&bob.ask_with("POST", &target(package), ASYNC, &milliseconds(1)));
        let mut error = until(&bob, &call, "failed")["error"].take();
        error["detail"] = error["detail"].as_str().expect("a detail").replace(package, "NAME").into();
        error
    };
    let at_once = |package: &str| {
        let document = bob.ask("POST", &target(package), &milliseconds(1)).expect(404).json().to_string();
        serde_json::from_str::<Value>(&document.replace(package, "NAME")).expect("JSON")
    };
    assert_eq!(later("std-probe"), at_once("nothing"));
    assert_eq!(later("nothing"), at_once("std-probe"));
    assert_eq!(admitted(&door.cli, "sleep"), 0);
}

#[test]
fn pages_are_bounded_and_follow_each_other() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let mut calls: Vec<String> =
        (0..5).map(|at| taken(&ann.ask_with("POST", ADD, ASYNC, &note(&format!("n{at}"))))).collect();
    for call in &calls {
        until(&ann, call, "succeeded");
    }
    calls.sort();
    calls.reverse();
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = ann.get(&format!("/v1/calls?limit=2{after}")).expect(200).json();
        let here = page["calls"].as_array().expect("a list");
        assert!((1..=2).contains(&here.len()), "{page}");
        found.extend(here.iter().map(|call| call["call"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, calls);
    let sleeping = taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(300_000)));
    until(&ann, &sleeping, "running");
    for (state, count) in [("running", 1), ("queued", 0), ("succeeded", 5), ("failed", 0), ("interrupted", 0)]
    {
        let page = ann.get(&format!("/v1/calls?state={state}")).expect(200).json();
        assert_eq!(page["calls"].as_array().map(Vec::len), Some(count), "{state}");
    }
    for query in ["limit=0", "limit=501", "limit=x", "state=open", "after=7", "before=7"] {
        assert_eq!(
            ann.get(&format!("/v1/calls?{query}")).problem(),
            (400, "bad-input".to_owned()),
            "{query}"
        );
    }
}

/// Who asked ends its call; another can't.
#[test]
fn a_call_that_nobody_waits_for_can_be_asked_to_end() {
    let door = door();
    let (ann, bob) = (door.caller(AGENT, "agent"), door.caller("other", "agent"));
    let call = taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(300_000)));
    until(&ann, &call, "running");
    let target = format!("/v1/calls/{call}");
    assert_eq!(bob.ask("DELETE", &target, b"").problem(), (404, "not-found".to_owned()));
    ann.ask("DELETE", &target, b"").expect(200);
    let shown = until(&ann, &call, "cancelled");
    assert_eq!(shown["error"]["type"], "urn:portcullis:error:cancelled");
    assert_eq!(outcome(&door.cli, &call), Some(CallOutcome::Cancelled));
    assert!(
        door.events()
            .iter()
            .any(|event| matches!(event, Event::CallCancelled { by, .. } if by.as_str() == AGENT))
    );
    assert_eq!(ann.ask("DELETE", &target, b"").problem(), (404, "not-found".to_owned()), "it has ended");
}

/// The receipt is the one that `audit prove` makes, and holds without the host.
#[test]
fn a_caller_has_the_receipt_of_its_calls() {
    let door = door();
    let (ann, bob) = (door.caller(AGENT, "agent"), door.caller("other", "agent"));
    let auditor = door.caller("eve", "auditor");
    let plain =
        ann.ask("POST", ADD, &note("first")).expect(200).json()["call"].as_str().expect("an id").to_owned();
    let later = taken(&ann.ask_with("POST", ADD, ASYNC, &note("second")));
    until(&ann, &later, "succeeded");
    for call in [&plain, &later] {
        let target = format!("/v1/calls/{call}/receipt");
        let receipt = ann.get(&target).expect(200).json();
        assert_eq!((&receipt["call"], &receipt["facts"]["principal"]), (&json!(call), &json!(AGENT)));
        for client in [&door.admin, &auditor] {
            assert_eq!(client.get(&target).expect(200).json()["record"]["line"], receipt["record"]["line"]);
        }
        assert_eq!(bob.get(&target).problem(), (404, "not-found".to_owned()));
        let file = door.cli.file("receipt.json", receipt.to_string());
        door.cli.run(["audit", "verify-receipt", &file]).expect(0);
        let altered = receipt.to_string().replace(AGENT, "resaercher");
        door.cli.run(["audit", "verify-receipt", &door.cli.file("altered.json", altered)]).expect(8);
        let proved = door.cli.json(&["audit", "prove", call]);
        assert_eq!(
            (&proved["record"]["line"], &proved["host"]["line"]),
            (&receipt["record"]["line"], &receipt["host"]["line"])
        );
    }
    // One that goes on has none yet, and only its owner is told that it does.
    let sleeping = taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(300_000)));
    until(&ann, &sleeping, "running");
    let target = format!("/v1/calls/{sleeping}/receipt");
    assert_eq!(ann.get(&target).problem(), (503, "busy".to_owned()));
    assert_eq!(bob.get(&target).problem(), (404, "not-found".to_owned()));
}

/// So many go on at once of one caller, and another is not kept from its own by them.
#[test]
fn a_caller_has_so_many_open_calls_and_so_many_streams() {
    let cli = world();
    std::fs::write(cli.data.join("limits.toml"), "[limits]\nprincipal_concurrency = 64\n").expect("written");
    let door = Door::serve(cli, &[]);
    let ann = door.caller(AGENT, "agent");
    let calls: Vec<String> =
        (0..64).map(|_| taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(300_000)))).collect();
    let refused = ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(1));
    assert_eq!(refused.problem(), (429, "too-many-requests".to_owned()));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(
        ann.ask_with("POST", SLEEP, &key("k"), &milliseconds(1)).problem().0,
        429,
        "one with a key is one more"
    );
    // Another caller's are counted by themselves: it learns that it is granted nothing, not that it must wait.
    taken(&door.caller("other", "agent").ask_with("POST", SLEEP, ASYNC, &milliseconds(1)));

    until(&ann, &calls[0], "running");
    let target = format!("/v1/calls/{}/events", calls[0]);
    let head = ann.head("GET", &target, "");
    let mut streams: Vec<_> = (0..64).map(|_| events::Stream::open(&ann, &head, b"")).collect();
    for stream in &mut streams {
        stream.until("\r\n\r\n");
    }
    let refused = ann.get(&target);
    assert_eq!(refused.problem(), (429, "too-many-requests".to_owned()));
    streams.pop();
    let mut again = None;
    wait_until("the place of a stream is free", || {
        let mut stream = events::Stream::open(&ann, &head, b"");
        let is_in = stream.until("\r\n\r\n").starts_with("HTTP/1.1 200");
        again = Some(stream);
        is_in
    });
    ann.ask("DELETE", &format!("/v1/calls/{}", calls[1]), b"").expect(200);
    until(&ann, &calls[1], "cancelled");
    taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(1)));
}

/// What waits for a place is queued, and can be asked to end before it begins; then its key is free again.
#[test]
fn a_call_that_waits_for_its_turn_can_be_asked_to_end() {
    let cli = world();
    std::fs::write(
        cli.data.join("limits.toml"),
        "[limits]\nprincipal_concurrency = 1\nqueue_time = \"300s\"\n",
    )
    .expect("written");
    let door = Door::serve(cli, &[]);
    let ann = door.caller(AGENT, "agent");
    let running = taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(300_000)));
    until(&ann, &running, "running");
    let more = format!("{ASYNC}{}", key("k"));
    let waiting = taken(&ann.ask_with("POST", SLEEP, &more, &milliseconds(1)));
    assert_eq!(show(&ann, &waiting)["state"], "queued");
    let page = ann.get("/v1/calls?state=queued").expect(200).json();
    assert_eq!(
        (&page["calls"][0]["call"], page["calls"].as_array().map(Vec::len)),
        (&json!(waiting), Some(1))
    );
    let bob = door.caller("other", "agent");
    assert_eq!(bob.ask("DELETE", &format!("/v1/calls/{waiting}"), b"").status, 404);
    ann.ask("DELETE", &format!("/v1/calls/{waiting}"), b"").expect(200);
    let shown = until(&ann, &waiting, "cancelled");
    assert!(
        shown["error"]["detail"].as_str().is_some_and(|detail| detail.contains("before it began")),
        "{shown}"
    );
    assert_eq!(admitted(&door.cli, "sleep"), 1);
    // Nothing was done by it, so the key stands for what comes next.
    let next = taken(&ann.ask_with("POST", SLEEP, &more, &milliseconds(2)));
    assert_ne!(next, waiting);
    ann.ask("DELETE", &format!("/v1/calls/{running}"), b"").expect(200);
    until(&ann, &next, "succeeded");
}

/// What waits is held in memory, so its arguments have a bound together.
#[test]
fn arguments_of_open_calls_have_a_bound() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let mut body = milliseconds(300_000);
    body.resize(1 << 20, b' ');
    let calls: Vec<String> = (0..8).map(|_| taken(&ann.ask_with("POST", SLEEP, ASYNC, &body))).collect();
    let refused = ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(1));
    assert_eq!(refused.problem(), (429, "too-many-requests".to_owned()));
    ann.ask("DELETE", &format!("/v1/calls/{}", calls[0]), b"").expect(200);
    until(&ann, &calls[0], "cancelled");
    taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(1)));
}

/// A stop gives calls that nobody waits for their time, and then ends and records them.
#[test]
fn a_stop_lets_calls_end_and_cancels_the_rest() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let short = taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(1_500)));
    let long = taken(&ann.ask_with("POST", SLEEP, ASYNC, &milliseconds(300_000)));
    for call in [&short, &long] {
        until(&ann, call, "running");
    }
    let Door { cli, server, .. } = door;
    server.interrupt().expect(0);
    assert_eq!(outcome(&cli, &short), Some(CallOutcome::Ok));
    assert_eq!(outcome(&cli, &long), Some(CallOutcome::Cancelled));
    assert!(matches!(cli.log().last().map(|record| &record.event), Some(Event::HostStopped { .. })));
    let (server, port) = cli.serve_network(&[]);
    let ann = Client { port, ..ann };
    assert_eq!(show(&ann, &short)["state"], "succeeded");
    assert_eq!(show(&ann, &long)["state"], "cancelled");
    server.interrupt().expect(0);
}

/// A host that dies says at its next start which calls were open; none of them runs again.
#[test]
fn calls_of_a_host_that_died_are_interrupted() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let call =
        taken(&ann.ask_with("POST", SLEEP, &format!("{ASYNC}{}", key("later")), &milliseconds(300_000)));
    until(&ann, &call, "running");
    let waiting = {
        let ann = ann.clone();
        std::thread::spawn(move || {
            let body = milliseconds(299_999);
            let head = ann.head("POST", SLEEP, &format!("content-length: {}\r\n{}", body.len(), key("now")));
            let mut stream = events::Stream::open(&ann, &head, &body);
            stream.rest()
        })
    };
    wait_until("both run", || admitted(&door.cli, "sleep") == 2);
    let Door { cli, server, .. } = door;
    server.kill();
    assert_eq!(waiting.join().expect("no panic"), "", "it was never answered");
    let (server, port) = cli.serve_network(&[]);
    let ann = Client { port, ..ann };
    let shown = show(&ann, &call);
    assert_eq!(
        (&shown["state"], &shown["error"]["type"]),
        (&json!("interrupted"), &json!("urn:portcullis:error:interrupted"))
    );
    assert_eq!(outcome(&cli, &call), Some(CallOutcome::Interrupted));
    let again = ann.ask_with("POST", SLEEP, &key("now"), &milliseconds(299_999));
    assert_eq!(again.problem(), (500, "interrupted".to_owned()));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let again = ann.ask_with("POST", SLEEP, &format!("{ASYNC}{}", key("later")), &milliseconds(300_000));
    assert_eq!((again.header("idempotent-replayed"), taken(&again)), (Some("true"), call.clone()));
    let ended = ann.get(&format!("/v1/calls/{call}/events")).expect(200);
    assert!(String::from_utf8_lossy(&ended.body).starts_with("event: error\ndata: {"), "{ended:?}");
    assert_eq!(admitted(&cli, "sleep"), 2, "nothing ran again");
    server.interrupt().expect(0);
    cli.run(["audit", "verify"]).expect(0);
}

/// Calls that are not kept leave nothing in the database.
#[test]
fn a_plain_call_is_kept_nowhere() {
    let door = door();
    let ann = door.caller(AGENT, "agent");
    let call =
        ann.ask("POST", ADD, &note("plain")).expect(200).json()["call"].as_str().expect("an id").to_owned();
    assert_eq!(ann.get(&format!("/v1/calls/{call}")).problem(), (404, "not-found".to_owned()));
    ann.ask_with("POST", ADD, "prefer: wait=10\r\n", &note("other")).expect(200);
    assert_eq!(door.admin.get("/v1/calls").expect(200).json()["calls"], json!([]));
    // Long enough for what goes on behind an answer.
    let listed = (0..20).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        door.admin.get("/v1/calls").json()["calls"] != json!([])
    });
    assert!(!listed);
}
