//! The tools that an agent may call now, by the names that it knows them by.
//!
//! Asks the same [`authorize`] as the call path does, so that what is listed is what can be called. Runs nothing,
//! and records nothing: a call is decided, and recorded, when it is made.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Host, InForce};
use crate::authn::Admission;
use crate::ids::{CallId, PackageDigest, PackageName, PrincipalId, ToolName};
use crate::package::ToolDescription;
use crate::policy::names::{SEPARATOR, name_under, public_name};
use crate::policy::{AuthorizationRequest, AuthorizedCall, Denial, authorize};
use crate::registry::ApprovedPackage;

/// A tool that an agent may call now.
#[derive(Clone, Debug)]
pub struct GrantedTool {
    /// What the agent calls it: unlike any other name in its list.
    pub name: ToolName,
    /// Its package.
    pub package: PackageName,
    approved: Arc<ApprovedPackage>,
    index: usize,
}

impl GrantedTool {
    /// What it is: text of its package, which nobody vouches for.
    pub fn description(&self) -> &ToolDescription {
        &self.approved.description.tools[self.index]
    }

    /// The bytes that run.
    pub fn digest(&self) -> PackageDigest {
        self.approved.digest
    }
}

impl Host {
    /// Rings when what is in force was replaced: grants, approvals, quarantines, principals, a freeze. Not when a
    /// grant expires.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    /// Each tool that the agent may call now, let in as it was, in the order of the names.
    pub fn granted_tools(&self, agent: &PrincipalId, admission: &Admission) -> Vec<GrantedTool> {
        let in_force = self.in_force();
        let (call, now) = (CallId::generate(), self.now());
        let mut granted = Vec::new();
        for (package, approved) in &in_force.approved {
            // Most packages are not for most agents: of those, nothing more is asked.
            if !in_force.policy.grants_name(package, agent, &admission.groups) {
                continue;
            }
            for (index, tool) in approved.description.tools.iter().enumerate() {
                let Ok(call) = self.would_allow(
                    &in_force,
                    (agent, admission),
                    package,
                    approved,
                    (&tool.name, call, now),
                ) else {
                    continue;
                };
                let name = name_under(&in_force.policy, call.grants(), package, &tool.name);
                let (package, approved) = (package.clone(), Arc::clone(approved));
                granted.push(GrantedTool { name, package, approved, index });
            }
        }
        // A stable sort: of two with one name, which the check of grants files and 80 bits of hash rule out, the
        // first package's stays.
        granted.sort_by(|one, other| one.name.cmp(&other.name));
        granted.dedup_by(|later, earlier| {
            let is_double = later.name == earlier.name;
            if is_double {
                tracing::warn!(name = %later.name, package = %later.package, "a tool is not listed: its name is taken");
            }
            is_double
        });
        granted
    }

    /// The tool that has this name for the agent, if it may call it now.
    pub fn granted_tool(
        &self,
        agent: &PrincipalId,
        admission: &Admission,
        name: &str,
    ) -> Option<GrantedTool> {
        let in_force = self.in_force();
        let (package, tool) = candidate(&in_force, name)?;
        let approved = in_force.approved.get(&package)?;
        let index = approved.description.tools.iter().position(|known| known.name == tool)?;
        let asked = (&tool, CallId::generate(), self.now());
        let call = self.would_allow(&in_force, (agent, admission), &package, approved, asked).ok()?;
        let known_as = name_under(&in_force.policy, call.grants(), &package, &tool);
        let approved = Arc::clone(approved);
        (known_as.as_str() == name).then_some(GrantedTool { name: known_as, package, approved, index })
    }

    /// The tool that has this name for the agent, whether it may call it or not: the call decides that, and is
    /// recorded. None if there is no such tool, or the agent knows it by another name.
    pub fn tool_named(
        &self,
        agent: &PrincipalId,
        admission: &Admission,
        name: &str,
    ) -> Option<(PackageName, ToolName)> {
        let in_force = self.in_force();
        let (package, tool) = candidate(&in_force, name)?;
        let approved = in_force.approved.get(&package)?;
        approved.description.tools.iter().find(|known| known.name == tool)?;
        let asked = (&tool, CallId::generate(), self.now());
        match self.would_allow(&in_force, (agent, admission), &package, approved, asked) {
            Ok(call) => {
                let known_as = name_under(&in_force.policy, call.grants(), &package, &tool);
                (known_as.as_str() == name).then_some((package, tool))
            }
            Err(_) => Some((package, tool)),
        }
    }

    /// Why this agent can call nothing at all now, whatever is granted.
    pub fn bars_all_calls(&self, agent: &PrincipalId) -> Option<Denial> {
        let policy = &self.in_force().policy;
        let frozen = policy.frozen.as_ref().map(|freeze| Denial::Frozen { because: freeze.because.clone() });
        frozen.or_else(|| policy.bars_principal(agent))
    }

    fn would_allow(
        &self,
        in_force: &InForce,
        (agent, admission): (&PrincipalId, &Admission),
        package: &PackageName,
        approved: &ApprovedPackage,
        (tool, call, now): (&ToolName, CallId, Timestamp),
    ) -> Result<AuthorizedCall, Denial> {
        authorize(
            &AuthorizationRequest {
                call,
                principal: agent,
                groups: &admission.groups,
                package,
                tool,
                approved: Some(approved.digest),
                declared: &approved.description.capabilities,
                now,
                limits: &self.limits,
            },
            &in_force.policy,
        )
    }
}

/// The one tool that a name can mean: by what a grant calls it, by package and tool, or by a shortened name.
fn candidate(in_force: &InForce, name: &str) -> Option<(PackageName, ToolName)> {
    let Some((package, tool)) = name.split_once(SEPARATOR) else {
        return in_force.policy.grants.iter().find_map(|grant| {
            let (tool, _) = grant.terms.names.iter().find(|(_, given)| given.as_str() == name)?;
            Some((grant.package.clone(), tool.clone()))
        });
    };
    if let Ok(package) = package.parse::<PackageName>() {
        return Some((package, tool.parse().ok()?));
    }
    in_force.approved.iter().find_map(|(package, approved)| {
        let mut tools = approved.description.tools.iter();
        let tool = tools.find(|tool| public_name(package, &tool.name).as_str() == name)?;
        Some((package.clone(), tool.name.clone()))
    })
}
