//! Names, TCP and UDP: only what a rule names, at the addresses that were judged, each with its records;
//! and as many at once as the limits say.

mod bounds;

use std::sync::Arc;

use portcullis::audit::event::{Decision, Event, HostCallOutcome, Record};
use portcullis::gateway::{CallAnswer, CallError, HostOptions};
use portcullis::ids::CallId;
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

pub(crate) use self::bounds::{connections, package_connections};
use crate::harness::network::{Manner, Names, Peer};
use crate::harness::{AGENT, World, guest, options};

/// A host whose names are ours, with the guest `sockets`.
pub(crate) async fn world(options: HostOptions) -> (World, Arc<Names>) {
    let names = Arc::new(Names::default());
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let world = World::open_in(temporary, HostOptions { resolver: names.clone(), ..options }).await;
    world.add("sockets", guest("sockets")).await;
    (world, names)
}

/// A grant with rules, such as `tcp(&["127.0.0.1"], 80, &["127.0.0.0/8"])`.
pub(crate) fn grant(rules: &str) -> String {
    format!("[[grant]]\npackage = \"sockets\"\nagents = [\"{AGENT}\"]\n{rules}\n")
}

fn rule(kind: &str, hosts: &[&str], port: u16, addresses: &[&str]) -> String {
    let addresses = match addresses {
        [] => String::new(),
        addresses => format!("addresses = {addresses:?}\n"),
    };
    format!("[[grant.{kind}]]\nhosts = {hosts:?}\nports = [{port}]\n{addresses}")
}

pub(crate) fn tcp(hosts: &[&str], port: u16, addresses: &[&str]) -> String {
    rule("tcp", hosts, port, addresses)
}

fn udp(hosts: &[&str], port: u16, addresses: &[&str]) -> String {
    rule("udp", hosts, port, addresses)
}

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

/// What the guest was told.
pub(crate) fn told(result: &Result<CallAnswer, CallError>) -> Result<Value, String> {
    match result {
        Ok(answer) => Ok(answer.answer.structured.clone().unwrap_or(Value::Null)),
        Err(CallError::Failed { error: InvokeError::Tool { message, .. }, .. }) => Err(message.clone()),
        Err(error) => panic!("{error}"),
    }
}

fn id(result: &Result<CallAnswer, CallError>) -> CallId {
    match result {
        Ok(answer) => answer.report.call,
        Err(CallError::Failed { report, .. }) => report.call,
        Err(error) => panic!("it did not run: {error}"),
    }
}

/// What the log has of lookups, connections and datagrams: `SUBJECT allowed by RULE`, then what came of
/// it; or `SUBJECT denied: WHY, ERROR`.
pub(crate) fn of_sockets(records: &[Record]) -> Vec<String> {
    let outcome = |outcome: &HostCallOutcome| match outcome {
        HostCallOutcome::Ok => "ok".to_owned(),
        HostCallOutcome::Error(text) | HostCallOutcome::Trapped(text) => text.to_string(),
        HostCallOutcome::Unknown => "unknown".to_owned(),
    };
    let mut lines = Vec::new();
    for record in records {
        match &record.event {
            Event::EffectAttempted { attempt, .. } => {
                let subject = attempt.subject.as_deref().unwrap_or("nothing");
                let Decision::Allowed(rule) = &attempt.decision else { panic!("{attempt:?}") };
                lines.push(format!("{subject} allowed by {rule}"));
            }
            Event::EffectFinished { result, .. } => lines.push(outcome(&result.outcome)),
            Event::HostCall { host_call, .. } => {
                if let Decision::Denied(why) = &host_call.decision {
                    let subject = host_call.subject.as_deref().unwrap_or("nothing");
                    lines.push(format!("{subject} denied: {why}, {}", outcome(&host_call.result.outcome)));
                }
            }
            _ => {}
        }
    }
    lines
}

/// Calls a tool of the guest: what it was told, and what the log has.
async fn call(world: &World, tool: &str, arguments: Value) -> (Result<Value, String>, Vec<String>) {
    let result = world.call("sockets", tool, arguments).await;
    (told(&result), of_sockets(&world.records(id(&result))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_peer_is_found_connected_and_heard_with_its_records() {
    let ((world, names), peer) = (world(options()).await, Peer::new(Manner::Echo));
    names.answer("echo.test", &[&["127.0.0.1"]]);
    world.grant(&grant(&tcp(&["echo.test"], peer.port, LOOPBACK))).await;
    let arguments = json!({"host": "Echo.Test.", "port": peer.port, "text": "world"});
    let result = world.call("sockets", "talk", arguments).await;
    assert_eq!(told(&result), Ok(json!("hello world")));
    let records = world.records(id(&result));
    let rule = "grant 1 tcp 0";
    let subject = format!("tcp echo.test {}", peer.address());
    let expected = [
        format!("Echo.Test. allowed by {rule}"),
        "ok".to_owned(),
        format!("{subject} allowed by {rule}"),
        "ok".to_owned(),
        format!("{subject} allowed by {rule}"),
        "ok".to_owned(),
        format!("{subject} allowed by {rule}"),
        "ok".to_owned(),
    ];
    assert_eq!(of_sockets(&records), expected, "lookup, connect, write, shutdown");
    // What was said and heard is counted, and named by the peer.
    let (mut out, mut heard) = (Vec::new(), 0);
    for record in &records {
        match &record.event {
            Event::EffectAttempted { attempt, .. } if attempt.interface == "wasi:io/streams" => {
                out.push(attempt.bytes_out);
            }
            Event::HostCall { host_call, .. } if host_call.function == "[method]input-stream.read" => {
                assert_eq!(host_call.subject.as_deref(), Some(subject.as_str()));
                assert_eq!(host_call.decision, Decision::Allowed(rule.into()));
                heard += host_call.result.bytes_in;
            }
            _ => {}
        }
    }
    assert_eq!((out, heard), (vec![5], 11));
    assert_eq!((names.asked(), peer.connections()), (vec!["echo.test".to_owned()], 1));
}

/// Cases 45, 47, 61: what no rule names is refused before anything leaves.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_names_is_refused_before_anything_leaves() {
    let ((world, names), peer) = (world(options()).await, Peer::new(Manner::Echo));
    let other = Peer::new(Manner::Echo);
    names.answer("echo.test", &[&["127.0.0.1"]]);
    names.answer("other.test", &[&["127.0.0.1"]]);
    world.grant(&grant(&tcp(&["echo.test", "127.0.0.1"], peer.port, LOOPBACK))).await;
    let denied = |subject: &str| format!("{subject} denied: not granted, access-denied");
    let refused = Err("access-denied".to_owned());
    let talk = |host: &str, port: u16| json!({"host": host, "port": port, "text": ""});

    // Another name is not looked up: the question itself would be a message.
    for name in ["other.test", "secret.evil.test", "xecho.test", "test", "echo.test.evil.test"] {
        let (result, records) = call(&world, "talk", talk(name, peer.port)).await;
        assert_eq!((result, records), (refused.clone(), vec![denied(name)]));
    }
    assert_eq!(names.asked(), Vec::<String>::new());
    // Another port of the granted host.
    let (result, records) = call(&world, "talk", talk("echo.test", other.port)).await;
    assert_eq!(result, refused);
    assert_eq!(records.last(), Some(&denied(&format!("tcp {}", other.address()))));
    // Addresses, in whatever spelling: the twin first.
    for spelling in ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1"] {
        let (result, _) = call(&world, "talk", talk(spelling, peer.port)).await;
        assert_eq!(result, Ok(json!("hello ")), "{spelling}");
    }
    let connections = peer.connections();
    for address in [
        "127.0.0.2",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "8.8.8.8",
        "224.0.0.1",
        "255.255.255.255",
        "127.2",
        "0x7f000002",
    ] {
        let (result, records) = call(&world, "talk", talk(address, peer.port)).await;
        assert_eq!(result, refused, "{address}");
        assert!(matches!(records.as_slice(), [one] if one.contains("denied: not granted")), "{records:?}");
    }
    for address in ["[::1]", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"] {
        let (result, _) = call(&world, "talk", talk(address, peer.port)).await;
        assert_eq!(result, refused, "{address}");
    }
    // What is no address of a peer at all.
    let (result, records) = call(&world, "talk", talk("0.0.0.0", peer.port)).await;
    assert_eq!(result, Err("invalid-argument".to_owned()));
    assert!(records[0].ends_with("denied: no address of a peer, invalid-argument"), "{records:?}");
    let (result, records) = call(&world, "connect-wrapped", json!({"address": peer.address()})).await;
    assert_eq!(result, Err("invalid-argument".to_owned()));
    assert!(records[0].contains("[::ffff:127.0.0.1]"), "{records:?}");
    assert_eq!((peer.connections(), other.connections()), (connections, 0));
}

/// Cases 46 and 49: one address that may not be reached refuses the whole answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_has_one_refused_address_is_refused() {
    let ((world, names), peer) = (world(options()).await, Peer::new(Manner::Echo));
    world.grant(&grant(&tcp(&["*.test"], peer.port, &["127.0.0.1/32"]))).await;
    let talk = json!({"host": "name.test", "port": peer.port, "text": ""});
    for answer in [
        &["127.0.0.1", "127.0.0.2"][..],
        &["127.0.0.1", "10.0.0.1"],
        &["127.0.0.1", "169.254.169.254"],
        &["127.0.0.1", "::1"],
        &["8.8.8.8", "192.168.0.1"],
        &["::ffff:10.0.0.1"],
        &["64:ff9b::a00:1"],
        &["fd00:ec2::254"],
        &["0.0.0.0"],
    ] {
        names.answer("name.test", &[answer]);
        let (result, records) = call(&world, "talk", talk.clone()).await;
        assert_eq!(result, Err("access-denied".to_owned()), "{answer:?}");
        let [attempt, outcome] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!(attempt, "name.test allowed by grant 1 tcp 0");
        assert!(outcome.starts_with("access-denied: ") && outcome.contains("no granted CIDR"), "{outcome}");
        // Nor does the guest reach what was public in it.
        let arguments = json!({"name": "name.test", "address": peer.address()});
        assert!(call(&world, "lookup-and-connect", arguments).await.0.is_err());
    }
    assert_eq!(peer.connections(), 0);
    names.answer("name.test", &[&["127.0.0.1", "127.0.0.1", "::ffff:127.0.0.1"]]);
    assert_eq!(call(&world, "talk", talk.clone()).await.0, Ok(json!("hello ")));
    // A name without an address, one that is not known, and one that is none.
    names.answer("name.test", &[&[]]);
    assert_eq!(call(&world, "talk", talk).await.0, Err("name-unresolvable".to_owned()));
    assert_eq!(
        call(&world, "lookup", json!({"name": "unknown.test"})).await.0,
        Err("name-unresolvable".to_owned())
    );
    for malformed in ["", "a b", "a..test", "*.test", "a/b.test", "127.0.0.1:80"] {
        let (result, records) = call(&world, "lookup", json!({"name": malformed})).await;
        assert_eq!(result, Err("invalid-argument".to_owned()), "{malformed}");
        assert_eq!(records.len(), 1);
    }
}

/// Case 48: the address that was judged is the one that is connected to, whatever the name says later.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_address_changes_nothing() {
    let ((world, names), peer) = (world(options()).await, Peer::new(Manner::Echo));
    world.grant(&grant(&tcp(&["name.test"], peer.port, &["127.0.0.1/32"]))).await;
    // Judged, then changed: one question for each call, and the judged address is reached.
    names.answer("name.test", &[&["127.0.0.1"], &["10.0.0.1"]]);
    let talk = json!({"host": "name.test", "port": peer.port, "text": ""});
    assert_eq!(call(&world, "talk", talk.clone()).await.0, Ok(json!("hello ")));
    assert_eq!(names.asked().len(), 1);
    // The new answer is judged anew, in a call of its own.
    assert_eq!(call(&world, "talk", talk).await.0, Err("access-denied".to_owned()));
    // A name gives its addresses and no other: neither one that the guest thinks of, nor that of a call before.
    names.answer("name.test", &[&["8.8.8.8"]]);
    let arguments = json!({"name": "name.test", "address": peer.address()});
    let (result, records) = call(&world, "lookup-and-connect", arguments).await;
    assert_eq!(result, Err("access-denied".to_owned()));
    assert_eq!(records.last(), Some(&format!("tcp {} denied: not granted, access-denied", peer.address())));
    assert_eq!(peer.connections(), 1);
}

/// Case 61: names that may be looked up, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_needs_a_rule_and_gives_no_connection() {
    let ((world, names), peer) = (world(options()).await, Peer::new(Manner::Echo));
    names.answer("a.lookup.test", &[&["8.8.8.8", "2606:4700::1111"]]);
    names.answer("private.lookup.test", &[&["10.0.0.1"]]);
    let lookup = |name: &str| json!({ "name": name });
    world.grant(&grant("")).await;
    let (result, records) = call(&world, "lookup", lookup("a.lookup.test")).await;
    assert_eq!(result, Err("access-denied".to_owned()));
    assert_eq!(records, ["a.lookup.test denied: not granted, access-denied"]);
    assert_eq!(names.asked(), Vec::<String>::new());

    world.grant(&grant("[[grant.dns]]\nnames = [\"*.lookup.test\"]\n")).await;
    let (result, records) = call(&world, "lookup", lookup("a.lookup.test")).await;
    assert_eq!(result, Ok(json!(["8.8.8.8", "2606:4700::1111"])));
    assert_eq!(records, ["a.lookup.test allowed by grant 2 dns 0", "ok"]);
    for (name, error) in [
        ("lookup.test", "access-denied"),
        ("xlookup.test", "access-denied"),
        ("private.lookup.test", "access-denied"),
    ] {
        assert_eq!(call(&world, "lookup", lookup(name)).await.0, Err(error.to_owned()), "{name}");
    }
    // An address is no question, and needs no rule.
    assert_eq!(call(&world, "lookup", lookup("10.0.0.1")).await.0, Ok(json!(["10.0.0.1"])));
    // No socket, and with a rule for another host no connection to what was found.
    let arguments = json!({"name": "a.lookup.test", "address": "8.8.8.8:53"});
    let (result, records) = call(&world, "lookup-and-connect", arguments.clone()).await;
    assert_eq!(result, Err("access-denied".to_owned()));
    assert_eq!(records.last().map(String::as_str), Some("tcp denied: not granted, access-denied"));
    let rules =
        format!("[[grant.dns]]\nnames = [\"*.lookup.test\"]\n{}", tcp(&["127.0.0.1"], peer.port, LOOPBACK));
    world.grant(&grant(&rules)).await;
    let (result, records) = call(&world, "lookup-and-connect", arguments).await;
    assert_eq!(result, Err("access-denied".to_owned()));
    assert_eq!(records.last().map(String::as_str), Some("tcp 8.8.8.8:53 denied: not granted, access-denied"));
}

/// A TCP rule is none for UDP, nor the other way round; and what is sent to whom is judged at each send.
#[tokio::test(flavor = "multi_thread")]
async fn datagrams_go_to_granted_peers_and_come_from_them() {
    let ((world, _), peer) = (world(options()).await, Peer::new(Manner::Echo));
    let other = Peer::new(Manner::Echo);
    let exchange = |to: &str| json!({"bound": "0.0.0.0:0", "address": to, "text": "ping"});
    world.grant(&grant(&tcp(&["127.0.0.1"], peer.port, LOOPBACK))).await;
    let (result, records) = call(&world, "exchange", exchange(&peer.address())).await;
    assert_eq!(
        (result, records),
        (Err("access-denied".to_owned()), vec!["udp denied: not granted, access-denied".to_owned()])
    );

    world.grant(&grant(&udp(&["127.0.0.1"], peer.port, LOOPBACK))).await;
    let (result, records) = call(&world, "exchange", exchange(&peer.address())).await;
    assert_eq!(result, Ok(json!("ping")));
    assert_eq!(records, [format!("udp {} allowed by grant 2 udp 0", peer.address()), "ok".to_owned()]);
    let connected = json!({"address": peer.address(), "text": "pong"});
    assert_eq!(call(&world, "exchange-connected", connected).await.0, Ok(json!("pong")));
    assert_eq!(peer.datagrams(), 2);
    // Case 61: raw DNS, and other peers.
    for to in ["8.8.8.8:53", "127.0.0.53:53", &other.address(), "169.254.169.254:80", "255.255.255.255:9"] {
        let refused = vec![format!("udp {to} denied: not granted, access-denied")];
        for (tool, arguments) in
            [("exchange", exchange(to)), ("exchange-connected", json!({"address": to, "text": "ping"}))]
        {
            let (result, records) = call(&world, tool, arguments).await;
            assert_eq!((result, records), (Err("access-denied".to_owned()), refused.clone()), "{tool}");
        }
    }
    let to_zero = call(&world, "exchange", exchange("127.0.0.1:0")).await.0;
    assert_eq!(to_zero, Err("invalid-argument".to_owned()));
    // Two peers in one go: the first goes, the second is judged for itself.
    let arguments = json!({"first": peer.address(), "second": other.address()});
    assert_eq!(call(&world, "send-to-two", arguments).await.0, Ok(json!(["1", "access-denied"])));
    // Nothing but an ephemeral port of no address in particular can be bound.
    let bound = json!({"bound": "127.0.0.1:0", "address": peer.address(), "text": "ping"});
    assert_eq!(call(&world, "exchange", bound).await.0, Err("access-denied".to_owned()));
    // Sizes.
    let send = |bytes: u32| json!({"address": peer.address(), "bytes": bytes});
    assert_eq!(call(&world, "send-large", send(60_000)).await.0, Ok(json!(1)));
    assert_eq!(call(&world, "send-large", send(65_508)).await.0, Err("datagram-too-large".to_owned()));
    assert_eq!(other.datagrams(), 0);
    // A TCP socket needs a TCP rule.
    let talk = json!({"host": "127.0.0.1", "port": peer.port, "text": ""});
    assert_eq!(call(&world, "talk", talk).await.0, Err("access-denied".to_owned()));
}

/// A stranger who sends to the port of a guest's socket is not heard.
#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_strangers_are_dropped() {
    let (world, _) = world(options()).await;
    // It answers from another port than it was asked at, and only then from the right one.
    let asked = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = asked.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((_, from)) = asked.recv_from(&mut buffer) {
            stranger.send_to(b"forged", from).expect("sent");
            asked.send_to(b"true", from).expect("sent");
        }
    });
    world.grant(&grant(&udp(&["127.0.0.1"], to.port(), LOOPBACK))).await;
    let bound = json!({"bound": "0.0.0.0:0", "address": to.to_string(), "text": "ping"});
    assert_eq!(call(&world, "exchange", bound).await.0, Ok(json!("true")));
    let connected = json!({"address": to.to_string(), "text": "ping"});
    assert_eq!(call(&world, "exchange-connected", connected).await.0, Ok(json!("true")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listens() {
    let (world, _) = world(options()).await;
    world.grant(&grant(&tcp(&["127.0.0.1"], 9, LOOPBACK))).await;
    let refused = "access-denied";
    let (result, records) = call(&world, "listen", json!({"address": "127.0.0.1:0"})).await;
    assert_eq!(result, Ok(json!([refused, refused, refused, refused])));
    assert_eq!(records[0], "tcp 127.0.0.1:0 denied: not granted, access-denied");
    assert!(records[1..].iter().all(|line| line == "nothing denied: nothing may listen, access-denied"));
    assert_eq!(records.len(), 4);
    // Bound to nothing in particular, it still does not listen.
    let (result, _) = call(&world, "listen", json!({"address": "0.0.0.0:0"})).await;
    assert_eq!(result, Ok(json!(["ok", refused, refused, refused])));
    assert_eq!(
        call(&world, "listen", json!({"address": "0.0.0.0:8080"})).await.0,
        Ok(json!([refused, refused, refused, refused]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_refuses_and_options() {
    let (world, _) = world(options()).await;
    // A port that nothing listens at: it was bound a moment ago.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    world.grant(&grant(&tcp(&["127.0.0.1"], port, LOOPBACK))).await;
    let (result, records) =
        call(&world, "talk", json!({"host": "127.0.0.1", "port": port, "text": ""})).await;
    assert_eq!(result, Err("connection-refused".to_owned()));
    let attempt = format!("tcp 127.0.0.1:{port} allowed by grant 1 tcp 0");
    assert_eq!(records, [attempt, "connection-refused".to_owned()]);
    let (result, _) = call(&world, "options", json!({})).await;
    let invalid = "invalid-argument";
    let expected = json!([
        "hops 42",
        "keep-alive true",
        "idle 6000000000",
        "interval 32767000000000",
        "count 127",
        "large buffer true",
        "small buffer true",
        invalid,
        invalid,
        invalid,
        invalid,
        invalid,
        invalid,
        invalid,
        "invalid-state",
        "invalid-state",
        "not-in-progress",
        "not-in-progress",
        "invalid-state",
    ]);
    assert_eq!(result, Ok(expected));
}

/// What a rule can't mean is refused when it is applied (case 104 among it).
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_could_mean_two_things_or_nothing_is_refused() {
    let (world, _) = world(options()).await;
    for (rules, message) in [
        ("[[grant.tcp]]\nhosts = [\"db.test:5432\"]\nports = [5432]", "names a port"),
        ("[[grant.tcp]]\nhosts = [\"tcp://db.test\"]\nports = [5432]", "is more than a host"),
        ("[[grant.tcp]]\nhosts = [\"*\"]\nports = [5432]", "has a star where none can be"),
        ("[[grant.tcp]]\nhosts = [\"db.test\"]", "`ports` is missing"),
        ("[[grant.tcp]]\nports = [80]", "`hosts` is missing"),
        ("[[grant.tcp]]\nhosts = []\nports = [80]", "the list is empty, so the rule would allow nothing"),
        (
            "[[grant.tcp]]\nhosts = [\"db.test\"]\nports = []",
            "the list is empty, so the rule would allow nothing",
        ),
        ("[[grant.tcp]]\nhosts = [\"db.test\"]\nports = [0]", "a port is a number from 1 to 65535"),
        ("[[grant.tcp]]\nhosts = [\"db.test\"]\nports = [65536]", "a port is a number from 1 to 65535"),
        ("[[grant.tcp]]\nhosts = [\"db.test\"]\nports = [\"80\"]", "expected a whole number"),
        ("[[grant.tcp]]\nhosts = [\"db.test\", \"DB.test.\"]\nports = [80]", "in the list twice"),
        ("[[grant.tcp]]\nhosts = [\"10.1.2.3\"]\nports = [80]", "10.1.2.3 is a private address"),
        (
            "[[grant.udp]]\nhosts = [\"a.test\"]\nports = [80]\naddresses = [\"10.1.2.3/8\"]",
            "10.1.2.3/8 has bits beyond its prefix",
        ),
        ("[[grant.udp]]\nhost = [\"a.test\"]\nports = [80]", "unknown key host"),
        ("[[grant.dns]]\nnames = [\"10.1.2.3\"]", "is an address, which is never looked up"),
        ("[[grant.dns]]\nhosts = [\"a.test\"]", "unknown key hosts"),
        ("[grant.tcp]\nhosts = [\"db.test\"]", "expected a list of tables"),
    ] {
        let error = world.try_grant(&grant(rules)).await.expect_err(rules);
        let portcullis::gateway::HostError::Grants { diagnostics, .. } = error else { panic!("{error}") };
        let messages: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect();
        assert!(messages.iter().any(|found| found.contains(message)), "{rules}: {messages:?}");
    }
}
