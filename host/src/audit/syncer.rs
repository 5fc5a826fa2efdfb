//! Waits for the disk, and signs what it has.
//!
//! One `fdatasync` serves all who wait at that moment. A checkpoint follows, but not each time under load: what a
//! caller waits for is the disk.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::checkpoint::{self, CheckpointKey};
use super::disk::{self, Disk, DiskFile};
use super::log::{LogError, State};
use super::tree::TreeHead;
use super::writer::describe;
use crate::ids::Sequence;

/// How long a record that nobody waits for may stay with the kernel before it is synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two checkpoints, but for those that somebody waits for. To put one in the place of
/// the last takes a file system about as long as a sync.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(50);

/// How long the syncer waits at once for lines to be hashed, before it looks whether the log has failed.
const HASH_LOOK: Duration = Duration::from_millis(50);

/// Who waits for the disk, and for which record.
pub(super) struct Waiter {
    pub(super) sender: oneshot::Sender<Result<Sequence, LogError>>,
    pub(super) seq: Sequence,
    /// And for a checkpoint that covers it.
    pub(super) is_signed: bool,
}

/// What the writer leaves for the syncer.
pub(super) struct SyncQueue {
    pending: Mutex<Pending>,
    changed: Condvar,
}

struct Pending {
    /// The segment that is written to: those before it are on disk.
    file: Arc<dyn DiskFile>,
    /// Bounded by the callers: each waits for one answer at a time.
    waiters: Vec<Waiter>,
    written: Sequence,
    /// The tree over what was hashed last; none if nobody signs.
    hashed: Option<TreeHead>,
    /// How many records the syncer is at, and the tree over them once they are hashed.
    at: (u64, Option<TreeHead>),
    /// What is written is all that ever will be.
    is_last: bool,
    /// The writer has ended: nothing more comes.
    ended: bool,
    /// The syncer has ended: nothing more is synced.
    closed: bool,
}

impl SyncQueue {
    pub(super) fn new(written: Sequence, hashed: Option<TreeHead>, file: Arc<dyn DiskFile>) -> Self {
        let pending = Pending {
            file,
            waiters: Vec::new(),
            written,
            hashed,
            at: (0, None),
            is_last: false,
            ended: false,
            closed: false,
        };
        Self { pending: Mutex::new(pending), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // A panic can't leave it half changed: each change is one assignment or push.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records up to `written` are with the kernel, and `waiters` wait for the disk.
    pub(super) fn push(&self, written: Sequence, waiters: Vec<Waiter>, is_last: bool) {
        let mut pending = self.lock();
        pending.is_last = is_last;
        pending.written = written;
        if pending.closed {
            return;
        }
        if !waiters.is_empty() {
            pending.waiters.extend(waiters);
            self.changed.notify_one();
        }
    }

    /// The tree as it was at ends of what was pushed, in order. None is passed over.
    pub(super) fn hashed(&self, heads: impl Iterator<Item = TreeHead>) {
        let mut pending = self.lock();
        for head in heads {
            pending.hashed = Some(head);
            if pending.at.0 == head.size {
                pending.at.1 = Some(head);
                self.changed.notify_one();
            }
        }
    }

    /// The tree over the records that were taken last, once they are hashed. None if the writer ended without.
    fn head(&self, state: &State) -> Option<TreeHead> {
        let mut pending = self.lock();
        while pending.at.1.is_none() && !pending.ended && !state.failed() {
            let waited = self.changed.wait_timeout(pending, HASH_LOOK);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        pending.at.1
    }

    /// What is written from now on goes into another file. All before it is on disk.
    pub(super) fn replace(&self, file: Arc<dyn DiskFile>) {
        self.lock().file = file;
    }

    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_one();
    }

    /// Drops those who wait, and who will come to wait: that tells them.
    fn close(&self) {
        let mut pending = self.lock();
        pending.closed = true;
        pending.waiters.clear();
    }

    /// Waits for work, at most for `wait_max` if there is some that nobody waits for.
    fn take(&self, synced: Sequence, is_signed: bool, wait_max: Duration) -> Work {
        let mut pending = self.lock();
        while pending.waiters.is_empty() && !pending.ended {
            let (guard, waited) =
                self.changed.wait_timeout(pending, wait_max).unwrap_or_else(PoisonError::into_inner);
            pending = guard;
            if waited.timed_out() && (pending.written > synced || !is_signed) {
                break;
            }
        }
        let size = pending.written.0.saturating_add(1);
        // Nothing is hashed that is not written, so this is not further than that.
        pending.at = (size, pending.hashed.filter(|head| head.size == size));
        Work {
            file: Arc::clone(&pending.file),
            waiters: std::mem::take(&mut pending.waiters),
            written: pending.written,
            is_last: pending.is_last,
            ended: pending.ended,
        }
    }
}

/// What the syncer is to do.
struct Work {
    file: Arc<dyn DiskFile>,
    waiters: Vec<Waiter>,
    written: Sequence,
    is_last: bool,
    ended: bool,
}

/// Signs checkpoints.
pub(super) struct Signing {
    pub(super) folder: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) key: Mutex<CheckpointKey>,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Signing {
    /// The key that signs now.
    pub(super) fn key(&self) -> CheckpointKey {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has another key sign from now on.
    pub(super) fn replace(&self, key: CheckpointKey) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// Says that a tree is on disk. What is said is on disk too if it `is_last`: a host that ended well is
    /// held to it.
    pub(super) fn sign(&self, TreeHead { size, root }: TreeHead, is_last: bool) -> Result<(), String> {
        let note = self.key().sign(size, root).map_err(|error| error.to_string())?;
        let written = match is_last {
            true => disk::replace(&*self.disk, &checkpoint::path_of(&self.folder), &note),
            false => checkpoint::write(&*self.disk, &self.folder, &note),
        };
        written.map_err(|error| describe("write of the checkpoint", &error))
    }
}

/// The thread that waits for the disk.
pub(super) struct Syncer {
    state: Arc<State>,
    queue: Arc<SyncQueue>,
    synced: Sequence,
    signing: Option<Arc<Signing>>,
    /// The last record that a checkpoint covers, and when that was signed.
    signed: (Sequence, Instant),
}

impl Syncer {
    /// Records up to `synced` are on disk already, and signed.
    pub(super) fn new(
        state: Arc<State>,
        queue: Arc<SyncQueue>,
        synced: Sequence,
        signing: Option<Arc<Signing>>,
    ) -> Self {
        let now = Instant::now();
        let signed = (synced, now.checked_sub(CHECKPOINT_INTERVAL).unwrap_or(now));
        Self { state, queue, synced, signing, signed }
    }

    /// Works until the writer has ended, or a sync fails: it is not tried again.
    pub(super) fn run(mut self) {
        loop {
            let is_signed = self.signing.is_none() || self.signed.0 == self.synced;
            let since = self.signed.1.elapsed();
            let wait_max = if is_signed { SYNC_INTERVAL } else { CHECKPOINT_INTERVAL.saturating_sub(since) };
            let mut work = self.queue.take(self.synced, is_signed, wait_max);
            if let Err(reason) = self.serve(&mut work) {
                // Before those who wait are told by being dropped: they ask why.
                self.state.poison(&reason);
                return;
            }
            if work.ended || self.state.failed() {
                return;
            }
        }
    }

    fn serve(&mut self, work: &mut Work) -> Result<(), String> {
        let Work { file, waiters, written, is_last, ended } = work;
        let (written, is_last, ended) = (*written, *is_last, *ended);
        let is_idle = written == self.synced && self.signed.0 == self.synced && waiters.is_empty();
        if is_idle || self.state.failed() {
            return Ok(());
        }
        if written > self.synced {
            let begun = Instant::now();
            file.sync().map_err(|error| describe("sync", &error))?;
            self.state.synced_in(begun.elapsed());
            self.synced = written;
            self.state.publish_durable(written);
        }
        let is_due = self.signed.1.elapsed() >= CHECKPOINT_INTERVAL;
        if is_due || is_last || ended || waiters.iter().any(|waiter| waiter.is_signed) {
            self.sign(is_last)?;
        }
        for waiter in waiters.drain(..) {
            drop(waiter.sender.send(Ok(waiter.seq)));
        }
        Ok(())
    }

    /// Has a checkpoint cover what is on disk.
    fn sign(&mut self, is_last: bool) -> Result<(), String> {
        let Some(signing) = &self.signing else { return Ok(()) };
        if self.signed.0 == self.synced && !is_last {
            return Ok(());
        }
        let Some(head) = self.queue.head(&self.state) else { return Ok(()) };
        signing.sign(head, is_last)?;
        self.signed = (self.synced, Instant::now());
        Ok(())
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.state.poison("the thread that syncs the log panicked");
        }
        self.queue.close();
    }
}
