//! Runs programs, each with a deadline, and none with settings that were meant for another.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// For what compiles: a clean build of all dependencies takes a quarter of an hour on two cores.
pub(crate) const BUILD_TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// For what downloads or installs.
pub(crate) const INSTALL_TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// For what only looks.
pub(crate) const LOOK_TIME_MAX: Duration = Duration::from_secs(60);

/// The most output of a program that is kept.
const OUTPUT_BYTES_MAX: u64 = 64 << 20;

/// Variables of a cargo run that must not reach a cargo for another target.
const BUILD_VARIABLES: [&str; 8] = [
    "CARGO_BUILD_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "RUSTC",
    "RUSTFLAGS",
];

/// A command without the settings of the cargo that runs us.
pub(crate) fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if BUILD_VARIABLES.iter().any(|prefix| name_text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that runs us, or else the one in the path. It is not told of the package that we are: build
/// scripts that look at that (ring's) would run again with each change between it and a shell's.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_our_package = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        name.starts_with(b"CARGO_PKG_") || name.starts_with(b"CARGO_MANIFEST_")
    };
    std::env::vars_os().filter(|(name, _)| of_our_package(name)).for_each(|(name, _)| {
        cargo.env_remove(name);
    });
    cargo
}

/// What the dev profile lacks of the release profile for our own crates, but for optimising across crates: dependencies
/// have it anyway.
const AS_SHIPPED: [(&str, &str); 3] = [
    ("CARGO_PROFILE_DEV_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false"),
    ("CARGO_PROFILE_DEV_OVERFLOW_CHECKS", "false"),
];

/// Has a cargo compile our own crates for speed in the dev profile, where the environment does not say otherwise.
pub(crate) fn as_shipped(mut cargo: Command) -> Command {
    for (name, value) in as_shipped_settings() {
        cargo.env(name, value);
    }
    cargo
}

/// What [`as_shipped`] sets.
pub(crate) fn as_shipped_settings() -> Vec<(&'static str, &'static str)> {
    AS_SHIPPED.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect()
}

/// Runs a command whose output goes where ours goes, and fails if it does.
pub(crate) fn run(command: &mut Command, time_max: Duration) -> Result<()> {
    let shown = show(command);
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {shown}"))?;
    let status = wait(&mut child, time_max).with_context(|| format!("running {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Runs a command and gives what it wrote, whether or not it fails.
pub(crate) fn capture(command: &mut Command, time_max: Duration) -> Result<Output> {
    collect(command, Vec::new(), Stdio::piped(), time_max)
}

/// The same for one that reads `input` from its stdin.
pub(crate) fn capture_told(command: &mut Command, input: Vec<u8>, time_max: Duration) -> Result<Output> {
    collect(command, input, Stdio::piped(), time_max)
}

/// Runs a command whose progress (stderr) goes where ours goes, and gives its stdout.
pub(crate) fn read(command: &mut Command, time_max: Duration) -> Result<String> {
    let output = collect(command, Vec::new(), Stdio::inherit(), time_max)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{}: {}\n{text}", show(command), output.status);
    }
    Ok(text)
}

fn collect(command: &mut Command, input: Vec<u8>, stderr: Stdio, time_max: Duration) -> Result<Output> {
    let shown = show(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .with_context(|| format!("starting {shown}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it all ends the thread, which nobody waits for.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let stdout = child.stdout.take().map(read_all);
    let stderr = child.stderr.take().map(read_all);
    let status = wait(&mut child, time_max).with_context(|| format!("running {shown}"))?;
    let text = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Runs a command and gives its trimmed stdout, or nothing if it can't be run or fails.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = capture(command, LOOK_TIME_MAX).ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Says how long something took.
pub(crate) fn timed<T>(what: &str, task: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("==> {what}");
    let start = Instant::now();
    let result = task()?;
    println!("    {what}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(result)
}

fn read_all(pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends the text: what was read until then is all there is.
        let _ = pipe.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
        bytes
    })
}

fn wait(child: &mut Child, time_max: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > time_max {
            child.kill()?;
            child.wait()?;
            bail!("not done after {} s, stopped", time_max.as_secs());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    format!("`{}`", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let start = Instant::now();
        let error = run(Command::new("sleep").arg("60"), Duration::from_millis(50)).expect_err("too slow");
        assert!(format!("{error:#}").contains("stopped"), "{error:#}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn output_and_status_are_kept() {
        let script = "echo out; echo err >&2; exit 3";
        let output = capture(Command::new("sh").args(["-c", script]), LOOK_TIME_MAX).expect("runs");
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(ask(Command::new("sh").args(["-c", script])), None);
        assert_eq!(ask(Command::new("echo").arg("x")), Some("x".to_owned()));
    }
}
