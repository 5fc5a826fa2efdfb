//! The compiler's side: lower its own limits, read, compile, answer, end.
//!
//! Reads no file but what the kernel says of itself, and writes nothing but its answer.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit,
};

use super::frame::{self, Answer, Fingerprint};
use super::told;
use crate::sandbox::engine;

/// Three pipes, and a file of /proc or /sys now and then.
const DESCRIPTORS_MAX: u64 = 16;
/// The most of `/proc/self/status` that is read.
const STATUS_BYTES_MAX: u64 = 64 << 10;

/// What a compiler is asked for, as arguments.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    memory_bytes: u64,
    cpu_seconds: u64,
}

/// Compiles what stdin holds; the arguments are those after [`super::COMPILE_ARGUMENT`].
pub(super) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let asked = match asked(arguments) {
        Ok(asked) => asked,
        // A person has started it: an answer for a host would be of no use.
        Err(reason) => return fail(&reason),
    };
    // First of all, while this process has one thread and has opened nothing.
    let confined = confine(&asked).map_err(|error| format!("its limits can't be lowered: {error}"));
    let engine = match engine::compiler_engine() {
        Ok(engine) => engine,
        // Without an engine there is no fingerprint, so no answer would be believed.
        Err(error) => return fail(&format!("{error:#}")),
    };
    let fingerprint = Fingerprint::of(&engine);
    let answer = |answer: &Answer<'_>| match frame::write(io::stdout().lock(), fingerprint, peak(), answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    };
    let begun = confined.and_then(|()| {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(super::threads()).build_global();
        threads.map_err(|error| format!("its threads can't be started: {error}"))?;
        frame::read_component(io::stdin().lock()).map_err(|error| format!("it got no component: {error}"))
    });
    let component = match begun {
        Ok(component) => component,
        Err(reason) => return answer(&Answer::Fault(reason.as_bytes())),
    };
    match engine.precompile_component(&component) {
        Ok(code) => answer(&Answer::Artifact(&code)),
        Err(error) if is_out_of_memory(&error) => answer(&Answer::OutOfMemory),
        Err(error) => answer(&Answer::Invalid(told(&error).as_bytes())),
    }
}

fn fail(reason: &str) -> ExitCode {
    use std::io::Write;
    // Nobody may be listening any more.
    let _ = writeln!(io::stderr().lock(), "the compiler failed: {reason}");
    ExitCode::FAILURE
}

fn asked(arguments: impl Iterator<Item = OsString>) -> Result<Asked, String> {
    let numbers: Vec<u64> = arguments.take(3).map_while(|argument| argument.to_str()?.parse().ok()).collect();
    match numbers[..] {
        [memory_bytes, cpu_seconds] => Ok(Asked { memory_bytes, cpu_seconds }),
        _ => Err(format!(
            "it is started by a host, with a number of bytes and a number of seconds, not {}",
            numbers.len()
        )),
    }
}

/// Lets go of what this process inherited, and lowers what it may use, for good.
fn confine(asked: &Asked) -> io::Result<()> {
    close_inherited()?;
    // Data, and not address space: that counts what threads and allocators reserve and never touch
    // (some 66 MiB a core), so one figure could not hold for machines of different sizes. Data is what is
    // writable and private: heaps and stacks.
    limit(Resource::Data, asked.memory_bytes)?;
    limit(Resource::Cpu, asked.cpu_seconds)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nofile, DESCRIPTORS_MAX)?;
    // A core that is piped to a program is not held by its limit.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // If the host dies, nobody kills this process at its deadline.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Closes everything but the three pipes: whoever started the host may have left it descriptors that are
/// not closed by themselves, a lock or a terminal.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in open {
        // SAFETY: nothing in this process owns a descriptor above 2: it has just begun, on one thread, and
        // the listing above, which had one, is closed. That one is closed again, which does nothing.
        unsafe { rustix::io::close(descriptor) };
    }
    Ok(())
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    let no_memory = rustix::io::Errno::NOMEM.raw_os_error();
    error.is::<wasmtime::OutOfMemory>()
        || error.chain().any(|cause| {
            let cause = cause.downcast_ref::<io::Error>();
            cause.is_some_and(|cause| cause.raw_os_error() == Some(no_memory))
        })
}

/// The most bytes that this process had in memory; 0 if the kernel does not say.
fn peak() -> u64 {
    let mut status = String::new();
    let read = File::open("/proc/self/status")
        .and_then(|file| file.take(STATUS_BYTES_MAX).read_to_string(&mut status));
    if read.is_err() {
        return 0;
    }
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_starts_the_compiler() {
        let asked = |words: &[&str]| asked(words.iter().map(OsString::from));
        assert_eq!(asked(&["1024", "7"]), Ok(Asked { memory_bytes: 1024, cpu_seconds: 7 }));
        for words in [&[][..], &["1024"], &["a", "7"], &["1024", "7", "8"], &["1024", "-7"]] {
            assert!(asked(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn the_kernel_says_how_much_was_held() {
        assert!(peak() > 1 << 20, "{}", peak());
    }
}
