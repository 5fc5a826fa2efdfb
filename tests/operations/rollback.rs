//! A database and a log that do not belong together are refused, whichever of them is the old one.

use std::path::{Path, PathBuf};

use portcullis::audit::event::Event;

use crate::harness::process::Cli;

/// Copies files of a folder, one level deep.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("there") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("known").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

/// The database's files: all of one moment, with no process that has it open.
fn database_files(data: &Path) -> Vec<PathBuf> {
    let names = ["portcullis.db", "portcullis.db-wal", "portcullis.db-shm"];
    names.iter().map(|name| data.join(name)).filter(|path| path.exists()).collect()
}

fn keep_database(data: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for file in database_files(data) {
        std::fs::copy(&file, to.join(file.file_name().expect("named"))).expect("copied");
    }
}

fn put_database(from: &Path, data: &Path) {
    for file in database_files(data) {
        std::fs::remove_file(file).expect("removed");
    }
    for file in database_files(from) {
        std::fs::copy(&file, data.join(file.file_name().expect("named"))).expect("copied");
    }
}

fn put_log(from: &Path, data: &Path) {
    let audit = data.join("audit");
    for entry in std::fs::read_dir(&audit).expect("there") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("known").is_file() {
            std::fs::remove_file(entry.path()).expect("removed");
        }
    }
    copy_folder(from, &audit);
}

/// With a grant that is revoked; before and after are kept.
fn revoked() -> (Cli, PathBuf, PathBuf) {
    let (cli, _) = Cli::with_notes();
    cli.call("notes", "list", "{}").expect(0);
    let (before, after) = (cli.path("before"), cli.path("after"));
    keep_database(&cli.data, &before);
    copy_folder(&cli.data.join("audit"), &before.join("audit"));
    cli.run(["grant", "revoke", "1"]).expect(0);
    cli.call("notes", "list", "{}").expect(3);
    keep_database(&cli.data, &after);
    copy_folder(&cli.data.join("audit"), &after.join("audit"));
    (cli, before, after)
}

#[test]
fn an_old_database_does_not_bring_a_revoked_grant_back() {
    let (cli, before, after) = revoked();
    put_database(&before, &cli.data);
    for _ in 0..2 {
        cli.call("notes", "list", "{}").expect(1);
        cli.run(["package", "list"]).expect(1).says("old copy of the database").says("portcullis restore");
    }
    cli.run(["doctor"]).expect(1);
    let report = cli.run(["doctor", "--json"]).expect(1).answer();
    let checks = report["checks"].as_array().expect("checks");
    let settled = checks.iter().find(|check| check["name"] == "settled").expect("a check");
    assert_eq!(settled["level"], "fail", "{settled}");
    // It can still be read, and it says that hosts were here and did nothing.
    cli.run(["audit", "tail"]).expect(0);
    assert!(matches!(cli.log().last().map(|record| &record.event), Some(Event::HostStopped { .. })));

    // The twin: the database that belongs to the log.
    put_database(&after, &cli.data);
    cli.call("notes", "list", "{}").expect(3);
    assert_eq!(cli.grants(), (2, 0));
    cli.run(["doctor"]).expect(0);
}

#[test]
fn a_log_without_its_last_records_is_refused() {
    let (cli, before, after) = revoked();
    put_log(&before.join("audit"), &cli.data);
    cli.run(["package", "list"]).expect(1).says("records are missing at the end of the log");
    cli.run(["doctor"]).expect(1);
    // The twin: the log that belongs to the database.
    put_log(&after.join("audit"), &cli.data);
    cli.call("notes", "list", "{}").expect(3);
    assert_eq!(cli.grants(), (2, 0));
}

#[test]
fn both_of_one_earlier_moment_belong_together() {
    let (cli, before, _) = revoked();
    put_database(&before, &cli.data);
    put_log(&before.join("audit"), &cli.data);
    // Nothing in the folder itself can tell: that takes a checkpoint kept elsewhere.
    cli.call("notes", "list", "{}").expect(0);
}

#[test]
fn a_log_that_is_gone_is_refused_too() {
    let (cli, _, after) = revoked();
    for entry in std::fs::read_dir(cli.data.join("audit")).expect("there") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
    cli.run(["package", "list"]).expect(1).says("records are missing");
    put_log(&after.join("audit"), &cli.data);
    cli.run(["package", "list"]).expect(0);
}

/// A host that dies between the record and the change is not taken for an old copy.
#[test]
fn a_host_that_is_killed_while_grants_change_starts_again() {
    let (cli, _) = Cli::with_notes();
    let grants = cli.path("notes.toml");
    let text = std::fs::read_to_string(&grants).expect("there");
    for round in 0..6_u64 {
        let other = text.replace("agents = [\"", &format!("agents = [\"agent-{round}\", \""));
        let file = cli.file(&format!("grants-{round}.toml"), other);
        let owner = cli.serve();
        let change = cli.start(["grant", "apply", &file]);
        std::thread::sleep(std::time::Duration::from_millis(round * 4));
        owner.kill();
        change.end();
        cli.run(["package", "list"]).expect(0);
        cli.run(["doctor"]).expect(0);
    }
}
