//! The API's own description: OpenAPI 3.1, made of the types that the handlers take and give, and of the one table of
//! who may. Decides nothing, and knows nothing of the host that serves it.
//!
//! How a route is described: beside its handlers, in the `describe` of its module (called in [`document`]), one
//! sentence:
//! ```text
//! api.put("/v1/things/{name}", "set_thing", "Sets a thing.")   // the path as in ENDPOINTS, a unique name, what it does
//!     .path::<ThingName>("name", "Which.", json!("one"))       // each {parameter}, with an example
//!     .query::<ThingQuery>()                                   // the struct that the handler takes
//!     .body::<ThingRequest>(json!({"size": 1}))                // the same, with an example; `maybe_body` if it may be left out
//!     .changes()                                               // it changes the host: 409, 503 and what else that brings
//!     .fails(&[ErrorKind::NotFound])                           // what else can go wrong
//!     .answers::<ThingChanged>("What came of it.");            // or `lines`, `bytes`; `gives` for another status
//! ```
//! Types derive `schemars::JsonSchema`; a text with a rule uses `text_schema!` (`ids.rs`). Roles come from
//! [`ENDPOINTS`]. Then `portcullis openapi > docs/openapi.json`. Tests fail for a route of the table that is not
//! described, for an answer (of any test at the API) that is not as described, and for a `docs/openapi.json` of yesterday.

mod operation;
mod schemas;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

pub(super) use operation::{Described, Describing};

use super::access::ENDPOINTS;
use super::http::Api;
use super::mcp::stream::McpQuery;
use super::{admin, calls, door, evidence, http as routes_of_http, keys, records, secrets, state, tools};
use crate::arguments::ARGUMENT_DEPTH_MAX;
use crate::policy::Role;

/// The media type of the answer.
const MEDIA_TYPE: &str = "application/json";

static TEXT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v1/openapi.json", get(show))
}

pub(super) fn describe(api: &mut Described) {
    api.get("/v1/openapi.json", "describe_api", "Gives this document.")
        .gives(StatusCode::OK, MEDIA_TYPE, json!({"type": "object"}), "OpenAPI 3.1.")
        .done();
}

/// The beginning of a sentence.
type Begin = fn(&mut Described) -> Describing<'_>;

/// MCP is described by its own specification.
fn describe_mcp(api: &mut Described) {
    let text = "Answers of MCP, which says when each comes.";
    let told = json!({"type": "object"});
    let begin: [(Begin, &str); 3] = [
        (
            |api| {
                api.post("/mcp", "send_mcp", "Takes a message of MCP (streamable HTTP).").json_body(
                    json!({"type": "object"}),
                    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
                    true,
                )
            },
            MEDIA_TYPE,
        ),
        (
            |api| api.get("/mcp", "listen_mcp", "Tells when the list of tools has changed."),
            "text/event-stream",
        ),
        (|api| api.delete("/mcp", "end_mcp", "Is MCP's."), MEDIA_TYPE),
    ];
    for (begin, media_type) in begin {
        let mut described = begin(api).gives(StatusCode::OK, media_type, told.clone(), text);
        for status in [
            StatusCode::BAD_REQUEST,
            StatusCode::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::NOT_ACCEPTABLE,
        ] {
            described = described.gives(status, MEDIA_TYPE, told.clone(), text);
        }
        described.done();
    }
    api.post(
        "/v1/mcp",
        "converse_mcp",
        "Speaks MCP over lines, both ways, for the owner of the data folder only.",
    )
    .query::<McpQuery>()
    .bytes_body("application/jsonl", "Messages, one a line.")
    .bytes("application/jsonl", "Messages, one a line.")
    .done();
}

async fn show() -> Response {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], TEXT.clone()).into_response()
}

/// The description of the API, as `GET /v1/openapi.json` serves it.
pub fn document() -> Value {
    let (operations, schemas) = described().into_parts();
    let (mut paths, mut responses) = (Map::new(), Map::new());
    // In the order of the table, so that the two can be read side by side.
    for endpoint in ENDPOINTS {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        let found = operations.iter().find(|operation| operation.is_of(endpoint));
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(operation) = found {
            path[method] = operation.to_value(endpoint, &mut responses);
        }
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Portcullis",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
            "description": about(),
        },
        "servers": [{"url": "/", "description": "The host that serves this document."}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: pcl_, 12 hex digits, _, and a secret. In no URL: there it is refused.",
                },
            },
            "schemas": schemas,
            "responses": responses,
            "headers": {
                "Frozen": {
                    "description": "While the host is frozen, to admins and auditors: the freeze, as JSON.",
                    "schema": {"type": "string"},
                },
            },
        },
    })
}

/// All that is described, each beside its handlers.
fn described() -> Described {
    let mut api = Described::default();
    routes_of_http::describe(&mut api);
    describe(&mut api);
    door::describe(&mut api);
    describe_mcp(&mut api);
    tools::describe(&mut api);
    calls::describe(&mut api);
    admin::describe(&mut api);
    keys::describe(&mut api);
    secrets::describe(&mut api);
    state::describe(&mut api);
    evidence::describe(&mut api);
    records::describe(&mut api);
    api
}

fn about() -> String {
    let roles = Role::ALL.map(Role::name).join(", ");
    format!(
        "Runs AI agents' tools that nobody trusts: each gets what an admin granted it, inside hard limits, and \
         everything that it does is logged.\n\n\
         `x-roles` of an operation are the roles ({roles}) whose keys may use it; the others get 403 before a body is \
         read. `x-own` names those that reach their own objects only: what is another's is as if it was not there, \
         404. Errors are problem documents (RFC 9457); their `type` is what to match on.\n\n\
         A body that is JSON is read by one strict parser: at most {ARGUMENT_DEPTH_MAX} levels deep (the limit is \
         named json_depth), no key twice, no NaN, no number out of range, else 400. Its Content-Type is \
         application/json, or absent; another is answered with 415. What `Accept` says is not looked at, but for \
         `text/event-stream` of `POST /v1/calls`: each other answer has the one form that is described. Each \
         GET answers HEAD. A method that a path does not have is answered \
         with 405 and Allow. A path with a slash at its end is another path: 404. Query parameters that are not \
         described are refused where an operation takes any, and else not looked at.\n\n\
         `application/jsonl` is one JSON document a line, each as `x-item-schema` says; the last says what came of it. \
         `text/event-stream` is server-sent events, whose data is one JSON document each, as `x-event-schemas` says by \
         their names."
    )
}
