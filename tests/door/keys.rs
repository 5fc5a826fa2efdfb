//! Keys: what lets in, as what, until when; what is written down of it.

use portcullis::audit::event::Event;
use portcullis::authn::Refused;

use super::Door;
use crate::harness::client::Client;
use crate::harness::process::wait_until;

/// The status, and what a client is told to send.
fn refused(client: &Client) -> (u16, Option<String>) {
    let answer = client.get("/v1/tools");
    (answer.status, answer.header("www-authenticate").map(str::to_owned))
}

const UNKNOWN: &str = "bearer error=\"invalid_token\"";

/// Case 73: no key, one that never was, was revoked, rotated, is over, or whose principal was removed.
#[test]
fn without_a_key_that_is_valid_now_nobody_is_let_in() {
    let door = Door::open();
    let agent = door.caller("ann", "agent");
    agent.get("/v1/tools").expect(200);
    assert_eq!(refused(&door.anonymous), (401, Some("bearer".to_owned())));
    let key = agent.key.clone().expect("a key");
    let last = if key.ends_with('A') { 'B' } else { 'A' };
    let altered = format!("{}{last}", &key[..key.len() - 1]);
    for wrong in ["", "x", "pcl_0123456789ab", &altered, &key[1..], &format!("{key}{key}")] {
        assert_eq!(refused(&agent.with_key(wrong)), (401, Some(UNKNOWN.to_owned())), "{wrong}");
    }
    for lines in [
        format!("authorization: Basic {key}\r\n"),
        format!("authorization: {key}\r\n"),
        format!("authorization: Bearer {key}\r\nauthorization: Bearer {key}\r\n"),
    ] {
        let answer = door.anonymous.exchange(&door.anonymous.head("GET", "/v1/tools", &lines), b"");
        assert_eq!(answer.status, 401, "{lines}");
    }
    let lower = door.anonymous.head("GET", "/v1/tools", &format!("authorization: bearer {key}\r\n"));
    door.anonymous.exchange(&lower, b"").expect(200);

    let prefix = &key[..16];
    let rotated = door.cli.json(&["key", "rotate", prefix]);
    assert_eq!(refused(&agent), (401, Some(UNKNOWN.to_owned())), "the old one ended");
    let agent = agent.with_key(rotated["token"].as_str().expect("a key"));
    agent.get("/v1/tools").expect(200);
    door.cli.run(["key", "rotate", prefix]).expect(2).says("no API key");
    door.cli.run(["key", "revoke", &agent.key.clone().expect("a key")[..16]]).expect(0);
    assert_eq!(refused(&agent), (401, Some(UNKNOWN.to_owned())));

    let short = door.cli.json(&["key", "create", "ann", "--expires", "2s"]);
    let short = agent.with_key(short["token"].as_str().expect("a key"));
    wait_until("the key is over", || short.get("/v1/tools").status == 401);
    let removed = door.caller("ann", "agent");
    removed.get("/v1/tools").expect(200);
    door.cli.run(["principal", "remove", "ann"]).expect(0);
    assert_eq!(removed.get("/v1/tools").problem(), (403, "forbidden".to_owned()));
    door.cli.run(["key", "create", "ann"]).expect(2).says("ann was removed");
    // What was refused is in the log about a second later, by public beginnings only.
    for reason in [Refused::Malformed, Refused::Unknown, Refused::Expired, Refused::PrincipalRemoved] {
        let peer = door.cli.wait_for_record("refusals are recorded", |record| match &record.event {
            Event::AuthenticationFailed { reason: found, peer, .. } if *found == reason => Some(*peer),
            _ => None,
        });
        assert_eq!(peer, Some([127, 0, 0, 1].into()));
    }
}

/// Case 73: neither key nor role is judged by what the body says; it is not even read.
#[test]
fn keys_and_roles_are_judged_before_a_body_is_read() {
    let door = Door::open();
    let agent = door.caller("ann", "agent");
    for (client, target, status) in [
        (&door.anonymous, "/v1/calls?package=p&tool=t", 401),
        (&door.anonymous, "/v1/packages", 401),
        (&door.anonymous, "/mcp", 401),
        (&agent.with_key("pcl_"), "/v1/calls?package=p&tool=t", 401),
        (&agent, "/v1/packages", 403),
        (&agent, "/v1/keys", 403),
        (&agent, "/v1/backup", 403),
    ] {
        // The body never comes.
        let head = client.head("POST", target, "content-length: 1073741824\r\n");
        assert_eq!(client.exchange(&head, b"").problem().0, status, "{target}");
    }
}

#[test]
fn who_tries_keys_is_told_to_wait_and_whoever_has_one_is_not() {
    let door = Door::open();
    let wrong = door.admin.with_key("pcl_0123456789ab");
    let mut answer = wrong.get("/v1/tools");
    for _ in 0..100 {
        if answer.status == 429 {
            break;
        }
        assert_eq!(answer.status, 401);
        answer = wrong.get("/v1/tools");
    }
    assert_eq!(answer.problem(), (429, "too-many-requests".to_owned()));
    let wait: u64 = answer.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!((1..=61).contains(&wait), "{wait}");
    door.admin.get("/v1/packages").expect(200);
    // Very many tries are few records.
    let tries = || {
        let tries = door.events().into_iter().filter_map(|event| match event {
            Event::AuthenticationFailed { tries, .. } => Some(tries),
            _ => None,
        });
        tries.collect::<Vec<_>>()
    };
    wait_until("all tries are in the log", || tries().iter().sum::<u64>() >= 21);
    assert!(tries().len() < 21, "{:?}", tries());
}

#[test]
fn an_agent_that_asks_too_often_is_told_when_to_ask_again() {
    let door = Door::with(&["--requests-per-minute", "3"]);
    let (looping, polite) = (door.caller("ann", "agent"), door.caller("bob", "agent"));
    for _ in 0..3 {
        looping.get("/v1/tools").expect(200);
    }
    // Another key is no way around it.
    for client in [&looping, &door.caller("ann", "agent")] {
        let answer = client.get("/v1/tools");
        assert_eq!(answer.problem(), (429, "too-many-requests".to_owned()));
        let wait: u64 = answer.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
        assert!((1..=61).contains(&wait), "{wait}");
    }
    polite.get("/v1/tools").expect(200);
    for _ in 0..5 {
        door.admin.get("/v1/packages").expect(200);
    }
}

#[test]
fn keys_are_listed_by_their_beginnings_with_when_they_were_last_used() {
    let door = Door::open();
    let made =
        door.cli.run(["key", "create", "ann", "--expires", "90d"]).expect(0).says("lets in ann as agent");
    let key = made.stdout.trim_end();
    assert_eq!(key.len(), 60, "{key}");
    let listed = || door.cli.json(&["key", "list"]);
    let of_ann = |keys: &serde_json::Value| {
        let keys = keys.as_array().expect("a list").clone();
        keys.into_iter().find(|key| key["principal"] == "ann").expect("listed")
    };
    let entry = of_ann(&listed());
    assert_eq!(
        (&entry["prefix"], &entry["role"], &entry["last_used"]),
        (&key[..16].into(), &"agent".into(), &serde_json::Value::Null)
    );
    assert!(!listed().to_string().contains(&key[17..]));
    door.anonymous.with_key(key).get("/v1/tools").expect(200);
    let used = of_ann(&listed())["last_used"].as_str().expect("used").to_owned();
    // It is kept when the host ends.
    let Door { cli, server, .. } = door;
    server.interrupt().expect(0);
    assert_eq!(of_ann(&cli.json(&["key", "list"]))["last_used"], used);
    let text = cli.run(["key", "list"]).expect(0).stdout;
    assert!(text.contains("first-admin") && text.contains(&key[..16]), "{text}");
}

/// A key can't make its principal more than an admin has made it, and goes with that.
#[test]
fn a_key_has_the_role_of_its_principal() {
    let door = Door::open();
    door.cli
        .run(["key", "create", "ann", "--role", "admin"])
        .expect(2)
        .says("principal add ann --role admin");
    door.cli.run(["key", "create", "First-Admin"]).expect(2).says("can be taken for first-admin");
    door.cli.run(["key", "create", "local-admin"]).expect(2).says("has no key");
    door.cli.run(["key", "create", "ann", "--expires", "2020-01-01T00:00:00Z"]).expect(2).says("expired");
    let auditor = door.caller("eve", "auditor");
    auditor.get("/v1/audit/key").expect(200);
    auditor.ask("PUT", "/v1/freeze", b"{\"because\":\"x\"}").expect(403);
    door.cli.run(["principal", "add", "eve", "--role", "admin"]).expect(0);
    assert_eq!(
        auditor.get("/v1/audit/key").problem(),
        (403, "forbidden".to_owned()),
        "it is no auditor's now"
    );
    let made = door.cli.json(&["key", "create", "eve"]);
    let admin = auditor.with_key(made["token"].as_str().expect("a key"));
    admin.ask("PUT", "/v1/freeze", b"{\"because\":\"x\"}").expect(200);
    assert!(
        door.events()
            .iter()
            .any(|event| matches!(event, Event::HostFrozen { by, .. } if by.as_str() == "eve"))
    );
    // Nobody but an admin is told why.
    let agent = door.caller("bob", "agent");
    assert_eq!(agent.get("/v1/tools").expect(200).header("portcullis-frozen"), None);
    assert!(admin.get("/v1/keys").expect(200).header("portcullis-frozen").is_some());
    let ready = door.anonymous.get("/readyz").expect(503).json();
    assert_eq!(ready, serde_json::json!({"ready": false, "because": "frozen"}));
    door.anonymous.get("/healthz").expect(200);
}

/// The admin side of the API does what the commands do.
#[test]
fn an_admin_makes_and_ends_keys_over_the_network() {
    let door = Door::open();
    let made = door.admin.ask("POST", "/v1/keys", b"{\"principal\":\"ann\"}").expect(200);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let agent = door.admin.with_key(made.json()["token"].as_str().expect("a key"));
    agent.get("/v1/tools").expect(200);
    let prefix = made.json()["key"]["prefix"].as_str().expect("a beginning").to_owned();
    door.admin.ask("DELETE", &format!("/v1/keys/{prefix}"), b"").expect(200);
    assert_eq!(agent.get("/v1/tools").status, 401);
    let by = door.events().into_iter().find_map(|event| match event {
        Event::ApiKeyRevoked { key, by, .. } if key.as_str() == prefix => Some(by),
        _ => None,
    });
    assert_eq!(by.expect("recorded").as_str(), "first-admin");
    // A revoked key stays that, whatever happens to the host.
    door.server.kill();
    let (_server, port) = door.cli.serve_network(&[]);
    let again = Client { port, ..agent };
    assert_eq!(again.get("/v1/tools").status, 401);
    let admin = Client { port, ..door.admin };
    admin.get("/v1/packages").expect(200);
}
