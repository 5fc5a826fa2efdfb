//! Whoever makes a request: who it is, as what, and what it was let in by.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::certificate::ClientCertificate;
use super::local_admin;
use crate::ids::{CertificateDigest, GroupName, IssuerName, KeyPrefix, PrincipalId};
use crate::policy::Role;

/// What somebody was let in by, as it stands in the log: nothing of it lets anybody in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// An API key, by its public beginning.
    Key(KeyPrefix),
    /// A token of an issuer, by the name that the settings give that. Whom the token is about is in the name of the
    /// principal.
    Issuer(IssuerName),
    /// A client certificate, by its SHA-256.
    Certificate(CertificateDigest),
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Key(prefix) => prefix.fmt(f),
            Credential::Issuer(name) => write!(f, "a token of {name}"),
            Credential::Certificate(digest) => write!(f, "certificate {digest}"),
        }
    }
}

/// How somebody was let in, and what that alone gives. Default: the owner of the data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// By what; `None`: by being able to open the data folder.
    pub credential: Option<Credential>,
    /// The groups that a token says, beside those that grants name its principal in. Only what its issuer's
    /// settings map is here.
    pub groups: BTreeSet<GroupName>,
    /// When the credential ends, if it does.
    pub expires: Option<Timestamp>,
    /// The certificate, if it was by one.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// Whoever makes a request, as its credential says. Made by authentication only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    principal: PrincipalId,
    role: Role,
    admission: Arc<Admission>,
}

impl Caller {
    /// Whoever can open the data folder, or its owner's socket: the admin, who may call tools in the name of any
    /// agent.
    pub fn owner() -> Self {
        Self { principal: local_admin(), role: Role::Admin, admission: Arc::default() }
    }

    pub(super) fn let_in(principal: PrincipalId, role: Role, admission: Admission) -> Self {
        Self { principal, role, admission: Arc::new(admission) }
    }

    /// Who acts.
    pub fn principal(&self) -> &PrincipalId {
        &self.principal
    }

    /// As what.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How it was let in.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// The public beginning of the key that it was let in by, if it was by one.
    pub fn key(&self) -> Option<&KeyPrefix> {
        match &self.admission.credential {
            Some(Credential::Key(prefix)) => Some(prefix),
            Some(Credential::Issuer(_) | Credential::Certificate(_)) | None => None,
        }
    }

    /// Whether it may name another principal, in whose name a tool is called.
    pub fn may_call_for_others(&self) -> bool {
        self.admission.credential.is_none()
    }
}
