//! What a process gives up at its start: memory that others can read, privileges that it could gain.
//!
//! The program does this before anything else. Whoever embeds the library decides for the whole
//! process, so nothing here runs by itself.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Why a process could not be hardened. The machine's fault, or of what it is confined by.
#[derive(Debug, thiserror::Error)]
#[error("the process can't be hardened: {step} failed: {source}")]
pub struct HardeningError {
    step: &'static str,
    source: io::Error,
}

/// Hardens this process, and what it starts:
///
/// - what it makes is nobody else's to open (`umask` 077);
/// - it writes no core dumps (`RLIMIT_CORE` 0), and is not dumpable: another process of the same user
///   can't attach to it or read its memory, which holds keys and, later, secrets (`prctl(2)`);
/// - no program that it may run gains privileges (`PR_SET_NO_NEW_PRIVS`).
///
/// To be called on the first thread before there are others: they inherit it. None of it can be taken
/// back but the `umask`. From then on the files below `/proc/self` belong to root; of those, the engine
/// needs `/proc/self/pagemap`, so call [`open_page_map`](crate::sandbox::open_page_map) before.
///
/// # Errors
/// [`HardeningError`]: then some of it is done, and the process should end.
pub fn harden() -> Result<(), HardeningError> {
    let failed = |step: &'static str| move |source: io::Error| HardeningError { step, source };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)
        .map_err(|errno| failed("turning core dumps off")(errno.into()))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| failed("hiding its memory")(errno.into()))?;
    nix::sys::prctl::set_no_new_privs()
        .map_err(|errno| failed("giving up new privileges")(io::Error::from_raw_os_error(errno as i32)))
}
