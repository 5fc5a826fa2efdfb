//! Calls that outlive their request: how they are answered, shown, listed and followed.
//!
//! An agent sees those that it asked for, and what is another's is as if it was not there. Admins see all, auditors all
//! without what was said in them.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use super::ask::Form;
use super::{Told, events};
use crate::api::http::{Api, Checked};
use crate::api::messages::{
    CallPage, CallResource, CallsQuery, PREFERENCE_APPLIED_HEADER, REPLAYED_HEADER, RESPOND_ASYNC,
};
use crate::api::problem::{ErrorKind, Problem};
use crate::audit::receipt::Receipt;
use crate::authn::Caller;
use crate::database::{CallMode, KeptEnd, KeptRow};
use crate::gateway::{
    Blame, CallError, CallRequest, CallState, Following, HostError, KeepError, KeepRequest, Kept, KeptCall,
    KeptPage, PAGE_MAX, ReceiptError, STREAMS_MAX,
};
use crate::ids::{CallId, IdempotencyKey, PrincipalId};
use crate::policy::Role;

/// Calls of a page, if it is not said how many.
const PAGE_DEFAULT: usize = 100;
/// When who has as many open calls, or streams, as it may, may try again.
const OPEN_RETRY_SECONDS: u64 = 1;

/// Takes a call that is kept, and answers in the form that was asked for.
pub(super) async fn call(
    api: &Api,
    caller: &Caller,
    request: CallRequest,
    form: Form,
    key: Option<IdempotencyKey>,
    told: Told,
) -> Result<Response, Problem> {
    let mode = match form {
        Form::Document | Form::Events => CallMode::Sync,
        Form::Async => CallMode::Async,
    };
    let wanted = KeepRequest { request, asked_by: caller.principal().clone(), mode, key };
    let everything = told.everything;
    let veil = |problem: Problem| if everything { problem } else { crate::api::agents::veiled(problem) };
    let tell = Box::new(move |ending| told.document(ending));
    let kept = match api.host.keep_call(wanted, tell).await {
        Ok(kept) => kept,
        Err(error) => return Ok(refused(error, veil)),
    };
    match (kept, form) {
        (Kept::Taken(following), Form::Document) => answered(following).await,
        (Kept::Taken(following), Form::Events) => Ok(events::of_kept(following, None)),
        (Kept::Taken(Following { call, .. }), Form::Async) => {
            let of = whose(caller);
            let kept = api.host.kept_call(call, of).await.map_err(|error| veil(error.into()))?;
            // It was kept a moment ago.
            let kept = kept.ok_or_else(|| not_there(call))?;
            Ok(accepted(kept, caller))
        }
        (Kept::Known(kept), form) => Ok(marked(again(*kept, form, caller)?)),
    }
}

/// What was answered before.
fn again(kept: KeptCall, form: Form, caller: &Caller) -> Result<Response, Box<Problem>> {
    if form == Form::Async {
        return Ok(accepted(kept, caller));
    }
    let (end, document) = ending(&kept.row)?;
    Ok(match form {
        Form::Events => events::of_ended(end, document),
        Form::Document | Form::Async => document_of(end, document),
    })
}

fn marked(mut response: Response) -> Response {
    response.headers_mut().insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
    response
}

/// Waits for the end of a call. It goes on if nobody waits any more.
async fn answered(mut following: Following) -> Result<Response, Problem> {
    let ended = following.ended.wait_for(Option::is_some).await;
    let ended = ended.ok().and_then(|ended| ended.clone());
    match ended {
        Some(ended) => Ok(document_of(ended.end, ended.document.clone())),
        None => Err(events::unknown_end()),
    }
}

/// A document as it was made: a call's answer, or a problem.
fn document_of(end: KeptEnd, document: String) -> Response {
    #[derive(Deserialize)]
    struct Status {
        status: u16,
    }
    let (status, kind) = match end {
        KeptEnd::Succeeded => (StatusCode::OK, "application/json"),
        KeptEnd::Failed | KeptEnd::Cancelled | KeptEnd::Interrupted => {
            let status = serde_json::from_str::<Status>(&document).ok();
            let status = status.and_then(|Status { status }| StatusCode::from_u16(status).ok());
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), "application/problem+json")
        }
    };
    (status, [(header::CONTENT_TYPE, kind)], document).into_response()
}

/// How a call ended, and what its caller was told, if that is kept.
fn ending(row: &KeptRow) -> Result<(KeptEnd, String), Box<Problem>> {
    let end = row.end.map_or(KeptEnd::Interrupted, |(end, _)| end);
    if end == KeptEnd::Interrupted {
        let document = serde_json::to_string(&interrupted(row.call));
        return Ok((end, document.expect("a problem is text and numbers: it always serialises")));
    }
    match &row.answer {
        Some(answer) => Ok((end, answer.clone())),
        None => {
            let detail = format!(
                "call {} has {}, and its answer is not kept any more; it is not run again",
                row.call,
                end.name()
            );
            let problem = Problem::new(ErrorKind::Gone, detail, Blame::Agent);
            Err(Problem { call: Some(row.call), ..problem }.into())
        }
    }
}

fn interrupted(call: CallId) -> Problem {
    let detail =
        "the host ended before the call did; what it did until then is done, and it is not run again";
    Problem { call: Some(call), ..Problem::new(ErrorKind::Interrupted, detail, Blame::Host) }
}

/// The answer to who does not wait (RFC 7240, 4.1; RFC 9110, 15.3.3).
fn accepted(kept: KeptCall, caller: &Caller) -> Response {
    let location = format!("/v1/calls/{}", kept.row.call);
    let headers =
        [(header::LOCATION.as_str(), location.as_str()), (PREFERENCE_APPLIED_HEADER, RESPOND_ASYNC)];
    (StatusCode::ACCEPTED, headers, Json(resource(kept, Shown::InFull.to(caller)))).into_response()
}

/// How much of a call is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    InFull,
    /// Without what was said in it.
    Outside,
}

impl Shown {
    fn to(self, caller: &Caller) -> Self {
        match caller.role() {
            Role::Auditor | Role::Author => Shown::Outside,
            Role::Agent | Role::Admin => self,
        }
    }
}

fn resource(kept: KeptCall, shown: Shown) -> CallResource {
    let KeptCall { row, state, progress } = kept;
    let is_shown = shown == Shown::InFull;
    let said: Option<Value> = row.answer.as_deref().and_then(|answer| serde_json::from_str(answer).ok());
    let (result, error) = match state {
        CallState::Queued | CallState::Running => (None, None),
        CallState::Succeeded => (said, None),
        CallState::Failed | CallState::Cancelled => (None, said),
        CallState::Interrupted => (None, serde_json::to_value(interrupted(row.call)).ok()),
    };
    CallResource {
        call: row.call,
        state,
        mode: row.mode,
        asked_by: row.asked_by,
        principal: row.principal,
        package: row.package,
        tool: row.tool,
        accepted: row.accepted,
        ended: row.end.map(|(_, at)| at),
        kept_until: row.keep_until,
        progress: progress.filter(|_| is_shown),
        result: result.filter(|_| is_shown),
        error: error.filter(|_| is_shown),
    }
}

/// Whose calls a caller sees: `None`: all.
fn whose(caller: &Caller) -> Option<&PrincipalId> {
    match caller.role() {
        Role::Admin | Role::Auditor => None,
        Role::Agent | Role::Author => Some(caller.principal()),
    }
}

/// The same for a call that never was and for another's.
fn not_there(call: CallId) -> Problem {
    Problem::new(ErrorKind::NotFound, format!("there is no call {call}"), Blame::Agent)
}

/// A host's error, as its caller is told it.
fn failed(error: HostError, caller: &Caller) -> Problem {
    match caller.role() {
        Role::Admin => error.into(),
        Role::Agent | Role::Author | Role::Auditor => crate::api::agents::veiled(error.into()),
    }
}

async fn found(api: &Api, caller: &Caller, call: CallId) -> Result<KeptCall, Problem> {
    let kept = api.host.kept_call(call, whose(caller)).await.map_err(|error| failed(error, caller))?;
    kept.ok_or_else(|| not_there(call))
}

pub(super) async fn show(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(call)): Checked<Path<CallId>>,
) -> Result<Json<CallResource>, Problem> {
    Ok(Json(resource(found(&api, &caller, call).await?, Shown::InFull.to(&caller))))
}

pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Query(query)): Checked<Query<CallsQuery>>,
) -> Result<Json<CallPage>, Problem> {
    let CallsQuery { state, after, limit } = query;
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad_input(format!("`limit` is {limit}; a page has 1 to {PAGE_MAX} calls")));
    }
    let page = api.host.kept_calls(whose(&caller), state, after, limit).await;
    let KeptPage { calls, next } = page.map_err(|error| failed(error, &caller))?;
    let calls = calls.into_iter().map(|kept| resource(kept, Shown::Outside)).collect();
    Ok(Json(CallPage { calls, next }))
}

/// Follows a call to its end. Whoever goes away does not end it.
pub(super) async fn follow(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(call)): Checked<Path<CallId>>,
) -> Result<Response, Problem> {
    found(&api, &caller, call).await?;
    if let Some(following) = api.host.follow_call(call) {
        let Some(place) = api.host.enter_stream(caller.principal()) else {
            let detail = format!("{STREAMS_MAX} streams follow calls, which is the most: close one");
            let problem = Problem::new(ErrorKind::TooManyRequests, detail, Blame::Agent);
            return Ok(later(problem, OPEN_RETRY_SECONDS));
        };
        return Ok(events::of_kept(following, Some(place)));
    }
    // It has ended, if not before, then meanwhile.
    let (end, document) = ending(&found(&api, &caller, call).await?.row)?;
    Ok(events::of_ended(end, document))
}

/// The receipt of a call, kept or not.
pub(super) async fn receipt(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(call)): Checked<Path<CallId>>,
) -> Result<Json<Receipt>, Problem> {
    let made = api.host.receipt(call, whose(&caller)).await;
    made.map(Json).map_err(|error| {
        let detail = error.to_string();
        match error {
            ReceiptError::NoSuchCall { call } => not_there(call),
            ReceiptError::NotYet(_) | ReceiptError::Busy => {
                Problem::new(ErrorKind::Busy, detail, Blame::Host)
            }
            ReceiptError::Failed(_) if caller.role() == Role::Agent => {
                Problem::new(ErrorKind::HostFault, ErrorKind::HostFault.title(), Blame::Host)
            }
            ReceiptError::Failed(_) => Problem::new(ErrorKind::HostFault, detail, Blame::Host),
        }
    })
}

fn later(problem: Problem, seconds: u64) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn refused(error: KeepError, veil: impl FnOnce(Problem) -> Problem) -> Response {
    veil(error.into()).into_response()
}

impl From<KeepError> for Problem {
    fn from(error: KeepError) -> Self {
        let detail = error.to_string();
        let problem = |kind, blame| Problem::new(kind, detail.clone(), blame);
        let later = |seconds| {
            let problem = problem(ErrorKind::TooManyRequests, Blame::Agent);
            Problem { retry_after: Some(seconds), ..problem }
        };
        match error {
            KeepError::TooManyOpen => later(OPEN_RETRY_SECONDS),
            KeepError::TooManyKeys { until } => {
                let wait = until.map(|until| until.duration_since(jiff::Timestamp::now()).as_secs());
                let seconds = wait.and_then(|wait| u64::try_from(wait).ok()).unwrap_or_default();
                later(seconds + 1)
            }
            KeepError::HostFull | KeepError::Stopping => problem(ErrorKind::Busy, Blame::Host),
            KeepError::OtherRequest => problem(ErrorKind::KeyReused, Blame::Agent),
            KeepError::StillRuns { call } => {
                Problem { call: Some(call), ..problem(ErrorKind::KeyInUse, Blame::Agent) }
            }
            KeepError::NotServed => problem(ErrorKind::Conflict, Blame::Admin),
            KeepError::Log(error) => CallError::Log(error).into(),
            KeepError::DiskLow(error) => CallError::DiskLow(error).into(),
            KeepError::Host(error) => error.into(),
        }
    }
}
