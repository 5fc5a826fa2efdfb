//! The records of one call, from *admitted* to *finished*.
//!
//! Each running call owns one recorder. Records without an effect are buffered; an attempt takes
//! them along to the kernel before the effect may happen. The last record has its room in the queue
//! from the beginning, so that no way of ending a call leaves it open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::commitment::{Commitment, Committed};
use super::event::{
    Attempt, CallContext, CallEnd, CallOutcome, HostCall, HostCallResult, SecretInjected, SecretLeak,
};
use super::fold::Folds;
use super::line::{self, CallEntry, CallText};
use super::log::{Handle, LogError, Running};
use super::writer::{Ack, Body, Message};
use crate::authn::Credential;
use crate::ids::Sequence;
use crate::limits::Usage;
use crate::policy::Durability;

/// When a recorder tries to hand its records over.
const HAND_OVER_UNITS: u32 = 512;

/// The most that a recorder may hold, in units of a record or 256 bytes of its text (about 2 MiB)
/// before it says [`LogError::Overloaded`].
pub const RECORDER_UNITS_MAX: u32 = 8_192;

/// The most that the records of one call can hold in memory, in bytes of the log.
pub const RECORDER_BYTES_MAX: u64 = RECORDER_UNITS_MAX as u64 * 256;

/// How long the time of host calls is told from what passed since a read of the log's clock: one that is set, or set
/// back, shows in their records after this long at most.
const CLOCK_AGE_MAX: Duration = Duration::from_secs(1);

/// How a call is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// What whoever calls was let in by; `None`: by being able to open the data folder.
    pub credential: Option<Credential>,
    /// What its effects and its end wait for.
    pub durability: Durability,
    /// Whether repeated reads of the same thing are one record.
    pub fold_reads: bool,
    /// What the call commits to of its arguments.
    pub arguments: Option<Committed>,
}

/// Takes the records of one call. Dropped unfinished, it records the call as cancelled.
#[derive(Debug)]
#[must_use]
pub struct Recorder {
    handle: Arc<Handle>,
    call: Arc<CallText>,
    entries: Vec<(Timestamp, CallEntry)>,
    /// What `entries` weighs.
    units: u32,
    durability: Durability,
    /// Reads that may be repeated yet, if those are folded.
    folds: Option<Folds>,
    /// What the call commits to: of its arguments, and of its result once there is one.
    commitments: (Option<Commitment>, Option<Commitment>),
    /// When the log's clock was read last for a host call, and what it said.
    clock: Option<(Instant, Timestamp)>,
    /// Records so far, those in `entries` included.
    records: u64,
    /// The room of the last record; none once that is queued.
    last_room: Option<OwnedSemaphorePermit>,
    /// Goes after the last record is queued, so that closing the log waits for that.
    _running: Running,
}

impl Recorder {
    pub(super) fn new(
        handle: Arc<Handle>,
        call: Arc<CallText>,
        recording: Recording,
        last_room: OwnedSemaphorePermit,
        running: Running,
    ) -> Self {
        Self {
            handle,
            call,
            entries: Vec::new(),
            units: 0,
            durability: recording.durability,
            folds: recording.fold_reads.then(Folds::default),
            commitments: (recording.arguments.map(|committed| committed.commitment), None),
            clock: None,
            records: 1,
            last_room: Some(last_room),
            _running: running,
        }
    }

    /// Who calls what.
    pub fn context(&self) -> &Arc<CallContext> {
        self.call.context()
    }

    /// Records a host call without an effect, or one that was denied, and when it `ended`, which is just now. Never
    /// waits: it is buffered, and handed over from time to time if the queue has room. The record is kept even on an
    /// error.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] if the log failed, [`LogError::Overloaded`] if more than
    /// [`RECORDER_UNITS_MAX`] are held. The caller must end the call, or, if overloaded, wait for
    /// [`Recorder::flush`] before the guest goes on.
    pub fn observe(&mut self, call: HostCall, ended: Instant) -> Result<(), LogError> {
        let now = self.time_of(ended);
        let Some(folds) = &mut self.folds else { return self.note_at(now, CallEntry::of_host_call(call)) };
        match folds.take(now, call) {
            Some((time, call)) => self.note_at(time, CallEntry::of_host_call(call)),
            None => self.handle.check_failure(),
        }
    }

    /// The time of day at a moment that is hardly over. Who asks has read a clock for that moment, so that the log's need
    /// not be read as well.
    fn time_of(&mut self, moment: Instant) -> Timestamp {
        if let Some((read, time)) = self.clock
            && let Some(since) = moment.checked_duration_since(read).filter(|since| *since < CLOCK_AGE_MAX)
            && let Ok(time) = time.checked_add(since)
        {
            return time;
        }
        let now = self.handle.now();
        self.clock = Some((moment, now));
        now
    }

    /// Records that a secret was about to leave. As [`observe`](Self::observe).
    ///
    /// # Errors
    /// The same.
    pub fn leak(&mut self, leak: SecretLeak) -> Result<(), LogError> {
        self.note(CallEntry::SecretLeak(leak))
    }

    /// Records that a secret is put into the request whose attempt comes next, and takes this along. As
    /// [`observe`](Self::observe).
    ///
    /// # Errors
    /// The same.
    pub fn injected(&mut self, injected: SecretInjected) -> Result<(), LogError> {
        self.note(CallEntry::SecretInjected(injected))
    }

    fn note(&mut self, entry: CallEntry) -> Result<(), LogError> {
        self.note_at(self.handle.now(), entry)
    }

    fn note_at(&mut self, time: Timestamp, mut entry: CallEntry) -> Result<(), LogError> {
        line::bound(&mut entry);
        self.push_at(time, entry);
        if self.units >= HAND_OVER_UNITS {
            self.try_hand_over();
        }
        self.handle.check_failure()?;
        if self.units > RECORDER_UNITS_MAX { Err(LogError::Overloaded) } else { Ok(()) }
    }

    /// Whether records pile up because the queue is full. Async host calls, and the callback of the
    /// epoch, then wait for [`Recorder::flush`], so that a flood slows down its maker.
    pub fn is_behind(&self) -> bool {
        self.units >= HAND_OVER_UNITS
    }

    /// Waits until the queue has room for the buffered records, and hands them over. Does not wait for
    /// the disk. Dropped while it waits, it has changed nothing.
    ///
    /// # Errors
    /// [`LogError`]: the caller must end the call.
    pub async fn flush(&mut self) -> Result<(), LogError> {
        self.close_folds();
        if self.entries.is_empty() {
            return self.handle.check_failure();
        }
        let room = self.handle.room(self.units).await?;
        let message = self.take_entries(None);
        self.handle.send(message, room);
        Ok(())
    }

    /// Records that an effect is about to happen, and returns once the kernel, or at
    /// [`Durability::Strict`] the disk, has that record and all before it. Only then may the effect happen. Dropped while it waits, the record may be in the
    /// log: an attempt without outcome, which reads "unknown".
    ///
    /// # Errors
    /// [`LogError`]: the effect must not happen, and the caller must end the call.
    pub async fn attempt(&mut self, attempt: Attempt) -> Result<Sequence, LogError> {
        self.close_folds();
        let mut entry = CallEntry::EffectAttempted(Box::new(attempt));
        line::bound(&mut entry);
        let time = self.handle.now();
        let room = self.handle.room(self.units.saturating_add(line::units(&entry))).await?;
        self.push_at(time, entry);
        let (ack, answer) = oneshot::channel();
        let ack = if self.durability == Durability::Strict { Ack::Durable(ack) } else { Ack::Written(ack) };
        let message = self.take_entries(Some(ack));
        self.handle.send_now(message, room);
        self.handle.answer(answer).await
    }

    /// Records what came of an attempt. Buffered: each follows an attempt, which empties the buffer,
    /// so these are never many.
    pub fn effect_finished(&mut self, attempt: Sequence, result: HostCallResult) {
        self.push(CallEntry::EffectFinished { attempt, result: Box::new(result) });
    }

    /// Notes the commitment to the call's result, which its last record has.
    pub fn commit_result(&mut self, commitment: Option<Commitment>) {
        self.commitments.1 = commitment;
    }

    /// Records the call's end. At [`Durability::Relaxed`] it returns at once, else with the place of that
    /// record once the call's records are on disk. Dropped while it waits, the record is queued all the same.
    ///
    /// # Errors
    /// [`LogError`]: the answer must not leave.
    pub async fn finish(mut self, outcome: CallOutcome, usage: Usage) -> Result<Option<Sequence>, LogError> {
        if self.durability == Durability::Relaxed {
            return self.finish_unawaited(outcome, usage).map(|()| None);
        }
        let (ack, answer) = oneshot::channel();
        self.end(outcome, usage, Some(Ack::Durable(ack)));
        self.handle.answer(answer).await.map(Some)
    }

    /// Records the call's end and does not wait for the disk: for a call whose caller's end is waited for.
    ///
    /// # Errors
    /// [`LogError`]: the answer must not leave.
    pub fn finish_unawaited(mut self, outcome: CallOutcome, usage: Usage) -> Result<(), LogError> {
        self.end(outcome, usage, None);
        self.handle.check_failure()
    }

    /// Records the call's end without waiting for anything, in the room that was reserved for it.
    pub fn cancel(mut self, outcome: CallOutcome, usage: Usage) {
        self.end(outcome, usage, None);
    }

    /// Queues the last record, once. What is still buffered goes with it without room of its own: it
    /// is bounded by [`RECORDER_UNITS_MAX`].
    fn end(&mut self, outcome: CallOutcome, usage: Usage, ack: Option<Ack>) {
        let Some(room) = self.last_room.take() else { return };
        self.close_folds();
        // The root is the writer's to say, since the lines are made there.
        let (arguments_commitment, result_commitment) = self.commitments;
        let records = self.records;
        let end =
            CallEnd { outcome, records, records_root: None, arguments_commitment, result_commitment, usage };
        self.push(CallEntry::Finished(Box::new(end)));
        let message = Message { units: 1, ..self.take_entries(ack) };
        self.handle.send(message, room);
    }

    /// Records the reads that were folded so far: what is recorded next comes after them.
    fn close_folds(&mut self) {
        let Some(folds) = self.folds.as_mut().filter(|folds| !folds.is_empty()) else { return };
        for (time, call) in folds.close() {
            let mut entry = CallEntry::of_host_call(call);
            line::bound(&mut entry);
            self.push_at(time, entry);
        }
    }

    fn push(&mut self, mut entry: CallEntry) {
        line::bound(&mut entry);
        self.push_at(self.handle.now(), entry);
    }

    fn push_at(&mut self, time: Timestamp, entry: CallEntry) {
        self.units = self.units.saturating_add(line::units(&entry));
        self.records += 1;
        self.entries.push((time, entry));
    }

    fn try_hand_over(&mut self) {
        if let Some(room) = self.handle.try_room(self.units) {
            let records = self.entries.len();
            let message = self.take_entries(None);
            self.handle.send(message, room);
            // Whoever made so many makes as many again, which would be moved each time that there is no room for them.
            self.entries.reserve_exact(records);
        }
    }

    /// All that is buffered, as one message.
    fn take_entries(&mut self, ack: Option<Ack>) -> Message {
        let entries = std::mem::take(&mut self.entries);
        let units = std::mem::take(&mut self.units);
        Message { body: Body::Call { call: Arc::clone(&self.call), entries }, ack, units }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end(CallOutcome::Cancelled, Usage::default(), None);
    }
}
