//! The calls: which tools, how often, and how each must end.

use std::time::Duration;

use portcullis::gateway::{CallAnswer, CallError};
use portcullis::limits::Limit;
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use crate::harness::process::notes_folder;
use crate::harness::random::Random;
use crate::harness::{AGENT, World, guest, request, wat};

/// How a call must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Answer,
    Limit(Limit),
    Crash,
    Failure,
    Arguments,
    Denied,
    NotFound,
    /// Its caller goes away after a while, in microseconds: it may have ended by then.
    Dropped(u64),
}

impl End {
    pub(super) fn name(self) -> &'static str {
        match self {
            End::Answer => "answer",
            End::Limit(limit) => limit.name(),
            End::Crash => "crash",
            End::Failure => "tool error",
            End::Arguments => "arguments",
            End::Denied => "denied",
            End::NotFound => "not found",
            End::Dropped(_) => "dropped",
        }
    }
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    agent: &'static str,
    package: &'static str,
    tool: &'static str,
    arguments: Value,
    pub(super) end: End,
}

/// Packages that only sleep: one for each sixteen calls that run at once.
pub(super) const SLEEPERS: [&str; 4] = ["sleeper-a", "sleeper-b", "sleeper-c", "sleeper-d"];
/// Agents that may call them: the same.
pub(super) const AGENTS: [&str; 4] = ["agent-a", "agent-b", "agent-c", "agent-d"];

/// Registers, approves and grants all that is called. `long`: with the Python guest.
pub(super) async fn prepare(world: &World, long: bool) {
    let mut grants = String::new();
    let mut granted = async |name: &str, bytes: Vec<u8>, limits: &str, more: &str| {
        world.add(name, bytes).await;
        grants += &format!(
            "[[grant]]\npackage = \"{name}\"\nagents = [\"{AGENT}\"]\nlimits = {{ {limits} }}\n{more}\n"
        );
    };
    for name in ["echo", "std-probe", "markdown", "listed"] {
        granted(name, guest(name), "", "").await;
    }
    if long {
        granted("python", guest("python"), "fuel = 10_000_000_000", "").await;
    }
    for name in ["abi", "polite", "memory", "print"] {
        granted(name, wat(name), "", "").await;
    }
    granted("clock", wat("clock"), "host_calls = 200", "").await;
    granted("late", wat("clock"), "wall_time = \"20ms\"", "").await;
    granted("spin", wat("spin"), "fuel = 300_000", "").await;
    granted("busy", wat("spin"), "fuel = 1_000_000_000_000", "").await;
    world.folder("notes");
    granted("notes", guest("notes"), "", &notes_folder("notes")).await;
    world.folder("scratch");
    let data =
        "[[grant.filesystem]]\nhost_path = \"scratch\"\nguest_path = \"/data\"\naccess = \"read-write\"\n";
    granted("files", guest("files"), "", data).await;
    for name in SLEEPERS {
        granted(name, wat("clock"), "", "").await;
    }
    let agents = AGENTS.map(|agent| format!("\"{agent}\"")).join(", ");
    let grants = SLEEPERS.iter().fold(grants, |grants, name| {
        format!("{grants}[[grant]]\npackage = \"{name}\"\nagents = [{agents}]\n")
    });
    world.register("waiting", wat("polite")).await.expect("registered");
    world.grant(&grants).await;
}

/// A call at random.
pub(super) fn any(random: &mut Random, caller: u64, long: bool) -> Call {
    let call = |package, tool, arguments, end| Call { agent: AGENT, package, tool, arguments, end };
    let number = random.below(1_000);
    let text = |random: &mut Random, most: u64| {
        "lorem ipsum ".repeat(1 + random.index(usize::try_from(most).unwrap_or(1)))
    };
    match random.below(1_000) {
        0..220 => call("echo", "text", json!({"value": text(random, 40)}), End::Answer),
        220..260 => call("echo", "several", json!({"first": "a", "third": [true, false]}), End::Answer),
        260..300 => call("echo", "matrix", json!({"value": [[1, number], [], [2]]}), End::Answer),
        300..330 => call("echo", "long-bytes", json!({"count": number * 50}), End::Answer),
        330..350 => call("echo", "attempt", json!({"value": {"tag": "err", "value": "no"}}), End::Failure),
        350..400 => call("std-probe", "wall-clock", json!({}), End::Answer),
        400..440 => call("std-probe", "read-clock", json!({"times": number % 50}), End::Answer),
        440..480 => call("std-probe", "random", json!({}), End::Answer),
        480..510 => call("std-probe", "print", json!({"out": text(random, 20), "err": "e"}), End::Answer),
        510..520 => call("std-probe", "allocate", json!({"bytes": number * 2_000}), End::Answer),
        520..530 => call("std-probe", "panic", json!({"message": "on purpose"}), End::Crash),
        530..540 => call("std-probe", "exit", json!({"success": false}), End::Failure),
        540..590 => {
            call("markdown", "render", json!({"markdown": format!("# {number}\n\n*text*")}), End::Answer)
        }
        590..630 => note(random, caller, number),
        630..650 => call("notes", "list", json!({}), End::Answer),
        650..660 => call("notes", "get", json!({"name": "no-such-note"}), End::Failure),
        660..690 => call("files", "run", json!({"steps": steps(number).to_string()}), End::Answer),
        690..740 => call("listed", "say", json!({"text": text(random, 5)}), End::Answer),
        740..800 => call("polite", "answer", json!({}), End::Answer),
        800..820 => call("abi", "texts", json!({"count": number % 100, "length": 20}), End::Answer),
        820..840 => {
            call("abi", *random.pick(&["invalid-utf8", "area-outside", "wrong-case"]), json!({}), End::Crash)
        }
        840..850 => call("abi", "realloc-outside", json!({"text": "a text"}), End::Crash),
        850..860 => call("memory", "recurse", json!({"depth": 100_000_000}), End::Limit(Limit::Stack)),
        860..870 => call("memory", "grow-all", json!({}), End::Answer),
        870..880 => call("memory", "fresh", json!({}), End::Answer),
        880..890 => call("print", "write", json!({"bytes": 50_000}), End::Answer),
        890..905 => call("spin", "run", json!({}), End::Limit(Limit::Fuel)),
        905..910 => call("late", "sleep-for-ever", json!({}), End::Limit(Limit::WallTime)),
        910..920 => call("clock", "read-for-ever", json!({}), End::Limit(Limit::HostCalls)),
        920..930 => call("clock", "leak", json!({"handles": 150}), End::Answer),
        930..940 => {
            call(*random.pick(&SLEEPERS), "sleep-for-ever", json!({}), End::Dropped(random.below(3_000)))
        }
        940..945 => call("busy", "run", json!({}), End::Dropped(random.below(5_000))),
        945..950 => call("notes", "list", json!({}), End::Dropped(random.below(300))),
        950..960 => call("echo", "text", json!({"value": number}), End::Arguments),
        960..970 => call("listed", "say", json!({"no-such": 1}), End::Arguments),
        970..980 => Call { agent: "nobody", ..call("echo", "nothing", json!({}), End::Denied) },
        980..985 => call("waiting", "answer", json!({}), End::Denied),
        985..990 => call("echo", "no-such-tool", json!({}), End::NotFound),
        _ if long && number < 300 => call("python", "say", json!({"text": "hello"}), End::Answer),
        _ => call("clock", "drop-twice", json!({}), End::Crash),
    }
}

/// One of a few notes of this caller, so that their number does not grow. The tool itself is not made for
/// two that replace the same note at once.
fn note(random: &mut Random, caller: u64, number: u64) -> Call {
    let arguments = json!({"name": format!("n{caller}-{}", random.below(5)), "text": number.to_string(),
        "replace": true});
    Call { agent: AGENT, package: "notes", tool: "add", arguments, end: End::Answer }
}

fn steps(number: u64) -> Value {
    let name = format!("f{}", number % 30);
    json!([
        {"op": "open", "at": "/data", "path": name, "open": ["create"], "flags": ["read", "write"], "as": "f"},
        {"op": "write", "at": "f", "fill": number},
        {"op": "read", "at": "f", "length": 100},
        {"op": "stat", "at": "f"},
        {"op": "write-stream", "at": "f", "data": "streamed"},
        {"op": "read-directory", "at": "/data"},
        {"op": "open", "at": "/data", "path": "../outside", "as": "g"},
        {"op": "unlink", "at": "/data", "path": name},
    ])
}

impl Call {
    /// Makes the call, and says what is wrong with how it ended.
    pub(super) async fn make(&self, world: &World) -> Result<(), String> {
        let called = world.host.call(request(self.agent, self.package, self.tool, self.arguments.clone()));
        if let End::Dropped(after) = self.end {
            let _ = tokio::time::timeout(Duration::from_micros(after), called).await;
            return Ok(());
        }
        let result = called.await;
        match ended(&result) {
            Some(end) if end == self.end => Ok(()),
            _ => Err(format!("{self:?}: {result:?}")),
        }
    }
}

fn ended(result: &Result<CallAnswer, CallError>) -> Option<End> {
    match result {
        Ok(_) => Some(End::Answer),
        Err(CallError::NotFound(_)) => Some(End::NotFound),
        Err(CallError::Denied { .. }) => Some(End::Denied),
        Err(CallError::Failed { error, .. }) => match error {
            InvokeError::LimitReached(reached) => Some(End::Limit(reached.limit)),
            InvokeError::Crashed(_) => Some(End::Crash),
            InvokeError::Tool { .. } => Some(End::Failure),
            InvokeError::Arguments(_) => Some(End::Arguments),
            _ => None,
        },
        Err(_) => None,
    }
}
