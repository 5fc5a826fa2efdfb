//! Calls that are dropped end and are recorded; and only so many run at once.

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event};
use portcullis::gateway::CallError;
use portcullis::limits::{Limit, LimitReached, Usage};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{World, end, wat};

/// Nothing here takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the log says how each admitted call ended, and gives the ends.
async fn ends(world: &World, calls: usize) -> Vec<CallOutcome> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let admitted: Vec<_> = world
            .all_records()
            .iter()
            .filter_map(|record| match &record.event {
                Event::CallAdmitted { context, .. } => Some(context.call),
                _ => None,
            })
            .collect();
        let records: Vec<_> = admitted.iter().map(|call| world.records(*call)).collect();
        let finished = |records: &&Vec<_>| {
            matches!(
                records.last().map(|r: &portcullis::audit::event::Record| &r.event),
                Some(Event::CallFinished { .. })
            )
        };
        if records.iter().filter(finished).count() == calls {
            return records.iter().map(|records| end(records).outcome.clone()).collect();
        }
        assert!(Instant::now() < deadline, "calls without an end: {records:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn world(limits: &str) -> Arc<World> {
    let world = World::new().await;
    let mut grants = String::new();
    for name in ["clock", "spin", "start", "polite"] {
        world.add(name, wat(name)).await;
        grants += &crate::harness::limited(name, limits);
    }
    world.grant(&grants).await;
    Arc::new(world)
}

/// Case 83, as far as the library goes: whoever drops the call's future ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_ends_and_is_recorded_as_cancelled() {
    let world = world("fuel = 1_000_000_000_000, wall_time = \"10m\"").await;
    let calls = [("clock", "sleep-for-ever"), ("spin", "run"), ("start", "run")];
    for (package, tool) in calls {
        let call = world.call(package, tool, json!({}));
        timeout(Duration::from_millis(200), call).await.expect_err("it never ends by itself");
    }
    assert_eq!(ends(&world, calls.len()).await, vec![CallOutcome::Cancelled; calls.len()]);
    assert_eq!(world.value("polite", "answer", json!({})).await, 42);
}

/// What a call used until it was cut off is in its last record: what it did to the host, and, to a step
/// of a million, what it computed.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_cancelled_call_used_is_recorded() {
    let world = world("fuel = 1_000_000_000_000, wall_time = \"10m\"").await;
    for (package, tool, host_calls, fuel_min) in
        [("clock", "sleep-for-ever", 2, 2), ("spin", "run", 0, 1_000_000), ("start", "run", 0, 1_000_000)]
    {
        let call = world.call(package, tool, json!({}));
        timeout(Duration::from_millis(300), call).await.expect_err("it never ends by itself");
        let usage = last_usage(&world, package).await;
        assert_eq!(usage.host_calls, host_calls, "{package}: {usage:?}");
        assert!(usage.fuel >= fuel_min, "{package}: {usage:?}");
        assert!(usage.wall_time_us >= 100_000, "{package}: {usage:?}");
    }
}

/// The same where the deadline cuts it off.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_late_call_computed_is_recorded() {
    let world = world("fuel = 1_000_000_000_000, wall_time = \"300ms\"").await;
    for package in ["spin", "start"] {
        let error = world.call(package, "run", json!({})).await.expect_err("it never ends by itself");
        let CallError::Failed { report, .. } = error else { panic!("{error:?}") };
        assert!(report.usage.fuel >= 1_000_000, "{package}: {:?}", report.usage);
    }
}

/// What the last call of a package used, once that is in the log.
async fn last_usage(world: &World, package: &str) -> Usage {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ended = world.all_records().into_iter().rev().find_map(|record| match record.event {
            Event::CallFinished { context, end } if context.package.as_str() == package => Some(end),
            _ => None,
        });
        if let Some(end) = ended {
            assert_eq!(end.outcome, CallOutcome::Cancelled);
            return end.usage;
        }
        assert!(Instant::now() < deadline, "the call of {package} has no end");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A task that is aborted ends its call too.
#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_task_ends_its_call() {
    let world = world("fuel = 1_000_000_000_000, wall_time = \"10m\"").await;
    let task = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.call("spin", "run", json!({})).await }
    });
    sleep(Duration::from_millis(200)).await;
    task.abort();
    let joined =
        timeout(PATIENCE, task).await.expect("a guest that spins yields").expect_err("it was aborted");
    assert!(joined.is_cancelled(), "{joined}");
    assert_eq!(ends(&world, 1).await, [CallOutcome::Cancelled]);
}

/// Sixty-four run; the next is refused at once; places come back.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn concurrency() {
    let world = world("wall_time = \"10m\"").await;
    let max = Limit::Concurrency.row().default;
    let sleepers: Vec<_> = (0..max)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                // The call that asks whether the host is busy takes a place for a moment.
                while let Err(CallError::Busy(_)) = world.call("clock", "sleep-for-ever", json!({})).await {
                    sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    let reached = loop {
        match world.call("polite", "answer", json!({})).await {
            Err(CallError::Busy(reached)) => break reached,
            Ok(_) => assert!(Instant::now() < deadline, "never busy"),
            Err(error) => panic!("{error:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(reached, LimitReached { limit: Limit::Concurrency, value: max + 1, max });
    assert!(sleepers.iter().all(|call| !call.is_finished()), "all of them run");
    // One place that comes back is enough.
    sleepers[0].abort();
    let answered = async {
        while let Err(CallError::Busy(_)) = world.call("polite", "answer", json!({})).await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, answered).await.expect("the place came back");
    sleepers.iter().for_each(tokio::task::JoinHandle::abort);
    for call in sleepers {
        assert!(call.await.expect_err("aborted").is_cancelled());
    }
    assert_eq!(world.value("polite", "answer", json!({})).await, 42);
}
