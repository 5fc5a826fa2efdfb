//! The log as its users see it: what is on disk after calls, crashes and failing disks.

#![expect(clippy::disallowed_methods, reason = "tests prepare damaged logs, and look at small files")]

mod asking;
mod crash;
mod faults;
mod flips;
mod lines;
mod order;
mod power;
mod proofs;
mod racing;
mod reading;
mod recording;
mod rotation;
mod segments;
mod signed;
mod vectors;

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::event::{
    Attempt, CallContext, CallOutcome, Decision, Event, HostCall, HostCallOutcome, HostCallResult, Record,
};
use super::query::{self, Filter};
use super::{Log, LogError, LogOptions, Recorder, Recording};
use crate::ids::{CallId, GrantId, PackageDigest, Revision, Sequence};
use crate::limits::Usage;
use crate::policy::Durability;

/// The context of a new call.
fn context() -> Arc<CallContext> {
    context_of(CallId::generate())
}

fn context_of(call: CallId) -> Arc<CallContext> {
    Arc::new(CallContext {
        call,
        principal: "ann".parse().expect("a valid name"),
        package: "notes".parse().expect("a valid name"),
        digest: PackageDigest::of(b"component"),
        tool: "search".parse().expect("a valid name"),
        revision: Revision(3),
        parent: None,
        trace: None,
    })
}

fn host_call(subject: Option<&str>) -> HostCall {
    HostCall {
        interface: Cow::Borrowed("wasi:clocks/wall-clock"),
        function: Cow::Borrowed("now"),
        subject: subject.map(Into::into),
        decision: Decision::Allowed(Cow::Borrowed("harmless")),
        result: result(HostCallOutcome::Ok),
        fuel: 0,
        repeats: None,
    }
}

fn attempt(subject: &str) -> Attempt {
    Attempt {
        interface: Cow::Borrowed("wasi:filesystem/types"),
        function: Cow::Borrowed("[method]descriptor.unlink-file-at"),
        subject: Some(subject.into()),
        decision: Decision::Allowed(Cow::Borrowed("grant 7 filesystem 0")),
        bytes_out: 0,
        fuel: 11,
    }
}

fn result(outcome: HostCallOutcome) -> HostCallResult {
    HostCallResult { outcome, status: None, bytes_in: 0, bytes_out: 0, duration_ns: 120 }
}

fn added() -> Event {
    Event::PackageAdded {
        package: "notes".parse().expect("a valid name"),
        version: "1.0.0".to_owned(),
        digest: PackageDigest::of(b"component"),
        bytes: 9,
        signatures: vec!["0123456789ABCDEF".parse().expect("the number of a key")],
        identities: Vec::new(),
        source: Some("oci://registry.example/notes".parse().expect("a remark")),
        by: "root".parse().expect("a valid name"),
    }
}

async fn begin(log: &Log) -> Result<Recorder, LogError> {
    begin_at(log, Durability::Committed).await
}

async fn begin_at(log: &Log, durability: Durability) -> Result<Recorder, LogError> {
    let recording = Recording { durability, ..Recording::default() };
    log.begin_call(context(), vec![GrantId(7)], 12, recording).await
}

/// A call with two reads and one effect.
async fn whole_call(log: &Log) -> Result<Option<Sequence>, LogError> {
    let mut recorder = begin(log).await?;
    recorder.observe(host_call(None), Instant::now())?;
    let seq = recorder.attempt(attempt("/notes/a")).await?;
    recorder.effect_finished(seq, result(HostCallOutcome::Ok));
    recorder.observe(host_call(Some("/notes/b")), Instant::now())?;
    recorder.finish(CallOutcome::Ok, Usage::default()).await
}

/// All records, each of which must be readable.
fn records(folder: &Path) -> Vec<Record> {
    query::read(folder, Filter::default()).collect::<Result<_, _>>().expect("a log that reads well")
}

/// All records, which must be numbered from 0 without a gap.
fn numbered_records(folder: &Path) -> Vec<Record> {
    let records = records(folder);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.seq, Sequence(index as u64));
    }
    records
}

fn kinds(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| {
            let json = serde_json::to_value(record).expect("a record serialises");
            json["event"].as_str().expect("each record has a kind").to_owned()
        })
        .collect()
}

fn first_segment(folder: &Path) -> std::path::PathBuf {
    folder.join("00000000000000000000.jsonl")
}

/// What `folder` would hold had the host been killed now, in a folder of its own.
fn snapshot(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for segment in super::segment::list(folder).expect("a folder that can be listed") {
        let name = segment.path.file_name().expect("segments have names");
        fs::copy(&segment.path, copy.path().join(name)).expect("a copy");
    }
    copy
}

fn open(folder: &Path) -> Log {
    Log::open(folder, LogOptions::default()).expect("a log that opens")
}
