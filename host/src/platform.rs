//! Facts about the machine: its kernel, the limits of a process, the space of a disk, whose a file is.
//!
//! Reads only, each file within a bound. Judges nothing.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{DumpableBehavior, Resource};

/// Far more than any file of `/proc` that is read here has.
const PROC_BYTES_MAX: u64 = 64 << 10;

/// A kernel's version, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

impl KernelVersion {
    /// From what `uname -r` says, such as `6.8.0-41-generic`.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// What `uname -r` says.
///
/// # Errors
/// If `/proc` can't be read.
pub fn kernel_release() -> io::Result<String> {
    Ok(proc_file("/proc/sys/kernel/osrelease")?.trim().to_owned())
}

/// `vm.overcommit_memory`: 2 counts every reservation.
///
/// # Errors
/// If `/proc` can't be read.
pub fn overcommit_memory() -> io::Result<u64> {
    proc_number("/proc/sys/vm/overcommit_memory")
}

/// `vm.max_map_count`: the most mappings of one process.
///
/// # Errors
/// If `/proc` can't be read.
pub fn max_map_count() -> io::Result<u64> {
    proc_number("/proc/sys/vm/max_map_count")
}

/// Limits of this process; none is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Open files.
    pub open_files: Option<u64>,
    /// Bytes of address space.
    pub address_space: Option<u64>,
    /// Bytes of a core dump.
    pub core: Option<u64>,
}

/// The limits of this process.
pub fn process_limits() -> ProcessLimits {
    let current = |resource| rustix::process::getrlimit(resource).current;
    ProcessLimits {
        open_files: current(Resource::Nofile),
        address_space: current(Resource::As),
        core: current(Resource::Core),
    }
}

/// Whether another process of the same user can read this one's memory.
///
/// # Errors
/// What the kernel said.
pub fn is_dumpable() -> io::Result<bool> {
    Ok(!matches!(rustix::process::dumpable_behavior()?, DumpableBehavior::NotDumpable))
}

/// The most bytes of a core dump of another process; none is unlimited.
///
/// # Errors
/// If there is no such process, or it can't be looked at.
pub fn core_limit_of(pid: u32) -> io::Result<Option<u64>> {
    let limits = proc_file(&format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    match soft {
        Some("unlimited") => Ok(None),
        Some(bytes) => bytes.parse().map(Some).map_err(io::Error::other),
        None => Err(io::Error::other("it does not name the size of core dumps")),
    }
}

/// Whether files can be made that are in memory only, which the engine maps fresh memories from.
///
/// # Errors
/// What the kernel said.
pub fn try_memory_file() -> io::Result<()> {
    Ok(rustix::fs::memfd_create("portcullis-doctor", rustix::fs::MemfdFlags::CLOEXEC).map(drop)?)
}

/// The user in whose name this process opens files.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Bytes that are free to this user on the file system of `path`.
///
/// # Errors
/// What the kernel said.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(path)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Whose a file is, and who else may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The user who owns it.
    pub user: u32,
    /// Its permissions, without its kind.
    pub mode: u32,
}

impl From<&Metadata> for Ownership {
    fn from(metadata: &Metadata) -> Self {
        Self { user: metadata.uid(), mode: metadata.mode() & 0o7777 }
    }
}

impl Ownership {
    /// Whether only its owner may do anything with it.
    pub fn is_private(self) -> bool {
        self.mode & 0o077 == 0
    }

    /// Whether somebody else may change it.
    pub fn is_open_to_change(self) -> bool {
        self.mode & 0o022 != 0
    }
}

fn proc_number(path: &str) -> io::Result<u64> {
    proc_file(path)?.trim().parse().map_err(io::Error::other)
}

fn proc_file(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(PROC_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_kernels_are_compared_by_number() {
        let version = |text| KernelVersion::parse(text).expect("a version");
        assert_eq!(version("6.8.0-41-generic"), KernelVersion(6, 8));
        assert_eq!(version("5.15.0"), KernelVersion(5, 15));
        assert!(version("6.10.1") > version("6.7.0"));
        assert_eq!(KernelVersion::parse("unknown"), None);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        assert!(KernelVersion::parse(&kernel_release().expect("read")).is_some());
        assert!(max_map_count().expect("read") > 0);
        assert!(core_limit_of(std::process::id()).is_ok());
        assert!(core_limit_of(u32::MAX).is_err());
        assert!(free_bytes(Path::new("/")).is_ok());
        assert!(free_bytes(Path::new("/nowhere")).is_err());
    }
}
