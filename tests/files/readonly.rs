//! Case 40: a grant to read changes nothing, whatever is asked of it.

use serde_json::{Value, json};

use super::{
    Case, Files, READ, READ_ONLY, READ_WRITE, at, denied, effect, observed, open_with, touch, tree, two,
};

/// Each way to change something, with the path that the log names.
fn changes() -> Vec<(Value, &'static str)> {
    let when = json!({"at": [7, 0]});
    vec![
        (open_with("new", &["create"]), "/papers/new"),
        (open_with("newer", &["create", "exclusive"]), "/papers/newer"),
        (open_with("f", &["create"]), "/papers/f"),
        (open_with("f", &["truncate"]), "/papers/f"),
        (open_with("f", &["create", "truncate"]), "/papers/f"),
        (json!({"op": "open", "at": "/papers", "path": "f", "open": ["truncate"], "as": "t"}), "/papers/f"),
        (touch("f", false), "/papers/f"),
        (touch("f", true), "/papers/f"),
        (json!({"op": "set-times", "at": "/papers", "accessed": when, "modified": when}), "/papers"),
        (at("mkdir", "made"), "/papers/made"),
        (two("rename", "f", "g"), "/papers/f to /papers/g"),
        (two("link", "f", "h"), "/papers/f to /papers/h"),
        (at("unlink", "f"), "/papers/f"),
        (at("rmdir", "d"), "/papers/d"),
    ]
}

fn open_file() -> Case {
    observed(json!({"op": "open", "at": "/papers", "path": "f", "as": "file"}), "/papers/f", "ok")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_40_a_grant_to_read_lets_nothing_change() {
    let files = Files::new(&[("papers", READ)]).await;
    files.file("papers/f", "hello");
    std::fs::create_dir(files.path("papers/d")).expect("a folder");
    let before = tree(&files.path("papers"));
    let mut cases: Vec<Case> =
        changes().into_iter().map(|(step, subject)| denied(step, subject, READ_ONLY)).collect();
    cases.push(denied(open_with("f", &[]), "/papers/f", READ_ONLY));
    cases.push(open_file());
    let when = json!({"at": [7, 0]});
    for step in [
        json!({"op": "write", "at": "file", "data": "x"}),
        json!({"op": "write-stream", "at": "file", "data": "x"}),
        json!({"op": "append-stream", "at": "file", "data": "x"}),
        json!({"op": "write-and-leave", "at": "file", "data": "x"}),
        json!({"op": "set-size", "at": "file", "size": 0}),
        json!({"op": "set-size", "at": "file", "size": 100}),
        json!({"op": "set-times", "at": "file", "accessed": when, "modified": when}),
    ] {
        cases.push(denied(step, "/papers/f", READ_ONLY));
    }
    cases.push(observed(json!({"op": "get-flags", "at": "file"}), "/papers/f", "ok: read"));
    cases.push(observed(json!({"op": "get-flags", "at": "/papers"}), "/papers", "ok: read"));
    cases.push(observed(json!({"op": "sync", "at": "file"}), "/papers/f", "ok"));
    cases.push(observed(json!({"op": "read", "at": "file", "length": 9}), "/papers/f", "ok: 5 bytes: hello"));
    files.check(cases).await;
    assert_eq!(before, tree(&files.path("papers")));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_40_the_same_with_a_grant_to_write() {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    // Each change on a fresh folder, since some of them end the file.
    for (step, subject) in changes() {
        for name in ["papers/f", "papers/g", "papers/h"] {
            files.file(name, "hello");
        }
        std::fs::remove_file(files.path("papers/h")).expect("removed");
        let _ = std::fs::create_dir(files.path("papers/d"));
        let before = tree(&files.path("papers"));
        files.check(vec![effect(step.clone(), subject, "ok")]).await;
        let unchanged = before == tree(&files.path("papers"));
        // To create what is there changes nothing; the times of the folder itself are not in the tree.
        let quiet = step == open_with("f", &["create"]) || subject == "/papers";
        assert_eq!(unchanged, quiet, "{step}");
        std::fs::remove_file(files.path("papers/h")).ok();
    }
    files.file("papers/f", "hello");
    let writable =
        json!({"op": "open", "at": "/papers", "path": "f", "flags": ["read", "write"], "as": "file"});
    files
        .check(vec![
            observed(writable, "/papers/f", "ok"),
            effect(json!({"op": "write", "at": "file", "data": "J"}), "/papers/f", "ok: 1"),
            effect(json!({"op": "set-size", "at": "file", "size": 4}), "/papers/f", "ok"),
            observed(json!({"op": "get-flags", "at": "file"}), "/papers/f", "ok: read write"),
            // A handle that was opened to read stays one.
            open_file(),
            observed(json!({"op": "write", "at": "file", "data": "x"}), "/papers/f", "error: bad-descriptor"),
            observed(
                json!({"op": "set-size", "at": "file", "size": 0}),
                "/papers/f",
                "error: bad-descriptor",
            ),
        ])
        .await;
    assert_eq!(files.read("papers/f"), "Jell");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_leave_one_attempt_and_one_outcome_for_each_write() {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    let ran = files
        .run(json!([
            {"op": "open", "at": "/papers", "path": "f", "open": ["create"], "flags": ["read", "write"], "as": "f"},
            {"op": "write-stream", "at": "f", "fill": 5000},
            {"op": "append-stream", "at": "f", "data": "end"},
            {"op": "read-stream", "at": "f", "length": 10, "offset": 4998},
            {"op": "write-and-leave", "at": "f", "data": "start"},
        ]))
        .await;
    assert_eq!(ran.answers, ["ok", "ok: 5000", "ok: 3", "ok: 5 bytes: xxend", "ok: 5"]);
    let writes: Vec<_> = ran.seen.iter().filter(|seen| seen.kind == "effect").collect();
    let names: Vec<&str> = writes.iter().map(|seen| seen.function.as_str()).collect();
    let flushed = "[method]output-stream.blocking-write-and-flush";
    let expected = ["[method]descriptor.open-at", flushed, flushed, flushed, "[method]output-stream.write"];
    assert_eq!(names, expected);
    assert!(writes.iter().all(|seen| seen.subject == "/papers/f" && seen.rule == files.rule("/papers/f")));
    assert!(files.read("papers/f").starts_with("startxxx"), "a stream that is left has written");
}
