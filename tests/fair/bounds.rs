//! The bounds of the queue: just below each a call waits, just above it is refused at once, and recorded.

use std::sync::Arc;

use portcullis::audit::event::Event;
use portcullis::gateway::{Busy, CallAnswer, CallError};
use portcullis::limits::{Limit, LimitReached};
use portcullis::policy::Denial;
use serde_json::json;
use tokio::time::timeout;

use super::{PATIENCE, grant, limits, sleeper, start, until};
use crate::harness::{World, wat};

async fn world(values: &[(Limit, u64)]) -> Arc<World> {
    let world = World::within(limits(values)).await;
    world.add("clock", wat("clock")).await;
    world.add("polite", wat("polite")).await;
    grant(&world, &["clock", "polite"], &["ann", "bob"]).await;
    Arc::new(world)
}

#[track_caller]
fn busy(result: Result<CallAnswer, CallError>) -> Busy {
    match result {
        Err(CallError::Busy(busy)) => busy,
        other => panic!("not busy: {other:?}"),
    }
}

/// What the log has of calls that were refused: who, for what limit, how many.
fn refused(world: &World) -> Vec<(String, Limit, u64)> {
    let records = world.all_records().into_iter();
    let refused = records.filter_map(|record| match record.event {
        Event::CallsRefused(refused) => {
            Some((refused.principal.expect("few").to_string(), refused.reached.limit, refused.calls))
        }
        _ => None,
    });
    refused.collect()
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn principal_queue() {
    let values = [(Limit::PrincipalConcurrency, 1), (Limit::PrincipalQueue, 2)];
    let world = world(&values).await;
    let runs = sleeper(&world, "ann");
    until(&world, 1, 0).await;
    let waiting: Vec<_> = (0..2).map(|_| start(&world, "ann", "polite", "answer", json!({}))).collect();
    until(&world, 1, 2).await;
    for _ in 0..2 {
        let busy = busy(world.call_as("ann", "polite", "answer", json!({})).await);
        let reached = LimitReached { limit: Limit::PrincipalQueue, value: 3, max: 2 };
        assert_eq!((busy.reached, busy.is_callers_own()), (reached, true));
    }
    // Another is not kept waiting by that.
    let answer = world.call_as("bob", "polite", "answer", json!({})).await.expect("an answer");
    assert_eq!(answer.report.usage.queue_time_us, 0);
    assert_eq!(refused(&world), [], "about once a second, or when somebody asks");
    world.host.write_access(true).await.expect("written");
    assert_eq!(refused(&world), [("ann".to_owned(), Limit::PrincipalQueue, 2)], "as one");
    runs.abort();
    for call in waiting {
        let answer = timeout(PATIENCE, call).await.expect("its turn").expect("no panic").expect("an answer");
        assert!(answer.report.usage.queue_time_us > 0);
        assert_eq!(answer.report.usage.principal_concurrency, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn host_queue() {
    let values = [(Limit::HostConcurrency, 1), (Limit::HostQueue, 2)];
    let world = world(&values).await;
    let runs = sleeper(&world, "ann");
    until(&world, 1, 0).await;
    let waiting = ["ann", "bob"].map(|agent| start(&world, agent, "polite", "answer", json!({})));
    until(&world, 1, 2).await;
    let busy = busy(world.call_as("bob", "polite", "answer", json!({})).await);
    let reached = LimitReached { limit: Limit::HostQueue, value: 3, max: 2 };
    assert_eq!((busy.reached, busy.is_callers_own()), (reached, false));
    runs.abort();
    for call in waiting {
        timeout(PATIENCE, call).await.expect("its turn").expect("no panic").expect("an answer");
    }
    until(&world, 0, 0).await;
}

/// What waited too long is refused; its twin, with the time, is not. The time is not the call's own.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn queue_time() {
    let world = world(&[(Limit::PrincipalConcurrency, 1), (Limit::QueueTime, 200)]).await;
    let runs = sleeper(&world, "ann");
    until(&world, 1, 0).await;
    let busy = busy(world.call_as("ann", "polite", "answer", json!({})).await);
    assert_eq!((busy.reached.limit, busy.reached.max), (Limit::QueueTime, 200));
    assert!(busy.reached.value >= 200, "{busy}");
    let waited_for = LimitReached { limit: Limit::PrincipalConcurrency, value: 2, max: 1 };
    assert_eq!(busy.waited_for, Some(waited_for));
    until(&world, 1, 0).await;
    runs.abort();

    let world = self::world(&[(Limit::PrincipalConcurrency, 1), (Limit::QueueTime, 300_000)]).await;
    world
        .grant(
            "[[grant]]\npackage = \"polite\"\nagents = [\"ann\"]\nlimits = { wall_time = \"20s\" }\n\
             [[grant]]\npackage = \"clock\"\nagents = [\"ann\"]\nlimits = { wall_time = \"10m\" }\n",
        )
        .await;
    let runs = sleeper(&world, "ann");
    until(&world, 1, 0).await;
    let waits = start(&world, "ann", "polite", "answer", json!({}));
    until(&world, 1, 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!waits.is_finished());
    runs.abort();
    let answer = timeout(PATIENCE, waits).await.expect("its turn").expect("no panic").expect("an answer");
    let usage = answer.report.usage;
    assert!(usage.queue_time_us >= 300_000, "{usage:?}");
    assert!(!world.records(answer.report.call).is_empty());
}

/// Whoever goes away leaves the queue at once, and nothing of its call is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_leaves_the_queue() {
    let world = world(&[(Limit::PrincipalConcurrency, 1), (Limit::QueueTime, 300_000)]).await;
    let runs = sleeper(&world, "ann");
    until(&world, 1, 0).await;
    let records = world.all_records().len();
    let gone = start(&world, "ann", "polite", "answer", json!({}));
    until(&world, 1, 1).await;
    gone.abort();
    until(&world, 1, 0).await;
    assert_eq!(world.all_records().len(), records, "nothing was begun");
    runs.abort();
    until(&world, 0, 0).await;
}

/// What was allowed when it asked is denied as soon as it is not any more, though its turn has not come.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_is_judged_by_what_is_in_force() {
    let world = world(&[(Limit::PrincipalConcurrency, 1), (Limit::QueueTime, 300_000)]).await;
    let runs = sleeper(&world, "ann");
    until(&world, 1, 0).await;
    let waits = start(&world, "ann", "polite", "answer", json!({}));
    let stays = start(&world, "ann", "clock", "read", json!({"times": 1}));
    until(&world, 1, 2).await;
    // The grant of `polite` ends; that of `clock` stays as it is.
    world.grant("[[grant]]\npackage = \"polite\"\nagents = [\"bob\"]\n").await;
    let denied = timeout(PATIENCE, waits).await.expect("at once").expect("no panic");
    let call = match denied {
        Err(CallError::Denied { call, denial: Denial::NotGranted { .. } }) => call,
        other => panic!("{other:?}"),
    };
    let records = world.records(call);
    assert!(
        matches!(&records[..], [record] if matches!(record.event, Event::CallDenied { .. })),
        "{records:?}"
    );
    until(&world, 1, 1).await;
    runs.abort();
    timeout(PATIENCE, stays).await.expect("its turn").expect("no panic").expect("it is granted as before");
}

/// The call of a tool never waits: its caller holds a place meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_tools_call_does_not_wait() {
    let world = World::within(limits(&[(Limit::PrincipalConcurrency, 1), (Limit::QueueTime, 300_000)])).await;
    for name in ["one", "two"] {
        world.add(name, crate::harness::guest("callers")).await;
    }
    world
        .grant(&format!(
            "{}[[grant.invoke]]\npackage = \"two\"\n{}",
            crate::harness::grant("one"),
            crate::harness::grant("two")
        ))
        .await;
    let order = json!({"package": "two", "tool": "spin", "arguments": "{}"});
    let call = world.call("one", "call", order);
    let ended = timeout(PATIENCE, call).await.expect("at once");
    let told = match ended {
        Err(CallError::Failed { error, .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(told.contains("principal_concurrency 2, at most 1"), "{told}");
}
