//! The SDKs of Python and JavaScript: their own tests on this machine, those of a new project, and the same example
//! tools in three languages, which pass the same cases in the sandbox.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portcullis::gateway::{CallControl, CallError};
use portcullis::sandbox::{Content, InvokeError};
use serde_json::{Value, json};

use crate::harness::process::{Cli, Ran, Running};
use crate::harness::web::Server;
use crate::harness::{AGENT, World, grant, guest, request};

/// An engine or interpreter is compiled for each host of the cases.
const CASES_TIME_MAX: Duration = Duration::from_secs(20 * 60);
const TESTS_TIME_MAX: Duration = Duration::from_secs(5 * 60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// A program of this machine, in a folder.
fn program(name: &str, arguments: &[&str], folder: &Path) -> Ran {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
    Running::start(command).end_within(TESTS_TIME_MAX)
}

/// Each example, in each language: the three pass what is written once.
fn passes_the_cases(example: &str, components: [&str; 3], cases: usize) {
    let cli = Cli::new();
    let folder = root().join("example-tools").join(example);
    let folder = folder.to_str().expect("UTF-8");
    for component in components {
        let file = cli.file(&format!("{component}.wasm"), guest(component));
        let ran = cli.start(["test", folder, "--component", &file]).end_within(CASES_TIME_MAX).expect(0);
        assert!(ran.stdout.contains(&format!("{cases} of {cases} cases passed")), "{component}: {ran:?}");
    }
}

#[test]
fn a_computation_is_the_same_in_three_languages() {
    passes_the_cases("text-stats", ["text-stats", "text-stats-python", "text-stats-javascript"], 7);
}

#[test]
fn state_is_kept_and_refused_alike_in_three_languages() {
    passes_the_cases("counter", ["counter", "counter-python", "counter-javascript"], 7);
}

#[test]
fn requests_are_sent_and_refused_alike_in_three_languages() {
    passes_the_cases("api-client", ["api-client", "api-client-python", "api-client-javascript"], 5);
}

/// Without its helper's line in the world nothing of it is imported: what is not there can't be granted.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_imports_the_helpers_of_its_world_and_agents_see_the_same_tools() {
    let world = World::new().await;
    let special = ["keyvalue", "config", "wasi:http", "logging", "progress", "secrets", "invoke"];
    for (example, expected) in [
        ("text-stats", &[][..]),
        ("counter", &["config", "keyvalue"]),
        ("api-client", &["config", "wasi:http"]),
    ] {
        let mut seen: Vec<Value> = Vec::new();
        for language in ["", "-python", "-javascript"] {
            let name = format!("{example}{language}");
            world.add(&name, guest(&name)).await;
            let mut details = world.host.package(&name.parse().expect("a name")).await.expect("it is there");
            let description = details.remove(0).description;
            let mut used: Vec<&str> = special
                .into_iter()
                .filter(|part| description.imports.iter().any(|import| import.contains(part)))
                .collect();
            used.sort_unstable();
            assert_eq!(used, expected, "{name}: {:?}", description.imports);
            let tools = description.tools.iter();
            seen.push(tools.map(|tool| json!([tool.name, tool.description])).collect());
        }
        assert!(seen[0] == seen[1] && seen[0] == seen[2], "{seen:?}");
    }
}

/// Each helper in the sandbox: with a grant for all of it, and with none.
async fn uses_every_helper(name: &str) {
    let body = "{\"got\": true}";
    let head = format!("HTTP/1.1 201 Created\r\nx-answer: yes\r\ncontent-length: {}\r\n\r\n", body.len());
    let server = Server::says(format!("{head}{body}")).await;
    let world = World::new().await;
    world.add(name, guest(name)).await;
    world.add("echo", guest("echo")).await;
    world.set_secret("hidden", "a-secret-of-twenty-letters").await;
    let nothing = format!("{}{}", grant(name), grant("echo"));
    let rules = format!(
        "config = {{ a = \"1\" }}\n[[grant.http]]\nhosts = [\"127.0.0.1\"]\nschemes = [\"http\"]\nports = [{}]\n\
         addresses = [\"127.0.0.0/8\"]\nmethods = [\"GET\", \"POST\"]\n[[grant.keyvalue]]\nstore = \"all\"\nscope = \"package\"\n\
         access = \"read-write\"\n[[grant.secrets]]\nname = \"hidden\"\n[[grant.invoke]]\npackage = \"echo\"\ntools = [\"text\"]\n",
        server.port()
    );
    world.grant(&format!("{}{rules}{}", grant(name), grant("echo"))).await;
    let url = json!({ "url": format!("http://127.0.0.1:{}/in", server.port()) });

    let control = CallControl::default();
    let mut heard = control.progress();
    let order = request(AGENT, name, "use_all", url.clone());
    let answer =
        world.host.call_controlled(order, &control).await.unwrap_or_else(|error| panic!("{error:?}"));
    let expected = json!({
        "config": [["a", "1"]], "json": {"b": [1, null]}, "keys": ["a", "c", "d"], "many": [2, null], "total": 42,
        "status": 201, "answer": {"got": true}, "header": "yes", "secret": 26, "invoked": "größer", "cancelled": false,
    });
    assert_eq!(answer.answer.structured, Some(expected));
    assert_eq!(answer.report.log, "warn: began\ndebug helpers: went on\n");
    let step = heard.borrow_and_update().clone().expect("a step");
    assert_eq!((step.done, step.total, &*step.message), (1.0, Some(2.0), "half"));
    let seen = server.seen();
    assert!(
        seen[0].starts_with("POST /in?q=a%20b HTTP/1.1\r\n") && seen[0].contains("x-said: so"),
        "{seen:?}"
    );

    let all = world.value(name, "try_all", url.clone()).await;
    let kinds = ["config", "http", "invoke", "kv", "secrets"];
    assert_eq!(all, kinds.iter().map(|kind| ((*kind).to_owned(), json!("granted"))).collect::<Value>());
    let long = world.call(name, "too_long", url.clone()).await;
    let Err(CallError::Failed { error: InvokeError::Tool { message, .. }, .. }) = long else {
        panic!("{long:?}")
    };
    assert_eq!(message, "the answer has more than 1 bytes");

    // The denied twin of each.
    world.grant(&nothing).await;
    let none = world.value(name, "try_all", url).await;
    let refused = json!({
        "config": "unavailable", "http": "denied", "invoke": "denied", "kv": "access-denied", "secrets": "not-permitted",
    });
    assert_eq!(none, refused);

    let contents = world.call(name, "contents", json!({})).await.expect("an answer").answer.content;
    let [Content::Text { text }, Content::Image { .. }, Content::Audio { .. }, note, data] =
        contents.as_slice()
    else {
        panic!("{contents:?}");
    };
    assert_eq!(text, "text");
    assert!(
        matches!(note, Content::Resource { text: Some(text), mime_type: Some(_), .. } if text == "# A"),
        "{note:?}"
    );
    assert!(matches!(data, Content::Resource { blob: Some(_), mime_type: None, .. }), "{data:?}");

    let failed = world.call(name, "fail", json!({"of": "arguments"})).await;
    let whose = |error: &InvokeError| matches!(error, InvokeError::Arguments(told) if told == "bad");
    assert!(matches!(&failed, Err(CallError::Failed { error, .. }) if whose(error)), "{failed:?}");
    let failed = world.call(name, "fail", json!({"of": "tool"})).await;
    let whose =
        |error: &InvokeError| matches!(error, InvokeError::Tool { message, .. } if message == "failed");
    assert!(matches!(&failed, Err(CallError::Failed { error, .. }) if whose(error)), "{failed:?}");
    let crash = world.call(name, "mistake", json!({})).await;
    let Err(CallError::Failed { error: InvokeError::Crashed(message), report }) = crash else {
        panic!("{crash:?}")
    };
    assert!(!message.contains("not meant"), "{message}");
    assert!(report.stderr.contains("not meant to be told"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_helper_of_the_python_sdk_works_in_the_sandbox() {
    uses_every_helper("helpers-python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_helper_of_the_javascript_sdk_works_in_the_sandbox() {
    uses_every_helper("helpers-javascript").await;
}

#[test]
fn the_python_sdk_does_on_the_authors_machine_what_it_says() {
    let ran = program("python3", &["-m", "unittest", "tests.test_sdk"], &root().join("guest-sdk/python"));
    assert!(ran.expect(0).stderr.contains("\nOK"));
}

#[test]
fn the_javascript_sdk_does_on_the_authors_machine_what_it_says() {
    let folder = root().join("guest-sdk/javascript");
    let hooks = ["--import", "./testing/register.js", "--test", "tests/sdk.test.js"];
    let ran = program("node", &hooks, &folder).expect(0);
    assert!(ran.stdout.contains("fail 0") && !ran.stdout.contains("pass 0"), "{ran:?}");
}

/// The declarations are those of the functions: `tsc` reads an example by them, and sees a mistake.
#[test]
fn the_types_of_the_javascript_sdk_are_checked() {
    let cli = Cli::new();
    cli.run(["new", "typed", "--lang", "javascript", "--kind", "sdk"]).expect(0);
    let folder = cli.path("typed");
    let tsc = root().join("target/javascript/node_modules/typescript/bin/tsc");
    let options = ["--noEmit", "--strict", "--lib", "es2023", "--module", "nodenext", "--target", "es2022"];
    let check = |text: &str| {
        std::fs::write(folder.join("typed.ts"), text).expect("written");
        let arguments: Vec<&str> =
            [tsc.to_str().expect("UTF-8")].into_iter().chain(options).chain(["typed.ts"]).collect();
        program("node", &arguments, &folder)
    };
    let right = "import { json, schema, tool, tools } from './sdk/index.js';\n\
                 import * as kv from './sdk/kv.js';\n\
                 const t = tool({ name: 'a', description: 'b', input: schema.object({ x: schema.integer(), \
                 y: schema.optional(schema.string()) }), run({ x, y }) { const n: number = x; \
                 const s: string | undefined = y; const b: bigint = kv.open('a').increment('b', n); \
                 return json({ b, s }); } });\n\
                 export const offered = tools(t);\n";
    check(right).expect(0);
    let wrong = check(&right.replace("const n: number", "const n: string"));
    assert!(wrong.stdout.contains("TS2322"), "{wrong:?}");
}

/// The tests that a new project has, by the languages' own programs.
#[test]
fn a_new_projects_tests_pass_without_wasm_and_fail_with_a_mistake() {
    let cli = Cli::new();
    let run = |name: &str, language: &str, file: &str, command: &[&str]| {
        cli.run(["new", name, "--lang", language, "--kind", "sdk"]).expect(0);
        let folder = cli.path(name);
        program(command[0], &command[1..], &folder).expect(0);
        let source = std::fs::read_to_string(folder.join(file)).expect("there");
        let mistaken =
            source.replace("words=len(text.split())", "words=1").replace("words: text", "words: 1 + text");
        assert_ne!(source, mistaken);
        let mistaken = mistaken.replace("1 + text.split(/\\s+/).filter(Boolean).length", "1");
        std::fs::write(folder.join(file), mistaken).expect("written");
        let failed = program(command[0], &command[1..], &folder);
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    };
    run("py", "python", "app.py", &["python3", "-m", "unittest"]);
    run("js", "javascript", "tool.js", &["npm", "test"]);
}

/// A helper whose line is not in the world: the build says which.
#[test]
fn a_helper_without_its_line_in_the_world_is_told_at_the_build() {
    for (language, source, old, used, dependencies, at) in [
        ("python", "app.py", "import Json,", "import Json, kv,", "target/python", ".venv"),
        (
            "javascript",
            "tool.js",
            "import { json, schema",
            "import * as kv from './sdk/kv.js';\nglobalThis.kv = kv;\nimport { json, schema",
            "target/javascript/node_modules",
            "node_modules",
        ),
    ] {
        let cli = Cli::new();
        cli.run(["new", "lacking", "--lang", language, "--kind", "sdk"]).expect(0);
        let folder = cli.path("lacking");
        std::os::unix::fs::symlink(root().join(dependencies), folder.join(at)).expect("linked");
        let text = std::fs::read_to_string(folder.join(source)).expect("there");
        assert!(text.contains(old), "{text}");
        std::fs::write(folder.join(source), text.replace(old, used)).expect("written");
        let build = || cli.start(["build", "lacking"]).end_within(CASES_TIME_MAX);
        let line = "include portcullis:sdk/kv@0.1.0;";
        let failed = build().expect(2);
        assert!(failed.stderr.contains(line), "{failed:?}");
        // The twin: with the line that was told, it is built.
        let world = folder.join("wit/world.wit");
        let text = std::fs::read_to_string(&world).expect("there");
        std::fs::write(&world, text.replace(&format!("// {line}"), line)).expect("written");
        build().expect(0);
    }
}
