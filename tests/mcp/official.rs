//! What nobody here wrote: the official conformance suite of MCP, and official clients, against the built program.
//!
//! `cargo xtask clients` installs them, by the lists in `tests/clients`.

use std::path::Path;
use std::process::Command;

use portcullis::audit::event::{CallOutcome, Event};
use serde_json::{Value, json};

use crate::harness::installed::{installed, node, python as interpreter, sources};
use crate::harness::process::{Cli, Running, program, wait_until};
use crate::harness::talk::{LEGACY, STATELESS};
use crate::harness::{AGENT, guest, proxy};

/// The names that the suite knows tools by.
const SUITE_TOOLS: [&str; 9] = [
    "test_audio_content",
    "test_embedded_resource",
    "test_error_handling",
    "test_image_content",
    "test_logging_tool",
    "test_multiple_content_types",
    "test_simple_text",
    "test_streaming_elicitation",
    "test_tool_with_progress",
];

/// The suite can't be told to send a key: a proxy on loopback brings it.
fn conforms(revision: &str) {
    let names = SUITE_TOOLS.map(|name| format!("{name} = \"{name}\"")).join(", ");
    let cli = Cli::with("mcp", &guest("mcp"), &format!("names = {{ {names} }}\n"));
    let (server, port) = cli.serve_network(&[]);
    let key = cli.json(&["key", "create", AGENT]);
    let proxy = proxy::with_key(port, key["token"].as_str().expect("a key"));
    let mut command = node();
    command
        .arg(installed("node/node_modules/@modelcontextprotocol/conformance/dist/index.js"))
        .args([
            "server",
            "--timeout",
            "120000",
            "--requirements",
            revision,
            "--url",
            &format!("http://127.0.0.1:{proxy}/mcp"),
        ])
        .arg("--expected-failures")
        .arg(sources().join(format!("conformance-{revision}.yaml")))
        .arg("--output-dir")
        .arg(cli.path("results"))
        .current_dir(cli.temporary.path());
    let ran = Running::start(command).end();
    assert!(ran.status.success(), "{}\n{}\n{}", failures(&cli.path("results")), ran.stdout, ran.stderr);
    // It did run: a suite that finds no server or no scenario would not fail by itself.
    for scenario in
        ["tools-list", "tools-call-simple-text", "tools-call-with-progress", "dns-rebinding-protection"]
    {
        assert!(ran.stdout.contains(&format!("✓ {scenario}: ")), "{scenario}:\n{}", ran.stdout);
    }
    assert_eq!(server.interrupt().status.code(), Some(0));
}

/// What failed, and why: the suite itself writes that to files only.
fn failures(results: &Path) -> String {
    let mut told = String::new();
    for scenario in std::fs::read_dir(results).into_iter().flatten().flatten() {
        let checks = std::fs::read(scenario.path().join("checks.json")).unwrap_or_default();
        let checks: Vec<Value> = serde_json::from_slice(&checks).unwrap_or_default();
        for check in
            checks.iter().filter(|check| check["status"] == "FAILURE" || check["status"] == "WARNING")
        {
            told += &format!("{}: {}\n", check["id"], check["errorMessage"]);
        }
    }
    told
}

#[test]
fn the_official_suite_finds_that_2026_07_28_is_spoken() {
    conforms(STATELESS);
}

#[test]
fn the_official_suite_finds_that_2025_11_25_is_spoken() {
    conforms(LEGACY);
}

/// How a client reaches the host.
#[derive(Clone, Copy)]
enum Way {
    Http,
    Stdio,
}

/// Runs a client, which lists, calls, hears progress, and takes a call back.
fn speaks(mut client: Command, protocol: Option<&str>, way: Way) {
    let tools = "tools = [\"count\", \"test_error_handling\", \"test_tool_with_progress\", \"wait\"]\n";
    let limits = "limits = { wall_time = \"10m\", fuel = 1_000_000_000_000 }\n";
    let cli = Cli::with("mcp", &guest("mcp"), &format!("{tools}{limits}"));
    let (server, port) = cli.serve_network(&[]);
    let key = cli.json(&["key", "create", AGENT]);
    client.env("PORTCULLIS_KEY", key["token"].as_str().expect("a key"));
    match way {
        Way::Http => client.args(["http", &format!("http://127.0.0.1:{port}/mcp")]),
        Way::Stdio => client
            .arg("stdio")
            .arg(program())
            .arg("--data-dir")
            .arg(&cli.data)
            .args(["mcp", "--agent", AGENT]),
    };
    let ran = Running::start(client).end();
    assert!(ran.status.success(), "{}\n{}", ran.stdout, ran.stderr);
    let seen: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let names = ["mcp__count", "mcp__test_error_handling", "mcp__test_tool_with_progress", "mcp__wait"];
    assert_eq!(seen["tools"], json!(names), "{seen}");
    assert_eq!(seen["counted"], json!({ "letters": 4 }), "{seen}");
    let steps: Vec<f64> =
        seen["progress"].as_array().expect("steps").iter().filter_map(|step| step[0].as_f64()).collect();
    assert_eq!((steps, &seen["done"]), (vec![0.0, 50.0, 100.0], &json!("done")), "{seen}");
    assert_eq!(
        seen["failed"],
        json!([true, "This tool intentionally returns an error for testing"]),
        "{seen}"
    );
    assert!(seen["denied"].as_str().is_some_and(|text| text.contains("Unknown tool: mcp__loud")), "{seen}");
    assert_eq!(seen["cancelled"], true, "{seen}");
    if let Some(protocol) = protocol {
        assert_eq!(seen["protocol"], protocol, "{seen}");
    }
    wait_until("the log says that the call was cancelled", || {
        cli.log().iter().any(|record| is_cancelled(&record.event))
    });
    assert_eq!(server.interrupt().status.code(), Some(0));
}

/// Whether the call that waits has begun.
fn is_waiting(event: &Event) -> bool {
    matches!(event, Event::CallAdmitted { context, .. } if context.tool.as_str() == "wait")
}

/// Whether the call that waits was taken back.
fn is_cancelled(event: &Event) -> bool {
    matches!(event, Event::CallFinished { context, end, .. }
        if context.tool.as_str() == "wait" && end.outcome == CallOutcome::Cancelled)
}

fn python(mode: &str, protocol: &str) {
    for way in [Way::Http, Way::Stdio] {
        let mut client = interpreter();
        client.arg(sources().join("python_client.py")).arg(mode);
        speaks(client, Some(protocol), way);
    }
}

fn typescript(which: &str, protocol: Option<&str>) {
    for way in [Way::Http, Way::Stdio] {
        let mut client = node();
        // Modules are looked for beside the program.
        let program = installed("node").join(format!("{which}.mjs"));
        std::fs::copy(sources().join("typescript_client.mjs"), &program).expect("copied");
        client.arg(program).arg(which);
        speaks(client, protocol, way);
    }
}

#[test]
fn the_python_client_speaks_2026_07_28() {
    python("auto", STATELESS);
}

#[test]
fn the_python_client_speaks_2025_11_25() {
    python("legacy", LEGACY);
}

#[test]
fn the_typescript_client_speaks_2026_07_28() {
    typescript("modern", Some(STATELESS));
}

#[test]
fn the_older_typescript_client_speaks_2025_11_25() {
    // On stdio it does not say what it speaks; it knows nothing newer.
    typescript("sdk", None);
}

/// The inspector's command line. It shows no progress, whatever a server tells, and takes back a call by going away.
#[test]
fn the_inspector_finds_nothing_wrong_calls_and_takes_a_call_back() {
    let limits = "limits = { wall_time = \"10m\", fuel = 1_000_000_000_000 }\n";
    let tools = "tools = [\"count\", \"test_error_handling\", \"test_tool_with_progress\", \"wait\"]\n";
    let cli = Cli::with("mcp", &guest("mcp"), &format!("{tools}{limits}"));
    let (server, port) = cli.serve_network(&[]);
    let key = cli.json(&["key", "create", AGENT]);
    for way in [Way::Http, Way::Stdio] {
        let start = |options: &[&str]| {
            let mut command = node();
            // What it keeps goes into a folder that goes away.
            command
                .arg(installed("node/node_modules/.bin/mcp-inspector"))
                .arg("--cli")
                .env("HOME", cli.temporary.path());
            match way {
                Way::Http => {
                    let authorization =
                        format!("Authorization: Bearer {}", key["token"].as_str().expect("a key"));
                    command.arg(format!("http://127.0.0.1:{port}/mcp")).arg("--header").arg(authorization)
                }
                Way::Stdio => {
                    command.arg(program()).arg("--data-dir").arg(&cli.data).args(["mcp", "--agent", AGENT])
                }
            };
            command.args(options);
            Running::start(command)
        };
        let method = |method, options: &[&str]| start(&[&["--method", method], options].concat());
        let call = |tool| method("tools/call", &["--tool-name", tool]);
        let listed = method("tools/list", &["--strict"]).end().expect(0).answer();
        let names: Vec<&str> = listed["tools"]
            .as_array()
            .expect("tools")
            .iter()
            .filter_map(|tool| tool["name"].as_str())
            .collect();
        let granted = ["mcp__count", "mcp__test_error_handling", "mcp__test_tool_with_progress", "mcp__wait"];
        assert_eq!(names, granted);
        let counted = method("tools/call", &["--tool-name", "mcp__count", "--tool-arg", "text=four"])
            .end()
            .expect(0)
            .answer();
        assert_eq!(counted["structuredContent"], json!({ "letters": 4 }), "{counted}");
        let done = call("mcp__test_tool_with_progress").end().expect(0).answer();
        assert_eq!(done["content"][0]["text"], "done", "{done}");
        assert!(
            call("mcp__test_error_handling")
                .end()
                .expect(5)
                .stdout
                .contains("intentionally returns an error")
        );
        call("mcp__loud").end().expect(5).says("not found");
        let count =
            |is_it: fn(&Event) -> bool| cli.log().iter().filter(|record| is_it(&record.event)).count();
        let (running, ended) = (count(is_waiting), count(is_cancelled));
        let waiting = call("mcp__wait");
        wait_until("the call runs", || count(is_waiting) > running);
        waiting.kill();
        wait_until("the log says that the call was cancelled", || count(is_cancelled) > ended);
    }
    assert_eq!(server.interrupt().status.code(), Some(0));
}
