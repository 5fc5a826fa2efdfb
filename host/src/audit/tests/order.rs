//! One order, no gaps, each call complete; the clock may do what it likes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::faults::{Plan, open_on};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_writers_give_one_order_without_gaps() {
    const CALLS: usize = 64;
    const READS: u64 = 700;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let mut tasks = Vec::new();
    for _ in 0..CALLS {
        let log = log.clone();
        tasks.push(tokio::spawn(async move {
            let mut recorder = begin(&log).await?;
            for number in 0..READS {
                recorder.observe(host_call(Some(&number.to_string())), Instant::now())?;
                if recorder.is_behind() {
                    recorder.flush().await?;
                }
            }
            let seq = recorder.attempt(attempt("/x")).await?;
            recorder.effect_finished(seq, result(HostCallOutcome::Ok));
            recorder.finish(CallOutcome::Ok, Usage::default()).await
        }));
    }
    let mut ends = Vec::new();
    for task in tasks {
        ends.push(task.await.expect("no panic").expect("the log takes it").expect("committed has a place"));
    }
    log.close().await.expect("a clean close");

    let records = numbered_records(folder.path());
    assert_eq!(records.len() as u64, 2 + CALLS as u64 * (READS + 4));
    let mut calls: BTreeMap<CallId, Vec<&Record>> = BTreeMap::new();
    for record in &records {
        if let Some(call) = record.event.call() {
            calls.entry(call).or_default().push(record);
        }
    }
    assert_eq!(calls.len(), CALLS);
    for records in calls.values() {
        check_call(records, READS);
    }
    for end in ends {
        let index = usize::try_from(end.0).expect("a small number");
        assert!(matches!(records[index].event, Event::CallFinished { .. }));
    }
}

/// Callers that must wait write by themselves, beside the writer's thread that hashes: the tree is that of the
/// lines, each call's too, and every checkpoint is one of its states.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_write_by_themselves_keep_one_order_and_one_tree() {
    const CALLERS: usize = 16;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = LogOptions { checkpoints: Some(signed::key()), ..LogOptions::default() };
    let log = Log::open(folder.path(), options).expect("opened");
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let log = log.clone();
            tokio::spawn(async move {
                for _ in 0..40 {
                    let mut recorder = begin(&log).await?;
                    for number in 0..3 {
                        recorder.observe(host_call(Some(&number.to_string())), Instant::now())?;
                        let seq = recorder.attempt(attempt(&caller.to_string())).await?;
                        recorder.effect_finished(seq, result(HostCallOutcome::Ok));
                    }
                    recorder.finish(CallOutcome::Ok, Usage::default()).await?;
                }
                Ok::<_, LogError>(())
            })
        })
        .collect();
    // Checkpoints as they come, each a state of the log that it ends with.
    let mut kept = Vec::new();
    while callers.iter().any(|caller| !caller.is_finished()) {
        kept.push(std::fs::read(crate::audit::checkpoint::path_of(folder.path())).expect("a checkpoint"));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for caller in callers {
        caller.await.expect("no panic").expect("the log takes it");
    }
    log.close().await.expect("a clean close");
    assert_eq!(numbered_records(folder.path()).len(), 2 + CALLERS * 40 * 11);
    kept.dedup();
    assert!(kept.len() > 1, "checkpoints are written while callers wait");
    for earlier in kept {
        let verified = crate::audit::verify::verify(folder.path(), &signed::public(), Some(&earlier), |_| {});
        verified.expect("the log holds");
    }
}

fn check_call(records: &[&Record], reads: u64) {
    assert!(matches!(records[0].event, Event::CallAdmitted { .. }));
    let mut subjects = Vec::new();
    let mut attempted = None;
    for record in records {
        if let Event::HostCall { host_call, .. } = &record.event {
            subjects.push(host_call.subject.as_ref().expect("a subject").parse::<u64>().expect("a number"));
        } else if let Event::EffectAttempted { .. } = &record.event {
            attempted = Some(record.seq);
        } else if let Event::EffectFinished { attempt, .. } = &record.event {
            assert_eq!(Some(*attempt), attempted);
        } else if let Event::CallFinished { end, .. } = &record.event {
            assert_eq!(end.records, reads + 3);
        } else {
            assert!(matches!(record.event, Event::CallAdmitted { .. }), "{record:?}");
        }
    }
    assert_eq!(subjects, (0..reads).collect::<Vec<_>>(), "in the order of the call");
    assert!(matches!(records[records.len() - 1].event, Event::CallFinished { .. }));
}

#[tokio::test]
async fn an_attempt_is_with_the_kernel_before_it_returns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let mut recorder = begin(&log).await.expect("a call");
    recorder.observe(host_call(None), Instant::now()).expect("room");
    let seq = recorder.attempt(attempt("/x")).await.expect("an attempt");
    let records = numbered_records(folder.path());
    assert_eq!(kinds(&records), ["host_started", "call_admitted", "host_call", "effect_attempted"]);
    assert_eq!(records[3].seq, seq);
    drop(recorder);
    log.close().await.expect("a clean close");
}

#[tokio::test]
async fn a_call_that_is_dropped_or_cancelled_is_closed_in_the_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let mut dropped = begin(&log).await.expect("a call");
    dropped.observe(host_call(None), Instant::now()).expect("room");
    drop(dropped);
    let usage = Usage { fuel: 5, ..Usage::default() };
    begin(&log).await.expect("a call").cancel(CallOutcome::Cancelled, usage.clone());
    log.close().await.expect("a clean close");

    let ends: Vec<_> = numbered_records(folder.path())
        .into_iter()
        .filter_map(|record| {
            let Event::CallFinished { end, .. } = record.event else { return None };
            Some((end.outcome, end.records, end.usage))
        })
        .collect();
    assert_eq!(
        ends,
        [(CallOutcome::Cancelled, 2, Usage::default()), (CallOutcome::Cancelled, 1, usage)],
        "one end each, the buffered record before it"
    );
}

#[tokio::test]
async fn a_wait_that_is_dropped_leaves_the_call_countable() {
    use futures_util::FutureExt as _;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(5, usize::MAX);
    let log = open_on(folder.path(), &plan);
    plan.hold_writes(true);
    let mut recorder = begin(&log).await.expect("a call");
    assert!(recorder.attempt(attempt("/x")).now_or_never().is_none(), "it waits for the writer");
    recorder.observe(host_call(None), Instant::now()).expect("room");
    let finish = recorder.finish(CallOutcome::Ok, Usage::default());
    assert!(finish.now_or_never().is_none(), "it waits for the disk");
    plan.hold_writes(false);
    log.close().await.expect("a clean close");
    let records = numbered_records(folder.path());
    assert_eq!(kinds(&records)[1..5], ["call_admitted", "effect_attempted", "host_call", "call_finished"]);
    let Event::CallFinished { end, .. } = &records[4].event else { panic!("{:?}", records[4]) };
    assert_eq!((end.records, &end.outcome), (3, &CallOutcome::Ok));
}

#[tokio::test]
async fn a_relaxed_end_is_on_disk_soon() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let mut durable = log.subscribe_durable();
    let recorder = begin_at(&log, Durability::Relaxed).await.expect("a call");
    let place = recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("room");
    assert_eq!(place, None);
    let wait = durable.wait_for(|seq| *seq >= Sequence(2));
    tokio::time::timeout(std::time::Duration::from_secs(10), wait).await.expect("soon").expect("a log");
    log.close().await.expect("a clean close");
}

#[tokio::test]
async fn a_clock_set_back_changes_neither_the_order_nor_the_last_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let time = |text: &str| text.parse::<Timestamp>().expect("a time");
    let (early, late) = (time("2026-01-01T00:00:00Z"), time("2027-01-01T00:00:00Z"));
    let now = Arc::new(Mutex::new(late));
    let clock = Arc::clone(&now);
    let options =
        LogOptions { clock: Arc::new(move || *clock.lock().expect("no panic")), ..LogOptions::default() };

    let log = Log::open(folder.path(), options.clone()).expect("a log that opens");
    *now.lock().expect("no panic") = early;
    whole_call(&log).await.expect("a call");
    assert_eq!(log.last_time(), late);
    let killed = snapshot(folder.path());
    log.close().await.expect("a clean close");
    for folder in [folder.path(), killed.path()] {
        // Once after a clean end, where only the tail is read, and once after a crash.
        let log = Log::open(folder, options.clone()).expect("a log that opens");
        assert_eq!(log.last_time(), late);
        whole_call(&log).await.expect("a call");
        log.close().await.expect("a clean close");
        let records = numbered_records(folder);
        assert!(records.iter().skip(1).all(|record| (early..late).contains(&record.time)));
    }
}

#[tokio::test]
async fn the_clock_is_read_once_a_second_for_the_host_calls_of_a_call() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let seconds = Arc::new(Mutex::new(Timestamp::from_second(100).expect("a time")));
    let clock = Arc::clone(&seconds);
    let clock: crate::audit::Clock = Arc::new(move || *clock.lock().expect("no panic"));
    let log = Log::open(folder.path(), LogOptions { clock, ..LogOptions::default() }).expect("opened");
    let mut recorder = begin(&log).await.expect("room");
    let ended = Instant::now();
    // Milliseconds after the first, and what a clock says that is set in between.
    let moments = [(0, 100), (999, 500), (1000, 50), (1400, 600), (900, 7), (1000, 8)];
    for (milliseconds, second) in moments {
        *seconds.lock().expect("no panic") = Timestamp::from_second(second).expect("a time");
        let ended = ended + Duration::from_millis(milliseconds);
        recorder.observe(host_call(Some(&milliseconds.to_string())), ended).expect("room");
    }
    recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("recorded");
    log.close().await.expect("a clean close");
    let times: Vec<i64> = numbered_records(folder.path())
        .iter()
        .filter(|record| matches!(record.event, Event::HostCall { .. }))
        .map(|record| record.time.as_millisecond())
        .collect();
    // A moment before the last read is no time to count on from: the clock is read.
    assert_eq!(times, [100_000, 100_999, 50_000, 50_400, 7_000, 7_100]);
}

#[tokio::test]
async fn a_closed_log_takes_nothing_and_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let clone = log.clone();
    log.close().await.expect("a clean close");
    assert!(matches!(clone.check(), Err(LogError::Closed)));
    assert!(matches!(clone.append(added()).await, Err(LogError::Closed)));
    assert!(matches!(begin(&clone).await, Err(LogError::Closed)));
    assert_eq!(kinds(&numbered_records(folder.path())), ["host_started", "host_stopped"]);
}

#[tokio::test]
async fn a_log_closed_under_a_running_call_does_not_claim_a_good_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let recorder = begin(&log).await.expect("a call");
    let call = recorder.context().call;
    assert!(matches!(log.close().await, Err(LogError::CallsRunning { calls: 1 })));
    drop(recorder);
    open(folder.path()).close().await.expect("a clean close");
    let records = numbered_records(folder.path());
    assert_eq!(
        kinds(&records),
        ["host_started", "call_admitted", "host_started", "recovered", "call_finished", "host_stopped"]
    );
    assert_eq!(records[4].event.call(), Some(call));
}

#[tokio::test]
async fn a_flood_is_handed_over_piece_by_piece_and_held_within_a_bound() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let mut recorder = begin(&log).await.expect("a call");
    let mut held_back = 0_u64;
    let mut observed = 0_u64;
    // Faster than the writer, so that the queue fills; the bound must then show.
    while held_back == 0 && observed < 5_000_000 {
        match recorder.observe(host_call(None), Instant::now()) {
            Ok(()) => {}
            Err(LogError::Overloaded) => {
                held_back += 1;
                recorder.flush().await.expect("the writer makes room");
                assert!(!recorder.is_behind());
            }
            Err(error) => panic!("{error}"),
        }
        observed += 1;
    }
    recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("a finish");
    log.close().await.expect("a clean close");
    assert_eq!(records(folder.path()).len() as u64, observed + 4, "none is lost");
}
