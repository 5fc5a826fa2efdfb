//! Calls: one document at the end, or lines that say how far it is until then; and asking one to end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use tokio::sync::watch;

use super::agents;
use super::http::{Api, Checked, body, line, lines, to_its_end};
use super::messages::{CallLine, CallQuery, Cancelled, OpenedAnswer, TRACE_PARENT_HEADER};
use super::problem::{ErrorKind, Problem};
use crate::arguments::{ARGUMENT_BYTES_MAX, parse_arguments};
use crate::authn::Caller;
use crate::gateway::{Blame, CallAnswer, CallControl, CallError, CallRequest};
use crate::ids::{CallId, PackageName, PrincipalId, ToolName, TraceParent};
use crate::policy::Role;

/// The call itself runs in this future, or in its answer's stream: when hyper drops that, because the client
/// went away, it is cancelled.
pub(super) async fn call(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Query(query)): Checked<Query<CallQuery>>,
    request: Request,
) -> Result<Response, Problem> {
    let principal = in_whose_name(&caller, query.principal)?;
    let trace = trace_parent(request.headers())?;
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
    let CallQuery { principal: _, package, tool, progress, opening } = query;
    if progress && opening {
        return Err(Problem::bad_input(
            "`opening` comes with an answer that is one document, without `progress`",
        ));
    }
    let told =
        Told { everything: caller.may_call_for_others(), package: package.clone(), tool: tool.clone() };
    let argument_bytes = text.len() as u64;
    let admission = Arc::clone(caller.admission());
    let request = CallRequest { principal, package, tool, arguments, argument_bytes, trace, admission };
    if !progress {
        let answer = api.host.call(request).await.map_err(|error| told.problem(error))?;
        return Ok(match opening {
            true => {
                let opening = answer.report.opening.clone();
                Json(OpenedAnswer { answer, opening }).into_response()
            }
            false => Json(answer).into_response(),
        });
    }
    let control = CallControl::default();
    let heard = control.progress();
    let host = Arc::clone(&api.host);
    let running = Box::pin(async move { host.call_controlled(request, &control).await });
    let calling = Calling { running: Some(running), heard, told };
    Ok(lines(stream::unfold(calling, |mut calling| async move {
        let line = calling.next().await?;
        Some((Ok::<_, Infallible>(line), calling))
    })))
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

/// What whoever called is told of a call that gave no answer.
struct Told {
    everything: bool,
    package: PackageName,
    tool: ToolName,
}

impl Told {
    fn problem(&self, error: CallError) -> Problem {
        if self.everything { error.into() } else { agents::problem(error, &self.package, &self.tool) }
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

type Running = Pin<Box<dyn Future<Output = Result<CallAnswer, CallError>> + Send>>;

struct Calling {
    /// None at the end.
    running: Option<Running>,
    heard: watch::Receiver<Option<crate::sandbox::Progress>>,
    told: Told,
}

impl Calling {
    async fn next(&mut self) -> Option<Bytes> {
        let running = self.running.as_mut()?;
        tokio::select! {
            biased;
            result = running => {
                self.running = None;
                Some(line(&match result {
                    Ok(answer) => CallLine::Result(Box::new(answer)),
                    Err(error) => CallLine::Error(Box::new(self.told.problem(error))),
                }))
            }
            Ok(()) = self.heard.changed() => {
                let step = self.heard.borrow_and_update().clone()?;
                Some(line(&CallLine::Progress(step)))
            }
        }
    }
}

/// Asks a call to end. An agent sees, and ends, no calls but its own.
pub(super) async fn cancel(
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
