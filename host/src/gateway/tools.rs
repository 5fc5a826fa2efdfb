//! The tools that an agent may call now: what it is shown, and nothing of what others may.

use std::collections::BTreeSet;

use super::Host;
use crate::ids::{CallId, PackageDigest, PackageName, PrincipalId};
use crate::package::ToolDescription;
use crate::policy::{AuthorizationRequest, authorize};

/// A tool that is granted.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantedTool {
    /// Whose it is.
    pub package: PackageName,
    /// The bytes that would run.
    pub digest: PackageDigest,
    /// The tool. Its description is its author's: untrusted text.
    pub tool: ToolDescription,
}

impl Host {
    /// The tools that a principal may call now, by package and name: each was judged as a call of it would be.
    pub fn granted_tools(&self, principal: &PrincipalId) -> Vec<GrantedTool> {
        let (in_force, now) = (self.in_force(), self.now());
        let nothing = BTreeSet::new();
        let mut granted = Vec::new();
        for (name, package) in &in_force.approved {
            for tool in &package.description.tools {
                let request = AuthorizationRequest {
                    // Nothing is called, and so no call is recorded.
                    call: CallId::generate(),
                    principal,
                    package: name,
                    tool: &tool.name,
                    approved: Some(package.digest),
                    // Powers don't matter to whether it may be called.
                    declared: &nothing,
                    limits: &self.limits,
                    now,
                };
                if authorize(&request, &in_force.policy).is_ok() {
                    let (package, digest) = (name.clone(), package.digest);
                    granted.push(GrantedTool { package, digest, tool: tool.clone() });
                }
            }
        }
        granted
    }
}
