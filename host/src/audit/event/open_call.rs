//! What a segment says at its beginning of a call that goes on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::CallContext;
use crate::audit::commitment::Commitment;
use crate::audit::hash::TreeHash;

/// A call that was admitted and has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCall {
    /// Who calls what.
    #[serde(flatten)]
    pub context: Arc<CallContext>,
    /// How many records it has so far.
    pub records: u64,
    /// The roots of the complete subtrees of the tree over them, the largest first: one for each bit of
    /// their number.
    pub roots: Vec<TreeHash>,
    /// What its `call_admitted` commits to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_commitment: Option<Commitment>,
}
