//! What the log can be asked by the built program: beside a host, without one, and of a copy that can't be written.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::AGENT;
use crate::harness::process::Cli;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

#[test]
fn the_log_is_asked_beside_a_host_and_without_one() {
    let (cli, _) = Cli::with_notes();
    let owner = cli.serve();
    let note = json!({"name": "milk", "text": "Buy milk"}).to_string();
    let call = cli.call("notes", "add", &note).expect(0).answer()["call"].as_str().expect("an id").to_owned();
    cli.run(["call", "notes", "list", "--as", "stranger"]).expect(3);
    for beside in [true, false] {
        let denied = cli.run(["audit", "query", "--decision", "denied", "--json"]).expect(0);
        let denied = lines(&denied.stdout);
        assert_eq!(denied.len(), 1, "{denied:?}");
        assert_eq!(
            (&denied[0]["event"], &denied[0]["principal"]),
            (&json!("call_denied"), &json!("stranger"))
        );
        let written =
            ["audit", "query", "--subject", "/notes/milk*", "--since", "1h", "--principal", AGENT, "--json"];
        let written = cli.run(written).expect(0).stdout;
        assert!(lines(&written).iter().any(|record| record["event"] == "effect_finished"), "{written}");
        let segment =
            std::fs::read_to_string(cli.data.join("audit/00000000000000000000.jsonl")).expect("text");
        assert!(written.lines().all(|line| segment.contains(&format!("{line}\n"))), "the log's own lines");
        let unindexed = cli.run(["audit", "query", "--call", &call, "--no-index", "--json"]).expect(0).stdout;
        assert_eq!(cli.run(["audit", "query", "--call", &call, "--json"]).expect(0).stdout, unindexed);
        assert_eq!(cli.run(["audit", "query", "--until", "1h"]).expect(0).stdout, "", "nothing is that old");
        let newest =
            cli.run(["audit", "query", "--order", "newest", "--limit", "2", "--json"]).expect(0).stdout;
        let seqs: Vec<u64> =
            lines(&newest).iter().map(|record| record["seq"].as_u64().expect("a number")).collect();
        assert_eq!(seqs.len(), 2);
        assert_eq!(seqs[0], seqs[1] + 1);
        let csv = cli.run(["audit", "query", "--call", &call, "--csv"]).expect(0).stdout;
        assert!(csv.starts_with("seq,time,event,call,"), "{csv}");
        assert_eq!(csv.lines().count(), lines(&unindexed).len() + 1);
        let story = cli.run(["audit", "show", &call]).expect(0).stdout;
        for what in [
            "notes add as researcher",
            "├─ +",
            "admitted by grants 1",
            "/notes/milk.txt",
            "└─ +",
            "finished: ok",
        ] {
            assert!(story.contains(what), "no {what} in {story}");
        }
        assert_eq!(cli.json(&["audit", "show", &call])["call"], json!(call));
        if beside {
            assert!(cli.data.join("owner.sock").exists());
        } else {
            break;
        }
        let reindexed = cli.json(&["audit", "reindex"]);
        assert!(reindexed["records"].as_u64().expect("a number") > 5, "{reindexed}");
    }
    owner.interrupt().expect(0);
    let unknown = cli.run(["audit", "show", "01890a5d-ac96-774b-bcce-b302099a8057"]).expect(2);
    unknown.says("the log has no call");
}

/// A caller's trace is in the call's records and those of what it led to, and a malformed one is refused.
#[test]
fn a_call_belongs_to_its_callers_trace() {
    let (cli, _) = Cli::with_notes();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call =
        |trace: &str| cli.run(["call", "notes", "list", "--as", AGENT, "--json", "--traceparent", trace]);
    let traced = call(trace).expect(0).answer()["call"].as_str().expect("an id").to_owned();
    call("00-0-0-0").expect(2).says("traceparent");
    let untraced =
        cli.call("notes", "list", "{}").expect(0).answer()["call"].as_str().expect("an id").to_owned();
    for (call, expected) in [(traced, json!(trace)), (untraced, Value::Null)] {
        let records = cli.run(["audit", "query", "--call", &call, "--json"]).expect(0).stdout;
        let records = lines(&records);
        assert!(records.iter().all(|record| record["trace"] == expected), "{records:?}");
    }
}

#[test]
fn questions_that_nothing_can_answer_are_refused() {
    let (cli, _) = Cli::with_notes();
    for (words, says) in [
        (&["--event", "hostcall"][..], "`host_call`"),
        (&["--outcome", "failed"], "`tool_error`"),
        (&["--decision", "maybe"], "possible values: allowed, denied"),
        (&["--since", "yesterday"], "how long ago"),
        (&["--principal", "group:a"], "principal name"),
        (&["--csv", "--json"], "cannot be used with"),
        (&["--folder", "/nowhere"], "there is no log"),
    ] {
        cli.run(["audit", "query"].iter().chain(words)).expect(2).says(says);
    }
}

/// Auditors have copies that they must not change.
#[test]
fn a_copy_that_can_not_be_written_is_read_and_stays_as_it_is() {
    let (cli, _) = Cli::with_notes();
    cli.run(["call", "notes", "list", "--as", "stranger"]).expect(3);
    let copy = cli.path("copy");
    std::fs::create_dir(&copy).expect("made");
    let segment = "00000000000000000000.jsonl";
    std::fs::copy(cli.data.join("audit").join(segment), copy.join(segment)).expect("copied");
    // What is no database can't be an index, for root too, who may write to folders that can't be written.
    std::fs::create_dir(copy.join("index.db")).expect("made");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o500)).expect("a folder of ours");
    let folder = copy.to_str().expect("UTF-8");
    let ran = cli.run(["audit", "query", "--folder", folder, "--decision", "denied", "--json"]).expect(0);
    assert_eq!(lines(&ran.stdout).len(), 1);
    ran.says("The log itself is read");
    cli.run(["audit", "reindex", "--folder", folder]).expect(1).says("can't be used");
    assert_eq!(std::fs::read_dir(&copy).expect("listed").count(), 2);
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o700)).expect("a folder of ours");
}

/// The twin of each outlet that works is one that does not; `host/src/outlets/tests.rs` has peers that misbehave.
#[test]
fn records_and_checkpoints_go_out_while_the_host_runs_and_its_numbers_can_be_read() {
    let (cli, _) = Cli::with_notes();
    let (events, checkpoints) = (cli.path("ocsf.jsonl"), cli.path("checkpoints.jsonl"));
    let settings = format!(
        "[[ship]]\nname = \"siem\"\nkind = \"file\"\npath = \"{}\"\n\
         [[anchor]]\nname = \"usb\"\nkind = \"file\"\nevery = \"100ms\"\npath = \"{}\"\n",
        events.display(),
        checkpoints.display()
    );
    std::fs::write(cli.data.join("audit.toml"), settings).expect("written");
    let owner = cli.serve();
    let note = json!({"name": "milk", "text": "Buy milk"}).to_string();
    cli.call("notes", "add", &note).expect(0);
    cli.run(["call", "notes", "list", "--as", "stranger"]).expect(3);
    crate::harness::process::wait_until("both have everything", || {
        let outlets = cli.json(&["audit", "outlets"]);
        let outlets = outlets.as_array().expect("a list");
        outlets.len() == 2 && outlets.iter().all(|outlet| outlet["behind"] == json!(0))
    });
    let table = cli.run(["audit", "anchors"]).expect(0).stdout;
    assert!(table.contains("usb") && table.contains("works"), "{table}");
    let shipped = lines(&std::fs::read_to_string(&events).expect("text"));
    assert!(shipped.iter().any(|event| event["action_id"] == json!(2)), "what was denied is there");
    for event in &shipped {
        let raw: Value = serde_json::from_str(event["raw_data"].as_str().expect("text")).expect("a record");
        assert_eq!(raw["seq"], event["metadata"]["sequence"]);
    }
    let metrics = cli.run(["metrics"]).expect(0).stdout;
    for line in [
        "portcullis_calls_total{outcome=\"ok\"} 1",
        "portcullis_calls_denied_total{reason=\"not_granted\"} 1",
        "portcullis_log_failed 0",
        "portcullis_outlet_alarm{name=\"siem\",kind=\"ship\"} 0",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in {metrics}");
    }
    let number = |name: &str| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().parse::<u64>().ok())
    };
    assert!(
        number("portcullis_log_sync_seconds_count ") > Some(0),
        "an answer waits for the disk: {metrics}"
    );
    assert!(number("portcullis_log_queue_units ") <= Some(65_536), "{metrics}");
    owner.interrupt().expect(0);
    let events = std::fs::read_to_string(&events).expect("text");
    assert!(events.contains("host_stopped"), "the last record is shipped when the host stops");
    let last = std::fs::read_to_string(&checkpoints).expect("text");
    let last: Value = serde_json::from_str(last.lines().last().expect("a line")).expect("JSON");
    let kept = cli.file("kept.checkpoint", last["checkpoint"].as_str().expect("a note"));
    cli.run(["audit", "verify", "--checkpoint", &kept]).expect(0);
}

#[test]
fn an_anchor_that_is_required_and_fails_stops_calls_and_nothing_else() {
    let (cli, _) = Cli::with_notes();
    let settings = "[[anchor]]\nname = \"vault\"\nkind = \"command\"\ncommand = [\"/bin/false\"]\nevery = \"100ms\"\n\
                    required = true\nlag_max = \"1s\"\n";
    std::fs::write(cli.data.join("audit.toml"), settings).expect("written");
    let owner = cli.serve();
    let mut refused = None;
    crate::harness::process::wait_until("calls are refused", || {
        let ran = cli.run(["call", "notes", "list", "--as", AGENT]);
        refused = (ran.status.code() == Some(1)).then_some(ran);
        refused.is_some()
    });
    refused.expect("it was waited for").says("anchor `vault` is required");
    cli.run(["audit", "anchors"]).expect(1).says("ended with");
    cli.run(["grant", "revoke", "1"]).expect(0);
    cli.run(["audit", "query", "--limit", "1"]).expect(0);
    owner.interrupt().expect(0);
    std::fs::write(cli.data.join("audit.toml"), "[[anchor]]\nname = \"vault\"\n").expect("written");
    cli.run(["package", "list"]).expect(2).says("`kind` is missing");
}
