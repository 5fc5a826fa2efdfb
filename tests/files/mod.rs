//! What guests may do with files: granted folders, beneath their handles, and nothing else.
//!
//! Each case is a step of the guest `files`, with what the guest must get and what the log must say.

mod links;
mod names;
mod paths;
mod quota;
mod race;
mod readonly;
mod special;

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis::audit::event::{Decision, Event, HostCallOutcome, Record};
use portcullis::gateway::{CallAnswer, CallError};
use portcullis::ids::{GrantId, Sequence};
use serde_json::{Value, json};

use crate::harness::{AGENT, World, guest};

/// No test waits longer for a call.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

const OUTSIDE: &str = "the path leads out of the granted folder";
const READ_ONLY: &str = "the grant is read-only";
const NOT_REGULAR: &str = "neither a regular file nor a folder";
const NO_SYMLINKS: &str = "guests make no symlinks";

const READ: &str = "access = \"read\"";
const READ_WRITE: &str = "access = \"read-write\"";

/// A host with the package `files`, and folders that it was granted.
struct Files {
    world: World,
    grant: GrantId,
    folders: Vec<String>,
}

/// One step, what the guest gets, and what the log says of it.
struct Case {
    step: Value,
    /// The guest's answer; with `…` at its end, how it begins.
    answer: String,
    subject: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One record: refused, and why.
    Denied(&'static str),
    /// One record after a host call without an effect.
    Observed,
    /// A record before and one after.
    Effect,
}

fn denied(step: Value, subject: &str, why: &'static str) -> Case {
    Case { step, answer: "error: not-permitted".into(), subject: subject.into(), kind: Kind::Denied(why) }
}

fn observed(step: Value, subject: &str, answer: &str) -> Case {
    Case { step, answer: answer.into(), subject: subject.into(), kind: Kind::Observed }
}

fn effect(step: Value, subject: &str, answer: &str) -> Case {
    Case { step, answer: answer.into(), subject: subject.into(), kind: Kind::Effect }
}

/// Opens a path below `/papers` for reading, without following a symlink.
fn open(path: &str) -> Value {
    json!({"op": "open", "at": "/papers", "path": path, "as": "opened"})
}

/// The same, following symlinks.
fn follow(path: &str) -> Value {
    json!({"op": "open", "at": "/papers", "path": path, "follow": true, "as": "opened"})
}

/// Opens a path below `/papers` with open flags and write access.
fn open_with(path: &str, flags: &[&str]) -> Value {
    json!({"op": "open", "at": "/papers", "path": path, "open": flags, "flags": ["read", "write"], "as": "written"})
}

/// A step that takes a path below `/papers` only.
fn at(op: &str, path: &str) -> Value {
    json!({"op": op, "at": "/papers", "path": path})
}

/// `rename` or `link` below `/papers`.
fn two(op: &str, path: &str, new_path: &str) -> Value {
    json!({"op": op, "at": "/papers", "path": path, "to": "/papers", "new_path": new_path})
}

/// Sets both times below `/papers`.
fn touch(path: &str, follow: bool) -> Value {
    json!({"op": "set-times-at", "at": "/papers", "path": path, "follow": follow,
           "accessed": {"at": [5, 0]}, "modified": {"at": [6, 0]}})
}

impl Files {
    /// Folders beside the data folder, each granted under its own name: name, and access with quota.
    async fn new(folders: &[(&str, &str)]) -> Self {
        Self::with_limits(folders, "").await
    }

    async fn with_limits(folders: &[(&str, &str)], limits: &str) -> Self {
        let world = World::new().await;
        world.add("files", guest("files")).await;
        let mut text = format!("[[grant]]\npackage = \"files\"\nagents = [\"{AGENT}\"]\n");
        text.push_str(&format!("limits = {{ {limits} }}\n"));
        for (name, rest) in folders {
            world.folder(name);
            text.push_str(&format!(
                "[[grant.filesystem]]\nhost_path = \"{name}\"\nguest_path = \"/{name}\"\n{rest}\n"
            ));
        }
        let changed = world.grant(&text).await;
        let folders = folders.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { world, grant: changed.granted[0], folders }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.temporary.path().join(name)
    }

    /// Writes a file as the host, with the folders above it.
    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }

    /// Makes a symlink as the host.
    fn symlink(&self, target: impl AsRef<Path>, name: &str) {
        std::os::unix::fs::symlink(target, self.path(name)).expect("a symlink");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }

    /// The rule that allows what happens at a subject, as the log names it.
    fn rule(&self, subject: &str) -> String {
        let within = |folder: &&String| {
            let rest = subject.strip_prefix('/').and_then(|path| path.strip_prefix(folder.as_str()));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ' ']))
        };
        let folder = self.folders.iter().find(within).expect("a granted folder");
        let index = self.folders.iter().position(|name| name == folder).expect("it was found");
        format!("grant {} filesystem {index}", self.grant)
    }

    async fn call(&self, steps: &Value) -> Result<CallAnswer, CallError> {
        let arguments = json!({"steps": steps.to_string()});
        tokio::time::timeout(CALL_TIME_MAX, self.world.call("files", "run", arguments))
            .await
            .expect("the call ends in time")
    }

    /// Runs steps that are expected to come to an end, whatever their answers.
    async fn run(&self, steps: Value) -> Ran {
        match self.call(&steps).await {
            Ok(answer) => {
                let answers = answer.answer.structured.expect("a list of answers");
                let answers = serde_json::from_value(answers).expect("a list of text");
                Ran { answers, seen: seen(&self.world.records(answer.report.call)) }
            }
            Err(error) => panic!("{error}: {error:?}"),
        }
    }

    /// Runs the cases in one call and compares each answer and each record.
    async fn check(&self, cases: Vec<Case>) {
        let ran = self.run(cases.iter().map(|case| case.step.clone()).collect()).await;
        assert_eq!(ran.answers.len(), cases.len(), "{:?}", ran.answers);
        assert_eq!(ran.seen.len(), cases.len(), "one host call for each step: {:#?}", ran.seen);
        let mut wrong = Vec::new();
        for ((case, answer), seen) in cases.iter().zip(&ran.answers).zip(&ran.seen) {
            let fits = match case.answer.strip_suffix('…') {
                Some(start) => answer.starts_with(start),
                None => *answer == case.answer,
            };
            let outcome = case.answer.strip_prefix("error: ").unwrap_or("ok");
            // A limit is named behind the code.
            let outcome_fits = seen.outcome == outcome || seen.outcome.starts_with(&format!("{outcome}: "));
            let rule = match case.kind {
                Kind::Denied(why) => why.to_owned(),
                Kind::Observed | Kind::Effect => self.rule(&case.subject),
            };
            let same = seen.subject == case.subject && seen.kind == case.kind.name() && seen.rule == rule;
            if !(fits && outcome_fits && same) {
                wrong.push(format!(
                    "{}\n  expected {:?}, {} {:?} [{rule}] {outcome}\n  found    {answer:?}, {seen:?}",
                    case.step,
                    case.answer,
                    case.kind.name(),
                    case.subject
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Denied(_) => "denied",
            Kind::Observed => "observed",
            Kind::Effect => "effect",
        }
    }
}

/// What came of a call.
struct Ran {
    answers: Vec<String>,
    seen: Vec<Seen>,
}

/// A host call, from its one record or its two.
#[derive(Debug)]
struct Seen {
    sequence: Sequence,
    function: String,
    subject: String,
    kind: &'static str,
    rule: String,
    outcome: String,
}

/// The host calls of a call without `get-directories`. An effect is one: its outcome must follow its
/// attempt and name it.
fn seen(records: &[Record]) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    for record in records {
        match &record.event {
            Event::HostCall { host_call, .. } => {
                if host_call.function == "get-directories" {
                    continue;
                }
                let (kind, rule) = match &host_call.decision {
                    Decision::Allowed(rule) => ("observed", rule),
                    Decision::Denied(why) => ("denied", why),
                };
                all.push(Seen {
                    sequence: record.seq,
                    function: host_call.function.to_string(),
                    subject: host_call.subject.as_deref().unwrap_or_default().to_owned(),
                    kind,
                    rule: rule.to_string(),
                    outcome: outcome(&host_call.result.outcome),
                });
            }
            Event::EffectAttempted { attempt, .. } => {
                let Decision::Allowed(rule) = &attempt.decision else { panic!("denied: {attempt:?}") };
                all.push(Seen {
                    sequence: record.seq,
                    function: attempt.function.to_string(),
                    subject: attempt.subject.as_deref().unwrap_or_default().to_owned(),
                    kind: "effect",
                    rule: rule.to_string(),
                    outcome: String::new(),
                });
            }
            Event::EffectFinished { attempt, result, .. } => {
                let open = all.iter_mut().find(|seen| seen.sequence == *attempt && seen.kind == "effect");
                let open = open.unwrap_or_else(|| panic!("{record:?} finishes no attempt before it"));
                assert!(open.outcome.is_empty(), "{record:?} finishes an attempt again");
                open.outcome = outcome(&result.outcome);
            }
            _ => {}
        }
    }
    assert!(all.iter().all(|seen| !seen.outcome.is_empty()), "each attempt has its outcome: {all:#?}");
    all
}

fn outcome(outcome: &HostCallOutcome) -> String {
    match outcome {
        HostCallOutcome::Ok => "ok".into(),
        HostCallOutcome::Error(code) => code.to_string(),
        HostCallOutcome::Unknown => "unknown".into(),
        HostCallOutcome::Trapped(reason) => format!("trapped {reason}"),
    }
}

/// All that lies in a folder: kinds, contents, names of files, times of change.
fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = path.symlink_metadata().expect("metadata");
            let content = if metadata.is_file() {
                format!("{:?}", std::fs::read(&path).expect("a file"))
            } else if metadata.is_symlink() {
                format!("to {:?}", std::fs::read_link(&path).expect("a symlink"))
            } else if metadata.is_dir() {
                folders.push(path.clone());
                "folder".into()
            } else {
                format!("fifo {}", metadata.file_type().is_fifo())
            };
            let (time, nanoseconds, links) = (metadata.mtime(), metadata.mtime_nsec(), metadata.nlink());
            found.insert(path, format!("{content} at {time}.{nanoseconds} links {links}"));
        }
    }
    found
}
