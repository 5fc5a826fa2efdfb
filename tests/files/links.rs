//! Cases 34 to 37: symlinks, trailing slashes, magic links, hard links and moves.

use serde_json::{Value, json};

use super::{
    Case, Files, NO_SYMLINKS, OUTSIDE, READ, READ_ONLY, READ_WRITE, at, denied, effect, follow, observed,
    open, open_with, touch, tree, two,
};

/// Opens with flags, following symlinks.
fn follow_with(path: &str, flags: &[&str]) -> Value {
    json!({"op": "open", "at": "/papers", "path": path, "follow": true, "open": flags, "flags": ["write"], "as": "w"})
}

async fn with_links() -> Files {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    files.file("outside/secret", "secret");
    files.file("papers/a.txt", "hello");
    files.file("papers/sub/b.txt", "below");
    files.symlink("../outside/secret", "papers/out");
    files.symlink(files.path("outside/secret"), "papers/absolute");
    files.symlink("../outside", "papers/folder-out");
    files.symlink("../outside/created", "papers/dangling");
    files.symlink("chain-2", "papers/chain-1");
    files.symlink("sub/../out", "papers/chain-2");
    files.symlink("loop-2", "papers/loop-1");
    files.symlink("loop-1", "papers/loop-2");
    files.symlink("a.txt", "papers/in");
    files.symlink("sub", "papers/folder-in");
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn case_34_symlinks_are_not_followed_out() {
    let files = with_links().await;
    let outside = tree(&files.path("outside"));
    let mut cases: Vec<Case> = Vec::new();
    for path in ["out", "absolute", "folder-out", "chain-1", "dangling"] {
        let subject = format!("/papers/{path}");
        cases.push(denied(follow(path), &subject, OUTSIDE));
        cases.push(observed(open(path), &subject, "error: loop"));
        cases.push(denied(
            json!({"op": "stat-at", "at": "/papers", "path": path, "follow": true}),
            &subject,
            OUTSIDE,
        ));
        cases.push(observed(at("stat-at", path), &subject, "ok: symbolic-link …"));
        for flags in [["create"], ["truncate"]] {
            cases.push(denied(follow_with(path, &flags), &subject, OUTSIDE));
        }
        cases.push(denied(touch(path, true), &subject, OUTSIDE));
    }
    for path in ["folder-out/secret", "folder-in/../folder-out/secret"] {
        let subject = format!("/papers/{path}");
        cases.push(denied(open(path), &subject, OUTSIDE));
        cases.push(denied(at("stat-at", path), &subject, OUTSIDE));
        cases.push(denied(at("metadata-hash-at", path), &subject, OUTSIDE));
        cases.push(denied(at("readlink", path), &subject, OUTSIDE));
        cases.push(denied(open_with(path, &["truncate"]), &subject, OUTSIDE));
        cases.push(denied(touch(path, false), &subject, OUTSIDE));
        cases.push(denied(at("unlink", path), &subject, OUTSIDE));
        for op in ["rename", "link"] {
            let stolen = format!("{subject} to /papers/stolen");
            cases.push(denied(two(op, path, "stolen"), &stolen, OUTSIDE));
        }
    }
    for op in ["mkdir", "rmdir"] {
        cases.push(denied(at(op, "folder-out/new"), "/papers/folder-out/new", OUTSIDE));
    }
    let create = open_with("folder-out/new", &["create"]);
    cases.push(denied(create, "/papers/folder-out/new", OUTSIDE));
    for op in ["rename", "link"] {
        let subject = "/papers/a.txt to /papers/folder-out/new";
        cases.push(denied(two(op, "a.txt", "folder-out/new"), subject, OUTSIDE));
    }
    cases.push(observed(follow("loop-1"), "/papers/loop-1", "error: loop"));
    cases.push(observed(open("loop-1/x"), "/papers/loop-1/x", "error: loop"));
    cases.push(observed(at("readlink", "out"), "/papers/out", "ok: ../outside/secret"));
    cases.push(denied(at("readlink", "absolute"), "/papers/absolute", OUTSIDE));
    // The granted twins.
    cases.push(observed(follow("in"), "/papers/in", "ok"));
    cases.push(observed(
        json!({"op": "read", "at": "opened", "length": 9}),
        "/papers/in",
        "ok: 5 bytes: hello",
    ));
    cases.push(observed(open("folder-in/b.txt"), "/papers/folder-in/b.txt", "ok"));
    files.check(cases).await;
    assert_eq!(outside, tree(&files.path("outside")));
    assert_eq!(files.read("papers/a.txt"), "hello");
    assert!(!files.path("papers/stolen").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_34_guests_make_no_symlinks_but_may_remove_and_move_their_names() {
    let files = with_links().await;
    let outside = tree(&files.path("outside"));
    let make = |target: &str| json!({"op": "symlink", "at": "/papers", "target": target, "path": "mine"});
    files
        .check(vec![
            denied(make("../outside/secret"), "/papers/mine", NO_SYMLINKS),
            denied(make("/etc/passwd"), "/papers/mine", NO_SYMLINKS),
            denied(make("a.txt"), "/papers/mine", NO_SYMLINKS),
            effect(at("unlink", "out"), "/papers/out", "ok"),
            effect(two("rename", "absolute", "moved"), "/papers/absolute to /papers/moved", "ok"),
            denied(follow("moved"), "/papers/moved", OUTSIDE),
            effect(two("link", "moved", "linked"), "/papers/moved to /papers/linked", "error: not-permitted"),
        ])
        .await;
    assert!(files.path("papers/mine").symlink_metadata().is_err());
    assert!(files.path("papers/linked").symlink_metadata().is_err());
    assert!(files.path("papers/out").symlink_metadata().is_err());
    assert_eq!(outside, tree(&files.path("outside")));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_35_a_trailing_slash_asks_for_a_folder() {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    files.file("outside/secret", "secret");
    files.file("papers/f", "hello");
    files.file("papers/d/x", "below");
    files.symlink("f", "papers/file-link");
    files.symlink("d", "papers/folder-link");
    files.symlink("../outside", "papers/out");
    let before = (tree(&files.path("outside")), tree(&files.path("papers")));
    let mut cases = vec![
        observed(open("d/"), "/papers/d", "ok"),
        observed(open("d//"), "/papers/d", "ok"),
        observed(open("d/."), "/papers/d/.", "ok"),
        observed(open("folder-link/"), "/papers/folder-link", "ok"),
        denied(open("out/"), "/papers/out", OUTSIDE),
        observed(at("stat-at", "d/"), "/papers/d", "ok: directory …"),
        observed(at("stat-at", "folder-link/"), "/papers/folder-link", "ok: directory …"),
        denied(at("stat-at", "out/"), "/papers/out", OUTSIDE),
        denied(at("metadata-hash-at", "out/"), "/papers/out", OUTSIDE),
        observed(at("readlink", "folder-link/"), "/papers/folder-link", "error: invalid"),
        observed(at("readlink", "file-link/"), "/papers/file-link", "error: not-directory"),
        observed(at("readlink", "file-link"), "/papers/file-link", "ok: f"),
        effect(at("unlink", "d/"), "/papers/d", "error: is-directory"),
        effect(open_with("new/", &["create"]), "/papers/new", "error: invalid"),
    ];
    for name in ["f", "file-link"] {
        let (path, subject) = (format!("{name}/"), format!("/papers/{name}"));
        cases.push(observed(open(&path), &subject, "error: not-directory"));
        cases.push(observed(follow(&path), &subject, "error: not-directory"));
        cases.push(effect(open_with(&path, &["truncate"]), &subject, "error: not-directory"));
        cases.push(effect(follow_with(&path, &["truncate"]), &subject, "error: not-directory"));
        cases.push(observed(at("stat-at", &path), &subject, "error: not-directory"));
        cases.push(observed(at("metadata-hash-at", &path), &subject, "error: not-directory"));
        cases.push(effect(touch(&path, false), &subject, "error: not-directory"));
    }
    for name in ["f", "file-link", "folder-link", "out"] {
        let (path, subject) = (format!("{name}/"), format!("/papers/{name}"));
        cases.push(effect(at("unlink", &path), &subject, "error: not-directory"));
        cases.push(effect(at("rmdir", &path), &subject, "error: not-directory"));
        let (away, onto) = (format!("{subject} to /papers/g"), format!("/papers/f to {subject}"));
        cases.push(effect(two("rename", &path, "g"), &away, "error: not-directory"));
        cases.push(effect(two("rename", "f", &path), &onto, "error: not-directory"));
        cases.push(effect(two("link", "f", &path), &onto, "error: not-directory"));
    }
    cases.push(effect(two("link", "f/", "g"), "/papers/f to /papers/g", "error: not-directory"));
    cases.push(effect(two("link", "f", "g/"), "/papers/f to /papers/g", "error: not-directory"));
    files.check(cases).await;
    assert_eq!(before, (tree(&files.path("outside")), tree(&files.path("papers"))));
    // Where folders are meant, the slash does no harm.
    files
        .check(vec![
            effect(at("mkdir", "n/"), "/papers/n", "ok"),
            effect(two("rename", "n/", "m/"), "/papers/n to /papers/m", "ok"),
            effect(at("rmdir", "m/"), "/papers/m", "ok"),
        ])
        .await;
    assert_eq!(before.0, tree(&files.path("outside")));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_36_magic_links_lead_nowhere() {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    files.file("papers/a.txt", "hello");
    let targets = ["/proc/self/root", "/proc/self/cwd", "/proc/thread-self/root", "/proc/self/fd/0"];
    let mut cases = Vec::new();
    for (number, target) in targets.into_iter().enumerate() {
        let name = format!("magic-{number}");
        files.symlink(target, &format!("papers/{name}"));
        let (below, subject) = (format!("{name}/etc/passwd"), format!("/papers/{name}"));
        cases.push(denied(follow(&name), &subject, OUTSIDE));
        cases.push(denied(open(&below), &format!("/papers/{below}"), OUTSIDE));
        cases.push(denied(at("stat-at", &format!("{name}/")), &subject, OUTSIDE));
        cases.push(denied(at("readlink", &name), &subject, OUTSIDE));
        cases.push(denied(follow_with(&name, &["create"]), &subject, OUTSIDE));
    }
    for (name, target) in [("environment", "/proc/self/environ"), ("program", "/proc/self/exe")] {
        files.symlink(target, &format!("papers/{name}"));
        cases.push(denied(follow(name), &format!("/papers/{name}"), OUTSIDE));
    }
    files.symlink("../../../../../../../../proc/self/environ", "papers/relative");
    cases.push(denied(follow("relative"), "/papers/relative", OUTSIDE));
    cases.push(observed(follow("a.txt"), "/papers/a.txt", "ok"));
    files.check(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_37_nothing_is_linked_or_moved_across_grants() {
    let files = Files::new(&[("ro", READ), ("one", READ_WRITE), ("two", READ_WRITE)]).await;
    files.file("ro/secret", "secret");
    files.file("one/f", "hello");
    files.file("two/g", "world");
    let all = || [tree(&files.path("ro")), tree(&files.path("one")), tree(&files.path("two"))];
    let before = all();
    let step = |op: &str, (from, path): (&str, &str), (to, new_path): (&str, &str)| json!({"op": op, "at": from, "path": path, "to": to, "new_path": new_path});
    let mut cases = Vec::new();
    for op in ["link", "rename"] {
        let (secret, f) = (("/ro", "secret"), ("/one", "f"));
        cases.push(denied(step(op, secret, ("/one", "x")), "/ro/secret to /one/x", READ_ONLY));
        cases.push(denied(step(op, secret, ("/ro", "x")), "/ro/secret to /ro/x", READ_ONLY));
        cases.push(denied(step(op, f, ("/ro", "x")), "/one/f to /ro/x", READ_ONLY));
        cases.push(denied(step(op, f, ("/ro", "secret")), "/one/f to /ro/secret", READ_ONLY));
        cases.push(effect(step(op, f, ("/two", "x")), "/one/f to /two/x", "error: cross-device"));
        cases.push(effect(step(op, f, ("/two", "g")), "/one/f to /two/g", "error: cross-device"));
    }
    files.check(cases).await;
    assert_eq!(before, all());
    // Within one grant both are done.
    files
        .check(vec![
            effect(step("link", ("/one", "f"), ("/one", "h")), "/one/f to /one/h", "ok"),
            effect(step("rename", ("/one", "h"), ("/one", "i")), "/one/h to /one/i", "ok"),
            effect(step("link", ("/one", "f"), ("/one", "i")), "/one/f to /one/i", "error: exist"),
        ])
        .await;
    assert_eq!(files.read("one/i"), "hello");
    assert_eq!([&before[0], &before[2]], [&all()[0], &all()[2]]);
}
