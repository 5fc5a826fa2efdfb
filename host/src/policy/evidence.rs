//! What is kept of calls, and when their answers may leave: as a host is set, and as grants ask beyond it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grant::Grant;

/// What waits for the disk. Each level does what those before it do.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing: records are with the kernel before their effects, and on disk about a second later. A power
    /// loss may lose them, the end of the process does not.
    Relaxed,
    /// An answer: all records of its call are on disk.
    #[default]
    Committed,
    /// Each effect: its record is on disk before it happens.
    Strict,
}

impl Durability {
    /// All levels, the weakest first.
    pub const ALL: [Self; 3] = [Self::Relaxed, Self::Committed, Self::Strict];

    /// Its name in settings, grants and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed",
            Self::Committed => "committed",
            Self::Strict => "strict",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a grant asks of the log. Gives no power, and takes none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// At least this level, if the host's is weaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// Repeated reads of the same thing in a row are one record, with their count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fold_reads: bool,
    /// Arguments and results are kept whole, encrypted (`record = "payloads"`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub payloads: bool,
}

impl Evidence {
    /// Whether it asks for nothing.
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }

    /// What holds for a call that all of `grants` allow: the strictest of each.
    pub(super) fn united(grants: &[&Grant]) -> Self {
        Self {
            durability: grants.iter().filter_map(|grant| grant.terms.evidence.durability).max(),
            payloads: grants.iter().any(|grant| grant.terms.evidence.payloads),
            fold_reads: !grants.is_empty() && grants.iter().all(|grant| grant.terms.evidence.fold_reads),
        }
    }
}
