//! What tools may send over HTTP: the requests that their rules allow, to the addresses that may be
//! connected to, and nothing else; and what becomes of answers from servers that misbehave.
//!
//! Each case is a request of the guest `requests`, with what it must get and what the log must say.

mod answers;
mod judged;
mod limits;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit::event::{Decision, Event, HostCallOutcome, Record};
use portcullis::gateway::{CallAnswer, HostOptions};
use portcullis::limits::{HostLimits, Limit};
use serde_json::{Value, json};

pub(crate) use self::limits::{http_bytes_in, http_bytes_out, http_requests};
use crate::harness::network::Names;
use crate::harness::{AGENT, World, guest, options};

/// No test waits longer for a call.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// This machine, which must be granted.
const LOOPBACK: &str = "addresses = [\"127.0.0.0/8\"]";

/// A host with the package `requests`, where names are what the test says.
struct Web {
    world: World,
}

impl Web {
    /// With one rule.
    async fn new(rule: &str) -> Self {
        Self::with(names(&[]), &[rule]).await
    }

    async fn with(names: Arc<Names>, rules: &[&str]) -> Self {
        let web = Self::ungranted(names, HostLimits::default()).await;
        web.grant("", rules).await;
        web
    }

    async fn ungranted(names: Arc<Names>, limits: HostLimits) -> Self {
        let mut options = HostOptions { resolver: names, limits, ..options() };
        let compile_time = Limit::CompileTime.row().ceiling;
        options.limits.set_value(Limit::CompileTime, compile_time).expect("the table's own");
        let world = World::open_in(tempfile::tempdir().expect("a temporary folder"), options).await;
        world.add("requests", guest("requests")).await;
        Self { world }
    }

    async fn grant(&self, limits: &str, rules: &[&str]) {
        let mut text = format!("[[grant]]\npackage = \"requests\"\nagents = [\"{AGENT}\"]\n");
        text.push_str(&format!("limits = {{ wall_time = \"30s\"{limits} }}\n"));
        for rule in rules {
            text.push_str(&format!("[[grant.http]]\n{rule}\n"));
        }
        self.world.grant(&text).await;
    }

    /// Runs steps in one call.
    async fn run(&self, steps: &[Value]) -> (Vec<String>, CallAnswer) {
        let steps = Value::from(steps).to_string();
        let call = self.world.call("requests", "run", json!({ "steps": steps }));
        let answer = tokio::time::timeout(CALL_TIME_MAX, call).await.expect("in time").expect("an answer");
        let lines = answer.answer.structured.clone().expect("lines");
        let lines = lines.as_array().expect("a list").iter();
        (lines.map(|line| line.as_str().expect("a text").to_owned()).collect(), answer)
    }

    /// Runs one step: its line, and what the log has of the request.
    async fn one(&self, step: Value) -> (String, Vec<Logged>) {
        let (mut lines, answer) = self.run(&[step]).await;
        (lines.remove(0), logged(&self.world.records(answer.report.call)))
    }
}

/// What the log has of `outgoing-handler.handle`.
#[derive(Clone, Debug, PartialEq)]
enum Logged {
    /// Subject, and what was missing.
    Denied(String, String),
    /// Subject, and the rule.
    Attempted(String, String),
    /// How it ended: the status, and the error.
    Ended(Option<u16>, HostCallOutcome),
}

fn logged(records: &[Record]) -> Vec<Logged> {
    let mut sequences = Vec::new();
    let mut logged = Vec::new();
    for record in records {
        match &record.event {
            Event::HostCall { host_call, .. } if host_call.function == "handle" => {
                let Decision::Denied(why) = &host_call.decision else { panic!("{host_call:?}") };
                let subject = host_call.subject.as_deref().unwrap_or_default();
                logged.push(Logged::Denied(subject.to_owned(), why.to_string()));
            }
            Event::EffectAttempted { attempt, .. } if attempt.function == "handle" => {
                let Decision::Allowed(rule) = &attempt.decision else { panic!("{attempt:?}") };
                let subject = attempt.subject.as_deref().unwrap_or_default();
                logged.push(Logged::Attempted(subject.to_owned(), rule.to_string()));
                sequences.push(record.seq);
            }
            Event::EffectFinished { attempt, result, .. } if sequences.contains(attempt) => {
                logged.push(Logged::Ended(result.status, result.outcome.clone()));
            }
            _ => {}
        }
    }
    logged
}

/// The one denial of a request.
#[track_caller]
fn denied(logged: &[Logged]) -> (&str, &str) {
    match logged {
        [Logged::Denied(subject, why)] => (subject, why),
        other => panic!("not one denial, but {other:?}"),
    }
}

/// How the one request that was sent ended.
#[track_caller]
fn ended(logged: &[Logged]) -> (Option<u16>, &HostCallOutcome) {
    match logged {
        [Logged::Attempted(..), Logged::Ended(status, outcome)] => (*status, outcome),
        other => panic!("not one request that ended, but {other:?}"),
    }
}

/// The error with which the one request that was sent ended.
#[track_caller]
fn failed(logged: &[Logged]) -> &str {
    match ended(logged) {
        (_, HostCallOutcome::Error(error)) => error,
        other => panic!("no error, but {other:?}"),
    }
}

/// Names that are answered as said, each in turn; all others are this machine.
fn names(answers: &[(&str, &[&[&str]])]) -> Arc<Names> {
    let names = Names::of_this_machine();
    for (name, answers) in answers {
        names.answer(name, answers);
    }
    Arc::new(names)
}

/// The parts of a rule for one host: any port, both schemes.
fn rule(host: &str, port: u16, more: &str) -> String {
    format!(
        "hosts = [\"{host}\"]\nschemes = [\"http\"]\nports = [{port}]\nmethods = [\"GET\", \"POST\"]\n{more}"
    )
}
