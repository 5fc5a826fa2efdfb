//! What a grants file changes, in words.

use super::{ids, joined, one_line, push};
use crate::policy::diff::{AgentDiff, GrantHead, GrantsDiff, PowerChange, ToolChange};

/// All that a file would change.
pub(in crate::cli) fn diff(diff: &GrantsDiff) -> String {
    let GrantsDiff { revision, changes, granted, ended, unchanged, groups, .. } = diff;
    if !changes {
        return format!("nothing to do: revision {revision} says the same");
    }
    let mut text = format!("compared with revision {revision}, which stays in force\n");
    for (what, grants) in [("begins", granted), ("ends", ended)] {
        for GrantHead { id, package, agents } in grants {
            push(&mut text, format_args!("{what:<9} grant {id} of {package} for {}", joined(agents, ", ")));
        }
    }
    if !unchanged.is_empty() {
        push(&mut text, format_args!("stays     {}", ids(unchanged)));
    }
    if !groups.is_empty() {
        push(&mut text, format_args!("groups    {}", joined(groups, ", ")));
    }
    text.push_str(&agents(diff));
    text
}

/// What agents may do more and less.
pub(super) fn agents(diff: &GrantsDiff) -> String {
    let mut text = String::new();
    if diff.agents.is_empty() && diff.changes {
        push(&mut text, format_args!("no agent may do more or less by it"));
    }
    for AgentDiff { agent, package, widens, narrows } in &diff.agents {
        push(&mut text, format_args!("{agent} with {package}:"));
        for (sign, changes) in [("+", widens), ("-", narrows)] {
            for ToolChange { tools, change } in changes {
                let tools = match (tools, change) {
                    (Some(tools), _) => format!(" ({})", joined(tools, ", ")),
                    (None, PowerChange::Call) => " (all tools)".to_owned(),
                    (None, _) => String::new(),
                };
                push(&mut text, format_args!("  {sign} {}{tools}", one_line(&change.to_string())));
            }
        }
    }
    if !diff.is_whole {
        push(&mut text, format_args!("and further agents, which are not shown"));
    }
    text
}

/// What may be a slip, one line each.
pub(in crate::cli) fn warnings(diff: &GrantsDiff) -> Vec<String> {
    let line = |warning: &crate::policy::Diagnostic| {
        let help = warning.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        one_line(&format!("note: {warning}{help}"))
    };
    diff.warnings.iter().map(line).collect()
}
