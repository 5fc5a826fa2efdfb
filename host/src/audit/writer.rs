//! The two threads behind the log: one numbers and writes, one waits for the disk.
//!
//! The writer is the only one that gives sequence numbers, so there is one order. The syncer's one
//! `fdatasync` serves all who wait at that moment. The first error of either ends both, and everyone
//! who waits is told.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::bell::Bell;
use super::checkpoint::{self, CheckpointKey};
use super::event::Event;
use super::line::{self, CallEntry, CallText, LINE_BYTES_MAX};
use super::log::{LogError, State};
use super::segment::{self, SegmentFile};
use super::tree::{Tree, TreeHead, leaf_of};
use crate::ids::Sequence;

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
    file: Arc<dyn SegmentFile>,
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
}

impl Writer {
    pub(super) fn new(
        receiver: mpsc::UnboundedReceiver<Message>,
        bell: Arc<Bell>,
        file: Arc<dyn SegmentFile>,
        state: Arc<State>,
        syncer: Arc<SyncQueue>,
        next: Sequence,
        tree: Option<Tree>,
    ) -> Self {
        let latest = state.latest();
        Self {
            receiver,
            bell,
            file,
            state,
            syncer,
            next: next.0,
            latest,
            buffer: Vec::new(),
            acks: Vec::new(),
            units: 0,
            tree,
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
        let mut closed = false;
        for message in batch.drain(..) {
            match message.body {
                Body::Event { time, event } => self.push_event(time, &event, message.ack)?,
                Body::Call { call, mut entries } => self.push_call(&call, &mut entries, message.ack)?,
                Body::Close { time, stopped } => {
                    closed = true;
                    if stopped {
                        let event = Event::HostStopped { latest: self.latest };
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
            if closed {
                break;
            }
        }
        self.flush()?;
        Ok(closed)
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
        self.advance(time, start, None)?;
        self.note(ack);
        Ok(())
    }

    fn push_call(
        &mut self,
        call: &CallText,
        entries: &mut [(Timestamp, CallEntry)],
        ack: Option<Ack>,
    ) -> Result<(), String> {
        for (time, entry) in entries {
            if let CallEntry::Finished(end) = entry {
                end.records_root = Some(call.root());
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
        segment::write_all(&*self.file, &self.buffer).map_err(|error| describe("write", &error))?;
        let head = match &mut self.tree {
            Some(tree) => {
                tree.flush().map_err(|error| describe("write of the tree", &error))?;
                Some(tree.head().map_err(|error| error.to_string())?)
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
        self.syncer.push(last, head, waiters);
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
#[derive(Debug)]
pub(super) struct SyncQueue {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pending {
    /// Bounded by the callers: each waits for one answer at a time.
    waiters: Vec<Waiter>,
    written: Sequence,
    /// The tree over what is written.
    head: Option<TreeHead>,
    /// The writer has ended: nothing more comes.
    ended: bool,
    /// The syncer has ended: nothing more is synced.
    closed: bool,
}

impl SyncQueue {
    pub(super) fn new(written: Sequence) -> Self {
        let pending = Pending { waiters: Vec::new(), written, head: None, ended: false, closed: false };
        Self { pending: Mutex::new(pending), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // A panic can't leave it half changed: each change is one assignment or push.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, written: Sequence, head: Option<TreeHead>, waiters: Vec<Waiter>) {
        let mut pending = self.lock();
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
            waiters: std::mem::take(&mut pending.waiters),
            written: pending.written,
            head: pending.head,
            ended: pending.ended,
        }
    }
}

/// What the syncer is to do.
struct Work {
    waiters: Vec<Waiter>,
    written: Sequence,
    head: Option<TreeHead>,
    ended: bool,
}

/// Signs checkpoints.
#[derive(Debug)]
pub(super) struct Signing {
    pub(super) folder: PathBuf,
    pub(super) key: CheckpointKey,
}

impl Signing {
    /// Says that a tree is on disk.
    pub(super) fn sign(&self, head: Result<TreeHead, tlog_tiles::Error>) -> Result<(), String> {
        let TreeHead { size, root } = head.map_err(|error| error.to_string())?;
        let note = self.key.sign(size, root).map_err(|error| error.to_string())?;
        checkpoint::write(&self.folder, &note).map_err(|error| describe("write of the checkpoint", &error))
    }
}

/// The thread that waits for the disk.
pub(super) struct Syncer {
    file: Arc<dyn SegmentFile>,
    state: Arc<State>,
    queue: Arc<SyncQueue>,
    synced: Sequence,
    signing: Option<Signing>,
}

impl Syncer {
    /// Records up to `synced` are on disk already.
    pub(super) fn new(
        file: Arc<dyn SegmentFile>,
        state: Arc<State>,
        queue: Arc<SyncQueue>,
        synced: Sequence,
        signing: Option<Signing>,
    ) -> Self {
        Self { file, state, queue, synced, signing }
    }

    /// Works until the writer has ended, or a sync fails: it is not tried again.
    pub(super) fn run(mut self) {
        loop {
            let Work { waiters, written, head, ended } = self.queue.take(self.synced);
            if written > self.synced || !waiters.is_empty() {
                if self.state.failed() {
                    return;
                }
                if let Err(error) = self.file.sync() {
                    self.state.poison(&describe("sync", &error));
                    return;
                }
                if let (Some(signing), Some(head)) = (&self.signing, head)
                    && let Err(reason) = signing.sign(Ok(head))
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
