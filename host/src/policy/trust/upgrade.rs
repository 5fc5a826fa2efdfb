//! What another version of a package asks for, or says, that the one before it did not. The only such comparison:
//! `inspect --diff` shows it, an admin is shown it before approving, and the rule of the trust policy goes by it. Pure.
//!
//! What can't be told to be less counts as more: then somebody looks.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{PackageDigest, SignerName};
use crate::package::{PackageDescription, ToolDescription};
use crate::policy::manifest::{Ask, Manifest};
use crate::text::{clean, clean_line};

/// How much of a description or schema is shown.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// How much of a line is shown.
const LINE_BYTES_MAX: usize = 1_000;
/// What is shown in the place of a text that is the same to a reader, and is another one.
const HIDDEN: &str = " [differs in characters that are not shown]";

/// What is different in a component, compared with the one that is approved under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpgradeDiff {
    /// The approved bytes.
    pub from: PackageDigest,
    /// Their version.
    pub from_version: semver::Version,
    /// Each difference, those that widen first.
    pub changes: Vec<Change>,
}

/// One difference. Its texts are cleaned and cut for whoever reads them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Whether somebody must look before it is approved: it asks for more, or says something else to agents.
    pub widened: bool,
    /// What it is about.
    pub about: Changed,
    /// What was before; empty if nothing was.
    pub old: String,
    /// What is now; empty if nothing is.
    pub new: String,
}

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// A kind of power that the imports ask for.
    Capability,
    /// An interface that is imported, with its version.
    Import,
    /// Something that the manifest asks for, and why.
    Ask,
    /// A limit that it would like.
    Limit,
    /// A tool.
    Tool,
    /// What a tool says of itself to agents: text of its author, which models read as instructions.
    Description,
    /// What a tool takes.
    Input,
    /// What a tool gives.
    Output,
    /// How a tool is reached in the component.
    Export,
    /// Name, description, licence or source in the manifest, or whether there is one.
    Manifest,
    /// Who has signed.
    Signer,
}

impl Changed {
    /// One word for people.
    pub fn name(self) -> &'static str {
        match self {
            Changed::Capability => "capability",
            Changed::Import => "import",
            Changed::Ask => "ask",
            Changed::Limit => "limit",
            Changed::Tool => "tool",
            Changed::Description => "description",
            Changed::Input => "input",
            Changed::Output => "output",
            Changed::Export => "export",
            Changed::Manifest => "manifest",
            Changed::Signer => "signer",
        }
    }
}

/// One version, as far as it is compared.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What it is and imports.
    pub description: &'a PackageDescription,
    /// What it says of itself, if it does.
    pub manifest: Option<&'a Manifest>,
    /// Whose signatures count.
    pub signers: &'a BTreeSet<SignerName>,
}

impl UpgradeDiff {
    /// Compares with what is approved.
    pub fn between((from, version): (PackageDigest, &semver::Version), old: Side<'_>, new: Side<'_>) -> Self {
        Self { from, from_version: version.clone(), changes: changes(old, new) }
    }

    /// Whether somebody must look at it before it is approved.
    pub fn widens(&self) -> bool {
        self.changes.iter().any(|change| change.widened)
    }
}

/// All differences, those that widen first.
pub fn changes(old: Side<'_>, new: Side<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    // So that a new field can't be forgotten. What was measured, and what can't be a tool, gives no power.
    let PackageDescription { tools: _, imports: _, capabilities: _, size: _, compile: _, left_out: _ } =
        old.description;
    let capabilities = |side: Side<'_>| -> BTreeSet<String> {
        let word = |capability| serde_json::to_value(capability).ok()?.as_str().map(str::to_owned);
        side.description.capabilities.iter().filter_map(word).collect()
    };
    sets(&mut changes, Changed::Capability, &capabilities(old), &capabilities(new));
    imports(&mut changes, &old.description.imports, &new.description.imports);
    asks(&mut changes, old.manifest, new.manifest);
    manifests(&mut changes, old.manifest, new.manifest);
    tools(&mut changes, &old.description.tools, &new.description.tools);
    let signers =
        |side: Side<'_>| -> BTreeSet<String> { side.signers.iter().map(ToString::to_string).collect() };
    sets(&mut changes, Changed::Signer, &signers(old), &signers(new));
    changes.sort_by_key(|change| !change.widened);
    changes
}

/// What is new widens, what is gone does not.
fn sets(changes: &mut Vec<Change>, about: Changed, old: &BTreeSet<String>, new: &BTreeSet<String>) {
    let line = |text: &String| clean_line(text, LINE_BYTES_MAX);
    let added =
        new.difference(old).map(|new| Change { widened: true, about, old: String::new(), new: line(new) });
    let gone =
        old.difference(new).map(|old| Change { widened: false, about, old: line(old), new: String::new() });
    changes.extend(added.chain(gone));
}

/// Another version of an interface is another interface, which may have functions that the former has not.
fn imports(changes: &mut Vec<Change>, old: &[String], new: &[String]) {
    let interface = |import: &String| import.split('@').next().unwrap_or(import).to_owned();
    let (mut gone, mut added): (BTreeSet<String>, BTreeSet<String>) =
        (old.iter().cloned().collect(), new.iter().cloned().collect());
    let same: Vec<String> = gone.intersection(&added).cloned().collect();
    for import in same {
        gone.remove(&import);
        added.remove(&import);
    }
    // Told in one line where there is one on each side.
    for import in added.clone() {
        let alike = |other: &&String| interface(other) == interface(&import);
        let (before, after) = (gone.iter().filter(alike).count(), added.iter().filter(alike).count());
        if let (1, 1, Some(former)) = (before, after, gone.iter().find(alike).cloned()) {
            let line = |text: &String| clean_line(text, LINE_BYTES_MAX);
            let (about, old, new) = (Changed::Import, line(&former), line(&import));
            changes.push(Change { widened: true, about, old, new });
            gone.remove(&former);
            added.remove(&import);
        }
    }
    sets(changes, Changed::Import, &gone, &added);
}

/// An ask that an earlier one covers, for the same reason, is no more than that.
fn asks(changes: &mut Vec<Change>, old: Option<&Manifest>, new: Option<&Manifest>) {
    let of = |manifest: Option<&Manifest>| -> Vec<Ask> {
        manifest.map(|manifest| manifest.asks.clone()).unwrap_or_default()
    };
    let line = |Ask { what, why }: &Ask| {
        clean_line(&format!("{} {what} — because: {why}", what.kind()), LINE_BYTES_MAX)
    };
    let (old, new) = (of(old), of(new));
    for ask in new.iter().filter(|ask| !old.contains(ask)) {
        let is_less = |former: &&Ask| former.why == ask.why && former.what.covers(&ask.what);
        let widened = !old.iter().any(|former| is_less(&former));
        changes.push(Change { widened, about: Changed::Ask, old: String::new(), new: line(ask) });
    }
    for ask in old.iter().filter(|ask| !new.contains(ask)) {
        changes.push(Change { widened: false, about: Changed::Ask, old: line(ask), new: String::new() });
    }
}

fn manifests(changes: &mut Vec<Change>, old: Option<&Manifest>, new: Option<&Manifest>) {
    let limits =
        |manifest: Option<&Manifest>| manifest.map(|manifest| manifest.limits.clone()).unwrap_or_default();
    let (before, after) = (limits(old), limits(new));
    for limit in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (before.get(limit), after.get(limit));
        if before != after {
            let shown =
                |value: Option<&u64>| value.map(|value| format!("{limit} {value}")).unwrap_or_default();
            let widened = after > before;
            changes.push(Change { widened, about: Changed::Limit, old: shown(before), new: shown(after) });
        }
    }
    let mut push = |old: String, new: String| {
        let (old, new) = told_apart(clean_line(&old, LINE_BYTES_MAX), clean_line(&new, LINE_BYTES_MAX));
        changes.push(Change { widened: true, about: Changed::Manifest, old, new });
    };
    match (old, new) {
        (None, None) => {}
        // Its asks are told one by one.
        (None, Some(_)) => {}
        // Then its imports are all that is asked.
        (Some(_), None) => push("it says what it asks for".to_owned(), "it does not say any more".to_owned()),
        (Some(old), Some(new)) => {
            let Manifest { name, version: _, description, license, source, asks: _, limits: _ } = old;
            let text = |word: &str, text: Option<&String>| {
                text.map(|text| format!("{word} {text}")).unwrap_or_default()
            };
            if *name != new.name {
                push(format!("name {name}"), format!("name {}", new.name));
            }
            if *description != new.description {
                push(format!("description {description}"), format!("description {}", new.description));
            }
            if *license != new.license {
                push(text("license", license.as_ref()), text("license", new.license.as_ref()));
            }
            if *source != new.source {
                push(text("source", source.as_ref()), text("source", new.source.as_ref()));
            }
        }
    }
}

fn tools(changes: &mut Vec<Change>, old: &[ToolDescription], new: &[ToolDescription]) {
    let named = |tools: &[ToolDescription]| -> BTreeMap<String, ToolDescription> {
        tools.iter().map(|tool| (tool.name.to_string(), tool.clone())).collect()
    };
    let (old, new) = (named(old), named(new));
    let names = |tools: &BTreeMap<String, ToolDescription>| tools.keys().cloned().collect();
    sets(changes, Changed::Tool, &names(&old), &names(&new));
    for (name, before) in &old {
        let Some(after) = new.get(name) else { continue };
        // So that a new field can't be forgotten.
        let ToolDescription { name: _, description, input_schema, output_schema, export } = before;
        let text = |text: &str| format!("{name}: {}", clean(text, TEXT_BYTES_MAX));
        let json = |value: Option<&serde_json::Value>| {
            value.map(|value| text(&value.to_string())).unwrap_or_default()
        };
        let mut push = |about, is_changed: bool, old: String, new: String| {
            if is_changed {
                let (old, new) = told_apart(old, new);
                changes.push(Change { widened: true, about, old, new });
            }
        };
        let is_changed = *description != after.description;
        push(Changed::Description, is_changed, text(description), text(&after.description));
        let is_changed = *input_schema != after.input_schema;
        push(Changed::Input, is_changed, json(Some(input_schema)), json(Some(&after.input_schema)));
        let is_changed = *output_schema != after.output_schema;
        push(Changed::Output, is_changed, json(output_schema.as_ref()), json(after.output_schema.as_ref()));
        let reached = |export| json(serde_json::to_value(export).ok().as_ref());
        push(Changed::Export, *export != after.export, reached(export), reached(&after.export));
    }
}

/// Texts that differ, so that a reader sees that they do.
fn told_apart(old: String, mut new: String) -> (String, String) {
    if old == new {
        new.push_str(HIDDEN);
    }
    (old, new)
}

#[cfg(test)]
mod tests;
