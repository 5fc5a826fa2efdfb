//! What an admin has set beside the grants, as plain data: a freeze, quarantines, principals.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authorize::Denial;
use super::grant::Policy;
use crate::ids::{PackageDigest, PackageName, PrincipalId, Remark};

/// Why nothing may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Freeze {
    /// Why, in the words of who did it.
    pub because: Remark,
    /// Who did it.
    pub by: PrincipalId,
    /// Since when.
    pub since: Timestamp,
}

/// A component, or all of a package, that may not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quarantine {
    /// The package.
    pub package: PackageName,
    /// The bytes, under whatever name they are registered; `None`: all of the package, what is added
    /// to it later included.
    pub digest: Option<PackageDigest>,
    /// Why, in the words of who did it.
    pub because: Remark,
    /// Who did it.
    pub by: PrincipalId,
    /// Since when.
    pub since: Timestamp,
}

impl Quarantine {
    /// Whether it is about these bytes under this name. Without bytes, only one of the whole package is.
    pub fn covers(&self, package: &PackageName, digest: Option<PackageDigest>) -> bool {
        match self.digest {
            Some(quarantined) => digest == Some(quarantined),
            None => self.package == *package,
        }
    }
}

/// What a principal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It calls tools.
    Agent,
    /// It registers packages, for an admin to review, and sees what is registered.
    Author,
    /// It sets up the host. It calls no tools in its own name.
    Admin,
    /// It reads and verifies, and changes nothing.
    Auditor,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Agent, Role::Author, Role::Admin, Role::Auditor];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Author => "author",
            Role::Admin => "admin",
            Role::Auditor => "auditor",
        }
    }

    /// Its name in a sentence.
    pub const fn with_article(self) -> &'static str {
        match self {
            Role::Agent => "an agent",
            Role::Author => "an author",
            Role::Admin => "an admin",
            Role::Auditor => "an auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write agent, author, admin or auditor")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.name() == text).ok_or(UnknownRole)
    }
}

/// Whether a principal may do what its role says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// An admin added it.
    Added,
    /// An admin removed it: it may do nothing, whatever grants say.
    Removed,
}

/// A principal that an admin has added or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Principal {
    /// Its name.
    pub name: PrincipalId,
    /// What it is for.
    pub role: Role,
    /// What an admin noted about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Remark>,
    /// Whether it was added or removed last.
    pub standing: Standing,
    /// Who did that.
    pub by: PrincipalId,
    /// When.
    pub since: Timestamp,
}

impl Policy {
    /// Why these bytes may not run under this name, whoever asks.
    pub fn bars_component(&self, package: &PackageName, digest: Option<PackageDigest>) -> Option<Denial> {
        if let Some(Freeze { because, .. }) = &self.frozen {
            return Some(Denial::Frozen { because: because.clone() });
        }
        let quarantine = self.quarantines.iter().find(|quarantine| quarantine.covers(package, digest))?;
        let (package, because) = (package.clone(), quarantine.because.clone());
        Some(Denial::Quarantined { package, digest: quarantine.digest, because })
    }

    /// Why this principal may not call tools, whatever grants say.
    pub fn bars_principal(&self, principal: &PrincipalId) -> Option<Denial> {
        let Principal { role, standing, .. } = self.principals.get(principal)?;
        match (standing, role) {
            (Standing::Removed, _) => Some(Denial::PrincipalRemoved { principal: principal.clone() }),
            (Standing::Added, Role::Agent) => None,
            (Standing::Added, Role::Author | Role::Admin | Role::Auditor) => {
                Some(Denial::NotAnAgent { principal: principal.clone(), role: *role })
            }
        }
    }
}
