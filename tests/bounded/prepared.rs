//! Sandboxes that are made before their calls: so many, each for one call, and with nothing that a call may not have.

use std::time::Duration;

use portcullis::limits::{Limit, LimitReached};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::host_calls_of;
use crate::harness::{World, limit_reached, options, wat};

/// Long, since the machine may have other things to do.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Packages with a tool that may be called again and again, and what it answers.
const PACKAGES: [(&str, &str); 4] =
    [("polite", "answer"), ("memory", "fresh"), ("starts-not", "answer"), ("another", "answer")];

async fn world(prepared: u64) -> World {
    let mut limits = options().limits;
    limits.set_value(Limit::PreparedSandboxes, prepared).expect("below the table's");
    let world = World::within(limits).await;
    let mut grants = String::new();
    for (package, _) in PACKAGES {
        let bytes = match package {
            "memory" => wat("memory"),
            // The same component under other names is loaded once.
            "starts-not" => other("43"),
            "another" => other("44"),
            _ => wat("polite"),
        };
        world.add(package, bytes).await;
        grants += &format!("[[grant]]\npackage = \"{package}\"\nagents = [\"ann\", \"bob\"]\n");
    }
    world.grant(&grants).await;
    world
}

/// A component that answers with a number.
fn other(number: &str) -> Vec<u8> {
    let text = format!(
        "(component (core module $m (func (export \"answer\") (result i32) (i32.const {number})))\
         (core instance $i (instantiate $m))\
         (func (export \"answer\") (result u32) (canon lift (core func $i \"answer\"))))"
    );
    wat::parse_str(text).expect("it is WAT")
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < WAIT_MAX, "{what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// No more than the limit are ready, of whatever package; those that are called find them all the same.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn prepared_sandboxes() {
    let below = world(Limit::PreparedSandboxes.row().default).await;
    let above = world(PACKAGES.len() as u64 - 1).await;
    let call_all = async |world: &World| {
        for (package, tool) in PACKAGES {
            world.call_as("ann", package, tool, json!({})).await.expect("an answer");
        }
    };
    call_all(&below).await;
    until("one of each is ready", async || below.host.prepared_sandboxes().ready >= PACKAGES.len() as u64).await;
    until("calls find some", async || {
        call_all(&above).await;
        let prepared = above.host.prepared_sandboxes();
        assert!(prepared.ready < PACKAGES.len() as u64, "bounded: {prepared:?}");
        prepared.taken >= 20
    })
    .await;
    let text = below.host.metrics().await.expect("metrics");
    for name in ["portcullis_sandboxes_prepared ", "portcullis_sandboxes_taken_total ", "portcullis_sandboxes_missed_total "] {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name} in {text}");
    }
}

/// What a call finds is as if it had been made for it, and is charged as if it had: nothing is there of an earlier call.
/// Those that nobody calls for are given back.
#[tokio::test(flavor = "multi_thread")]
async fn each_prepared_sandbox_serves_one_call() {
    let world = world(Limit::PreparedSandboxes.row().default).await;
    let mut first = None;
    until("calls find some", async || {
        let answer = world.call_as("ann", "memory", "fresh", json!({})).await.expect("an answer");
        assert_eq!(answer.answer.structured, Some(Value::Bool(true)));
        let usage = &answer.report.usage;
        let charged = (usage.fuel, usage.memory_peak, usage.table_elements_peak);
        assert_eq!(charged, *first.get_or_insert(charged));
        world.host.prepared_sandboxes().taken >= 50
    })
    .await;
    until("they are given back", async || world.host.prepared_sandboxes().ready == 0).await;
    assert_eq!(world.value("memory", "fresh", json!({})).await, Value::Bool(true));
}

/// A component that calls the host as it starts does so in its call only, where it is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_calls_the_host_before_its_call() {
    let world = World::with("starts", wat("starts")).await;
    world.add("polite", wat("polite")).await;
    world
        .grant(
            "[[grant]]\npackage = \"starts\"\nagents = [\"ann\"]\n\
             [[grant]]\npackage = \"polite\"\nagents = [\"ann\"]\n",
        )
        .await;
    let mut calls = Vec::new();
    // What is asked for first is tried first.
    until("calls of the other find some", async || {
        let before = world.host.prepared_sandboxes().taken;
        let answer = world.call_as("ann", "starts", "has-read", json!({})).await.expect("an answer");
        assert_eq!(answer.answer.structured, Some(Value::Bool(true)));
        assert_eq!(world.host.prepared_sandboxes().taken, before, "none of it is ever ready");
        calls.push(answer.report.call);
        world.call_as("ann", "polite", "answer", json!({})).await.expect("an answer");
        world.host.prepared_sandboxes().taken >= 5
    })
    .await;
    assert!(calls.len() > 5);
    for call in calls {
        assert_eq!(host_calls_of(&world.records(call)).len(), 1);
    }
}

/// Who may not have the memory that a component begins with is refused, whether or not one is ready.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_is_held_to_the_limits_of_its_call() {
    let world = world(Limit::PreparedSandboxes.row().default).await;
    world
        .grant(
            "[[grant]]\npackage = \"memory\"\nagents = [\"ann\"]\n\
             [[grant]]\npackage = \"memory\"\nagents = [\"bob\"]\nlimits = { memory = 65_535 }\n",
        )
        .await;
    let expected = LimitReached { limit: Limit::Memory, value: 65_536, max: 65_535 };
    let call = async |agent| world.call_as(agent, "memory", "fresh", json!({})).await;
    assert_eq!(limit_reached(call("bob").await), expected);
    call("ann").await.expect("an answer");
    until("one is ready", async || world.host.prepared_sandboxes().ready > 0).await;
    assert_eq!(limit_reached(call("bob").await), expected);
    call("ann").await.expect("an answer");
}
