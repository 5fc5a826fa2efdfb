//! Cases 33 and 43: paths that lead out by their text, and folders whose names begin alike.

use serde_json::json;

use super::{
    Files, OUTSIDE, READ, READ_WRITE, at, denied, effect, follow, observed, open, open_with, touch, tree, two,
};

#[tokio::test(flavor = "multi_thread")]
async fn case_33_dots_and_absolute_paths_stay_inside() {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    files.file("outside/secret", "secret");
    files.file("papers/a.txt", "hello");
    files.file("papers/sub/b.txt", "below");
    let before = (tree(&files.path("outside")), tree(&files.path("papers")));
    let bad = |path: &str| format!("/papers {path:?}");
    let mut cases = Vec::new();
    for path in [
        "../outside/secret",
        "sub/../../outside/secret",
        "./../outside/secret",
        "a.txt/../../outside/secret",
        "..",
        "../",
        "/",
        "/etc/passwd",
        "//papers/a.txt",
        "/papers/a.txt",
    ] {
        cases.push(denied(open(path), &bad(path), OUTSIDE));
        cases.push(denied(follow(path), &bad(path), OUTSIDE));
        cases.push(denied(open_with(path, &["create"]), &bad(path), OUTSIDE));
        cases.push(denied(open_with(path, &["truncate"]), &bad(path), OUTSIDE));
        for op in ["stat-at", "metadata-hash-at", "readlink", "mkdir", "rmdir", "unlink"] {
            cases.push(denied(at(op, path), &bad(path), OUTSIDE));
        }
        cases.push(denied(touch(path, true), &bad(path), OUTSIDE));
        for op in ["rename", "link"] {
            cases.push(denied(two(op, "a.txt", path), &format!("/papers/a.txt to {}", bad(path)), OUTSIDE));
            cases.push(denied(two(op, path, "stolen"), &format!("{} to /papers/stolen", bad(path)), OUTSIDE));
        }
    }
    let below = |path: &str| json!({"op": "open", "at": "sub", "path": path, "as": "opened"});
    cases.push(observed(
        json!({"op": "open", "at": "/papers", "path": "sub", "as": "sub"}),
        "/papers/sub",
        "ok",
    ));
    cases.push(denied(below("../a.txt"), "/papers/sub \"../a.txt\"", OUTSIDE));
    // The granted twins.
    cases.push(observed(below("b.txt"), "/papers/sub/b.txt", "ok"));
    cases.push(observed(open("sub/../a.txt"), "/papers/sub/../a.txt", "ok"));
    cases.push(observed(open("./a.txt"), "/papers/./a.txt", "ok"));
    cases.push(observed(
        json!({"op": "read", "at": "opened", "length": 100}),
        "/papers/./a.txt",
        "ok: 5 bytes: hello",
    ));
    files.check(cases).await;
    assert_eq!(before, (tree(&files.path("outside")), tree(&files.path("papers"))));
    files
        .check(vec![
            effect(at("mkdir", "sub/../new"), "/papers/sub/../new", "ok"),
            effect(two("rename", "a.txt", "sub/../c.txt"), "/papers/a.txt to /papers/sub/../c.txt", "ok"),
        ])
        .await;
    assert!(files.path("papers/new").is_dir());
    assert_eq!(files.read("papers/c.txt"), "hello");
    assert_eq!(before.0, tree(&files.path("outside")));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_43_a_folder_is_not_its_namesake() {
    let files = Files::new(&[("papers", READ)]).await;
    files.file("papers/a.txt", "hello");
    files.file("papers2/secret", "secret");
    files.symlink("../papers2/secret", "papers/near");
    files.symlink(files.path("papers2/secret"), "papers/far");
    files
        .check(vec![
            denied(open("../papers2/secret"), "/papers \"../papers2/secret\"", OUTSIDE),
            denied(follow("near"), "/papers/near", OUTSIDE),
            denied(follow("far"), "/papers/far", OUTSIDE),
            observed(open("2/secret"), "/papers/2/secret", "error: no-entry"),
            observed(open("a.txt"), "/papers/a.txt", "ok"),
        ])
        .await;
    let ran = files.run(json!([
        {"op": "preopens"}, {"op": "open", "at": "/papers2", "path": "secret", "as": "f"},
    ]));
    assert_eq!(ran.await.answers, ["ok: /papers", "bad step: no handle \"/papers2\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_43_a_namesake_that_is_granted_too_is_reached_by_its_own_handle_only() {
    let files = Files::new(&[("papers", READ), ("papers2", READ_WRITE)]).await;
    files.file("papers2/b.txt", "second");
    files.symlink("../papers2/b.txt", "papers/near");
    files
        .check(vec![
            denied(follow("near"), "/papers/near", OUTSIDE),
            observed(
                json!({"op": "open", "at": "/papers2", "path": "b.txt", "as": "f"}),
                "/papers2/b.txt",
                "ok",
            ),
            observed(json!({"op": "read", "at": "f", "length": 9}), "/papers2/b.txt", "ok: 6 bytes: second"),
            denied(at("mkdir", "d"), "/papers/d", super::READ_ONLY),
            effect(json!({"op": "mkdir", "at": "/papers2", "path": "d"}), "/papers2/d", "ok"),
        ])
        .await;
    assert!(files.path("papers2/d").is_dir() && !files.path("papers/d").exists());
}
