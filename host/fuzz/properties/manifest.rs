//! What must hold of manifests, as text and in a component, and of all that is read of a component beside its types,
//! for any bytes: shared by the fuzz target and by a test, which gives them bytes from a seed.

use std::collections::BTreeSet;

use portcullis::authoring::{About, MANIFEST_SECTION, read_manifest, with_manifest};
use portcullis::policy::{MANIFEST_BYTES_MAX, Manifest, parse_manifest};

/// An empty component.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

/// Reads bytes as a `portcullis.toml`, as the section of a component, and as a component.
pub(crate) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match parse_manifest(&text) {
        Ok(manifest) => {
            // What is embedded is what was read.
            let canonical = manifest.canonical();
            let value: serde_json::Value = serde_json::from_str(&canonical).expect("canonical JSON is JSON");
            assert_eq!(Manifest::try_from(value), Ok(manifest.clone()));
            if let Ok(component) = with_manifest(EMPTY.to_vec(), &manifest) {
                assert_eq!(read_manifest(&component), Ok(Some(manifest)));
            }
        }
        Err(diagnostics) => {
            assert!((1..=100).contains(&diagnostics.len()));
            assert!(diagnostics.iter().all(|one| text.get(one.span.clone()).is_some() && one.line >= 1));
        }
    }
    if data.len() <= 2 * MANIFEST_BYTES_MAX {
        let section = section(data);
        if let Ok(Some(manifest)) = read_manifest(&section) {
            assert_eq!(manifest.canonical().as_bytes(), data);
        }
        told(&About::read(&section, &BTreeSet::new()));
    }
    told(&About::read(data, &BTreeSet::new()));
}

/// Nothing that is told acts on a terminal.
fn told(about: &About) {
    let json = serde_json::to_string(about).expect("it serialises");
    assert!(!json.chars().any(char::is_control), "{json}");
    assert!(about.producers.len() <= 64);
}

/// A component whose manifest is these bytes.
fn section(content: &[u8]) -> Vec<u8> {
    let mut section = vec![u8::try_from(MANIFEST_SECTION.len()).expect("a short name")];
    section.extend(MANIFEST_SECTION.as_bytes());
    section.extend(content);
    let mut component = EMPTY.to_vec();
    component.push(0);
    let mut length = section.len();
    while length > 0x7f {
        component.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    component.push(u8::try_from(length).expect("seven bits"));
    component.extend(section);
    component
}
