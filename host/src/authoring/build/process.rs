//! The toolchain's programs: found, run with a deadline, and told apart from those that are not there.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{BuildError, Surroundings};
use crate::text::clean;

/// The longest that one program may take.
const TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// The most output of a program that is kept.
const OUTPUT_BYTES_MAX: u64 = 64 << 20;
/// How much of what a program said is told, its end.
const SAID_BYTES_MAX: usize = 16 << 10;
const POLL_MAX: Duration = Duration::from_millis(50);

/// Starts programs.
#[derive(Clone, Copy)]
pub(super) struct Programs<'a> {
    pub(super) surroundings: &'a Surroundings,
    pub(super) stopped: &'a AtomicBool,
}

/// What a program wrote.
pub(super) struct Wrote {
    pub(super) stdout: Vec<u8>,
}

impl Programs<'_> {
    /// A command without what a cargo that runs us has set for itself.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "an author asked for a build, which is the toolchain's work"
        )]
        let mut command = Command::new(program);
        self.surroundings.leftovers.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
    }

    /// Where a program is, if it is in the path.
    pub(super) fn find(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.surroundings.path)
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
    }

    /// The path, with folders before it.
    pub(super) fn path_after(&self, folders: impl IntoIterator<Item = PathBuf>) -> OsString {
        let all = folders.into_iter().chain(std::env::split_paths(&self.surroundings.path));
        std::env::join_paths(all).unwrap_or_else(|_| self.surroundings.path.clone())
    }

    /// A program's trimmed stdout; `None` if it is not there or fails.
    pub(super) fn ask(&self, command: &mut Command) -> Option<String> {
        let wrote = self.run(command, &[]).ok()?;
        Some(String::from_utf8_lossy(&wrote.stdout).trim().to_owned())
    }

    /// Runs a program to its end with some text as its stdin.
    ///
    /// # Errors
    /// [`BuildError::Failed`] or [`BuildError::Stopped`].
    pub(super) fn run(&self, command: &mut Command, input: &[u8]) -> Result<Wrote, BuildError> {
        let shown = shown(command);
        let failed =
            |status: String, said: String| BuildError::Failed { command: shown.clone(), status, said };
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| {
            let status =
                if error.kind() == ErrorKind::NotFound { "not there".to_owned() } else { error.to_string() };
            failed(status, String::new())
        })?;
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_owned();
            // One that does not read it all ends the thread, which nobody waits for.
            thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let (stdout, stderr) = (child.stdout.take().map(read_all), child.stderr.take().map(read_all));
        let status = self.wait(&mut child)?;
        let text = |reader: Option<JoinHandle<Vec<u8>>>| {
            reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        match status {
            Some(status) if status.success() => Ok(Wrote { stdout }),
            Some(status) => Err(failed(status.to_string(), said(&stderr, &stdout))),
            None => Err(failed(format!("not done after {} s", TIME_MAX.as_secs()), said(&stderr, &stdout))),
        }
    }

    /// `None` at the deadline.
    fn wait(&self, child: &mut Child) -> Result<Option<ExitStatus>, BuildError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let is_stopped = self.stopped.load(Ordering::Acquire);
            match child.try_wait() {
                Ok(Some(status)) => return Ok(Some(status)),
                Ok(None) if !is_stopped && started.elapsed() < TIME_MAX => {}
                Ok(None) | Err(_) => {
                    // It may have ended by itself meanwhile.
                    let _ = child.kill();
                    let _ = child.wait();
                    return if is_stopped { Err(BuildError::Stopped) } else { Ok(None) };
                }
            }
            thread::sleep(pause);
            pause = (pause * 2).min(POLL_MAX);
        }
    }
}

fn read_all(pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends the text: what was read until then is all there is.
        let _ = pipe.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
        bytes
    })
}

/// The end of what a program said, as may be shown.
fn said(stderr: &[u8], stdout: &[u8]) -> String {
    let both = [stderr, b"\n", stdout].concat();
    let text = String::from_utf8_lossy(&both);
    let cleaned = clean(text.trim(), usize::MAX);
    let start = cleaned.len().saturating_sub(SAID_BYTES_MAX);
    let start = (start..=cleaned.len()).find(|at| cleaned.is_char_boundary(*at)).unwrap_or(cleaned.len());
    cleaned[start..].to_owned()
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let first =
        command.get_args().next().map(|first| format!(" {}", first.to_string_lossy())).unwrap_or_default();
    format!("`{name}{first}`")
}
