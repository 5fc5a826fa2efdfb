//! What the first call costs, beside the calls after it, in one run: after registration, after the start of a host that
//! has the compiled artifact, and as a whole process of `portcullis call` that nobody serves.
//!
//! Floors: a warm call of the same guest, and for whole processes the least process there is and, where it is
//! installed, one of `python3`. Nothing here asserts a speed.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts the program that it measures")]

mod figures;
mod floor;
mod ours;
mod program;
mod served;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use portcullis::authn::local_admin;
use portcullis::gateway::GrantsSource;
use portcullis::policy::Durability;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::figures::rounds::Rounds;
use self::figures::{Figures, Times, scaled, wanted};
use self::floor::guest_path;
use self::ours::{AGENT, add, call, open};
use self::program::Data;

/// A guest, and a tool of it that does next to nothing.
struct Guest {
    name: &'static str,
    tool: &'static str,
    arguments: Value,
    /// How often it is registered: compiling takes long.
    registrations: usize,
}

fn guests() -> [Guest; 2] {
    let text = json!({ "text": "a short string" });
    [
        Guest {
            name: "echo",
            tool: "text",
            arguments: json!({ "value": "a short string" }),
            registrations: scaled(10, 2),
        },
        Guest { name: "python", tool: "say", arguments: text, registrations: 1 },
    ]
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let mut figures = Figures::new();
    for guest in guests() {
        if !wanted(guest.name) && !wanted("library") {
            continue;
        }
        runtime.block_on(in_this_process(&guest, &mut figures));
    }
    if wanted("process") {
        processes(&mut figures);
    }
}

/// After registration, and after a start, beside the calls that follow.
async fn in_this_process(guest: &Guest, figures: &mut Figures) {
    let (mut registered, mut warm, mut started, mut start) =
        (Times::default(), Times::default(), Times::default(), Times::default());
    let mut kept = None;
    for _ in 0..guest.registrations {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let data = temporary.path().join("data");
        let host = open(&data, Durability::Relaxed).await;
        add(&host, guest.name).await;
        grant(&host, guest, temporary.path()).await;
        registered.of(call(&host, guest.name, guest.tool, guest.arguments.clone())).await;
        for _ in 0..scaled(200, 20) {
            warm.of(call(&host, guest.name, guest.tool, guest.arguments.clone())).await;
        }
        host.close().await.expect("closed");
        kept = Some(temporary);
    }
    let kept = kept.expect("it was registered");
    for _ in 0..scaled(20, 3) {
        let host = start.of(open(&kept.path().join("data"), Durability::Relaxed)).await;
        started.of(call(&host, guest.name, guest.tool, guest.arguments.clone())).await;
        host.close().await.expect("closed");
    }
    let name = |what: &str| format!("cold/{}/{what}", guest.name);
    let floor = name("warm");
    let floor = Some((floor.as_str(), &warm));
    figures.times(&name("first_after_registration"), &registered, floor, None);
    figures.times(&name("first_after_start"), &started, floor, None);
    figures.times(&name("start_of_host"), &start, floor, None);
}

async fn grant(host: &portcullis::gateway::Host, guest: &Guest, folder: &Path) {
    let text = format!("[[grant]]\npackage = \"{}\"\nagents = [\"{AGENT}\"]\n", guest.name);
    let source = GrantsSource { file: "bench".into(), folder: folder.into(), text };
    host.apply_grants(&local_admin(), &source).await.expect("granted");
}

/// `portcullis call` from its start to its end, with the host in it.
fn processes(figures: &mut Figures) {
    let data = Data::new("relaxed");
    let file = guest_path("python");
    data.run(&["package", "add", file.to_str().expect("text"), "--name", "python"]);
    data.run(&["package", "approve", "python"]);
    data.grant("[[grant]]\npackage = \"echo\"\nagents = [\"me\"]\n[[grant]]\npackage = \"python\"\nagents = [\"me\"]\n");
    let mut rounds = Rounds::default();
    rounds.add_blocking("cold/process/true", 1, || run(&mut Command::new("true")));
    let python = || {
        let mut command = Command::new("python3");
        command.args(["-c", "import json; print(json.loads('{\"text\": \"a short string\"}')['text'])"]);
        command
    };
    let has_python = python().stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if has_python {
        rounds.add_blocking("cold/process/python3", 1, move || run(&mut python()));
    }
    rounds.add_blocking("cold/process/version", 1, || run(data.program().arg("--version")));
    for guest in guests() {
        let (data, arguments) = (&data, guest.arguments.to_string());
        rounds.add_blocking(&format!("cold/process/call_{}", guest.name), 1, move || {
            run(data.program().args(["call", guest.name, guest.tool, "--as", "me", "--args", &arguments]));
        });
    }
    let measured = rounds.run(scaled(20, 3));
    for (name, floor) in [
        ("version", "true"),
        ("call_echo", "true"),
        ("call_echo", "version"),
        ("call_python", "true"),
        ("call_python", "python3"),
    ] {
        measured.rows(figures, &format!("cold/process/{name}"), Some(&format!("cold/process/{floor}")), None);
    }
}

fn run(command: &mut Command) {
    let started = Instant::now();
    let ran = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(
        ran.status.success(),
        "{command:?} after {:?}: {}",
        started.elapsed(),
        String::from_utf8_lossy(&ran.stderr)
    );
}
