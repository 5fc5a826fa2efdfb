//! Cases 42 and 44: names and times that are odd.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::{Value, json};

use super::{Files, READ, READ_WRITE, at, effect, observed, open, open_with, two};

#[tokio::test(flavor = "multi_thread")]
async fn case_42_long_names_and_nul_are_errors_of_their_own() {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    let (fits, long) = ("n".repeat(255), "n".repeat(256));
    let deep = "d/".repeat(2_000) + "f";
    let below = |path: &str| format!("/papers/{path}");
    let bad = |path: &str| format!("/papers {path:?}");
    files
        .check(vec![
            effect(open_with(&fits, &["create"]), &below(&fits), "ok"),
            observed(open(&fits), &below(&fits), "ok"),
            observed(open(&long), &below(&long), "error: name-too-long"),
            effect(at("mkdir", &long), &below(&long), "error: name-too-long"),
            observed(open(&deep), &below(&deep), "error: no-entry"),
            observed(open("a\0b"), &bad("a\0b"), "error: illegal-byte-sequence"),
            observed(at("mkdir", "a\0b"), &bad("a\0b"), "error: illegal-byte-sequence"),
            observed(
                two("rename", &fits, "\0"),
                &format!("{} to {}", below(&fits), bad("\0")),
                "error: illegal-byte-sequence",
            ),
            observed(open(""), &bad(""), "error: no-entry"),
            effect(at("unlink", &fits), &below(&fits), "ok"),
        ])
        .await;
    assert_eq!(std::fs::read_dir(files.path("papers")).expect("a folder").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_42_a_path_beyond_all_bounds_is_refused_and_cut_in_the_log() {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    let huge = "x".repeat(100_000);
    let steps: Value =
        vec![open(&huge), at("mkdir", &huge), two("rename", &huge, &huge), at("unlink", &huge)].into();
    let ran = files.run(steps).await;
    assert_eq!(ran.answers, ["error: name-too-long"; 4]);
    assert_eq!(ran.seen.len(), 4);
    for seen in &ran.seen {
        assert!(
            seen.subject.starts_with("/papers ") && seen.subject.len() <= 4_096,
            "{}",
            seen.subject.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_42_names_are_bytes_and_case_is_not_folded() {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    let odd = "line\nbreak \u{202e}\u{1b}[31m \"quoted\"";
    // One letter with an accent, and the letter followed by the accent.
    let (composed, apart) = ("\u{e9}", "e\u{301}");
    let mut cases = Vec::new();
    for name in ["Readme", "README", odd, composed, apart, "..a", "a.", " "] {
        let created = open_with(name, &["create", "exclusive"]);
        cases.push(effect(created, &format!("/papers/{name}"), "ok"));
    }
    cases.push(observed(open("readme"), "/papers/readme", "error: no-entry"));
    cases.push(observed(open(odd), &format!("/papers/{odd}"), "ok"));
    files.check(cases).await;
    assert_eq!(std::fs::read_dir(files.path("papers")).expect("a folder").count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_42_a_name_that_is_not_text_is_an_error_of_its_entry() {
    let files = Files::new(&[("papers", READ)]).await;
    std::fs::write(files.path("papers").join(OsStr::from_bytes(b"bad \xff name")), "x").expect("a file");
    let list =
        json!([{"op": "open", "at": "/papers", "path": ".", "as": "d"}, {"op": "read-directory", "at": "d"}]);
    let ran = files.run(list.clone()).await;
    assert_eq!(ran.answers[1], "error: illegal-byte-sequence after 0");
    let last = ran.seen.last().expect("a host call");
    assert_eq!(
        (last.function.as_str(), last.outcome.as_str(), last.subject.as_str()),
        ("[method]directory-entry-stream.read-directory-entry", "illegal-byte-sequence", "/papers")
    );
    std::fs::remove_file(files.path("papers").join(OsStr::from_bytes(b"bad \xff name"))).expect("removed");
    files.file("papers/good", "x");
    assert_eq!(files.run(list).await.answers[1], "ok: 1: good:regular-file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_has_a_bound() {
    let files = Files::with_limits(&[("papers", READ)], "directory_entries = 3").await;
    for name in ["a", "b", "c"] {
        files.file(&format!("papers/{name}"), "");
    }
    let list =
        json!([{"op": "open", "at": "/papers", "path": ".", "as": "d"}, {"op": "read-directory", "at": "d"}]);
    let full = "ok: 3: a:regular-file b:regular-file c:regular-file";
    assert_eq!(files.run(list.clone()).await.answers[1], full);
    files.file("papers/d", "");
    assert_eq!(files.run(list).await.answers[1], "error: overflow");
}

/// Sets both times of a file as the host, in seconds since 1970.
fn set_times(files: &Files, name: &str, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, files.path(name), &times, AtFlags::empty()).expect("times set");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_44_times_that_have_no_form_are_left_out_or_refused() {
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    files.file("papers/old", "x");
    files.file("papers/half", "x");
    files.file("papers/f", "x");
    set_times(&files, "papers/old", -1_000_000_000, 5);
    set_times(&files, "papers/half", -1, 500_000_000);
    let none = "ok: regular-file size=1 links=1 accessed=- modified=-";
    let mut cases = vec![
        observed(at("stat-at", "old"), "/papers/old", none),
        observed(at("stat-at", "half"), "/papers/half", none),
        effect(
            json!({"op": "open", "at": "/papers", "path": "f", "open": ["create"], "flags": ["read", "write"], "as": "f"}),
            "/papers/f",
            "ok",
        ),
    ];
    for (time, answer) in [
        (json!([u64::MAX, 0]), "error: overflow"),
        (json!([1_u64 << 63, 0]), "error: overflow"),
        (json!([1, 1_000_000_000]), "error: invalid"),
        // What the kernel takes for "now" and "leave it".
        (json!([1, (1 << 30) - 1]), "error: invalid"),
        (json!([1, (1 << 30) - 2]), "error: invalid"),
        (json!([1, u32::MAX]), "error: invalid"),
        (json!([0, 0]), "ok"),
        (json!([1_000_000_000, 999_999_999]), "ok"),
    ] {
        let when = json!({"at": time});
        let on = json!({"op": "set-times", "at": "f", "accessed": when, "modified": when});
        cases.push(effect(on, "/papers/f", answer));
        for follow in [false, true] {
            let below = json!({"op": "set-times-at", "at": "/papers", "path": "f", "follow": follow,
                               "accessed": when, "modified": when});
            cases.push(effect(below, "/papers/f", answer));
        }
    }
    let set = "ok: regular-file size=1 links=1 accessed=1000000000.999999999 modified=1000000000.999999999";
    cases.push(observed(json!({"op": "stat", "at": "f"}), "/papers/f", set));
    files.check(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_44_times_far_away_are_told_as_the_disk_keeps_them() {
    use std::os::unix::fs::MetadataExt as _;
    let files = Files::new(&[("papers", READ)]).await;
    files.file("papers/f", "x");
    // After 2554, where a count of nanoseconds in 64 bits ends.
    set_times(&files, "papers/f", 20_000_000_000, 1);
    let kept = files.path("papers/f").metadata().expect("metadata");
    let told = format!("modified={}.{:09}", kept.mtime(), kept.mtime_nsec());
    let ran = files.run(json!([at("stat-at", "f")])).await;
    assert!(
        ran.answers[0].starts_with("ok: ") && ran.answers[0].ends_with(&told),
        "{}, {told}",
        ran.answers[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_44_odd_times_are_in_nobodys_way() {
    use std::os::unix::fs::MetadataExt as _;
    let files = Files::new(&[("papers", READ_WRITE)]).await;
    for (name, seconds) in [
        ("first", i64::MIN),
        ("long-ago", -62_135_596_800),
        ("before", -1),
        ("after-2554", 18_446_744_074),
        ("far", 253_402_300_800),
        ("last", i64::MAX),
    ] {
        files.file(&format!("papers/{name}"), "x");
        set_times(&files, &format!("papers/{name}"), seconds, 999_999_999);
        let kept = files.path(&format!("papers/{name}")).metadata().expect("metadata");
        let told = match kept.mtime() {
            0.. => format!("modified={}.{:09}", kept.mtime(), kept.mtime_nsec()),
            _ => "modified=-".to_owned(),
        };
        let opened = json!({"op": "open", "at": "/papers", "path": name, "as": "f"});
        let ran = files
            .run(json!([
                at("stat-at", name),
                opened,
                {"op": "stat", "at": "f"},
                {"op": "metadata-hash", "at": "f"},
                at("metadata-hash-at", name),
                {"op": "read", "at": "f", "length": 9},
                {"op": "close", "at": "f"},
            ]))
            .await;
        assert!(ran.answers.iter().all(|answer| answer.starts_with("ok")), "{name}: {:?}", ran.answers);
        for stat in [&ran.answers[0], &ran.answers[2]] {
            assert!(stat.ends_with(&told), "{name}: {stat}, kept as {told}");
        }
    }
    let ran = files.run(json!([{"op": "read-directory", "at": "/papers"}])).await;
    assert!(ran.answers[0].starts_with("ok: 6: "), "{:?}", ran.answers);
}
