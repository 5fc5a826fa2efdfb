//! Case 107, for what a call has open when its grant is revoked: the body of an answer that comes in drops,
//! the body of a request that nobody takes, a socket that nothing comes from, a file that is read. None would
//! end by itself within ten minutes. Each ends with the call, and the log has how.

use std::path::Path;

use portcullis::audit::event::HostCallOutcome;
use portcullis::ids::GrantId;

use super::*;
use crate::harness::network::{Manner as PeerManner, Peer, until};
use crate::harness::web::{Manner, Server};

const LIMITS: &str = "fuel = 1_000_000_000_000, host_calls = 1_000_000, wall_time = \"10m\"";

/// A host with one package that has one rule.
async fn granted(package: &str, limits: &str, rule: &str) -> Arc<World> {
    let world = World::new().await;
    world.add(package, guest(package)).await;
    world.folder("papers");
    world.grant(&format!("{}{rule}", limited(package, &format!("{LIMITS}{limits}")))).await;
    Arc::new(world)
}

/// Revokes the one grant, and gives the records of the call that must end by it.
async fn revoked(world: &World, call: CallId, calling: Calling) -> Vec<Record> {
    assert!(!calling.is_finished(), "it goes on until then");
    let changed = world.host.revoke(&local_admin(), GrantId(1)).await.expect("revoked");
    assert_eq!(changed.stopped, [call]);
    let denial = stopped_by(world, calling).await;
    assert!(matches!(denial, Denial::NotGranted { .. }), "{denial:?}");
    assert_eq!(world.host.running(), []);
    world.records(call)
}

/// How the effect of a function ended, by its attempt and what came of it.
fn effect(records: &[Record], function: &str) -> (Option<u16>, HostCallOutcome) {
    let attempt = records.iter().find_map(|record| match &record.event {
        Event::EffectAttempted { attempt, .. } if attempt.function == function => Some(record.seq),
        _ => None,
    });
    let attempt = attempt.unwrap_or_else(|| panic!("no attempt of {function}: {records:#?}"));
    let ended = records.iter().find_map(|record| match &record.event {
        Event::EffectFinished { attempt: of, result, .. } if *of == attempt => {
            Some((result.status, result.outcome.clone()))
        }
        _ => None,
    });
    ended.unwrap_or_else(|| panic!("{function} has no outcome: {records:#?}"))
}

fn http(server: &Server) -> String {
    format!(
        "[[grant.http]]\nhosts = [\"127.0.0.1\"]\nschemes = [\"http\"]\nports = [{}]\nmethods = [\"GET\", \"POST\"]\n\
         addresses = [\"127.0.0.0/8\"]\n",
        server.port()
    )
}

fn steps(server: &Server, more: Value) -> Value {
    let mut step = json!({ "authority": format!("127.0.0.1:{}", server.port()) });
    step.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({ "steps": json!([step]).to_string() })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_an_answer_that_drips() {
    let server = Server::start(Manner::Drips).await;
    let world = granted("requests", "", &http(&server)).await;
    let (call, calling) = started(&world, AGENT, "requests", "run", steps(&server, json!({}))).await;
    until("the request has come", || server.seen().len() == 1).await;
    // Some drops, so that the guest is at the body.
    sleep(Duration::from_millis(200)).await;
    let records = revoked(&world, call, calling).await;
    assert_eq!(effect(&records, "handle"), (Some(200), HostCallOutcome::Ok), "the head had come");
    server.wait_closed(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_request_that_nobody_takes() {
    let goes_on = Arc::default();
    let server = Server::start(Manner::Pauses(Arc::clone(&goes_on))).await;
    // More than the buffers of both sides hold.
    let world = granted("requests", ", http_bytes_out = \"64MiB\"", &http(&server)).await;
    let body = json!({ "method": "POST", "body_bytes": 32 << 20 });
    let (call, calling) = started(&world, AGENT, "requests", "run", steps(&server, body)).await;
    until("the head has come", || server.seen().len() == 1).await;
    sleep(Duration::from_millis(200)).await;
    let records = revoked(&world, call, calling).await;
    assert_eq!(effect(&records, "handle"), (None, HostCallOutcome::Unknown), "nobody answered");
    // What was under way arrives, and the rest never does.
    goes_on.notify_one();
    server.wait_closed(1).await;
    let [_, body] = &server.seen()[..] else { panic!("a head and a body") };
    assert!(body.ends_with("[broke off]") && body.len() < 32 << 20, "{} bytes", body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_nothing_comes_from() {
    let peer = Peer::new(PeerManner::Silent);
    let rule = format!(
        "[[grant.tcp]]\nhosts = [\"127.0.0.1\"]\nports = [{}]\naddresses = [\"127.0.0.0/8\"]\n",
        peer.port
    );
    let world = granted("sockets", "", &rule).await;
    let from = json!({ "address": peer.address() });
    let (call, calling) = started(&world, AGENT, "sockets", "drain", from).await;
    until("it is connected", || peer.connections() == 1).await;
    let records = revoked(&world, call, calling).await;
    assert_eq!(effect(&records, "[method]tcp-socket.start-connect").1, HostCallOutcome::Ok);
    until("the peer sees the end", || peer.ended() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_read() {
    let rule = "[[grant.filesystem]]\nhost_path = \"papers\"\nguest_path = \"/papers\"\naccess = \"read\"\n";
    let world = granted("std-probe", "", rule).await;
    let path = world.folder("papers").join("huge");
    // No bytes on the disk, and a terabyte to read.
    std::fs::File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    let all = json!({ "path": "/papers/huge", "bytes-max": 1_u64 << 40 });
    let (call, calling) = started(&world, AGENT, "std-probe", "read-file", all).await;
    until("it is open", || is_open(&path)).await;
    let records = revoked(&world, call, calling).await;
    let read = |record: &&Record| matches!(&record.event, Event::HostCall { host_call, .. } if host_call.function.contains("read"));
    assert!(records.iter().filter(read).count() > 0, "{records:#?}");
    until("it is closed", || !is_open(&path)).await;
}

/// Whether this process, the host's, has the file open.
fn is_open(path: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").expect("Linux");
    open.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|found| found == path))
}
