//! Requests: which are sent, what is sent of them, and where to.

use portcullis::audit::event::HostCallOutcome;
use portcullis::gateway::HostError;
use serde_json::json;

use super::{LOOPBACK, Logged, Web, denied, ended, failed, rule};
use crate::harness::process::Cli;
use crate::harness::web::{Closes, Manner, Server};
use crate::harness::{AGENT, guest};

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_request_is_sent_as_it_was_judged_and_recorded_before_and_after() {
    let server = Server::start(Manner::Echo).await;
    let web = Web::new(&rule("ok.test", server.port(), LOOPBACK)).await;
    let authority = format!("OK.test.:{}", server.port());
    let step = json!({"method": "POST", "authority": authority, "path": "/v1/../%61dmin?q=1", "body": "abc",
                      "headers": [["x-own", "1"]]});
    let (line, logged) = web.one(step).await;
    let sent = format!(
        "POST /admin?q=1 HTTP/1.1\r\nx-own: 1\r\nhost: ok.test:{}\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\n",
        server.port()
    );
    assert_eq!(server.seen(), std::slice::from_ref(&sent));
    assert_eq!(line, format!("200 {}: {sent}", sent.len()));
    let subject = format!("POST http://ok.test:{}/admin", server.port());
    assert!(
        matches!(&logged[..], [Logged::Attempted(about, rule), Logged::Ended(Some(200), HostCallOutcome::Ok)]
            if *about == subject && rule.starts_with("grant ") && rule.ends_with(" http 0")),
        "{logged:?}"
    );
}

/// Case 54, and what each other part of a rule leaves out. The denied twin of each granted request differs
/// in one part only.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_allows_is_refused_naming_the_part() {
    let server = Server::start(Manner::Echo).await;
    let port = server.port();
    let more = format!("paths = [\"/v1/**\"]\nquery = [\"page\"]\n{LOOPBACK}");
    let web = Web::new(&rule("ok.test", port, &more)).await;
    let good = json!({"authority": format!("ok.test:{port}"), "path": "/v1/x?page=2"});
    let (line, logged) = web.one(good.clone()).await;
    assert!(line.starts_with("200 "), "{line}");
    assert_eq!(ended(&logged), (Some(200), &HostCallOutcome::Ok));
    let cases = [
        ("authority", json!(format!("other.test:{port}")), "no http rule names the host other.test"),
        ("authority", json!("ok.test:1"), "no http rule for the host allows the port 1"),
        ("scheme", json!("https"), "no http rule for the host allows the scheme https"),
        ("method", json!("DELETE"), "no http rule for the host allows the method DELETE"),
        ("path", json!("/v2/x"), "no http rule for the host and method allows the path"),
        ("path", json!("/v1/../admin"), "no http rule for the host and method allows the path"),
        ("path", json!("/v1/%2e%2e/admin"), "no http rule for the host and method allows the path"),
        ("path", json!("/v1/x?page=1&admin=1"), "no http rule for the path allows the query key \"admin\""),
        ("path", json!("/v1/x?page=1;admin=1"), "no http rule for the path allows the query key \"admin\""),
    ];
    for (part, value, why) in cases {
        let mut step = good.clone();
        step[part] = value;
        let (line, logged) = web.one(step.clone()).await;
        assert_eq!(line, "error: HttpRequestDenied", "{step}");
        assert_eq!(denied(&logged).1, why, "{step}");
    }
    // Cases 51, 55 and 56: what is no URL that servers read in one way.
    for (part, value) in [
        ("authority", json!(format!("ok.test:{port}@evil.test"))),
        ("authority", json!(format!(":@ok.test:{port}"))),
        ("path", json!("//admin")),
        ("path", json!("/v1//x")),
        ("path", json!("/v1/..%2fadmin")),
        ("path", json!("/v1/..;/admin")),
        ("path", json!("/v1/%00")),
    ] {
        let mut step = good.clone();
        step[part] = value;
        let (line, logged) = web.one(step.clone()).await;
        assert_eq!(line, "error: HttpRequestUriInvalid", "{step}");
        let (subject, why) = denied(&logged);
        assert!(why.starts_with("the URL is refused: "), "{why}");
        assert!(!subject.contains('@'), "{subject}");
    }
    assert_eq!(server.seen().len(), 1, "{:?}", server.seen());
    web.grant("", &[]).await;
    let (line, logged) = web.one(good).await;
    assert_eq!((line.as_str(), denied(&logged).1), ("error: HttpRequestDenied", "not granted"));
}

/// Cases 52 and 53.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_compared_in_one_form_and_by_whole_labels() {
    let server = Server::start(Manner::Echo).await;
    let port = server.port();
    let web = Web::new(&rule("*.Ok.test.", port, LOOPBACK)).await;
    for (host, is_allowed) in [
        ("a.ok.test", true),
        ("A.B.OK.TEST.", true),
        ("xn--mnchen-3ya.ok.test", true),
        ("ok.test", false),
        ("evilok.test", false),
        ("a.ok.test.evil", false),
    ] {
        let (line, _) = web.one(json!({"authority": format!("{host}:{port}")})).await;
        assert_eq!(line.starts_with("200 "), is_allowed, "{host}: {line}");
    }
}

/// Cases 45, 46 and 47: each is refused although its host is granted, and nobody is connected to.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_public_are_refused_however_they_are_written() {
    let written = [
        "127.0.0.1",
        "127.1",
        "0177.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "169.254.169.254",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[fc00::1]",
        "[fe80::1]",
        "[ff02::1]",
        "[2001:db8::1]",
    ];
    let hosts = written.map(|host| format!("\"{host}\""));
    let mut unique: Vec<String> = hosts[..1].to_vec();
    unique.extend_from_slice(&hosts[5..18]);
    unique.extend_from_slice(&hosts[19..]);
    let any = |more: &str| {
        let hosts = unique.join(", ");
        format!("hosts = [{hosts}]\nschemes = [\"http\"]\nports = [80]\nmethods = [\"GET\"]\n{more}")
    };
    let web = Web::new(&any("")).await;
    for host in written {
        let (line, logged) = web.one(json!({"authority": host})).await;
        assert_eq!(line, "error: DestinationIpProhibited", "{host}");
        assert!(
            denied(&logged).1.contains(" address, and no granted CIDR contains it"),
            "{host}: {logged:?}"
        );
    }
    // Granted, the same are tried: there is no server on this port, or nobody answers.
    let server = Server::start(Manner::Echo).await;
    let web = Web::new(&rule("127.0.0.1", server.port(), LOOPBACK)).await;
    for host in ["127.1", "0177.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"] {
        let (line, _) = web.one(json!({"authority": format!("{host}:{}", server.port())})).await;
        assert!(line.contains("host: 127.0.0.1:"), "{host}: {line}");
    }
}

/// Cases 48 and 49.
#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_once_and_every_address_is_judged() {
    let server =
        Server::start(Manner::Says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(), Closes::Yes))
            .await;
    let port = server.port();
    let names = super::names(&[
        ("rebinds.test", &[&["127.0.0.1"], &["10.0.0.1"]]),
        ("mixed.test", &[&["127.0.0.1", "10.0.0.1"]]),
        ("private.test", &[&["10.0.0.1"]]),
        ("mapped.test", &[&["::ffff:10.0.0.1"]]),
        ("metadata.test", &[&["169.254.169.254"]]),
    ]);
    let rule = rule("*.test", port, "addresses = [\"127.0.0.1/32\"]");
    let web = Web::with(names.clone(), &[&rule]).await;
    let to = |name: &str| json!({"authority": format!("{name}:{port}")});
    let (line, _) = web.one(to("rebinds.test")).await;
    assert_eq!((line.as_str(), names.asked().len()), ("200 0: ", 1));
    server.wait_closed(1).await;
    for name in ["rebinds.test", "mixed.test", "private.test", "mapped.test", "metadata.test"] {
        let (line, logged) = web.one(to(name)).await;
        assert_eq!(line, "error: DestinationIpProhibited", "{name}");
        assert!(failed(&logged).contains("and no granted CIDR contains it"), "{name}: {logged:?}");
    }
    assert_eq!(server.connections(), 1, "only what was judged was connected to");
    // A lookup is a way out: what is denied is not looked up (case 61).
    let before = names.asked().len();
    let (line, _) = web.one(json!({"authority": format!("secret-data.evil:{port}")})).await;
    assert_eq!((line.as_str(), names.asked().len()), ("error: HttpRequestDenied", before));
}

/// Case 50.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_the_guests_business_and_each_hop_is_judged() {
    let target = Server::start(Manner::Echo).await;
    let redirect = |host: &str, path: &str| {
        let location = format!("http://{host}:{}{path}", target.port());
        format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
    };
    for (host, path, expected) in [
        ("ok.test", "/v1/next", "200 "),
        ("evil.test", "/v1/next", "error: HttpRequestDenied"),
        ("ok.test", "/admin", "error: HttpRequestDenied"),
        ("127.0.0.1", "/v1/next", "error: HttpRequestDenied"),
    ] {
        let server = Server::says(redirect(host, path)).await;
        let ports = format!("{}, {}", server.port(), target.port());
        let rule = format!(
            "hosts = [\"ok.test\"]\nschemes = [\"http\"]\nports = [{ports}]\nmethods = [\"GET\"]\n\
             paths = [\"/v1/**\"]\n{LOOPBACK}"
        );
        let web = Web::new(&rule).await;
        let step = json!({"authority": format!("ok.test:{}", server.port()), "path": "/v1/start"});
        let (line, logged) = web.one(step.clone()).await;
        assert!(line.starts_with("302 "), "it is an answer like others: {line}");
        assert_eq!(logged.len(), 2);
        let mut followed = step;
        followed["redirects"] = json!(1);
        let (line, _) = web.one(followed).await;
        assert!(line.starts_with(expected), "{host}{path}: {line}");
    }
}

/// Cases 56 and 57.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_host_says_where_a_message_ends_and_to_whom_it_goes() {
    let server = Server::start(Manner::Echo).await;
    let authority = format!("ok.test:{}", server.port());
    let web = Web::new(&rule("ok.test", server.port(), LOOPBACK)).await;
    for (name, value) in [
        ("host", "evil.test"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "1"),
        ("proxy-authorization", "x"),
        ("expect", "100-continue"),
        ("http2-settings", "x"),
    ] {
        let (line, _) = web.one(json!({"authority": authority, "headers": [[name, value]]})).await;
        assert_eq!(line, "error: HeaderError::Forbidden", "{name}");
    }
    for headers in [
        json!([["x", "a\r\nhost: evil.test"]]),
        json!([["x\r\nhost", "evil.test"]]),
        json!([["x", "a\nb"]]),
        json!([["content-length", "3"], ["content-length", "4"]]),
        json!([["content-length", "+3"]]),
    ] {
        let (line, _) = web.one(json!({"authority": authority, "headers": headers})).await;
        assert_eq!(line, "error: HeaderError::InvalidSyntax", "{headers}");
    }
    let (line, _) = web.one(json!({"authority": authority, "method": "GET /x HTTP/1.1\r\nx: "})).await;
    assert_eq!(line, "error: the method can't be set");
    for path in ["http://evil.test/", "*", "/a b", "/a\r\nx: y"] {
        let (line, _) = web.one(json!({"authority": authority, "path": path})).await;
        assert!(
            line == "error: the path can't be set" || line == "error: HttpRequestUriInvalid",
            "{path}: {line}"
        );
    }
    let (line, logged) = web.one(json!({"authority": authority, "method": "CONNECT"})).await;
    assert_eq!((line.as_str(), logged.len()), ("error: HttpRequestDenied", 1));
    assert_eq!(server.connections(), 0, "{:?}", server.seen());
    // A body that is not what was declared, and trailers that would change the message.
    for step in [
        json!({"headers": [["content-length", "4"]], "body": "abc"}),
        json!({"headers": [["content-length", "2"]], "body": "abc"}),
        json!({"body": "abc", "trailers": [["content-length", "9"]]}),
        json!({"body": "abc", "trailers": [["authorization", "x"]]}),
    ] {
        let mut step = step;
        (step["authority"], step["method"]) = (json!(authority), json!("POST"));
        let (line, logged) = web.one(step.clone()).await;
        assert!(line.starts_with("error: "), "{step}: {line}");
        assert!(!failed(&logged).is_empty());
    }
    for seen in server.seen() {
        assert!(seen.ends_with("[broke off]"), "{seen:?}");
    }
}

/// Case 32.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_never_finished_is_not_taken_for_a_whole_one() {
    let server = Server::start(Manner::Echo).await;
    let authority = format!("ok.test:{}", server.port());
    let web = Web::new(&rule("ok.test", server.port(), LOOPBACK)).await;
    let step = json!({"authority": authority, "method": "POST", "body": "abc", "unfinished": true});
    let (line, logged) = web.one(step).await;
    assert_eq!(line, "error: HttpProtocolError");
    assert_eq!(failed(&logged), "the body of the request broke off: the tool did not finish it");
    let abandoned = json!({"authority": authority, "method": "POST", "body": "abc", "abandon": true});
    let (line, logged) = web.one(abandoned).await;
    assert_eq!(line, "abandoned");
    assert_eq!(ended(&logged), (None, &HostCallOutcome::Unknown));
    server.wait_closed(server.connections()).await;
    assert!(server.seen().iter().all(|seen| seen.ends_with("[broke off]")), "{:?}", server.seen());
    let (line, _) = web.one(json!({"authority": authority})).await;
    assert!(line.starts_with("200 "), "the host goes on: {line}");
}

/// Case 104.
#[tokio::test]
async fn a_host_with_a_port_is_refused_loudly() {
    let world = crate::harness::World::with("tool", crate::harness::wat("polite")).await;
    for host in ["api.example.com:443", "localhost:8080", "https://api.example.com"] {
        let text = format!(
            "[[grant]]\npackage = \"tool\"\nagents = [\"{AGENT}\"]\n[[grant.http]]\nhosts = [\"{host}\"]\n\
             methods = [\"GET\"]\n"
        );
        let refused = world.try_grant(&text).await.expect_err(host);
        let HostError::Grants { diagnostics, .. } = refused else { panic!("{refused}") };
        let error = format!("{diagnostics:?}");
        assert!(error.contains("write the host") || error.contains("write only the host"), "{error}");
    }
}

/// Case 60.
#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment_are_ignored() {
    let (server, proxy) = (Server::start(Manner::Echo).await, Server::start(Manner::Echo).await);
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let rule = rule("127.0.0.1", server.port(), LOOPBACK);
    let authority = format!("127.0.0.1:{}", server.port());
    let stdout = tokio::task::spawn_blocking(move || {
        let mut cli = Cli::new();
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"] {
            cli.environment.push((name, url.clone()));
        }
        cli.install("requests", &guest("requests"), &format!("[[grant.http]]\n{rule}\n"));
        let steps = json!([{ "authority": authority }]).to_string();
        let arguments = json!({ "steps": steps }).to_string();
        cli.run(["call", "requests", "run", "--as", AGENT, "--args", &arguments]).expect(0).stdout
    })
    .await
    .expect("it ran");
    assert!(stdout.contains("200 "), "{stdout}");
    assert_eq!((server.connections(), proxy.connections()), (1, 0));
}
