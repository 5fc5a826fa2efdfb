//! Case 64, for what leaves beside answers and requests: bytes over sockets, names that are looked up, state that is kept.
//! A secret that a tool may read is refused there, and the find recorded.

use std::sync::Arc;

use portcullis::gateway::HostOptions;

use super::*;
use crate::harness::network::{Manner, Names, Peer};
use crate::harness::options;

const STORE: &str = "[[grant.keyvalue]]\nstore = \"default\"\nscope = \"agent\"\naccess = \"read-write\"\n";

/// A host where the tool may read `github`, and do all that is tried here.
async fn furnished(peer: &Peer) -> (World, Arc<Names>) {
    let names = Arc::new(Names::of_this_machine());
    let options = HostOptions { resolver: Arc::clone(&names) as _, ..options() };
    let world = World::open_in(tempfile::tempdir().expect("a temporary folder"), options).await;
    world.add("secret-holder", guest("secret-holder")).await;
    world.set_secret("github", VALUE).await;
    let peer = format!(
        "hosts = [\"127.0.0.1\", \"*.leak.test\"]\nports = [{}]\naddresses = [\"127.0.0.0/8\"]\n",
        peer.port
    );
    let rules = format!("{SEES}{STORE}[[grant.tcp]]\n{peer}[[grant.udp]]\n{peer}");
    world.grant(&format!("{}{rules}", grant("secret-holder"))).await;
    (world, names)
}

/// What the tool was told, and the call's records.
async fn left(world: &World, form: &str, way: &str, peer: &str) -> (Result<String, String>, Vec<Record>) {
    let arguments = json!({"name": "github", "form": form, "way": way, "peer": peer});
    let answer = world.call("secret-holder", "leave", arguments).await;
    let told = match &answer {
        Ok(answer) => {
            Ok(answer.answer.structured.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned())
        }
        Err(CallError::Failed { error: InvokeError::Tool { message, .. }, .. }) => Err(message.clone()),
        Err(error) => panic!("{form} {way}: {error:?}"),
    };
    (told, world.records(report(&answer).call))
}

/// Whether a host call was denied for the secret, with no attempt of its kind.
fn is_refused(records: &[Record], function: &str) -> bool {
    let is_denial = |record: &Record| match &record.event {
        Event::HostCall { host_call, .. } => {
            host_call.function.ends_with(function)
                && host_call.decision == Decision::Denied("it holds secret github".into())
        }
        _ => false,
    };
    records.iter().any(is_denial)
}

fn attempts(records: &[Record], function: &str) -> usize {
    let is_attempt = |record: &&Record| matches!(&record.event, Event::EffectAttempted { attempt, .. } if attempt.function.ends_with(function));
    records.iter().filter(is_attempt).count()
}

/// The one find of a call, which is refused.
#[track_caller]
fn found(records: &[Record], place: LeakPlace, encoding: Encoding) {
    let found = leaks(records);
    let is_it = |leak: &SecretLeak| {
        (leak.secret.as_str(), leak.place, leak.found_as, leak.action)
            == ("github", place, encoding, LeakAction::Refused)
    };
    assert!(found.iter().any(is_it), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_does_not_leave_over_a_socket() {
    let peer = Peer::new(Manner::Echo);
    let (world, _) = furnished(&peer).await;
    for (form, encoding) in FORMS {
        let (told, records) = left(&world, form, "connection", &peer.address()).await;
        assert!(told.is_err(), "{form}: {told:?}");
        found(&records, LeakPlace::Socket, encoding);
        assert!(is_refused(&records, "write") || is_refused(&records, "write-and-flush"), "{form}");
        assert_eq!(
            attempts(&records, "write") + attempts(&records, "write-and-flush"),
            0,
            "{form}: nothing left"
        );
        let (told, records) = left(&world, form, "datagram", &peer.address()).await;
        assert!(told.is_err(), "{form}: {told:?}");
        found(&records, LeakPlace::Socket, encoding);
        assert!(is_refused(&records, "send") && attempts(&records, "send") == 0, "{form}");
    }
    assert_eq!(peer.datagrams(), 0);
    // In pieces, its end does not leave, and nothing after that.
    let (told, records) = left(&world, "exact", "bytes", &peer.address()).await;
    assert!(told.is_err(), "{told:?}");
    found(&records, LeakPlace::Socket, Encoding::Exact);
    let bytes = attempts(&records, "write") + attempts(&records, "write-and-flush");
    assert_eq!(bytes, VALUE.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_looked_up() {
    let peer = Peer::new(Manner::Echo);
    let (world, names) = furnished(&peer).await;
    for (form, way) in [("hex", "name"), ("hex-upper", "name"), ("hex", "labels")] {
        let (told, records) = left(&world, form, way, "leak.test").await;
        assert!(told.is_err(), "{told:?}");
        found(&records, LeakPlace::Lookup, Encoding::Hex);
        assert!(is_refused(&records, "resolve-addresses") && attempts(&records, "resolve-addresses") == 0);
    }
    assert_eq!(names.asked(), [""; 0], "nothing was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_kept_as_state() {
    let peer = Peer::new(Manner::Echo);
    let (world, _) = furnished(&peer).await;
    for (way, function) in [("value", "set"), ("key", "set"), ("values", "set-many"), ("number", "increment")]
    {
        for (form, encoding) in FORMS {
            let (told, records) = left(&world, form, way, "").await;
            assert!(
                told.as_ref().is_err_and(|error| error.contains("AccessDenied")),
                "{way} {form}: {told:?}"
            );
            found(&records, LeakPlace::State, encoding);
            assert!(is_refused(&records, function) && attempts(&records, function) == 0, "{way} {form}");
        }
    }
}

/// The twin: the same ways with what is no secret of the call.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_secret_of_the_call_leaves_in_each_of_these_ways() {
    let peer = Peer::new(Manner::Echo);
    let (world, names) = furnished(&peer).await;
    for (way, to, function, times) in [
        ("connection", peer.address(), "write", 1),
        ("bytes", peer.address(), "write", "no-secret-at-all".len()),
        ("datagram", peer.address(), "send", 1),
        ("name", "leak.test".to_owned(), "resolve-addresses", 1),
        ("labels", "leak.test".to_owned(), "resolve-addresses", 1),
        ("value", String::new(), "set", 1),
        ("number", String::new(), "increment", 1),
        ("key", String::new(), "set", 1),
        ("values", String::new(), "set-many", 1),
    ] {
        let arguments = json!({"name": "", "form": "exact", "way": way, "peer": to});
        let answer = world.call("secret-holder", "leave", arguments).await;
        let answer = answer.unwrap_or_else(|error| panic!("{way}: {error:?}"));
        let records = world.records(answer.report.call);
        assert_eq!(leaks(&records), [], "{way}");
        let flushed = if function == "write" { attempts(&records, "write-and-flush") } else { 0 };
        assert_eq!(attempts(&records, function) + flushed, times, "{way}");
    }
    assert_eq!((peer.datagrams(), names.asked().len()), (1, 2));
}
