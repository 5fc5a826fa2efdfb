//! Descriptions of exported functions, from the section that carries WIT doc comments: `portcullis:docs`, which builds
//! of ours write, else `package-docs`.
//!
//! A lenient reader of the form that `wit-parser` writes: a version byte (0 or 1), then JSON with `worlds` and
//! `interfaces`. What is missing, broken or unknown is an empty description, never an error. The text is the
//! author's: it is cleaned and cut here, and stays untrusted.

use serde_json::Value;
use wasmparser::{Parser, Payload};

use crate::text;

/// The longest description, in bytes. A longer one is cut and marked.
pub(crate) const DESCRIPTION_BYTES_MAX: usize = 4 << 10;

/// The longest section that is read. A longer one counts as missing.
const SECTION_BYTES_MAX: usize = 256 << 10;

/// By rank.
const SECTIONS: [&str; 2] = ["portcullis:docs", "package-docs"];

/// The doc comments of a component's WIT package.
#[derive(Debug, Default)]
pub(crate) struct PackageDocs {
    /// The section's JSON, `null` if there is none.
    docs: Value,
}

impl PackageDocs {
    /// Reads the section of a component. The component need not be valid.
    pub(crate) fn read(component: &[u8]) -> Self {
        let docs = SECTIONS.into_iter().find_map(|name| section(component, name)).and_then(parse);
        let docs = docs.unwrap_or_default();
        Self { docs }
    }

    /// The description of an exported function, at most [`DESCRIPTION_BYTES_MAX`] bytes; empty if there is none.
    ///
    /// `interface` is the export's name, such as `docs:markdown/render@1.0.0`; `None` for a function of the world.
    pub(crate) fn function(&self, interface: Option<&str>, function: &str) -> String {
        let found = match interface {
            None => self.of_worlds(|world| {
                let exports = world.get("func_exports").and_then(|funcs| funcs.get(function));
                // Version 0 kept imports and exports together.
                exports.or_else(|| world.get("funcs")?.get(function))
            }),
            Some(interface) => {
                let name = short_name(interface);
                let named = self.docs.get("interfaces").and_then(|all| all.get(name));
                let named = named.and_then(|interface| interface.get("funcs")?.get(function));
                named.or_else(|| {
                    self.of_worlds(|world| {
                        let inline = world.get("interface_exports").and_then(|all| all.get(name));
                        let inline = inline.or_else(|| world.get("interfaces")?.get(name))?;
                        inline.get("funcs")?.get(function)
                    })
                })
            }
        };
        let text = found.and_then(|docs| docs.as_str().or_else(|| docs.get("docs")?.as_str()));
        let text = text::clean(text.unwrap_or_default(), DESCRIPTION_BYTES_MAX);
        text.trim().to_owned()
    }

    /// The first that a world has. The section does not say which world the component implements.
    fn of_worlds<'a>(&'a self, find: impl FnMut(&'a Value) -> Option<&'a Value>) -> Option<&'a Value> {
        self.docs.get("worlds")?.as_object()?.values().find_map(find)
    }
}

/// `render` of `docs:markdown/render@1.0.0`.
fn short_name(interface: &str) -> &str {
    let name = interface.rsplit_once('/').map_or(interface, |(_, name)| name);
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// The first such section of the component itself: one of a module or component inside it describes that one.
fn section<'c>(component: &'c [u8], name: &str) -> Option<&'c [u8]> {
    let mut nested = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.ok()?;
        if let Payload::CustomSection(section) = &payload {
            if nested == 0 && section.name() == name {
                return Some(section.data()).filter(|data| data.len() <= SECTION_BYTES_MAX);
            }
        } else if matches!(payload, Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) {
            nested += 1;
        } else if matches!(payload, Payload::End(_)) {
            nested = nested.saturating_sub(1);
        }
    }
    None
}

fn parse(section: &[u8]) -> Option<Value> {
    match section.split_first()? {
        (0 | 1, json) => serde_json::from_slice(json).ok(),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(version: u8, json: &str) -> Vec<u8> {
        let json: String = json.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let text = format!(
            r#"(component
                (core module (@custom "package-docs" "\01{{\22worlds\22:{{}}}}"))
                (@custom "package-docs" "\{version:02x}{json}"))"#
        );
        wat::parse_str(&text).expect("the text is a component")
    }

    #[test]
    fn the_section_of_our_builds_counts_before_that_of_others() {
        let named = |name: &str, text: &str| {
            let json = format!(
                r#"{{\22worlds\22:{{\22w\22:{{\22func_exports\22:{{\22run\22:{{\22docs\22:\22{text}\22}}}}}}}}}}"#
            );
            format!(r#"(@custom "{name}" "\01{json}")"#)
        };
        let (ours, theirs) = (named("portcullis:docs", "Ours."), named("package-docs", "Theirs."));
        for (sections, expected) in
            [(format!("{theirs}{ours}"), "Ours."), (ours.clone(), "Ours."), (theirs.clone(), "Theirs.")]
        {
            let component = wat::parse_str(format!("(component {sections})")).expect("a component");
            assert_eq!(PackageDocs::read(&component).function(None, "run"), expected);
        }
    }

    #[test]
    fn finds_functions_of_worlds_and_interfaces_in_both_versions() {
        let docs = PackageDocs::read(&component(
            1,
            r#"{"docs": "the package",
                "worlds": {"a": {"docs": "none"}, "tool": {
                    "func_exports": {"run": {"docs": "Runs it.", "stability": {}}},
                    "funcs": {"run": {"docs": "imported"}, "log": {"docs": "imported"}},
                    "interface_exports": {"inline": {"funcs": {"go": {"docs": " Goes. \n"}}}}}},
                "interfaces": {"render": {"funcs": {"html": {"docs": "To HTML.\n\nWell."}}}}}"#,
        ));
        assert_eq!(docs.function(None, "run"), "Runs it.");
        assert_eq!(docs.function(Some("docs:markdown/render@1.0.0"), "html"), "To HTML.\n\nWell.");
        assert_eq!(docs.function(Some("docs:markdown/render"), "html"), "To HTML.\n\nWell.");
        assert_eq!(docs.function(Some("inline"), "go"), "Goes.");
        assert_eq!(docs.function(Some("inline"), "html"), "");
        assert_eq!(docs.function(None, "html"), "");

        let old = r#"{"worlds": {"tool": {"funcs": {"run": "Old."}, "interfaces": {"i": {"funcs": {"f": "F."}}}}}}"#;
        let docs = PackageDocs::read(&component(0, old));
        assert_eq!(docs.function(None, "run"), "Old.");
        assert_eq!(docs.function(Some("i"), "f"), "F.");
    }

    #[test]
    fn what_is_missing_or_broken_is_empty() {
        let good = component(1, r#"{"worlds": {"tool": {"func_exports": {"run": {"docs": "Runs."}}}}}"#);
        assert_eq!(PackageDocs::read(&good).function(None, "run"), "Runs.");
        let deep = format!("{{\"worlds\":{}", "[".repeat(10_000));
        let long =
            format!(r#"{{"worlds":{{"tool":{{"func_exports":{{"run":"{}"}}}}}}}}"#, "x".repeat(300_000));
        let mut cases = vec![b"".to_vec(), b"\0asm".to_vec(), component(1, ""), component(1, &deep)];
        cases.push(component(2, r#"{"worlds": {"tool": {"func_exports": {"run": {"docs": "Runs."}}}}}"#));
        cases.push(component(1, &long));
        for json in ["[]", "{\"worlds\":[]}", r#"{"worlds":{"tool":{"func_exports":{"run":{"docs":7}}}}}"#] {
            cases.push(component(1, json));
        }
        cases.extend((0..good.len()).map(|end| good[..end].to_vec()));
        for case in cases {
            let text = PackageDocs::read(&case).function(None, "run");
            // Cut inside the end of the file, the section may still be whole.
            assert!(text.is_empty() || good.starts_with(&case) && text == "Runs.", "{text}");
        }
    }

    /// Threats 69 and 70.
    #[test]
    fn text_is_cleaned_and_cut() {
        let docs = |text: &str| {
            let text = Value::from(text);
            let json = format!(r#"{{"worlds":{{"tool":{{"func_exports":{{"run":{{"docs":{text}}}}}}}}}}}"#);
            PackageDocs::read(&component(1, &json)).function(None, "run")
        };
        assert_eq!(docs("Good.\u{1b}[8m hid\u{202e}den \u{e0041}\u{0}"), "Good. hidden");
        let cut = docs(&"x".repeat(5_000));
        assert!(cut.len() <= DESCRIPTION_BYTES_MAX && cut.ends_with("… [cut]"));
    }
}
