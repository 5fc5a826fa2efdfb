//! Compiling: its time and memory are bounded, and whatever a component does to the compiler, the host lives
//! and nothing is left.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::audit::event::Event;
use portcullis::gateway::{HostError, HostOptions};
use portcullis::limits::{HostLimits, Limit, LimitReached};
use portcullis::sandbox::PackageError;
use portcullis::sandbox::compiler::Compiler;
use serde_json::json;

use crate::harness::{AGENT, World, guest, options, wat};

const PATIENCE: Duration = Duration::from_secs(120);

fn limits(limit: Limit, value: u64) -> HostLimits {
    let mut limits = HostLimits::default();
    limits.set_value(limit, value).expect("below the table's");
    limits
}

/// A component whose one function has as many bytes as the format allows, or nearly: straight code that
/// depends on itself from end to end.
fn one_large_function(bytes: usize) -> Vec<u8> {
    // local.get 0, i32.const 3, i32.add, local.set 0: 7 bytes.
    let rounds = "(local.set 0 (i32.add (local.get 0) (i32.const 3)))".repeat(bytes / 7);
    let text = format!(
        r#"(component
            (core module $m (func (export "run") (param i32) (result i32) {rounds} (local.get 0)))
            (core instance $i (instantiate $m))
            (func (export "run") (param "a" u32) (result u32) (canon lift (core func $i "run"))))"#
    );
    wat::parse_str(text).expect("valid text")
}

/// What a registration was refused for, which the log says too; and nothing of it is left.
async fn refusal(world: &World, bytes: Vec<u8>) -> PackageError {
    let registered = tokio::time::timeout(PATIENCE, world.register("bad", bytes)).await;
    let error = match registered.expect("refused in time") {
        Err(HostError::Package(error)) => error,
        other => panic!("not refused: {other:?}"),
    };
    let recorded = world.all_records().into_iter().rev().find_map(|record| match record.event {
        Event::PackageRefused { reason, .. } => Some(reason),
        _ => None,
    });
    let reason = recorded.expect("it is recorded");
    assert!(error.to_string().starts_with(reason.trim_end_matches("… [cut]")), "{reason}");
    assert_eq!(artifacts(world), [""; 0], "nothing is left");
    world.add("polite", wat("polite")).await;
    world.grant(&crate::harness::grant("polite")).await;
    assert_eq!(world.value("polite", "answer", json!({})).await, 42, "the host lives");
    error
}

fn artifacts(world: &World) -> Vec<String> {
    let folder = world.temporary.path().join("data/artifacts");
    let names = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("names of ours are UTF-8"));
    names.collect()
}

async fn reached(world: &World, bytes: Vec<u8>) -> LimitReached {
    match refusal(world, bytes).await {
        PackageError::TooLarge(reached) => reached,
        other => panic!("no limit: {other:?}"),
    }
}

/// Case 9: a function of 7 MB is killed at the deadline.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn compile_time() {
    let function = one_large_function(7_000_000);
    let world = World::within(limits(Limit::CompileTime, 500)).await;
    let reached = reached(&world, function).await;
    assert_eq!((reached.limit, reached.max), (Limit::CompileTime, 500));
    // How late depends on the machine; that it is not left to its end does not.
    assert!((500..30_000).contains(&reached.value), "{reached}");
    // A small one compiles well below it, and says so.
    let world = World::within(limits(Limit::CompileTime, 20_000)).await;
    world.add("polite", wat("polite")).await;
    let details = world.host.package(&"polite".parse().expect("a name")).await.expect("it is there");
    let cost = details[0].description.compile.expect("it was compiled");
    assert!(cost.time_ms < 20_000, "{cost:?}");
}

/// A component that makes the compiler ask for more memory than it may have.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn compile_memory() {
    let max = 128 << 20;
    let world = World::within(limits(Limit::CompileMemory, max)).await;
    let reached = reached(&world, one_large_function(7_000_000)).await;
    assert_eq!(reached, LimitReached { limit: Limit::CompileMemory, value: max + 1, max });
    // It is not the process's own size that is too much, nor a component of 270 KB.
    world.add("markdown", guest("markdown")).await;
    let details = world.host.package(&"markdown".parse().expect("a name")).await.expect("it is there");
    let cost = details[0].description.compile.expect("it was compiled");
    assert!(cost.memory_peak.is_some_and(|peak| peak > 1 << 20), "{cost:?}");
}

/// An 18 MB component with an interpreter inside fits into the defaults; and while it is compiled, its
/// process has what it is said to have.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_large_component_compiles_in_a_process_that_has_nothing() {
    let world = Arc::new(World::new().await);
    let bytes = guest("python");
    let length = bytes.len() as u64;
    let adding = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.register("python", bytes).await }
    });
    let begun = Instant::now();
    let memory = (2_u64 << 30).to_string();
    let (pid, held) = loop {
        assert!(begun.elapsed() < PATIENCE && !adding.is_finished(), "no compiler is seen");
        if let Some(found) = children().into_iter().find_map(|pid| Some((pid, limits_of(pid)?))) {
            // The last of its limits that it lowers.
            if found.1.iter().any(|line| line.starts_with("Max open files") && line.contains(" 16 ")) {
                break found;
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let is = |name: &str, value: &str| {
        let line = held.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{held:?}"));
        assert_eq!(line[name.len()..].split_whitespace().next(), Some(value), "{line}");
    };
    is("Max data size", &memory);
    is("Max core file size", "0");
    is("Max file size", "0");
    is("Max open files", "16");
    // Only root may look at the rest of a process that can't be dumped.
    if let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) {
        let open: Vec<_> = descriptors
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            // It looks at /proc and /sys for a moment.
            .filter(|target| !target.starts_with("/proc") && !target.starts_with("/sys"))
            .collect();
        assert!(open.len() == 3 && open.iter().all(|target| target.starts_with("pipe:")), "{open:?}");
        let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("readable");
        let variables: Vec<_> = environment.split_terminator('\0').collect();
        // How its own allocator works, and nothing of the host's.
        assert!(
            variables.len() == 3 && variables.iter().all(|variable| variable.starts_with("MIMALLOC_")),
            "{variables:?}"
        );
        let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("readable");
        assert_eq!(folder, PathBuf::from("/"));
    } else {
        println!("descriptors and environment of the compiler were not looked at: only root can");
    }
    adding.await.expect("no panic").expect("registered");
    let details = world.host.package(&"python".parse().expect("a name")).await.expect("it is there");
    assert_eq!(details[0].description.size.bytes, length);
    assert!(details[0].description.compile.is_some_and(|cost| cost.memory_peak.is_some()));
}

/// The children of this process.
fn children() -> Vec<u32> {
    let mut children = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").expect("Linux") {
        // A thread may end meanwhile.
        let Ok(task) = task else { continue };
        let listed = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    children
}

fn limits_of(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    Some(text.lines().map(str::to_owned).collect())
}

/// A compiler in whose place a script stands.
async fn with_script(text: &str) -> World {
    let temporary = tempfile::tempdir().expect("a folder");
    let program = temporary.path().join("compiler");
    std::fs::write(&program, format!("#!/bin/sh\nhere={}\n{text}\n", temporary.path().display()))
        .expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).expect("executable");
    World::open_in(temporary, HostOptions { compiler: Compiler::Program(program), ..options() }).await
}

/// A component that crashes the compiler is refused, and the host lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_dies_is_told_and_recorded() {
    for (script, told) in [
        ("cat > /dev/null; echo oh no >&2; kill -SEGV $$", "signal 11: oh no"),
        ("kill -ABRT $$", "signal 6"),
        ("cat > /dev/null; exit 7", "exit status: 7"),
    ] {
        let world = with_script(script).await;
        match world.register("bad", wat("polite")).await {
            Err(HostError::Package(PackageError::CompilerDied(how))) => assert_eq!(how, told),
            other => panic!("{other:?}"),
        }
        let refused = world.all_records().into_iter().find_map(|record| match record.event {
            Event::PackageRefused { reason, .. } => Some(reason),
            _ => None,
        });
        assert!(refused.is_some_and(|reason| reason.contains(told)));
        assert_eq!(world.host.packages().await.expect("it lives").len(), 0);
    }
    // That there is none is the host's fault, and not of the package.
    let world = with_script("").await;
    std::fs::remove_file(world.temporary.path().join("compiler")).expect("removed");
    let error = world.register("bad", wat("polite")).await.expect_err("no compiler");
    assert!(matches!(error, HostError::Sandbox(_)), "{error:?}");
    assert!(!world.all_records().iter().any(|record| matches!(record.event, Event::PackageRefused { .. })));
}

/// Whoever goes away takes the compiler along, and the next has the turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_dropped_ends_its_compiler() {
    let world = with_script("echo $$ > $here/new; mv $here/new $here/pid; exec sleep 1000").await;
    let pid_file = world.temporary.path().join("pid");
    for _ in 0..3 {
        let begun = async {
            while !pid_file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            registered = world.register("polite", wat("polite")) => panic!("{registered:?}"),
            begun = tokio::time::timeout(PATIENCE, begun) => begun.expect("it begins"),
        }
        let pid = std::fs::read_to_string(&pid_file).expect("written by the script");
        let process = PathBuf::from(format!("/proc/{}", pid.trim()));
        let deadline = Instant::now() + PATIENCE;
        while process.exists() {
            assert!(Instant::now() < deadline, "it is not dead and reaped");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::remove_file(&pid_file).expect("removed");
    }
}

/// What is refused after it was compiled leaves nothing behind, and what a crash left is deleted at the
/// next start; what is registered stays.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_registered_is_kept() {
    let world = World::new().await;
    let no_tools = wat::parse_str("(component)").expect("valid text");
    world.register("bad", no_tools).await.expect_err("it has no tool");
    let unnamed = portcullis::authn::local_admin();
    let added = world.host.add_package(&unnamed, wat("polite").into(), None, None, |_| {}).await;
    assert!(matches!(added, Err(HostError::Naming(_))), "{added:?}");
    assert_eq!(artifacts(&world), [""; 0]);
    let digest = world.add("polite", wat("polite")).await;
    let kept = format!("{}.artifact", digest.hex());
    assert_eq!(artifacts(&world), [kept.as_str()]);

    let World { host, temporary } = world;
    host.close().await.expect("it ends in good order");
    let folder = temporary.path().join("data/artifacts");
    let other = portcullis::ids::PackageDigest::of(b"other");
    for left in [format!("{}.artifact", other.hex()), ".writing-abc".to_owned()] {
        std::fs::write(folder.join(left), "left").expect("written");
    }
    std::fs::write(folder.join("notes.txt"), "an admin's").expect("written");
    let world = World::open_in(temporary, options()).await;
    let mut names = artifacts(&world);
    names.sort();
    assert_eq!(names, [kept.as_str(), "notes.txt"]);
    world.grant(&format!("[[grant]]\npackage = \"polite\"\nagents = [\"{AGENT}\"]\n")).await;
    assert_eq!(world.value("polite", "answer", json!({})).await, 42);
}

/// The weaker way, for programs that embed the library and name no compiler.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_program_a_thread_compiles() {
    let temporary = tempfile::tempdir().expect("a folder");
    let world = World::open_in(temporary, HostOptions::default()).await;
    world.add("polite", wat("polite")).await;
    world.grant(&crate::harness::grant("polite")).await;
    assert_eq!(world.value("polite", "answer", json!({})).await, 42);
    let details = world.host.package(&"polite".parse().expect("a name")).await.expect("it is there");
    let cost = details[0].description.compile.expect("it was compiled");
    assert_eq!(cost.memory_peak, None);
}
