//! What ends one call ends no other.

use std::sync::Arc;
use std::time::Duration;

use portcullis::gateway::{CallAnswer, CallError};
use portcullis::limits::Limit;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{World, limit_reached, limited, wat};

/// Nothing here takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Calls that have time, and rounds of calls that have none.
const PATIENT: usize = 4;
const ROUNDS: usize = 15;

fn start(
    world: &Arc<World>,
    package: &'static str,
    tool: &'static str,
    arguments: Value,
) -> JoinHandle<Result<CallAnswer, CallError>> {
    let world = Arc::clone(world);
    tokio::spawn(async move { world.call(package, tool, arguments).await })
}

/// Case 17: of the same bytes and the same agent, some have 50 ms and some a minute. Each ends at its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_of_one_call_ends_no_other() {
    let world = World::new().await;
    let hasty = "wall_time = \"50ms\", fuel = 1_000_000_000_000";
    let patient = "wall_time = \"100s\", fuel = 1_000_000_000_000";
    let mut grants = String::new();
    for (name, bytes, limits) in [
        ("hasty-clock", wat("clock"), hasty),
        ("patient-clock", wat("clock"), patient),
        ("hasty-spin", wat("spin"), hasty),
        ("patient-memory", wat("memory"), patient),
    ] {
        world.add(name, bytes).await;
        grants += &limited(name, limits);
    }
    world.grant(&grants).await;
    let world = Arc::new(world);

    let sleepers: Vec<_> = (0..PATIENT)
        .map(|_| start(&world, "patient-clock", "sleep", json!({"milliseconds": 2_000})))
        .collect();
    let worker = start(&world, "patient-memory", "compute", json!({"rounds": 200_000_000}));
    let mut ended_meanwhile = 0;
    for _ in 0..ROUNDS {
        let hasty = [
            start(&world, "hasty-clock", "sleep-for-ever", json!({})),
            start(&world, "hasty-spin", "run", json!({})),
            start(&world, "hasty-clock", "sleep", json!({"milliseconds": 60_000})),
        ];
        for call in hasty {
            let ended = tokio::time::timeout(PATIENCE, call).await.expect("bounded").expect("no panic");
            let reached = limit_reached(ended);
            assert_eq!((reached.limit, reached.max), (Limit::WallTime, 50));
            ended_meanwhile += usize::from(sleepers.iter().any(|sleeper| !sleeper.is_finished()));
        }
    }
    assert!(ended_meanwhile > 3, "{ended_meanwhile} deadlines passed while others had time");
    for sleeper in sleepers {
        let ended = tokio::time::timeout(PATIENCE, sleeper).await.expect("bounded").expect("no panic");
        let answer = ended.expect("it had the time that it needed");
        assert!(answer.report.usage.wall_time_us >= 2_000_000, "{:?}", answer.report.usage);
    }
    let ended = tokio::time::timeout(PATIENCE, worker).await.expect("bounded").expect("no panic");
    ended.expect("it had the time that it needed");
}

/// Case 2: a busy loop of host calls ends at whichever of its bounds comes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_loop_of_host_calls_ends_at_the_first_bound() {
    for (limits, limit, max) in [
        ("fuel = 1_000_000_000_000, host_calls = 1_000_000, wall_time = \"50ms\"", Limit::WallTime, 50),
        ("fuel = 10_000, host_calls = 1_000_000, wall_time = \"10m\"", Limit::Fuel, 10_000),
        ("fuel = 1_000_000_000_000, host_calls = 1_000, wall_time = \"10m\"", Limit::HostCalls, 1_000),
    ] {
        let world = World::with_limits("clock", wat("clock"), limits).await;
        let call = world.call("clock", "read-for-ever", json!({}));
        let reached = limit_reached(tokio::time::timeout(PATIENCE, call).await.expect("bounded"));
        assert_eq!((reached.limit, reached.max), (limit, max));
    }
}

/// Case 29: a hundred thousand waits in one, and a thousand that never end.
#[tokio::test(flavor = "multi_thread")]
async fn many_waits_at_once_are_bounded() {
    let world = World::with_limits("poll", wat("poll"), "wall_time = \"5s\"").await;
    for tool in ["one", "many"] {
        assert_eq!(world.value("poll", tool, json!({"count": 1_000})).await, 1_000, "{tool}");
        // A handle that is lent counts as one more.
        let reached = limit_reached(world.call("poll", tool, json!({"count": 100_000})).await);
        assert_eq!((reached.limit, reached.max), (Limit::Resources, 1_024), "{tool}");
    }
    let world = World::with_limits("poll", wat("poll"), "wall_time = \"300ms\"").await;
    let call = world.call("poll", "for-ever", json!({"count": 1_000}));
    let reached = limit_reached(tokio::time::timeout(PATIENCE, call).await.expect("bounded"));
    assert_eq!((reached.limit, reached.max), (Limit::WallTime, 300));
}
