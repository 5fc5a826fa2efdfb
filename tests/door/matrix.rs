//! Who may do what: every operation of the described API with every role, and none, and with one's own object and
//! another's.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread::JoinHandle;

use portcullis::api::access::ENDPOINTS;
use portcullis::audit::event::Event;
use portcullis::policy::Role;
use serde_json::Value;

use super::{Door, LONG};
use crate::harness::client::{Answer, Client};
use crate::harness::described::{self, Operation};
use crate::harness::process::{grant, notes_folder};
use crate::harness::{AGENT, guest};

/// Every route of the API is in the table, so that it has its roles, and the table has no other.
#[test]
fn every_route_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/api");
    let mut routes = BTreeSet::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the API's sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            for part in text.split(".route(\"").skip(1) {
                routes.insert(part.split('"').next().unwrap_or_default().to_owned());
            }
        }
    }
    let table: BTreeSet<String> = ENDPOINTS.iter().map(|endpoint| endpoint.path.to_owned()).collect();
    assert!(routes.len() > 25, "{routes:?}");
    assert_eq!(routes, table);
}

/// Whose object a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Own,
    Others,
    /// There is none of that name.
    Nobodys,
}

/// What there is of an agent: its package, and a call that runs.
struct Held {
    name: &'static str,
    package: &'static str,
    tool: &'static str,
    call: String,
    running: Option<JoinHandle<Answer>>,
}

/// The path and query of an operation, with an object in each place where the description has one.
fn target(operation: &Operation, held: Option<&Held>) -> String {
    let mut path = operation.path.to_owned();
    for parameter in operation.parameters("path") {
        let name = parameter["name"].as_str().expect("a name");
        let value = match (name, held) {
            ("id", Some(held)) if operation.path.starts_with("/v1/calls/") => held.call.clone(),
            // Well-formed, and nothing's.
            _ => match &parameter["example"] {
                Value::String(text) => text.replace("notes", "nothing").replace("writer", "nobody"),
                Value::Number(number) => number.to_string(),
                other => panic!("{operation:?} has the example {other}"),
            },
        };
        path = path.replace(&format!("{{{name}}}"), &value);
    }
    let mut query = Vec::new();
    for parameter in operation.parameters("query") {
        let name = parameter["name"].as_str().expect("a name");
        let value = match (name, held) {
            ("package", Some(held)) if operation.path == "/v1/calls" => held.package,
            ("package", None) if operation.path == "/v1/calls" => "nothing",
            ("tool", Some(held)) => held.tool,
            ("tool", None) => "none",
            ("as", Some(held)) => held.name,
            _ => continue,
        };
        query.push(format!("{name}={value}"));
    }
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

/// Asks without the body that is announced: who may not is answered all the same, before it is read.
fn without_body(client: &Client, operation: &Operation, target: &str) -> Answer {
    let method = operation.method.to_ascii_uppercase();
    let length = if operation.value.get("requestBody").is_some() { 100 } else { 0 };
    client.exchange(&client.head(&method, target, &format!("content-length: {length}\r\n")), b"")
}

/// The statuses that an operation is described to answer.
fn is_described(operation: &Operation, answer: &Answer) -> bool {
    operation.answer(answer.status).is_some()
}

fn held(door: &Door, name: &'static str, package: &'static str, tool: &'static str, client: &Client) -> Held {
    let sleeper = client.clone();
    // With a key, it is shown and followed like any that outlives its request.
    let running = std::thread::spawn(move || {
        let target = "/v1/calls?package=std-probe&tool=sleep";
        sleeper.ask_with("POST", target, "idempotency-key: \"k\"\r\n", b"{\"milliseconds\":300000}")
    });
    let call = door.cli.wait_for_record("the sleeper is admitted", |record| match &record.event {
        Event::CallAdmitted { context, .. } if context.principal.as_str() == name => Some(context.call),
        _ => None,
    });
    Held { name, package, tool, call: call.to_string(), running: Some(running) }
}

/// The whole matrix, on a real socket, as the served description has it: nobody without a key, nobody with another
/// role and whatever object, and whoever has the role; who reaches its own objects only sees nothing of another's.
#[test]
fn each_operation_is_for_its_roles_and_own_objects_and_for_nobody_else() {
    let door = Door::open();
    let served = door.admin.get("/v1/openapi.json").expect(200).json();
    assert_eq!(&served, described::document(), "the description that is served is the published one");
    door.cli.install("std-probe", &guest("std-probe"), LONG);
    door.cli.install_notes();
    let both = format!(
        "{}{}{}",
        grant("std-probe", LONG).replace(AGENT, "other"),
        grant("std-probe", LONG),
        grant("notes", &notes_folder("notes")).replace(AGENT, "other")
    );
    let both = door.cli.file("both.toml", both);
    door.cli.run(["grant", "apply", &both]).expect(0);
    let (ann, bob) = (door.caller(AGENT, "agent"), door.caller("other", "agent"));
    let mut anns = held(&door, AGENT, "std-probe", "compute", &ann);
    let mut bobs = held(&door, "other", "notes", "list", &bob);
    let callers: Vec<(Role, Client)> = Role::ALL
        .into_iter()
        .map(|role| match role {
            Role::Agent => (role, ann.clone()),
            Role::Author | Role::Admin | Role::Auditor => {
                (role, door.caller(&format!("the-{role}"), role.name()))
            }
        })
        .collect();
    // MCP has a matrix of its own.
    let operations: Vec<Operation> =
        described::operations().into_iter().filter(|operation| operation.path != "/mcp").collect();
    let objects = [(Whose::Nobodys, None), (Whose::Others, Some(&bobs)), (Whose::Own, Some(&anns))];
    let mut cells = 0;
    for operation in &operations {
        let roles = operation.roles();
        for (whose, object) in objects {
            let target = target(operation, object);
            let what = format!("{} {target}, {whose:?}", operation.method);
            let anonymous = without_body(&door.anonymous, operation, &target);
            assert_eq!(anonymous.status == 401, !roles.is_empty(), "{what}");
            for (role, client) in &callers {
                cells += 1;
                if roles.is_empty() || roles.contains(&role.name()) {
                    continue;
                }
                let answer = without_body(client, operation, &target);
                assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{what} by {role}");
                assert!(is_described(operation, &answer), "{what}");
            }
        }
    }
    // Whoever may: with a body that is none, so that nothing is done, or an object that there is not.
    for operation in &operations {
        for (role, client) in &callers {
            let roles = operation.roles();
            if !roles.is_empty() && !roles.contains(&role.name()) {
                continue;
            }
            let target = target(operation, None);
            let method = operation.method.to_ascii_uppercase();
            let what = format!("{method} {target} by {role}");
            let answer = client.ask(&method, &target, b"");
            let is_owners = operation.path == "/v1/mcp";
            let unwanted: &[u16] = if is_owners { &[401, 405] } else { &[401, 403, 405] };
            assert!(!unwanted.contains(&answer.status), "{what}: {answer:?}");
        }
    }
    // An agent's own objects, and another's.
    let mut of_agents = 0;
    for operation in operations.iter().filter(|operation| operation.value["x-own"][0] == "agent") {
        let method = operation.method.to_ascii_uppercase();
        if target(operation, Some(&bobs)) == target(operation, Some(&anns)) {
            // It names no object.
            continue;
        }
        // Events come until the call ends.
        if operation.path.ends_with("/events") {
            ann.ask("DELETE", &format!("/v1/calls/{}", anns.call), b"");
        }
        let ask = |held: &Held| ann.ask(&method, &target(operation, Some(held)), b"{\"n\":1}");
        let others = ask(&bobs);
        let what = format!("{method} {}", operation.path);
        assert!([403, 404].contains(&others.status), "{what} of another: {others:?}");
        let own = ask(&anns);
        assert!(![401, 403, 404, 405].contains(&own.status), "{what} of its own: {own:?}");
        of_agents += 1;
    }
    assert!(of_agents >= 3 && cells > 400, "{of_agents} {cells}");
    for held in [&mut anns, &mut bobs] {
        // One of them was asked to end above, or ends by itself.
        door.admin.ask("DELETE", &format!("/v1/calls/{}", held.call), b"");
        let ended = held.running.take().expect("once").join().expect("answered");
        assert_eq!(ended.problem(), (409, "cancelled".to_owned()), "{}", held.name);
    }
}

/// A method that is not described reaches no handler, and is answered with those that are; a path with a slash at its
/// end is another path.
#[test]
fn other_methods_are_told_which_there_are_and_other_paths_are_not_there() {
    let door = Door::open();
    let paths: BTreeSet<&str> = described::operations().iter().map(|operation| operation.path).collect();
    for path in paths.into_iter().filter(|path| *path != "/mcp") {
        let of_path: Vec<Operation> =
            described::operations().into_iter().filter(|operation| operation.path == path).collect();
        let target = target(&of_path[0], None);
        let target = target.split('?').next().expect("a path");
        let is_known = |method: &&str| of_path.iter().any(|known| known.method.eq_ignore_ascii_case(method));
        for other in ["PATCH", "TRACE", "PROPFIND"].into_iter().filter(|method| !is_known(method)) {
            let answer = door.admin.ask(other, target, b"");
            assert_eq!(answer.problem(), (405, "method-not-allowed".to_owned()), "{other} {target}");
            let allowed: BTreeSet<String> = answer
                .header("allow")
                .expect("RFC 9110, 15.5.6")
                .split(", ")
                .map(str::to_owned)
                .filter(|method| method != "head")
                .collect();
            let described: BTreeSet<String> =
                of_path.iter().map(|operation| operation.method.to_owned()).collect();
            assert_eq!(allowed, described, "{target}");
        }
        assert_eq!(door.admin.get(&format!("{target}/")).status, 404, "{target}/");
        if let Some(get) = of_path.iter().find(|operation| operation.method == "get" && path != "/v1/audit") {
            let (head, get) = (
                door.admin.ask("HEAD", target, b""),
                door.admin.ask(&get.method.to_ascii_uppercase(), target, b""),
            );
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{target}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        // Nobody is asked for a key here, whatever the method.
        let answer = door.anonymous.ask("TRACE", path, b"");
        assert_eq!(answer.problem(), (405, "method-not-allowed".to_owned()), "{path}");
        assert_eq!(answer.header("allow"), Some("get, head"), "{path}");
    }
    // What is no route is nobody's, and not even that is told without a key.
    assert_eq!(door.anonymous.get("/v1/nothing").status, 401);
    assert_eq!(door.admin.get("/v1/nothing").problem(), (404, "not-found".to_owned()));
}

/// A body that says that it is something else is not read as JSON; what an answer may be of is not asked.
#[test]
fn a_body_of_another_type_is_refused_and_accept_is_not_looked_at() {
    let door = Door::open();
    let with = |more: &str, target: &str| {
        let body = b"{\"because\":\"x\"}";
        let head = door.admin.head("PUT", target, &format!("{more}content-length: {}\r\n", body.len()));
        door.admin.exchange(&head, body)
    };
    for taken in ["application/json", "Application/JSON; charset=utf-8"] {
        with(&format!("content-type: {taken}\r\n"), "/v1/freeze").expect(200);
    }
    with("", "/v1/freeze").expect(200);
    for other in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "json"]
    {
        let answer = with(&format!("content-type: {other}\r\n"), "/v1/freeze");
        assert_eq!(answer.problem(), (415, "unsupported-media-type".to_owned()), "{other:?}");
        assert_eq!(answer.header("accept"), Some("application/json"));
    }
    let twice = with("content-type: application/json\r\ncontent-type: text/plain\r\n", "/v1/freeze");
    assert_eq!(twice.status, 415);
    let agent = door.caller("ann", "agent");
    let head =
        agent.head("POST", "/v1/calls?package=p&tool=t", "content-type: text/plain\r\ncontent-length: 2\r\n");
    assert_eq!(agent.exchange(&head, b"{}").status, 415);
    let head = door.admin.head("GET", "/v1/keys", "accept: image/png\r\n");
    let answer = door.admin.exchange(&head, b"").expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
}
