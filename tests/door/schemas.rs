//! Case 82: what a tool's author writes as a schema is never fetched, and bounded in what it costs.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::Door;
use crate::harness::AGENT;
use crate::harness::client::Client;
use crate::registration::{OBJECT, listing};

/// Somebody who counts how often it is asked.
fn listener() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, asked)
}

/// What came of registering a package with a tool of this schema.
fn register(author: &Client, name: &str, schema: &str) -> Value {
    let bytes = listing(&[("t", "", schema)]);
    let answer = author.ask("POST", &format!("/v1/packages?name={name}"), &bytes).expect(200);
    let text = String::from_utf8(answer.body).expect("JSON is UTF-8");
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}

#[test]
fn schemas_of_tools_are_never_fetched_and_bounded() {
    let door = Door::open();
    let author = door.caller("the-author", "author");
    let (port, asked) = listener();
    let file = door.cli.file("secret.json", OBJECT);
    let nested = |open: &str, close: &str, levels: usize| {
        format!(r#"{{"type":"object","x":{}{}{}}}"#, open.repeat(levels), "1", close.repeat(levels))
    };
    let referring =
        |target: &str| json!({"type": "object", "properties": {"a": {"$ref": target}}}).to_string();
    let doubling: serde_json::Map<String, Value> = (0..10)
        .map(|level| {
            let next = format!("#/$defs/{}", level + 1);
            (
                level.to_string(),
                json!({"allOf": [{"$ref": next}, {"$ref": next}, {"$ref": next}, {"$ref": next}]}),
            )
        })
        .chain([("10".to_owned(), json!({}))])
        .collect();
    for (what, schema, said) in [
        ("http", referring(&format!("http://127.0.0.1:{port}/schema")), "refers to http"),
        ("a relative one", referring("schema.json"), "refers to schema.json"),
        ("file", referring(&format!("file://{file}")), "refers to file"),
        ("no scheme", referring(&format!("//127.0.0.1:{port}/schema")), "refers to //"),
        ("another dialect", json!({"$schema": format!("http://127.0.0.1:{port}/d"), "type": "object"}).to_string(), "$schema"),
        ("a moved base", json!({"type": "object", "properties": {"a": {"$id": format!("http://127.0.0.1:{port}/b"), "$ref": "#/c"}}}).to_string(), "$id"),
        ("itself", json!({"type": "object", "properties": {"a": {"$ref": "#"}}}).to_string(), "refers to itself"),
        ("a bomb", json!({"type": "object", "$defs": doubling, "$ref": "#/$defs/0"}).to_string(), "more than"),
        ("65 levels", nested("[", "]", 65), "deeper than"),
        ("a thousand levels", nested("{\"a\":", "}", 1_000), "schema of t"),
        ("a pattern that only backtracking matches", json!({"type": "object", "properties": {"a": {"pattern": "^(?=a)(a)\\1$"}}}).to_string(), "not valid"),
    ] {
        let line = register(&author, "bad", &schema);
        let detail = line["error"]["detail"].as_str().unwrap_or_else(|| panic!("{what} was taken: {line}"));
        assert_eq!(line["error"]["type"], "urn:portcullis:error:invalid-package", "{what}: {line}");
        assert!(detail.contains(said), "{what}: {detail}");
    }
    assert_eq!(door.admin.get("/v1/packages/bad").status, 404, "nothing of it was kept");

    // The twin: what stays inside is taken; and what would take a backtracking matcher for ever is refused at once, as
    // arguments that do not fit.
    let inside = json!({
        "type": "object",
        "$defs": {"word": {"type": "string", "pattern": "^(a+)+$"}},
        "properties": {"a": {"$ref": "#/$defs/word"}},
    });
    assert!(register(&author, "good", &inside.to_string())["result"].is_object());
    door.admin.ask("POST", "/v1/packages/good/approve", b"").expect(200);
    let grants =
        door.cli.file("good.toml", format!("[[grant]]\npackage = \"good\"\nagents = [\"{AGENT}\"]\n"));
    door.cli.run(["grant", "apply", &grants]).expect(0);
    let agent = door.caller(AGENT, "agent");
    let call = |text: &str| {
        agent.ask("POST", "/v1/calls?package=good&tool=t", json!({"a": text}).to_string().as_bytes())
    };
    let evil = "a".repeat(50_000);
    assert_eq!(call(&evil).status, 200);
    assert_eq!(call(&format!("{evil}!")).problem(), (400, "bad-input".to_owned()));
    // What agents are told refers to nothing elsewhere either.
    let told = agent.get("/v1/tools").expect(200).json().to_string();
    assert!(told.contains("#/$defs/word") && !told.contains("://"), "{told}");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "something was fetched");
}
