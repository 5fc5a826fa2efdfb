//! Answers of servers that misbehave, and exchanges that are cut short.

use std::time::{Duration, Instant};

use portcullis::audit::event::HostCallOutcome;
use serde_json::json;

use super::{LOOPBACK, Logged, Web, ended, failed, logged, rule};
use crate::harness::limit_reached;
use crate::harness::web::{Manner, Server};

async fn facing(server: &Server) -> (Web, serde_json::Value) {
    let web = Web::new(&rule("ok.test", server.port(), LOOPBACK)).await;
    (web, json!({"authority": format!("ok.test:{}", server.port())}))
}

/// Case 58.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_cut_off_at_the_limit() {
    let server = Server::start(Manner::Endless).await;
    let (web, step) = facing(&server).await;
    let (lines, answer) = web.run(&[step]).await;
    assert!(lines[0].starts_with("error: HttpResponseBodySize(Some(8388608)) after "), "{lines:?}");
    let used = answer.report.usage.http_bytes_in;
    assert!(used <= 8 << 20 && used > 4 << 20, "{used}");
    let logged = logged(&web.world.records(answer.report.call));
    assert_eq!((ended(&logged).0, failed(&logged)), (Some(200), "limit http_bytes_in"));
    server.wait_closed(1).await;
}

/// Case 58: nothing is decompressed, so that a bomb stays as small as it came.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_compressed_is_handed_on_as_it_came() {
    let mut bomb = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n".to_vec();
    bomb.extend_from_slice(b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0");
    let server = Server::says(bomb).await;
    let (web, mut step) = facing(&server).await;
    step["show_headers"] = json!(true);
    let (line, _) = web.one(step).await;
    assert!(line.starts_with("200 content-encoding=gzip content-length=20 20: "), "{line}");
    assert!(
        !server.seen()[0].contains("accept-encoding"),
        "nothing is asked for either: {:?}",
        server.seen()
    );
}

/// Case 57: what could be read in two ways is not read at all.
#[tokio::test(flavor = "multi_thread")]
async fn servers_that_smuggle_are_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\naa",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let server = Server::says(answer).await;
        let (web, step) = facing(&server).await;
        let (line, logged) = web.one(step).await;
        assert!(line.starts_with("error: HttpProtocolError"), "{answer:?}: {line}");
        assert!(!failed(&logged).is_empty(), "{answer:?}");
    }
}

/// Case 59.
#[tokio::test(flavor = "multi_thread")]
async fn slow_servers_meet_a_deadline_at_each_step_and_for_the_whole() {
    let silent = Server::start(Manner::Silent).await;
    let (web, mut step) = facing(&silent).await;
    step["first_byte_timeout_ms"] = json!(200);
    let (line, logged) = web.one(step).await;
    assert_eq!(line, "error: HttpResponseTimeout");
    assert_eq!(failed(&logged), "the head of the answer took longer than 200 ms");

    let stops = Server::start(Manner::Stops).await;
    let (web, mut step) = facing(&stops).await;
    step["between_bytes_timeout_ms"] = json!(200);
    let (line, logged) = web.one(step).await;
    assert_eq!(line, "error: ConnectionReadTimeout after 0 bytes");
    assert_eq!(ended(&logged).0, Some(200));

    // Over TLS, which it never answers.
    let rule = format!("hosts = [\"ok.test\"]\nports = [{}]\nmethods = [\"GET\"]\n{LOOPBACK}", silent.port());
    let web = Web::new(&rule).await;
    let step = json!({"authority": format!("ok.test:{}", silent.port()), "scheme": "https",
                      "connect_timeout_ms": 200});
    let (line, _) = web.one(step).await;
    assert!(line == "error: ConnectionTimeout" || line == "error: ConfigurationError", "{line}");

    // A drip-fed body outlives a deadline for each byte; the call's own does not care.
    let drips = Server::start(Manner::Drips).await;
    let (web, step) = facing(&drips).await;
    let more = rule_of(&drips);
    let text = format!(
        "[[grant]]\npackage = \"requests\"\nagents = [\"{}\"]\nlimits = {{ wall_time = \"1s\" }}\n[[grant.http]]\n{more}\n",
        crate::harness::AGENT
    );
    web.world.grant(&text).await;
    let started = Instant::now();
    let steps = json!([step]).to_string();
    let reached = limit_reached(web.world.call("requests", "run", json!({ "steps": steps })).await);
    assert_eq!(reached.limit, portcullis::limits::Limit::WallTime);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drips.wait_closed(1).await;
    let records = web.world.all_records();
    let logged = super::logged(&records);
    assert_eq!(logged.last(), Some(&Logged::Ended(Some(200), HostCallOutcome::Ok)), "the head had come");
}

fn rule_of(server: &Server) -> String {
    rule("ok.test", server.port(), LOOPBACK)
}

/// A call that is stopped takes its exchanges along.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_breaks_off_its_exchanges() {
    let silent = Server::start(Manner::Silent).await;
    let (web, step) = facing(&silent).await;
    let steps = json!([step]).to_string();
    let call = web.world.call("requests", "run", json!({ "steps": steps }));
    let gone = tokio::time::timeout(Duration::from_millis(800), call).await;
    assert!(gone.is_err(), "it waits for ever");
    silent.wait_closed(1).await;
    let calls = async {
        loop {
            let logged = logged(&web.world.all_records());
            if let [Logged::Attempted(..), Logged::Ended(None, HostCallOutcome::Unknown)] = &logged[..] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), calls).await.expect("its outcome is recorded as unknown");
}
