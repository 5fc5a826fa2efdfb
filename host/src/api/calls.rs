//! Calls: how one is asked for, and in which form it is answered. One document at the end; or, if that is asked for,
//! events until then; or an address where the answer will be.
//!
//! A call without `Prefer: respond-async` and without `Idempotency-Key` runs in its request, and ends with it; nothing
//! is written to the database for it. Others are kept ([`kept`]).

mod ask;
mod describe;
mod events;
mod kept;

use std::fmt;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http::HeaderMap;

use self::ask::{Ask, Form};
pub(super) use self::describe::describe;
use super::agents;
use super::http::{Api, Checked, body, is_json, to_its_end};
use super::messages::{CallQuery, Cancelled, OpenedAnswer, TRACE_PARENT_HEADER};
use super::problem::{ErrorKind, Problem};
use crate::arguments::{ARGUMENT_BYTES_MAX, parse_arguments};
use crate::authn::Caller;
use crate::gateway::{Blame, CallError, CallRequest, Ending, Host, Tell};
use crate::ids::{CallId, PackageName, PrincipalId, ToolName, TraceParent};
use crate::policy::Role;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/calls", post(call).get(kept::list))
        .route("/v1/calls/{id}", get(kept::show).delete(cancel))
        .route("/v1/calls/{id}/events", get(kept::follow))
        .route("/v1/calls/{id}/receipt", get(kept::receipt))
}

/// A call that is not kept runs in this future, or in its answer's stream: when hyper drops that, because the client
/// went away, it is cancelled.
async fn call(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Query(query)): Checked<Query<CallQuery>>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = Asked::by(&query)?;
    let principal = in_whose_name(&caller, query.principal)?;
    let trace = trace_parent(request.headers())?;
    is_json(request.headers())?;
    let Ask { form, key } = Ask::of(request.headers())?;
    let text = body(request, ARGUMENT_BYTES_MAX).await.map_err(|error| {
        error.into_problem(|bytes| {
            let detail = format!(
                "the arguments are {bytes} bytes long or longer, at most {ARGUMENT_BYTES_MAX} are read"
            );
            Problem::new(ErrorKind::TooLarge, detail, Blame::Agent)
        })
    })?;
    let arguments = parse_arguments(&text)
        .map_err(|error| Problem::bad_input(format!("the arguments can't be read: {error}")))?;
    let opening = query.opening;
    let is_plain = form == Form::Document && key.is_none();
    if opening && !is_plain {
        return Err(Problem::bad_input(
            "`opening` comes with an answer that is one document and is not kept: without events, `Prefer: \
             respond-async` and `Idempotency-Key`",
        ));
    }
    let (package, tool) = asked.find(&api.host, &principal, &caller)?;
    let told = Told { everything: caller.may_call_for_others(), asked };
    let argument_bytes = text.len() as u64;
    let admission = Arc::clone(caller.admission());
    let request = CallRequest { principal, package, tool, arguments, argument_bytes, trace, admission };
    if is_plain {
        let answer = api.host.call(request).await.map_err(|error| told.problem(error))?;
        return Ok(match opening {
            true => {
                let opening = answer.report.opening.clone();
                Json(OpenedAnswer { answer, opening }).into_response()
            }
            false => Json(answer).into_response(),
        });
    }
    if form == Form::Events && key.is_none() {
        return Ok(events::of_call(api.host, request, told));
    }
    kept::call(&api, &caller, request, form, key, told).await
}

/// In whose name a tool is called: an agent calls as itself, and the owner of the data folder as any agent.
pub(super) fn in_whose_name(
    caller: &Caller,
    named: Option<PrincipalId>,
) -> Result<PrincipalId, Box<Problem>> {
    match named {
        Some(named) if caller.may_call_for_others() || named == *caller.principal() => Ok(named),
        Some(_) => {
            let detail = "only the owner of the data folder calls in the name of others";
            Err(Problem::new(ErrorKind::Forbidden, detail, Blame::Agent).into())
        }
        None if caller.may_call_for_others() => {
            Err(Problem::bad_input("say in whose name, with `as=AGENT`").into())
        }
        None => Ok(caller.principal().clone()),
    }
}

/// What an agent is told of the end of a call that it asked for by a name in its list.
pub(super) fn teller(name: ToolName) -> Tell {
    let told = Told { everything: false, asked: Asked::Named(name) };
    Box::new(move |ending| told.document(ending))
}

/// What whoever called is told of a call's end.
struct Told {
    everything: bool,
    /// The tool, as it was asked for: what it is called otherwise may be somebody else's affair.
    asked: Asked,
}

/// Which tool was asked for.
#[derive(Clone, Debug)]
enum Asked {
    Of(PackageName, ToolName),
    Named(ToolName),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Of(package, tool) => write!(f, "tool {tool} of a package {package}"),
            Asked::Named(name) => write!(f, "tool {name}"),
        }
    }
}

impl Asked {
    fn by(query: &CallQuery) -> Result<Self, Box<Problem>> {
        match (&query.package, &query.tool, &query.name) {
            (Some(package), Some(tool), None) => Ok(Asked::Of(package.clone(), tool.clone())),
            (None, None, Some(name)) => Ok(Asked::Named(name.clone())),
            _ => Err(Problem::bad_input("say which tool: by `package` and `tool`, or by `name`").into()),
        }
    }

    fn find(
        &self,
        host: &Host,
        principal: &PrincipalId,
        caller: &Caller,
    ) -> Result<(PackageName, ToolName), Box<Problem>> {
        match self {
            Asked::Of(package, tool) => Ok((package.clone(), tool.clone())),
            Asked::Named(name) => host
                .tool_named(principal, caller.admission(), name.as_str())
                .ok_or_else(|| agents::unknown(self).into()),
        }
    }
}

impl Told {
    fn problem(&self, error: CallError) -> Problem {
        if self.everything { error.into() } else { agents::problem(error, &self.asked) }
    }

    /// The whole of it as a document.
    fn document(&self, ending: Ending) -> String {
        let json = match ending {
            Ending::Called(called) => match *called {
                Ok(answer) => serde_json::to_string(&answer),
                Err(error) => serde_json::to_string(&self.problem(error)),
            },
            Ending::CancelledBefore(call) => {
                let detail = "the call was cancelled before it began; nothing was done";
                let problem = Problem::new(ErrorKind::Cancelled, detail, Blame::Agent);
                serde_json::to_string(&Problem { call: Some(call), ..problem })
            }
        };
        json.expect("answers and problems are text and numbers: they always serialise")
    }
}

/// The caller's `traceparent` (W3C Trace Context). One that is malformed is an error and not left out: who sends it
/// wants to find the call again.
fn trace_parent(headers: &HeaderMap) -> Result<Option<TraceParent>, Box<Problem>> {
    let mut values = headers.get_all(TRACE_PARENT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad_input("there is more than one `traceparent`").into());
    }
    let text = value.to_str().map_err(|_| Problem::bad_input("`traceparent` is not ASCII"))?;
    let parsed = text.parse::<TraceParent>();
    parsed.map(Some).map_err(|error| Problem::bad_input(error.to_string()).into())
}

/// Asks a call to end. An agent sees, and ends, no calls but its own.
async fn cancel(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(call)): Checked<Path<CallId>>,
) -> Result<Json<Cancelled>, Problem> {
    let of = match caller.role() {
        Role::Admin => None,
        Role::Agent | Role::Author | Role::Auditor => Some(caller.principal().clone()),
    };
    to_its_end(async move {
        api.host.cancel(caller.principal(), call, of.as_ref()).await?;
        Ok(Json(Cancelled { call }))
    })
    .await
}
