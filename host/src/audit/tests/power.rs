//! Power losses: a disk that keeps a journal of all that is done to it, from which any crash is made: what was not
//! synced is gone or torn, folders' entries too; or, for `kill -9`, only the last write is.
//!
//! After each, the log opens, verifies, and has what it had promised: at every level what was acknowledged to
//! be on disk, at `strict` each effect.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::super::disk::{Disk, DiskFile, RealDisk};
use super::signed::{key, public};
use super::*;
use crate::audit::AuditSettings;
use crate::audit::verify::verify;

type Inode = usize;

/// One thing that was done, in the order in which it was.
#[derive(Clone, Debug)]
enum Op {
    Create(OsString, Inode),
    Write(Inode, Vec<u8>),
    Sync(Inode),
    Truncate(OsString, u64),
    Rename(OsString, OsString),
    Remove(OsString),
    SyncFolder,
}

#[derive(Default)]
struct Journal {
    ops: Vec<Op>,
    inodes: usize,
    /// Which file a name is of now.
    names: BTreeMap<OsString, Inode>,
}

/// A disk in one folder. Everything is done in a real one too, from which the log reads.
#[derive(Default)]
struct JournalDisk {
    journal: Mutex<Journal>,
    /// The operation that fails, and all after it.
    fails_from: AtomicU64,
}

impl JournalDisk {
    fn failing_from(op: u64) -> Arc<Self> {
        Arc::new(Self { fails_from: AtomicU64::new(op), ..Self::default() })
    }

    fn reliable() -> Arc<Self> {
        Self::failing_from(u64::MAX)
    }

    /// How much was done so far.
    fn now(&self) -> usize {
        self.journal.lock().expect("not poisoned").ops.len()
    }

    /// Does something, and notes it, as one step.
    fn step<T>(
        &self,
        done: impl FnOnce() -> io::Result<T>,
        note: impl FnOnce(&mut Journal, &T) -> Op,
    ) -> io::Result<T> {
        let mut journal = self.journal.lock().expect("not poisoned");
        if journal.ops.len() as u64 >= self.fails_from.load(Ordering::SeqCst) {
            let error = if journal.ops.len().is_multiple_of(2) { 5 } else { 28 };
            return Err(io::Error::from_raw_os_error(error));
        }
        let done = done()?;
        let op = note(&mut journal, &done);
        journal.ops.push(op);
        Ok(done)
    }
}

/// A file of it.
struct JournalFile {
    file: Arc<dyn DiskFile>,
    inode: Inode,
    disk: Arc<JournalDisk>,
}

impl DiskFile for JournalFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let write = |_: &mut Journal, count: &usize| Op::Write(self.inode, bytes[..*count].to_vec());
        self.disk.step(|| self.file.write(bytes), write)
    }

    fn sync(&self) -> io::Result<()> {
        // The tests' folders need no real sync.
        self.disk.step(|| Ok(()), |_, ()| Op::Sync(self.inode))
    }
}

/// What the log is given: the disk, and itself to give to files.
struct Handle(Arc<JournalDisk>);

impl Handle {
    fn file(
        &self,
        path: &Path,
        made: Option<io::Result<Arc<dyn DiskFile>>>,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let name = name(path);
        let mut inode = 0;
        let is_new = !path.exists() || made.is_some();
        let file = match made {
            Some(made) => made?,
            None => RealDisk.append(path)?,
        };
        {
            let mut journal = self.0.journal.lock().expect("not poisoned");
            if let Some(known) = journal.names.get(&name).filter(|_| !is_new) {
                inode = *known;
            } else {
                inode += journal.inodes;
                journal.inodes += 1;
                journal.names.insert(name.clone(), inode);
                journal.ops.push(Op::Create(name, inode));
            }
        }
        Ok(Arc::new(JournalFile { file, inode, disk: Arc::clone(&self.0) }))
    }

    fn check(&self) -> io::Result<()> {
        let journal = self.0.journal.lock().expect("not poisoned");
        match journal.ops.len() as u64 >= self.0.fails_from.load(Ordering::SeqCst) {
            true => Err(io::Error::from_raw_os_error(28)),
            false => Ok(()),
        }
    }
}

fn name(path: &Path) -> OsString {
    path.file_name().expect("a file's name").to_owned()
}

impl Disk for Handle {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.check()?;
        self.file(path, Some(RealDisk.create(path)))
    }

    fn append(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.check()?;
        self.file(path, None)
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        self.0.step(|| RealDisk.truncate(path, length), |_, ()| Op::Truncate(name(path), length))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step(
            || RealDisk.rename(from, to),
            |journal, ()| {
                let inode = journal.names.remove(&name(from)).expect("a file");
                journal.names.insert(name(to), inode);
                Op::Rename(name(from), name(to))
            },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.step(
            || RealDisk.remove(path),
            |journal, ()| {
                journal.names.remove(&name(path));
                Op::Remove(name(path))
            },
        )
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        self.0.step(|| Ok(()), |_, ()| Op::SyncFolder)
    }
}

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    /// The process does: what the kernel has stays, and the last write may be torn.
    Kill,
    /// The power does: of what was not synced, a part may be there.
    Power,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    synced: usize,
}

/// What is on the disk after a crash in the midst of operation `at`.
fn after(ops: &[Op], at: usize, crash: Crash, random: &mut TestRng) -> BTreeMap<OsString, Vec<u8>> {
    let mut files: BTreeMap<Inode, File> = BTreeMap::new();
    let mut names: BTreeMap<OsString, Inode> = BTreeMap::new();
    let mut synced_names = names.clone();
    let mut unsynced: Vec<&Op> = Vec::new();
    let apply = |names: &mut BTreeMap<OsString, Inode>, op: &Op| match op {
        Op::Create(name, inode) => drop(names.insert(name.clone(), *inode)),
        Op::Rename(from, to) => {
            let inode = names.remove(from).expect("a file");
            names.insert(to.clone(), inode);
        }
        Op::Remove(name) => drop(names.remove(name)),
        Op::Write(..) | Op::Sync(_) | Op::Truncate(..) | Op::SyncFolder => {}
    };
    for (index, op) in ops.iter().take(at + 1).enumerate() {
        match op {
            Op::Create(_, inode) => {
                files.entry(*inode).or_default();
                unsynced.push(op);
            }
            Op::Rename(..) | Op::Remove(_) => unsynced.push(op),
            Op::Write(inode, bytes) => {
                let torn = if index == at { below(random, bytes.len() + 1) } else { bytes.len() };
                files.entry(*inode).or_default().bytes.extend_from_slice(&bytes[..torn]);
            }
            // What was asked last may not have been done.
            Op::Sync(_) | Op::SyncFolder | Op::Truncate(..) if index == at => {}
            Op::Sync(inode) => {
                let file = files.entry(*inode).or_default();
                file.synced = file.bytes.len();
            }
            Op::Truncate(name, length) => {
                let file = files.get_mut(&names[name]).expect("a file");
                file.bytes.truncate(usize::try_from(*length).expect("small"));
                file.synced = file.bytes.len();
            }
            Op::SyncFolder => {
                synced_names.clone_from(&names);
                unsynced.clear();
            }
        }
        apply(&mut names, op);
    }
    if crash == Crash::Power {
        for file in files.values_mut() {
            let kept = file.synced + below(random, file.bytes.len() - file.synced + 1);
            file.bytes.truncate(kept);
        }
        names = synced_names;
        // File systems keep the order of a folder's changes.
        for op in &unsynced[..below(random, unsynced.len() + 1)] {
            apply(&mut names, op);
        }
    }
    names.into_iter().map(|(name, inode)| (name, files[&inode].bytes.clone())).collect()
}

fn below(random: &mut TestRng, bound: usize) -> usize {
    // The extremes are the interesting ones.
    match random.next_u32() % 4 {
        0 => 0,
        1 => bound - 1,
        _ => usize::try_from(random.next_u64() % bound as u64).expect("it fits"),
    }
}

/// What was promised, each with the number of operations that were done by then.
#[derive(Default)]
struct Promises {
    answered: Vec<(usize, CallId)>,
    attempted: Vec<(usize, Sequence)>,
}

fn options() -> LogOptions {
    let settings =
        AuditSettings { segment_bytes: 2_500, keep_bytes: Some(6_000), ..AuditSettings::default() };
    LogOptions { settings, checkpoints: Some(key()), ..LogOptions::default() }
}

/// Calls with effects, several at once, over several segments.
async fn work(folder: &Path, disk: &Arc<JournalDisk>, durability: Durability) -> Promises {
    let promises = Mutex::new(Promises::default());
    let opened = Log::open_with(folder, options(), Arc::new(Handle(Arc::clone(disk))));
    let Ok(log) = opened else { return promises.into_inner().expect("not poisoned") };
    let one = async |number: usize| -> Result<(), LogError> {
        for _ in 0..6 {
            let recording = Recording { durability, ..Recording::default() };
            let mut recorder = log.begin_call(context(), vec![GrantId(7)], 12, recording).await?;
            let call = recorder.context().call;
            recorder.observe(host_call(Some("/read")), Instant::now())?;
            for effect in 0..2 {
                let seq = recorder.attempt(attempt(&format!("/{number}/{effect}"))).await?;
                promises.lock().expect("not poisoned").attempted.push((disk.now(), seq));
                recorder.effect_finished(seq, result(HostCallOutcome::Ok));
            }
            recorder.finish(CallOutcome::Ok, Usage::default()).await?;
            promises.lock().expect("not poisoned").answered.push((disk.now(), call));
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        Ok(())
    };
    let (one, two, three) = tokio::join!(one(1), one(2), one(3));
    let failed = one.and(two).and(three).is_err();
    // So that segments are closed and dropped in the midst of it, and at its end.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !failed
        && log.alarm().is_none()
        && log.check().is_ok()
        && open_segments(folder) > 1
        && tokio::time::Instant::now() < deadline
    {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let closed = log.close().await;
    assert!(closed.is_ok() || failed || disk.fails_from.load(Ordering::SeqCst) < u64::MAX, "{closed:?}");
    promises.into_inner().expect("not poisoned")
}

/// Segments that are not compressed yet.
fn open_segments(folder: &Path) -> usize {
    let segments = super::super::segment::list(folder).expect("a folder");
    segments.iter().filter(|segment| !segment.is_compressed).count()
}

/// Opens the log that a crash left, and holds it to what was promised before.
async fn hold(
    folder: &Path,
    what: &str,
    kept: impl Fn(&Promises) -> (Vec<CallId>, Vec<Sequence>),
    promises: &Promises,
) {
    let log = Log::open(folder, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
    log.append(added()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    log.close().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let whole = verify(folder, &public(), None, |_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
    let records = records(folder);
    assert_eq!(whole.covered, records.last().expect("some").seq.0 + 1, "{what}");
    let first = records[0].seq;
    let dropped = whole.dropped.unwrap_or(0);
    let (calls, attempts) = kept(promises);
    for seq in attempts {
        assert!(seq.0 <= records.last().expect("some").seq.0, "{what}: {seq}");
        if let Some(record) = records.get(usize::try_from(seq.0.wrapping_sub(first.0)).unwrap_or(usize::MAX))
        {
            assert!(seq < first || matches!(record.event, Event::EffectAttempted { .. }), "{what}: {seq}");
        }
    }
    let ended = |record: &Record| {
        let Event::CallFinished { context, end } = &record.event else { return None };
        Some((context.call, end.outcome == CallOutcome::Ok))
    };
    let ends: BTreeMap<CallId, bool> = records.iter().filter_map(ended).collect();
    // Of calls whose text is dropped by now only their number is known.
    let missing = calls.iter().filter(|call| !ends.get(call).copied().unwrap_or(false)).count();
    let may_be_gone = usize::try_from(dropped).unwrap_or(usize::MAX) / 7 + 1;
    assert!(missing == 0 || (dropped > 0 && missing <= may_be_gone), "{what}: {missing} of {}", calls.len());
}

fn materialised(files: &BTreeMap<OsString, Vec<u8>>) -> tempfile::TempDir {
    let folder = super::crash::fast_folder();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    folder
}

fn before<T: Copy>(promised: &[(usize, T)], at: usize) -> Vec<T> {
    promised.iter().filter(|(then, _)| *then <= at).map(|(_, promised)| *promised).collect()
}

async fn crashes(durability: Durability, crash: Crash, count: usize) {
    let folder = super::crash::fast_folder();
    let disk = JournalDisk::reliable();
    let promises = work(folder.path(), &disk, durability).await;
    assert_eq!(promises.answered.len(), 18);
    let ops = std::mem::take(&mut disk.journal.lock().expect("not poisoned").ops);
    assert!(
        ops.iter()
            .filter(|op| matches!(op, Op::Rename(_, to) if to.to_string_lossy().ends_with(".zst")))
            .count()
            > 2
    );
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    // All over the log's life; a prime, so that each kind of step comes up.
    for round in 0..count {
        let at = round * 7_919 % ops.len();
        let left = materialised(&after(&ops, at, crash, &mut random));
        let what =
            format!("{durability}, {crash:?} in the midst of {:?} (step {at} of {})", ops[at], ops.len());
        let kept = |promises: &Promises| {
            // At `relaxed` an answer does not wait for the disk, and what the kernel has, a power loss takes.
            let is_kept = crash == Crash::Kill || durability >= Durability::Committed;
            let answered = if is_kept && durability > Durability::Relaxed {
                before(&promises.answered, at)
            } else {
                Vec::new()
            };
            let is_kept = crash == Crash::Kill || durability == Durability::Strict;
            (answered, if is_kept { before(&promises.attempted, at) } else { Vec::new() })
        };
        hold(left.path(), &what, kept, &promises).await;
    }
}

/// Case 94 at every level: no effect without its record, whenever the process is killed.
#[tokio::test]
async fn a_kill_at_any_step_takes_nothing_that_was_promised() {
    for durability in Durability::ALL {
        crashes(durability, Crash::Kill, 40).await;
    }
}

/// Case 94 at `strict`: nor whenever the power goes.
#[tokio::test]
async fn a_power_loss_at_any_step_takes_no_effect_at_the_strict_level() {
    crashes(Durability::Strict, Crash::Power, 80).await;
}

#[tokio::test]
async fn a_power_loss_at_any_step_takes_no_answer_and_leaves_a_log_that_verifies() {
    for durability in [Durability::Relaxed, Durability::Committed] {
        crashes(durability, Crash::Power, 40).await;
    }
}

/// Case 90: any call of the file system may be the first that fails.
#[tokio::test]
async fn a_disk_that_fails_at_any_step_loses_nothing_that_was_promised() {
    let probe = super::crash::fast_folder();
    let disk = JournalDisk::reliable();
    work(probe.path(), &disk, Durability::Committed).await;
    let steps = disk.now() as u64;
    for round in 0..20 {
        let at = round * steps / 20;
        let folder = super::crash::fast_folder();
        let promises = work(folder.path(), &JournalDisk::failing_from(at), Durability::Committed).await;
        let what = format!("from step {at} on everything failed");
        let kept = |promises: &Promises| {
            (before(&promises.answered, usize::MAX), before(&promises.attempted, usize::MAX))
        };
        hold(folder.path(), &what, kept, &promises).await;
    }
}
