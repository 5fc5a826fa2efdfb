//! Calls as text.

use std::fmt::Write as _;

use super::{answer, moment, one_line, push, render, table};
use crate::api::Problem;
use crate::api::messages::CallResource;
use crate::gateway::CallAnswer;
use crate::text::clean;

pub(in crate::cli) fn list(calls: &[CallResource]) -> String {
    if calls.is_empty() {
        return "there are no calls that were detached or have a key".to_owned();
    }
    let mut table = table(["CALL", "STATE", "AGENT", "PACKAGE", "TOOL", "TAKEN", "ENDED"]);
    for call in calls {
        table.add_row([
            call.call.to_string(),
            call.state.name().to_owned(),
            call.principal.to_string(),
            call.package.to_string(),
            call.tool.to_string(),
            moment(call.accepted),
            call.ended.map_or_else(String::new, moment),
        ]);
    }
    render(&table)
}

pub(in crate::cli) fn call(call: &CallResource) -> String {
    let CallResource { call: id, state, principal, package, tool, accepted, ended, kept_until, .. } = call;
    let mut text =
        format!("call {id}: {}\n{package} {tool} as {principal}, taken {}", state.name(), moment(*accepted));
    if let (Some(ended), Some(until)) = (ended, kept_until) {
        write!(text, ", ended {}, kept until {}", moment(*ended), moment(*until))
            .expect("a String takes all");
    }
    if let Some(step) = &call.progress {
        let of = step.total.map(|total| format!(" of {total}")).unwrap_or_default();
        push(&mut text, format_args!("the tool says: {}{of} {}", step.done, one_line(&step.message)));
    }
    if let Some(result) = &call.result {
        match serde_json::from_value::<CallAnswer>(result.clone()) {
            Ok(said) => push(&mut text, format_args!("\n{}", answer(&said.answer))),
            Err(_) => push(&mut text, format_args!("{}", clean(&result.to_string(), usize::MAX))),
        }
    }
    if let Some(error) = &call.error {
        match serde_json::from_value::<Problem>(error.clone()) {
            Ok(problem) => {
                push(&mut text, format_args!("{}: {}", problem.title, clean(&problem.detail, usize::MAX)))
            }
            Err(_) => push(&mut text, format_args!("{}", clean(&error.to_string(), usize::MAX))),
        }
    }
    text
}
