//! How often a principal may ask, whatever it asks for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::ids::PrincipalId;

/// How long requests are counted.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// Beyond so many counts, those that are over are dropped. There are never more than there are API keys.
const COUNTS_KEPT: usize = 1_024;

/// How often each principal has asked within its minute.
#[derive(Debug, Default)]
pub struct Rates {
    per_minute: Option<u32>,
    counts: BTreeMap<PrincipalId, (Instant, u32)>,
}

impl Rates {
    /// With so many requests a minute for each principal; `None`: any number, which is the default.
    pub fn new(per_minute: Option<u32>) -> Self {
        Self { per_minute, counts: BTreeMap::new() }
    }

    /// From now on so many. What was counted stays.
    pub fn set(&mut self, per_minute: Option<u32>) {
        self.per_minute = per_minute;
    }

    /// Counts a request. If it is one too many, how long its principal must wait.
    pub fn note(&mut self, principal: &PrincipalId, now: Instant) -> Option<Duration> {
        let max = self.per_minute?;
        let age = |since: Instant| now.saturating_duration_since(since);
        if self.counts.len() > COUNTS_KEPT && !self.counts.contains_key(principal) {
            self.counts.retain(|_, (since, _)| age(*since) < MINUTE);
        }
        let (since, count) = self.counts.entry(principal.clone()).or_insert((now, 0));
        if age(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        (*count > max).then(|| MINUTE.saturating_sub(age(*since)))
    }
}
