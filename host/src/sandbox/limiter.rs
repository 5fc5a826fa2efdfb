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
}
