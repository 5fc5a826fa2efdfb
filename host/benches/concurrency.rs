//! Many calls at once, of the built program over HTTP: so many that compute, so many that wait for an answer that takes
//! 50 ms, a thousand that wait a second, and ten times as many as the host can do.
//!
//! The first three need other limits than the defaults, which [`LIMITS`] are; overload is measured at the defaults. The
//! client and the server that answers slowly share the cores with the host.

#![allow(clippy::print_stderr, reason = "progress is not a figure")]
#![allow(clippy::disallowed_methods, reason = "a benchmark works with files and sockets")]

mod figures;
mod served;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use figures::{Aim, Figure, Figures, Times, Unit, scaled};
use serde_json::json;
use served::{Served, request_with, run};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// What a host is told that is to have 4,096 calls wait at once: each has a connection from its caller and one to whom
/// it asks, so that 8,192 descriptors and some hundred are open.
const LIMITS: &str = "[limits]\nhost_concurrency = 4_096\nprincipal_concurrency = 4_096\n\
                      principal_queue = 4_096\nhost_queue = 4_096\npackage_connections = 4_096\n\
                      queue_time = \"60s\"\n";
/// A call's own, for the same.
const GRANTED: &str = "limits = { concurrency = 4_096, wall_time = \"60s\", fuel = 10_000_000_000 }\n";
/// Some ten microseconds of one core beside what any call takes.
const SHORT_ROUNDS: u64 = 5_000;
/// Some milliseconds of one core, in overload.
const LONG_ROUNDS: u64 = 2_000_000;
const OVERLOAD: u32 = 10;
/// Agents that overload the host together.
const AGENTS: usize = 4;
/// Nobody waits longer for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let parts = ["computing", "waiting", "a_thousand", "overload"];
    let is_asked = |part: &str| {
        chosen.is_empty()
            || chosen.iter().any(|name| "concurrency".contains(&**name) || part.contains(&**name))
    };
    let asked: Vec<&str> = parts.into_iter().filter(|part| is_asked(part)).collect();
    if asked.is_empty() {
        return;
    }
    let open_files = raise_open_files();
    let (mut figures, slow) = (Figures::new(), slow_server());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for part in asked {
        let data = Data::new(slow, if part == "overload" { "" } else { LIMITS });
        let served = Served::start(&data.folder);
        match part {
            "computing" => {
                let body = json!({ "rounds": SHORT_ROUNDS }).to_string();
                steps(&mut figures, &runtime, &data, &served, part, (COMPUTE, &body), None);
            }
            "waiting" => {
                let body = ask_slow(slow, 50);
                let wait = Some(Duration::from_millis(50));
                steps(&mut figures, &runtime, &data, &served, part, (ASK, &body), wait);
            }
            "a_thousand" => a_thousand(&mut figures, &runtime, &data, &served, slow),
            _ => overload(&mut figures, &runtime, &data, &served),
        }
        eprintln!("{part}: {} descriptors open of {open_files}", served.descriptors());
    }
}

const COMPUTE: &str = "/v1/calls?package=std-probe&tool=compute";
const ASK: &str = "/v1/calls?package=requests&tool=run";

/// As many as this process may: what it starts inherits that.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without it, fewer connections are had, and the benchmark says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A server on a thread of its own that answers after as many milliseconds as the path says.
fn slow_server() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let serve = async move {
        let listener = TcpListener::from_std(listener).expect("a socket");
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket");
            tokio::spawn(async move {
                let (mut stream, mut line) = (BufReader::new(stream), String::new());
                let mut wait = 0;
                loop {
                    line.clear();
                    if !stream.read_line(&mut line).await.is_ok_and(|bytes| bytes > 0) {
                        return;
                    }
                    if let Some(path) = line.strip_prefix("GET /") {
                        wait = path.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
                    } else if line == "\r\n" {
                        tokio::time::sleep(Duration::from_millis(wait)).await;
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                        if stream.get_mut().write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    };
    std::thread::spawn(move || runtime.block_on(serve));
    address
}

fn ask_slow(slow: std::net::SocketAddr, milliseconds: u64) -> String {
    let steps = json!([{ "authority": slow.to_string(), "path": format!("/{milliseconds}") }]).to_string();
    json!({ "steps": steps }).to_string()
}

/// A data folder with two packages that some agents may use.
struct Data {
    folder: PathBuf,
    keys: Vec<String>,
    _temporary: tempfile::TempDir,
}

impl Data {
    fn new(slow: std::net::SocketAddr, limits: &str) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = temporary.path().join("data");
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests");
        for name in ["requests", "std-probe"] {
            let file = guests.join(name).with_extension("wasm");
            run(&folder, &["package", "add", file.to_str().expect("text"), "--name", name]);
            run(&folder, &["package", "approve", name]);
        }
        std::fs::write(folder.join("limits.toml"), limits).expect("written");
        let agents: Vec<String> = (0..AGENTS).map(|number| format!("agent-{number}")).collect();
        let granted = if limits.is_empty() { "limits = { fuel = 10_000_000_000 }\n" } else { GRANTED };
        let grants = format!(
            "[[grant]]\npackage = \"std-probe\"\nagents = {agents:?}\n{granted}\
             [[grant]]\npackage = \"requests\"\nagents = {agents:?}\n{granted}\
             [[grant.http]]\nhosts = [\"127.0.0.1\"]\nschemes = [\"http\"]\nports = [{}]\nmethods = [\"GET\"]\n\
             addresses = [\"127.0.0.1/32\"]\n",
            slow.port()
        );
        let file = temporary.path().join("grants.toml");
        std::fs::write(&file, grants).expect("written");
        run(&folder, &["grant", "apply", file.to_str().expect("text")]);
        std::fs::write(folder.join("audit.toml"), "durability = \"relaxed\"\n").expect("written");
        let keys = agents.iter().map(|agent| run(&folder, &["key", "create", agent])).collect();
        Self { folder, keys, _temporary: temporary }
    }

    fn call(&self, agent: usize, target: &str, body: &str) -> Arc<[u8]> {
        request_with("POST", target, &self.keys[agent % self.keys.len()], "", body).into()
    }
}

/// Sends a request and reads its answer; its status.
async fn ask(stream: &mut BufReader<TcpStream>, request: &[u8]) -> std::io::Result<u16> {
    stream.get_mut().write_all(request).await?;
    let (mut status, mut length, mut line) = (0, 0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if status == 0 {
            status = line.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
        } else if let Some((name, value)) = line.split_once(": ") {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        } else if line == "\r\n" {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            return Ok(status);
        }
    }
}

async fn connect(port: u16) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    stream.set_nodelay(true).expect("a socket");
    BufReader::new(stream)
}

/// 1 to 4,096 connections, each of which asks again as soon as it is answered.
fn steps(
    figures: &mut Figures,
    runtime: &Runtime,
    data: &Data,
    served: &Served,
    name: &str,
    (target, body): (&str, &str),
    wait: Option<Duration>,
) {
    let request = data.call(0, target, body);
    let mut best = 0.0_f64;
    for connections in scaled(vec![1, 16, 64, 256, 1_024, 4_096], vec![1, 64]) {
        let (rate, times) = runtime.block_on(closed(served.port, connections, &request));
        let part = format!("concurrency/{name}/{connections}");
        let figure = Figure::new(format!("{part}/calls"), rate, Unit::PerSecond);
        let figure = match wait {
            Some(wait) => {
                figure.beside("if only the answer took time", f64::from(connections) / wait.as_secs_f64())
            }
            None => figure.beside("the most of fewer", best.max(rate)),
        };
        best = best.max(rate);
        figures.row(figure);
        figures.times(&part, &times, None, None);
        figures.row(Figure::new(format!("{part}/memory_peak"), served.resident(true) as f64, Unit::Bytes));
    }
}

/// Calls a second, and how long each took.
async fn closed(port: u16, connections: u32, request: &Arc<[u8]>) -> (f64, Times) {
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (mut stream, request, over) = (connect(port).await, Arc::clone(request), Arc::clone(&over));
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let started = Instant::now();
                let asked = tokio::time::timeout(ANSWER_TIME_MAX, ask(&mut stream, &request)).await;
                assert_eq!(asked.expect("in time").expect("answered"), 200);
                times.push((started, started.elapsed()));
            }
            times
        }));
    }
    // What is made once, such as a first connection of each, is not measured.
    tokio::time::sleep(scaled(Duration::from_secs(2), Duration::from_millis(100))).await;
    let from = Instant::now();
    tokio::time::sleep(scaled(Duration::from_secs(5), Duration::from_millis(300))).await;
    let until = Instant::now();
    over.store(true, Ordering::Relaxed);
    let (mut count, mut all) = (0_u64, Times::default());
    for task in tasks {
        for (started, took) in task.await.expect("no panic") {
            let ended = started + took;
            if ended > from && ended <= until {
                count += 1;
                all.push(took);
            }
        }
    }
    (count as f64 / (until - from).as_secs_f64(), all)
}

/// A thousand calls at once that each wait a second for an answer.
fn a_thousand(
    figures: &mut Figures,
    runtime: &Runtime,
    data: &Data,
    served: &Served,
    slow: std::net::SocketAddr,
) {
    let calls = scaled(1_000, 50);
    let (warm, request) = (data.call(0, ASK, &ask_slow(slow, 1)), data.call(0, ASK, &ask_slow(slow, 1_000)));
    let took = runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..calls {
            streams.push(connect(served.port).await);
        }
        assert_eq!(ask(&mut streams[0], &warm).await.expect("answered"), 200);
        let started = Instant::now();
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                let request = Arc::clone(&request);
                tokio::spawn(async move { ask(&mut stream, &request).await.expect("answered") })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), 200);
        }
        started.elapsed()
    });
    let name = "concurrency/1000_wait_for_1_s";
    let all = Figure::new(format!("{name}/all_done"), took.as_nanos() as f64, Unit::Nanoseconds);
    figures.row(all.beside("one answer", 1e9).aim(Aim::RatioAtMost(1.5)));
    let memory = Figure::new(format!("{name}/memory_peak"), served.resident(true) as f64, Unit::Bytes);
    figures.row(memory.aim(Aim::ValueAtMost(1e9)));
}

/// What came of calls that were begun at fixed moments, however long those before them took.
#[derive(Default)]
struct Came {
    done: AtomicU64,
    refused: AtomicU64,
    other: AtomicU64,
    late: AtomicU64,
}

/// First what the host does at most, then ten times that at fixed moments.
fn overload(figures: &mut Figures, runtime: &Runtime, data: &Data, served: &Served) {
    let body = json!({ "rounds": LONG_ROUNDS }).to_string();
    let requests: Vec<Arc<[u8]>> = (0..AGENTS).map(|agent| data.call(agent, COMPUTE, &body)).collect();
    // As many as there are places for one agent.
    let (peak, _) = runtime.block_on(closed(served.port, 16, &requests[0]));
    let before = (served.resident(false), served.descriptors());
    figures.row(Figure::new("concurrency/overload/peak", peak, Unit::PerSecond));
    let arrivals = peak * f64::from(OVERLOAD);
    let time = scaled(Duration::from_secs(20), Duration::from_secs(2));
    let (came, times, goodput) = runtime.block_on(open(served.port, &requests, arrivals, time));
    let refused = came.refused.load(Ordering::Relaxed) as f64 / time.as_secs_f64();
    let goodput = Figure::new("concurrency/overload/goodput", goodput, Unit::PerSecond);
    figures.row(goodput.beside("concurrency/overload/peak", peak).aim(Aim::RatioAtLeast(0.9)));
    figures.row(Figure::new("concurrency/overload/arrivals", arrivals, Unit::PerSecond));
    figures.row(Figure::new("concurrency/overload/refused", refused, Unit::PerSecond));
    figures.times("concurrency/overload/admitted", &times, None, None);
    let other = (came.other.load(Ordering::Relaxed), came.late.load(Ordering::Relaxed));
    eprintln!(
        "neither answered nor told to come again: {}; begun more than 0.1 s late by the client: {}",
        other.0, other.1
    );
    let (memory, descriptors) = (served.resident(true), served.descriptors());
    figures.row(
        Figure::new("concurrency/overload/memory_peak", memory as f64, Unit::Bytes)
            .beside("before it", before.0 as f64),
    );
    eprintln!("descriptors before it: {}, after it: {descriptors}", before.1);
}

async fn open(port: u16, requests: &[Arc<[u8]>], rate: f64, time: Duration) -> (Arc<Came>, Times, f64) {
    const TICK: Duration = Duration::from_millis(5);
    let came = Arc::new(Came::default());
    let free = Arc::new(std::sync::Mutex::new(Vec::<BufReader<TcpStream>>::new()));
    let took = Arc::new(std::sync::Mutex::new(Vec::<(Instant, Duration)>::new()));
    let (started, mut begun, mut tasks) = (Instant::now(), 0_u32, Vec::new());
    let mut of_agents = requests.iter().cycle();
    while started.elapsed() < time {
        tokio::time::sleep(TICK).await;
        loop {
            let planned = started + Duration::from_secs_f64(f64::from(begun) / rate);
            if planned > Instant::now() {
                break;
            }
            if planned.elapsed() > Duration::from_millis(100) {
                came.late.fetch_add(1, Ordering::Relaxed);
            }
            let request = Arc::clone(of_agents.next().expect("there are agents"));
            begun += 1;
            let (came, free, took) = (Arc::clone(&came), Arc::clone(&free), Arc::clone(&took));
            tasks.push(tokio::spawn(async move {
                let kept = free.lock().expect("no panic").pop();
                let mut stream = match kept {
                    Some(stream) => stream,
                    None => connect(port).await,
                };
                let count = match tokio::time::timeout(ANSWER_TIME_MAX, ask(&mut stream, &request)).await {
                    Ok(Ok(200)) => {
                        // From the moment that it was to begin, so that a slow client does not hide a wait.
                        took.lock().expect("no panic").push((Instant::now(), planned.elapsed()));
                        &came.done
                    }
                    Ok(Ok(429 | 503)) => &came.refused,
                    Ok(Ok(_) | Err(_)) | Err(_) => {
                        came.other.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                };
                count.fetch_add(1, Ordering::Relaxed);
                free.lock().expect("no panic").push(stream);
            }));
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let (from, until) = (started + time / 5, started + time);
    let (mut times, mut count) = (Times::default(), 0_u64);
    for (ended, took) in took.lock().expect("no panic").iter() {
        times.push(*took);
        if *ended > from && *ended <= until {
            count += 1;
        }
    }
    (came, times, count as f64 / (until - from).as_secs_f64())
}
