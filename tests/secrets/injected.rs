//! Secrets in requests: they arrive at the server, and the tool never has them, whatever it and the server
//! do; and what is not bound to a request does not leave in it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use portcullis::audit::event::{Event, LeakAction, LeakPlace, Record, SecretInjected};
use portcullis::authn::local_admin;
use portcullis::gateway::{CallAnswer, CallError, HostError};
use portcullis::ids::CallId;
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use super::server::{Received, Server, ok};
use super::{FORMS, VALUE, is_nowhere_in, leaks};
use crate::harness::{World, grant, guest};

/// It stands in headers, and its encodings differ all the same.
const TOKEN: &str = "t0ken/with+many~kinds?of=characters&more";

/// It may stand in a path.
const PLAIN: &str = "a-plain-t0ken.with~nothing_else";

async fn world(rules: &str) -> World {
    let world = World::new().await;
    world.add("secret-holder", guest("secret-holder")).await;
    world.set_secret("github", TOKEN).await;
    world.set_secret("seen", VALUE).await;
    world.grant(&format!("{}{rules}", grant("secret-holder"))).await;
    world
}

/// A rule for a server on loopback.
fn rule(server: &Server, more: &str) -> String {
    format!(
        "[[grant.http]]\nhosts = [\"127.0.0.1\"]\nschemes = [\"http\"]\nports = [{}]\n\
         methods = [\"GET\", \"POST\"]\naddresses = [\"127.0.0.0/8\"]\n{more}",
        server.port
    )
}

fn injecting(server: &Server, inject: &str, on_leak: &str) -> String {
    rule(server, &format!("inject = {inject}\ninject_over_http = true\non_leak = \"{on_leak}\"\n"))
}

const BEARER: &str = "{ header = \"authorization\", value = \"Bearer ${secret:github}\" }";

fn fetch(url: &str) -> Value {
    json!({"method": "GET", "url": url, "headers": [], "body": "", "dump": null})
}

fn answered(result: &Result<CallAnswer, CallError>) -> (CallId, Value) {
    match result {
        Ok(answer) => (answer.report.call, answer.answer.structured.clone().expect("a value")),
        Err(error) => panic!("{error}"),
    }
}

fn refused(result: &Result<CallAnswer, CallError>) -> (CallId, String) {
    match result {
        Err(CallError::Failed { error: InvokeError::Tool { message, .. }, report }) => {
            (report.call, message.clone())
        }
        other => panic!("{other:?}"),
    }
}

fn injected(records: &[Record]) -> Vec<SecretInjected> {
    let injected = |record: &Record| match &record.event {
        Event::SecretInjected { injected, .. } => Some(injected.clone()),
        _ => None,
    };
    records.iter().filter_map(injected).collect()
}

fn log(world: &World) -> Vec<u8> {
    world.all_records().iter().flat_map(|record| serde_json::to_vec(record).expect("json")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_secret_arrives_in_place_of_the_tools_own_and_each_use_is_recorded() {
    let basic = format!("Basic {}", STANDARD.encode(format!("bot:{TOKEN}")));
    let server = || Server::start(|_| ok("", b"fine", 100));
    type Check<'a> = &'a dyn Fn(&Received) -> bool;
    let encoded = "t0ken%2Fwith%2Bmany~kinds%3Fof%3Dcharacters%26more";
    let cases: [(&str, &str, &str, Check<'_>); 3] = [
        (BEARER, "authorization", "header authorization", &|received| {
            received.all("authorization") == [format!("Bearer {TOKEN}")]
        }),
        (
            "{ basic = { user = \"bot\", password = \"${secret:github}\" } }",
            "authorization",
            "header authorization",
            &|received| received.all("authorization") == [basic.as_str()],
        ),
        ("{ query = \"key\", value = \"${secret:github}\" }", "x-none", "query key", &|received| {
            received.target == format!("GET /path?a=1&key={encoded} HTTP/1.1")
        }),
    ];
    for (inject, own_header, into, fits) in cases {
        let server = server();
        let world = world(&injecting(&server, inject, "redact")).await;
        for has_own in [false, true] {
            let mut arguments = fetch(&server.url(if has_own { "/path?key=mine&a=1" } else { "/path?a=1" }));
            if has_own {
                let own = json!([[own_header, "mine"], ["range", "bytes=0-3"], ["accept-encoding", "gzip"]]);
                arguments["headers"] = own;
            }
            let (call, response) = answered(&world.call("secret-holder", "fetch", arguments).await);
            assert_eq!(response["body"], "fine");
            let received = server.received().pop().expect("a request");
            assert!(fits(&received), "{inject}: {received:?}");
            assert_eq!(received.all("accept-encoding"), ["identity"]);
            assert!(received.all("range").is_empty(), "{received:?}");
            let records = world.records(call);
            let [used] = &injected(&records)[..] else { panic!("one use") };
            assert_eq!((used.secret.as_str(), used.into.as_str(), used.replaced), ("github", into, has_own));
            let place = |fits: &dyn Fn(&Event) -> bool| records.iter().position(|record| fits(&record.event));
            let use_at = place(&|event| matches!(event, Event::SecretInjected { .. }));
            let attempt_at = place(&|event| matches!(event, Event::EffectAttempted { .. }));
            assert!(use_at.expect("a use") < attempt_at.expect("an attempt"), "recorded before it leaves");
            assert!(leaks(&records).is_empty());
        }
        is_nowhere_in(&log(&world), TOKEN);
    }
    // The twin: a rule that injects nothing.
    let server = server();
    let world = world(&rule(&server, "")).await;
    let (call, _) = answered(&world.call("secret-holder", "fetch", fetch(&server.url("/path"))).await);
    assert!(server.received()[0].all("authorization").is_empty());
    assert!(injected(&world.records(call)).is_empty());
}

/// A text in a form, as a server may write it.
fn written(form: &str, text: &str) -> String {
    match form {
        "exact" => text.to_owned(),
        "base64" => STANDARD.encode(text),
        "base64-url" => URL_SAFE.encode(text),
        "hex" => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        "hex-upper" => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        "percent" => text.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        "json" => text.replace('/', "\\/"),
        other => panic!("{other}"),
    }
}

/// Sends back what the request says: `/FORM/PIECE-BYTES/PLACE`.
fn echoing() -> Server {
    Server::start(|received| {
        let token = received.all("authorization").first().map_or("none", |value| value).to_owned();
        let path = received.target.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut parts = path.split('/').skip(1);
        let form = parts.next().unwrap_or("exact").to_owned();
        let piece_bytes = parts.next().and_then(|bytes| bytes.parse().ok()).unwrap_or(1000);
        let echo = written(&form, &token);
        match parts.next() {
            Some("header") => {
                ok(&format!("x-echo: {echo}\r\nx-{echo}: 1\r\n").replace("x-Bearer ", "x-"), b"", 1)
            }
            _ => ok("", format!("you sent {echo}, didn't you?").as_bytes(), piece_bytes),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_echoes_does_not_hand_the_secret_to_the_tool() {
    let server = echoing();
    let world = world(&injecting(&server, BEARER, "redact")).await;
    for (form, encoding) in FORMS {
        for piece_bytes in ["1", "2", "7", "64", "1000"] {
            let url = server.url(&format!("/{form}/{piece_bytes}/body"));
            let (call, response) = answered(&world.call("secret-holder", "fetch", fetch(&url)).await);
            let shown = response.to_string();
            is_nowhere_in(shown.as_bytes(), TOKEN);
            assert!(shown.contains("[secret github]"), "{form} {piece_bytes}: {shown}");
            assert!(shown.contains("you sent ") && shown.contains(", didn't you?"), "{shown}");
            let found = leaks(&world.records(call));
            let fits = found.iter().any(|leak| {
                (leak.found_as, leak.place, leak.action)
                    == (encoding, LeakPlace::Response, LeakAction::Redacted)
            });
            assert!(fits, "{form} {piece_bytes}: {found:?}");
        }
        if form != "json" {
            let url = server.url(&format!("/{form}/1/header"));
            let result = world.call("secret-holder", "fetch", fetch(&url)).await;
            // As a header's name it may be none, which ends the exchange.
            if let Ok(answer) = &result {
                let shown = format!("{:?}", answer.answer);
                is_nowhere_in(shown.as_bytes(), TOKEN);
                assert!(!leaks(&world.records(answer.report.call)).is_empty());
            } else {
                is_nowhere_in(refused(&result).1.as_bytes(), TOKEN);
            }
        }
    }
    is_nowhere_in(&log(&world), TOKEN);
    // The twin: the same server, without an injection, is not looked through.
    let world = self::world(&rule(&server, "")).await;
    let mut arguments = fetch(&server.url("/exact/1000/body"));
    arguments["headers"] = json!([["authorization", "mine"]]);
    let (_, response) = answered(&world.call("secret-holder", "fetch", arguments).await);
    assert_eq!(response["body"], "you sent mine, didn't you?");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_is_refused_where_the_rule_says_so() {
    let server = echoing();
    let world = world(&injecting(&server, BEARER, "refuse")).await;
    for (form, _) in FORMS {
        let result =
            world.call("secret-holder", "fetch", fetch(&server.url(&format!("/{form}/7/body")))).await;
        let (call, message) = refused(&result);
        assert!(message.contains("breaks off") || message.contains("Denied"), "{message}");
        is_nowhere_in(message.as_bytes(), TOKEN);
        let found = leaks(&world.records(call));
        assert!(
            found.iter().any(|leak| (leak.place, leak.action) == (LeakPlace::Response, LeakAction::Refused))
        );
    }
    is_nowhere_in(&log(&world), TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_can_not_be_looked_through_is_refused() {
    let server = Server::start(|_| ok("content-encoding: gzip\r\n", b"\x1f\x8b", 100));
    let world = world(&injecting(&server, BEARER, "redact")).await;
    let (_, message) = refused(&world.call("secret-holder", "fetch", fetch(&server.url("/"))).await);
    assert!(message.contains("Denied"), "{message}");
    // The twin: without an injection, encodings are the tool's business.
    let world = self::world(&rule(&server, "")).await;
    let (_, response) = answered(&world.call("secret-holder", "fetch", fetch(&server.url("/"))).await);
    assert_eq!(response["status"], 200);
}

/// The guest never has it: all of its memory, after the request and an echo of it, does not hold it.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_the_guest_does_not_hold_an_injected_secret() {
    let server = echoing();
    let folder = "[[grant.filesystem]]\nhost_path = \"dump\"\nguest_path = \"/dump\"\naccess = \"read-write\"\nquota = \"128MiB\"\n";
    let scanned = async |world: &World, arguments: Value| {
        let (_, response) = answered(&world.call("secret-holder", "fetch", arguments).await);
        let memory = std::fs::read(world.temporary.path().join("dump/memory")).expect("dumped");
        assert!(memory.len() > 1 << 20, "{}", memory.len());
        assert!(memory.windows(8).any(|window| window == b"you sent"), "it is the guest's memory");
        (memory, response)
    };
    let new_world = async |rules: &str| {
        let world = World::new().await;
        world.folder("dump");
        world.add("secret-holder", guest("secret-holder")).await;
        world.set_secret("github", TOKEN).await;
        world.grant(&format!("{}{folder}{rules}", grant("secret-holder"))).await;
        world
    };
    let world = new_world(&injecting(&server, BEARER, "redact")).await;
    for (form, _) in FORMS {
        let mut arguments = fetch(&server.url(&format!("/{form}/7/body")));
        arguments["dump"] = json!("/dump/memory");
        let (memory, _) = scanned(&world, arguments).await;
        is_nowhere_in(&memory, TOKEN);
        assert!(server.received().pop().expect("one").all("authorization")[0].ends_with(TOKEN));
    }
    // The twin: what the guest itself was given is found, so that a scan that finds nothing means something.
    let world = new_world(&rule(&server, "")).await;
    let mut arguments = fetch(&server.url("/exact/7/body"));
    arguments["dump"] = json!("/dump/memory");
    arguments["headers"] = json!([["authorization", TOKEN]]);
    let (memory, _) = scanned(&world, arguments).await;
    assert!(memory.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
}

/// Threat 65: a secret leaves in no request but those that it is injected into.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_does_not_leave_in_a_request_that_it_is_not_bound_to() {
    let server = Server::start(|_| ok("", b"fine", 100));
    let sees = "[[grant.secrets]]\nname = \"seen\"\n[[grant.secrets]]\nname = \"plain\"\n";
    let world = world("").await;
    // Quotes, spaces and encoded slashes can't stand in a path.
    world.set_secret("plain", PLAIN).await;
    world.grant(&format!("{}{sees}{}", grant("secret-holder"), rule(&server, ""))).await;
    for (form, encoding) in FORMS {
        for part in ["path", "header", "body"] {
            let name = if part == "path" { "plain" } else { "seen" };
            let arguments = json!({"name": name, "form": form, "url": server.url(""), "part": part});
            let result = world.call("secret-holder", "send", arguments).await;
            let (call, message) = refused(&result);
            is_nowhere_in(message.as_bytes(), VALUE);
            is_nowhere_in(message.as_bytes(), PLAIN);
            let found = leaks(&world.records(call));
            let is_refused = found
                .iter()
                .any(|leak| (leak.place, leak.action) == (LeakPlace::Request, LeakAction::Refused));
            assert!(is_refused, "{form} {part}: {message} {found:?}");
            // A path is canonical: what need not be encoded is not.
            if part != "path" {
                assert!(found.iter().any(|leak| leak.found_as == encoding), "{form} {part}: {found:?}");
            }
        }
    }
    for received in server.received() {
        is_nowhere_in(format!("{received:?}").as_bytes(), VALUE);
        is_nowhere_in(format!("{received:?}").as_bytes(), PLAIN);
    }
    is_nowhere_in(&log(&world), VALUE);
}

/// The twin of case 65: where the rule injects it, the tool that sees it may send it as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_may_leave_in_a_request_that_it_is_bound_to() {
    let server = Server::start(|_| ok("", b"fine", 100));
    let inject = "{ header = \"x-key\", value = \"${secret:github}\" }";
    let sees = "[[grant.secrets]]\nname = \"github\"\n";
    let world = world(&format!("{}{sees}", injecting(&server, inject, "redact"))).await;
    for part in ["header", "body"] {
        let arguments = json!({"name": "github", "form": "exact", "url": server.url("/"), "part": part});
        answered(&world.call("secret-holder", "send", arguments).await);
    }
    let received = server.received();
    assert_eq!((received[0].all("x-data"), received[0].all("x-key")), (vec![TOKEN], vec![TOKEN]));
    assert!(String::from_utf8_lossy(&received[1].body).contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_secret_a_request_is_not_sent() {
    let server = Server::start(|_| ok("", b"fine", 100));
    let world = world(&injecting(&server, BEARER, "redact")).await;
    world.host.remove_secret(&local_admin(), "github".parse().expect("a name")).await.expect("removed");
    let (_, message) = refused(&world.call("secret-holder", "fetch", fetch(&server.url("/"))).await);
    assert!(message.contains("Denied"), "{message}");
    assert!(server.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_would_give_a_secret_away_is_refused_with_its_place() {
    let world = world("").await;
    let https = "[[grant.http]]\nhosts = [\"api.example.com\"]\nmethods = [\"GET\"]\n";
    let told =
        async |rules: String| match world.try_grant(&format!("{}{rules}", grant("secret-holder"))).await {
            Err(HostError::Grants { diagnostics, .. }) => diagnostics
                .iter()
                .map(|found| {
                    format!(
                        "{} {}: {} ({})",
                        found.line,
                        found.key,
                        found.message,
                        found.help.clone().unwrap_or_default()
                    )
                })
                .collect::<Vec<_>>()
                .join("\n"),
            other => panic!("{rules}: {other:?}"),
        };
    for (inject, wanted) in [
        (
            "{ header = \"authorization\", value = \"${secret:gihub}\" }",
            "there is no secret gihub (did you mean `github`?)",
        ),
        ("{ header = \"authorization\", value = \"Bearer ${env:X}\" }", "nothing else may begin with"),
        ("{ header = \"authorization\", value = \"Bearer ${secret:github\" }", "nothing else may begin with"),
        ("{ header = \"authorization\", value = \"Bearer token\" }", "it has no secret in it"),
        ("{ header = \"host\", value = \"${secret:github}\" }", "this header can't be injected"),
        ("{ header = \"content-length\", value = \"${secret:github}\" }", "this header can't be injected"),
        ("{ header = \"transfer-encoding\", value = \"${secret:github}\" }", "this header can't be injected"),
        ("{ query = \"\", value = \"${secret:github}\" }", "write the key alone"),
        ("{ basic = { user = \"a:b\", password = \"${secret:github}\" } }", "without `:`"),
        ("{ basic = { user = \"a\" } }", "`password` is missing"),
        (
            "{ header = \"authorization\", query = \"x\", value = \"${secret:github}\" }",
            "not one place to inject",
        ),
        ("{ cookie = \"x\", value = \"${secret:github}\" }", "not one place to inject"),
        ("[]", "injects 1 to 4 times"),
        (
            "[{ header = \"Authorization\", value = \"${secret:github}\" }, { basic = { user = \"a\", password = \"${secret:github}\" } }]",
            "header authorization is injected twice",
        ),
    ] {
        let told = told(format!("{https}inject = {inject}\n")).await;
        assert!(told.contains(wanted), "{inject}\n{wanted}\nis not in\n{told}");
        assert!(told.contains("7 grant[0].http[0].inject"), "{told}");
    }
    let inject = format!("inject = {BEARER}\n");
    for (more, wanted) in [
        ("schemes = [\"https\", \"http\"]\n", "without TLS"),
        ("schemes = [\"http\"]\ninject_over_http = false\n", "without TLS"),
        ("inject_over_http = 1\n", "expected true or false"),
        ("on_leak = \"warn\"\n", "not what can be done about a leak"),
    ] {
        let told = told(format!("{https}{inject}{more}")).await;
        assert!(told.contains(wanted), "{more}\n{wanted}\nis not in\n{told}");
    }
    let trace = https.replace("[\"GET\"]", "[\"GET\", \"TRACE\"]");
    assert!(told(format!("{trace}{inject}")).await.contains("TRACE asks the server to send the secret back"));
    assert!(told(format!("{https}on_leak = \"redact\"\n")).await.contains("injects nothing"));
    // The twin.
    world.grant(&format!("{}{https}{inject}", grant("secret-holder"))).await;
    let shown: Vec<String> = world.host.grants(None)[0].terms.rules.iter().map(ToString::to_string).collect();
    assert!(
        shown[0].ends_with(
            "unseen by the tool: header authorization = \"Bearer ${secret:github}\" (on leak: redact)"
        ),
        "{shown:?}"
    );
}
