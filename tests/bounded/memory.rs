//! Memory: one sum over all of a call's memories, one over its tables, and nothing left from call to call.

use portcullis::limits::{Limit, LimitReached};
use serde_json::json;

use super::refused;
use crate::harness::{World, crashed, guest, limit_reached, wat};

const PAGE_BYTES: u64 = 64 << 10;

/// Case 19 too: growing in a loop is answered with -1 at the limit.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn memory() {
    let limits = format!("memory = {}", 3 * PAGE_BYTES);
    let world = World::with_limits("memory", wat("memory"), &limits).await;
    assert_eq!(world.value("memory", "grow", json!({"pages": 2})).await, 1, "just below: the old size");
    assert_eq!(world.value("memory", "grow", json!({"pages": 3})).await, -1, "just above");
    let answer = world.call("memory", "grow-all", json!({})).await.expect("it goes on");
    assert_eq!(answer.answer.structured, Some(json!(2)));
    assert_eq!(answer.report.usage.memory_peak, 3 * PAGE_BYTES);
    // A guest that fails for it says which limit and which value.
    let reason = crashed(world.call("memory", "grow-or-trap", json!({"pages": 3})).await);
    let reached = LimitReached { limit: Limit::Memory, value: 4 * PAGE_BYTES, max: 3 * PAGE_BYTES };
    assert!(reason.contains(&reached.to_string()), "{reason}");
    // std's allocator under the same limit.
    let world = World::with_limits("std-probe", guest("std-probe"), "memory = \"8MiB\"").await;
    world.call("std-probe", "allocate", json!({"bytes": 4 << 20})).await.expect("just below");
    world.call("std-probe", "allocate", json!({"bytes": 8 << 20})).await.expect_err("just above");
}

/// A component with so many memories of a page each, and one that grows.
fn memories(count: usize) -> Vec<u8> {
    let instances: String = (0..count).map(|_| "(core instance (instantiate $page))").collect();
    let text = format!(
        r#"(component
            (core module $page (memory 1))
            (core module $m (memory 1) (func (export "grow") (result i32) (memory.grow (i32.const 1))))
            {instances}
            (core instance $i (instantiate $m))
            (func (export "grow") (result s32) (canon lift (core func $i "grow"))))"#
    );
    wat::parse_str(text).expect("valid text")
}

/// Case 20: a hundred memories, one sum, one cap.
#[tokio::test(flavor = "multi_thread")]
async fn many_memories_have_one_sum_and_one_cap() {
    let world = World::new().await;
    let reason = refused(world.register("hundred", memories(99)).await);
    assert!(reason.contains("at most 64 core instances"), "{reason}");

    let with_pages = async |pages: u64| {
        World::with_limits("sixty", memories(59), &format!("memory = {}", pages * PAGE_BYTES)).await
    };
    let world = with_pages(61).await;
    assert_eq!(world.value("sixty", "grow", json!({})).await, 1, "61 pages in all");
    let world = with_pages(60).await;
    let answer = world.call("sixty", "grow", json!({})).await.expect("it goes on");
    assert_eq!(answer.answer.structured, Some(json!(-1)), "60 pages are held at the start");
    assert_eq!(answer.report.usage.memory_peak, 60 * PAGE_BYTES);
    // What a component has at the least is more than it may.
    let world = with_pages(59).await;
    let reached = limit_reached(world.call("sixty", "grow", json!({})).await);
    let (value, max) = (60 * PAGE_BYTES, 59 * PAGE_BYTES);
    assert_eq!(reached, LimitReached { limit: Limit::Memory, value, max });
}

/// A component whose memory begins with more than any call may have.
#[tokio::test(flavor = "multi_thread")]
async fn a_minimum_above_the_limit_ends_the_call() {
    let large = |pages: u64| {
        let text = format!(
            r#"(component
                (core module $m (memory {pages}) (func (export "run")))
                (core instance $i (instantiate $m))
                (func (export "run") (canon lift (core func $i "run"))))"#
        );
        wat::parse_str(text).expect("valid text")
    };
    let max = 128 << 20;
    let world = World::with("large", large(max / PAGE_BYTES)).await;
    world.call("large", "run", json!({})).await.expect("as much as the default");
    let world = World::with("large", large(max / PAGE_BYTES + 1)).await;
    let reached = limit_reached(world.call("large", "run", json!({})).await);
    assert_eq!(reached, LimitReached { limit: Limit::Memory, value: max + PAGE_BYTES, max });
    // More than the engine's pool holds is found at registration.
    let reason = refused(World::new().await.register("large", large(65_536)).await);
    assert!(reason.contains("memory"), "{reason}");
}

/// Case 21.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn table_elements() {
    let world = World::with_limits("memory", wat("memory"), "table_elements = 10").await;
    assert_eq!(world.value("memory", "grow-table", json!({"elements": 9})).await, 1, "just below");
    assert_eq!(world.value("memory", "grow-table", json!({"elements": 10})).await, -1, "just above");
    let answer = world.call("memory", "grow-table", json!({"elements": 100_000})).await;
    assert_eq!(answer.expect("it goes on").answer.structured, Some(json!(-1)));
    let answer = world.call("memory", "grow-table", json!({"elements": 9})).await.expect("an answer");
    assert_eq!(answer.report.usage.table_elements_peak, 10);
}

/// Case 30: memory, tables and globals are fresh in every call, whatever came before.
#[tokio::test(flavor = "multi_thread")]
async fn fresh_memory_is_zero_always() {
    let world = World::with("memory", wat("memory")).await;
    for round in 0..20 {
        assert_eq!(world.value("memory", "fresh", json!({})).await, true, "round {round}");
        if round % 4 == 0 {
            crashed(world.call("memory", "fresh-then-trap", json!({})).await);
        }
        if round % 5 == 0 {
            limit_reached(world.call("memory", "recurse", json!({"depth": 100_000_000})).await);
        }
    }
    world.add("std-probe", guest("std-probe")).await;
    world.grant(&crate::harness::limited("std-probe", "fuel = 10_000_000_000")).await;
    for round in 0..5 {
        let answer = world.call("std-probe", "fresh-memory-is-zero", json!({"bytes": 2 << 20})).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.answer.structured, Some(json!(true)), "round {round}: {:?}", answer.report.usage);
    }
}

/// Case 30, from a program in Rust.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_grows_by_is_zero() {
    let world = World::with_limits("std-probe", guest("std-probe"), "fuel = 10_000_000_000").await;
    for round in 0..5 {
        let answer = world.call("std-probe", "fresh-memory-is-zero", json!({"bytes": 2 << 20})).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.answer.structured, Some(json!(true)), "round {round}: {:?}", answer.report.usage);
    }
}
