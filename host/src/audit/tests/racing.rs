//! Reading while the archivist compresses and drops: what changes between two looks is found in its new form, or it is
//! said that it was dropped. The files are changed at a place that the test says, not by luck.

use std::path::PathBuf;

use super::super::index::LogIndex;
use super::super::query::ReadError;
use super::super::search::{Order, Question, Search, Way};
use super::super::segment::{self, Segment};
use super::segments::{copied, files, is_sealed, long_log, opened, small, until, verified};
use super::signed::public;
use super::*;
use crate::audit::AuditSettings;
use crate::audit::bundle::{self, Calls, Source};
use crate::audit::prove::{ProveError, prove_call};
use crate::audit::receipt::verify_receipt;
use crate::audit::verify::{VerifyError, verify};

/// A log whose text up to a record was dropped, and what was dropped.
struct Raced {
    folder: tempfile::TempDir,
    dropped: tempfile::TempDir,
    /// The first record whose text is kept in the end.
    kept: Sequence,
    /// How many records there are.
    size: u64,
}

impl Raced {
    async fn new() -> Self {
        let folder = long_log(12).await;
        let dropped = copied(folder.path());
        let first = |folder: &Path| segment::list(folder).expect("segments")[0].first;
        let log = opened(folder.path(), AuditSettings { keep_bytes: Some(1_500), ..small() });
        until(folder.path(), |folder| is_sealed(folder) && first(folder) > Sequence(20)).await;
        log.close().await.expect("closed");
        let kept = first(folder.path());
        for path in files(dropped.path(), "") {
            let segment =
                segment::list(dropped.path()).expect("segments").into_iter().find(|s| s.path == path);
            if segment.is_none_or(|segment| segment.first >= kept) {
                fs::remove_file(path).expect("removed");
            }
        }
        let size = numbered_from(folder.path(), kept);
        Self { folder, dropped, kept, size }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The text is there again, and not compressed.
    fn before(&self) {
        for path in
            files(self.dropped.path(), ".jsonl.zst").into_iter().chain(files(self.path(), ".jsonl.zst"))
        {
            let name = path.file_stem().expect("a name");
            let text = zstd::decode_all(&fs::read(&path).expect("a file")[..]).expect("zstd");
            fs::write(self.path().join(name), text).expect("written");
            if path.starts_with(self.path()) {
                fs::rename(&path, self.aside(&path)).expect("moved");
            }
        }
    }

    fn aside(&self, path: &Path) -> PathBuf {
        self.dropped.path().join(format!("aside-{}", path.file_name().expect("a name").to_string_lossy()))
    }

    /// Compresses all but the last, as the archivist does.
    fn compress(&self) {
        for path in files(self.path(), ".jsonl") {
            let name = path.with_added_extension("zst");
            let name = name.file_name().expect("a name");
            let own = [self.dropped.path().join(name), self.aside(&self.path().join(name))];
            if let Some(compressed) = own.iter().find(|path| path.exists()) {
                fs::copy(compressed, self.path().join(name)).expect("copied");
                fs::remove_file(path).expect("removed");
            }
        }
    }

    /// Drops the text of the first records, as retention does.
    fn drop_text(&self) {
        for segment in segment::list(self.path()).expect("segments") {
            if segment.first < self.kept {
                fs::remove_file(segment.path).expect("removed");
            }
        }
    }

    fn listed(&self) -> Vec<Segment> {
        segment::list(self.path()).expect("segments")
    }
}

fn numbered_from(folder: &Path, first: Sequence) -> u64 {
    first.0 + records(folder).len() as u64
}

fn seqs(reader: impl Iterator<Item = Result<Record, ReadError>>) -> Vec<u64> {
    reader.map(|record| record.expect("a log that reads well").seq.0).collect()
}

#[tokio::test]
async fn a_reader_goes_on_in_what_was_compressed_and_says_what_was_dropped() {
    let raced = Raced::new().await;
    raced.before();
    let mut reader = query::read(raced.path(), Filter::default());
    let first = seqs(reader.by_ref().take(3));
    raced.compress();
    assert!(raced.listed()[1].is_compressed);
    assert_eq!([first, seqs(reader)].concat(), (0..raced.size).collect::<Vec<_>>());

    raced.before();
    let mut reader = query::read(raced.path(), Filter::default());
    assert_eq!(seqs(reader.by_ref().take(3)), [0, 1, 2]);
    raced.compress();
    raced.drop_text();
    let read: Vec<_> = reader.by_ref().collect();
    let (last, before) = read.split_last().expect("an error at least");
    // The segment that is open is read to its end.
    let from = Sequence(3 + before.len() as u64);
    match last {
        Err(error @ ReadError::Dropped { from: said, first }) => {
            assert_eq!((*said, *first), (from, raced.kept), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(from < raced.kept);
    assert!(reader.next().is_none(), "the end after an error");
    // Begun anew, it begins with what is kept; and one that was between two segments that are kept goes on.
    assert_eq!(
        seqs(query::read(raced.path(), Filter::default())),
        (raced.kept.0..raced.size).collect::<Vec<_>>()
    );
    raced.before();
    let filter = Filter { from: Some(raced.kept), ..Filter::default() };
    let mut reader = query::read(raced.path(), filter);
    let first = seqs(reader.by_ref().take(1));
    raced.compress();
    raced.drop_text();
    assert_eq!([first, seqs(reader)].concat(), (raced.kept.0..raced.size).collect::<Vec<_>>());

    // What is missing in the midst is damage, whatever else is dropped.
    raced.before();
    let listed = raced.listed();
    let mut reader = query::read(raced.path(), Filter::default());
    reader.next().expect("one").expect("reads");
    fs::remove_file(&listed[1].path).expect("removed");
    let error = reader.find_map(Result::err).expect("an error");
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn the_end_of_a_log_is_found_though_segments_change_between_the_look_and_the_reading() {
    let raced = Raced::new().await;
    raced.before();
    let listed = raced.listed();
    let all = usize::try_from(raced.size).expect("small");
    let bytes = query::text_bytes_of(raced.path(), &listed).expect("a size");
    raced.compress();
    for count in [1, all - 1, all] {
        let from = raced.size - count as u64;
        let reader = query::tail_of(raced.path(), count, &listed).expect("found");
        assert_eq!(seqs(reader), (from..raced.size).collect::<Vec<_>>());
    }
    assert_eq!(query::text_bytes_of(raced.path(), &listed).expect("a size"), bytes);
    raced.drop_text();
    let reader = query::tail_of(raced.path(), all, &listed).expect("found");
    assert_eq!(seqs(reader), (raced.kept.0..raced.size).collect::<Vec<_>>());
    assert!(query::text_bytes_of(raced.path(), &listed).expect("a size") < bytes);
    // Of what was listed nothing is there any more: it is said, and `tail` looks anew.
    let gone: Vec<_> = listed.into_iter().filter(|segment| segment.first < raced.kept).collect();
    let error = query::tail_of(raced.path(), 5, &gone).expect_err("dropped");
    assert!(matches!(error, ReadError::Dropped { .. }), "{error}");
    // A file that is missing and was not dropped is an error of the disk.
    let mut other = raced.listed().remove(0);
    other.first = Sequence(raced.kept.0 + 1);
    other.path = segment::path_of(raced.path(), other.first);
    let error = query::tail_of(raced.path(), 5, &[other]).expect_err("missing");
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
}

#[tokio::test]
async fn a_log_is_verified_while_it_is_compressed_and_dropped() {
    let raced = Raced::new().await;
    // When the first line was read, the others are in segments that were listed and not opened.
    let while_read = |change: &dyn Fn()| {
        let mut lines = 0;
        verify(raced.path(), &public(), None, |_| {
            lines += 1;
            if lines == 1 {
                change();
            }
        })
    };
    raced.before();
    let whole = verified(raced.path()).expect("verified");
    assert_eq!((whole.dropped, whole.covered), (None, raced.size));
    assert_eq!(while_read(&|| raced.compress()).expect("verified"), whole);
    raced.before();
    let dropped = while_read(&|| raced.drop_text()).expect("verified");
    assert_eq!((dropped.dropped, dropped.covered), (Some(raced.kept.0), raced.size));
    raced.before();
    let both = || {
        raced.compress();
        raced.drop_text();
    };
    assert_eq!(while_read(&both).expect("verified").dropped, Some(raced.kept.0));

    // More than the host says is missing, or it is in the midst.
    raced.before();
    let error = while_read(&|| {
        raced.drop_text();
        fs::remove_file(&raced.listed()[0].path).expect("removed");
    });
    let error = error.expect_err("missed");
    assert!(matches!(error, VerifyError::TextMissing { .. }), "{error}");
    raced.before();
    let error =
        while_read(&|| fs::remove_file(&raced.listed()[1].path).expect("removed")).expect_err("missed");
    assert!(matches!(error, VerifyError::Changed { .. }), "{error}");
}

#[tokio::test]
async fn questions_are_answered_while_segments_change() {
    let raced = Raced::new().await;
    raced.before();
    let question = Question { event: Some("call_finished".to_owned()), ..Question::default() };
    let asked = async |way: &Way, change: &dyn Fn()| {
        let mut search = Search::new(raced.path(), way.clone(), question.clone(), Order::OldestFirst, 1_000);
        change();
        let mut found = Vec::new();
        while let Some(lines) = search.next().await? {
            found.extend(lines.into_iter().map(|line| line.seq));
        }
        Ok::<_, super::super::index::IndexError>(found)
    };
    let all = asked(&Way::Read, &|| {}).await.expect("found");
    assert_eq!(all.len(), 12);
    let kept: Vec<_> = all.iter().copied().filter(|seq| *seq >= raced.kept).collect();
    assert!(!kept.is_empty() && kept.len() < all.len());
    // The index was made of the text before.
    let index = LogIndex::open(raced.path()).await.expect("opened");
    index.catch_up(|_| {}).await.expect("indexed");
    let way = Way::Index(index.clone());
    assert_eq!(asked(&way, &|| raced.compress()).await.expect("found"), all);
    assert_eq!(asked(&way, &|| raced.drop_text()).await.expect("found"), kept);
    index.catch_up(|_| {}).await.expect("it follows");
    // While it is made: what is dropped by then is not in it.
    raced.before();
    index.rebuild(|_| {}).await.expect("made");
    let mut is_first = true;
    raced.before();
    index
        .rebuild(|_| {
            if std::mem::take(&mut is_first) {
                raced.compress();
                raced.drop_text();
            }
        })
        .await
        .expect("made");
    assert_eq!(asked(&way, &|| {}).await.expect("found"), kept);
    index.close().await;
}

#[tokio::test]
async fn proofs_and_bundles_are_made_while_segments_change_or_it_is_said_what_was_dropped() {
    let raced = Raced::new().await;
    raced.before();
    let calls: Vec<_> = records(raced.path())
        .into_iter()
        .filter_map(|record| {
            let Event::CallFinished { context, .. } = record.event else { return None };
            Some(context.call)
        })
        .collect();
    let last = *calls.last().expect("a call");
    let proved = |change: &dyn Fn()| {
        let mut lines = 0;
        prove_call(raced.path(), &public(), last, None, true, |_| {
            lines += 1;
            if lines == 1 {
                change();
            }
        })
    };
    let receipt = proved(&|| {}).expect("proved");
    assert_eq!(proved(&|| raced.compress()).expect("proved"), receipt);
    raced.before();
    let error = proved(&|| raced.drop_text()).expect_err("dropped");
    assert!(matches!(error, ProveError::Read(ReadError::Dropped { .. })), "{error}");

    raced.before();
    let reader = age::x25519::Identity::generate();
    let bundled = |change: &dyn Fn()| {
        let key = public();
        let source = Source {
            folder: raced.path(),
            key: &key,
            key_text: key.text(),
            packages: raced.path(),
            grants: &|_| Ok(Vec::new()),
            calls: Calls::Since(Timestamp::UNIX_EPOCH),
        };
        let mut lines = 0;
        bundle::write(&source, &reader.to_public().to_string(), Vec::new(), |_| {
            lines += 1;
            if lines == 1 {
                change();
            }
        })
    };
    assert_eq!(bundled(&|| raced.compress()).expect("written").calls, calls);
    raced.before();
    let error = bundled(&|| raced.drop_text()).expect_err("dropped").to_string();
    assert!(error.contains("was dropped while the log was read"), "{error}");
}

/// A host runs for longer than its text is kept: what it runs then can be proved all the same.
#[tokio::test]
async fn a_call_is_proved_though_the_text_of_its_hosts_start_was_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = opened(folder.path(), AuditSettings { keep_bytes: Some(1_500), ..small() });
    let first = |folder: &Path| segment::list(folder).expect("segments")[0].first;
    for _ in 0..12 {
        whole_call(&log).await.expect("recorded");
    }
    until(folder.path(), |folder| is_sealed(folder) && first(folder) > Sequence(20)).await;
    // While it runs, and after it has ended.
    let last = || {
        let ends = records(folder.path()).into_iter().filter_map(|record| {
            let Event::CallFinished { context, .. } = record.event else { return None };
            Some(context.call)
        });
        ends.last().expect("a call")
    };
    whole_call(&log).await.expect("recorded");
    let call = last();
    let proved = || prove_call(folder.path(), &public(), call, None, true, |_| {});
    // What was recorded last is signed a moment later.
    until(folder.path(), |_| !matches!(proved(), Err(ProveError::NotCovered { .. }))).await;
    let receipt = proved().expect("proved");
    assert_eq!(receipt.host.sequence, Sequence(0));
    let text = serde_json::to_vec(&receipt).expect("JSON");
    verify_receipt(&text, &public().into(), None).expect("verified");
    log.close().await.expect("closed");
    proved().expect("proved");
    assert!(query::parts(folder.path()).expect("parts").start.is_some(), "a backup has it");

    // What stands there is believed by nobody for standing there.
    let path = folder.path().join("start");
    let kept = fs::read_to_string(&path).expect("text");
    fs::write(&path, kept.replace("\"pid\":", "\"pid\":1")).expect("written");
    let error = proved().expect_err("refused");
    assert!(matches!(error, ProveError::Changed { record: Sequence(0) }), "{error}");
    for useless in ["", "{}", "x"] {
        fs::write(&path, useless).expect("written");
        let error = proved().expect_err("refused");
        assert!(matches!(error, ProveError::StartDropped { .. }), "{error}");
    }
    fs::remove_file(&path).expect("removed");
    let error = proved().expect_err("refused");
    assert!(matches!(error, ProveError::StartDropped { .. }), "{error}");
}
