//! The registry on real files, and what becomes of files that were changed behind its back.

#![expect(clippy::disallowed_methods, reason = "the tests put files where they do not belong")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::policy::{PathCheck, PathProblem, parse_grants};

fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a valid name")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range")
}

fn description(import: &str) -> PackageDescription {
    PackageDescription {
        tools: Vec::new(),
        imports: vec![import.to_owned()],
        capabilities: BTreeSet::new(),
        size: Default::default(),
        compile: None,
        left_out: Vec::new(),
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    database: Database,
    registry: Registry,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let database = Database::open(&folder.path().join("state.db")).await.expect("opens");
        let registry =
            Registry::open(database.clone(), &folder.path().join("packages")).await.expect("opens");
        Self { folder, database, registry }
    }

    async fn add(&self, name: &str, bytes: &[u8]) -> Added {
        let digest = PackageDigest::of(bytes);
        let description = description(&format!("of {} bytes", bytes.len()));
        let added = self
            .registry
            .add(&id(name), &id("0.1.0"), digest, (bytes.to_vec(), &[]), &description, (&id("root"), now()))
            .await;
        added.expect("added")
    }

    async fn approve(
        &self,
        name: &str,
        digest: Option<PackageDigest>,
    ) -> Result<PackageDigest, RegistryError> {
        self.registry.approve(&id(name), digest, now()).await
    }

    async fn approved(&self, name: &str) -> Option<PackageDigest> {
        self.registry.approved(&id(name)).await.expect("answered").map(|approved| approved.digest)
    }

    fn path(&self, bytes: &[u8]) -> PathBuf {
        self.folder.path().join("packages").join(format!("{}.wasm", PackageDigest::of(bytes).hex()))
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("packages")).expect("folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn what_is_added_is_pending_until_it_is_approved() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.add("notes", b"one").await, Added::New);
    assert_eq!(fixture.approved("notes").await, None);
    assert_eq!(fixture.approve("notes", None).await.expect("the only one"), PackageDigest::of(b"one"));
    let approved = fixture.registry.approved(&id("notes")).await.expect("answered").expect("approved");
    assert_eq!(approved.description, description("of 3 bytes"));
    assert_eq!(approved.version.to_string(), "0.1.0");
    assert_eq!(fixture.registry.bytes(approved.digest).await.expect("bytes"), b"one");
    let mode = fixture.path(b"one").metadata().expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_same_bytes_again_change_nothing() {
    let fixture = Fixture::new().await;
    fixture.add("notes", b"one").await;
    assert_eq!(fixture.add("notes", b"one").await, Added::Already(PackageState::Pending));
    fixture.approve("notes", None).await.expect("approved");
    assert_eq!(fixture.add("notes", b"one").await, Added::Already(PackageState::Approved));
    assert_eq!(fixture.approve("notes", None).await.expect("again"), PackageDigest::of(b"one"));
    assert_eq!(fixture.registry.list().await.expect("list").len(), 1);
    assert_eq!(fixture.files().len(), 1);
}

#[tokio::test]
async fn other_bytes_under_the_name_run_only_once_they_are_approved() {
    let fixture = Fixture::new().await;
    fixture.add("notes", b"one").await;
    fixture.approve("notes", None).await.expect("approved");
    fixture.add("notes", b"two").await;
    assert_eq!(fixture.approved("notes").await, Some(PackageDigest::of(b"one")));
    fixture.approve("notes", None).await.expect("the only pending one");
    assert_eq!(fixture.approved("notes").await, Some(PackageDigest::of(b"two")));
    // Going back needs the digest: without it, `approve` finds what is approved.
    assert_eq!(fixture.approve("notes", None).await.expect("no change"), PackageDigest::of(b"two"));
    fixture.approve("notes", Some(PackageDigest::of(b"one"))).await.expect("a former one");
    assert_eq!(fixture.approved("notes").await, Some(PackageDigest::of(b"one")));
}

#[tokio::test]
async fn what_approve_cannot_know_it_asks_for() {
    let fixture = Fixture::new().await;
    assert!(matches!(fixture.approve("notes", None).await, Err(RegistryError::NotFound { .. })));
    fixture.add("notes", b"one").await;
    fixture.add("notes", b"two").await;
    let error = fixture.approve("notes", None).await.expect_err("two are pending");
    assert!(matches!(&error, RegistryError::Ambiguous { digests, .. } if digests.len() == 2), "{error}");
    for bytes in [b"one", b"two"] {
        assert!(error.to_string().contains(&PackageDigest::of(bytes).to_string()), "{error}");
    }
    let unknown = fixture.approve("notes", Some(PackageDigest::of(b"three"))).await;
    assert!(matches!(unknown, Err(RegistryError::NoSuchDigest { .. })));
    assert_eq!(fixture.approved("notes").await, None);
    let chosen = fixture.registry.choose(&id("notes"), Some(PackageDigest::of(b"two"))).await;
    assert_eq!(chosen.expect("known"), PackageDigest::of(b"two"));
    assert_eq!(fixture.approved("notes").await, None, "choosing approves nothing");
}

#[tokio::test]
async fn altered_or_missing_bytes_are_never_answered() {
    let fixture = Fixture::new().await;
    fixture.add("notes", b"one").await;
    let (path, digest) = (fixture.path(b"one"), PackageDigest::of(b"one"));
    let oversized = Limit::ComponentBytes.row().ceiling + 2;
    type Swap<'a> = Box<dyn Fn() + 'a>;
    let swaps: [(&str, Swap<'_>); 4] = [
        ("other bytes", Box::new(|| std::fs::write(&path, b"two").expect("written"))),
        ("a longer file", Box::new(|| std::fs::write(&path, b"one ").expect("written"))),
        (
            "a huge sparse file",
            Box::new(|| {
                let file = std::fs::File::create(&path).expect("file");
                file.set_len(oversized).expect("length");
            }),
        ),
        (
            "a folder",
            Box::new(|| {
                std::fs::remove_file(&path).expect("removed");
                std::fs::create_dir(&path).expect("folder");
            }),
        ),
    ];
    for (name, swap) in swaps {
        swap();
        let read = fixture.registry.bytes(digest).await;
        assert!(matches!(read, Err(RegistryError::Altered { .. })), "{name}: {read:?}");
        let approved = fixture.approve("notes", None).await;
        assert!(matches!(approved, Err(RegistryError::Altered { .. })), "{name}: {approved:?}");
    }
    std::fs::remove_dir(&path).expect("removed");
    assert!(matches!(fixture.registry.bytes(digest).await, Err(RegistryError::Missing { .. })));
    assert_eq!(fixture.add("notes", b"one").await, Added::Already(PackageState::Pending));
    assert_eq!(fixture.registry.bytes(digest).await.expect("mended"), b"one");
    std::fs::write(&path, b"two").expect("written");
    fixture.add("notes", b"one").await;
    assert_eq!(fixture.registry.bytes(digest).await.expect("mended"), b"one");
}

/// With a runtime of its own, which does not wait for a thread that hangs: then the test fails.
#[test]
fn a_pipe_in_place_of_a_component_does_not_hang_the_host() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let read = runtime.block_on(async {
        let fixture = Fixture::new().await;
        fixture.add("notes", b"one").await;
        let path = fixture.path(b"one");
        std::fs::remove_file(&path).expect("removed");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("pipe");
        let read = fixture.registry.bytes(PackageDigest::of(b"one"));
        tokio::time::timeout(std::time::Duration::from_secs(5), read).await
    });
    runtime.shutdown_background();
    assert!(matches!(read, Ok(Err(RegistryError::Altered { .. }))), "{read:?}");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    let add = async |digest, bytes: Vec<u8>, version: &str| {
        let description = description("none");
        fixture
            .registry
            .add(&id("notes"), &id(version), digest, (bytes, &[]), &description, (&id("root"), now()))
            .await
    };
    let wrong = add(PackageDigest::of(b"two"), b"one".to_vec(), "1.0.0").await;
    assert!(matches!(wrong, Err(RegistryError::WrongDigest { .. })), "{wrong:?}");
    let most = usize::try_from(Limit::ComponentBytes.row().ceiling).expect("fits");
    let large = vec![0; most + 1];
    let large = add(PackageDigest::of(&large), large, "1.0.0").await;
    assert!(matches!(large, Err(RegistryError::TooLarge { .. })), "{large:?}");
    let version = format!("1.0.0-{}", "x".repeat(100));
    let long = add(PackageDigest::of(b"one"), b"one".to_vec(), &version).await;
    assert!(matches!(long, Err(RegistryError::VersionTooLong { .. })), "{long:?}");
    assert_eq!((fixture.files().len(), fixture.registry.list().await.expect("list").len()), (0, 0));
    let exact = vec![0; most];
    add(PackageDigest::of(&exact), exact, "1.0.0").await.expect("at the bound");
}

#[tokio::test]
async fn removing_takes_grants_and_files_but_not_what_another_name_uses() {
    struct AnyFolder;
    impl PathCheck for AnyFolder {
        fn check(&self, host_path: &str) -> Result<PathBuf, PathProblem> {
            Ok(PathBuf::from(host_path))
        }
    }
    let fixture = Fixture::new().await;
    for (name, bytes) in [("notes", b"one"), ("notes", b"two"), ("copy", b"one")] {
        fixture.add(name, bytes).await;
    }
    fixture.approve("notes", Some(PackageDigest::of(b"two"))).await.expect("approved");
    let text = "[[grant]]\npackage = \"notes\"\nagents = [\"ann\"]\n";
    let file = parse_grants(text, &AnyFolder).expect("a good file");
    let change = fixture.database.prepare_apply(&file, &id("root"), now()).await.expect("fits");
    change.0.expect("changes").commit().await.expect("committed");
    let prepare = || async { fixture.registry.prepare_removal(&id("notes"), &id("root"), now()).await };
    let removal = prepare().await.expect("planned");
    assert_eq!(removal.approved(), Some(PackageDigest::of(b"two")));
    removal.abandon().await.expect("abandoned");
    assert_eq!(fixture.files().len(), 2);
    let removal = prepare().await.expect("planned");
    assert_eq!(removal.change().map(|change| change.revoked().len()), Some(1));
    removal.commit().await.expect("removed");
    assert!(matches!(prepare().await, Err(RegistryError::NotFound { .. })));
    assert_eq!(fixture.database.policy().await.expect("policy").grants, Vec::new().into());
    assert_eq!(fixture.approved("notes").await, None);
    assert!(fixture.path(b"one").exists() && !fixture.path(b"two").exists());
    // Added again, it starts anew: pending, without grants.
    assert_eq!(fixture.add("notes", b"two").await, Added::New);
}

#[tokio::test]
async fn what_an_interrupted_host_left_is_tidied_and_nothing_else() {
    let fixture = Fixture::new().await;
    fixture.add("notes", b"one").await;
    let folder = fixture.folder.path().join("packages");
    let name = |bytes: &[u8]| format!("{}.wasm", PackageDigest::of(bytes).hex());
    for left in [format!("{}.tmp", name(b"one")), name(b"orphan"), "README".to_owned(), "a.wasm".to_owned()] {
        std::fs::write(folder.join(left), b"torn").expect("written");
    }
    fixture.registry.tidy().await.expect("tidied");
    let mut expected = vec![name(b"one"), "README".to_owned(), "a.wasm".to_owned()];
    expected.sort();
    assert_eq!(fixture.files(), expected);
    assert_eq!(fixture.registry.bytes(PackageDigest::of(b"one")).await.expect("bytes"), b"one");
}

#[tokio::test]
async fn the_folder_may_not_be_a_file() {
    let fixture = Fixture::new().await;
    let path = fixture.folder.path().join("state.db");
    let opened = Registry::open(fixture.database.clone(), &path).await;
    assert!(matches!(opened, Err(RegistryError::File { .. })), "{opened:?}");
}
