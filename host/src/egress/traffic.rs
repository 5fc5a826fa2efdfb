//! The bytes of HTTP that one call receives and sends, counted over all of its exchanges.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::EgressError;
use crate::limits::{Limit, LimitReached};

/// Is asked before bytes leave, beside a call's own bounds.
pub trait Meter: std::fmt::Debug + Send + Sync {
    /// Counts bytes that are about to leave, if they may.
    ///
    /// # Errors
    /// The limit that they would go beyond; then none is counted.
    fn take(&self, bytes: u64) -> Result<(), LimitReached>;
}

/// Lets everything leave.
#[derive(Clone, Copy, Debug)]
pub struct Unmetered;

impl Meter for Unmetered {
    fn take(&self, _: u64) -> Result<(), LimitReached> {
        Ok(())
    }
}

/// Counts bytes in both directions, each up to its bound. Shared by the exchanges of one call.
#[derive(Debug)]
pub struct Traffic {
    bytes_in: Count,
    bytes_out: Count,
    meter: Arc<dyn Meter>,
}

#[derive(Debug)]
struct Count {
    limit: Limit,
    used: AtomicU64,
    max: u64,
}

impl Count {
    fn new(limit: Limit, max: u64) -> Self {
        Self { limit, used: AtomicU64::new(0), max }
    }

    /// Counts bytes that fit, and none that don't.
    fn take(&self, bytes: u64) -> Result<(), EgressError> {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.max);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(used) => {
                let value = used.saturating_add(bytes);
                Err(EgressError::Limit(LimitReached { limit: self.limit, value, max: self.max }))
            }
        }
    }
}

impl Traffic {
    /// Nothing yet, and at most so many bytes in and out, heads included.
    pub fn new(bytes_in_max: u64, bytes_out_max: u64) -> Self {
        Self {
            bytes_in: Count::new(Limit::HttpBytesIn, bytes_in_max),
            bytes_out: Count::new(Limit::HttpBytesOut, bytes_out_max),
            meter: Arc::new(Unmetered),
        }
    }

    /// The same, and asks `meter` before bytes are sent.
    #[must_use]
    pub fn metered(self, meter: Arc<dyn Meter>) -> Self {
        Self { meter, ..self }
    }

    /// Bytes received so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.used.load(Ordering::Relaxed)
    }

    /// Bytes sent so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.used.load(Ordering::Relaxed)
    }

    /// Counts bytes that were received.
    pub(super) fn receive(&self, bytes: u64) -> Result<(), EgressError> {
        self.bytes_in.take(bytes)
    }

    /// Counts bytes that are about to be sent.
    pub(super) fn send(&self, bytes: u64) -> Result<(), EgressError> {
        self.bytes_out.take(bytes)?;
        self.meter.take(bytes).map_err(EgressError::Limit)
    }
}

/// The bytes of one exchange, which count for its call as well.
#[derive(Clone, Debug, Default)]
pub struct ExchangeBytes(std::sync::Arc<[AtomicU64; 2]>);

impl ExchangeBytes {
    /// Bytes received so far, the head included.
    pub fn bytes_in(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// Bytes sent so far, the head included.
    pub fn bytes_out(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    pub(super) fn receive(&self, traffic: &Traffic, bytes: u64) -> Result<(), EgressError> {
        traffic.receive(bytes)?;
        self.0[0].fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn send(&self, traffic: &Traffic, bytes: u64) -> Result<(), EgressError> {
        traffic.send(bytes)?;
        self.0[1].fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}
