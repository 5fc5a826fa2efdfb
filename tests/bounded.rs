//! Bounded: each limit has a name, a default and an effect, and no guest goes beyond.

mod cancelled;
mod compiling;
mod deep;
mod handles;
mod host_limits;
mod hostile;
mod loaded;
mod memory;
mod neighbours;
mod prepared;
mod text;

use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Decision, Event, HostCall, HostCallOutcome, Record};
use portcullis::gateway::{CallError, HostError};
use portcullis::ids::CallId;
use portcullis::limits::{Limit, LimitReached, Usage};
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use crate::harness::{AGENT, World, end, guest, limit_reached, wat};
use crate::{fair, http, nested, registration, sockets, state};

/// The test of each limit: just below it passes, just above it has the stated effect. Closed, so that
/// a limit without a test does not compile.
const fn test_of(limit: Limit) -> fn() {
    match limit {
        Limit::Fuel => fuel,
        Limit::WallTime => wall_time,
        Limit::Memory => memory::memory,
        Limit::TableElements => memory::table_elements,
        Limit::Instances => registration::too_many_instances,
        Limit::Stack => stack,
        Limit::HostCalls => host_calls,
        Limit::CopiedBytes => copied_bytes,
        Limit::Resources => handles::resources,
        Limit::Output => output,
        Limit::Stdio => stdio,
        Limit::Log => log,
        Limit::FileBytes => file_bytes,
        Limit::Files => files,
        Limit::OpenFiles => open_files,
        Limit::DirectoryEntries => directory_entries,
        Limit::RandomBytes => random_bytes,
        Limit::KvBytes => state::kv_bytes,
        Limit::KvKeys => state::kv_keys,
        Limit::HttpRequests => http::http_requests,
        Limit::HttpBytesIn => http::http_bytes_in,
        Limit::HttpBytesOut => http::http_bytes_out,
        Limit::Connections => sockets::connections,
        Limit::PackageConnections => sockets::package_connections,
        Limit::Depth => nested::depth,
        Limit::FanOut => nested::fan_out,
        Limit::Concurrency => cancelled::concurrency,
        Limit::PrincipalConcurrency => cancelled::principal_concurrency,
        Limit::HostConcurrency => cancelled::host_concurrency,
        Limit::PrincipalQueue => fair::bounds::principal_queue,
        Limit::HostQueue => fair::bounds::host_queue,
        Limit::QueueTime => fair::bounds::queue_time,
        Limit::PrincipalCallsPerMinute => fair::quotas::principal_calls_per_minute,
        Limit::PrincipalFuelPerHour => fair::quotas::principal_fuel_per_hour,
        Limit::PrincipalEgressPerDay => fair::quotas::principal_egress_per_day,
        Limit::PackageCallsPerMinute => fair::quotas::package_calls_per_minute,
        Limit::PackageFuelPerHour => fair::quotas::package_fuel_per_hour,
        Limit::PackageEgressPerDay => fair::quotas::package_egress_per_day,
        Limit::Registrations => registration::too_many_registrations,
        Limit::HostRegistrations => registration::too_many_registrations_in_all,
        Limit::ComponentBytes => registration::too_many_bytes,
        Limit::Functions => registration::too_many_functions,
        Limit::Types => registration::too_many_types,
        Limit::Imports => registration::too_many_imports,
        Limit::Modules => registration::too_many_modules,
        Limit::CompileTime => compiling::compile_time,
        Limit::CompileMemory => compiling::compile_memory,
        Limit::LoadedCode => loaded::loaded_code,
        Limit::PreparedSandboxes => prepared::prepared_sandboxes,
    }
}

const _: [fn(); Limit::ALL.len()] = {
    let mut tests = [test_of(Limit::Fuel); Limit::ALL.len()];
    let mut index = 0;
    while index < tests.len() {
        tests[index] = test_of(Limit::ALL[index]);
        index += 1;
    }
    tests
};

/// The id of a call that gave no answer.
#[track_caller]
fn failed(error: &CallError) -> CallId {
    match error {
        CallError::Failed { report, .. } => report.call,
        other => panic!("it did not run: {other}"),
    }
}

/// The host calls among some records.
fn host_calls_of(records: &[Record]) -> Vec<HostCall> {
    let host_call = |record: &Record| match &record.event {
        Event::HostCall { host_call, .. } => Some(host_call.clone()),
        _ => None,
    };
    records.iter().filter_map(host_call).collect()
}

/// A limit that ended a call, and that its last record says the same.
#[track_caller]
fn recorded_limit(world: &World, error: CallError) -> LimitReached {
    let call = failed(&error);
    let reached = limit_reached(Err(error));
    assert_eq!(end(&world.records(call)).outcome, CallOutcome::LimitReached(reached));
    reached
}

#[tokio::test(flavor = "multi_thread")]
async fn fuel() {
    let world = World::with("memory", wat("memory")).await;
    let answer = world.call("memory", "compute", json!({"rounds": 1000})).await.expect("an answer");
    let needed = answer.report.usage.fuel;
    assert!(needed > 1_000, "{needed}");
    let with_fuel = async |fuel: u64| {
        let world = World::with_limits("memory", wat("memory"), &format!("fuel = {fuel}")).await;
        let result = world.call("memory", "compute", json!({"rounds": 1000})).await;
        result.map_err(|error| recorded_limit(&world, error))
    };
    // The engine looks at the fuel where loops and functions begin: the last round, which takes less
    // than twenty, may go beyond.
    let answer = with_fuel(needed + 1).await.expect("just enough");
    assert_eq!(answer.report.usage.fuel, needed);
    for fuel in [needed - 20, needed / 2, 1] {
        let reached = with_fuel(fuel).await.expect_err("not enough");
        assert_eq!(reached, LimitReached { limit: Limit::Fuel, value: fuel, max: fuel });
    }
}

/// Case 1: a neighbour of a guest that spins gets its answers meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_infinite_loop_ends_and_its_neighbours_go_on() {
    let world = std::sync::Arc::new(World::new().await);
    world.add("spin", wat("spin")).await;
    world.add("polite", wat("polite")).await;
    world
        .grant(&format!(
            "[[grant]]\npackage = \"spin\"\nagents = [\"{AGENT}\"]\n\
             limits = {{ fuel = 1_000_000_000_000, wall_time = \"3s\" }}\n\
             [[grant]]\npackage = \"polite\"\nagents = [\"{AGENT}\"]\n"
        ))
        .await;
    let spinning: Vec<_> = (0..2)
        .map(|_| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move { world.call("spin", "run", json!({})).await })
        })
        .collect();
    for _ in 0..5 {
        let call = world.call("polite", "answer", json!({}));
        let answer = tokio::time::timeout(Duration::from_secs(60), call).await.expect("its turn comes");
        assert_eq!(answer.expect("an answer").answer.structured, Some(json!(42)));
    }
    assert!(spinning.iter().any(|call| !call.is_finished()), "the neighbours had their turn meanwhile");
    for call in spinning {
        let reached = limit_reached(call.await.expect("no panic"));
        assert_eq!((reached.limit, reached.max), (Limit::WallTime, 3_000));
    }
}

/// Case 3 too: a guest that sleeps for ever.
#[tokio::test(flavor = "multi_thread")]
async fn wall_time() {
    let world =
        World::with_limits("clock", wat("clock"), "wall_time = \"300ms\", fuel = 1_000_000_000_000").await;
    world.call("clock", "sleep", json!({"milliseconds": 50})).await.expect("it wakes in time");
    for (tool, arguments) in [("sleep", json!({"milliseconds": 100_000})), ("sleep-for-ever", json!({}))] {
        let error = world.call("clock", tool, arguments).await.expect_err("it sleeps too long");
        let call = failed(&error);
        let reached = recorded_limit(&world, error);
        assert_eq!((reached.limit, reached.max), (Limit::WallTime, 300));
        assert!((300..30_000).contains(&reached.value), "{reached}");
        let last = host_calls_of(&world.records(call)).pop().expect("host calls");
        assert_eq!(
            (&*last.function, last.result.outcome),
            ("[method]pollable.block", HostCallOutcome::Unknown)
        );
    }
    // A guest that only computes.
    let world =
        World::with_limits("spin", wat("spin"), "wall_time = \"300ms\", fuel = 1_000_000_000_000").await;
    let reached = limit_reached(world.call("spin", "run", json!({})).await);
    assert_eq!((reached.limit, reached.max), (Limit::WallTime, 300));
}

/// Case 16: without the ticker nothing interrupts a guest.
#[tokio::test(flavor = "multi_thread")]
async fn the_epoch_ticks() {
    let world = World::new().await;
    let before = world.host.epoch_ticks();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while world.host.epoch_ticks() < before + 3 {
        assert!(tokio::time::Instant::now() < deadline, "the epoch stands still at {before}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Case 4.
#[tokio::test(flavor = "multi_thread")]
async fn stack() {
    let world = World::with("memory", wat("memory")).await;
    assert_eq!(world.value("memory", "recurse", json!({"depth": 1000})).await, 1000);
    let error = world.call("memory", "recurse", json!({"depth": 100_000_000})).await.expect_err("too deep");
    let max = 512 << 10;
    assert_eq!(recorded_limit(&world, error), LimitReached { limit: Limit::Stack, value: max, max });
    assert_eq!(world.value("memory", "recurse", json!({"depth": 1000})).await, 1000, "the process is alive");
}

/// Case 2 too: a busy loop of host calls.
#[tokio::test(flavor = "multi_thread")]
async fn host_calls() {
    let world = World::with_limits("clock", wat("clock"), "host_calls = 10").await;
    let answer = world.call("clock", "read", json!({"times": 10})).await.expect("ten are allowed");
    assert_eq!(answer.report.usage.host_calls, 10);
    for (tool, arguments) in [("read", json!({"times": 11})), ("read-for-ever", json!({}))] {
        let error = world.call("clock", tool, arguments).await.expect_err("eleven are not");
        let call = failed(&error);
        let reached = recorded_limit(&world, error);
        assert_eq!(reached, LimitReached { limit: Limit::HostCalls, value: 11, max: 10 });
        let calls = host_calls_of(&world.records(call));
        let (last, before) = calls.split_last().expect("host calls");
        assert_eq!(before.len(), 10);
        assert!(before.iter().all(|call| call.result.outcome == HostCallOutcome::Ok));
        assert_eq!(last.decision, Decision::Denied("limit host_calls".into()));
        assert_eq!(last.result.outcome, HostCallOutcome::Trapped("host_calls".into()));
    }
}

/// Case 95 and 2 at the default: a flood of records is ended by the budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_host_calls_ends_at_the_default() {
    let world = World::with("clock", wat("clock")).await;
    let reached = limit_reached(world.call("clock", "read-for-ever", json!({})).await);
    assert_eq!(reached, LimitReached { limit: Limit::HostCalls, value: 100_001, max: 100_000 });
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_bytes() {
    let limits = "copied_bytes = 10_000";
    let world = World::with_limits("print", wat("print"), limits).await;
    world.call("print", "write", json!({"bytes": 10_000})).await.expect("just below");
    let error = world.call("print", "write", json!({"bytes": 10_001})).await.expect_err("just above");
    let reached = recorded_limit(&world, error);
    assert_eq!(reached, LimitReached { limit: Limit::CopiedBytes, value: 10_001, max: 10_000 });

    // Case 22, in a result: a list of the same large text many times over.
    let world = World::with_limits("abi", wat("abi"), "output = \"64KiB\"").await;
    let value = world.value("abi", "texts", json!({"count": 2, "length": 5})).await;
    assert_eq!(value, json!(["xxxxx", "xxxxx"]));
    let error =
        world.call("abi", "texts", json!({"count": 10_000, "length": 1 << 20})).await.expect_err("10 GiB");
    let reached = recorded_limit(&world, error);
    assert_eq!((reached.limit, reached.max), (Limit::CopiedBytes, 4 << 20));
}

/// A result of bytes costs the engine more than bytes of data, which must not lower the bound on output.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_bytes_can_be_as_large_as_the_output() {
    let world = World::with_limits("echo", guest("echo"), "copied_bytes = 1_000, output = \"1MiB\"").await;
    let value = world.value("echo", "long-bytes", json!({"count": 700_000})).await;
    assert!(value.as_str().is_some_and(|text| text.len() > 700_000), "base64");
}

/// Case 22: a huge string.
#[tokio::test(flavor = "multi_thread")]
async fn output() {
    let world = World::with_limits("echo", guest("echo"), "output = 1_002").await;
    let text = world.value("echo", "long-text", json!({"characters": 1_000})).await;
    assert_eq!(text.as_str().map(str::len), Some(1_000));
    let error = world.call("echo", "long-text", json!({"characters": 1_001})).await.expect_err("too long");
    assert_eq!(
        recorded_limit(&world, error),
        LimitReached { limit: Limit::Output, value: 1_003, max: 1_002 }
    );

    let listed = World::with_limits("listed", guest("listed"), "output = 100").await;
    let said = |length: usize| json!({"text": "x".repeat(length)});
    listed.call("listed", "say", said(100)).await.expect("just below");
    let error = listed.call("listed", "say", said(101)).await.expect_err("just above");
    assert_eq!(recorded_limit(&listed, error), LimitReached { limit: Limit::Output, value: 101, max: 100 });
}

/// Case 31: text is cut and marked, and the tool goes on.
#[tokio::test(flavor = "multi_thread")]
async fn stdio() {
    let world = World::with_limits("print", wat("print"), "stdio = 100").await;
    let answer = world.call("print", "write", json!({"bytes": 100})).await.expect("just below");
    assert_eq!((answer.report.stdout, answer.report.usage.stdio), ("x".repeat(100), 100));
    let answer = world.call("print", "write", json!({"bytes": 101})).await.expect("it goes on");
    assert_eq!(answer.report.stdout, format!("{}… [cut]", "x".repeat(100)));
    assert_eq!(answer.report.usage.stdio, 101);
    // Both streams share it.
    let world = World::with_limits("std-probe", guest("std-probe"), "stdio = 100").await;
    let arguments = json!({"out": "o".repeat(80) + "\n", "err": "e".repeat(80)});
    let report = world.call("std-probe", "print", arguments).await.expect("it goes on").report;
    let kept = report.stdout.matches('o').count() + report.stderr.matches('e').count();
    assert!((98..=100).contains(&kept), "{kept}, and perhaps a line's end or two");
    assert!(report.stdout.contains("[cut]") || report.stderr.contains("[cut]"), "{report:?}");
}

/// Lines of wasi:logging go to the caller, on lines of their own, cut and marked; the tool goes on.
#[tokio::test(flavor = "multi_thread")]
async fn log() {
    // "info c: " before a message, and a newline after it.
    let world = World::with_limits("log", wat("log"), "log = 100").await;
    let answer = world.call("log", "log", json!({"bytes": 91})).await.expect("just below");
    assert_eq!((answer.report.log, answer.report.usage.log), (format!("info c: {}\n", "x".repeat(91)), 100));
    let answer = world.call("log", "log", json!({"bytes": 92})).await.expect("it goes on");
    let call = answer.report.call;
    assert_eq!(answer.report.log, format!("info c: {}… [cut]", "x".repeat(92)));
    assert_eq!(answer.report.usage.log, 101);
    // The record names the context and how much it was, and not what.
    let calls = host_calls_of(&world.records(call));
    let [logged] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((&*logged.interface, logged.subject.as_deref()), ("wasi:logging/logging", Some("c")));
    assert_eq!((&logged.decision, logged.result.bytes_out), (&Decision::Allowed("harmless".into()), 93));
    // What would act on a terminal, or pass for another line, does not.
    let answer = world.call("log", "log-nasty", json!({})).await.expect("it goes on");
    assert_eq!(answer.report.log, "critical c: red error forged: line\n");
    // A flood of empty lines is bounded like any other.
    let error = world.call("log", "log-for-ever", json!({})).await.expect_err("it never ends by itself");
    match error {
        CallError::Failed { report, .. } => assert!(report.log.len() < 120, "{}", report.log.len()),
        other => panic!("{other:?}"),
    }
}

/// Case 8: bulk operations cost by their size, so that fuel bounds the work.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_operations_cost_by_their_size() {
    let world = World::with("bulk", wat("bulk")).await;
    let fuel = async |tool: &str, count: u32| {
        world.call("bulk", tool, json!({"count": count})).await.expect("an answer").report.usage.fuel
    };
    for (tool, few, many, each) in [
        ("copy", 100, 60_100, 1),
        ("fill", 100, 60_100, 1),
        ("init", 4, 64, 1),
        ("grow", 1, 101, 64),
        ("copy-table", 2, 50, 1),
        ("fill-table", 2, 60, 1),
        ("init-table", 1, 8, 1),
        ("grow-table", 1, 1_001, 1),
    ] {
        let (less, more) = (fuel(tool, few).await, fuel(tool, many).await);
        assert_eq!(more - less, u64::from(many - few) * each, "{tool}");
    }
}

/// Case 8: 200 MiB copied in a loop is interrupted in its midst.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_copy_ends_at_its_time_or_its_fuel() {
    let limits = "memory = \"512MiB\", wall_time = \"300ms\", fuel = 1_000_000_000_000";
    let world = World::with_limits("bulk", wat("bulk"), limits).await;
    let pages = (200 << 20) / (64 << 10);
    let reached = limit_reached(world.call("bulk", "copy-for-ever", json!({"count": pages})).await);
    assert_eq!((reached.limit, reached.max), (Limit::WallTime, 300));
    assert!((300..30_000).contains(&reached.value), "{reached}");
    let limits = "memory = \"512MiB\", wall_time = \"60s\", fuel = 300_000_000";
    world.grant(&crate::harness::limited("bulk", limits)).await;
    let error = world.call("bulk", "copy-for-ever", json!({"count": pages})).await.expect_err("too much");
    let max = 300_000_000;
    assert_eq!(recorded_limit(&world, error), LimitReached { limit: Limit::Fuel, value: max, max });
}

/// Runs steps of `tests/guests/files` in a folder granted with `rule`.
async fn in_folder(rule: &str, limits: &str, steps: Value) -> (Value, Usage) {
    let world = World::new().await;
    world.add("files", guest("files")).await;
    world.folder("granted");
    world
        .grant(&format!(
            "[[grant]]\npackage = \"files\"\nagents = [\"{AGENT}\"]\n{limits}\n\
             [[grant.filesystem]]\nhost_path = \"granted\"\nguest_path = \"/data\"\n\
             access = \"read-write\"\n{rule}\n"
        ))
        .await;
    let answer = world.call("files", "run", json!({"steps": steps.to_string()})).await.expect("an answer");
    (answer.answer.structured.expect("a list"), answer.report.usage)
}

#[tokio::test(flavor = "multi_thread")]
async fn file_bytes() {
    let steps = json!([
        {"op": "open", "at": "/data", "path": "a", "open": ["create"], "flags": ["write"], "as": "a"},
        {"op": "write", "at": "a", "fill": 1000},
        {"op": "write", "at": "a", "fill": 1, "offset": 1000},
    ]);
    let (answers, usage) = in_folder("quota = 1_000", "", steps).await;
    assert_eq!(answers, json!(["ok", "ok: 1000", "error: insufficient-space"]));
    assert_eq!(usage.file_bytes_written, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn files() {
    let many = |count: u32| json!([{"op": "create-many", "at": "/data", "prefix": "a", "count": count}]);
    assert_eq!(in_folder("files_max = 3", "", many(3)).await.0, json!(["ok: 3"]));
    assert_eq!(in_folder("files_max = 3", "", many(4)).await.0, json!(["error: insufficient-space after 3"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_files() {
    let many = |count: u32| {
        json!([
            {"op": "open", "at": "/data", "path": "a", "open": ["create"], "flags": ["write"], "as": "a"},
            {"op": "close", "at": "a"},
            {"op": "open-many", "at": "/data", "path": "a", "count": count},
        ])
    };
    // The granted folder itself is one.
    let limits = "limits = { open_files = 5 }";
    let (answers, usage) = in_folder("", limits, many(4)).await;
    assert_eq!((&answers[2], usage.open_files_peak), (&json!("ok: 4"), 5));
    let (answers, usage) = in_folder("", limits, many(5)).await;
    assert_eq!((&answers[2], usage.open_files_peak), (&json!("error: insufficient-memory after 4"), 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_entries() {
    let list = |count: u32| {
        json!([
            {"op": "create-many", "at": "/data", "prefix": "a", "count": count},
            {"op": "read-directory", "at": "/data"},
        ])
    };
    let limits = "limits = { directory_entries = 2 }";
    let (listed, usage) = in_folder("", limits, list(2)).await;
    assert_eq!(listed[1], json!("ok: 2: a0:regular-file a1:regular-file"));
    assert_eq!(usage.directory_entries_peak, 2);
    let (listed, _) = in_folder("", limits, list(3)).await;
    assert!(listed[1].as_str().is_some_and(|text| text.starts_with("error: overflow")), "{listed}");
}

/// Case 28.
#[tokio::test(flavor = "multi_thread")]
async fn random_bytes() {
    let world = World::with("random", wat("random")).await;
    let max = 64 << 10;
    let answer = world.call("random", "draw", json!({"bytes": max})).await.expect("just below");
    assert_eq!(answer.report.usage.random_bytes_peak, max);
    for bytes in [max + 1, 1 << 53] {
        let error = world.call("random", "draw", json!({"bytes": bytes})).await.expect_err("just above");
        let call = failed(&error);
        let reached = recorded_limit(&world, error);
        assert_eq!(reached, LimitReached { limit: Limit::RandomBytes, value: bytes, max });
        let last = host_calls_of(&world.records(call)).pop().expect("a host call");
        assert_eq!(last.result.outcome, HostCallOutcome::Trapped("random_bytes".into()));
    }
    let arguments = json!({"bytes": (1_u64 << 63).to_string()});
    let reached = limit_reached(world.call("random", "draw", arguments).await);
    assert_eq!(reached, LimitReached { limit: Limit::RandomBytes, value: 1 << 63, max });
    world.grant(&crate::harness::limited("random", "random_bytes = 10")).await;
    world.call("random", "draw", json!({"bytes": 10})).await.expect("just below");
    let reached = limit_reached(world.call("random", "draw", json!({"bytes": 11})).await);
    assert_eq!(reached, LimitReached { limit: Limit::RandomBytes, value: 11, max: 10 });
}

/// Case 6: the fuel ends inside a host call, which completes once and is recorded, then the trap.
#[tokio::test(flavor = "multi_thread")]
async fn fuel_that_runs_out_inside_a_host_call() {
    let world = World::with_limits("random", wat("random"), "fuel = 100_000").await;
    let error = world.call("random", "draw-and-spin", json!({})).await.expect_err("its realloc spins");
    let call = failed(&error);
    assert_eq!(recorded_limit(&world, error).limit, Limit::Fuel);
    let calls = host_calls_of(&world.records(call));
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!((&*calls[0].function, &calls[0].result.outcome), ("get-random-bytes", &HostCallOutcome::Ok));
}

/// Case 6, at every amount of fuel that the guest could run out of.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_fuel_a_host_call_happens_once_or_not_at_all() {
    let world = World::with("print", wat("print")).await;
    let needed =
        world.call("print", "write", json!({"bytes": 1})).await.expect("it writes").report.usage.fuel;
    let mut written = 0;
    for fuel in (1..=needed).rev().step_by(1 + usize::try_from(needed).expect("small") / 30) {
        world.grant(&crate::harness::limited("print", &format!("fuel = {fuel}"))).await;
        let result = world.call("print", "write-and-spin", json!({})).await;
        let (call, stdout) = match &result {
            Err(CallError::Failed { error: InvokeError::LimitReached(reached), report }) => {
                assert_eq!(reached.limit, Limit::Fuel);
                (report.call, report.stdout.clone())
            }
            other => panic!("{other:?}"),
        };
        let records = world.records(call);
        let writes: Vec<HostCall> = host_calls_of(&records)
            .into_iter()
            .filter(|call| call.function == "[method]output-stream.write")
            .collect();
        assert_eq!(writes.len(), stdout.len(), "one record for what happened: {records:?}");
        assert!(writes.iter().all(|call| call.result.outcome == HostCallOutcome::Ok), "{writes:?}");
        written = written.max(writes.len());
    }
    assert_eq!(written, 1, "with enough fuel it is written once");
}

/// Names what a registration was refused for.
#[track_caller]
pub(crate) fn refused(result: Result<portcullis::ids::PackageDigest, HostError>) -> String {
    match result {
        Err(error @ HostError::Package(_)) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}
