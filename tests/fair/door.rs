//! The same at the door: real sockets, the built program.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis::audit::event::Event;
use serde_json::{Value, json};

use crate::door::Door;
use crate::harness::client::{Answer, Client};
use crate::harness::guest;
use crate::harness::process::{Cli, wait_until};

const LONG: &str = "limits = { wall_time = \"10m\", fuel = 1_000_000_000_000 }\n";

/// A host with `std-probe` for three agents, and with limits of its own.
pub(super) fn door(limits: &str) -> (Door, [Client; 3]) {
    let cli = Cli::new();
    cli.install("std-probe", &guest("std-probe"), LONG);
    let agents = ["ann", "bob", "cleo"];
    let grants = format!("[[grant]]\npackage = \"std-probe\"\nagents = {agents:?}\n{LONG}");
    let grants = cli.file("agents.toml", grants);
    cli.run(["grant", "apply", &grants]).expect(0);
    std::fs::write(cli.data.join("limits.toml"), format!("[limits]\n{limits}")).expect("written");
    let door = Door::serve(cli, &[]);
    let clients = agents.map(|agent| door.caller(agent, "agent"));
    (door, clients)
}

pub(super) fn call(client: &Client, tool: &str, arguments: Value) -> Answer {
    client.ask("POST", &format!("/v1/calls?package=std-probe&tool={tool}"), arguments.to_string().as_bytes())
}

pub(super) fn start(client: &Client, tool: &'static str, arguments: Value) -> JoinHandle<Answer> {
    let client = client.clone();
    std::thread::spawn(move || call(&client, tool, arguments))
}

pub(super) fn until(door: &Door, running: usize, waiting: u64) {
    wait_until(&format!("{running} run and {waiting} wait"), || {
        let status = door.admin.get("/v1/status").expect(200).json();
        status["running"].as_array().map(Vec::len) == Some(running) && status["waiting"] == waiting
    });
}

/// Ends the call that runs now.
fn end_running(door: &Door) {
    let status = door.admin.get("/v1/status").expect(200).json();
    let call = status["running"][0]["call"].as_str().expect("one runs").to_owned();
    door.admin.ask("DELETE", &format!("/v1/calls/{call}"), b"").expect(200);
}

/// With one place, a polite agent's call is served after one of a looping agent's and not after all of them.
#[test]
fn a_polite_agent_waits_for_one_call_and_not_for_all_of_anothers() {
    let (door, [looping, polite, _]) = door("host_concurrency = 1\nqueue_time = \"5m\"\n");
    let first = start(&looping, "sleep", json!({"milliseconds": 600_000}));
    until(&door, 1, 0);
    let many: Vec<_> = (0..5).map(|_| start(&looping, "compute", json!({"rounds": 3_000_000}))).collect();
    until(&door, 1, 5);
    let one = start(&polite, "compute", json!({"rounds": 1}));
    until(&door, 1, 6);
    end_running(&door);
    let answer = one.join().expect("answered");
    let answer = answer.expect(200).json();
    assert!(answer["usage"]["queue_time_us"].as_u64().is_some_and(|waited| waited > 0));
    // By their places in the log: answers that wait for the same write to the disk leave in any order.
    let served = answer["record"].as_u64().expect("the place of its end in the log");
    let before = ends(many).into_iter().filter(|record| *record < served).count();
    assert!(before <= 1, "{before} of the others came first");
    first.join().expect("answered").expect(409);
    let metrics = door.admin.get("/metrics").expect(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains("portcullis_call_queue_seconds_count 7"), "{metrics}");
}

/// Where the ends of calls, all with an answer, are in the log.
fn ends(calls: Vec<JoinHandle<Answer>>) -> Vec<u64> {
    let record = |call: JoinHandle<Answer>| {
        let answer = call.join().expect("answered").expect(200).json();
        answer["record"].as_u64().expect("the place of its end in the log")
    };
    calls.into_iter().map(record).collect()
}

/// Where all want more than there is, places go by weight.
#[test]
fn weights_decide_who_is_next() {
    let (door, [ann, bob, cleo]) = door("host_concurrency = 1\nqueue_time = \"5m\"\n");
    door.cli.run(["principal", "add", "ann", "--weight", "3"]).expect(0);
    let holds = start(&cleo, "sleep", json!({"milliseconds": 600_000}));
    until(&door, 1, 0);
    let rounds = json!({"rounds": 1_000_000});
    let of =
        |client: &Client| -> Vec<_> { (0..12).map(|_| start(client, "compute", rounds.clone())).collect() };
    let (of_ann, of_bob) = (of(&ann), of(&bob));
    until(&door, 1, 24);
    end_running(&door);
    let (mut of_ann, of_bob) = (ends(of_ann), ends(of_bob));
    of_ann.sort_unstable();
    // When ann's last was served, about a third of bob's were.
    let last = of_ann.last().expect("twelve");
    let before = of_bob.iter().filter(|record| *record < last).count();
    assert!((2..=6).contains(&before), "{before} of bob's 12 before ann's last");
    holds.join().expect("answered").expect(409);
}

/// What an agent is told where the queue is full, where it waited too long, and what the log and an admin see of it.
#[test]
fn a_full_queue_and_a_deadline_say_when_to_try_again() {
    let (door, [ann, bob, cleo]) =
        door("principal_concurrency = 1\nhost_concurrency = 2\nprincipal_queue = 1\nqueue_time = \"1s\"\n");
    let runs = [&ann, &bob].map(|client| start(client, "sleep", json!({"milliseconds": 600_000})));
    until(&door, 2, 0);
    // The length of the queue is an agent's own bound: 429. Two run, which is all that the host has: 503.
    for client in [&ann, &cleo] {
        let first = start(client, "compute", json!({"rounds": 1}));
        let answers = [call(client, "compute", json!({"rounds": 1})), first.join().expect("answered")];
        let of = |limit: &str| answers.iter().find(|answer| answer.json()["limit"]["limit"] == limit);
        let (full, late) = (of("principal_queue").expect("one"), of("queue_time").expect("the other"));
        assert_eq!(full.problem(), (429, "too-many-requests".to_owned()));
        assert_eq!(full.json()["limit"], json!({"limit": "principal_queue", "value": 2, "max": 1}));
        assert_eq!(late.problem(), (503, "busy".to_owned()));
        let document = late.json();
        assert_eq!((document["blame"].as_str(), document["call"].is_null()), (Some("host"), true));
        let detail = document["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("it waited for limit reached: host_concurrency 3, at most 2"), "{detail}");
        for answer in [full, late] {
            assert_eq!((answer.header("retry-after"), &answer.json()["retry_after"]), (Some("1"), &json!(1)));
        }
    }
    end_running(&door);
    until(&door, 1, 0);
    // The host has a place again, and one of the two agents has none of its own.
    let status = door.admin.get("/v1/status").expect(200).json();
    let busy = if status["running"][0]["principal"] == "ann" { &ann } else { &bob };
    let late = call(busy, "compute", json!({"rounds": 1}));
    assert_eq!(late.problem(), (429, "too-many-requests".to_owned()));
    assert_eq!((late.json()["blame"].as_str(), late.header("retry-after")), (Some("agent"), Some("1")));
    end_running(&door);
    for run in runs {
        run.join().expect("answered").expect(409);
    }
    door.cli.wait_for_record("refusals are recorded", |record| match &record.event {
        Event::CallsRefused(refused) if refused.reached.limit.name() == "queue_time" => Some(()),
        _ => None,
    });
}

/// A client that goes away while it waits leaves the queue, and its call never begins.
#[test]
fn a_client_that_goes_away_leaves_the_queue() {
    use std::io::Write;
    let (door, [ann, ..]) = door("principal_concurrency = 1\nqueue_time = \"5m\"\n");
    let runs = start(&ann, "sleep", json!({"milliseconds": 600_000}));
    until(&door, 1, 0);
    let mut stream = ann.connect();
    let head = ann.head("POST", "/v1/calls?package=std-probe&tool=compute", "content-length: 12\r\n");
    stream.write_all(format!("{head}{{\"rounds\":1}}").as_bytes()).expect("sent");
    until(&door, 1, 1);
    drop(stream);
    until(&door, 1, 0);
    end_running(&door);
    runs.join().expect("answered").expect(409);
    let admitted =
        door.events().into_iter().filter(|event| matches!(event, Event::CallAdmitted { .. })).count();
    assert_eq!(admitted, 1);
}

/// A grant that ends while its call waits: the call is told so at once, and the log says that it was denied.
#[test]
fn a_grant_that_ends_while_its_call_waits_denies_it() {
    let (door, [ann, ..]) = door("host_concurrency = 1\nqueue_time = \"5m\"\n");
    let holder = door.caller("dan", "agent");
    door.cli.install("held", &guest("std-probe"), LONG);
    let held = format!("[[grant]]\npackage = \"held\"\nagents = [\"dan\"]\n{LONG}");
    let held = door.cli.file("held.toml", held);
    door.cli.run(["grant", "apply", &held]).expect(0);
    let holding = std::thread::spawn({
        let holder = holder.clone();
        move || holder.ask("POST", "/v1/calls?package=held&tool=sleep", b"{\"milliseconds\":600000}")
    });
    until(&door, 1, 0);
    let waits = start(&ann, "compute", json!({"rounds": 1}));
    until(&door, 1, 1);
    let grants = door.cli.json(&["grant", "show", "std-probe"]);
    let id = grants["grants"][0]["id"].to_string();
    door.cli.run(["grant", "revoke", &id]).expect(0);
    // It was granted nothing else of the package: it is told what one is told who never was.
    assert_eq!(waits.join().expect("answered").problem(), (404, "not-found".to_owned()));
    until(&door, 1, 0);
    assert!(door.events().iter().any(|event| matches!(event,
        Event::CallDenied { principal, .. } if principal.as_str() == "ann")));
    end_running(&door);
    holding.join().expect("answered").expect(409);
}

/// What a quota says to an agent, to an admin on the command line, and after a kill.
#[test]
fn a_quota_is_told_shown_and_kept() {
    let (door, [ann, bob, _]) = door("queue_time = \"5m\"\n");
    let set =
        door.cli.json(&["principal", "limit", "ann", "--calls-per-minute", "3", "--egress-per-day", "1MiB"]);
    assert_eq!(set["status"]["quotas"], json!({"calls_per_minute": 3, "egress_per_day": 1 << 20}));
    let began = Instant::now();
    for _ in 0..3 {
        call(&ann, "compute", json!({"rounds": 1})).expect(200);
    }
    let refused = call(&ann, "compute", json!({"rounds": 1}));
    if began.elapsed() < Duration::from_secs(50) {
        assert_eq!(refused.problem(), (429, "too-many-requests".to_owned()));
        let document = refused.json();
        assert_eq!(document["limit"], json!({"limit": "principal_calls_per_minute", "value": 4, "max": 3}));
        assert_eq!(document["blame"], "agent");
        let seconds: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
        assert!((1..=61).contains(&seconds), "{seconds}");
        assert_eq!(document["retry_after"], seconds);
        let shown = door.cli.json(&["principal", "show", "ann"]);
        assert_eq!(shown["quotas"]["used"][0]["used"], 3, "{shown}");
        door.cli.run(["principal", "show", "ann"]).expect(0);
    }
    call(&bob, "compute", json!({"rounds": 1})).expect(200);
    // The same for a package, whoever calls it; nobody is told what others used.
    door.cli.run(["package", "limit", "std-probe", "--fuel-per-hour", "1"]).expect(0);
    let told = call(&bob, "compute", json!({"rounds": 1}));
    assert_eq!(told.problem(), (429, "too-many-requests".to_owned()));
    let reached = json!({"limit": "package_fuel_per_hour", "value": 2, "max": 1});
    assert_eq!(told.json()["limit"], reached);
    door.cli.run(["package", "limit", "std-probe", "--fuel-per-hour", "0"]).expect(2).says("fuel_per_hour");
    door.cli.run(["principal", "limit", "ann", "--weight", "0"]).expect(2).says("from 1 to 100");
    door.cli.run(["principal", "limit", "anm", "--weight", "2"]).expect(2).says("did you mean ann?");
    // What is used is written down every few seconds, so that a kill forgets no more than those.
    let fuel = |cli: &Cli| cli.json(&["package", "limit", "std-probe"])["used"][1]["used"].clone();
    let used = fuel(&door.cli);
    assert!(used.as_u64().is_some_and(|used| used > 0), "{used}");
    std::thread::sleep(Duration::from_secs(5));
    let Door { cli, server, .. } = door;
    server.kill();
    assert_eq!(fuel(&cli), used, "of this hour");
}
