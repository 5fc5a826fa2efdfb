//! What nobody here thought of: schemathesis makes requests of the description of the API, good and bad ones, and holds
//! each answer against it. Once for each role, and once without a key.
//!
//! `cargo xtask clients` installs it, by the list in `tests/clients/schemathesis`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portcullis::audit::event::Event;
use serde_json::json;

use super::Door;
use crate::harness::AGENT;
use crate::harness::client::Client;
use crate::harness::process::Running;
use crate::harness::soak::Plan;

/// Requests that are made at random for each operation and role, beside those that cover its schemas.
const EXAMPLES: &str = "20";
/// A pass takes some ten seconds on two idle cores.
const PASS_TIME_MAX: Duration = Duration::from_secs(900);
/// The operations that it is kept from: MCP's own suite asks those.
const LEFT_OUT: usize = 4;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/schemathesis")
}

/// Lets it ask in the name of whoever has the client's key, who is called `name`.
fn pass(door: &Door, client: &Client, name: &str, seed: u64) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/clients/schemathesis/environment/bin/schemathesis");
    assert!(program.exists(), "no {}: run `cargo xtask clients` first", program.display());
    let folder = door.cli.path("schemathesis");
    std::fs::create_dir_all(&folder).expect("a folder");
    for file in ["hooks.py", "schemathesis.toml"] {
        std::fs::copy(sources().join(file), folder.join(file)).expect("copied");
    }
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json"))
        .args(["--url", &format!("http://127.0.0.1:{}", client.port), "--no-color"])
        .args(["--max-examples", EXAMPLES, "--seed", &seed.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(&folder);
    if let Some(key) = &client.key {
        command.args(["-H", &format!("Authorization: Bearer {key}")]);
        // What it must leave alone, so that it is let in until the end.
        command.env("PORTCULLIS_SELF", format!("{name},{}", &key[..16]));
    }
    let ran = Running::start(command).end_within(PASS_TIME_MAX);
    assert!(ran.status.success(), "{name}, seed {seed}:\n{}\n{}", ran.stdout, ran.stderr);
    // It did ask: one that is told to leave everything out would not fail by itself.
    let operations = crate::harness::described::operations().len() - LEFT_OUT;
    assert!(ran.stdout.contains(&format!("Tested: {operations}")), "{}", ran.stdout);
    assert!(ran.stdout.contains("No issues found"), "{}", ran.stdout);
    if client.key.is_some() {
        let answer = client.get("/v1/openapi.json");
        assert_eq!(answer.status, 200, "{name} is let in no more, so that what it asked last tells nothing");
    }
    assert_eq!(door.anonymous.get("/healthz").status, 200);
}

/// No answer of 5xx but those that say that a tool failed or that the host is not ready, none that is not described, no
/// other media type, no header missing: whoever asks, whatever is asked.
#[test]
fn nothing_that_can_be_asked_is_answered_otherwise_than_described() {
    let plan = Plan::new(1, 1_000);
    let mut passes = 0;
    while plan.goes_on(passes) {
        // What an admin may do changes the host, so that each pass has one of its own, and the admin comes last.
        let door = Door::open();
        door.cli.install_notes();
        let seed = plan.seed.wrapping_add(passes) % u64::from(u32::MAX);
        let agent = door.caller(AGENT, "agent");
        let called = agent.ask("POST", "/v1/calls?package=notes&tool=add", br#"{"name":"first","text":"x"}"#);
        assert_eq!(called.status, 200);
        door.cli.run(["key", "create", "another"]).expect(0);
        door.admin.ask("PUT", "/v1/secrets/github", b"a secret").expect(200);
        pass(&door, &door.anonymous, "nobody", seed);
        pass(&door, &agent, AGENT, seed);
        for role in ["author", "auditor"] {
            let name = format!("the-{role}");
            pass(&door, &door.caller(&name, role), &name, seed);
        }
        let before = door.events();
        assert!(calls(&before) > 1, "the agent called nothing");
        pass(&door, &door.admin, "first-admin", seed);
        let changed = door.events().len() - before.len();
        assert!(changed > 20, "the admin changed nothing: {changed}");
        passes += 1;
    }
    plan.report(&json!({"passes": passes}));
}

fn calls(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::CallFinished { .. })).count()
}
