//! Operating a host: what it gives up at its start, serving, doctor, the pages for packagers, colour, a disk
//! that runs low, the unit.

mod archive;
mod doctor;
mod rollback;

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event};
use portcullis::ids::CallId;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::evidence::SmallDisk;
use crate::harness::process::{Cli, Ran, Running, exists, program, wait_until};
use crate::harness::{AGENT, guest};

const SLEEP: &str = "{\"milliseconds\":300000}";
const LONG: &str = "limits = { wall_time = \"300s\" }\n";
const ESCAPE: char = '\u{1b}';

/// The first call that was admitted.
fn admitted(cli: &Cli) -> CallId {
    cli.wait_for_record("a call is admitted", |record| match &record.event {
        Event::CallAdmitted { context, .. } => Some(context.call),
        _ => None,
    })
}

fn outcome(cli: &Cli, call: CallId) -> CallOutcome {
    cli.wait_for_record("its end is recorded", |record| match &record.event {
        Event::CallFinished { context, end } if context.call == call => Some(end.outcome.clone()),
        _ => None,
    })
}

#[test]
fn a_server_answers_others_until_it_is_told_to_stop() {
    let mut cli = Cli::with("std-probe", &guest("std-probe"), LONG);
    let notify = cli.path("notify");
    let manager = UnixDatagram::bind(&notify).expect("bound");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    cli.environment = vec![("NOTIFY_SOCKET", notify.to_str().expect("ours").to_owned())];
    let server = cli.serve();
    let mut told = [0; 64];
    let count = manager.recv(&mut told).expect("told");
    assert_eq!(&told[..count], b"READY=1");
    cli.environment.clear();

    // A second one finds the folder owned, and waits in vain.
    let second = cli.start(["serve", "--listen", "none"]);
    cli.call("std-probe", "compute", "{\"rounds\":10}").expect(0);
    let running = cli.start_call("std-probe", "sleep", SLEEP);
    let sleeping = cli.wait_for_record("the sleeper is admitted", |record| match &record.event {
        Event::CallAdmitted { context, .. } if context.tool.as_str() == "sleep" => Some(context.call),
        _ => None,
    });
    second.end().expect(6).says("owned by process").says("doctor");

    server.signal(Signal::TERM);
    let count = manager.recv(&mut told).expect("told");
    assert_eq!(&told[..count], b"STOPPING=1");
    let ran = server.end().expect(0);
    assert!(ran.stdout.is_empty(), "{ran:?}");
    assert_eq!(outcome(&cli, sleeping), CallOutcome::Cancelled);
    running.end().expect(1);
    assert!(matches!(cli.log().last().map(|record| &record.event), Some(Event::HostStopped { .. })));
    assert!(!exists(&cli.data.join("owner.sock")));
}

/// Not only what is called, but what came of it, in a process that is not root, where a process that can't
/// be dumped has fewer rights to its own `/proc`.
#[test]
fn the_process_is_hardened_and_works_as_another_user_than_root() {
    const NOBODY: u32 = 65_534;
    let cli = Cli::new();
    let server = cli.serve();
    let of = |pid: u32, file: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process of ours")
    };
    let limits = of(server.id(), "limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    assert!(of(server.id(), "status").lines().any(|line| line == "NoNewPrivs:\t1"));
    drop(server);

    let bin = cli.path("portcullis");
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || !Command::new("setpriv").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        eprintln!("not tested as another user: that needs root and setpriv");
        return;
    }
    let open = |path: &Path| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("changed");
    };
    open(cli.temporary.path());
    std::fs::copy(program(), &bin).expect("copied");
    open(&bin);
    let home = cli.path("home");
    std::fs::create_dir_all(home.join("notes")).expect("made");
    for (name, bytes) in [
        ("notes.wasm", guest("notes")),
        (
            "grants.toml",
            crate::harness::process::grant("notes", &crate::harness::process::notes_folder("notes"))
                .into_bytes(),
        ),
    ] {
        std::fs::write(home.join(name), bytes).expect("written");
    }
    for name in [".", "notes", "notes.wasm", "grants.toml"] {
        chown(home.join(name), Some(NOBODY), Some(NOBODY)).expect("given");
    }
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]).arg(&bin);
        command.args(["--data-dir", "data"]).args(arguments).current_dir(&home).env("NO_COLOR", "1");
        Running::start(command)
    };
    let run = |arguments: &[&str]| as_nobody(arguments).end();
    run(&["package", "add", "notes.wasm", "--name", "notes"]).expect(0);
    run(&["package", "approve", "notes"]).expect(0);
    run(&["grant", "apply", "grants.toml"]).expect(0);
    let server = as_nobody(&["serve", "--listen", "none"]);
    wait_until("it serves", || run(&["doctor", "--json"]).stdout.contains("and it answers"));
    // What belongs to root here is the process's: its memory is not for other processes of its user.
    let owner = std::fs::metadata(format!("/proc/{}/mem", server.id())).expect("there").uid();
    assert_eq!(owner, 0);
    let note = json!({"name": "a", "text": "kept"}).to_string();
    run(&["call", "notes", "add", "--as", AGENT, "--args", &note]).expect(0);
    run(&["call", "notes", "get", "--as", AGENT, "--args", "{\"name\":\"a\"}"]).expect(0);
    let report: Value = serde_json::from_str(&run(&["doctor", "--json"]).expect(0).stdout).expect("JSON");
    let check = |name: &str| {
        let checks = report["checks"].as_array().expect("checks");
        checks.iter().find(|check| check["name"] == name).cloned().unwrap_or_default()
    };
    // The engine has its page map all the same, where the kernel can scan one.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("read");
    let numbers: Vec<u32> = release.split('.').take(2).filter_map(|number| number.parse().ok()).collect();
    if numbers >= vec![6, 7] {
        assert_eq!(check("kernel")["level"], "ok", "{report}");
    }
    assert_eq!(check("core dumps")["level"], "ok", "{report}");
    assert_eq!(check("user")["level"], "ok", "{report}");
    server.signal(Signal::TERM);
    server.end().expect(0);
    // Root itself would leave files there that its owner could not open.
    let mut root = Command::new(&bin);
    root.args(["--data-dir", "data", "package", "list"]).current_dir(&home);
    Running::start(root).end().expect(1).says("belongs to user 65534");
}

#[test]
fn completions_and_manual_are_there_for_every_command() {
    let cli = Cli::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = cli.run(["completions", shell]).expect(0).stdout;
        assert!(script.contains("portcullis") && script.contains("doctor"), "{shell}");
    }
    cli.run(["completions", "csh"]).expect(2);
    assert!(cli.run(["man"]).expect(0).stdout.contains(".TH portcullis 1"));
    let folder = cli.path("man");
    let pages = cli.json(&["man", "--out", folder.to_str().expect("ours")]);
    let pages: Vec<&str> = pages.as_array().expect("names").iter().filter_map(Value::as_str).collect();
    for page in ["portcullis.1", "portcullis-package-add.1", "portcullis-grant-apply.1", "portcullis-serve.1"]
    {
        assert!(pages.contains(&page), "{pages:?}");
        let mode = std::fs::metadata(folder.join(page)).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "a manual is for all");
    }
    assert!(!exists(&cli.data), "nothing of it needs a data folder");
}

/// What each way to print makes of the conventions about colour.
#[test]
fn colour_is_left_out_where_it_is_not_wanted() {
    let cli = Cli::new();
    let wrong = cli.file("wrong.toml", "[[grant]]\npackage = \"notes\"\nagnets = [\"a\"]\n");
    let commands: [&[&str]; 5] = [
        &["--help"],
        &["nonsense"],
        &["grant", "apply", &wrong],
        &["package", "inspect", "none"],
        &["doctor"],
    ];
    let ran = |arguments: &[&str], set: &[(&str, &str)]| -> Ran {
        let mut command = cli.command(arguments);
        command.envs(set.iter().copied());
        Running::start(command).end()
    };
    let is_coloured = |ran: &Ran| ran.stdout.contains(ESCAPE) || ran.stderr.contains(ESCAPE);
    for arguments in commands {
        for set in [
            &[][..],
            &[("NO_COLOR", "1")],
            &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")],
            &[("CLICOLOR", "1")],
            &[("TERM", "xterm-256color")],
        ] {
            let ran = ran(arguments, set);
            assert!(!is_coloured(&ran), "{arguments:?} {set:?}: {ran:?}");
        }
    }
    for arguments in [commands[1], commands[2], commands[3]] {
        assert!(is_coloured(&ran(arguments, &[("CLICOLOR_FORCE", "1")])), "{arguments:?}");
    }
    let on_a_terminal: [(&[(&str, &str)], bool); 4] = [
        (&[("TERM", "xterm")], true),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
        (&[("TERM", "xterm"), ("CLICOLOR", "0")], false),
        (&[("TERM", "dumb")], false),
    ];
    for (set, coloured) in on_a_terminal {
        let mut command = Command::new("script");
        let line =
            format!("'{}' --data-dir '{}' package inspect none", program().display(), cli.data.display());
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.envs(set.iter().copied());
        if !Command::new("script").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
            eprintln!("not tested on a terminal: that needs script(1)");
            return;
        }
        let ran = Running::start(command).end().expect(2);
        assert_eq!(is_coloured(&ran), coloured, "{set:?}: {ran:?}");
    }
}

/// Case 90, before it comes to that: what must still be written has room.
#[test]
fn a_disk_that_runs_low_refuses_what_is_new_and_finishes_what_is_not() {
    let mut cli = Cli::new();
    let Some(disk) = SmallDisk::mount(cli.path("disk"), 64) else {
        eprintln!("not tested: a small file system can be mounted by root only");
        return;
    };
    cli.data = disk.0.join("data");
    cli.environment = vec![("PORTCULLIS_DISK_RESERVE", "24MiB".to_owned())];
    cli.install("std-probe", &guest("std-probe"), LONG);
    let server = cli.serve();
    let running = cli.start_call("std-probe", "sleep", SLEEP);
    let call = admitted(&cli);
    let filler = disk.0.join("filler");
    let mut file = std::fs::File::create(&filler).expect("made");
    while portcullis::platform::free_bytes(&disk.0).expect("measured") >= 23 << 20 {
        file.write_all(&[1; 1 << 16]).expect("there is room");
    }
    // A file that is open keeps its room when it is removed.
    drop(file);
    // What was measured may hold for a second.
    let mut refused = None;
    wait_until("calls are refused", || {
        let ran = cli.call("std-probe", "compute", "{\"rounds\":10}");
        let is_refused = !ran.status.success();
        refused = Some(ran);
        is_refused
    });
    let problem = refused.expect("it was waited for").expect(1).problem();
    assert_eq!(problem["type"], "urn:portcullis:error:disk-low");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("25165824 are kept") && detail.contains("more room"), "{detail}");
    cli.run(["call", "std-probe", "compute", "--as", AGENT, "--args", "{\"rounds\":10}"])
        .expect(1)
        .says("next:")
        .says("doctor");
    let component = cli.file("other.wasm", crate::harness::wat("polite"));
    cli.run(["package", "add", &component, "--name", "other"]).expect(1).says("kept for the end");
    let report = cli.run(["doctor", "--json"]).expect(1).answer();
    let checks = report["checks"].as_array().expect("checks");
    assert!(checks.iter().any(|check| check["name"] == "disk" && check["level"] == "fail"), "{report}");

    // What runs is ended and recorded; what an admin does is done; what is there can be read.
    running.interrupt().expect(130);
    assert_eq!(outcome(&cli, call), CallOutcome::Cancelled);
    cli.run(["grant", "revoke", "1"]).expect(0);
    cli.run(["audit", "tail"]).expect(0);
    assert_eq!(cli.grants(), (2, 0));

    disk.free();
    wait_until("calls are taken again", || {
        // The grant is gone: a call is judged again, and denied.
        cli.call("std-probe", "compute", "{\"rounds\":10}").status.code() == Some(3)
    });
    server.signal(Signal::TERM);
    server.end().expect(0);
}

#[test]
fn a_reserve_that_can_not_be_is_refused() {
    let mut cli = Cli::new();
    for wrong in ["lots", "64", "64MB", "-1MiB"] {
        cli.environment = vec![("PORTCULLIS_DISK_RESERVE", wrong.to_owned())];
        cli.run(["package", "list"]).expect(2).says("PORTCULLIS_DISK_RESERVE");
    }
    cli.environment = vec![("PORTCULLIS_DISK_RESERVE", "1MiB".to_owned())];
    cli.run(["package", "list"]).expect(0);
}

/// A new host's files are its user's alone, whatever the umask of its parent was.
#[test]
fn nothing_that_is_made_is_anyone_elses() {
    let (cli, _) = Cli::with_notes();
    cli.call("notes", "list", "{}").expect(0);
    let mut folders = vec![cli.data.clone()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("there") {
            let entry = entry.expect("an entry");
            let metadata = entry.metadata().expect("there");
            assert_eq!(metadata.permissions().mode() & 0o077, 0, "{}", entry.path().display());
            count += 1;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(count > 6, "{count}");
}

#[test]
fn the_unit_is_what_systemd_takes() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/portcullis.service");
    let text = std::fs::read_to_string(unit).expect("there");
    for line in [
        "Type=notify",
        "NoNewPrivileges=yes",
        "LimitCORE=0",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line}");
    }
    if !Command::new("systemd-analyze").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        eprintln!("not verified: that needs systemd-analyze");
        return;
    }
    let cli = Cli::new();
    let here = text.replace("/usr/bin/portcullis", program().to_str().expect("UTF-8"));
    let file = cli.file("portcullis.service", here);
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", &file]);
    let ran = Running::start(command).end();
    // Other units of the machine may have faults of their own.
    assert!(!ran.stderr.contains("portcullis"), "{ran:?}");
}
