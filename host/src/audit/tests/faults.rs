//! Disks that are full, broken or slow: everything after is refused, and the next start mends.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::super::disk::{Disk, DiskFile, RealDisk};
use super::*;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// A file on a disk that fails when told to.
struct FailingFile {
    file: Arc<dyn DiskFile>,
    plan: Arc<Plan>,
}

/// Its disk.
pub(super) struct FailingDisk(Arc<Plan>);

impl FailingDisk {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FailingFile { file, plan: Arc::clone(&self.0) })
    }
}

impl Disk for FailingDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.create(path).map(|file| self.file(file))
    }

    fn append(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.append(path).map(|file| self.file(file))
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        RealDisk.truncate(path, length)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }
}

pub(super) struct Plan {
    /// Bytes that can still be written; then `write_error`.
    room: AtomicU64,
    write_error: i32,
    sync_fails: AtomicBool,
    syncs_after_failure: AtomicU64,
    /// Whether a sync waits.
    held: AtomicBool,
    /// Whether a write does.
    writes_held: AtomicBool,
    /// How long a sync takes.
    sync_takes_ms: AtomicU64,
    /// How long a write takes.
    write_takes_ms: AtomicU64,
    /// Writes by other threads than the log's.
    by_callers: AtomicU64,
    /// The most bytes that one write takes.
    write_max: usize,
}

impl Plan {
    /// Whether syncs wait until this is said anew.
    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    /// Whether writes wait until this is said anew.
    pub(super) fn hold_writes(&self, held: bool) {
        self.writes_held.store(held, Ordering::SeqCst);
    }

    pub(super) fn new(write_error: i32, write_max: usize) -> Arc<Self> {
        Arc::new(Self {
            room: AtomicU64::new(u64::MAX),
            write_error,
            sync_fails: AtomicBool::new(false),
            syncs_after_failure: AtomicU64::new(0),
            held: AtomicBool::new(false),
            writes_held: AtomicBool::new(false),
            sync_takes_ms: AtomicU64::new(0),
            write_takes_ms: AtomicU64::new(0),
            by_callers: AtomicU64::new(0),
            write_max,
        })
    }
}

impl DiskFile for FailingFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        wait_while(&self.plan.writes_held);
        std::thread::sleep(Duration::from_millis(self.plan.write_takes_ms.load(Ordering::SeqCst)));
        if std::thread::current().name() != Some("audit-writer") {
            self.plan.by_callers.fetch_add(1, Ordering::SeqCst);
        }
        let room = usize::try_from(self.plan.room.load(Ordering::SeqCst)).unwrap_or(usize::MAX);
        let count = bytes.len().min(room).min(self.plan.write_max);
        if count == 0 {
            return Err(io::Error::from_raw_os_error(self.plan.write_error));
        }
        let written = self.file.write(&bytes[..count])?;
        self.plan.room.fetch_sub(written as u64, Ordering::SeqCst);
        Ok(written)
    }

    fn sync(&self) -> io::Result<()> {
        wait_while(&self.plan.held);
        std::thread::sleep(Duration::from_millis(self.plan.sync_takes_ms.load(Ordering::SeqCst)));
        if self.plan.sync_fails.load(Ordering::SeqCst) {
            self.plan.syncs_after_failure.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.file.sync()
    }
}

fn wait_while(held: &AtomicBool) {
    while held.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn disk(plan: &Arc<Plan>) -> Arc<dyn Disk> {
    Arc::new(FailingDisk(Arc::clone(plan)))
}

pub(super) fn open_on(folder: &Path, plan: &Arc<Plan>) -> Log {
    Log::open_with(folder, LogOptions::default(), disk(plan)).expect("a log that opens")
}

/// Everything that can be asked of a log is refused, with the reason.
async fn refuses_everything(log: &Log, reason: &str) {
    let errors = [
        log.check().err(),
        log.append(added()).await.err(),
        begin(log).await.err(),
        log.clone().close().await.err(),
    ];
    for error in errors {
        let error = error.expect("a poisoned log refuses");
        assert!(matches!(error, LogError::Poisoned { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_full_or_broken_disk_refuses_everything_after_and_the_next_start_mends() {
    for (code, reason) in [(ENOSPC, "No space left"), (EIO, "Input/output error")] {
        for room in [0, 1, 100, 500] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let plan = Plan::new(code, usize::MAX);
            let log = open_on(folder.path(), &plan);
            whole_call(&log).await.expect("a disk that works");
            let mut running = begin(&log).await.expect("a call");
            running.flush().await.expect("room");
            running.attempt(attempt("/before")).await.expect("an attempt");
            plan.room.store(room, Ordering::SeqCst);

            let error =
                running.attempt(attempt(&"x".repeat(600))).await.expect_err("no effect without its record");
            assert!(matches!(error, LogError::Poisoned { .. }), "{error}");
            assert!(running.observe(host_call(None), Instant::now()).is_err());
            assert!(running.flush().await.is_err());
            let finish = running.finish(CallOutcome::Ok, Usage::default()).await;
            assert!(matches!(finish, Err(LogError::Poisoned { .. })), "the answer does not leave");
            refuses_everything(&log, reason).await;
            drop(log);

            let log = open(folder.path());
            whole_call(&log).await.expect("a mended log");
            log.close().await.expect("a clean close");
            let kinds = kinds(&numbered_records(folder.path()));
            assert_eq!(
                kinds[7..12],
                ["call_admitted", "effect_attempted", "host_started", "recovered", "call_finished"]
            );
        }
    }
}

/// Attempts, until a caller has written one by itself: how many it took.
async fn attempts_until_a_caller_writes(call: &mut Recorder, plan: &Plan) -> u32 {
    const MAX: u32 = 2_000;
    let before = plan.by_callers.load(Ordering::SeqCst);
    for count in 1..=MAX {
        call.attempt(attempt("/a")).await.expect("an attempt");
        if plan.by_callers.load(Ordering::SeqCst) > before {
            return count;
        }
    }
    panic!("{MAX} attempts were left to the log's thread");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_leave_writes_to_the_thread_while_they_are_slow_and_no_longer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(EIO, usize::MAX);
    let log = open_on(folder.path(), &plan);
    let told = Arc::clone(&plan);
    // On a worker of the runtime, as calls are.
    let attempts = tokio::spawn(async move {
        let mut call = begin(&log).await.expect("a call");
        attempts_until_a_caller_writes(&mut call, &told).await;
        told.write_takes_ms.store(5, Ordering::SeqCst);
        attempts_until_a_caller_writes(&mut call, &told).await;
        let before = told.by_callers.load(Ordering::SeqCst);
        for _ in 0..10 {
            call.attempt(attempt("/a")).await.expect("an attempt");
        }
        assert_eq!(told.by_callers.load(Ordering::SeqCst), before, "each write is slow");
        told.write_takes_ms.store(0, Ordering::SeqCst);
        let count = attempts_until_a_caller_writes(&mut call, &told).await;
        assert!(count > 1, "one write that is quick says little");
        call.finish(CallOutcome::Ok, Usage::default()).await.expect("a disk that works");
        log.close().await.expect("a clean close");
    });
    attempts.await.expect("no panic");
}

#[tokio::test]
async fn a_failed_sync_is_never_tried_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(EIO, usize::MAX);
    let log = open_on(folder.path(), &plan);
    whole_call(&log).await.expect("a disk that works");
    plan.sync_fails.store(true, Ordering::SeqCst);
    let (one, two, three) = tokio::join!(whole_call(&log), whole_call(&log), log.append(added()));
    for error in [one.err(), two.err(), three.err()] {
        assert!(matches!(error, Some(LogError::Poisoned { .. })), "{error:?}");
    }
    plan.sync_fails.store(false, Ordering::SeqCst);
    refuses_everything(&log, "sync failed").await;
    assert_eq!(plan.syncs_after_failure.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failed_sync_of_records_that_nobody_waits_for_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(EIO, usize::MAX);
    let log = open_on(folder.path(), &plan);
    plan.sync_fails.store(true, Ordering::SeqCst);
    let recorder = begin_at(&log, Durability::Relaxed).await.expect("a call");
    recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("queued");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while log.check().is_ok() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    refuses_everything(&log, "sync failed").await;
}

#[tokio::test]
async fn a_disk_that_writes_a_few_bytes_at_a_time_is_only_slow() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open_on(folder.path(), &Plan::new(EIO, 7));
    whole_call(&log).await.expect("a call");
    log.close().await.expect("a clean close");
    assert_eq!(numbered_records(folder.path()).len(), 8);
}

#[tokio::test]
async fn a_disk_that_hangs_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(EIO, usize::MAX);
    let options = LogOptions { wait_max: Duration::from_millis(100), ..LogOptions::default() };
    let opened = Log::open_with(folder.path(), options, disk(&plan));
    let log = opened.expect("a log that opens");
    plan.sync_takes_ms.store(5000, Ordering::SeqCst);
    let started = std::time::Instant::now();
    let told = whole_call(&log).await;
    assert!(matches!(told, Err(LogError::Poisoned { .. })), "{told:?}");
    refuses_everything(&log, "did not answer").await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

/// A caller that writes by itself may be held up by the disk; nobody else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_that_hangs_holds_up_one_caller_at_most() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(EIO, usize::MAX);
    let options = LogOptions { wait_max: Duration::from_millis(100), ..LogOptions::default() };
    let log = Log::open_with(folder.path(), options, disk(&plan)).expect("a log that opens");
    plan.hold_writes(true);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move { whole_call(&log).await })
        })
        .collect();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while callers.iter().filter(|caller| caller.is_finished()).count() < 7 {
        assert!(std::time::Instant::now() < until, "they wait for the disk");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    refuses_everything(&log, "did not answer").await;
    plan.hold_writes(false);
    for caller in callers {
        let told = caller.await.expect("no panic");
        assert!(matches!(told, Err(LogError::Poisoned { .. })), "{told:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_on_a_failed_log_hurts_nobody() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(ENOSPC, usize::MAX);
    let log = open_on(folder.path(), &plan);
    let (one, two) = (begin(&log).await.expect("a call"), begin(&log).await.expect("a call"));
    plan.room.store(0, Ordering::SeqCst);
    drop(one);
    two.cancel(CallOutcome::Cancelled, Usage::default());
    assert!(log.append(added()).await.is_err());
    refuses_everything(&log, "No space left").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_who_wait_when_the_disk_fails_are_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(ENOSPC, usize::MAX);
    let log = open_on(folder.path(), &plan);
    plan.room.store(20_000, Ordering::SeqCst);
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move {
                loop {
                    if let Err(error) = whole_call(&log).await {
                        return error;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        let told = tokio::time::timeout(Duration::from_secs(20), task).await;
        let error = told.expect("nobody waits for ever").expect("no panic");
        assert!(matches!(error, LogError::Poisoned { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_full_disk_at_the_start_is_an_error_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan::new(ENOSPC, usize::MAX);
    plan.room.store(50, Ordering::SeqCst);
    let opened = Log::open_with(folder.path(), LogOptions::default(), disk(&plan));
    let error = opened.expect_err("no room");
    assert!(
        matches!(&error, LogError::Io { source, .. } if source.raw_os_error() == Some(ENOSPC)),
        "{error}"
    );
    open(folder.path()).close().await.expect("a clean close");
    assert_eq!(kinds(&numbered_records(folder.path())), ["host_started", "recovered", "host_stopped"]);
}

#[tokio::test]
async fn an_event_that_does_not_fit_a_line_is_refused_and_the_log_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path());
    let many: Vec<_> = (1_000_000..1_200_000).map(GrantId).collect();
    let event = Event::GrantsChanged {
        revision: Revision(1),
        granted: many.clone(),
        revoked: Vec::new(),
        by: "root".parse().expect("a valid name"),
    };
    assert!(matches!(log.append(event).await, Err(LogError::TooLarge { .. })));
    let begun = log.begin_call(context(), many, 0, Recording::default()).await;
    assert!(matches!(begun, Err(LogError::TooLarge { .. })));
    assert_eq!(log.append(added()).await.expect("a small one"), Sequence(1));
    log.close().await.expect("a clean close");
    assert_eq!(numbered_records(folder.path()).len(), 3);
}
