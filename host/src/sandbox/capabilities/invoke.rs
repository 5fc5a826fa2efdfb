//! `portcullis:tool/invoke`: calls of other tools, as the call's rules allow.
//!
//! Depth, number and cycles are judged here; whether the agent may call the other tool, and what that one
//! may do, the gateway decides as it does for any call.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{CallState, NOT_GRANTED, SUBJECT_BYTES_MAX};
use crate::audit::event::{HostCallOutcome, LeakAction, LeakPlace};
use crate::ids::{PackageName, ToolName};
use crate::limits::{Limit, LimitReached};
use crate::policy::{AuthorizedRule, Rule};
use crate::sandbox::bindings::portcullis::tool::invoke;
use crate::sandbox::nested::{Budget, NestedError, NestedOrder, NestedOutcome, Nesting};
use crate::sandbox::{Content, ToolAnswer};
use crate::text::clean_line;

mod calls {
    crate::sandbox::capabilities::gate::host_functions! { "portcullis:tool/invoke":
        CALL = "call", Always;
    }
}

/// The functions of `portcullis:tool/invoke`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[calls::ALL];

/// What a call keeps for the calls that it makes.
#[derive(Debug)]
pub(crate) struct Invoke {
    nesting: Nesting,
    /// The guest's fuel when it last called out, noted by the engine's hook.
    pub(crate) fuel_left: u64,
    /// Fuel of nested calls that the guest still has to pay; taken by the engine's hook.
    pub(crate) fuel_owed: u64,
    /// How many times the guest called out and has not returned: more than one while the host has it allocate.
    pub(crate) host_depth: u64,
}

/// Why a call is refused before anything was begun.
struct Refusal {
    /// For the log.
    why: &'static str,
    error: invoke::InvokeError,
}

impl Invoke {
    pub(crate) fn new(nesting: Nesting, fuel: u64) -> Self {
        Self { nesting, fuel_left: fuel, fuel_owed: 0, host_depth: 0 }
    }

    /// How deep this call is.
    pub(crate) fn depth(&self) -> u64 {
        self.nesting.ancestors.len() as u64
    }
}

impl CallState {
    /// Whether the call may make any other.
    pub(crate) fn may_invoke_any(&self) -> bool {
        self.invoke.nesting.orders.is_some()
    }

    /// Whether the call may make this one, and by which rule.
    fn may_invoke(
        &self,
        package: &str,
        tool: &str,
    ) -> Result<(PackageName, ToolName, &AuthorizedRule), Refusal> {
        let denied = || Refusal {
            why: NOT_GRANTED,
            error: invoke::InvokeError::Denied("no grant of this call names the tool".to_owned()),
        };
        let (Ok(package), Ok(tool)) = (package.parse(), tool.parse()) else { return Err(denied()) };
        let allows = |given: &&AuthorizedRule| match &given.rule {
            Rule::Invoke(rule) => rule.allows(&package, &tool),
            Rule::Http(_)
            | Rule::Keyvalue(_)
            | Rule::Config(_)
            | Rule::Environment(_)
            | Rule::Arguments(_)
            | Rule::Tcp(_)
            | Rule::Udp(_)
            | Rule::Dns(_)
            | Rule::Secrets(_) => false,
        };
        let rule = self.rules.iter().find(allows).ok_or_else(denied)?;
        if self.invoke.nesting.ancestors.iter().any(|(above, of)| *above == package && *of == tool) {
            let text = format!("{package} {tool} waits for this call: it would be its own caller");
            return Err(Refusal { why: "a cycle", error: invoke::InvokeError::Refused(text) });
        }
        let fan_out = self.gate.used().fan_out + 1;
        for (limit, value, max, why) in [
            (Limit::Depth, self.invoke.depth() + 1, self.invoke.nesting.depth_max, "limit depth"),
            (Limit::FanOut, fan_out, self.gate.limits().fan_out, "limit fan_out"),
        ] {
            if value > max {
                let text = LimitReached { limit, value, max }.to_string();
                return Err(Refusal { why, error: invoke::InvokeError::Refused(text) });
            }
        }
        Ok((package, tool, rule))
    }

    /// Has the gateway make the call, and waits for it. The caller's own deadline bounds the wait.
    async fn invoke(&mut self, package: PackageName, tool: ToolName, arguments: String) -> NestedOutcome {
        let gone = |text: &str| NestedOutcome { fuel: 0, result: Err(NestedError::Refused(text.to_owned())) };
        let limits = self.gate.limits();
        let budget = Budget {
            fuel: self.invoke.fuel_left.min(limits.fuel),
            wall_time: limits.wall_time.saturating_sub(self.clock.elapsed()),
        };
        let Some(orders) = &self.invoke.nesting.orders else { return gone("nobody makes calls for it") };
        let (answer, answered) = oneshot::channel();
        let order = NestedOrder { package, tool, arguments, budget, answer };
        if orders.send(order).await.is_err() {
            return gone("the call is over");
        }
        answered.await.unwrap_or_else(|_| gone("the call is over"))
    }
}

impl invoke::Host for CallState {
    async fn call(
        &mut self,
        package: String,
        tool: String,
        arguments: String,
    ) -> wasmtime::Result<Result<invoke::Answer, invoke::InvokeError>> {
        let subject = clean_line(&format!("{package} {tool}"), SUBJECT_BYTES_MAX);
        let entered = self.gate.enter(calls::CALL, Some(Arc::from(subject))).await?;
        let (package, tool, rule) = match self.may_invoke(&package, &tool) {
            Ok((package, tool, rule)) => (package, tool, rule.name()),
            Err(Refusal { why, error }) => {
                self.gate.deny(entered, why, name(&error));
                return Ok(Err(error));
            }
        };
        // The other tool was not given it.
        if let Some(leak) = self.gate.secrets().patterns().find(arguments.as_bytes()) {
            self.gate.leaked(LeakPlace::Arguments, &leak, LeakAction::Refused);
            let text = format!("the arguments hold secret {}, which is not for other tools", leak.secret);
            let error = invoke::InvokeError::Refused(text);
            self.gate.deny(entered, "a secret", name(&error));
            return Ok(Err(error));
        }
        let attempted = self.gate.attempt(entered, Cow::Owned(rule), arguments.len() as u64).await?;
        self.gate.usage().fan_out += 1;
        let outcome = self.invoke(package, tool, arguments).await;
        self.invoke.fuel_owed = self.invoke.fuel_owed.saturating_add(outcome.fuel);
        let result = match outcome.result {
            Ok(answer) => Ok(told(&answer)),
            Err(NestedError::Log(error)) => {
                self.gate.finish(attempted, HostCallOutcome::Trapped(Cow::Borrowed("the log")));
                return Err(error.into());
            }
            Err(error) => Err(refused(error)),
        };
        let outcome = match &result {
            Ok(_) => HostCallOutcome::Ok,
            Err(error) => HostCallOutcome::Error(Cow::Borrowed(name(error))),
        };
        self.gate.finish(attempted, outcome);
        Ok(result)
    }
}

fn told(answer: &ToolAnswer) -> invoke::Answer {
    let content: &[Content] = &answer.content;
    invoke::Answer {
        content: serde_json::to_string(content).expect("content is text: it always serialises"),
        structured: answer.structured.as_ref().map(ToString::to_string),
    }
}

fn refused(error: NestedError) -> invoke::InvokeError {
    match error {
        NestedError::Denied(text) => invoke::InvokeError::Denied(text),
        NestedError::NotFound(text) => invoke::InvokeError::NotFound(text),
        NestedError::Arguments(text) => invoke::InvokeError::InvalidArguments(text),
        NestedError::Refused(text) => invoke::InvokeError::Refused(text),
        NestedError::LimitReached(reached) => invoke::InvokeError::LimitReached(reached.to_string()),
        NestedError::Failed(text) => invoke::InvokeError::Failed(text),
        NestedError::Log(error) => invoke::InvokeError::Failed(error.to_string()),
    }
}

/// The case's name in WIT.
fn name(error: &invoke::InvokeError) -> &'static str {
    match error {
        invoke::InvokeError::Denied(_) => "denied",
        invoke::InvokeError::NotFound(_) => "not-found",
        invoke::InvokeError::InvalidArguments(_) => "invalid-arguments",
        invoke::InvokeError::Refused(_) => "refused",
        invoke::InvokeError::LimitReached(_) => "limit-reached",
        invoke::InvokeError::Failed(_) => "failed",
    }
}
