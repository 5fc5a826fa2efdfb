//! Calls that are dropped end and are recorded; and only so many run at once.

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event};
use portcullis::gateway::CallError;
use portcullis::limits::{Limit, LimitReached, Usage};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{World, end, options, wat};

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

/// Grants packages to agents, each with some limits.
async fn granted(packages: &[&str], agents: &[&str], limits: &str) -> Arc<World> {
    let mut of_host = options().limits;
    of_host.set_value(Limit::QueueTime, 200).expect("below the table's");
    let world = World::within(of_host).await;
    let mut grants = String::new();
    for package in packages {
        let bytes = if *package == "polite" { wat("polite") } else { wat("clock") };
        world.add(package, bytes).await;
        grants +=
            &format!("[[grant]]\npackage = \"{package}\"\nagents = {agents:?}\nlimits = {{ {limits} }}\n");
    }
    world.grant(&grants).await;
    Arc::new(world)
}

fn admitted(world: &World) -> usize {
    world.all_records().iter().filter(|record| matches!(record.event, Event::CallAdmitted { .. })).count()
}

/// Starts calls that sleep until they are aborted, and waits until all of them run.
pub(super) async fn sleepers(
    world: &Arc<World>,
    calls: impl IntoIterator<Item = (&str, &str)>,
) -> Vec<JoinHandle<()>> {
    let mut expected = admitted(world);
    let mut sleepers = Vec::new();
    for (agent, package) in calls {
        let (world, agent, package) = (Arc::clone(world), agent.to_owned(), package.to_owned());
        expected += 1;
        sleepers.push(tokio::spawn(async move {
            let ended = world.call_as(&agent, &package, "sleep-for-ever", json!({})).await;
            panic!("it sleeps for ever: {ended:?}");
        }));
    }
    let deadline = Instant::now() + PATIENCE;
    while admitted(world) < expected {
        assert!(Instant::now() < deadline, "not all of them run");
        assert!(sleepers.iter().all(|call| !call.is_finished()), "one of them was refused");
        sleep(Duration::from_millis(10)).await;
    }
    sleepers
}

/// The limit that a call waits for until it is refused as busy.
async fn busy(world: &World, agent: &str, package: &str) -> LimitReached {
    let before = admitted(world);
    let result = world.call_as(agent, package, "sleep-for-ever", json!({})).await;
    assert_eq!(admitted(world), before, "it did not begin");
    match result {
        Err(CallError::Busy(busy)) => {
            assert_eq!((busy.reached.limit, busy.reached.max), (Limit::QueueTime, 200), "{busy}");
            busy.waited_for.expect("it waited for something")
        }
        other => panic!("not busy: {other:?}"),
    }
}

/// Ends calls, and waits for each.
pub(super) async fn end_all(sleepers: Vec<JoinHandle<()>>) {
    sleepers.iter().for_each(JoinHandle::abort);
    for call in sleepers {
        assert!(call.await.expect_err("aborted").is_cancelled());
    }
}

/// Calls of the package, of the principal and of the host that run while this one does.
async fn running(world: &World, agent: &str, package: &str) -> [u64; 3] {
    let (tool, arguments) = match package {
        "polite" => ("answer", json!({})),
        _ => ("read", json!({"times": 1})),
    };
    let usage = world.call_as(agent, package, tool, arguments).await.expect("an answer").report.usage;
    [usage.concurrency, usage.principal_concurrency, usage.host_concurrency]
}

const LONG: &str = "wall_time = \"10m\"";

/// Sixteen calls of a package run, whoever makes them; a grant may say otherwise.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn concurrency() {
    let world = granted(&["clock", "other", "polite"], &["ann", "bob", "cleo"], LONG).await;
    let calls = ["ann", "bob"].into_iter().flat_map(|agent| std::iter::repeat_n((agent, "clock"), 8));
    let mut all = sleepers(&world, calls).await;
    let reached = busy(&world, "cleo", "clock").await;
    assert_eq!(reached, LimitReached { limit: Limit::Concurrency, value: 17, max: 16 });
    assert_eq!(running(&world, "ann", "polite").await, [1, 9, 17], "another package is not busy");
    // One place that comes back is enough.
    end_all(vec![all.remove(0)]).await;
    assert_eq!(running(&world, "cleo", "clock").await, [16, 1, 16]);
    all.extend(sleepers(&world, [("ann", "clock")]).await);
    // A grant may raise it, for those whom it names; and lower it.
    world
        .grant(&format!(
            "[[grant]]\npackage = \"clock\"\nagents = [\"cleo\"]\nlimits = {{ concurrency = 17, {LONG} }}\n\
             [[grant]]\npackage = \"clock\"\nagents = [\"ann\", \"bob\"]\nlimits = {{ {LONG} }}\n\
             [[grant]]\npackage = \"other\"\nagents = [\"cleo\"]\nlimits = {{ concurrency = 2, {LONG} }}\n"
        ))
        .await;
    assert_eq!(busy(&world, "ann", "clock").await.max, 16);
    all.extend(sleepers(&world, [("cleo", "clock"), ("cleo", "other"), ("cleo", "other")]).await);
    let reached = busy(&world, "cleo", "clock").await;
    assert_eq!(reached, LimitReached { limit: Limit::Concurrency, value: 18, max: 17 });
    let reached = busy(&world, "cleo", "other").await;
    assert_eq!(reached, LimitReached { limit: Limit::Concurrency, value: 3, max: 2 });
    end_all(all).await;
    assert_eq!(running(&world, "ann", "polite").await, [1, 1, 1], "all places came back");
}

/// Sixteen calls of a principal run, over all packages.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn principal_concurrency() {
    let world = granted(&["clock", "other", "polite"], &["ann", "bob"], LONG).await;
    let calls = ["clock", "other"].into_iter().flat_map(|package| std::iter::repeat_n(("ann", package), 8));
    let all = sleepers(&world, calls).await;
    for package in ["clock", "other"] {
        let reached = busy(&world, "ann", package).await;
        assert_eq!(reached, LimitReached { limit: Limit::PrincipalConcurrency, value: 17, max: 16 });
    }
    assert_eq!(running(&world, "bob", "clock").await, [9, 1, 17], "another principal is not");
    end_all(all).await;
    assert_eq!(running(&world, "ann", "polite").await, [1, 1, 1], "all places came back");
}

/// Sixty-four run; the next waits, and places come back.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn host_concurrency() {
    let agents = ["ann", "bob", "cleo", "dan", "eve"];
    let world = granted(&["clock", "polite"], &agents, &format!("concurrency = 64, {LONG}")).await;
    let calls = agents[..4].iter().flat_map(|agent| std::iter::repeat_n((*agent, "clock"), 16));
    let mut all = sleepers(&world, calls).await;
    let reached = busy(&world, "eve", "clock").await;
    assert_eq!(reached, LimitReached { limit: Limit::HostConcurrency, value: 65, max: 64 });
    end_all(vec![all.remove(0)]).await;
    assert_eq!(running(&world, "eve", "polite").await, [1, 1, 64]);
    end_all(all).await;
    assert_eq!(running(&world, "eve", "polite").await, [1, 1, 1], "all places came back");
}

/// A call that is dropped at any moment gives its place back.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_calls_leave_no_place_taken() {
    let world = granted(&["clock", "polite"], &["ann"], LONG).await;
    for microseconds in (0..3_000).step_by(37) {
        let call = world.call_as("ann", "clock", "sleep-for-ever", json!({}));
        timeout(Duration::from_micros(microseconds), call).await.expect_err("it never ends by itself");
    }
    assert_eq!(running(&world, "ann", "polite").await, [1, 1, 1]);
}
