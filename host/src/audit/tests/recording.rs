//! What a call waits for, and what it keeps of repeated reads.

use super::super::event::Repeats;
use super::faults::{Plan, open_on};
use super::*;

async fn begin_as(log: &Log, durability: Durability, fold_reads: bool) -> Recorder {
    let recording = Recording { durability, fold_reads, ..Recording::default() };
    log.begin_call(context(), vec![GrantId(7)], 12, recording).await.expect("a call")
}

/// What the call's host-call records say: subject, count, bytes.
fn reads(folder: &Path) -> Vec<(String, u64, u64)> {
    let read = |record: Record| {
        if let Event::EffectAttempted { .. } = record.event {
            return Some(("effect".to_owned(), 0, 0));
        }
        let Event::HostCall { host_call: HostCall { subject, repeats, result, .. }, .. } = record.event
        else {
            return None;
        };
        let count = repeats.map_or(1, |Repeats { count, .. }| count);
        Some((subject.map_or_else(String::new, |subject| subject.to_string()), count, result.bytes_in))
    };
    numbered_records(folder).into_iter().filter_map(read).collect()
}

fn read_of(subject: &str) -> HostCall {
    let mut call = host_call(Some(subject));
    call.result.bytes_in = 8;
    call
}

async fn make_reads(log: &Log, fold_reads: bool) {
    let mut recorder = begin_as(log, Durability::Committed, fold_reads).await;
    for subject in ["/a", "/b", "/a", "/a"] {
        recorder.observe(read_of(subject), Instant::now()).expect("room");
    }
    let denied = HostCall { decision: Decision::Denied(Cow::Borrowed("no grant")), ..read_of("/a") };
    recorder.observe(denied.clone(), Instant::now()).expect("room");
    recorder.observe(denied, Instant::now()).expect("room");
    recorder.attempt(attempt("/x")).await.expect("an attempt");
    recorder.observe(read_of("/a"), Instant::now()).expect("room");
    recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("committed");
}

#[tokio::test]
async fn repeated_reads_are_one_record_where_a_grant_asks_for_it_and_nothing_else_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    make_reads(&log, true).await;
    log.close().await.expect("a clean close");
    let named = |subject: &str, count, bytes| (subject.to_owned(), count, bytes);
    let expected = [
        named("/a", 1, 8), // denied
        named("/a", 1, 8), // denied
        named("/a", 3, 24),
        named("/b", 1, 8),
        named("effect", 0, 0),
        named("/a", 1, 8),
    ];
    assert_eq!(reads(folder.path()), expected);
    let records = numbered_records(folder.path());
    let counted = records.iter().find_map(|record| {
        let Event::HostCall { host_call, .. } = &record.event else { return None };
        host_call.repeats.map(|repeats| (record.time, repeats.until))
    });
    assert!(counted.is_some_and(|(first, last)| first <= last), "its time is that of the first");
}

#[tokio::test]
async fn each_read_is_a_record_where_no_grant_asks_otherwise() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    make_reads(&log, false).await;
    log.close().await.expect("a clean close");
    assert_eq!(reads(folder.path()).len(), 8);
}

#[tokio::test]
async fn more_things_than_are_remembered_are_recorded_all_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let mut recorder = begin_as(&log, Durability::Committed, true).await;
    for number in 0..200 {
        recorder.observe(read_of(&format!("/{}", number % 40)), Instant::now()).expect("room");
    }
    recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("committed");
    log.close().await.expect("a clean close");
    let reads = reads(folder.path());
    assert_eq!(reads.iter().map(|(_, count, _)| count).sum::<u64>(), 200);
    assert_eq!(reads.iter().map(|(_, _, bytes)| bytes).sum::<u64>(), 1_600);
}

#[tokio::test]
async fn an_effect_waits_for_the_disk_only_at_the_strict_level() {
    for (durability, waits) in [(Durability::Committed, false), (Durability::Strict, true)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plan = Plan::new(5, usize::MAX);
        let log = open_on(folder.path(), &plan);
        let durable = log.subscribe_durable();
        let mut recorder = begin_as(&log, durability, false).await;
        plan.hold(true);
        let mut attempted = Box::pin(recorder.attempt(attempt("/x")));
        let moment = tokio::time::timeout(std::time::Duration::from_millis(300), &mut attempted).await;
        assert!(!waits || moment.is_err(), "{durability}: the disk has not answered yet");
        plan.hold(!waits);
        let seq = match moment {
            Ok(seq) => seq,
            Err(_) => attempted.as_mut().await,
        };
        let seq = seq.expect("an attempt");
        drop(attempted);
        assert_eq!(*durable.borrow() >= seq, waits, "{durability}");
        plan.hold(false);
        recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("committed");
        assert!(*durable.borrow() > seq);
    }
}
