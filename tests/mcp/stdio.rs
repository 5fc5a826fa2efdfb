//! `portcullis mcp`, as a desktop client starts it: raw lines on its stdin and stdout.

use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event, Record};
use portcullis::policy::Denial;
use serde_json::{Value, json};

use crate::harness::process::{Cli, grant, wait_until};
use crate::harness::talk::{STATELESS, Talk, request, stateless};
use crate::harness::{AGENT, guest, wat};

/// A call that never ends by itself.
const FOR_EVER: &str = "limits = { fuel = 1_000_000_000_000, wall_time = \"10m\" }\n";
/// So long nothing is waited for that must not come.
const SILENCE: Duration = Duration::from_millis(300);

fn with_tools(more: &str) -> Cli {
    Cli::with("mcp", &guest("mcp"), more)
}

fn names(list: &Value) -> Vec<&str> {
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name")).collect()
}

fn sentence(answer: &Value) -> &str {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

/// The end of a call, of which there was one.
fn outcome(record: &Record) -> Option<CallOutcome> {
    match &record.event {
        Event::CallFinished { end, .. } => Some(end.outcome.clone()),
        _ => None,
    }
}

#[test]
fn both_revisions_list_and_call_what_is_granted() {
    let cli = with_tools("tools = [\"count\", \"test_image_content\"]\n");
    let mut legacy = Talk::begin(&cli, AGENT);
    let list = legacy.ask("tools/list", json!({}));
    assert_eq!(names(&list), ["mcp__count", "mcp__test_image_content"]);
    let tool = &list["result"]["tools"][0];
    assert_eq!(tool["description"], "Package mcp says: Counts the letters of a text.");
    assert_eq!(tool["inputSchema"]["required"], json!(["text"]));
    assert_eq!(tool["outputSchema"]["required"], json!(["letters"]));
    let source = &tool["_meta"]["portcullis/source"];
    assert_eq!((&source["package"], &source["trusted"]), (&json!("mcp"), &json!(false)));
    let answer = legacy.call("mcp__count", json!({ "text": "äöü" }));
    assert_eq!(answer["result"]["structuredContent"], json!({ "letters": 3 }));
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"letters":3}"#);
    let image = legacy.call("mcp__test_image_content", json!({}));
    assert_eq!(image["result"]["content"][0]["mimeType"], "image/png");
    let (code, rest, _) = legacy.end();
    assert_eq!((code, rest), (Some(0), vec![]));

    let mut talk = Talk::start(&cli, AGENT);
    let found = talk.ask("server/discover", stateless(json!({})));
    let versions = found["result"]["supportedVersions"].as_array().expect("versions");
    assert!(versions.contains(&json!(STATELESS)), "{found}");
    let list = talk.ask("tools/list", stateless(json!({})));
    assert_eq!(names(&list), ["mcp__count", "mcp__test_image_content"]);
    assert_eq!(list["result"]["cacheScope"], "private");
    assert!(list["result"]["ttlMs"].as_u64().is_some_and(|ttl| ttl <= 60_000), "{list}");
    let call = json!({ "name": "mcp__count", "arguments": { "text": "four" } });
    let answer = talk.ask("tools/call", stateless(call));
    assert_eq!(answer["result"]["structuredContent"], json!({ "letters": 4 }));
    assert_eq!(answer["result"]["resultType"], "complete");
    // The answer names its call, and the place of its last record.
    let call = answer["result"]["_meta"]["portcullis/call"].as_str().expect("an id").to_owned();
    let place = answer["result"]["_meta"]["portcullis/record"].as_u64().expect("a place");
    assert_eq!(talk.end().0, Some(0));
    let record = cli.log().into_iter().find(|record| record.seq.0 == place).expect("it is in the log");
    assert!(matches!(record.event, Event::CallFinished { context, .. } if context.call.to_string() == call));
}

/// The denied twin: a tool that is not granted, and an agent that nobody granted anything. Neither is told from a
/// tool that does not exist, and both are recorded.
#[test]
fn what_is_not_granted_is_not_listed_and_can_not_be_called() {
    let cli = with_tools("tools = [\"count\"]\n");
    let mut talk = Talk::begin(&cli, AGENT);
    assert_eq!(names(&talk.ask("tools/list", json!({}))), ["mcp__count"]);
    let shape = |answer: &Value, name: &str| answer["error"].to_string().replace(name, "NAME");
    let unknown = shape(&talk.call("mcp__nothing", json!({})), "mcp__nothing");
    assert!(unknown.contains("-32602") && unknown.contains("Unknown tool: NAME"), "{unknown}");
    assert_eq!(shape(&talk.call("mcp__loud", json!({})), "mcp__loud"), unknown);
    assert_eq!(shape(&talk.call("count", json!({})), "count"), unknown);
    for name in ["", "__", "mcp__", "../mcp__count", "mcp__count\0", "MCP__count"] {
        assert_eq!(talk.call(name, json!({}))["error"]["code"], -32602, "{name:?}");
    }
    drop(talk);
    let mut stranger = Talk::begin(&cli, "mallory");
    assert_eq!(names(&stranger.ask("tools/list", json!({}))), Vec::<&str>::new());
    let call = json!({ "text": "x" });
    assert_eq!(shape(&stranger.call("mcp__count", call), "mcp__count"), unknown);
    drop(stranger);
    let denials: Vec<Denial> = cli
        .log()
        .into_iter()
        .filter_map(|record| match record.event {
            Event::CallDenied { denial, .. } => Some(denial),
            _ => None,
        })
        .collect();
    assert!(
        matches!(&denials[..], [Denial::ToolNotGranted { .. }, Denial::NotGranted { .. }]),
        "{denials:?}"
    );
}

#[test]
fn a_grant_gives_a_tool_a_name_and_no_two_tools_share_one() {
    let cli = with_tools("names = { count = \"letters\" }\n");
    let mut talk = Talk::begin(&cli, AGENT);
    let list = talk.ask("tools/list", json!({}));
    assert!(names(&list).contains(&"letters") && !names(&list).contains(&"mcp__count"), "{list}");
    let answer = talk.call("letters", json!({ "text": "abc" }));
    assert_eq!(answer["result"]["structuredContent"], json!({ "letters": 3 }));
    assert_eq!(talk.call("mcp__count", json!({ "text": "abc" }))["error"]["code"], -32602);
    drop(talk);
    assert!(cli.run(["grant", "list"]).expect(0).stdout.contains("count as letters"));

    let file = cli.file("other.wasm", guest("listed"));
    cli.run(["package", "add", &file, "--name", "other"]).expect(0);
    cli.run(["package", "approve", "other"]).expect(0);
    for (names, problem) in [
        ("{ add = \"letters\" }", "letters is the name of tool count of package mcp already"),
        ("{ add = \"Letters\" }", "Letters can be taken for letters, which is another tool"),
        ("{ add = \"one\", say = \"one\" }", "one is the name of tool add of package other already"),
        ("{ add = \"mcp__count\" }", "mcp__count has `__` in it"),
        ("{ subtract = \"minus\" }", "package other has no tool subtract"),
        ("{ add = \"a b\" }", "grant[0].names.add"),
        ("[\"add\"]", "expected a table"),
    ] {
        let grants = cli.file("other.toml", grant("other", &format!("names = {names}\n")));
        cli.run(["grant", "apply", &grants]).expect(2).says(problem);
    }
    let more = "tools = [\"say\"]\nnames = { add = \"plus\" }\n";
    let grants = cli.file("other.toml", grant("other", more));
    cli.run(["grant", "apply", &grants])
        .expect(2)
        .says("add is given a name, and is not among the grant's `tools`");
    let grants = cli.file("other.toml", grant("other", "names = { add = \"plus\" }\n"));
    cli.run(["grant", "apply", &grants]).expect(0);
}

/// Case 85: whatever is no message is answered with an error, and the conversation goes on.
#[test]
fn one_wrong_byte_on_stdin_is_an_error_and_the_server_lives() {
    let cli = with_tools("");
    // Before the handshake as well as after it.
    for begin in [Talk::start, Talk::begin] {
        let mut talk = begin(&cli, AGENT);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
        let call = |arguments: &str| {
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"mcp__count\",\
                 \"arguments\":{arguments}}}}}"
            )
        };
        let wrong: [(&[u8], i64, &str); 11] = [
            (b"\xff", -32700, "not valid UTF-8"),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"p\xffng\"}", -32700, "line 1, column"),
            (b"Content-Length: 10\r", -32700, "Parse error"),
            (b"{\"jsonrpc\":\"2.0\"", -32700, "Parse error"),
            (b"\0\0\0", -32700, "Parse error"),
            (b"[]", -32600, "must be a JSON object"),
            (call("{\"text\":\"a\",\"text\":\"b\"}").leak().as_bytes(), -32600, "is given twice"),
            (call("{\"text\":NaN}").leak().as_bytes(), -32700, "Parse error"),
            (call("{\"text\":1e999}").leak().as_bytes(), -32700, "out of range"),
            (deep.leak().as_bytes(), -32600, "nested deeper than 127 levels"),
            (long.leak().as_bytes(), -32600, "more than 1153433 bytes"),
        ];
        for (bytes, code, says) in wrong {
            talk.write(bytes);
            talk.write(b"\n");
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
            let error = talk.hear(&shown, |message| message.get("error").is_some())["error"].clone();
            assert_eq!(error["code"], code, "{shown}: {error}");
            assert!(error["message"].as_str().is_some_and(|text| text.contains(says)), "{shown}: {error}");
        }
        talk.send(&json!({ "hello": 1, "id": "mine" }));
        assert_eq!(talk.answer("mine")["error"]["code"], -32600);
        // A message may come in pieces, and empty lines mean nothing.
        talk.write(b"\n  \r\n{\"jsonrpc\":\"2.0\",\"id\":\"piecewise\",");
        std::thread::sleep(Duration::from_millis(50));
        talk.write(b"\"method\":\"ping\"}\r\n");
        assert_eq!(talk.answer("piecewise")["result"], json!({}));
        let call = json!({ "name": "mcp__count", "arguments": { "text": "still here" } });
        let answer = talk.ask("tools/call", stateless(call));
        assert_eq!(answer["result"]["structuredContent"], json!({ "letters": 10 }));
        let (code, rest, _) = talk.end();
        assert_eq!((code, rest), (Some(0), vec![]));
    }
}

/// Case 86: what a tool prints is nowhere on the stream, and neither is anything else that is no message.
#[test]
fn what_a_tool_prints_never_reaches_the_stream() {
    let cli = with_tools("");
    let mut talk = Talk::begin(&cli, AGENT);
    talk.send(&request("1", "tools/call", json!({ "name": "mcp__loud", "arguments": {} })));
    let answer = talk.answer("1");
    assert_eq!(answer["result"]["content"], json!([{ "type": "text", "text": "quiet" }]));
    assert!(!answer.to_string().contains("forged") && !answer.to_string().contains("noise"), "{answer}");
    let (code, rest, stderr) = talk.end();
    assert_eq!((code, rest), (Some(0), vec![]));
    assert!(!stderr.contains("forged") && !stderr.contains("noise"), "{stderr}");
}

#[test]
fn progress_is_told_to_who_asks_for_it() {
    let cli = with_tools("");
    let mut talk = Talk::begin(&cli, AGENT);
    let call =
        json!({ "name": "mcp__test_tool_with_progress", "arguments": {}, "_meta": { "progressToken": 7 } });
    let answer = talk.ask("tools/call", call);
    assert_eq!(answer["result"]["content"][0]["text"], "done");
    for done in [0.0, 50.0, 100.0] {
        let told = talk.notified("notifications/progress")["params"].clone();
        assert_eq!(told["progressToken"], 7);
        assert_eq!((told["progress"].as_f64(), told["total"].as_f64()), (Some(done), Some(100.0)));
    }
    talk.call("mcp__test_tool_with_progress", json!({}));
    assert_eq!(talk.others(SILENCE), Vec::<Value>::new(), "nobody asked");
}

/// Case 83: a call ends when its client takes it back, or goes away, and the log says so.
#[test]
fn a_call_ends_with_the_wish_for_it() {
    let cli = Cli::with("clock", &wat("clock"), FOR_EVER);
    let owner = cli.serve();
    let begin = |talk: &mut Talk, id: &str| {
        talk.send(&request(id, "tools/call", json!({ "name": "clock__sleep-for-ever", "arguments": {} })));
    };
    let admitted = |count: usize| {
        let is_admitted = |record: &&Record| matches!(record.event, Event::CallAdmitted { .. });
        wait_until("the calls run", || cli.log().iter().filter(is_admitted).count() == count);
    };
    let cancelled = |count: usize| {
        let is_cancelled = |record: &&Record| outcome(record) == Some(CallOutcome::Cancelled);
        wait_until("the log says that the calls were cancelled", || {
            cli.log().iter().filter(is_cancelled).count() == count
        });
    };
    // Taken back.
    let mut talk = Talk::begin(&cli, AGENT);
    begin(&mut talk, "one");
    admitted(1);
    talk.tell("notifications/cancelled", json!({ "requestId": "one", "reason": "enough" }));
    cancelled(1);
    assert_eq!(talk.ask("ping", json!({}))["result"], json!({}), "the conversation goes on");
    assert_eq!(talk.others(SILENCE), Vec::<Value>::new(), "what was taken back is not answered");
    // Its client ends in good order, and so does the program. The id is free again.
    begin(&mut talk, "one");
    admitted(2);
    assert_eq!(talk.end().0, Some(0));
    cancelled(2);
    // Its client is killed.
    let mut talk = Talk::begin(&cli, AGENT);
    begin(&mut talk, "three");
    admitted(3);
    talk.kill();
    cancelled(3);
    assert_eq!(owner.interrupt().status.code(), Some(0));
}

#[test]
fn the_host_says_when_the_agents_own_list_has_changed() {
    let cli = with_tools("tools = [\"count\"]\n");
    let owner = cli.serve();
    let mut legacy = Talk::begin(&cli, AGENT);
    assert_eq!(names(&legacy.ask("tools/list", json!({}))), ["mcp__count"]);
    let mut talk = Talk::start(&cli, AGENT);
    let wish = json!({ "notifications": { "toolsListChanged": true } });
    talk.send(&request("sub", "subscriptions/listen", stateless(wish)));
    let heard = talk.notified("notifications/subscriptions/acknowledged");
    assert_eq!(heard["params"]["notifications"], json!({ "toolsListChanged": true }));
    // Once it is answered, the subscription is under way.
    assert_eq!(names(&talk.ask("tools/list", stateless(json!({})))), ["mcp__count"]);

    // Another agent's grant is nobody else's business.
    let other = "[[grant]]\npackage = \"mcp\"\nagents = [\"other\"]\n";
    let both = format!("{}{other}", grant("mcp", "tools = [\"count\"]\n"));
    cli.run(["grant", "apply", &cli.file("mcp.toml", both)]).expect(0);
    assert_eq!(legacy.others(SILENCE), Vec::<Value>::new());
    assert_eq!(talk.others(SILENCE), Vec::<Value>::new());

    cli.run(["grant", "apply", &cli.file("mcp.toml", grant("mcp", "tools = [\"count\", \"loud\"]\n"))])
        .expect(0);
    legacy.notified("notifications/tools/list_changed");
    let told = talk.notified("notifications/tools/list_changed");
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "sub", "{told}");
    assert_eq!(names(&legacy.ask("tools/list", json!({}))), ["mcp__count", "mcp__loud"]);
    cli.run(["freeze", "--reason", "a test"]).expect(0);
    legacy.notified("notifications/tools/list_changed");
    assert_eq!(names(&legacy.ask("tools/list", json!({}))), Vec::<&str>::new());
    // A host that stops waits for no subscription.
    assert_eq!(owner.interrupt().status.code(), Some(0));
}

/// Requests that are never answered are counted, and so many at most are taken.
#[test]
fn a_client_that_asks_without_an_end_is_told_so() {
    let cli = with_tools("");
    let mut talk = Talk::start(&cli, AGENT);
    let wish = json!({ "notifications": { "toolsListChanged": true } });
    for number in 0..64 {
        let id = format!("sub {number}");
        talk.send(&request(&id, "subscriptions/listen", stateless(wish.clone())));
        talk.notified("notifications/subscriptions/acknowledged");
    }
    talk.send(&request("one more", "tools/list", stateless(json!({}))));
    let error = talk.answer("one more")["error"].clone();
    assert!(error["message"].as_str().is_some_and(|text| text.contains("64 requests")), "{error}");
    talk.tell("notifications/cancelled", json!({ "requestId": "sub 0" }));
    // What was taken back makes room for another.
    wait_until("there is room", || talk.ask("tools/list", stateless(json!({}))).get("result").is_some());
    // Nor is one id that of two requests.
    talk.send(&request("sub 1", "tools/list", stateless(json!({}))));
    let error = talk.hear("the error", |message| message.get("error").is_some());
    assert_eq!((&error["error"]["code"], error.get("id")), (&json!(-32600), None), "{error}");
}

/// What clients write is in no log of the process, unless it is asked for by name.
#[test]
fn what_clients_write_is_not_logged() {
    let cli = with_tools("");
    for (level, is_said) in [("debug", false), ("rmcp=debug", true)] {
        let mut command = cli.command(["mcp", "--agent", AGENT]);
        command.env("PORTCULLIS_LOG", level);
        let mut talk = Talk::run(command);
        let call = json!({ "name": "mcp__count", "arguments": { "text": "a private word" } });
        assert!(talk.ask("tools/call", stateless(call)).get("result").is_some());
        let (_, _, stderr) = talk.end();
        assert_eq!(stderr.contains("a private word"), is_said, "{level}: {stderr}");
    }
}

/// A model is told what it can do about it, and nothing of the host.
#[test]
fn each_kind_of_failure_is_told_in_a_sentence() {
    let cli = with_tools("limits = { output = \"1KiB\" }\n");
    cli.install("listed", &guest("listed"), "");
    cli.install("spin", &wat("spin"), "limits = { fuel = 1000 }\n");
    let owner = cli.serve();
    let mut talk = Talk::begin(&cli, AGENT);
    let told = |answer: &Value, kind: &str, blame: &str| {
        let meta = &answer["result"]["_meta"];
        assert_eq!(meta["portcullis/error"], format!("urn:portcullis:error:{kind}"), "{answer}");
        assert_eq!(meta["portcullis/blame"], blame, "{answer}");
        sentence(answer).to_owned()
    };
    let arguments = talk.call("mcp__count", json!({ "texd": 1 }));
    assert!(told(&arguments, "bad-input", "agent").contains("$.text"), "{arguments}");
    let tool = talk.call("mcp__test_error_handling", json!({}));
    assert_eq!(told(&tool, "tool-error", "tool"), "This tool intentionally returns an error for testing");
    let limit = talk.call("spin__run", json!({}));
    assert!(told(&limit, "limit-reached", "tool").contains("fuel"), "{limit}");
    assert!(limit["result"]["_meta"]["portcullis/call"].is_string());
    let call = json!({ "name": "mcp__count", "arguments": {}, "_meta": { "traceparent": "00-zz" } });
    assert_eq!(talk.ask("tools/call", call)["error"]["code"], -32602);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call =
        json!({ "name": "mcp__count", "arguments": { "text": "" }, "_meta": { "traceparent": trace } });
    assert_eq!(talk.ask("tools/call", call)["result"]["structuredContent"], json!({ "letters": 0 }));
    cli.run(["freeze", "--reason", "the words of an admin"]).expect(0);
    for name in ["mcp__count", "mcp__nothing"] {
        let frozen = told(&talk.call(name, json!({ "text": "" })), "denied", "admin");
        assert!(
            frozen.contains("stopped all calls") && !frozen.contains("the words of an admin"),
            "{frozen}"
        );
    }
    drop(talk);
    assert_eq!(owner.interrupt().status.code(), Some(0));
    let traced = cli.log().into_iter().any(|record| {
        matches!(record.event, Event::CallAdmitted { context, .. }
            if context.trace.as_ref().is_some_and(|known| known.as_str() == trace))
    });
    assert!(traced);
}
