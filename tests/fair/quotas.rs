//! Quotas: just below each a call begins, just above it is refused with the limit and when to try again.

use std::time::Duration;

use portcullis::audit::event::Event;
use portcullis::authn::local_admin;
use portcullis::database::ChangeError;
use portcullis::gateway::{Blame, CallAnswer, CallError, HostError, HostOptions, QuotaReached};
use portcullis::limits::{Limit, LimitReached};
use portcullis::policy::{QuotaSubject, QuotasChange};
use serde_json::{Value, json};

use crate::harness::network::{Manner, Peer};
use crate::harness::{AGENT, World, limit_reached, options, wat};
use crate::sockets;

fn principal(name: &str) -> QuotaSubject {
    QuotaSubject::Principal(name.parse().expect("a name"))
}

fn package(name: &str) -> QuotaSubject {
    QuotaSubject::Package(name.parse().expect("a name"))
}

async fn set(world: &World, subject: &QuotaSubject, change: Value) {
    let change: QuotasChange = serde_json::from_value(change).expect("quotas");
    world.host.set_quotas(&local_admin(), subject.clone(), change).await.expect("set");
}

#[track_caller]
fn used_up(result: Result<CallAnswer, CallError>) -> QuotaReached {
    match result {
        Err(error @ CallError::Quota(reached)) => {
            assert_eq!(error.blame(), Blame::Agent);
            reached
        }
        other => panic!("no quota: {other:?}"),
    }
}

/// A host with two agents that may use both packages.
async fn world() -> World {
    let world = World::new().await;
    for name in ["one", "two"] {
        world.add(name, wat("memory")).await;
    }
    let grant = |name| format!("[[grant]]\npackage = \"{name}\"\nagents = [\"ann\", \"bob\"]\n");
    world.grant(&(grant("one") + &grant("two"))).await;
    world
}

async fn compute(world: &World, agent: &str, package: &str) -> Result<CallAnswer, CallError> {
    world.call_as(agent, package, "compute", json!({"rounds": 1_000})).await
}

fn of_minute(reached: QuotaReached, limit: Limit, max: u64) {
    assert_eq!(reached.reached, LimitReached { limit, value: max + 1, max });
    assert!((1..=61).contains(&reached.retry_after.as_secs()), "{reached:?}");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn principal_calls_per_minute() {
    let world = world().await;
    set(&world, &principal("ann"), json!({"calls_per_minute": 3})).await;
    for name in ["one", "two", "one"] {
        compute(&world, "ann", name).await.expect("three are allowed, over all packages");
    }
    for name in ["one", "two"] {
        of_minute(used_up(compute(&world, "ann", name).await), Limit::PrincipalCallsPerMinute, 3);
    }
    compute(&world, "bob", "one").await.expect("another has its own");
    world.host.write_access(true).await.expect("written");
    let refused = world.all_records().into_iter().filter_map(|record| match record.event {
        Event::CallsRefused(refused) => Some((refused.package.map(|name| name.to_string()), refused.calls)),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [(Some("one".to_owned()), 1), (Some("two".to_owned()), 1)]);
    set(&world, &principal("ann"), json!({"calls_per_minute": 4})).await;
    compute(&world, "ann", "one").await.expect("one more was given");
    set(&world, &principal("ann"), json!({"calls_per_minute": null})).await;
    compute(&world, "ann", "one").await.expect("as the host's limits say");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn package_calls_per_minute() {
    let world = world().await;
    set(&world, &package("one"), json!({"calls_per_minute": 2})).await;
    for agent in ["ann", "bob"] {
        compute(&world, agent, "one").await.expect("two are allowed, whoever calls");
    }
    of_minute(used_up(compute(&world, "ann", "one").await), Limit::PackageCallsPerMinute, 2);
    compute(&world, "ann", "two").await.expect("another has its own");
}

/// What a call of `compute` takes.
async fn needed(world: &World) -> u64 {
    compute(world, "bob", "two").await.expect("an answer").report.usage.fuel
}

/// A call is given no more than is left; what is used up refuses the next.
async fn fuel_per_hour(subject: &QuotaSubject, limit: Limit) {
    let world = world().await;
    let needed = needed(&world).await;
    // Enough for two, and not for a third.
    let max = needed * 5 / 2;
    set(&world, subject, json!({"fuel_per_hour": max})).await;
    for _ in 0..2 {
        compute(&world, "ann", "one").await.expect("just below");
    }
    let reached = limit_reached(compute(&world, "ann", "one").await);
    assert_eq!((reached.limit, reached.max), (Limit::Fuel, max - 2 * needed), "what was left");
    let reached = used_up(compute(&world, "ann", "one").await);
    assert_eq!(reached.reached, LimitReached { limit, value: max + 1, max });
    assert!((1..=3_660).contains(&reached.retry_after.as_secs()), "{reached:?}");
    compute(&world, "bob", "two").await.expect("another has its own");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn principal_fuel_per_hour() {
    fuel_per_hour(&principal("ann"), Limit::PrincipalFuelPerHour).await;
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn package_fuel_per_hour() {
    fuel_per_hour(&package("one"), Limit::PackageFuelPerHour).await;
}

/// What running calls may use is not given to others: no number of them uses more than there is.
#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_share_what_is_left() {
    let world = std::sync::Arc::new(world().await);
    let needed = needed(&world).await;
    let max = needed * 7 / 2;
    set(&world, &principal("ann"), json!({"fuel_per_hour": max})).await;
    let calls: Vec<_> =
        (0..8).map(|_| super::start(&world, "ann", "one", "compute", json!({"rounds": 1_000}))).collect();
    for call in calls {
        match call.await.expect("no panic") {
            Ok(_) | Err(CallError::Quota(_) | CallError::Failed { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let status = world.host.principal_quotas(&"ann".parse().expect("a name")).expect("known");
    let fuel = &status.used[1];
    assert_eq!((fuel.limit, fuel.held, fuel.max), (Limit::PrincipalFuelPerHour, 0, max));
    assert!(fuel.used <= max, "{fuel:?}");
}

/// A call that is given up has used what it used.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_counts() {
    let world = World::new().await;
    world.add("spin", wat("spin")).await;
    super::grant(&world, &["spin"], &["ann"]).await;
    let world = std::sync::Arc::new(world);
    let spins = super::start(&world, "ann", "spin", "run", json!({}));
    super::until(&world, 1, 0).await;
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    while world.host.epoch_ticks() < 10 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    spins.abort();
    super::until(&world, 0, 0).await;
    let name = "ann".parse().expect("a name");
    loop {
        let status = world.host.principal_quotas(&name).expect("known");
        let fuel = &status.used[1];
        if fuel.held == 0 && fuel.used > 0 {
            assert_eq!(status.used[0].used, 1, "one call");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What leaves by sockets and by HTTP is bounded while the call runs; a call that could send nothing does not begin.
async fn egress_per_day(subject: &QuotaSubject, limit: Limit) {
    let ((world, _), peer) = (sockets::world(options()).await, Peer::new(Manner::Echo));
    world.grant(&sockets::grant(&sockets::tcp(&["127.0.0.1"], peer.port, &["127.0.0.0/8"]))).await;
    set(&world, subject, json!({"egress_per_day": 12})).await;
    let talk = |text: &str| json!({"host": "127.0.0.1", "port": peer.port, "text": text});
    let said = world.call("sockets", "talk", talk("12345")).await;
    assert_eq!(sockets::told(&said), Ok(json!("hello 12345")), "just below");
    // Seven are left.
    let said = world.call("sockets", "talk", talk("12345678")).await;
    assert_eq!(sockets::told(&said), Err("access-denied".to_owned()));
    let call = match &said {
        Err(CallError::Failed { report, .. }) => report.call,
        other => panic!("{other:?}"),
    };
    let records = sockets::of_sockets(&world.records(call));
    assert!(records.iter().any(|line| line.contains(&format!("denied: limit {limit}"))), "{records:?}");
    let said = world.call("sockets", "talk", talk("1234567")).await;
    assert_eq!(sockets::told(&said), Ok(json!("hello 1234567")), "all that is left");
    let reached = used_up(world.call("sockets", "talk", talk("")).await);
    assert_eq!(reached.reached, LimitReached { limit, value: 13, max: 12 });
    // One that can send nothing is none of it.
    world.add("polite", wat("polite")).await;
    world.grant(&crate::harness::grant("polite")).await;
    if matches!(subject, QuotaSubject::Principal(_)) {
        world.call("polite", "answer", json!({})).await.expect("it sends nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn principal_egress_per_day() {
    egress_per_day(&principal(AGENT), Limit::PrincipalEgressPerDay).await;
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn package_egress_per_day() {
    egress_per_day(&package("sockets"), Limit::PackageEgressPerDay).await;
}

/// A principal may have more or fewer calls at once than others, and a package fewer.
#[tokio::test(flavor = "multi_thread")]
async fn concurrency_is_set_for_one() {
    let world = World::within(super::limits(&[(Limit::QueueTime, 200)])).await;
    for name in ["clock", "polite"] {
        world.add(name, wat(name)).await;
    }
    super::grant(&world, &["clock", "polite"], &["ann", "bob"]).await;
    set(&world, &principal("ann"), json!({"concurrency": 1})).await;
    set(&world, &package("clock"), json!({"concurrency": 2})).await;
    let world = std::sync::Arc::new(world);
    let sleepers = ["ann", "bob"].map(|agent| super::sleeper(&world, agent));
    super::until(&world, 2, 0).await;
    for (agent, package, limit, value) in
        [("ann", "polite", Limit::PrincipalConcurrency, 2), ("bob", "clock", Limit::Concurrency, 3)]
    {
        let tool = if package == "clock" { "sleep-for-ever" } else { "answer" };
        match world.call_as(agent, package, tool, json!({})).await {
            Err(CallError::Busy(busy)) => {
                let waited_for = LimitReached { limit, value, max: value - 1 };
                assert_eq!(busy.waited_for, Some(waited_for));
            }
            other => panic!("{other:?}"),
        }
    }
    world.call_as("bob", "polite", "answer", json!({})).await.expect("bob has as many as others");
    sleepers.iter().for_each(tokio::task::JoinHandle::abort);
}

/// What was used is known after a restart, and what was said is in force.
#[tokio::test(flavor = "multi_thread")]
async fn quotas_and_what_is_used_survive_a_restart() {
    let world = world().await;
    set(&world, &principal("ann"), json!({"calls_per_minute": 2, "weight": 3})).await;
    for _ in 0..2 {
        compute(&world, "ann", "one").await.expect("two");
    }
    let World { host, temporary } = world;
    host.close().await.expect("it ends in good order");
    let world = World::open_in(temporary, HostOptions { ..options() }).await;
    let status = world.host.principal_quotas(&"ann".parse().expect("a name")).expect("known");
    assert_eq!(status.quotas.weight.map(u32::from), Some(3));
    if status.used[0].used == 2 {
        of_minute(used_up(compute(&world, "ann", "one").await), Limit::PrincipalCallsPerMinute, 2);
    } else {
        // The machine took a minute for it.
        assert_eq!(status.used[0].used, 0);
    }
    assert!(status.used[1].used > 0, "fuel of this hour: {status:?}");
}

/// Quotas that can't be are refused, and name what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn quotas_that_can_not_be_are_refused() {
    let world = world().await;
    let set = async |subject: QuotaSubject, change: Value| {
        let change: QuotasChange = serde_json::from_value(change).expect("quotas");
        world.host.set_quotas(&local_admin(), subject, change).await.map(|changed| changed.taken)
    };
    for (change, told) in [
        (json!({"calls_per_minute": 0}), "`calls_per_minute` is 0; it can be 1 to 1000000000"),
        (json!({"concurrency": 4_097}), "`concurrency` is 4097; it can be 1 to 4096"),
    ] {
        let error = set(principal("ann"), change).await.expect_err("refused");
        assert_eq!((error.to_string(), error.blame()), (told.to_owned(), Blame::Admin));
    }
    match set(principal("anm"), json!({"weight": 2})).await {
        Err(HostError::Change(ChangeError::NoSuchPrincipal { near, .. })) => {
            assert_eq!(near.as_deref(), Some("ann"));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(set(package("nothing"), json!({"weight": 2})).await, Err(HostError::Registry(_))));
    for wrong in [json!({"weight": 0}), json!({"weight": 101}), json!({"calls": 5}), json!({"weight": "2"})] {
        assert!(serde_json::from_value::<QuotasChange>(wrong.clone()).is_err(), "{wrong}");
    }
    let taken = set(principal("ann"), json!({"weight": 2})).await.expect("set");
    assert!(taken.changed);
    let again = set(principal("ann"), json!({"weight": 2})).await.expect("set");
    assert!(!again.changed && again.revision == taken.revision);
    let set: Vec<_> = world
        .all_records()
        .into_iter()
        .filter(|record| matches!(&record.event, Event::QuotasSet(set) if set.subject == principal("ann")))
        .collect();
    assert_eq!(set.len(), 1);
}
