//! Components that nobody wrote: random ones, and real ones that were damaged. Each goes the whole way,
//! measured, compiled, described, approved, granted, called, and none harms the host.
//!
//! The work is done by a process of its own, so that even an abort is told, with the input that did it.

mod cases;
mod mutate;
mod work;

use crate::harness::soak::{self, Plan};
use crate::harness::worker;

/// How many an ordinary run makes.
const SHARE: u64 = 3_000;
/// Resident memory of the process, compiler included: never more, whatever comes.
const RESIDENT_BYTES_MAX: u64 = 2 << 30;

/// What no component may do, whatever is in it: make the host panic, abort, hang, outgrow its bound, fail
/// with anything but a typed error, or leave the log without a record.
#[test]
fn components_that_nobody_wrote_do_no_harm() {
    let plan = Plan::new(SHARE, u64::MAX);
    if let Some(folder) = worker::folder() {
        return work::work(plan, &folder);
    }
    match worker::run(&plan, "mutated::components_that_nobody_wrote_do_no_harm", RESIDENT_BYTES_MAX) {
        Ok(figures) => plan.report(&figures),
        Err(failed) => {
            let kept = failed.case.map(|case| keep(&plan, case));
            panic!("{}\nthe input: {}", failed.wrong, kept.as_deref().unwrap_or("none"));
        }
    }
}

/// Otherwise the test above would show nothing.
#[test]
fn an_abort_is_told_with_its_case() {
    let plan = Plan::new(1, 1);
    if let Some(folder) = worker::folder() {
        worker::CaseFile::new(&folder).say(7);
        eprintln!("last words");
        std::process::abort();
    }
    let failed = worker::run(&plan, "mutated::an_abort_is_told_with_its_case", RESIDENT_BYTES_MAX);
    let failed = failed.expect_err("it aborts");
    assert_eq!(failed.case, Some(7));
    assert!(failed.wrong.contains("signal") && failed.wrong.contains("last words"), "{}", failed.wrong);
}

/// Keeps the input that was under way in a file, and says where.
fn keep(plan: &Plan, case: u64) -> String {
    let file = soak::findings().join(format!("components-{}-{case}.wasm", plan.seed));
    let bytes = cases::Cases::new(plan.seed, case, plan.is_long()).make(case).bytes;
    std::fs::write(&file, bytes).expect("written");
    format!("case {case}, kept as {}", file.display())
}
