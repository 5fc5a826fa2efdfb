//! Stores in which a package may keep state.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::StoreName;
use crate::policy::grant::Access;

/// One granted store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct KeyvalueRule {
    /// The name by which the tool opens it.
    pub store: StoreName,
    /// Who shares it.
    pub scope: StoreScope,
    /// What may be done with it.
    pub access: Access,
    /// The most bytes of keys and values that it may hold; 0 unless it can be written.
    pub quota_bytes: u64,
    /// The most keys that it may hold; 0 unless it can be written.
    pub keys_max: u64,
}

/// Who shares a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StoreScope {
    /// The calls of all agents: what one of them has kept, the others see.
    Package,
    /// The calls of one agent. The other agents of the grant have stores of their own.
    Agent,
}

impl KeyvalueRule {
    /// Whether it gives all that the other one gives.
    pub fn covers(&self, other: &Self) -> bool {
        self.store == other.store
            && self.scope == other.scope
            && self.access >= other.access
            && self.quota_bytes >= other.quota_bytes
            && self.keys_max >= other.keys_max
    }

    /// Of several rules for a store, the greatest counts: an agent's own store before one that it shares, then
    /// the wider access, then the larger quota.
    pub fn width(&self) -> (StoreScope, Access, u64, u64) {
        (self.scope, self.access, self.quota_bytes, self.keys_max)
    }
}

impl fmt::Display for KeyvalueRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.scope {
            StoreScope::Package => "shared by its agents",
            StoreScope::Agent => "one for each agent",
        };
        match self.access {
            Access::Read => write!(f, "read the store {}, {whose}", self.store),
            Access::ReadWrite => write!(
                f,
                "read and write the store {}, {whose}, up to {} bytes in {} keys",
                self.store, self.quota_bytes, self.keys_max
            ),
        }
    }
}
