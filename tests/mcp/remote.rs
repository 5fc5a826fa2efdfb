//! `portcullis mcp` to a host in the network.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::process::Cli;
use crate::harness::talk::Talk;
use crate::harness::{AGENT, guest};

/// A client on stdio reaches a host in the network as the agent whose key it has, and nobody else.
#[test]
fn an_agent_with_a_key_talks_to_a_host_in_the_network_on_stdio() {
    let cli = Cli::with("mcp", &guest("mcp"), "");
    let (server, port) = cli.serve_network(&[]);
    let url = format!("http://127.0.0.1:{port}");
    let key = |name: &str, file: &str| {
        let made = cli.run(["key", "create", name]).expect(0);
        let path = cli.file(file, &made.stdout);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("changed");
        path
    };
    let (own, other) = (key(AGENT, "own.key"), key("other", "other.key"));
    let elsewhere = Cli::new();
    let talk = |key: &str, more: &[&str]| {
        let arguments = ["--server", &url, "--key-file", key, "mcp"];
        Talk::run(elsewhere.command(arguments.iter().chain(more)))
    };
    let names = |talk: &mut Talk| {
        let client = json!({ "name": "test", "version": "1" });
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        talk.ask("initialize", hello);
        talk.tell("notifications/initialized", json!({}));
        talk.ask("tools/list", json!({}))["result"]["tools"].as_array().expect("a list").len()
    };
    let mut mine = talk(&own, &["--agent", AGENT]);
    assert!(names(&mut mine) > 0);
    let counted = mine.call("mcp__count", json!({ "text": "four" }));
    assert_ne!(counted["result"]["isError"], true, "{counted}");
    assert_eq!(names(&mut talk(&other, &[])), 0, "it is another agent");
    let (code, heard, errors) = talk(&other, &["--agent", AGENT]).end();
    assert!(code == Some(3) && heard.is_empty() && errors.contains("in the name of others"), "{errors}");
    // When the key is revoked, the conversation ends.
    let prefix = std::fs::read_to_string(&own).expect("a key")[..16].to_owned();
    cli.run(["key", "revoke", &prefix]).expect(0);
    mine.ended();
    server.interrupt().expect(0);
    let nobody = Cli::new();
    nobody.run(["mcp"]).expect(2).says("--agent");
}
