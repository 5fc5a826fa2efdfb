//! What a call asked and answered can be proved to whoever is shown it, guessed by nobody, and erased.

use portcullis::audit::commitment::Opening;
use portcullis::authn::local_admin;
use serde_json::{Value, json};

use crate::harness::process::{Cli, Ran, notes_folder};
use crate::harness::{World, grant, guest};
use crate::secrets::VALUE;

const ASKED: &str = r#"{"name": "one", "text": "a low-entropy answer: yes"}"#;

/// A host that has made a call, with its answer.
struct Asked {
    cli: Cli,
    call: String,
    answer: Value,
}

impl Asked {
    fn new(more: &str) -> Self {
        let cli = Cli::new();
        std::fs::create_dir_all(cli.path("notes")).expect("a folder");
        cli.install("notes", &guest("notes"), &format!("{more}{}", notes_folder("notes")));
        let answer = cli.call("notes", "add", ASKED).expect(0).answer();
        let call = answer["call"].as_str().expect("an id").to_owned();
        Self { cli, call, answer }
    }

    fn receipt(&self) -> String {
        self.cli.file("receipt.json", self.cli.json(&["audit", "prove", &self.call]).to_string())
    }

    fn opening(&self) -> String {
        let file = self.cli.path("opening.json").to_str().expect("UTF-8").to_owned();
        self.cli.run(["audit", "opening", &self.call, "--out", &file]).expect(0);
        file
    }

    fn verify(&self, receipt: &str, more: &[&str]) -> Ran {
        self.cli.run([&["audit", "verify-receipt", receipt], more].concat())
    }

    /// What the API wrote of the answer itself.
    fn result(&self) -> String {
        let mut result = json!({"content": self.answer["content"]});
        if !self.answer["structured"].is_null() {
            result["structured"] = self.answer["structured"].clone();
        }
        result.to_string()
    }
}

#[test]
fn what_is_shown_of_a_call_is_held_against_its_commitments() {
    let asked = Asked::new("");
    let (receipt, opening) = (asked.receipt(), asked.opening());
    let arguments = asked.cli.file("asked.json", ASKED);
    let result = asked.cli.file("answered.json", asked.result());
    let both = ["--opening", &opening, "--arguments", &arguments, "--result", &result];
    let shown = asked.verify(&receipt, &both).expect(0).stdout;
    assert!(shown.contains("what it asked") && shown.contains("what it answered"), "{shown}");
    let verified = asked.verify(&receipt, &[&both[..], &["--json"]].concat()).expect(0);
    let verified: Value = serde_json::from_str(&verified.stdout).expect("JSON");
    assert_eq!(verified["opened"], json!({"arguments": true, "result": true}));

    let lie = asked.cli.file("lie.json", ASKED.replace("yes", "no"));
    let refused = |more: &[&str], why: &str| {
        asked.verify(&receipt, &[&["--opening", &opening], more].concat()).expect(8).says(why);
    };
    refused(&["--arguments", &lie], "the arguments that are shown are not those of the call");
    refused(&["--result", &arguments], "the result that are shown are not those of the call");
    refused(&[], "nothing to hold against");
    let mut other: Opening =
        serde_json::from_str(&std::fs::read_to_string(&opening).expect("text")).expect("JSON");
    other.salt = "11".repeat(32).try_into().expect("a salt");
    let other = asked.cli.file("other.json", serde_json::to_string(&other).expect("JSON"));
    asked.verify(&receipt, &["--opening", &other, "--arguments", &arguments]).expect(8);
    // Of another call.
    let prove = || {
        let again = asked.cli.call("notes", "list", "{}").expect(0).answer();
        asked.cli.json(&["audit", "prove", again["call"].as_str().expect("an id")])
    };
    let (second, third) = (prove(), prove());
    let file = asked.cli.file("second.json", second.to_string());
    asked.verify(&file, &["--opening", &opening, "--arguments", &arguments]).expect(8).says("opens call");
    // The same words give another commitment each time: nobody can tell that they were the same.
    for which in ["arguments_commitment", "result_commitment"] {
        assert!(second["facts"][which].is_string());
        assert_ne!(second["facts"][which], third["facts"][which]);
    }

    let salt =
        std::fs::read_to_string(&opening).expect("text").split('"').nth(11).expect("the salt").to_owned();
    let log = crate::harness::segments(&asked.cli.path("data/audit")).concat();
    assert!(!log.contains("low-entropy") && !log.contains(&salt) && salt.len() == 64, "{salt}");
    let opened = log.lines().filter(|line| line.contains("\"evidence_opened\"")).count();
    assert_eq!(opened, 1, "that it was given is in the log");
    asked.cli.run(["audit", "payload", &asked.call]).expect(2).says("was kept whole");
    asked.cli.run(["audit", "opening", "01890a5d-ac96-774b-bcce-b302099a8057"]).expect(2).says("no call");
}

#[test]
fn payloads_are_kept_where_a_grant_says_so_and_only_encrypted() {
    let asked = Asked::new("record = \"payloads\"\n");
    let shown = asked.cli.json(&["audit", "payload", &asked.call]);
    assert_eq!(shown["arguments"]["value"], serde_json::from_str::<Value>(ASKED).expect("JSON"));
    assert_eq!(shown["result"]["value"]["content"], asked.answer["content"]);
    // The opening with the payloads in it opens the receipt by itself.
    let opening = asked.cli.file("opening.json", shown.to_string());
    let opened = asked.verify(&asked.receipt(), &["--opening", &opening]).expect(0).stdout;
    assert!(opened.contains("what it asked") && opened.contains("what it answered"), "{opened}");
    let mut files = 0;
    for entry in std::fs::read_dir(asked.cli.path("data/payloads/1")).expect("a folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("read");
        assert!(!bytes.windows(11).any(|window| window == b"low-entropy"));
        files += 1;
    }
    assert_eq!(files, 2);
    let log = crate::harness::segments(&asked.cli.path("data/audit")).concat();
    assert!(log.contains("\"payloads\":true") && !log.contains("low-entropy"));
    let wrong = asked.cli.file("wrong.toml", grant("notes").replace("agents", "record = \"all\"\nagents"));
    asked.cli.run(["grant", "apply", &wrong]).expect(2).says("can't be kept");
    assert!(asked.cli.run(["grant", "show", "notes"]).expect(0).stdout.contains("payloads kept"));
}

#[test]
fn erasing_a_principal_leaves_a_log_that_verifies_and_nobody_can_open() {
    let asked = Asked::new("record = \"payloads\"\n");
    let receipt = asked.receipt();
    let before = asked.opening();
    let erased = asked.cli.json(&["audit", "erase", "researcher"]);
    assert_eq!((&erased["keys"], &erased["payloads"]), (&json!([1]), &json!(2)));
    for command in ["opening", "payload"] {
        asked.cli.run(["audit", command, &asked.call]).expect(2).says("were erased at");
    }
    assert!(!asked.cli.path("data/payloads/1").exists());
    asked.cli.run(["audit", "verify"]).expect(0);
    asked.verify(&receipt, &[]).expect(0);
    assert_eq!(asked.cli.json(&["audit", "prove", &asked.call])["record"]["line"], {
        let text = std::fs::read_to_string(&receipt).expect("text");
        serde_json::from_str::<Value>(&text).expect("JSON")["record"]["line"].clone()
    });
    // What was given before is with whoever has it.
    let arguments = asked.cli.file("asked.json", ASKED);
    asked.verify(&receipt, &["--opening", &before, "--arguments", &arguments]).expect(0);
    let log = crate::harness::segments(&asked.cli.path("data/audit")).concat();
    assert!(log.contains("\"event\":\"evidence_erased\",\"name\":\"researcher\",\"keys\":[1]"), "{log}");
    asked.cli.run(["audit", "erase", "researcher"]).expect(2).says("nothing is kept of");
    asked.cli.run(["audit", "erase", "nobody"]).expect(2).says("nothing is kept of");
    // The next call has a key of its own.
    let again = asked.cli.call("notes", "list", "{}").expect(0).answer();
    asked.cli.run(["audit", "payload", again["call"].as_str().expect("an id")]).expect(0);
    asked.cli.run(["audit", "opening", &asked.call]).expect(2);
}

#[test]
fn what_was_kept_of_one_call_is_erased_alone_and_what_opens_it_stays() {
    let asked = Asked::new("record = \"payloads\"\n");
    let other = asked.cli.call("notes", "list", "{}").expect(0).answer();
    let other = other["call"].as_str().expect("an id");
    let erased = asked.cli.json(&["audit", "erase", "--call", &asked.call]);
    assert_eq!((&erased["call"], &erased["payloads"]), (&json!(asked.call), &json!(2)));
    asked.cli.run(["audit", "payload", &asked.call]).expect(2).says("or it was erased");
    asked.cli.run(["audit", "erase", "--call", &asked.call]).expect(2).says("or it was erased");
    asked.cli.run(["audit", "payload", other]).expect(0);
    // Who has the words from elsewhere can be shown to be right.
    let arguments = asked.cli.file("asked.json", ASKED);
    let opening = asked.opening();
    asked.verify(&asked.receipt(), &["--opening", &opening, "--arguments", &arguments]).expect(0);
    asked.cli.run(["audit", "verify"]).expect(0);
    let shown = asked.cli.run(["audit", "tail", "--call", &asked.call]).expect(0).stdout;
    assert!(shown.contains("payload_erased"), "{shown}");
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    asked.cli.run(["audit", "erase", "--call", unknown]).expect(2).says("no call");
    asked.cli.run(["audit", "erase"]).expect(2);
    asked.cli.run(["audit", "erase", "researcher", "--call", other]).expect(2);
}

/// Payloads go with a backup, and are opened where the key of the machine is put back.
#[test]
fn payloads_are_in_a_backup_and_open_with_the_key_that_is_not() {
    let asked = Asked::new("record = \"payloads\"\n");
    let before = asked.cli.json(&["audit", "payload", &asked.call]);
    let archive = asked.cli.path("backup.tar").to_str().expect("UTF-8").to_owned();
    asked.cli.run(["backup", &archive]).expect(0);
    let bytes = std::fs::read(&archive).expect("written");
    assert!(!bytes.windows(11).any(|window| window == b"low-entropy"));
    let mut restored = Cli::new();
    restored.data = asked.cli.path("restored");
    restored.run(["restore", &archive]).expect(0);
    restored.run(["audit", "payload", &asked.call]).expect(1).says("put that back into the data folder");
    std::fs::copy(asked.cli.data.join("evidence.key"), restored.data.join("evidence.key")).expect("copied");
    let after = restored.json(&["audit", "payload", &asked.call]);
    assert_eq!(after["arguments"], before["arguments"]);
    assert_eq!(after["result"], before["result"]);
    // What is erased afterwards is in the backup yet.
    asked.cli.run(["audit", "erase", "researcher"]).expect(0);
    restored.run(["audit", "payload", &asked.call]).expect(0);
}

/// A secret that an agent writes into the arguments is not in what is kept of them, if the call was given it.
#[tokio::test]
async fn payloads_have_no_secrets_of_their_call() {
    let world = World::new().await;
    world.add("secret-holder", guest("secret-holder")).await;
    world.set_secret("github", VALUE).await;
    let granted = grant("secret-holder").replace("agents", "record = \"payloads\"\nagents");
    world.grant(&format!("{granted}[[grant.secrets]]\nname = \"github\"\n")).await;
    let _ = world.call("secret-holder", "length", json!({"name": VALUE})).await;
    let call = world.all_records().iter().rev().find_map(|record| record.event.context().map(|own| own.call));
    let opening =
        world.host.open_evidence(&local_admin(), call.expect("a call"), true).await.expect("opened");
    let kept = opening.arguments.expect("kept");
    assert!(kept.redacted, "{kept:?}");
    assert!(!kept.value.to_string().contains("t0ken"), "{kept:?}");
}
