//! What an SBOM lists: how many components, and which of them are crates, by their package URLs. Read as it comes, so
//! that a long one takes no more memory than its crates. Its author's word; nothing here verifies it. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::attachment::{AttachmentError, malformed};
use crate::text::clean_line;

/// The most components of an SBOM.
pub const SBOM_COMPONENTS_MAX: usize = 50_000;
/// The most bytes of a name, a version and a format that are told.
const NAME_BYTES_MAX: usize = 100;
/// The type of a package in SPDX 3.
const SPDX_3_PACKAGE: &str = "software_Package";

/// What an SBOM says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sbom {
    /// Such as `CycloneDX 1.6` or `SPDX-2.3`.
    pub format: String,
    /// How many components it lists; in SPDX its packages.
    pub components: usize,
    /// Those that are crates, each once.
    pub crates: BTreeSet<ListedCrate>,
    /// How many crates it names without a version: they can't be looked up.
    pub without_version: usize,
}

/// A crate of an SBOM (`pkg:cargo/NAME@VERSION`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ListedCrate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it is from crates.io: it names no other place.
    pub is_of_crates_io: bool,
}

/// Reads an SBOM.
///
/// # Errors
/// [`AttachmentError`].
pub(super) fn read(bytes: &[u8]) -> Result<Sbom, AttachmentError> {
    let mut found = Found::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Place { found: &mut found, at: At::Document }.deserialize(&mut reader);
    read.and_then(|()| reader.end()).map_err(|error| malformed(&error))?;
    Ok(found.sbom)
}

#[derive(Default)]
struct Found {
    sbom: Sbom,
}

impl Found {
    fn at(&mut self, at: At) -> Place<'_> {
        Place { found: self, at }
    }

    fn component(&mut self) -> Result<(), String> {
        self.sbom.components += 1;
        if self.sbom.components > SBOM_COMPONENTS_MAX {
            return Err(format!("it has more than {SBOM_COMPONENTS_MAX} components"));
        }
        Ok(())
    }

    /// A package URL (purl-spec), of which those of crates are kept.
    fn package(&mut self, purl: &str) -> Result<(), String> {
        let Some(rest) = purl.strip_prefix("pkg:cargo/") else { return Ok(()) };
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let shown = || clean_line(purl, 2 * NAME_BYTES_MAX);
        let Some((name, version)) = rest.split_once('@') else {
            self.sbom.without_version += 1;
            return Ok(());
        };
        let (name, version) = (unescaped(name), unescaped(version));
        let (Some(name), Some(version)) = (name, version) else {
            return Err(format!("the package URL {} is escaped wrongly", shown()));
        };
        if name.is_empty() || version.is_empty() {
            return Err(format!("the package URL {} names no crate", shown()));
        }
        let is_elsewhere = qualifiers.split('&').any(|one| {
            let name = one.split('=').next().unwrap_or_default();
            matches!(name, "repository_url" | "vcs_url" | "download_url")
        });
        self.sbom.crates.insert(ListedCrate {
            name: clean_line(&name, NAME_BYTES_MAX),
            version: clean_line(&version, NAME_BYTES_MAX),
            is_of_crates_io: !is_elsewhere,
        });
        Ok(())
    }
}

/// Percent-encoding undone (RFC 3986); none if it is wrong.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                (digit(rest.next()?)? << 4) | digit(rest.next()?)?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Where in the document something is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Document,
    /// A list of components (CycloneDX), of packages (SPDX 2) or of elements, of which some are packages (SPDX 3).
    Components,
    Packages,
    Graph,
    /// One of each.
    Component,
    Package,
    Element,
    /// What a package of SPDX 2 refers to.
    References,
    Reference,
}

/// Reads what is at a place into what was found.
struct Place<'a> {
    found: &'a mut Found,
    at: At,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.at {
            At::Components | At::Packages | At::Graph | At::References => deserializer.deserialize_seq(self),
            At::Document | At::Component | At::Package | At::Element | At::Reference => {
                deserializer.deserialize_map(self)
            }
        }
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.at {
            At::Document => "an SBOM",
            At::Components | At::Packages | At::Graph | At::References => "a list",
            At::Component | At::Package | At::Element | At::Reference => "an object",
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let at = match self.at {
            At::Components => At::Component,
            At::Packages => At::Package,
            At::Graph => At::Element,
            At::References => At::Reference,
            other @ (At::Document | At::Component | At::Package | At::Element | At::Reference) => other,
        };
        while list.next_element_seed(Place { found: &mut *self.found, at })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Place { found, at } = self;
        if matches!(at, At::Component | At::Package) {
            found.component().map_err(A::Error::custom)?;
        }
        let (mut kind, mut location) = (None::<String>, None::<String>);
        while let Some(key) = map.next_key::<String>()? {
            match (at, key.as_str()) {
                (At::Document | At::Component, "components") => {
                    map.next_value_seed(found.at(At::Components))?
                }
                (At::Document, "packages") => map.next_value_seed(found.at(At::Packages))?,
                (At::Document, "@graph") => map.next_value_seed(found.at(At::Graph))?,
                (At::Document, "specVersion") => {
                    found.sbom.format = format!("CycloneDX {}", short(&map.next_value::<String>()?));
                }
                (At::Document, "spdxVersion") => found.sbom.format = short(&map.next_value::<String>()?),
                (At::Document, "@context") => {
                    if let Some(context) = map.next_value::<serde_json::Value>()?.as_str() {
                        found.sbom.format = spdx_3(context);
                    }
                }
                (At::Component, "purl") => {
                    if let Some(purl) = map.next_value::<Option<String>>()? {
                        found.package(&purl).map_err(A::Error::custom)?;
                    }
                }
                (At::Package, "externalRefs") => map.next_value_seed(found.at(At::References))?,
                (At::Reference, "referenceType") | (At::Element, "type" | "@type") => {
                    kind = Some(map.next_value()?);
                }
                (At::Reference, "referenceLocator") | (At::Element, "software_packageUrl") => {
                    location = Some(map.next_value()?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let is_package = kind.as_deref() == Some(SPDX_3_PACKAGE);
        if at == At::Element && is_package {
            found.component().map_err(A::Error::custom)?;
        }
        let is_purl =
            (at == At::Reference && kind.as_deref() == Some("purl")) || (at == At::Element && is_package);
        match location.filter(|_| is_purl) {
            Some(purl) => found.package(&purl).map_err(A::Error::custom),
            None => Ok(()),
        }
    }
}

fn short(text: &str) -> String {
    clean_line(text, NAME_BYTES_MAX)
}

/// `https://spdx.org/rdf/3.0.1/spdx-context.jsonld`.
fn spdx_3(context: &str) -> String {
    let version = context.strip_prefix("https://spdx.org/rdf/").and_then(|rest| rest.split('/').next());
    format!("SPDX-{}", short(version.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates(sbom: &Sbom) -> Vec<String> {
        let told = |one: &ListedCrate| {
            let elsewhere = if one.is_of_crates_io { "" } else { " elsewhere" };
            format!("{} {}{elsewhere}", one.name, one.version)
        };
        sbom.crates.iter().map(told).collect()
    }

    #[test]
    fn components_are_counted_and_crates_listed_in_each_format() {
        let cyclone = r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": {"purl": "pkg:cargo/self@1.0.0"}},
            "components": [
              {"type": "library", "name": "serde", "purl": "pkg:cargo/serde@1.0.1", "components": [
                {"name": "inner", "purl": "pkg:cargo/inner@0.1.0%2Bbuild.1?checksum=sha256:00#src"}]},
              {"name": "ours", "purl": "pkg:cargo/ours@0.1.0?vcs_url=git%2Bhttps://a.example"},
              {"name": "bare", "purl": "pkg:cargo/bare"},
              {"name": "none", "purl": null},
              {"name": "left-pad", "purl": "pkg:npm/left-pad@1.3.0"}]}"#;
        let read_one = read(cyclone.as_bytes()).expect("an SBOM");
        assert_eq!((read_one.format.as_str(), read_one.components), ("CycloneDX 1.6", 6));
        assert_eq!(crates(&read_one), ["inner 0.1.0+build.1", "ours 0.1.0 elsewhere", "serde 1.0.1"]);
        assert_eq!(read_one.without_version, 1);
        let spdx_2 = r#"{"packages": [{"name": "serde", "externalRefs": [
              {"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a"},
              {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:cargo/serde@1.0.1"}]},
              {"name": "other"}], "spdxVersion": "SPDX-2.3"}"#;
        let read_one = read(spdx_2.as_bytes()).expect("an SBOM");
        assert_eq!((read_one.format.as_str(), read_one.components), ("SPDX-2.3", 2));
        assert_eq!(crates(&read_one), ["serde 1.0.1"]);
        let spdx_3 = r#"{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [
              {"type": "Person", "name": "Ann"},
              {"software_packageUrl": "pkg:cargo/serde@1.0.1", "type": "software_Package"}]}"#;
        let read_one = read(spdx_3.as_bytes()).expect("an SBOM");
        assert_eq!((read_one.format.as_str(), read_one.components), ("SPDX-3.0.1", 1));
        assert_eq!(crates(&read_one), ["serde 1.0.1"]);
    }

    #[test]
    fn what_can_not_be_read_is_refused_and_never_passed_over() {
        let listing =
            |purl: &str| format!(r#"{{"bomFormat": "CycloneDX", "components": [{{"purl": "{purl}"}}]}}"#);
        assert!(read(listing("pkg:cargo/a@1.0.0").as_bytes()).is_ok());
        for bad in
            ["pkg:cargo/a@1.0.0%2", "pkg:cargo/a@%ff", "pkg:cargo/@1.0.0", "pkg:cargo/a@", "pkg:cargo/%zz@1"]
        {
            assert!(matches!(read(listing(bad).as_bytes()), Err(AttachmentError::Malformed(_))), "{bad}");
        }
        for bad in [
            "",
            "[]",
            r#"{"components": {}}"#,
            r#"{"components": [1]}"#,
            r#"{"components": [{"purl": 1}]}"#,
            r#"{"packages": [{"externalRefs": [{"referenceType": "purl", "referenceLocator": 7}]}]}"#,
            r#"{"components": []} more"#,
            &format!("{}1", r#"{"components": [{"components": "#.repeat(10_000)),
        ] {
            assert!(matches!(read(bad.as_bytes()), Err(AttachmentError::Malformed(_))), "{bad:.80}");
        }
        let many = |count: usize| format!(r#"{{"components": [{}{{}}]}}"#, "{},".repeat(count - 1));
        assert_eq!(read(many(SBOM_COMPONENTS_MAX).as_bytes()).expect("read").components, SBOM_COMPONENTS_MAX);
        let error = read(many(SBOM_COMPONENTS_MAX + 1).as_bytes()).expect_err("too many");
        assert!(error.to_string().contains("more than 50000 components"), "{error}");
    }
}
