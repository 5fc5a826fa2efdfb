//! `POST /v1/mcp?as=AGENT` on the owner's socket: a conversation in lines, both ways at once.
//!
//! For `portcullis mcp`, which passes on what its client writes to stdin, and prints what comes back. Whoever
//! can open the socket may call in the name of any agent.

use std::convert::Infallible;

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
use crate::api::http::{Api, Checked};
use crate::api::problem::{ErrorKind, Problem};
use crate::authn::Caller;
use crate::gateway::Blame;
use crate::ids::PrincipalId;

/// Messages that wait to be taken by the client. More make whoever sends them wait.
const QUEUE_MAX: usize = 16;

/// Query of `POST /v1/mcp`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct McpQuery {
    /// In whose name.
    #[serde(rename = "as")]
    agent: PrincipalId,
}

pub(in crate::api) async fn converse(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Query(McpQuery { agent })): Checked<Query<McpQuery>>,
    request: Request,
) -> Result<Response, Problem> {
    if !caller.may_call_for_others() {
        let detail = "only the owner of the data folder calls in the name of others; `/mcp` is for agents";
        return Err(Problem::new(ErrorKind::Forbidden, detail, Blame::Agent));
    }
    let (output, taken) = mpsc::channel::<Bytes>(QUEUE_MAX);
    let lines = Lines::new(request.into_body(), output, api.stopping.clone());
    tokio::spawn(async move {
        // Ends what waits for changes of the agent's tools.
        let (end, ended) = ending();
        let server = McpServer::new(api.host, agent, ended);
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
