//! Archives that are what they should be, and every kind that is not.

#![expect(clippy::disallowed_methods, reason = "the tests make and spoil files")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{DataFolder, Ownership};

const SCHEMA: i64 = 7;
const LOG: &[u8] = b"{\"seq\":0}\n{\"seq\":1}\n";

fn moment() -> Moment {
    Moment {
        version: "0.1.0".to_owned(),
        made_at: Timestamp::from_second(1_800_000_000).expect("in range"),
        schema: SCHEMA,
        revision: Revision(3),
        record: Sequence(1),
    }
}

fn payload() -> PayloadName {
    PayloadName::parse("3/01890a5d-ac96-774b-bcce-b302099a8057.arguments").expect("a name")
}

fn sound(folder: &Path) -> PathBuf {
    let mut database = tempfile::NamedTempFile::new_in(folder).expect("made");
    database.write_all(b"a database").expect("written");
    let (package, segment) = (folder.join("package"), folder.join("segment"));
    let limits = folder.join("limits");
    std::fs::write(&limits, b"[limits]").expect("written");
    let sealed = folder.join("sealed");
    std::fs::write(&sealed, b"sealed").expect("written");
    std::fs::write(&package, b"component").expect("written");
    std::fs::write(&segment, [LOG, b"{\"seq\":2"].concat()).expect("written");
    let source = Source {
        of: moment(),
        database: database.into_temp_path(),
        limits: Some(Part { path: limits, bytes: 8 }),
        packages: vec![(PackageDigest::of(b"component"), package)],
        audit_settings: None,
        serve_settings: None,
        api_key: None,
        closed_segments: Vec::new(),
        hashes: None,
        start: None,
        segments: vec![(Sequence(0), Part { path: segment.clone(), bytes: LOG.len() as u64 })],
        quarantine: vec![("12-34.torn".to_owned(), Part { path: segment, bytes: 4 })],
        payloads: vec![(payload(), Part { path: sealed, bytes: 6 })],
        bytes: 0,
    };
    let target = folder.join("sound.tar");
    let manifest = write(&source, std::fs::File::create(&target).expect("made")).expect("written");
    assert_eq!((manifest.members.len(), manifest.of), (6, moment()));
    target
}

fn check(file: &Path) -> Result<Manifest, BackupError> {
    verify(file, SCHEMA, &mut |_| {})
}

fn ours(root: &Path) -> DataFolder {
    match DataFolder::take(root).expect("usable") {
        Ownership::Ours(folder) => folder,
        Ownership::Others { pid, .. } => panic!("owned by {pid:?}"),
    }
}

/// An archive of these members: name, kind, content.
fn archive(folder: &Path, members: &[(&str, tar::EntryType, &[u8])]) -> PathBuf {
    let target = folder.join("odd.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&target).expect("made"));
    for (name, kind, content) in members {
        let mut header = tar::Header::new_ustar();
        // As bytes: the crate would refuse what an attacker writes.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, *content).expect("appended");
    }
    builder.finish().expect("finished");
    target
}

fn not_whole(result: Result<Manifest, BackupError>) -> String {
    match result {
        Err(BackupError::NotWhole(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read_back_and_put_in_its_place() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let file = sound(temporary.path());
    let mut bytes = 0;
    verify(&file, SCHEMA, &mut |count| bytes += count).expect("whole");
    assert_eq!(bytes, 10 + 9 + LOG.len() as u64 + 4 + 8 + 6);
    let folder = ours(&temporary.path().join("data"));
    restore(&file, &folder, &mut |_| {}).expect("restored");
    let paths = folder.paths();
    assert_eq!(std::fs::read(paths.database()).expect("there"), b"a database");
    let package = paths.packages().join(format!("{}.wasm", PackageDigest::of(b"component").hex()));
    assert_eq!(std::fs::read(package).expect("there"), b"component");
    let segment = paths.audit().join("00000000000000000000.jsonl");
    assert_eq!(std::fs::read(segment).expect("there"), LOG, "up to the last whole record");
    assert!(paths.audit().join("quarantine/12-34.torn").exists());
    let kept = paths.payloads().join(payload().to_string());
    assert_eq!(std::fs::read(kept).expect("there"), b"sealed");
    assert!(!paths.restoring().exists());
}

#[test]
fn a_backup_that_is_cut_or_changed_anywhere_is_refused() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let file = sound(temporary.path());
    let bytes = std::fs::read(&file).expect("there");
    let odd = temporary.path().join("odd.tar");
    for end in (0..bytes.len() - 1024).step_by(97) {
        std::fs::write(&odd, &bytes[..end]).expect("written");
        not_whole(check(&odd));
    }
    // Of the first member: its content begins at 512.
    let mut flipped = bytes.clone();
    flipped[512] ^= 1;
    std::fs::write(&odd, &flipped).expect("written");
    assert!(not_whole(check(&odd)).contains("portcullis.db"));
    // Of the component, whose name is its sum.
    let at = bytes.windows(9).position(|window| window == b"component").expect("there");
    let mut flipped = bytes;
    flipped[at] ^= 1;
    std::fs::write(&odd, &flipped).expect("written");
    assert!(not_whole(check(&odd)).contains("what its name says"));
}

/// Threats 33 to 36, in an archive.
#[test]
fn links_paths_and_strangers_are_refused_before_anything_is_made() {
    use tar::EntryType as Kind;
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let digest = PackageDigest::of(b"x").hex();
    let wrong = format!("packages/{}.wasm", digest.to_uppercase());
    for (name, kind) in [
        ("../portcullis.db", Kind::Regular),
        ("/portcullis.db", Kind::Regular),
        ("./portcullis.db", Kind::Regular),
        ("packages/../artifact.key", Kind::Regular),
        ("packages/x.wasm", Kind::Regular),
        (wrong.as_str(), Kind::Regular),
        ("audit/1.jsonl", Kind::Regular),
        ("audit/quarantine/../../artifact.key", Kind::Regular),
        ("audit/quarantine/.hidden", Kind::Regular),
        ("audit/quarantine/", Kind::Regular),
        ("payloads/1/x", Kind::Regular),
        ("payloads/1/../01890a5d-ac96-774b-bcce-b302099a8057.result", Kind::Regular),
        ("payloads/../01890a5d-ac96-774b-bcce-b302099a8057.result", Kind::Regular),
        ("evidence.key", Kind::Regular),
        ("artifact.key", Kind::Regular),
        ("artifacts/x", Kind::Regular),
        ("owner.sock", Kind::Regular),
        ("portcullis.db", Kind::Symlink),
        ("portcullis.db", Kind::Link),
        ("portcullis.db", Kind::Directory),
        ("portcullis.db", Kind::Fifo),
        ("portcullis.db", Kind::Char),
        ("portcullis.db", Kind::GNULongName),
        ("portcullis.db", Kind::GNUSparse),
        ("portcullis.db", Kind::XHeader),
    ] {
        let file = archive(temporary.path(), &[(name, kind, b"x")]);
        not_whole(check(&file));
        let folder = ours(&temporary.path().join("data"));
        not_whole(restore(&file, &folder, &mut |_| {}));
        assert!(!folder.paths().database().exists() && !folder.paths().artifact_key().exists(), "{name}");
        drop(folder);
        for made in ["restoring/audit/quarantine", "restoring/audit", "restoring/packages", "restoring"] {
            std::fs::remove_dir(temporary.path().join("data").join(made)).expect("nothing is in it");
        }
    }
}

#[test]
fn a_manifest_must_name_what_is_there_no_more_and_no_less() {
    use tar::EntryType::Regular;
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let member = |name: &str, content: &[u8]| Member {
        name: name.to_owned(),
        bytes: content.len() as u64,
        sha256: PackageDigest::of(content).hex(),
    };
    let manifest = |members: Vec<Member>| {
        serde_json::to_vec(&Manifest { format: 1, of: moment(), members }).expect("serialises")
    };
    let segment = "audit/00000000000000000000.jsonl";
    let both = manifest(vec![member(DATABASE, b"d"), member(segment, b"s")]);
    let one = manifest(vec![member(DATABASE, b"d")]);
    let (database, log) = ((DATABASE, Regular, &b"d"[..]), (segment, Regular, &b"s"[..]));
    let sound = archive(temporary.path(), &[database, log, (MANIFEST, Regular, &both)]);
    assert_eq!(check(&sound).expect("whole").of, moment());
    let stranger = (MANIFEST, Regular, &b"{\"format\":1,\"more\":1}"[..]);
    for members in [
        vec![database, (MANIFEST, Regular, &both)],
        vec![database, log, (MANIFEST, Regular, &one)],
        vec![log, (MANIFEST, Regular, &manifest(vec![member(segment, b"s")]))],
        vec![database, database, (MANIFEST, Regular, &one)],
        vec![database, (MANIFEST, Regular, &one), log],
        vec![database, stranger],
        vec![database, log],
        vec![],
    ] {
        not_whole(check(&archive(temporary.path(), &members)));
    }
}

#[test]
fn what_a_newer_version_made_is_refused_with_both_numbers() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let file = sound(temporary.path());
    assert!(verify(&file, SCHEMA + 1, &mut |_| {}).is_ok(), "an older schema is upgraded");
    let error = verify(&file, SCHEMA - 1, &mut |_| {}).expect_err("newer");
    assert!(matches!(error, BackupError::Newer { found: 7, known: 6, .. }), "{error}");
}
