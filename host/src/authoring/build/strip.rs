//! A component without what only debuggers read: names and debug information, of all modules inside it too.

use std::mem;

use wasmparser::{Encoding, Parser, Payload};

use crate::authoring::section::leb128;

/// The ids of sections that hold a module and a component (binary format of the component model).
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// Copies all sections but those.
///
/// # Errors
/// Why the bytes are no component.
pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if !Parser::is_component(bytes) {
        return Err("it does not begin as one".to_owned());
    }
    let (mut made, mut outer) = (Vec::new(), Vec::new());
    let mut encodings = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| error.to_string())?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser's enum: the rest is copied as it is")]
        match &payload {
            Payload::Version { encoding, range, .. } => {
                encodings.push(*encoding);
                made.extend_from_slice(bytes.get(range.clone()).unwrap_or_default());
                continue;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                outer.push(mem::take(&mut made));
                continue;
            }
            Payload::End(_) => {
                let inner = encodings.pop();
                let Some(mut around) = outer.pop() else { break };
                around.push(if inner == Some(Encoding::Module) { CORE_MODULE } else { COMPONENT });
                around.extend(leb128(made.len()));
                around.append(&mut made);
                made = around;
                continue;
            }
            Payload::CustomSection(section) if is_for_debuggers(section.name()) => continue,
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            let content = bytes.get(range).unwrap_or_default();
            made.push(id);
            made.extend(leb128(content.len()));
            made.extend_from_slice(content);
        }
    }
    Ok(made)
}

fn is_for_debuggers(section: &str) -> bool {
    matches!(section, "name" | "component-name" | "external_debug_info" | "sourceMappingURL")
        || section.starts_with(".debug")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_debug_information_go_and_the_rest_stays() {
        let text = |custom: &str, id: &str| {
            format!(
                r#"(component {id} {custom}
                    (core module {id} (func {id} (export "f") (result i32) i32.const 7) {custom}
                        (@custom "producers" "\00") (memory 1) (data (i32.const 0) "abc"))
                    (component (core module (func {id}) {custom}))
                    (core instance $i (instantiate 0)))"#
            )
        };
        let debug = r#"(@custom ".debug_info" "x") (@custom "sourceMappingURL" "y")"#;
        let with = wat::parse_str(text(debug, "$a")).expect("a component");
        let without = wat::parse_str(text("", "").replace("$i", "")).expect("a component");
        assert_ne!(with, without);
        let stripped = strip(&with).expect("a component");
        assert_eq!(stripped, without);
        assert_eq!(strip(&stripped), Ok(without));
    }

    #[test]
    fn what_is_no_component_is_refused() {
        let whole = wat::parse_str("(component (core module (func)))").expect("a component");
        let module = wat::parse_str("(module)").expect("a module");
        assert!(strip(&module).is_err() && strip(b"").is_err() && strip(&whole[..whole.len() - 2]).is_err());
    }
}
