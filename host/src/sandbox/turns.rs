//! Turns on the processor: which guests run now, when more want to than there are cores.
//!
//! A guest runs while its future is polled: until it waits for something, or until the next tick has it yield. For that
//! it needs a turn, and there are as many as cores. Who finds none waits in the line of its principal; the turn that
//! comes back goes to the principal with the lowest start tag ([`Shares`]), and what is charged is the time that it
//! took. So a principal that is alone may use all cores, and one with sixteen guests that compute is given no more than
//! one with a single guest.
//!
//! Who yields at a tick keeps its turn, up to [`TURN_TIME_MAX`], while only those wait who compute as well: to pass a
//! turn on wakes another thread, and gains them nothing. For a newcomer it ends sooner. A principal of whose guests none
//! runs need not even wait for a tick: for such there are a few turns more, and the kernel divides the cores for that
//! moment.
//!
//! What else is done for a principal's request, such as judging it and recording, is done in turn as well while another
//! principal asks too ([`Work::Request`]): or the requests of sixty connections would all be ready at once, and stand
//! before that one's in the line of the runtime's tasks, which knows no principals. A guest that runs within such work
//! runs in its turn. While one principal is alone nobody is kept waiting, and this would only cost it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::task::coop::has_budget_remaining;

use crate::fairness::{Shares, Weight};
use crate::ids::PrincipalId;

thread_local! {
    /// Whether what this thread polls now has its turn already.
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
    /// When this thread let others have its core.
    static YIELDED_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// For so long after a request of one principal others are held to their turns. Long enough that one that asks now and
/// then is not the first again each time.
const RIVALRY_TIME: Duration = Duration::from_secs(10);

/// The longest turn of who could go on. After it the runtime polls what else there is.
const TURN_TIME_MAX: Duration = Duration::from_millis(2);

/// The longest where a newcomer waits of whose principal something runs already. A crowd of them, such as requests that
/// are refused, would else have each turn end at its first tick.
const CROWDED_TURN_TIME_MAX: Duration = Duration::from_millis(1);

/// No turn ends sooner that could go on: about a tick.
const TURN_TIME_MIN: Duration = Duration::from_micros(200);

/// A thread lets others have its core no more often: each time is a call of the kernel, and the pieces of a request that
/// is refused are short.
const YIELD_INTERVAL: Duration = Duration::from_micros(50);

/// So many newcomers of a principal at most go before one of its guests that compute.
const NEWCOMERS_FIRST_MAX: u32 = 8;

/// What is done in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A guest's: always.
    Guest,
    /// All of a request's: while another principal asks too.
    Request,
}

/// All turns of a host.
#[derive(Debug)]
pub(crate) struct Turns {
    /// For whoever is next.
    turns: usize,
    /// Beside those, for principals of whose guests none runs.
    more: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// How many guests of each principal have a turn.
    running: BTreeMap<PrincipalId, usize>,
    /// No line of them is empty.
    waiting: BTreeMap<PrincipalId, Line>,
    /// Those who waited and have a turn by now that they did not begin yet.
    granted: BTreeSet<u64>,
    shares: Shares<PrincipalId>,
    next_number: u64,
    /// Whose work went on last.
    last: Option<PrincipalId>,
    /// When that was another's than the time before.
    changed_at: Option<Instant>,
}

/// Who waits of one principal.
#[derive(Debug, Default)]
struct Line {
    newcomers: VecDeque<Waiter>,
    /// Those who had a turn, and want another to go on.
    computing: VecDeque<Waiter>,
    /// How many newcomers went since one who computes did.
    newcomers_in_row: u32,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    waker: Waker,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.newcomers.is_empty() && self.computing.is_empty()
    }

    /// Who is next: newcomers, since most of them are done soon, but not for ever.
    fn next(&mut self) -> Option<Waiter> {
        let is_newcomers = self.computing.is_empty() || self.newcomers_in_row < NEWCOMERS_FIRST_MAX;
        if is_newcomers && let Some(newcomer) = self.newcomers.pop_front() {
            self.newcomers_in_row = self.newcomers_in_row.saturating_add(1);
            return Some(newcomer);
        }
        self.newcomers_in_row = 0;
        self.computing.pop_front()
    }

    fn find(&mut self, number: u64) -> Option<&mut Waiter> {
        self.newcomers.iter_mut().chain(&mut self.computing).find(|waiter| waiter.number == number)
    }

    fn leave(&mut self, number: u64) {
        self.newcomers.retain(|waiter| waiter.number != number);
        self.computing.retain(|waiter| waiter.number != number);
    }
}

impl Turns {
    /// As many as there are cores for this process.
    pub(super) fn new() -> Self {
        Self::of_cores(std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn of_cores(cores: usize) -> Self {
        Self { turns: cores, more: more_than(cores), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a principal's work wants to go on, and tells whether another's did in the last seconds.
    fn has_rivals(&self, principal: &PrincipalId, now: Instant) -> bool {
        let mut state = self.state();
        if state.last.as_ref() != Some(principal) {
            let before = state.last.replace(principal.clone());
            state.changed_at = before.map(|_| now);
        }
        state.changed_at.is_some_and(|at| now.duration_since(at) < RIVALRY_TIME)
    }

    /// Whether there is a core that nobody's turn takes.
    pub(super) fn has_room(&self) -> bool {
        self.state().taken < self.turns
    }

    /// Whether a turn of who could go on ends that took so long by now.
    fn is_over(&self, took: Duration) -> bool {
        if took < TURN_TIME_MIN {
            return false;
        }
        let is_crowded = took >= CROWDED_TURN_TIME_MAX;
        let state = self.state();
        took >= TURN_TIME_MAX
            || state.waiting.iter().any(|(principal, line)| {
                !line.newcomers.is_empty() && (is_crowded || !state.running.contains_key(principal))
            })
    }

    /// Whether a principal may have a turn now, if it is its own.
    fn has_turn_for(&self, state: &State, principal: &PrincipalId) -> bool {
        state.taken < self.turns
            || state.taken < self.turns + self.more && !state.running.contains_key(principal)
    }

    /// Gives turns to those who are next, and tells who to wake.
    fn grant(&self, state: &mut State) -> Vec<Waker> {
        let mut wakers = Vec::new();
        loop {
            let may = |principal: &&PrincipalId| self.has_turn_for(state, principal);
            let next = state.waiting.keys().filter(may).min_by_key(|principal| state.shares.tag(*principal));
            let Some(principal) = next.cloned() else { return wakers };
            let Some(line) = state.waiting.get_mut(&principal) else { return wakers };
            let first = line.next();
            if line.is_empty() {
                state.waiting.remove(&principal);
            }
            let Some(Waiter { number, waker }) = first else { continue };
            state.granted.insert(number);
            state.begin(principal);
            wakers.push(waker);
        }
    }
}

/// How many turns there are beside those of the cores.
const fn more_than(cores: usize) -> usize {
    if cores < 2 { 1 } else { cores / 2 }
}

/// How many threads should poll: one for each guest that may run at once, and one for all else.
pub fn worker_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores + more_than(cores) + 1
}

impl State {
    fn begin(&mut self, principal: PrincipalId) {
        self.taken += 1;
        self.shares.begin(&principal);
        *self.running.entry(principal).or_default() += 1;
    }

    /// Puts a guest at the end of its principal's line; its number there.
    fn wait(&mut self, principal: &PrincipalId, waker: &Waker, is_newcomer: bool) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let line = self.waiting.entry(principal.clone()).or_default();
        let line = if is_newcomer { &mut line.newcomers } else { &mut line.computing };
        line.push_back(Waiter { number, waker: waker.clone() });
        number
    }

    fn end(&mut self, principal: &PrincipalId) {
        self.taken -= 1;
        if let Some(running) = self.running.get_mut(principal) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(principal);
            }
        }
    }
}

/// Where one guest is in all this.
struct Seat<'a> {
    turns: &'a Turns,
    principal: &'a PrincipalId,
    weight: Weight,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nowhere,
    /// Its number in the line, or among those who were granted a turn.
    Waiting(u64),
    Running,
}

impl Seat<'_> {
    /// Whether it has its turn; if not, `waker` is woken when it has.
    fn take(&mut self, waker: &Waker) -> bool {
        let mut state = self.turns.state();
        match self.at {
            At::Running => return true,
            At::Waiting(number) => {
                if state.granted.remove(&number) {
                    self.at = At::Running;
                    return true;
                }
                let line = state.waiting.get_mut(self.principal);
                if let Some(waiter) = line.and_then(|line| line.find(number)) {
                    waiter.waker.clone_from(waker);
                }
                return false;
            }
            At::Nowhere => {}
        }
        // Whoever waits and may go has been granted its turn already.
        if !state.waiting.contains_key(self.principal) && self.turns.has_turn_for(&state, self.principal) {
            state.begin(self.principal.clone());
            self.at = At::Running;
            return true;
        }
        self.at = At::Waiting(state.wait(self.principal, waker, true));
        false
    }

    /// Ends its turn, which took so long. If it wants another at once, it is in the line when that is given to the
    /// next: or its weight would count for nothing.
    fn give_back(&mut self, took: Duration, again: Option<&Waker>) {
        let wakers = {
            let mut state = self.turns.state();
            state.end(self.principal);
            let cost = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            state.shares.charge(self.principal, self.weight, cost);
            self.at = match again {
                Some(waker) => At::Waiting(state.wait(self.principal, waker, false)),
                None => At::Nowhere,
            };
            self.turns.grant(&mut state)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let wakers = {
            let mut state = self.turns.state();
            match self.at {
                At::Nowhere => return,
                At::Running => state.end(self.principal),
                At::Waiting(number) if state.granted.remove(&number) => state.end(self.principal),
                At::Waiting(number) => {
                    if let Some(line) = state.waiting.get_mut(self.principal) {
                        line.leave(number);
                        if line.is_empty() {
                            state.waiting.remove(self.principal);
                        }
                    }
                    return;
                }
            }
            self.turns.grant(&mut state)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Wakes the task, unless it is polled now: then it only remembers that. What wakes itself while it is polled did not
/// wait for anything, but let others have their turn.
#[derive(Debug, Default)]
struct Remembering {
    is_polled: AtomicBool,
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl Remembering {
    /// Polls, and tells whether what was polled is to be polled again.
    fn poll<F: Future>(&self, work: Pin<&mut F>, waker: &Waker, task: &Waker) -> (Poll<F::Output>, bool) {
        self.task.register(task);
        self.is_woken.store(false, Ordering::SeqCst);
        self.is_polled.store(true, Ordering::SeqCst);
        let polled = work.poll(&mut Context::from_waker(waker));
        // In this order, and the other way round in `wake_by_ref`: one of the two sees what the other did.
        self.is_polled.store(false, Ordering::SeqCst);
        let is_woken = self.is_woken.load(Ordering::SeqCst);
        let goes_on = polled.is_pending() && is_woken;
        (polled, goes_on)
    }
}

impl Wake for Remembering {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        if !self.is_polled.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

/// Lets other threads have the core. The kernel does not see that a turn ended, or could: it would let this thread have
/// the whole of its slice, some milliseconds, before one that was woken for a request.
fn let_others_run(now: Instant) {
    let last = YIELDED_AT.get();
    if last.is_none_or(|last| now.duration_since(last) >= YIELD_INTERVAL) {
        YIELDED_AT.set(Some(now));
        std::thread::yield_now();
    }
}

/// While it lives, what this thread polls has a turn.
struct Having;

impl Having {
    fn begin() -> Self {
        HAS_TURN.set(true);
        Self
    }
}

impl Drop for Having {
    fn drop(&mut self) {
        HAS_TURN.set(false);
    }
}

/// Has a principal's work go on only while it has a turn. Within work that is done so, the turn is that one's.
pub(crate) async fn in_turn<T>(
    turns: &Turns,
    principal: &PrincipalId,
    weight: Weight,
    kind: Work,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut seat = Seat { turns, principal, weight, at: At::Nowhere };
    let mut remembering: Option<(Arc<Remembering>, Waker)> = None;
    let mut is_in_turn = None;
    poll_fn(|context| {
        if HAS_TURN.get() {
            return work.as_mut().poll(context);
        }
        // Decided once: a guest of a request that began without turns may hold one of its own by now, and its request
        // can't be kept waiting for another.
        let decide = || kind == Work::Guest || turns.has_rivals(principal, Instant::now());
        if !*is_in_turn.get_or_insert_with(decide) {
            return work.as_mut().poll(context);
        }
        if !seat.take(context.waker()) {
            return Poll::Pending;
        }
        let (remembering, waker) = remembering.get_or_insert_with(|| {
            let remembering = Arc::new(Remembering::default());
            let waker = Waker::from(Arc::clone(&remembering));
            (remembering, waker)
        });
        let started = Instant::now();
        loop {
            let having = Having::begin();
            let (polled, goes_on) = remembering.poll(work.as_mut(), waker, context.waker());
            drop(having);
            let now = Instant::now();
            let took = now.duration_since(started);
            // Without budget nothing of the runtime's would go on before this poll ends.
            if goes_on && has_budget_remaining() && !turns.is_over(took) {
                let_others_run(now);
                continue;
            }
            seat.give_back(took, goes_on.then_some(context.waker()));
            if goes_on || kind == Work::Request {
                let_others_run(now);
            }
            return polled;
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(name: &str) -> PrincipalId {
        name.parse().expect("a name")
    }

    fn seat<'a>(turns: &'a Turns, principal: &'a PrincipalId) -> Seat<'a> {
        Seat { turns, principal, weight: Weight::default(), at: At::Nowhere }
    }

    const PIECE: Duration = Duration::from_millis(10);

    #[test]
    fn one_who_is_alone_has_all_cores_and_another_comes_in_at_once() {
        let turns = Turns::of_cores(2);
        let (ann, bob, cleo) = (principal("ann"), principal("bob"), principal("cleo"));
        let mut seats: Vec<_> = (0..4).map(|_| seat(&turns, &ann)).collect();
        let waker = Waker::noop();
        let has: Vec<bool> = seats.iter_mut().map(|seat| seat.take(waker)).collect();
        assert_eq!(has, [true, true, false, false]);
        let (mut first, mut second) = (seat(&turns, &bob), seat(&turns, &bob));
        assert!(first.take(waker), "none of bob's runs");
        assert!(!second.take(waker));
        let mut late = seat(&turns, &cleo);
        assert!(!late.take(waker), "there is an end to that");
        // Bob's turn ends: cleo has none, so hers is next.
        first.give_back(PIECE, None);
        assert!(late.take(waker) && !second.take(waker));
        drop((late, first, second));
        seats[0].give_back(PIECE, None);
        assert!(seats[2].take(waker) && !seats[3].take(waker));
        drop(seats);
        let state = turns.state();
        assert!(state.taken == 0 && state.running.is_empty() && state.waiting.is_empty(), "{state:?}");
        assert!(state.granted.is_empty(), "{state:?}");
    }

    /// Sixteen guests of one and one of another that all compute: both principals are given the same.
    #[test]
    fn time_is_divided_among_principals_and_not_among_guests() {
        for (weight, expected) in [(1, 500), (3, 750)] {
            let turns = Turns { turns: 1, more: 0, state: Mutex::default() };
            let (looping, polite) = (principal("looping"), principal("polite"));
            let mut seats: Vec<_> = (0..16).map(|_| seat(&turns, &looping)).collect();
            seats.push(Seat { weight: weight.try_into().expect("a weight"), ..seat(&turns, &polite) });
            let mut pieces = 0;
            for _ in 0..1_000 {
                let running = seats.iter_mut().position(|seat| seat.take(Waker::noop())).expect("one runs");
                seats.iter_mut().skip(running + 1).for_each(|seat| assert!(!seat.take(Waker::noop())));
                seats[running].give_back(PIECE, Some(Waker::noop()));
                pieces += usize::from(running == 16);
            }
            assert!(pieces.abs_diff(expected) <= 20, "{pieces} of 1000 at weight {weight}");
        }
    }

    /// A future that wakes itself, as a guest that yields, so often before it ends.
    async fn pieces(mut left: u32) {
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn who_computes_goes_on_in_one_poll_and_then_newcomers_go_first() {
        let turns = Turns { turns: 1, more: 0, state: Mutex::default() };
        let (ann, bob) = (principal("ann"), principal("bob"));
        let mut context = Context::from_waker(Waker::noop());
        let computing = |who, left| in_turn(&turns, who, Weight::default(), Work::Guest, pieces(left));
        let (mut alone, started) = (Box::pin(computing(&ann, 3)), Instant::now());
        let has_ended = alone.as_mut().poll(&mut context).is_ready();
        assert!(has_ended || started.elapsed() >= TURN_TIME_MAX, "three pieces are one poll");
        drop(alone);
        let mut endless = Box::pin(computing(&ann, u32::MAX));
        let started = Instant::now();
        assert!(endless.as_mut().poll(&mut context).is_pending(), "it comes to an end all the same");
        assert!(started.elapsed() >= TURN_TIME_MAX);
        // Its next turn was given to it when it gave the last one back; what comes now is behind that.
        let mut other = Box::pin(computing(&bob, 0));
        assert!(other.as_mut().poll(&mut context).is_pending());
        let begun = turns.state().next_number;
        assert!(endless.as_mut().poll(&mut context).is_pending());
        assert!(endless.as_mut().poll(&mut context).is_pending());
        assert_eq!(turns.state().next_number, begun + 1, "one turn, and then it waits");
        assert!(other.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_turn_ends_soonest_for_a_newcomer_of_whose_principal_nothing_runs() {
        let (ann, bob, cleo) = (principal("ann"), principal("bob"), principal("cleo"));
        let turns = Turns { turns: 1, more: 0, state: Mutex::default() };
        let micros = Duration::from_micros;
        let over = |took| turns.is_over(micros(took));
        let mut running = seat(&turns, &ann);
        assert!(running.take(Waker::noop()));
        assert!(!over(0) && !over(1_999) && over(2_000), "nobody waits");
        let mut computing = seat(&turns, &bob);
        computing.at = At::Waiting(turns.state().wait(&bob, Waker::noop(), false));
        assert!(!over(1_999) && over(2_000), "bob computes as well");
        let mut newcomer = seat(&turns, &ann);
        assert!(!newcomer.take(Waker::noop()));
        assert!(!over(999) && over(1_000), "ann has a turn already");
        let mut late = seat(&turns, &cleo);
        assert!(!late.take(Waker::noop()));
        assert!(!over(199) && over(200), "cleo has none");
    }

    #[test]
    fn newcomers_go_first_but_keep_no_one_from_going_on() {
        let turns = Turns { turns: 1, more: 0, state: Mutex::default() };
        let ann = principal("ann");
        let mut seats: Vec<_> = (0..21).map(|_| seat(&turns, &ann)).collect();
        assert!(seats[0].take(Waker::noop()));
        seats[1..].iter_mut().for_each(|seat| assert!(!seat.take(Waker::noop())));
        seats[0].give_back(PIECE, Some(Waker::noop()));
        let mut order = Vec::new();
        while let Some(next) = seats.iter_mut().position(|seat| seat.take(Waker::noop())) {
            order.push(next);
            let again = (next == 0 && order.len() < 20).then_some(Waker::noop());
            seats[next].give_back(PIECE, again);
            seats[next].at = if again.is_some() { seats[next].at } else { At::Waiting(u64::MAX) };
        }
        let mut expected: Vec<usize> = (1..=20).collect();
        expected.insert(8, 0);
        expected.insert(17, 0);
        expected.push(0);
        assert_eq!(order, expected);
        seats.iter_mut().for_each(|seat| seat.at = At::Nowhere);
    }

    /// A request with a guest in it.
    async fn request(turns: &Turns, principal: &PrincipalId) {
        let weight = Weight::default();
        let guest = in_turn(turns, principal, weight, Work::Guest, pieces(2));
        in_turn(turns, principal, weight, Work::Request, guest).await;
    }

    #[test]
    fn requests_that_began_when_one_was_alone_end_when_another_asks() {
        let turns = Turns { turns: 1, more: 0, state: Mutex::default() };
        let (ann, bob) = (principal("ann"), principal("bob"));
        let mut requests = [&ann, &ann, &bob, &ann, &bob].map(|who| Box::pin(request(&turns, who)));
        let mut context = Context::from_waker(Waker::noop());
        let (mut ended, mut rounds) = (vec![false; requests.len()], 0);
        while ended.contains(&false) {
            for (request, has_ended) in requests.iter_mut().zip(&mut ended) {
                *has_ended = *has_ended || request.as_mut().poll(&mut context).is_ready();
            }
            rounds += 1;
            assert!(rounds < 100, "they wait for each other: {:?}", turns.state());
        }
        let state = turns.state();
        assert!(state.taken == 0 && state.waiting.is_empty() && state.granted.is_empty(), "{state:?}");
    }

    #[test]
    fn who_asks_alone_has_no_rivals_and_two_have_for_some_seconds() {
        let turns = Turns::of_cores(2);
        let (ann, bob, now) = (principal("ann"), principal("bob"), Instant::now());
        assert!(!turns.has_rivals(&ann, now) && !turns.has_rivals(&ann, now));
        assert!(turns.has_rivals(&bob, now) && turns.has_rivals(&ann, now));
        let later = now + RIVALRY_TIME;
        assert!(!turns.has_rivals(&ann, later), "bob is gone");
        assert!(turns.has_rivals(&bob, later));
    }

    #[test]
    fn who_is_gone_with_a_turn_that_it_was_granted_keeps_it_from_nobody() {
        let turns = Turns { turns: 1, more: 0, state: Mutex::default() };
        let ann = principal("ann");
        let mut seats: Vec<_> = (0..3).map(|_| seat(&turns, &ann)).collect();
        let waker = Waker::noop();
        assert!(seats[0].take(waker) && !seats[1].take(waker) && !seats[2].take(waker));
        seats[0].give_back(PIECE, None);
        assert_eq!(turns.state().granted.len(), 1);
        let gone = seats.remove(1);
        drop(gone);
        assert!(seats[1].take(waker), "it is the next one's");
    }
}
