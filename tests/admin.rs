//! What an admin does while agents work: freeze, quarantine, revoke, remove. It holds at once, for calls
//! that run as for those that come, it is in the log first, and it survives the host.

mod approval;
mod command_line;
mod narrowing;
mod open_ends;
mod principals;

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event, Record};
use portcullis::authn::local_admin;
use portcullis::gateway::{CallAnswer, CallError, CallReport, HostError};
use portcullis::ids::{CallId, PackageDigest, PackageName, PrincipalId, Remark};
use portcullis::policy::{Denial, Stop};
use portcullis::registry::RegistryError;
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{AGENT, World, end, guest, limited, open, request, wat};

/// Nothing here takes longer, on the slowest machine; what is to be stopped would run ten minutes.
const PATIENCE: Duration = Duration::from_secs(60);
const LONG: &str = "fuel = 1_000_000_000_000, host_calls = 1_000_000, wall_time = \"10m\"";

type Calling = JoinHandle<Result<CallAnswer, CallError>>;

fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a valid name")
}

fn why() -> Remark {
    id("an incident")
}

/// A host with hand-written guests that may run for long.
async fn world(packages: &[&str]) -> Arc<World> {
    let world = World::new().await;
    let mut grants = String::new();
    for name in packages {
        world.add(name, wat(name)).await;
        grants += &limited(name, LONG);
    }
    if !grants.is_empty() {
        world.grant(&grants).await;
    }
    Arc::new(world)
}

fn start(world: &Arc<World>, agent: &str, package: &str, tool: &str, arguments: Value) -> Calling {
    let (world, request) = (Arc::clone(world), request(agent, package, tool, arguments));
    tokio::spawn(async move { world.host.call(request).await })
}

/// Starts a call and waits until it runs; answers its id.
async fn started(
    world: &Arc<World>,
    agent: &str,
    package: &str,
    tool: &str,
    arguments: Value,
) -> (CallId, Calling) {
    let before: Vec<CallId> = world.host.running().iter().map(|call| call.context.call).collect();
    let calling = start(world, agent, package, tool, arguments);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let running = world.host.running();
        if let Some(call) = running.iter().find(|call| !before.contains(&call.context.call)) {
            return (call.context.call, calling);
        }
        assert!(Instant::now() < deadline && !calling.is_finished(), "{package} {tool} does not run");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Why a call was stopped, and how it went until then; the log says the same.
async fn stopped(world: &World, calling: Calling) -> (Stop, CallReport) {
    let result = timeout(PATIENCE, calling).await.expect("it is stopped").expect("no panic");
    let (stop, report) = match result {
        Err(CallError::Failed { error: InvokeError::Stopped(stop), report }) => (stop, *report),
        other => panic!("not stopped, but: {other:?}"),
    };
    let records = world.records(report.call);
    let end = end(&records);
    assert_eq!(end.outcome, CallOutcome::Stopped { stop: stop.clone() });
    assert_eq!(end.usage, report.usage);
    (stop, report)
}

async fn stopped_by(world: &World, calling: Calling) -> Denial {
    match stopped(world, calling).await.0 {
        Stop::Denied { denial, .. } => denial,
        stop @ (Stop::Narrowed { .. } | Stop::CredentialRevoked { .. }) => panic!("not denied, but {stop:?}"),
    }
}

/// Why a call is denied; the log has it.
#[track_caller]
fn denial(world: &World, result: Result<CallAnswer, CallError>) -> Denial {
    let Err(CallError::Denied { call, denial }) = result else { panic!("not denied, but: {result:?}") };
    let records = world.records(call);
    let [Record { event: Event::CallDenied { denial: recorded, .. }, .. }] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!(*recorded, denial);
    denial
}

async fn answer(world: &World) -> Result<CallAnswer, CallError> {
    world.call("polite", "answer", json!({})).await
}

/// Ends the host, once nothing of a test uses it any more, and starts another over the same folder.
async fn restarted(world: Arc<World>) -> Arc<World> {
    let deadline = Instant::now() + PATIENCE;
    let mut world = world;
    let World { host, temporary } = loop {
        world = match Arc::try_unwrap(world) {
            Ok(world) => break world,
            Err(world) => world,
        };
        assert!(Instant::now() < deadline, "calls still hold the host");
        sleep(Duration::from_millis(5)).await;
    };
    host.close().await.expect("it ends in good order");
    let host = open(&temporary.path().join("data")).await.expect("it opens again");
    Arc::new(World { host, temporary })
}

fn events(world: &World, is_it: impl Fn(&Event) -> bool) -> usize {
    world.all_records().iter().filter(|record| is_it(&record.event)).count()
}

/// None of them ends by itself because it heard of the change before it was told.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_names_every_call_that_it_ends() {
    let world = world(&["clock", "polite"]).await;
    for _ in 0..5 {
        let mut calls = Vec::new();
        for _ in 0..12 {
            calls.push(started(&world, AGENT, "clock", "sleep-for-ever", json!({})).await);
        }
        let changed = world.host.freeze(&local_admin(), why()).await.expect("frozen");
        let mut told: Vec<CallId> = calls.iter().map(|(call, _)| *call).collect();
        told.sort();
        assert_eq!(changed.taken.stopped, told);
        for (_, calling) in calls {
            stopped(&world, calling).await;
        }
        world.host.thaw(&local_admin()).await.expect("thawed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_ends_what_runs_and_refuses_what_comes_until_it_thaws() {
    let world = world(&["clock", "spin", "start", "polite"]).await;
    answer(&world).await.expect("its twin: not frozen, it answers");
    let mut calls = Vec::new();
    let guests = [("clock", "sleep-for-ever"), ("clock", "read-for-ever"), ("spin", "run"), ("start", "run")];
    for (package, tool) in guests {
        calls.push(started(&world, AGENT, package, tool, json!({})).await);
    }
    // Time to do something that can be counted.
    sleep(Duration::from_millis(100)).await;
    let admin = local_admin();
    let changed = world.host.freeze(&admin, why()).await.expect("frozen");
    assert!(changed.taken.changed);
    let mut told: Vec<CallId> = calls.iter().map(|(call, _)| *call).collect();
    told.sort();
    assert_eq!(changed.taken.stopped, told);
    for (call, calling) in calls {
        let (stop, report) = stopped(&world, calling).await;
        let expected = Denial::Frozen { because: why() };
        assert_eq!(stop, Stop::Denied { revision: changed.taken.revision, denial: expected });
        assert_eq!(report.call, call);
        assert!(report.usage.wall_time_us > 0, "{report:?}");
        if report.usage.host_calls > 1 {
            assert!(report.usage.fuel > 0, "what it used is known: {report:?}");
        }
    }
    assert_eq!(denial(&world, answer(&world).await), Denial::Frozen { because: why() });
    assert_eq!(world.host.running(), []);

    // What would run to be registered is not; what is only compiled is.
    let listed = guest("listed");
    let refused = world.register("listed", listed.clone()).await;
    assert!(matches!(refused, Err(HostError::Denied(Denial::Frozen { .. }))), "{refused:?}");
    let is_refusal = |event: &Event| matches!(event, Event::PackageRefused { digest, .. } if *digest == PackageDigest::of(&listed));
    assert_eq!(events(&world, is_refusal), 1);
    world.register("print", wat("print")).await.expect("only compiled");
    world.grant(&limited("polite", "fuel = 7_000_000")).await;
    assert_eq!(world.host.packages().await.expect("readable").len(), 5);

    let again = world.host.freeze(&admin, id("another reason")).await.expect("answered");
    assert!(!again.taken.changed);
    assert_eq!(again.frozen.map(|frozen| frozen.because), Some(why()), "the first reason stays");
    let world = restarted(world).await;
    assert_eq!(denial(&world, answer(&world).await), Denial::Frozen { because: why() });
    assert_eq!(events(&world, |event| matches!(event, Event::HostFrozen { .. })), 1);

    assert!(world.host.thaw(&admin).await.expect("thawed").taken.changed);
    answer(&world).await.expect("it answers again");
    world.register("listed", guest("listed")).await.expect("it is asked again");
    assert!(!world.host.thaw(&admin).await.expect("answered").taken.changed);
    let world = restarted(world).await;
    answer(&world).await.expect("and after a restart");
    assert_eq!(events(&world, |event| matches!(event, Event::HostThawed { .. })), 1);
}

/// A component that lists its tools for ever is stopped by a freeze like a call.
#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_ends_a_registration_that_runs() {
    let world = world(&["polite"]).await;
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/guests/wat/listed.wat"));
    let text =
        text.expect("there").replace("$LIST", "(loop $again (br $again)) unreachable").replace("$DATA", "");
    let bytes = wat::parse_str(text).expect("valid");
    let registering = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.register("endless", bytes).await }
    });
    let deadline = Instant::now() + PATIENCE;
    while world.host.running().is_empty() {
        assert!(Instant::now() < deadline, "it does not run");
        sleep(Duration::from_millis(5)).await;
    }
    world.host.freeze(&local_admin(), why()).await.expect("frozen");
    let refused = timeout(PATIENCE, registering).await.expect("it ends").expect("no panic");
    assert!(matches!(refused, Err(HostError::Denied(Denial::Frozen { .. }))), "{refused:?}");
    let is_stopped = |event: &Event| matches!(event, Event::CallFinished { end, .. } if matches!(end.outcome, CallOutcome::Stopped { .. }));
    assert_eq!(events(&world, is_stopped), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_ends_what_runs_bars_calls_and_approval_and_survives_all() {
    let world = world(&["clock", "spin", "polite"]).await;
    let admin = local_admin();
    let (package, digest): (PackageName, _) = (id("clock"), PackageDigest::of(&wat("clock")));
    let (_, neighbour) = started(&world, AGENT, "spin", "run", json!({})).await;
    let (call, calling) = started(&world, AGENT, "clock", "sleep-for-ever", json!({})).await;
    let changed = world.host.quarantine(&admin, package.clone(), None, why()).await.expect("quarantined");
    assert_eq!(changed.taken.stopped, [call], "its neighbour goes on");
    let expected = Denial::Quarantined { package: package.clone(), digest: None, because: why() };
    assert_eq!(stopped_by(&world, calling).await, expected);
    assert!(!neighbour.is_finished());
    neighbour.abort();
    drop(neighbour.await);
    let read = || world.call("clock", "read", json!({"times": 1}));
    assert_eq!(denial(&world, read().await), expected);
    assert!(!expected.to_string().contains("incident"), "who calls is not told an admin's words");
    answer(&world).await.expect("another package is not meant");

    // Neither the bytes that were approved nor others can be approved under the name.
    let other = world.register("clock", wat("print")).await.expect("registered");
    for bytes in [digest, other] {
        let refused = world.host.approve(&admin, &package, Some(bytes)).await;
        let is_quarantined = matches!(&refused, Err(HostError::Registry(RegistryError::Quarantined(_))));
        assert!(is_quarantined, "{refused:?}");
    }
    let approvals = |world: &World| events(world, |event| matches!(event, Event::PackageApproved { .. }));
    assert_eq!(approvals(&world), 3, "what is refused is not recorded as done");
    let again = world.host.quarantine(&admin, package.clone(), None, id("again")).await.expect("answered");
    assert!(!again.taken.changed);

    // Removing it and adding it anew lifts nothing.
    let world = restarted(world).await;
    assert_eq!(denial(&world, world.call("clock", "read", json!({"times": 1})).await), expected);
    world.host.remove_package(&admin, &package).await.expect("removed");
    world.register("clock", wat("clock")).await.expect("registered");
    let refused = world.host.approve(&admin, &package, None).await;
    assert!(matches!(refused, Err(HostError::Registry(RegistryError::Quarantined(_)))), "{refused:?}");

    let released = world.host.release(&admin, package.clone(), None).await.expect("released");
    assert!(released.taken.changed && released.quarantine.is_none());
    assert!(!world.host.release(&admin, package.clone(), None).await.expect("answered").taken.changed);
    world.host.approve(&admin, &package, None).await.expect("its twin: released, it is approved");
    world.grant(&limited("clock", LONG)).await;
    world.call("clock", "read", json!({"times": 1})).await.expect("and called");
    let world = restarted(world).await;
    world.call("clock", "read", json!({"times": 1})).await.expect("and after a restart");
    for (name, count) in [("nothing", None), ("clock", Some(other))] {
        let unknown = world.host.quarantine(&admin, id(name), count, why()).await;
        let is_unknown = matches!(
            unknown,
            Err(HostError::Registry(RegistryError::NotFound { .. } | RegistryError::NoSuchDigest { .. }))
        );
        assert!(is_unknown, "{name}: {unknown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_quarantined_under_whatever_name_and_others_of_the_package_are_not() {
    let world = world(&["polite"]).await;
    let admin = local_admin();
    let digest = PackageDigest::of(&wat("polite"));
    world.add("copy", wat("polite")).await;
    world.grant(&limited("copy", LONG)).await;
    world.call("copy", "answer", json!({})).await.expect("its twin");
    world.host.quarantine(&admin, id("polite"), Some(digest), why()).await.expect("quarantined");
    for package in ["polite", "copy"] {
        let denied = denial(&world, world.call(package, "answer", json!({})).await);
        let expected = Denial::Quarantined { package: id(package), digest: Some(digest), because: why() };
        assert_eq!(denied, expected);
    }
    // Other bytes under the name are free.
    world.add("polite", wat("clock")).await;
    world.grant(&limited("polite", LONG)).await;
    world.call("polite", "read", json!({"times": 1})).await.expect("other bytes");
    // The quarantine is lifted as it was made.
    for (package, digest) in [("polite", None), ("copy", Some(PackageDigest::of(&wat("clock"))))] {
        let released = world.host.release(&admin, id(package), digest).await;
        assert!(!released.is_ok_and(|released| released.taken.changed), "{package} {digest:?}");
    }
    world.host.release(&admin, id("polite"), Some(digest)).await.expect("released");
    world.call("copy", "answer", json!({})).await.expect("released");
}

/// Whatever an admin does while calls come and go, each admitted call is closed, and after a freeze nothing
/// answers.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_race_with_a_freeze_are_answered_denied_or_stopped() {
    let world = world(&["polite", "clock"]).await;
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for _ in 0..60 {
                    let called = match caller % 2 {
                        0 => answer(&world).await,
                        _ => world.call("clock", "sleep", json!({"milliseconds": 3})).await,
                    };
                    match called {
                        Ok(_) | Err(CallError::Denied { denial: Denial::Frozen { .. }, .. }) => {}
                        Err(CallError::Failed { error: InvokeError::Stopped(_), .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    for _ in 0..10 {
        world.host.freeze(&local_admin(), why()).await.expect("frozen");
        let frozen_at = world.host.log().last_time();
        assert!(world.host.frozen().is_some());
        sleep(Duration::from_millis(20)).await;
        for call in world.host.running() {
            assert!(call.since <= frozen_at + PATIENCE, "{call:?}");
        }
        world.host.thaw(&local_admin()).await.expect("thawed");
        sleep(Duration::from_millis(10)).await;
    }
    for caller in callers {
        timeout(PATIENCE, caller).await.expect("it ends").expect("no other error");
    }
    let records = world.all_records();
    let mut open = std::collections::BTreeSet::new();
    let (mut revision, mut frozen) = (None, false);
    for record in &records {
        match &record.event {
            Event::HostFrozen { revision: at, .. } => (revision, frozen) = (Some(*at), true),
            Event::HostThawed { revision: at, .. } => (revision, frozen) = (Some(*at), false),
            Event::CallAdmitted { context, .. } => {
                assert!(open.insert(context.call));
                // By the revision that it was judged by, no call was admitted while the host was frozen.
                assert!(!(frozen && Some(context.revision) == revision), "{record:?}");
            }
            Event::CallFinished { context, .. } => assert!(open.remove(&context.call)),
            _ => {}
        }
    }
    assert!(open.is_empty(), "each admitted call is closed");
}

fn named(name: &str) -> PrincipalId {
    id(name)
}
