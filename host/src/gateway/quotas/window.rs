//! What was used within a window that moves with time, counted in steps. Pure: the time is given.

use std::collections::VecDeque;
use std::time::Duration;

use crate::policy::Resource;

/// A window and the steps that it is counted in.
///
/// A step counts until all of it is out of the window, so no window holds more than the most that is allowed; what
/// was used comes back up to one step late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    step_seconds: u64,
    steps: u64,
}

impl Window {
    /// Of a resource: a minute by seconds, an hour by minutes, a day by half hours.
    pub(super) const fn of(resource: Resource) -> Self {
        match resource {
            Resource::Calls => Self { step_seconds: 1, steps: 60 },
            Resource::Fuel => Self { step_seconds: 60, steps: 60 },
            Resource::Egress => Self { step_seconds: 30 * 60, steps: 48 },
        }
    }

    const fn step(self, now: Duration) -> u64 {
        now.as_secs() / self.step_seconds
    }

    /// The first step that still counts.
    pub(super) const fn first(self, now: Duration) -> u64 {
        self.step(now).saturating_sub(self.steps)
    }
}

/// What was used of one resource by one subject.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    window: Window,
    /// What was used in each step that anything was used in, the oldest first.
    used: VecDeque<(u64, u64)>,
    sum: u64,
    /// What running calls may still use.
    held: u64,
    /// The first step that was written down differently than it is now.
    changed_since: Option<u64>,
}

impl Meter {
    pub(super) fn new(resource: Resource) -> Self {
        Self { window: Window::of(resource), used: VecDeque::new(), sum: 0, held: 0, changed_since: None }
    }

    /// Puts back what was written down. Steps come in their order.
    pub(super) fn restore(&mut self, step: u64, used: u64) {
        self.used.push_back((step, used));
        self.sum = self.sum.saturating_add(used);
    }

    /// What counts now.
    pub(super) fn used(&mut self, now: Duration) -> u64 {
        let first = self.window.first(now);
        while let Some((_, used)) = self.used.front().copied().filter(|(step, _)| *step < first) {
            self.sum = self.sum.saturating_sub(used);
            self.used.pop_front();
        }
        self.sum
    }

    /// What running calls may still use.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// What may be used yet, of so much.
    pub(super) fn room(&mut self, max: u64, now: Duration) -> u64 {
        max.saturating_sub(self.used(now)).saturating_sub(self.held)
    }

    /// Counts what was used.
    pub(super) fn add(&mut self, amount: u64, now: Duration) {
        if amount == 0 {
            return;
        }
        self.used(now);
        // Time may stand still, and never goes back here.
        let step = self.window.step(now).max(self.used.back().map_or(0, |(step, _)| *step));
        match self.used.back_mut() {
            Some((last, used)) if *last == step => *used = used.saturating_add(amount),
            _ => self.used.push_back((step, amount)),
        }
        self.sum = self.sum.saturating_add(amount);
        self.changed_since = Some(self.changed_since.unwrap_or(step).min(step));
    }

    /// Keeps some for a call that begins.
    pub(super) fn hold(&mut self, amount: u64) {
        self.held = self.held.saturating_add(amount);
    }

    /// A call ended that held so much, and used so much of it.
    pub(super) fn settle(&mut self, held: u64, used: u64, now: Duration) {
        self.held = self.held.saturating_sub(held);
        self.add(used, now);
    }

    /// When there is room again for anything, as far as it is known.
    pub(super) fn room_in(&mut self, max: u64, now: Duration) -> Duration {
        let used = self.used(now);
        match self.used.front() {
            Some((oldest, _)) if used >= max => {
                let over = Duration::from_secs((oldest + self.window.steps + 1) * self.window.step_seconds);
                over.saturating_sub(now)
            }
            // Running calls have the rest, and may give some of it back.
            _ => Duration::from_secs(1),
        }
    }

    /// The steps to write down since the last time.
    pub(super) fn take_changed(&mut self) -> Vec<(u64, u64)> {
        let Some(since) = self.changed_since.take() else { return Vec::new() };
        self.used.iter().copied().filter(|(step, _)| *step >= since).collect()
    }

    /// Has all that counts written down the next time.
    pub(super) fn write_again(&mut self) {
        self.changed_since = self.used.front().map(|(step, _)| *step);
    }

    /// Whether nothing is known of it that counts.
    pub(super) fn is_idle(&mut self, now: Duration) -> bool {
        self.used(now) == 0 && self.held == 0 && self.changed_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(1_700_000_000_000 + milliseconds)
    }

    #[test]
    fn a_minute_is_over_when_all_of_its_first_second_is() {
        let mut meter = Meter::new(Resource::Calls);
        for _ in 0..3 {
            meter.add(1, at(900));
        }
        meter.add(1, at(30_000));
        assert_eq!(meter.room(5, at(60_500)), 1);
        assert_eq!(
            (meter.room(4, at(60_899)), meter.room_in(4, at(60_899))),
            (0, Duration::from_millis(101))
        );
        assert_eq!(meter.room(4, at(60_999)), 0);
        assert_eq!(meter.room(4, at(61_000)), 3);
        assert_eq!(meter.room(4, at(91_000)), 4);
    }

    #[test]
    fn what_a_running_call_holds_is_not_given_twice() {
        let mut meter = Meter::new(Resource::Fuel);
        assert_eq!(meter.room(100, at(0)), 100);
        meter.hold(80);
        assert_eq!((meter.room(100, at(0)), meter.room_in(80, at(0))), (20, Duration::from_secs(1)));
        meter.settle(80, 7, at(0));
        assert_eq!(meter.room(100, at(0)), 93);
        assert!(!meter.is_idle(at(0)));
        assert_eq!(meter.take_changed().len(), 1);
        assert!(meter.take_changed().is_empty() && meter.is_idle(at(3_700_000)));
    }

    proptest! {
        /// No window of time holds more than was allowed, wherever it begins; what is written down and read again is
        /// the same; and whoever waits as long as it is told finds room.
        #[test]
        fn no_window_holds_more_than_it_may(
            steps in prop::collection::vec((0_u64..4_000, 1_u64..8), 1..300),
            max in 1_u64..20,
        ) {
            let (mut meter, mut stored) = (Meter::new(Resource::Calls), std::collections::BTreeMap::new());
            let (mut now, mut taken) = (0, Vec::<u64>::new());
            for (pause, wanted) in steps {
                now += pause;
                for _ in 0..wanted {
                    if meter.room(max, at(now)) == 0 {
                        let wait = meter.room_in(max, at(now));
                        prop_assert!(wait <= Duration::from_secs(61));
                        prop_assert!(meter.clone().room(max, at(now) + wait) > 0);
                        continue;
                    }
                    meter.add(1, at(now));
                    taken.push(now);
                }
                let within = taken.iter().filter(|then| **then + 60_000 > now).count() as u64;
                prop_assert!(within <= max, "{within} of {max}");
                stored.extend(meter.take_changed());
                let mut restored = Meter::new(Resource::Calls);
                stored.iter().for_each(|(step, used)| restored.restore(*step, *used));
                prop_assert_eq!(restored.used(at(now)), meter.used(at(now)));
            }
        }
    }
}
