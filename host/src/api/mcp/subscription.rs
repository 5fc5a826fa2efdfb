//! Subscriptions of revision 2026-07-28 over HTTP: there may be thousands, of which each has next to nothing to say.
//!
//! rmcp answers each request by a service of its own, whose channels hold some 60 KB for as long as the request lasts.
//! So a subscription is rehearsed first: rmcp checks it, and answers it as if there were one change and then the end.
//! What it says is kept, and the service is gone; from then on each text is sent when there is reason to.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use http::{StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use rmcp::ErrorData;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{ServerConfig, SubscriptionFilter};
use rmcp::service::SubscriptionContext;
use serde_json::Value;
use tokio::time::timeout;

use super::http::refusal;
use super::message::Refused;
use super::{McpServer, Watch};

/// A rehearsal says three short things. A filter may name much that is not served, and is not repeated.
const REHEARSAL_BYTES_MAX: usize = 64 << 10;
/// It waits for nothing.
const REHEARSAL_TIME_MAX: Duration = Duration::from_secs(10);

/// Answers a subscription with one change and the end.
#[derive(Clone, Debug)]
pub(super) struct Rehearsal {
    server: McpServer,
}

impl Rehearsal {
    pub(super) fn of(server: McpServer) -> Self {
        Self { server }
    }
}

impl ServerHandler for Rehearsal {
    fn get_info(&self) -> ServerConfig {
        self.server.get_info()
    }

    fn accepted_subscription_filter(&self, asked: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        self.server.accepted_subscription_filter(asked)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        // Whoever did not ask for changes is told of none.
        let _ = context.sink().notify_tool_list_changed().await;
        Ok(())
    }
}

/// What is said in a subscription, each as one message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Script {
    acknowledged: Option<String>,
    changed: Option<String>,
    ended: Option<String>,
}

impl Script {
    /// Of the events that rmcp sent.
    fn of(events: &str) -> Self {
        let mut script = Self::default();
        for message in events.lines().filter_map(|line| line.strip_prefix("data:")) {
            let message = message.trim();
            let Ok(said) = serde_json::from_str::<Value>(message) else { continue };
            let part = match said["method"].as_str() {
                Some("notifications/subscriptions/acknowledged") => &mut script.acknowledged,
                Some("notifications/tools/list_changed") => &mut script.changed,
                _ if said.get("result").is_some() => &mut script.ended,
                _ => continue,
            };
            *part = Some(message.to_owned());
        }
        script
    }
}

/// Goes on with a subscription that was rehearsed. One that was refused stays so.
pub(super) async fn go_on(rehearsed: Response, watch: Watch) -> Response {
    let kind = rehearsed.headers().get(header::CONTENT_TYPE);
    if !rehearsed.status().is_success() || kind.is_none_or(|kind| kind != "text/event-stream") {
        return rehearsed;
    }
    let (parts, body) = rehearsed.into_parts();
    let read = timeout(REHEARSAL_TIME_MAX, Limited::new(body, REHEARSAL_BYTES_MAX).collect()).await;
    let said = match read {
        Ok(Ok(said)) => said.to_bytes(),
        Ok(Err(_)) | Err(_) => {
            let error = ErrorData::internal_error("the subscription could not be made; try again", None);
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, Refused { error, id: None });
        }
    };
    let script = Script::of(&String::from_utf8_lossy(&said));
    if script.acknowledged.is_none() {
        return Response::from_parts(parts, Body::from(said));
    }
    let events = Sse::new(performance(script, watch)).keep_alive(KeepAlive::default());
    Response::from_parts(parts, events.into_response().into_body())
}

fn performance(
    Script { acknowledged, changed, ended }: Script,
    watch: Watch,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let changes = stream::unfold(Some((watch, changed, ended)), |state| async move {
        let (mut watch, changed, mut ended) = state?;
        while watch.changed().await {
            if let Some(message) = &changed {
                let message = message.clone();
                return Some((message, Some((watch, changed, ended))));
            }
        }
        ended.take().map(|message| (message, None))
    });
    stream::iter(acknowledged).chain(changes).map(|message| Ok(Event::default().data(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_from_events_whatever_else_is_in_them() {
        let acknowledged = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}"#;
        let ended = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        let events =
            format!(":\n\nid: 0\nretry: 3000\ndata: \n\ndata: {acknowledged}\n\nevent: x\ndata:{ended}\n\n");
        let expected =
            Script { acknowledged: Some(acknowledged.into()), changed: None, ended: Some(ended.into()) };
        assert_eq!(Script::of(&events), expected);
        assert_eq!(Script::of("data: {\"error\":{}}\n\ndata: [\n\n"), Script::default());
    }
}
