//! Evidence first: what was done is in the log, whenever the host dies and however full its disk is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event, Record};
use portcullis::ids::{CallId, Sequence};
use serde_json::json;

use crate::harness::process::{Cli, exists};
use crate::harness::random::Random;
use crate::harness::soak::Plan;

/// How many hosts an ordinary run kills, and a soak at most.
const ROUNDS: u64 = 10;
const ROUNDS_OF_A_SOAK: u64 = 1_000;
const WORKERS: usize = 3;

/// Case 89: kill -9 at any moment loses no record of what was acknowledged or done.
#[test]
fn a_host_that_is_killed_at_any_moment_has_evidence_of_all_that_it_did() {
    let (cli, notes) = Cli::with_notes();
    let mut plan = Plan::new(ROUNDS, ROUNDS_OF_A_SOAK);
    let mut random = Random::new(plan.seed);
    let acknowledged = Mutex::new(BTreeSet::new());
    let mut round = 0;
    while plan.goes_on(round) {
        let pause = Duration::from_millis(5 + random.below(196));
        if round % 2 == 0 {
            kill_the_owner_of_others(&cli, round, pause, &acknowledged);
        } else {
            kill_a_caller(&cli, round, pause);
        }
        // The next start takes the folder and mends the log.
        cli.run(["package", "list"]).expect(0);
        let log = cli.log();
        check(&log, &acknowledged.lock().expect("not poisoned"), &notes);
        cli.run(["audit", "verify"]).expect(0);
        round += 1;
        plan.progress(|| format!("{round} kills, {} records", log.len()));
    }
    let (acknowledged, log) = (acknowledged.into_inner().expect("not poisoned"), cli.log());
    let recoveries = log.iter().filter(|record| matches!(record.event, Event::Recovered { .. })).count();
    // Otherwise the rounds would have shown nothing.
    assert!(recoveries >= 3 && !acknowledged.is_empty(), "{recoveries} {}", acknowledged.len());
    plan.report(&json!({
        "kills": round, "seconds": plan.elapsed().as_secs(), "recoveries": recoveries,
        "acknowledged": acknowledged.len(), "log_records": log.len(),
    }));
}

/// Several processes write notes through the owner's socket until the owner is killed.
fn kill_the_owner_of_others(cli: &Cli, round: u64, pause: Duration, acknowledged: &Mutex<BTreeSet<CallId>>) {
    let owner = cli.owner();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let stop = &stop;
            scope.spawn(move || {
                for count in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let ran = cli.call("notes", "add", &note(round, worker, count));
                    if ran.status.success() {
                        let call = ran.answer()["call"].as_str().expect("an id").parse().expect("an id");
                        acknowledged.lock().expect("not poisoned").insert(call);
                    } else {
                        // Its owner was killed: it says so, or finds it gone.
                        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
                    }
                }
            });
        }
        std::thread::sleep(pause);
        owner.kill();
        stop.store(true, Ordering::SeqCst);
    });
}

/// One process, at any moment between its start and its end.
fn kill_a_caller(cli: &Cli, round: u64, pause: Duration) {
    let caller = cli.start_call("notes", "add", &note(round, 0, 0));
    std::thread::sleep(pause);
    // An answer that it gave by then counts as well.
    let ran = caller.kill();
    assert!(ran.status.success() || ran.status.code().is_none(), "{ran:?}");
}

fn note(round: u64, worker: usize, count: usize) -> String {
    json!({"name": format!("r{round}-w{worker}-{count}"), "text": "kept"}).to_string()
}

fn check(log: &[Record], acknowledged: &BTreeSet<CallId>, notes: &Path) {
    for (record, expected) in log.iter().zip(0..) {
        assert_eq!(record.seq, Sequence(expected + log[0].seq.0), "no gaps");
    }
    let mut open = BTreeMap::new();
    let mut ended = BTreeMap::new();
    let mut attempts = BTreeMap::new();
    let mut subjects = BTreeSet::new();
    for record in log {
        match &record.event {
            Event::CallAdmitted { context, .. } => {
                assert_eq!(open.insert(context.call, record.seq), None, "{record:?}");
            }
            Event::EffectAttempted { context, attempt } => {
                assert!(open.contains_key(&context.call), "{record:?}");
                attempts.insert(record.seq, context.call);
                // Of a move, where it leads to.
                let subject = attempt.subject.as_deref().unwrap_or_default();
                subjects.insert(subject.rsplit(" to ").next().unwrap_or_default().to_owned());
            }
            Event::EffectFinished { context, attempt, .. } => {
                assert_eq!(
                    attempts.remove(attempt),
                    Some(context.call),
                    "an end without its attempt: {record:?}"
                );
            }
            Event::HostCall { context, .. } => assert!(open.contains_key(&context.call), "{record:?}"),
            Event::CallFinished { context, end } => {
                assert!(open.remove(&context.call).is_some(), "{record:?}");
                ended.insert(context.call, end.outcome.clone());
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "admitted and never closed: {open:?}");
    for call in acknowledged {
        assert_eq!(ended.get(call), Some(&CallOutcome::Ok), "acknowledged, and not in the log: {call}");
    }
    for file in std::fs::read_dir(notes).expect("there") {
        let name = file.expect("an entry").file_name().into_string().expect("a name of ours");
        assert!(subjects.contains(&format!("/notes/{name}")), "{name} was written without an attempt");
    }
}

/// The last record of a call is in the file when its answer is seen, so nothing that happens to the
/// host afterwards takes it away.
/// Cases 87 and 88: what a host signed can't be changed, nor taken back, without being seen by whoever has its
/// public key.
#[test]
fn a_log_is_verified_without_its_host_and_what_was_changed_is_named() {
    let (cli, _) = Cli::with_notes();
    let add = |name: &str| {
        cli.call("notes", "add", &json!({"name": name, "text": "x"}).to_string()).expect(0);
    };
    add("one");
    let data = cli.path("data");
    let shown = cli.run(["audit", "verify"]).expect(0).stdout;
    assert!(shown.starts_with("verified: "), "{shown}");
    let (key, monday) = (cli.path("key"), cli.path("monday"));
    std::fs::copy(data.join("audit.pub"), &key).expect("copied");
    std::fs::copy(data.join("audit/checkpoint"), &monday).expect("copied");
    add("two");
    // A copy of the log and the key are enough.
    let copied = cli.path("copied");
    std::fs::create_dir(&copied).expect("made");
    for entry in std::fs::read_dir(data.join("audit")).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), copied.join(entry.file_name())).expect("copied");
    }
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (folder, key, monday) = (text(&copied), text(&key), text(&monday));
    let arguments = ["audit", "verify", "--folder", &folder, "--key", &key, "--checkpoint", &monday];
    let verified = cli.json(&arguments);
    assert!(verified["covered"].as_u64() > verified["earlier"].as_u64(), "{verified}");
    assert_eq!(verified["uncovered"], 0);

    let segment = copied.join("00000000000000000000.jsonl");
    let lines = std::fs::read_to_string(&segment).expect("text");
    let at = lines.lines().position(|line| line.contains("call_admitted")).expect("a call");
    std::fs::write(&segment, lines.replacen("\"researcher\"", "\"somebody00\"", 1)).expect("changed");
    let changed = lines.lines().position(|line| line.contains("\"researcher\"")).expect("an agent");
    assert!(changed <= at);
    cli.run(arguments).expect(8).says(&format!("line {}", changed + 1)).says(&format!("record {changed}"));
    let whole: Vec<&str> = lines.lines().collect();
    std::fs::write(&segment, whole[..whole.len() - 1].join("\n") + "\n").expect("cut");
    cli.run(arguments).expect(8).says("cut off");
    std::fs::write(&segment, &lines).expect("as it was");
    cli.run(arguments).expect(0);
    let other = "portcullis/x+00000000+AQ==";
    cli.run(["audit", "verify", "--folder", &folder, "--key", other]).expect(2).says("not a key");
}

#[test]
fn an_answer_comes_after_its_records() {
    let (cli, _) = Cli::with_notes();
    let owner = cli.owner();
    let answer = cli.call("notes", "add", &note(0, 0, 0)).expect(0).answer();
    owner.kill();
    // No host has looked at the log since.
    let log = cli.log();
    let record = log.iter().find(|record| json!(record.seq) == answer["record"]).expect("in the log");
    let Event::CallFinished { context, end } = &record.event else { panic!("{record:?}") };
    assert_eq!((json!(context.call), &end.outcome), (answer["call"].clone(), &CallOutcome::Ok));
    let of_call = log.iter().filter(|record| record.event.call() == Some(context.call)).count();
    assert_eq!(of_call as u64, end.records + 1, "and all those before it");
}

/// A small file system of its own.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    /// None where mounting is not permitted.
    pub(crate) fn mount(path: PathBuf, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir(&path).expect("made");
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(path))
    }

    /// Takes all that is left.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("made");
        let error = (0..=8 << 10).find_map(|_| file.write_all(&[1; 1 << 10]).err());
        assert_eq!(error.map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a process that was killed may not be gone yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Case 90: a full disk refuses calls before they do anything, loses nothing, and is got over.
#[test]
fn a_full_disk_refuses_calls_and_loses_nothing() {
    let mut cli = Cli::new();
    let Some(disk) = SmallDisk::mount(cli.path("disk"), 8) else {
        eprintln!("not tested: a small file system can be mounted by root only");
        return;
    };
    cli.data = disk.0.join("data");
    // Otherwise calls would be refused before the disk is full: see `operations.rs`.
    cli.environment = vec![("PORTCULLIS_DISK_RESERVE", "0B".to_owned())];
    let notes = cli.install_notes();
    let first = cli.call("notes", "add", &note(0, 0, 0)).expect(0).answer();
    let owner = cli.owner();
    disk.fill();

    // The log has the rest of a page; then nothing is admitted any more.
    let mut done = 1;
    let refused = loop {
        let ran = cli.call("notes", "add", &note(0, 0, done));
        if !ran.status.success() {
            break ran;
        }
        done += 1;
        assert!(done < 100, "the disk is not full");
    };
    for ran in [refused, cli.call("notes", "add", &note(0, 1, 0))] {
        let problem = ran.expect(1).problem();
        assert_eq!(problem["blame"], "host");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains("the audit log can't be written"), "{detail}");
    }
    assert!(!exists(&notes.join("r0-w1-0.txt")), "a refused call did something");

    // What is there can be read.
    assert_eq!(cli.json(&["package", "list"]).as_array().map(Vec::len), Some(1));
    assert_eq!(cli.grants(), (1, 1));
    let id = first["call"].as_str().expect("an id");
    assert!(cli.run(["audit", "tail", "--call", id]).expect(0).stdout.contains("call_finished    ok"));
    owner.interrupt().expect(130);
    // No host can open the folder now: the log can be read even so, and it is said why.
    let ran = cli.run(["audit", "tail", "--call", id]).expect(0).says("error:");
    assert!(ran.stdout.contains("call_finished    ok"), "{ran:?}");

    disk.free();
    let answer = cli.call("notes", "list", "{}").expect(0).answer();
    assert!(answer["structured"].as_array().is_some_and(|kept| kept.len() >= done), "{answer}");
    assert!(cli.log().iter().any(|record| matches!(record.event, Event::Recovered { .. })));
    check(&cli.log(), &BTreeSet::from([id.parse().expect("an id")]), &notes);
}
