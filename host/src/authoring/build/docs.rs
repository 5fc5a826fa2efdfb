//! The doc comments of a project's WIT, which toolchains drop: a section of ours, in the form of wit-parser's
//! `package-docs`. Under that name it would be about another package: wit-parser, and with it wkg, wash and jco, could
//! not read the component any more.

use std::path::Path;

use serde_json::{Map, Value, json};
use wit_parser::{Function, Resolve, WorldItem, WorldKey};

use super::BuildError;

pub(super) const SECTION: &str = "portcullis:docs";
const VERSION: u8 = 1;

/// Reads a folder of WIT, and sees that it has the world.
pub(super) fn read(wit: &Path, world: Option<&str>) -> Result<Vec<u8>, BuildError> {
    let failed = |reason: String| BuildError::Wit { path: wit.to_owned(), reason };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).map_err(|error| failed(format!("{error:#}")))?;
    resolve
        .select_world(&[package], world)
        .map_err(|error| failed(format!("{error:#}; `world` in [build] names one of several")))?;
    let (mut interfaces, mut worlds) = (Map::new(), Map::new());
    for (name, id) in &resolve.packages[package].interfaces {
        interfaces
            .insert(name.clone(), json!({ "funcs": documented(resolve.interfaces[*id].functions.values()) }));
    }
    for (name, id) in &resolve.packages[package].worlds {
        let (mut functions, mut inline) = (Vec::new(), Map::new());
        for (key, item) in &resolve.worlds[*id].exports {
            match (key, item) {
                (_, WorldItem::Function(function)) => functions.push(function),
                (WorldKey::Name(name), WorldItem::Interface { id, .. }) => {
                    let funcs = documented(resolve.interfaces[*id].functions.values());
                    inline.insert(name.clone(), json!({ "funcs": funcs }));
                }
                (WorldKey::Interface(_), WorldItem::Interface { .. }) | (_, WorldItem::Type { .. }) => {}
            }
        }
        let world = json!({ "func_exports": documented(functions), "interface_exports": inline });
        worlds.insert(name.clone(), world);
    }
    let mut section = vec![VERSION];
    section.extend(json!({ "interfaces": interfaces, "worlds": worlds }).to_string().into_bytes());
    Ok(section)
}

fn documented<'a>(functions: impl IntoIterator<Item = &'a Function>) -> Value {
    let docs = |function: &Function| {
        let text = function.docs.contents.clone()?;
        Some((function.name.clone(), json!({ "docs": text })))
    };
    Value::Object(functions.into_iter().filter_map(docs).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_comments_and_a_world_must_be_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wit = "package a:b;\ninterface i {\n  /// One.\n  ///\n  /// Two.\n  f: func(x: u8);\n  bare: func();\n}\n\
                   world w {\n  export i;\n  /// Of the world.\n  export g: func();\n  export inline: interface {\n    \
                   /// Inside.\n    h: func();\n  }\n}\n";
        std::io::Write::write_all(
            &mut std::fs::File::create(folder.path().join("world.wit")).expect("made"),
            wit.as_bytes(),
        )
        .expect("written");
        let section = read(folder.path(), None).expect("read");
        let docs: Value = serde_json::from_slice(&section[1..]).expect("JSON");
        let expected = json!({
            "interfaces": { "i": { "funcs": { "f": { "docs": "One.\n\nTwo." } } } },
            "worlds": { "w": {
                "func_exports": { "g": { "docs": "Of the world." } },
                "interface_exports": { "inline": { "funcs": { "h": { "docs": "Inside." } } } },
            } },
        });
        assert_eq!((section[0], docs), (1, expected));
        assert!(matches!(read(folder.path(), Some("other")), Err(BuildError::Wit { .. })));
        assert!(matches!(read(&folder.path().join("none"), None), Err(BuildError::Wit { .. })));
    }
}
