//! Custom sections of a component: found, read with suspicion, appended. The component need not be valid.

use wasmparser::{Parser, Payload};

use crate::arguments::parse_json;
use crate::policy::{MANIFEST_BYTES_MAX, Manifest, ManifestError};

/// The custom section that has a package's manifest, as canonical JSON.
pub const MANIFEST_SECTION: &str = "portcullis:manifest";

/// Why the manifest of a component can't be read. Its author's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// Two sections could say two things.
    #[error("the component has two sections `{MANIFEST_SECTION}`")]
    Twice,
    /// Longer than is read.
    #[error("the section `{MANIFEST_SECTION}` has {0} bytes, at most {MANIFEST_BYTES_MAX} are read")]
    TooLong(usize),
    /// Not JSON as it is written here: one text has one meaning.
    #[error("the section `{MANIFEST_SECTION}` is not canonical JSON: {0}")]
    Form(String),
    /// It says what a manifest can't say.
    #[error("the section `{MANIFEST_SECTION}`: {0}")]
    Manifest(#[from] ManifestError),
}

/// The contents of the component's own custom sections of a name. Those of modules and components inside it
/// describe these.
pub(crate) fn own<'a>(component: &'a [u8], name: &str) -> Vec<&'a [u8]> {
    let (mut found, mut nested) = (Vec::new(), 0_usize);
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "wasmparser's enum: the rest is no custom section"
        )]
        match payload {
            Payload::CustomSection(section) if nested == 0 && section.name() == name => {
                found.push(section.data());
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => nested += 1,
            Payload::End(_) => nested = nested.saturating_sub(1),
            _ => {}
        }
    }
    found
}

/// The manifest that a component carries; `None` if it carries none.
///
/// # Errors
/// [`SectionError`].
pub fn read_manifest(component: &[u8]) -> Result<Option<Manifest>, SectionError> {
    let content = match own(component, MANIFEST_SECTION).as_slice() {
        [] => return Ok(None),
        [content] => *content,
        [_, _, ..] => return Err(SectionError::Twice),
    };
    if content.len() > MANIFEST_BYTES_MAX {
        return Err(SectionError::TooLong(content.len()));
    }
    let value = parse_json(content).map_err(|error| SectionError::Form(error.to_string()))?;
    let manifest = Manifest::try_from(value)?;
    if manifest.canonical().as_bytes() != content {
        return Err(SectionError::Form("its own form differs; `portcullis build` writes it".to_owned()));
    }
    Ok(Some(manifest))
}

/// A component with a manifest at its end. The component must have none.
///
/// # Errors
/// [`SectionError::Twice`] if it has one, [`SectionError::TooLong`] if the manifest is.
pub fn with_manifest(component: Vec<u8>, manifest: &Manifest) -> Result<Vec<u8>, SectionError> {
    if !own(&component, MANIFEST_SECTION).is_empty() {
        return Err(SectionError::Twice);
    }
    let canonical = manifest.canonical();
    if canonical.len() > MANIFEST_BYTES_MAX {
        return Err(SectionError::TooLong(canonical.len()));
    }
    Ok(with(component, MANIFEST_SECTION, canonical.as_bytes()))
}

/// A component with a custom section at its end, where any may stand.
pub(crate) fn with(mut component: Vec<u8>, name: &str, content: &[u8]) -> Vec<u8> {
    let mut section = leb128(name.len());
    section.extend(name.as_bytes());
    section.extend(content);
    component.push(0);
    component.extend(leb128(section.len()));
    component.extend(section);
    component
}

/// A number as WebAssembly writes it: seven bits a byte, the lowest first.
pub(super) fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits fit");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse_manifest;

    fn manifest() -> Manifest {
        let text = "name = \"a\"\nversion = \"1.0.0\"\ndescription = \"d\"\n[[ask.config]]\nname = \"x\"\nwhy = \"w\"\n";
        parse_manifest(text).expect("a manifest")
    }

    fn component() -> Vec<u8> {
        wat::parse_str("(component (core module) (component))").expect("the text is a component")
    }

    #[test]
    fn what_is_embedded_is_read_and_only_once() {
        assert_eq!(read_manifest(&component()), Ok(None));
        let made = with_manifest(component(), &manifest()).expect("embedded");
        assert_eq!(read_manifest(&made), Ok(Some(manifest())));
        assert_eq!(with_manifest(made.clone(), &manifest()), Err(SectionError::Twice));
        let twice = with(made, MANIFEST_SECTION, manifest().canonical().as_bytes());
        assert_eq!(read_manifest(&twice), Err(SectionError::Twice));
    }

    #[test]
    fn a_section_of_a_part_is_not_the_components() {
        let text = format!(
            r#"(component (core module (@custom "{MANIFEST_SECTION}" "{{}}")) (component (@custom "{MANIFEST_SECTION}" "{{}}")))"#
        );
        assert_eq!(read_manifest(&wat::parse_str(text).expect("a component")), Ok(None));
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = manifest().canonical();
        let read = |text: &str| read_manifest(&with(component(), MANIFEST_SECTION, text.as_bytes()));
        assert!(matches!(read(&good), Ok(Some(_))));
        for bad in [
            String::new(),
            "null".to_owned(),
            format!("{good} "),
            good.replace("\"name\":\"a\"", "\"name\":\"a\",\"name\":\"a\""),
            good.replace("\"manifest\":1", "\"manifest\":2"),
            good.replace("\"d\"", "\"d\\u001b\""),
            good.replace("\"d\"", "\"d\\u202e\""),
            good.replace("\"d\"", "\"\\u0064\""),
            good.replace("\"d\"", "null"),
            good.replace("\"ask\"", "\"asks\""),
            "[".repeat(10_000),
            "x".repeat(MANIFEST_BYTES_MAX + 1),
        ] {
            let refused = read(&bad).expect_err("refused");
            assert!(!refused.to_string().is_empty());
        }
        let whole = with(component(), MANIFEST_SECTION, good.as_bytes());
        for end in 0..whole.len() {
            // Cut off, it is read or not, and nothing worse.
            let _ = read_manifest(&whole[..end]);
        }
    }
}
