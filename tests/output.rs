//! What a guest says reaches people without what could act on their terminal, and tells nothing of the host.

use std::fmt::Debug;

use portcullis::audit::event::Event;
use portcullis::gateway::CallError;
use serde_json::json;

use crate::harness::{AGENT, World, guest, segments};

/// A colour, the clipboard, a line of its own, the direction of writing, tags that hide text, a title.
const HOSTILE: &str =
    "a\u{1b}[31mb\u{1b}]52;c;ZXZpbA==\u{7}c\r\nd\u{202e}e\u{2066}f\u{e0041}\u{e0042}g\u{9d}0;title\u{9c}h";

/// What is left of it, as text and on one line.
const CLEAN: &str = "abc\ndefgh";
const CLEAN_LINE: &str = "abc defgh";

/// Case 69: stdout and stderr.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_prints_is_cleaned() {
    let world = World::with("probe", guest("std-probe")).await;
    // Its library hands stdout over line by line.
    let lines = json!({"out": format!("{HOSTILE}\n"), "err": HOSTILE});
    let report = world.call("probe", "print", lines).await.expect("an answer").report;
    assert_eq!(report.stdout, format!("{CLEAN}\n"));
    assert_eq!(report.stderr, CLEAN);
}

/// Case 69: one record of the log stays one record, whatever a guest calls a store or a key.
#[tokio::test(flavor = "multi_thread")]
async fn a_subject_of_the_log_is_one_clean_line() {
    let world = World::with("state", guest("state")).await;
    let arguments = json!({"store": HOSTILE, "key": "k"});
    let Err(CallError::Failed { report, .. }) = world.call("state", "get", arguments).await else {
        panic!("it is not granted");
    };
    let subjects: Vec<String> = world
        .records(report.call)
        .into_iter()
        .filter_map(|record| match record.event {
            Event::HostCall { host_call, .. } => host_call.subject.map(|subject| subject.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(subjects, [CLEAN_LINE]);
    let whole = segments(&world.host.audit_folder()).into_iter().flat_map(|text| {
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).collect::<Vec<_>>()
    });
    assert!(whole.into_iter().all(|is_whole| is_whole));
}

/// Nothing of where things are on this machine.
#[track_caller]
fn tells_no_path(world: &World, what: &impl Debug) {
    let text = format!("{what:?}");
    let own = world.temporary.path().to_str().expect("a name of ours").to_owned();
    for path in [own.as_str(), env!("CARGO_MANIFEST_DIR"), "/.cargo/", "/rustc/", "wasmtime"] {
        // The guest was built here, and its own panic says where its source was.
        assert!(!text.contains(path), "{path} is in {text}");
    }
}

/// Case 66: a panic is the tool's crash, whose text tells nothing of the host; what the guest prints of it is
/// its own and cleaned.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_tells_nothing_of_the_host() {
    let world = World::with("probe", guest("std-probe")).await;
    let Err(CallError::Failed { error, report }) =
        world.call("probe", "panic", json!({"message": HOSTILE})).await
    else {
        panic!("it panics");
    };
    tells_no_path(&world, &error);
    assert!(report.stderr.contains(CLEAN), "{}", report.stderr);
    assert!(!report.stderr.contains('\u{1b}'), "{}", report.stderr);
}

/// Case 66: errors about a granted folder name it as the guest knows it.
#[tokio::test(flavor = "multi_thread")]
async fn errors_about_a_folder_do_not_name_the_hosts() {
    let world = World::with("probe", guest("std-probe")).await;
    let papers = world.folder("papers");
    let grant = format!(
        "[[grant]]\npackage = \"probe\"\nagents = [\"{AGENT}\"]\n[[grant.filesystem]]\nhost_path = \"papers\"\n\
         guest_path = \"/reports\"\naccess = \"read\"\n"
    );
    world.grant(&grant).await;
    let read = json!({"path": "/reports/none", "bytes-max": 1});
    let missing = world.call("probe", "read-file", read.clone()).await.expect_err("there is no such file");
    tells_no_path(&world, &missing);
    let CallError::Failed { report, .. } = &missing else { panic!("{missing:?}") };
    tells_no_path(&world, &world.records(report.call));
    std::fs::remove_dir_all(papers).expect("removed");
    let gone = world.call("probe", "read-file", read).await.expect_err("the folder is gone");
    assert!(gone.to_string().contains("/reports"), "{gone}");
    tells_no_path(&world, &gone);
}
