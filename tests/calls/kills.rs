//! kill -9 under load: what was acknowledged has its records, and what was taken is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis::audit::event::{CallOutcome, Event, Record};
use portcullis::ids::CallId;
use serde_json::{Value, json};

use super::{ADD, AGENT, ASYNC, SLEEP, key, milliseconds, note, world};
use crate::door::Door;
use crate::harness::client::Client;
use crate::harness::random::Random;
use crate::harness::soak::Plan;

/// Kills in an ordinary run, and at most in a soak.
const ROUNDS: u64 = 4;
const ROUNDS_OF_A_SOAK: u64 = 500;
const WORKERS: usize = 4;

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Calls that were answered with 200.
    answered: BTreeSet<CallId>,
    /// Calls that were answered with 202.
    taken: BTreeSet<CallId>,
    /// What was said of the requests of each key.
    keyed: BTreeMap<String, Value>,
}

/// Case 89, for calls of agents: a host that is killed at any moment has the records of all that it acknowledged, lists
/// all that it took, and does none of it again.
#[test]
fn a_host_that_is_killed_under_load_lists_what_it_took() {
    let cli = world();
    let mut plan = Plan::new(ROUNDS, ROUNDS_OF_A_SOAK);
    let mut random = Random::new(plan.seed);
    let (mut door, mut totals) = (Door::serve(cli, &[]), [0; 3]);
    let mut agent = door.caller(AGENT, "agent");
    let mut round = 0;
    while plan.goes_on(round) {
        let pause = Duration::from_millis(20 + random.below(600));
        let acknowledged = Mutex::new(Acknowledged::default());
        let stop = AtomicBool::new(false);
        let Door { cli, server, .. } = door;
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (agent, acknowledged, stop) = (&agent, &acknowledged, &stop);
                let random = Random::of_case(plan.seed ^ round, worker as u64);
                scope.spawn(move || work(agent, random, &format!("r{round}-w{worker}"), acknowledged, stop));
            }
            let begun = Instant::now();
            // So that there is something to lose: a machine may be slow.
            while begun.elapsed() < pause || acknowledged.lock().expect("not poisoned").taken.is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            server.kill();
            stop.store(true, Ordering::SeqCst);
        });
        door = Door::serve(cli, &[]);
        agent = Client { port: door.anonymous.port, ..agent };
        let acknowledged = acknowledged.into_inner().expect("not poisoned");
        check(&door, &agent, &acknowledged);
        let [answered, taken, interrupted] = &mut totals;
        *answered += acknowledged.answered.len();
        *taken += acknowledged.taken.len();
        *interrupted +=
            states(&agent, &acknowledged).into_iter().filter(|state| state == "interrupted").count();
        round += 1;
        plan.progress(|| format!("{round} kills, answered, taken and interrupted: {totals:?}"));
    }
    // Otherwise the rounds would have shown nothing.
    let [answered, taken, interrupted] = totals;
    assert!(answered > 0 && taken > 0 && interrupted > 0, "{totals:?}");
    plan.report(&json!({
        "kills": round, "seconds": plan.elapsed().as_secs(), "answered": answered, "taken": taken,
        "interrupted": interrupted, "log_records": door.cli.log().len(),
    }));
}

/// Asks until the host is gone.
fn work(
    agent: &Client,
    mut random: Random,
    name: &str,
    acknowledged: &Mutex<Acknowledged>,
    stop: &AtomicBool,
) {
    for count in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let name = format!("{name}-{count}");
        let is_keyed = random.below(2) == 0;
        let more = if is_keyed { key(&name) } else { String::new() };
        let answer = match random.below(4) {
            0 => ask(agent, ADD, &more, &note(&name)),
            1 => ask(agent, ADD, &format!("{ASYNC}{more}"), &note(&name)),
            2 => ask(agent, SLEEP, &format!("{ASYNC}{more}"), &milliseconds(random.below(1_000))),
            _ => ask(agent, SLEEP, &more, &milliseconds(random.below(20))),
        };
        // The host was killed before it had answered.
        let Some((status, document)) = answer else { continue };
        let call = || document["call"].as_str().expect("an id").parse().expect("an id");
        let mut acknowledged = acknowledged.lock().expect("not poisoned");
        match status {
            200 => drop(acknowledged.answered.insert(call())),
            202 => drop(acknowledged.taken.insert(call())),
            // As many as may run do, or are open.
            429 | 503 => continue,
            _ => panic!("{status}: {document}"),
        }
        if is_keyed {
            acknowledged.keyed.insert(name, document);
        }
    }
}

/// One request. None if the connection broke before the whole answer had come.
fn ask(agent: &Client, target: &str, more: &str, body: &[u8]) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(("127.0.0.1", agent.port)).ok()?;
    stream.set_read_timeout(Some(crate::harness::client::ANSWER_TIME_MAX)).ok()?;
    let head = agent.head("POST", target, &format!("content-length: {}\r\n{more}", body.len()));
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.to_ascii_lowercase();
    let length = length.split("content-length: ").nth(1)?.lines().next()?.trim().parse::<usize>().ok()?;
    (body.len() == length).then(|| (status, serde_json::from_str(body).expect("a whole document")))
}

fn states(agent: &Client, acknowledged: &Acknowledged) -> Vec<String> {
    let state = |call: &CallId| {
        let shown = agent.get(&format!("/v1/calls/{call}")).expect(200).json();
        assert_eq!(shown["mode"], "async");
        shown["state"].as_str().expect("a state").to_owned()
    };
    acknowledged.taken.iter().map(state).collect()
}

fn check(door: &Door, agent: &Client, acknowledged: &Acknowledged) {
    let log: Vec<Record> = door.cli.log();
    let (mut accepted, mut admitted, mut ended) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for record in &log {
        match &record.event {
            Event::CallAccepted(taken) => assert!(accepted.insert(taken.call), "{record:?}"),
            Event::CallAdmitted { context, .. } => {
                assert!(admitted.insert(context.call), "it ran twice: {record:?}")
            }
            Event::CallFinished { context, end } => drop(ended.insert(context.call, end.outcome.clone())),
            _ => {}
        }
    }
    assert!(admitted.iter().all(|call| ended.contains_key(call)), "admitted and never closed");
    for call in &acknowledged.answered {
        assert_eq!(ended.get(call), Some(&CallOutcome::Ok), "answered, and not in the log: {call}");
    }
    for (call, state) in acknowledged.taken.iter().zip(states(agent, acknowledged)) {
        assert!(accepted.contains(call), "taken, and not in the log: {call}");
        match (state.as_str(), ended.get(call)) {
            ("succeeded", Some(CallOutcome::Ok)) => {}
            // It was done when the host died, or was not begun yet.
            ("interrupted", Some(CallOutcome::Ok | CallOutcome::Interrupted) | None) => {}
            // More were begun than may run.
            ("failed", None) => {}
            other => panic!("{call}: {other:?}"),
        }
    }
    // Asked again, each is answered as before or said to be lost; nothing runs twice.
    let before = admitted.len();
    for (name, document) in &acknowledged.keyed {
        let call: CallId = document["call"].as_str().expect("an id").parse().expect("an id");
        let is_async = acknowledged.taken.contains(&call);
        if !is_async && document["structured"].is_null() && document["usage"].is_null() {
            continue;
        }
        let is_note = log.iter().any(|record| {
            matches!(&record.event,
            Event::CallAdmitted { context, .. } if context.call == call && context.tool.as_str() == "add")
        });
        if !is_note {
            continue;
        }
        let more = format!("{}{}", if is_async { ASYNC } else { "" }, key(name));
        let again = agent.ask_with("POST", ADD, &more, &note(name));
        assert_eq!(again.json()["call"], document["call"], "{name}: {document}, and then {again:?}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{name}");
        if !is_async {
            assert_eq!(again.expect(200).json(), *document);
        }
    }
    let after = super::admitted(&door.cli, "add") + super::admitted(&door.cli, "sleep");
    assert_eq!(after, before, "something ran twice");
    door.cli.run(["audit", "verify"]).expect(0);
}
