//! Tasks of MCP (SEP-2663, the extension `io.modelcontextprotocol/tasks`): a call that takes long is a handle, by which
//! its client asks again.
//!
//! A task is a kept call, as `Prefer: respond-async` makes one: the same bounds, the same place in the API, and its id
//! is the call's. What is kept is what the API tells; here it is said as MCP says it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use rmcp::ErrorData;
use rmcp::model::{
    CallToolResponse, CallToolResult, CreateTaskResult, DetailedTask, GetTaskResult, JsonObject, Task,
    TaskPayload, TaskStatus,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;

use super::{McpServer, Told, answer, unknown_tool};
use crate::api::calls::teller;
use crate::api::problem::{ErrorKind, Problem};
use crate::database::{CallMode, KeptEnd};
use crate::gateway::{
    CallRequest, CallState, Ended, Following, Host, HostError, KeepError, KeepRequest, Kept, KeptCall,
};
use crate::ids::{CallId, ToolName};

/// How long a call is waited for before its client gets a handle in the place of an answer. Until then it is like any
/// other: its progress is told, and it ends with its request.
const WAIT: Duration = Duration::from_secs(10);
/// How often a client should ask.
const POLL_INTERVAL_MS: u64 = 1_000;

/// Whether whoever asks knows what to do with a handle.
pub(super) fn are_known_to(context: &RequestContext<RoleServer>) -> bool {
    context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks())
}

impl McpServer {
    /// Makes a call that goes on without its request; answers it if it ends soon.
    pub(super) async fn call_as_task(
        &self,
        request: CallRequest,
        name: ToolName,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let wanted = KeepRequest { request, asked_by: self.agent.clone(), mode: CallMode::Async, key: None };
        let following = match self.host.keep_call(wanted, teller(name.clone())).await {
            Ok(Kept::Taken(following)) => following,
            // Only a key makes a call known.
            Ok(Kept::Known(known)) => return Ok(handle(&known)),
            Err(error) => return Ok(CallToolResponse::Complete(refused(error))),
        };
        let call = following.call;
        let mut bound = EndsWithRequest { host: &self.host, call: Some(call) };
        let waited = tokio::time::timeout(WAIT, self.end_of(following, context)).await;
        match waited {
            Ok(Some(ended)) => match told(ended.end, &ended.document) {
                Some(result) => Ok(CallToolResponse::Complete(result)),
                None => Err(unknown_tool(name.as_str())),
            },
            Ok(None) | Err(_) => {
                let kept = self.kept(call).await?;
                // From here on it is the client's to ask for, and to end.
                bound.call = None;
                Ok(handle(&kept))
            }
        }
    }

    /// Waits for the end of a call, tells its progress if that was asked for, and asks it to end when its client does.
    /// None if the host fails.
    async fn end_of(&self, following: Following, context: &RequestContext<RoleServer>) -> Option<Arc<Ended>> {
        let Following { call, mut progress, mut ended } = following;
        let mut told = Told::asked_for(context);
        let mut is_cancelled = false;
        let end = async { ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone()) };
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = context.ct.cancelled(), if !is_cancelled => {
                    is_cancelled = true;
                    self.host.abandon_call(call);
                }
                Ok(()) = progress.changed(), if told.is_some() && !is_cancelled => {
                    let step = progress.borrow_and_update().clone();
                    if let (Some(step), Some(told)) = (step, &mut told) {
                        told.tell(step, &context.peer).await;
                    }
                }
                end = &mut end => return end,
            }
        }
    }

    pub(super) async fn task(&self, id: &str) -> Result<GetTaskResult, ErrorData> {
        let kept = self.kept(call_of(id)?).await?;
        Ok(GetTaskResult::new(DetailedTask::new(task_of(&kept), payload(&kept))))
    }

    /// One that has ended stays as it is.
    pub(super) async fn cancel_as_task(&self, id: &str) -> Result<(), ErrorData> {
        let call = call_of(id)?;
        let kept = self.kept(call).await?;
        if kept.row.end.is_some() {
            return Ok(());
        }
        match self.host.cancel(&self.agent, call, Some(&self.agent)).await {
            Ok(()) | Err(HostError::NotRunning { .. }) => Ok(()),
            Err(_) => Err(ErrorData::internal_error("the call can't be cancelled now".to_owned(), None)),
        }
    }

    /// No task asks for anything, so there is nothing to answer.
    pub(super) async fn answer_to_task(&self, id: &str) -> Result<(), ErrorData> {
        self.kept(call_of(id)?).await?;
        Err(ErrorData::invalid_params("the task has asked for nothing".to_owned(), None))
    }

    /// A call that this agent asked for. Another's is as if it was not there.
    async fn kept(&self, call: CallId) -> Result<KeptCall, ErrorData> {
        match self.host.kept_call(call, Some(&self.agent)).await {
            Ok(Some(kept)) => Ok(kept),
            Ok(None) => Err(unknown_task()),
            Err(_) => Err(ErrorData::internal_error("the host can't look it up now".to_owned(), None)),
        }
    }
}

/// A call that ends with its request, so long as its client has no handle of it.
struct EndsWithRequest<'a> {
    host: &'a Host,
    call: Option<CallId>,
}

impl Drop for EndsWithRequest<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.host.abandon_call(call);
        }
    }
}

fn unknown_task() -> ErrorData {
    ErrorData::invalid_params("there is no such task, or it is not kept any more".to_owned(), None)
}

fn call_of(id: &str) -> Result<CallId, ErrorData> {
    id.parse().map_err(|_| unknown_task())
}

fn handle(kept: &KeptCall) -> CallToolResponse {
    CallToolResponse::Task(CreateTaskResult::new(task_of(kept)))
}

fn task_of(kept: &KeptCall) -> Task {
    let row = &kept.row;
    let status = match kept.state {
        CallState::Queued | CallState::Running => TaskStatus::Working,
        CallState::Succeeded | CallState::Failed => TaskStatus::Completed,
        CallState::Interrupted => TaskStatus::Failed,
        CallState::Cancelled => TaskStatus::Cancelled,
    };
    let updated = row.end.map_or(row.accepted, |(_, at)| at);
    let mut task = Task::new(row.call.to_string(), status, row.accepted.to_string(), updated.to_string())
        .with_poll_interval_ms(POLL_INTERVAL_MS);
    // Counted from the beginning; it is kept from its end on.
    if let Some(until) = row.keep_until {
        let kept_for = until.duration_since(row.accepted).max(SignedDuration::ZERO);
        task = task.with_ttl_ms(u64::try_from(kept_for.as_millis()).unwrap_or(u64::MAX));
    }
    if let Some(message) = kept.progress.as_ref().map(|step| &step.message).filter(|text| !text.is_empty()) {
        task = task.with_status_message(message.clone());
    }
    task
}

fn payload(kept: &KeptCall) -> TaskPayload {
    let Some((end, _)) = kept.row.end else { return TaskPayload::Working };
    if end == KeptEnd::Cancelled {
        return TaskPayload::Cancelled;
    }
    let lost = match end {
        KeptEnd::Interrupted => {
            "The host ended before the call did. What it did until then is done; it is not run again."
        }
        KeptEnd::Succeeded | KeptEnd::Failed | KeptEnd::Cancelled => {
            "The call has ended, and its answer is not kept any more."
        }
    };
    let told = kept.row.answer.as_deref().filter(|_| end != KeptEnd::Interrupted);
    match told.and_then(|answer| told_as_object(end, answer)) {
        Some(result) => TaskPayload::Completed { result },
        None => TaskPayload::Failed { error: object(&ErrorData::internal_error(lost.to_owned(), None)) },
    }
}

fn told_as_object(end: KeptEnd, document: &str) -> Option<JsonObject> {
    told(end, document).map(|result| object(&result))
}

fn object(value: &impl serde::Serialize) -> JsonObject {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => JsonObject::new(),
    }
}

/// What is kept of an end, as a result. None if the tool is one that the agent is not to know of, or the document is not
/// one that this host wrote.
fn told(end: KeptEnd, document: &str) -> Option<CallToolResult> {
    match end {
        KeptEnd::Succeeded => serde_json::from_str(document).ok().map(answer::result),
        KeptEnd::Failed | KeptEnd::Cancelled | KeptEnd::Interrupted => {
            let problem: Problem = serde_json::from_str(document).ok()?;
            (problem.kind != ErrorKind::NotFound).then(|| answer::problem(problem))
        }
    }
}

/// Why a call is not taken.
fn refused(error: KeepError) -> CallToolResult {
    answer::problem(crate::api::agents::veiled(error.into()))
}
