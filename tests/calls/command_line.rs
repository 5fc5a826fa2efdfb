//! The same from the command line: on the owner's socket, and against a host in the network.

use serde_json::Value;

use super::{AGENT, admitted, world};
use crate::door::Door;

const SHORT: &str = "{\"milliseconds\": 1}";
const ENDLESS: &str = "{\"milliseconds\": 300000}";

#[test]
fn a_call_is_detached_listed_waited_for_and_proved() {
    let door = Door::serve(world(), &[]);
    let ann = door.caller(AGENT, "agent");
    let key_file = door.cli.file("ann.key", ann.key.clone().expect("a key"));
    std::fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("changed");
    let url = format!("http://127.0.0.1:{}", door.anonymous.port);
    let remote = ["--server", &*url, "--key-file", &*key_file];
    for place in [&[][..], &remote[..]] {
        let with = |words: &[&'static str]| -> Vec<String> {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .chain(place.iter().map(|word| (*word).to_owned()))
                .collect()
        };
        let detach = |arguments: &'static str| {
            let words = with(&["call", "std-probe", "sleep", "--as", AGENT, "--args", arguments, "--detach"]);
            let ran = door.cli.run(words).expect(0).says("calls wait");
            ran.stdout.trim().to_owned()
        };
        let run = |words: &[&'static str], call: &str| {
            door.cli.run(with(words).into_iter().chain([call.to_owned()]))
        };
        let call = detach(SHORT);
        let waited = run(&["calls", "wait", "--json"], &call).expect(0).answer();
        assert_eq!(waited["call"], *call);
        let shown = run(&["calls", "show", "--json"], &call).expect(0).answer();
        assert_eq!((&shown["state"], &shown["result"]), (&Value::from("succeeded"), &waited));
        assert!(run(&["calls", "show"], &call).expect(0).stdout.contains("succeeded"));
        let receipt = run(&["calls", "receipt"], &call).expect(0);
        let receipt = door.cli.file("receipt.json", receipt.stdout);
        door.cli.run(["audit", "verify-receipt", &receipt]).expect(0);

        let endless = detach(ENDLESS);
        let listed = door.cli.run(with(&["calls", "list"])).expect(0).stdout;
        assert!(listed.contains(&call) && listed.contains(&endless), "{listed}");
        let running =
            door.cli.run(with(&["calls", "list", "--state", "succeeded", "--json"])).expect(0).answer();
        assert!(
            running["calls"]
                .as_array()
                .is_some_and(|calls| calls.iter().all(|call| call["call"] != *endless))
        );
        run(&["cancel"], &endless).expect(0);
        let ended = run(&["calls", "wait"], &endless).expect(3);
        assert!(ended.stderr.contains("cancelled"), "{ended:?}");

        // What was asked twice with one key was done once.
        let keyed = |key: &'static str, arguments: &'static str| {
            let words = [
                "call",
                "std-probe",
                "sleep",
                "--as",
                AGENT,
                "--idempotency-key",
                key,
                "--args",
                arguments,
                "--json",
            ];
            door.cli.run(with(&words))
        };
        let before = admitted(&door.cli, "sleep");
        let first = keyed("a \"key\" \\", SHORT).expect(0).answer();
        assert_eq!(keyed("a \"key\" \\", SHORT).expect(0).answer(), first);
        assert_eq!(admitted(&door.cli, "sleep"), before + 1);
        keyed("a \"key\" \\", "{\"milliseconds\": 2}").expect(2).says("idempotency-key-reused");
    }
    // The owner sees all, an agent its own.
    let all = door.cli.json(&["calls", "list"]);
    let own = ann.get("/v1/calls").expect(200).json();
    let count = |page: &Value| page["calls"].as_array().expect("a list").len();
    assert_eq!((count(&all), count(&own)), (6, 3));
}

#[test]
fn nothing_is_detached_from_a_command_that_ends() {
    let cli = world();
    let words = ["call", "std-probe", "sleep", "--as", AGENT, "--args", SHORT];
    cli.run(words.iter().chain(&["--detach"])).expect(2).says("portcullis serve");
    assert_eq!(admitted(&cli, "sleep"), 0);
    // With a key it is done, and done once, by whichever command.
    let keyed = || cli.run(words.iter().chain(&["--idempotency-key", "k", "--json"])).expect(0).answer();
    assert_eq!(keyed(), keyed());
    assert_eq!(admitted(&cli, "sleep"), 1);
    cli.run(["calls", "wait", "01890a5d-ac96-774b-bcce-b302099a8057"]).expect(2).says("there is no call");
}
