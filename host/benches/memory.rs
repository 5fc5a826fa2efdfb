//! What memory of a served host goes with packages, with calls that run, and with calls that were made. Resident memory,
//! as the kernel counts it.
//!
//! Floors: the component's own bytes, a bare instance of the same guest in this process, and what the host held after
//! the first ten thousand calls. Whether anything grows for ever is what `cargo xtask soak` asserts. Nothing here
//! asserts a size.

#![expect(clippy::print_stderr, reason = "progress is not a figure")]

mod figures;
mod floor;
mod ours;
mod program;
mod served;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portcullis::authn::local_admin;
use portcullis::policy::Durability;
use tokio::runtime::Runtime;

use self::figures::{Aim, Figure, Figures, Unit, scaled, wanted};
use self::floor::{Floor, guest_bytes, tuned_engine};
use self::program::{Data, ECHO, ForAgents, TEXT, said};
use self::served::resident;

/// So many calls of one agent run at once, by default.
const RUNNING: u32 = 16;
/// How long each of them sleeps, and when memory is looked at.
const SLEEP: Duration = Duration::from_millis(3_000);
const LOOK: Duration = Duration::from_millis(1_500);
const WARM_CALLS: usize = 500;
const CONNECTIONS: u64 = 64;
const FIRST_CALLS: u64 = 10_000;

fn main() {
    let mut figures = Figures::new();
    if wanted("packages") {
        packages(&mut figures);
    }
    if wanted("running") {
        running(&mut figures);
    }
    if wanted("calls") {
        calls(&mut figures);
    }
}

fn bytes(count: u64) -> f64 {
    count as f64
}

/// The same component again and again, each with some other bytes at its end: a custom section that nobody reads.
fn variant(component: &[u8], number: u32) -> Bytes {
    let mut bytes = component.to_vec();
    // Section 0, its length, the length of its name, its name.
    bytes.extend([0, 6, 1, b'n']);
    bytes.extend(number.to_le_bytes());
    bytes.into()
}

/// What a package holds that is registered, and one that was called.
fn packages(figures: &mut Figures) {
    let count = scaled(50, 5);
    let bare = bare_bytes();
    let idle = used(&ForAgents::new("relaxed"));
    let figure = Figure::new("memory/idle_host", bytes(idle), Unit::Bytes);
    figures.row(figure.beside("memory/idle_bare_tuned", bytes(bare)));
    let component = guest_bytes("echo");
    let data = Data::new("relaxed");
    Runtime::new().expect("a runtime").block_on(async {
        let host = ours::open(&data.folder, Durability::Relaxed).await;
        for number in 0..count {
            let name = || format!("echo-{number}").parse().expect("a name");
            let bytes = variant(&component, number);
            host.add_package(&local_admin(), bytes, Some(name()), None, |_| {}).await.expect("registered");
            host.approve(&local_admin(), &name(), None).await.expect("approved");
        }
        host.close().await.expect("closed");
    });
    let grants =
        (0..count).map(|number| format!("[[grant]]\npackage = \"echo-{number}\"\nagents = [\"polite\"]\n"));
    let grants =
        grants.collect::<String>() + "[[grant]]\npackage = \"echo\"\nagents = [\"looping\", \"polite\"]\n";
    data.grant(&grants);
    let served = ForAgents::over(data);
    let registered = used(&served);
    let mut client = served.connect();
    for number in 0..count {
        let target = format!("/v1/calls?package=echo-{number}&tool=text");
        let (status, body) = client.ask(&served.request(&target, "", TEXT));
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    }
    let called = served.resident();
    for (name, before, after) in [("registered", idle, registered), ("called", registered, called)] {
        let each = (bytes(after) - bytes(before)).max(0.0) / f64::from(count);
        let figure = Figure::new(format!("memory/package/{name}"), each, Unit::Bytes);
        figures.row(figure.beside("memory/package/component", component.len() as f64));
    }
}

/// What a host holds that has made some calls of one package: what the first ones take is no package's.
fn used(served: &ForAgents) -> u64 {
    let (mut client, asked) = (served.connect(), served.request(ECHO, "", TEXT));
    for _ in 0..WARM_CALLS {
        assert_eq!(client.ask(&asked).0, 200);
    }
    served.resident()
}

/// What this process holds with an engine, the same guest, and as many calls made.
fn bare_bytes() -> u64 {
    let floor = Floor::echo(&tuned_engine());
    Runtime::new().expect("a runtime").block_on(async {
        for _ in 0..WARM_CALLS {
            let (answer,): (String,) = floor.call(("a short string",)).await;
            assert_eq!(answer, "a short string");
        }
    });
    resident(std::process::id(), false)
}

/// What a call holds that runs, beside a bare instance of the same guest.
fn running(figures: &mut Figures) {
    let bare = running_bare();
    let served = ForAgents::new("relaxed");
    let asked = |milliseconds: u128| {
        let body = format!("{{\"milliseconds\":{milliseconds}}}");
        served.request_of_looping("/v1/calls?package=std-probe&tool=sleep", &body)
    };
    let mut clients: Vec<_> = (0..RUNNING).map(|_| served.connect()).collect();
    // Each connection, and the package, have been used before.
    for client in &mut clients {
        assert_eq!(client.ask(&asked(1)).0, 200);
    }
    let before = served.resident();
    clients.iter_mut().for_each(|client| client.send(&asked(SLEEP.as_millis())));
    std::thread::sleep(LOOK);
    let during = served.resident();
    for client in &mut clients {
        assert_eq!(client.answer().0, 200);
    }
    let each = |before: u64, during: u64| (bytes(during) - bytes(before)).max(0.0) / f64::from(RUNNING);
    let figure = Figure::new("memory/running_call", each(before, during), Unit::Bytes);
    figures.row(figure.beside("memory/running_call/bare_tuned", each(bare.0, bare.1)));
}

/// Resident bytes of this process before and during so many bare calls.
fn running_bare() -> (u64, u64) {
    let own = || resident(std::process::id(), false);
    let floor = Floor::new(&tuned_engine(), "std-probe", "test:std-probe/probe@0.1.0", "sleep", None);
    let floor = Arc::new(floor);
    Runtime::new().expect("a runtime").block_on(async {
        let sleepers = |milliseconds: u64| {
            let sleeper = |floor: Arc<Floor>| async move { floor.call::<_, ()>((milliseconds,)).await };
            (0..RUNNING).map(|_| tokio::spawn(sleeper(Arc::clone(&floor)))).collect::<Vec<_>>()
        };
        floor.call::<_, ()>((1_u64,)).await;
        let before = own();
        let sleeping = sleepers(u64::try_from(SLEEP.as_millis()).expect("short"));
        tokio::time::sleep(LOOK).await;
        let during = own();
        for sleeper in sleeping {
            sleeper.await.expect("no panic");
        }
        (before, during)
    })
}

/// What a host holds after many calls, beside what it held after the first ten thousand.
fn calls(figures: &mut Figures) {
    let served = ForAgents::new("relaxed");
    let script = served.script("echo.lua", ECHO, TEXT);
    let mut calls = 0;
    while calls < FIRST_CALLS {
        calls += said(served.wrk(&script, CONNECTIONS, Duration::from_secs(1))).calls;
    }
    let (first, after_first) = (calls, served.resident());
    calls += said(served.wrk(&script, CONNECTIONS, Duration::from_secs(scaled(30, 3)))).calls;
    eprintln!("memory: {first} calls, then {calls}");
    let figure = Figure::new("memory/after_many_calls", bytes(served.resident()), Unit::Bytes);
    let figure = figure.beside("memory/after_first_calls", bytes(after_first));
    // Malloc keeps some of what was given back; what may grow is asserted by the soak.
    figures.row(figure.aim(Aim::RatioAtMost(1.1)));
}
