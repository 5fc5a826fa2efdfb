//! The machine: what the engine needs of it, what keeps secrets in, the clock, the disk.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::{Check, Owner};
use crate::config::DataPaths;
use crate::limits::Limit;
use crate::platform::{self, KernelVersion};
use crate::sandbox;

/// No clock that is right shows less: the day of this version's sources.
const SOURCES_OF: &str = "2026-11-25T00:00:00Z";

/// The first kernel that can tell which pages a guest wrote (`PAGEMAP_SCAN`).
const KERNEL_WITH_PAGE_SCAN: KernelVersion = KernelVersion(6, 7);

/// The target that authors build for.
const AUTHORS_TARGET: &str = "wasm32-wasip2";

/// Descriptors that the host itself needs: database, log, sockets, threads.
const OWN_FILES: u64 = 256;

/// What Linux gives by default.
const MAPPINGS_USUAL: u64 = 65_530;

/// How far the log may be ahead of the clock before it is worth a word.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(60);

pub(super) fn checks(owner: &Owner) -> Vec<Check> {
    vec![kernel(), engine(), memory(), open_files(), mappings(), secrecy(owner), user()]
}

fn kernel() -> Check {
    const NAME: &str = "kernel";
    let release = match platform::kernel_release() {
        Ok(release) => release,
        Err(error) => return Check::fail(NAME, format!("/proc can't be read: {error}"), "mount /proc"),
    };
    judge_kernel(&release, sandbox::open_page_map())
}

fn judge_kernel(release: &str, scans: bool) -> Check {
    const NAME: &str = "kernel";
    match KernelVersion::parse(release) {
        Some(version) if version >= KERNEL_WITH_PAGE_SCAN && scans => {
            Check::ok(NAME, format!("Linux {release}, with PAGEMAP_SCAN"))
        }
        Some(version) if version >= KERNEL_WITH_PAGE_SCAN => Check::warn(
            NAME,
            format!("Linux {release}, whose PAGEMAP_SCAN can't be used here"),
            "calls cost more; look what confines this process (a container without /proc/self/pagemap)",
        ),
        Some(_) => Check::warn(
            NAME,
            format!("Linux {release}, without PAGEMAP_SCAN"),
            "calls cost more than they must; use Linux 6.7 or newer",
        ),
        None => Check::warn(NAME, format!("an unknown kernel: {release}"), "use Linux 6.7 or newer"),
    }
}

/// The one sure way to know whether there is room for the engine's pool: to make one.
fn engine() -> Check {
    const NAME: &str = "engine";
    match sandbox::try_engine() {
        Ok(()) => Check::ok(NAME, "it starts: there is address space for as many calls as may run at once"),
        Err(error) => Check::fail(
            NAME,
            format!("it does not start: {error}"),
            "lift the limit on address space (`ulimit -v unlimited`, systemd's LimitAS=), or use a machine with 64 bits",
        ),
    }
}

fn memory() -> Check {
    const NAME: &str = "memory";
    if let Err(error) = platform::try_memory_file() {
        return Check::fail(
            NAME,
            format!("files in memory (memfd) can't be made: {error}"),
            "allow memfd_create where this process is confined",
        );
    }
    let limits = platform::process_limits();
    let limit = limits.address_space.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{bytes} bytes"));
    match platform::overcommit_memory() {
        Ok(2) => Check::warn(
            NAME,
            format!("address space {limit}, vm.overcommit_memory is 2: each reservation is counted"),
            "set vm.overcommit_memory to 0 or 1: the engine reserves much more than it uses",
        ),
        Ok(mode) => Check::ok(NAME, format!("address space {limit}, vm.overcommit_memory {mode}, memfd")),
        Err(error) => {
            Check::warn(NAME, format!("vm.overcommit_memory can't be read: {error}"), "mount /proc")
        }
    }
}

fn open_files() -> Check {
    judge_open_files(platform::process_limits().open_files)
}

/// Descriptors that may be needed at most, and for one call.
fn judge_open_files(limit: Option<u64>) -> Check {
    const NAME: &str = "open files";
    let one_call = Limit::OpenFiles.row().ceiling;
    let needed = OWN_FILES + Limit::HostConcurrency.row().default * one_call;
    match limit {
        None => Check::ok(NAME, "unlimited"),
        Some(limit) if limit >= needed => Check::ok(NAME, format!("{limit}, at most {needed} are needed")),
        Some(limit) if limit >= OWN_FILES + one_call => Check::warn(
            NAME,
            format!("{limit}; as many calls as may run at once can need {needed}"),
            format!("raise it: `ulimit -n {needed}`, or LimitNOFILE={needed} in a unit of systemd"),
        ),
        Some(limit) => Check::fail(
            NAME,
            format!("{limit}; one call can need {}", OWN_FILES + one_call),
            format!("raise it: `ulimit -n {needed}`, or LimitNOFILE={needed} in a unit of systemd"),
        ),
    }
}

fn mappings() -> Check {
    const NAME: &str = "mappings";
    match platform::max_map_count() {
        Ok(count) if count >= MAPPINGS_USUAL => Check::ok(NAME, format!("vm.max_map_count {count}")),
        Ok(count) => Check::warn(
            NAME,
            format!("vm.max_map_count is {count}"),
            format!("set it to {MAPPINGS_USUAL} or more: each guest's memory takes several mappings"),
        ),
        Err(error) => Check::warn(NAME, format!("vm.max_map_count can't be read: {error}"), "mount /proc"),
    }
}

/// Whether keys in memory stay there: of this process, and of the owner if it is another.
fn secrecy(owner: &Owner) -> Check {
    const NAME: &str = "core dumps";
    let advice = "start the host by the program `portcullis`, or call `portcullis::hardening::harden`";
    let pid = match owner {
        Owner::Nobody => None,
        Owner::Answers { pid, .. } => Some(*pid),
        Owner::Silent { pid, .. } => *pid,
    };
    match platform::is_dumpable() {
        Ok(false) => {}
        Ok(true) => return Check::warn(NAME, "this process can be dumped", advice),
        Err(error) => return Check::warn(NAME, format!("it can't be told: {error}"), advice),
    }
    if platform::process_limits().core != Some(0) {
        return Check::warn(NAME, "this process may dump core", advice);
    }
    let Some(pid) = pid else { return Check::ok(NAME, "off") };
    match platform::core_limit_of(pid) {
        Ok(Some(0)) => Check::ok(NAME, format!("off, for process {pid} too, which owns the folder")),
        Ok(_) => Check::fail(
            NAME,
            format!(
                "process {pid}, which owns the folder, may dump core: keys in its memory would be on disk"
            ),
            advice,
        ),
        Err(error) => Check::info(NAME, format!("off here; process {pid} can't be looked at: {error}")),
    }
}

fn user() -> Check {
    const NAME: &str = "user";
    match platform::user() {
        0 => Check::warn(
            NAME,
            "root",
            "run the host as a user of its own: whatever escaped a sandbox would be root",
        ),
        user => Check::ok(NAME, format!("user {user}, not root")),
    }
}

/// The clock, against the sources of this version and against the log.
pub(super) fn clock(now: Timestamp, log: Option<Timestamp>) -> Check {
    const NAME: &str = "clock";
    let sources: Timestamp = SOURCES_OF.parse().expect("the constant is a time");
    if now < sources {
        return Check::fail(
            NAME,
            format!("{now} is before this version was made"),
            "set the clock: grants would be judged by a wrong time",
        );
    }
    match log {
        Some(log) if log.duration_since(now) > CLOCK_SLACK => Check::warn(
            NAME,
            format!("{now} is before the log's last record, {log}"),
            "set the clock; grants expire by the log's time until the clock has reached it",
        ),
        Some(_) | None => Check::ok(NAME, now.to_string()),
    }
}

pub(super) fn disk(paths: &DataPaths, owner: &Owner, reserve_bytes: u64) -> Check {
    const NAME: &str = "disk";
    let reserve_bytes = match owner {
        Owner::Answers { disk_low: Some(low), .. } => {
            return Check::fail(NAME, low.clone(), "make room; revoking and reading work meanwhile");
        }
        Owner::Answers { disk_reserve_bytes, .. } => *disk_reserve_bytes,
        Owner::Nobody | Owner::Silent { .. } => reserve_bytes,
    };
    // A folder that is not there yet will be on its parent's file system.
    let place = paths.root().ancestors().find(|folder| folder.exists());
    match place.map(platform::free_bytes) {
        Some(Ok(free_bytes)) => judge_disk(free_bytes, reserve_bytes),
        Some(Err(error)) => {
            Check::fail(NAME, format!("its free space can't be measured: {error}"), "mend the file system")
        }
        None => {
            Check::fail(NAME, "no folder above the data folder is there", "choose another with --data-dir")
        }
    }
}

fn judge_disk(free_bytes: u64, reserve_bytes: u64) -> Check {
    const NAME: &str = "disk";
    let found =
        format!("{free_bytes} bytes free, {reserve_bytes} are kept for the end of calls and for admins");
    if free_bytes < reserve_bytes {
        Check::fail(NAME, found, "make room: no new call or package is taken")
    } else if free_bytes < reserve_bytes.saturating_mul(2) {
        Check::warn(NAME, found, "make room before new calls are refused")
    } else {
        Check::ok(NAME, found)
    }
}

/// Only authors need it, and not on the machine of the host.
pub(super) fn toolchain(libraries: &[PathBuf]) -> Check {
    const NAME: &str = "toolchain";
    match libraries.iter().map(|folder| folder.join(AUTHORS_TARGET)).find(|target| target.exists()) {
        Some(target) => Check::info(NAME, format!("{AUTHORS_TARGET} is installed: {}", target.display())),
        None => Check::info(
            NAME,
            format!(
                "{AUTHORS_TARGET} was not found; authors of tools get it by `rustup target add {AUTHORS_TARGET}`"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn kernels_are_judged_by_what_they_can() {
        assert_eq!(judge_kernel("6.18.4", true).level, Level::Ok);
        assert_eq!(judge_kernel("6.18.4", false).level, Level::Warn);
        assert_eq!(judge_kernel("6.1.0-28-amd64", false).level, Level::Warn);
        assert_eq!(judge_kernel("who knows", false).level, Level::Warn);
    }

    #[test]
    fn descriptors_are_judged_by_what_calls_can_need() {
        let levels = [None, Some(1 << 20), Some(1024), Some(128)].map(|limit| judge_open_files(limit).level);
        assert_eq!(levels, [Level::Ok, Level::Ok, Level::Warn, Level::Fail]);
    }

    #[test]
    fn a_clock_is_wrong_before_the_sources_and_behind_the_log() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        assert_eq!(clock(at("2027-01-01T00:00:00Z"), None).level, Level::Ok);
        assert_eq!(clock(at("2027-01-01T00:00:00Z"), Some(at("2027-01-01T00:00:30Z"))).level, Level::Ok);
        assert_eq!(clock(at("2027-01-01T00:00:00Z"), Some(at("2027-01-01T02:00:00Z"))).level, Level::Warn);
        assert_eq!(clock(at("1970-01-01T00:00:00Z"), None).level, Level::Fail);
    }

    #[test]
    fn a_disk_is_judged_by_the_reserve() {
        let levels = [200, 199, 100, 99].map(|free| judge_disk(free, 100).level);
        assert_eq!(levels, [Level::Ok, Level::Warn, Level::Warn, Level::Fail]);
        assert_eq!(judge_disk(0, 0).level, Level::Ok);
    }
}
