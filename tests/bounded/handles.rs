//! Handles: how many, and none that was not given.

use portcullis::limits::{Limit, LimitReached};
use serde_json::json;

use super::{failed, host_calls_of, recorded_limit};
use crate::harness::{World, crashed, wat};

/// Case 25: handles that are never let go.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn resources() {
    let world = World::with_limits("clock", wat("clock"), "resources = 10").await;
    let answer = world.call("clock", "leak", json!({"handles": 10})).await.expect("just below");
    assert_eq!(answer.report.usage.resources_peak, 10);
    let error = world.call("clock", "leak", json!({"handles": 11})).await.expect_err("just above");
    let call = failed(&error);
    let reached = recorded_limit(&world, error);
    assert_eq!(reached, LimitReached { limit: Limit::Resources, value: 11, max: 10 });
    assert_eq!(host_calls_of(&world.records(call)).len(), 11, "the last one is recorded too");
    // It is how many at once, not how many in all.
    world.call("clock", "take-and-drop", json!({"times": 1000})).await.expect("one at a time");
}

/// Case 29: at the default, a hundred thousand.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_pollables_are_too_many() {
    let world = World::with("clock", wat("clock")).await;
    let error = world.call("clock", "leak", json!({"handles": 100_000})).await.expect_err("too many");
    let reached = recorded_limit(&world, error);
    assert_eq!(reached, LimitReached { limit: Limit::Resources, value: 1_025, max: 1_024 });
}

/// Case 25, with resources that the guest makes itself: their handles take the host's memory too.
#[tokio::test(flavor = "multi_thread")]
async fn resources_of_its_own_are_bounded() {
    let world = World::with_limits("clock", wat("clock"), "resources = 10").await;
    world.call("clock", "leak-own", json!({"handles": 10})).await.expect("just below");
    let error = world.call("clock", "leak-own", json!({"handles": 1_000})).await.expect_err("too many");
    let reached = recorded_limit(&world, error);
    assert_eq!((reached.limit, reached.max), (Limit::Resources, 10));
}

/// Case 26.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_or_dropped_handle_traps() {
    let world = World::with("clock", wat("clock")).await;
    for (tool, arguments) in [
        ("drop-twice", json!({})),
        ("wrong-type", json!({})),
        ("forge", json!({"handle": 0})),
        ("forge", json!({"handle": 1})),
        ("forge", json!({"handle": u32::MAX})),
    ] {
        let reason = crashed(world.call("clock", tool, arguments).await);
        assert!(reason.contains("handle"), "{tool}: {reason}");
    }
    world.call("clock", "read", json!({"times": 1})).await.expect("the host is well");
}
