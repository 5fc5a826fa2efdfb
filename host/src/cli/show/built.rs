//! What a build made.

use super::{asks, authored, grouped, one_line, push, size, tools};
use crate::authoring::advisories::Advisory;
use crate::cli::authoring::{Inspected, Outcome};
use crate::policy::Change;

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
    let Inspected { package, advisories } = inspected;
    let mut text = format!("{} {} — a file, not registered\n", package.package, package.version);
    push(&mut text, format_args!("digest        {}", package.digest));
    asks(&mut text, &package.description);
    authored::manifest(&mut text, &package.about);
    authored::origin(&mut text, &package.about);
    if let Some(advisories) = advisories {
        push(&mut text, format_args!("advisories    {}", advisories.len()));
        for Advisory { id, package, version, title, informational, patched } in advisories {
            let kind = informational.as_deref().unwrap_or("vulnerability");
            let mended = if patched.is_empty() {
                "in no version".to_owned()
            } else {
                format!("in {}", patched.join(", "))
            };
            push(&mut text, format_args!("  {id} {package} {version} ({kind}, mended {mended}): {title}"));
        }
    }
    size(&mut text, &package.description.size);
    tools(&mut text, &package.description);
    text
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
