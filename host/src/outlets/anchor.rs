//! Gives checkpoints to those who keep them elsewhere: a file, a program, a witness.
//!
//! Whoever holds a copy can hold the host to it: a log that was cut or changed does not fit it any more.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use rustix::process::{Pid, Signal};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Surroundings;
use super::status::Status;
use super::witness::Witness;
use crate::audit::anchoring::{NewestCheckpoint, newest_checkpoint};
use crate::ids::Sequence;

/// Between two tries: from the first to the longest, doubling, with jitter.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
const COMMAND_POLL: Duration = Duration::from_millis(10);

/// What takes checkpoints.
#[derive(Debug)]
pub(super) enum Sink {
    File(PathBuf),
    Command { command: Vec<String>, timeout: Duration },
    Witness(Box<Witness>),
}

/// Why a checkpoint was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It may be taken another time.
    Failed(String),
    /// The log is not what it was, as the sink sees it.
    Disagrees(String),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Refusal::Failed(reason)
    }
}

/// One outlet of checkpoints.
#[derive(Debug)]
pub(super) struct Anchor {
    every: Duration,
    sink: Sink,
    audit: PathBuf,
    /// How many records the last checkpoint that was taken covers.
    records: u64,
    status: Arc<Status>,
}

impl Anchor {
    pub(super) fn new(every: Duration, sink: Sink, surroundings: &Surroundings, status: Arc<Status>) -> Self {
        Self { every, sink, audit: surroundings.audit.clone(), records: 0, status }
    }

    /// Works until it is told to stop, or the log is gone; then it gives the last checkpoint, if it is taken.
    pub(super) async fn run(
        mut self,
        mut durable: watch::Receiver<Sequence>,
        mut stopping: watch::Receiver<bool>,
    ) {
        if let Sink::Witness(witness) = &self.sink {
            self.records = witness.records();
            self.status.resume(self.records);
        }
        let mut pauses = pauses();
        let mut is_last = false;
        loop {
            is_last |= *stopping.borrow_and_update();
            durable.borrow_and_update();
            let result = self.step().await;
            let is_over = is_last;
            let pause = match result {
                Ok(_) => {
                    pauses = self::pauses();
                    self.every
                }
                Err(Refusal::Failed(reason)) => {
                    self.status.failed(&reason);
                    pauses.next().unwrap_or(PAUSES.1)
                }
                Err(Refusal::Disagrees(reason)) => {
                    self.status.disagreed(&reason);
                    PAUSES.1
                }
            };
            if is_over {
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                _ = stopping.changed() => is_last = true,
            }
            if is_last || self.status.owes() {
                continue;
            }
            tokio::select! {
                changed = durable.changed() => is_last |= changed.is_err(),
                _ = stopping.changed() => is_last = true,
            }
        }
    }

    /// Gives the newest checkpoint, if there is a new one. Whether there was.
    async fn step(&mut self) -> Result<bool, Refusal> {
        let audit = self.audit.clone();
        let read = tokio::task::spawn_blocking(move || newest_checkpoint(&audit)).await;
        let newest = read.map_err(|error| error.to_string())?;
        let newest = newest.map_err(|error| format!("the checkpoint can't be read: {error}"))?;
        let Some(newest) = newest.filter(|newest| newest.size != self.records) else { return Ok(false) };
        self.status.owe();
        let size = newest.size;
        match &mut self.sink {
            Sink::File(path) => {
                let path = path.clone();
                let appended = tokio::task::spawn_blocking(move || append(&path, &newest)).await;
                let appended = appended.map_err(|error| error.to_string())?;
                appended.map_err(|error| error.to_string())?;
            }
            Sink::Command { command, timeout } => {
                let (command, timeout) = (command.clone(), *timeout);
                let ran = tokio::task::spawn_blocking(move || run(&command, &newest.note, timeout)).await;
                ran.map_err(|error| error.to_string())??;
            }
            Sink::Witness(witness) => witness.cosign(&newest).await?,
        }
        self.records = size;
        self.status.took(size);
        Ok(true)
    }
}

fn pauses() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(PAUSES.0)
        .with_max_delay(PAUSES.1)
        .with_jitter()
        .without_max_times()
        .build()
}

/// A line of the file.
#[derive(Serialize)]
struct Kept<'a> {
    time: jiff::Timestamp,
    size: u64,
    checkpoint: &'a str,
}

/// Appends a checkpoint as a line of JSON, and waits for the disk.
fn append(path: &Path, newest: &NewestCheckpoint) -> io::Result<()> {
    let checkpoint = std::str::from_utf8(&newest.note).map_err(io::Error::other)?;
    let mut line = serde_json::to_vec(&Kept { time: jiff::Timestamp::now(), size: newest.size, checkpoint })?;
    line.push(b'\n');
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(&line)?;
    file.sync_data()
}

/// Runs a program with a checkpoint as its stdin, and without an environment, a terminal or a folder of ours.
fn run(command: &[String], note: &[u8], time_max: Duration) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("there is no program".to_owned());
    };
    let failed = |error: io::Error| format!("{program} can't be run: {error}");
    #[expect(
        clippy::disallowed_methods,
        reason = "an admin named the program in audit.toml; it is given a checkpoint and nothing else"
    )]
    let started = std::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // So that what it starts ends with it.
        .process_group(0)
        .spawn();
    let mut child = started.map_err(failed)?;
    let deadline = Instant::now() + time_max;
    // A checkpoint is far smaller than a pipe, so that this does not wait for a program that does not read.
    let given = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(note));
    let status = wait(&mut child, deadline);
    kill_group(&child);
    match (status.map_err(failed)?, given) {
        (None, _) => Err(format!("{program} did not end within {} ms", time_max.as_millis())),
        (Some(status), Ok(())) if status.success() => Ok(()),
        (Some(status), Err(error)) if status.success() => {
            Err(format!("{program} did not read the checkpoint: {error}"))
        }
        (Some(status), _) => Err(format!("{program} ended with {status}")),
    }
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            kill_group(child);
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(COMMAND_POLL);
    }
}

/// Kills the program and what it started. What has ended is not there any more, which is as good.
fn kill_group(child: &Child) {
    // The group has the child's id, and keeps it while any of its processes is there.
    let _ = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
}
