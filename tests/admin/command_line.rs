//! The admin's commands with the built program: their exit codes, what they say, what survives a kill.

use portcullis::audit::event::{CallOutcome, Event};
use portcullis::ids::CallId;
use serde_json::json;

use crate::harness::process::{Cli, Ran, Running, grant, notes_folder, spin};
use crate::harness::{AGENT, guest};

const LONG: &str = "limits = { fuel = 1_000_000_000_000, wall_time = \"300s\" }\n";

/// A call that spins until it is stopped.
fn spinning(cli: &Cli) -> (CallId, Running) {
    let running = cli.start_call("spin", "run", "{}");
    let call = cli.wait_for_record("the call is admitted", |record| match &record.event {
        Event::CallAdmitted { context, .. } => {
            let is_over = cli.log().iter().any(|other| {
                matches!(&other.event, Event::CallFinished { context: ended, .. } if ended.call == context.call)
            });
            (!is_over).then_some(context.call)
        }
        _ => None,
    });
    (call, running)
}

#[track_caller]
fn was_stopped(cli: &Cli, call: CallId, ran: Ran, reason: &str) {
    let problem = ran.expect(3).problem();
    assert_eq!(problem["type"], "urn:portcullis:error:stopped");
    assert_eq!(problem["stop"]["denial"]["reason"], reason, "{problem}");
    assert_eq!(problem["call"], json!(call));
    let outcome = cli.wait_for_record("its end", |record| match &record.event {
        Event::CallFinished { context, end } if context.call == call => Some(end.outcome.clone()),
        _ => None,
    });
    assert!(matches!(outcome, CallOutcome::Stopped { .. }), "{outcome:?}");
}

#[test]
fn freeze_and_thaw_from_another_process_and_over_a_kill() {
    let cli = Cli::with("spin", &spin(), LONG);
    let owner = cli.owner();
    let (call, running) = spinning(&cli);
    let status = cli.json(&["status"]);
    assert_eq!((&status["frozen"], &status["running"][0]["call"]), (&json!(null), &json!(call)));
    assert_eq!(status["running"][0]["principal"], AGENT);

    let frozen = cli.json(&["freeze", "--reason", "looking into it"]);
    assert_eq!((&frozen["changed"], &frozen["stopped"]), (&json!(true), &json!([call])));
    was_stopped(&cli, call, running.end(), "frozen");
    let shown = cli.run(["freeze", "--reason", "once more"]).expect(0).stdout;
    assert!(shown.contains("nothing changed") && shown.contains("looking into it"), "{shown}");
    let call = ["call", "spin", "run", "--as", AGENT];
    cli.run(call).expect(3).says("frozen").says("portcullis thaw").says("looking into it");
    let problem = cli.call("spin", "run", "{}").expect(3).problem();
    assert_eq!(problem["denial"]["reason"], "frozen");
    cli.run(["package", "list"]).expect(0).says("FROZEN").says("looking into it");
    cli.run(["package", "list", "--json"]).expect(0).answer();
    cli.run(["status"]).expect(0);

    owner.kill();
    cli.run(call).expect(3).says("frozen");
    cli.run(["thaw"]).expect(0);
    let shown = cli.run(["thaw"]).expect(0).stdout;
    assert!(shown.contains("nothing changed: the host is not frozen"), "{shown}");
    let listed = cli.run(["package", "list"]).expect(0);
    assert!(!listed.stderr.contains("FROZEN"), "{listed:?}");
    let shown = cli.run(["audit", "tail"]).expect(0).stdout;
    for what in ["host_frozen", "looking into it", "host_thawed"] {
        assert!(shown.contains(what), "no {what} in {shown}");
    }
}

#[test]
fn quarantine_and_release_from_another_process() {
    let cli = Cli::with("spin", &spin(), LONG);
    let owner = cli.owner();
    let (call, running) = spinning(&cli);
    cli.run(["package", "quarantine", "spin"]).expect(2).says("--reason");
    cli.run(["package", "quarantine", "spni", "--reason", "r"]).expect(2).says("spni is not registered");
    let ran = cli.run(["package", "quarantine", "spin", "--reason", "it spins"]).expect(0);
    assert!(ran.stdout.contains(&call.to_string()), "{ran:?}");
    was_stopped(&cli, call, running.end(), "quarantined");
    cli.run(["call", "spin", "run", "--as", AGENT]).expect(3).says("quarantined").says("it spins");
    cli.run(["package", "approve", "spin"]).expect(2).says("quarantined").says("it spins");
    let listed = cli.run(["package", "list"]).expect(0).stdout;
    assert!(listed.contains("approved, quarantined"), "{listed}");
    assert_eq!(cli.json(&["grant", "list"])["grants"][0]["effect"], "quarantined");
    let digest = cli.json(&["package", "list"])[0]["digest"].as_str().expect("a digest").to_owned();
    cli.run(["package", "release", "spin", &digest]).expect(2).says("without a digest");
    owner.kill();
    cli.run(["call", "spin", "run", "--as", AGENT]).expect(3).says("quarantined");
    cli.run(["package", "release", "spin"]).expect(0);
    let shown = cli.run(["package", "release", "spin"]).expect(0).stdout;
    assert!(shown.contains("nothing changed"), "{shown}");
    cli.run(["package", "quarantine", "spin", &digest, "--reason", "it spins"]).expect(0);
    cli.run(["package", "release", "spin"]).expect(2).says(&digest);
    cli.run(["package", "release", "spin", &digest]).expect(0);
    cli.run(["package", "approve", "spin"]).expect(0);
}

#[test]
fn a_revoked_grant_ends_the_call_of_another_process() {
    let cli = Cli::with("spin", &spin(), LONG);
    let _owner = cli.owner();
    let (call, running) = spinning(&cli);
    let changed = cli.json(&["grant", "revoke", "1"]);
    assert_eq!(changed["stopped"], json!([call]));
    was_stopped(&cli, call, running.end(), "not_granted");
}

#[test]
fn a_call_is_cancelled_from_another_process() {
    let cli = Cli::with("spin", &spin(), LONG);
    let _owner = cli.owner();
    let (call, running) = spinning(&cli);
    let nobody = CallId::generate();
    cli.run(["cancel", &nobody.to_string()]).expect(2).says("is running");
    cli.run(["cancel", "no-id"]).expect(2);
    assert_eq!(cli.json(&["cancel", &call.to_string()])["call"], json!(call));
    let problem = running.end().expect(3).problem();
    assert_eq!(problem["type"], "urn:portcullis:error:cancelled");
    let outcome = cli.wait_for_record("its end", |record| match &record.event {
        Event::CallFinished { context, end } if context.call == call => Some(end.outcome.clone()),
        _ => None,
    });
    assert_eq!(outcome, CallOutcome::Cancelled);
    let shown = cli.run(["audit", "tail", "--call", &call.to_string()]).expect(0).stdout;
    assert!(shown.contains("call_cancelled"), "{shown}");
}

#[test]
fn what_a_tool_says_of_its_progress_is_shown_beside_the_answer_and_not_in_it() {
    const STEPS: &str = "{\"steps\": 3}";
    let cli = Cli::with("callers", &guest("callers"), "");
    let ran = cli.run(["call", "callers", "report", "--args", STEPS, "--as", AGENT]).expect(0);
    assert!(ran.stderr.contains("the tool says: ") && ran.stderr.contains(" of 3: step "), "{ran:?}");
    assert!(!ran.stdout.contains("step"), "{ran:?}");
    assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
    let ran = cli.call("callers", "report", STEPS).expect(0);
    assert!(!ran.stderr.contains("step"), "{ran:?}");
}

#[test]
fn a_diff_says_what_a_file_would_change_and_changes_nothing() {
    let (cli, _) = Cli::with_notes();
    let same = cli.path("notes.toml").to_str().expect("UTF-8").to_owned();
    let ran = cli.run(["grant", "diff", &same]).expect(0);
    assert!(ran.stdout.contains("nothing to do"), "{ran:?}");
    assert_eq!(cli.json(&["grant", "diff", &same])["changes"], false);

    let narrower = notes_folder("notes").replace("read-write", "read");
    let text = grant("notes", &format!("limits = {{ fuel = 2_000_000_000 }}\n{narrower}"))
        + &grant("notes", "tools = [\"list\"]\n").replace(AGENT, "reseacher");
    let other = cli.file("other.toml", text);
    let before = cli.grants();
    let records = cli.log().len();
    let ran = cli
        .run(["grant", "diff", &other])
        .expect(7)
        .says("reseacher is new")
        .says("did you mean `researcher`?");
    is_lines(
        &ran.stdout,
        &[
            "compared with revision 1, which stays in force",
            "begins    grant 2 of notes for researcher",
            "begins    grant 3 of notes for reseacher",
            "ends      grant 1 of notes for researcher",
            "reseacher with notes:",
            "  + call (list)",
            "researcher with notes:",
            "  + fuel: 2000000000 wasmtime fuel instead of 1000000000",
            "  - /notes: read instead of read and write",
        ],
    );
    let json = cli.run(["grant", "diff", &other, "--json"]).expect(7).answer();
    assert_eq!((&json["changes"], &json["agents"][0]["agent"]), (&json!(true), &json!("reseacher")));
    assert_eq!(json["agents"][1]["narrows"][0]["power"], "access");
    assert_eq!(json["warnings"][0]["line"], 11);
    assert_eq!(cli.grants(), before);
    let changes = cli
        .log()
        .split_off(records)
        .into_iter()
        .filter(|record| matches!(record.event, Event::GrantsChanged { .. }));
    assert_eq!(changes.count(), 0);

    let wrong = cli.file("wrong.toml", "[[grant]]\npackage = \"notes\"\nagnets = [\"a\"]\n");
    cli.run(["grant", "diff", &wrong]).expect(2).says("wrong.toml:3:1").says("did you mean `agents`?");
    let applied = cli.run(["grant", "apply", &other]).expect(0).says("reseacher is new");
    assert!(applied.stdout.contains("  - /notes: read instead of read and write"), "{applied:?}");
    cli.run(["grant", "diff", &other]).expect(0);
}

#[track_caller]
fn is_lines(text: &str, lines: &[&str]) {
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn principals_are_added_listed_and_removed() {
    let cli = Cli::with("std-probe", &guest("std-probe"), LONG);
    cli.call("std-probe", "compute", "{\"rounds\":1}").expect(0);
    cli.run(["principal", "add", "watcher", "--role", "auditor", "--note", "the third floor"]).expect(0);
    let listed = cli.run(["principal", "list"]).expect(0).stdout;
    for what in ["watcher", "auditor", "the third floor", AGENT, "named by grants"] {
        assert!(listed.contains(what), "no {what} in {listed}");
    }
    cli.run(["call", "std-probe", "compute", "--as", "watcher"]).expect(3).says("only agents call tools");
    cli.run(["principal", "remove", "reseacher"]).expect(2).says("did you mean researcher?");
    cli.run(["principal", "remove", AGENT]).expect(0);
    let denied = cli.call("std-probe", "compute", "{\"rounds\":1}").expect(3).problem();
    assert_eq!(denied["denial"]["reason"], "principal_removed");
    let file = cli.path("std-probe.toml").to_str().expect("UTF-8").to_owned();
    cli.run(["grant", "apply", &file]).expect(2).says("std-probe.toml:3").says("was removed by an admin");
    cli.run(["principal", "add", AGENT]).expect(0);
    cli.call("std-probe", "compute", "{\"rounds\":1}").expect(0);
    let json = cli.json(&["principal", "list"]);
    assert_eq!(json[0]["name"], AGENT);
    assert_eq!((&json[0]["grants"], &json[1]["known"]["role"]), (&json!([1]), &json!("auditor")));
    cli.run(["principal", "remove", "local-admin"]).expect(2);
}
