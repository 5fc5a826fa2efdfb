//! How much principals and packages used of what they may: calls a minute, fuel an hour, bytes sent a day.
//!
//! A call that begins counts at once, holds the fuel that it may use at most until it ends, and asks before each byte
//! leaves: so no window holds more than it may, however many calls run. Calls of tools count for their package; for
//! their principal, their fuel is that of the call that made them. What is used is written down by
//! [`Host::write_quotas`] every few seconds: a host that is killed forgets no more than that.

mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::window::{Meter, Window};
use super::standing::Taken;
use super::{CallError, CallRequest, Host, HostError, InForce};
use crate::database::{QuotaUsage, Step};
use crate::egress;
use crate::ids::{PackageName, PrincipalId};
use crate::limits::{HostLimits, Limit, LimitReached};
use crate::package::Capability;
use crate::policy::{AuthorizedCall, QuotaSubject, Quotas, QuotasChange, Resource};
use crate::sandbox::Spent;

/// How often what is used is written down, if somebody asks for it that often.
const WRITE_INTERVAL: Duration = Duration::from_secs(3);

/// A quota that is used up. Nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaReached {
    /// Which, and how much is allowed. The value is always one more: what others used of a package's is not told.
    pub reached: LimitReached,
    /// When there is room again.
    pub retry_after: Duration,
}

/// What is used of one quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaUse {
    /// Which.
    pub limit: Limit,
    /// What counts now.
    pub used: u64,
    /// What running calls may still use.
    pub held: u64,
    /// The most that is allowed.
    pub max: u64,
}

/// What an admin said of a principal or package, and what it uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaStatus {
    /// Whose.
    pub subject: QuotaSubject,
    /// What was said.
    pub quotas: Quotas,
    /// Calls that run.
    pub running: u64,
    /// Calls that wait for a place. Of a package, it is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// What is used of each quota.
    pub used: Vec<QuotaUse>,
}

/// What came of setting quotas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotasChanged {
    /// What came of it.
    #[serde(flatten)]
    pub taken: Taken,
    /// What holds now.
    pub status: QuotaStatus,
}

/// What all have used.
#[derive(Debug)]
pub(super) struct QuotaBook {
    /// What holds for those of whom nothing was said, by the kind of subject and resource.
    defaults: Defaults,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
struct Defaults(HostLimits);

#[derive(Debug)]
struct State {
    meters: BTreeMap<QuotaSubject, [Meter; 3]>,
    /// Time never goes back here, or a clock that was set back would give everything anew.
    latest: Duration,
    written_at: Instant,
}

/// What one call holds; settled when it is dropped.
#[derive(Debug)]
#[must_use = "what is held is settled when this is dropped"]
pub(super) struct Held {
    book: Arc<QuotaBook>,
    parts: Vec<Part>,
    fuel: u64,
    spent: Spent,
}

#[derive(Clone, Debug)]
struct Part {
    subject: QuotaSubject,
    egress_max: u64,
    holds_fuel: bool,
}

/// What may still leave the host in a call.
#[derive(Debug)]
struct Leaving {
    book: Arc<QuotaBook>,
    parts: Vec<Part>,
}

impl egress::Meter for Leaving {
    fn take(&self, bytes: u64) -> Result<(), LimitReached> {
        let mut state = self.book.state();
        let now = state.now();
        for Part { subject, egress_max: max, .. } in &self.parts {
            if state.meter(subject, Resource::Egress).room(*max, now) < bytes {
                return Err(used_up(subject.limit(Resource::Egress), *max));
            }
        }
        for part in &self.parts {
            state.meter(&part.subject, Resource::Egress).add(bytes, now);
        }
        Ok(())
    }
}

const fn used_up(limit: Limit, max: u64) -> LimitReached {
    LimitReached { limit, value: max.saturating_add(1), max }
}

impl State {
    fn now(&mut self) -> Duration {
        let clock = Duration::from_secs(u64::try_from(Timestamp::now().as_second()).unwrap_or(0));
        self.latest = self.latest.max(clock);
        self.latest
    }

    fn meter(&mut self, subject: &QuotaSubject, resource: Resource) -> &mut Meter {
        if !self.meters.contains_key(subject) {
            self.meters.insert(subject.clone(), Resource::ALL.map(Meter::new));
        }
        let meters = self.meters.get_mut(subject).expect("it was put there");
        &mut meters[resource as usize]
    }
}

impl QuotaBook {
    pub(super) fn new(limits: &HostLimits, latest: Timestamp, used: Vec<QuotaUsage>) -> Self {
        let latest = Duration::from_secs(u64::try_from(latest.as_second()).unwrap_or(0));
        let mut state = State { meters: BTreeMap::new(), latest, written_at: Instant::now() };
        for QuotaUsage { subject, resource, step, used } in used {
            state.meter(&subject, resource).restore(step, used);
        }
        Self { defaults: Defaults(limits.clone()), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn max(&self, subject: &QuotaSubject, quotas: &Quotas, resource: Resource) -> u64 {
        quotas.of(resource).unwrap_or_else(|| self.defaults.0.ceiling_of(subject.limit(resource)))
    }

    /// Begins a call, or only looks whether it could.
    ///
    /// # Errors
    /// The first quota that is used up: its principal's before its package's.
    fn begin(
        self: &Arc<Self>,
        subjects: &[(QuotaSubject, Quotas)],
        wanted: &Wanted,
        spent: Option<Spent>,
    ) -> Result<Held, QuotaReached> {
        let mut state = self.state();
        let now = state.now();
        let mut fuel = wanted.fuel;
        let mut parts = Vec::with_capacity(subjects.len());
        for (subject, quotas) in subjects {
            let is_principal = matches!(subject, QuotaSubject::Principal(_));
            let egress_max = self.max(subject, quotas, Resource::Egress);
            let counts = [
                // The agent's own call, and not those that its tools make, counts for it.
                (Resource::Calls, !(is_principal && wanted.is_nested)),
                (Resource::Fuel, !(is_principal && wanted.is_nested)),
                (Resource::Egress, wanted.may_send),
            ];
            for (resource, _) in counts.into_iter().filter(|(_, counts)| *counts) {
                let max = self.max(subject, quotas, resource);
                let meter = state.meter(subject, resource);
                let room = meter.room(max, now);
                if room == 0 {
                    let retry_after = meter.room_in(max, now);
                    return Err(QuotaReached { reached: used_up(subject.limit(resource), max), retry_after });
                }
                if resource == Resource::Fuel {
                    fuel = fuel.min(room);
                }
            }
            let holds_fuel = counts[1].1;
            parts.push(Part { subject: subject.clone(), egress_max, holds_fuel });
        }
        let Some(spent) = spent else {
            return Ok(Held { book: Arc::clone(self), parts: Vec::new(), fuel: 0, spent: Spent::default() });
        };
        for part in parts.iter().filter(|part| part.holds_fuel) {
            state.meter(&part.subject, Resource::Calls).add(1, now);
            state.meter(&part.subject, Resource::Fuel).hold(fuel);
        }
        Ok(Held { book: Arc::clone(self), parts, fuel, spent })
    }

    /// What is used by a principal or a package.
    fn used(&self, subject: &QuotaSubject, quotas: &Quotas) -> Vec<QuotaUse> {
        let mut state = self.state();
        let now = state.now();
        let used = |resource: Resource| {
            let max = self.max(subject, quotas, resource);
            let (used, held) = match state.meters.get_mut(subject) {
                Some(meters) => {
                    let meter = &mut meters[resource as usize];
                    (meter.used(now), meter.held())
                }
                None => (0, 0),
            };
            QuotaUse { limit: subject.limit(resource), used, held, max }
        };
        Resource::ALL.map(used).into()
    }

    /// What is to be written down, if it is time for it; and the first steps that still count.
    fn take_changed(&self, at_once: bool) -> Option<(Vec<QuotaUsage>, [(Resource, u64); 3])> {
        let mut state = self.state();
        if !at_once && state.written_at.elapsed() < WRITE_INTERVAL {
            return None;
        }
        state.written_at = Instant::now();
        let now = state.now();
        let mut changed = Vec::new();
        for (subject, meters) in &mut state.meters {
            for (resource, meter) in Resource::ALL.into_iter().zip(meters) {
                changed.extend(meter.take_changed().into_iter().map(|(step, used)| QuotaUsage {
                    subject: subject.clone(),
                    resource,
                    step,
                    used,
                }));
            }
        }
        state.meters.retain(|_, meters| !meters.iter_mut().all(|meter| meter.is_idle(now)));
        let first = |resource| (resource, Window::of(resource).first(now));
        Some((changed, Resource::ALL.map(first)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.book.state();
        let now = state.now();
        for part in self.parts.iter().filter(|part| part.holds_fuel) {
            state.meter(&part.subject, Resource::Fuel).settle(self.fuel, self.spent.fuel(), now);
        }
    }
}

impl Held {
    /// The most fuel that the call may use.
    pub(super) fn fuel(&self) -> u64 {
        self.fuel
    }

    /// What asks before bytes leave.
    pub(super) fn leaving(&self) -> Arc<dyn egress::Meter> {
        Arc::new(Leaving { book: Arc::clone(&self.book), parts: self.parts.clone() })
    }
}

/// What a call would use.
struct Wanted {
    fuel: u64,
    may_send: bool,
    is_nested: bool,
}

impl Wanted {
    fn of(call: &AuthorizedCall, is_nested: bool) -> Self {
        let sends = |capability| matches!(capability, Capability::Http | Capability::Sockets);
        let may_send = call.rules().iter().any(|given| sends(given.rule.capability()));
        Self { fuel: call.limits().fuel, may_send, is_nested }
    }
}

fn subjects(call: &AuthorizedCall, in_force: &InForce) -> [(QuotaSubject, Quotas); 2] {
    let principal = QuotaSubject::Principal(call.principal().clone());
    let package = QuotaSubject::Package(call.package().clone());
    [principal, package].map(|subject| {
        let quotas = in_force.policy.quotas_of(&subject);
        (subject, quotas)
    })
}

impl Host {
    /// Whether a call could begin as far as quotas go: asked before it waits for a place.
    pub(super) fn check_quotas(
        &self,
        request: &CallRequest,
        call: &AuthorizedCall,
        in_force: &InForce,
        is_nested: bool,
    ) -> Result<(), CallError> {
        let wanted = Wanted::of(call, is_nested);
        let looked = self.quotas.begin(&subjects(call, in_force), &wanted, None);
        looked.map(drop).map_err(|reached| self.over_quota(request, reached))
    }

    /// Counts a call that begins, and holds what it may use.
    pub(super) fn hold_quotas(
        &self,
        request: &CallRequest,
        call: &AuthorizedCall,
        in_force: &InForce,
        is_nested: bool,
        spent: &Spent,
    ) -> Result<Held, CallError> {
        let wanted = Wanted::of(call, is_nested);
        let begun = self.quotas.begin(&subjects(call, in_force), &wanted, Some(spent.clone()));
        begun.map_err(|reached| self.over_quota(request, reached))
    }

    /// What was said of a principal's quotas, and what it uses.
    ///
    /// # Errors
    /// [`ChangeError::NoSuchPrincipal`](crate::database::ChangeError::NoSuchPrincipal) if nobody has the name.
    pub fn principal_quotas(&self, name: &PrincipalId) -> Result<QuotaStatus, HostError> {
        self.known_principal(name)?;
        Ok(self.quota_status(QuotaSubject::Principal(name.clone())))
    }

    /// What was said of a package's quotas, and what it uses.
    ///
    /// # Errors
    /// If there is no such package.
    pub async fn package_quotas(&self, name: &PackageName) -> Result<QuotaStatus, HostError> {
        self.registry.get(name).await?;
        Ok(self.quota_status(QuotaSubject::Package(name.clone())))
    }

    /// Sets quotas of a principal or a package: those that are not said stay. Calls that run go on. Changes nothing where
    /// it is so already.
    ///
    /// # Errors
    /// If nobody has the name, or one is 0 or above its ceiling.
    pub async fn set_quotas(
        &self,
        by: &PrincipalId,
        subject: QuotaSubject,
        change: QuotasChange,
    ) -> Result<QuotasChanged, HostError> {
        let quotas = change.over(self.in_force().policy.quotas_of(&subject));
        quotas.check(&subject)?;
        if let QuotaSubject::Package(name) = &subject {
            self.registry.get(name).await?;
        }
        let taken = self.take(by, Step::SetQuotas { subject: subject.clone(), quotas }).await?;
        Ok(QuotasChanged { taken, status: self.quota_status(subject) })
    }

    fn quota_status(&self, subject: QuotaSubject) -> QuotaStatus {
        let quotas = self.in_force().policy.quotas_of(&subject);
        let (running, waiting) = match &subject {
            QuotaSubject::Principal(name) => {
                let (running, waiting) = self.admission.of_principal(name);
                (running, Some(waiting))
            }
            QuotaSubject::Package(name) => (self.admission.of_package(name), None),
        };
        let used = self.quotas.used(&subject, &quotas);
        QuotaStatus { subject, quotas, running, waiting, used }
    }

    /// Writes down what was used, if that was not done within the last seconds, or `at_once`.
    ///
    /// # Errors
    /// If the database does not take it: then all is written the next time.
    pub(super) async fn write_quotas(&self, at_once: bool) -> Result<(), HostError> {
        if let Some((used, first_steps)) = self.quotas.take_changed(at_once)
            && !used.is_empty()
        {
            let noted = self.database.note_quota_usage(&used, &first_steps).await;
            if noted.is_err() {
                self.quotas.state().meters.values_mut().flatten().for_each(Meter::write_again);
            }
            noted?;
        }
        Ok(())
    }
}
