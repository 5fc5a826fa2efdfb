//! What a component was built from: the section `.dep-v0` of cargo-auditable, compressed JSON, in the core module
//! that cargo made. The author's word.

use std::collections::BTreeSet;

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use serde::Deserialize;
use wasmparser::{Parser, Payload};

use super::about::Dependency;
use crate::text::clean_line;

/// The section (github.com/rust-secure-code/cargo-auditable, PARSING.md).
const SECTION: &str = ".dep-v0";
/// The most bytes of it, compressed and not.
const COMPRESSED_BYTES_MAX: usize = 256 << 10;
const BYTES_MAX: usize = 2 << 20;
/// The most crates, and the most bytes of a name.
const CRATES_MAX: usize = 5_000;
const NAME_BYTES_MAX: usize = 100;

#[derive(Deserialize)]
struct List {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: String,
    #[serde(default)]
    kind: Kind,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Build,
    #[default]
    Runtime,
}

/// The crates of all such sections; `None` if there is none.
///
/// # Errors
/// Why one can't be read.
pub(super) fn read(component: &[u8]) -> Result<Option<Vec<Dependency>>, String> {
    let mut found: Option<BTreeSet<Dependency>> = None;
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        let Payload::CustomSection(section) = &payload else { continue };
        if section.name() == SECTION {
            let listed = found.get_or_insert_default();
            listed.extend(list(section.data())?);
            if listed.len() > CRATES_MAX {
                return Err(format!("the section {SECTION} lists more than {CRATES_MAX} crates"));
            }
        }
    }
    Ok(found.map(|listed| listed.into_iter().collect()))
}

fn list(section: &[u8]) -> Result<Vec<Dependency>, String> {
    let wrong = |why: String| format!("the section {SECTION} can't be read: {why}");
    if section.len() > COMPRESSED_BYTES_MAX {
        return Err(wrong(format!("it has {} bytes, at most {COMPRESSED_BYTES_MAX}", section.len())));
    }
    let json =
        decompress_to_vec_zlib_with_limit(section, BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
    let List { packages } = serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
    let text = |text: &str| clean_line(text, NAME_BYTES_MAX);
    let dependency = |package: &Package| Dependency {
        name: text(&package.name),
        version: text(&package.version),
        source: text(&package.source),
        build: package.kind == Kind::Build,
    };
    Ok(packages.iter().take(CRATES_MAX + 1).map(dependency).collect())
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec_zlib;

    use super::*;
    use crate::authoring::section::with;

    fn component(json: &str) -> Vec<u8> {
        let empty = wat::parse_str("(component)").expect("a component");
        with(empty, SECTION, &compress_to_vec_zlib(json.as_bytes(), 6))
    }

    #[test]
    fn crates_are_listed_with_what_they_were_for() {
        let json = r#"{"packages":[
            {"name":"tool","version":"0.1.0","source":"local","root":true,"dependencies":[1]},
            {"name":"serde","version":"1.0.1","source":"crates.io"},
            {"name":"cc","version":"1.2.3","source":"crates.io","kind":"build"}]}"#;
        let listed = read(&component(json)).expect("read").expect("there");
        let told: Vec<(&str, &str, bool)> =
            listed.iter().map(|one| (one.name.as_str(), one.version.as_str(), one.build)).collect();
        assert_eq!(told, [("cc", "1.2.3", true), ("serde", "1.0.1", false), ("tool", "0.1.0", false)]);
        assert_eq!(read(&wat::parse_str("(component)").expect("a component")), Ok(None));
    }

    #[test]
    fn what_can_not_be_read_is_told() {
        for bad in
            ["", "[]", "{\"packages\":[{\"name\":1}]}", &format!("{{\"packages\":[{}", " ".repeat(BYTES_MAX))]
        {
            assert!(read(&component(bad)).is_err(), "{}", bad.len());
        }
        let empty = wat::parse_str("(component)").expect("a component");
        assert!(read(&with(empty.clone(), SECTION, b"not compressed")).is_err());
        assert!(read(&with(empty, SECTION, &vec![0; COMPRESSED_BYTES_MAX + 1])).is_err());
    }
}
