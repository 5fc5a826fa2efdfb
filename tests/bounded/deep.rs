//! Host calls from the bottom of the guest's stack: the host's own stack begins where that ends.

use std::time::Duration;

use portcullis::gateway::{CallAnswer, CallError};
use portcullis::limits::{Limit, LimitReached};
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use crate::harness::{AGENT, World, limit_reached, wat};

/// The functions of `tests/guests/wat/deep.wat`: none, clocks, random numbers, a wait, folders, a file
/// that is opened and read, a folder that is listed.
const FUNCTIONS: std::ops::RangeInclusive<u64> = 0..=7;
/// Random numbers with a realloc that recurses without end.
const WITHOUT_END: u64 = 8;
/// Depths near the end that are tried with each function: a frame takes 16 bytes at the least, a call
/// of the host by way of two functions a few hundred.
const NEAR: u64 = 60;
/// More than fits: a frame takes more than a byte.
const TOO_DEEP: u64 = 512 << 10;

async fn world() -> World {
    let world = World::new().await;
    world.add("deep", wat("deep")).await;
    let folder = world.folder("granted");
    std::fs::write(folder.join("file"), "some text").expect("written");
    world
        .grant(&format!(
            "[[grant]]\npackage = \"deep\"\nagents = [\"{AGENT}\"]\n\
             [[grant.filesystem]]\nhost_path = \"granted\"\nguest_path = \"/data\"\naccess = \"read\"\n"
        ))
        .await;
    world
}

async fn call(world: &World, depth: u64, at: u64) -> Result<CallAnswer, CallError> {
    let called = world.call("deep", "call", json!({"depth": depth, "at": at}));
    tokio::time::timeout(Duration::from_secs(60), called).await.expect("bounded")
}

/// Whether it came back; if not, it was the stack.
async fn fits(world: &World, depth: u64, at: u64) -> bool {
    match call(world, depth, at).await {
        Ok(answer) => {
            assert_eq!(answer.answer.structured, Some(Value::from(depth)));
            true
        }
        Err(CallError::Failed { error: InvokeError::LimitReached(reached), .. }) => {
            assert_eq!(reached.limit, Limit::Stack, "function {at}, {depth} deep");
            false
        }
        Err(error) => panic!("function {at}, {depth} deep: {error:?}"),
    }
}

/// The deepest that fits.
async fn deepest(world: &World, at: u64) -> u64 {
    let (mut fit, mut too_deep) = (0, TOO_DEEP);
    while too_deep - fit > 1 {
        let middle = fit + (too_deep - fit) / 2;
        if fits(world, middle, at).await {
            fit = middle;
        } else {
            too_deep = middle;
        }
    }
    fit
}

/// Case 5: wherever the recursion is when it calls the host, the host has the stack that it needs. An
/// overrun would abort the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_call_from_the_bottom_of_the_stack_has_a_stack_of_its_own() {
    let world = world().await;
    for at in FUNCTIONS {
        assert!(fits(&world, 1, at).await, "function {at} works");
        let deepest = deepest(&world, at).await;
        assert!(deepest > 1_000, "function {at}: {deepest}");
        let (mut came_back, mut ended) = (0, 0);
        for depth in deepest.saturating_sub(NEAR)..deepest + NEAR / 4 {
            if fits(&world, depth, at).await { came_back += 1 } else { ended += 1 }
        }
        assert!(came_back >= NEAR && ended > 0, "function {at}: {came_back} came back, {ended} ended");
    }
}

/// Case 5: a guest that recurses where the host calls it back, at the bottom and everywhere else.
#[tokio::test(flavor = "multi_thread")]
async fn a_realloc_that_recurses_ends_at_the_same_stack() {
    let world = world().await;
    let max = Limit::Stack.row().ceiling;
    let deepest = deepest(&world, 3).await;
    for depth in [0, 1, deepest / 2, deepest - 10, deepest - 1, deepest, deepest + 1] {
        let reached = limit_reached(call(&world, depth, WITHOUT_END).await);
        assert_eq!(reached, LimitReached { limit: Limit::Stack, value: max, max }, "{depth} deep");
    }
    assert!(fits(&world, 1, 3).await, "the process is alive");
}
