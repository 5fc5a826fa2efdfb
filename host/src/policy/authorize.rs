//! The one decision: may this agent call this tool now, and with which powers?
//!
//! A pure function. It opens nothing, reads no clock, and knows no other module above it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::grant::{FilesystemRule, Policy};
use crate::ids::{CallId, GrantId, PackageDigest, PackageName, PrincipalId, Revision, ToolName};
use crate::limits::CallLimits;
use crate::package::Capability;

/// What is asked of [`authorize`].
#[derive(Clone, Debug)]
pub struct AuthorizationRequest<'a> {
    /// The id that the call will have.
    pub call: CallId,
    /// Who asks.
    pub principal: &'a PrincipalId,
    /// The package that is called.
    pub package: &'a PackageName,
    /// The tool in it. The caller has checked that the package has such a tool.
    pub tool: &'a ToolName,
    /// The digest of the package that an admin approved, if any.
    pub approved: Option<PackageDigest>,
    /// What the approved component declares by its imports.
    pub declared: &'a BTreeSet<Capability>,
    /// The moment of the decision: the later of the clock and the log's last record.
    pub now: Timestamp,
}

/// The proof that a call was allowed, with exactly the powers it may use.
///
/// Only [`authorize`] makes one, and it can't be deserialised: that would be a second constructor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct AuthorizedCall {
    call: CallId,
    principal: PrincipalId,
    package: PackageName,
    digest: PackageDigest,
    tool: ToolName,
    revision: Revision,
    grants: Vec<GrantId>,
    limits: CallLimits,
    filesystem: Vec<AuthorizedFolder>,
}

/// One folder that a call may use, with the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthorizedFolder {
    /// The grant it comes from.
    pub grant: GrantId,
    /// The place of the rule in the grant: the first `[[grant.filesystem]]` is 0.
    pub index: usize,
    /// The rule.
    #[serde(flatten)]
    pub rule: FilesystemRule,
}

impl AuthorizedFolder {
    /// The rule's name in the log, such as `grant 7 filesystem 0`.
    pub fn rule_name(&self) -> String {
        format!("grant {} filesystem {}", self.grant, self.index)
    }
}

impl AuthorizedCall {
    /// The call's id.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// Who calls.
    pub fn principal(&self) -> &PrincipalId {
        &self.principal
    }

    /// The package called.
    pub fn package(&self) -> &PackageName {
        &self.package
    }

    /// The approved bytes, and no others, may run.
    pub fn digest(&self) -> PackageDigest {
        self.digest
    }

    /// The tool called.
    pub fn tool(&self) -> &ToolName {
        &self.tool
    }

    /// The revision of the grants that allowed it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The grants that allowed it; never empty.
    pub fn grants(&self) -> &[GrantId] {
        &self.grants
    }

    /// Its bounds.
    pub fn limits(&self) -> &CallLimits {
        &self.limits
    }

    /// Its folders: one for each guest path.
    pub fn filesystem(&self) -> &[AuthorizedFolder] {
        &self.filesystem
    }
}

/// Why a call was not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Denial {
    /// The package's bytes were not approved by an admin.
    #[error("package {package} is not approved; an admin can run `portcullis package approve {package}`")]
    NotApproved {
        /// The package.
        package: PackageName,
    },
    /// No grant of the approved bytes names this agent.
    #[error("no grant of package {package} names agent {principal}")]
    NotGranted {
        /// The package.
        package: PackageName,
        /// The agent.
        principal: PrincipalId,
    },
    /// Grants name the agent, but other tools.
    #[error("the grants of package {package} for agent {principal} do not name tool {tool}")]
    ToolNotGranted {
        /// The package.
        package: PackageName,
        /// The agent.
        principal: PrincipalId,
        /// The tool.
        tool: ToolName,
    },
    /// The grants that would allow it were made for other bytes.
    #[error(
        "the grants of package {package} were made for other bytes than those approved; apply them again"
    )]
    OtherBytes {
        /// The package.
        package: PackageName,
    },
    /// The grants that would allow it have expired.
    #[error("grant {grant} expired at {expires}")]
    Expired {
        /// The grant that expired last.
        grant: GrantId,
        /// When.
        expires: Timestamp,
    },
}

/// Decides. Effective power = declared by the component ∩ granted by an admin ∩ allowed to this agent.
///
/// All grants that match add up: their folders are united (where two give the same guest path, the
/// wider access, then the larger quota wins), and each limit is the largest that a matching grant
/// gives, a grant that is silent giving the default.
///
/// # Errors
/// A [`Denial`] that names what is missing.
pub fn authorize(request: &AuthorizationRequest<'_>, policy: &Policy) -> Result<AuthorizedCall, Denial> {
    let _ = (request, policy);
    todo!("policy helper")
}
