//! One request and its answer, with peers that keep the protocol and peers that don't.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::{
    AnswerBody, CanonicalUrl, Client, EgressError, ExchangeBytes, ExchangeDeadlines, OutboundRequest, Phase,
    RequestFault, Resolver, Resolving, Roots, SentBody, Traffic,
};
use crate::limits::Limit;

const LONG: Duration = Duration::from_secs(20);

/// Every name is this machine.
#[derive(Debug, Default)]
struct Loopback(AtomicUsize);

impl Resolver for Loopback {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

fn client() -> Client {
    Client::new(Arc::new(Loopback::default()), Roots::Given(Vec::new()))
}

fn empty() -> SentBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(text: &'static str) -> SentBody {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

fn request(method: Method, url: &str) -> OutboundRequest {
    OutboundRequest {
        scope: Arc::from("a package, an agent"),
        url: CanonicalUrl::parse(url).expect("a URL"),
        method,
        headers: HeaderMap::new(),
        body: empty(),
        is_empty: true,
        granted: ["127.0.0.0/8".parse().expect("a CIDR")].into(),
        deadlines: ExchangeDeadlines::default(),
        traffic: Arc::new(Traffic::new(1 << 20, 1 << 20)),
        bytes: ExchangeBytes::default(),
        is_handed_over: Arc::default(),
    }
}

fn get(address: SocketAddr) -> OutboundRequest {
    request(Method::GET, &format!("http://ok.example:{}/path?q=1", address.port()))
}

/// Serves each connection with `serve`, which is told which one it is.
async fn server<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, count));
            count += 1;
        }
    });
    address
}

/// Reads one head.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(read).ok()
}

/// Answers every request on every connection with these bytes, then keeps silent.
async fn answering(bytes: &'static str) -> SocketAddr {
    server(move |mut stream, _| async move {
        while head(&mut stream).await.is_some() {
            let _ = stream.write_all(bytes.as_bytes()).await;
        }
    })
    .await
}

async fn whole(answer: Response<AnswerBody>) -> Result<(u16, String), EgressError> {
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn exchange(client: &Client, request: OutboundRequest) -> Result<(u16, String), EgressError> {
    whole(client.send(request).await?).await
}

#[tokio::test]
async fn the_judged_name_is_the_host_and_the_target_is_a_path() {
    let address = server(|mut stream, _| async move {
        while let Some(head) = head(&mut stream).await {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let mut sent = get(address);
    sent.headers.insert("x-own", HeaderValue::from_static("1"));
    let (bytes, traffic) = (sent.bytes.clone(), Arc::clone(&sent.traffic));
    let (status, text) = exchange(&client(), sent).await.expect("an answer");
    let expected =
        format!("GET /path?q=1 HTTP/1.1\r\nx-own: 1\r\nhost: ok.example:{}\r\n\r\n", address.port());
    assert_eq!((status, text.as_str()), (200, expected.as_str()));
    assert_eq!(traffic.bytes_in(), bytes.bytes_in());
    assert!(bytes.bytes_in() > text.len() as u64 && bytes.bytes_out() > 30, "{bytes:?}");
}

#[tokio::test]
async fn heads_that_would_change_framing_or_routing_are_not_sent() {
    let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = client();
    // Cases 56 and 57.
    for name in [
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "http2-settings",
    ] {
        let mut sent = get(address);
        sent.headers.insert(name, HeaderValue::from_static("x"));
        let refused = exchange(&client, sent).await;
        assert!(
            matches!(&refused, Err(EgressError::Request(RequestFault::ForbiddenField(found))) if found == name),
            "{name}: {refused:?}"
        );
    }
    for lengths in [&["5", "5"][..], &["+5"], &["5,5"], &[""], &["-1"], &["99999999999999999999"]] {
        let mut sent = get(address);
        for length in lengths {
            sent.headers.append("content-length", HeaderValue::from_static(length));
        }
        let refused = exchange(&client, sent).await;
        assert!(matches!(refused, Err(EgressError::Request(RequestFault::ContentLength))), "{refused:?}");
    }
    let refused = exchange(&client, request(Method::CONNECT, "http://ok.example/")).await;
    assert!(matches!(refused, Err(EgressError::Request(RequestFault::Connect))), "{refused:?}");
    let mut sent = get(address);
    sent.headers.insert("x-large", HeaderValue::from_str(&"x".repeat(32 << 10)).expect("a value"));
    let refused = exchange(&client, sent).await;
    assert!(matches!(refused, Err(EgressError::Request(RequestFault::HeadTooLarge))), "{refused:?}");
    let mut sent = get(address);
    for _ in 0..101 {
        sent.headers.append("x", HeaderValue::from_static("y"));
    }
    let refused = exchange(&client, sent).await;
    assert!(matches!(refused, Err(EgressError::Request(RequestFault::HeadTooLarge))), "{refused:?}");
    assert!(HeaderValue::from_bytes(b"a\r\nx: b").is_err(), "CR and LF are in no value");
}

#[tokio::test]
async fn answers_that_could_be_read_in_two_ways_are_refused() {
    let framing: &[&str] = &[
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\na",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
    ];
    for answer in framing {
        let got = exchange(&client(), get(answering(answer).await)).await;
        assert!(matches!(got, Err(EgressError::Framing(_))), "{answer:?}: {got:?}");
    }
    let malformed: &[&str] = &[
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\naa",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length : 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
        "nonsense\r\n\r\n",
        "\x16\x03\x01 \r\n\r\n",
    ];
    for answer in malformed {
        let got = exchange(&client(), get(answering(answer).await)).await;
        assert!(
            matches!(got, Err(EgressError::Framing(_) | EgressError::Protocol(_))),
            "{answer:?}: {got:?}"
        );
    }
    let trailers =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\ncontent-length: 9\r\n\r\n";
    let got = exchange(&client(), get(answering(trailers).await)).await;
    assert!(matches!(got, Err(EgressError::Framing(_))), "{got:?}");
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\na";
    let address = server(move |mut stream, _| async move {
        head(&mut stream).await;
        let _ = stream.write_all(short.as_bytes()).await;
    })
    .await;
    let got = exchange(&client(), get(address)).await;
    assert!(matches!(got, Err(EgressError::Incomplete | EgressError::Protocol(_))), "{got:?}");
}

#[tokio::test]
async fn large_heads_of_answers_are_refused() {
    let many: &'static str = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101)).leak();
    let large: &'static str = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(70_000)).leak();
    for answer in [many, large] {
        let got = exchange(&client(), get(answering(answer).await)).await;
        assert!(matches!(got, Err(EgressError::HeadTooLarge)), "{got:?}");
    }
}

#[tokio::test]
async fn every_step_has_a_deadline_and_dripping_does_not_feed_that_of_the_whole() {
    let soon = Duration::from_millis(150);
    let with = |address, change: fn(&mut ExchangeDeadlines)| {
        let mut sent = get(address);
        change(&mut sent.deadlines);
        sent
    };
    let silent = server(|mut stream, _| async move {
        head(&mut stream).await;
        tokio::time::sleep(LONG).await;
    })
    .await;
    let stops = server(|mut stream, _| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nab").await;
        tokio::time::sleep(LONG).await;
    })
    .await;
    let drips = server(|mut stream, _| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        while stream.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let cases = [
        (with(silent, |d| d.first_byte = Duration::from_millis(150)), Phase::FirstByte),
        (with(silent, |d| d.whole = Duration::from_millis(150)), Phase::Exchange),
        (with(stops, |d| d.between_bytes = Duration::from_millis(150)), Phase::BetweenBytes),
        (with(stops, |d| d.whole = Duration::from_millis(150)), Phase::Exchange),
        (with(drips, |d| d.whole = Duration::from_millis(150)), Phase::Exchange),
    ];
    for (sent, expected) in cases {
        let started = Instant::now();
        let got = exchange(&client(), sent).await;
        assert!(matches!(got, Err(EgressError::TimedOut { phase, .. }) if phase == expected), "{got:?}");
        assert!(started.elapsed() >= soon && started.elapsed() < LONG / 4, "{:?}", started.elapsed());
    }
    let mut sent = request(Method::GET, &format!("https://ok.example:{}/", silent.port()));
    sent.deadlines.connecting.handshake = soon;
    let got = exchange(&client(), sent).await;
    assert!(matches!(got, Err(EgressError::TimedOut { phase: Phase::Handshake, .. })), "{got:?}");
}

#[tokio::test]
async fn bytes_are_bounded_in_both_directions() {
    let endless = server(|mut stream, _| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n").await;
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    })
    .await;
    let sent = get(endless);
    let traffic = Arc::clone(&sent.traffic);
    let got = exchange(&client(), sent).await;
    let Err(EgressError::Limit(reached)) = got else { panic!("{got:?}") };
    assert_eq!((reached.limit, reached.max), (Limit::HttpBytesIn, 1 << 20));
    assert!(traffic.bytes_in() <= 1 << 20 && traffic.bytes_in() > 500_000, "{traffic:?}");

    let sink = server(|mut stream, _| async move {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let mut sent = request(Method::POST, &format!("http://ok.example:{}/", sink.port()));
    let chunks = futures_util::stream::repeat(()).map_to(Bytes::from_static(&[b'a'; 4096]));
    (sent.body, sent.is_empty) = (StreamBody::new(chunks).boxed_unsync(), false);
    let traffic = Arc::clone(&sent.traffic);
    let got = exchange(&client(), sent).await;
    let Err(EgressError::Limit(reached)) = got else { panic!("{got:?}") };
    assert_eq!((reached.limit, reached.max), (Limit::HttpBytesOut, 1 << 20));
    assert!(traffic.bytes_out() <= 1 << 20, "{traffic:?}");
}

/// A stream of the same part.
trait MapTo {
    fn map_to(self, part: Bytes) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, String>> + Send;
}

impl<S: futures_util::Stream + Send> MapTo for S {
    fn map_to(self, part: Bytes) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, String>> + Send {
        futures_util::StreamExt::map(self, move |_| Ok(Frame::data(part.clone())))
    }
}

#[tokio::test]
async fn a_body_is_sent_as_it_was_declared_or_not_at_all() {
    let echo = server(|stream, _| async move {
        let echo = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            let headers = format!("{:?}", request.headers().get("content-length"));
            let body = request.into_body().collect().await?.to_bytes();
            let text = format!("{headers} {}", String::from_utf8_lossy(&body));
            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(text))))
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), echo).await;
    })
    .await;
    let with = |method, length: Option<&'static str>, body: SentBody| {
        let mut sent = request(method, &format!("http://ok.example:{}/", echo.port()));
        if let Some(length) = length {
            sent.headers.insert("content-length", HeaderValue::from_static(length));
        }
        (sent.body, sent.is_empty) = (body, false);
        sent
    };
    let client = client();
    let stream = |part: &'static str| -> SentBody {
        let part = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(part.as_bytes())))]);
        StreamBody::new(part).boxed_unsync()
    };
    let cases = [
        (with(Method::POST, Some("3"), full("abc")), "Some(\"3\") abc"),
        (with(Method::POST, None, stream("abc")), "None abc"),
        (with(Method::GET, None, stream("abc")), "None abc"),
        (with(Method::GET, None, empty()), "None "),
        (with(Method::POST, Some("0"), empty()), "Some(\"0\") "),
    ];
    for (sent, expected) in cases {
        assert_eq!(exchange(&client, sent).await.expect("an answer"), (200, expected.to_owned()));
    }
    for sent in [
        with(Method::POST, Some("2"), stream("abc")),
        with(Method::POST, Some("4"), stream("abc")),
        with(Method::GET, Some("0"), stream("abc")),
        with(
            Method::POST,
            None,
            StreamBody::new(futures_util::stream::iter([Err("gone".into())])).boxed_unsync(),
        ),
    ] {
        let got = exchange(&client, sent).await;
        assert!(matches!(got, Err(EgressError::RequestBody(_))), "{got:?}");
    }
}

#[tokio::test]
async fn connections_are_used_again_within_their_scope_only() {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let address = server(move |mut stream, number| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            while head(&mut stream).await.is_some() {
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    })
    .await;
    let client = client();
    let with = |scope: &str, cidr: &str, name: &str| {
        let mut sent = get(address);
        sent.url = CanonicalUrl::parse(&format!("http://{name}:{}/", address.port())).expect("a URL");
        sent.scope = Arc::from(scope);
        sent.granted = [cidr.parse().expect("a CIDR")].into();
        sent
    };
    for (scope, cidr, name, connection) in [
        ("a", "127.0.0.0/8", "ok.example", "0"),
        ("a", "127.0.0.0/8", "ok.example", "0"),
        ("b", "127.0.0.0/8", "ok.example", "1"),
        ("a", "127.0.0.0/8", "other.example", "2"),
        ("a", "127.0.0.1/32", "ok.example", "0"),
    ] {
        let got = exchange(&client, with(scope, cidr, name)).await.expect("an answer");
        assert_eq!(got.1, connection, "{scope} {cidr} {name}");
    }
    // An open connection is not a way around a grant that is gone.
    let got = exchange(&client, with("a", "10.0.0.0/8", "ok.example")).await;
    assert!(matches!(got, Err(EgressError::Address(_))), "{got:?}");
    // What was not read to its end is closed.
    let answer = client.send(with("a", "127.0.0.0/8", "third.example")).await.expect("a head");
    drop(answer);
    let got = exchange(&client, with("a", "127.0.0.0/8", "third.example")).await.expect("an answer");
    assert_eq!(got.1, "4");
    assert_eq!(opened.load(Ordering::Relaxed), 5);
}

/// What waits for idle connections to be closed is one task, however often one is taken and given back.
#[tokio::test]
async fn many_requests_leave_no_tasks_behind() {
    let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = client();
    exchange(&client, get(address)).await.expect("an answer");
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..50 {
        exchange(&client, get(address)).await.expect("an answer");
    }
    assert!(tasks() <= before, "{} tasks, and {before} before", tasks());
}

#[tokio::test]
async fn a_connection_that_the_peer_closed_is_replaced() {
    let address = server(|mut stream, number| async move {
        head(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let client = client();
    for expected in ["0", "1", "2"] {
        assert_eq!(exchange(&client, get(address)).await.expect("an answer").1, expected);
    }
}

#[tokio::test]
async fn an_exchange_that_is_dropped_closes_its_connection() {
    let (told, mut closed) = tokio::sync::mpsc::channel(4);
    let address = server(move |mut stream, _| {
        let told = told.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\na").await;
            let _ = stream.read(&mut [0; 16]).await;
            let _ = told.send(()).await;
        }
    })
    .await;
    let client = client();
    let answer = client.send(get(address)).await.expect("a head");
    drop(answer);
    tokio::time::timeout(Duration::from_secs(2), closed.recv()).await.expect("closed soon").expect("told");
}

/// A server of TLS that speaks HTTP/2 and counts its connections.
async fn http2_server() -> (SocketAddr, CertificateDer<'static>, Arc<AtomicUsize>) {
    let made = rcgen::generate_simple_self_signed(["ok.example".to_owned()]).expect("a certificate");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let address = server(move |stream, _| {
        let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            count.fetch_add(1, Ordering::Relaxed);
            let echo =
                hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let text = format!("{} {} {:?} {}", head.method, head.uri, head.version, body.len());
                    Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(text))))
                });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), echo)
                .await;
        }
    })
    .await;
    (address, certificate, opened)
}

#[tokio::test]
async fn http2_is_spoken_where_the_peer_does_and_one_connection_carries_many_requests() {
    let (address, certificate, opened) = http2_server().await;
    let client = Client::new(Arc::new(Loopback::default()), Roots::Given(vec![certificate]));
    let url = format!("https://ok.example:{}/a?b=c", address.port());
    let mut sent = request(Method::POST, &url);
    (sent.body, sent.is_empty) = (full("abc"), false);
    let (status, text) = exchange(&client, sent).await.expect("an answer");
    assert_eq!((status, text), (200, format!("POST {url} HTTP/2.0 3")));
    let several = (0..8).map(|_| exchange(&client, request(Method::GET, &url)));
    for got in futures_util::future::join_all(several).await {
        assert_eq!(got.expect("an answer"), (200, format!("GET {url} HTTP/2.0 0")));
    }
    assert_eq!(opened.load(Ordering::Relaxed), 1);
    let mut other = request(Method::GET, &url);
    other.scope = Arc::from("another");
    exchange(&client, other).await.expect("an answer");
    assert_eq!(opened.load(Ordering::Relaxed), 2);
    let wrong = request(Method::GET, &format!("https://other.example:{}/", address.port()));
    let got = exchange(&client, wrong).await;
    assert!(matches!(got, Err(EgressError::Certificate(_))), "{got:?}");
}

#[tokio::test]
async fn what_is_compressed_stays_so() {
    let address =
        answering("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x0babc").await;
    let answer = client().send(get(address)).await.expect("a head");
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(answer.body().size_hint().exact(), Some(4));
}
