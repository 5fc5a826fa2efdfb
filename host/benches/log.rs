//! What the log costs: records a second through the writer at each level, one buffered record to its caller, and how
//! fast a log is verified and asked. In one run; ratios are to the weakest level. Nothing here asserts a speed.

mod figures;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::audit::event::{
    Attempt, CallContext, CallOutcome, Decision, HostCall, HostCallOutcome, HostCallResult,
};
use portcullis::audit::index::LogIndex;
use portcullis::audit::search::{Order, Question, Search, Way};
use portcullis::audit::verify::verify;
use portcullis::audit::{AuditSettings, CheckpointKey, Log, LogOptions, Recording};
use portcullis::ids::{CallId, GrantId, PackageDigest, Revision};
use portcullis::limits::Usage;
use portcullis::policy::Durability;

use self::figures::{Aim, Figure, Figures, Times, Unit, scaled, wanted};

const CALLERS: usize = 64;
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(1);
/// Of one call: admitted, reads, an effect's two, finished.
const READS: u64 = 8;
const RECORDS: u64 = READS + 4;
const BUFFERED: u32 = 400;
/// How many calls are recorded one after the other.
const ALONE: usize = 300;
/// How many records a log has that is asked.
const ASKED_RECORDS: u64 = 200_000;
/// How long a log that is verified grows.
const LONG_BYTES: u64 = 256 << 20;
/// So many are hashed for its floor.
const HASHED_BYTES: usize = 64 << 20;

#[tokio::main]
async fn main() {
    let mut figures = Figures::new();
    if wanted("levels") {
        levels(&mut figures).await;
    }
    if wanted("call") {
        buffered(&mut figures).await;
        alone(&mut figures).await;
    }
    if wanted("verify") {
        verified(&mut figures).await;
    }
    if wanted("query") {
        ask(&mut figures).await;
    }
}

/// Records a second, at each level, beside the weakest. Levels take turns.
async fn levels(figures: &mut Figures) {
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..scaled(TURNS, 1) {
        for (index, durability) in Durability::ALL.into_iter().enumerate() {
            rates[index].push(calls_in_a_turn(durability).await * RECORDS as f64);
        }
    }
    let relaxed = median(&mut rates[0]);
    for (durability, rates) in Durability::ALL.into_iter().zip(&mut rates) {
        let figure = Figure::new(format!("log/{durability}"), median(rates), Unit::PerSecond);
        let figure = figure.beside("log/relaxed", relaxed);
        // Decision 019.
        let aimed = durability == Durability::Committed;
        figures.row(if aimed { figure.aim(Aim::RatioAtLeast(0.7)) } else { figure });
    }
}

/// How fast a log is verified, beside hashing as many bytes.
async fn verified(figures: &mut Figures) {
    let folder = tempfile::tempdir().expect("a folder");
    long_log(folder.path()).await;
    let bytes = portcullis::audit::query::text_bytes(folder.path()).expect("measured");
    let begun = Instant::now();
    verify(folder.path(), &key().verifier().expect("a key"), None, |_| {}).expect("verified");
    let took = begun.elapsed().as_secs_f64();
    let gigabyte = took * f64::from(1_u32 << 30) / bytes as f64 * 1e9;
    let (zeros, begun) = (vec![0; HASHED_BYTES], Instant::now());
    std::hint::black_box(ring::digest::digest(&ring::digest::SHA256, &zeros));
    let hashed = begun.elapsed().as_secs_f64() * ((1 << 30) / HASHED_BYTES) as f64 * 1e9;
    let figure = Figure::new("log/verify_a_gibibyte", gigabyte, Unit::Nanoseconds);
    let figure = figure.beside("log/sha256_of_a_gibibyte", hashed);
    figures.row(figure.aim(Aim::ValueAtMost(20e9)));
}

/// What the records of one call cost when nobody else calls. `cargo xtask bench call` measures whole calls and calls
/// on bare wasmtime: this is the part of the difference that is the log's.
async fn alone(figures: &mut Figures) {
    let mut relaxed = None;
    for durability in Durability::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path(), AuditSettings::default());
        let mut times = Times::default();
        for _ in 0..scaled(ALONE, ALONE / 10) {
            times.of(record_call(&log, durability)).await;
        }
        log.close().await.expect("closed");
        let name = format!("log/records_of_a_call/{durability}");
        let floor = relaxed.as_ref().map(|floor| ("log/records_of_a_call/relaxed", floor));
        figures.times(&name, &times, floor, None);
        relaxed.get_or_insert(times);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (log, mut times) = (open(folder.path(), AuditSettings::default()), Times::default());
    let recording = Recording { durability: Durability::Relaxed, ..Recording::default() };
    for _ in 0..scaled(100 * ALONE, ALONE) {
        let (context, recording) = (context(), recording.clone());
        let records = async {
            let recorder = log.begin_call(context, vec![GrantId(1)], 2, recording).await.expect("recorded");
            recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("recorded");
        };
        times.of(records).await;
    }
    log.close().await.expect("closed");
    let floor = relaxed.as_ref().map(|floor| ("log/records_of_a_call/relaxed", floor));
    figures.times("log/records_of_a_call_without_host_calls", &times, floor, None);
}

/// How fast questions are answered by the index, beside reading the log.
async fn ask(figures: &mut Figures) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), AuditSettings { segment_bytes: 16 << 20, ..AuditSettings::default() });
    let (mut calls, mut middle) = (0, None);
    let asked_records = scaled(ASKED_RECORDS, ASKED_RECORDS / 20);
    while calls * RECORDS < asked_records {
        if calls * RECORDS * 2 >= asked_records && middle.is_none() {
            let own = context();
            middle = Some((own.call, jiff::Timestamp::now()));
            record(&log, own, Durability::Relaxed).await;
        } else {
            record_call(&log, Durability::Relaxed).await;
        }
        calls += 1;
    }
    log.close().await.expect("closed");
    let (call, since) = middle.expect("there is a middle");
    let index = LogIndex::open(folder.path()).await.expect("opened");
    let begun = Instant::now();
    let indexed = index.catch_up(|_| {}).await.expect("indexed");
    let each = begun.elapsed().as_secs_f64() / indexed.records as f64;
    figures.row(Figure::new("log/index_records", 1.0 / each, Unit::PerSecond));
    let principal = |name: &str| Some(name.parse().expect("a name"));
    let questions = [
        ("call", Question { call: Some(call), ..Question::default() }, usize::MAX),
        ("principal_100", Question { principal: principal("bench"), ..Question::default() }, 100),
        ("principal_that_has_none", Question { principal: principal("nobody"), ..Question::default() }, 100),
        ("time_100", Question { since: Some(since), ..Question::default() }, 100),
    ];
    for (name, question, limit) in questions {
        let mut times = [Times::default(), Times::default()];
        for (way, times) in [Way::Index(index.clone()), Way::Read].into_iter().zip(&mut times) {
            for _ in 0..scaled(TURNS, 1) {
                let order = Order::OldestFirst;
                let mut search = Search::new(folder.path(), way.clone(), question.clone(), order, limit);
                times.of(async { while search.next().await.expect("answered").is_some() {} }).await;
            }
        }
        let [by_index, by_reading] = times;
        let floor = (&*format!("log/query/{name}/by_reading"), &by_reading);
        figures.times(&format!("log/query/{name}"), &by_index, Some(floor), None);
    }
    index.close().await;
}

/// How many calls were recorded, by second.
async fn calls_in_a_turn(durability: Durability) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), AuditSettings::default());
    let begun = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while begun.elapsed() < TURN {
                    record_call(&log, durability).await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.expect("no panic");
    }
    // What is not on disk yet was not recorded.
    log.close().await.expect("closed");
    f64::from(calls) / begun.elapsed().as_secs_f64()
}

async fn record_call(log: &Log, durability: Durability) {
    record(log, context(), durability).await;
}

async fn record(log: &Log, context: Arc<CallContext>, durability: Durability) {
    let recording = Recording { durability, ..Recording::default() };
    let begun = log.begin_call(context, vec![GrantId(1)], 2, recording).await;
    let mut recorder = begun.expect("recorded");
    for _ in 0..READS {
        recorder.observe(read(), Instant::now()).expect("room");
    }
    let seq = recorder.attempt(effect()).await.expect("recorded");
    recorder.effect_finished(seq, result());
    recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("recorded");
}

/// What one record without an effect costs who makes it.
async fn buffered(figures: &mut Figures) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), AuditSettings::default());
    let mut times = Times::default();
    for _ in 0..200 {
        let begun = log.begin_call(context(), vec![GrantId(1)], 2, Recording::default()).await;
        let mut recorder = begun.expect("recorded");
        let started = Instant::now();
        for _ in 0..BUFFERED {
            recorder.observe(read(), Instant::now()).expect("room");
        }
        times.push(started.elapsed() / BUFFERED);
        recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("recorded");
    }
    log.close().await.expect("closed");
    figures.times("log/buffered_record", &times, None, Some(Aim::ValueAtMost(500.0)));
}

/// Fills a log, of which the closed segments are compressed.
async fn long_log(folder: &Path) {
    let settings = AuditSettings { segment_bytes: 64 << 20, ..AuditSettings::default() };
    let log = open(folder, settings);
    while portcullis::audit::query::text_bytes(folder).expect("measured")
        < scaled(LONG_BYTES, LONG_BYTES / 16)
    {
        for _ in 0..5_000 {
            record_call(&log, Durability::Relaxed).await;
        }
    }
    log.close().await.expect("closed");
}

fn key() -> CheckpointKey {
    CheckpointKey::new(&[7; 32]).expect("a key")
}

fn open(folder: &Path, settings: AuditSettings) -> Log {
    let options = LogOptions { settings, checkpoints: Some(key()), ..LogOptions::default() };
    Log::open(folder, options).expect("opened")
}

fn context() -> Arc<CallContext> {
    Arc::new(CallContext {
        call: CallId::generate(),
        principal: "bench".parse().expect("a name"),
        package: "notes".parse().expect("a name"),
        digest: PackageDigest::of(b"component"),
        tool: "search".parse().expect("a name"),
        revision: Revision(3),
        parent: None,
        trace: None,
    })
}

fn read() -> HostCall {
    HostCall {
        interface: Cow::Borrowed("wasi:clocks/wall-clock"),
        function: Cow::Borrowed("now"),
        subject: None,
        decision: Decision::Allowed(Cow::Borrowed("harmless")),
        result: result(),
        repeats: None,
        fuel: 0,
    }
}

fn effect() -> Attempt {
    Attempt {
        interface: Cow::Borrowed("wasi:filesystem/types"),
        function: Cow::Borrowed("[method]descriptor.unlink-file-at"),
        subject: Some("/notes/a".into()),
        decision: Decision::Allowed(Cow::Borrowed("grant 1 filesystem 0")),
        bytes_out: 0,
        fuel: 0,
    }
}

fn result() -> HostCallResult {
    HostCallResult { outcome: HostCallOutcome::Ok, status: None, bytes_in: 8, bytes_out: 0, duration_ns: 120 }
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
