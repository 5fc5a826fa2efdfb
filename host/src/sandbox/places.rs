//! Places for running calls: so many of a package, of a principal, in all. Nobody waits here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::{PackageName, PrincipalId};
use crate::limits::{HostLimits, Limit, LimitReached, Usage};
use crate::policy::AuthorizedCall;

/// All running calls of a host.
#[derive(Debug)]
pub(super) struct Places {
    principal_max: u64,
    host_max: u64,
    running: Mutex<Running>,
}

/// How many run. Nothing is kept of those of whom none does.
#[derive(Debug, Default)]
struct Running {
    packages: HashMap<PackageName, u64>,
    principals: HashMap<PrincipalId, u64>,
    host: u64,
}

/// A place for one running call; given back when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Place {
    places: Arc<Places>,
    package: PackageName,
    principal: PrincipalId,
    /// How many ran when it was taken, itself included: of the package, of the principal, in all.
    counts: [u64; 3],
}

impl Places {
    pub(super) fn new(limits: &HostLimits) -> Self {
        let principal_max = limits.ceiling_of(Limit::PrincipalConcurrency);
        let host_max = limits.ceiling_of(Limit::HostConcurrency);
        Self { principal_max, host_max, running: Mutex::default() }
    }

    /// Takes a place for a call.
    ///
    /// # Errors
    /// The limit that is reached: of the host, the principal or the package, in this order.
    pub(super) fn take(self: &Arc<Self>, call: &AuthorizedCall) -> Result<Place, LimitReached> {
        let (package, principal) = (call.package(), call.principal());
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = [
            running.packages.get(package).copied().unwrap_or(0) + 1,
            running.principals.get(principal).copied().unwrap_or(0) + 1,
            running.host + 1,
        ];
        for (limit, value, max) in [
            (Limit::HostConcurrency, counts[2], self.host_max),
            (Limit::PrincipalConcurrency, counts[1], self.principal_max),
            (Limit::Concurrency, counts[0], call.limits().concurrency),
        ] {
            if value > max {
                return Err(LimitReached { limit, value, max });
            }
        }
        running.packages.insert(package.clone(), counts[0]);
        running.principals.insert(principal.clone(), counts[1]);
        running.host = counts[2];
        Ok(Place { places: Arc::clone(self), package: package.clone(), principal: principal.clone(), counts })
    }
}

impl Place {
    /// Notes how many calls ran when this one began.
    pub(super) fn note(&self, usage: &mut Usage) {
        [usage.concurrency, usage.principal_concurrency, usage.host_concurrency] = self.counts;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = self.places.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.host -= 1;
        let (package, principal) = (self.package.clone(), self.principal.clone());
        one_less(running.packages.entry(package));
        one_less(running.principals.entry(principal));
    }
}

fn one_less<K: Eq + Hash>(entry: Entry<'_, K, u64>) {
    if let Entry::Occupied(mut entry) = entry {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}
