//! What the sandbox knows of the place that a call runs in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fairness::Weight;
use crate::limits::Usage;

/// The place of a call, as far as the sandbox has to do with it: whoever orders the call holds it until the call ended.
#[derive(Clone, Copy, Debug)]
pub struct Admitted {
    /// How many calls ran when it began, itself included: of its package, of its principal, in all.
    pub counts: [u64; 3],
    /// How long it waited for the place.
    pub waited: Duration,
    /// How much more of the processor than others its principal is given, when there is too little.
    pub weight: Weight,
}

/// What a call has used by its end, however that came: for whoever ordered it. It counts nothing while the call runs.
#[derive(Clone, Debug, Default)]
pub struct Spent(Arc<AtomicU64>);

impl Spent {
    /// Fuel.
    pub fn fuel(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, fuel: u64) {
        self.0.store(fuel, Ordering::Relaxed);
    }
}

impl Admitted {
    pub(super) fn note(&self, usage: &mut Usage) {
        [usage.concurrency, usage.principal_concurrency, usage.host_concurrency] = self.counts;
        usage.queue_time_us = u64::try_from(self.waited.as_micros()).unwrap_or(u64::MAX);
    }
}
