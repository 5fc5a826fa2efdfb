//! Compilers that are not what they should be: scripts in the place of the program.

#![expect(clippy::disallowed_methods, reason = "tests write scripts and read what these leave")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one error that it is about")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::limits::HostLimits;
use crate::sandbox::engine;

/// A program that does what a shell script says, in a folder of its own.
struct Script {
    folder: tempfile::TempDir,
    compiler: Compiler,
}

impl Script {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("compiler");
        let text = format!("#!/bin/sh\nhere={}\n{text}\n", folder.path().display());
        std::fs::write(&program, text).expect("written");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).expect("executable");
        Self { folder, compiler: Compiler::Program(program) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn compile_within(&self, limits: &HostLimits) -> Result<Compiled, PrepareError> {
        let engine = engine::compiler_engine().expect("an engine");
        // More than the pipe holds, so that somebody must read it.
        self.compiler.compile(&engine, &vec![0; 1 << 20], limits, &Job::default())
    }

    fn compile(&self) -> Result<Compiled, PrepareError> {
        self.compile_within(&within(20_000))
    }

    #[track_caller]
    fn refusal(&self) -> PackageError {
        match self.compile() {
            Err(PrepareError::Package(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

fn within(milliseconds: u64) -> HostLimits {
    let mut limits = HostLimits::default();
    limits.set_value(Limit::CompileTime, milliseconds).expect("below the table's");
    limits
}

#[test]
fn a_process_gets_three_pipes_and_nothing_of_the_hosts_environment() {
    let script = Script::new(
        "env > $here/environment\npwd > $here/folder\n\
         echo \"$@\" > $here/arguments\nfor n in 0 1 2; do readlink /proc/self/fd/$n; done > $here/pipes",
    );
    script.refusal();
    let read = |name: &str| std::fs::read_to_string(script.path(name)).expect("written by the script");
    let environment = read("environment");
    let is_of_shell = |line: &&str| ["PWD=/", "SHLVL=0", "SHLVL=1", "_=/usr/bin/env"].contains(line);
    let given: BTreeSet<String> =
        environment.lines().filter(|line| !is_of_shell(line)).map(str::to_owned).collect();
    let of_allocator = job::ALLOCATOR.map(|(name, value)| format!("{name}={value}"));
    assert_eq!(given, BTreeSet::from(of_allocator));
    assert_eq!(read("folder"), "/\n");
    assert_eq!(read("arguments"), format!("{COMPILE_ARGUMENT} {} {}\n", 2_u64 << 30, cpu_seconds(20)));
    assert!(read("pipes").lines().all(|pipe| pipe.starts_with("pipe:") || pipe.contains("pipes")));
}

fn cpu_seconds(time: u64) -> u64 {
    (time + 1) * threads() as u64
}

#[test]
fn a_process_that_ends_without_an_answer_has_died_and_its_last_words_are_kept() {
    let died = |text: &str| match Script::new(text).refusal() {
        PackageError::CompilerDied(how) => how,
        other => panic!("{other:?}"),
    };
    assert_eq!(died("exit 0"), "exit status: 0");
    assert_eq!(died("cat > /dev/null; printf 'sorry\\n\\033[31m' >&2; exit 3"), "exit status: 3: sorry");
    assert_eq!(died("kill -SEGV $$"), "signal 11");
    // Part of an answer is none, and nothing more may follow one.
    assert_eq!(died("printf PCC1"), "exit status: 0");
    assert_eq!(died("head -c 60 /dev/zero"), "exit status: 0");
    // It is cut.
    assert!(died("head -c 10000000 /dev/zero | tr '\\0' x >&2").len() < 1_100);
}

#[test]
fn the_words_of_a_program_without_memory_are_told_as_the_limit() {
    let reached = |text: &str| match Script::new(text).refusal() {
        PackageError::TooLarge(reached) => reached,
        other => panic!("{other:?}"),
    };
    let max = 2 << 30;
    let memory = LimitReached { limit: Limit::CompileMemory, value: max + 1, max };
    assert_eq!(reached("echo 'memory allocation of 7 bytes failed' >&2; kill -ABRT $$"), memory);
    let time = reached("kill -XCPU $$");
    assert_eq!((time.limit, time.max), (Limit::CompileTime, 20_000));
}

#[test]
fn a_process_that_says_too_much_or_nothing_is_killed() {
    let endless = Script::new("exec cat /dev/zero").refusal();
    assert!(matches!(&endless, PackageError::Invalid(why) if why.contains("bytes")), "{endless:?}");
    // It neither reads nor writes; its pid is written down first.
    let silent = Script::new("echo $$ > $here/pid\nexec sleep 1000");
    match silent.compile_within(&within(500)) {
        Err(PrepareError::Package(PackageError::TooLarge(reached))) => {
            assert_eq!((reached.limit, reached.max), (Limit::CompileTime, 500));
            assert!((500..20_000).contains(&reached.value), "{reached}");
        }
        other => panic!("{other:?}"),
    }
    let pid = std::fs::read_to_string(silent.path("pid")).expect("it began");
    assert!(!PathBuf::from(format!("/proc/{}", pid.trim())).exists(), "it is dead and reaped");
}

#[test]
fn a_job_that_nobody_waits_for_is_killed_or_never_started() {
    let script = Script::new("echo $$ > $here/pid.new\nmv $here/pid.new $here/pid\nexec sleep 1000");
    let engine = engine::compiler_engine().expect("an engine");
    let job = Job::default();
    let cancel = job.cancel_on_drop();
    let (compiler, working) = (script.compiler.clone(), job.clone());
    let waiting = {
        let engine = engine.clone();
        std::thread::spawn(move || compiler.compile(&engine, b"x", &HostLimits::default(), &working))
    };
    let begun = Instant::now();
    while !script.path("pid").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(cancel);
    assert!(waiting.join().expect("no panic").is_err());
    let pid = std::fs::read_to_string(script.path("pid")).expect("it began");
    assert!(!PathBuf::from(format!("/proc/{}", pid.trim())).exists(), "it is dead and reaped");

    std::fs::remove_file(script.path("pid")).expect("removed");
    let job = Job::default();
    drop(job.cancel_on_drop());
    let late = script.compiler.compile(&engine, b"x", &HostLimits::default(), &job);
    assert!(matches!(late, Err(PrepareError::Sandbox(_))), "{late:?}");
    assert!(!script.path("pid").exists(), "it was never started");
}

#[test]
fn a_program_that_can_not_be_run_is_the_hosts_fault() {
    let compiler = Compiler::Program(PathBuf::from("/nowhere/compiler"));
    let engine = engine::compiler_engine().expect("an engine");
    let error = compiler.compile(&engine, b"", &HostLimits::default(), &Job::default());
    match error {
        Err(PrepareError::Sandbox(error)) => {
            assert!(error.to_string().contains("/nowhere/compiler"), "{error}")
        }
        other => panic!("{other:?}"),
    }
}

/// What a compiler of another version makes is not loaded.
#[test]
fn an_answer_of_another_version_is_refused() {
    let mut said = Vec::new();
    frame::write(&mut said, Fingerprint([7; 32]), 5, &Answer::Artifact(b"code")).expect("written");
    let script = Script::new("cat > /dev/null; cat $here/answer");
    std::fs::write(script.path("answer"), &said).expect("written");
    match script.compile() {
        Err(PrepareError::Sandbox(error)) => assert!(error.to_string().contains("version"), "{error}"),
        other => panic!("{other:?}"),
    }
    // The twin of this version.
    let own = Fingerprint::of(&engine::compiler_engine().expect("an engine"));
    said.clear();
    frame::write(&mut said, own, 5, &Answer::Artifact(b"code")).expect("written");
    std::fs::write(script.path("answer"), &said).expect("written");
    let compiled = script.compile().expect("an answer");
    assert_eq!((&*compiled.code, compiled.cost.memory_peak), (&b"code"[..], Some(5)));
}

#[test]
fn a_frame_is_whole_or_none() {
    let own = Fingerprint([1; 32]);
    for answer in
        [Answer::Artifact(b"code"), Answer::Invalid(b"why"), Answer::OutOfMemory, Answer::Fault(b"how")]
    {
        let mut said = Vec::new();
        frame::write(&mut said, own, 9, &answer).expect("written");
        assert_eq!(frame::read(&said), Some((own, 9, answer)));
        for length in 0..said.len() {
            assert_eq!(frame::read(&said[..length]), None, "{length}");
        }
        said.push(0);
        assert_eq!(frame::read(&said), None);
    }
    let component = [frame::component_header(b"abc").to_vec(), b"abcd".to_vec()].concat();
    assert_eq!(frame::read_component(&component[..]).expect("whole"), b"abc");
    assert!(frame::read_component(&component[..10]).is_err());
    assert!(frame::read_component(&u64::MAX.to_le_bytes()[..]).is_err());
}

/// The compiler on a thread gives what the process gives.
#[test]
fn a_thread_of_this_process_compiles_too() {
    let component = wat::parse_str("(component)").expect("valid");
    let engine = engine::compiler_engine().expect("an engine");
    let compile = |bytes: &[u8]| {
        Compiler::InThisProcess.compile(&engine, bytes, &HostLimits::default(), &Job::default())
    };
    let compiled = compile(&component).expect("valid");
    assert!(compiled.cost.memory_peak.is_none() && !compiled.code.is_empty());
    assert!(matches!(compile(b"\0asm"), Err(PrepareError::Package(PackageError::Invalid(_)))));
}
