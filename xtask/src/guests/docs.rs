//! Puts the doc comments of a guest's WIT into the built component, as the section `portcullis:docs`, as
//! `portcullis build` does.
//!
//! Toolchains drop them on the way, and an agent that chooses among tools needs them. The form is
//! that of wit-parser: a version byte, then JSON. Not a parser of WIT: it reads files that are
//! formatted as ours are, one item a line.

use serde_json::{Map, Value, json};

const SECTION: &str = "portcullis:docs";
const VERSION: u8 = 1;

/// The JSON of the section: what each documented function of a WIT file is for.
pub(super) fn read(wit: &str) -> Value {
    let (mut interfaces, mut worlds) = (Map::new(), Map::new());
    // The block that a function stands in, and where its documentation goes.
    let mut block: Option<(&str, bool)> = None;
    let mut depth = 0_usize;
    let mut comment: Vec<&str> = Vec::new();
    for line in wit.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
            continue;
        }
        let documentation = std::mem::take(&mut comment).join("\n");
        let opened = line.strip_suffix(" {");
        match (depth, opened) {
            (0, Some(head)) => {
                let world = head.strip_prefix("world ");
                block = world.map(|name| (name, true));
                block = block.or_else(|| head.strip_prefix("interface ").map(|name| (name, false)));
            }
            (1, None) if !documentation.is_empty() => {
                if let (Some((owner, world)), Some((function, _))) = (block, line.split_once(": func(")) {
                    let name = function.trim_start_matches("export ").trim_start_matches('%');
                    let (all, key) =
                        if world { (&mut worlds, "func_exports") } else { (&mut interfaces, "funcs") };
                    all.entry(owner).or_insert_with(|| json!({ key: {} }))[key][name] =
                        json!({ "docs": documentation });
                }
            }
            _ => {}
        }
        depth = (depth + usize::from(opened.is_some())).saturating_sub(usize::from(line.starts_with('}')));
    }
    json!({ "interfaces": interfaces, "worlds": worlds })
}

/// A component with the section at its end, where any custom section may stand.
pub(super) fn append(mut component: Vec<u8>, docs: &Value) -> Vec<u8> {
    let mut content = leb128(SECTION.len());
    content.extend(SECTION.as_bytes());
    content.push(VERSION);
    content.extend(docs.to_string().as_bytes());
    component.push(0);
    component.extend(leb128(content.len()));
    component.extend(content);
    component
}

/// A number as WebAssembly writes it: seven bits a byte, the lowest first.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits fit");
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_comments() {
        let docs = read(
            "package a:b;\n/// Not of a function.\ninterface i {\n  /// A record.\n  record r {\n    /// Field.\n    \
             x: u8,\n  }\n\n  /// One.\n  ///\n  /// Two.\n  f: func(x: u8) -> r;\n  bare: func();\n  /// List.\n  \
             %list: func();\n}\n\nworld w {\n  export i;\n  /// Of the world.\n  export g: func();\n}\n",
        );
        let expected = json!({
            "interfaces": { "i": { "funcs": { "f": { "docs": "One.\n\nTwo." }, "list": { "docs": "List." } } } },
            "worlds": { "w": { "func_exports": { "g": { "docs": "Of the world." } } } },
        });
        assert_eq!(docs, expected);
    }

    #[test]
    fn a_section_has_its_length_and_name_before_it() {
        assert_eq!((leb128(0), leb128(127), leb128(300)), (vec![0], vec![127], vec![0xac, 0x02]));
        let component = append(vec![1, 2], &json!({}));
        assert_eq!(component[..5], [1, 2, 0, 19, 15]);
        assert_eq!(&component[5..20], b"portcullis:docs");
        assert_eq!(component[20..], [1, b'{', b'}']);
    }
}
