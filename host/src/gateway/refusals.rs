//! Calls that were refused for want of room: counted here, and recorded about once a second, those of one kind as one.
//!
//! An agent in a loop can be refused thousands of times a second, and each record would cost more than the refusal.
//! What is noted is bounded.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::admission::Busy;
use super::quotas::QuotaReached;
use super::{CallError, CallRequest, Host, HostError};
use crate::audit::event::{CallsRefused, Event};
use crate::ids::{PackageName, PrincipalId};
use crate::limits::{Limit, LimitReached};

/// How many kinds are counted apart between two records; the others share one for each limit.
const KINDS_MAX: usize = 1_024;

/// Refusals that no record was written of yet.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By principal, package and limit, with what was reached last.
    counted: Mutex<BTreeMap<Kind, (LimitReached, u64)>>,
}

type Kind = (Option<(PrincipalId, PackageName)>, Limit);

impl Refusals {
    fn note(&self, principal: &PrincipalId, package: &PackageName, reached: LimitReached) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = (Some((principal.clone(), package.clone())), reached.limit);
        let is_room = counted.len() < KINDS_MAX || counted.contains_key(&kind);
        let entry = counted.entry(if is_room { kind } else { (None, reached.limit) }).or_insert((reached, 0));
        *entry = (reached, entry.1 + 1);
    }

    fn take(&self) -> BTreeMap<Kind, (LimitReached, u64)> {
        std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Host {
    /// A call found no place: that is noted, and is its caller's answer.
    pub(super) fn busy(&self, request: &CallRequest, busy: Busy) -> CallError {
        self.refusals.note(&request.principal, &request.package, busy.reached);
        CallError::Busy(busy)
    }

    /// A quota is used up: that is noted, and is the caller's answer.
    pub(super) fn over_quota(&self, request: &CallRequest, quota: QuotaReached) -> CallError {
        self.refusals.note(&request.principal, &request.package, quota.reached);
        CallError::Quota(quota)
    }

    /// Records what was refused since the last time.
    ///
    /// # Errors
    /// If the log can't be written.
    pub(super) async fn write_refusals(&self) -> Result<(), HostError> {
        for ((who, _), (reached, calls)) in self.refusals.take() {
            let (principal, package) = who.unzip();
            let refused = CallsRefused { principal, package, reached, calls };
            self.log.append(Event::CallsRefused(refused)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_one_kind_are_one_and_kinds_are_bounded() {
        let refusals = Refusals::default();
        let reached = |value| LimitReached { limit: Limit::PrincipalQueue, value, max: 1 };
        let package: PackageName = "tools".parse().expect("a name");
        for number in 0..3_000_u64 {
            let principal: PrincipalId = format!("agent-{number}").parse().expect("a name");
            refusals.note(&principal, &package, reached(number));
            refusals.note(&principal, &package, reached(number));
        }
        let taken = refusals.take();
        assert_eq!(taken.len(), KINDS_MAX + 1);
        assert_eq!(taken.values().map(|(_, calls)| calls).sum::<u64>(), 6_000);
        let rest = (3_000 - KINDS_MAX as u64) * 2;
        assert_eq!(taken[&(None, Limit::PrincipalQueue)], (reached(2_999), rest));
        assert!(refusals.take().is_empty());
    }
}
