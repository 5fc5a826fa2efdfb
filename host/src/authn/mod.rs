//! Who is asking: from a credential to a [`Caller`].
//!
//! There are two credentials: being able to open the data folder, or its owner's socket, which only the user
//! who runs the host can; and API keys. Pure: reads no file and no clock, and decides nothing about grants.

mod key;
mod rates;
mod tries;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::key::{HeldKey, KeyHasher, KeyRing, KeyText};
pub use self::rates::Rates;
pub use self::tries::{Tries, TriesEntry};
use crate::ids::{KeyPrefix, PrincipalId};
use crate::policy::{Principal, Role, Standing};

/// The name under which the admin's own actions are recorded.
const LOCAL_ADMIN: &str = "local-admin";

/// The principal of whoever can open the data folder.
pub fn local_admin() -> PrincipalId {
    LOCAL_ADMIN.parse().expect("the constant is a valid name")
}

/// Whoever makes a request, as its credential says. Made by authentication only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    principal: PrincipalId,
    role: Role,
    key: Option<KeyPrefix>,
}

impl Caller {
    /// Whoever can open the data folder, or its owner's socket: the admin, who may call tools in the name of any
    /// agent.
    pub fn owner() -> Self {
        Self { principal: local_admin(), role: Role::Admin, key: None }
    }

    /// Who acts.
    pub fn principal(&self) -> &PrincipalId {
        &self.principal
    }

    /// As what.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The public beginning of the key that it was let in by; `None`: it is the owner.
    pub fn key(&self) -> Option<&KeyPrefix> {
        self.key.as_ref()
    }

    /// Whether it may name another principal, in whose name a tool is called.
    pub fn may_call_for_others(&self) -> bool {
        self.key.is_none()
    }
}

/// Why a credential lets nobody in. What the caller is told is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// It does not look like a key of a host.
    Malformed,
    /// There is no such key: it never was, or was rotated or revoked, or it is another host's.
    Unknown,
    /// Its time is over.
    Expired,
    /// An admin removed its principal.
    PrincipalRemoved,
    /// Its principal has another role by now.
    OtherRole,
}

impl Refused {
    /// All of them.
    pub const ALL: [Refused; 5] = [
        Refused::Malformed,
        Refused::Unknown,
        Refused::Expired,
        Refused::PrincipalRemoved,
        Refused::OtherRole,
    ];

    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Refused::Malformed => "malformed",
            Refused::Unknown => "unknown",
            Refused::Expired => "expired",
            Refused::PrincipalRemoved => "principal_removed",
            Refused::OtherRole => "other_role",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key that was refused: why, and which, if the host knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Refused,
    /// Its public beginning, if there is a key with that.
    pub key: Option<KeyPrefix>,
}

/// Finds out who calls with a key, at `now`. `known` is what an admin said of principals.
///
/// # Errors
/// [`Refusal`].
pub fn authenticate<'a>(
    token: &str,
    keys: &KeyRing,
    hasher: &KeyHasher,
    now: Timestamp,
    known: impl FnOnce(&PrincipalId) -> Option<&'a Principal>,
) -> Result<Caller, Refusal> {
    let refused = |reason, key: Option<&KeyPrefix>| Refusal { reason, key: key.cloned() };
    let Some(prefix) = key::prefix_of(token) else { return Err(refused(Refused::Malformed, None)) };
    // Made in any case, so that it takes no less time to learn that a beginning is not known.
    let hash = hasher.hash(token);
    let Some(HeldKey { key, hash: expected }) = keys.get(&prefix) else {
        return Err(refused(Refused::Unknown, None));
    };
    // Comparing hashes of blake3 takes the same time wherever they differ.
    if hash != *expected {
        return Err(refused(Refused::Unknown, Some(&prefix)));
    }
    if key.expires.is_some_and(|expires| expires <= now) {
        return Err(refused(Refused::Expired, Some(&prefix)));
    }
    match known(&key.principal) {
        Some(Principal { standing: Standing::Removed, .. }) => {
            Err(refused(Refused::PrincipalRemoved, Some(&prefix)))
        }
        Some(Principal { role, .. }) if *role != key.role => Err(refused(Refused::OtherRole, Some(&prefix))),
        // One that only grants name is an agent.
        None if key.role != Role::Agent => Err(refused(Refused::OtherRole, Some(&prefix))),
        Some(_) | None => Ok(Caller { principal: key.principal.clone(), role: key.role, key: Some(prefix) }),
    }
}

#[cfg(test)]
mod tests;
