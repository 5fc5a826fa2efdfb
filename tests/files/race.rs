//! Case 38: a folder that is swapped for a symlink again and again, while a guest walks through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use super::{Files, READ_WRITE, at, open_with, tree, two};
use crate::harness::soak::Plan;

/// Steps of one call, so many times.
const REPEATS: usize = 100;
/// Steps that walk through the swapped folder, each time.
const WALKS: u64 = 9;
/// How often an ordinary run walks at most, and a soak.
const SHARE: u64 = 36_000;
const SOAK_MAX: u64 = 1_000_000;
/// In an ordinary run, so many of both are enough.
const ENOUGH: u64 = 500;

/// Swaps two names until it is told to stop.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Swapper {
    fn start(files: &Files) -> Self {
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (one, other) = (files.path("papers/inner"), files.path("papers/other"));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&swaps));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("swapped");
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, swaps, thread: Some(thread) }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn steps() -> Vec<Value> {
    (0..REPEATS)
        .flat_map(|number| {
            [
                json!({"op": "open", "at": "/papers", "path": "inner/file", "as": "f"}),
                json!({"op": "read", "at": "f", "length": 20}),
                json!({"op": "close", "at": "f"}),
                open_with(&format!("inner/new-{number}"), &["create"]),
                at("unlink", &format!("inner/new-{number}")),
                at("unlink", "inner/victim"),
                open_with("inner/cut", &["truncate"]),
                two("rename", "inner/victim-2", "stolen"),
                at("mkdir", "inner/made"),
                at("rmdir", "inner/made"),
                json!({"op": "set-times-at", "at": "/papers", "path": "inner/cut", "follow": true,
                       "accessed": {"at": [5, 0]}, "modified": {"at": [6, 0]}}),
            ]
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_38_a_swapped_folder_leads_nowhere() {
    let files = Files::with_limits(&[("papers", READ_WRITE)], "wall_time = \"50s\"").await;
    for name in ["file", "cut", "victim", "victim-2"] {
        files.file(&format!("outside/{name}"), "OUTSIDE");
        files.file(&format!("papers/inner/{name}"), "inside");
    }
    files.symlink("../outside", "papers/other");
    let before = tree(&files.path("outside"));
    let (mut inside, mut refused, mut walked) = (0, 0, 0);
    let mut plan = Plan::new(SHARE, SOAK_MAX);
    let swapper = Swapper::start(&files);
    let steps: Value = steps().into();
    while plan.goes_on(walked) && (plan.is_long() || inside <= ENOUGH || refused <= ENOUGH) {
        let answer = files.call(&steps).await.unwrap_or_else(|error| panic!("{error:?}"));
        let answers = answer.answer.structured.expect("a list of answers");
        let answers: Vec<String> = serde_json::from_value(answers).expect("a list of text");
        for answers in answers.chunks(answers.len() / REPEATS) {
            match answers[1].as_str() {
                "ok: 6 bytes: inside" => inside += 1,
                // The open before it did not work.
                "bad step: no handle \"f\"" => refused += 1,
                other => panic!("{other}: {answers:?}"),
            }
            walked += WALKS;
        }
        plan.progress(|| format!("{walked} walks, {inside} reads, {refused} refusals"));
    }
    let swaps = swapper.swaps.load(Ordering::Relaxed);
    assert!(swaps > 100);
    drop(swapper);
    assert_eq!(before, tree(&files.path("outside")), "after {inside} reads and {refused} refusals");
    assert!(inside > 0 && refused > 0, "{inside} reads, {refused} refusals: there was no race");
    assert!(!std::fs::read_to_string(files.path("papers/stolen")).is_ok_and(|text| text.contains("OUTSIDE")));
    plan.report(&json!({
        "walks": walked, "seconds": plan.elapsed().as_secs(), "swaps": swaps, "reads": inside, "refusals": refused,
    }));
}
