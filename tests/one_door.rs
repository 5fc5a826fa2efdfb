//! One door: each host call that wasmtime sees has exactly one record, in the same order.
//!
//! Two counts that do not come from the gate: the tracing spans of wasmtime's bindings, one a call of an
//! import ([`spans`]), which must fit the records exactly; and the hook of the engine itself, which sees
//! drops of handles and some work of its libraries too, so that no call may have more records than it
//! counted. Drops have neither span nor record.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use portcullis::gateway::CallError;
use serde_json::json;

use crate::harness::{AGENT, World, guest, spans};

/// All is done on one thread, so that the spans of other tests are not counted.
#[tokio::test(flavor = "current_thread")]
async fn each_host_call_has_one_record() {
    spans::collect();
    let world = World::new().await;
    std::fs::write(world.folder("papers").join("a.txt"), "hello world").expect("a file");
    for package in ["files", "std-probe", "markdown", "python", "javascript", "c"] {
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
        ("std-probe", "print-lines", json!({"times": 3})),
        ("std-probe", "read-file", read),
        ("std-probe", "read-file", json!({"path": "/etc/passwd", "bytes-max": 100})),
        ("std-probe", "list-folder", json!({"path": "/papers"})),
        ("std-probe", "exit", json!({"success": false})),
        ("std-probe", "panic", json!({"message": "on purpose"})),
        ("markdown", "render", json!({"markdown": "# hi", "options": {}})),
        ("python", "read-file", json!({"path": "/papers/a.txt"})),
        ("python", "list-folder", json!({"path": "/papers"})),
        ("python", "say", json!({"text": "hello"})),
        ("javascript", "now", json!({})),
        ("javascript", "random", json!({"count": 8})),
        ("javascript", "say", json!({"out": "to stdout", "err": "to stderr"})),
        ("javascript", "fetch", json!({"url": "https://example.test/a?b"})),
        ("javascript", "read-file", json!({"path": "/papers/a.txt"})),
        ("javascript", "read-file", json!({"path": "/etc/passwd"})),
        ("javascript", "sleep", json!({"milliseconds": 5})),
        ("javascript", "throw", json!({"message": "on purpose"})),
        ("c", "count-file", json!({"path": "/papers/a.txt"})),
        ("c", "count-file", json!({"path": "/etc/passwd"})),
        ("c", "write-file", json!({"path": "/papers/c.txt", "text": "from C"})),
        ("c", "now", json!({})),
        ("c", "random", json!({})),
        ("c", "say", json!({"out": "to stdout", "err": "to stderr"})),
        ("c", "sleep", json!({"milliseconds": 5})),
        ("c", "wild-read", json!({})),
    ];
    let seen = world.host.count_host_calls();
    for (package, tool, arguments) in calls {
        let before = seen.load(Ordering::Relaxed);
        // Some end with an error, on purpose. None may be refused before it ran.
        let report = match world.call(package, tool, arguments).await {
            Ok(answer) => answer.report,
            Err(CallError::Failed { report, .. }) => *report,
            Err(error) => panic!("{package} {tool}: {error}"),
        };
        let by_the_engine = seen.load(Ordering::Relaxed) - before;
        let by_the_gate = report.usage.host_calls;
        assert!(by_the_engine >= by_the_gate, "{package} {tool}: {by_the_engine} seen, {by_the_gate} let in");
        let records = spans::recorded(&world.records(report.call)).len() as u64;
        assert_eq!(by_the_gate, records, "{package} {tool}");
    }
    // A call that its host-call budget ends has a record of the one that was too many.
    let few = format!(
        "[[grant]]\npackage = \"std-probe\"\nagents = [\"{AGENT}\"]\nlimits = {{ host_calls = 10 }}\n"
    );
    world.grant(&few).await;
    let ended = world.call("std-probe", "read-clock", json!({"times": 100})).await;
    assert!(ended.is_err(), "{ended:?}");

    let records = spans::recorded(&world.all_records());
    let traced = spans::take();
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
    let kinds: BTreeSet<_> = records.iter().collect();
    assert!(kinds.len() >= 45, "many functions were called: {kinds:#?}");
}
