//! Case 107: a running call ends when what is in force would not give it again what it has, and goes on
//! where it would.

use std::sync::Arc;

use portcullis::gateway::{Approval, HostError};
use portcullis::ids::{GrantId, PackageDigest};
use portcullis::limits::Limit;
use portcullis::policy::{ClockRule, Loss, Role};

use super::*;

/// Sleeps for ten minutes, with a folder that it may write.
const SLEEP: &str = "{\"milliseconds\": 600000}";

fn grants(agents: &str, more: &str, folder: &str) -> String {
    format!(
        "[groups]\nteam = [{agents}]\n[[grant]]\npackage = \"probe\"\nagents = [\"group:team\"]\n{more}\n{folder}"
    )
}

fn folder(host: &str, access: &str) -> String {
    format!("[[grant.filesystem]]\nhost_path = \"{host}\"\nguest_path = \"/papers\"\n{access}\n")
}

const WRITE: &str = "access = \"read-write\"\nquota = \"1MiB\"";
const LIMITS: &str = "limits = { fuel = 1_000_000_000, wall_time = \"10m\" }";

async fn sleeping() -> (Arc<World>, CallId, Calling) {
    let world = World::new().await;
    world.add("probe", guest("std-probe")).await;
    world.add("polite", wat("polite")).await;
    for name in ["papers", "other"] {
        world.folder(name);
    }
    world.grant(&grants("\"ann\", \"bob\"", LIMITS, &folder("papers", WRITE))).await;
    world.grant(&limited("polite", "fuel = 1_000_000")).await;
    let world = Arc::new(world);
    let arguments = serde_json::from_str(SLEEP).expect("JSON");
    let (call, calling) = started(&world, "ann", "probe", "sleep", arguments).await;
    (world, call, calling)
}

/// What an admin does, and what comes of the call: nothing, or how it is told to stop.
enum Expected {
    GoesOn,
    Denied(fn(&Denial) -> bool),
    Loses(Loss),
}

enum Change {
    Apply(String),
    Revoke(u64),
    Approve,
    RemovePackage(&'static str),
    RemovePrincipal(&'static str),
    MakeAuditor,
}

async fn make(world: &World, change: Change) -> Result<Vec<CallId>, HostError> {
    let admin = local_admin();
    let host = &world.host;
    Ok(match change {
        Change::Apply(text) => world.try_grant(&text).await?.stopped,
        Change::Revoke(grant) => host.revoke(&admin, GrantId(grant)).await?.stopped,
        Change::Approve => {
            let other = world.register("probe", wat("clock")).await?;
            let wanted =
                Approval { digest: Some(other), downgrade: true, allow_wider: true, ..Approval::default() };
            host.approve_as(&admin, &id("probe"), wanted).await?;
            Vec::new()
        }
        Change::RemovePackage(name) => {
            host.remove_package(&admin, &id(name)).await?;
            Vec::new()
        }
        Change::RemovePrincipal(name) => host.remove_principal(&admin, named(name)).await?.taken.stopped,
        Change::MakeAuditor => {
            host.add_principal(&admin, named("ann"), Role::Auditor, None).await?.taken.stopped
        }
    })
}

fn cases() -> Vec<(&'static str, Change, Expected)> {
    use Expected::{Denied, GoesOn, Loses};
    let both = "\"ann\", \"bob\"";
    let papers = || folder("papers", WRITE);
    let path = || "/papers".to_owned();
    let apply = |agents: &str, more: &str, folder: &str| Change::Apply(grants(agents, more, folder));
    vec![
        (
            "a comment and another number",
            apply(both, &format!("# again\n{LIMITS}\nexpires = 2999-01-01T00:00:00Z"), &papers()),
            GoesOn,
        ),
        (
            "more fuel",
            apply(both, "limits = { fuel = 2_000_000_000, wall_time = \"10m\" }", &papers()),
            GoesOn,
        ),
        (
            "more room",
            apply(both, LIMITS, &folder("papers", "access = \"read-write\"\nquota = \"2MiB\"")),
            GoesOn,
        ),
        ("another of the group leaves", apply("\"ann\"", LIMITS, &papers()), GoesOn),
        ("another principal is removed", Change::RemovePrincipal("bob"), GoesOn),
        ("another package's grant ends", Change::Revoke(2), GoesOn),
        ("another package is removed", Change::RemovePackage("polite"), GoesOn),
        (
            "its grant is revoked",
            Change::Revoke(1),
            Denied(|denial| matches!(denial, Denial::NotGranted { .. })),
        ),
        (
            "it leaves the group",
            apply("\"bob\"", LIMITS, &papers()),
            Denied(|denial| matches!(denial, Denial::NotGranted { .. })),
        ),
        (
            "its tool is not granted any more",
            apply(both, &format!("{LIMITS}\ntools = [\"compute\"]"), &papers()),
            Denied(|denial| matches!(denial, Denial::ToolNotGranted { .. })),
        ),
        (
            "other bytes are approved",
            Change::Approve,
            Denied(|denial| matches!(denial, Denial::OtherBytes { .. })),
        ),
        (
            "its package is removed",
            Change::RemovePackage("probe"),
            Denied(|denial| matches!(denial, Denial::NotApproved { .. })),
        ),
        (
            "its principal is removed",
            Change::RemovePrincipal("ann"),
            Denied(|denial| matches!(denial, Denial::PrincipalRemoved { .. })),
        ),
        (
            "its principal becomes an auditor",
            Change::MakeAuditor,
            Denied(|denial| matches!(denial, Denial::NotAnAgent { role: Role::Auditor, .. })),
        ),
        (
            "less fuel",
            apply(both, "limits = { fuel = 999_999_999, wall_time = \"10m\" }", &papers()),
            Loses(Loss::Limit { limit: Limit::Fuel, from: 1_000_000_000, to: 999_999_999 }),
        ),
        (
            "a coarse clock",
            apply(both, LIMITS, &format!("{}[grant.clock]\nresolution = \"1s\"\n", papers())),
            Loses(Loss::Clock { to: ClockRule { resolution_ms: 1_000 } }),
        ),
        ("no folder", apply(both, LIMITS, ""), Loses(Loss::Folder { guest_path: path() })),
        (
            "another folder",
            apply(both, LIMITS, &folder("other", WRITE)),
            Loses(Loss::Folder { guest_path: path() }),
        ),
        (
            "a folder that is read only",
            apply(both, LIMITS, &folder("papers", "access = \"read\"")),
            Loses(Loss::Write { guest_path: path() }),
        ),
        (
            "less room",
            apply(both, LIMITS, &folder("papers", "access = \"read-write\"\nquota = \"512KiB\"")),
            Loses(Loss::Quota { guest_path: path(), limit: Limit::FileBytes, from: 1 << 20, to: 512 << 10 }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_powers_are_not_within_the_new_ones_and_else_goes_on() {
    for (name, change, expected) in cases() {
        let (world, call, calling) = sleeping().await;
        let told = make(&world, change).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        match expected {
            Expected::GoesOn => {
                assert_eq!(told, [], "{name}");
                // Whoever was told to stop has left by then; time proves nothing more.
                sleep(Duration::from_millis(50)).await;
                assert!(!calling.is_finished(), "{name}");
                assert_eq!(world.host.running().len(), 1, "{name}");
                calling.abort();
                drop(calling.await);
                continue;
            }
            Expected::Denied(is_it) => {
                let denial = stopped_by(&world, calling).await;
                assert!(is_it(&denial), "{name}: {denial:?}");
            }
            Expected::Loses(loss) => {
                let (stop, _) = stopped(&world, calling).await;
                let Stop::Narrowed { lost, .. } = stop else { panic!("{name}: {stop:?}") };
                assert_eq!(lost, loss, "{name}");
            }
        }
        assert!(told.is_empty() || told == [call], "{name}: {told:?}");
        assert_eq!(world.host.running(), [], "{name}");
    }
}

/// The end of a grant by time ends its call; another grant that gives as much keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_last_grant_expires() {
    let world = World::new().await;
    for name in ["clock", "spin"] {
        world.add(name, wat(name)).await;
    }
    let world = Arc::new(world);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let (clock, spin) = (limited("clock", LONG), limited("spin", LONG));
    let expires = format!("expires = {soon}\n");
    world.grant(&format!("{clock}{expires}{spin}{expires}{spin}")).await;
    let (_, ends) = started(&world, AGENT, "clock", "sleep-for-ever", json!({})).await;
    let (_, stays) = started(&world, AGENT, "spin", "run", json!({})).await;
    let denial = stopped_by(&world, ends).await;
    assert!(matches!(denial, Denial::Expired { expires, .. } if expires == soon), "{denial:?}");
    sleep(Duration::from_millis(700)).await;
    assert!(!stays.is_finished(), "the other grant still gives the same");
    stays.abort();
    drop(stays.await);
}

/// The moment that counts is that of the grants in force, not of those by which the call began.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_a_grant_that_replaced_its_own_expires() {
    let world = world(&["clock", "spin"]).await;
    let (_, ends) = started(&world, AGENT, "clock", "sleep-for-ever", json!({})).await;
    let (_, stays) = started(&world, AGENT, "spin", "run", json!({})).await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let changed = world.grant(&format!("{}expires = {soon}\n", limited("clock", LONG))).await;
    assert_eq!(changed.stopped, [], "it has what it had, until then");
    let denial = stopped_by(&world, ends).await;
    assert!(matches!(denial, Denial::Expired { expires, .. } if expires == soon), "{denial:?}");
    assert!(!stays.is_finished());
    stays.abort();
    drop(stays.await);
}

/// A call that waits for a disk or a log is not lost: what it wrote before is recorded with its outcome.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_call_did_before_is_in_the_log() {
    let world = World::new().await;
    world.add("clock", wat("clock")).await;
    let changed = world.grant(&limited("clock", LONG)).await;
    let world = Arc::new(world);
    let (call, calling) = started(&world, AGENT, "clock", "read-for-ever", json!({})).await;
    sleep(Duration::from_millis(100)).await;
    world.host.revoke(&local_admin(), changed.granted[0]).await.expect("revoked");
    let (_, report) = stopped(&world, calling).await;
    let records = world.records(call);
    let host_calls = records.iter().filter(|record| matches!(record.event, Event::HostCall { .. })).count();
    assert_eq!(host_calls as u64, report.usage.host_calls, "each of them");
    assert_eq!(end(&records).records, records.len() as u64 - 1);
    assert!(report.usage.fuel > 0 && report.usage.wall_time_us > 0, "{report:?}");
    assert_eq!(report.digest, PackageDigest::of(&wat("clock")));
}
