//! Case 41: a quota holds however it is approached, and the host goes on.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Files, at, effect, observed, open, two};
use crate::harness::{AGENT, guest};

const SMALL: &str = "access = \"read-write\"\nquota = 1_000\nfiles_max = 5";
const FULL: &str = "error: insufficient-space";

fn create(path: &str) -> Value {
    json!({"op": "open", "at": "/papers", "path": path, "open": ["create"], "flags": ["read", "write"], "as": path})
}

fn write(handle: &str, bytes: u64, offset: u64) -> Value {
    json!({"op": "write", "at": handle, "fill": bytes, "offset": offset})
}

fn set_size(size: u64) -> Value {
    json!({"op": "set-size", "at": "f", "size": size})
}

/// Bytes that a folder really holds.
fn held(files: &Files) -> u64 {
    let entries = std::fs::read_dir(files.path("papers")).expect("a folder");
    entries.map(|entry| entry.expect("an entry").metadata().expect("metadata").len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_41_bytes_are_held_to_the_quota() {
    let files = Files::new(&[("papers", SMALL)]).await;
    files.file("papers/old", &"o".repeat(100));
    let f = "/papers/f";
    files
        .check(vec![
            effect(create("f"), f, "ok"),
            effect(write("f", 901, 0), f, FULL),
            effect(write("f", 1, 1 << 40), f, FULL),
            effect(write("f", 1, i64::MAX as u64), f, FULL),
            effect(write("f", 1, u64::MAX), f, "error: file-too-large"),
            effect(set_size(901), f, FULL),
            effect(set_size(1 << 63), f, FULL),
            effect(set_size(u64::MAX), f, FULL),
            effect(write("f", 900, 0), f, "ok: 900"),
            effect(write("f", 1, 900), f, FULL),
            effect(write("f", 2, 899), f, FULL),
            // What replaces bytes needs no room, and what cuts gives some back.
            effect(write("f", 900, 0), f, "ok: 900"),
            effect(set_size(500), f, "ok"),
            effect(set_size(900), f, "ok"),
            effect(at("unlink", "old"), "/papers/old", "ok"),
            effect(write("f", 100, 900), f, "ok: 100"),
            effect(write("f", 1, 1_000), f, FULL),
        ])
        .await;
    assert_eq!(held(&files), 1_000);
    // A fresh call starts from what is there.
    files
        .check(vec![
            effect(create("f"), f, "ok"),
            effect(write("f", 1, 1_000), f, FULL),
            effect(
                json!({"op": "open", "at": "/papers", "path": "f", "open": ["truncate"], "flags": ["write"], "as": "f"}),
                f,
                "ok",
            ),
            effect(write("f", 1_000, 0), f, "ok: 1000"),
        ])
        .await;
    assert_eq!(held(&files), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_41_streams_are_held_to_the_quota_too() {
    let files = Files::new(&[("papers", SMALL)]).await;
    let stream = |op: &str, bytes: u64| json!({"op": op, "at": "f", "fill": bytes});
    let ran = files
        .run(json!([
            create("f"),
            stream("write-stream", 1_001),
            stream("write-stream", 600),
            stream("append-stream", 401),
            stream("append-stream", 400),
            stream("append-stream", 1),
            stream("write-and-leave", 1_001),
        ]))
        .await;
    let full = "error: insufficient-space after 0";
    let expected = ["ok", full, "ok: 600", full, "ok: 400", full, FULL];
    assert_eq!(ran.answers, expected);
    assert_eq!(held(&files), 1_000);
    let outcomes: Vec<&str> = ran
        .seen
        .iter()
        .filter(|seen| seen.kind == "effect")
        .map(|seen| seen.outcome.split([':', ' ']).next().expect("a word"))
        .collect();
    let full = "insufficient-space";
    assert_eq!(outcomes, ["ok", full, "ok", full, "ok", full, full], "{:#?}", ran.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_41_entries_are_held_to_the_quota() {
    let files = Files::new(&[("papers", SMALL)]).await;
    files.file("papers/old", "");
    let many = json!({"op": "create-many", "at": "/papers", "prefix": "f", "count": 100});
    assert_eq!(files.run(json!([many])).await.answers, ["error: insufficient-space after 4"]);
    files
        .check(vec![
            effect(create("g"), "/papers/g", FULL),
            effect(at("mkdir", "g"), "/papers/g", FULL),
            effect(two("link", "f0", "g"), "/papers/f0 to /papers/g", FULL),
            // What is there can be opened, moved, replaced.
            effect(create("f1"), "/papers/f1", "ok"),
            effect(two("rename", "f0", "f1"), "/papers/f0 to /papers/f1", "ok"),
            effect(at("mkdir", "g"), "/papers/g", "ok"),
            effect(at("mkdir", "h"), "/papers/h", FULL),
            effect(at("rmdir", "g"), "/papers/g", "ok"),
            effect(two("link", "f1", "h"), "/papers/f1 to /papers/h", "ok"),
            effect(create("i"), "/papers/i", FULL),
            effect(at("unlink", "h"), "/papers/h", "ok"),
            effect(create("i"), "/papers/i", "ok"),
            observed(open("i"), "/papers/i", "ok"),
        ])
        .await;
    assert_eq!(std::fs::read_dir(files.path("papers")).expect("a folder").count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_41_an_unlinked_file_counts_while_it_is_open() {
    let files = Files::new(&[("papers", SMALL)]).await;
    files
        .check(vec![
            effect(create("f"), "/papers/f", "ok"),
            effect(write("f", 1_000, 0), "/papers/f", "ok: 1000"),
            effect(at("unlink", "f"), "/papers/f", "ok"),
            effect(create("g"), "/papers/g", "ok"),
            effect(write("g", 1, 0), "/papers/g", FULL),
            effect(set_size(400), "/papers/f", "ok"),
            effect(write("g", 601, 0), "/papers/g", FULL),
            effect(write("g", 600, 0), "/papers/g", "ok: 600"),
            effect(write("f", 1, 400), "/papers/f", FULL),
        ])
        .await;
    assert_eq!(held(&files), 600);
    let ran = files.run(json!([
        create("f"), write("f", 400, 0), at("unlink", "f"), {"op": "close", "at": "f"},
        create("g"), write("g", 1_000, 0),
        // The one that is replaced counts while it is open as well.
        create("h"), two("rename", "h", "g"), create("h"), write("h", 1, 0),
        {"op": "close", "at": "g"}, write("h", 1_000, 0),
    ]));
    let answers = ran.await.answers;
    let expected = ["ok", "ok: 400", "ok", "ok", "ok", "ok: 1000", "ok", "ok", "ok", FULL, "ok", "ok: 1000"];
    assert_eq!(answers, expected);
    assert_eq!(held(&files), 1_000);
}

/// Another package that keeps the folder's account open while time goes by.
#[tokio::test(flavor = "multi_thread")]
async fn case_41_what_the_host_deletes_is_free_once_it_is_measured_again() {
    let files = Files::new(&[("papers", SMALL)]).await;
    files.world.add("sleeper", guest("std-probe")).await;
    let grant = format!(
        "[[grant]]\npackage = \"sleeper\"\nagents = [\"{AGENT}\"]\nlimits = {{ wall_time = \"60s\" }}\n\
         [[grant.filesystem]]\nhost_path = \"papers\"\nguest_path = \"/papers\"\n{SMALL}\n"
    );
    files.world.grant(&grant).await;
    let sleeping = files.world.call("sleeper", "sleep", json!({"milliseconds": 5_000}));
    let working = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let fill = json!([create("f"), write("f", 1_000, 0)]);
        assert_eq!(files.run(fill).await.answers, ["ok", "ok: 1000"]);
        std::fs::remove_file(files.path("papers/f")).expect("removed");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let refill = json!([create("g"), write("g", 1_000, 0), write("g", 1, 1_000)]);
        assert_eq!(files.run(refill).await.answers, ["ok", "ok: 1000", FULL]);
    };
    let (slept, ()) = tokio::join!(sleeping, working);
    assert!(slept.is_ok(), "{slept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_41_a_guest_that_hits_its_quota_does_not_hurt_the_log() {
    let files = Files::new(&[("papers", SMALL)]).await;
    let mut steps = vec![create("f"), write("f", 1_000, 0)];
    steps.extend((0..2_000).map(|offset| write("f", 10, 1_000 + offset)));
    let ran = files.run(steps.into()).await;
    assert!(ran.answers[2..].iter().all(|answer| answer == FULL));
    assert_eq!(ran.seen.len(), 2_002);
    assert!(ran.seen[2..].iter().all(|seen| seen.outcome == "insufficient-space: limit file_bytes"));
    // The next call is answered and recorded.
    files.check(vec![observed(open("f"), "/papers/f", "ok")]).await;
    let numbers: Vec<u64> = files
        .world
        .all_records()
        .iter()
        .map(|record| record.seq.to_string().parse().expect("a number"))
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no gaps");
}
