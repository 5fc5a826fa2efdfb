//! What a governed call costs a single caller, beside the same call on bare wasmtime, in one run: through the library,
//! over HTTP, and as a client of MCP over HTTP and over stdio. Each in a fresh sandbox.
//!
//! Floors: `bare_default` is wasmtime with the pooling allocator at its defaults; `bare_tuned` has our own engine
//! settings; `null` is a round trip to a server of axum that does nothing, and `bare` one to a server that has bare
//! wasmtime answer. `prepared` is a call of the library after a pause, so that it finds a sandbox ready. All of them
//! take turns. Nothing here asserts a speed.

mod figures;
mod floor;
mod ours;
mod program;
mod served;

use std::sync::Arc;
use std::time::Duration;

use portcullis::policy::Durability;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::figures::rounds::{Measured, Rounds};
use self::figures::{Aim, Figure, Figures, Unit, scaled, wanted};
use self::floor::{Floor, default_engine, tuned_engine};
use self::ours::Ours;
use self::program::{ECHO, ForAgents, INITIALIZED, MCP_REVISION, McpStdio, TEXT, initialize, message, null};
use self::served::{Client, request};

const SAID: &str = "a short string";

const BARE_DEFAULT: &str = "call/bare_default";
const BARE_TUNED: &str = "call/bare_tuned";
const NULL: &str = "call/http/null";
const RELAXED: &str = "call/library/relaxed";
const PREPARED: &str = "call/library/prepared";

/// Before a call that is to find a sandbox ready: what making one takes, several times over.
const PAUSE: Duration = Duration::from_micros(50);

/// So many pieces in each turn: those that wait for the disk take ten times as long.
struct Pieces {
    many: usize,
    some: usize,
    few: usize,
}

fn main() {
    let (runtime, serving) = (Runtime::new().expect("a runtime"), Runtime::new().expect("a runtime"));
    let pieces = Pieces { many: scaled(1_000, 100), some: scaled(250, 25), few: scaled(100, 10) };
    let [default, tuned] = [default_engine(), tuned_engine()].map(|engine| Arc::new(Floor::echo(&engine)));
    let hosts = if wanted("library") {
        let new = |durability| runtime.block_on(Ours::new(durability, &["echo"], ""));
        vec![
            (RELAXED, new(Durability::Relaxed), pieces.many),
            ("call/library/committed", new(Durability::Committed), pieces.few),
        ]
    } else {
        Vec::new()
    };
    let mut rounds = Rounds::default();
    for (name, floor) in [(BARE_DEFAULT, &default), (BARE_TUNED, &tuned)] {
        rounds.add(&runtime, name, pieces.many, async || {
            let (answer,): (String,) = floor.call((SAID,)).await;
            assert_eq!(answer, SAID);
        });
    }
    for (name, ours, pieces) in &hosts {
        let call = async || assert_eq!(ours.call("echo", "text", json!({ "value": SAID })).await, SAID);
        rounds.add(&runtime, name, *pieces, call);
        if *name == RELAXED {
            rounds.add_after(&runtime, PREPARED, *pieces, PAUSE, call);
        }
    }
    let served: Vec<_> = if wanted("http") || wanted("mcp") {
        let address = null(&serving, Arc::clone(&tuned));
        for (name, target) in [(NULL, "/null"), ("call/http/bare", "/bare")] {
            let (mut client, asked) = (Client::connect(address), request("POST", target, "", TEXT));
            rounds.add_blocking(name, pieces.some, move || assert_eq!(client.ask(&asked).0, 200));
        }
        let levels = [("relaxed", pieces.some), ("committed", pieces.few)];
        levels.map(|(durability, pieces)| (durability, ForAgents::new(durability), pieces)).into()
    } else {
        Vec::new()
    };
    over_http(&mut rounds, &served);
    if wanted("mcp") {
        for (durability, pieces) in [("relaxed", pieces.some), ("committed", pieces.few)] {
            let (mut spoken, asked) = (McpStdio::new(durability), tools_call());
            rounds.add_blocking(&format!("call/mcp_stdio/{durability}"), pieces, move || {
                let line = spoken.ask(&asked);
                assert!(is_answer(line.as_bytes()), "{line}");
            });
        }
    }
    report(&rounds.run(scaled(20, 2)));
}

/// One client each, on a connection that it keeps.
fn over_http(rounds: &mut Rounds, served: &[(&str, ForAgents, usize)]) {
    for (durability, served, pieces) in served {
        if wanted("http") {
            let (mut client, asked) = (served.connect(), served.request(ECHO, "", TEXT));
            rounds.add_blocking(&format!("call/http/{durability}"), *pieces, move || {
                assert_eq!(client.ask(&asked).0, 200);
            });
        }
        if wanted("mcp") {
            let (mut client, asked) = (served.connect(), tools_call());
            let asked = mcp(served, &mut client, &asked);
            rounds.add_blocking(&format!("call/mcp_http/{durability}"), *pieces, move || {
                let (status, body) = client.ask(&asked);
                assert!(status == 200 && is_answer(&body), "{}", String::from_utf8_lossy(&body));
            });
        }
    }
}

fn tools_call() -> String {
    message(1, "tools/call", &json!({ "name": "echo__text", "arguments": { "value": SAID } }))
}

/// Introduces the client, and gives the bytes that it asks with.
fn mcp(served: &ForAgents, client: &mut Client, asked: &str) -> Vec<u8> {
    let head = format!(
        "content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         mcp-protocol-version: {MCP_REVISION}\r\n"
    );
    for first in [message(0, "initialize", &initialize()), INITIALIZED.to_owned()] {
        let (status, body) = client.ask(&served.request("/mcp", &head, &first));
        assert!(status < 300, "{status}: {}", String::from_utf8_lossy(&body));
    }
    served.request("/mcp", &head, asked)
}

/// Whether a message, alone or as an event, is the answer of the tool.
fn is_answer(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let messages = events.chain([text.trim()]).filter_map(|text| serde_json::from_str::<Value>(text).ok());
    messages.into_iter().any(|message| {
        let result = &message["result"];
        result["isError"] != true && result["content"].to_string().contains(SAID)
    })
}

fn report(measured: &Measured) {
    let mut figures = Figures::new();
    let mut rows = |name: &str, floor: &str, aim: Option<f64>| {
        measured.rows(&mut figures, name, Some(floor), aim.map(Aim::RatioAtMost));
    };
    rows(BARE_TUNED, BARE_DEFAULT, None);
    rows(RELAXED, BARE_TUNED, Some(1.15));
    rows(RELAXED, BARE_DEFAULT, Some(0.5));
    rows(PREPARED, BARE_TUNED, Some(0.5));
    rows("call/library/committed", BARE_TUNED, None);
    rows("call/library/committed", RELAXED, None);
    rows(NULL, BARE_TUNED, None);
    rows("call/http/bare", NULL, None);
    rows("call/http/relaxed", NULL, None);
    rows("call/http/relaxed", "call/http/bare", None);
    rows("call/http/committed", NULL, None);
    rows("call/mcp_http/relaxed", BARE_TUNED, Some(3.0));
    rows("call/mcp_http/relaxed", NULL, None);
    rows("call/mcp_http/committed", BARE_TUNED, None);
    rows("call/mcp_stdio/relaxed", BARE_TUNED, Some(2.5));
    rows("call/mcp_stdio/committed", BARE_TUNED, None);
    for name in [RELAXED, PREPARED] {
        let Some(times) = measured.of(name) else { continue };
        let tail = Figure::new(format!("{name}/p99"), times.at(990), Unit::Nanoseconds);
        figures.row(tail.beside(format!("{name}/p50"), times.median()).aim(Aim::RatioAtMost(2.0)));
    }
}
