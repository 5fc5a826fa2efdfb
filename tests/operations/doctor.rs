//! What doctor finds, in folders that are well and in those that are not; and that it leaves them so.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::process::{Cli, Ran, exists};

/// Every file below a folder with what is in it, and when it was changed.
fn state(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("there") {
            let path = entry.expect("an entry").path();
            let metadata = std::fs::symlink_metadata(&path).expect("there");
            let content = if metadata.is_file() { std::fs::read(&path).expect("read") } else { Vec::new() };
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (content, metadata.mode(), metadata.mtime(), metadata.mtime_nsec()));
        }
    }
    found
}

fn levels(ran: &Ran) -> BTreeMap<String, String> {
    let report = ran.answer();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .map(|check| (text(&check["name"]), text(&check["level"])))
        .collect()
}

#[track_caller]
fn examined(cli: &Cli, code: i32) -> BTreeMap<String, String> {
    levels(&cli.run(["doctor", "--json"]).expect(code))
}

#[test]
fn a_folder_that_is_not_there_is_no_fault_and_is_not_made() {
    let cli = Cli::new();
    let levels = examined(&cli, 0);
    assert_eq!((levels["data folder"].as_str(), levels["database"].as_str()), ("info", "info"));
    assert_eq!(levels["engine"], "ok");
    assert!(!exists(&cli.data));
    let text = cli.run(["doctor"]).expect(0).stdout;
    assert!(text.contains("kernel") && text.contains("0 fail"), "{text}");
}

#[test]
fn a_sound_folder_is_found_so_beside_its_owner_and_after_it_and_stays_as_it_is() {
    let (cli, _) = Cli::with_notes();
    cli.call("notes", "list", "{}").expect(0);
    let before = state(&cli.data);
    let levels = examined(&cli, 0);
    for name in
        ["data folder", "key", "files", "database", "log", "settled", "approvals", "packages", "clock"]
    {
        assert_eq!(levels[name], "ok", "{name} in {levels:?}");
    }
    assert!(before == state(&cli.data), "it changed something");

    let server = cli.serve();
    let ran = cli.run(["doctor"]).expect(0);
    assert!(ran.stdout.contains(&format!("process {}, version", server.id())), "{ran:?}");
    let beside = state(&cli.data);
    assert_eq!(examined(&cli, 0)["owner"], "ok");
    assert!(beside == state(&cli.data), "it changed something beside the owner");

    // What a host that dies leaves is mended by the next one, not by the doctor.
    server.kill();
    let left = state(&cli.data);
    let levels = examined(&cli, 0);
    assert_eq!((levels["log"].as_str(), levels["database"].as_str()), ("warn", "ok"));
    assert!(left == state(&cli.data), "it changed what a dead owner left");
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    type Harm = fn(&Path);
    let cases: [(&str, &str, Harm); 8] = [
        ("database", "portcullis restore", |data| {
            std::fs::write(data.join("portcullis.db"), "not a database, and long enough to be looked at")
                .expect("written");
        }),
        ("key", "chmod 600", |data| {
            std::fs::set_permissions(data.join("artifact.key"), PermissionsExt::from_mode(0o644))
                .expect("changed");
        }),
        ("data folder", "chmod 700", |data| {
            std::fs::set_permissions(data, PermissionsExt::from_mode(0o755)).expect("changed");
        }),
        ("files", "chmod 600", |data| {
            std::fs::set_permissions(data.join("portcullis.db"), PermissionsExt::from_mode(0o644))
                .expect("changed");
        }),
        ("log", "audit tail", |data| {
            let segment = data.join("audit/00000000000000000000.jsonl");
            let text = std::fs::read_to_string(&segment).expect("there");
            let mut lines: Vec<&str> = text.lines().collect();
            lines.remove(1);
            std::fs::write(segment, lines.join("\n") + "\n").expect("written");
        }),
        ("packages", "package add", |data| {
            let packages = data.join("packages");
            let package =
                std::fs::read_dir(packages).expect("there").next().expect("one").expect("an entry").path();
            std::fs::remove_file(package).expect("removed");
        }),
        ("restore", "restore` again", |data| std::fs::create_dir(data.join("restoring")).expect("made")),
        ("files", "in its place", |data| {
            std::fs::rename(data.join("artifact.key"), data.join("elsewhere")).expect("moved");
            std::os::unix::fs::symlink("elsewhere", data.join("artifact.key")).expect("linked");
        }),
    ];
    let (sound, _) = Cli::with_notes();
    for (name, advice, harm) in cases {
        let mut cli = Cli::new();
        copy(&sound.data, &cli.path("data"));
        cli.data = cli.path("data");
        harm(&cli.data);
        let ran = cli.run(["doctor", "--json"]);
        let report = ran.answer();
        let checks = report["checks"].as_array().expect("checks");
        let check = checks
            .iter()
            .find(|check| check["name"] == name && matches!(check["level"].as_str(), Some("fail" | "warn")))
            .unwrap_or_else(|| panic!("{name}: {report}"));
        assert!(check["advice"].as_str().is_some_and(|said| said.contains(advice)), "{name}: {check}");
        let fails = checks.iter().any(|check| check["level"] == "fail");
        assert_eq!(ran.status.code(), Some(i32::from(fails)), "{name}: {report}");
        if check["level"] == "fail" {
            assert_eq!(report["worst"], "fail");
        }
    }
}

#[test]
fn what_is_no_folder_is_named() {
    let mut cli = Cli::new();
    cli.data = cli.file("file", "no folder").into();
    assert_eq!(examined(&cli, 1)["data folder"], "fail");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("made");
    std::fs::set_permissions(to, std::fs::metadata(from).expect("there").permissions()).expect("changed");
    for entry in std::fs::read_dir(from).expect("there") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().expect("known").is_file() {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
