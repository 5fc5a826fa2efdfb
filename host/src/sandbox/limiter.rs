//! The bound on linear memories and tables: one sum over all of a call's, whatever their number.

use wasmtime::ResourceLimiter;

use crate::limits::{CallLimits, Limit, LimitReached};

/// Counts the linear memory and the table elements of one call.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    memory: Account,
    tables: Account,
}

#[derive(Debug)]
struct Account {
    limit: Limit,
    max: u64,
    held: u64,
    peak: u64,
    /// What the last growth added, in case the engine can't make it after all.
    last: u64,
    refused: Option<LimitReached>,
}

impl Account {
    fn new(limit: Limit, max: u64) -> Self {
        Self { limit, max, held: 0, peak: 0, last: 0, refused: None }
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current) as u64;
        let sum = self.held.saturating_add(more);
        if sum > self.max {
            self.refused = Some(LimitReached { limit: self.limit, value: sum, max: self.max });
            self.last = 0;
            return false;
        }
        self.held = sum;
        self.last = more;
        self.peak = self.peak.max(sum);
        true
    }

    /// The same with what another holds, if it may have that.
    fn holding(&self, other: &Account) -> Option<Self> {
        let fits = other.held <= self.max;
        fits.then(|| Self { held: other.held, peak: other.peak, ..Self::new(self.limit, self.max) })
    }

    fn undo(&mut self) {
        self.held -= std::mem::take(&mut self.last);
    }
}

impl MemoryLimiter {
    pub(crate) fn new(limits: &CallLimits) -> Self {
        Self {
            memory: Account::new(Limit::Memory, limits.memory),
            tables: Account::new(Limit::TableElements, limits.table_elements),
        }
    }

    /// The limiter of a call that holds from its begin what another has let grow; `None` if it may not have that.
    pub(crate) fn holding(&self, other: &MemoryLimiter) -> Option<Self> {
        let (memory, tables) = (self.memory.holding(&other.memory)?, self.tables.holding(&other.tables)?);
        Some(Self { memory, tables })
    }

    /// The most bytes of memory held at once.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.memory.peak
    }

    /// The most table elements held at once.
    pub(crate) fn table_elements_peak(&self) -> u64 {
        self.tables.peak
    }

    /// The last growth that was refused, if any was: why a call that then failed may have failed.
    pub(crate) fn refused(&self) -> Option<LimitReached> {
        self.memory.refused.or(self.tables.refused)
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.memory.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.undo();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.tables.grow(current, desired))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables.undo();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_share_one_sum() {
        let limits = CallLimits { memory: 100, ..CallLimits::default() };
        let mut limiter = MemoryLimiter::new(&limits);
        assert!(limiter.memory_growing(0, 60, None).expect("no trap"));
        assert!(!limiter.memory_growing(0, 41, None).expect("no trap"), "a second memory beyond the sum");
        assert_eq!(limiter.refused(), Some(LimitReached { limit: Limit::Memory, value: 101, max: 100 }));
        assert!(limiter.memory_growing(60, 100, None).expect("no trap"));
        limiter.memory_grow_failed(wasmtime::format_err!("no room")).expect("no trap");
        assert!(limiter.memory_growing(60, 100, None).expect("no trap"), "the failed growth was given back");
        assert_eq!(limiter.memory_peak(), 100);
    }

    #[test]
    fn what_another_let_grow_counts_from_the_begin() {
        let new = |memory, table_elements| {
            MemoryLimiter::new(&CallLimits { memory, table_elements, ..CallLimits::default() })
        };
        let mut other = new(1_000, 1_000);
        assert!(other.memory_growing(0, 60, None).expect("no trap"));
        assert!(other.table_growing(0, 30, None).expect("no trap"));
        let mut limiter = new(100, 30).holding(&other).expect("it may have that");
        assert_eq!((limiter.memory_peak(), limiter.table_elements_peak()), (60, 30));
        assert!(!limiter.memory_growing(60, 101, None).expect("no trap"), "beyond its own bound");
        assert!(limiter.memory_growing(60, 100, None).expect("no trap"));
        assert!(!limiter.table_growing(30, 31, None).expect("no trap"));
        assert!(new(59, 30).holding(&other).is_none() && new(100, 29).holding(&other).is_none());
    }
}
