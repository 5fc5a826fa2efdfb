//! A test's work in a process of its own: what it uses can be measured, and even an abort is told.
//!
//! The process is this very program, asked for this very test.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::soak::{self, Plan};

/// Set for the worker: the folder that it shares with the test.
const FOLDER: &str = "PORTCULLIS_SOAK_WORKER";
/// In that folder: the case that is under way, what the worker wrote, its figures.
const CASE_FILE: &str = "case";
const OUTPUT_FILE: &str = "output";
const FIGURES_FILE: &str = "figures";

/// How long a worker may take beyond what it was given.
const PATIENCE: Duration = Duration::from_secs(1_200);
/// What is shown of the worker's last words.
const TAIL_BYTES: u64 = 6_000;

/// A worker that did not come to its end.
#[derive(Debug)]
pub(crate) struct Failed {
    /// What went wrong, and its last words.
    pub(crate) wrong: String,
    /// The case that was under way, if it said one.
    pub(crate) case: Option<u64>,
}

/// In a worker, its folder.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Runs the test of this name in a worker, and gives its figures, with the most memory that it had.
pub(crate) fn run(plan: &Plan, test: &str, resident_bytes_max: u64) -> Result<Value, Failed> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut worker = start(plan, test, folder.path());
    let deadline = plan.time.unwrap_or_default() + PATIENCE;
    let watched = watch(&mut worker, resident_bytes_max, deadline);
    // Both fail if it has ended, which is as good.
    let _ = worker.kill();
    let status = worker.wait().expect("a child of ours");
    let figures = std::fs::read_to_string(folder.path().join(FIGURES_FILE));
    let wrong = match (watched, status.success(), figures) {
        (Ok(peak), true, Ok(figures)) => {
            let mut figures: Value = serde_json::from_str(&figures).expect("JSON of ours");
            figures["resident_mib_peak"] = (peak >> 20).into();
            figures["resident_mib_max"] = (resident_bytes_max >> 20).into();
            return Ok(figures);
        }
        (Err(wrong), ..) => wrong,
        (Ok(_), ..) => format!("the worker ended with {status}"),
    };
    let case = std::fs::read_to_string(folder.path().join(CASE_FILE)).unwrap_or_default();
    let last = tail(&folder.path().join(OUTPUT_FILE));
    Err(Failed { wrong: format!("{wrong}\nseed {}\n…{last}", plan.seed), case: case.trim().parse().ok() })
}

fn start(plan: &Plan, test: &str, folder: &Path) -> Child {
    let output = File::create(folder.join(OUTPUT_FILE)).expect("made");
    let mut command = Command::new(std::env::current_exe().expect("a test has a program"));
    command
        .args([test, "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(soak::SEED, plan.seed.to_string())
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stderr(output.try_clone().expect("a second handle"))
        .stdout(if plan.is_long() { Stdio::inherit() } else { output.into() });
    command.spawn().expect("this program runs")
}

/// Waits for the worker's end, and gives the most memory that it had.
fn watch(worker: &mut Child, resident_bytes_max: u64, deadline: Duration) -> Result<u64, String> {
    let (started, mut peak) = (Instant::now(), 0);
    while worker.try_wait().expect("a child of ours").is_none() {
        peak = peak.max(soak::resident_bytes(Some(worker.id())));
        if peak > resident_bytes_max {
            return Err(format!("{} MiB of memory, at most {}", peak >> 20, resident_bytes_max >> 20));
        }
        if started.elapsed() > deadline {
            return Err(format!("not done after {} s", deadline.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(peak)
}

fn tail(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        // What can't be read is not shown.
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)));
        let _ = file.take(TAIL_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a worker says which case is under way. What it says outlives it, however it ends.
#[derive(Debug)]
pub(crate) struct CaseFile(File);

impl CaseFile {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(File::create(folder.join(CASE_FILE)).expect("made"))
    }

    pub(crate) fn say(&mut self, case: u64) {
        self.0.seek(SeekFrom::Start(0)).expect("a file");
        write!(self.0, "{case:<20}").expect("written");
    }
}

/// Leaves a worker's figures for the test.
pub(crate) fn leave(folder: &Path, figures: &Value) {
    std::fs::write(folder.join(FIGURES_FILE), figures.to_string()).expect("written");
}
