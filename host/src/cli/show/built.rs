//! What a build made.

use super::{asks, authored, grouped, one_line, push, size, tools};
use crate::authoring::advisories::Advisory;
use crate::cli::attached::{Told, ToldSbom, ToldStatement};
use crate::cli::authoring::{Inspected, Outcome};
use crate::policy::Change;
use crate::registry::oci::{Sbom, Statement};

pub(in crate::cli) fn outcome(outcome: &Outcome) -> String {
    let Outcome { file, built_with, bytes, unstripped_bytes, elapsed_ms, package } = outcome;
    let mut text = String::new();
    let file = one_line(&file.to_string_lossy());
    push(&mut text, format_args!("built {file}: {} {}", package.package, package.version));
    push(&mut text, format_args!("digest        {}", package.digest));
    push(
        &mut text,
        format_args!(
            "size          {} bytes ({} before stripping)",
            grouped(*bytes),
            grouped(*unstripped_bytes)
        ),
    );
    push(&mut text, format_args!("time          {} ms, with {}", grouped(*elapsed_ms), one_line(built_with)));
    asks(&mut text, &package.description);
    authored::manifest(&mut text, &package.about);
    push(&mut text, format_args!("\nnext:  portcullis run {file} {}", first_tool(outcome)));
    text
}

fn first_tool(outcome: &Outcome) -> &str {
    outcome.package.description.tools.first().map_or("TOOL", |tool| tool.name.as_str())
}

/// A file that is not registered.
pub(in crate::cli) fn inspected(inspected: &Inspected) -> String {
    let Inspected { package, advisories, attached } = inspected;
    let mut text = format!("{} {} — a file, not registered\n", package.package, package.version);
    push(&mut text, format_args!("digest        {}", package.digest));
    asks(&mut text, &package.description);
    authored::manifest(&mut text, &package.about);
    authored::origin(&mut text, &package.about);
    if let Some(advisories) = advisories {
        push(&mut text, format_args!("advisories    {}", advisories.len()));
        list(&mut text, advisories);
    }
    attachments(&mut text, attached);
    size(&mut text, &package.description.size);
    tools(&mut text, &package.description);
    text
}

fn list(text: &mut String, advisories: &[Advisory]) {
    for Advisory { id, package, version, title, informational, patched } in advisories {
        let kind = informational.as_deref().unwrap_or("vulnerability");
        let mended = if patched.is_empty() {
            "in no version".to_owned()
        } else {
            format!("in {}", patched.join(", "))
        };
        push(text, format_args!("  {id} {package} {version} ({kind}, mended {mended}): {title}"));
    }
}

/// What SBOMs and statements say, and what that is worth.
fn attachments(text: &mut String, told: &Told) {
    for ToldSbom { from, sbom, unlisted, advisories } in &told.sboms {
        let Sbom { format, components, crates, without_version } = sbom;
        let count = crates.len();
        push(
            text,
            format_args!(
                "sbom          {format}: {components} components, {count} of them crates with a version"
            ),
        );
        push(text, format_args!("  from        {}; its author's word, not verified", one_line(from)));
        if *without_version > 0 {
            push(text, format_args!("  not looked up: {without_version} crates without a version"));
        }
        if let Some(unlisted) = unlisted.as_ref().filter(|unlisted| !unlisted.is_empty()) {
            let names = one_line(&unlisted.join(", "));
            push(text, format_args!("  NOT LISTED  {} crates of the component: {names}", unlisted.len()));
        }
        if let Some(advisories) = advisories {
            push(text, format_args!("  advisories  {}", advisories.len()));
            list(text, advisories);
        }
    }
    for ToldStatement { from, kind: _, statement } in &told.statements {
        let Statement { predicate_type, builder, build_type, sources, more_sources, subjects, signatures } =
            statement;
        let kind = if predicate_type.is_empty() { "of no type" } else { predicate_type };
        push(text, format_args!("provenance    {}", one_line(kind)));
        push(text, format_args!("  from        {}", one_line(from)));
        let others = match subjects.saturating_sub(1) {
            0 => String::new(),
            others => format!(", and {others} other things"),
        };
        push(text, format_args!("  about       these bytes{others}"));
        for (word, said) in [("builder", builder), ("build type", build_type)] {
            if let Some(said) = said {
                push(text, format_args!("  {word:<11} {}", one_line(said)));
            }
        }
        for source in sources {
            push(text, format_args!("  source      {}", one_line(source)));
        }
        if *more_sources > 0 {
            push(text, format_args!("  source      and {more_sources} more"));
        }
        let worth = match signatures {
            0 => "none: whoever could write the statement could say this".to_owned(),
            count => format!("{count}, NOT verified: who made them was not looked at"),
        };
        push(text, format_args!("  signatures  {worth}"));
    }
}

/// What differs between two versions, what widened first.
pub(in crate::cli) fn changes(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "both ask for the same, and say the same".to_owned();
    }
    let mut text = String::new();
    differences(&mut text, changes);
    text
}

/// One after the other: what was with a `-`, what is with a `+`.
pub(in crate::cli) fn differences(text: &mut String, changes: &[Change]) {
    for Change { widened, about, old, new } in changes {
        let word = if *widened { "WIDER" } else { "     " };
        push(text, format_args!("{word} {}", about.name()));
        for line in old.lines() {
            push(text, format_args!("      - {line}"));
        }
        for line in new.lines() {
            push(text, format_args!("      + {line}"));
        }
    }
}
