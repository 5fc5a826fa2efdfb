//! The command line: the whole journey with the built program, its exit codes, and what signals do.

use portcullis::audit::event::{CallOutcome, Event, Record};
use portcullis::ids::CallId;
use serde_json::{Value, json};

use crate::harness::process::{Cli, exists, spin};
use crate::harness::{AGENT, guest};

const SLEEP: &str = "{\"milliseconds\":300000}";
const LONG: &str = "limits = { wall_time = \"300s\" }\n";

#[test]
fn a_tool_is_added_approved_granted_called_logged_and_revoked() {
    let (cli, notes) = Cli::with_notes();
    let note = json!({"name": "milk", "text": "Buy milk\u{1b}[31m"}).to_string();
    let call = ["call", "notes", "add", "--as", AGENT, "--args", &note];
    cli.run(call).expect(0);
    assert!(exists(&notes.join("milk.txt")));
    let ran = cli.run(["call", "notes", "get", "--as", AGENT, "--args", "{\"name\":\"milk\"}"]).expect(0);
    assert_eq!(ran.stdout.trim_end(), "Buy milk", "text of tools is cleaned before a person sees it");
    let id = ran.stderr.split_whitespace().nth(1).expect("call ID · …").to_owned();

    let tail = cli.run(["audit", "tail", "--call", &id]).expect(0).stdout;
    for what in ["call_admitted", "host_call", "/notes/milk.txt: allowed by grant 1", "call_finished    ok"] {
        assert!(tail.contains(what), "no {what} in {tail}");
    }
    cli.run(["call", "notes", "get", "--as", AGENT, "--args", "{\"name\":\"none\"}"])
        .expect(5)
        .says("not-found");
    cli.run(["call", "notes", "list", "--as", "stranger"]).expect(3).says("names agent stranger");
    cli.run(["grant", "revoke", "1"]).expect(0);
    let denied = cli.run(call).expect(3);
    assert!(denied.stdout.is_empty());
    let id = denied.stderr.split_whitespace().last().expect("call ID").to_owned();
    let tail = cli.run(["audit", "tail", "--call", &id]).expect(0).stdout;
    assert!(tail.contains("call_denied"), "{tail}");
    cli.run(["package", "remove", "notes"]).expect(0);
    cli.run(call).expect(2);
}

#[test]
fn the_same_in_json() {
    let cli = Cli::new();
    std::fs::create_dir(cli.path("notes")).expect("made");
    let component = cli.file("notes.wasm", guest("notes"));
    let added = cli.json(&["package", "add", &component, "--name", "notes"]);
    assert_eq!(added["package"], "notes");
    let note = json!({"name": "milk", "text": "Buy milk"}).to_string();
    let denied = cli.call("notes", "add", &note).expect(3).problem();
    assert_eq!((&denied["denial"]["reason"], &denied["blame"]), (&json!("not_approved"), &json!("admin")));
    assert_eq!(cli.json(&["package", "approve", "notes"])["digest"], added["digest"]);
    let denied = cli.call("notes", "add", &note).expect(3).problem();
    assert_eq!(denied["denial"]["reason"], "not_granted");

    let folder = crate::harness::process::notes_folder("notes");
    let grants = cli.file("grants.toml", crate::harness::process::grant("notes", &folder));
    let changed = cli.json(&["grant", "apply", &grants]);
    assert_eq!((&changed["revision"], &changed["granted"]), (&json!(1), &json!([1])));
    let answer = cli.call("notes", "add", &note).expect(0).answer();
    assert_eq!(answer["structured"], json!({"name": "milk", "bytes": 8, "title": "Buy milk"}));
    assert_eq!(cli.json(&["grant", "show", "notes"])["grants"][0]["effect"], "in_force");

    let id = answer["call"].as_str().expect("a call's id");
    let tail = cli.run(["audit", "tail", "--call", id, "--json"]).expect(0).stdout;
    let records: Vec<Record> =
        tail.lines().map(|line| serde_json::from_str(line).expect("one record a line")).collect();
    let last = records.last().expect("records");
    assert!(matches!(records[0].event, Event::CallAdmitted { .. }), "{records:?}");
    assert!(matches!(&last.event, Event::CallFinished { end, .. } if end.outcome == CallOutcome::Ok));
    assert_eq!(answer["record"], json!(last.seq));
    assert!(records.iter().any(|record| matches!(record.event, Event::EffectAttempted { .. })));

    assert_eq!(cli.json(&["grant", "revoke", "1"])["revoked"], json!([1]));
    let denied = cli.call("notes", "list", "{}").expect(3).problem();
    assert_eq!(denied["denial"]["reason"], "not_granted");
}

#[test]
fn a_limit_ends_a_call_with_its_own_exit_code_and_its_name() {
    let cli = Cli::with("spin", &spin(), "limits = { fuel = 1_000_000 }\n");
    cli.run(["call", "spin", "run", "--as", AGENT]).expect(4).says("fuel").says("1000000");
    let problem = cli.call("spin", "run", "{}").expect(4).problem();
    assert_eq!((&problem["limit"]["limit"], &problem["limit"]["max"]), (&json!("fuel"), &json!(1_000_000)));
}

/// The call of a tool that was admitted and has no end yet.
fn running(cli: &Cli, tool: &str, besides: &[CallId]) -> CallId {
    cli.wait_for_record("the call is admitted", |record| match &record.event {
        Event::CallAdmitted { context, .. }
            if context.tool.as_str() == tool && !besides.contains(&context.call) =>
        {
            Some(context.call)
        }
        _ => None,
    })
}

fn outcome(cli: &Cli, call: CallId) -> CallOutcome {
    cli.wait_for_record("the call's end is in the log", |record| match &record.event {
        Event::CallFinished { context, end } if context.call == call => Some(end.outcome.clone()),
        _ => None,
    })
}

#[test]
fn commands_work_beside_a_running_call_and_ctrl_c_cancels_only_its_own() {
    let cli = Cli::with("std-probe", &guest("std-probe"), LONG);
    let owner = cli.start_call("std-probe", "sleep", SLEEP);
    let first = running(&cli, "sleep", &[]);
    let packages = cli.json(&["package", "list"]);
    assert_eq!(packages.as_array().map(Vec::len), Some(1));
    cli.call("std-probe", "compute", "{\"rounds\":10}").expect(0);

    let beside = cli.start_call("std-probe", "sleep", SLEEP);
    let second = running(&cli, "sleep", &[first]);
    let ran = beside.interrupt().expect(130);
    assert!(ran.stdout.is_empty(), "{ran:?}");
    assert_eq!(outcome(&cli, second), CallOutcome::Cancelled);
    let ended = |call: CallId| {
        let is_end = |record: &Record| matches!(&record.event, Event::CallFinished { context, .. } if context.call == call);
        cli.log().iter().any(is_end)
    };
    assert!(!ended(first), "the owner's own call goes on");

    owner.interrupt().expect(130);
    assert_eq!(outcome(&cli, first), CallOutcome::Cancelled);
    assert!(matches!(cli.log().last().map(|record| &record.event), Some(Event::HostStopped { .. })));
}

#[test]
fn after_a_killed_owner_the_next_command_takes_the_folder_and_the_log_says_so() {
    let cli = Cli::with("std-probe", &guest("std-probe"), LONG);
    let owner = cli.start_call("std-probe", "sleep", SLEEP);
    let call = running(&cli, "sleep", &[]);
    let beside = cli.start_call("std-probe", "sleep", SLEEP);
    let other = running(&cli, "sleep", &[call]);
    assert_eq!(owner.kill().status.code(), None, "a signal ended it");
    // Whoever waited for it is told, with where to look.
    beside.end().expect(1).says("audit tail");
    assert!(exists(&cli.data.join("owner.sock")), "what a dead owner leaves");

    let shown = cli.run(["audit", "tail"]).expect(0).stdout;
    assert!(shown.contains("2 calls had been interrupted"), "{shown}");
    let interrupted = cli.wait_for_record("the log says that it was mended", |record| match &record.event {
        Event::Recovered { interrupted, .. } => Some(interrupted.clone()),
        _ => None,
    });
    assert_eq!(interrupted, [call, other]);
    assert_eq!(outcome(&cli, call), CallOutcome::Interrupted);
    assert_eq!(outcome(&cli, other), CallOutcome::Interrupted);
    cli.call("std-probe", "compute", "{\"rounds\":10}").expect(0);
}

/// What a host starts is of no use to a person, and says so instead of waiting.
#[test]
fn the_compiler_is_not_for_people() {
    let mut command = std::process::Command::new(crate::harness::process::program());
    command.arg(portcullis::sandbox::compiler::COMPILE_ARGUMENT);
    let ran = crate::harness::process::Running::start(command).end().expect(1).says("started by a host");
    assert!(ran.stdout.is_empty(), "{ran:?}");
}

/// The compiler's process does not outlive a host that was killed.
#[test]
fn a_killed_owner_takes_its_compiler_along() {
    let cli = Cli::new();
    let file = cli.file("python.wasm", guest("python"));
    let owner = cli.start(["package", "add", &file, "--name", "python"]);
    let mut compiler = None;
    crate::harness::process::wait_until("it compiles", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", owner.id())).expect("it runs");
        compiler = tasks.filter_map(Result::ok).find_map(|task| {
            let children = std::fs::read_to_string(task.path().join("children")).ok()?;
            children.split_whitespace().next()?.parse::<u32>().ok()
        });
        // It is bound to its host once it has lowered its own limits.
        compiler.is_some_and(|pid| {
            let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
            limits.lines().any(|line| line.starts_with("Max open files") && line.contains(" 16 "))
        })
    });
    std::thread::sleep(std::time::Duration::from_millis(100));
    owner.kill();
    let process = std::path::PathBuf::from(format!("/proc/{}", compiler.expect("it was found")));
    crate::harness::process::wait_until("the compiler is gone", || {
        // Whoever inherits it may take its time to reap it.
        let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    });
    // Nothing was registered, and nothing is in the way of another try.
    let packages = cli.json(&["package", "list"]);
    assert_eq!(packages.as_array().map(Vec::len), Some(0));
}

#[test]
fn a_data_folder_that_can_not_be_used_is_named_with_a_way_out() {
    let mut cli = Cli::new();
    let file = cli.file("file", "not a folder");
    // The last is a file system that takes no folders, whoever asks.
    for path in [file.as_str(), "/sys/portcullis"] {
        cli.data = path.into();
        let ran = cli.run(["package", "list"]).expect(1).says(path).says("--data-dir");
        assert!(ran.stdout.is_empty(), "{ran:?}");
        let problem = cli.run(["package", "list", "--json"]).expect(1).problem();
        assert_eq!(problem["blame"], Value::from("host"));
    }
    assert_eq!(std::fs::read(file).expect("there"), b"not a folder");
}

#[test]
fn state_is_listed_and_cleared_beside_a_running_host_and_without_one() {
    let rule = "[[grant.keyvalue]]\nstore = \"default\"\nscope = \"agent\"\naccess = \"read-write\"\n";
    let cli = Cli::with("state", &guest("state"), rule);
    let set = json!({"store": "default", "key": "secret-key", "value": "secret-value"}).to_string();
    assert!(cli.run(["state", "list"]).expect(0).stdout.contains("no state is kept"));
    let server = cli.serve();
    cli.call("state", "set", &set).expect(0);
    let listed = cli.run(["state", "list"]).expect(0);
    assert!(["state", "default", AGENT, "22"].iter().all(|part| listed.stdout.contains(part)), "{listed:?}");
    assert!(!listed.stdout.contains("secret"), "{listed:?}");
    cli.run(["state", "clear", "state", "default"]).expect(2).says("for all agents; `portcullis state list`");
    let cleared = cli.json(&["state", "clear", "state", "default", "--agent", AGENT]);
    assert_eq!(
        (&cleared["keys"], &cleared["bytes"], &cleared["store"]),
        (&json!(1), &json!(22), &json!("default"))
    );
    cli.call("state", "set", &set).expect(0);
    drop(server);
    let listed = cli.json(&["state", "list", "state"]);
    assert_eq!(
        listed["stores"],
        json!([{"package": "state", "agent": AGENT, "store": "default", "bytes": 22, "keys": 1}])
    );
    let cleared = cli.run(["state", "clear", "state", "default", "--agent", AGENT]).expect(0);
    assert!(cleared.stdout.contains("cleared store default of package state for agent"), "{cleared:?}");
    assert_eq!(cli.json(&["state", "list"]), json!({"stores": [], "is_whole": true}));
    let cleared =
        cli.log().iter().filter(|record| matches!(record.event, Event::StateCleared { .. })).count();
    assert_eq!(cleared, 2);
}
