//! The engine: which settings of wasmtime, and why. Each comes from its documentation or from an
//! advisory; `docs/decisions/002-engine-settings.md` has the sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, PoolingAllocationConfig, WasmFeatures,
};

use super::prepared;
use crate::limits::{HostLimits, Limit};

/// The engine and its version, as the log and receipts name them.
pub const ENGINE: &str = "wasmtime 48.0.8";

/// The unit of interruption: a guest that computes is asked to yield this often.
pub const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Memory that a pool slot keeps between calls instead of giving it back to the kernel: most tools
/// touch less, and a page that is zeroed is cheaper than one that faults.
const MEMORY_KEPT_RESIDENT_BYTES: usize = 1 << 20;

/// Features that untrusted code does not need. Each is a way to more code in the engine; several had
/// advisories in 2026.
const FEATURES_OFF: WasmFeatures = WasmFeatures::GC
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::THREADS)
    .union(WasmFeatures::SHARED_EVERYTHING_THREADS)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::STACK_SWITCHING)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::CM_ASYNC)
    .union(WasmFeatures::CM_THREADING)
    .union(WasmFeatures::CM_ERROR_CONTEXT)
    .union(WasmFeatures::CM_GC);

/// What a call can need at most, as the pool counts it.
///
/// What one component may have is by the table and not by the host's own limits, so that what was
/// registered before they were lowered can still be loaded; a call's own bounds hold it.
fn pool(limits: &HostLimits) -> PoolingAllocationConfig {
    let row = |limit: Limit| limit.row().ceiling;
    // One more, for the `list-tools` of the one package that is being registered. Those that are made before their
    // calls, and those that calls have left, take no call's place.
    let beside = limits.ceiling_of(Limit::PreparedSandboxes) + prepared::LEFT_MAX as u64 + 1;
    let calls = u32::try_from(limits.ceiling_of(Limit::HostConcurrency) + beside).unwrap_or(u32::MAX);
    let instances = u32::try_from(row(Limit::Instances)).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    // One component instance and one stack a call.
    pool.total_component_instances(calls).total_stacks(calls);
    // A Python component has 14 core instances and 13 tables; few tools have a second memory. The
    // pool is shared: a call that finds it empty is answered "busy".
    pool.total_core_instances(calls * instances).max_core_instances_per_component(instances);
    pool.total_memories(calls * prepared::MEMORIES_MAX).max_memories_per_component(instances).max_memories_per_module(1);
    pool.total_tables(calls * prepared::TABLES_MAX).max_tables_per_component(instances * 2).max_tables_per_module(4);
    pool.table_elements(usize::try_from(row(Limit::TableElements)).unwrap_or(usize::MAX));
    pool.max_memory_size(usize::try_from(row(Limit::Memory)).unwrap_or(usize::MAX));
    pool.max_core_instance_size(1 << 20).max_component_instance_size(1 << 20);
    pool.linear_memory_keep_resident(MEMORY_KEPT_RESIDENT_BYTES).table_keep_resident(64 << 10);
    // With stack zeroing, what is kept resident is also what is zeroed by hand.
    pool.async_stack_keep_resident(64 << 10);
    // Reuse the slot that last held the same component: its pages are as they should be.
    pool.max_unused_warm_slots(calls);
    // Linux 6.7 can tell which pages a guest wrote; older kernels get the plain way.
    pool.pagemap_scan(Enabled::Auto);
    pool
}

/// All settings but how instances are allocated, which matters to no compiled code. Those of the compiler
/// are part of an artifact's identity.
fn config(limits: &HostLimits) -> Config {
    let mut config = Config::new();
    config.wasm_features(FEATURES_OFF, false);
    // Metering: instructions are counted, and the work of bulk operations by their size: one for each
    // byte or element is the engine's default.
    config.consume_fuel(true);
    let mut costs = OperatorCost::default();
    // A page that is granted must be zeroed: about as much work as 64 instructions.
    costs.variable.memory_grow_per_page = 64;
    config.operator_cost(costs);
    // Interruption between instructions, whatever the fuel.
    config.epoch_interruption(true);
    // Bounds checks by the memory's guards, before and behind.
    config.signals_based_traps(true).guard_before_linear_memory(true);
    // Fresh memory is a copy-on-write view of the component's image.
    config.memory_init_cow(true);
    // The same program gives the same bits everywhere.
    config.cranelift_nan_canonicalization(true);
    // The difference between the two is all that host functions get; overrunning it aborts the
    // process, so it is wide.
    config.max_wasm_stack(usize::try_from(limits.ceiling_of(Limit::Stack)).unwrap_or(512 << 10));
    config.async_stack_size(2 << 20);
    // The next call must not find what the last left on its stack.
    config.async_stack_zeroing(true);
    // Nothing of a guest's inside is written anywhere or shown to anyone; core dumps are not compiled in.
    config.debug_info(false);
    config
}

/// Makes the engine.
///
/// # Errors
/// If this machine can't run it: no virtual memory for the pool, or an unsupported processor.
pub(super) fn engine(limits: &HostLimits) -> wasmtime::Result<Engine> {
    let mut config = config(limits);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    Engine::new(&config)
}

/// Makes an engine that compiles for such a one, and runs nothing: it has no pool, whose memory a
/// compiler's process could not have.
///
/// # Errors
/// If this processor is not supported.
pub(super) fn compiler_engine() -> wasmtime::Result<Engine> {
    Engine::new(&config(&HostLimits::default()))
}

/// Opens what the engine needs of `/proc/self`, and keeps it: a process that was
/// [hardened](crate::hardening::harden) can't any more, unless it is root. Says whether the kernel can
/// tell which pages a guest wrote, which saves every call zeroing the others.
pub fn open_page_map() -> bool {
    PoolingAllocationConfig::is_pagemap_scan_available()
}

/// A bare engine with the same settings: the floor that benchmarks compare with.
///
/// # Errors
/// As [`engine`].
#[doc(hidden)]
pub fn tuned_floor_engine() -> wasmtime::Result<Engine> {
    engine(&HostLimits::default())
}

/// The thread that advances the epoch. Without it nothing interrupts a guest, so its end is noticed.
#[derive(Debug)]
pub(super) struct Ticker {
    ticks: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Ticker {
    /// Starts it. It ends when the engine is gone.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let (engine, ticks) = (engine.weak(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&ticks);
        let thread = std::thread::Builder::new().name("epoch".into()).spawn(move || {
            loop {
                std::thread::sleep(EPOCH_TICK);
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                counter.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Ok(Self { ticks, thread })
    }

    /// Whether guests are being interrupted.
    pub(super) fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    /// How often it ticked.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::compiler::Fingerprint;
    use super::*;

    /// What the compiler's process makes must be what the host can load, whatever the admin's limits.
    #[test]
    fn the_compilers_engine_makes_code_for_the_hosts() {
        let mut limits = HostLimits::default();
        limits.set_value(Limit::Stack, 100_000).expect("below the table's");
        limits.set_value(Limit::HostConcurrency, 2).expect("below the table's");
        let compiler = Fingerprint::of(&compiler_engine().expect("an engine"));
        for limits in [HostLimits::default(), limits] {
            assert_eq!(Fingerprint::of(&engine(&limits).expect("an engine")), compiler);
        }
    }
}
