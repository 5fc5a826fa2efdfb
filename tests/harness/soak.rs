//! Tests that can go on for hours. `cargo xtask soak` gives them time and a seed of its own; in an
//! ordinary run each does a small share, which is the same each time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Set by `cargo xtask soak`: how long, in seconds.
const SECONDS: &str = "PORTCULLIS_SOAK_SECONDS";
/// Set by `cargo xtask soak`: where the numbers begin.
pub(crate) const SEED: &str = "PORTCULLIS_SOAK_SEED";
/// Set by `cargo xtask soak`: the file for the figures.
const REPORT: &str = "PORTCULLIS_SOAK_REPORT";

/// What an ordinary run begins with.
const SEED_OF_THE_SHARE: u64 = 20_261_125;
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// How long a test goes on, and where its numbers begin.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// In a soak, how long at most.
    pub(crate) time: Option<Duration>,
    count_max: u64,
    started: Instant,
    told: Instant,
}

impl Plan {
    /// `share`: how many in an ordinary run; `soak_max`: how many at most in a long one.
    pub(crate) fn new(share: u64, soak_max: u64) -> Self {
        let time = number(SECONDS).map(Duration::from_secs);
        let now = Instant::now();
        Self {
            seed: number(SEED).unwrap_or(SEED_OF_THE_SHARE),
            time,
            count_max: if time.is_some() { soak_max } else { share },
            started: now,
            told: now,
        }
    }

    /// Whether to go on after so many.
    pub(crate) fn goes_on(&self, done: u64) -> bool {
        done < self.count_max && self.time.is_none_or(|time| self.started.elapsed() < time)
    }

    pub(crate) fn is_long(&self) -> bool {
        self.time.is_some()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// In a soak, says now and then how far it is.
    pub(crate) fn progress(&mut self, line: impl FnOnce() -> String) {
        if self.is_long() && self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            println!("{:>6} s  {}", self.started.elapsed().as_secs(), line());
        }
    }

    /// The figures, for people and for `cargo xtask soak --json`.
    pub(crate) fn report(&self, figures: &Value) {
        println!("seed {}: {figures}", self.seed);
        if let Some(file) = std::env::var_os(REPORT) {
            std::fs::write(file, figures.to_string()).expect("written");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// Resident memory of this process, or of another.
pub(crate) fn resident_bytes(process: Option<u32>) -> u64 {
    let process = process.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| {
        let value = line.strip_prefix("VmRSS:")?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    kilobytes.unwrap_or_default() << 10
}

/// What malloc has given out to this process and was not given back, in all of its arenas: memory that is
/// held, without the holes between.
pub(crate) fn allocated_bytes() -> u64 {
    // SAFETY: it takes no argument, and locks each arena while it reads its counts.
    let counts = unsafe { libc::mallinfo2() };
    (counts.uordblks + counts.hblkhd) as u64
}

/// Files, sockets and the like that this process has open.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// The folder that keeps what a soak found.
pub(crate) fn findings() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/soak");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}
