//! How others reach the host, as `docs/clients` shows it: what stands there is run here.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::installed::{python, sources};
use crate::harness::process::{Cli, Running};
use crate::harness::web::{Manner, Server};
use crate::harness::{AGENT, guest};

/// Where the pages are.
fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The parts of a page in a language.
fn parts<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let parts: Vec<&str> = page
        .split(&format!("```{language}\n"))
        .skip(1)
        .map(|part| part.split("```").next().expect("its end").trim_end())
        .collect();
    assert!(!parts.is_empty(), "no part in {language}");
    parts
}

/// The programs are run by tests of their own.
#[test]
fn what_the_pages_show_is_in_programs_that_are_run() {
    let unindented = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    for (name, language, program) in [
        ("python.md", "python", "python_client.py"),
        ("typescript.md", "js", "typescript_client.mjs"),
        ("openai.md", "python", "openai_loop.py"),
    ] {
        let text = std::fs::read_to_string(sources().join(program)).expect("a program");
        for part in parts(&page(name), language) {
            assert!(unindented(&text).contains(&unindented(part)), "not in {program}:\n{part}");
        }
    }
}

fn with_tools() -> (Cli, Running, u16, String) {
    let cli = Cli::with("mcp", &guest("mcp"), "tools = [\"count\", \"test_tool_with_progress\", \"wait\"]\n");
    let (server, port) = cli.serve_network(&[]);
    let key = cli.json(&["key", "create", AGENT])["token"].as_str().expect("a key").to_owned();
    (cli, server, port, key)
}

/// What a model of OpenAI's API answers: one message.
fn completion(message: &Value) -> Vec<u8> {
    let reason = if message["tool_calls"].is_null() { "stop" } else { "tool_calls" };
    let choice = json!({ "index": 0, "finish_reason": reason, "message": message });
    let body = json!({
        "id": "1", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice],
    });
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

#[tokio::test]
async fn a_loop_with_openais_client_calls_what_its_model_asks_for() {
    let (_cli, _server, port, key) = with_tools();
    let asks = |name: &str, arguments: &str| {
        let call = json!({
            "id": format!("call_{name}"), "type": "function", "function": { "name": name, "arguments": arguments },
        });
        completion(&json!({ "role": "assistant", "content": null, "tool_calls": [call] }))
    };
    let answers = [
        asks("mcp__count", r#"{"text": "four"}"#),
        // The model is told what is wrong, and that a tool that is not granted is none.
        asks("mcp__count", r#"{"txt": "four"}"#),
        asks("mcp__loud", "{}"),
        completion(&json!({ "role": "assistant", "content": "It has four letters." })),
    ];
    let model = Server::start(Manner::Script(Arc::new(Mutex::new(answers.into())))).await;
    let mut program = python();
    program
        .arg(sources().join("openai_loop.py"))
        .args([format!("http://127.0.0.1:{}/v1", model.port()), format!("http://127.0.0.1:{port}")])
        .arg("How many letters has \"four\"?")
        .env("PORTCULLIS_KEY", key)
        .env("OPENAI_API_KEY", "none is needed");
    let ran = tokio::task::spawn_blocking(|| Running::start(program).end()).await.expect("no panic");
    assert!(ran.status.success(), "{}\n{}", ran.stdout, ran.stderr);
    let talk: Vec<Value> = serde_json::from_str(&ran.stdout).expect("messages");
    let told: Vec<Value> = talk
        .iter()
        .filter(|message| message["role"] == "tool")
        .map(|message| serde_json::from_str(message["content"].as_str().expect("a text")).expect("JSON"))
        .collect();
    assert_eq!(told[0]["structured"], json!({ "letters": 4 }), "{told:?}");
    assert!(told[1]["error"].as_str().is_some_and(|error| error.contains("txt")), "{told:?}");
    assert!(told[2]["error"].is_string(), "{told:?}");
    assert_eq!(
        talk.last().map(|message| &message["content"]),
        Some(&json!("It has four letters.")),
        "{talk:?}"
    );
    let first = model.seen().first().cloned().unwrap_or_default();
    assert!(
        first.contains("mcp__count") && !first.contains("mcp__loud"),
        "the model got the agent's tools: {first}"
    );
}

/// The script of the page, as a person would paste it.
#[test]
fn what_the_page_of_curl_shows_works() {
    let (cli, _server, port, key) = with_tools();
    let script = parts(&page("curl.md"), "sh").join("\n");
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", &script])
        .env("HOST", format!("http://127.0.0.1:{port}"))
        .env("KEY", key)
        .current_dir(cli.temporary.path());
    let ran = Running::start(shell).end();
    assert!(ran.status.success(), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(r#"{"letters":4}"#), "{}", ran.stdout);
}
