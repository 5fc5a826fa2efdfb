//! The calls that run now, and what ends one before its time: what is in force changed, so that it would
//! be denied now, or given less.
//!
//! Each change of what is in force judges all of them anew. A call judges itself when it begins, in case
//! something changed since it was allowed, and when a grant of it expires.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Host, HostError, InForce};
use crate::audit::event::{CallContext, Event};
use crate::authn::Admission;
use crate::ids::{CallId, GrantId, PrincipalId};
use crate::policy::{AuthorizationRequest, AuthorizedCall, Denial, Stop, authorize};
use crate::sandbox::CallControl;

/// How often a call looks whether it has expired: so late at most it ends, however the clock is set
/// meanwhile.
const EXPIRY_POLL: Duration = Duration::from_millis(500);

/// A call that runs now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningCall {
    /// Who calls what.
    #[serde(flatten)]
    pub context: CallContext,
    /// The grants that allow it; none while a component lists its tools at registration.
    pub grants: Vec<GrantId>,
    /// Since when.
    pub since: Timestamp,
}

/// The calls that run now.
#[derive(Debug, Default)]
pub(super) struct Running {
    calls: Mutex<BTreeMap<CallId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    subject: Arc<Subject>,
    since: Timestamp,
    /// None once it was told to stop.
    stop: Option<oneshot::Sender<Stop>>,
}

/// What is judged anew.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) context: Arc<CallContext>,
    /// None while a component lists its tools at registration, without any power.
    pub(super) authorized: Option<Arc<AuthorizedCall>>,
    /// How whoever made it was let in.
    pub(super) admission: Arc<Admission>,
    /// The line to it.
    pub(super) control: CallControl,
}

/// A running call's place among the others; given back when it is dropped.
struct Entered<'a> {
    running: &'a Running,
    call: CallId,
    stopped: oneshot::Receiver<Stop>,
}

impl Running {
    fn enter(&self, subject: Arc<Subject>, since: Timestamp) -> Entered<'_> {
        let (stop, stopped) = oneshot::channel();
        let call = subject.context.call;
        subject.control.begin();
        self.calls().insert(call, Entry { subject, since, stop: Some(stop) });
        Entered { running: self, call, stopped }
    }

    /// Tells each call to stop for which `judge` gives a reason; answers which.
    fn stop_where(&self, judge: impl Fn(&Subject) -> Option<Stop>) -> Vec<CallId> {
        let mut told = Vec::new();
        for (call, entry) in self.calls().iter_mut() {
            let Some(sender) = entry.stop.take() else { continue };
            match judge(&entry.subject) {
                Some(stop) => {
                    // One that has ended meanwhile needs no telling.
                    if sender.send(stop).is_ok() {
                        told.push(*call);
                    }
                }
                None => entry.stop = Some(sender),
            }
        }
        told
    }

    /// Asks a call to end. Whether it runs.
    fn cancel(&self, call: CallId) -> bool {
        let calls = self.calls();
        let running = calls.get(&call);
        if let Some(entry) = running {
            entry.subject.control.cancel();
        }
        running.is_some()
    }

    fn list(&self) -> Vec<RunningCall> {
        let shown = |entry: &Entry| RunningCall {
            context: CallContext::clone(&entry.subject.context),
            grants: entry.subject.authorized.as_ref().map(|call| call.grants().to_vec()).unwrap_or_default(),
            since: entry.since,
        };
        self.calls().values().map(shown).collect()
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<CallId, Entry>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.running.calls().remove(&self.call);
    }
}

impl Host {
    /// The calls that run now, the oldest first.
    pub fn running(&self) -> Vec<RunningCall> {
        self.running.list()
    }

    /// Asks a running call, or a kept one that waits, to end: its tool can see that, and is ended after
    /// [`CANCEL_GRACE`](crate::sandbox::CANCEL_GRACE). The log says who asked. With `of`, no call but one that this
    /// principal made: for whoever may not know of others.
    ///
    /// # Errors
    /// [`HostError::NotRunning`] if no such call runs; [`HostError::Log`] if the log can't be written.
    pub async fn cancel(
        &self,
        by: &PrincipalId,
        call: CallId,
        of: Option<&PrincipalId>,
    ) -> Result<(), HostError> {
        let is_it = |entry: &Entry| of.is_none_or(|of| entry.subject.context.principal == *of);
        let is_known = self.running.calls().get(&call).is_some_and(is_it) || self.calls.waits(call, of);
        if !is_known {
            return Err(HostError::NotRunning { call });
        }
        self.log.append(Event::CallCancelled { call, by: by.clone() }).await?;
        let is_kept = self.calls.cancel(call);
        match self.running.cancel(call) || is_kept {
            true => Ok(()),
            false => Err(HostError::NotRunning { call }),
        }
    }

    /// Has a kept call end because its request has, as other calls do.
    pub fn abandon_call(&self, call: CallId) {
        self.calls.cancel(call);
    }

    /// Ends when the call must. The call is among the running ones from the first poll until this is
    /// dropped; `allowed_by` is what it was allowed by.
    pub(super) async fn stopped(&self, subject: Subject, allowed_by: Arc<InForce>) -> Stop {
        let subject = Arc::new(subject);
        let mut entered = self.running.enter(Arc::clone(&subject), self.now());
        // A call of which no grant expires has no timer. One that is the next of all timers wakes the thread that waits
        // for them, and each call's would be.
        let mut replaced = self.changes();
        let mut expiry = subject.authorized.as_ref().and_then(|call| call.next_expiry());
        let mut judged_by = allowed_by;
        // It may have waited for its turn since its caller was let in.
        if self.is_revoked(&subject.context.principal, &subject.admission) {
            return Stop::CredentialRevoked { revision: judged_by.policy.revision };
        }
        loop {
            let in_force = self.in_force();
            // A change since the call was allowed did not find it among the running ones; one that found
            // it may have changed when it expires.
            let has_changed = !Arc::ptr_eq(&judged_by, &in_force);
            if has_changed || expiry.is_some_and(|expires| expires <= self.now()) {
                match self.judge(&subject, &in_force) {
                    Ok(next) => expiry = next,
                    Err(stop) => return stop,
                }
                judged_by = in_force;
            }
            tokio::select! {
                biased;
                stop = told(&mut entered.stopped) => return stop,
                Ok(()) = replaced.changed() => {}
                () = tokio::time::sleep(EXPIRY_POLL), if expiry.is_some() => {}
            }
        }
    }

    /// Judges all running calls by what is in force now; answers those that were told to stop.
    pub(super) fn stop_what_is_not_allowed(&self) -> Vec<CallId> {
        let in_force = self.in_force();
        self.running.stop_where(|subject| self.judge(subject, &in_force).err())
    }

    /// Whether a running call would still be allowed what it has; if so, when it must be judged again.
    fn judge(&self, subject: &Subject, in_force: &InForce) -> Result<Option<Timestamp>, Stop> {
        let (context, policy) = (&subject.context, &in_force.policy);
        let revision = policy.revision;
        let denied = |denial: Denial| Stop::Denied { revision, denial };
        let Some(held) = &subject.authorized else {
            let barred = policy.bars_component(&context.package, Some(context.digest));
            return barred.map_or(Ok(None), |denial| Err(denied(denial)));
        };
        if self.is_revoked(&context.principal, &subject.admission) {
            return Err(Stop::CredentialRevoked { revision });
        }
        let approved = in_force.approved.get(&context.package);
        let nothing = BTreeSet::new();
        let request = AuthorizationRequest {
            call: context.call,
            principal: &context.principal,
            groups: &subject.admission.groups,
            package: &context.package,
            tool: &context.tool,
            approved: approved.map(|package| package.digest),
            declared: approved.map_or(&nothing, |package| &package.description.capabilities),
            limits: &self.limits,
            now: self.now(),
        };
        let given = authorize(&request, policy).map_err(denied)?;
        match held.first_loss(&given) {
            Some(lost) => Err(Stop::Narrowed { revision, lost }),
            None => Ok(given.next_expiry()),
        }
    }
}

async fn told(stopped: &mut oneshot::Receiver<Stop>) -> Stop {
    match stopped.await {
        Ok(stop) => stop,
        // Its sender is kept as long as the call is among the running ones.
        Err(_) => std::future::pending().await,
    }
}
