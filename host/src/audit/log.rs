//! The handle of the log: opening, admin events, beginning a call, closing.
//!
//! It never touches the disk itself once the log is open: the two threads of `writer` do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit, RwLock, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::archive::Archivist;
use super::checkpoint::{self, Checkpoint, CheckpointError, CheckpointKey, VerifierKey};
use super::disk::{self, Disk, RealDisk};
use super::event::{CallContext, CallEnd, CallOutcome, Event};
use super::line::{self, Admission, CallEntry, CallText, GRANTS_MAX, LINE_BYTES_MAX};
use super::options::{Clock, LogOptions};
use super::query::{self, Filter};
use super::recorder::{Recorder, Recording};
use super::recovery::{self, Ending, Recovered};
use super::rotation::{self, Rotation};
use super::segment;
use super::syncer::{Signing, SyncQueue, Syncer};
use super::tree::{Believed, StoredHashes, Tree};
use super::writer::{Ack, Body, Known, Message, OpenSegment, SharedWriter, Writer};
use crate::bell::Bell;
use crate::ids::{GrantId, PrincipalId, Revision, Sequence};
use crate::limits::Usage;

/// The most that waits for the writer, in units of a record or 256 bytes of its text: about 16 MiB.
/// Only the ends of calls may go beyond, each by [`RECORDER_UNITS_MAX`](super::RECORDER_UNITS_MAX).
const QUEUE_UNITS_MAX: usize = 65_536;

/// The longest that [`Log::close`] waits for calls to end.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(5);

/// The buckets in which waits for the disk are counted, in seconds.
const SYNC_SECONDS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

const CLOSE_POLL: Duration = Duration::from_millis(5);

/// How many interrupted calls a `recovered` record lists. Each has a `call_finished` in any case.
const INTERRUPTED_LISTED_MAX: usize = 10_000;

/// Why the log did not take a record. All are the host's fault or its disk's, but for `TooLarge`,
/// which is the fault of who made the event.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// A write or a sync failed. Nothing more is accepted until the host is started anew.
    #[error("the audit log can't be written, so calls are refused until the host is restarted: {reason}")]
    Poisoned {
        /// What failed.
        reason: Arc<str>,
    },
    /// An anchor that `audit.toml` requires has not taken a checkpoint for too long.
    #[error("{reason}")]
    NotAnchored {
        /// Which, and why.
        reason: String,
    },
    /// The log could not be read.
    #[error("the audit log can't be read: {reason}")]
    Unreadable {
        /// Why not.
        reason: String,
    },
    /// The log was closed.
    #[error("the audit log is closed: the host is stopping")]
    Closed,
    /// More records wait than the log's bounds allow: the disk does not keep up.
    #[error("the audit log does not keep up with the records of this call")]
    Overloaded,
    /// The event does not fit a line.
    #[error("a record of {bytes} bytes is too large for the audit log: at most {max}")]
    TooLarge {
        /// Its bytes, as far as they are known.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// The log was closed while calls ran, so it does not end with `host_stopped`.
    #[error("the audit log was closed while {calls} calls were running; the next start ends them")]
    CallsRunning {
        /// How many.
        calls: usize,
    },
    /// A file or folder could not be used.
    #[error("could not {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The log is damaged in a way that no crash explains. Nothing was changed.
    #[error("the audit log is damaged at byte {offset} of {path}: {reason}", path = path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}

impl LogError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }
}

/// The log of one host. A cheap handle; clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    handle: Arc<Handle>,
}

impl Log {
    /// Opens the log in `folder`, which is made if it is not there, mends it if it did not end well,
    /// and writes `host_started` and what mending calls for. Blocks until all that is on disk.
    ///
    /// The caller owns the folder: two open logs in one folder would damage it. The async functions
    /// need a tokio runtime with time.
    ///
    /// # Errors
    /// [`LogError::Io`], and [`LogError::Damaged`] if an earlier segment is not what it was. Nothing
    /// recorded is lost then.
    pub fn open(folder: &Path, options: LogOptions) -> Result<Self, LogError> {
        Self::open_with(folder, options, Arc::new(RealDisk))
    }

    /// As [`Log::open`], with a disk of the caller's making between the log and its files.
    pub(super) fn open_with(
        folder: &Path,
        options: LogOptions,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, LogError> {
        let now = (options.clock)();
        let recovered = recovery::recover(&*disk, folder, now)?;
        let path = &recovered.segment.path;
        let io = |action: &'static str| move |error| LogError::io(action, path, error);
        let file = disk.append(path).map_err(io("open"))?;
        let mut signed = match options.checkpoints.clone() {
            Some(key) => Some(signed_tree(&disk, folder, &recovered, key)?),
            None => None,
        };
        let (bytes, next) = opening_lines(&recovered, &options, now)?;
        disk::write_all(&*file, &bytes).map_err(io("write to"))?;
        file.sync().map_err(io("sync"))?;
        if let Some((tree, signing)) = &mut signed {
            bytes.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| tree.push(line))?;
            tree.flush().map_err(io("write the hashes of"))?;
            signing
                .sign(tree.head(), false)
                .map_err(|reason| LogError::Poisoned { reason: reason.into() })?;
        }
        let (tree, signing) = signed.map(|(tree, signing)| (tree, Arc::new(signing))).unzip();
        let last = Sequence(next.0 - 1);
        let (written, _) = watch::channel(last);
        let (durable, _) = watch::channel(last);
        let state = Arc::new(State {
            room: Arc::new(Semaphore::new(QUEUE_UNITS_MAX)),
            failure: OnceLock::new(),
            latest: Mutex::new(recovered.latest.map_or(now, |latest| latest.max(now))),
            written,
            durable,
            alarm: Mutex::default(),
            syncs: Histogram::new(SYNC_SECONDS),
            clock: options.clock,
        });
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Arc::new(SyncQueue::new(last, tree.as_ref().map(Tree::head), Arc::clone(&file)));
        let bell = Arc::new(Bell::default());
        let (closed, closings) = std::sync::mpsc::sync_channel(1);
        let length = std::fs::metadata(path).map_err(io("measure"))?.len();
        let age = now.duration_since(recovered.begun.unwrap_or(now)).unsigned_abs();
        let begun = std::time::Instant::now();
        let segment = OpenSegment {
            folder: folder.to_owned(),
            disk: Arc::clone(&disk),
            file,
            first: recovered.segment.first,
            bytes: length,
            begun: begun.checked_sub(age).unwrap_or(begun),
            bytes_max: options.settings.segment_bytes,
            age_max: options.settings.segment_age,
            closed,
        };
        let revision = recovered.revision;
        let known = Known { next, tree, revision };
        let writer = Writer::new(receiver, segment, Arc::clone(&state), Arc::clone(&queue), known);
        let writer = Arc::new(SharedWriter::new(writer, Arc::clone(&bell)));
        let syncer = Syncer::new(Arc::clone(&state), queue, last, signing.clone());
        let stopping = Arc::new(AtomicBool::new(false));
        let handle = Arc::new(Handle {
            sender,
            writer: Arc::clone(&writer),
            bell,
            state,
            calls: Arc::new(AtomicUsize::new(0)),
            closing: Arc::clone(&stopping),
            wait_max: options.wait_max,
            signing,
            revision,
            files: Arc::default(),
            threads: Mutex::default(),
        });
        let archivist = Archivist {
            folder: folder.to_owned(),
            disk,
            settings: options.settings,
            log: Arc::downgrade(&handle),
            closed: closings,
            stopping,
        };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(io("start a thread of"))
        };
        let threads = vec![
            spawn("audit-writer", Box::new(move || writer.run()))?,
            spawn("audit-syncer", Box::new(move || syncer.run()))?,
            spawn("audit-archivist", Box::new(move || archivist.run()))?,
        ];
        *handle.threads.lock().unwrap_or_else(PoisonError::into_inner) = threads;
        Ok(Self { handle })
    }

    /// Records an event that is no call's, and returns once it is on disk.
    ///
    /// # Errors
    /// [`LogError`]; the event may then be in the log or not.
    pub async fn append(&self, mut event: Event) -> Result<Sequence, LogError> {
        self.handle.check()?;
        line::bound_event(&mut event);
        let room = self.handle.room(1).await?;
        let (ack, answer) = oneshot::channel();
        let body = Body::Event { time: self.handle.now(), event: Box::new(event) };
        self.handle.send(Message { body, ack: Some(Ack::Signed(ack)), units: 1 }, room);
        self.handle.answer(answer).await
    }

    /// Queues `call_admitted` and reserves the room for the call's last record, so that even a call
    /// that is dropped can be closed. Waits for room in the queue, not for the disk.
    ///
    /// # Errors
    /// [`LogError`]: the call must not begin.
    pub async fn begin_call(
        &self,
        context: Arc<CallContext>,
        grants: Vec<GrantId>,
        argument_bytes: u64,
        recording: Recording,
    ) -> Result<Recorder, LogError> {
        let handle = &self.handle;
        handle.check()?;
        if grants.len() > GRANTS_MAX {
            // About what they take: none is printed in more than 21 bytes with its comma.
            return Err(LogError::TooLarge { bytes: grants.len().saturating_mul(21), max: LINE_BYTES_MAX });
        }
        // Counted before the second look, so that a call is either refused or waited for by `close`.
        let running = Running::new(Arc::clone(&handle.calls));
        handle.check()?;
        let credential = recording.credential.clone();
        let committed = recording.arguments;
        let entry =
            CallEntry::Admitted(Box::new(Admission { grants, argument_bytes, credential, committed }));
        let units = line::units(&entry);
        let mut room = handle.room(units + 1).await?;
        let last_room = room.split(1).expect("one unit more was acquired than the record takes");
        let call = Arc::new(CallText::new(context));
        let body = Body::Call { call: Arc::clone(&call), entries: vec![(handle.now(), entry)] };
        handle.send(Message { body, ack: None, units }, room);
        Ok(Recorder::new(Arc::clone(handle), call, recording, last_room, running))
    }

    /// The highest revision of what is in force that a record spoke of when the log was opened; 0 if none did.
    pub fn opened_at(&self) -> Revision {
        self.handle.revision
    }

    /// The key that signs checkpoints; none if none does.
    pub fn key(&self) -> Option<CheckpointKey> {
        self.handle.signing.as_ref().map(|signing| signing.key())
    }

    /// Records that another key is to sign checkpoints, and keeps the old one's word for it. From then on
    /// [`sign_with`](Self::sign_with) may be called, and must be once the key is kept.
    ///
    /// # Errors
    /// [`LogError`]; the rotation may then be recorded, and counts only if the old key's word was kept.
    pub async fn record_rotation(&self, to: &CheckpointKey, by: PrincipalId) -> Result<Sequence, LogError> {
        let Some(signing) = self.handle.signing.clone() else { return Err(LogError::Closed) };
        let (from, to) = (signing.key().public().to_owned(), to.public().to_owned());
        let seq = self.append(Event::KeyRotated { key: to.clone(), by }).await?;
        let kept = move || -> io::Result<()> {
            // It is signed before the record is acknowledged.
            let note = checkpoint::read(&signing.folder)?.ok_or(io::ErrorKind::NotFound)?;
            let checkpoint = String::from_utf8(note).map_err(io::Error::other)?;
            let mut reader = query::read(&signing.folder, Filter { from: Some(seq), ..Filter::default() });
            let record = loop {
                match reader.next_line().map_err(io::Error::other)? {
                    Some(found) if found == seq => break reader.line().map_err(io::Error::other)?.to_owned(),
                    Some(_) => {}
                    None => return Err(io::ErrorKind::NotFound.into()),
                }
            };
            rotation::write(&*signing.disk, &signing.folder, seq, &Rotation { from, to, record, checkpoint })
        };
        let failed = |error: String| LogError::Poisoned { reason: error.into() };
        let kept = tokio::task::spawn_blocking(kept).await.map_err(|error| failed(error.to_string()))?;
        kept.map_err(|error| failed(format!("the old key's word for the new one can't be kept: {error}")))?;
        Ok(seq)
    }

    /// Has a key sign checkpoints from now on.
    pub fn sign_with(&self, key: CheckpointKey) {
        if let Some(signing) = &self.handle.signing {
            signing.replace(key);
        }
    }

    /// While what this gives is held, no file of the log is removed.
    pub async fn hold_files(&self) -> OwnedRwLockReadGuard<()> {
        self.handle.files().read_owned().await
    }

    /// What is not as it should be, though records are taken: closed segments can't be compressed or
    /// dropped.
    pub fn alarm(&self) -> Option<String> {
        self.handle.state.alarm.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The latest time of any record written so far. Policy judges expiry by the later of the clock
    /// and this, so that setting the clock back revives no grant.
    pub fn last_time(&self) -> Timestamp {
        self.handle.state.latest()
    }

    /// Whether the log takes records.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] or [`LogError::Closed`].
    pub fn check(&self) -> Result<(), LogError> {
        self.handle.check()
    }

    /// How full the queue to the writer is, in units of a record or 256 bytes of its text, of 65,536 at most. The ends of
    /// calls have room of their own.
    pub fn queued_units(&self) -> usize {
        QUEUE_UNITS_MAX.saturating_sub(self.handle.state.room.available_permits())
    }

    /// How long the disk took, each time since the log was opened, in seconds.
    pub(crate) fn sync_seconds(&self) -> Histogram {
        self.handle.state.syncs.clone()
    }

    /// Follows the sequence number of the last record that the kernel has.
    pub fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.handle.state.written.subscribe()
    }

    /// Follows the sequence number of the last record that is on disk.
    pub fn subscribe_durable(&self) -> watch::Receiver<Sequence> {
        self.handle.state.durable.subscribe()
    }

    /// Refuses new records, waits up to five seconds for running calls, writes `host_stopped`, waits
    /// for the disk and ends the threads.
    ///
    /// # Errors
    /// [`LogError::CallsRunning`] if calls still run: the log is then on disk, but ends without
    /// `host_stopped`. [`LogError::Closed`] if it was closed before, [`LogError::Poisoned`] if it
    /// failed.
    pub async fn close(self) -> Result<(), LogError> {
        let handle = &self.handle;
        handle.check()?;
        if handle.closing.swap(true, Ordering::SeqCst) {
            return Err(LogError::Closed);
        }
        let deadline = Instant::now() + CLOSE_WAIT_MAX;
        while handle.calls.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            sleep(CLOSE_POLL).await;
        }
        let calls = handle.calls.load(Ordering::SeqCst);
        let (ack, answer) = oneshot::channel();
        let body = Body::Close { time: handle.now(), stopped: calls == 0 };
        // Without room of its own: there is one such message in the life of a log.
        handle.send_unbounded(Message { body, ack: Some(Ack::Durable(ack)), units: 0 });
        handle.answer(answer).await?;
        handle.join().await?;
        if calls > 0 { Err(LogError::CallsRunning { calls }) } else { Ok(()) }
    }
}

/// The tree over what is in the log, held against the last checkpoint, and what signs the next ones.
fn signed_tree(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    recovered: &Recovered,
    key: CheckpointKey,
) -> Result<(Tree, Signing), LogError> {
    let size = recovered.next.0;
    let segments = segment::list(folder).map_err(|error| LogError::io("list", folder, error))?;
    let ended_well = matches!(recovered.ending, Ending::New | Ending::Clean);
    let believed = if ended_well { Believed::All } else { Believed::Closed };
    let mut tree = Tree::open(&**disk, folder, &segments, size, believed)?;
    let path = checkpoint::path_of(folder);
    let damaged = |reason: String| LogError::Damaged { path: path.clone(), offset: 0, reason };
    let note = checkpoint::read(folder).map_err(|error| LogError::io("read", &path, error))?;
    let last = note.map(|note| checked(folder, &key, &note)).transpose();
    let last = match last {
        // Most are written without a sync of their own, so a power loss can tear the newest.
        Err(CheckpointError::Malformed(reason)) => {
            tracing::warn!(reason, "the newest checkpoint was torn; the log is signed anew");
            None
        }
        last => last.map_err(|error| damaged(error.to_string()))?,
    };
    if let Some(last) = last {
        if last.size > size {
            let reason =
                format!("it covers {} records, and the log has {size}: its end is missing", last.size);
            return Err(damaged(reason));
        }
        let is_signed = || {
            let stored = StoredHashes::open(folder).map_err(|error| LogError::io("read", folder, error))?;
            Ok::<_, LogError>(stored.root(last.size).ok() == Some(last.root))
        };
        if !is_signed()? {
            // A power loss can take hashes that were not on disk yet: the records are what counts.
            tree = Tree::open(&**disk, folder, &segments, size, Believed::Dropped)?;
            if !is_signed()? {
                let reason = format!("the first {} records are not those that it was signed for", last.size);
                return Err(damaged(reason));
            }
        }
    }
    let signing = Signing { folder: folder.to_owned(), disk: Arc::clone(disk), key: Mutex::new(key) };
    Ok((tree, signing))
}

/// A checkpoint of a log that a key signs, or that the one before it signed last.
fn checked(folder: &Path, key: &CheckpointKey, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let error = match key.verifier()?.check(note) {
        Err(error @ CheckpointError::Signature { .. }) => error,
        checked => return checked,
    };
    let rotations = rotation::read(folder).unwrap_or_default();
    let before = rotations.iter().rev().find(|rotation| rotation.to == key.public());
    match before {
        Some(rotation) => VerifierKey::parse(&rotation.from)?.check(note),
        None => Err(error),
    }
}

/// The first lines of a host's part of the log, and the place of the record after them.
fn opening_lines(
    recovered: &Recovered,
    options: &LogOptions,
    now: Timestamp,
) -> Result<(Vec<u8>, Sequence), LogError> {
    let mut lines = OpeningLines { bytes: Vec::new(), next: recovered.next, now };
    let (version, engine) = (options.version.clone(), options.engine.clone());
    lines.push(&Event::HostStarted { version, pid: std::process::id(), engine })?;
    match &recovered.ending {
        Ending::New | Ending::Clean => {}
        Ending::Mended { torn_bytes, quarantine, interrupted } => {
            lines.push(&Event::Recovered {
                torn_bytes: *torn_bytes,
                quarantine: quarantine.clone(),
                interrupted: interrupted
                    .iter()
                    .take(INTERRUPTED_LISTED_MAX)
                    .map(|open| open.context.call)
                    .collect(),
            })?;
            for open in interrupted {
                let end = CallEnd {
                    outcome: CallOutcome::Interrupted,
                    records: open.tree.size(),
                    records_root: Some(open.tree.root().into()),
                    arguments_commitment: open.arguments_commitment,
                    result_commitment: None,
                    usage: Usage::default(),
                };
                let (context, end) = (Arc::clone(&open.context), Box::new(end));
                lines.push(&Event::CallFinished { context, end })?;
            }
        }
    }
    Ok((lines.bytes, lines.next))
}

struct OpeningLines {
    bytes: Vec<u8>,
    next: Sequence,
    now: Timestamp,
}

impl OpeningLines {
    fn push(&mut self, event: &Event) -> Result<(), LogError> {
        let poisoned = |reason: String| LogError::Poisoned { reason: reason.into() };
        line::push_event(&mut self.bytes, self.next, self.now, event).map_err(|e| poisoned(e.to_string()))?;
        let next = self.next.0.checked_add(1);
        self.next =
            next.map(Sequence).ok_or_else(|| poisoned("the sequence numbers are used up".to_owned()))?;
        Ok(())
    }
}

/// What the handle shares with the threads. It holds no sender, so that the writer ends when the
/// last handle goes.
pub(super) struct State {
    room: Arc<Semaphore>,
    failure: OnceLock<Arc<str>>,
    latest: Mutex<Timestamp>,
    written: watch::Sender<Sequence>,
    durable: watch::Sender<Sequence>,
    alarm: Mutex<Option<String>>,
    syncs: Histogram,
    clock: Clock,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("failure", &self.failure).finish_non_exhaustive()
    }
}

impl State {
    /// Refuses everything from now on. The first reason stays.
    pub(super) fn poison(&self, reason: &str) {
        if self.failure.set(reason.into()).is_ok() {
            tracing::error!(reason, "the audit log failed: calls are refused until the host is restarted");
        }
        self.room.close();
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(super) fn failed(&self) -> bool {
        self.failure.get().is_some()
    }

    pub(super) fn latest(&self) -> Timestamp {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records up to `last`, none of them later than `latest`, are with the kernel.
    pub(super) fn publish_written(&self, last: Sequence, latest: Timestamp) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = latest;
        self.written.send_replace(last);
    }

    pub(super) fn synced_in(&self, took: Duration) {
        self.syncs.observe(took.as_secs_f64());
    }

    pub(super) fn publish_durable(&self, last: Sequence) {
        self.durable.send_replace(last);
    }

    pub(super) fn release(&self, units: u32) {
        self.room.add_permits(usize::try_from(units).unwrap_or(0));
    }

    /// Why an answer did not come.
    fn refusal(&self) -> LogError {
        match self.failure.get() {
            Some(reason) => LogError::Poisoned { reason: Arc::clone(reason) },
            None => LogError::Closed,
        }
    }
}

/// What all clones of a [`Log`], and its recorders, share.
#[derive(Debug)]
pub(super) struct Handle {
    /// Unbounded by itself: what may be sent is bounded by [`State::room`].
    sender: mpsc::UnboundedSender<Message>,
    writer: Arc<SharedWriter>,
    bell: Arc<Bell>,
    state: Arc<State>,
    calls: Arc<AtomicUsize>,
    /// Nothing new is taken.
    closing: Arc<AtomicBool>,
    wait_max: Duration,
    /// What signs checkpoints; none if nothing does.
    signing: Option<Arc<Signing>>,
    /// What [`Log::opened_at`] gives.
    revision: Revision,
    /// Written by whoever removes files of the log, read by whoever needs them to stay.
    files: Arc<RwLock<()>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The writer may be asleep when its last sender goes: it is woken to see that.
impl Drop for Handle {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        let (closed, _) = mpsc::unbounded_channel();
        drop(std::mem::replace(&mut self.sender, closed));
        self.bell.ring();
    }
}

impl Handle {
    pub(super) fn now(&self) -> Timestamp {
        self.state.now()
    }

    pub(super) fn files(&self) -> Arc<RwLock<()>> {
        Arc::clone(&self.files)
    }

    pub(super) fn set_alarm(&self, alarm: Option<String>) {
        *self.state.alarm.lock().unwrap_or_else(PoisonError::into_inner) = alarm;
    }

    /// As [`Log::append`], on a thread that may wait, until the log closes.
    pub(super) fn append_blocking(&self, event: Event, stopping: &AtomicBool) -> Result<(), LogError> {
        let deadline = std::time::Instant::now() + self.wait_max;
        let room = loop {
            self.check()?;
            match self.try_room(1) {
                Some(room) => break room,
                None if std::time::Instant::now() > deadline => return Err(LogError::Overloaded),
                None => std::thread::sleep(CLOSE_POLL),
            }
        };
        let deadline = std::time::Instant::now() + self.wait_max;
        let (ack, mut answer) = oneshot::channel();
        let body = Body::Event { time: self.now(), event: Box::new(event) };
        self.send(Message { body, ack: Some(Ack::Signed(ack)), units: 1 }, room);
        loop {
            match answer.try_recv() {
                Ok(answer) => return answer.map(drop),
                Err(TryRecvError::Closed) => return Err(self.state.refusal()),
                Err(TryRecvError::Empty) if stopping.load(Ordering::SeqCst) => return Err(LogError::Closed),
                Err(TryRecvError::Empty) if std::time::Instant::now() > deadline => {
                    self.state.poison(&format!("the disk did not answer within {:?}", self.wait_max));
                    return Err(self.state.refusal());
                }
                Err(TryRecvError::Empty) => std::thread::sleep(CLOSE_POLL),
            }
        }
    }

    /// For a call that runs: closing waits for it, so it is not refused yet.
    pub(super) fn check_failure(&self) -> Result<(), LogError> {
        if self.state.failed() { Err(self.state.refusal()) } else { Ok(()) }
    }

    fn check(&self) -> Result<(), LogError> {
        self.check_failure()?;
        if self.closing.load(Ordering::SeqCst) { Err(LogError::Closed) } else { Ok(()) }
    }

    /// Waits for room in the queue.
    pub(super) async fn room(&self, units: u32) -> Result<OwnedSemaphorePermit, LogError> {
        match timeout(self.wait_max, Arc::clone(&self.state.room).acquire_many_owned(units)).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(self.state.refusal()),
            Err(_) => Err(LogError::Overloaded),
        }
    }

    /// Room in the queue if there is some now.
    pub(super) fn try_room(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.state.room).try_acquire_many_owned(units).ok()
    }

    /// Sends a message that has its room, which the writer gives back.
    pub(super) fn send(&self, message: Message, room: OwnedSemaphorePermit) {
        room.forget();
        self.send_unbounded(message);
    }

    /// If the writer is gone the message is dropped, and who waits for its answer is told.
    fn send_unbounded(&self, message: Message) {
        let urgent = message.ack.is_some();
        drop(self.sender.send(message));
        self.bell.sent(urgent);
    }

    /// As [`send`](Self::send), for a caller that can't go on before the kernel has its records. On a runtime with
    /// other workers it writes them by itself, if nobody else writes: should the disk hold it up, the others go on.
    pub(super) fn send_now(&self, message: Message, room: OwnedSemaphorePermit) {
        let has_workers =
            tokio::runtime::Handle::try_current().is_ok_and(|handle| handle.metrics().num_workers() > 1);
        if !has_workers {
            return self.send(message, room);
        }
        room.forget();
        drop(self.sender.send(message));
        self.writer.write_now();
    }

    /// Waits for the writer's or the syncer's answer.
    pub(super) async fn answer(
        &self,
        answer: oneshot::Receiver<Result<Sequence, LogError>>,
    ) -> Result<Sequence, LogError> {
        match timeout(self.wait_max, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.state.refusal()),
            Err(_) => {
                self.state.poison(&format!("the disk did not answer within {:?}", self.wait_max));
                Err(self.state.refusal())
            }
        }
    }

    /// Waits for the threads, which have been told to end.
    async fn join(&self) -> Result<(), LogError> {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        match timeout(self.wait_max, joined).await {
            Ok(Ok(())) => self.check_failure(),
            Ok(Err(_)) | Err(_) => Err(LogError::Overloaded),
        }
    }
}

/// Counts one running call for as long as it lives.
#[derive(Debug)]
pub(super) struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(calls: Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::SeqCst);
        Self(calls)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
