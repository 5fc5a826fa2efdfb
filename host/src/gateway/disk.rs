//! Keeps room on the log's disk for what must still be written when it runs low: the last records of
//! running calls, and what an admin does. New calls and packages are refused first.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::RECORDER_BYTES_MAX;
use crate::limits::{HostLimits, Limit};
use crate::platform;

/// For what an admin does, the database, and what is queued for the log.
const ADMIN_BYTES: u64 = 64 << 20;

/// How long what was measured is taken to be so.
const MEASURED_FOR: Duration = Duration::from_secs(1);

/// The default of [`HostOptions::disk_reserve_bytes`](super::HostOptions): 64 MiB, and the most that the
/// records of as many calls as may run at once can take (192 MiB).
pub const DISK_RESERVE_BYTES_DEFAULT: u64 =
    ADMIN_BYTES + Limit::HostConcurrency.row().default * RECORDER_BYTES_MAX;

/// What is kept free in a host with its limits: as much more as calls more may run than by default. 0 stays 0.
pub(super) fn reserve(bytes: u64, limits: &HostLimits) -> u64 {
    let places = limits.ceiling_of(Limit::HostConcurrency);
    let more = places.saturating_sub(Limit::HostConcurrency.row().default);
    if bytes == 0 { 0 } else { bytes.saturating_add(more * RECORDER_BYTES_MAX) }
}

/// Why nothing new is begun. The fault of whoever fills the disk; no tool hears of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskLow {
    /// Too little is free.
    #[error(
        "the disk of the data folder has {free_bytes} bytes free, and {reserve_bytes} are kept for the end of running calls and for what admins do: no new call or package is taken until there is more room"
    )]
    Below {
        /// What is free.
        free_bytes: u64,
        /// What must be.
        reserve_bytes: u64,
    },
    /// Nobody knows how much is.
    #[error(
        "the free space of the data folder's disk can't be measured, so no new call or package is taken: {reason}"
    )]
    Unknown {
        /// What the system said.
        reason: String,
    },
}

type Probe = Box<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// Watches the free space of one folder's file system.
pub(super) struct DiskWatch {
    path: PathBuf,
    reserve_bytes: u64,
    probe: Probe,
    last: Mutex<Option<(Instant, Result<(), DiskLow>)>>,
}

impl fmt::Debug for DiskWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskWatch")
            .field("path", &self.path)
            .field("reserve_bytes", &self.reserve_bytes)
            .finish_non_exhaustive()
    }
}

impl DiskWatch {
    /// A reserve of 0 lets everything through, without a look.
    pub(super) fn new(path: PathBuf, reserve_bytes: u64) -> Self {
        Self::with_probe(path, reserve_bytes, Box::new(platform::free_bytes))
    }

    fn with_probe(path: PathBuf, reserve_bytes: u64, probe: Probe) -> Self {
        Self { path, reserve_bytes, probe, last: Mutex::new(None) }
    }

    /// What is kept free.
    pub(super) fn reserve_bytes(&self) -> u64 {
        self.reserve_bytes
    }

    /// Whether something new may be begun. Looks at the disk at most once a second, so what begins
    /// within that second may still find it fuller than this says.
    ///
    /// # Errors
    /// [`DiskLow`].
    pub(super) fn check(&self) -> Result<(), DiskLow> {
        if self.reserve_bytes == 0 {
            return Ok(());
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((measured, found)) = &*last
            && measured.elapsed() < MEASURED_FOR
        {
            return found.clone();
        }
        let found = self.measure();
        let was_low = matches!(&*last, Some((_, Err(_))));
        match &found {
            Err(low) if !was_low => tracing::error!(%low, "new calls are refused"),
            Ok(()) if was_low => tracing::warn!("the disk has room again: calls are taken"),
            Ok(()) | Err(_) => {}
        }
        *last = Some((Instant::now(), found.clone()));
        found
    }

    fn measure(&self) -> Result<(), DiskLow> {
        match (self.probe)(&self.path) {
            Ok(free_bytes) if free_bytes >= self.reserve_bytes => Ok(()),
            Ok(free_bytes) => Err(DiskLow::Below { free_bytes, reserve_bytes: self.reserve_bytes }),
            Err(error) => Err(DiskLow::Unknown { reason: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A watch with a reserve of 100, over a disk that says what is free and counts the looks.
    fn watch(free: u64) -> (DiskWatch, Arc<AtomicU64>, Arc<AtomicU64>) {
        let (free, looks) = (Arc::new(AtomicU64::new(free)), Arc::new(AtomicU64::new(0)));
        let (said, counted) = (Arc::clone(&free), Arc::clone(&looks));
        let probe = move |_: &Path| {
            counted.fetch_add(1, Ordering::SeqCst);
            match said.load(Ordering::SeqCst) {
                u64::MAX => Err(io::Error::other("gone")),
                free => Ok(free),
            }
        };
        (DiskWatch::with_probe("/log".into(), 100, Box::new(probe)), free, looks)
    }

    #[test]
    fn more_places_keep_more_free_and_nothing_stays_nothing() {
        let mut limits = HostLimits::default();
        let default = DISK_RESERVE_BYTES_DEFAULT;
        assert_eq!(reserve(default, &limits), default);
        limits.set_value(Limit::HostConcurrency, 1_064).expect("below the table's");
        assert_eq!(reserve(default, &limits), default + 1_000 * RECORDER_BYTES_MAX);
        assert_eq!(reserve(0, &limits), 0);
        limits.set_value(Limit::HostConcurrency, 1).expect("below the table's");
        assert_eq!(reserve(default, &limits), default);
    }

    #[test]
    fn enough_is_enough_and_a_byte_less_is_refused_with_the_numbers() {
        assert_eq!(watch(100).0.check(), Ok(()));
        let low = watch(99).0.check().expect_err("low");
        assert_eq!(low, DiskLow::Below { free_bytes: 99, reserve_bytes: 100 });
        let unknown = watch(u64::MAX).0.check().expect_err("unknown");
        assert!(unknown.to_string().contains("gone"), "{unknown}");
    }

    #[test]
    fn many_calls_cost_one_look() {
        let (watch, free, looks) = watch(100);
        for _ in 0..1_000 {
            assert_eq!(watch.check(), Ok(()));
        }
        free.store(0, Ordering::SeqCst);
        assert_eq!(watch.check(), Ok(()), "what was measured holds for a second");
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        *watch.last.lock().expect("not poisoned") = None;
        assert!(watch.check().is_err());
    }

    #[test]
    fn no_reserve_asks_nobody() {
        let (mut watch, _, looks) = watch(0);
        watch.reserve_bytes = 0;
        assert_eq!(watch.check(), Ok(()));
        assert_eq!(looks.load(Ordering::SeqCst), 0);
    }
}
