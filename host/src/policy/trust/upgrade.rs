//! What a component asks for that the one before it did not. Pure.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{PackageDigest, SignerName, ToolName};
use crate::package::{Capability, PackageDescription, ToolDescription};

/// What is different in a component, compared with the one that is approved under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpgradeDiff {
    /// The approved bytes.
    pub from: PackageDigest,
    /// Their version.
    pub from_version: semver::Version,
    /// What is wider, or says something else: never approved by a rule.
    pub wider: Vec<Change>,
    /// What is gone.
    pub narrower: Vec<Change>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A kind of power.
    Capability {
        /// Which.
        capability: Capability,
    },
    /// An imported interface, with its version.
    Import {
        /// Which.
        import: String,
    },
    /// A tool.
    Tool {
        /// Which.
        tool: ToolName,
    },
    /// What a tool says of itself: text of its author, which models read as instructions.
    Description {
        /// Which tool.
        tool: ToolName,
        /// What was approved.
        from: String,
        /// What it says now.
        to: String,
    },
    /// What a tool takes, gives, or is reached by.
    Schema {
        /// Which tool.
        tool: ToolName,
    },
    /// A signer.
    Signer {
        /// Who.
        signer: SignerName,
    },
}

impl UpgradeDiff {
    /// Compares.
    pub fn between(
        (from, from_version): (PackageDigest, &semver::Version),
        (old, old_signers): (&PackageDescription, &BTreeSet<SignerName>),
        (new, new_signers): (&PackageDescription, &BTreeSet<SignerName>),
    ) -> Self {
        let more = |left: &PackageDescription,
                    right: &PackageDescription,
                    by: (&BTreeSet<SignerName>, &BTreeSet<SignerName>)| {
            let capabilities = right.capabilities.difference(&left.capabilities);
            let mut changes: Vec<Change> =
                capabilities.map(|capability| Change::Capability { capability: *capability }).collect();
            let imports = right.imports.iter().filter(|import| !left.imports.contains(import));
            changes.extend(imports.map(|import| Change::Import { import: import.clone() }));
            let is_new = |tool: &&ToolDescription| !left.tools.iter().any(|known| known.name == tool.name);
            changes.extend(
                right.tools.iter().filter(is_new).map(|tool| Change::Tool { tool: tool.name.clone() }),
            );
            changes.extend(by.1.difference(by.0).map(|signer| Change::Signer { signer: signer.clone() }));
            changes
        };
        let mut wider = more(old, new, (old_signers, new_signers));
        for tool in &new.tools {
            let Some(known) = old.tools.iter().find(|known| known.name == tool.name) else { continue };
            if known.description != tool.description {
                let (from, to) = (known.description.clone(), tool.description.clone());
                wider.push(Change::Description { tool: tool.name.clone(), from, to });
            }
            let shape = |tool: &ToolDescription| {
                (tool.input_schema.clone(), tool.output_schema.clone(), tool.export.clone())
            };
            if shape(known) != shape(tool) {
                wider.push(Change::Schema { tool: tool.name.clone() });
            }
        }
        let narrower = more(new, old, (new_signers, old_signers));
        Self { from, from_version: from_version.clone(), wider, narrower }
    }
}
