//! Compiling: in a process of its own that can be killed, under limits that the kernel holds.
//!
//! The compiler reads what nobody trusts, for as long and with as much memory as the file makes it. So it
//! gets a process with nothing but three pipes: nothing of the host's environment, no files, a bound on memory, and a
//! deadline after which it is killed. What it answers is loaded by the host, as code of this host's own compiler.
//!
//! A program becomes the compiler by calling [`run_if_asked`] first thing in its `main`.

mod child;
mod frame;
mod job;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wasmtime::Engine;

use self::frame::Answer;
pub(super) use self::frame::Fingerprint;
pub(super) use self::job::Job;
use super::{PackageError, PrepareError, SandboxError};
use crate::limits::{HostLimits, Limit, LimitReached};
use crate::package::CompileCost;

/// The first argument of a program that is asked to be the compiler.
pub const COMPILE_ARGUMENT: &str = "compile-component";

/// The most bytes of a compiled component: one of 64 MiB compiles to about 200 MiB.
pub(super) const ARTIFACT_BYTES_MAX: u64 = 512 << 20;

/// The most threads that the compiler's process has: each takes its share of the memory that bounds all.
const THREADS_MAX: usize = 8;

/// The most that is kept of what the compiler says of a component.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// Where components are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compiler {
    /// In a process of this program for each component, bounded by [`Limit::CompileTime`] and
    /// [`Limit::CompileMemory`], and killed with whoever waits for it. The program must be of this very
    /// version and call [`run_if_asked`] before it does anything else.
    Program(PathBuf),
    /// On a thread of this process, which is weaker: neither limit can be enforced, a component that
    /// crashes the compiler crashes the host, and nothing stops it before its end. Sizes and counts are
    /// bounded all the same.
    #[default]
    InThisProcess,
}

/// What the compiler made.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) code: Vec<u8>,
    pub(super) cost: CompileCost,
}

/// The bounds of one compilation.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    time: Duration,
    memory_bytes: u64,
}

/// Becomes the compiler if the arguments (the name of the program first) ask for it: reads a component from
/// stdin, answers on stdout, and gives the exit code to end with. Else does nothing.
///
/// For the `main` of a program that [`Compiler::Program`] names. It lowers the limits of the whole process,
/// so nothing else can be done in it afterwards.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if let Some(code) = portcullis::sandbox::compiler::run_if_asked(std::env::args_os()) {
///         return code;
///     }
///     // …
///     ExitCode::SUCCESS
/// }
/// ```
pub fn run_if_asked(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    (arguments.next().as_deref() == Some(OsStr::new(COMPILE_ARGUMENT))).then(|| child::run(arguments))
}

impl Compiler {
    /// Compiles a component. Takes from milliseconds to [`Limit::CompileTime`]; for threads that may block.
    ///
    /// # Errors
    /// [`PackageError`] if the component is not valid, or reached a limit, or killed the compiler;
    /// [`SandboxError`] if the compiler can't be had.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        component: &[u8],
        limits: &HostLimits,
        job: &Job,
    ) -> Result<Compiled, PrepareError> {
        let started = Instant::now();
        let (code, memory_peak) = match self {
            Compiler::InThisProcess => {
                let code = engine.precompile_component(component);
                (code.map_err(|error| PackageError::Invalid(told(&error)))?, None)
            }
            Compiler::Program(program) => {
                let bounds = Bounds {
                    time: Duration::from_millis(limits.ceiling_of(Limit::CompileTime)),
                    memory_bytes: limits.ceiling_of(Limit::CompileMemory),
                };
                let said = job.run(program, component, bounds)?;
                let (code, memory_peak) = judge(said, Fingerprint::of(engine), bounds)?;
                (code, Some(memory_peak))
            }
        };
        let time_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Compiled { code, cost: CompileCost { time_ms, memory_peak } })
    }
}

/// What came of a compiler that has ended.
fn judge(said: job::Said, fingerprint: Fingerprint, bounds: Bounds) -> Result<(Vec<u8>, u64), PrepareError> {
    let Some((found, memory_peak, answer)) = frame::read(&said.stdout) else {
        return Err(said.death(bounds).into());
    };
    if found != fingerprint {
        let reason = "the compiler is of another version or has other settings than this host";
        return Err(SandboxError(reason.to_owned()).into());
    }
    let text = |bytes: &[u8]| crate::text::clean(&String::from_utf8_lossy(bytes), MESSAGE_BYTES_MAX);
    match answer {
        Answer::Artifact(code) => {
            // It may be large: the header is taken off in place.
            let header_bytes = said.stdout.len() - code.len();
            let mut code = said.stdout;
            code.drain(..header_bytes);
            Ok((code, memory_peak))
        }
        Answer::Invalid(reason) => Err(PackageError::Invalid(text(reason)).into()),
        Answer::OutOfMemory => Err(PackageError::TooLarge(bounds.out_of_memory()).into()),
        Answer::Fault(reason) => Err(SandboxError(format!("the compiler failed: {}", text(reason))).into()),
    }
}

impl Bounds {
    /// The kernel says that there was no more, not how much was asked for.
    fn out_of_memory(self) -> LimitReached {
        let max = self.memory_bytes;
        LimitReached { limit: Limit::CompileMemory, value: max + 1, max }
    }

    fn out_of_time(self, elapsed: Duration) -> LimitReached {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let max = milliseconds(self.time);
        LimitReached { limit: Limit::CompileTime, value: milliseconds(elapsed).max(max), max }
    }
}

/// How many threads the compiler's process has.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS_MAX)
}

/// What the engine says of a component that it can't take.
pub(super) fn told(error: &wasmtime::Error) -> String {
    crate::text::clean(&format!("{error:#}"), MESSAGE_BYTES_MAX)
}
