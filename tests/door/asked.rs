//! What auditors ask over the network: the same answers as beside the data folder, page by page, and proofs that hold
//! elsewhere.

use std::os::unix::fs::PermissionsExt as _;

use portcullis::audit::event::Event;
use serde_json::{Value, json};

use super::Door;
use crate::harness::AGENT;
use crate::harness::client::{Answer, Client};
use crate::harness::process::{Cli, wait_until};

const CALLS: usize = 5;

/// A host on which an agent kept some notes.
fn door() -> Door {
    let door = Door::open();
    door.cli.install_notes();
    let agent = door.caller(AGENT, "agent");
    for number in 0..CALLS {
        let note = json!({"name": format!("note-{number}"), "text": "x"}).to_string();
        agent.ask("POST", "/v1/calls?package=notes&tool=add", note.as_bytes()).expect(200);
    }
    door
}

fn lines(answer: &Answer) -> Vec<String> {
    let text = String::from_utf8(answer.body.clone()).expect("records are UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// The options that name the host to a command that runs elsewhere.
fn asking(door: &Door, client: &Client, name: &str) -> [String; 4] {
    let key = door.cli.file(name, client.key.as_ref().expect("a key"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("set");
    let url = format!("http://127.0.0.1:{}", door.anonymous.port);
    ["--server".to_owned(), url, "--key-file".to_owned(), key]
}

fn with<'a>(options: &'a [String; 4], words: &[&'a str]) -> Vec<&'a str> {
    options.iter().map(String::as_str).chain(words.iter().copied()).collect()
}

#[test]
fn records_are_found_page_by_page_as_they_stand_in_the_log() {
    let door = door();
    let auditor = door.caller("the-auditor", "auditor");
    let ran = door.cli.run(["audit", "query", "--event", "call_finished", "--json"]).expect(0);
    let beside: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
    assert_eq!(beside.len(), CALLS);

    let whole = auditor.get("/v1/audit/query?event=call_finished").expect(200);
    assert_eq!((lines(&whole), whole.header("portcullis-next")), (beside.clone(), None));
    let newest = auditor.get("/v1/audit/query?event=call_finished&order=newest").expect(200);
    assert_eq!(lines(&newest), beside.iter().rev().cloned().collect::<Vec<_>>());
    let (mut paged, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = auditor.get(&format!("/v1/audit/query?event=call_finished&limit=2{after}")).expect(200);
        paged.extend(lines(&page));
        pages += 1;
        let Some(next) = page.header("portcullis-next") else { break };
        after = format!("&after={next}");
    }
    assert_eq!((paged, pages), (beside.clone(), CALLS.div_ceil(2)));
    // Each part narrows, and its twin finds nothing.
    for (part, count) in [
        ("principal=researcher", CALLS),
        ("principal=nobody", 0),
        ("package=notes", CALLS),
        ("package=nothing", 0),
        ("outcome=ok", CALLS),
        ("outcome=trapped", 0),
        ("since=2020-01-01T00:00:00Z", CALLS),
        ("until=2020-01-01T00:00:00Z", 0),
        ("decision=denied", 0),
    ] {
        let found = auditor.get(&format!("/v1/audit/query?event=call_finished&{part}")).expect(200);
        assert_eq!(lines(&found).len(), count, "{part}");
    }
    let written = auditor.get("/v1/audit/query?subject=/notes/*&function=*open*").expect(200);
    assert!(!lines(&written).is_empty(), "no file was opened");
    for bad in
        ["limit=0", "limit=1001", "event=nothing", "outcome=nothing", "since=yesterday", "after=-1", "x=1"]
    {
        let answer = auditor.get(&format!("/v1/audit/query?{bad}"));
        assert_eq!(answer.problem(), (400, "bad-input".to_owned()), "{bad}");
    }
}

#[test]
fn commands_ask_a_host_in_the_network_what_they_ask_beside_its_data_folder() {
    let door = door();
    let auditor = asking(&door, &door.caller("the-auditor", "auditor"), "auditor.key");
    let admin = asking(&door, &door.admin, "first.key");
    let elsewhere = Cli::new();
    for words in [
        &["audit", "query", "--event", "call_finished", "--json"] as &[&str],
        &["audit", "query", "--event", "call_finished", "--csv"],
        &["audit", "query", "--principal", AGENT, "--order", "newest", "--limit", "3"],
    ] {
        let far = elsewhere.run(with(&auditor, words)).expect(0);
        assert_eq!(far.stdout, door.cli.run(words).expect(0).stdout, "{words:?}");
        assert!(!far.stdout.is_empty());
    }
    let call = door.cli.wait_for_record("a call has ended", |record| match &record.event {
        Event::CallFinished { context, .. } => Some(context.call.to_string()),
        _ => None,
    });
    let show = ["audit", "show", call.as_str(), "--json"];
    let far = elsewhere.run(with(&auditor, &show)).expect(0).answer();
    assert_eq!(far, door.cli.run(show).expect(0).answer());
    assert!(far["records"].as_array().is_some_and(|records| records.len() > 2), "{far}");

    // What was proved there holds here, with the public key alone.
    let key = elsewhere.run(with(&auditor, &["audit", "key", "show"])).expect(0).stdout;
    let key = elsewhere.file("audit.pub", key);
    let (receipt, proof) = (elsewhere.path("receipt.json"), elsewhere.path("proof.json"));
    let (receipt, proof) = (receipt.to_str().expect("ours"), proof.to_str().expect("ours"));
    wait_until("a checkpoint covers the call", || {
        let words = ["audit", "prove", &call, "--with-records", "--out", receipt];
        elsewhere.run(with(&auditor, &words)).status.success()
    });
    elsewhere.run(["audit", "verify-receipt", receipt, "--key", &key]).expect(0);
    let checkpoint = door.admin.get("/v1/audit/checkpoint").expect(200);
    let earlier = elsewhere.file("earlier.checkpoint", &checkpoint.body);
    door.cli.run(["principal", "add", "somebody", "--role", "agent"]).expect(0);
    wait_until("the host signs again", || door.admin.get("/v1/audit/checkpoint").body != checkpoint.body);
    elsewhere.run(with(&auditor, &["audit", "consistency", "--from", &earlier, "--out", proof])).expect(0);
    elsewhere.run(["audit", "verify-consistency", proof, "--key", &key, "--from", &earlier]).expect(0);
    elsewhere.run(with(&auditor, &["audit", "rotations"])).expect(0);

    // The index is made anew by an admin, and by nobody else.
    elsewhere.run(with(&admin, &["audit", "reindex"])).expect(0);
    elsewhere.run(with(&auditor, &["audit", "reindex"])).expect(3);
    // What verifies trusts no host's word, so that it does not ask one.
    elsewhere.run(with(&auditor, &["audit", "verify"])).expect(2);
    let settings = elsewhere.run(with(&auditor, &["settings", "--json"])).expect(0).answer();
    let fuel = settings["limits"].as_array().expect("a list").iter().find(|limit| limit["limit"] == "fuel");
    assert_eq!(fuel.expect("a limit")["default"], 1_000_000_000);
    assert_eq!(settings["audit"]["durability"], "committed");
}

#[test]
fn what_cant_be_proved_is_said_in_words_of_the_api() {
    let door = Door::open();
    let unknown = "/v1/audit/calls/01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(door.admin.get(unknown).problem(), (404, "not-found".to_owned()));
    assert_eq!(door.admin.get(&format!("{unknown}/receipt")).problem(), (404, "not-found".to_owned()));
    let ask = |body: Value| door.admin.ask("POST", "/v1/audit/consistency", body.to_string().as_bytes());
    assert_eq!(ask(json!({"from": "nothing"})).problem(), (400, "bad-input".to_owned()));
    let newest = door.admin.get("/v1/audit/checkpoint").expect(200);
    let newest = String::from_utf8(newest.body).expect("a note is UTF-8");
    assert_eq!(ask(json!({"from": newest.replace('\n', "\r\n")})).problem().0, 400);
    ask(json!({"from": newest})).expect(200);
}
