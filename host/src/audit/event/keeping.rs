//! What records say of the log's own text, and of what goes out of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why text was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// It was older than text is kept.
    Age,
    /// Closed segments took more room than they may.
    Size,
}

/// What goes out of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutletKind {
    /// Records.
    Ship,
    /// Checkpoints.
    Anchor,
}

impl OutletKind {
    /// As the settings call it.
    pub const fn name(self) -> &'static str {
        match self {
            OutletKind::Ship => "ship",
            OutletKind::Anchor => "anchor",
        }
    }
}

/// What is wrong with what goes out of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutletTrouble {
    /// It has not taken what it was owed for longer than its `lag_max`.
    Lags,
    /// It says that the log is not what it was.
    Disagrees,
}
