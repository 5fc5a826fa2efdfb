//! The two threads behind the log: one numbers and writes, one waits for the disk.
//!
//! The writer is the only one that gives sequence numbers, so there is one order. The syncer's one
//! `fdatasync` serves all who wait at that moment. The first error of either ends both, and everyone
//! who waits is told.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::bell::Bell;
use super::checkpoint::{self, CheckpointKey};
use super::commitment::Commitment;
use super::disk::{self, Disk, DiskFile};
use super::event::Event;
use super::line::{self, CallEntry, CallText, LINE_BYTES_MAX};
use super::log::{LogError, State};
use super::segment;
use super::tree::{Tree, TreeHead, leaf_of};
use crate::ids::{CallId, Revision, Sequence};

/// How many messages are written together at most.
const BATCH_MESSAGES_MAX: usize = 1024;

/// A batch is written in pieces of about this size.
const WRITE_BYTES: usize = 256 << 10;

/// How long a record that nobody waits for may stay with the kernel before it is synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Something for the writer.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) body: Body,
    pub(super) ack: Option<Ack>,
    /// The room in the queue that is free again once this is written.
    pub(super) units: u32,
}

#[derive(Debug)]
pub(super) enum Body {
    Event {
        time: Timestamp,
        event: Box<Event>,
    },
    /// Records of one call, in order.
    Call {
        call: Arc<CallText>,
        entries: Vec<(Timestamp, CallEntry)>,
    },
    /// The last message. `stopped` says that the log ends well, so `host_stopped` is written.
    Close {
        time: Timestamp,
        stopped: bool,
    },
}

/// Who waits, and for what. Gets the sequence number of the message's last record.
#[derive(Debug)]
pub(super) enum Ack {
    /// For the kernel to have it.
    Written(oneshot::Sender<Result<Sequence, LogError>>),
    /// For it to be on disk.
    Durable(oneshot::Sender<Result<Sequence, LogError>>),
}

impl Ack {
    fn refuse(self, error: LogError) {
        let (Ack::Written(sender) | Ack::Durable(sender)) = self;
        // Who no longer waits needs no answer.
        drop(sender.send(Err(error)));
    }
}

/// The thread that numbers and writes.
pub(super) struct Writer {
    receiver: mpsc::UnboundedReceiver<Message>,
    bell: Arc<Bell>,
    segment: OpenSegment,
    state: Arc<State>,
    syncer: Arc<SyncQueue>,
    next: u64,
    latest: Timestamp,
    buffer: Vec<u8>,
    /// Those whose records are in `buffer`.
    acks: Vec<(Ack, Sequence)>,
    /// Room that is free once `buffer` is written.
    units: u32,
    /// The tree over the lines; none if nobody signs checkpoints.
    tree: Option<Tree>,
    /// The highest revision that a record speaks of.
    revision: Revision,
    /// The calls that were admitted and have not ended.
    open: HashMap<CallId, (Arc<CallText>, Option<Commitment>)>,
    /// The last message was taken.
    closing: bool,
}

/// What is known of a log that was opened.
pub(super) struct Known {
    /// The next record's place.
    pub(super) next: Sequence,
    /// The tree over the lines so far; none if nobody signs checkpoints.
    pub(super) tree: Option<Tree>,
    /// The highest revision that a record speaks of.
    pub(super) revision: Revision,
}

/// The segment that is written to, and what becomes of it.
pub(super) struct OpenSegment {
    pub(super) folder: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) first: Sequence,
    pub(super) bytes: u64,
    pub(super) begun: Instant,
    pub(super) bytes_max: u64,
    pub(super) age_max: Duration,
    /// Told when a segment was closed.
    pub(super) closed: SyncSender<()>,
}

impl OpenSegment {
    fn is_due(&self, next: u64) -> bool {
        let is_full = self.bytes >= self.bytes_max || self.begun.elapsed() >= self.age_max;
        is_full && next > self.first.0
    }
}

impl Writer {
    pub(super) fn new(
        receiver: mpsc::UnboundedReceiver<Message>,
        bell: Arc<Bell>,
        segment: OpenSegment,
        state: Arc<State>,
        syncer: Arc<SyncQueue>,
        Known { next, tree, revision }: Known,
    ) -> Self {
        let latest = state.latest();
        Self {
            receiver,
            bell,
            segment,
            state,
            syncer,
            next: next.0,
            latest,
            buffer: Vec::new(),
            acks: Vec::new(),
            units: 0,
            tree,
            revision,
            open: HashMap::new(),
            closing: false,
        }
    }

    /// Works until the log is closed, all handles are gone, or something fails. Whatever is still
    /// queued then is dropped, which tells those who wait.
    pub(super) fn run(mut self) {
        self.bell.attend();
        let mut batch = Vec::new();
        let mut looks = 0;
        while self.receive(&mut batch) {
            if batch.is_empty() {
                let bell = Arc::clone(&self.bell);
                bell.sleep(looks, || self.receiver.is_empty() && !self.receiver.is_closed());
                looks += 1;
                continue;
            }
            looks = 0;
            if self.state.failed() {
                return;
            }
            match self.write_batch(&mut batch) {
                Ok(false) => {}
                Ok(true) => return,
                Err(reason) => {
                    self.state.poison(&reason);
                    return;
                }
            }
        }
    }

    /// Takes what is queued now. False once nothing is queued and nobody can send any more.
    fn receive(&mut self, batch: &mut Vec<Message>) -> bool {
        while batch.len() < BATCH_MESSAGES_MAX {
            match self.receiver.try_recv() {
                Ok(message) => batch.push(message),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !batch.is_empty(),
            }
        }
        true
    }

    /// Returns whether that was the last batch.
    fn write_batch(&mut self, batch: &mut Vec<Message>) -> Result<bool, String> {
        for message in batch.drain(..) {
            match message.body {
                Body::Event { time, event } => self.push_event(time, &event, message.ack)?,
                Body::Call { call, mut entries } => self.push_call(&call, &mut entries, message.ack)?,
                Body::Close { time, stopped } => {
                    self.closing = true;
                    if stopped {
                        let event = Event::HostStopped { latest: self.latest, revision: self.revision };
                        self.push_event(time, &event, message.ack)?;
                    } else if let Some(ack) = message.ack {
                        // Answered after what came before, so the number of that.
                        self.acks.push((ack, Sequence(self.next.saturating_sub(1))));
                    }
                }
            }
            self.units += message.units;
            if self.buffer.len() >= WRITE_BYTES {
                self.flush()?;
            }
            if self.closing {
                break;
            }
        }
        self.flush()?;
        if !self.closing && self.segment.is_due(self.next) {
            self.begin_segment()?;
        }
        Ok(self.closing)
    }

    /// Closes the segment and begins the next. What is closed is on disk before.
    fn begin_segment(&mut self) -> Result<(), String> {
        if let Some(tree) = &self.tree {
            tree.sync().map_err(|error| describe("sync of the tree", &error))?;
        }
        self.segment.file.sync().map_err(|error| describe("sync", &error))?;
        if self.state.failed() {
            return Err("the log has failed already".to_owned());
        }
        let (first, segment) = (Sequence(self.next), &mut self.segment);
        let created = segment::create(&*segment.disk, &segment.folder, first);
        segment.file = created.map_err(|error| describe("creation of a segment", &error))?;
        (segment.first, segment.bytes, segment.begun) = (first, 0, Instant::now());
        self.syncer.replace(Arc::clone(&segment.file));
        let open = self.open.values().map(|(call, commitment)| call.as_open(*commitment)).collect();
        let event = Event::SegmentStarted { latest: self.latest, revision: self.revision, open };
        // One that is too long is left out: then a recovery reads further back.
        self.push_event(self.state.now(), &event, None)?;
        self.flush()?;
        // Full: the archivist has not come to the one before yet, and looks at all.
        let _ = self.segment.closed.try_send(());
        Ok(())
    }

    fn push_event(&mut self, time: Timestamp, event: &Event, ack: Option<Ack>) -> Result<(), String> {
        let start = self.buffer.len();
        line::push_event(&mut self.buffer, Sequence(self.next), time, event).map_err(|e| e.to_string())?;
        let bytes = self.buffer.len() - start;
        if bytes > LINE_BYTES_MAX {
            self.buffer.truncate(start);
            if let Some(ack) = ack {
                ack.refuse(LogError::TooLarge { bytes, max: LINE_BYTES_MAX });
            }
            return Ok(());
        }
        self.revision = self.revision.max(event.revision().unwrap_or_default());
        self.advance(time, start, None)?;
        self.note(ack);
        Ok(())
    }

    fn push_call(
        &mut self,
        call: &Arc<CallText>,
        entries: &mut [(Timestamp, CallEntry)],
        ack: Option<Ack>,
    ) -> Result<(), String> {
        for (time, entry) in entries {
            match entry {
                CallEntry::Finished(end) => {
                    end.records_root = Some(call.root());
                    self.open.remove(&call.context().call);
                }
                CallEntry::Admitted { committed, .. } => {
                    let committed = committed.map(|committed| committed.commitment);
                    self.revision = self.revision.max(call.context().revision);
                    self.open.insert(call.context().call, (Arc::clone(call), committed));
                }
                CallEntry::HostCall(_)
                | CallEntry::EffectAttempted(_)
                | CallEntry::EffectFinished { .. }
                | CallEntry::SecretInjected(_)
                | CallEntry::SecretLeak(_) => {}
            }
            let start = self.buffer.len();
            line::push_entry(&mut self.buffer, Sequence(self.next), *time, call, entry)
                .map_err(|error| error.to_string())?;
            // The texts of a call's records are cut before they are queued, so this can't be; if it
            // is, no line is better than one that recovery would take for damage.
            if self.buffer.len() - start > LINE_BYTES_MAX {
                self.buffer.truncate(start);
                return Err("a call's record is longer than a line may be".to_owned());
            }
            self.advance(*time, start, Some(call))?;
            if self.buffer.len() >= WRITE_BYTES {
                self.flush()?;
            }
        }
        self.note(ack);
        Ok(())
    }

    /// Counts the line that begins at `start` in the buffer. It is hashed once, for the log's tree and for its
    /// call's.
    fn advance(&mut self, time: Timestamp, start: usize, call: Option<&CallText>) -> Result<(), String> {
        if self.tree.is_some() || call.is_some() {
            let leaf = leaf_of(&self.buffer[start..]);
            if let Some(tree) = &mut self.tree {
                tree.push_leaf(leaf).map_err(|error| error.to_string())?;
            }
            if let Some(call) = call {
                call.push(leaf).map_err(|error| error.to_string())?;
            }
        }
        self.next = self.next.checked_add(1).ok_or("the sequence numbers are used up")?;
        self.latest = self.latest.max(time);
        Ok(())
    }

    fn note(&mut self, ack: Option<Ack>) {
        if let Some(ack) = ack {
            self.acks.push((ack, Sequence(self.next - 1)));
        }
    }

    /// Hands the buffer to the kernel, then answers those who waited for that and passes the others
    /// on to the syncer.
    fn flush(&mut self) -> Result<(), String> {
        disk::write_all(&*self.segment.file, &self.buffer).map_err(|error| describe("write", &error))?;
        self.segment.bytes += self.buffer.len() as u64;
        let head = match &mut self.tree {
            Some(tree) => {
                tree.flush().map_err(|error| describe("write of the tree", &error))?;
                // A log that ends well is believed at the next start, and its tree with it.
                if self.closing {
                    tree.sync().map_err(|error| describe("sync of the tree", &error))?;
                }
                Some(tree.head())
            }
            None => None,
        };
        self.buffer.clear();
        self.buffer.shrink_to(2 * WRITE_BYTES);
        let last = Sequence(self.next.saturating_sub(1));
        self.state.publish_written(last, self.latest);
        self.state.release(std::mem::take(&mut self.units));
        let mut waiters = Vec::new();
        for (ack, seq) in self.acks.drain(..) {
            match ack {
                Ack::Written(sender) => drop(sender.send(Ok(seq))),
                Ack::Durable(sender) => waiters.push((sender, seq)),
            }
        }
        self.syncer.push(last, head, waiters, self.closing);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.state.poison("the thread that writes the log panicked");
        }
        self.syncer.end();
    }
}

fn describe(what: &str, error: &io::Error) -> String {
    format!("{what} failed: {error}")
}

type Waiter = (oneshot::Sender<Result<Sequence, LogError>>, Sequence);

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
    /// The tree over what is written.
    head: Option<TreeHead>,
    /// What is written is all that ever will be.
    is_last: bool,
    /// The writer has ended: nothing more comes.
    ended: bool,
    /// The syncer has ended: nothing more is synced.
    closed: bool,
}

impl SyncQueue {
    pub(super) fn new(written: Sequence, file: Arc<dyn DiskFile>) -> Self {
        let pending = Pending {
            file,
            waiters: Vec::new(),
            written,
            head: None,
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

    fn push(&self, written: Sequence, head: Option<TreeHead>, waiters: Vec<Waiter>, is_last: bool) {
        let mut pending = self.lock();
        pending.is_last = is_last;
        pending.written = written;
        pending.head = head;
        if pending.closed {
            return;
        }
        if !waiters.is_empty() {
            pending.waiters.extend(waiters);
            self.changed.notify_one();
        }
    }

    /// What is written from now on goes into another file. All before it is on disk.
    fn replace(&self, file: Arc<dyn DiskFile>) {
        self.lock().file = file;
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_one();
    }

    /// Drops those who wait, and who will come to wait: that tells them.
    fn close(&self) {
        let mut pending = self.lock();
        pending.closed = true;
        pending.waiters.clear();
    }

    /// Waits for work: who waits, what is written by now, and whether more will come.
    fn take(&self, synced: Sequence) -> Work {
        let mut pending = self.lock();
        while pending.waiters.is_empty() && !pending.ended {
            let (guard, waited) =
                self.changed.wait_timeout(pending, SYNC_INTERVAL).unwrap_or_else(PoisonError::into_inner);
            pending = guard;
            if waited.timed_out() && pending.written > synced {
                break;
            }
        }
        Work {
            file: Arc::clone(&pending.file),
            waiters: std::mem::take(&mut pending.waiters),
            written: pending.written,
            head: pending.head,
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
    head: Option<TreeHead>,
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
}

impl Syncer {
    /// Records up to `synced` are on disk already.
    pub(super) fn new(
        state: Arc<State>,
        queue: Arc<SyncQueue>,
        synced: Sequence,
        signing: Option<Arc<Signing>>,
    ) -> Self {
        Self { state, queue, synced, signing }
    }

    /// Works until the writer has ended, or a sync fails: it is not tried again.
    pub(super) fn run(mut self) {
        loop {
            let Work { file, waiters, written, head, is_last, ended } = self.queue.take(self.synced);
            if written > self.synced || !waiters.is_empty() {
                if self.state.failed() {
                    return;
                }
                if let Err(error) = file.sync() {
                    self.state.poison(&describe("sync", &error));
                    return;
                }
                if let (Some(signing), Some(head)) = (&self.signing, head)
                    && let Err(reason) = signing.sign(head, is_last)
                {
                    self.state.poison(&reason);
                    return;
                }
                self.synced = written;
                self.state.publish_durable(written);
            }
            for (sender, seq) in waiters {
                drop(sender.send(Ok(seq)));
            }
            if ended {
                return;
            }
        }
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
