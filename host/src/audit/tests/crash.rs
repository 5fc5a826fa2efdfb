//! Killed at any byte: the longest valid prefix is kept, the rest is set aside, and nothing is lost.

use super::super::recovery::{self, Ending};
use super::*;

/// The bytes of a log that was killed in the midst of a second call, and its folder.
async fn killed() -> (tempfile::TempDir, Vec<u8>, CallId) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    whole_call(&log).await.expect("a call");
    let mut running = begin(&log).await.expect("a call");
    running.attempt(attempt("/notes/ä\n\u{1b}[31m")).await.expect("an attempt");
    let copy = snapshot(folder.path());
    let call = running.context().call;
    drop(running);
    log.close().await.expect("a clean close");
    let bytes = fs::read(first_segment(copy.path())).expect("a segment");
    (copy, bytes, call)
}

fn line_ends(bytes: &[u8]) -> Vec<usize> {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index + 1).collect()
}

/// A folder in memory where there is one: thousands of recoveries wait for a disk some ten thousand times.
pub(super) fn fast_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

#[tokio::test]
async fn a_log_cut_at_any_byte_keeps_every_whole_line() {
    let (_folder, bytes, _) = killed().await;
    let ends = line_ends(&bytes);
    assert_eq!(ends.len(), 9);
    for cut in 0..=bytes.len() {
        let folder = fast_folder();
        let path = first_segment(folder.path());
        fs::write(&path, &bytes[..cut]).expect("a segment");
        let recovered =
            recovery::recover(&crate::audit::disk::RealDisk, folder.path(), Timestamp::UNIX_EPOCH)
                .expect("a recovery");
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let valid = if whole == 0 { 0 } else { ends[whole - 1] };
        assert_eq!(recovered.next, Sequence(whole as u64), "cut at {cut}");
        assert_eq!(fs::read(&path).expect("a segment"), &bytes[..valid], "cut at {cut}");
        let Ending::Mended { torn_bytes, quarantine, interrupted } = recovered.ending else {
            panic!("cut at {cut}: {recovered:?}")
        };
        assert_eq!(torn_bytes, (cut - valid) as u64, "cut at {cut}");
        match quarantine {
            None => assert_eq!(cut, valid),
            Some(name) => {
                assert_eq!(fs::read(folder.path().join(name)).expect("kept"), &bytes[valid..cut]);
            }
        }
        // Records 1 to 6 are the first call, 7 and 8 the second.
        let expected: &[u64] = match whole {
            0 | 1 | 7 => &[],
            2..=6 => &[whole as u64 - 1],
            8 => &[1],
            _ => &[2],
        };
        let open: Vec<_> = interrupted.iter().map(|open| open.tree.size()).collect();
        assert_eq!(open, expected, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_killed_host_is_followed_by_one_that_says_so() {
    let (folder, bytes, call) = killed().await;
    let path = first_segment(folder.path());
    let torn = br#"{"seq":9,"time":"2026-"#;
    fs::write(&path, [&bytes[..], torn].concat()).expect("a segment");
    let log = open(folder.path());
    let next = whole_call(&log).await.expect("a call");
    assert_eq!(next, Some(Sequence(17)), "new records follow the mended log");
    log.close().await.expect("a clean close");

    let records = numbered_records(folder.path());
    assert!(fs::read(&path).expect("a segment").starts_with(&bytes), "what was acknowledged stays");
    assert_eq!(kinds(&records)[9..12], ["host_started", "recovered", "call_finished"]);
    let Event::Recovered { torn_bytes, quarantine: Some(name), interrupted } = &records[10].event else {
        panic!("{:?}", records[10])
    };
    assert_eq!(*torn_bytes, torn.len() as u64);
    assert_eq!(interrupted, &[call]);
    assert_eq!(fs::read(folder.path().join(name)).expect("kept"), torn);
    let Event::CallFinished { context, end } = &records[11].event else { panic!("{:?}", records[11]) };
    assert_eq!((context.call, &end.outcome, end.records), (call, &CallOutcome::Interrupted, 2));

    // The end was good, so the next start has nothing to say.
    let before = records.len();
    open(folder.path()).close().await.expect("a clean close");
    assert_eq!(kinds(&numbered_records(folder.path()))[before..], ["host_started", "host_stopped"]);
}

#[tokio::test]
async fn garbage_behind_a_log_is_set_aside_whatever_it_is() {
    let (_folder, bytes, _) = killed().await;
    let first = bytes[..line_ends(&bytes)[0]].to_vec();
    let mut random = vec![0; 5000];
    getrandom::fill(&mut random).expect("random numbers");
    let cases: [(&str, Vec<u8>); 8] = [
        ("random", random),
        ("zeros", vec![0; 4096]),
        ("a newline", b"\n".to_vec()),
        ("JSON, but no record", b"{}\n".to_vec()),
        ("an older record", first),
        ("a later record", String::from_utf8_lossy(&bytes).replace(r#"{"seq":8"#, r#"{"seq":10"#).into()),
        ("a line that is too long", vec![b'x'; (1 << 20) + 1]),
        ("the largest number", br#"{"seq":18446744073709551615,"time":"2026-01-01T00:00:00Z"}"#.to_vec()),
    ];
    for (name, garbage) in cases {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = [&bytes[..], &garbage[..]].concat();
        fs::write(first_segment(folder.path()), &text).expect("a segment");
        open(folder.path()).close().await.expect("a clean close");
        let records = numbered_records(folder.path());
        let Event::Recovered { torn_bytes, quarantine: Some(file), .. } = &records[10].event else {
            panic!("{name}: {:?}", records[10])
        };
        assert_eq!(*torn_bytes, garbage.len() as u64, "{name}");
        assert!(fs::read(folder.path().join(file)).expect("kept") == garbage, "{name}");
    }
}

#[tokio::test]
async fn garbage_behind_a_good_end_is_seen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    open(folder.path()).close().await.expect("a clean close");
    let path = first_segment(folder.path());
    let mut bytes = fs::read(&path).expect("a segment");
    bytes.extend_from_slice(b"x");
    fs::write(&path, bytes).expect("a segment");
    open(folder.path()).close().await.expect("a clean close");
    let kinds = kinds(&numbered_records(folder.path()));
    assert_eq!(kinds, ["host_started", "host_stopped", "host_started", "recovered", "host_stopped"]);
}

#[tokio::test]
async fn a_crash_right_after_the_segment_was_made_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(first_segment(folder.path()), b"").expect("a segment");
    open(folder.path()).close().await.expect("a clean close");
    assert_eq!(kinds(&numbered_records(folder.path())), ["host_started", "recovered", "host_stopped"]);
}

#[tokio::test]
async fn several_segments_are_one_log_and_only_the_last_is_ever_cut() {
    let (folder, bytes, call) = killed().await;
    let ends = line_ends(&bytes);
    // The second call begins in the second segment and is torn in the third.
    let parts = [&bytes[..ends[2]], &bytes[ends[2]..ends[7]], &bytes[ends[7]..bytes.len() - 3]];
    let names = [0, 3, 8].map(|first| folder.path().join(format!("{first:020}.jsonl")));
    for (name, part) in names.iter().zip(parts) {
        fs::write(name, part).expect("a segment");
    }
    open(folder.path()).close().await.expect("a clean close");
    let records = numbered_records(folder.path());
    assert_eq!(kinds(&records)[8..], ["host_started", "recovered", "call_finished", "host_stopped"]);
    assert_eq!(records[10].event.call(), Some(call));

    // Damage where no crash can have made it is refused, and nothing is changed.
    fs::write(&names[1], &parts[1][..100]).expect("a segment");
    let last = fs::read(&names[2]).expect("a segment");
    fs::write(&names[2], &last[..last.len() - 1]).expect("a segment");
    let error = Log::open(folder.path(), LogOptions::default()).expect_err("damage");
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&names[1]).expect("a segment"), &parts[1][..100]);
    assert_eq!(fs::read(&names[2]).expect("a segment"), &last[..last.len() - 1]);
}

#[tokio::test]
async fn a_tail_that_can_not_be_set_aside_is_not_cut_off() {
    let (folder, bytes, _) = killed().await;
    let path = first_segment(folder.path());
    let torn = &bytes[..bytes.len() - 1];
    fs::write(&path, torn).expect("a segment");
    fs::write(folder.path().join("quarantine"), b"a file in the way").expect("a file");
    let error = Log::open(folder.path(), LogOptions::default()).expect_err("no place for the tail");
    assert!(matches!(error, LogError::Io { .. }), "{error}");
    assert_eq!(fs::read(&path).expect("a segment"), torn);
}
