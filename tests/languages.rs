//! Tools in Python, JavaScript and C, each built by the toolchain that its authors use: the same
//! promises as for Rust. One test a language, because each compiles its component.

use std::time::Duration;

use portcullis::audit::event::{Decision, Event, HostCall};
use portcullis::gateway::{CallError, CallReport};
use portcullis::limits::Limit;
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use crate::harness::web::Server;
use crate::harness::{AGENT, World, guest, limit_reached};

/// A tool and its arguments.
type Tool = (&'static str, Value);

/// What every language can do in its way.
struct Language {
    /// Of the guest and its package.
    name: &'static str,
    /// Writes `out` to stdout and `err` to stderr.
    say: Tool,
    /// Reads a file.
    read: fn(&str) -> Tool,
    /// Whether an answer to that shows this text.
    shows: fn(&Value, &str) -> bool,
    /// Computes for ever.
    spin: Tool,
    /// Takes so many megabytes of memory.
    allocate: fn(u32) -> Tool,
}

fn grant(language: &Language, limits: &str, folder: &str) -> String {
    let name = language.name;
    let access = match folder {
        "" => String::new(),
        access => format!(
            "[[grant.filesystem]]\nhost_path = \"papers\"\nguest_path = \"/papers\"\naccess = \"{access}\"\n"
        ),
    };
    format!("[[grant]]\npackage = \"{name}\"\nagents = [\"{AGENT}\"]\nlimits = {{ {limits} }}\n{access}")
}

/// What a tool said of its failure.
#[track_caller]
fn tool_error(result: Result<impl std::fmt::Debug, CallError>) -> (String, CallReport) {
    match result {
        Err(CallError::Failed { error: InvokeError::Tool { message, .. }, report }) => (message, *report),
        other => panic!("no error of a tool: {other:?}"),
    }
}

/// The host calls of a call.
fn host_calls(world: &World, report: &CallReport) -> Vec<HostCall> {
    let host_call =
        |event| if let Event::HostCall { host_call, .. } = event { Some(host_call) } else { None };
    world.records(report.call).into_iter().filter_map(|record| host_call(record.event)).collect()
}

/// Registers a language's guest, and holds it to what is promised of every tool.
async fn holds_its_promises(language: &Language) -> World {
    let world = World::new().await;
    let text = "eight words in this file, and a newline\n";
    std::fs::write(world.folder("papers").join("a.txt"), text).expect("a file");
    world.add(language.name, guest(language.name)).await;
    let call = async |tool: &Tool| world.call(language.name, tool.0, tool.1.clone()).await;

    // Not granted, and granted without a folder.
    assert!(matches!(call(&language.say).await, Err(CallError::Denied { .. })));
    world.grant(&grant(language, "", "")).await;
    let said = call(&language.say).await.expect("an answer").report;
    assert_eq!((said.stdout.trim_end(), said.stderr.trim_end()), ("out: hi", "err: hi"));
    let (_, report) = tool_error(call(&(language.read)("/papers/a.txt")).await);
    let opened: Vec<_> =
        host_calls(&world, &report).into_iter().filter(|call| call.function.contains("open-at")).collect();
    assert!(opened.is_empty(), "{opened:?}");

    // Granted with a folder: that, and nothing beside it.
    world.grant(&grant(language, "", "read")).await;
    let read = call(&(language.read)("/papers/a.txt")).await.expect("an answer");
    assert!((language.shows)(&json!(read.answer), text), "{read:?}");
    assert_eq!(read.report.usage.file_bytes_read, text.len() as u64);
    for path in ["/papers/../secret", "/etc/passwd", "/papers/none.txt"] {
        tool_error(call(&(language.read)(path)).await);
    }

    // Bounded: fuel, time, memory.
    world.grant(&grant(language, "fuel = 100_000_000", "")).await;
    assert_eq!(limit_reached(call(&language.spin).await).limit, Limit::Fuel);
    world.grant(&grant(language, "fuel = 1_000_000_000_000, wall_time = \"500ms\"", "")).await;
    let started = std::time::Instant::now();
    assert_eq!(limit_reached(call(&language.spin).await).limit, Limit::WallTime);
    assert!(started.elapsed() < Duration::from_secs(30), "it ends soon after its time");
    world.grant(&grant(language, "memory = \"64MiB\"", "")).await;
    call(&(language.allocate)(1)).await.expect("there is room for that");
    match call(&(language.allocate)(100)).await {
        // A language tells its program, or ends it.
        Err(CallError::Failed { error: InvokeError::Tool { .. } | InvokeError::Crashed(_), report }) => {
            assert!(report.usage.memory_peak <= 64 << 20, "{:?}", report.usage);
        }
        other => panic!("more memory than was granted: {other:?}"),
    }
    world.grant(&grant(language, "", "")).await;
    call(&language.say).await.expect("a fresh sandbox knows nothing of what was before");
    world
}

/// Requests are sent by the language's own means, unmodified: what is granted, and nothing else. The tool
/// `fetch` takes a URL; its answer shows what the server said.
async fn sends_what_is_granted(world: &World, language: &Language) {
    let server = Server::says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let fetch = async |path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", server.port());
        world.call(language.name, "fetch", json!({ "url": url })).await
    };
    tool_error(fetch("/v1/a").await);
    let rule = format!(
        "[[grant.http]]\nhosts = [\"127.0.0.1\"]\nschemes = [\"http\"]\nports = [{}]\nmethods = [\"GET\"]\n\
         paths = [\"/v1/**\"]\naddresses = [\"127.0.0.1/32\"]\n",
        server.port()
    );
    world.grant(&format!("{}{rule}", grant(language, "", ""))).await;
    let answer = fetch("/v1/a?b=c").await.expect("it is granted");
    let text = serde_json::to_string(&answer.answer).expect("JSON");
    assert!(text.contains("hello"), "{text}");
    assert!(server.seen()[0].starts_with("GET /v1/a?b=c HTTP/1.1\r\n"), "{:?}", server.seen());
    tool_error(fetch("/v2/a").await);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    let language = Language {
        name: "python",
        say: ("say", json!({"text": "hi"})),
        read: |path| ("read-file", json!({ "path": path })),
        shows: |answer, text| answer["content"][0]["text"] == text,
        spin: ("spin", json!({})),
        allocate: |megabytes| ("allocate", json!({ "megabytes": megabytes.to_string() })),
    };
    let world = holds_its_promises(&language).await;
    sends_what_is_granted(&world, &language).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c() {
    let language = Language {
        name: "c",
        say: ("say", json!({"out": "out: hi\n", "err": "err: hi\n"})),
        read: |path| ("count-file", json!({ "path": path })),
        shows: |answer, text| {
            let counts = json!({"lines": 1, "words": text.split_whitespace().count(), "bytes": text.len()});
            answer["structured"] == counts
        },
        spin: ("spin", json!({})),
        allocate: |megabytes| ("allocate", json!({ "bytes": megabytes << 20 })),
    };
    let world = holds_its_promises(&language).await;
    let text = "one two  two\tthree three three\n";
    let counts = json!({"lines": 1, "words": 6, "bytes": text.len()});
    assert_eq!(world.value("c", "word-count", json!({ "text": text })).await, counts);
    assert_eq!(
        world.value("c", "frequent-words", json!({ "text": text, "at-most": 2 })).await,
        json!([["three", 3], ["two", 2]])
    );
    let none = json!({"lines": 0, "words": 0, "bytes": 0});
    assert_eq!(world.value("c", "word-count", json!({ "text": "" })).await, none);
    assert_ne!(world.value("c", "random", json!({})).await, world.value("c", "random", json!({})).await);
    let crashed = world.call("c", "wild-read", json!({})).await;
    assert!(
        matches!(crashed, Err(CallError::Failed { error: InvokeError::Crashed(_), .. })),
        "reading where nothing is: {crashed:?}"
    );

    // Written where it may be written, refused where it may only be read.
    let write = json!({"path": "/papers/c.txt", "text": "from C"});
    world.grant(&grant(&language, "", "read-write")).await;
    world.value("c", "write-file", write.clone()).await;
    let file = world.folder("papers").join("c.txt");
    assert_eq!(std::fs::read_to_string(&file).expect("written"), "from C");
    std::fs::remove_file(&file).expect("removed");
    world.grant(&grant(&language, "", "read")).await;
    let (_, report) = tool_error(world.call("c", "write-file", write).await);
    let refused = host_calls(&world, &report)
        .into_iter()
        .find(|call| call.function.contains("open-at"))
        .expect("it tried to open it");
    assert!(matches!(refused.decision, Decision::Denied(_)), "{refused:?}");
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript() {
    let language = Language {
        name: "javascript",
        say: ("say", json!({"out": "out: hi", "err": "err: hi"})),
        read: |path| ("read-file", json!({ "path": path })),
        shows: |answer, text| answer["structured"] == text,
        spin: ("spin", json!({})),
        allocate: |megabytes| ("allocate", json!({ "bytes": megabytes << 20 })),
    };
    let world = holds_its_promises(&language).await;
    let parcel = json!({
        "text": "größer", "large": "18446744073709551615", "small": -5, "bytes": "AAH/",
        "shapes": [{"tag": "point"}, {"tag": "circle", "value": 1.5}, {"tag": "named", "value": "x"}],
        "volume": "high",
    });
    assert_eq!(world.value("javascript", "round-trip", json!({ "value": parcel })).await, parcel);
    let now = world.value("javascript", "now", json!({})).await.as_f64().expect("a number");
    let ours = jiff::Timestamp::now().as_millisecond() as f64;
    assert!((now - ours).abs() < 600_000.0, "{now} is not the time, which is {ours}");
    let random = async || world.value("javascript", "random", json!({ "count": 16 })).await;
    assert_ne!(random().await, random().await, "a snapshot of the engine is no source of random numbers");
    let rows = json!([{"size": 3, "name": "c"}, {"size": 1}, {"size": "9"}, {"size": 2}, null]);
    let query = json!({"document": rows.to_string(), "field": "size", "least": 2});
    let found = world.value("javascript", "query", query).await;
    let found: Value = serde_json::from_str(found.as_str().expect("text")).expect("JSON");
    assert_eq!(found, json!([{"size": 2}, {"size": 3, "name": "c"}]));
    let bad = json!({"document": "{", "field": "size", "least": 2});
    tool_error(world.call("javascript", "query", bad).await);
    world.value("javascript", "sleep", json!({"milliseconds": 20})).await;
    let thrown = world.call("javascript", "throw", json!({"message": "on purpose"})).await;
    assert!(matches!(thrown, Err(CallError::Failed { error: InvokeError::Crashed(_), .. })), "{thrown:?}");

    sends_what_is_granted(&world, &language).await;

    // Nothing else leaves, and the log says what was tried.
    let fetch = json!({"url": "https://user:password@example.test/a?token=secret"});
    let (_, report) = tool_error(world.call("javascript", "fetch", fetch).await);
    let refused: Vec<HostCall> = host_calls(&world, &report)
        .into_iter()
        .filter(|call| matches!(call.decision, Decision::Denied(_)))
        .collect();
    let [refused] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!((&*refused.interface, &*refused.function), ("wasi:http/outgoing-handler", "handle"));
    assert_eq!(refused.subject.as_deref(), Some("GET https://example.test/a"));
}
