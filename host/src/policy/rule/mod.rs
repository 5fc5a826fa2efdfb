//! What a grant gives beside folders: one kind of rule for each capability, as plain data.
//!
//! A running call keeps a rule as long as what is in force has an equal one. `Display` is the one line
//! that people read of a rule, wherever they meet it.

mod invoke;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use invoke::InvokeRule;

use crate::package::Capability;

/// One power beside folders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rule {
    /// To call other tools.
    Invoke(InvokeRule),
}

impl Rule {
    /// The key of its table in a grants file, such as `invoke`.
    pub fn kind(&self) -> &'static str {
        match self {
            Rule::Invoke(_) => "invoke",
        }
    }

    /// What a component must declare to be given it.
    pub fn capability(&self) -> Capability {
        match self {
            Rule::Invoke(_) => Capability::Tools,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Invoke(rule) => rule.fmt(f),
        }
    }
}
