//! Tools that call tools: the gateway makes a guest's calls while it waits for the guest.
//!
//! A nested call goes the way of any other, for the same agent and with its own grants. What it may use
//! at most is what its caller has left; it never waits for a place.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{CallAnswer, CallError, CallRequest, Host};
use crate::arguments::parse_arguments;
use crate::audit::event::CallContext;
use crate::authn::Admission;
use crate::ids::CallId;
use crate::policy::{AuthorizedCall, Durability};
use crate::sandbox::nested::{Ancestor, Budget, NestedError, NestedOrder, NestedOutcome, Nesting};
use crate::sandbox::{CallControl, InvokeError, Invoked};

/// Whose tool makes a call.
pub(super) struct Parent<'a> {
    pub(super) call: CallId,
    pub(super) budget: Budget,
    ancestors: &'a [Ancestor],
    depth_max: u64,
    /// What that call waits for.
    pub(super) durability: Durability,
}

/// A call that makes others.
pub(super) struct Caller<'a> {
    pub(super) context: &'a CallContext,
    pub(super) admission: &'a Arc<Admission>,
    pub(super) ancestors: Arc<[Ancestor]>,
    pub(super) depth_max: u64,
    pub(super) durability: Durability,
}

/// What a call knows of those around it, and where its own orders arrive if it may make calls.
pub(super) fn nesting(
    call: &AuthorizedCall,
    parent: Option<&Parent<'_>>,
) -> (Nesting, Option<mpsc::Receiver<NestedOrder>>) {
    let itself = (call.package().clone(), call.tool().clone());
    let above = parent.map_or(&[][..], |parent| parent.ancestors);
    let ancestors = above.iter().cloned().chain([itself]).collect();
    let own = call.limits().depth;
    let depth_max = parent.map_or(own, |parent| parent.depth_max.min(own));
    // A guest makes one call at a time.
    let (orders, arriving) = call.may_invoke().then(|| mpsc::channel(1)).unzip();
    (Nesting { ancestors, depth_max, orders }, arriving)
}

impl Host {
    /// Waits for a call, and makes the calls that it orders meanwhile. When it ends, so does one that it
    /// still waits for.
    pub(super) async fn serve_nested(
        &self,
        running: impl Future<Output = Invoked>,
        mut orders: mpsc::Receiver<NestedOrder>,
        caller: &Caller<'_>,
    ) -> Invoked {
        let mut running = std::pin::pin!(running);
        loop {
            let order = tokio::select! {
                biased;
                invoked = &mut running => return invoked,
                Some(order) = orders.recv() => order,
            };
            // Boxed, since a nested call may have nested calls.
            let mut nested = Box::pin(self.make_nested(order, caller));
            tokio::select! {
                biased;
                invoked = &mut running => return invoked,
                () = &mut nested => {}
            }
        }
    }

    async fn make_nested(&self, order: NestedOrder, caller: &Caller<'_>) {
        let NestedOrder { package, tool, arguments, budget, answer } = order;
        let Caller { context, admission, ancestors, depth_max, durability } = caller;
        let parsed = parse_arguments(arguments.as_bytes());
        let outcome = match parsed {
            Err(error) => {
                let text = format!("the arguments can't be read: {error}");
                NestedOutcome { fuel: 0, result: Err(NestedError::Arguments(text)) }
            }
            Ok(parsed) => {
                let request = CallRequest {
                    principal: context.principal.clone(),
                    package,
                    tool,
                    arguments: parsed,
                    argument_bytes: arguments.len() as u64,
                    trace: context.trace.clone(),
                    admission: Arc::clone(admission),
                };
                let (depth_max, durability) = (*depth_max, *durability);
                let parent = Parent { call: context.call, budget, ancestors, depth_max, durability };
                outcome(self.run(CallId::generate(), request, CallControl::default(), Some(parent)).await)
            }
        };
        // A caller that is gone needs no answer.
        let _ = answer.send(outcome);
    }
}

fn outcome(called: Result<CallAnswer, CallError>) -> NestedOutcome {
    match called {
        Ok(CallAnswer { answer, report }) => NestedOutcome { fuel: report.usage.fuel, result: Ok(answer) },
        Err(error) => {
            let fuel = match &error {
                CallError::Failed { report, .. } => report.usage.fuel,
                CallError::NotFound(_)
                | CallError::Denied { .. }
                | CallError::Busy(_)
                | CallError::Quota(_)
                | CallError::Log(_)
                | CallError::DiskLow(_)
                | CallError::Host(_) => 0,
            };
            NestedOutcome { fuel, result: Err(told(error)) }
        }
    }
}

/// What the calling tool is told: never an admin's words.
fn told(error: CallError) -> NestedError {
    let text = error.to_string();
    match error {
        CallError::NotFound(_) => NestedError::NotFound(text),
        CallError::Denied { .. } => NestedError::Denied(text),
        CallError::Busy(_) | CallError::Quota(_) | CallError::DiskLow(_) => NestedError::Refused(text),
        CallError::Log(error) => NestedError::Log(error),
        CallError::Host(_) => NestedError::Failed("the host failed".to_owned()),
        CallError::Failed { error, .. } => match error {
            InvokeError::Arguments(_) => NestedError::Arguments(text),
            InvokeError::LimitReached(reached) => NestedError::LimitReached(reached),
            InvokeError::Busy => NestedError::Refused(text),
            InvokeError::Log(error) => NestedError::Log(error),
            InvokeError::Tool { .. } | InvokeError::Crashed(_) => NestedError::Failed(text),
            InvokeError::Withheld { .. } => NestedError::Failed("the answer was withheld".to_owned()),
            InvokeError::Stopped(_) => NestedError::Failed("the call was stopped".to_owned()),
            InvokeError::Cancelled => NestedError::Failed("the call was cancelled".to_owned()),
            InvokeError::Grant(_) => NestedError::Failed("what was granted to it can't be used".to_owned()),
            InvokeError::Host(_) => NestedError::Failed("the host failed".to_owned()),
        },
    }
}
