//! What approved a component, if it was no admin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rule of the trust policy that approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalRule {
    /// A newer version of an approved package, by the same signers or fewer, that asks for the same or less.
    SameOrNarrower,
}
