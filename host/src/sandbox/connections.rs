//! Connections at once: so many of a call, so many of a package whoever calls it. Nobody waits here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::PackageName;
use crate::limits::{HostLimits, Limit, LimitReached};

/// The connections of all running calls of a host.
#[derive(Debug)]
pub(crate) struct Connections {
    package_max: u64,
    /// How many are open. Nothing is kept of a package that has none.
    packages: Mutex<HashMap<PackageName, u64>>,
}

/// Where one call takes its connections from. Clones are of the same call.
#[derive(Clone, Debug)]
pub(crate) struct CallConnections {
    host: Arc<Connections>,
    package: PackageName,
    call_max: u64,
    open: Arc<AtomicU64>,
    peak: Arc<AtomicU64>,
}

/// One connection, of HTTP or a socket, from before it is opened until it is closed; counted until it is dropped.
#[derive(Debug)]
#[must_use = "it counts as long as it is held"]
pub(crate) struct Connection {
    of: CallConnections,
}

impl Connections {
    pub(crate) fn new(limits: &HostLimits) -> Self {
        Self { package_max: limits.ceiling_of(Limit::PackageConnections), packages: Mutex::default() }
    }

    /// For a call of a package, which may have `call_max` at once.
    pub(crate) fn of_call(self: &Arc<Self>, package: PackageName, call_max: u64) -> CallConnections {
        let (open, peak) = Default::default();
        CallConnections { host: Arc::clone(self), package, call_max, open, peak }
    }

    fn packages(&self) -> MutexGuard<'_, HashMap<PackageName, u64>> {
        self.packages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallConnections {
    /// Takes a place for a connection.
    ///
    /// # Errors
    /// The limit that is reached: of the call ([`Limit::Connections`]), or of its package
    /// ([`Limit::PackageConnections`]).
    pub(crate) fn take(&self) -> Result<Connection, LimitReached> {
        // Counts change under the lock only: the call's are atomic so that its end can read them.
        let mut packages = self.host.packages();
        let of_call = self.open.load(Ordering::Relaxed) + 1;
        let of_package = packages.get(&self.package).copied().unwrap_or(0) + 1;
        for (limit, value, max) in [
            (Limit::Connections, of_call, self.call_max),
            (Limit::PackageConnections, of_package, self.host.package_max),
        ] {
            if value > max {
                return Err(LimitReached { limit, value, max });
            }
        }
        packages.insert(self.package.clone(), of_package);
        self.open.store(of_call, Ordering::Relaxed);
        self.peak.fetch_max(of_call, Ordering::Relaxed);
        Ok(Connection { of: self.clone() })
    }

    /// The most that the call had at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut packages = self.of.host.packages();
        self.of.open.fetch_sub(1, Ordering::Relaxed);
        if let Entry::Occupied(mut entry) = packages.entry(self.of.package.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(package_max: u64) -> Arc<Connections> {
        Arc::new(Connections { package_max, packages: Mutex::default() })
    }

    fn package(name: &str) -> PackageName {
        name.parse().expect("a name")
    }

    #[test]
    fn a_call_has_so_many_at_once() {
        let call = connections(64).of_call(package("one"), 2);
        let (first, _second) = (call.take().expect("one"), call.take().expect("two"));
        let reached = call.take().expect_err("three");
        assert_eq!(reached, LimitReached { limit: Limit::Connections, value: 3, max: 2 });
        drop(first);
        let _third = call.take().expect("there is room again");
        assert_eq!(call.peak(), 2);
    }

    #[test]
    fn a_package_has_so_many_whoever_calls_it() {
        let host = connections(2);
        let (one, two) = (host.of_call(package("one"), 8), host.of_call(package("one"), 8));
        let (first, second) = (one.take().expect("one"), two.take().expect("two"));
        let reached = LimitReached { limit: Limit::PackageConnections, value: 3, max: 2 };
        assert_eq!([one.take().expect_err("three"), two.take().expect_err("three")], [reached, reached]);
        let _other = host.of_call(package("other"), 8).take().expect("another package has its own");
        drop(first);
        let third = two.take().expect("there is room again");
        drop((second, third));
        assert!(!host.packages().contains_key(&package("one")), "nothing is kept of who has none");
    }
}
