//! Guests that break the rules of the ABI: each ends with a typed error, and the host goes on.

use std::time::Duration;

use portcullis::arguments::{ArgumentTextFault, parse_arguments};
use portcullis::limits::Limit;
use serde_json::json;

use crate::harness::{World, crashed, limit_reached, wat};

/// Cases 23 and 24: pointers out of bounds, misaligned reallocation, text that is none.
#[tokio::test(flavor = "multi_thread")]
async fn broken_values_are_crashes_of_the_tool() {
    let world = World::with("abi", wat("abi")).await;
    for (tool, arguments, reason) in [
        ("invalid-utf8", json!({}), "utf-8"),
        ("lone-surrogate", json!({}), "surrogate"),
        ("text-outside", json!({}), "out of bounds"),
        ("text-past-the-end", json!({}), "out of bounds"),
        ("too-many-numbers", json!({}), ""),
        ("area-outside", json!({}), "out of bounds"),
        ("area-across-the-end", json!({}), "out of bounds"),
        ("area-misaligned", json!({}), "aligned"),
        ("wrong-char", json!({}), ""),
        ("wrong-case", json!({}), ""),
        ("realloc-misaligned", json!({"numbers": [1, 2, 3]}), "aligned"),
        ("realloc-outside", json!({"text": "a text"}), "beyond end of memory"),
        ("realloc-at-the-end", json!({"text": "a text"}), "beyond end of memory"),
        ("realloc-calls-out", json!({"text": "a text"}), "leave"),
        ("post-return-calls-out", json!({}), "leave"),
    ] {
        let told = crashed(world.call("abi", tool, arguments).await);
        assert!(told.to_lowercase().contains(reason), "{tool}: {told}");
    }
    assert_eq!(world.value("abi", "texts", json!({"count": 1, "length": 1})).await, json!(["x"]));
    // The last bytes there are, and a realloc that gives the same place twice: the guest harms itself only.
    assert_eq!(world.value("abi", "area-at-the-end", json!({})).await, "");
    assert_eq!(world.value("abi", "overlap", json!({"one": "some", "other": "text"})).await, true);
}

/// Case 7: loops where nobody looks are bounded as all else is.
#[tokio::test(flavor = "multi_thread")]
async fn loops_in_start_realloc_and_post_return_end() {
    let limits = "fuel = 1_000_000";
    let world = World::with_limits("start", wat("start"), limits).await;
    let reached = limit_reached(world.call("start", "run", json!({})).await);
    assert_eq!((reached.limit, reached.max), (Limit::Fuel, 1_000_000));
    let world = World::with_limits("abi", wat("abi"), limits).await;
    for (tool, arguments) in [("realloc-spins", json!({"text": "a"})), ("post-return-spins", json!({}))] {
        let reached = limit_reached(world.call("abi", tool, arguments).await);
        assert_eq!((reached.limit, reached.max), (Limit::Fuel, 1_000_000), "{tool}");
    }
}

/// Case 7, by time: fuel that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_in_the_start_function_ends_in_time() {
    let limits = "fuel = 1_000_000_000_000, wall_time = \"300ms\"";
    let world = World::with_limits("start", wat("start"), limits).await;
    let call = world.call("start", "run", json!({}));
    let reached = limit_reached(tokio::time::timeout(Duration::from_secs(60), call).await.expect("bounded"));
    assert_eq!((reached.limit, reached.max), (Limit::WallTime, 300));
    let world = World::with_limits("abi", wat("abi"), limits).await;
    for (tool, arguments) in [("realloc-spins", json!({"text": "a"})), ("post-return-spins", json!({}))] {
        let call = world.call("abi", tool, arguments);
        let result = tokio::time::timeout(Duration::from_secs(60), call).await.expect("bounded");
        assert_eq!(limit_reached(result).limit, Limit::WallTime, "{tool}");
    }
}

/// Case 24: JSON can write half of a character, which no string can hold.
#[test]
fn lone_surrogates_in_arguments_are_refused() {
    for text in [r#"{"text": "\ud800"}"#, r#"{"text": "\udc00 \ud800"}"#, r#"{"\udfff": 1}"#] {
        let error = parse_arguments(text.as_bytes()).expect_err("half of a character");
        assert!(matches!(error.fault, ArgumentTextFault::Syntax { .. }), "{error}");
    }
    let error = parse_arguments(b"{\"text\": \"\xed\xa0\x80\"}").expect_err("a surrogate in UTF-8");
    assert_eq!(error.fault, ArgumentTextFault::NotUtf8);
    let pair = parse_arguments(br#"{"text": "\ud83d\ude00"}"#).expect("a whole character");
    assert_eq!(pair["text"], "\u{1f600}");
}
