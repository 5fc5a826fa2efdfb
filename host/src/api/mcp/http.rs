//! Streamable HTTP at `/mcp`, for agents that brought a key.
//!
//! Stateless: each request is served by itself, in the name of its own caller, so that there is no session of
//! which another could take part. What a client of the older revision gets as a session id is a name that it
//! chooses its cancellations by, and nothing is kept under it but the calls that run.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use rmcp::ErrorData;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{ErrorCode, ProtocolVersion, RequestId, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::Value;
use uuid::Uuid;

use super::McpServer;
use super::message::{self, MESSAGE_BYTES_MAX, Refused};
use super::plain::{PlainCall, are_plain};
use super::subscription::{self, Rehearsal};
use crate::api::http::{BodyError, Stopping, body};
use crate::authn::Caller;
use crate::gateway::{CallControl, Host};
use crate::ids::PrincipalId;

/// By which calls of a client of revision 2025-11-25 belong together.
const SESSION_HEADER: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision that a request is of.
pub(super) const VERSION_HEADER: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// What proxies may read instead of the body.
const METHOD_HEADER: HeaderName = HeaderName::from_static("mcp-method");
/// The same, of the tool.
const NAME_HEADER: HeaderName = HeaderName::from_static("mcp-name");

/// What is told when a list is another one.
const LIST_CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// Serves MCP. To be mounted behind a door that brings each request's [`Caller`], and has looked at Host and Origin.
/// Streams that would go on for ever end when `stopping` turns true.
pub fn router(host: Arc<Host>, stopping: Stopping) -> Router {
    let served = Served { host, stopping, running: Arc::default() };
    Router::new().route("/mcp", any(serve)).with_state(served)
}

#[derive(Clone, Debug)]
struct Served {
    host: Arc<Host>,
    stopping: Stopping,
    running: Arc<RunningRequests>,
}

async fn serve(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let (parts, rest) = request.into_parts();
    if parts.method == Method::GET && !is_newer(&parts.headers) {
        return served.changes(&caller, &parts.headers);
    }
    if parts.method != Method::POST {
        return served.answer(&caller, Request::from_parts(parts, rest)).await;
    }
    // The one strict parser, before rmcp's.
    let read = body(Request::new(rest), MESSAGE_BYTES_MAX).await;
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) => return unread(&error),
    };
    let mut object = match message::object(&bytes) {
        Ok(object) => object,
        Err(refused) => return refusal(StatusCode::BAD_REQUEST, refused),
    };
    if let Err(refused) = agree(&parts.headers, &object) {
        return refusal(StatusCode::BAD_REQUEST, refused);
    }
    if are_plain(&parts.headers)
        && let Some(call) = PlainCall::taken_from(&mut object)
    {
        return served.call(&caller, &parts.headers, call).await;
    }
    let method = object["method"].as_str();
    if method == Some("notifications/cancelled") {
        served.running.cancel(&caller, &parts.headers, &object["params"]["requestId"]);
    }
    let request = Request::from_parts(parts, Body::from(bytes));
    if method == Some("subscriptions/listen") {
        return served.subscribe(&caller, request).await;
    }
    let begins = method == Some("initialize");
    let mut response = served.answer(&caller, request).await;
    if begins && response.status().is_success() {
        let id = HeaderValue::from_str(&Uuid::new_v4().to_string()).expect("it is ASCII");
        response.headers_mut().insert(SESSION_HEADER, id);
    }
    response
}

impl Served {
    /// The stream on which a client of a revision before 2026-07-28 hears that its list of tools is another one
    /// (2025-11-25, "Listening for Messages from the Server"). It has nothing to resume: a list is asked for as a whole.
    fn changes(&self, caller: &Caller, headers: &HeaderMap) -> Response {
        let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        if !accepts.flat_map(|value| value.split(',')).any(is_of_events) {
            let message =
                "what is told here is text/event-stream: say in `Accept` that it is taken".to_owned();
            let error = ErrorData::new(ErrorCode::INVALID_REQUEST, message, None);
            return refusal(StatusCode::NOT_ACCEPTABLE, Refused { error, id: None });
        }
        let changes = stream::unfold(self.server(caller).watch(), |mut watch| async move {
            let changed = watch.changed().await;
            changed.then(|| (Ok::<_, Infallible>(Event::default().data(LIST_CHANGED)), watch))
        });
        Sse::new(changes).keep_alive(KeepAlive::default()).into_response()
    }

    /// A call that needs nothing of rmcp.
    async fn call(&self, caller: &Caller, headers: &HeaderMap, call: PlainCall) -> Response {
        let control = CallControl::default();
        let _entered = session(headers).map(|session| {
            let key = (caller.principal().clone(), session, call.id.clone());
            self.running.enter(key, control.clone())
        });
        json(StatusCode::OK, &self.server(caller).call_plainly(call, control).await)
    }

    /// One request, by itself.
    async fn answer(&self, caller: &Caller, request: Request) -> Response {
        let session = session(request.headers()).map(|session| (session, Arc::clone(&self.running)));
        handle(self.server(caller).over_http(session), request).await
    }

    /// A request to be told of changes, of revision 2026-07-28.
    async fn subscribe(&self, caller: &Caller, request: Request) -> Response {
        let server = self.server(caller);
        // What changes from here on is told.
        let watch = server.watch();
        subscription::go_on(handle(Rehearsal::of(server), request).await, watch).await
    }

    fn server(&self, caller: &Caller) -> McpServer {
        let agent = caller.principal().clone();
        let admission = Arc::clone(caller.admission());
        McpServer::new(Arc::clone(&self.host), agent, admission, self.stopping.clone())
    }
}

async fn handle(server: impl ServerHandler + Clone, request: Request) -> Response {
    // The door has looked at Host and Origin already, by what its admin said.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MESSAGE_BYTES_MAX)
        .disable_allowed_hosts()
        .disable_allowed_origins();
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
    service.handle(request).await.map(Body::new)
}

/// Headers that proxies may decide by must say what the body says, whatever the revision. For those of 2026-07-28
/// rmcp asks for more: that they are there.
fn agree(headers: &HeaderMap, object: &Value) -> Result<(), Refused> {
    let newer = is_newer(headers);
    for (header, said) in [(METHOD_HEADER, &object["method"]), (NAME_HEADER, &object["params"]["name"])] {
        let mut values = headers.get_all(&header).iter();
        let Some(value) = values.next() else { continue };
        // The newer revision may write a name in base64, and says of other methods what their name is.
        let agrees = newer || said.as_str().is_some_and(|said| said.as_bytes() == value.as_bytes());
        if values.next().is_some() || !agrees {
            let error = ErrorData::header_mismatch(
                format!("the header {header} does not say what the body says"),
                None,
            );
            return Err(Refused { error, id: message::id(object) });
        }
    }
    if headers.get_all(&VERSION_HEADER).iter().count() > 1 {
        let error =
            ErrorData::header_mismatch(format!("there is more than one header {VERSION_HEADER}"), None);
        return Err(Refused { error, id: message::id(object) });
    }
    Ok(())
}

/// Whether a request is of revision 2026-07-28 or a later one.
fn is_newer(headers: &HeaderMap) -> bool {
    let newer = ProtocolVersion::V_2026_07_28;
    headers.get(&VERSION_HEADER).is_some_and(|version| version.as_bytes() >= newer.as_str().as_bytes())
}

/// Whether a media range of `Accept` takes a stream of events.
fn is_of_events(range: &str) -> bool {
    let kind = range.split(';').next().unwrap_or_default().trim();
    ["text/event-stream", "text/*", "*/*"].iter().any(|taken| taken.eq_ignore_ascii_case(kind))
}

fn unread(error: &BodyError) -> Response {
    let invalid = |status, message: String| {
        refusal(
            status,
            Refused { error: ErrorData::new(ErrorCode::INVALID_REQUEST, message, None), id: None },
        )
    };
    match error {
        BodyError::TooLong { .. } => refusal(StatusCode::PAYLOAD_TOO_LARGE, message::too_long()),
        BodyError::TooSlow => {
            invalid(StatusCode::REQUEST_TIMEOUT, "the message did not arrive in time".to_owned())
        }
        BodyError::Broken(reason) => {
            invalid(StatusCode::BAD_REQUEST, format!("the message can't be read: {reason}"))
        }
    }
}

pub(super) fn refusal(status: StatusCode, Refused { error, id }: Refused) -> Response {
    json(status, &ServerJsonRpcMessage::error(error, id))
}

fn json(status: StatusCode, message: &ServerJsonRpcMessage) -> Response {
    let body = serde_json::to_vec(message).expect("messages are text and numbers: they always serialise");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn session(headers: &HeaderMap) -> Option<Uuid> {
    headers.get(&SESSION_HEADER)?.to_str().ok()?.parse().ok()
}

/// What a cancellation names: whose, in which conversation, which request.
type Key = (PrincipalId, Uuid, RequestId);

/// The calls that run for clients which cancel them by a message of its own.
#[derive(Debug, Default)]
pub(super) struct RunningRequests {
    calls: Mutex<HashMap<Key, Vec<(u64, CallControl)>>>,
}

/// A call's place among them.
#[derive(Debug)]
#[must_use = "the call can't be cancelled once this is dropped"]
pub(super) struct Entered {
    running: Arc<RunningRequests>,
    key: Key,
    number: u64,
}

impl RunningRequests {
    /// Notes a call, so long as what is returned is kept.
    pub(super) fn enter(self: &Arc<Self>, key: Key, control: CallControl) -> Entered {
        let mut calls = self.calls();
        let same = calls.entry(key.clone()).or_default();
        let number = same.last().map_or(0, |(last, _)| last + 1);
        same.push((number, control));
        drop(calls);
        Entered { running: Arc::clone(self), key, number }
    }

    /// Asks the caller's own calls by that id to end, if there are any.
    fn cancel(&self, caller: &Caller, headers: &HeaderMap, id: &Value) {
        let Some(session) = session(headers) else { return };
        let Ok(id) = serde_json::from_value::<RequestId>(id.clone()) else { return };
        let key = (caller.principal().clone(), session, id);
        for (_, control) in self.calls().get(&key).into_iter().flatten() {
            control.cancel();
        }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<Key, Vec<(u64, CallControl)>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut calls = self.running.calls();
        if let Some(same) = calls.get_mut(&self.key) {
            same.retain(|(number, _)| *number != self.number);
            if same.is_empty() {
                calls.remove(&self.key);
            }
        }
    }
}
