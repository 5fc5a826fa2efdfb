//! The helpers against the stand-in of a host: what they give with a grant, and without.

use portcullis_sdk::config::{self, ConfigError};
use portcullis_sdk::http::{self, HttpError, Response};
use portcullis_sdk::invoke::{self, Answer, InvokeError};
use portcullis_sdk::kv::{self, KvError};
use portcullis_sdk::log::{self, Level};
use portcullis_sdk::secrets::{self, SecretError};
use portcullis_sdk::testing::furnish;
use portcullis_sdk::{ToolError, progress};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

#[test]
fn a_store_is_there_with_a_grant_only() {
    assert_eq!(kv::open("default").map(drop), Err(KvError::AccessDenied));
    furnish::store("default");
    assert_eq!(kv::open("other").map(drop), Err(KvError::AccessDenied));
    let store = kv::open("default").expect("granted");
    assert_eq!(store.get("a"), Ok(None));
    assert_eq!(store.get_json::<Note>("a"), Ok(None));
    let note = Note { text: "x".to_owned() };
    store.set_json("a", &note).expect("set");
    assert_eq!(store.get_json("a"), Ok(Some(note)));
    store.set("b", "text").expect("set");
    assert!(matches!(store.get_json::<Note>("b"), Err(KvError::Json(_))));
    assert_eq!((store.increment("n", 2), store.increment("n", 3)), (Ok(2), Ok(5)));
    assert!(matches!(store.increment("b", 1), Err(KvError::Other(_))));
    assert!(matches!(store.set("", "x"), Err(KvError::Other(_))));
    for key in ["k1", "k2", "k3", "k4"] {
        store.set(key, []).expect("set");
    }
    assert_eq!(store.keys(), Ok(["a", "b", "n", "k1", "k2", "k3", "k4"].map(str::to_owned).into()));
    let keys = ["a", "none"].map(str::to_owned);
    assert_eq!(store.get_many(&keys), Ok(vec![Some(br#"{"text":"x"}"#.to_vec()), None]));
    store.delete_many(&keys).expect("deleted");
    store.set_many(&[("c".to_owned(), vec![1])]).expect("set");
    assert_eq!((store.exists("a"), store.exists("c")), (Ok(false), Ok(true)));
    store.delete("c").expect("deleted");
    assert_eq!(store.exists("c"), Ok(false));
}

#[test]
fn configuration_is_read_and_parsed() {
    assert!(matches!(config::get("port"), Err(ConfigError::Unavailable(_))));
    furnish::config("port", "80");
    furnish::config("name", "x");
    assert_eq!(config::get("port"), Ok(Some("80".to_owned())));
    assert_eq!(config::parse::<u16>("port"), Ok(Some(80)));
    assert_eq!(config::parse::<u16>("none"), Ok(None));
    assert!(matches!(config::parse::<u16>("name"), Err(ConfigError::Invalid { .. })));
    assert_eq!(config::all().map(|all| all.len()), Ok(2));
}

#[test]
fn lines_and_steps_are_told() {
    log::info("one");
    log::write(Level::Warn, "job", format_args!("{}", 2));
    let line = |level, context: &str, message: &str| (level, context.to_owned(), message.to_owned());
    assert_eq!(furnish::lines(), [line(Level::Info, "", "one"), line(Level::Warn, "job", "2")]);
    progress::report(1.0, Some(2.0), "half");
    assert_eq!(furnish::steps(), [(1.0, Some(2.0), "half".to_owned())]);
    assert!(!progress::is_cancelled());
    furnish::cancel();
    assert!(progress::is_cancelled());
}

#[test]
fn another_tool_is_called_with_a_grant_only() {
    let arguments = json!({"a": 1});
    assert!(matches!(invoke::call("adder", "add", &arguments), Err(InvokeError::Denied(_))));
    furnish::tools(|package, tool, arguments| match (package, tool) {
        ("adder", "add") => Ok(Answer {
            content: vec![json!({"type": "text", "text": "2"}), json!({"type": "image"})],
            structured: Some(json!({"sum": arguments["a"].as_u64().map(|a| a + 1)})),
        }),
        _ => Err(InvokeError::NotFound("no such tool".to_owned())),
    });
    let answer = invoke::call("adder", "add", &arguments).expect("granted");
    assert_eq!(answer.text(), "2");
    assert_eq!(answer.parse::<Value>(), Ok(json!({"sum": 2})));
    assert!(matches!(answer.parse::<Note>(), Err(InvokeError::Answer(_))));
    assert!(matches!(invoke::call("adder", "sub", &arguments), Err(InvokeError::NotFound(_))));
}

#[test]
fn a_secret_is_not_shown() {
    assert_eq!(secrets::get("key"), Err(SecretError::NotPermitted));
    furnish::secret("key", b"hunter2");
    let secret = secrets::get("key").expect("granted");
    assert_eq!((secret.bytes(), secret.text()), (&b"hunter2"[..], Some("hunter2")));
    assert_eq!(format!("{secret:?}"), "Secret(…)");
}

#[test]
fn requests_are_sent_with_a_grant_only() {
    let get = || http::get("https://a.test/notes").header("Accept", "application/json").query("q", "x y");
    assert_eq!(get().send(), Err(HttpError::Denied));
    furnish::server(|request| {
        assert_eq!(request.authority, "a.test");
        let body = match request.method.as_str() {
            "POST" => request.body.clone(),
            _ => br#"{"text": "x"}"#.to_vec(),
        };
        let status = if request.path == "/notes?q=x%20y" { 200 } else { 404 };
        Ok(Response {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body,
        })
    });
    let answer = get().send().expect("granted").success().expect("200");
    assert_eq!(answer.json(), Ok(Note { text: "x".to_owned() }));
    assert_eq!((answer.header("Content-Type"), answer.header("date")), (Some("application/json"), None));
    let sent =
        http::post("https://a.test/other").json(&Note { text: "y".to_owned() }).send().expect("granted");
    assert_eq!((sent.text(), sent.clone().success()), (Ok(r#"{"text":"y"}"#), Err(HttpError::Status(404))));
    assert_eq!(get().answer_bytes_max(12).send(), Err(HttpError::TooLong { bytes_max: 12 }));
    assert!(matches!(http::get("a.test").header("a", "b").send(), Err(HttpError::Request(_))));
}

#[test]
fn each_error_becomes_one_of_the_tool() {
    let failed = |error: ToolError| error.message;
    assert_eq!(failed(KvError::AccessDenied.into()), "the store is not granted to this tool for this");
    assert_eq!(failed(HttpError::Denied.into()), "no grant allows this request");
}
