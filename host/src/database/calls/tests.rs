//! What is kept of calls, and for how long.

use std::time::Duration;

use super::*;
use crate::database::Database;

const BOUNDS: KeptBounds = KeptBounds { keyed: 3, unkeyed: 3, answer_bytes: 100 };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

async fn database() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(&folder.path().join("state.db")).await.expect("opens");
    (folder, database)
}

fn new(who: &str, mode: CallMode, key: Option<(&str, &str)>) -> NewKeptCall {
    // Ids of one millisecond are in no order.
    std::thread::sleep(Duration::from_millis(2));
    NewKeptCall {
        call: CallId::generate(),
        asked_by: who.parse().expect("a name"),
        principal: who.parse().expect("a name"),
        package: "notes".parse().expect("a name"),
        tool: "add".parse().expect("a name"),
        mode,
        key: key.map(|(key, fingerprint)| (key.to_owned(), fingerprint.to_owned())),
    }
}

async fn keep(database: &Database, new: &NewKeptCall, second: i64) -> Keeping {
    database.keep_call(new, BOUNDS, at(second)).await.expect("answers")
}

async fn end(database: &Database, call: CallId, end: KeptEnd, second: i64, until: i64, answer: &str) {
    let ended = database.end_kept_call(call, (end, at(second)), at(until), Some(answer), BOUNDS);
    ended.await.expect("ended");
}

async fn listed(database: &Database, who: Option<&str>, second: i64) -> Vec<CallId> {
    let query = KeptQuery { asked_by: who.map(|who| who.parse().expect("a name")), ..KeptQuery::default() };
    let rows = database.kept_calls(&query, 100, at(second)).await.expect("answers");
    rows.into_iter().map(|row| row.call).collect()
}

#[tokio::test]
async fn a_key_is_one_callers_and_stands_for_its_call_until_its_time_is_over() {
    let (_folder, database) = database().await;
    let first = new("ann", CallMode::Sync, Some(("k", "f")));
    assert_eq!(keep(&database, &first, 0).await, Keeping::New);
    // Of another caller, and of the owner in ann's name, the same key is another.
    assert_eq!(keep(&database, &new("bob", CallMode::Sync, Some(("k", "f"))), 0).await, Keeping::New);
    let by_owner = NewKeptCall {
        asked_by: "local-admin".parse().expect("a name"),
        ..new("ann", CallMode::Sync, Some(("k", "f")))
    };
    assert_eq!(keep(&database, &by_owner, 0).await, Keeping::New);

    let again = new("ann", CallMode::Async, Some(("k", "g")));
    let Keeping::Known(row) = keep(&database, &again, 1).await else { panic!("it is known") };
    assert_eq!((row.call, row.fingerprint.as_deref(), row.end), (first.call, Some("f"), None));
    end(&database, first.call, KeptEnd::Succeeded, 2, 10, "{}").await;
    let Keeping::Known(row) = keep(&database, &again, 9).await else { panic!("it is known") };
    assert_eq!((row.end, row.answer.as_deref()), (Some((KeptEnd::Succeeded, at(2))), Some("{}")));
    // A second end changes nothing.
    end(&database, first.call, KeptEnd::Failed, 3, 99, "no").await;
    assert_eq!(
        database.kept_call(first.call, at(9)).await.expect("answers").expect("kept").answer,
        row.answer
    );
    assert_eq!(database.kept_call(first.call, at(10)).await.expect("answers"), None, "its time is over");
    assert_eq!(keep(&database, &again, 10).await, Keeping::New);

    database.release_key(again.call).await.expect("released");
    assert_eq!(keep(&database, &new("ann", CallMode::Sync, Some(("k", "h"))), 11).await, Keeping::New);
    assert!(
        database.kept_call(again.call, at(11)).await.expect("answers").is_some(),
        "it is listed as before"
    );
}

#[tokio::test]
async fn a_caller_has_so_many_keys_and_so_many_calls_without_one() {
    let (_folder, database) = database().await;
    let keys = ["a", "b", "c"].map(|key| new("ann", CallMode::Sync, Some((key, "f"))));
    for call in &keys {
        assert_eq!(keep(&database, call, 0).await, Keeping::New);
    }
    let more = new("ann", CallMode::Sync, Some(("d", "f")));
    assert_eq!(keep(&database, &more, 0).await, Keeping::NoRoom(None));
    end(&database, keys[1].call, KeptEnd::Succeeded, 1, 7, "{}").await;
    assert_eq!(keep(&database, &more, 2).await, Keeping::NoRoom(Some(at(7))));
    // Those of before are known, and another's are not counted.
    assert!(matches!(keep(&database, &keys[0], 2).await, Keeping::Known(_)));
    assert_eq!(keep(&database, &new("bob", CallMode::Sync, Some(("d", "f"))), 2).await, Keeping::New);
    assert_eq!(database.sweep_kept_calls(at(7)).await.expect("swept"), (3, 0));
    assert_eq!(keep(&database, &more, 7).await, Keeping::New);

    let calls: Vec<_> = (0..4).map(|_| new("eve", CallMode::Async, None)).collect();
    for call in &calls[..3] {
        keep(&database, call, 0).await;
    }
    end(&database, calls[1].call, KeptEnd::Failed, 1, 99, "{}").await;
    end(&database, calls[2].call, KeptEnd::Failed, 1, 99, "{}").await;
    assert_eq!(keep(&database, &calls[3], 2).await, Keeping::New);
    // The oldest that has ended went; one that is open stays.
    let expected = vec![calls[3].call, calls[2].call, calls[0].call];
    assert_eq!(listed(&database, Some("eve"), 2).await, expected);
}

#[tokio::test]
async fn answers_of_a_caller_have_a_bound_and_the_oldest_go_first() {
    let (_folder, database) = database().await;
    let calls: Vec<_> =
        (0..3).map(|at| new("ann", CallMode::Async, Some((["a", "b", "c"][at], "f")))).collect();
    for call in &calls {
        keep(&database, call, 0).await;
    }
    let answer = "x".repeat(40);
    for call in &calls {
        end(&database, call.call, KeptEnd::Succeeded, 1, 99, &answer).await;
    }
    let kept = async |call: &NewKeptCall| {
        let row = database.kept_call(call.call, at(2)).await.expect("answers").expect("kept");
        row.answer.is_some()
    };
    assert_eq!((kept(&calls[0]).await, kept(&calls[1]).await, kept(&calls[2]).await), (false, true, true));
    let other = new("bob", CallMode::Async, None);
    keep(&database, &other, 2).await;
    end(&database, other.call, KeptEnd::Succeeded, 3, 99, &"x".repeat(101)).await;
    assert!(!kept(&other).await, "one that never fits is not kept");
    assert!(kept(&calls[1]).await);
    database.erase_kept_answers(&"ann".parse().expect("a name")).await.expect("erased");
    assert!(!kept(&calls[1]).await && !kept(&calls[2]).await);
    assert_eq!(listed(&database, None, 3).await.len(), 4);
}

#[tokio::test]
async fn what_a_host_left_open_is_interrupted_at_the_next_start() {
    let (_folder, database) = database().await;
    let calls = [
        new("ann", CallMode::Async, None),
        new("ann", CallMode::Sync, Some(("k", "f"))),
        new("ann", CallMode::Async, None),
    ];
    for call in &calls {
        keep(&database, call, 0).await;
    }
    end(&database, calls[2].call, KeptEnd::Cancelled, 1, 99, "{}").await;
    let interrupted = database.interrupt_kept_calls(at(10), 5_000, 60_000).await.expect("marked");
    assert_eq!(interrupted, 2);
    let ends = async |second: i64| {
        let mut ends = Vec::new();
        for call in &calls {
            let row = database.kept_call(call.call, at(second)).await.expect("answers");
            ends.push(row.and_then(|row| row.end).map(|(end, _)| end));
        }
        ends
    };
    let (gone, was) = (Some(KeptEnd::Interrupted), Some(KeptEnd::Cancelled));
    assert_eq!(ends(14).await, [gone, gone, was]);
    assert_eq!(ends(15).await, [None, gone, was]);
    assert_eq!(ends(70).await, [None, None, was]);
    let Keeping::Known(row) = keep(&database, &new("ann", CallMode::Sync, Some(("k", "f"))), 20).await else {
        panic!("it is known")
    };
    assert_eq!(row.end, Some((KeptEnd::Interrupted, at(10))));
}

#[tokio::test]
async fn pages_are_of_one_order_and_of_who_asked() {
    let (_folder, database) = database().await;
    let bounds = KeptBounds { unkeyed: 100, ..BOUNDS };
    let mut calls = Vec::new();
    for number in 0..7 {
        let call = new(if number % 2 == 0 { "ann" } else { "bob" }, CallMode::Async, None);
        database.keep_call(&call, bounds, at(0)).await.expect("kept");
        calls.push(call.call);
    }
    end(&database, calls[4], KeptEnd::Succeeded, 1, 99, "{}").await;
    calls.reverse();
    let mut query = KeptQuery::default();
    let mut found = Vec::new();
    loop {
        let page = database.kept_calls(&query, 3, at(2)).await.expect("answers");
        let Some(last) = page.last() else { break };
        query.before = Some(last.call);
        found.extend(page.iter().map(|row| row.call));
        assert!(page.iter().all(|row| row.answer.is_none()), "lists have no answers");
    }
    assert_eq!(found, calls);
    assert_eq!(listed(&database, Some("bob"), 2).await, [calls[1], calls[3], calls[5]]);
    let ended = KeptQuery { end: Some(Some(KeptEnd::Succeeded)), ..KeptQuery::default() };
    assert_eq!(database.kept_calls(&ended, 9, at(2)).await.expect("answers").len(), 1);
    let open = KeptQuery { end: Some(None), ..KeptQuery::default() };
    assert_eq!(database.kept_calls(&open, 9, at(2)).await.expect("answers").len(), 6);
}
