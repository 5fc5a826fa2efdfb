//! What the index finds is what reading finds; and it is noticed when the two are not of each other.

use proptest::prelude::*;

use super::*;
use crate::audit::index::{IndexError, Indexed, LogIndex};
use crate::audit::search::{Order, Question, Search, Way};
use crate::audit::story::{STORY_RECORDS_MAX, tell};

/// A log with calls of two agents, one of them nested and one denied, and what admins did.
async fn some_log(folder: &Path) -> (Log, CallId, CallId) {
    let log = open(folder);
    log.append(added()).await.expect("recorded");
    for number in 0..3 {
        let mut recorder = begin(&log).await.expect("begun");
        for file in 0..4 {
            recorder
                .observe(host_call(Some(&format!("/notes/{number}/{file}"))), Instant::now())
                .expect("room");
        }
        let mut refused = host_call(Some("/etc/[passwd]"));
        refused.decision = Decision::Denied("no grant".into());
        refused.result = result(HostCallOutcome::Error("access".into()));
        recorder.observe(refused, Instant::now()).expect("room");
        let seq = recorder.attempt(attempt("/notes/a")).await.expect("attempted");
        recorder.effect_finished(seq, result(HostCallOutcome::Error("no-entry".into())));
        recorder.attempt(attempt("/notes/unfinished")).await.expect("attempted");
        recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("finished");
    }
    let (outer, inner) = (context(), context());
    let inner = Arc::new(CallContext {
        parent: Some(outer.call),
        principal: "bob".parse().expect("a name"),
        ..(*inner).clone()
    });
    let outer_call = outer.call;
    let inner_call = inner.call;
    let mut recorder =
        log.begin_call(outer, vec![GrantId(7)], 12, Recording::default()).await.expect("begun");
    let seq = recorder.attempt(attempt("notes read")).await.expect("attempted");
    let nested = log.begin_call(inner, vec![GrantId(8)], 1, Recording::default()).await.expect("begun");
    nested.finish(CallOutcome::Cancelled, Usage::default()).await.expect("finished");
    recorder.effect_finished(seq, result(HostCallOutcome::Ok));
    recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("finished");
    let denial = crate::policy::Denial::NotApproved { package: "evil".parse().expect("a name") };
    let denied = Event::CallDenied {
        call: CallId::generate(),
        principal: "bob".parse().expect("a name"),
        package: "evil".parse().expect("a name"),
        digest: None,
        tool: "search".parse().expect("a name"),
        revision: Revision(3),
        parent: None,
        denial,
    };
    log.append(denied).await.expect("recorded");
    (log, outer_call, inner_call)
}

async fn index_of(folder: &Path) -> LogIndex {
    let index = LogIndex::open(folder).await.expect("opened");
    index.catch_up(|_| {}).await.expect("indexed");
    index
}

async fn found(folder: &Path, way: Way, question: &Question, order: Order, limit: usize) -> Vec<String> {
    let mut search = Search::new(folder, way, question.clone(), order, limit);
    let mut found = Vec::new();
    while let Some(lines) = search.next().await.expect("found") {
        found.extend(lines.into_iter().map(|line| String::from_utf8(line.line).expect("text")));
    }
    found
}

/// What is found by the index is what is found by reading, in both orders; gives it.
async fn both(folder: &Path, index: &LogIndex, question: &Question) -> Vec<String> {
    let all = found(folder, Way::Read, question, Order::OldestFirst, usize::MAX).await;
    for limit in [1, 3, usize::MAX] {
        let some = &all[..all.len().min(limit)];
        let way = Way::Index(index.clone());
        assert_eq!(found(folder, way.clone(), question, Order::OldestFirst, limit).await, some);
        let newest: Vec<_> = all.iter().rev().take(limit).cloned().collect();
        assert_eq!(found(folder, way, question, Order::NewestFirst, limit).await, newest);
        assert_eq!(found(folder, Way::Read, question, Order::NewestFirst, limit).await, newest);
    }
    all
}

#[tokio::test]
async fn each_part_of_a_question_finds_its_records_by_the_index_and_by_reading() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path();
    let (log, outer, inner) = some_log(folder).await;
    let index = index_of(folder).await;
    let everything = both(folder, &index, &Question::default()).await;
    assert_eq!(everything.len(), numbered_records(folder).len());
    let lines: Vec<String> =
        fs::read_to_string(first_segment(folder)).expect("text").lines().map(str::to_owned).collect();
    assert_eq!(everything, lines, "the lines as they stand in the log");
    let question = Question::default;
    let text = |text: &str| Some(text.to_owned());
    let pattern = |text: &str| Some(text.parse().expect("a pattern"));
    for (question, count) in [
        (Question { call: Some(outer), ..question() }, 4),
        (Question { call: Some(inner), ..question() }, 2),
        (Question { principal: Some("bob".parse().expect("a name")), ..question() }, 3),
        (Question { principal: Some("root".parse().expect("a name")), ..question() }, 1),
        (Question { principal: Some("nobody".parse().expect("a name")), ..question() }, 0),
        (Question { package: Some("evil".parse().expect("a name")), ..question() }, 1),
        (Question { interface: pattern("wasi:clocks/*"), ..question() }, 15),
        (Question { interface: pattern("wasi:clocks/wall-clock"), ..question() }, 15),
        (Question { interface: pattern("wasi:clocks"), ..question() }, 0),
        (Question { function: pattern("[method]descriptor.unlink-file-?t"), ..question() }, 11),
        (Question { decision: text("denied"), ..question() }, 4),
        (Question { decision: text("denied"), interface: pattern("*"), ..question() }, 3),
        (Question { subject: pattern("/notes/*"), ..question() }, 21),
        (Question { subject: pattern("/notes/?/3"), ..question() }, 3),
        (Question { subject: pattern("/etc/[passwd]"), ..question() }, 3),
        (Question { subject: pattern("*[passwd]"), ..question() }, 3),
        (Question { subject: pattern("/etc/p"), ..question() }, 0),
        (Question { outcome: text("cancelled"), ..question() }, 1),
        (Question { outcome: text("error"), ..question() }, 6),
        // What came of an effect is found by what its attempt says.
        (
            Question {
                outcome: text("error"),
                subject: pattern("/notes/a"),
                decision: text("allowed"),
                ..question()
            },
            3,
        ),
        (Question { event: text("package_added"), ..question() }, 1),
        (Question { event: text("host_stopped"), ..question() }, 0),
    ] {
        assert_eq!(both(folder, &index, &question).await.len(), count, "{question:?}");
    }
    log.close().await.expect("closed");
}

#[tokio::test]
async fn a_time_is_kept_to_although_the_clock_was_set_back() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path();
    let seconds: Arc<std::sync::atomic::AtomicI64> = Arc::default();
    let clock = Arc::clone(&seconds);
    let clock: crate::audit::Clock = Arc::new(move || {
        Timestamp::from_second(clock.load(std::sync::atomic::Ordering::SeqCst)).expect("a time")
    });
    let log = Log::open(folder, LogOptions { clock, ..LogOptions::default() }).expect("opened");
    for second in [100, 200, 50, 300, 150] {
        seconds.store(second, std::sync::atomic::Ordering::SeqCst);
        log.append(added()).await.expect("recorded");
    }
    let index = index_of(folder).await;
    let at = |second| Some(Timestamp::from_second(second).expect("a time"));
    for (since, until, expected) in [
        (at(100), None, &[1, 2, 4, 5][..]),
        (at(150), at(300), &[2, 5]),
        (None, at(100), &[0, 3]),
        (at(301), None, &[]),
        (at(300), at(300), &[]),
    ] {
        let question = Question { since, until, ..Question::default() };
        let lines = both(folder, &index, &question).await;
        let sequences: Vec<u64> =
            lines.iter().map(|line| serde_json::from_str::<Record>(line).expect("a record").seq.0).collect();
        assert_eq!(sequences, expected, "{since:?} {until:?}");
    }
}

#[tokio::test]
async fn the_index_follows_the_log_however_many_follow_it() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path();
    let log = open(folder);
    let index = LogIndex::open(folder).await.expect("opened");
    let before = index.catch_up(|_| {}).await.expect("indexed");
    assert_eq!(before.records, 1);
    assert_eq!(index.catch_up(|_| {}).await.expect("indexed"), Indexed::default());
    let mut followers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let folder = folder.to_owned();
        followers.spawn(async move {
            let index = LogIndex::open(&folder).await.expect("opened");
            let mut indexed = 0;
            for _ in 0..20 {
                indexed += index.catch_up(|_| {}).await.expect("indexed").records;
                tokio::task::yield_now().await;
            }
            indexed
        });
    }
    for _ in 0..50 {
        whole_call(&log).await.expect("recorded");
    }
    let mut by_followers = 0;
    while let Some(indexed) = followers.join_next().await {
        by_followers += indexed.expect("no panic");
    }
    let rest = index.catch_up(|_| {}).await.expect("indexed").records;
    let records = numbered_records(folder).len();
    assert_eq!(usize::try_from(before.records + by_followers + rest).expect("few"), records, "each once");
    assert_eq!(both(folder, &index, &Question::default()).await.len(), records);
    assert_eq!(index.rebuild(|_| {}).await.expect("indexed").records, records as u64);
}

#[tokio::test]
async fn a_log_that_is_not_the_indexed_one_is_noticed() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path();
    let (log, ..) = some_log(folder).await;
    log.close().await.expect("closed");
    let index = index_of(folder).await;
    let text = fs::read_to_string(first_segment(folder)).expect("text");
    // The last line lost by a crash, and another in its place.
    let kept = &text[..text.trim_end().rfind('\n').expect("lines") + 1];
    fs::write(first_segment(folder), kept).expect("written");
    assert!(matches!(index.catch_up(|_| {}).await, Err(IndexError::Disagrees { .. })));
    let log = open(folder);
    log.close().await.expect("closed");
    assert!(matches!(index.catch_up(|_| {}).await, Err(IndexError::Disagrees { .. })));
    // A line that is not what was indexed is not shown as if it were.
    index.rebuild(|_| {}).await.expect("indexed");
    let text = fs::read_to_string(first_segment(folder)).expect("text");
    fs::write(first_segment(folder), text.replacen("/notes/0/0", "/notes/9/9", 1)).expect("written");
    let question =
        Question { subject: Some("/notes/0/0".parse().expect("a pattern")), ..Question::default() };
    let mut search = Search::new(folder, Way::Index(index.clone()), question.clone(), Order::OldestFirst, 9);
    assert!(matches!(search.next().await, Err(IndexError::Disagrees { .. })));
    assert_eq!(found(folder, Way::Read, &question, Order::OldestFirst, 9).await, Vec::<String>::new());
    // Nor one that stands elsewhere.
    fs::write(first_segment(folder), text.replacen("\"version\":\"", "\"version\":\"x", 1)).expect("written");
    let question = Question { event: Some("call_denied".into()), ..Question::default() };
    let mut search = Search::new(folder, Way::Index(index), question, Order::OldestFirst, 9);
    assert!(matches!(search.next().await, Err(IndexError::Disagrees { .. })));
}

#[tokio::test]
async fn an_index_that_is_no_database_is_an_error_and_not_an_answer() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path();
    let (log, ..) = some_log(folder).await;
    log.close().await.expect("closed");
    fs::write(folder.join("index.db"), "not a database, but long enough to be read as one ".repeat(20))
        .expect("written");
    assert!(matches!(LogIndex::open(folder).await, Err(IndexError::Database { .. })));
}

#[tokio::test]
async fn the_story_of_a_call_has_its_nested_calls_by_the_index_and_by_reading() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path();
    let (log, outer, inner) = some_log(folder).await;
    let index = Way::Index(index_of(folder).await);
    let by_index = tell(folder, &index, outer, STORY_RECORDS_MAX).await.expect("told").expect("known");
    let by_reading = tell(folder, &Way::Read, outer, STORY_RECORDS_MAX).await.expect("told").expect("known");
    assert_eq!(by_index, by_reading);
    assert_eq!((by_index.story.records.len(), by_index.story.calls.len(), by_index.is_cut), (4, 1, false));
    assert_eq!((by_index.story.calls[0].call, by_index.story.calls[0].records.len()), (inner, 2));
    let alone = tell(folder, &index, inner, STORY_RECORDS_MAX).await.expect("told").expect("known");
    assert_eq!(alone.story, by_index.story.calls[0]);
    let unknown = CallId::generate();
    assert_eq!(tell(folder, &index, unknown, STORY_RECORDS_MAX).await.expect("told"), None);
    assert_eq!(tell(folder, &Way::Read, unknown, STORY_RECORDS_MAX).await.expect("told"), None);
    log.close().await.expect("closed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// SQLite's patterns are ours: the index finds neither more nor less than reading does.
    #[test]
    fn patterns_of_subjects_mean_the_same_to_the_index(
        subjects in proptest::collection::vec("[a-c/*?\\[\\]^é]{0,5}", 1..12),
        patterns in proptest::collection::vec("[a-c/*?\\[\\]^é]{1,4}", 8),
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let temporary = tempfile::tempdir().expect("a temporary folder");
            let folder = temporary.path();
            let log = open(folder);
            let mut recorder = begin(&log).await.expect("begun");
            for subject in &subjects {
                recorder.observe(host_call(Some(subject)), Instant::now()).expect("room");
            }
            recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("finished");
            let index = index_of(folder).await;
            for pattern in patterns {
                let subject = Some(pattern.parse().expect("a pattern"));
                let question = Question { subject, ..Question::default() };
                let way = Way::Index(index.clone());
                let by_index = found(folder, way, &question, Order::OldestFirst, usize::MAX).await;
                let by_reading = found(folder, Way::Read, &question, Order::OldestFirst, usize::MAX).await;
                assert_eq!(by_index, by_reading, "{pattern}");
            }
        });
    }
}

/// Closed segments are compressed, and their text may be dropped: the index finds what is there.
#[tokio::test]
async fn the_index_finds_what_is_compressed_and_forgets_what_is_dropped() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path();
    let settings = crate::audit::AuditSettings { segment_bytes: 4_000, ..Default::default() };
    let options =
        |settings| LogOptions { settings, checkpoints: Some(super::signed::key()), ..LogOptions::default() };
    let files = |ending: &str| {
        let names = fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(ending)).count()
    };
    let until = async |is_done: &dyn Fn() -> bool| {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_done() {
            assert!(tokio::time::Instant::now() < deadline, "the archivist is late");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let log = Log::open(folder, options(settings.clone())).expect("opened");
    whole_call(&log).await.expect("recorded");
    let index = index_of(folder).await;
    for _ in 0..20 {
        whole_call(&log).await.expect("recorded");
    }
    until(&|| files(".jsonl") == 1 && files(".next") == 0 && files(".zst") > 3).await;
    // A segment that was closed by the last call is sealed while answers would be compared.
    log.close().await.expect("closed");
    index.catch_up(|_| {}).await.expect("indexed");
    let all = both(folder, &index, &Question::default()).await;
    assert_eq!(all.len(), numbered_records(folder).len());

    let settings = crate::audit::AuditSettings { keep_bytes: Some(1), ..settings };
    let log = Log::open(folder, options(settings)).expect("opened");
    for _ in 0..20 {
        whole_call(&log).await.expect("recorded");
    }
    until(&|| files(".jsonl") == 1 && files(".zst") <= 1).await;
    // So that nothing is dropped while answers are compared.
    log.close().await.expect("closed");
    index.catch_up(|_| {}).await.expect("indexed");
    let kept = both(folder, &index, &Question::default()).await;
    assert!(kept.len() < all.len(), "{} {}", kept.len(), all.len());
    let first: Record = serde_json::from_str(&kept[0]).expect("a record");
    assert!(first.seq.0 > 0, "{first:?}");
    let event = Some("segment_started".to_owned());
    let found = both(folder, &index, &Question { event, ..Question::default() }).await;
    assert_eq!(found[0], kept[0]);
}
