//! Numbers the records, writes them, and hashes them.
//!
//! Whoever holds the writer gives the sequence numbers, so there is one order. Mostly that is its thread; a
//! caller that must wait for its record to be with the kernel, and finds the writer idle, writes by itself,
//! since to wake a thread and be woken by it costs more than the records do. What is written is hashed after
//! the kernel has it, unless a call's last record needs its tree before. The first error ends the log, and
//! everyone who waits is told.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::commitment::Commitment;
use super::disk::{self, Disk, DiskFile};
use super::event::Event;
use super::line::{self, CallEntry, CallText, LINE_BYTES_MAX};
use super::log::{LogError, State};
use super::segment;
use super::syncer::{SyncQueue, Waiter};
use super::tree::{Tree, TreeHead, leaf_of};
use crate::bell::Bell;
use crate::ids::{CallId, Revision, Sequence};

/// How many messages the thread writes together at most.
const BATCH_MESSAGES_MAX: usize = 1024;

/// How many messages a caller writes at most: its own, and what few others queued just before. Where more are
/// queued, one large write by the thread is cheaper than many small ones.
const CALLER_MESSAGES_MAX: usize = 4;

/// A batch is written in pieces of about this size.
const WRITE_BYTES: usize = 256 << 10;

/// In a batch of the thread so much waits at most to be hashed: what a core still has in its first cache. Of what
/// callers wrote it is [`WRITE_BYTES`]: they do not wait for hashes.
const HASH_BYTES: usize = 16 << 10;

/// A write that took longer may have waited for the disk: callers leave the next ones to the thread, so that they hold
/// no worker of their runtime up.
const CALLER_WRITE_MAX: Duration = Duration::from_millis(2);

/// Until so many in a row were quicker. Few: a thread that was put off its core in the middle of a copy into the
/// kernel's memory looks the same, and where the cores are busy that happens every second.
const QUICK_WRITES: u32 = 8;

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
    /// For it to be on disk, and a checkpoint to cover it.
    Signed(oneshot::Sender<Result<Sequence, LogError>>),
}

impl Ack {
    fn refuse(self, error: LogError) {
        let (Ack::Written(sender) | Ack::Durable(sender) | Ack::Signed(sender)) = self;
        // Who no longer waits needs no answer.
        drop(sender.send(Err(error)));
    }
}

/// What numbers, writes and hashes.
pub(super) struct Writer {
    receiver: mpsc::UnboundedReceiver<Message>,
    segment: OpenSegment,
    state: Arc<State>,
    syncer: Arc<SyncQueue>,
    next: u64,
    latest: Timestamp,
    lines: Unhashed,
    /// Those whose records are not written yet.
    acks: Vec<(Ack, Sequence)>,
    /// Room that is free once they are.
    units: u32,
    hasher: Arc<Mutex<Hasher>>,
    /// The highest revision that a record speaks of.
    revision: Revision,
    /// The calls that were admitted and have not ended.
    open: HashMap<CallId, (Arc<CallText>, Option<Commitment>)>,
    /// How many quick writes it takes yet until callers write again by themselves.
    quick_writes_wanted: u32,
    /// How much may wait to be hashed.
    unhashed_max: usize,
    /// The last message was taken.
    closing: bool,
}

/// Lines that are not hashed yet; the last of them may not be written either.
#[derive(Default)]
struct Unhashed {
    bytes: Vec<u8>,
    /// Where each line that is not hashed ends.
    ends: Vec<usize>,
    /// Whose those are: of how many, one after the other.
    owners: Vec<(Option<Arc<CallText>>, usize)>,
    /// Up to where the bytes are hashed.
    hashed: usize,
    /// Up to where they are written.
    written: usize,
    /// Where each write ended that was not hashed past: a checkpoint may stand there.
    writes: Vec<usize>,
}

impl Unhashed {
    /// Counts the line that was made last.
    fn count(&mut self, call: Option<&Arc<CallText>>) {
        self.ends.push(self.bytes.len());
        match (self.owners.last_mut(), call) {
            (Some((Some(owner), lines)), Some(call)) if Arc::ptr_eq(owner, call) => *lines += 1,
            (Some((None, lines)), None) => *lines += 1,
            (Some(_) | None, _) => self.owners.push((call.cloned(), 1)),
        }
    }

    /// Forgets lines that are written and hashed.
    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(2 * WRITE_BYTES);
        (self.hashed, self.written) = (0, 0);
    }
}

/// What hashes. Locked by whoever has the writer, so that lines come in their order; its thread lets the writer
/// go then, and others write while it hashes.
pub(super) struct Hasher {
    /// The tree over the lines; none if nobody signs checkpoints.
    tree: Option<Tree>,
    /// The tree where writes ended, for the syncer, once the file of the tree has it.
    heads: Vec<TreeHead>,
    /// Lines that were hashed: their memory is used again.
    spare: Unhashed,
}

impl Hasher {
    /// Hashes all lines that are not, each once, for the log's tree and for its call's.
    fn hash(&mut self, lines: &mut Unhashed) -> Result<(), String> {
        let Unhashed { bytes, ends, owners, hashed, writes, .. } = lines;
        let mut writes = writes.drain(..).peekable();
        let mut is_end_of_write = |end: usize| {
            let mut found = false;
            while let Some(write) = writes.next_if(|write| *write <= end) {
                found = write == end;
            }
            found
        };
        if is_end_of_write(*hashed) {
            self.heads.extend(self.tree.as_ref().map(Tree::head));
        }
        let mut ends = ends.drain(..);
        for (call, lines) in owners.drain(..) {
            let mut call = call.as_ref().map(|call| call.tree());
            for end in ends.by_ref().take(lines) {
                if self.tree.is_some() || call.is_some() {
                    let leaf = leaf_of(&bytes[*hashed..end]);
                    if let Some(tree) = &mut self.tree {
                        tree.push_leaf(leaf).map_err(|error| error.to_string())?;
                    }
                    if let Some(call) = &mut call {
                        call.push(leaf).map_err(|error| error.to_string())?;
                    }
                }
                *hashed = end;
                if is_end_of_write(end) {
                    self.heads.extend(self.tree.as_ref().map(Tree::head));
                }
            }
        }
        Ok(())
    }

    /// The same for lines that are all written. Tells the syncer where it can sign.
    fn hash_written(
        &mut self,
        lines: &mut Unhashed,
        syncer: &SyncQueue,
        is_last: bool,
    ) -> Result<(), String> {
        self.hash(lines)?;
        lines.clear();
        if let Some(tree) = &mut self.tree {
            tree.flush().map_err(|error| describe("write of the tree", &error))?;
            // A log that ends well is believed at the next start, and its tree with it.
            if is_last {
                tree.sync().map_err(|error| describe("sync of the tree", &error))?;
            }
        }
        syncer.hashed(self.heads.drain(..));
        Ok(())
    }
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

/// The writer, for whoever takes it: its thread, or a caller. None once the log has ended.
pub(super) struct SharedWriter {
    writer: Mutex<Option<Writer>>,
    bell: Arc<Bell>,
    state: Arc<State>,
    syncer: Arc<SyncQueue>,
}

impl fmt::Debug for SharedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWriter").finish_non_exhaustive()
    }
}

impl SharedWriter {
    pub(super) fn new(writer: Writer, bell: Arc<Bell>) -> Self {
        let (state, syncer) = (Arc::clone(&writer.state), Arc::clone(&writer.syncer));
        Self { writer: Mutex::new(Some(writer)), bell, state, syncer }
    }

    /// Writes what is queued on the caller's thread, if nobody else writes; else wakes the writer's thread.
    pub(super) fn write_now(&self) {
        let ring = match self.writer.try_lock() {
            Ok(mut writer) => match writer.as_mut() {
                Some(writer) => writer.write_for_caller(),
                None => false,
            },
            // Whoever holds it may have looked at the queue for the last time.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => true,
        };
        if ring {
            self.bell.ring();
        } else {
            // What was written has to be hashed.
            self.bell.sent(false);
        }
    }

    /// The writer's thread: works until the log is closed, all handles are gone, or something fails. Whatever is
    /// still queued then is dropped, which tells those who wait.
    pub(super) fn run(&self) {
        let ended = End(self);
        self.bell.attend();
        let (mut batch, mut looks) = (Vec::new(), 0);
        while let Some(has_worked) = ended.turn(&mut batch) {
            if has_worked {
                looks = 0;
                continue;
            }
            self.bell.sleep(looks, None, || ended.is_idle());
            looks += 1;
        }
    }
}

/// The writer's thread. At its end, for whatever reason, nothing more is written.
struct End<'a>(&'a SharedWriter);

impl End<'_> {
    /// The writer; none if a caller panicked with it in its hands.
    fn lock(&self) -> Option<MutexGuard<'_, Option<Writer>>> {
        self.0.writer.lock().ok()
    }

    /// Writes a batch and hashes it. Says whether there was something to do; none at the end.
    fn turn(&self, batch: &mut Vec<Message>) -> Option<bool> {
        let mut slot = self.lock()?;
        let writer = slot.as_mut()?;
        if writer.closing || !writer.receive(batch, BATCH_MESSAGES_MAX) || writer.state.failed() {
            return None;
        }
        let has_work = !batch.is_empty() || !writer.lines.bytes.is_empty();
        let hasher = Arc::clone(&writer.hasher);
        let is_over = self.told(writer.write_for_thread(batch))?;
        if is_over {
            return None;
        }
        if !writer.lines.bytes.is_empty() {
            let mut hasher = self.told(lock_hasher(&hasher))?;
            let mut lines = std::mem::take(&mut hasher.spare);
            std::mem::swap(&mut lines, &mut writer.lines);
            // The order of lines is that of who has the hasher: from here on others may write.
            drop(slot);
            self.told(hasher.hash_written(&mut lines, &self.0.syncer, false))?;
            hasher.spare = lines;
        }
        Some(has_work)
    }

    /// What came of a step; none if it failed, which ends the log.
    fn told<T>(&self, done: Result<T, String>) -> Option<T> {
        done.map_err(|reason| self.0.state.poison(&reason)).ok()
    }

    fn is_idle(&self) -> bool {
        let Some(slot) = self.lock() else { return false };
        slot.as_ref().is_some_and(|writer| {
            let is_asked = !writer.receiver.is_empty() || writer.receiver.is_closed();
            !is_asked && writer.lines.bytes.is_empty() && !writer.closing
        })
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() || self.0.writer.is_poisoned() {
            self.0.state.poison("what writes the log panicked");
        }
        *self.0.writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.syncer.end();
    }
}

impl Writer {
    pub(super) fn new(
        receiver: mpsc::UnboundedReceiver<Message>,
        segment: OpenSegment,
        state: Arc<State>,
        syncer: Arc<SyncQueue>,
        Known { next, tree, revision }: Known,
    ) -> Self {
        let latest = state.latest();
        Self {
            receiver,
            segment,
            state,
            syncer,
            next: next.0,
            latest,
            lines: Unhashed::default(),
            acks: Vec::new(),
            units: 0,
            hasher: Arc::new(Mutex::new(Hasher { tree, heads: Vec::new(), spare: Unhashed::default() })),
            revision,
            open: HashMap::new(),
            quick_writes_wanted: 0,
            unhashed_max: HASH_BYTES,
            closing: false,
        }
    }

    /// A caller's turn. Whether there is something left for the thread to do.
    fn write_for_caller(&mut self) -> bool {
        let is_busy = self.receiver.len() > CALLER_MESSAGES_MAX;
        if is_busy || self.quick_writes_wanted > 0 || self.closing || self.state.failed() {
            return true;
        }
        self.unhashed_max = WRITE_BYTES;
        let mut batch = Vec::with_capacity(CALLER_MESSAGES_MAX);
        self.receive(&mut batch, CALLER_MESSAGES_MAX);
        match self.write_batch(&mut batch) {
            Ok(()) => {
                let is_due = self.segment.is_due(self.next);
                is_due || self.closing || !self.receiver.is_empty() || self.receiver.is_closed()
            }
            Err(reason) => {
                self.state.poison(&reason);
                true
            }
        }
    }

    /// Takes what is queued now. False once nothing is queued and nobody can send any more.
    fn receive(&mut self, batch: &mut Vec<Message>, messages_max: usize) -> bool {
        while batch.len() < messages_max && !self.closing {
            match self.receiver.try_recv() {
                Ok(message) => batch.push(message),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !batch.is_empty(),
            }
        }
        true
    }

    /// The thread's turn. Returns whether that was the last batch.
    fn write_for_thread(&mut self, batch: &mut Vec<Message>) -> Result<bool, String> {
        self.unhashed_max = HASH_BYTES;
        self.write_batch(batch)?;
        if !self.closing && self.segment.is_due(self.next) {
            self.begin_segment()?;
        }
        Ok(self.closing)
    }

    fn write_batch(&mut self, batch: &mut Vec<Message>) -> Result<(), String> {
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
            self.flush_if_long()?;
            if self.closing {
                break;
            }
        }
        self.flush()
    }

    fn flush_if_long(&mut self) -> Result<(), String> {
        if self.lines.bytes.len() - self.lines.written >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Closes the segment and begins the next. What is closed is on disk before.
    fn begin_segment(&mut self) -> Result<(), String> {
        self.hash_written()?;
        if let Some(tree) = &lock_hasher(&self.hasher)?.tree {
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
        let buffer = &mut self.lines.bytes;
        let start = buffer.len();
        line::push_event(buffer, Sequence(self.next), time, event).map_err(|e| e.to_string())?;
        let bytes = buffer.len() - start;
        if bytes > LINE_BYTES_MAX {
            buffer.truncate(start);
            if let Some(ack) = ack {
                ack.refuse(LogError::TooLarge { bytes, max: LINE_BYTES_MAX });
            }
            return Ok(());
        }
        self.revision = self.revision.max(event.revision().unwrap_or_default());
        self.advance(time, None)?;
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
                    self.hash()?;
                    end.records_root = Some(call.tree().root().into());
                    self.open.remove(&call.context().call);
                }
                CallEntry::Admitted(admission) => {
                    let committed = admission.committed.map(|committed| committed.commitment);
                    self.revision = self.revision.max(call.context().revision);
                    self.open.insert(call.context().call, (Arc::clone(call), committed));
                }
                CallEntry::HostCall(_)
                | CallEntry::PlainHostCall(_)
                | CallEntry::EffectAttempted(_)
                | CallEntry::EffectFinished { .. }
                | CallEntry::SecretInjected(_)
                | CallEntry::SecretLeak(_) => {}
            }
            let buffer = &mut self.lines.bytes;
            let start = buffer.len();
            line::push_entry(buffer, Sequence(self.next), *time, call, entry)
                .map_err(|error| error.to_string())?;
            // The texts of a call's records are cut before they are queued, so this can't be; if it
            // is, no line is better than one that recovery would take for damage.
            if buffer.len() - start > LINE_BYTES_MAX {
                buffer.truncate(start);
                return Err("a call's record is longer than a line may be".to_owned());
            }
            self.advance(*time, Some(call))?;
            self.flush_if_long()?;
        }
        self.note(ack);
        Ok(())
    }

    /// Counts the line that was made last.
    fn advance(&mut self, time: Timestamp, call: Option<&Arc<CallText>>) -> Result<(), String> {
        self.lines.count(call);
        self.next = self.next.checked_add(1).ok_or("the sequence numbers are used up")?;
        self.latest = self.latest.max(time);
        if self.lines.bytes.len() - self.lines.hashed >= self.unhashed_max { self.hash() } else { Ok(()) }
    }

    fn note(&mut self, ack: Option<Ack>) {
        if let Some(ack) = ack {
            self.acks.push((ack, Sequence(self.next - 1)));
        }
    }

    /// Hashes what was not.
    fn hash(&mut self) -> Result<(), String> {
        lock_hasher(&self.hasher)?.hash(&mut self.lines)
    }

    /// The same if all is written, and tells the syncer.
    fn hash_written(&mut self) -> Result<(), String> {
        lock_hasher(&self.hasher)?.hash_written(&mut self.lines, &self.syncer, self.closing)
    }

    /// Hands what is not written to the kernel, then answers those who waited for that and passes the others
    /// on to the syncer, which has the disk begin while the lines are hashed.
    fn flush(&mut self) -> Result<(), String> {
        let lines = &mut self.lines;
        let unwritten = &lines.bytes[lines.written..];
        if unwritten.is_empty() && self.acks.is_empty() && !self.closing {
            return Ok(());
        }
        let begun = Instant::now();
        disk::write_all(&*self.segment.file, unwritten).map_err(|error| describe("write", &error))?;
        let is_slow = begun.elapsed() > CALLER_WRITE_MAX;
        self.quick_writes_wanted =
            if is_slow { QUICK_WRITES } else { self.quick_writes_wanted.saturating_sub(1) };
        self.segment.bytes += unwritten.len() as u64;
        lines.written = lines.bytes.len();
        lines.writes.push(lines.written);
        let last = Sequence(self.next.saturating_sub(1));
        self.state.publish_written(last, self.latest);
        self.state.release(std::mem::take(&mut self.units));
        let mut waiters = Vec::new();
        for (ack, seq) in self.acks.drain(..) {
            match ack {
                Ack::Written(sender) => drop(sender.send(Ok(seq))),
                Ack::Durable(sender) => waiters.push(Waiter { sender, seq, is_signed: false }),
                Ack::Signed(sender) => waiters.push(Waiter { sender, seq, is_signed: true }),
            }
        }
        let is_awaited = !waiters.is_empty();
        self.syncer.push(last, waiters, self.closing);
        if is_awaited || self.closing || lines.written >= WRITE_BYTES {
            self.hash_written()?;
        }
        Ok(())
    }
}

fn lock_hasher(hasher: &Mutex<Hasher>) -> Result<MutexGuard<'_, Hasher>, String> {
    hasher.lock().map_err(|_| "what hashes the log panicked".to_owned())
}

pub(super) fn describe(what: &str, error: &io::Error) -> String {
    format!("{what} failed: {error}")
}
