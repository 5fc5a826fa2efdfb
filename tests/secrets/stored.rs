//! Stored secrets by the built program: what is on disk, in a backup, in what commands print; and their key.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::json;

use super::{VALUE, is_nowhere_in};
use crate::harness::process::{Cli, exists};

/// A data folder with a stored secret.
fn stored() -> Cli {
    let cli = Cli::new();
    let file = cli.file("value", format!("{VALUE}\n"));
    cli.run(["secret", "set", "github", "--file", &file]).expect(0);
    std::fs::remove_file(cli.path("value")).expect("removed");
    cli
}

/// Runs a command that says these on stdout.
#[track_caller]
fn prints(cli: &Cli, command: &[&str], code: i32, told: &[&str]) {
    let ran = cli.run(command).expect(code);
    for told in told {
        assert!(ran.stdout.contains(told), "{told} is not in {ran:?}");
    }
}

fn everything_below(cli: &Cli) -> Vec<u8> {
    let mut all = Vec::new();
    let mut folders = vec![cli.temporary.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.extend(std::fs::read(path).expect("read"));
            }
        }
    }
    all
}

#[test]
fn no_file_and_no_output_has_the_value_in_any_form() {
    let cli = stored();
    let archive = cli.path("backup.tar").to_str().expect("text").to_owned();
    cli.run(["backup", &archive]).expect(0);
    is_nowhere_in(&everything_below(&cli), VALUE);
    for command in [
        &["secret", "list"][..],
        &["secret", "list", "--json"],
        &["audit", "tail", "--json"],
        &["audit", "tail"],
        &["status", "--json"],
        &["doctor", "--json"],
    ] {
        let ran = cli.run(command).expect(0);
        is_nowhere_in(ran.stdout.as_bytes(), VALUE);
        is_nowhere_in(ran.stderr.as_bytes(), VALUE);
    }
    let listed = cli.json(&["secret", "list"]);
    let keys: Vec<&String> = listed[0].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["made_at", "made_by", "name", "revision", "updated_at", "updated_by"]);
    assert_eq!(listed[0]["name"], "github");
    prints(&cli, &["secret", "list"], 0, &["github", "local-admin"]);
    prints(&cli, &["audit", "tail"], 0, &["secret_set", "github, revision 1, by local-admin"]);
}

#[test]
fn a_value_comes_from_stdin_or_a_file_and_within_bounds() {
    let cli = Cli::new();
    let piped = |input: &[u8]| {
        let mut command = cli.command(["secret", "set", "piped", "--json"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input).expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("ended");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(piped(b"12345678\n").0, Some(0));
    let (code, told) = piped(b"1234567\n");
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("7 bytes, and needs 8"), "the newline does not count: {told}");
    assert_eq!(piped(&[b'x'; 64 << 10]).0, Some(0));
    assert_eq!(piped(&[&[b'x'; 64 << 10][..], b"\r\n"].concat()).0, Some(0));
    let (code, told) = piped(&[b'x'; (64 << 10) + 1]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("at most 65536 are kept"), "{told}");
    let (code, told) = piped(b"");
    assert_eq!(code, Some(2), "{told}");
    // An argument is no way in.
    cli.run(["secret", "set", "name", "the-value"]).expect(2);
    cli.run(["secret", "set", "name"]).expect(2);
    cli.run(["secret", "set", "not a name", "--file", "x"]).expect(2);
    cli.run(["secret", "set", "name", "--file", "not-there"]).expect(2).says("not-there");
    assert_eq!(cli.json(&["secret", "list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_secret_is_replaced_and_removed_and_what_is_not_there_is_named() {
    let cli = stored();
    let server = cli.serve();
    let file = cli.file("value", "another-value");
    let changed = cli.json(&["secret", "set", "github", "--file", &file]);
    assert_eq!(
        (&changed["name"], &changed["revision"], &changed["changed"]),
        (&json!("github"), &json!(2), &json!(true))
    );
    cli.run(["secret", "remove", "gihub"]).expect(2).says("did you mean github?");
    prints(&cli, &["secret", "remove", "github"], 0, &["removed secret github"]);
    cli.run(["secret", "remove", "github"]).expect(2).says("there is no secret github");
    prints(&cli, &["secret", "list"], 0, &["no secrets are stored"]);
    drop(server);
}

/// Case 71: a secret that passes for another one.
#[test]
fn a_secret_whose_name_can_be_taken_for_another_is_refused() {
    let cli = stored();
    let file = cli.file("value", "another-value");
    cli.run(["secret", "set", "key-0", "--file", &file]).expect(0);
    cli.run(["secret", "set", "key-o", "--file", &file])
        .expect(2)
        .says("secret key-o can be taken for key-0");
    cli.run(["secret", "set", "key-0", "--file", &file]).expect(0);
    cli.run(["secret", "set", "key-2", "--file", &file]).expect(0);
}

#[test]
fn a_key_that_others_can_read_stops_the_host_and_doctor_says_so() {
    let cli = stored();
    let key = cli.data.join("secrets.key");
    assert_eq!(std::fs::metadata(&key).expect("made").permissions().mode() & 0o777, 0o600);
    prints(&cli, &["doctor"], 0, &["1 are stored, and the key in"]);
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).expect("changed");
    cli.run(["secret", "list"]).expect(1).says("secrets.key").says("chmod 600");
    prints(&cli, &["doctor"], 1, &["chmod 600"]);
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("changed");
    prints(&cli, &["secret", "list"], 0, &["github"]);
}

#[test]
fn a_restored_folder_needs_the_key_of_the_old_one_and_loses_nothing_without_it() {
    let cli = stored();
    let archive = cli.path("backup.tar").to_str().expect("text").to_owned();
    cli.run(["backup", &archive]).expect(0);
    let mut other = Cli::new();
    other.data = cli.path("restored");
    other.run(["restore", &archive]).expect(0);
    assert!(!exists(&other.data.join("secrets.key")), "a backup has no key");
    prints(&other, &["secret", "list"], 0, &["github"]);
    prints(&other, &["doctor"], 1, &["secrets.key is not there", "PORTCULLIS_SECRETS_KEY"]);
    let file = cli.file("value", "another-value");
    let told = other.run(["secret", "set", "other", "--file", &file]).expect(2);
    assert!(told.stderr.contains("put it back"), "{told:?}");
    assert!(!exists(&other.data.join("secrets.key")), "no second key is made");

    let key = std::fs::read_to_string(cli.data.join("secrets.key")).expect("read");
    other.environment.push(("PORTCULLIS_SECRETS_KEY", key.trim().to_owned()));
    prints(&other, &["doctor"], 0, &["the key in $PORTCULLIS_SECRETS_KEY opens them"]);
    other.run(["secret", "set", "other", "--file", &file]).expect(0);
    other.environment[0].1 = "AGE-SECRET-KEY-1WRONG".to_owned();
    let told = other.run(["secret", "list"]).expect(2);
    assert!(told.stderr.contains("holds no age identity") && !told.stderr.contains("1WRONG"), "{told:?}");
}

/// A command at a terminal of its own.
struct Typed {
    child: std::process::Child,
    terminal: std::fs::File,
    shown: std::process::ChildStderr,
}

impl Typed {
    /// Starts it, and waits until it asks.
    fn new(cli: &Cli, arguments: &[&str]) -> Self {
        let pair = nix::pty::openpty(None, None).expect("a terminal");
        let mut command = cli.command(arguments);
        command.stdin(pair.slave).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let mut shown = child.stderr.take().expect("piped");
        let mut text = Vec::new();
        while !text.ends_with(b"(it is not shown): ") {
            let mut byte = [0];
            shown.read_exact(&mut byte).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&text)));
            text.push(byte[0]);
        }
        // Both ends are one terminal: what its program sees is what is told here.
        let terminal = pair.master.into();
        Self { child, terminal, shown }
    }

    fn echoes(&self) -> bool {
        let flags = nix::sys::termios::tcgetattr(&self.terminal).expect("a terminal").local_flags;
        flags.contains(nix::sys::termios::LocalFlags::ECHO)
    }

    /// Its exit code, and whether the terminal echoes again.
    fn end(mut self) -> (Option<i32>, bool) {
        let mut rest = String::new();
        self.shown.read_to_string(&mut rest).expect("text");
        let status = self.child.wait().expect("a child of ours");
        assert!(!rest.contains("t0ken"), "{rest}");
        (status.code(), self.echoes())
    }
}

#[test]
fn at_a_terminal_the_value_is_asked_for_and_not_shown() {
    let cli = Cli::new();
    cli.run(["package", "list"]).expect(0);
    let mut typed = Typed::new(&cli, &["secret", "set", "github"]);
    assert!(!typed.echoes());
    typed.terminal.write_all(format!("{VALUE}\nnot this").as_bytes()).expect("typed");
    // The terminal gives what it shows: a newline, and nothing that was typed.
    let mut seen = [0; 64];
    let count = typed.terminal.read(&mut seen).expect("a newline");
    assert_eq!(&seen[..count], b"\r\n");
    assert_eq!(typed.end(), (Some(0), true));
    is_nowhere_in(&everything_below(&cli), VALUE);
    assert!(cli.run(["secret", "list"]).expect(0).stdout.contains("github"));

    // Whoever ends it finds a terminal that shows what is typed.
    let typed = Typed::new(&cli, &["secret", "set", "other"]);
    assert!(!typed.echoes());
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&typed.child),
        rustix::process::Signal::INT,
    )
    .expect("a child of ours");
    assert_eq!(typed.end(), (Some(130), true));
    // The end of what is typed is no value, and an empty line is none either.
    for (nothing, code) in [(&b"\x04"[..], 2), (b"\n", 2)] {
        let mut typed = Typed::new(&cli, &["secret", "set", "other"]);
        typed.terminal.write_all(nothing).expect("typed");
        assert_eq!(typed.end(), (Some(code), true), "{nothing:?}");
    }
    assert!(!cli.run(["secret", "list"]).expect(0).stdout.contains("other"));
    cli.run(["secret", "set", "other", "value"]).expect(2).says("unexpected argument");
}
