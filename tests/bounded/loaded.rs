//! Compiled code in memory: up to a budget, of what was called last, and never without what a call runs in.

use std::sync::Arc;

use portcullis::limits::Limit;
use serde_json::json;

use super::cancelled::{end_all, sleepers};
use crate::harness::{World, options, wat};

const PACKAGES: [&str; 3] = ["polite", "memory", "clock"];

async fn world(loaded_code: u64) -> Arc<World> {
    let mut limits = options().limits;
    limits.set_value(Limit::LoadedCode, loaded_code).expect("below the table's");
    let world = World::within(limits).await;
    let mut grants = String::new();
    for package in PACKAGES {
        world.add(package, wat(package)).await;
        grants += &format!(
            "[[grant]]\npackage = \"{package}\"\nagents = [\"ann\"]\nlimits = {{ wall_time = \"10m\" }}\n"
        );
    }
    world.grant(&grants).await;
    Arc::new(world)
}

/// A call of the package, with the right answer.
async fn call(world: &World, package: &str) {
    let (tool, arguments, expected) = match package {
        "polite" => ("answer", json!({}), json!(42)),
        "memory" => ("grow", json!({"pages": 1}), json!(1)),
        _ => {
            world.call_as("ann", "clock", "read", json!({"times": 1})).await.expect("an answer");
            return;
        }
    };
    let answer = world.call_as("ann", package, tool, arguments).await.expect("an answer").answer;
    assert_eq!(answer.structured, Some(expected));
}

/// Components in memory, their bytes, and how many were given up so far, as the metrics say.
async fn code(world: &World) -> [u64; 3] {
    let text = world.host.metrics().await.expect("metrics");
    ["portcullis_code_components ", "portcullis_code_bytes ", "portcullis_code_given_up_total "].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
    })
}

/// With room for two of three, what was called longest ago is given up and loaded again; with room for all, nothing is.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn loaded_code() {
    let roomy = world(Limit::LoadedCode.row().default).await;
    for package in PACKAGES {
        call(&roomy, package).await;
    }
    let [components, all, given_up] = code(&roomy).await;
    assert_eq!((components, given_up), (3, 0));

    let below = world(all).await;
    let above = world(all - 1).await;
    for round in 1..=3 {
        for package in PACKAGES {
            call(&below, package).await;
            call(&above, package).await;
            assert!(code(&above).await[1] < all, "bounded");
        }
        assert_eq!(code(&below).await, [3, all, 0]);
        let [components, _, given_up] = code(&above).await;
        // Round and round, the one that is called next is always the one that was given up.
        assert!((1..=2).contains(&components) && given_up >= 3 * round - 2, "{components}, {given_up}");
    }
}

/// What a call runs in stays, however small the budget, and is not loaded twice.
#[tokio::test(flavor = "multi_thread")]
async fn code_that_a_call_runs_in_is_not_given_up() {
    let world = world(1).await;
    let running = sleepers(&world, [("ann", "clock")]).await;
    for package in ["polite", "memory", "polite", "memory"] {
        call(&world, package).await;
        let [components, ..] = code(&world).await;
        assert_eq!(components, 2, "what runs, and what was called last");
    }
    let given_up = code(&world).await[2];
    call(&world, "clock").await;
    assert_eq!(code(&world).await[2], given_up, "it was there still");
    assert!(running.iter().all(|call| !call.is_finished()), "it runs on");
    end_all(running).await;
    call(&world, "polite").await;
    call(&world, "memory").await;
    assert_eq!(code(&world).await[0], 1, "nothing runs in any");
    call(&world, "clock").await;
}
