//! Requests per minute, counted over all calls by a rule.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::GrantId;

const MINUTE: Duration = Duration::from_secs(60);

/// How many rules are remembered before those that are at rest are forgotten.
const REMEMBERED_MAX: usize = 1_024;

/// How far ahead of its rate each rule is: the generic cell rate algorithm. A minute's worth may be sent at
/// once, and what was sent is made good evenly.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<(GrantId, usize), Instant>>);

impl Rates {
    /// Takes a request of the rule's rate. `false` if there is none left now.
    pub(crate) fn take(&self, rule: (GrantId, usize), per_minute: NonZeroU32, now: Instant) -> bool {
        let mut ahead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ahead.len() >= REMEMBERED_MAX {
            ahead.retain(|_, until| *until > now);
        }
        let until = ahead.entry(rule).or_insert(now);
        let next = (*until).max(now) + MINUTE / per_minute.get();
        let fits = next.duration_since(now) <= MINUTE;
        if fits {
            *until = next;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_may_be_sent_at_once_and_is_made_good_evenly() {
        let (rates, start) = (Rates::default(), Instant::now());
        let six = NonZeroU32::new(6).expect("it is not 0");
        let take =
            |index, seconds| rates.take((GrantId(1), index), six, start + Duration::from_secs(seconds));
        assert_eq!([(); 7].map(|()| take(0, 0)), [true, true, true, true, true, true, false]);
        assert!(take(1, 0), "another rule has its own");
        assert!(!take(0, 9));
        assert!(take(0, 10));
        assert!(!take(0, 10));
        assert_eq!([(); 7].map(|()| take(0, 200)), [true, true, true, true, true, true, false]);
    }
}
