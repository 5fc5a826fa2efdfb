//! Whether the agents that a grants file names are ones that may be granted anything. Pure.
//!
//! A grant is what makes a name an agent's, so a new name is no error: it is pointed out, because it may
//! be a slip. A principal that an admin removed, or that is no agent, is an error: what a file says
//! must be what is in force. Nor may two names of agents be such that one is taken for the other.

use std::collections::BTreeSet;

use super::grant::Policy;
use super::parse::{AgentPlace, Diagnostic, GrantsFile, nearest};
use super::standing::Standing;
use crate::ids::{Names, PrincipalId};

/// The most errors, and the most warnings, that one file is told of.
const DIAGNOSTICS_MAX: usize = 100;

/// The most names that are looked at to guess which one was meant.
const NEAR_AGENTS_MAX: usize = 1_000;

/// The agents of the file that can't be granted anything under this policy, each with its place.
pub(crate) fn unusable_agents(file: &GrantsFile, policy: &Policy) -> Vec<Diagnostic> {
    let error = |place: &AgentPlace| {
        let principal = policy.principals.get(&place.agent)?;
        let denial = policy.bars_principal(&place.agent)?;
        let help = match principal.standing {
            Standing::Removed => {
                format!("leave it out, or let it call again first: portcullis principal add {}", place.agent)
            }
            Standing::Added => "leave it out, or give it the role of an agent first".to_owned(),
        };
        Some(diagnostic(file, place, denial.to_string(), Some(help)))
    };
    file.agents.iter().filter_map(error).take(DIAGNOSTICS_MAX).collect()
}

/// The agents of the file that nobody has named before, each once.
pub(crate) fn new_agents(file: &GrantsFile, policy: &Policy) -> Vec<Diagnostic> {
    let known = policy.principal_names();
    let mut seen = BTreeSet::new();
    let is_new = |place: &&AgentPlace| !known.contains(&place.agent) && seen.insert(place.agent.clone());
    let warning = |place: &AgentPlace| {
        let names = known.iter().take(NEAR_AGENTS_MAX).map(|name| name.as_str());
        let near = nearest(place.agent.as_str(), names).map(|near| format!("did you mean `{near}`?"));
        let message = format!("agent {} is new: no grant has named it before", place.agent);
        diagnostic(file, place, message, near)
    };
    file.agents.iter().filter(is_new).map(warning).take(DIAGNOSTICS_MAX).collect()
}

/// The agents of the file that can be taken for another of it, or for one that is known under the policy that
/// the file would make; each once.
pub(crate) fn alike_agents(file: &GrantsFile, after: &Policy) -> Vec<Diagnostic> {
    let own: BTreeSet<&PrincipalId> = file.agents.iter().map(|place| &place.agent).collect();
    let mut names = Names::default();
    for known in after.principal_names().into_iter().filter(|name| !own.contains(name)) {
        names.insert(known.as_str());
    }
    let (mut seen, mut errors) = (BTreeSet::new(), Vec::new());
    for place in &file.agents {
        if errors.len() == DIAGNOSTICS_MAX {
            break;
        }
        if !seen.insert(&place.agent) {
            continue;
        }
        if let Some(other) = names.insert(place.agent.as_str()) {
            let message = format!("agent {} can be taken for {other}, which is another one", place.agent);
            let help = format!("write {other} if that is meant, or give one of the two another name");
            errors.push(diagnostic(file, place, message, Some(help)));
        }
    }
    errors
}

fn diagnostic(file: &GrantsFile, place: &AgentPlace, message: String, help: Option<String>) -> Diagnostic {
    Diagnostic::new(&file.source, place.span.clone(), &place.key, message, help)
}
