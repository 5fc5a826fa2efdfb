//! The pages for authors: the commands of the tutorials are run, and the examples of values are given to a component.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portcullis::gateway::CallError;
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use crate::harness::process::{Cli, Running, program};
use crate::harness::{World, guest};

/// The longest that the commands of a page may take on a machine that does other things too.
const PAGE_TIME_MAX: Duration = Duration::from_secs(30 * 60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn page(name: &str) -> String {
    let path = root().join("docs/authors").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The commands of a page, in their order. What would download is replaced by what is here already; each page must
/// have said how to get it.
fn script(page: &str, download: &str, instead: &str) -> String {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let all: String = blocks.collect();
    assert_eq!(all.matches(download).count(), 1, "{download}");
    all.replace(download, instead)
}

/// Runs them in one shell, from an empty folder.
fn runs(script: &str) -> (String, String) {
    let cli = Cli::new();
    let program = program();
    let path = std::env::var("PATH").expect("a path");
    let mut shell = Command::new("sh");
    shell.args(["-e", "-x", "-c", script]).current_dir(cli.temporary.path());
    shell.env("PATH", format!("{}:{path}", program.parent().expect("its folder").display()));
    shell.env("PORTCULLIS_DATA_DIR", &cli.data).env("NO_COLOR", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    shell.env("CARGO_TARGET_DIR", root().join("target/guests/build")).env("CARGO_NET_OFFLINE", "true");
    let ran = Running::start(shell).end_within(PAGE_TIME_MAX).expect(0);
    (ran.stdout, ran.stderr)
}

/// The tutorial of a language with an SDK: it tests, runs, develops and calls a tool that counts.
fn counts_visits(name: &str, download: &str, instead: &str) {
    let (stdout, stderr) = runs(&script(&page(name), download, instead));
    assert!(stdout.contains("2 of 2 cases passed"), "{stdout}\n{stderr}");
    // By `run`, by `dev`, and twice on a host, whose store outlives the call.
    let answers: Vec<Value> = stdout
        .lines()
        .filter(|line| line.starts_with("{\"page\""))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let expected = [1, 1, 1, 2].map(|visits| json!({"page": "home", "visits": visits}));
    assert_eq!(answers, expected, "{stdout}\n{stderr}");
    assert!(stderr.contains("[[grant.keyvalue]]"), "the smallest grant: {stderr}");
    assert!(stderr.contains("key:            pcl_"), "a key: {stderr}");
}

#[test]
fn the_tutorial_for_rust_says_what_works() {
    counts_visits("rust.md", "rustup target add wasm32-wasip2\n", ":\n");
}

#[test]
fn the_tutorial_for_python_says_what_works() {
    let link = format!("ln -s '{}' .venv", root().join("target/python").display());
    let download = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";
    counts_visits("python.md", download, &link);
}

#[test]
fn the_tutorial_for_javascript_says_what_works() {
    let link = format!("ln -s '{}' node_modules", root().join("target/javascript/node_modules").display());
    counts_visits("javascript.md", "npm install\n", &format!("{link}\n"));
}

#[test]
fn the_tutorial_for_c_says_what_works() {
    let download = "apt-get install -y --no-install-recommends clang libclang-rt-dev-wasm32 wasi-libc\n";
    let (stdout, stderr) = runs(&script(&page("c.md"), download, ":\n"));
    assert!(stdout.contains("2 of 2 cases passed"), "{stdout}\n{stderr}");
    assert_eq!(stdout.matches("[3,true]").count(), 2, "run and call: {stdout}\n{stderr}");
}

/// Which function of the guest `echo` takes and gives a type of the page.
fn echoing(ty: &str) -> &'static str {
    match ty.split(',').next().unwrap_or(ty) {
        "`bool`" => "truth",
        "`u8`" => "unsigned8",
        "`s32`" => "signed32",
        "`u64`" => "unsigned64",
        "`s64`" => "signed64",
        "`f32`" => "float32",
        "`f64`" => "float64",
        "`char`" => "character",
        "`string`" => "text",
        "`list<u8>`" => "bytes",
        "`list<string>`" => "texts",
        "`list<list<u32>>`" => "matrix",
        "`tuple<string" => "pair",
        "`shape`" => "structure",
        "`figure`" => "choice",
        "`colour`" => "enumeration",
        "`permissions`" => "set",
        "`option<string>`" => "maybe",
        "`option<option<u32>>`" => "maybe-maybe",
        "`list<result<u32" => "outcome",
        other => panic!("no function takes {other}"),
    }
}

/// The rows of the table with this head.
fn rows<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, table) = page.split_once(head).unwrap_or_else(|| panic!("no {head}"));
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

fn written(cell: &str) -> Value {
    let text = cell.trim_matches('`');
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_values_says_what_a_component_takes_and_gives() {
    let page = page("values.md");
    let world = World::with("echo", guest("echo")).await;
    let answered = rows(&page, "| type | given | answered |");
    assert!(answered.len() >= 30, "{answered:?}");
    for row in answered {
        let [ty, given, answer] = row[..] else { panic!("{row:?}") };
        let found = world.value("echo", echoing(ty), json!({"value": written(given)})).await;
        assert_eq!(found.to_string(), written(answer).to_string(), "{ty} {given}");
    }
    let refused = rows(&page, "| type | refused | because |");
    assert!(refused.len() >= 14, "{refused:?}");
    for row in refused {
        let [ty, given, _] = row[..] else { panic!("{row:?}") };
        let result = world.call("echo", echoing(ty), json!({"value": written(given)})).await;
        match result {
            Err(CallError::Failed { error: InvokeError::Arguments(message), .. }) => {
                assert!(message.contains("$.value"), "{ty} {given}: {message}");
            }
            other => panic!("{ty} {given}: {other:?}"),
        }
    }
}
