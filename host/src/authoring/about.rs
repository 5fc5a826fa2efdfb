//! What a component says of itself beside its types: its manifest, what produced it, what it was built from. The
//! author's word, cleaned and bounded; whoever approves is shown it as that.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload, ProducersSectionReader};

use super::dependencies;
use super::section::read_manifest;
use crate::package::Capability;
use crate::policy::{Manifest, Mismatch};
use crate::text::clean_line;

/// The most producers that are told, and the most bytes of a name or version.
const PRODUCERS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 120;

/// What a component says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct About {
    /// What it asks for and why, if it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
    /// Why its manifest can't be read, if it has one that can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_fault: Option<String>,
    /// Where manifest and imports differ; `None` without a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<Mismatch>,
    /// Languages, compilers and tools, by its `producers` sections: at most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub producers: Vec<Producer>,
    /// What it was built from, if it carries cargo-auditable's section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<Dependency>>,
    /// Why that section can't be read, if it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies_fault: Option<String>,
}

/// One entry of a `producers` section.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Producer {
    /// `language`, `processed-by` or `sdk`.
    pub field: String,
    /// Such as `Rust`.
    pub name: String,
    /// As it gives it; may be empty.
    pub version: String,
}

/// One crate that a component was built from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it came from, such as `crates.io`, `local` or `git`.
    pub source: String,
    /// Whether it ran while the component was built only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub build: bool,
}

impl About {
    /// Reads a component, which need not be valid.
    pub fn read(component: &[u8], imported: &BTreeSet<Capability>) -> Self {
        let (manifest, manifest_fault) = match read_manifest(component) {
            Ok(manifest) => (manifest, None),
            Err(error) => (None, Some(clean_line(&error.to_string(), 1_000))),
        };
        let (dependencies, dependencies_fault) = match dependencies::read(component) {
            Ok(dependencies) => (dependencies, None),
            Err(fault) => (None, Some(clean_line(&fault, 1_000))),
        };
        let mismatch = manifest.as_ref().map(|manifest| Mismatch::between(manifest, imported));
        Self {
            manifest,
            manifest_fault,
            mismatch,
            producers: producers(component),
            dependencies,
            dependencies_fault,
        }
    }
}

/// Those of the component and of all modules inside it, each once.
fn producers(component: &[u8]) -> Vec<Producer> {
    let mut found = BTreeSet::new();
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        let Payload::CustomSection(section) = &payload else { continue };
        if section.name() != "producers" {
            continue;
        }
        let reader = wasmparser::BinaryReader::new(section.data(), section.data_offset());
        let Ok(fields) = ProducersSectionReader::new(reader) else { continue };
        for field in fields.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                if found.len() == PRODUCERS_MAX {
                    return found.into_iter().collect();
                }
                let text = |text: &str| clean_line(text, NAME_BYTES_MAX);
                let (name, version) = (text(value.name), text(value.version));
                found.insert(Producer { field: text(field.name), name, version });
            }
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_are_told_once_and_cleaned() {
        let text = r#"(component
            (core module (@producers (language "Rust" "2021") (processed-by "rustc" "1.96\1b[31m")))
            (core module (@producers (language "Rust" "2021"))))"#;
        let about = About::read(&wat::parse_str(text).expect("a component"), &BTreeSet::new());
        let told: Vec<String> = about
            .producers
            .iter()
            .map(|Producer { field, name, version }| format!("{field}: {name} {version}"))
            .collect();
        assert_eq!(told, ["language: Rust 2021", "processed-by: rustc 1.96"]);
        assert_eq!((about.manifest, about.mismatch, about.dependencies), (None, None, None));
    }

    #[test]
    fn bytes_that_are_no_component_say_nothing() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\x0f", b"text"] {
            assert_eq!(About::read(bytes, &BTreeSet::new()), About::default());
        }
    }
}
