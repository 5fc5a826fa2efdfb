//! What records say of calls that were taken and are answered later.

use serde::{Deserialize, Serialize};

use crate::ids::{CallId, PackageName, PrincipalId, ToolName};

/// A call that was taken. Whether it begins, `call_admitted` or `call_denied` says; if neither follows, it never did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedCall {
    /// Its id.
    pub call: CallId,
    /// In whose name.
    pub principal: PrincipalId,
    /// For which package.
    pub package: PackageName,
    /// For which tool.
    pub tool: ToolName,
    /// Bytes of the arguments.
    pub argument_bytes: u64,
    /// Who asked: the principal itself, or the owner of the data folder.
    pub by: PrincipalId,
}
