//! Places for running calls, and who is given the next: plain data, without a clock, a lock or a task.
//!
//! So many calls run of a package, of a principal, and in all. Who finds no place waits in a line of its principal and
//! package, up to a bound for the principal and one in all. A place that comes back goes to the principal with the
//! lowest start tag ([`Shares`]), and within it to the package with the lowest; within a line, to who came first. Nobody
//! waits while there is a place that it may have.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use crate::fairness::{Shares, Weight};
use crate::ids::{PackageName, PrincipalId};
use crate::limits::{HostLimits, Limit, LimitReached};

/// What a call costs before it did anything, as fuel: making a sandbox, records, an answer.
const CALL_COST: u64 = 100_000;
/// Fuel in one unit of cost: about a microsecond of it.
const FUEL_IN_A_UNIT: u64 = 1_000;

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Claim {
    /// Whose it is.
    pub(in crate::gateway) principal: PrincipalId,
    /// What it runs.
    pub(in crate::gateway) package: PackageName,
    /// How much more than others its principal is given.
    pub(in crate::gateway) weight: Weight,
    /// How much more than its other packages its principal gives this one.
    pub(in crate::gateway) package_weight: Weight,
    /// How many calls of its principal may run.
    pub(in crate::gateway) principal_max: u64,
    /// How many calls of its package may run.
    pub(in crate::gateway) package_max: u64,
}

/// Who waits, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    number: u64,
    principal: PrincipalId,
    package: PackageName,
}

/// How many ran when a call began, itself included: of its package, of its principal, in all.
pub(super) type Counts = [u64; 3];

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It runs.
    Runs(Counts),
    /// It waits.
    Waits(Ticket),
}

/// All places, and all who wait for one. `T` is how to tell who waits.
#[derive(Debug)]
pub(super) struct Queue<T> {
    host_max: u64,
    principal_queue: u64,
    host_queue: u64,
    /// How many run. Nothing is kept of those of whom none does.
    packages: HashMap<PackageName, u64>,
    principals: HashMap<PrincipalId, u64>,
    host: u64,
    waiting: BTreeMap<PrincipalId, Lines<T>>,
    /// How many wait, in all lines.
    waiting_count: u64,
    next_number: u64,
    shares: Shares<PrincipalId>,
}

/// Those of one principal who wait; it is dropped with the last.
#[derive(Debug)]
struct Lines<T> {
    count: u64,
    lines: BTreeMap<PackageName, VecDeque<Waiter<T>>>,
    shares: Shares<PackageName>,
}

#[derive(Debug)]
struct Waiter<T> {
    number: u64,
    claim: Claim,
    tell: T,
}

impl<T> Queue<T> {
    pub(super) fn new(limits: &HostLimits) -> Self {
        Self {
            host_max: limits.ceiling_of(Limit::HostConcurrency),
            principal_queue: limits.ceiling_of(Limit::PrincipalQueue),
            host_queue: limits.ceiling_of(Limit::HostQueue),
            packages: HashMap::new(),
            principals: HashMap::new(),
            host: 0,
            waiting: BTreeMap::new(),
            waiting_count: 0,
            next_number: 0,
            shares: Shares::default(),
        }
    }

    /// Why a call can't run now: the limit of the host, its principal or its package, in this order.
    pub(super) fn check(&self, claim: &Claim) -> Result<Counts, LimitReached> {
        let counts = [
            self.packages.get(&claim.package).copied().unwrap_or(0) + 1,
            self.principals.get(&claim.principal).copied().unwrap_or(0) + 1,
            self.host + 1,
        ];
        for (limit, value, max) in [
            (Limit::HostConcurrency, counts[2], self.host_max),
            (Limit::PrincipalConcurrency, counts[1], claim.principal_max),
            (Limit::Concurrency, counts[0], claim.package_max),
        ] {
            if value > max {
                return Err(LimitReached { limit, value, max });
            }
        }
        Ok(counts)
    }

    /// Takes a place at once, or not at all.
    pub(super) fn take(&mut self, claim: &Claim) -> Result<Counts, LimitReached> {
        let counts = self.check(claim)?;
        self.packages.insert(claim.package.clone(), counts[0]);
        self.principals.insert(claim.principal.clone(), counts[1]);
        self.host = counts[2];
        self.shares.begin(&claim.principal);
        self.shares.charge(&claim.principal, claim.weight, CALL_COST / FUEL_IN_A_UNIT);
        if let Some(lines) = self.waiting.get_mut(&claim.principal) {
            lines.shares.begin(&claim.package);
            lines.shares.charge(&claim.package, claim.package_weight, CALL_COST / FUEL_IN_A_UNIT);
        }
        Ok(counts)
    }

    /// Takes a place, or one in the queue.
    ///
    /// # Errors
    /// The bound of the queue that is reached: the principal's, or the host's.
    pub(super) fn ask(&mut self, claim: Claim, tell: T) -> Result<Asked, LimitReached> {
        let lines = self.waiting.get(&claim.principal);
        // Who came before may run before, though a later one may run more at once.
        let is_behind = lines.is_some_and(|lines| lines.lines.contains_key(&claim.package));
        if !is_behind && let Ok(counts) = self.take(&claim) {
            return Ok(Asked::Runs(counts));
        }
        let own = lines_count(self.waiting.get(&claim.principal)) + 1;
        for (limit, value, max) in [
            (Limit::PrincipalQueue, own, self.principal_queue),
            (Limit::HostQueue, self.waiting_count + 1, self.host_queue),
        ] {
            if value > max {
                return Err(LimitReached { limit, value, max });
            }
        }
        let number = self.next_number;
        self.next_number += 1;
        let ticket = Ticket { number, principal: claim.principal.clone(), package: claim.package.clone() };
        let lines = self.waiting.entry(claim.principal.clone()).or_insert_with(|| Lines {
            count: 0,
            lines: BTreeMap::new(),
            shares: Shares::default(),
        });
        lines.count += 1;
        self.waiting_count += 1;
        lines.lines.entry(claim.package.clone()).or_default().push_back(Waiter { number, claim, tell });
        Ok(Asked::Waits(ticket))
    }

    /// Somebody waits no more. What it waited for, if it did still wait.
    pub(super) fn leave(&mut self, ticket: &Ticket) -> Option<LimitReached> {
        let line = self.waiting.get(&ticket.principal)?.lines.get(&ticket.package)?;
        let index = line.iter().position(|waiter| waiter.number == ticket.number)?;
        let waiter = self.remove(&ticket.principal.clone(), &ticket.package.clone(), index)?;
        self.check(&waiter.claim).err()
    }

    /// A call ended that did cost so much fuel.
    pub(super) fn give_back(&mut self, claim: &Claim, fuel: u64) {
        self.host -= 1;
        one_less(self.packages.entry(claim.package.clone()));
        one_less(self.principals.entry(claim.principal.clone()));
        let cost = fuel / FUEL_IN_A_UNIT;
        self.shares.charge(&claim.principal, claim.weight, cost);
        if let Some(lines) = self.waiting.get_mut(&claim.principal) {
            lines.shares.charge(&claim.package, claim.package_weight, cost);
        }
    }

    /// The next who has a place now, if anybody may have one.
    pub(super) fn next(&mut self) -> Option<(T, Claim, Counts)> {
        if self.host >= self.host_max {
            return None;
        }
        let (mut best, mut lowest) = (None, (u64::MAX, u64::MAX, u64::MAX));
        for (principal, lines) in &self.waiting {
            let tag = self.shares.tag(principal);
            for (package, line) in &lines.lines {
                let Some(first) = line.front() else { continue };
                let order = (tag, lines.shares.tag(package), first.number);
                if order < lowest && self.check(&first.claim).is_ok() {
                    (best, lowest) = (Some((principal.clone(), package.clone())), order);
                }
            }
        }
        let (principal, package) = best?;
        let claim = self.waiting.get(&principal)?.lines.get(&package)?.front()?.claim.clone();
        let counts = self.take(&claim).ok()?;
        let waiter = self.remove(&principal, &package, 0)?;
        Some((waiter.tell, waiter.claim, counts))
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting_count
    }

    /// How many of one principal run, and wait.
    pub(super) fn of_principal(&self, principal: &PrincipalId) -> (u64, u64) {
        let running = self.principals.get(principal).copied().unwrap_or(0);
        (running, lines_count(self.waiting.get(principal)))
    }

    /// How many of one package run.
    pub(super) fn of_package(&self, package: &PackageName) -> u64 {
        self.packages.get(package).copied().unwrap_or(0)
    }

    fn remove(&mut self, principal: &PrincipalId, package: &PackageName, index: usize) -> Option<Waiter<T>> {
        let lines = self.waiting.get_mut(principal)?;
        let line = lines.lines.get_mut(package)?;
        let waiter = line.remove(index)?;
        lines.count -= 1;
        self.waiting_count -= 1;
        if line.is_empty() {
            lines.lines.remove(package);
        }
        if lines.count == 0 {
            self.waiting.remove(principal);
        }
        Some(waiter)
    }
}

fn lines_count<T>(lines: Option<&Lines<T>>) -> u64 {
    lines.map_or(0, |lines| lines.count)
}

fn one_less<K: Eq + Hash>(entry: Entry<'_, K, u64>) {
    if let Entry::Occupied(mut entry) = entry {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(principal: &str, package: &str, weight: u32) -> Claim {
        Claim {
            principal: principal.parse().expect("a name"),
            package: package.parse().expect("a name"),
            weight: weight.try_into().expect("a weight"),
            package_weight: Weight::default(),
            principal_max: 16,
            package_max: 16,
        }
    }

    /// A queue whose host has so many places.
    fn queue(places: u64) -> Queue<u64> {
        let mut limits = HostLimits::default();
        limits.set_value(Limit::HostConcurrency, places).expect("below the table's");
        Queue::new(&limits)
    }

    #[test]
    fn a_principal_in_a_loop_waits_for_its_own_and_not_the_others() {
        let mut queue = queue(1);
        let (looping, polite) = (claim("looping", "tools", 1), claim("polite", "tools", 1));
        assert!(matches!(queue.ask(looping.clone(), 0), Ok(Asked::Runs([1, 1, 1]))));
        for number in 1..=60 {
            assert!(matches!(queue.ask(looping.clone(), number), Ok(Asked::Waits(_))));
        }
        assert!(matches!(queue.ask(polite.clone(), 100), Ok(Asked::Waits(_))));
        // The looping one was served; the polite one is next, whoever came first.
        queue.give_back(&looping, 5_000_000);
        assert_eq!(queue.next().map(|(tell, ..)| tell), Some(100));
        assert!(queue.next().is_none(), "one place");
        queue.give_back(&polite, 1_000);
        assert_eq!(queue.next().map(|(tell, ..)| tell), Some(1), "then the others, in their order");
    }

    #[test]
    fn packages_of_one_principal_take_turns() {
        let mut queue = queue(1);
        let (heavy, light) = (claim("ann", "heavy", 1), claim("ann", "light", 1));
        assert!(matches!(queue.ask(heavy.clone(), 0), Ok(Asked::Runs(_))));
        for number in 1..5 {
            assert!(matches!(queue.ask(heavy.clone(), number), Ok(Asked::Waits(_))));
        }
        assert!(matches!(queue.ask(light.clone(), 10), Ok(Asked::Waits(_))));
        queue.give_back(&heavy, 900_000_000);
        assert_eq!(queue.next().map(|(tell, ..)| tell), Some(10));
    }

    #[test]
    fn a_package_without_places_keeps_nobody_else_waiting() {
        let mut queue = queue(64);
        let full = Claim { package_max: 1, ..claim("ann", "full", 1) };
        assert!(matches!(queue.ask(full.clone(), 0), Ok(Asked::Runs(_))));
        assert!(matches!(queue.ask(full.clone(), 1), Ok(Asked::Waits(_))));
        assert!(
            matches!(queue.ask(claim("ann", "free", 1), 2), Ok(Asked::Runs(_))),
            "another package has places"
        );
        let other = Claim { package_max: 1, ..claim("bob", "full", 1) };
        assert!(matches!(queue.ask(other, 3), Ok(Asked::Waits(_))));
        queue.give_back(&full, 0);
        assert_eq!(queue.next().map(|(tell, ..)| tell), Some(3), "ann had her share");
    }

    #[test]
    fn queues_are_bounded_and_who_leaves_makes_room() {
        let mut queue = queue(1);
        let max = Limit::PrincipalQueue.row().default;
        assert!(matches!(queue.ask(claim("ann", "p", 1), 0), Ok(Asked::Runs(_))));
        let tickets: Vec<Ticket> = (0..max)
            .map(|number| match queue.ask(claim("ann", "p", 1), number) {
                Ok(Asked::Waits(ticket)) => ticket,
                other => panic!("{other:?}"),
            })
            .collect();
        let reached = LimitReached { limit: Limit::PrincipalQueue, value: max + 1, max };
        assert_eq!(queue.ask(claim("ann", "other", 1), 0), Err(reached));
        let waited_for = queue.leave(&tickets[7]).expect("it waited");
        assert_eq!(waited_for, LimitReached { limit: Limit::HostConcurrency, value: 2, max: 1 });
        assert_eq!(queue.leave(&tickets[7]), None, "it is gone");
        assert!(matches!(queue.ask(claim("ann", "other", 1), 0), Ok(Asked::Waits(_))));
        let mut agents = 0;
        let reached = loop {
            agents += 1;
            match queue.ask(claim(&format!("agent-{}", agents / 50), "p", 1), 0) {
                Ok(_) => {}
                Err(reached) => break reached,
            }
        };
        let max = Limit::HostQueue.row().default;
        assert_eq!(reached, LimitReached { limit: Limit::HostQueue, value: max + 1, max });
    }

    /// What happens to a queue.
    #[derive(Clone, Debug)]
    enum Step {
        Ask { principal: u8, package: u8 },
        End { which: usize, fuel: u64 },
        Leave { which: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_u8, 0..3_u8).prop_map(|(principal, package)| Step::Ask { principal, package }),
            3 => (any::<usize>(), 0..1_000_000_000_u64).prop_map(|(which, fuel)| Step::End { which, fuel }),
            1 => any::<usize>().prop_map(|which| Step::Leave { which }),
        ]
    }

    proptest! {
        /// Whatever happens: no bound is passed, nobody waits who may run (it is work-conserving), nobody is lost, and
        /// within a line who came first is served first.
        #[test]
        fn places_are_bounded_and_never_idle(steps in prop::collection::vec(step(), 1..400), places in 1..6_u64) {
            let mut queue = queue(places);
            let (mut running, mut waiting) = (Vec::<Claim>::new(), Vec::<(u64, Ticket, Claim)>::new());
            let mut number = 0;
            for step in steps {
                match step {
                    Step::Ask { principal, package } => {
                        let claim = Claim {
                            principal_max: 3,
                            package_max: 2,
                            ..claim(&format!("agent-{principal}"), &format!("package-{package}"), 1 + u32::from(principal))
                        };
                        number += 1;
                        match queue.ask(claim.clone(), number) {
                            Ok(Asked::Runs(_)) => running.push(claim),
                            Ok(Asked::Waits(ticket)) => waiting.push((number, ticket, claim)),
                            Err(reached) => prop_assert!(reached.value > reached.max),
                        }
                    }
                    Step::End { which, fuel } if !running.is_empty() => {
                        let ended = running.remove(which % running.len());
                        queue.give_back(&ended, fuel);
                    }
                    Step::Leave { which } if !waiting.is_empty() => {
                        let (_, ticket, _) = waiting.remove(which % waiting.len());
                        queue.leave(&ticket);
                    }
                    Step::End { .. } | Step::Leave { .. } => {}
                }
                while let Some((tell, claim, _)) = queue.next() {
                    let index = waiting.iter().position(|(number, ..)| *number == tell);
                    let (number, _, waited) = waiting.remove(index.expect("it waited"));
                    prop_assert_eq!(&waited, &claim);
                    let first = waiting.iter().all(|(other, _, theirs)| {
                        *other > number || (&theirs.principal, &theirs.package) != (&claim.principal, &claim.package)
                    });
                    prop_assert!(first, "in its line it was first");
                    running.push(claim);
                }
                prop_assert!(running.len() as u64 <= places);
                for claim in &running {
                    let of_principal = running.iter().filter(|other| other.principal == claim.principal).count();
                    let of_package = running.iter().filter(|other| other.package == claim.package).count();
                    prop_assert!(of_principal <= 3 && of_package <= 2);
                }
                for (_, _, claim) in &waiting {
                    prop_assert!(queue.check(claim).is_err(), "{claim:?} waits for nothing");
                }
                prop_assert_eq!(queue.waiting(), waiting.len() as u64);
            }
            for claim in running.drain(..) {
                queue.give_back(&claim, 0);
            }
            while let Some((_, claim, _)) = queue.next() {
                queue.give_back(&claim, 0);
                waiting.pop();
            }
            prop_assert!(waiting.is_empty() && queue.waiting.is_empty() && queue.principals.is_empty());
        }

        /// Where all have something to do, each is given places by its weight.
        #[test]
        fn places_go_by_weight(weights in prop::collection::vec(1_u32..=10, 2..5), fuel in 0..50_000_000_u64) {
            let mut queue = queue(1);
            let claims: Vec<Claim> = (0..).zip(&weights).map(|(n, w)| claim(&format!("agent-{n}"), "p", *w)).collect();
            let holder = claim("holder", "p", 1);
            prop_assert!(matches!(queue.ask(holder.clone(), 0), Ok(Asked::Runs(_))));
            for claim in &claims {
                for _ in 0..2 {
                    prop_assert!(matches!(queue.ask(claim.clone(), 0), Ok(Asked::Waits(_))));
                }
            }
            queue.give_back(&holder, 0);
            let mut served = vec![0_u64; claims.len()];
            for _ in 0..2_000 {
                let (_, claim, _) = queue.next().expect("all have something to do");
                served[claims.iter().position(|known| *known == claim).expect("one of them")] += 1;
                prop_assert!(matches!(queue.ask(claim.clone(), 0), Ok(Asked::Waits(_))));
                queue.give_back(&claim, fuel);
            }
            for (one, first) in served.iter().zip(&weights) {
                for (other, second) in served.iter().zip(&weights) {
                    let (one, other) = (one / u64::from(*first), other / u64::from(*second));
                    prop_assert!(one.abs_diff(other) <= 3, "{served:?} for {weights:?}");
                }
            }
        }
    }
}
