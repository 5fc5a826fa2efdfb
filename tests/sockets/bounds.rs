//! How many at once, how long, and how soon it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::audit::event::{CallOutcome, Event, HostCallOutcome};
use portcullis::gateway::{CallError, HostOptions};
use portcullis::limits::{HostLimits, Limit};
use portcullis::policy::{Loss, Stop};
use portcullis::sandbox::InvokeError;
use serde_json::json;

use super::{LOOPBACK, call, grant, tcp, told, udp, world};
use crate::harness::network::{Manner, Peer, until};
use crate::harness::{AGENT, end, options, wat};

/// Case 62.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn connections() {
    let ((world, _), peer) = (world(options()).await, Peer::new(Manner::Silent));
    let rules = format!(
        "limits = {{ connections = 3 }}\n{}{}",
        tcp(&["127.0.0.1"], peer.port, LOOPBACK),
        udp(&["127.0.0.1"], peer.port, LOOPBACK)
    );
    world.grant(&grant(&rules)).await;
    let many = |count: u32| json!({"address": peer.address(), "count": count});
    assert_eq!(call(&world, "connect-many", many(3)).await.0, Ok(json!([3, null])));
    let result = world.call("sockets", "connect-many", many(100)).await;
    assert_eq!(told(&result), Ok(json!([3, "new-socket-limit"])));
    let report = result.expect("an answer").report;
    assert_eq!(report.usage.connections_peak, 3);
    let records = super::of_sockets(&world.records(report.call));
    let refused = records.iter().filter(|line| *line == "tcp denied: limit connections, new-socket-limit");
    assert_eq!(refused.count(), 97);
    assert_eq!(peer.connections(), 6, "nothing was sent for those that were refused");
    assert_eq!(call(&world, "udp-many", json!({"count": 5})).await.0, Ok(json!([3, "new-socket-limit"])));
    // What is closed makes room again.
    assert_eq!(call(&world, "reconnect", many(50)).await.0, Ok(json!(50)));
    until("all are closed", || peer.ended() == 56).await;
}

/// Case 62 too: calls of a package share its connections, and the host's other packages go on.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn package_connections() {
    let mut limits = HostLimits::default();
    limits.set_value(Limit::PackageConnections, 4).expect("less than the table's");
    limits.set_value(Limit::CompileTime, Limit::CompileTime.row().ceiling).expect("the table's own");
    let ((world, _), peer) = (world(HostOptions { limits, ..options() }).await, Peer::new(Manner::Silent));
    world.add("polite", wat("polite")).await;
    world.add("neighbour", crate::harness::guest("sockets")).await;
    let rules = tcp(&["127.0.0.1"], peer.port, LOOPBACK);
    let of_another = |name: &str| format!("[[grant]]\npackage = \"{name}\"\nagents = [\"{AGENT}\"]\n");
    world
        .grant(&format!("{}{}{}{rules}", grant(&rules), of_another("polite"), of_another("neighbour")))
        .await;
    let world = Arc::new(world);
    let draining: Vec<_> = (0..3)
        .map(|_| {
            let (world, from) = (Arc::clone(&world), peer.address());
            tokio::spawn(async move { world.call("sockets", "drain", json!({"address": from})).await })
        })
        .collect();
    until("three are connected", || peer.connections() == 3).await;
    let many = |count: u32| json!({"address": peer.address(), "count": count});
    assert_eq!(call(&world, "connect-many", many(1)).await.0, Ok(json!([1, null])));
    let (result, records) = call(&world, "connect-many", many(2)).await;
    assert_eq!(result, Ok(json!([1, "new-socket-limit"])));
    let refused = "tcp denied: limit package_connections, new-socket-limit".to_owned();
    assert!(records.contains(&refused), "{records:?}");
    // Neighbours: one without a network, one with the same rights.
    assert_eq!(world.value("polite", "answer", json!({})).await, json!(42));
    assert_eq!(world.value("neighbour", "connect-many", many(4)).await, json!([4, null]));
    for call in draining {
        call.abort();
        assert!(call.await.is_err());
    }
    until("there is room again", || peer.ended() == peer.connections()).await;
    assert_eq!(call(&world, "connect-many", many(4)).await.0, Ok(json!([4, null])));
}

/// Case 107: a guest that waits for what a peer says ends with the change, and its socket with it; neither
/// waits for the minute that it may run.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_rule_ends_a_call_that_waits_on_its_socket() {
    let ((world, _), peer) = (world(options()).await, Peer::new(Manner::Silent));
    let granted = tcp(&["127.0.0.1"], peer.port, LOOPBACK);
    let limits = "limits = { wall_time = \"60s\" }\n";
    world.grant(&grant(&format!("{limits}{granted}"))).await;
    let world = Arc::new(world);
    let draining = {
        let (world, from) = (Arc::clone(&world), peer.address());
        tokio::spawn(async move { world.call("sockets", "drain", json!({"address": from})).await })
    };
    until("it is connected", || peer.connections() == 1).await;
    // It would go on as long as it likes; and a change that leaves it its rule leaves it alone.
    let more = tcp(&["127.0.0.1"], 9, LOOPBACK);
    world.grant(&grant(&format!("{limits}{granted}{more}"))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!draining.is_finished());
    let began = Instant::now();
    world.grant(&grant(&format!("{limits}{more}"))).await;
    let result = draining.await.expect("no panic");
    let took = began.elapsed();
    until("the peer sees the end", || peer.ended() == 1).await;
    let closed = began.elapsed();
    let soon = Duration::from_secs(20);
    assert!(took < soon && closed < soon, "{took:?}, {closed:?}");
    let Err(CallError::Failed { error: InvokeError::Stopped(stop), report }) = result else {
        panic!("{result:?}")
    };
    assert!(matches!(&stop, Stop::Narrowed { lost: Loss::Rule { .. }, .. }), "{stop:?}");
    let records = world.records(report.call);
    assert!(matches!(&end(&records).outcome, CallOutcome::Stopped { .. }), "{:?}", end(&records));
    // The read that was under way is in the log, without an answer.
    let read = records.iter().rev().find_map(|record| match &record.event {
        Event::HostCall { host_call, .. } => Some(host_call.clone()),
        _ => None,
    });
    let read = read.expect("host calls");
    assert_eq!(&*read.function, "[method]input-stream.blocking-read");
    assert_eq!(read.result.outcome, HostCallOutcome::Unknown);
}

/// A peer that reads late is waited for; what was written arrives whole.
#[tokio::test(flavor = "multi_thread")]
async fn much_is_written_to_a_slow_peer() {
    let ((world, _), peer) = (world(options()).await, Peer::new(Manner::Slow));
    world.grant(&grant(&tcp(&["127.0.0.1"], peer.port, LOOPBACK))).await;
    let count = 20 << 20;
    let result = world.call("sockets", "pour", json!({"address": peer.address(), "count": count})).await;
    assert_eq!(told(&result), Ok(json!(format!("{count} bytes"))));
    let written: u64 = world
        .records(super::id(&result))
        .iter()
        .map(|record| match &record.event {
            Event::EffectAttempted { attempt, .. } if attempt.interface == "wasi:io/streams" => {
                attempt.bytes_out
            }
            _ => 0,
        })
        .sum();
    assert_eq!(written, u64::from(20_u32 << 20));
}
