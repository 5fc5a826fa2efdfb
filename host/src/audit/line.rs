//! Records as lines: made by hand around a cached context, parsed by serde.
//!
//! A record of a call repeats who calls what. That part is serialised once a call, not once a
//! record; a test holds each line made here to be byte for byte what serde makes of the `Record`.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Serialize;

use super::commitment::{Commitment, Committed};
use super::event::{
    Attempt, CallContext, CallEnd, CallOutcome, Decision, Event, HostCall, HostCallOutcome, HostCallResult,
    OpenCall, Repeats, SecretInjected, SecretLeak, is_zero,
};
use super::hash::TreeHash;
use super::tree::Frontier;
use crate::authn::Credential;
use crate::ids::{GrantId, Sequence};
use crate::policy::{Loss, Stop};

/// The most bytes of a line, its newline included. A longer one is not written, and not valid.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The most bytes of any one text in a record that a guest, a tool or a file can make long. More is
/// cut, and marked with `…[cut]`.
pub const TEXT_BYTES_MAX: usize = 4096;

/// The most grants that one `call_admitted` lists, so that it fits a line.
pub(super) const GRANTS_MAX: usize = 10_000;

const CUT: &str = "…[cut]";

/// A record of a call, without its context.
#[derive(Debug)]
pub(super) enum CallEntry {
    Admitted(Box<Admission>),
    HostCall(Box<HostCall>),
    /// A host call too, as most are.
    PlainHostCall(PlainHostCall),
    EffectAttempted(Box<Attempt>),
    EffectFinished {
        attempt: Sequence,
        result: Box<HostCallResult>,
    },
    SecretInjected(SecretInjected),
    SecretLeak(SecretLeak),
    Finished(Box<CallEnd>),
}

/// A guest that does nothing but call the host makes hundreds of thousands of these a second: what they take is written,
/// handed to another core and read there.
const _: () = assert!(size_of::<(Timestamp, CallEntry)>() <= 88);

/// A call that was let in.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) grants: Vec<GrantId>,
    pub(super) argument_bytes: u64,
    pub(super) credential: Option<Credential>,
    pub(super) committed: Option<Committed>,
}

/// A host call of which there is no more to say than that it was allowed, when it was made, and how long it took: less
/// than half of a [`HostCall`].
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainHostCall {
    interface: &'static str,
    function: &'static str,
    rule: &'static str,
    duration_ns: u64,
    fuel: u64,
}

impl PlainHostCall {
    /// None if there is more to say.
    #[inline]
    fn of(call: &HostCall) -> Option<Self> {
        let HostCall {
            interface: Cow::Borrowed(interface),
            function: Cow::Borrowed(function),
            subject: None,
            decision: Decision::Allowed(Cow::Borrowed(rule)),
            result:
                HostCallResult {
                    outcome: HostCallOutcome::Ok,
                    status: None,
                    bytes_in: 0,
                    bytes_out: 0,
                    duration_ns,
                },
            fuel,
            repeats: None,
        } = *call
        else {
            return None;
        };
        Some(Self { interface, function, rule, duration_ns, fuel })
    }
}

impl CallEntry {
    /// In line, so that what most host calls are made into is not copied on the way.
    #[inline]
    pub(super) fn of_host_call(call: HostCall) -> Self {
        match PlainHostCall::of(&call) {
            Some(plain) => Self::PlainHostCall(plain),
            None => Self::HostCall(Box::new(call)),
        }
    }
}

/// A call's context, its JSON once the writer has made it, and the tree over the lines that it has so far.
#[derive(Debug)]
pub(super) struct CallText {
    context: Arc<CallContext>,
    json: OnceLock<Vec<u8>>,
    /// That of whoever hashes, so seldom waited for.
    tree: Mutex<Frontier>,
}

impl CallText {
    pub(super) fn new(context: Arc<CallContext>) -> Self {
        Self { context, json: OnceLock::new(), tree: Mutex::default() }
    }

    /// The tree over the lines so far.
    pub(super) fn tree(&self) -> MutexGuard<'_, Frontier> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call as one that has not ended.
    pub(super) fn as_open(&self, arguments_commitment: Option<Commitment>) -> OpenCall {
        let tree = self.tree();
        let roots = tree.roots().iter().map(|root| TreeHash::from(*root)).collect();
        OpenCall { context: Arc::clone(&self.context), records: tree.size(), roots, arguments_commitment }
    }

    pub(super) fn context(&self) -> &Arc<CallContext> {
        &self.context
    }

    /// The context's members without the braces around them.
    fn members(&self) -> &[u8] {
        let json = self.json.get_or_init(|| {
            serde_json::to_vec(&*self.context).expect("a context is names and numbers: it always serialises")
        });
        &json[1..json.len() - 1]
    }
}

/// Adds the line of a call's record to `buffer`.
pub(super) fn push_entry(
    buffer: &mut Vec<u8>,
    seq: Sequence,
    time: Timestamp,
    call: &CallText,
    entry: &CallEntry,
) -> Result<(), serde_json::Error> {
    let name: &[u8] = match entry {
        CallEntry::Admitted(_) => b"call_admitted",
        CallEntry::HostCall(_) | CallEntry::PlainHostCall(_) => b"host_call",
        CallEntry::EffectAttempted(_) => b"effect_attempted",
        CallEntry::EffectFinished { .. } => b"effect_finished",
        CallEntry::SecretInjected(_) => b"secret_injected",
        CallEntry::SecretLeak(_) => b"secret_leak",
        CallEntry::Finished(_) => b"call_finished",
    };
    buffer.extend_from_slice(br#"{"seq":"#);
    serde_json::to_writer(&mut *buffer, &seq)?;
    buffer.extend_from_slice(br#","time":""#);
    TIMES.print_timestamp(&time, &mut *buffer).map_err(serde::ser::Error::custom)?;
    for part in [br#"","event":""#, name, br#"","#, call.members()] {
        buffer.extend_from_slice(part);
    }
    let brace = buffer.len();
    match entry {
        CallEntry::Admitted(admission) => {
            let Admission { grants, argument_bytes, credential, committed } = &**admission;
            let (arguments_commitment, salt_key) =
                committed.map(|committed| (committed.commitment, committed.key)).unzip();
            let (argument_bytes, credential) = (*argument_bytes, credential.as_ref());
            let admitted = Admitted { grants, argument_bytes, credential, arguments_commitment, salt_key };
            serde_json::to_writer(&mut *buffer, &admitted)?;
        }
        CallEntry::HostCall(host_call) => serde_json::to_writer(&mut *buffer, &FlatHostCall::of(host_call))?,
        CallEntry::PlainHostCall(plain) => serde_json::to_writer(&mut *buffer, &FlatHostCall::from(*plain))?,
        CallEntry::EffectAttempted(attempt) => serde_json::to_writer(&mut *buffer, attempt)?,
        CallEntry::EffectFinished { attempt, result } => {
            serde_json::to_writer(&mut *buffer, &Finished { attempt: *attempt, result })?;
        }
        CallEntry::SecretInjected(injected) => serde_json::to_writer(&mut *buffer, injected)?,
        CallEntry::SecretLeak(leak) => serde_json::to_writer(&mut *buffer, leak)?,
        CallEntry::Finished(end) => serde_json::to_writer(&mut *buffer, end)?,
    }
    // None of these objects is empty, so its opening brace becomes the comma after the context.
    buffer[brace] = b',';
    buffer.push(b'\n');
    Ok(())
}

const TIMES: DateTimePrinter = DateTimePrinter::new();

#[derive(Serialize)]
struct Admitted<'a> {
    grants: &'a [GrantId],
    argument_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a Credential>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_commitment: Option<Commitment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt_key: Option<u64>,
}

#[derive(Serialize)]
struct Finished<'a> {
    attempt: Sequence,
    #[serde(flatten)]
    result: &'a HostCallResult,
}

/// A [`HostCall`] with its parts side by side. What serde flattens goes through a map, which costs the
/// writer more than all else of a record, and nothing is as frequent as this one.
#[derive(Serialize)]
struct FlatHostCall<'a> {
    interface: &'a str,
    function: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    decision: &'static str,
    rule: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "is_zero")]
    bytes_in: u64,
    #[serde(skip_serializing_if = "is_zero")]
    bytes_out: u64,
    duration_ns: u64,
    fuel: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<Repeats>,
}

impl<'a> FlatHostCall<'a> {
    fn of(host_call: &'a HostCall) -> Self {
        let HostCall { interface, function, subject, decision, result, fuel, repeats } = host_call;
        let (decision, rule) = match decision {
            Decision::Allowed(rule) => ("allowed", rule),
            Decision::Denied(rule) => ("denied", rule),
        };
        let (outcome, error) = match &result.outcome {
            HostCallOutcome::Ok => ("ok", None),
            HostCallOutcome::Error(error) => ("error", Some(&**error)),
            HostCallOutcome::Unknown => ("unknown", None),
            HostCallOutcome::Trapped(error) => ("trapped", Some(&**error)),
        };
        let HostCallResult { status, bytes_in, bytes_out, duration_ns, .. } = *result;
        let subject = subject.as_deref();
        Self {
            interface,
            function,
            subject,
            decision,
            rule,
            outcome,
            error,
            status,
            bytes_in,
            bytes_out,
            duration_ns,
            fuel: *fuel,
            repeats: *repeats,
        }
    }
}

impl From<PlainHostCall> for FlatHostCall<'static> {
    fn from(PlainHostCall { interface, function, rule, duration_ns, fuel }: PlainHostCall) -> Self {
        Self {
            interface,
            function,
            subject: None,
            decision: "allowed",
            rule,
            outcome: "ok",
            error: None,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            duration_ns,
            fuel,
            repeats: None,
        }
    }
}

/// Adds the line of any record to `buffer`.
pub(super) fn push_event(
    buffer: &mut Vec<u8>,
    seq: Sequence,
    time: Timestamp,
    event: &Event,
) -> Result<(), serde_json::Error> {
    #[derive(Serialize)]
    struct Line<'a> {
        seq: Sequence,
        time: Timestamp,
        #[serde(flatten)]
        event: &'a Event,
    }
    serde_json::to_writer(&mut *buffer, &Line { seq, time, event })?;
    buffer.push(b'\n');
    Ok(())
}

/// The sequence number at the beginning of a line, without parsing the rest.
pub(super) fn sequence_of(line: &[u8]) -> Option<Sequence> {
    let digits = line.strip_prefix(br#"{"seq":"#)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok().map(Sequence)
}

/// How much a record weighs in the queue: one unit for about every 256 bytes that it holds.
pub(super) fn units(entry: &CallEntry) -> u32 {
    let bytes = match entry {
        CallEntry::Admitted(admission) => admission.grants.len() * 8,
        CallEntry::HostCall(call) => {
            subject_len(call.subject.as_ref()) + rule_len(&call.decision) + error_len(&call.result.outcome)
        }
        CallEntry::EffectAttempted(attempt) => {
            subject_len(attempt.subject.as_ref()) + rule_len(&attempt.decision)
        }
        CallEntry::EffectFinished { result, .. } => error_len(&result.outcome),
        CallEntry::SecretInjected(injected) => injected.into.len(),
        CallEntry::PlainHostCall(_) | CallEntry::SecretLeak(_) => 0,
        CallEntry::Finished(_) => TEXT_BYTES_MAX,
    };
    u32::try_from(1 + bytes / 256).unwrap_or(u32::MAX)
}

/// Cuts each text of a record of a call that could be too long.
pub(super) fn bound(entry: &mut CallEntry) {
    match entry {
        CallEntry::Admitted(_)
        | CallEntry::PlainHostCall(_)
        | CallEntry::SecretInjected(_)
        | CallEntry::SecretLeak(_) => {}
        CallEntry::HostCall(call) => {
            cut_subject(&mut call.subject);
            cut_decision(&mut call.decision);
            cut_outcome(&mut call.result.outcome);
            cut_name(&mut call.interface);
            cut_name(&mut call.function);
        }
        CallEntry::EffectAttempted(attempt) => {
            cut_subject(&mut attempt.subject);
            cut_decision(&mut attempt.decision);
            cut_name(&mut attempt.interface);
            cut_name(&mut attempt.function);
        }
        CallEntry::EffectFinished { result, .. } => cut_outcome(&mut result.outcome),
        CallEntry::Finished(end) => match &mut end.outcome {
            CallOutcome::BadInput { message }
            | CallOutcome::ToolError { message }
            | CallOutcome::HostFault { message } => cut_text(message),
            CallOutcome::Stopped { stop } => cut_stop(stop),
            CallOutcome::Ok
            | CallOutcome::LimitReached(_)
            | CallOutcome::Cancelled
            | CallOutcome::Withheld { .. }
            | CallOutcome::Interrupted => {}
        },
    }
}

/// Cuts the texts of an event that come from files.
pub(super) fn bound_event(event: &mut Event) {
    if let Event::PackageRefused { reason, .. } | Event::ArtifactRefused { reason, .. } = event {
        cut_text(reason);
    }
}

fn subject_len(subject: Option<&Arc<str>>) -> usize {
    subject.map_or(0, |subject| subject.len())
}

fn rule_len(decision: &Decision) -> usize {
    match decision {
        Decision::Allowed(rule) | Decision::Denied(rule) => rule.len(),
    }
}

fn error_len(outcome: &HostCallOutcome) -> usize {
    match outcome {
        HostCallOutcome::Ok | HostCallOutcome::Unknown => 0,
        HostCallOutcome::Error(text) | HostCallOutcome::Trapped(text) => text.len(),
    }
}

fn cut_decision(decision: &mut Decision) {
    match decision {
        Decision::Allowed(rule) | Decision::Denied(rule) => cut_name(rule),
    }
}

fn cut_outcome(outcome: &mut HostCallOutcome) {
    match outcome {
        HostCallOutcome::Ok | HostCallOutcome::Unknown => {}
        HostCallOutcome::Error(text) | HostCallOutcome::Trapped(text) => cut_name(text),
    }
}

fn cut_stop(stop: &mut Stop) {
    match stop {
        Stop::Denied { .. } | Stop::CredentialRevoked { .. } => {}
        Stop::Narrowed { lost, .. } => match lost {
            Loss::Folder { guest_path } | Loss::Write { guest_path } | Loss::Quota { guest_path, .. } => {
                cut_text(guest_path);
            }
            Loss::Rule { rule } => cut_text(rule),
            Loss::Call | Loss::Secret { .. } | Loss::Clock { .. } | Loss::Limit { .. } => {}
        },
    }
}

fn cut_subject(subject: &mut Option<Arc<str>>) {
    if let Some(text) = subject.as_ref().filter(|text| text.len() > TEXT_BYTES_MAX) {
        let mut text = text.to_string();
        cut_text(&mut text);
        *subject = Some(text.into());
    }
}

fn cut_name(text: &mut Cow<'static, str>) {
    if text.len() > TEXT_BYTES_MAX {
        cut_text(text.to_mut());
    }
}

fn cut_text(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX - CUT.len()));
        text.push_str(CUT);
    }
}
