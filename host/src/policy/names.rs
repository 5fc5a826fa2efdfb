//! What agents call tools: one name for each tool, that every model's API accepts. Pure.
//!
//! A tool without a given name is `package__tool`; where that is too long, a shorter name with a hash in it. A
//! grant may give another name. The three kinds can't be taken for each other: only the first has `__` as its
//! first underscores, only the second has `__` behind a single one, the third has none.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::grant::Policy;
use super::parse::{Diagnostic, GrantsFile};
use crate::ids::{GrantId, Names, PackageName, ToolName, hex};

/// What stands between package and tool. Package names have no underscore, so it splits in one way only.
pub const SEPARATOR: &str = "__";

/// The longest name, in bytes: what every model's API accepts.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of the package's and of the tool's name that are left in a shortened one.
const CUT_BYTES: (usize, usize) = (20, 21);
/// Bytes of the hash in a shortened name: 80 bits, so that nobody finds a second name that is cut to the same.
const HASH_BYTES: usize = 10;

/// The most errors that one file is told of.
const DIAGNOSTICS_MAX: usize = 100;

/// What agents call a tool that no grant names: `package__tool`, or if that is longer than 64 bytes, its beginnings
/// and a hash of the whole: `package_hash__tool`.
pub fn public_name(package: &PackageName, tool: &ToolName) -> ToolName {
    let whole = format!("{package}{SEPARATOR}{tool}");
    let name = if whole.len() <= NAME_BYTES_MAX {
        whole
    } else {
        let hash = Sha256::digest(whole.as_bytes());
        let cut = |text: &str, bytes: usize| text[..text.len().min(bytes)].to_owned();
        let (package, tool) = (cut(package.as_str(), CUT_BYTES.0), cut(tool.as_str(), CUT_BYTES.1));
        format!("{package}_{}{SEPARATOR}{tool}", hex(&hash[..HASH_BYTES]))
    };
    name.parse().expect("it begins as a package does, has the letters of names, and at most 64 of them")
}

/// What agents call a tool under grants that allow it: the name that the first of them gives, if one does.
pub fn name_under(policy: &Policy, grants: &[GrantId], package: &PackageName, tool: &ToolName) -> ToolName {
    let allowing = policy.grants.of(package).filter(|grant| grants.contains(&grant.id));
    let given = allowing.filter_map(|grant| grant.terms.names.get(tool)).next();
    given.cloned().unwrap_or_else(|| public_name(package, tool))
}

/// The names of the file that are those of another tool already, or can be taken for one; under the policy that the
/// file would make.
pub(crate) fn clashing_names(file: &GrantsFile, after: &Policy) -> Vec<Diagnostic> {
    let own: BTreeSet<&PackageName> = file.grants.iter().map(|entry| &entry.package).collect();
    let (mut meanings, mut names) = (BTreeMap::new(), Names::default());
    for grant in after.grants.iter().filter(|grant| !own.contains(&grant.package)) {
        for (tool, name) in &grant.terms.names {
            meanings.insert(name, (&grant.package, tool));
            names.insert(name.as_str());
        }
    }
    let mut errors = Vec::new();
    for entry in &file.grants {
        for (tool, place) in &entry.names {
            let message = match meanings.get(&place.name) {
                Some(meaning) if *meaning == (&entry.package, tool) => continue,
                Some((package, tool)) => {
                    format!("{} is the name of tool {tool} of package {package} already", place.name)
                }
                None => {
                    meanings.insert(&place.name, (&entry.package, tool));
                    let Some(other) = names.insert(place.name.as_str()) else { continue };
                    format!("{} can be taken for {other}, which is another tool", place.name)
                }
            };
            let help = Some("a name is one tool's on the whole host: give another".to_owned());
            errors.push(Diagnostic::new(&file.source, place.span.clone(), &place.key, message, help));
            if errors.len() == DIAGNOSTICS_MAX {
                return errors;
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(package: &str, tool: &str) -> String {
        public_name(&package.parse().expect("a name"), &tool.parse().expect("a name")).to_string()
    }

    #[test]
    fn a_name_is_package_and_tool_or_short_and_as_clear_as_it_can_be() {
        assert_eq!(name("markdown", "render"), "markdown__render");
        let fits = "p".repeat(30);
        assert_eq!(name(&fits, &"t".repeat(32)), format!("{fits}__{}", "t".repeat(32)));
        let (long, other) = (name(&fits, &"t".repeat(33)), name(&fits, &"t".repeat(34)));
        assert_eq!(long, format!("{}_b0a9e6e2cb96a7c10a54__{}", "p".repeat(20), "t".repeat(21)));
        assert_ne!(long, other);
        assert_eq!(name("a", &"t".repeat(64)).len(), 1 + 1 + 20 + 2 + 21);
    }

    proptest! {
        #[test]
        fn names_fit_and_are_never_those_of_two_tools(
            one in ("[a-z0-9][a-z0-9-]{0,63}", "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
            other in ("[a-z0-9][a-z0-9-]{0,63}", "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
        ) {
            let names = (name(&one.0, &one.1), name(&other.0, &other.1));
            prop_assert!(names.0.len() <= NAME_BYTES_MAX && names.0.contains(SEPARATOR));
            prop_assert_eq!(names.0 == names.1, one == other);
        }

        /// A package that is called like what is left of another's can't take its name.
        #[test]
        fn a_shortened_name_is_never_another_tools_whole_name(
            tool in "[A-Za-z0-9_]{50,64}", package in "[a-z][a-z0-9-]{19,60}",
        ) {
            let tool = format!("t{}", &tool[1..]);
            let short = name(&package, &tool);
            let (head, rest) = short.split_once(SEPARATOR).expect("it has one");
            prop_assert!(head.parse::<PackageName>().is_err(), "{} {}", head, rest);
        }
    }
}
