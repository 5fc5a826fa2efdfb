//! Docker's credential helpers: `docker-credential-NAME get`, asked about one registry.
//!
//! A helper is a program of whoever runs the command, named in their own configuration. It is given the registry's name
//! on stdin and the variables that a keyring needs, has a deadline, and its answer a bound. The host starts none.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::environment;
use super::failure::Failure;
use crate::registry::oci::{Credentials, from_helper};
use crate::text::clean_line;

/// The longest that a helper may take: somebody may have to unlock a keyring.
const TIME_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// The most bytes of its answer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How much of what it says when it fails is shown.
const SAID_BYTES_MAX: usize = 300;
/// What helpers say of a registry that they do not know.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// How a helper ended, and what it wrote to stdout.
struct Ended {
    is_ok: bool,
    stdout: Zeroizing<Vec<u8>>,
}

/// Asks a helper. None where it knows the registry not.
pub(super) async fn credentials(program: String, server: String) -> Result<Credentials, Failure> {
    let found = environment::search_path().into_iter().map(|folder| folder.join(&program));
    let path = found.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let detail = format!(
            "docker's configuration names the credential helper {program}, which is not in the path: install it, or give --token-file"
        );
        Failure::input(detail)
    })?;
    let ended = super::signing::on_thread(move || run(&path, &server, TIME_MAX)).await?;
    let Ended { is_ok, stdout } = ended.map_err(|reason| Failure::input(format!("{program}: {reason}")))?;
    if is_ok {
        return from_helper(&stdout).map_err(|error| Failure::input(format!("{program}: {error}")));
    }
    let said = clean_line(String::from_utf8_lossy(&stdout).trim(), SAID_BYTES_MAX);
    if said == NOT_FOUND {
        return Ok(Credentials::None);
    }
    Err(Failure::input(format!("{program} failed: {said}")))
}

fn run(program: &Path, server: &str, time_max: Duration) -> Result<Ended, String> {
    let started = Instant::now();
    let mut child = start(program).map_err(|error| format!("it can't be run: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let server = server.to_owned();
        // One that does not read it ends the thread, which nobody waits for.
        thread::spawn(move || drop(stdin.write_all(server.as_bytes())));
    }
    let (sender, answer) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Zeroizing::new(Vec::new());
            // A pipe that breaks ends the text.
            let _ = stdout.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    let left = || time_max.saturating_sub(started.elapsed());
    // First its answer: one that writes too much is ended, and so is one that never ends.
    let stdout = answer.recv_timeout(left());
    let is_long = stdout.as_ref().is_ok_and(|stdout| stdout.len() as u64 > ANSWER_BYTES_MAX);
    let mut status = None;
    while stdout.is_ok() && !is_long && status.is_none() && !left().is_zero() {
        status = child.try_wait().map_err(|error| error.to_string())?;
        if status.is_none() {
            thread::sleep(POLL);
        }
    }
    end(&mut child);
    match (stdout, status) {
        (Ok(_), _) if is_long => Err(format!("it answers with more than {ANSWER_BYTES_MAX} bytes")),
        (Ok(stdout), Some(status)) => Ok(Ended { is_ok: status.success(), stdout }),
        (Ok(_) | Err(_), _) => Err(format!("it was not done after {} s, and was ended", time_max.as_secs())),
    }
}

fn start(program: &Path) -> std::io::Result<Child> {
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever runs the command named the helper in docker's configuration; the host starts none"
    )]
    let mut command = std::process::Command::new(program);
    command.arg("get").env_clear().envs(environment::for_helper()).current_dir(PathBuf::from("/"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    command.spawn()
}

/// Ends what is left of it: also what it has started.
fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    /// What comes of a script, within a time.
    fn ran(script: &str, time_max: Duration) -> Result<(bool, String), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker-credential-test");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o700).open(&path).expect("made");
        file.write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).expect("written");
        drop(file);
        let text = |ended: Ended| (ended.is_ok, String::from_utf8_lossy(&ended.stdout).into_owned());
        run(&path, "registry.example", time_max).map(text)
    }

    #[test]
    fn a_helper_has_a_deadline_and_a_bound() {
        let long = Duration::from_secs(60);
        assert_eq!(ran("test $1 = get && cat", long), Ok((true, "registry.example".to_owned())));
        assert_eq!(ran("echo no; exit 1", long), Ok((false, "no\n".to_owned())));
        let endless = ran("while :; do echo 0123456789012345678901234567890123456789; done", long);
        assert!(endless.as_ref().is_err_and(|reason| reason.contains("more than 65536")), "{endless:?}");
        // One that hangs, and one whose child keeps its answer open, are ended.
        for hangs in ["sleep 600", "sleep 600 & echo done", "exec >&-; sleep 600"] {
            let ended = ran(hangs, Duration::from_millis(300));
            assert!(ended.as_ref().is_err_and(|reason| reason.contains("was ended")), "{hangs}: {ended:?}");
        }
    }
}
