//! One door: each host call that wasmtime sees has exactly one record, in the same order.
//!
//! The bindings that wasmtime generates open a tracing span for each call of an import: a count that
//! does not come from the gate. Drops of handles have neither span nor record.

use std::cell::RefCell;
use std::fmt::Debug;

use portcullis::audit::event::{Event, Record};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::harness::{AGENT, World, guest};

/// The name of the spans that wasmtime's bindings open.
const SPAN: &str = "wit-bindgen import";

thread_local! {
    /// Interface and function of each host call that this thread made, in order, once it collects them.
    static SPANS: RefCell<Option<Vec<(String, String)>>> = const { RefCell::new(None) };
}

/// Collects them. It is the subscriber of the whole process: one that is set for a thread races with
/// other threads' first use of the same spans.
struct Spans;

#[derive(Default)]
struct Names {
    module: String,
    function: String,
}

impl Visit for Names {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "module" => self.module = value.into(),
            "function" => self.function = value.into(),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl<S: tracing::Subscriber> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() != SPAN {
            return;
        }
        let mut names = Names::default();
        attributes.record(&mut names);
        SPANS.with_borrow_mut(|spans| {
            if let Some(spans) = spans {
                spans.push((names.module, names.function));
            }
        });
    }
}

/// An interface as spans name it: without its package.
fn short(interface: &str) -> String {
    interface.rsplit('/').next().unwrap_or(interface).to_owned()
}

/// Interface and function of each record of a host call, in order.
fn recorded(records: &[Record]) -> Vec<(String, String)> {
    let named = |record: &Record| match &record.event {
        Event::HostCall { host_call, .. } => {
            Some((short(&host_call.interface), host_call.function.to_string()))
        }
        Event::EffectAttempted { attempt, .. } => {
            Some((short(&attempt.interface), attempt.function.to_string()))
        }
        _ => None,
    };
    records.iter().filter_map(named).collect()
}

/// All is done on one thread, so that the spans of other tests are not counted.
#[tokio::test(flavor = "current_thread")]
async fn each_host_call_has_one_record() {
    let subscriber = tracing_subscriber::registry().with(Spans);
    tracing::subscriber::set_global_default(subscriber).expect("this test alone sets it");
    SPANS.set(Some(Vec::new()));

    let world = World::new().await;
    std::fs::write(world.folder("papers").join("a.txt"), "hello world").expect("a file");
    for package in ["files", "std-probe", "markdown", "python"] {
        world.add(package, guest(package)).await;
        world
            .grant(&format!(
                "[[grant]]\npackage = \"{package}\"\nagents = [\"{AGENT}\"]\n[[grant.filesystem]]\n\
                 host_path = \"papers\"\nguest_path = \"/papers\"\naccess = \"read-write\"\n"
            ))
            .await;
    }
    let steps = json!([
        {"op": "preopens"},
        {"op": "open", "at": "/papers", "path": "b", "open": ["create"], "flags": ["read", "write"], "as": "b"},
        {"op": "write", "at": "b", "data": "abc"}, {"op": "write-stream", "at": "b", "data": "abc"},
        {"op": "append-stream", "at": "b", "data": "abc"}, {"op": "read", "at": "b", "length": 5},
        {"op": "read-stream", "at": "b", "length": 5}, {"op": "write-and-leave", "at": "b", "data": "x"},
        {"op": "set-size", "at": "b", "size": 2}, {"op": "get-flags", "at": "b"}, {"op": "get-type", "at": "b"},
        {"op": "set-times", "at": "b", "accessed": "now", "modified": "no-change"},
        {"op": "set-times-at", "at": "/papers", "path": "b", "accessed": "now", "modified": "now"},
        {"op": "sync", "at": "b"}, {"op": "sync-data", "at": "b"}, {"op": "advise", "at": "b"},
        {"op": "stat", "at": "b"}, {"op": "stat-at", "at": "/papers", "path": "b"},
        {"op": "metadata-hash", "at": "b"}, {"op": "metadata-hash-at", "at": "/papers", "path": "b"},
        {"op": "is-same-object", "at": "b", "other": "b"}, {"op": "read-directory", "at": "/papers"},
        {"op": "mkdir", "at": "/papers", "path": "d"}, {"op": "rmdir", "at": "/papers", "path": "d"},
        {"op": "rename", "at": "/papers", "path": "b", "to": "/papers", "new_path": "c"},
        {"op": "link", "at": "/papers", "path": "c", "to": "/papers", "new_path": "l"},
        {"op": "symlink", "at": "/papers", "target": "c", "path": "s"},
        {"op": "readlink", "at": "/papers", "path": "c"}, {"op": "unlink", "at": "/papers", "path": "l"},
        {"op": "open", "at": "/papers", "path": "../x", "as": "x"}, {"op": "write", "at": "b", "fill": 10, "offset": 1_u64 << 50},
        {"op": "open-many", "at": "/papers", "path": "c", "count": 300}, {"op": "close", "at": "b"},
    ]);
    let read = json!({"path": "/papers/a.txt", "bytes-max": 100});
    let calls = [
        ("files", "run", json!({"steps": steps.to_string()})),
        ("std-probe", "environment", json!({})),
        ("std-probe", "arguments", json!({})),
        ("std-probe", "current-directory", json!({})),
        ("std-probe", "wall-clock", json!({})),
        ("std-probe", "elapsed", json!({})),
        ("std-probe", "sleep", json!({"milliseconds": 5})),
        ("std-probe", "random", json!({})),
        ("std-probe", "stdin", json!({})),
        ("std-probe", "print", json!({"out": "to stdout", "err": "to stderr"})),
        ("std-probe", "read-file", read),
        ("std-probe", "read-file", json!({"path": "/etc/passwd", "bytes-max": 100})),
        ("std-probe", "list-folder", json!({"path": "/papers"})),
        ("std-probe", "exit", json!({"success": false})),
        ("std-probe", "panic", json!({"message": "on purpose"})),
        ("markdown", "render", json!({"markdown": "# hi", "options": {}})),
        ("python", "read-file", json!({"path": "/papers/a.txt"})),
        ("python", "list-folder", json!({"path": "/papers"})),
        ("python", "say", json!({"text": "hello"})),
    ];
    for (package, tool, arguments) in calls {
        // Some end with an error, on purpose. None may be refused before it ran.
        match world.call(package, tool, arguments).await {
            Ok(_) | Err(portcullis::gateway::CallError::Failed { .. }) => {}
            Err(error) => panic!("{package} {tool}: {error}"),
        }
    }
    // A call that its host-call budget ends has a record of the one that was too many.
    let few = format!(
        "[[grant]]\npackage = \"std-probe\"\nagents = [\"{AGENT}\"]\nlimits = {{ host_calls = 10 }}\n"
    );
    world.grant(&few).await;
    let ended = world.call("std-probe", "read-clock", json!({"times": 100})).await;
    assert!(ended.is_err(), "{ended:?}");

    let records = recorded(&world.all_records());
    let traced = SPANS.take().expect("it was set above");
    let first = traced.iter().zip(&records).position(|(traced, recorded)| traced != recorded);
    let around = |list: &[(String, String)]| {
        let at = first.unwrap_or(list.len().min(records.len()));
        format!("{:#?}", list.iter().skip(at.saturating_sub(2)).take(5).collect::<Vec<_>>())
    };
    assert!(
        traced == records,
        "{} host calls, {} records; first difference {first:?}\ntraced {}\nrecorded {}",
        traced.len(),
        records.len(),
        around(&traced),
        around(&records)
    );
    let kinds: std::collections::BTreeSet<_> = records.iter().collect();
    assert!(kinds.len() >= 45, "many functions were called: {kinds:#?}");
}
