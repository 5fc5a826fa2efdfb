//! The host's side of one compiler process: start it, feed it, bound what it says, kill it, reap it.
//!
//! Everything blocks, so it is for a thread that may; whoever waits for it elsewhere holds a
//! [`CancelOnDrop`], which kills the process when it is dropped.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::Signal;

use super::{Bounds, COMPILE_ARGUMENT, frame};
use crate::sandbox::{PackageError, PrepareError, SandboxError};
use crate::text::clean_line;

/// The bound on memory counts what is writable, touched or not: the program's allocator is to make no more so than it
/// needs, and to give back what is freed. By itself it would begin with a gibibyte.
pub(super) const ALLOCATOR: [(&str, &str); 3] = [
    ("MIMALLOC_ARENA_EAGER_COMMIT", "0"),
    ("MIMALLOC_PAGE_COMMIT_ON_DEMAND", "1"),
    ("MIMALLOC_PURGE_DELAY", "0"),
];

/// The most that is kept of what a compiler writes to stderr; the rest is thrown away.
const STDERR_BYTES_MAX: usize = 4 << 10;
/// How much is read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// How long a process that has closed its pipes is given to end by itself.
const END_TIME_MAX: Duration = Duration::from_secs(1);
const END_POLL: Duration = Duration::from_millis(2);
/// How Rust begins the last words of a program that got no memory.
const OUT_OF_MEMORY: &str = "memory allocation of ";

/// One compilation in a process of its own.
#[derive(Clone, Debug, Default)]
pub(in crate::sandbox) struct Job(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// Not started yet.
    #[default]
    Waiting,
    Running(Child),
    /// Cancelled, or being reaped.
    Over,
}

/// Kills the job's process when it is dropped.
#[derive(Debug)]
#[must_use = "what is dropped at once cancels at once"]
pub(in crate::sandbox) struct CancelOnDrop(Job);

/// All that a process said until its end.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) stdout: Vec<u8>,
    stderr: Vec<u8>,
    status: ExitStatus,
    elapsed: Duration,
}

struct Pipes {
    /// None once everything is written, or nobody reads it.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
}

/// Why a process was not left to its end.
enum Broken {
    Deadline,
    SaysTooMuch,
    Io(io::Error),
}

impl Job {
    /// To be held by whoever waits for the job.
    pub(in crate::sandbox) fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    /// Runs the compiler to its end, or to its deadline.
    ///
    /// # Errors
    /// [`Limit::CompileTime`](crate::limits::Limit::CompileTime) at the deadline; [`SandboxError`] if it can't be run.
    pub(super) fn run(&self, program: &Path, component: &[u8], bounds: Bounds) -> Result<Said, PrepareError> {
        let failed = |error: io::Error| {
            SandboxError(format!("the compiler {} can't be run: {error}", program.display()))
        };
        let started = Instant::now();
        let mut pipes = self.start(program, bounds).map_err(failed)?;
        let mut said = Said {
            stdout: Vec::new(),
            stderr: Vec::new(),
            status: ExitStatus::default(),
            elapsed: Duration::ZERO,
        };
        let deadline = started + bounds.time;
        let exchanged = exchange(&mut pipes, component, deadline, &mut said);
        if exchanged.is_err() {
            self.kill();
        }
        said.status = self.end(deadline.min(Instant::now() + END_TIME_MAX)).map_err(failed)?;
        said.elapsed = started.elapsed();
        drain(&mut pipes, &mut said.stderr);
        match exchanged {
            Ok(()) => Ok(said),
            Err(Broken::Deadline) => Err(PackageError::TooLarge(bounds.out_of_time(said.elapsed)).into()),
            Err(Broken::SaysTooMuch) => {
                let reason = format!("it compiles to more than {} bytes", super::ARTIFACT_BYTES_MAX);
                Err(PackageError::Invalid(reason).into())
            }
            Err(Broken::Io(error)) => Err(failed(error).into()),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one process that a host starts: the compiler, which must be killable"
    )]
    fn start(&self, program: &Path, bounds: Bounds) -> io::Result<Pipes> {
        let mut state = self.state();
        if !matches!(*state, State::Waiting) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        // Threads add up in it; the deadline of the host is the nearer one.
        let cpu_seconds = (bounds.time.as_secs() + 1).saturating_mul(super::threads() as u64);
        let mut child = Command::new(program)
            .arg0("portcullis")
            .arg(COMPILE_ARGUMENT)
            .arg(bounds.memory_bytes.to_string())
            .arg(cpu_seconds.to_string())
            .env_clear()
            .envs(ALLOCATOR)
            .current_dir("/")
            // Signals of the host's terminal are the host's to judge.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => {
                Pipes { stdin: Some(stdin), stdout, stderr: Some(stderr) }
            }
            _ => return Err(io::Error::other("its pipes are missing")),
        };
        *state = State::Running(child);
        Ok(pipes)
    }

    /// Kills the process if it runs, and keeps it from starting if it does not yet.
    fn kill(&self) {
        match &mut *self.state() {
            // An error says that it has ended, which is as good.
            State::Running(child) => drop(child.kill()),
            waiting @ State::Waiting => *waiting = State::Over,
            State::Over => {}
        }
    }

    /// Reaps the process; kills it if it does not end by itself until then.
    fn end(&self, deadline: Instant) -> io::Result<ExitStatus> {
        let State::Running(mut child) = std::mem::replace(&mut *self.state(), State::Over) else {
            return Err(io::Error::other("it does not run"));
        };
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                child.kill()?;
                return child.wait();
            }
            std::thread::sleep(END_POLL);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl Said {
    /// Why there is no answer.
    pub(super) fn death(&self, bounds: Bounds) -> PackageError {
        let stderr = String::from_utf8_lossy(&self.stderr);
        let signal = self.status.signal();
        if signal == Some(Signal::XCPU.as_raw()) {
            return PackageError::TooLarge(bounds.out_of_time(self.elapsed));
        }
        if signal.is_some() && stderr.contains(OUT_OF_MEMORY) {
            return PackageError::TooLarge(bounds.out_of_memory());
        }
        let last_words = clean_line(&stderr, super::MESSAGE_BYTES_MAX);
        let last_words = last_words.trim();
        let how = match signal {
            Some(signal) => format!("signal {signal}"),
            None => self.status.to_string(),
        };
        let after = if last_words.is_empty() { String::new() } else { format!(": {last_words}") };
        PackageError::CompilerDied(format!("{how}{after}"))
    }
}

/// Writes the component and reads what is said, until stdout is closed.
fn exchange(pipes: &mut Pipes, component: &[u8], deadline: Instant, said: &mut Said) -> Result<(), Broken> {
    let header = frame::component_header(component);
    let mut parts = [&header[..], component];
    let (stdin, stderr) = (pipes.stdin.as_ref().map(AsFd::as_fd), pipes.stderr.as_ref().map(AsFd::as_fd));
    for pipe in [stdin, Some(pipes.stdout.as_fd()), stderr].into_iter().flatten() {
        rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK).map_err(|errno| Broken::Io(errno.into()))?;
    }
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        wait(pipes, deadline)?;
        if let Some(stdin) = &mut pipes.stdin
            && write_some(stdin, &mut parts).map_err(Broken::Io)?
        {
            pipes.stdin = None;
        }
        if let Some(stderr) = &mut pipes.stderr
            && read_some(stderr, &mut chunk, |bytes| keep_some(&mut said.stderr, bytes))
                .map_err(Broken::Io)?
        {
            pipes.stderr = None;
        }
        let mut too_much = false;
        let ended = read_some(&mut pipes.stdout, &mut chunk, |bytes| {
            too_much |= (said.stdout.len() + bytes.len()) as u64 > frame::ANSWER_BYTES_MAX;
            if !too_much {
                said.stdout.extend_from_slice(bytes);
            }
        });
        match ended.map_err(Broken::Io)? {
            _ if too_much => return Err(Broken::SaysTooMuch),
            true => return Ok(()),
            false => {}
        }
    }
}

/// Waits until one of the pipes can be used.
fn wait(pipes: &Pipes, deadline: Instant) -> Result<(), Broken> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Broken::Deadline);
    }
    let timeout = Timespec::try_from(left).map_err(|_| Broken::Deadline)?;
    let mut ready = vec![PollFd::new(&pipes.stdout, PollFlags::IN)];
    ready.extend(pipes.stdin.as_ref().map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
    ready.extend(pipes.stderr.as_ref().map(|stderr| PollFd::new(stderr, PollFlags::IN)));
    match poll(&mut ready, Some(&timeout)) {
        Ok(0) => Err(Broken::Deadline),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(Broken::Io(errno.into())),
    }
}

/// Writes as much as the pipe takes; true when nothing is left, or nobody reads it any more.
fn write_some(stdin: &mut ChildStdin, parts: &mut [&[u8]; 2]) -> io::Result<bool> {
    for part in parts {
        while !part.is_empty() {
            match stdin.write(part) {
                Ok(count) => *part = &part[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(true)
}

/// Reads what the pipe holds, at most one chunk; true when it is closed.
fn read_some(pipe: &mut impl Read, chunk: &mut [u8], mut take: impl FnMut(&[u8])) -> io::Result<bool> {
    match pipe.read(chunk) {
        Ok(0) => Ok(true),
        Ok(count) => {
            take(&chunk[..count]);
            Ok(false)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn keep_some(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = STDERR_BYTES_MAX.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// The last words of a process that has ended: what is in the pipe already.
fn drain(pipes: &mut Pipes, stderr: &mut Vec<u8>) {
    let Some(pipe) = &mut pipes.stderr else { return };
    let mut chunk = [0; STDERR_BYTES_MAX];
    // A grandchild could hold the pipe open and write for ever: as much as is kept is enough.
    while stderr.len() < STDERR_BYTES_MAX {
        let before = stderr.len();
        match read_some(pipe, &mut chunk, |bytes| keep_some(stderr, bytes)) {
            Ok(false) if stderr.len() > before => {}
            Ok(_) | Err(_) => return,
        }
    }
}
