//! Walks through the whole path with real files: register, review, grant, call, refuse, read the log.
//!
//! Each step says what it shows, runs the real program, and fails if the answer is not the one that
//! is promised. The data stays in `target/demo`.

mod console;
mod folder;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::folders::Folders;
use crate::guests::guests;
use crate::process::{self, BUILD_TIME_MAX};
use console::{Console, Exit};
use folder::DemoFolder;

/// What the hostile tool may take, as in the grants of [`folder`].
const HOSTILE_MEMORY_BYTES: u64 = 32 << 20;

/// Builds everything and walks through it.
pub(crate) fn demo(folders: &Folders) -> Result<()> {
    println!("Building the host and the guests (a first build takes about a quarter of an hour).\n");
    let mut build = process::cargo();
    process::run(
        build.args(["build", "--package", "portcullis"]).current_dir(&folders.root),
        BUILD_TIME_MAX,
    )?;
    guests(folders)?;
    let demo = DemoFolder::make(folders)?;
    let mut console = Console::new(folders.portcullis(), demo.data());

    register(&mut console, folders)?;
    refuse_bad_components(&mut console, &demo)?;
    grant(&mut console, &demo)?;
    work(&mut console, &demo)?;
    connect(&mut console)?;
    reach(&mut console)?;
    attack(&mut console, &demo)?;
    change(&mut console, &demo)?;
    stop(&mut console)?;
    divide(&mut console)?;
    trust(&mut console, &demo)?;
    prove(&mut console, &demo)?;
    println!(
        "\nAll {} steps went as promised.\n\n{}",
        console.steps(),
        demo.look_around(&folders.portcullis())
    );
    Ok(())
}

const TOOLS: [&str; 7] =
    ["markdown", "dependency-report", "notes", "hostile", "counter", "csv-report", "csv-page"];

fn register(console: &mut Console, folders: &Folders) -> Result<()> {
    console.chapter("An author's components are registered and reviewed");
    for tool in TOOLS {
        let file = folders.guests().join(format!("{tool}.wasm"));
        console.step(
            &format!("{tool} is registered: checked, compiled once, kept by the hash of its bytes"),
            &["package", "add", text(&file)?, "--name", tool],
            Exit::Ok,
            &[tool, "sha256"],
        )?;
    }
    console.step(
        "what a package asks for can be read before it is approved: its tools, their schemas, its imports",
        &["package", "inspect", "dependency-report"],
        Exit::Ok,
        &["Reads a `Cargo.lock`", "wasi:filesystem/types", "report"],
    )?;
    console.call(
        "nobody approved it yet, so it does not run",
        RENDER,
        &render_arguments(),
        Exit::Denied,
        &[],
    )?;
    for tool in TOOLS {
        console.step(
            &format!("an admin approves these bytes of {tool}"),
            &["package", "approve", tool, "--yes"],
            Exit::Ok,
            &[],
        )?;
    }
    console.call(
        "approved is not granted: still nothing runs",
        RENDER,
        &render_arguments(),
        Exit::Denied,
        &[],
    )?;
    Ok(())
}

const RENDER: (&str, &str, &str) = ("markdown", "render", "writer");

fn render_arguments() -> Value {
    json!({ "markdown": "# Hello\n\n<script>alert(1)</script>" })
}

fn refuse_bad_components(console: &mut Console, demo: &DemoFolder) -> Result<()> {
    console.chapter("What is not a component is refused, and says why");
    for (what, file, why) in [
        ("a core module", demo.core_module()?, "core module"),
        ("an empty file", demo.empty()?, "empty"),
        ("a component that was cut off", demo.truncated()?, ""),
    ] {
        console.step(
            &format!("{what} is refused"),
            &["package", "add", text(&file)?, "--name", "broken"],
            Exit::BadInput,
            &[why],
        )?;
    }
    Ok(())
}

fn grant(console: &mut Console, demo: &DemoFolder) -> Result<()> {
    console.chapter("An admin grants powers: to whom, which folder, how much");
    console.step(
        "a grants file with a wrong key changes nothing, and the error shows the place",
        &["grant", "apply", text(&demo.wrong_grants()?)?],
        Exit::BadInput,
        &["acess", "4"],
    )?;
    console.step(
        "the corrected grants are put in force",
        &["grant", "apply", text(&demo.grants())?],
        Exit::Ok,
        &["granted"],
    )?;
    console.step("they can be listed", &["grant", "list"], Exit::Ok, &["dependency-report", "/project"])?;
    Ok(())
}

fn work(console: &mut Console, demo: &DemoFolder) -> Result<()> {
    console.chapter("Agents call tools, and the tools do real work");
    console.call(
        "a pure tool: Markdown becomes safe HTML",
        RENDER,
        &render_arguments(),
        Exit::Ok,
        &["<h1>Hello</h1>", "&lt;script&gt;"],
    )?;
    let report = console.call(
        "a tool that reads one granted folder: this project's own Cargo.lock is summed up",
        ("dependency-report", "report", "auditor"),
        &json!({ "path": "/project/Cargo.lock" }),
        Exit::Ok,
        &["most-depended-on"],
    )?;
    console.call(
        "another agent has no such grant",
        ("dependency-report", "report", "writer"),
        &json!({ "path": "/project/Cargo.lock" }),
        Exit::Denied,
        &[],
    )?;
    console.call(
        "the secret beside the granted folder stays where it is",
        ("dependency-report", "report", "auditor"),
        &json!({ "path": "/project/../secret.txt" }),
        Exit::ToolError,
        &[],
    )?;
    console.call(
        "arguments of the wrong type are refused before the tool runs, with their place",
        ("dependency-report", "report", "auditor"),
        &json!({ "path": 7 }),
        Exit::BadInput,
        &["path"],
    )?;
    console.call(
        "a tool that writes: a note is kept in the granted folder",
        ("notes", "add", "writer"),
        &json!({ "name": "shopping", "text": "Milk, bread and a portcullis" }),
        Exit::Ok,
        &["shopping"],
    )?;
    ensure!(demo.note("shopping")?.contains("a portcullis"), "the note is not in the folder");
    console.call(
        "and found again",
        ("notes", "search", "writer"),
        &json!({ "text": "PORTCULLIS" }),
        Exit::Ok,
        &["Milk, bread"],
    )?;
    let call = report.call().context("an answer has the id of its call")?;
    console.step(
        "the log has each host call of the report: which file, by which grant, what came of it",
        &["audit", "tail", "--call", &call],
        Exit::Ok,
        &["call_admitted", "Cargo.lock", "open-at", "call_finished"],
    )?;
    Ok(())
}

fn connect(console: &mut Console) -> Result<()> {
    console.chapter("A desktop client or IDE connects by MCP, and sees what is granted to its agent");
    let call = |tool: &str, arguments: Value| ("tools/call", json!({ "name": tool, "arguments": arguments }));
    let list = || ("tools/list", json!({}));
    console.talk(
        "it lists and calls",
        "writer",
        &[list(), call("notes__search", json!({ "text": "portcullis" }))],
        &["\"name\":\"notes__search\"", "Milk, bread", "\"isError\":false"],
    )?;
    let other = console.talk(
        "a tool that is granted to another agent is not in the list, and is like one that does not exist",
        "writer",
        &[
            list(),
            call("dependency-report__report", json!({ "path": "/project/Cargo.lock" })),
            call("no__tool", json!({})),
        ],
        &["Unknown tool: dependency-report__report", "Unknown tool: no__tool"],
    )?;
    ensure!(!other.text().contains("\"name\":\"dependency-report__report\""), "it is listed");
    Ok(())
}

fn reach(console: &mut Console) -> Result<()> {
    console.chapter("Tools keep state and call each other, as their grants say");
    let count = |more: u64| json!({ "name": "visitors", "more": more });
    console.call("a counter counts", ("counter", "count", "analyst"), &count(2), Exit::Ok, &["2"])?;
    console.call(
        "and knows its total in the next call, in a sandbox as fresh as the first",
        ("counter", "count", "analyst"),
        &count(3),
        Exit::Ok,
        &["\"total\":5"],
    )?;
    console.call(
        "how far it may count at once is configuration that the grant sets",
        ("counter", "count", "analyst"),
        &count(101),
        Exit::BadInput,
        &["at most 100"],
    )?;
    let csv = json!({ "title": "Fruit", "csv": "fruit,price\napple,1\npear,2\n" });
    let page = console.call(
        "a tool makes a page by calling two others, each with its own grant for the same agent",
        ("csv-page", "page", "analyst"),
        &csv,
        Exit::Ok,
        &["<table"],
    )?;
    let call = page.call().context("an answer has the id of its call")?;
    console.step(
        "the log has both calls, by the rule that allowed them",
        &["audit", "tail", "--call", &call],
        Exit::Ok,
        &["csv-report summarise", "markdown render", "invoke 0", "invoke 1"],
    )?;
    console.call(
        "another agent, who may use the page and not what it calls, gets none",
        ("csv-page", "page", "writer"),
        &csv,
        Exit::ToolError,
        &["no grant of package csv-report names agent writer"],
    )?;
    Ok(())
}

fn divide(console: &mut Console) -> Result<()> {
    console.chapter("Each agent has its share");
    let get = json!({ "name": "shopping" });
    console.step(
        "an admin says how many calls an agent may make in a minute",
        &["principal", "limit", "reader", "--calls-per-minute", "1"],
        Exit::Ok,
        &["calls_per_minute"],
    )?;
    console.call("the first is made", ("notes", "get", "reader"), &get, Exit::Ok, &["a portcullis"])?;
    console.call(
        "the second has to wait for its time",
        ("notes", "get", "reader"),
        &get,
        Exit::Busy,
        &["principal_calls_per_minute", "retry_after"],
    )?;
    console.call("others are as before", ("notes", "get", "writer"), &get, Exit::Ok, &["a portcullis"])?;
    Ok(())
}

fn trust(console: &mut Console, demo: &DemoFolder) -> Result<()> {
    console.chapter("An author signs, and the host asks for it");
    let (notes, key, get) = (demo.notes()?, demo.author_key(), json!({ "name": "shopping" }));
    let (notes, key) = (text(&notes)?, text(&key)?);
    console.step(
        "the author makes a key",
        &["signing-key", "generate", key, "--unencrypted"],
        Exit::Ok,
        &["author.pub"],
    )?;
    console.step(
        "and signs the component",
        &["sign", notes, "--secret-key", key, "--name", "notes"],
        Exit::Ok,
        &["minisig"],
    )?;
    let (public, changed) = (demo.author_key().with_extension("pub"), demo.changed_component()?);
    console.step(
        "whoever has the public key can check that",
        &["verify", notes, "--public-key", text(&public)?],
        Exit::Ok,
        &[],
    )?;
    console.step(
        "other bytes are not what was signed",
        &[
            "verify",
            text(&changed)?,
            "--public-key",
            text(&public)?,
            "--signature",
            &format!("{notes}.minisig"),
        ],
        Exit::NotVerified,
        &[],
    )?;
    console.step(
        "an admin says whose signature the package needs",
        &["trust", "apply", text(&demo.trust()?)?],
        Exit::Ok,
        &["notes"],
    )?;
    console.call(
        "it came without one: it does not run any more, approved or not",
        ("notes", "get", "writer"),
        &get,
        Exit::Denied,
        &["untrusted"],
    )?;
    console.step(
        "the same bytes are added again, with the signature that is beside them",
        &["package", "add", notes, "--name", "notes"],
        Exit::Ok,
        &["ann"],
    )?;
    console.call("it runs", ("notes", "get", "writer"), &get, Exit::Ok, &["a portcullis"])?;
    Ok(())
}

fn prove(console: &mut Console, demo: &DemoFolder) -> Result<()> {
    console.chapter("The log proves what happened, to whoever has the public key");
    console.step(
        "every record is in the tree that the host signed",
        &["audit", "verify"],
        Exit::Ok,
        &["\"uncovered\":0"],
    )?;
    let forged = demo.forged_log()?;
    console.step(
        "in a copy one word of one record was changed: it is found and named",
        &["audit", "verify", "--folder", text(&forged)?],
        Exit::NotVerified,
        &["not_verified", "line"],
    )?;
    let found = console.step(
        "somebody asks which call of notes went well last",
        &[
            "audit",
            "query",
            "--event",
            "call_finished",
            "--package",
            "notes",
            "--outcome",
            "ok",
            "--limit",
            "1",
        ],
        Exit::Ok,
        &["call_finished"],
    )?;
    let call = found.call().context("a record of a call has its id")?;
    console.step(
        "its whole story",
        &["audit", "show", &call],
        Exit::Ok,
        &["call_admitted", "call_finished"],
    )?;
    let (receipt, key) = (demo.receipt(), demo.first_key()?);
    let (receipt, key) = (text(&receipt)?, text(&key)?);
    console.step("a receipt of it", &["audit", "prove", &call, "--out", receipt], Exit::Ok, &["receipt"])?;
    console.step(
        "which whoever has the public key can check, without the log",
        &["audit", "verify-receipt", receipt, "--key", key],
        Exit::Ok,
        &[&call],
    )?;
    console.step("the key is rotated", &["audit", "key", "rotate"], Exit::Ok, &["portcullis/"])?;
    console.step(
        "whoever trusts the first key can go on from there",
        &["audit", "verify", "--key", key],
        Exit::Ok,
        &["\"rotations\":1"],
    )?;
    Ok(())
}

fn attack(console: &mut Console, demo: &DemoFolder) -> Result<()> {
    console.chapter("A hostile tool gets nowhere, within bounds");
    let hostile = |tool: &'static str| ("hostile", tool, "tester");
    let nothing = json!({});
    console.call("it computes for ever: ended", hostile("spin"), &nothing, Exit::Limit, &["limit"])?;
    console.call("it sleeps for ever: ended", hostile("sleep"), &nothing, Exit::Limit, &["wall_time"])?;
    let allocated = console.call(
        "it takes all memory it can: it gets what was granted",
        hostile("allocate"),
        &nothing,
        Exit::Ok,
        &[],
    )?;
    let bytes = allocated.number().context("allocate says how much it got")?;
    ensure!(bytes > 0 && bytes < HOSTILE_MEMORY_BYTES, "it got {bytes} bytes");
    let attempts = console.call(
        "it reads outside of its folder, in eleven ways: nothing",
        hostile("read-outside"),
        &nothing,
        Exit::Ok,
        &["/etc/passwd"],
    )?;
    let shown = attempts.text();
    if shown.contains("\"succeeded\":true") || shown.contains("root:") || shown.contains(folder::SECRET) {
        bail!("it read what was not granted:\n{shown}");
    }
    ensure!(!demo.bait_has_link(), "it made a link to the outside");
    let call = attempts.call().context("an answer has the id of its call")?;
    console.step("and each try is in the log", &["audit", "tail", "--call", &call], Exit::Ok, &["denied"])?;
    console.call(
        "it floods the host with calls: ended",
        hostile("flood-host-calls"),
        &json!({ "calls": 1_000_000 }),
        Exit::Limit,
        &["host_calls"],
    )?;
    console.call(
        "it floods stdout: cut",
        hostile("flood-stdout"),
        &json!({ "bytes": 1_000_000 }),
        Exit::Ok,
        &[],
    )?;
    console.call(
        "it returns a megabyte: ended",
        hostile("flood-result"),
        &json!({ "bytes": 1 << 20 }),
        Exit::Limit,
        &["limit"],
    )?;
    console.call(
        "it recurses without end: its own stack overflows, in its own memory",
        hostile("deep-recursion"),
        &nothing,
        Exit::ToolError,
        &["crashed"],
    )?;
    console.call(
        "and the host lives: another tool answers as before",
        RENDER,
        &render_arguments(),
        Exit::Ok,
        &["<h1>Hello</h1>"],
    )?;
    Ok(())
}

fn change(console: &mut Console, demo: &DemoFolder) -> Result<()> {
    console.chapter("Grants end, and bytes that changed are not what was approved");
    let grants = console.step("the grants in force", &["grant", "list"], Exit::Ok, &[])?;
    let id = grants.grant_of("markdown").context("the grant of markdown is listed")?;
    console.step("an admin revokes one", &["grant", "revoke", &id], Exit::Ok, &["revoked"])?;
    console.call("its agent is refused from now on", RENDER, &render_arguments(), Exit::Denied, &[])?;
    console.step(
        "other bytes come under a known name",
        &["package", "add", text(&demo.changed_component()?)?, "--name", "notes", "--version", "9.9.9"],
        Exit::Ok,
        &["9.9.9"],
    )?;
    let answer = console.call(
        "calls still run the bytes that were approved",
        ("notes", "get", "writer"),
        &json!({ "name": "shopping" }),
        Exit::Ok,
        &["a portcullis"],
    )?;
    let ran = answer.string("digest").context("an answer names the bytes that ran")?;
    ensure!(!demo.changed_digest()?.ends_with(&ran), "bytes that nobody approved were run");
    Ok(())
}

fn stop(console: &mut Console) -> Result<()> {
    console.chapter("After an incident: everything stops, and what did it stays stopped");
    console.step(
        "an admin freezes the host",
        &["freeze", "--reason", "the hostile tool was here"],
        Exit::Ok,
        &["frozen"],
    )?;
    let get = json!({ "name": "shopping" });
    console.call(
        "nothing runs, in any process",
        ("notes", "get", "writer"),
        &get,
        Exit::Denied,
        &["frozen"],
    )?;
    console.step(
        "the hostile tool is quarantined",
        &["package", "quarantine", "hostile", "--reason", "it is what its name says"],
        Exit::Ok,
        &["hostile"],
    )?;
    console.step("the host is thawed", &["thaw"], Exit::Ok, &[])?;
    console.call("the others work", ("notes", "get", "writer"), &get, Exit::Ok, &["a portcullis"])?;
    console.call(
        "the quarantined tool does not, though it is approved and granted",
        ("hostile", "spin", "tester"),
        &json!({}),
        Exit::Denied,
        &["quarantined"],
    )?;
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
