//! Segments: begun, closed, compressed, dropped; the log stays one, readable and verified.

use std::path::PathBuf;
use std::time::Duration;

use super::super::event::DropReason;
use super::super::segment;
use super::signed::{key, public};
use super::*;
use crate::audit::AuditSettings;
use crate::audit::verify::{Verified, VerifyError, verify};

/// The longest that the archivist is waited for.
const SOON: Duration = Duration::from_secs(20);

pub(super) fn small() -> AuditSettings {
    AuditSettings { segment_bytes: 4_000, ..AuditSettings::default() }
}

fn options(settings: AuditSettings) -> LogOptions {
    LogOptions { settings, checkpoints: Some(key()), ..LogOptions::default() }
}

pub(super) fn opened(folder: &Path, settings: AuditSettings) -> Log {
    Log::open(folder, options(settings)).expect("a log that opens")
}

pub(super) fn verified(folder: &Path) -> Result<Verified, VerifyError> {
    verify(folder, &public(), None, |_| {})
}

pub(super) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    files.sort();
    files
}

/// What is in a folder now, in a folder of its own.
pub(super) fn copied(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for path in files(folder, "").into_iter().filter(|path| path.is_file()) {
        fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    copy
}

/// Waits until all closed segments are as `is_done` wants them.
pub(super) async fn until(folder: &Path, is_done: impl Fn(&Path) -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !is_done(folder) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", files(folder, ""));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) fn is_sealed(folder: &Path) -> bool {
    files(folder, ".jsonl").len() == 1 && files(folder, ".next").is_empty()
}

/// A log of several segments, all but the last compressed.
pub(super) async fn long_log(calls: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let log = opened(folder.path(), small());
    for _ in 0..calls {
        whole_call(&log).await.expect("recorded");
    }
    until(folder.path(), is_sealed).await;
    log.close().await.expect("closed");
    folder
}

#[tokio::test]
async fn closed_segments_are_compressed_and_the_log_is_one() {
    let folder = long_log(20).await;
    let sealed = files(folder.path(), ".jsonl.zst");
    assert!(sealed.len() > 3, "{sealed:?}");
    let records = numbered_records(folder.path());
    let of_calls = records.iter().filter(|record| record.event.context().is_some()).count();
    assert_eq!(of_calls, 20 * 6);
    let told = records.iter().filter(|record| matches!(record.event, Event::SegmentSealed { .. })).count();
    assert_eq!(told, sealed.len());
    let whole = verified(folder.path()).expect("verified");
    assert_eq!((whole.covered, whole.dropped), (records.len() as u64, None));

    // Each reading of a part: from a place, of a call, the last ones across files, the highest revision.
    let call = records.iter().find_map(|record| record.event.call()).expect("a call");
    let of_call = query::read(folder.path(), Filter { call: Some(call), ..Filter::default() });
    assert_eq!(of_call.count(), 6);
    let from = query::read(folder.path(), Filter { from: Some(Sequence(30)), ..Filter::default() });
    assert_eq!(from.count(), records.len() - 30);
    for count in [0, 1, 5, 60, records.len(), 1_000] {
        let last: Vec<_> =
            query::tail(folder.path(), count).expect("a tail").map(|r| r.expect("reads")).collect();
        assert_eq!(last, records[records.len() - count.min(records.len())..], "{count}");
    }

    // And it goes on.
    let log = opened(folder.path(), small());
    assert_eq!(log.opened_at(), Revision(3));
    whole_call(&log).await.expect("recorded");
    log.close().await.expect("closed");
    verified(folder.path()).expect("verified");
}

/// Standard tools read it: what `zstd` gives is the text that was there.
#[tokio::test]
async fn what_is_compressed_is_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = opened(folder.path(), AuditSettings { segment_bytes: u64::MAX, ..small() });
    for _ in 0..20 {
        whole_call(&log).await.expect("recorded");
    }
    log.close().await.expect("closed");
    let text = fs::read(first_segment(folder.path())).expect("text");
    // The next host finds that it is due, and the one before is closed.
    let log = opened(folder.path(), AuditSettings { segment_bytes: 1_000, ..small() });
    whole_call(&log).await.expect("recorded");
    until(folder.path(), is_sealed).await;
    log.close().await.expect("closed");
    let sealed = fs::File::open(&files(folder.path(), ".jsonl.zst")[0]).expect("a file");
    let read = zstd::decode_all(sealed).expect("zstd");
    assert_eq!(read[..text.len()], text);
}

#[tokio::test]
async fn an_old_segment_is_closed_when_the_next_record_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = AuditSettings { segment_age: Duration::from_millis(1), ..AuditSettings::default() };
    let log = opened(folder.path(), settings);
    tokio::time::sleep(Duration::from_millis(5)).await;
    log.append(added()).await.expect("recorded");
    log.close().await.expect("closed");
    let records = numbered_records(folder.path());
    assert!(records.iter().any(|record| matches!(record.event, Event::SegmentStarted { .. })), "{records:?}");
}

#[tokio::test]
async fn text_is_dropped_as_retention_says_and_old_checkpoints_still_hold() {
    let folder = long_log(10).await;
    let early = fs::read(folder.path().join("checkpoint")).expect("a checkpoint");
    let before = numbered_records(folder.path());
    let log = opened(folder.path(), AuditSettings { keep_bytes: Some(1_000), ..small() });
    for _ in 0..10 {
        whole_call(&log).await.expect("recorded");
    }
    let first = |folder: &Path| segment::list(folder).expect("segments")[0].first;
    until(folder.path(), |folder| is_sealed(folder) && first(folder) > Sequence(60)).await;
    log.close().await.expect("closed");
    let first = first(folder.path());
    let kept = records(folder.path());
    assert_eq!(kept[0].seq, first);
    let dropped: Vec<_> = kept
        .iter()
        .filter_map(|record| {
            let Event::TextDropped { through, because } = record.event else { return None };
            Some((through, because))
        })
        .collect();
    // What was recorded last may have been left to the next host.
    assert!(dropped.iter().any(|(through, _)| *through >= Sequence(first.0 - 1)), "{dropped:?}");
    assert!(dropped.iter().all(|(_, because)| *because == DropReason::Size), "{dropped:?}");

    let whole = verify(folder.path(), &public(), Some(&early), |_| {}).expect("verified");
    assert_eq!((whole.dropped, whole.earlier), (Some(first.0), Some(before.len() as u64)));

    // A crash now is mended without the text that is gone.
    let running = opened(folder.path(), small());
    whole_call(&running).await.expect("recorded");
    let crashed = copied(folder.path());
    running.close().await.expect("closed");
    let log = opened(crashed.path(), small());
    log.close().await.expect("closed");
    verified(crashed.path()).expect("verified");

    // What is gone is gone by the host's own word, or it is missed; and so are its hashes.
    let other = long_log(10).await;
    fs::remove_file(&segment::list(other.path()).expect("segments")[0].path).expect("removed");
    let missed = verified(other.path()).expect_err("missed");
    assert!(matches!(missed, VerifyError::TextMissing { .. }), "{missed}");
    fs::remove_file(folder.path().join("tree")).expect("removed");
    let missed = verified(folder.path()).expect_err("missed");
    assert!(matches!(missed, VerifyError::HashesMissing { .. }), "{missed}");
    let refused = Log::open(folder.path(), options(small())).expect_err("refused");
    assert!(matches!(refused, LogError::Damaged { .. }), "{refused}");
}

#[tokio::test]
async fn young_text_is_kept() {
    let folder = long_log(10).await;
    let first = segment::list(folder.path()).expect("segments")[0].first;
    let settings =
        AuditSettings { keep_age: Some(Duration::from_secs(3_600)), keep_bytes: Some(1 << 20), ..small() };
    let log = opened(folder.path(), settings);
    whole_call(&log).await.expect("recorded");
    until(folder.path(), is_sealed).await;
    log.close().await.expect("closed");
    assert_eq!(segment::list(folder.path()).expect("segments")[0].first, first);
}

#[tokio::test]
async fn old_text_is_dropped() {
    let folder = long_log(10).await;
    let log = opened(folder.path(), AuditSettings { keep_age: Some(Duration::from_millis(1)), ..small() });
    until(folder.path(), |folder| files(folder, ".jsonl.zst").is_empty()).await;
    log.close().await.expect("closed");
    let because = records(folder.path()).into_iter().find_map(|record| {
        let Event::TextDropped { because, .. } = record.event else { return None };
        Some(because)
    });
    assert_eq!(because, Some(DropReason::Age));
    verified(folder.path()).expect("verified");
}

/// Case 87 of closed segments: each flipped bit of a compressed file is noticed.
#[tokio::test]
async fn every_flipped_bit_of_a_compressed_file_is_noticed() {
    let folder = long_log(4).await;
    verified(folder.path()).expect("verified");
    let sealed = &files(folder.path(), ".jsonl.zst")[0];
    let whole = fs::read(sealed).expect("a file");
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(sealed, &flipped).expect("written");
        let error = verified(folder.path()).expect_err("noticed").to_string();
        assert!(error.contains(&*sealed.to_string_lossy()), "{at}: {error}");
    }
    for wrong in [&whole[..whole.len() - 1], &[&whole[..], b"more"].concat()] {
        fs::write(sealed, wrong).expect("written");
        verified(folder.path()).expect_err("noticed");
    }
    // The same text, compressed by somebody else.
    let text = zstd::decode_all(&whole[..]).expect("zstd");
    fs::write(sealed, zstd::encode_all(&text[..], 19).expect("zstd")).expect("written");
    let error = verified(folder.path()).expect_err("noticed");
    assert!(matches!(error, VerifyError::OtherFile { .. }), "{error}");
}

/// Case 91: a crash at any step of closing a segment.
#[tokio::test]
async fn a_segment_in_both_forms_or_half_compressed_is_compressed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = opened(folder.path(), small());
    for _ in 0..6 {
        whole_call(&log).await.expect("recorded");
    }
    until(folder.path(), is_sealed).await;
    log.close().await.expect("closed");
    let sealed = files(folder.path(), ".jsonl.zst")[0].clone();
    let plain = segment::path_of(folder.path(), Sequence(0));
    let bytes = fs::read(&sealed).expect("a file");
    let text = zstd::decode_all(&bytes[..]).expect("zstd");
    let half = sealed.with_added_extension("next");
    let states: [(&[u8], Option<&[u8]>); 3] =
        [(&text, Some(&bytes)), (&text, Some(&bytes[..20])), (&text, None)];
    for (text, compressed) in states {
        fs::write(&plain, text).expect("written");
        fs::write(&half, b"half").expect("written");
        match compressed {
            Some(bytes) => fs::write(&sealed, bytes).expect("written"),
            None => fs::remove_file(&sealed).expect("removed"),
        }
        verified(folder.path()).expect("the plain one counts");
        let log = opened(folder.path(), small());
        until(folder.path(), is_sealed).await;
        log.close().await.expect("closed");
        assert_eq!(numbered_records(folder.path())[1].seq, Sequence(1));
        verified(folder.path()).expect("verified");
    }
}

/// A call may run over many segments; the end that a crash keeps from it counts all its records.
#[tokio::test]
async fn a_call_that_a_crash_interrupts_is_known_from_the_segment_it_ended_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = opened(folder.path(), small());
    let mut running = begin(&log).await.expect("a call");
    let call = running.context().call;
    for _ in 0..10 {
        running.attempt(attempt("/x")).await.expect("an attempt");
        whole_call(&log).await.expect("recorded");
    }
    until(folder.path(), is_sealed).await;
    let crashed = copied(folder.path());
    drop((running, log));
    assert!(files(crashed.path(), ".jsonl.zst").len() > 3);
    // Damage in what a recovery need not read does not stop it; `verify` finds it.
    fs::write(&files(crashed.path(), ".jsonl.zst")[1], b"damaged").expect("written");
    let log = opened(crashed.path(), small());
    log.close().await.expect("closed");
    // Recovery's own records may have closed a segment.
    let segments = segment::list(crashed.path()).expect("segments");
    let from = Some(segments[segments.len() - 2].first);
    let from = query::read(crashed.path(), Filter { from, ..Filter::default() });
    let end = from.map(|record| record.expect("reads")).find_map(|record| {
        let Event::CallFinished { context, end } = record.event else { return None };
        (context.call == call).then_some(end)
    });
    let end = end.expect("its end");
    assert_eq!((end.outcome, end.records), (CallOutcome::Interrupted, 11));
    verified(crashed.path()).expect_err("damaged");
}

/// What can't be compressed is an alarm and a record, once, until it can be.
#[tokio::test]
async fn a_segment_that_cannot_be_compressed_is_recorded_once_and_so_is_its_recovery() {
    let folder = tempfile::tempdir().expect("a folder");
    // In the way of what the first segment would be compressed into.
    let in_the_way = segment::compressed_path_of(folder.path(), Sequence(0)).with_added_extension("next");
    fs::create_dir_all(&in_the_way).expect("made");
    let log = opened(folder.path(), small());
    let told = || {
        let events = records(folder.path()).into_iter().map(|record| record.event);
        let told =
            events.filter(|event| matches!(event, Event::SegmentsAlarm { .. } | Event::SegmentsRecovered));
        told.collect::<Vec<_>>()
    };
    let goes_on_until = async |is_done: &dyn Fn(&[Event]) -> bool| {
        let deadline = tokio::time::Instant::now() + SOON;
        while !is_done(&told()) {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", told());
            whole_call(&log).await.expect("the log goes on");
        }
    };
    goes_on_until(&|told| !told.is_empty()).await;
    assert!(log.alarm().is_some());
    // Some tries more.
    for _ in 0..20 {
        whole_call(&log).await.expect("recorded");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let [Event::SegmentsAlarm { reason }] = &told()[..] else { panic!("{:?}", told()) };
    assert!(reason.contains(".jsonl.zst.next"), "{reason}");
    fs::remove_dir(&in_the_way).expect("removed");
    goes_on_until(&|told| told.len() == 2).await;
    assert_eq!(told()[1], Event::SegmentsRecovered);
    assert_eq!(log.alarm(), None);
    log.close().await.expect("closed");
    verified(folder.path()).expect("verified");
}
