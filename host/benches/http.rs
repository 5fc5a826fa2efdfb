//! What a granted request costs through the gate, beside the same request by plain hyper, in one run.
//!
//! Both ask a server on loopback for a short answer over one connection that stays open, from a task on a worker
//! of the runtime. Ours is what a call with many requests takes more than a call with none, divided by their
//! number: judged, recorded before it leaves and when it ends, its body read through the gate. Whole calls, with
//! one request and with none, are measured beside that.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the guest that it measures")]

mod figures;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use portcullis::audit::AuditSettings;
use portcullis::authn::local_admin;
use portcullis::config::{DataFolder, Ownership};
use portcullis::gateway::{CallRequest, GrantsSource, Host, HostOptions};
use portcullis::policy::Durability;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use self::figures::{Aim, Figure, Figures, Unit, quick};

const AGENT: &str = "bench";
const REQUESTS: u32 = 100;

static HYPER: Mutex<Vec<u64>> = Mutex::new(Vec::new());
static OURS: Mutex<Vec<u64>> = Mutex::new(Vec::new());
static WITH_NONE: Mutex<Vec<u64>> = Mutex::new(Vec::new());
static WITH_ONE: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// A server on a thread of its own: no runtime of a client ever runs it.
fn server() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let serve = async move {
        let listener = TcpListener::from_std(listener).expect("a socket");
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket");
            let answer =
                |_| async { Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from("hello")))) };
            let service = hyper::service::service_fn(answer);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    };
    std::thread::spawn(move || runtime.block_on(serve));
    address
}

async fn plain(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("a socket");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

async fn get(sender: &mut SendRequest<Empty<Bytes>>, address: SocketAddr) {
    sender.ready().await.expect("open");
    let request = http::Request::get("/a").header("host", address.to_string()).body(Empty::new());
    let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
    assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "hello");
}

/// Our host, with the guest that sends requests.
struct Ours {
    host: Host,
    authority: String,
    _temporary: tempfile::TempDir,
}

impl Ours {
    async fn new(address: SocketAddr) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let Ownership::Ours(folder) = DataFolder::take(&temporary.path().join("data")).expect("usable")
        else {
            panic!("the folder is new");
        };
        let options = HostOptions {
            audit: AuditSettings { durability: Durability::Relaxed, ..AuditSettings::default() },
            ..HostOptions::default()
        };
        let host = Host::open(folder, options).await.expect("it opens");
        let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/requests.wasm");
        let bytes = Bytes::from(std::fs::read(guest).expect("run `cargo xtask guests`"));
        let name = || "requests".parse().expect("a name");
        host.add_package(&local_admin(), bytes, Some(name()), None, |_| {}).await.expect("registered");
        host.approve(&local_admin(), &name(), None).await.expect("approved");
        let text = format!(
            "[[grant]]\npackage = \"requests\"\nagents = [\"{AGENT}\"]\nlimits = {{ http_requests = 1_000 }}\n\
             [[grant.http]]\nhosts = [\"127.0.0.1\"]\nschemes = [\"http\"]\nports = [{}]\nmethods = [\"GET\"]\n\
             addresses = [\"127.0.0.1/32\"]\n",
            address.port()
        );
        let source = GrantsSource { file: "bench".into(), folder: temporary.path().into(), text };
        host.apply_grants(&local_admin(), &source).await.expect("granted");
        Self { host, authority: address.to_string(), _temporary: temporary }
    }

    /// How long a call with so many requests takes.
    async fn timed(&self, times: u32) -> Duration {
        let started = Instant::now();
        self.call(times).await;
        started.elapsed()
    }

    async fn call(&self, times: u32) {
        let steps = json!([{ "authority": self.authority, "path": "/a", "times": times }]).to_string();
        let request = CallRequest {
            principal: AGENT.parse().expect("a name"),
            package: "requests".parse().expect("a name"),
            tool: "run".parse().expect("a name"),
            argument_bytes: 64,
            arguments: json!({ "steps": steps }),
            trace: None,
            admission: Default::default(),
        };
        let answer = self.host.call(request).await.expect("it answers").answer.structured.unwrap_or_default();
        if times > 0 {
            assert_eq!(answer, json!(["200 5: hello"]));
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs on a worker of the runtime, as calls of a server do, and measures one piece of work each time.
fn measured<F>(
    runtime: &Runtime,
    iterations: u64,
    times: &'static Mutex<Vec<u64>>,
    work: impl Fn() -> F,
) -> Duration
where
    F: Future<Output = Duration> + Send + 'static,
{
    let mut total = Duration::ZERO;
    for _ in 0..iterations {
        let took = runtime.block_on(runtime.spawn(work())).expect("no panic");
        times.lock().expect("one thread").push(nanoseconds(took));
        total += took;
    }
    total
}

fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (address, ours, sender) = runtime.block_on(async {
        let address = server();
        (address, Arc::new(Ours::new(address).await), Arc::new(tokio::sync::Mutex::new(plain(address).await)))
    });
    criterion.bench_function("http/hyper_100", |bencher| {
        bencher.iter_custom(|iterations| {
            measured(&runtime, iterations, &HYPER, || {
                let sender = Arc::clone(&sender);
                async move {
                    let mut sender = sender.lock().await;
                    let started = Instant::now();
                    for _ in 0..REQUESTS {
                        get(&mut sender, address).await;
                    }
                    started.elapsed()
                }
            })
        });
    });
    criterion.bench_function("http/ours_100", |bencher| {
        bencher.iter_custom(|iterations| {
            measured(&runtime, iterations, &OURS, || {
                let ours = Arc::clone(&ours);
                async move {
                    let none = ours.timed(0).await;
                    ours.timed(REQUESTS).await.saturating_sub(none)
                }
            })
        });
    });
    for (name, requests, times) in [("none", 0, &WITH_NONE), ("one", 1, &WITH_ONE)] {
        criterion.bench_function(&format!("http/call_with_{name}"), |bencher| {
            bencher.iter_custom(|iterations| {
                measured(&runtime, iterations, times, || {
                    let ours = Arc::clone(&ours);
                    async move { ours.timed(requests).await }
                })
            });
        });
    }
    report();
}

/// Medians: of one request among many in a call, and of whole calls.
fn report() {
    let middle = |measured: &Mutex<Vec<u64>>, parts: u32| {
        let mut measured = measured.lock().expect("one thread").clone();
        measured.sort_unstable();
        measured.get(measured.len() / 2).map(|middle| *middle as f64 / f64::from(parts))
    };
    let mut figures = Figures::new();
    if let (Some(hyper), Some(ours)) = (middle(&HYPER, REQUESTS), middle(&OURS, REQUESTS)) {
        let figure = Figure::new("http/get_among_many", ours, Unit::Nanoseconds);
        figures.row(figure.beside("http/get_by_hyper", hyper).aim(Aim::RatioAtMost(1.5)));
    }
    if let (Some(none), Some(one)) = (middle(&WITH_NONE, 1), middle(&WITH_ONE, 1)) {
        let figure = Figure::new("http/call_with_one_get", one, Unit::Nanoseconds);
        figures.row(figure.beside("http/call_with_none", none));
    }
}

/// Shorter where it is only tried out.
fn criterion() -> Criterion {
    let (samples, seconds) = if quick() { (10, 1) } else { (30, 5) };
    let criterion = Criterion::default().sample_size(samples).warm_up_time(Duration::from_millis(500));
    criterion.measurement_time(Duration::from_secs(seconds))
}

criterion_group! {
    name = all;
    config = criterion();
    targets = benches
}
criterion_main!(all);
