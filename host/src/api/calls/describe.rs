//! How calls are described.

use http::StatusCode;
use serde_json::json;

use crate::api::messages::{
    CallPage, CallQuery, CallResource, CallsQuery, Cancelled, ERROR_EVENT, IDEMPOTENCY_KEY_HEADER,
    OpenedAnswer, PREFER_HEADER, PREFERENCE_APPLIED_HEADER, PROGRESS_EVENT, RESPOND_ASYNC, RESULT_EVENT,
    TRACE_PARENT_HEADER,
};
use crate::api::openapi::Described;
use crate::api::problem::{ErrorKind, Problem};
use crate::audit::receipt::Receipt;
use crate::gateway::{CallAnswer, Progress};
use crate::ids::{CallId, TraceParent, text_schema};
use crate::policy::Role;

/// The header as it is written.
#[derive(Clone, Copy, Debug)]
struct QuotedKey;

text_schema!(
    QuotedKey,
    "A String of RFC 9651 without parameters: 1 to 255 printable ASCII characters in quotes",
    r#"^"([ !#-\[\]-~]|\\["\\])+"$"#
);

/// What a call can end with that gives no answer.
const ENDS: &[ErrorKind] = &[
    ErrorKind::NotFound,
    ErrorKind::Denied,
    ErrorKind::Stopped,
    ErrorKind::Cancelled,
    ErrorKind::LimitReached,
    ErrorKind::ToolError,
    ErrorKind::Withheld,
    ErrorKind::Busy,
    ErrorKind::GrantUnusable,
    ErrorKind::LogUnavailable,
    ErrorKind::DiskLow,
];

pub(in crate::api) fn describe(api: &mut Described) {
    let given = json!({"anyOf": [api.schema::<CallAnswer>(), api.schema::<OpenedAnswer>()]});
    let events = json!({
        PROGRESS_EVENT: api.schema::<Progress>(),
        RESULT_EVENT: api.schema::<CallAnswer>(),
        ERROR_EVENT: api.schema::<Problem>(),
    });
    api.post(
        "/v1/calls",
        "call_tool",
        "Calls a tool. Without `Prefer: respond-async` and `Idempotency-Key` it is cancelled if its client goes away.",
    )
    .query::<CallQuery>()
    .header::<TraceParent>(TRACE_PARENT_HEADER, "Where the call belongs in its caller's trace.")
    .header::<QuotedKey>(
        IDEMPOTENCY_KEY_HEADER,
        "Asked again with it, the same request is answered as before, with `Idempotent-Replayed: true`, and not run.",
    )
    .header::<String>(PREFER_HEADER, "`respond-async`: answer with 202 at once (RFC 7240). Others are passed over.")
    .json_body(json!({"type": "object"}), json!({"text": "milk"}), true)
    .own(Role::Agent)
    .fails(ENDS)
    .fails(&[
        ErrorKind::Conflict,
        ErrorKind::KeyInUse,
        ErrorKind::KeyReused,
        ErrorKind::Interrupted,
        ErrorKind::Gone,
    ])
    .answers_with::<CallResource>(StatusCode::ACCEPTED, "With `Prefer: respond-async`: where the answer will be.")
    .with_header("Location", "The call.", json!({"type": "string", "pattern": "^/v1/calls/"}))
    .with_header(PREFERENCE_APPLIED_HEADER, "That it is not waited for.", json!({"const": RESPOND_ASYNC}))
    .gives(StatusCode::OK, "application/json", given, "What the tool said; with `opening` if it was asked for.")
    .events(events.clone(), "To `Accept: text/event-stream`: how far it is; then what came of it.")
    .done();
    let id = || json!("01890a5d-ac96-774b-bcce-b302099a8057");
    api.get(
        "/v1/calls",
        "list_calls",
        "Lists calls that outlive their request, the newest first; an agent's own.",
    )
    .query::<CallsQuery>()
    .answers::<CallPage>("A page of them, without results.")
    .done();
    api.get("/v1/calls/{id}", "show_call", "Shows a call that outlives its request.")
        .path::<CallId>("id", "The call.", id())
        .own(Role::Agent)
        .answers::<CallResource>("How it is, and what came of it.")
        .done();
    api.delete("/v1/calls/{id}", "cancel_call", "Asks a call that waits or runs to end.")
        .path::<CallId>("id", "The call.", id())
        .own(Role::Agent)
        .answers::<Cancelled>("It was asked.")
        .done();
    api.get("/v1/calls/{id}/events", "follow_call", "Follows a call that outlives its request to its end.")
        .path::<CallId>("id", "The call.", id())
        .own(Role::Agent)
        .fails(&[ErrorKind::Gone])
        .events(events, "How far it is; then what came of it.")
        .done();
    api.get("/v1/calls/{id}/receipt", "prove_call", "Gives what proves a call that has ended.")
        .path::<CallId>("id", "The call.", id())
        .own(Role::Agent)
        .fails(&[ErrorKind::Busy])
        .answers::<Receipt>("Its receipt, for whoever has the log's public key.")
        .done();
}
