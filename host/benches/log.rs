//! What the log costs: records a second through the writer at each level, one buffered record to its caller, and how
//! fast a log is verified and asked. In one run; ratios are to the weakest level. Nothing here asserts a speed.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

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

#[tokio::main]
async fn main() {
    // As criterion's benchmarks do: only if the name that was given fits.
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if !names.iter().all(|name| "log".contains(name.as_str())) {
        return;
    }
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        for (index, durability) in Durability::ALL.into_iter().enumerate() {
            rates[index].push(calls_in_a_turn(durability).await);
        }
    }
    let relaxed = median(&mut rates[0]);
    println!("{CALLERS} callers, calls of {RECORDS} records, one of them an effect; median of {TURNS} turns");
    for (durability, rates) in Durability::ALL.into_iter().zip(&mut rates) {
        let rate = median(rates);
        println!("{durability}: {:.0} records/s, {:.2}x of relaxed", rate * RECORDS as f64, rate / relaxed);
    }
    println!("one buffered record: {:?} to its caller", buffered().await);
    let folder = tempfile::tempdir().expect("a folder");
    let records = long_log(folder.path()).await;
    let bytes = portcullis::audit::query::text_bytes(folder.path()).expect("measured");
    let begun = Instant::now();
    verify(folder.path(), &key().verifier().expect("a key"), None, |_| {}).expect("verified");
    let took = begun.elapsed();
    let gigabyte = took.as_secs_f64() * f64::from(1_u32 << 30) / bytes as f64;
    println!("verify: {records} records, {bytes} bytes in {took:?}: 1 GiB in {gigabyte:.1} s");
    alone().await;
    ask().await;
}

/// What the records of one call cost when nobody else calls. `cargo xtask bench call` measures whole calls and calls
/// on bare wasmtime, in one run as well: this is the part of the difference that is the log's.
async fn alone() {
    println!("one caller, calls of {RECORDS} records, one of them an effect; median of {ALONE} calls");
    let mut relaxed = None;
    for durability in Durability::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path(), AuditSettings::default());
        let mut took = Vec::new();
        for _ in 0..ALONE {
            let begun = Instant::now();
            record_call(&log, durability).await;
            took.push(begun.elapsed().as_secs_f64());
        }
        log.close().await.expect("closed");
        let took = median(&mut took);
        let ratio = took / *relaxed.get_or_insert(took);
        println!("{durability}: {:?} a call, {ratio:.2}x of relaxed", Duration::from_secs_f64(took));
    }
    let (folder, mut took) = (tempfile::tempdir().expect("a folder"), Vec::new());
    let log = open(folder.path(), AuditSettings::default());
    let recording = Recording { durability: Durability::Relaxed, ..Recording::default() };
    for _ in 0..100 * ALONE {
        let context = context();
        let begun = Instant::now();
        let recorder =
            log.begin_call(context, vec![GrantId(1)], 2, recording.clone()).await.expect("recorded");
        recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("recorded");
        took.push(begun.elapsed().as_secs_f64());
    }
    log.close().await.expect("closed");
    println!(
        "relaxed, a call without host calls: {:.3?} for its two records",
        Duration::from_secs_f64(median(&mut took))
    );
}

/// How fast questions are answered by the index, beside reading the log.
async fn ask() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), AuditSettings { segment_bytes: 16 << 20, ..AuditSettings::default() });
    let (mut calls, mut middle) = (0, None);
    while calls * RECORDS < ASKED_RECORDS {
        if calls * RECORDS * 2 >= ASKED_RECORDS && middle.is_none() {
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
    println!("index: {} records in {:?}", indexed.records, begun.elapsed());
    let principal = |name: &str| Some(name.parse().expect("a name"));
    let questions = [
        ("a call", Question { call: Some(call), ..Question::default() }, usize::MAX),
        ("a principal, 100 records", Question { principal: principal("bench"), ..Question::default() }, 100),
        (
            "a principal that has none",
            Question { principal: principal("nobody"), ..Question::default() },
            100,
        ),
        ("a time, 100 records", Question { since: Some(since), ..Question::default() }, 100),
    ];
    for (name, question, limit) in questions {
        let mut times = [Vec::new(), Vec::new()];
        for (way, times) in [Way::Index(index.clone()), Way::Read].into_iter().zip(&mut times) {
            for _ in 0..TURNS {
                let begun = Instant::now();
                let order = Order::OldestFirst;
                let mut search = Search::new(folder.path(), way.clone(), question.clone(), order, limit);
                while search.next().await.expect("answered").is_some() {}
                times.push(begun.elapsed().as_secs_f64());
            }
        }
        let [by_index, by_reading] = times.each_mut().map(|times| median(times));
        println!(
            "query by {name}: {:?} by the index, {:?} by reading, {:.4}x of that",
            Duration::from_secs_f64(by_index),
            Duration::from_secs_f64(by_reading),
            by_index / by_reading,
        );
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
        recorder.observe(read()).expect("room");
    }
    let seq = recorder.attempt(effect()).await.expect("recorded");
    recorder.effect_finished(seq, result());
    recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("recorded");
}

/// What one record without an effect costs who makes it.
async fn buffered() -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), AuditSettings::default());
    let mut took = Vec::new();
    for _ in 0..200 {
        let begun = log.begin_call(context(), vec![GrantId(1)], 2, Recording::default()).await;
        let mut recorder = begun.expect("recorded");
        let started = Instant::now();
        for _ in 0..BUFFERED {
            recorder.observe(read()).expect("room");
        }
        took.push((started.elapsed() / BUFFERED).as_secs_f64());
        recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("recorded");
    }
    log.close().await.expect("closed");
    Duration::from_secs_f64(median(&mut took))
}

/// Fills a log, of which the closed segments are compressed.
async fn long_log(folder: &Path) -> u64 {
    let settings = AuditSettings { segment_bytes: 64 << 20, ..AuditSettings::default() };
    let log = open(folder, settings);
    let mut calls = 0;
    while portcullis::audit::query::text_bytes(folder).expect("measured") < LONG_BYTES {
        for _ in 0..5_000 {
            record_call(&log, Durability::Relaxed).await;
        }
        calls += 5_000;
    }
    log.close().await.expect("closed");
    calls * RECORDS
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
