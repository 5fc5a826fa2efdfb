//! MCP over streamable HTTP, raw and on real sockets: one request, one answer or stream.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event};
use serde_json::{Value, json};

use crate::harness::client::{Answer, Client};
use crate::harness::process::{Cli, Running, grant, wait_until};
use crate::harness::talk::{LEGACY, STATELESS, request, stateless};
use crate::harness::{AGENT, guest, wat};

/// A host that is served, and the agent's client.
struct Service {
    cli: Cli,
    server: Running,
    agent: Client,
}

impl Service {
    fn open(cli: Cli) -> Self {
        let (server, port) = cli.serve_network(&[]);
        let agent = Self::client(&cli, port, AGENT);
        Self { cli, server, agent }
    }

    fn client(cli: &Cli, port: u16, agent: &str) -> Client {
        let made = cli.json(&["key", "create", agent]);
        Client::new(port).with_key(made["token"].as_str().expect("a key"))
    }

    fn another(&self, agent: &str) -> Client {
        Self::client(&self.cli, self.agent.port, agent)
    }

    fn finished(&self) -> Vec<CallOutcome> {
        let outcome = |event| match event {
            Event::CallFinished { end, .. } => Some(end.outcome.clone()),
            _ => None,
        };
        self.cli.log().into_iter().filter_map(|record| outcome(record.event)).collect()
    }

    /// The agent's calls: registering a component that lists its tools is one as well.
    fn admitted(&self) -> usize {
        let of_agent = |event: &Event| matches!(event, Event::CallAdmitted { context, .. } if context.principal.as_str() == AGENT);
        self.cli.log().iter().filter(|record| of_agent(&record.event)).count()
    }
}

fn with_tools() -> Service {
    Service::open(Cli::with(
        "mcp",
        &guest("mcp"),
        "tools = [\"count\", \"test_tool_with_progress\", \"wait\"]\n",
    ))
}

/// The head of a request with these headers beside those that every request has.
fn head(client: &Client, body: &str, more: &str) -> String {
    let fixed = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";
    client.head("POST", "/mcp", &format!("{fixed}{more}content-length: {}\r\n", body.len()))
}

fn post(client: &Client, message: &Value, more: &str) -> Answer {
    let body = message.to_string();
    client.exchange(&head(client, &body, more), body.as_bytes())
}

/// The headers of the newer revision, for a method and perhaps a tool.
fn headers(method: &str, tool: Option<&str>) -> String {
    let name = tool.map(|tool| format!("mcp-name: {tool}\r\n")).unwrap_or_default();
    format!("mcp-protocol-version: {STATELESS}\r\nmcp-method: {method}\r\n{name}")
}

/// A request of the newer revision, with the headers that it must have.
fn ask(client: &Client, method: &str, params: Value) -> Answer {
    let headers = headers(method, params["name"].as_str().map(str::to_owned).as_deref());
    post(client, &request("1", method, stateless(params)), &headers)
}

/// Opens a stream for a request, and gives its events as they come.
fn stream(client: &Client, message: &Value, more: &str) -> Events {
    let body = message.to_string();
    let mut stream = client.connect();
    stream.write_all(head(client, &body, more).as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    Events { reader: BufReader::new(stream) }
}

struct Events {
    reader: BufReader<TcpStream>,
}

impl Events {
    /// The next message.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.reader.read_line(&mut line).expect("a line"), 0, "the stream has ended");
            if let Some(data) = line.strip_prefix("data: ")
                && let Ok(message) = serde_json::from_str(data.trim_end())
            {
                return message;
            }
        }
    }

    /// Reads the head of an answer of this type.
    fn head(&mut self, content_type: &str) {
        let (mut line, mut seen) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            assert_ne!(self.reader.read_line(&mut line).expect("a line"), 0, "{seen}");
            seen.push_str(&line);
        }
        assert!(seen.starts_with("HTTP/1.1 200 ") && seen.contains(content_type), "{seen}");
    }

    /// The data that comes until the end of the stream.
    fn rest(self) -> String {
        let lines = self.reader.lines().map(|line| line.expect("a line"));
        lines.filter(|line| line.starts_with("data:")).collect()
    }

    /// Waits for the end of the stream.
    fn end(mut self) {
        let mut line = String::new();
        while self.reader.read_line(&mut line).expect("a line") > 0 {}
    }
}

#[test]
fn both_revisions_list_and_call_what_is_granted() {
    let service = with_tools();
    let names = |answer: &Value| -> Vec<String> {
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {answer}"));
        tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    };
    let granted = ["mcp__count", "mcp__test_tool_with_progress", "mcp__wait"];
    let list = ask(&service.agent, "tools/list", json!({})).expect(200).json();
    assert_eq!(names(&list), granted);
    assert_eq!(list["result"]["cacheScope"], "private");
    let call = json!({ "name": "mcp__count", "arguments": { "text": "four" } });
    let answer = ask(&service.agent, "tools/call", call.clone()).expect(200).json();
    assert_eq!(answer["result"]["structuredContent"], json!({ "letters": 4 }));

    let client = json!({ "name": "test", "version": "1" });
    let hello = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client });
    let hello = post(&service.agent, &request("1", "initialize", hello), "");
    assert!(hello.header("mcp-session-id").is_some());
    assert_eq!(hello.json()["result"]["protocolVersion"], LEGACY);
    // Who has no stream for it is promised no word of changes.
    assert_eq!(hello.json()["result"]["capabilities"]["tools"], json!({ "listChanged": true }));
    let version = format!("mcp-protocol-version: {LEGACY}\r\n");
    let list = post(&service.agent, &request("2", "tools/list", json!({})), &version).expect(200).json();
    assert_eq!(names(&list), granted);
    let answer = post(&service.agent, &request("3", "tools/call", call.clone()), &version).expect(200).json();
    assert_eq!(answer["result"]["structuredContent"], json!({ "letters": 4 }));
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(post(&service.agent, &told, &version).status, 202);

    // The denied twins: another agent, another role, nobody.
    let other = service.another("mallory");
    assert_eq!(names(&ask(&other, "tools/list", json!({})).expect(200).json()), Vec::<String>::new());
    let shape = |answer: &Answer, name: &str| answer.json()["error"].to_string().replace(name, "NAME");
    let unknown = ask(&other, "tools/call", json!({ "name": "mcp__nothing" }));
    let denied = ask(&other, "tools/call", call.clone());
    assert_eq!(shape(&unknown, "mcp__nothing"), shape(&denied, "mcp__count"));
    service.cli.run(["principal", "add", "root", "--role", "admin"]).expect(0);
    let admin = service.cli.json(&["key", "create", "root", "--role", "admin"]);
    let admin = service.agent.with_key(admin["token"].as_str().expect("a key"));
    assert_eq!(ask(&admin, "tools/list", json!({})).status, 403);
    let target = format!("/v1/mcp?as={AGENT}");
    assert_eq!(admin.ask("POST", &target, b"").problem(), (403, "forbidden".to_owned()));
    let anonymous = ask(&Client::new(service.agent.port), "tools/list", json!({})).expect(401);
    assert_eq!(anonymous.header("www-authenticate"), Some("bearer"));
    let stateless = format!("mcp-protocol-version: {STATELESS}\r\n");
    for (method, version) in [("GET", &stateless), ("DELETE", &stateless), ("DELETE", &version)] {
        let head = service.agent.head(method, "/mcp", &format!("accept: text/event-stream\r\n{version}"));
        assert_eq!(service.agent.exchange(&head, b"").status, 405, "{method}");
    }
}

/// Case 81: what a proxy may decide by says what the body says, or the request is refused.
#[test]
fn headers_that_do_not_say_what_the_body_says_are_refused() {
    let service = with_tools();
    let call = json!({ "name": "mcp__count", "arguments": { "text": "x" } });
    let version = format!("mcp-protocol-version: {STATELESS}\r\n");
    let newer = request("1", "tools/call", stateless(call.clone()));
    let older = request("1", "tools/call", call);
    let old = format!("mcp-protocol-version: {LEGACY}\r\n");
    for (message, more) in [
        (&newer, format!("{version}mcp-method: tools/list\r\nmcp-name: mcp__count\r\n")),
        (&newer, format!("{version}mcp-method: tools/call\r\nmcp-name: mcp__wait\r\n")),
        (&newer, format!("{version}mcp-method: tools/call\r\n")),
        (&newer, format!("{version}mcp-name: mcp__count\r\n")),
        (&newer, format!("{}mcp-name: mcp__wait\r\n", headers("tools/call", Some("mcp__count")))),
        (&newer, format!("{}mcp-method: tools/list\r\n", headers("tools/call", Some("mcp__count")))),
        (&newer, format!("{}mcp-protocol-version: {LEGACY}\r\n", headers("tools/call", Some("mcp__count")))),
        (&newer, format!("{old}mcp-method: tools/call\r\nmcp-name: mcp__count\r\n")),
        (&newer, "mcp-method: tools/call\r\nmcp-name: mcp__count\r\n".to_owned()),
        (&older, format!("{old}mcp-method: tools/list\r\n")),
        (&older, format!("{old}mcp-name: mcp__wait\r\n")),
        (&older, format!("{old}mcp-method: tools/call\r\nmcp-method: tools/list\r\n")),
    ] {
        let answer = post(&service.agent, message, &more).expect(400).json();
        assert_eq!(
            (&answer["error"]["code"], &answer["id"]),
            (&json!(-32020), &json!("1")),
            "{more}: {answer}"
        );
    }
    assert_eq!(service.admitted(), 0);
    post(&service.agent, &newer, &headers("tools/call", Some("mcp__count"))).expect(200);
    post(&service.agent, &older, &format!("{old}mcp-method: tools/call\r\nmcp-name: mcp__count\r\n"))
        .expect(200);
    let unknown = request("1", "tools/list", json!({}));
    post(&service.agent, &unknown, "mcp-protocol-version: 1999-01-01\r\n").expect(400);
}

/// Cases 76 and 77 at this endpoint: in the form of its own protocol.
#[test]
fn bodies_that_are_no_message_are_refused_in_words_of_the_protocol() {
    let service = with_tools();
    let send = |body: &str| service.agent.exchange(&head(&service.agent, body, ""), body.as_bytes());
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"mcp__count","arguments":{arguments}}}}}"#
        )
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, status, code) in [
        (call(r#"{"text":"a","text":"b"}"#), 400, -32600),
        (call(r#"{"text":NaN}"#), 400, -32700),
        (call(r#"{"text":1e999}"#), 400, -32700),
        (call(&deep), 400, -32600),
        ("{".to_owned(), 400, -32700),
        (String::new(), 400, -32700),
        ("[]".to_owned(), 400, -32600),
        (call(&format!(r#"{{"text":"{}"}}"#, "x".repeat(2 << 20))), 413, -32600),
    ] {
        let answer = send(&body).expect(status).json();
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    let body = call(r#"{"text":"a"}"#);
    let kind = format!(
        "content-type: text/plain\r\naccept: application/json, text/event-stream\r\ncontent-length: {}\r\n",
        body.len()
    );
    let head = service.agent.head("POST", "/mcp", &kind);
    assert_eq!(service.agent.exchange(&head, body.as_bytes()).status, 415);
    assert_eq!(service.admitted(), 0);
    send(&body).expect(200);
}

#[test]
fn progress_flows_on_the_answers_own_stream() {
    let service = with_tools();
    let call = json!({ "name": "mcp__test_tool_with_progress", "_meta": { "progressToken": "p" } });
    let newer = (
        request("1", "tools/call", stateless(call.clone())),
        headers("tools/call", Some("mcp__test_tool_with_progress")),
    );
    let older = (request("1", "tools/call", call), format!("mcp-protocol-version: {LEGACY}\r\n"));
    for (message, more) in [newer, older] {
        let mut events = stream(&service.agent, &message, &more);
        for done in [0.0, 50.0, 100.0] {
            let told = events.next();
            assert_eq!(told["params"]["progressToken"], "p", "{told}");
            assert_eq!(told["params"]["progress"].as_f64(), Some(done), "{told}");
        }
        assert_eq!(events.next()["result"]["content"][0]["text"], "done");
        events.end();
    }
}

/// Case 83: closing the stream ends the call, before its first event as well as after it, and the log says so.
#[test]
fn a_closed_stream_ends_its_call() {
    let service = Service::open(Cli::with(
        "clock",
        &wat("clock"),
        "limits = { fuel = 1_000_000_000_000, wall_time = \"10m\" }\n",
    ));
    let call = json!({ "name": "clock__sleep-for-ever" });
    let newer = (
        request("1", "tools/call", stateless(call.clone())),
        headers("tools/call", Some("clock__sleep-for-ever")),
    );
    let older = (request("1", "tools/call", call), format!("mcp-protocol-version: {LEGACY}\r\n"));
    for (round, (message, more)) in [newer, older].into_iter().enumerate() {
        let open = stream(&service.agent, &message, &more);
        wait_until("the call runs", || service.admitted() == round + 1);
        assert_eq!(service.finished().len(), round);
        drop(open);
        wait_until("the call has ended", || service.finished().len() == round + 1);
    }
    assert_eq!(service.finished(), vec![CallOutcome::Cancelled; 2]);
}

/// A client of the older revision cancels by a message of its own: its own calls, and nobody else's.
#[test]
fn a_cancellation_ends_the_clients_own_call() {
    let cli = Cli::new();
    let more = "limits = { fuel = 1_000_000_000_000, wall_time = \"10m\" }\n";
    cli.install("clock", &wat("clock"), more);
    let both = grant("clock", more).replace(&format!("[\"{AGENT}\"]"), &format!("[\"{AGENT}\", \"other\"]"));
    cli.run(["grant", "apply", &cli.file("both.toml", both)]).expect(0);
    let service = Service::open(cli);
    let other = service.another("other");
    let hello = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let session = |client: &Client| {
        let hello = post(client, &request("0", "initialize", hello.clone()), "");
        format!(
            "mcp-protocol-version: {LEGACY}\r\nmcp-session-id: {}\r\n",
            hello.header("mcp-session-id").expect("one")
        )
    };
    let (own, second) = (session(&service.agent), session(&service.agent));
    assert_ne!(own, second);
    let call = request("7", "tools/call", json!({ "name": "clock__sleep-for-ever" }));
    let open = stream(&service.agent, &call, &own);
    wait_until("the call runs", || service.admitted() == 1);
    let cancel = |client: &Client, more: &str, id: &str| {
        let told =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
        assert_eq!(post(client, &told, more).status, 202);
    };
    cancel(&other, &own, "7");
    cancel(&service.agent, &second, "7");
    cancel(&service.agent, &own, "8");
    let version = format!("mcp-protocol-version: {LEGACY}\r\n");
    cancel(&service.agent, &version, "7");
    // Longer than a call that was asked to end may go on.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(service.finished(), []);
    cancel(&service.agent, &own, "7");
    wait_until("the call has ended", || service.finished() == [CallOutcome::Cancelled]);
    open.end();
}

#[test]
fn a_subscription_hears_of_the_agents_own_list_and_ends_with_the_host() {
    let service = with_tools();
    let wish = json!({ "notifications": { "toolsListChanged": true } });
    let message = request("sub", "subscriptions/listen", stateless(wish));
    let mut events = stream(&service.agent, &message, &headers("subscriptions/listen", None));
    let first = events.next();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    let fewer = service.cli.file("fewer.toml", grant("mcp", "tools = [\"count\"]\n"));
    service.cli.run(["grant", "apply", &fewer]).expect(0);
    let told = events.next();
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "sub");
    let (server, waiting) = (service.server, std::thread::spawn(move || events.end()));
    assert_eq!(server.interrupt().status.code(), Some(0));
    waiting.join().expect("the stream ends");
}

#[test]
fn a_client_of_2025_11_25_hears_of_its_own_list_and_ends_with_the_host() {
    let service = with_tools();
    let other = service.another("mallory");
    let listen = |client: &Client| {
        let version = format!("mcp-protocol-version: {LEGACY}\r\n");
        let mut stream = client.connect();
        let head = client.head("GET", "/mcp", &format!("accept: text/event-stream\r\n{version}"));
        stream.write_all(head.as_bytes()).expect("sent");
        let mut events = Events { reader: BufReader::new(stream) };
        // What changes from here on is told.
        events.head("text/event-stream");
        events
    };
    let (mut events, others) = (listen(&service.agent), listen(&other));
    let fewer = service.cli.file("fewer.toml", grant("mcp", "tools = [\"count\"]\n"));
    service.cli.run(["grant", "apply", &fewer]).expect(0);
    assert_eq!(events.next(), json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
    let (server, waiting) = (service.server, std::thread::spawn(move || events.end()));
    assert_eq!(server.interrupt().status.code(), Some(0));
    waiting.join().expect("the stream ends");
    assert_eq!(others.rest(), "", "another agent's list is the same");

    // It is given to whoever takes it.
    let service = with_tools();
    let head = service.agent.head("GET", "/mcp", "accept: application/json\r\n");
    assert_eq!(service.agent.exchange(&head, b"").status, 406);
    let nobody = Client::new(service.agent.port);
    let head = nobody.head("GET", "/mcp", "accept: text/event-stream\r\n");
    assert_eq!(nobody.exchange(&head, b"").status, 401);
}

#[test]
fn a_model_is_shown_so_much_text_and_programs_all_of_it() {
    const SHOWN_MAX: u64 = 128 << 10;
    let service = Service::open(Cli::with("mcp", &guest("mcp"), "tools = [\"long\"]\n"));
    let answer = |bytes: u64| {
        let call = json!({ "name": "mcp__long", "arguments": { "bytes": bytes } });
        ask(&service.agent, "tools/call", call).expect(200).json()["result"].clone()
    };
    let text = |result: &Value| result["content"][0]["text"].as_str().expect("a text").to_owned();
    let whole = answer(SHOWN_MAX);
    assert_eq!((text(&whole).len() as u64, &whole["_meta"]["portcullis/cut"]), (SHOWN_MAX, &Value::Null));
    let cut = answer(SHOWN_MAX + 1);
    assert_eq!(cut["_meta"]["portcullis/cut"], json!({ "shown": SHOWN_MAX, "of": SHOWN_MAX + 1 }));
    assert!(text(&cut).ends_with("shown; call the tool for less, or for one part at a time]"), "{cut}");
    let arguments = json!({ "bytes": SHOWN_MAX + 1 }).to_string();
    let all = service.agent.ask("POST", "/v1/calls?package=mcp&tool=long", arguments.as_bytes());
    assert_eq!(
        all.expect(200).json()["content"][0]["text"].as_str().map(str::len),
        Some(usize::try_from(SHOWN_MAX).expect("small") + 1)
    );
}

/// What a client says of itself that knows the extension of tasks.
fn with_tasks(mut params: Value) -> Value {
    params = stateless(params);
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    params
}

#[test]
fn a_call_that_takes_long_is_a_task_of_its_agent() {
    let limits = "limits = { wall_time = \"10m\" }\n";
    let cli = Cli::with("mcp", &guest("mcp"), limits);
    cli.install("std-probe", &guest("std-probe"), limits);
    let both = cli.file("both.toml", format!("{}{}", grant("mcp", limits), grant("std-probe", limits)));
    cli.run(["grant", "apply", &both]).expect(0);
    let service = Service::open(cli);
    let other = service.another("mallory");
    let asked = |client: &Client, method: &str, params: Value| {
        let name = params["name"].as_str().map(str::to_owned);
        let named = params["taskId"].as_str().map(|id| format!("mcp-name: {id}\r\n")).unwrap_or_default();
        let headers = headers(method, name.as_deref()) + &named;
        post(client, &request("1", method, with_tasks(params)), &headers).json()
    };
    let call = |name: &str, arguments: Value| {
        let call = json!({ "name": name, "arguments": arguments });
        asked(&service.agent, "tools/call", call)["result"].clone()
    };
    // One that ends soon is answered.
    let counted = call("mcp__count", json!({ "text": "four" }));
    assert_eq!(counted["structuredContent"], json!({ "letters": 4 }), "{counted}");
    // One that takes longer is a task, and its result is there when it has ended.
    let begun = call("std-probe__sleep", json!({ "milliseconds": 14_000 }));
    assert_eq!((&begun["resultType"], &begun["status"]), (&json!("task"), &json!("working")), "{begun}");
    let task = |begun: &Value| json!({ "taskId": begun["taskId"] });
    let get = |client: &Client, begun: &Value| asked(client, "tasks/get", task(begun));
    wait_until("the task is done", || get(&service.agent, &begun)["result"]["status"] == "completed");
    let done = get(&service.agent, &begun)["result"].clone();
    assert_eq!(done["result"]["isError"], false, "{done}");
    assert_eq!(done["result"]["_meta"]["portcullis/call"], begun["taskId"], "{done}");
    // It is the call of the API, too.
    let id = begun["taskId"].as_str().expect("an id");
    let shown = service.agent.get(&format!("/v1/calls/{id}")).expect(200).json();
    assert_eq!(shown["state"], "succeeded", "{shown}");

    // One that is asked to end.
    let waits = call("mcp__wait", json!({}));
    assert_eq!(get(&service.agent, &waits)["result"]["status"], "working");
    // Another's is as one that never was, and can't be ended.
    let never = json!({ "taskId": "01900000-0000-7000-8000-000000000001" });
    let unknown = asked(&other, "tasks/get", never.clone())["error"].clone();
    assert_eq!(unknown["code"], -32602, "{unknown}");
    assert_eq!(get(&other, &waits)["error"], unknown);
    assert_eq!(asked(&other, "tasks/cancel", task(&waits))["error"], unknown);
    assert_eq!(get(&service.agent, &waits)["result"]["status"], "working");
    assert!(asked(&service.agent, "tasks/cancel", task(&waits))["result"].is_object());
    wait_until("the task is cancelled", || get(&service.agent, &waits)["result"]["status"] == "cancelled");
    // Nothing is asked of a client, and who does not know tasks has none.
    let update = json!({ "taskId": waits["taskId"], "inputResponses": {} });
    assert_eq!(asked(&service.agent, "tasks/update", update)["error"]["code"], -32602);
    let headers = headers("tasks/get", None) + &format!("mcp-name: {id}\r\n");
    let params = stateless(json!({ "taskId": id }));
    let missing = post(&service.agent, &request("1", "tasks/get", params), &headers).json();
    assert_eq!(missing["error"]["code"], -32021, "{missing}");
    // What the agent may not call begins no task.
    let denied = asked(&other, "tools/call", json!({ "name": "mcp__count", "arguments": {} }));
    assert!(
        denied["error"]["message"].as_str().is_some_and(|text| text.starts_with("Unknown tool")),
        "{denied}"
    );
}
