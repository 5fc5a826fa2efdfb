//! What the process does: calls in batches, and between them it looks at what is held.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis::limits::Limit;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::calls::{AGENTS, SLEEPERS, any, prepare};
use crate::harness::random::Random;
use crate::harness::soak::{Plan, allocated_bytes, open_descriptors, resident_bytes};
use crate::harness::{World, log, request, worker};

/// Callers at once.
const CALLERS: u64 = 8;
/// Calls between two looks.
const BATCH: u64 = 1_000;
/// Calls until memory is as it stays: pools, caches and heaps are filled by then.
const WARM_UP: u64 = 10_000;
/// What memory may grow by after that, whatever the number of calls.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// The same for each call, by the least squares of the later half of the looks: less than half of the
/// smallest allocation, which takes 32 bytes.
const GROWTH_OF_A_CALL_BYTES_MAX: f64 = 12.0;
/// What malloc has given out may grow by so much for each call, by the least squares of the later half: a
/// hundredth of the smallest allocation. Holes do not count, so nothing but what is held grows it.
const ALLOCATED_OF_A_CALL_BYTES_MAX: f64 = 0.32;
/// Heaps and pools fill more and more slowly, for some hundred thousand calls. With fewer looks that
/// can't be told from a leak.
const LOOKS_FOR_A_SLOPE: usize = 800;
/// What is let go in the background is gone by then.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);

/// What is held between batches.
#[derive(Clone, Copy, Debug)]
struct Look {
    calls: u64,
    resident_bytes: u64,
    allocated_bytes: u64,
}

/// Makes calls until the plan ends, and leaves figures. Panics at what must not be.
pub(super) fn work(mut plan: Plan, folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let world = World::relaxed().await;
        prepare(&world, plan.is_long()).await;
        let world = Arc::new(world);
        // All places once, so that what comes later is nothing new.
        all_places_at_once(&world).await;
        let (mut done, mut ends) = (0, BTreeMap::new());
        batch(&world, &plan, &mut done, &mut ends).await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        let descriptors = open_descriptors();
        let mut looks = Vec::new();
        while plan.goes_on(done) {
            batch(&world, &plan, &mut done, &mut ends).await;
            settle(tasks, descriptors).await;
            looks.push(Look {
                calls: done,
                resident_bytes: resident_bytes(None),
                allocated_bytes: allocated_bytes(),
            });
            plan.progress(|| {
                let (resident, allocated) =
                    looks.last().map_or((0, 0), |look| (look.resident_bytes, look.allocated_bytes));
                format!(
                    "{done} calls, {} MiB resident, {} KiB allocated, {descriptors} descriptors",
                    resident >> 20,
                    allocated >> 10
                )
            });
        }
        all_places_at_once(&world).await;
        settle(tasks, descriptors).await;
        let seconds = plan.elapsed().as_secs();
        let memory = flat(&looks);
        let world = Arc::into_inner(world).expect("nobody else holds it");
        let audit = world.host.audit_folder();
        world.host.close().await.expect("closed in good order");
        let checked = log::check(&audit);
        drop(world.temporary);
        worker::leave(
            folder,
            &json!({
                "calls": done, "seconds": seconds, "ends": ends, "descriptors": descriptors, "tasks": tasks,
                "log_records": checked.records, "log_admitted": checked.admitted, "log_ends": checked.ends,
                "memory": memory,
            }),
        );
    });
}

/// So many calls of all kinds, by several callers at once.
async fn batch(world: &Arc<World>, plan: &Plan, done: &mut u64, ends: &mut BTreeMap<&'static str, u64>) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (world, long) = (Arc::clone(world), plan.is_long());
            let mut random = Random::of_case(plan.seed, *done + caller);
            tokio::spawn(async move {
                let mut ends = Vec::new();
                for _ in 0..BATCH / CALLERS {
                    let call = any(&mut random, caller, long);
                    call.make(&world).await?;
                    ends.push(call.end.name());
                }
                Ok::<_, String>(ends)
            })
        })
        .collect();
    for caller in callers {
        for end in caller.await.expect("no panic").unwrap_or_else(|wrong| panic!("{wrong}")) {
            *ends.entry(end).or_default() += 1;
            *done += 1;
        }
    }
}

/// Waits until tasks and descriptors are as many as they were.
async fn settle(tasks: usize, descriptors: usize) {
    let deadline = Instant::now() + SETTLE_TIME_MAX;
    loop {
        let now = (Handle::current().metrics().num_alive_tasks(), open_descriptors());
        if now.0 <= tasks && now.1 <= descriptors {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "left behind: {} tasks instead of {tasks}, {} descriptors instead of {descriptors}",
            now.0,
            now.1
        );
        sleep(Duration::from_millis(5)).await;
    }
}

/// As many calls as may run do so at once; one more waits.
async fn all_places_at_once(world: &Arc<World>) {
    let max = Limit::HostConcurrency.row().default;
    let sleeping = |call: usize| {
        // At most sixteen of each agent, and of each package.
        let (package, agent) = (SLEEPERS[call % SLEEPERS.len()], AGENTS[call / 16 % AGENTS.len()]);
        request(agent, package, "sleep", json!({"milliseconds": 3_000}))
    };
    let sleepers: Vec<_> = (0..usize::try_from(max).expect("it fits"))
        .map(|call| {
            let (world, call) = (Arc::clone(world), sleeping(call));
            tokio::spawn(async move { world.host.call(call).await.map(drop) })
        })
        .collect();
    let deadline = Instant::now() + SETTLE_TIME_MAX;
    let mut busy = false;
    while !busy {
        assert!(Instant::now() < deadline, "never busy");
        assert!(!sleepers.iter().any(tokio::task::JoinHandle::is_finished), "not all of them run at once");
        let one_more = request(crate::harness::AGENT, "polite", "answer", json!({}));
        // It is given its place when the first of them ends.
        busy = world.host.call(one_more).await.is_ok_and(|answer| answer.report.usage.queue_time_us > 0);
        sleep(Duration::from_millis(2)).await;
    }
    for sleeper in sleepers {
        sleeper.await.expect("no panic").unwrap_or_else(|error| panic!("a place is gone: {error:?}"));
    }
}

/// Memory does not grow with the number of calls. Gives the figures.
fn flat(looks: &[Look]) -> Value {
    let last = looks.last().map_or(0, |look| look.calls);
    let warm_up = WARM_UP.min(last / 2);
    let warm: Vec<Look> = looks.iter().copied().filter(|look| look.calls >= warm_up).collect();
    let first = warm.first().expect("there are looks after the warm-up").resident_bytes;
    let most = warm.iter().map(|look| look.resident_bytes).max().unwrap_or(first);
    let later = &warm[warm.len() / 2..];
    let resident_slope = slope(later, |look| look.resident_bytes);
    let allocated_slope = slope(later, |look| look.allocated_bytes);
    let allocated = [warm.first(), warm.last()].map(|look| look.map_or(0, |look| look.allocated_bytes));
    let growth = most.saturating_sub(first);
    assert!(
        growth <= GROWTH_BYTES_MAX,
        "resident memory grew by {} MiB after {warm_up} calls, at most {}: {:?}",
        growth >> 20,
        GROWTH_BYTES_MAX >> 20,
        some(&warm)
    );
    if warm.len() >= LOOKS_FOR_A_SLOPE {
        assert!(
            resident_slope <= GROWTH_OF_A_CALL_BYTES_MAX,
            "resident memory grows by {resident_slope:.1} bytes a call, at most \
             {GROWTH_OF_A_CALL_BYTES_MAX}: {:?}",
            some(&warm)
        );
        assert!(
            allocated_slope <= ALLOCATED_OF_A_CALL_BYTES_MAX,
            "allocated memory grows by {allocated_slope:.2} bytes a call, at most \
             {ALLOCATED_OF_A_CALL_BYTES_MAX}: {:?}",
            some(&warm)
        );
    }
    json!({
        "warm_up_calls": warm_up, "warm_mib": first >> 20, "most_mib": most >> 20,
        "growth_mib": growth >> 20, "growth_mib_max": GROWTH_BYTES_MAX >> 20,
        "bytes_a_call": (resident_slope * 10.0).round() / 10.0, "bytes_a_call_max": GROWTH_OF_A_CALL_BYTES_MAX,
        "allocated_warm_kib": allocated[0] >> 10, "allocated_end_kib": allocated[1] >> 10,
        "allocated_bytes_a_call": (allocated_slope * 100.0).round() / 100.0,
        "allocated_bytes_a_call_max": ALLOCATED_OF_A_CALL_BYTES_MAX,
        "looks": warm.len(),
    })
}

/// Enough of them to see how it went.
fn some(looks: &[Look]) -> Vec<Look> {
    looks.iter().copied().step_by(looks.len().div_ceil(20).max(1)).collect()
}

/// Bytes a call, by least squares.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn slope(looks: &[Look], bytes: fn(&Look) -> u64) -> f64 {
    let count = looks.len() as f64;
    let mean = |of: fn(&Look) -> u64| looks.iter().map(|look| of(look) as f64).sum::<f64>() / count;
    let (calls, mean_bytes) = (mean(|look| look.calls), mean(bytes));
    let (mut both, mut square) = (0.0, 0.0);
    for look in looks {
        let from_mean = look.calls as f64 - calls;
        both += from_mean * (bytes(look) as f64 - mean_bytes);
        square += from_mean * from_mean;
    }
    if square == 0.0 { 0.0 } else { both / square }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(calls: u64, resident_bytes: u64, allocated_bytes: u64) -> Look {
        Look { calls, resident_bytes, allocated_bytes }
    }

    #[test]
    fn a_leak_has_a_slope() {
        let looks: Vec<Look> = (1..50).map(|at| look(at * 100, 5_000_000 + at * 3_200, 1_000_000)).collect();
        assert!((slope(&looks, |look| look.resident_bytes) - 32.0).abs() < 0.01);
        assert!(slope(&looks, |look| look.allocated_bytes).abs() < 0.01);
        assert!(slope(&looks[..1], |look| look.resident_bytes).abs() < 0.01);
    }

    #[test]
    #[should_panic(expected = "resident memory grows by 32.0 bytes a call")]
    fn a_leak_is_found() {
        flat(&(1..1_000).map(|at| look(at * 1_000, at * 32_000, 1_000_000)).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "allocated memory grows by 0.50 bytes a call")]
    fn a_leak_that_fills_holes_is_found() {
        flat(&(1..1_000).map(|at| look(at * 1_000, 5_000_000, at * 500)).collect::<Vec<_>>());
    }

    #[test]
    fn what_fills_once_is_no_leak() {
        let filling = |at: u64| look(at * 1_000, (40 << 20) - (40 << 20) / at, 1_000_000);
        let figures = flat(&(1..1_000).map(filling).collect::<Vec<_>>());
        assert!(figures["bytes_a_call"].as_f64().is_some_and(|bytes| bytes < 3.0), "{figures}");
    }
}
