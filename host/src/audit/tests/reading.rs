//! Reading all, a part, and the end; while it grows; over several segments; when it is damaged.

use std::io::Write as _;

use super::super::query::{ReadError, Reader};
use super::*;

async fn log_of(calls: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    for _ in 0..calls {
        whole_call(&log).await.expect("a call");
    }
    log.close().await.expect("a clean close");
    folder
}

fn seqs(reader: impl Iterator<Item = Result<Record, ReadError>>) -> Vec<u64> {
    reader.map(|record| record.expect("a log that reads well").seq.0).collect()
}

/// Cuts the one segment of a log into several, each of `lines` lines.
fn split(folder: &Path, lines: usize) {
    let text = fs::read_to_string(first_segment(folder)).expect("a segment");
    let all: Vec<_> = text.split_inclusive('\n').collect();
    for (index, part) in all.chunks(lines).enumerate() {
        fs::write(folder.join(format!("{:020}.jsonl", index * lines)), part.concat()).expect("a segment");
    }
}

#[tokio::test]
async fn a_log_is_read_whole_from_a_place_and_by_call() {
    for segment_lines in [1000, 7, 1] {
        let folder = log_of(5).await;
        split(folder.path(), segment_lines);
        let all = numbered_records(folder.path());
        assert_eq!(all.len(), 32);
        for from in [0, 1, 6, 7, 8, 31, 32, 99] {
            let filter = Filter { from: Some(Sequence(from)), ..Filter::default() };
            assert_eq!(seqs(query::read(folder.path(), filter)), (from..32).collect::<Vec<_>>());
        }
        let call = all[9].event.call().expect("a record of the second call");
        let filter = Filter { call: Some(call), ..Filter::default() };
        assert_eq!(seqs(query::read(folder.path(), filter)), (7..13).collect::<Vec<_>>());
        let other = Filter { call: Some(CallId::generate()), ..Filter::default() };
        assert_eq!(seqs(query::read(folder.path(), other)), Vec::<u64>::new());
    }
}

#[tokio::test]
async fn the_last_records_are_found_from_the_end() {
    for segment_lines in [1000, 7, 1] {
        let folder = log_of(5).await;
        split(folder.path(), segment_lines);
        for count in [0, 1, 2, 7, 8, 31, 32, 33, 1000] {
            let reader = query::tail(folder.path(), count).expect("a tail");
            let first = 32_u64.saturating_sub(count as u64);
            assert_eq!(seqs(reader), (first..32).collect::<Vec<_>>(), "last {count}");
        }
    }
    let empty = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(seqs(query::tail(&empty.path().join("audit"), 5).expect("a tail")), Vec::<u64>::new());
}

#[tokio::test]
async fn the_last_records_are_found_across_blocks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let mut recorder = begin(&log).await.expect("a call");
    for _ in 0..100 {
        recorder.observe(host_call(Some(&"x".repeat(3000))), Instant::now()).expect("room");
    }
    recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("a finish");
    for count in [1_u64, 20, 21, 22, 50, 99, 103, 200] {
        let reader = query::tail(folder.path(), usize::try_from(count).expect("small")).expect("a tail");
        assert_eq!(seqs(reader), (103_u64.saturating_sub(count)..103).collect::<Vec<_>>(), "last {count}");
    }
    log.close().await.expect("a clean close");
}

#[tokio::test]
async fn a_reader_goes_on_when_the_log_grows_and_waits_for_whole_lines() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = log_of(1).await;
    let text = fs::read_to_string(first_segment(source.path())).expect("a segment");
    let lines: Vec<_> = text.split_inclusive('\n').collect();

    let mut readers =
        [query::read(folder.path(), Filter::default()), query::tail(folder.path(), 3).expect("ok")];
    let none = [Vec::<u64>::new(), Vec::new()];
    let ask = |readers: &mut [Reader; 2]| readers.each_mut().map(seqs);
    assert_eq!(ask(&mut readers), none, "no log yet");
    let mut file = fs::File::create(first_segment(folder.path())).expect("a segment");
    file.write_all(lines[0].as_bytes()).expect("a write");
    assert_eq!(ask(&mut readers), [vec![0], vec![0]]);
    let (half, rest) = lines[1].split_at(40);
    file.write_all(half.as_bytes()).expect("a write");
    assert_eq!(ask(&mut readers), none, "half a line is no record");
    file.write_all(rest.as_bytes()).expect("a write");
    assert_eq!(ask(&mut readers), [vec![1], vec![1]]);
    fs::write(folder.path().join(format!("{:020}.jsonl", 2)), lines[2..].concat()).expect("a segment");
    assert_eq!(ask(&mut readers), [(2..8).collect::<Vec<_>>(), (2..8).collect()]);
}

#[tokio::test]
async fn damage_is_named_and_ends_the_reading() {
    let folder = log_of(1).await;
    let path = first_segment(folder.path());
    let good = fs::read_to_string(&path).expect("a segment");
    let lines: Vec<_> = good.split_inclusive('\n').collect();
    let third = lines[..2].concat().len() as u64;
    let huge = format!("{}\n", "x".repeat(2 << 20));
    let bad: [(&str, String); 5] = [
        ("no JSON", lines[2].replace('{', "[")),
        ("unknown event", lines[2].replace("host_call", "host_cull")),
        ("left out", String::new()),
        ("twice", format!("{}{}", lines[1], lines[2])),
        ("too long", huge),
    ];
    for (name, line) in bad {
        let text = [lines[..2].concat(), line, lines[3..].concat()].concat();
        fs::write(&path, text).expect("a segment");
        let mut reader = query::read(folder.path(), Filter::default());
        assert_eq!(reader.by_ref().take(2).filter_map(Result::ok).count(), 2, "{name}");
        match reader.next() {
            Some(Err(ReadError::Damaged { offset, .. })) => assert_eq!(offset, third, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert!(reader.next().is_none(), "{name}: the end after an error");
    }
}

#[tokio::test]
async fn a_missing_segment_is_named() {
    let folder = log_of(2).await;
    split(folder.path(), 4);
    fs::remove_file(folder.path().join(format!("{:020}.jsonl", 4))).expect("a removal");
    let results: Vec<_> = query::read(folder.path(), Filter::default()).collect();
    assert_eq!(results.len(), 5);
    assert!(matches!(&results[4], Err(ReadError::Damaged { reason, .. }) if reason.contains("record 4")));
}
