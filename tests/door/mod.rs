//! The door for agents and programs: who is let in, as what, and what is refused before it is looked at. Each
//! test speaks to the built program over TCP.

mod asked;
mod bodies;
mod certificates;
mod keys;
mod matrix;
mod reload;
mod schemas;
mod schemathesis;
mod serving;
mod tokens;

use portcullis::audit::event::Event;
use serde_json::json;

use crate::harness::client::Client;
use crate::harness::guest;
use crate::harness::process::{Cli, Running, grant, notes_folder};

/// A host that is served, and its first admin.
pub(crate) struct Door {
    pub(crate) cli: Cli,
    pub(crate) server: Running,
    pub(crate) anonymous: Client,
    pub(crate) admin: Client,
}

impl Door {
    pub(crate) fn open() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        Self::serve(Cli::new(), more)
    }

    pub(crate) fn serve(cli: Cli, more: &[&str]) -> Self {
        let (server, port) = cli.serve_network(more);
        let anonymous = Client::new(port);
        crate::harness::process::wait_until("the first admin has a key", || {
            cli.data.join("admin.key").exists()
        });
        let key = std::fs::read_to_string(cli.data.join("admin.key")).expect("the first admin's key");
        let admin = anonymous.with_key(&key);
        Self { cli, server, anonymous, admin }
    }

    /// A client with a new key for a principal in a role, which it is given if it is not an agent.
    pub(crate) fn caller(&self, principal: &str, role: &str) -> Client {
        if role != "agent" {
            self.cli.run(["principal", "add", principal, "--role", role]).expect(0);
        }
        let made = self.cli.json(&["key", "create", principal, "--role", role]);
        self.anonymous.with_key(made["token"].as_str().expect("a key"))
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.cli.log().into_iter().map(|record| record.event).collect()
    }
}

const LONG: &str = "limits = { wall_time = \"300s\" }\n";

/// Case 74: what is another's is as if it was not there.
#[test]
fn one_agent_sees_and_touches_nothing_of_anothers() {
    let door = Door::open();
    door.cli.install("std-probe", &guest("std-probe"), LONG);
    door.cli.install_notes();
    let other = grant("notes", &notes_folder("notes")).replace(crate::harness::AGENT, "other");
    let other = door.cli.file("other.toml", other);
    door.cli.run(["grant", "apply", &other]).expect(0);
    let (ann, bob) = (door.caller(crate::harness::AGENT, "agent"), door.caller("other", "agent"));

    let names = |client: &Client| -> Vec<String> {
        let tools = client.get("/v1/tools").expect(200).json();
        let tools = tools.as_array().expect("a list");
        tools.iter().map(|tool| tool["package"].as_str().expect("a name").to_owned()).collect()
    };
    assert!(names(&ann).iter().all(|name| name == "std-probe") && !names(&ann).is_empty());
    assert!(names(&bob).iter().all(|name| name == "notes") && !names(&bob).is_empty());
    let openai = bob.get("/v1/tools?format=openai").expect(200).json();
    assert_eq!(
        (&openai[0]["type"], &openai[0]["function"]["name"]),
        (&json!("function"), &json!("notes__add"))
    );
    let anthropic = bob.get("/v1/tools?format=anthropic").expect(200).json();
    assert_eq!(anthropic[0]["input_schema"]["type"], "object");

    // Whether there is such a package can't be told, nor by whose name it is asked for.
    let call = |client: &Client, query: &str| client.ask("POST", &format!("/v1/calls?{query}"), b"{}");
    let said = |query: &str, name: &str| {
        let document = call(&bob, query).expect(404).json().to_string();
        document.replace(name, "NAME")
    };
    assert_eq!(
        said("package=std-probe&tool=compute", "std-probe"),
        said("package=nothing&tool=compute", "nothing")
    );
    assert_eq!(call(&bob, "package=std-probe&tool=compute&as=researcher").problem().1, "forbidden");
    assert_eq!(call(&bob, "package=notes&tool=list&as=other").status, 200);
    assert_eq!(bob.get("/v1/tools?as=researcher").problem().1, "forbidden");

    let sleeper = ann.clone();
    let sleeping = std::thread::spawn(move || {
        sleeper.ask("POST", "/v1/calls?package=std-probe&tool=sleep", b"{\"milliseconds\":300000}")
    });
    let id = door.cli.wait_for_record("the sleeper is admitted", |record| match &record.event {
        Event::CallAdmitted { context, .. } if context.tool.as_str() == "sleep" => Some(context.call),
        _ => None,
    });
    assert_eq!(bob.ask("DELETE", &format!("/v1/calls/{id}"), b"").problem(), (404, "not-found".to_owned()));
    assert!(!door.events().iter().any(|event| matches!(event, Event::CallCancelled { .. })));
    ann.ask("DELETE", &format!("/v1/calls/{id}"), b"").expect(200);
    let ended = sleeping.join().expect("answered");
    assert_eq!(ended.problem(), (409, "cancelled".to_owned()));
    assert!(door.events().iter().any(|event| matches!(event,
        Event::CallCancelled { by, call } if by.as_str() == crate::harness::AGENT && *call == id)));

    // Nor is one that is quarantined told from one that never was.
    door.cli.run(["package", "quarantine", "std-probe", "--reason", "a test"]).expect(0);
    assert_eq!(
        said("package=std-probe&tool=compute", "std-probe"),
        said("package=nothing&tool=compute", "nothing")
    );
}

/// Who calls gets what opens its own call's commitments, if it asks, and shows by it what was asked.
#[test]
fn a_caller_can_show_what_it_asked() {
    let door = Door::open();
    door.cli.install_notes();
    let ann = door.caller(crate::harness::AGENT, "agent");
    let asked = br#"{"name": "first", "text": "hello"}"#;
    let call = |query: &str| ann.ask("POST", &format!("/v1/calls?package=notes&tool=add{query}"), asked);
    let answer = call("&opening=true").expect(200).json();
    let opening = door.cli.file("opening.json", answer["opening"].to_string());
    let receipt = door.cli.json(&["audit", "prove", answer["call"].as_str().expect("an id")]);
    let receipt = door.cli.file("receipt.json", receipt.to_string());
    let asked = door.cli.file("asked.json", asked);
    let verify = |asked: &str| {
        door.cli.run(["audit", "verify-receipt", &receipt, "--opening", &opening, "--arguments", asked])
    };
    verify(&asked).expect(0);
    verify(&door.cli.file("other.json", r#"{"name": "first", "text": "hullo"}"#)).expect(8);
    let listed = ann.ask("POST", "/v1/calls?package=notes&tool=list", b"{}").expect(200).json();
    assert!(listed["opening"].is_null(), "only if it is asked for");
    for more in ["accept: text/event-stream\r\n", "prefer: respond-async\r\n", "idempotency-key: \"k\"\r\n"] {
        let target = "/v1/calls?package=notes&tool=add&opening=true";
        let refused = ann.ask_with("POST", target, more, b"{}");
        assert_eq!(refused.problem(), (400, "bad-input".to_owned()), "{more}: it is kept nowhere");
    }
}

/// Case 80: a page that got here by another name, or from elsewhere, is not answered.
#[test]
fn requests_for_another_host_or_of_a_foreign_page_are_refused() {
    let door = Door::with(&[
        "--allowed-host",
        "tools.example.org",
        "--allowed-origin",
        "https://console.example.org",
    ]);
    let port = door.anonymous.port;
    let status = |client: &Client, target: &str, more: &str| {
        client.exchange(&client.head("GET", target, more), b"").status
    };
    for (more, expected) in [
        ("host: localhost\r\n".to_owned(), 200),
        (format!("host: LOCALHOST:{port}\r\n"), 200),
        (format!("host: 127.0.0.1:{port}\r\n"), 200),
        (format!("host: [::1]:{port}\r\n"), 200),
        ("host: tools.example.org\r\n".to_owned(), 200),
        ("host: evil.example\r\n".to_owned(), 403),
        ("host: localhost.evil.example\r\n".to_owned(), 403),
        ("host: 192.0.2.7\r\n".to_owned(), 403),
        ("host: localhost@evil.example\r\n".to_owned(), 403),
        ("host: \r\n".to_owned(), 400),
        ("host: localhost\r\nhost: evil.example\r\n".to_owned(), 400),
        (format!("host: localhost:{port}\r\norigin: http://localhost:{port}\r\n"), 200),
        ("host: localhost\r\norigin: https://console.example.org\r\n".to_owned(), 200),
        (format!("host: localhost:{port}\r\norigin: http://localhost:1\r\n"), 403),
        ("host: localhost\r\norigin: https://evil.example\r\n".to_owned(), 403),
        ("host: localhost\r\norigin: null\r\n".to_owned(), 403),
    ] {
        for (client, target) in [(&door.anonymous, "/healthz"), (&door.admin, "/v1/packages")] {
            assert_eq!(status(client, target, &more), expected, "{target} {more:?}");
        }
    }
    // What the request line says counts as well.
    assert_eq!(status(&door.admin, "http://evil.example/v1/packages", "host: localhost\r\n"), 403);
    let asked = door.admin.exchange(&door.admin.head("OPTIONS", "/v1/packages", ""), b"");
    assert_eq!(asked.header("access-control-allow-origin"), None);
}

/// Case 75: a name is a name, however a path is written.
#[test]
fn names_that_are_none_are_refused() {
    let door = Door::open();
    let agent = door.caller("ann", "agent");
    for name in ["..%2f..%2fetc", "%2e%2e", "a%00b", "a%2fb", "%ff", ".."] {
        assert_eq!(door.admin.get(&format!("/v1/packages/{name}")).problem().0, 400, "{name}");
        let call = format!("/v1/calls?package={name}&tool=t");
        assert_eq!(agent.ask("POST", &call, b"{}").problem(), (400, "bad-input".to_owned()), "{name}");
        let tool = format!("/v1/calls?package=p&tool={name}");
        assert_eq!(agent.ask("POST", &tool, b"{}").problem().0, 400, "{name}");
    }
}

/// Case 84: a key in a URL is refused, whoever's it is, and is in no log.
#[test]
fn a_key_in_a_url_is_refused_and_keys_are_in_no_file_of_the_host() {
    let door = Door::open();
    let agent = door.caller("ann", "agent");
    let key = agent.key.clone().expect("a key");
    for target in [
        format!("/v1/tools?access_token={key}"),
        format!("/v1/tools?x={key}"),
        format!("/v1/{key}"),
        "/v1/tools?api_key=x".to_owned(),
        "/v1/tools?format=openai&TOKEN=x".to_owned(),
    ] {
        for client in [&door.anonymous, &agent] {
            let answer = client.get(&target);
            assert_eq!(answer.problem(), (400, "bad-input".to_owned()), "{target}");
            assert!(!String::from_utf8_lossy(&answer.body).contains(&key), "{target}");
        }
    }
    agent.get("/v1/tools").expect(200);
    let data = door.cli.data.clone();
    let secret = key.as_bytes()[17..].to_vec();
    let ran = door.server.interrupt();
    assert!(!ran.stdout.contains(&key) && !ran.stderr.contains("pcl_"), "{ran:?}");
    let mut folders = vec![data];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).expect("a file");
                files += 1;
                assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{}", path.display());
            }
        }
    }
    assert!(files > 5, "{files}");
}
