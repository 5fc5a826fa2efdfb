//! Ready at once: compiled components are kept, are trusted only if this host made them, and a large one
//! works as a small one does.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis::audit::event::{Event, Record};
use portcullis::gateway::HostOptions;
use portcullis::ids::PackageDigest;
use portcullis::sandbox::Content;
use serde_json::json;

use crate::harness::{AGENT, World, guest, open, options, wat};

/// Ends the host and starts another over the same folder.
async fn restarted(world: World) -> World {
    let World { host, temporary } = world;
    host.close().await.expect("it ends in good order");
    let host = open(&temporary.path().join("data")).await.expect("it opens again");
    World { host, temporary }
}

/// The file of a compiled component.
fn artifact(world: &World, digest: PackageDigest) -> PathBuf {
    let name = format!("{}.artifact", digest.hex());
    find(&world.temporary.path().join("data"), &name).unwrap_or_else(|| panic!("no {name}"))
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder).expect("a folder").find_map(|entry| {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => find(&path, name),
            false => (path.file_name()?.to_str()? == name).then_some(path),
        }
    })
}

/// The reasons for which artifacts were refused.
fn refusals(records: &[Record]) -> Vec<String> {
    let refusal = |record: &Record| match &record.event {
        Event::ArtifactRefused { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    records.iter().filter_map(refusal).collect()
}

async fn answers(world: &World) {
    assert_eq!(world.value("polite", "answer", json!({})).await, 42);
}

async fn polite() -> (World, PackageDigest) {
    let world = World::with("polite", wat("polite")).await;
    (world, PackageDigest::of(&wat("polite")))
}

/// A rewritten artifact is a new file, so the same one says that nothing was compiled.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loads_what_was_compiled() {
    let (world, digest) = polite().await;
    answers(&world).await;
    let inode = |world: &World| std::fs::metadata(artifact(world, digest)).expect("it is there").ino();
    let before = inode(&world);
    let world = restarted(world).await;
    answers(&world).await;
    assert_eq!(inode(&world), before, "it was loaded");
    // Without it, it is compiled once more, and nobody is blamed.
    std::fs::remove_file(artifact(&world, digest)).expect("removed");
    let world = restarted(world).await;
    answers(&world).await;
    artifact(&world, digest);
    assert_eq!(refusals(&world.all_records()), Vec::<String>::new());
}

/// Case 98: whatever stands there instead of what this host wrote is refused, recorded and rebuilt.
#[tokio::test(flavor = "multi_thread")]
async fn an_altered_artifact_is_refused_and_rebuilt() {
    let (world, digest) = polite().await;
    let other_digest = world.add("clock", wat("clock")).await;
    let path = artifact(&world, digest);
    let whole = std::fs::read(&path).expect("it is there");
    let other = std::fs::read(artifact(&world, other_digest)).expect("it is there");
    let foreign = {
        let (world, digest) = polite().await;
        std::fs::read(artifact(&world, digest)).expect("made under another key")
    };
    assert_ne!(foreign, whole);
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut longer = whole.clone();
    longer.push(0);
    let altered = [
        ("the mark of its form", flipped(0)),
        ("its MAC", flipped(16)),
        ("its MAC's last byte", flipped(47)),
        ("its first byte", flipped(48)),
        ("its middle", flipped(whole.len() / 2)),
        ("its last byte", flipped(whole.len() - 1)),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("cut in its MAC", whole[..47].to_vec()),
        ("nothing but its MAC", whole[..48].to_vec()),
        ("the form of before", whole[16..].to_vec()),
        ("empty", Vec::new()),
        ("longer", longer),
        ("another component's", other),
        ("another host's", foreign),
    ];
    let mut world = world;
    for (index, (what, bytes)) in altered.into_iter().enumerate() {
        std::fs::write(&path, bytes).expect("written");
        world = restarted(world).await;
        answers(&world).await;
        let refused = refusals(&world.all_records());
        assert_eq!(refused.len(), index + 1, "{what}: {refused:?}");
        world = restarted(world).await;
        answers(&world).await;
        assert_eq!(refusals(&world.all_records()).len(), index + 1, "{what}: the new one is good");
    }
}

/// The same world, opened by a command that is about to call a package.
async fn expecting(world: World, package: &str) -> World {
    let World { host, temporary } = world;
    host.close().await.expect("it ends in good order");
    let expected = Some(package.parse().expect("a name"));
    World::open_in(temporary, HostOptions { expected, ..options() }).await
}

/// What is loaded before its call comes is held to the same: an altered one is refused, recorded once and rebuilt.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_expected_is_loaded_before_its_call() {
    let (world, digest) = polite().await;
    world.add("clock", wat("clock")).await;
    let path = artifact(&world, digest);
    let inode = std::fs::metadata(&path).expect("it is there").ino();
    let world = expecting(world, "polite").await;
    answers(&world).await;
    assert_eq!(std::fs::metadata(&path).expect("it is there").ino(), inode, "it was loaded");

    let mut bytes = std::fs::read(&path).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let world = expecting(world, "polite").await;
    answers(&world).await;
    assert_eq!(refusals(&world.all_records()).len(), 1);
    let world = expecting(world, "polite").await;
    answers(&world).await;
    assert_eq!(refusals(&world.all_records()).len(), 1, "the new one is good");

    // Another than what was expected is called, or what is expected is not there.
    let world = expecting(world, "clock").await;
    answers(&world).await;
    let world = expecting(world, "nobody").await;
    answers(&world).await;
    assert_eq!(refusals(&world.all_records()).len(), 1);
}

/// Puts something where an artifact was.
type Replace<'a> = &'a dyn Fn(&Path);

/// Case 98, with things that are no files: nothing is followed, and nobody waits.
#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_no_file_is_refused() {
    let (mut world, digest) = polite().await;
    let path = artifact(&world, digest);
    let copy = world.temporary.path().join("copy");
    std::fs::copy(&path, &copy).expect("copied");
    let fifo = |path: &Path| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).expect("a pipe");
    };
    let replacements: [(&str, Replace); 3] = [
        ("a link to a good one", &|path| symlink(&copy, path).expect("a link")),
        ("a link to a device", &|path| symlink("/dev/zero", path).expect("a link")),
        ("a pipe", &fifo),
    ];
    for (index, (what, replace)) in replacements.into_iter().enumerate() {
        std::fs::remove_file(&path).expect("removed");
        replace(&path);
        world = restarted(world).await;
        tokio::time::timeout(Duration::from_secs(30), answers(&world)).await.expect(what);
        assert_eq!(refusals(&world.all_records()).len(), index + 1, "{what}");
        assert!(std::fs::symlink_metadata(&path).expect("it is there").is_file(), "{what}: rebuilt");
    }
}

/// Case 99: what was checked is what runs, whatever happens to the file afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_loaded_stays_what_it_was() {
    let (world, digest) = polite().await;
    answers(&world).await;
    let other_digest = world.add("clock", wat("clock")).await;
    let (path, other) = (artifact(&world, digest), artifact(&world, other_digest));
    std::fs::write(&path, b"not it").expect("written over in place");
    answers(&world).await;
    std::fs::remove_file(&path).expect("removed");
    symlink(&other, &path).expect("a link");
    answers(&world).await;
    assert_eq!(refusals(&world.all_records()), Vec::<String>::new(), "nobody looked");
}

/// Many first calls at once make the package ready once.
#[tokio::test(flavor = "multi_thread")]
async fn many_first_calls_compile_once() {
    let (world, digest) = polite().await;
    let path = artifact(&world, digest);
    std::fs::write(&path, b"not it").expect("written");
    let world = Arc::new(restarted(world).await);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { answers(&world).await })
        })
        .collect();
    for call in calls {
        call.await.expect("an answer");
    }
    assert_eq!(refusals(&world.all_records()).len(), 1, "one of them found it, and the others waited");
}
/// Case 68: no two sandboxes draw the same random numbers, nor does one twice.
#[tokio::test(flavor = "multi_thread")]
async fn each_sandbox_draws_random_numbers_of_its_own() {
    let world = World::with("std-probe", guest("std-probe")).await;
    let mut drawn = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let pair = world.value("std-probe", "random", json!({})).await;
        for number in pair.as_array().expect("a pair") {
            assert!(drawn.insert(number.to_string()), "{number} was drawn twice");
        }
    }
    assert_eq!(drawn.len(), 100);
}

/// A component of 18 MB with an interpreter in it: fourteen instances, a large table, much memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_python_component_works_and_sixteen_of_it_at_once() {
    let world = World::new().await;
    let digest = world.add("python", guest("python")).await;
    std::fs::write(world.folder("granted").join("a.txt"), "one two\nthree\n").expect("written");
    world
        .grant(&format!(
            "[[grant]]\npackage = \"python\"\nagents = [\"{AGENT}\"]\n\
             limits = {{ wall_time = \"2m\", fuel = 100_000_000_000 }}\n\
             [[grant.filesystem]]\nhost_path = \"granted\"\nguest_path = \"/data\"\naccess = \"read\"\n"
        ))
        .await;
    let description = world.host.package(&"python".parse().expect("a name")).await.expect("it is there");
    let description = &description[0].description;
    let names: Vec<&str> = description.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(
        names,
        ["allocate", "fetch", "list-folder", "read-file", "say", "spin"],
        "{:?}",
        description.left_out
    );
    assert!(
        description.left_out.iter().any(|reason| reason.starts_with("exports:")),
        "what its toolchain exports for itself is told: {:?}",
        description.left_out
    );

    // The rest needs no compiler.
    let before = std::fs::metadata(artifact(&world, digest)).expect("it is there").ino();
    let world = Arc::new(restarted(world).await);
    let answer = world.call("python", "read-file", json!({"path": "/data/a.txt"})).await.expect("an answer");
    assert_eq!(answer.answer.structured, Some(json!({"lines": 2, "words": 3, "bytes": 14})));
    assert_eq!(answer.answer.content[0], Content::Text { text: "one two\nthree\n".to_owned() });
    assert_eq!(std::fs::metadata(artifact(&world, digest)).expect("it is there").ino(), before);
    let records = world.records(answer.report.call);
    let read = records.iter().any(|record| {
        let Event::HostCall { host_call, .. } = &record.event else { return false };
        host_call.subject.as_deref().is_some_and(|subject| subject.contains("a.txt"))
    });
    assert!(read, "the file is named in the log");
    assert!(answer.report.usage.memory_peak > 1 << 20, "{:?}", answer.report.usage);
    world.call("python", "read-file", json!({"path": "/etc/passwd"})).await.expect_err("not granted");

    let calls: Vec<_> = (0..16)
        .map(|index| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let text = format!("number {index}");
                let answer = world.call("python", "say", json!({"text": text})).await.expect("an answer");
                assert_eq!(answer.report.stdout.trim_end(), format!("out: {text}"));
                assert_eq!(answer.report.stderr.trim_end(), format!("err: {text}"));
            })
        })
        .collect();
    for call in calls {
        call.await.expect("an answer of its own");
    }
}
