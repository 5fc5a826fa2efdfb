//! Calls for which there was no room, and what an admin says of how much there is.

use serde::{Deserialize, Serialize};

use crate::ids::{PackageName, PrincipalId, Revision};
use crate::limits::LimitReached;
use crate::policy::{QuotaSubject, Quotas};

/// Calls that were refused before they began, for want of places or of a quota. Those of one kind within about a second
/// are one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallsRefused {
    /// Who asked; absent, with the package: several, when there are very many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalId>,
    /// For which package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageName>,
    /// The limit that was reached, by the last of them.
    #[serde(flatten)]
    pub reached: LimitReached,
    /// How many calls it stands for.
    pub calls: u64,
}

/// An admin set the quotas of a principal or of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotasSet {
    /// The new revision.
    pub revision: Revision,
    /// Whose.
    #[serde(flatten)]
    pub subject: QuotaSubject,
    /// All that is set from now on.
    pub quotas: Quotas,
    /// Who did it.
    pub by: PrincipalId,
}
