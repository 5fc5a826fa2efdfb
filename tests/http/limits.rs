//! The limits of what a tool sends: just below each passes, just above it the request is answered with an
//! error, and the log names the limit.

use portcullis::limits::{HostLimits, Limit};
use serde_json::json;

use super::{LOOPBACK, Web, denied, failed, logged, rule};
use crate::harness::web::{Manner, Server};

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn http_requests() {
    let server = Server::says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let rule = rule("ok.test", server.port(), LOOPBACK);
    let web = Web::new(&rule).await;
    web.grant(", http_requests = 3", &[&rule]).await;
    let step = json!({"authority": format!("ok.test:{}", server.port())});
    let (lines, answer) = web.run(&vec![step; 4]).await;
    assert_eq!(lines, ["200 2: ok", "200 2: ok", "200 2: ok", "error: HttpRequestDenied"]);
    assert_eq!(answer.report.usage.http_requests, 3);
    let logged = logged(&web.world.records(answer.report.call));
    assert_eq!(denied(&logged[6..]).1, "limit http_requests");
    assert_eq!((server.seen().len(), server.connections()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn http_bytes_in() {
    let body = "x".repeat(1_000);
    let server = Server::says(format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{body}")).await;
    let rule = rule("ok.test", server.port(), LOOPBACK);
    let web = Web::new(&rule).await;
    let step = json!({"authority": format!("ok.test:{}", server.port())});
    let (lines, answer) = web.run(std::slice::from_ref(&step)).await;
    assert!(lines[0].starts_with("200 1000: "), "{lines:?}");
    let needed = answer.report.usage.http_bytes_in;
    for (max, expected) in [(needed, "200 1000: "), (needed - 1, "error: HttpResponseBodySize")] {
        web.grant(&format!(", http_bytes_in = {max}"), &[&rule]).await;
        let (lines, answer) = web.run(std::slice::from_ref(&step)).await;
        assert!(lines[0].starts_with(expected), "{max}: {lines:?}");
        assert!(answer.report.usage.http_bytes_in <= max);
        let logged = logged(&web.world.records(answer.report.call));
        if max < needed {
            assert_eq!(failed(&logged), "limit http_bytes_in");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn http_bytes_out() {
    let server = Server::says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let rule = rule("ok.test", server.port(), LOOPBACK);
    let web = Web::new(&rule).await;
    let step = json!({"authority": format!("ok.test:{}", server.port()), "method": "POST", "body_bytes": 20_000,
                      "headers": [["content-length", "20000"]]});
    let (lines, answer) = web.run(std::slice::from_ref(&step)).await;
    assert_eq!(lines, ["200 2: ok"]);
    let needed = answer.report.usage.http_bytes_out;
    assert!((20_000..21_000).contains(&needed), "{needed}");
    for (max, expected) in [
        (needed, "200 2: ok"),
        (needed - 1, "error: HttpRequestBodySize(Some("),
        // Not even the head.
        (10, "error: HttpRequestDenied"),
    ] {
        web.grant(&format!(", http_bytes_out = {max}"), &[&rule]).await;
        let (lines, answer) = web.run(std::slice::from_ref(&step)).await;
        assert!(lines[0].starts_with(expected), "{max}: {lines:?}");
        assert!(answer.report.usage.http_bytes_out <= max);
        let logged = logged(&web.world.records(answer.report.call));
        match max {
            10 => assert_eq!(denied(&logged).1, "limit http_bytes_out"),
            _ if max < needed => assert_eq!(failed(&logged), "limit http_bytes_out"),
            _ => {}
        }
    }
}

/// Case 62.
#[tokio::test(flavor = "multi_thread")]
async fn connections() {
    let server = Server::start(Manner::Stops).await;
    let rule = rule("ok.test", server.port(), LOOPBACK);
    let web = Web::new(&rule).await;
    web.grant(", connections = 3", &[&rule]).await;
    let held = json!({"authority": format!("ok.test:{}", server.port()), "hold": true});
    let (lines, answer) = web.run(&vec![held; 5]).await;
    let refused = "error: ConnectionLimitReached";
    assert_eq!(lines, ["200 held", "200 held", "200 held", refused, refused]);
    assert_eq!(answer.report.usage.connections_peak, 3);
    let logged = logged(&web.world.records(answer.report.call));
    assert!(
        logged
            .iter()
            .any(|logged| matches!(logged, super::Logged::Denied(_, why) if why == "limit connections"))
    );
    assert_eq!(server.connections(), 3);
    server.wait_closed(3).await;
}

/// Case 62.
#[tokio::test(flavor = "multi_thread")]
async fn package_connections() {
    let mut limits = HostLimits::default();
    limits.set_value(Limit::PackageConnections, 4).expect("below the ceiling");
    let server = Server::start(Manner::Stops).await;
    let rule = rule("ok.test", server.port(), LOOPBACK);
    let web = Web::ungranted(super::names(&[]), limits).await;
    web.grant("", &[&rule]).await;
    let to = |more: serde_json::Value| {
        let mut step = json!({"authority": format!("ok.test:{}", server.port())});
        step.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        step
    };
    // One call holds two, and waits for a third until it is told that nothing comes.
    let holding = [
        to(json!({"hold": true})),
        to(json!({"hold": true})),
        to(json!({"between_bytes_timeout_ms": 3_000})),
    ];
    let (first, second) = tokio::join!(web.run(&holding), async {
        while server.connections() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        web.run(&[to(json!({"hold": true})), to(json!({"hold": true}))]).await
    });
    assert_eq!(first.0[..2], ["200 held", "200 held"]);
    assert_eq!(second.0, ["200 held", "error: ConnectionLimitReached"]);
    let logged = logged(&web.world.records(second.1.report.call));
    assert!(
        logged.iter().any(
            |logged| matches!(logged, super::Logged::Denied(_, why) if why == "limit package_connections")
        ),
        "{logged:?}"
    );
}

/// A rule's own rate, over all calls by it.
#[tokio::test(flavor = "multi_thread")]
async fn requests_per_minute() {
    let server = Server::says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let rule = rule("ok.test", server.port(), &format!("requests_per_minute = 3\n{LOOPBACK}"));
    let web = Web::new(&rule).await;
    let step = json!({"authority": format!("ok.test:{}", server.port())});
    let (lines, _) = web.run(&[step.clone(), step.clone()]).await;
    assert_eq!(lines, ["200 2: ok", "200 2: ok"]);
    let (lines, answer) = web.run(&[step.clone(), step]).await;
    assert_eq!(lines, ["200 2: ok", "error: HttpRequestDenied"]);
    let logged = logged(&web.world.records(answer.report.call));
    assert!(denied(&logged[2..]).1.ends_with(" http 0 allows 3 requests a minute"), "{logged:?}");
}
