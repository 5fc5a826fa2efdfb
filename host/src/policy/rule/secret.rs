//! Which secrets a tool may see.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::SecretName;

/// What is done where a secret that a call was given is about to leave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLeak {
    /// A mark stands in its place.
    #[default]
    Redact,
    /// Nothing leaves, and the call fails.
    Refuse,
}

impl OnLeak {
    /// Both.
    pub const ALL: [OnLeak; 2] = [OnLeak::Redact, OnLeak::Refuse];

    /// Its name in a grants file.
    pub const fn name(self) -> &'static str {
        match self {
            OnLeak::Redact => "redact",
            OnLeak::Refuse => "refuse",
        }
    }
}

/// A secret whose value a tool may read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SecretRule {
    /// Which.
    pub name: SecretName,
    /// What is done where it is about to leave.
    pub on_leak: OnLeak,
}

impl fmt::Display for SecretRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, on_leak } = self;
        write!(f, "READ secret {name}: the tool sees the value (on leak: {})", on_leak.name())
    }
}
