//! A call's way to its place: at once, after its turn in the queue, or not at all.
//!
//! Who is next is decided in [`queue`]; here is the waiting. Nothing of a call is recorded before it has its place, and
//! what allowed it is judged anew after it waited (`Host::admit`).

mod admit;
mod queue;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;

pub(super) use self::admit::Allowed;
pub(super) use self::queue::Claim;
use self::queue::{Asked, Counts, Queue, Ticket};
use crate::ids::{PackageName, PrincipalId};
use crate::limits::{HostLimits, Limit, LimitReached};
use crate::sandbox::{Admitted, Spent};

/// When it makes sense to try again where places or the queue were full: places come back all the time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call found no place. Nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The limit that it was refused by: of the queue's length or time, or, for the call of a tool, which does not
    /// wait, the one on running calls.
    pub reached: LimitReached,
    /// The limit on running calls that it waited for, if it did wait until the end.
    pub waited_for: Option<LimitReached>,
    /// When to try again.
    pub retry_after: Duration,
}

impl Busy {
    fn new(reached: LimitReached, waited_for: Option<LimitReached>) -> Self {
        Self { reached, waited_for, retry_after: RETRY_AFTER }
    }

    /// Whether its principal has used up what is its own, so that others go on.
    pub fn is_callers_own(&self) -> bool {
        let limit = self.waited_for.map_or(self.reached.limit, |waited_for| waited_for.limit);
        matches!(limit, Limit::PrincipalConcurrency | Limit::PrincipalQueue)
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reached.fmt(f)?;
        match &self.waited_for {
            Some(waited_for) => write!(f, " (it waited for {waited_for})"),
            None => Ok(()),
        }
    }
}

/// All places of a host, and all who wait for one.
#[derive(Debug)]
pub(super) struct Admission {
    queue: Mutex<Queue<oneshot::Sender<Place>>>,
    queue_time: Duration,
    /// How long calls waited that got a place, in seconds.
    waits: Histogram,
}

/// A place for one running call; given back when it is dropped.
#[derive(Debug)]
#[must_use = "a place that is dropped is given back"]
pub(super) struct Place {
    /// None once it was given back.
    held: Option<(Arc<Admission>, Claim)>,
    counts: Counts,
    waited: Duration,
    spent: Spent,
}

/// What came of asking for a place.
#[derive(Debug)]
pub(super) enum Found {
    /// There was one.
    Place(Place),
    /// There will be, or not.
    Waiting(Waiting),
}

/// A place in the queue; left when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    admission: Arc<Admission>,
    ticket: Ticket,
    place: oneshot::Receiver<Place>,
    since: Instant,
}

impl Admission {
    pub(super) fn new(limits: &HostLimits) -> Self {
        Self {
            queue: Mutex::new(Queue::new(limits)),
            queue_time: Duration::from_millis(limits.ceiling_of(Limit::QueueTime)),
            waits: Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0]),
        }
    }

    /// Asks for a place, or for one in the queue.
    ///
    /// # Errors
    /// [`Limit::PrincipalQueue`] or [`Limit::HostQueue`].
    pub(super) fn ask(self: &Arc<Self>, claim: Claim) -> Result<Found, Busy> {
        let (tell, place) = oneshot::channel();
        let asked = self.queue().ask(claim.clone(), tell);
        match asked.map_err(|reached| Busy::new(reached, None))? {
            Asked::Runs(counts) => Ok(Found::Place(self.place(claim, counts, Duration::ZERO))),
            Asked::Waits(ticket) => {
                let since = Instant::now();
                Ok(Found::Waiting(Waiting { admission: Arc::clone(self), ticket, place, since }))
            }
        }
    }

    /// Takes a place at once: for the calls of tools, which hold up the place of their caller and so never wait.
    ///
    /// # Errors
    /// The limit on running calls that is reached.
    pub(super) fn take(self: &Arc<Self>, claim: Claim) -> Result<Place, Busy> {
        let counts = self.queue().take(&claim).map_err(|reached| Busy::new(reached, None))?;
        Ok(self.place(claim, counts, Duration::ZERO))
    }

    /// How many calls wait now.
    pub(super) fn waiting(&self) -> u64 {
        self.queue().waiting()
    }

    /// How many calls of a principal run and wait.
    pub(super) fn of_principal(&self, principal: &PrincipalId) -> (u64, u64) {
        self.queue().of_principal(principal)
    }

    /// How many calls of a package run.
    pub(super) fn of_package(&self, package: &PackageName) -> u64 {
        self.queue().of_package(package)
    }

    /// How long calls waited, in seconds.
    pub(super) fn waits(&self) -> Histogram {
        self.waits.clone()
    }

    fn place(self: &Arc<Self>, claim: Claim, counts: Counts, waited: Duration) -> Place {
        self.waits.observe(waited.as_secs_f64());
        Place { held: Some((Arc::clone(self), claim)), counts, waited, spent: Spent::default() }
    }

    /// Gives places to those who may have them now.
    fn hand_on(self: &Arc<Self>) {
        loop {
            let Some((tell, claim, counts)) = self.queue().next() else { return };
            let held = Some((Arc::clone(self), claim));
            let place = Place { held, counts, waited: Duration::ZERO, spent: Spent::default() };
            if let Err(mut place) = tell.send(place)
                && let Some((_, claim)) = place.held.take()
            {
                // Nobody waits there any more; the place is not lost with that.
                self.queue().give_back(&claim, 0);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<oneshot::Sender<Place>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Waits until there is a place, or it is too late.
    ///
    /// # Errors
    /// [`Limit::QueueTime`].
    pub(super) async fn place(&mut self) -> Result<Place, Busy> {
        let left = self.admission.queue_time.saturating_sub(self.since.elapsed());
        if let Ok(Ok(place)) = tokio::time::timeout(left, &mut self.place).await {
            return Ok(self.arrived(place));
        }
        // One that was given it at the last moment has it.
        let waited_for = self.admission.queue().leave(&self.ticket);
        if let Ok(place) = self.place.try_recv() {
            return Ok(self.arrived(place));
        }
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let max = milliseconds(self.admission.queue_time);
        let value = milliseconds(self.since.elapsed()).max(max);
        Err(Busy::new(LimitReached { limit: Limit::QueueTime, value, max }, waited_for))
    }

    fn arrived(&self, mut place: Place) -> Place {
        place.waited = self.since.elapsed();
        self.admission.waits.observe(place.waited.as_secs_f64());
        place
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.admission.queue().leave(&self.ticket);
        // A place that was given meanwhile, and that nobody took, comes back with the receiver.
    }
}

impl Place {
    /// What the sandbox notes of it.
    pub(super) fn admitted(&self) -> Admitted {
        let weight = self.held.as_ref().map(|(_, claim)| claim.weight).unwrap_or_default();
        Admitted { counts: self.counts, waited: self.waited, weight }
    }

    /// Takes what the call used, which decides who is next.
    pub(super) fn spent(&self) -> &Spent {
        &self.spent
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((admission, claim)) = self.held.take() else { return };
        admission.queue().give_back(&claim, self.spent.fuel());
        admission.hand_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(principal: &str) -> Claim {
        Claim {
            principal: principal.parse().expect("a name"),
            package: "tools".parse().expect("a name"),
            weight: Default::default(),
            package_weight: Default::default(),
            principal_max: 1,
            package_max: 16,
        }
    }

    fn admission(queue_time: Duration) -> Arc<Admission> {
        let mut limits = HostLimits::default();
        let milliseconds = u64::try_from(queue_time.as_millis()).expect("short");
        limits.set_value(Limit::QueueTime, milliseconds).expect("below the table's");
        Arc::new(Admission::new(&limits))
    }

    fn place(found: Result<Found, Busy>) -> Place {
        match found {
            Ok(Found::Place(place)) => place,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(found: Result<Found, Busy>) -> Waiting {
        match found {
            Ok(Found::Waiting(waiting)) => waiting,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_place_that_comes_back_goes_to_who_waits_and_to_nobody_who_left() {
        let admission = admission(Duration::from_secs(60));
        let first = place(admission.ask(claim("ann")));
        let gone = waiting(admission.ask(claim("ann")));
        let mut second = waiting(admission.ask(claim("ann")));
        assert_eq!((admission.waiting(), admission.of_principal(&claim("ann").principal)), (2, (1, 2)));
        drop(gone);
        assert_eq!(admission.waiting(), 1, "it left at once");
        drop(first);
        let second = second.place().await.expect("its turn");
        assert_eq!(second.counts, [1, 1, 1]);
        // One who is given a place and is gone before it takes it.
        let third = waiting(admission.ask(claim("ann")));
        drop(second);
        drop(third);
        assert_eq!(place(admission.ask(claim("ann"))).counts, [1, 1, 1], "the place came back");
        assert_eq!(admission.of_principal(&claim("ann").principal), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_what_for() {
        let admission = admission(Duration::from_millis(20));
        let _held = place(admission.ask(claim("ann")));
        let busy = waiting(admission.ask(claim("ann"))).place().await.expect_err("nothing comes back");
        assert_eq!((busy.reached.limit, busy.reached.max), (Limit::QueueTime, 20));
        let waited_for = LimitReached { limit: Limit::PrincipalConcurrency, value: 2, max: 1 };
        assert_eq!(busy.waited_for, Some(waited_for));
        assert!(busy.is_callers_own() && busy.reached.value >= 20, "{busy:?}");
        assert_eq!(admission.waiting(), 0);
        let busy = admission.take(claim("ann")).expect_err("a tool's call does not wait");
        assert_eq!((busy.reached, busy.waited_for), (waited_for, None));
    }
}
