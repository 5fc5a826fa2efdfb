//! The database by its typed methods, on real files; SQL appears only to damage one.

#![expect(clippy::disallowed_methods, reason = "the tests put files where they do not belong")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::*;
use crate::ids::{GrantId, PackageDigest, PackageName, Revision};
use crate::package::{PackageDescription, ToolDescription, ToolExport};
use crate::policy::{Diagnostic, GrantsFile, PathCheck, PathProblem, Policy, Role, parse_grants};

struct AnyFolder;

impl PathCheck for AnyFolder {
    fn check(&self, host_path: &str) -> Result<std::path::PathBuf, PathProblem> {
        Ok(Path::new("/srv").join(host_path))
    }
}

fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a valid name")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range")
}

fn description(tools: &[&str]) -> PackageDescription {
    let tool = |name: &&str| ToolDescription {
        name: id(name),
        description: "does \"it\"".to_owned(),
        input_schema: serde_json::json!({ "type": "object" }),
        output_schema: None,
        export: ToolExport::Listed,
    };
    PackageDescription {
        tools: tools.iter().map(tool).collect(),
        imports: vec!["wasi:clocks/wall-clock@0.2.6".to_owned()],
        capabilities: BTreeSet::new(),
        size: Default::default(),
        compile: None,
        left_out: Vec::new(),
    }
}

async fn add(database: &Database, name: &str, bytes: &[u8]) -> Added {
    let guard = database.begin_change().await.expect("free");
    let description = description(&["read", "write"]);
    let new = NewPackage {
        name: &id(name),
        digest: PackageDigest::of(bytes),
        version: &id("1.2.3"),
        bytes: bytes.len() as u64,
        description: &description,
    };
    database.add_package(&guard, new, now()).await.expect("added")
}

async fn approve(database: &Database, name: &str, bytes: &[u8]) {
    let guard = database.begin_change().await.expect("free");
    let known = database.approve_package(&guard, &id(name), PackageDigest::of(bytes), now()).await;
    assert!(known.expect("approved"));
}

/// A database with two approved packages, `notes` and `fetch`.
async fn filled() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let database = Database::open(&folder.path().join("state.db")).await.expect("opens");
    for name in ["notes", "fetch"] {
        assert_eq!(add(&database, name, name.as_bytes()).await, Added::New);
        approve(&database, name, name.as_bytes()).await;
    }
    (folder, database)
}

fn file(text: &str) -> GrantsFile {
    parse_grants(text, &AnyFolder).expect("a good file")
}

fn grant(package: &str, agent: &str) -> String {
    format!("[[grant]]\npackage = \"{package}\"\nagents = [\"{agent}\"]\n")
}

async fn prepare(database: &Database, text: &str) -> Option<GrantsChange> {
    database.prepare_apply(&file(text), &id("root"), now()).await.expect("fits").0
}

/// Applies a file that changes something; answers the new revision with its grants, new and ended.
async fn apply(database: &Database, text: &str) -> (u64, Vec<u64>, Vec<u64>) {
    let change = prepare(database, text).await.expect("something changes");
    let numbers = |ids: &[GrantId]| ids.iter().map(|id| id.0).collect();
    let (granted, revoked) = (numbers(&change.granted()), numbers(change.revoked()));
    let promised = change.revision();
    let made = change.commit().await.expect("committed");
    assert_eq!(made, promised);
    (made.0, granted, revoked)
}

async fn in_force(database: &Database) -> Vec<(u64, String)> {
    let policy = database.policy().await.expect("policy");
    policy
        .grants
        .iter()
        .map(|grant| (grant.id.0, format!("{} {}", grant.package, grant.terms.agents[0])))
        .collect()
}

async fn refused(database: &Database, text: &str) -> Vec<Diagnostic> {
    match database.prepare_apply(&file(text), &id("root"), now()).await {
        Err(ChangeError::File(diagnostics)) => diagnostics,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_replaces_the_grants_of_the_packages_it_names_and_no_others() {
    let (_folder, database) = filled().await;
    assert_eq!(database.policy().await.expect("policy"), Default::default());
    let both = format!("{}{}{}", grant("notes", "ann"), grant("notes", "bob"), grant("fetch", "ann"));
    assert_eq!(apply(&database, &both).await, (1, vec![1, 2, 3], vec![]));
    let other = format!("{}{}", grant("notes", "bob"), grant("notes", "cleo"));
    assert_eq!(apply(&database, &other).await, (2, vec![4], vec![1]), "what stays the same keeps its number");
    let expected = [(2, "notes bob"), (3, "fetch ann"), (4, "notes cleo")];
    assert_eq!(in_force(&database).await, expected.map(|(id, text)| (id, text.to_owned())));
    let bound = database.grants(Some(&id("fetch"))).await.expect("grants");
    assert_eq!(bound.len(), 1);
    assert_eq!(bound[0].digest, PackageDigest::of(b"fetch"));
}

#[tokio::test]
async fn a_file_that_changes_nothing_makes_no_revision() {
    let (_folder, database) = filled().await;
    let text = format!("[groups]\nreaders = [\"ann\"]\n{}", grant("notes", "ann"));
    apply(&database, &text).await;
    assert!(prepare(&database, &text).await.is_none());
    assert_eq!(database.revision().await.expect("revision"), Revision(1));
    // The same words mean another grant once other bytes are approved.
    add(&database, "notes", b"notes 2").await;
    approve(&database, "notes", b"notes 2").await;
    assert_eq!(apply(&database, &text).await, (2, vec![2], vec![1]));
}

#[tokio::test]
async fn groups_are_replaced_by_name() {
    let (_folder, database) = filled().await;
    apply(&database, "[groups]\nreaders = [\"ann\", \"bob\"]\nwriters = [\"ann\"]\n").await;
    let change = prepare(&database, "[groups]\nreaders = [\"cleo\"]\n").await.expect("changes");
    assert_eq!(change.groups().map(ToString::to_string).collect::<Vec<_>>(), ["readers"]);
    change.commit().await.expect("committed");
    let groups = database.policy().await.expect("policy").groups;
    let expected = [("readers", "cleo"), ("writers", "ann")];
    let expected: BTreeMap<_, _> =
        expected.map(|(name, member)| (id(name), BTreeSet::from([id(member)]))).into_iter().collect();
    assert_eq!(groups, expected);
}

#[tokio::test]
async fn unknown_unapproved_and_toolless_packages_are_placed_in_the_file() {
    let (_folder, database) = filled().await;
    add(&database, "new", b"new").await;
    let text = format!(
        "{}{}{}tools = [\"read\", \"wrote\", \"x\"]\n",
        grant("note", "ann"),
        grant("new", "ann"),
        grant("fetch", "ann")
    );
    let lines: Vec<String> = refused(&database, &text)
        .await
        .iter()
        .map(|diagnostic| format!("{diagnostic} ({})", diagnostic.help.as_deref().unwrap_or("-")))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    2:11: grant[0].package: package note is not registered (did you mean `notes`?)
    5:11: grant[1].package: package new is not approved (review and approve it first: portcullis package approve new)
    10:18: grant[2].tools: package fetch has no tool wrote (did you mean `write`?)
    10:27: grant[2].tools: package fetch has no tool x (its tools: read, write)
    "#);
    assert_eq!(database.revision().await.expect("revision"), Revision(0));
}

#[tokio::test]
async fn revoking_ends_one_grant_once() {
    let (_folder, database) = filled().await;
    apply(&database, &format!("{}{}", grant("notes", "ann"), grant("notes", "bob"))).await;
    let revoke = |number| {
        let database = database.clone();
        async move { database.prepare_revoke(GrantId(number), &id("root"), now()).await }
    };
    let change = revoke(1).await.expect("in force");
    assert_eq!(change.revoked(), [GrantId(1)]);
    assert_eq!(change.commit().await.expect("committed"), Revision(2));
    assert_eq!(in_force(&database).await, [(2, "notes bob".to_owned())]);
    for gone in [1, 3] {
        assert!(
            matches!(revoke(gone).await, Err(ChangeError::NoSuchGrant(GrantId(number))) if number == gone)
        );
    }
    // A number is never used again.
    revoke(2).await.expect("in force").commit().await.expect("committed");
    assert_eq!(apply(&database, &grant("notes", "ann")).await.1, [3]);
}

#[tokio::test]
async fn history_tells_who_changed_what_by_which_text() {
    let (_folder, database) = filled().await;
    let text = format!("# why: tests\n{}", grant("notes", "ann"));
    apply(&database, &text).await;
    let change = database.prepare_revoke(GrantId(1), &id("carol"), now()).await.expect("in force");
    change.commit().await.expect("committed");
    let rows = database.revisions(10).await.expect("rows");
    let told: Vec<_> =
        rows.iter().map(|row| (row.number.0, row.made_by.as_str(), row.revoked.len())).collect();
    assert_eq!(told, [(2, "carol", 1), (1, "root", 0)]);
    assert_eq!(rows[1].made_at, now());
    assert_eq!(database.revisions(1).await.expect("rows").len(), 1);
    assert_eq!(database.revision_source(Revision(1)).await.expect("source"), Some(text));
    assert_eq!(database.revision_source(Revision(2)).await.expect("source"), None);
    assert_eq!(database.revision_source(Revision(3)).await.expect("source"), None);
}

#[tokio::test]
async fn nothing_changes_before_the_commit() {
    let (_folder, database) = filled().await;
    apply(&database, &grant("notes", "ann")).await;
    let before = database.policy().await.expect("policy");
    let change = prepare(&database, &grant("notes", "bob")).await.expect("changes");
    assert_eq!(database.policy().await.expect("policy"), before);
    change.abandon().await.expect("abandoned");
    assert_eq!(database.policy().await.expect("policy"), before);
    assert_eq!(apply(&database, &grant("notes", "bob")).await, (2, vec![2], vec![1]));
}

/// A host that dies between the plan and its end leaves a dropped change behind.
#[tokio::test]
async fn the_log_decides_what_becomes_of_an_interrupted_change() {
    for (logged, expected, policy) in [
        (Revision(2), Settled::PutInForce(Revision(2)), "notes bob"),
        (Revision(1), Settled::Dropped(Revision(2)), "notes ann"),
    ] {
        let (folder, database) = filled().await;
        apply(&database, &grant("notes", "ann")).await;
        drop(prepare(&database, &grant("notes", "bob")).await.expect("changes"));
        let blocked = database.prepare_revoke(GrantId(1), &id("root"), now()).await;
        let unsettled = DatabaseError::Unsettled { revision: Revision(2) };
        assert_eq!(blocked.expect_err("unsettled").to_string(), unsettled.to_string());
        database.close().await;
        let database = Database::open(&folder.path().join("state.db")).await.expect("opens");
        assert_eq!(database.settle(logged).await.expect("settled"), expected);
        assert_eq!(database.settle(logged).await.expect("settled"), Settled::Nothing);
        let agents: Vec<String> = in_force(&database).await.into_iter().map(|(_, text)| text).collect();
        assert_eq!(agents, [policy]);
        assert_eq!(database.revision().await.expect("revision"), logged);
    }
}

#[tokio::test]
async fn an_old_copy_is_refused() {
    let (_folder, database) = filled().await;
    apply(&database, &grant("notes", "ann")).await;
    assert_eq!(database.settle(Revision(1)).await.expect("settled"), Settled::Nothing);
    let behind = database.settle(Revision(2)).await.expect_err("behind");
    assert!(matches!(behind, DatabaseError::Behind { database: Revision(1), log: Revision(2) }));
    let ahead = database.settle(Revision(0)).await.expect_err("ahead");
    assert!(matches!(ahead, DatabaseError::Ahead { database: Revision(1), log: Revision(0) }));
    // A refusal is no change: with the log that belongs to it, it goes on.
    assert_eq!(database.settle(Revision(1)).await.expect("settled"), Settled::Nothing);
}

#[tokio::test]
async fn changes_take_turns() {
    let (_folder, database) = filled().await;
    let first = prepare(&database, &grant("notes", "ann")).await.expect("changes");
    let other = database.clone();
    let second = tokio::spawn(async move { apply(&other, &grant("fetch", "ann")).await });
    tokio::task::yield_now().await;
    first.commit().await.expect("committed");
    assert_eq!(second.await.expect("no panic"), (2, vec![2], vec![]));
}

#[tokio::test]
async fn packages_keep_what_was_said_and_one_digest_is_approved() {
    let (_folder, database) = filled().await;
    let notes: PackageName = id("notes");
    assert_eq!(add(&database, "notes", b"notes").await, Added::Already(PackageState::Approved));
    assert_eq!(add(&database, "notes", b"other").await, Added::New);
    let states =
        |packages: Vec<Package>| packages.into_iter().map(|package| package.state).collect::<Vec<_>>();
    let mut named = states(database.packages_named(&notes).await.expect("packages"));
    named.sort_by_key(|state| *state == PackageState::Pending);
    assert_eq!(named, [PackageState::Approved, PackageState::Pending]);
    approve(&database, "notes", b"other").await;
    for package in database.packages_named(&notes).await.expect("packages") {
        let approved = package.digest == PackageDigest::of(b"other");
        let expected = if approved { PackageState::Approved } else { PackageState::Superseded };
        assert_eq!((package.state, package.version.to_string()), (expected, "1.2.3".to_owned()));
        assert_eq!((package.added_at, package.approved_at), (now(), Some(now())));
    }
    let kept = database.package_description(&notes, PackageDigest::of(b"other")).await.expect("row");
    assert_eq!(kept, Some(description(&["read", "write"])));
    let guard = database.begin_change().await.expect("free");
    let unknown = database.approve_package(&guard, &notes, PackageDigest::of(b"x"), now()).await;
    assert!(!unknown.expect("answered"), "unknown bytes are not approved");
    let approved: Vec<Package> = database.packages_named(&notes).await.expect("packages");
    assert!(approved.iter().any(|package| package.state == PackageState::Approved), "and un-approve nothing");
}

#[tokio::test]
async fn a_removal_takes_the_grants_along() {
    let (_folder, database) = filled().await;
    apply(&database, &format!("{}{}", grant("notes", "ann"), grant("fetch", "ann"))).await;
    let remove = |name: &'static str| {
        let database = database.clone();
        async move {
            let guard = database.begin_change().await.expect("free");
            database.prepare_removal(guard, &id(name), &id("root"), now()).await.expect("planned")
        }
    };
    let removal = remove("notes").await;
    assert_eq!(removal.change().map(|change| change.revoked().to_vec()), Some(vec![GrantId(1)]));
    removal.abandon().await.expect("abandoned");
    assert_eq!(database.packages().await.expect("packages").len(), 2);
    drop(remove("notes").await.commit().await.expect("removed"));
    assert_eq!(in_force(&database).await, [(2, "fetch ann".to_owned())]);
    add(&database, "bare", b"bare").await;
    let removal = remove("bare").await;
    assert!(removal.change().is_none(), "no grants, no revision");
    drop(removal.commit().await.expect("removed"));
    let left: Vec<String> =
        database.packages().await.expect("packages").iter().map(|package| package.name.to_string()).collect();
    assert_eq!(left, ["fetch"]);
    assert_eq!(database.revision().await.expect("revision"), Revision(2));
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_private() {
    let (folder, database) = filled().await;
    apply(&database, &format!("[groups]\nreaders = [\"ann\"]\n{}", grant("notes", "ann"))).await;
    let policy = database.policy().await.expect("policy");
    // No orderly end: what a commit answered must be on disk.
    let copy = folder.path().join("copy.db");
    for suffix in ["", "-wal"] {
        let name = |file: &str| folder.path().join(format!("{file}{suffix}"));
        std::fs::copy(name("state.db"), name("copy.db")).expect("copied");
    }
    for entry in std::fs::read_dir(folder.path()).expect("folder").map(|entry| entry.expect("entry")) {
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
    let reopened = Database::open(&copy).await.expect("opens");
    assert_eq!(reopened.policy().await.expect("policy"), policy);
}

#[tokio::test]
async fn an_open_file_is_made_private_and_a_symlink_is_not_followed() {
    let (folder, database) = filled().await;
    database.close().await;
    let path = folder.path().join("state.db");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("mode");
    Database::open(&path).await.expect("opens").close().await;
    assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).expect("symlink");
    assert!(matches!(Database::open(&link).await, Err(DatabaseError::Open { .. })));
    let nowhere = folder.path().join("missing/state.db");
    assert!(matches!(Database::open(&nowhere).await, Err(DatabaseError::Open { .. })));
    assert!(matches!(Database::open(folder.path()).await, Err(DatabaseError::Open { .. })));
}

#[tokio::test]
async fn a_damaged_file_is_said_to_be_damaged() {
    let (folder, database) = filled().await;
    database.close().await;
    let path = folder.path().join("state.db");
    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "not a database, but long enough to be looked at".repeat(100)).expect("written");
    assert!(matches!(Database::open(&garbage).await, Err(DatabaseError::Corrupt { .. })));
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 3;
    bytes[middle..].fill(0xa5);
    std::fs::write(&path, bytes).expect("written");
    assert!(matches!(Database::open(&path).await, Err(DatabaseError::Corrupt { .. })));
}

#[tokio::test]
async fn a_column_that_does_not_parse_allows_nothing() {
    let (_folder, database) = filled().await;
    apply(&database, &grant("notes", "ann")).await;
    sqlx::query("UPDATE grants SET terms = '{\"agents\": 3}'")
        .execute(&database.pool)
        .await
        .expect("damaged");
    let error = database.policy().await.expect_err("damaged");
    assert!(matches!(error, DatabaseError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_an_altered_one_too() {
    let (folder, database) = filled().await;
    let path = folder.path().join("state.db");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'future', TRUE, x'00', 0)",
    )
    .execute(&database.pool)
    .await
    .expect("inserted");
    database.close().await;
    let error = Database::open(&path).await.expect_err("newer");
    assert!(matches!(error, DatabaseError::NewerSchema { found: 9999, .. }), "{error}");
    assert!(error.to_string().contains("run the newer version"), "{error}");
    let (folder, database) = filled().await;
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'")
        .execute(&database.pool)
        .await
        .expect("updated");
    database.close().await;
    let error = Database::open(&folder.path().join("state.db")).await.expect_err("altered");
    assert!(matches!(error, DatabaseError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_full_disk_and_a_read_only_file_change_nothing() {
    let (_folder, database) = filled().await;
    apply(&database, &grant("notes", "ann")).await;
    let before = database.policy().await.expect("policy");
    let big = format!("# {}\n{}", "x".repeat(500_000), grant("notes", "bob"));
    let pragma = |text: &'static str| sqlx::query(text).execute(&database.pool);
    pragma("PRAGMA max_page_count = 1").await.expect("SQLite cuts it to what is used");
    let full = database.prepare_apply(&file(&big), &id("root"), now()).await.expect_err("full");
    assert!(matches!(full, ChangeError::Database(DatabaseError::Full)), "{full}");
    pragma("PRAGMA max_page_count = 1000000").await.expect("room again");
    pragma("PRAGMA query_only = ON").await.expect("pragma");
    let read_only = database.prepare_apply(&file(&big), &id("root"), now()).await.expect_err("read-only");
    assert!(matches!(read_only, ChangeError::Database(DatabaseError::ReadOnly)), "{read_only}");
    pragma("PRAGMA query_only = OFF").await.expect("pragma");
    assert_eq!(database.policy().await.expect("policy"), before);
    assert_eq!(apply(&database, &big).await.0, 2, "afterwards it goes on");
}

#[tokio::test]
async fn the_file_is_opened_durably() {
    let (_folder, database) = filled().await;
    for (pragma, expected) in [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1")] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}"));
        let value: String = sqlx::query_scalar(sql).fetch_one(&database.pool).await.expect("pragma");
        assert_eq!(value, expected, "{pragma}");
    }
}

fn steps() -> [(Step, Step); 4] {
    let because = || id("an incident");
    let digest = Some(PackageDigest::of(b"fetch"));
    let (package, name) = (id("fetch"), id("ann"));
    let add = |note| Step::AddPrincipal { name: id("ann"), role: Role::Auditor, note };
    [
        (Step::Freeze { because: because() }, Step::Thaw),
        (
            Step::Quarantine { package: id("notes"), digest: None, because: because() },
            Step::Release { package: id("notes"), digest: None },
        ),
        (
            Step::Quarantine { package: id("fetch"), digest, because: because() },
            Step::Release { package, digest },
        ),
        (add(Some(id("a note"))), Step::RemovePrincipal { name }),
    ]
}

async fn step(database: &Database, step: &Step) -> Option<GrantsChange> {
    database.prepare_step(step, &id("root"), now()).await.expect("possible")
}

/// What an admin has set, in words.
fn standing(policy: &Policy) -> Vec<String> {
    let mut told: Vec<String> =
        policy.frozen.iter().map(|freeze| format!("frozen: {}", freeze.because)).collect();
    told.extend(policy.quarantines.iter().map(|found| {
        format!("{} {}: {} by {}", found.package, found.digest.is_some(), found.because, found.by)
    }));
    told.extend(policy.principals.values().map(|found| {
        let note = found.note.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{} {} {:?} {note}", found.name, found.role, found.standing)
    }));
    told
}

#[tokio::test]
async fn each_step_is_a_revision_once_and_there_after_a_restart() {
    let (folder, database) = filled().await;
    for (index, (set, _)) in (1..).zip(steps()) {
        let change = step(&database, &set).await.expect("something changes");
        assert_eq!(change.commit().await.expect("committed"), Revision(index));
        assert!(step(&database, &set).await.is_none(), "it is so already: {set:?}");
    }
    database.close().await;
    let database = Database::open(&folder.path().join("state.db")).await.expect("opens");
    let policy = database.policy().await.expect("policy");
    assert_eq!(
        standing(&policy),
        [
            "frozen: an incident",
            "fetch true: an incident by root",
            "notes false: an incident by root",
            "ann auditor Added a note",
        ]
    );
    let rows = database.revisions(10).await.expect("rows");
    let told: Vec<Option<Step>> = rows.into_iter().rev().map(|row| row.step).collect();
    assert_eq!(told, steps().map(|(set, _)| Some(set)));
    for (_, lift) in steps() {
        step(&database, &lift).await.expect("something changes").commit().await.expect("committed");
        assert!(step(&database, &lift).await.is_none(), "it is so already: {lift:?}");
    }
    let policy = database.policy().await.expect("policy");
    assert_eq!(standing(&policy), ["ann auditor Removed a note"], "a removed name stays");
}

#[tokio::test]
async fn the_log_decides_what_becomes_of_an_interrupted_step() {
    for (set, _) in steps() {
        for (logged, expected, count) in [
            (Revision(1), Settled::PutInForce(Revision(1)), 1),
            (Revision(0), Settled::Dropped(Revision(1)), 0),
        ] {
            let (folder, database) = filled().await;
            drop(step(&database, &set).await.expect("something changes"));
            let unsettled = database.prepare_step(&Step::Thaw, &id("root"), now()).await;
            let is_unsettled =
                matches!(unsettled, Err(ChangeError::Database(DatabaseError::Unsettled { .. })));
            assert!(is_unsettled, "also where nothing would change");
            database.close().await;
            let database = Database::open(&folder.path().join("state.db")).await.expect("opens");
            assert_eq!(database.settle(logged).await.expect("settled"), expected);
            assert_eq!(standing(&database.policy().await.expect("policy")).len(), count, "{set:?}");
        }
    }
}

#[tokio::test]
async fn what_is_quarantined_is_released_as_it_was_quarantined() {
    let (_folder, database) = filled().await;
    let bytes = PackageDigest::of(b"notes");
    let digest = Some(bytes);
    let (package, because): (PackageName, _) = (id("notes"), id("an incident"));
    let release = |digest| Step::Release { package: package.clone(), digest };
    let of = |digest, name: &str| Step::Quarantine { package: id(name), digest, because: id("r") };
    assert!(step(&database, &release(None)).await.is_none(), "nothing to lift");
    let set = Step::Quarantine { package: package.clone(), digest, because };
    step(&database, &set).await.expect("changes").commit().await.expect("committed");
    let whole = database.prepare_step(&release(None), &id("root"), now()).await.expect_err("bytes are");
    assert!(whole.to_string().contains(&bytes.to_string()), "{whole}");
    step(&database, &release(digest)).await.expect("changes").commit().await.expect("committed");
    step(&database, &of(None, "notes")).await.expect("changes").commit().await.expect("committed");
    let refused = database.prepare_step(&release(digest), &id("root"), now()).await.expect_err("all is");
    assert!(refused.to_string().contains("without a digest"), "{refused}");
    // The state of a package says so, for the name and for bytes under any name.
    step(&database, &of(Some(PackageDigest::of(b"fetch")), "notes"))
        .await
        .expect("changes")
        .commit()
        .await
        .expect("committed");
    let packages = database.packages().await.expect("packages");
    assert!(packages.iter().all(|package| package.quarantine.is_some()), "{packages:?}");
}

/// A database that the first version wrote is brought up to date, with what it holds and what is pending.
#[tokio::test]
async fn the_first_schema_is_brought_up_to_date() {
    let (folder, database) = filled().await;
    apply(&database, &grant("notes", "ann")).await;
    drop(prepare(&database, &grant("notes", "bob")).await.expect("changes"));
    for sql in [
        "UPDATE pending_change SET plan = json_remove(plan, '$.step')",
        "ALTER TABLE revisions DROP COLUMN step",
        "DROP TABLE freeze",
        "DROP TABLE quarantines",
        "DROP TABLE principals",
        "DELETE FROM _sqlx_migrations WHERE version = 2",
    ] {
        sqlx::query(sql).execute(&database.pool).await.expect("undone");
    }
    database.close().await;
    let database = Database::open(&folder.path().join("state.db")).await.expect("opens");
    assert_eq!(in_force(&database).await, [(1, "notes ann".to_owned())]);
    assert_eq!(database.settle(Revision(2)).await.expect("settled"), Settled::PutInForce(Revision(2)));
    assert_eq!(in_force(&database).await, [(2, "notes bob".to_owned())]);
    let freeze = Step::Freeze { because: id("an incident") };
    step(&database, &freeze).await.expect("changes").commit().await.expect("committed");
    assert!(database.policy().await.expect("policy").frozen.is_some());
}
