//! What of a record can be asked for, and the question. Pure.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use crate::ids::{CallId, PackageName, PrincipalId, Sequence};
use crate::wildcard::Wildcard;

/// What of a record can be asked for. Texts are the record's own, and nobody's who can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its place.
    pub seq: Sequence,
    /// When it was made.
    pub time: Timestamp,
    /// What kind of record it is, such as `host_call`.
    pub event: String,
    /// The call that it is about.
    pub call: Option<CallId>,
    /// The call whose tool made that call.
    pub parent: Option<CallId>,
    /// Who called; of what an admin did, who did it.
    pub principal: Option<String>,
    /// The package.
    pub package: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// The interface that was called.
    pub interface: Option<String>,
    /// Its function.
    pub function: Option<String>,
    /// What it was about: a path, a URL; a secret or a principal by name.
    pub subject: Option<String>,
    /// `allowed` or `denied`, of host calls and of calls.
    pub decision: Option<String>,
    /// What came of it, such as `ok`, of host calls and of calls.
    pub outcome: Option<String>,
    /// Of an effect's outcome: its attempt.
    pub attempt: Option<Sequence>,
}

/// A record's line, as far as it matters here. What else it has is not looked at.
#[derive(Deserialize)]
struct Line<'a> {
    seq: Sequence,
    time: Timestamp,
    #[serde(borrow)]
    event: Cow<'a, str>,
    call: Option<CallId>,
    parent: Option<CallId>,
    principal: Option<String>,
    by: Option<String>,
    package: Option<String>,
    tool: Option<String>,
    interface: Option<String>,
    function: Option<String>,
    subject: Option<String>,
    secret: Option<String>,
    name: Option<String>,
    decision: Option<String>,
    outcome: Option<String>,
    attempt: Option<Sequence>,
}

impl Facts {
    /// Reads them from a record's line.
    ///
    /// # Errors
    /// If the line is no record.
    pub fn of(line: &[u8]) -> Result<Self, serde_json::Error> {
        let line: Line<'_> = serde_json::from_slice(line)?;
        let decision = match &*line.event {
            "call_denied" => Some("denied".to_owned()),
            "call_admitted" => Some("allowed".to_owned()),
            _ => line.decision,
        };
        Ok(Self {
            seq: line.seq,
            time: line.time,
            event: line.event.into_owned(),
            call: line.call,
            parent: line.parent,
            principal: line.principal.or(line.by),
            package: line.package,
            tool: line.tool,
            interface: line.interface,
            function: line.function,
            subject: line.subject.or(line.secret).or(line.name),
            decision,
            outcome: line.outcome,
            attempt: line.attempt,
        })
    }

    /// An effect's outcome says nothing of what its attempt says already: takes it from there.
    pub fn complete(&mut self, attempt: &Facts) {
        for (own, told) in [
            (&mut self.interface, &attempt.interface),
            (&mut self.function, &attempt.function),
            (&mut self.subject, &attempt.subject),
            (&mut self.decision, &attempt.decision),
        ] {
            if own.is_none() {
                own.clone_from(told);
            }
        }
    }
}

/// Which records are asked for: all that fit each part that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before, and not then.
    pub until: Option<Timestamp>,
    /// Of this call.
    pub call: Option<CallId>,
    /// By this principal.
    pub principal: Option<PrincipalId>,
    /// About this package.
    pub package: Option<PackageName>,
    /// Of an interface.
    pub interface: Option<Wildcard>,
    /// Of a function.
    pub function: Option<Wildcard>,
    /// About a subject.
    pub subject: Option<Wildcard>,
    /// `allowed` or `denied`.
    pub decision: Option<String>,
    /// What came of it.
    pub outcome: Option<String>,
    /// Of this kind.
    pub event: Option<String>,
}

impl Question {
    /// Whether a record is asked for.
    pub fn matches(&self, facts: &Facts) -> bool {
        fn is(wanted: Option<&str>, found: Option<&str>) -> bool {
            wanted.is_none_or(|wanted| found == Some(wanted))
        }
        fn fits(wanted: Option<&Wildcard>, found: Option<&str>) -> bool {
            wanted.is_none_or(|wanted| found.is_some_and(|found| wanted.matches(found)))
        }
        self.since.is_none_or(|since| facts.time >= since)
            && self.until.is_none_or(|until| facts.time < until)
            && self.call.is_none_or(|call| facts.call == Some(call))
            && is(self.principal.as_ref().map(PrincipalId::as_str), facts.principal.as_deref())
            && is(self.package.as_ref().map(PackageName::as_str), facts.package.as_deref())
            && is(self.decision.as_deref(), facts.decision.as_deref())
            && is(self.outcome.as_deref(), facts.outcome.as_deref())
            && is(self.event.as_deref(), Some(&facts.event))
            && fits(self.interface.as_ref(), facts.interface.as_deref())
            && fits(self.function.as_ref(), facts.function.as_deref())
            && fits(self.subject.as_ref(), facts.subject.as_deref())
    }
}

/// In which order records are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they happened.
    #[default]
    OldestFirst,
    /// The other way round.
    NewestFirst,
}
