//! Backup and restore: of one moment while calls and changes go on, and into a new folder only.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis::audit::event::{CallOutcome, Event, Record};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::client::Client;
use crate::harness::process::{Cli, Running, exists};

const WORKERS: usize = 2;

/// Ends the workers, even if the test fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn restored(cli: &Cli, archive: &str, name: &str) -> Cli {
    let mut other = Cli::new();
    other.data = cli.path(name);
    let ran = other.run(["restore", archive]).expect(0);
    assert!(ran.stdout.contains("restored into"), "{ran:?}");
    other
}

fn calls_that_ended(log: &[Record]) -> BTreeSet<String> {
    let ended = log.iter().filter_map(|record| match &record.event {
        Event::CallFinished { context, end } if end.outcome == CallOutcome::Ok => {
            Some(context.call.to_string())
        }
        _ => None,
    });
    ended.collect()
}

#[test]
fn a_backup_is_of_one_moment_while_calls_and_changes_go_on() {
    let (cli, _) = Cli::with_notes();
    let text = std::fs::read_to_string(cli.path("notes.toml")).expect("there");
    let server = cli.serve();
    let stop = AtomicBool::new(false);
    let acknowledged = Mutex::new(BTreeSet::new());
    let archives: Vec<(String, BTreeSet<String>)> = std::thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        for worker in 0..WORKERS {
            let (cli, stop, acknowledged) = (&cli, &stop, &acknowledged);
            scope.spawn(move || {
                for count in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let note = json!({"name": format!("w{worker}-{count}"), "text": "kept"}).to_string();
                    let answer = cli.call("notes", "add", &note).expect(0).answer();
                    let call = answer["call"].as_str().expect("an id").to_owned();
                    acknowledged.lock().expect("not poisoned").insert(call);
                }
            });
        }
        let (admin, stop_admin, text) = (&cli, &stop, &text);
        scope.spawn(move || {
            for count in 0_u32.. {
                if stop_admin.load(Ordering::SeqCst) {
                    return;
                }
                let other = text.replace("agents = [\"", &format!("agents = [\"agent-{count}\", \""));
                let file = admin.file("changing.toml", other);
                admin.run(["grant", "apply", &file]).expect(0);
            }
        });
        (0..3)
            .map(|number| {
                let before = acknowledged.lock().expect("not poisoned").clone();
                let archive = cli.path(&format!("backup-{number}.tar")).to_str().expect("ours").to_owned();
                cli.run(["backup", &archive]).expect(0);
                (archive, before)
            })
            .collect()
    });
    server.signal(Signal::TERM);
    server.end().expect(0);
    for (number, (archive, before)) in archives.into_iter().enumerate() {
        let mode = std::fs::metadata(&archive).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let other = restored(&cli, &archive, &format!("restored-{number}"));
        let log = other.log();
        for (record, expected) in log.iter().zip(0..) {
            assert_eq!(record.seq.0, expected, "no gaps");
        }
        assert!(before.is_subset(&calls_that_ended(&log)), "what was acknowledged before is in it");
        assert!(log.iter().any(|record| matches!(record.event, Event::BackupTaken { .. })));
        assert!(log.iter().any(|record| matches!(record.event, Event::Restored { .. })));
        // It settles, agrees with its log, and works.
        assert_eq!(other.grants().1, 1);
        other.run(["doctor"]).expect(0);
        other.call("notes", "list", "{}").expect(0);
    }
}

#[test]
fn a_backup_has_what_belongs_to_the_host_and_nothing_of_the_machine() {
    let (cli, _) = Cli::with_notes();
    let limits = "[limits]\nfuel = { ceiling = 900_000_000 }\n";
    std::fs::write(cli.data.join("limits.toml"), limits).expect("written");
    let serving = "allowed_hosts = [\"tools.example.org\"]\n";
    std::fs::write(cli.data.join("serve.toml"), serving).expect("written");
    cli.call("notes", "list", "{}").expect(0);
    let made = cli.json(&["key", "create", crate::harness::AGENT]);
    let archive = cli.path("backup.tar").to_str().expect("ours").to_owned();
    let said = cli.json(&["backup", &archive]);
    assert_eq!((&said["components"], &said["revision"]), (&json!(1), &json!(2)));
    let mut command = Command::new("tar");
    command.args(["--list", "--file", &archive]);
    let names = Running::start(command).end().expect(0).stdout;
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(names.first(), Some(&"portcullis.db"));
    assert_eq!(names.last(), Some(&"manifest.json"));
    assert!(!names.iter().any(|name| name.contains("artifact") || name.contains("owner")), "{names:?}");
    // Without its limits the restored host would allow more.
    let other = restored(&cli, &archive, "with-limits");
    assert_eq!(std::fs::read_to_string(other.data.join("limits.toml")).expect("there"), limits);
    let other = restored(&cli, &archive, "restored");
    let key = |cli: &Cli| std::fs::read(cli.data.join("artifact.key")).expect("made at the first start");
    assert_ne!(key(&cli), key(&other), "each host has a key of its own");
    other.call("notes", "list", "{}").expect(0);
    // It is served as before, and lets the same keys in.
    assert_eq!(std::fs::read_to_string(other.data.join("serve.toml")).expect("there"), serving);
    let (server, port) = other.serve_network(&[]);
    let agent = Client::new(port).with_key(made["token"].as_str().expect("a key"));
    agent.exchange(&agent.head("GET", "/v1/tools", "host: tools.example.org\r\n"), b"").expect(200);
    server.interrupt().expect(0);
}

#[test]
fn neither_replaces_what_is_there() {
    let (cli, _) = Cli::with_notes();
    let archive = cli.path("backup.tar").to_str().expect("ours").to_owned();
    cli.run(["backup", &archive]).expect(0);
    let first = std::fs::read(&archive).expect("there");
    cli.run(["backup", &archive]).expect(2).says("--force");
    assert_eq!(std::fs::read(&archive).expect("there"), first);
    cli.run(["backup", &archive, "--force"]).expect(0);
    assert_ne!(std::fs::read(&archive).expect("there"), first);
    cli.run(["backup", "nowhere/backup.tar"]).expect(2).says("nowhere");

    // Into the folder that it is of, or any other with something in it.
    let before = cli.log().len();
    cli.run(["restore", &archive]).expect(2).says("not empty");
    assert_eq!(cli.log().len(), before);
    let mut other = Cli::new();
    std::fs::create_dir(&other.data).expect("made");
    std::fs::write(other.data.join("mine"), "kept").expect("written");
    other.run(["restore", &archive]).expect(2).says("not empty");
    assert_eq!(std::fs::read_dir(&other.data).expect("there").count(), 1);
    // The twin: an empty one is taken.
    other.data = other.path("empty");
    std::fs::create_dir(&other.data).expect("made");
    other.run(["restore", &archive]).expect(0);
    other.call("notes", "list", "{}").expect(0);
}

#[test]
fn what_is_no_whole_backup_makes_nothing() {
    let (cli, _) = Cli::with_notes();
    let archive = cli.path("backup.tar").to_str().expect("ours").to_owned();
    cli.run(["backup", &archive]).expect(0);
    let bytes = std::fs::read(&archive).expect("there");
    let other = Cli::new();
    let mut flipped = bytes.clone();
    flipped[600] ^= 1;
    for (name, bytes) in
        [("cut.tar", &bytes[..bytes.len() / 2]), ("flipped.tar", &flipped), ("text.tar", b"text")]
    {
        let file = other.file(name, bytes);
        other.run(["restore", &file]).expect(2).says("not a whole backup");
        assert!(!exists(&other.data), "{name}");
    }
    other.run(["restore", "nowhere.tar"]).expect(2).says("nowhere.tar");
    assert!(!exists(&other.data));
}

/// A restore that is killed leaves a folder that no host takes for a new one.
#[test]
fn half_a_restore_is_refused() {
    let (cli, _) = Cli::with_notes();
    std::fs::create_dir(cli.data.join("restoring")).expect("made");
    cli.run(["package", "list"]).expect(1).says("half of a backup").says("restore again");
    std::fs::remove_dir(cli.data.join("restoring")).expect("removed");
    cli.run(["package", "list"]).expect(0);
}
