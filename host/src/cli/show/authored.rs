//! What a component says of itself: its author's word, shown as that.

use std::collections::BTreeSet;

use super::{capability, one_line, push};
use crate::authoring::{About, Producer};
use crate::limits::Limit;
use crate::package::Capability;
use crate::policy::{Manifest, Mismatch};

/// The most crates that are named one by one.
const CRATES_SHOWN_MAX: usize = 12;

/// What it asks for and why, and where that is not what it imports.
pub(in crate::cli) fn manifest(text: &mut String, about: &About) {
    if let Some(fault) = &about.manifest_fault {
        push(text, format_args!("manifest      can't be read: {}", one_line(fault)));
    }
    let Some(Manifest { description, license, source, asks, limits, .. }) = &about.manifest else { return };
    push(text, format_args!("says of itself, in its manifest:"));
    push(text, format_args!("  │ {}", one_line(description)));
    let licensed = license.as_ref().map(|license| format!("licence {license}"));
    let sourced = source.as_ref().map(|source| format!("source {source}"));
    let both: Vec<String> = licensed.into_iter().chain(sourced).collect();
    if !both.is_empty() {
        push(text, format_args!("  │ {}", one_line(&both.join(", "))));
    }
    for ask in asks {
        push(text, format_args!("  asks {:<11} {}", ask.what.kind(), one_line(&ask.what.to_string())));
        push(text, format_args!("       {:<11} │ {}", "because", one_line(&ask.why)));
    }
    if asks.is_empty() {
        push(text, format_args!("  asks for nothing"));
    }
    let wished: Vec<String> = limits.iter().map(|(limit, number)| wished(*limit, *number)).collect();
    if !wished.is_empty() {
        push(text, format_args!("  would like  {}", wished.join(", ")));
    }
    if let Some(mismatch) = &about.mismatch {
        for line in mismatched(mismatch) {
            push(text, format_args!("  note: {line}"));
        }
    }
}

fn wished(limit: Limit, number: u64) -> String {
    format!("{limit} {}", super::measured(limit, number))
}

/// Where manifest and imports differ, in a line each.
pub(in crate::cli) fn mismatched(mismatch: &Mismatch) -> Vec<String> {
    let Mismatch { not_imported, not_asked } = mismatch;
    let names = |kinds: &BTreeSet<Capability>| kinds.iter().map(capability).collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    if !not_imported.is_empty() {
        lines.push(format!("it asks for {}, and imports nothing that could use it", names(not_imported)));
    }
    if !not_asked.is_empty() {
        let all_by_toolchain =
            not_asked.iter().all(|kind| matches!(kind, Capability::Filesystem | Capability::Config));
        let hint = if all_by_toolchain { " (many toolchains always import these)" } else { "" };
        lines.push(format!("it imports {}, and does not ask for it{hint}", names(not_asked)));
    }
    lines
}

/// Languages and tools, and what it was built from.
pub(in crate::cli) fn origin(text: &mut String, about: &About) {
    let named = |field: &str| {
        let of_field = about.producers.iter().filter(|producer| producer.field == field);
        of_field
            .map(|Producer { name, version, .. }| one_line(format!("{name} {version}").trim()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (word, field) in [("language", "language"), ("made by", "processed-by"), ("sdk", "sdk")] {
        let named = named(field);
        if !named.is_empty() {
            push(text, format_args!("{word:<13} {named}"));
        }
    }
    if let Some(fault) = &about.dependencies_fault {
        push(text, format_args!("built from    can't be read: {}", one_line(fault)));
    }
    if let Some(dependencies) = &about.dependencies {
        let shown = dependencies.iter().take(CRATES_SHOWN_MAX);
        let mut names: Vec<String> = shown.map(|one| format!("{} {}", one.name, one.version)).collect();
        if dependencies.len() > CRATES_SHOWN_MAX {
            names.push(format!("and {} more (--json has all)", dependencies.len() - CRATES_SHOWN_MAX));
        }
        push(
            text,
            format_args!("built from    {} crates: {}", dependencies.len(), one_line(&names.join(", "))),
        );
    }
}
