//! `POST /v1/mcp?as=AGENT`: a conversation in lines, both ways at once.
//!
//! For `portcullis mcp`, which passes on what its client writes to stdin, and prints what comes back. Whoever
//! can open the owner's socket may call in the name of any agent; who has a credential of an agent, as itself.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use rmcp::service::serve_server;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::lines::Lines;
use super::{McpServer, ending};
use crate::api::calls::in_whose_name;
use crate::api::http::{Api, Checked};
use crate::api::problem::Problem;
use crate::authn::Caller;
use crate::ids::PrincipalId;

/// Messages that wait to be taken by the client. More make whoever sends them wait.
const QUEUE_MAX: usize = 16;

/// Query of `POST /v1/mcp`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct McpQuery {
    /// In whose name. An agent may name itself, or nobody.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    agent: Option<PrincipalId>,
}

pub(in crate::api) async fn converse(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Query(McpQuery { agent })): Checked<Query<McpQuery>>,
    request: Request,
) -> Result<Response, Problem> {
    let agent = in_whose_name(&caller, agent)?;
    let admission = Arc::clone(caller.admission());
    let (output, taken) = mpsc::channel::<Bytes>(QUEUE_MAX);
    tokio::spawn(async move {
        // Ends what waits for changes of the agent's tools.
        let (end, ended) = ending();
        let server = McpServer::new(api.host, agent, admission, ended);
        let lines = Lines::new(server.clone(), request.into_body(), output, api.stopping);
        match serve_server(server, lines).await {
            Ok(running) => {
                if let Err(error) = running.waiting().await {
                    tracing::warn!(%error, "a conversation in MCP ended early");
                }
            }
            Err(error) => tracing::debug!(%error, "a conversation in MCP did not begin"),
        }
        drop(end);
    });
    let pieces = stream::unfold(taken, |mut taken| async move {
        let piece = taken.recv().await?;
        Some((Ok::<_, Infallible>(piece), taken))
    });
    let kind = [(header::CONTENT_TYPE, "application/jsonl")];
    Ok((StatusCode::OK, kind, Body::from_stream(pieces)).into_response())
}
