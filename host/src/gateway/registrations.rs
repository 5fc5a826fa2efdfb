//! Who may register next: a bounded number of places for each principal, and turns that go round.
//!
//! A registration holds a component in memory from its first byte on, so its place is taken before. They are
//! made one at a time, and a principal who has many waits longer than one who has one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::ids::PrincipalId;
use crate::limits::{HostLimits, Limit, LimitReached};

/// All registrations of a host.
#[derive(Debug)]
pub(super) struct Registrations {
    principal_max: u64,
    host_max: u64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Places taken by each principal who has any.
    places: BTreeMap<PrincipalId, u64>,
    /// Places taken in all.
    taken: u64,
    /// Who waits for a turn, each principal once, the next one first.
    waiting: VecDeque<(PrincipalId, VecDeque<oneshot::Sender<Turn>>)>,
    /// Whether somebody has the turn.
    is_taken: bool,
}

/// A place for one registration; given back when it is dropped.
#[derive(Debug)]
#[must_use = "a place that is dropped is given back"]
pub struct Registration {
    registrations: Arc<Registrations>,
    by: PrincipalId,
}

/// The one registration that is made now; the next has its turn when this is dropped.
#[derive(Debug)]
#[must_use = "a turn that is dropped is over"]
pub(super) struct Turn(Option<Arc<Registrations>>);

impl Registrations {
    pub(super) fn new(limits: &HostLimits) -> Self {
        let principal_max = limits.ceiling_of(Limit::Registrations);
        let host_max = limits.ceiling_of(Limit::HostRegistrations);
        Self { principal_max, host_max, queue: Mutex::default() }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`Limit::HostRegistrations`] or [`Limit::Registrations`], at once.
    pub(super) fn reserve(self: &Arc<Self>, by: &PrincipalId) -> Result<Registration, LimitReached> {
        let mut queue = self.queue();
        let (own, all) = (queue.places.get(by).copied().unwrap_or(0) + 1, queue.taken + 1);
        for (limit, value, max) in
            [(Limit::HostRegistrations, all, self.host_max), (Limit::Registrations, own, self.principal_max)]
        {
            if value > max {
                return Err(LimitReached { limit, value, max });
            }
        }
        queue.places.insert(by.clone(), own);
        queue.taken = all;
        Ok(Registration { registrations: Arc::clone(self), by: by.clone() })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Who registers.
    pub(super) fn by(&self) -> &PrincipalId {
        &self.by
    }

    /// Waits for its turn. Bounded, because the places are and each turn is.
    pub(super) async fn turn(&self) -> Turn {
        let next = {
            let mut queue = self.registrations.queue();
            if !queue.is_taken {
                queue.is_taken = true;
                return Turn(Some(Arc::clone(&self.registrations)));
            }
            let (sender, next) = oneshot::channel();
            match queue.waiting.iter_mut().find(|(principal, _)| *principal == self.by) {
                Some((_, own)) => own.push_back(sender),
                None => queue.waiting.push_back((self.by.clone(), VecDeque::from([sender]))),
            }
            next
        };
        next.await.expect("a sender is dropped only with its turn sent")
    }
}

impl Queue {
    /// The next who waits: the first principal's first, and then that principal is last.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let (principal, mut own) = self.waiting.pop_front()?;
        let next = own.pop_front();
        if !own.is_empty() {
            self.waiting.push_back((principal, own));
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(registrations) = self.0.take() else { return };
        loop {
            let next = {
                let mut queue = registrations.queue();
                let next = queue.next();
                queue.is_taken = next.is_some();
                next
            };
            let Some(next) = next else { return };
            match next.send(Turn(Some(Arc::clone(&registrations)))) {
                Ok(()) => return,
                // Nobody waits there any more; the turn is not over with that.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut queue = self.registrations.queue();
        queue.taken -= 1;
        if let Some(own) = queue.places.get_mut(&self.by) {
            *own -= 1;
            if *own == 0 {
                queue.places.remove(&self.by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registrations() -> Arc<Registrations> {
        Arc::new(Registrations::new(&HostLimits::default()))
    }

    fn principal(name: &str) -> PrincipalId {
        name.parse().expect("a name")
    }

    #[test]
    fn places_are_bounded_for_each_and_in_all_and_come_back() {
        let registrations = registrations();
        let reserve = |name: &str| registrations.reserve(&principal(name));
        let ann: Vec<_> = (0..4).map(|_| reserve("ann").expect("four each")).collect();
        let reached = reserve("ann").expect_err("a fifth");
        assert_eq!(reached, LimitReached { limit: Limit::Registrations, value: 5, max: 4 });
        let bob: Vec<_> = (0..4).map(|_| reserve("bob").expect("others have theirs")).collect();
        let reached = reserve("cleo").expect_err("a ninth");
        assert_eq!(reached, LimitReached { limit: Limit::HostRegistrations, value: 9, max: 8 });
        drop(ann);
        let cleo = reserve("cleo").expect("places came back");
        drop((bob, cleo));
        let queue = registrations.queue();
        assert!(queue.places.is_empty() && queue.taken == 0, "{queue:?}");
    }

    /// Polls a future once and says whether it is done.
    fn has_turn(turn: &mut (impl Future<Output = Turn> + Unpin)) -> Option<Turn> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(turn).poll(&mut context) {
            std::task::Poll::Ready(turn) => Some(turn),
            std::task::Poll::Pending => None,
        }
    }

    /// Case 15: a flood of one principal's does not keep another waiting for all of it.
    #[test]
    fn turns_go_round_and_those_who_left_are_passed_over() {
        let registrations = registrations();
        let reserve = |name: &str| registrations.reserve(&principal(name)).expect("a place");
        let places = [reserve("ann"), reserve("ann"), reserve("ann"), reserve("bob"), reserve("ann")];
        let mut turns: Vec<_> = places.iter().map(|place| Box::pin(place.turn())).collect();
        let first = has_turn(&mut turns[0]).expect("nobody else has it");
        for waiting in &mut turns[1..] {
            assert!(has_turn(waiting).is_none(), "one at a time");
        }
        // Two waits: ann's second, and after it bob's, before ann's others.
        drop(first);
        let second = has_turn(&mut turns[1]).expect("the next of ann");
        assert!(has_turn(&mut turns[3]).is_none());
        drop(second);
        let third = has_turn(&mut turns[3]).expect("bob, before ann's others");
        assert!(has_turn(&mut turns[2]).is_none());
        // Ann's third goes away while it waits, and her fourth after it was given the turn.
        drop(turns.remove(2));
        drop(third);
        drop(turns);
        assert!(!registrations.queue().is_taken, "the turn came back");
        let place = reserve("cleo");
        assert!(has_turn(&mut Box::pin(place.turn())).is_some());
    }
}
