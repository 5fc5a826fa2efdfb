//! Calls leave nothing behind: memory, descriptors, tasks, places, records. However they end.
//!
//! In a process of its own, because what is measured is the process's.

mod calls;
mod work;

use crate::harness::soak::Plan;
use crate::harness::worker;

/// How many an ordinary run makes, and a soak at most.
const SHARE: u64 = 3_000;
const SOAK_MAX: u64 = 1_000_000;
/// Resident memory of the process, however many calls.
const RESIDENT_BYTES_MAX: u64 = 1 << 30;

/// After so many calls of all kinds the host is as it was after the first of them.
#[test]
fn calls_leave_nothing_behind() {
    let plan = Plan::new(SHARE, SOAK_MAX);
    if let Some(folder) = worker::folder() {
        return work::work(plan, &folder);
    }
    match worker::run(&plan, "steady::calls_leave_nothing_behind", RESIDENT_BYTES_MAX) {
        Ok(figures) => plan.report(&figures),
        Err(failed) => panic!("{}", failed.wrong),
    }
}
