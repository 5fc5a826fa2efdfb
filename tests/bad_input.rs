//! Bad input: a clear error that names the place, exit code 2, in no time, and nothing is lost.

use std::fs::File;
use std::time::{Duration, Instant};

use portcullis::audit::event::Event;
use serde_json::{Value, json};

use crate::harness::process::{Cli, grant, notes_folder, spin};
use crate::harness::{AGENT, guest};

/// The longest that a refusal may take on a loaded machine: none compiles or reads the whole.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(20);

/// A grants file with its error: name, text, place, what is said, key.
type BadGrants = (&'static str, String, &'static str, &'static str, &'static str);

fn bad_grants() -> Vec<BadGrants> {
    let body = |more: &str| grant("spin", more);
    let folder = |host: &str| body(&notes_folder(host));
    vec![
        ("unknown", body("agnets = [\"x\"]\n"), "4:1", "unknown key agnets", "grant[0].agnets"),
        ("twice", body("agents = [\"x\"]\n"), "4:1", "is given twice", "grant[0].agents"),
        (
            "size",
            body("limits = { memory = \"lots\" }\n"),
            "4:21",
            "\"lots\" is not a size",
            "grant[0].limits.memory",
        ),
        (
            "duration",
            body("limits = { wall_time = \"5 parsecs\" }\n"),
            "4:24",
            "is not a duration",
            "wall_time",
        ),
        ("ceiling", body("limits = { memory = \"9TiB\" }\n"), "4:21", "1073741824", "grant[0].limits.memory"),
        ("date", body("expires = \"soon\"\n"), "4:11", "expires", "grant[0].expires"),
        ("missing", folder("missing"), "5:13", "does not exist", "grant[0].filesystem[0].host_path"),
        ("link", folder("link"), "5:13", "is a symlink", "grant[0].filesystem[0].host_path"),
        ("around", folder("."), "5:13", "contains", "grant[0].filesystem[0].host_path"),
        ("inside", folder("data/audit"), "5:13", "lies inside", "grant[0].filesystem[0].host_path"),
        ("syntax", "[[grant]\n".to_owned(), "1:9", "not valid TOML", "grant"),
        ("unregistered", grant("nosuch", ""), "2:11", "package nosuch is not registered", "grant[0].package"),
    ]
}

/// Cases 103 and 105: what can't be read or understood is refused loudly, and the old revision stays.
#[test]
fn a_bad_grants_file_is_refused_with_its_place_and_changes_nothing() {
    let cli = Cli::with("spin", &spin(), "limits = { fuel = 1_000_000 }\n");
    let markdown = cli.file("markdown.wasm", guest("markdown"));
    cli.run(["package", "add", &markdown, "--name", "markdown"]).expect(0);
    std::fs::create_dir(cli.path("folder")).expect("made");
    std::os::unix::fs::symlink(cli.path("folder"), cli.path("link")).expect("made");
    let before = cli.grants();
    for (name, text, place, message, key) in bad_grants() {
        let file = cli.file(&format!("{name}.toml"), &text);
        let ran = cli.run(["grant", "apply", &file]).expect(2);
        let ran =
            ran.says(&format!("{name}.toml:{place}]")).says(message).says(key).says("nothing was changed");
        let drawn = ran.stderr.contains('┬') || ran.stderr.contains('▲');
        assert!(drawn && ran.stdout.is_empty(), "{name}: {ran:?}");

        let problem = cli.run(["grant", "apply", &file, "--json"]).expect(2).problem();
        let diagnostic = &problem["diagnostics"][0];
        let found = format!("{}:{}", diagnostic["line"], diagnostic["column"]);
        assert_eq!((found.as_str(), &problem["blame"]), (place, &json!("admin")), "{name}");
        assert!(diagnostic["key"].as_str().is_some_and(|found| found.contains(key)), "{name}: {diagnostic}");
    }
    assert_eq!(cli.grants(), before);
    // Still under the old revision, with its limit.
    cli.call("spin", "run", "{}").expect(4);
}

#[test]
fn all_errors_of_a_grants_file_are_shown_at_once_and_the_good_half_is_not_taken() {
    let cli = Cli::with("spin", &spin(), "");
    let before = cli.grants();
    let text = grant("spin", "limits = { memory = \"lots\" }\nexpires = \"soon\"\n");
    let text = format!("{}\n{text}", grant("spin", "tools = [\"run\"]\n"));
    let file = cli.file("two.toml", text);
    let ran = cli.run(["grant", "apply", &file]).expect(2);
    ran.says("grant[1].limits.memory").says("grant[1].expires").says("has 2 errors; nothing was changed");
    assert_eq!(cli.grants(), before);
}

/// Case 103: the file is not what is in force, so its loss changes nothing.
#[test]
fn a_grants_file_that_can_not_be_read_or_is_gone_changes_nothing() {
    let cli = Cli::with("spin", &spin(), "limits = { fuel = 1_000_000 }\n");
    let before = cli.grants();
    let file = cli.path("spin.toml");
    std::fs::remove_file(&file).expect("removed");
    cli.call("spin", "run", "{}").expect(4);
    cli.run(["grant", "apply", "spin.toml"]).expect(2).says("spin.toml can't be read");
    cli.run(["grant", "apply", "."]).expect(2).says("can't be read");
    cli.file("binary.toml", b"\xff\xfe");
    cli.run(["grant", "apply", "binary.toml"]).expect(2).says("is not UTF-8 text, from byte 0 on");
    File::create(cli.path("long.toml")).and_then(|file| file.set_len(200 << 20)).expect("a sparse file");
    cli.run(["grant", "apply", "long.toml"]).expect(2).says("at most");
    assert_eq!(cli.grants(), before);
    cli.call("spin", "run", "{}").expect(4);
}

#[test]
fn bad_arguments_are_refused_with_their_place_and_never_reach_the_tool() {
    let (cli, notes) = Cli::with_notes();
    let admitted =
        || cli.log().iter().filter(|record| matches!(record.event, Event::CallAdmitted { .. })).count();
    cli.file("large.json", format!("{{\"name\":\"a\",\"text\":\"{}\"}}", "x".repeat(10_000_000)));
    cli.file("deep.json", format!("{{\"name\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000)));
    cli.file("binary.json", b"{\"name\":\"\xff\"}");
    for (arguments, message) in [
        ("{\"name\"", "line 1, column 7: the arguments are not valid JSON"),
        ("not JSON", "the arguments are not valid JSON"),
        ("", "the arguments are not valid JSON"),
        ("{} {}", "the arguments are not valid JSON"),
        ("[]", "the arguments must be a JSON object, this is an array"),
        ("{\"name\":\"a\",\"name\":\"b\",\"text\":\"x\"}", "line 1, column 18: $.name is given twice"),
        ("@large.json", "the arguments are 10000022 bytes long or longer, at most 1048576 are read"),
        ("@deep.json", "the arguments are nested deeper than 127 levels"),
        ("@binary.json", "UTF-8"),
        ("@none.json", "none.json can't be read"),
    ] {
        let started = Instant::now();
        let ran =
            cli.run(["call", "notes", "add", "--as", AGENT, "--args", arguments]).expect(2).says(message);
        assert!(ran.stdout.is_empty() && started.elapsed() < REFUSAL_TIME_MAX, "{arguments}: {ran:?}");
    }
    assert_eq!(admitted(), 0);
    // These are JSON, and do not fit the tool's schema: it does not run, and the log says that it was asked for.
    for (arguments, message) in [
        (json!({"name": 1, "text": "x"}), "$.name: expected a string, found the number 1"),
        (json!({"name": "a"}), "$.text"),
        (json!({"name": "a", "text": "x", "more": 1}), "$.more"),
    ] {
        cli.call("notes", "add", &arguments.to_string()).expect(2).says(message);
    }
    assert_eq!(admitted(), 3);
    assert_eq!(std::fs::read_dir(notes).expect("there").count(), 0);
    cli.call("notes", "add", &json!({"name": "a", "text": "x"}).to_string()).expect(0);
}

#[test]
fn a_file_that_is_no_component_is_refused_in_no_time_and_nothing_is_registered() {
    let cli = Cli::new();
    let notes = guest("notes");
    cli.file("core.wasm", b"\0asm\x01\0\0\0");
    cli.file("truncated.wasm", &notes[..notes.len() / 2]);
    cli.file("empty.wasm", b"");
    cli.file("text.wasm", b"(component)");
    File::create(cli.path("large.wasm")).and_then(|file| file.set_len(200 << 20)).expect("a sparse file");
    for (file, message) in [
        ("core.wasm", "this is a core module, not a component"),
        ("truncated.wasm", "the component is not valid: unexpected end"),
        ("empty.wasm", "the file is empty"),
        ("text.wasm", "this is not a WebAssembly component"),
        ("large.wasm", "limit reached: component_bytes 209715200, at most 67108864 bytes"),
        ("none.wasm", "none.wasm can't be read"),
        (".", "can't be read"),
    ] {
        let started = Instant::now();
        let ran = cli.run(["package", "add", file, "--name", "bad"]).expect(2).says(message);
        assert!(ran.stdout.is_empty() && started.elapsed() < REFUSAL_TIME_MAX, "{file}: {ran:?}");
        let problem = cli.run(["package", "add", file, "--name", "bad", "--json"]).expect(2).problem();
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(message)), "{problem}");
    }
    assert_eq!(cli.json(&["package", "list"]), Value::Array(Vec::new()));
}

#[test]
fn unknown_names_are_said_to_be_unknown_with_what_there_is() {
    let cli = Cli::with("spin", &spin(), "");
    for (words, message) in [
        (&["call", "nosuch", "run", "--as", AGENT][..], "there is no package nosuch"),
        (&["call", "spin", "nosuch", "--as", AGENT], "package spin has no tool nosuch; it has run"),
        (&["package", "inspect", "nosuch"], "package nosuch is not registered"),
        (&["package", "approve", "nosuch"], "package nosuch is not registered"),
        (&["package", "remove", "nosuch"], "package nosuch is not registered"),
        (&["grant", "show", "nosuch"], "package nosuch is not registered"),
        (&["grant", "revoke", "77"], "no grant in force has number 77"),
        (&["audit", "tail", "--call", "01890a5d-ac96-774b-bcce-b302099a8057"], "the log has no call"),
        (&["call", "Not_A_Name", "run", "--as", AGENT], "Not_A_Name"),
        (&["frobnicate"], "unrecognized subcommand"),
    ] {
        let ran = cli.run(words).expect(2).says(message);
        assert!(ran.stdout.is_empty(), "{ran:?}");
    }
}
