//! Which tools of which package a tool may call.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{PackageName, ToolName};

/// Tools of one package that may be called. What they may do is said by their own grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct InvokeRule {
    /// The package.
    pub package: PackageName,
    /// Its tools; `None` means all.
    pub tools: Option<BTreeSet<ToolName>>,
}

impl InvokeRule {
    /// Whether it allows to call a tool.
    pub fn allows(&self, package: &PackageName, tool: &ToolName) -> bool {
        self.package == *package && self.tools.as_ref().is_none_or(|tools| tools.contains(tool))
    }
}

impl fmt::Display for InvokeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} of package {}", Tools(self.tools.as_ref()), self.package)
    }
}

struct Tools<'a>(Option<&'a BTreeSet<ToolName>>);

impl fmt::Display for Tools<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(tools) = self.0 else { return f.write_str("any tool") };
        super::listed(f, tools)
    }
}
