//! Calls that outlive their request: those that were asked for asynchronously, and those with an Idempotency-Key.
//!
//! Each is in the database before it begins, runs in a task of its own, and ends whether or not anybody waits for it.
//! What its caller was told is kept for a time. A call that was open when the host ended is marked as interrupted at
//! the next start; it is never run again. Nothing here knows HTTP: whoever asks says how an ending is told.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{CallAnswer, CallError, CallRequest, Host, HostError};
use crate::audit::LogError;
use crate::audit::commitment::canonical;
use crate::audit::event::{AcceptedCall, Event};
use crate::database::{
    CallMode, DatabaseError, Keeping, KeptBounds, KeptEnd, KeptQuery, KeptRow, NewKeptCall,
};
use crate::ids::{CallId, IdempotencyKey, PackageName, PrincipalId, ToolName, hex};
use crate::sandbox::{CANCEL_GRACE, CallControl, InvokeError, Progress};

/// How long the answer of a call without a key is kept after its end: 1 hour.
pub const RESULT_KEPT: Duration = Duration::from_secs(60 * 60);
/// How long a key, and the answer of its call, is kept after the call's end: 24 hours.
pub const KEY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Kept calls of one caller that have not ended.
pub const OPEN_CALLS_MAX: usize = 64;
/// Kept calls of all callers that have not ended.
pub const OPEN_CALLS_HOST_MAX: usize = 1_024;
/// Keys of one caller; one more is refused.
pub const KEYS_MAX: usize = 10_000;
/// Calls without a key of one caller; for one more, the oldest that has ended goes.
pub const KEPT_CALLS_MAX: usize = 1_000;
/// Calls of all callers; one more is refused.
pub const KEPT_CALLS_HOST_MAX: u64 = 200_000;
/// Bytes of kept answers of one caller: 64 MiB; for more, the oldest answers go.
pub const KEPT_ANSWERS_BYTES_MAX: u64 = 64 << 20;
/// Bytes of kept answers of all callers: 1 GiB; of more, none is kept.
pub const KEPT_ANSWERS_HOST_BYTES_MAX: u64 = 1 << 30;
/// Bytes of the arguments of one caller's kept calls that have not ended: 8 MiB.
pub const OPEN_ARGUMENT_BYTES_MAX: u64 = 8 << 20;
/// The same of all callers: 64 MiB.
pub const OPEN_ARGUMENT_BYTES_HOST_MAX: u64 = 64 << 20;
/// Streams of one caller that follow calls at once.
pub const STREAMS_MAX: usize = 64;
/// Calls of one page of a list.
pub const PAGE_MAX: usize = 500;

/// What a call may take to end that was cancelled, beyond its tool's grace.
const END_TIME_MAX: Duration = Duration::from_secs(5);

const BOUNDS: KeptBounds =
    KeptBounds { keyed: KEYS_MAX, unkeyed: KEPT_CALLS_MAX, answer_bytes: KEPT_ANSWERS_BYTES_MAX };

/// A call that is to be kept.
#[derive(Clone, Debug)]
pub struct KeepRequest {
    /// The call.
    pub request: CallRequest,
    /// Who asks: the principal itself, or the owner of the data folder in its name.
    pub asked_by: PrincipalId,
    /// Whether who asks waits for its end.
    pub mode: CallMode,
    /// What makes a second request the same as the first.
    pub key: Option<IdempotencyKey>,
}

/// How a kept call ended.
#[derive(Debug)]
pub enum Ending {
    /// As any other call.
    Called(Box<Result<CallAnswer, CallError>>),
    /// It was asked to end before it began.
    CancelledBefore(CallId),
}

/// Makes the JSON document that tells a caller of an ending.
pub type Tell = Box<dyn FnOnce(Ending) -> String + Send>;

/// What came of asking for a call to be kept.
#[derive(Debug)]
pub enum Kept {
    /// It was taken, and runs or waits for its turn.
    Taken(Following),
    /// A request before this one had the same key, and was the same.
    Known(Box<KeptCall>),
}

/// A kept call that has not ended, as who follows it sees it.
#[derive(Clone, Debug)]
pub struct Following {
    /// Its id.
    pub call: CallId,
    /// How far it is.
    pub progress: watch::Receiver<Option<Progress>>,
    /// Its end, once it is on disk. If the sender goes before, the host failed.
    pub ended: watch::Receiver<Option<Arc<Ended>>>,
}

/// How a kept call ended, and what its caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: KeptEnd,
    /// JSON.
    pub document: String,
}

/// The state of a kept call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// It was taken and has not begun.
    Queued,
    /// It runs.
    Running,
    /// The tool answered.
    Succeeded,
    /// It gave no answer.
    Failed,
    /// It was asked to end.
    Cancelled,
    /// The host ended before the call did. It is not run again.
    Interrupted,
}

impl CallState {
    /// All states.
    pub const ALL: [CallState; 6] = [
        CallState::Queued,
        CallState::Running,
        CallState::Succeeded,
        CallState::Failed,
        CallState::Cancelled,
        CallState::Interrupted,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            CallState::Queued => "queued",
            CallState::Running => "running",
            CallState::Succeeded => "succeeded",
            CallState::Failed => "failed",
            CallState::Cancelled => "cancelled",
            CallState::Interrupted => "interrupted",
        }
    }

    /// What the database knows of it.
    const fn end(self) -> Option<KeptEnd> {
        match self {
            CallState::Queued | CallState::Running => None,
            CallState::Succeeded => Some(KeptEnd::Succeeded),
            CallState::Failed => Some(KeptEnd::Failed),
            CallState::Cancelled => Some(KeptEnd::Cancelled),
            CallState::Interrupted => Some(KeptEnd::Interrupted),
        }
    }
}

impl From<KeptEnd> for CallState {
    fn from(end: KeptEnd) -> Self {
        match end {
            KeptEnd::Succeeded => CallState::Succeeded,
            KeptEnd::Failed => CallState::Failed,
            KeptEnd::Cancelled => CallState::Cancelled,
            KeptEnd::Interrupted => CallState::Interrupted,
        }
    }
}

/// A kept call.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptCall {
    /// What is kept of it.
    pub row: KeptRow,
    /// How it is.
    pub state: CallState,
    /// How far it is, as its tool said last.
    pub progress: Option<Progress>,
}

/// Some kept calls, the newest first, without their answers.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptPage {
    /// They.
    pub calls: Vec<KeptCall>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<CallId>,
}

/// Why a call is not kept. Unless a variant says otherwise, nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The caller has as many open ones as it may.
    #[error(
        "{OPEN_CALLS_MAX} asynchronous calls and calls with a key go on at once, which is the most: wait until one has ended"
    )]
    TooManyOpen,
    /// All callers together have.
    #[error("the host has as many asynchronous calls and calls with a key as it can: try again later")]
    HostFull,
    /// The caller has as many keys as it may.
    #[error("{KEYS_MAX} keys are kept, which is the most: a key is kept for 24 hours")]
    TooManyKeys {
        /// When the first goes.
        until: Option<Timestamp>,
    },
    /// The key was used for something else.
    #[error("this Idempotency-Key was used before, for another request: a key stands for one request")]
    OtherRequest,
    /// The request was made before, and goes on.
    #[error("the request with this Idempotency-Key goes on: ask again when it has ended")]
    StillRuns {
        /// Its call.
        call: CallId,
    },
    /// The host ends.
    #[error("the host is about to end")]
    Stopping,
    /// The process goes away after its command, and the call with it.
    #[error(
        "nothing would run the call to its end: the data folder is owned by a command, not by `portcullis serve`"
    )]
    NotServed,
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The disk is low.
    #[error(transparent)]
    DiskLow(#[from] super::DiskLow),
}

impl From<DatabaseError> for KeepError {
    fn from(error: DatabaseError) -> Self {
        HostError::from(error).into()
    }
}

/// The kept calls that have not ended, and who follows them.
#[derive(Debug)]
pub(super) struct Calls {
    open: Mutex<Open>,
    /// How many are open.
    count: watch::Sender<usize>,
    /// About how many are kept in all, and how many bytes their answers have.
    kept: AtomicU64,
    kept_bytes: AtomicU64,
    /// Whether asynchronous calls are taken: whether this process stays.
    stays: bool,
    streams: Arc<Mutex<BTreeMap<PrincipalId, usize>>>,
}

#[derive(Debug, Default)]
struct Open {
    calls: BTreeMap<CallId, Arc<Live>>,
    /// No more are taken.
    is_closed: bool,
}

#[derive(Debug)]
struct Live {
    asked_by: PrincipalId,
    principal: PrincipalId,
    argument_bytes: u64,
    control: CallControl,
    /// Turns true when it is asked to end.
    stop: watch::Sender<bool>,
    ended: watch::Sender<Option<Arc<Ended>>>,
    task: OnceLock<AbortHandle>,
}

impl Live {
    fn cancel(&self) {
        self.control.cancel();
        self.stop.send_replace(true);
    }

    fn following(&self, call: CallId) -> Following {
        Following { call, progress: self.control.progress(), ended: self.ended.subscribe() }
    }

    fn state(&self) -> CallState {
        if self.control.has_begun() { CallState::Running } else { CallState::Queued }
    }

    /// Ends if the call is asked to end before it begins. Once it has begun, its sandbox ends it.
    async fn is_cancelled_before(&self) {
        let mut stop = self.stop.subscribe();
        // The sender is `self`'s.
        drop(stop.wait_for(|stop| *stop).await);
        if self.control.has_begun() {
            std::future::pending::<()>().await;
        }
    }
}

/// A call's place among the open ones; given back when it is dropped.
#[derive(Debug)]
struct Place {
    host: Arc<Host>,
    call: CallId,
    live: Arc<Live>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let calls = &self.host.calls;
        let mut open = calls.open();
        open.calls.remove(&self.call);
        calls.count.send_replace(open.calls.len());
    }
}

/// A stream's place among those of its caller; given back when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct StreamPlace {
    streams: Arc<Mutex<BTreeMap<PrincipalId, usize>>>,
    of: PrincipalId,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = streams.entry(self.of.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Calls {
    pub(super) fn new(stays: bool) -> Self {
        Self {
            open: Mutex::default(),
            count: watch::Sender::new(0),
            kept: AtomicU64::new(0),
            kept_bytes: AtomicU64::new(0),
            stays,
            streams: Arc::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, call: CallId) -> Option<Arc<Live>> {
        self.open().calls.get(&call).cloned()
    }

    /// Whether a call of that principal, or of anybody, is open and has not begun.
    pub(super) fn waits(&self, call: CallId, of: Option<&PrincipalId>) -> bool {
        let waits =
            |live: &Live| of.is_none_or(|of| live.principal == *of) && live.state() == CallState::Queued;
        self.live(call).is_some_and(|live| waits(&live))
    }

    /// Asks an open call to end. Whether it is open.
    pub(super) fn cancel(&self, call: CallId) -> bool {
        let live = self.live(call);
        if let Some(live) = &live {
            live.cancel();
        }
        live.is_some()
    }
}

impl Host {
    /// Takes a call that outlives its request, unless there is one with its key. The call is in the database before it
    /// begins, and, if nobody waits for it, in the log before this returns. `tell` makes what is kept of its ending.
    ///
    /// # Errors
    /// [`KeepError`].
    pub async fn keep_call(self: &Arc<Self>, wanted: KeepRequest, tell: Tell) -> Result<Kept, KeepError> {
        let new = new_row(&wanted);
        let place = match self.enter(&new, wanted.request.argument_bytes) {
            Ok(place) => place,
            // One that was made before needs no place, and nothing of the host but its database.
            Err(refusal) => match &new.key {
                Some((key, _)) => match self.database.call_of_key(&new, key, self.now()).await? {
                    Some(row) => return self.known(&new, row).await,
                    None => return Err(refusal),
                },
                None => return Err(refusal),
            },
        };
        let following = place.live.following(new.call);
        let live = Arc::clone(&place.live);
        let (taken, is_taken) = oneshot::channel();
        let host = Arc::clone(self);
        // In a task of its own from here on: a client that goes away leaves nothing half done.
        let task = tokio::spawn(async move { host.see_through(place, new, wanted, tell, taken).await });
        live.task.set(task.abort_handle()).ok();
        match is_taken.await {
            Ok(Ok(None)) => Ok(Kept::Taken(following)),
            Ok(Ok(Some(known))) => Ok(Kept::Known(known)),
            Ok(Err(error)) => Err(error),
            // It was aborted, because the host ends.
            Err(_) => Err(KeepError::Stopping),
        }
    }

    fn enter(self: &Arc<Self>, new: &NewKeptCall, argument_bytes: u64) -> Result<Place, KeepError> {
        self.log.check()?;
        self.disk.check()?;
        if new.mode == CallMode::Async && !self.calls.stays {
            return Err(KeepError::NotServed);
        }
        if self.calls.kept.load(Ordering::Relaxed) >= KEPT_CALLS_HOST_MAX {
            return Err(KeepError::HostFull);
        }
        let mut open = self.calls.open();
        if open.is_closed {
            return Err(KeepError::Stopping);
        }
        let sum = |(calls, bytes): (usize, u64), live: &Arc<Live>| (calls + 1, bytes + live.argument_bytes);
        let (calls, bytes) = open.calls.values().fold((0, argument_bytes), sum);
        if calls >= OPEN_CALLS_HOST_MAX || bytes > OPEN_ARGUMENT_BYTES_HOST_MAX {
            return Err(KeepError::HostFull);
        }
        let is_same =
            |live: &&Arc<Live>| (&live.asked_by, &live.principal) == (&new.asked_by, &new.principal);
        let (calls, bytes) = open.calls.values().filter(is_same).fold((0, argument_bytes), sum);
        if calls >= OPEN_CALLS_MAX || bytes > OPEN_ARGUMENT_BYTES_MAX {
            return Err(KeepError::TooManyOpen);
        }
        let live = Arc::new(Live {
            asked_by: new.asked_by.clone(),
            principal: new.principal.clone(),
            argument_bytes,
            control: CallControl::default(),
            stop: watch::Sender::new(false),
            ended: watch::Sender::new(None),
            task: OnceLock::new(),
        });
        open.calls.insert(new.call, Arc::clone(&live));
        self.calls.count.send_replace(open.calls.len());
        Ok(Place { host: Arc::clone(self), call: new.call, live })
    }

    /// Keeps a call, says so, and runs it to its end.
    async fn see_through(
        self: Arc<Self>,
        place: Place,
        new: NewKeptCall,
        wanted: KeepRequest,
        tell: Tell,
        taken: oneshot::Sender<Result<Option<Box<KeptCall>>, KeepError>>,
    ) {
        let answer = match self.write_down(&new, &wanted).await {
            Ok(None) => Ok(None),
            Ok(Some(row)) => match self.known(&new, row).await {
                Ok(Kept::Known(known)) => Ok(Some(known)),
                Ok(Kept::Taken(_)) => Err(KeepError::Stopping),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let is_taken = matches!(answer, Ok(None));
        let is_heard = taken.send(answer).is_ok();
        if !is_taken {
            return;
        }
        // Nobody knows of it, and nobody can ask for it again.
        if !is_heard && new.key.is_none() {
            self.forget(new.call).await;
            return;
        }
        let live = Arc::clone(&place.live);
        let called = tokio::select! {
            biased;
            called = self.call_numbered(new.call, wanted.request, &live.control) => Some(called),
            () = live.is_cancelled_before() => None,
        };
        self.end(&place, &new, called, tell).await;
    }

    /// Writes a call down before it begins; if there is one with its key, gives that.
    async fn write_down(
        &self,
        new: &NewKeptCall,
        wanted: &KeepRequest,
    ) -> Result<Option<KeptRow>, KeepError> {
        match self.database.keep_call(new, BOUNDS, self.now()).await? {
            Keeping::New => {}
            Keeping::Known(row) => return Ok(Some(*row)),
            Keeping::NoRoom(until) => return Err(KeepError::TooManyKeys { until }),
        }
        self.calls.kept.fetch_add(1, Ordering::Relaxed);
        if new.mode == CallMode::Sync {
            return Ok(None);
        }
        let event = Event::CallAccepted(AcceptedCall {
            call: new.call,
            principal: new.principal.clone(),
            package: new.package.clone(),
            tool: new.tool.clone(),
            argument_bytes: wanted.request.argument_bytes,
            by: new.asked_by.clone(),
        });
        match self.log.append(event).await {
            Ok(_) => Ok(None),
            Err(error) => {
                self.forget(new.call).await;
                Err(error.into())
            }
        }
    }

    async fn forget(&self, call: CallId) {
        if let Err(error) = self.database.forget_call(call).await {
            tracing::warn!(%error, %call, "a call that did not begin is listed");
        }
    }

    /// Keeps what came of a call, and then tells those who wait.
    async fn end(
        &self,
        place: &Place,
        new: &NewKeptCall,
        called: Option<Result<CallAnswer, CallError>>,
        tell: Tell,
    ) {
        let end = match &called {
            Some(Ok(_)) => KeptEnd::Succeeded,
            None | Some(Err(CallError::Failed { error: InvokeError::Cancelled, .. })) => KeptEnd::Cancelled,
            Some(Err(_)) => KeptEnd::Failed,
        };
        // A key stands for a call that has begun: what had no effect may be tried again.
        let is_busy = matches!(&called, Some(Err(CallError::Failed { error: InvokeError::Busy, .. })));
        let is_keyed = new.key.is_some();
        let keeps_key = is_keyed && place.live.control.has_begun() && !is_busy;
        let ending = match called {
            Some(called) => Ending::Called(Box::new(called)),
            None => Ending::CancelledBefore(new.call),
        };
        let document = tell(ending);
        let now = self.now();
        let kept = async {
            if is_keyed && !keeps_key {
                match new.mode {
                    CallMode::Sync => return self.database.forget_call(new.call).await,
                    CallMode::Async => self.database.release_key(new.call).await?,
                }
            }
            let kept_for = if keeps_key { KEY_KEPT } else { RESULT_KEPT };
            let until = later(now, kept_for);
            let bytes = document.len() as u64;
            let held = self.calls.kept_bytes.fetch_add(bytes, Ordering::Relaxed);
            let answer = (held + bytes <= KEPT_ANSWERS_HOST_BYTES_MAX).then_some(document.as_str());
            self.database.end_kept_call(new.call, (end, now), until, answer, BOUNDS).await
        };
        if let Err(error) = kept.await {
            // Who waits is answered all the same; at the next start the call is listed as interrupted.
            tracing::warn!(%error, call = %new.call, "the answer of a call is not kept");
        }
        place.live.ended.send_replace(Some(Arc::new(Ended { end, document })));
    }

    /// What a request is answered whose key is known.
    async fn known(&self, new: &NewKeptCall, row: KeptRow) -> Result<Kept, KeepError> {
        let fingerprint = new.key.as_ref().map(|(_, fingerprint)| fingerprint);
        if row.fingerprint.as_ref() != fingerprint {
            return Err(KeepError::OtherRequest);
        }
        let call = row.call;
        let known = match row.end {
            Some((end, _)) => KeptCall { row, state: end.into(), progress: None },
            // It may have ended meanwhile.
            None => self.kept_call(call, None).await?.ok_or(KeepError::StillRuns { call })?,
        };
        let is_open = matches!(known.state, CallState::Queued | CallState::Running);
        if is_open && known.row.mode == CallMode::Sync {
            return Err(KeepError::StillRuns { call });
        }
        Ok(Kept::Known(Box::new(known)))
    }

    /// Whether a call can be taken that nobody waits for: not if this process ends with its command.
    pub fn takes_asynchronous_calls(&self) -> bool {
        self.calls.stays
    }

    /// A kept call; with `of`, none but one that this principal asked for.
    ///
    /// # Errors
    /// [`HostError::Database`].
    pub async fn kept_call(
        &self,
        call: CallId,
        of: Option<&PrincipalId>,
    ) -> Result<Option<KeptCall>, HostError> {
        // Before the row: a call that is not open any more has its end in there.
        let live = self.calls.live(call);
        let row = self.database.kept_call(call, self.now()).await?;
        let row = row.filter(|row| of.is_none_or(|of| row.asked_by == *of));
        Ok(row.map(|row| shown(row, live.as_deref())))
    }

    /// A page of kept calls, the newest first; with `of`, those that this principal asked for.
    ///
    /// # Errors
    /// [`HostError::Database`].
    pub async fn kept_calls(
        &self,
        of: Option<&PrincipalId>,
        state: Option<CallState>,
        before: Option<CallId>,
        limit: usize,
    ) -> Result<KeptPage, HostError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut query = KeptQuery { asked_by: of.cloned(), end: state.map(CallState::end), before };
        let mut calls = Vec::new();
        // More than one round only to tell those that wait from those that run, of which there are few.
        loop {
            let live = self.calls.open().calls.clone();
            let rows = self.database.kept_calls(&query, limit + 1, self.now()).await?;
            let is_last = rows.len() <= limit;
            for row in rows {
                query.before = Some(row.call);
                let call = row.call;
                let call = shown(row, live.get(&call).map(Arc::as_ref));
                if state.is_some_and(|state| state != call.state) {
                    continue;
                }
                if calls.len() == limit {
                    let next = calls.last().map(|call: &KeptCall| call.row.call);
                    return Ok(KeptPage { calls, next });
                }
                calls.push(call);
            }
            if is_last {
                return Ok(KeptPage { calls, next: None });
            }
        }
    }

    /// Follows a kept call that has not ended. Whose it is was judged before.
    pub fn follow_call(&self, call: CallId) -> Option<Following> {
        self.calls.live(call).map(|live| live.following(call))
    }

    /// A place for a stream that follows a call; `None` if the principal has as many as it may.
    pub fn enter_stream(&self, of: &PrincipalId) -> Option<StreamPlace> {
        let mut streams = self.calls.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let count = streams.entry(of.clone()).or_default();
        if *count >= STREAMS_MAX {
            return None;
        }
        *count += 1;
        Some(StreamPlace { streams: Arc::clone(&self.calls.streams), of: of.clone() })
    }

    /// Removes kept calls whose time is over. Whoever serves a host does it now and then.
    ///
    /// # Errors
    /// [`HostError::Database`].
    pub async fn sweep_kept_calls(&self) -> Result<(), HostError> {
        let (calls, bytes) = self.database.sweep_kept_calls(self.now()).await?;
        self.calls.kept.store(calls, Ordering::Relaxed);
        self.calls.kept_bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Takes no more kept calls, gives those that are open so long to end, and then cancels and records them.
    pub async fn drain_kept_calls(&self, time: Duration) {
        self.calls.open().is_closed = true;
        let mut count = self.calls.count.subscribe();
        let mut are_ended = async |time| timeout(time, count.wait_for(|count| *count == 0)).await.is_ok();
        if are_ended(time).await {
            return;
        }
        let open = || self.calls.open().calls.values().cloned().collect::<Vec<_>>();
        tracing::warn!(calls = open().len(), "calls were still running and are cancelled");
        for live in open() {
            live.cancel();
        }
        if are_ended(CANCEL_GRACE + END_TIME_MAX).await {
            return;
        }
        // Dropped, a call is recorded as cancelled as well; its row says at the next start that it was interrupted.
        for live in open() {
            live.task.get().map(AbortHandle::abort);
        }
        if !are_ended(END_TIME_MAX).await {
            tracing::warn!("calls did not end");
        }
    }

    /// Marks what an earlier host left open.
    pub(super) async fn interrupt_kept_calls(&self) -> Result<(), HostError> {
        let now = self.now();
        let left = self.database.interrupt_kept_calls(now, milliseconds(RESULT_KEPT), milliseconds(KEY_KEPT));
        let interrupted = left.await?;
        if interrupted > 0 {
            tracing::warn!(interrupted, "calls were open when the last host ended");
        }
        self.sweep_kept_calls().await
    }
}

fn shown(row: KeptRow, live: Option<&Live>) -> KeptCall {
    let state = match (row.end, live) {
        (Some((end, _)), _) => end.into(),
        (None, Some(live)) => live.state(),
        // Its task failed, or its end could not be kept.
        (None, None) => CallState::Interrupted,
    };
    let is_open = matches!(state, CallState::Queued | CallState::Running);
    let progress = live.filter(|_| is_open).and_then(|live| live.control.progress().borrow().clone());
    KeptCall { row, state, progress }
}

fn new_row(wanted: &KeepRequest) -> NewKeptCall {
    let KeepRequest { request, asked_by, mode, key } = wanted;
    let CallRequest { principal, package, tool, arguments, .. } = request;
    NewKeptCall {
        call: CallId::generate(),
        asked_by: asked_by.clone(),
        principal: principal.clone(),
        package: package.clone(),
        tool: tool.clone(),
        mode: *mode,
        key: key.as_ref().map(|key| (key.as_str().to_owned(), fingerprint(package, tool, *mode, arguments))),
    }
}

/// What makes two requests the same: package, tool, mode and arguments, however these are written.
fn fingerprint(package: &PackageName, tool: &ToolName, mode: CallMode, arguments: &Value) -> String {
    let mut hash = Sha256::new();
    // No name has a line end.
    for part in ["portcullis request/1", package.as_str(), tool.as_str(), mode.name()] {
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    hash.update(canonical(arguments));
    hex(&hash.finalize())
}

fn later(now: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::from_millis(milliseconds(time));
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_requests_are_the_same_however_their_arguments_are_written() {
        let of = |package: &str, tool: &str, mode, text: &str| {
            let arguments = serde_json::from_str(text).expect("JSON");
            fingerprint(&package.parse().expect("a name"), &tool.parse().expect("a name"), mode, &arguments)
        };
        let first = of("notes", "add", CallMode::Sync, r#"{"a": 1, "b": [true, null]}"#);
        assert_eq!(first, of("notes", "add", CallMode::Sync, r#"{"b":[true,null],"a":1}"#));
        for other in [
            of("notes", "add", CallMode::Async, r#"{"a": 1, "b": [true, null]}"#),
            of("notes", "adb", CallMode::Sync, r#"{"a": 1, "b": [true, null]}"#),
            of("note", "add", CallMode::Sync, r#"{"a": 1, "b": [true, null]}"#),
            of("notes", "add", CallMode::Sync, r#"{"a": 1, "b": [null, true]}"#),
            of("notes", "add", CallMode::Sync, r#"{"a": 1.0, "b": [true, null]}"#),
            of("notes", "add", CallMode::Sync, "{}"),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(first.len(), 64);
        assert_eq!(canonical(&json!({"b": 1, "a": 2})), br#"{"a":2,"b":1}"#);
    }
}
