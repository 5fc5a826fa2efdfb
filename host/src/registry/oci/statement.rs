//! What an in-toto statement says: about which bytes, and, if it is provenance as SLSA has it, who built them from what.
//! Bare, in an envelope with signatures (DSSE), or in a Sigstore bundle. No signature is verified here, and what is
//! said says so. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::attachment::{AttachmentError, AttachmentKind, malformed};
use crate::ids::PackageDigest;
use crate::text::clean_line;

/// The most subjects, signatures or materials of a statement.
const LIST_MAX: usize = 10_000;
/// The most sources that are told, and the most bytes of a text.
const SOURCES_MAX: usize = 8;
const TEXT_BYTES_MAX: usize = 300;
/// The predicates of which builder and source are read (slsa.dev/spec, provenance).
const SLSA: &str = "https://slsa.dev/provenance/";

/// What a statement says of a component. A claim: of whoever could write it, or of whoever made the signatures, which were
/// not verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// What kind of statement it is, such as `https://slsa.dev/provenance/v1`; empty if it does not say.
    pub predicate_type: String,
    /// Who built it, of SLSA's provenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    /// How it was built, of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_type: Option<String>,
    /// What it was built from, of the same, with digests: the first eight.
    pub sources: Vec<String>,
    /// How many more there are.
    pub more_sources: usize,
    /// How many things it is about.
    pub subjects: usize,
    /// How many signatures it carries. None was verified.
    pub signatures: usize,
}

/// A statement with what it is about.
pub(super) struct Read {
    pub(super) statement: Statement,
    subjects: Vec<Subject>,
}

impl Read {
    /// Whether these bytes are among what it is about.
    pub(super) fn is_about(&self, digest: PackageDigest) -> bool {
        let wanted = digest.to_string();
        let wanted = wanted.strip_prefix("sha256:").unwrap_or(&wanted);
        let names = |subject: &Subject| {
            subject.digest.get("sha256").is_some_and(|hex| hex.eq_ignore_ascii_case(wanted))
        };
        self.subjects.iter().any(names)
    }
}

/// Reads a statement of a kind.
///
/// # Errors
/// [`AttachmentError`].
pub(super) fn read(kind: AttachmentKind, bytes: &[u8]) -> Result<Read, AttachmentError> {
    match kind {
        AttachmentKind::InToto => statement(bytes, 0),
        AttachmentKind::Dsse => opened(&serde_json::from_slice(bytes).map_err(|error| malformed(&error))?),
        AttachmentKind::Sigstore => {
            let Bundle { envelope } = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
            opened(&envelope)
        }
        AttachmentKind::Spdx | AttachmentKind::CycloneDx => Err(AttachmentError::Unknown),
    }
}

fn opened(envelope: &Envelope) -> Result<Read, AttachmentError> {
    let Envelope { payload, signatures } = envelope;
    // "Either standard or URL-safe encoding" (DSSE, envelope).
    let payload = STANDARD.decode(payload).or_else(|_| URL_SAFE.decode(payload));
    let payload = payload.map_err(|_| AttachmentError::Malformed("its payload is no base64".to_owned()))?;
    statement(&payload, signatures.len())
}

fn statement(bytes: &[u8], signatures: usize) -> Result<Read, AttachmentError> {
    let Head { predicate_type, subject: subjects } =
        serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let said = match predicate_type.starts_with(SLSA) {
        true => serde_json::from_slice::<Slsa>(bytes).map_err(|error| malformed(&error))?.predicate,
        false => Predicate::default(),
    };
    let Predicate { builder, build_type, invocation, materials, definition, run } = said;
    let definition = definition.unwrap_or_default();
    let builder = run.and_then(|run| run.builder).or(builder).and_then(|builder| builder.id);
    let mut sources: Vec<Material> =
        invocation.and_then(|invocation| invocation.source).into_iter().collect();
    sources.extend(definition.dependencies);
    sources.extend(materials);
    // What was checked out, before what was installed to build it.
    let is_code = |material: &Material| material.uri.as_deref().is_some_and(|uri| uri.starts_with("git+"));
    sources.sort_by_key(|material| !is_code(material));
    let mut told: Vec<String> = sources.iter().map(Material::told).collect();
    told.dedup();
    let more_sources = told.len().saturating_sub(SOURCES_MAX);
    told.truncate(SOURCES_MAX);
    let short = |text: String| clean_line(&text, TEXT_BYTES_MAX);
    let statement = Statement {
        predicate_type: short(predicate_type),
        builder: builder.map(short),
        build_type: definition.build_type.or(build_type).map(short),
        sources: told,
        more_sources,
        subjects: subjects.len(),
        signatures,
    };
    Ok(Read { statement, subjects })
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "dsseEnvelope")]
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Envelope {
    payload: String,
    #[serde(default, deserialize_with = "bounded")]
    signatures: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default, rename = "predicateType")]
    predicate_type: String,
    #[serde(deserialize_with = "bounded")]
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Slsa {
    predicate: Predicate,
}

/// Versions 0.1 and 0.2 have the first four, version 1 the others.
#[derive(Default, Deserialize)]
struct Predicate {
    builder: Option<Builder>,
    #[serde(rename = "buildType")]
    build_type: Option<String>,
    invocation: Option<Invocation>,
    #[serde(default, deserialize_with = "bounded")]
    materials: Vec<Material>,
    #[serde(rename = "buildDefinition")]
    definition: Option<Definition>,
    #[serde(rename = "runDetails")]
    run: Option<Run>,
}

#[derive(Deserialize)]
struct Builder {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Invocation {
    #[serde(rename = "configSource")]
    source: Option<Material>,
}

#[derive(Default, Deserialize)]
struct Definition {
    #[serde(rename = "buildType")]
    build_type: Option<String>,
    #[serde(default, rename = "resolvedDependencies", deserialize_with = "bounded")]
    dependencies: Vec<Material>,
}

#[derive(Deserialize)]
struct Run {
    builder: Option<Builder>,
}

#[derive(Deserialize)]
struct Material {
    uri: Option<String>,
    name: Option<String>,
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

impl Material {
    fn told(&self) -> String {
        let uri = self.uri.as_deref().or(self.name.as_deref()).unwrap_or("something that it does not name");
        let digest = self.digest.iter().next().map(|(kind, value)| format!(" ({kind} {value})"));
        clean_line(&format!("{uri}{}", digest.unwrap_or_default()), TEXT_BYTES_MAX)
    }
}

/// A list of at most so many, or none. More are an error before they are in memory.
fn bounded<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                if all.len() == LIST_MAX {
                    return Err(A::Error::custom(format!("a list has more than {LIST_MAX} entries")));
                }
                all.push(one);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(List(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(predicate_type: &str, predicate: &str) -> Result<Statement, AttachmentError> {
        let text = format!(
            r#"{{"_type": "https://in-toto.io/Statement/v1", "predicateType": "{predicate_type}",
                "subject": [{{"name": "a", "digest": {{"sha256": "00"}}}}], "predicate": {predicate}}}"#
        );
        read(AttachmentKind::InToto, text.as_bytes()).map(|read| read.statement)
    }

    /// The forms are those of slsa.dev/spec: v1.0/provenance and v0.2.
    #[test]
    fn builder_and_source_are_read_of_each_version() {
        let v1 = r#"{"buildDefinition": {"buildType": "https://actions.github.io/buildtypes/workflow/v1",
              "externalParameters": {"workflow": {"ref": "refs/heads/main"}}, "resolvedDependencies": [
                {"uri": "pkg:docker/rust@1"},
                {"uri": "git+https://github.com/a/b@refs/heads/main", "digest": {"gitCommit": "c0ffee"}}]},
            "runDetails": {"builder": {"id": "https://github.com/actions/runner/github-hosted"}, "metadata": {}}}"#;
        let read = plain("https://slsa.dev/provenance/v1", v1).expect("a statement");
        assert_eq!(read.builder.as_deref(), Some("https://github.com/actions/runner/github-hosted"));
        assert_eq!(read.build_type.as_deref(), Some("https://actions.github.io/buildtypes/workflow/v1"));
        assert_eq!(
            read.sources,
            ["git+https://github.com/a/b@refs/heads/main (gitCommit c0ffee)", "pkg:docker/rust@1"]
        );
        assert_eq!((read.subjects, read.signatures, read.more_sources), (1, 0, 0));
        let v02 = r#"{"builder": {"id": "https://b.example"}, "buildType": "t", "invocation":
              {"configSource": {"uri": "git+https://a.example/b", "digest": {"sha1": "c0ffee"}, "entryPoint": "x"}},
            "materials": [{"uri": "git+https://a.example/b", "digest": {"sha1": "c0ffee"}}, {"uri": "other"}]}"#;
        let read = plain("https://slsa.dev/provenance/v0.2", v02).expect("a statement");
        assert_eq!(read.builder.as_deref(), Some("https://b.example"));
        assert_eq!(read.sources, ["git+https://a.example/b (sha1 c0ffee)", "other"]);
        // Of another predicate nothing is made.
        let other = plain("https://cyclonedx.org/vex", r#"{"builder": 7}"#).expect("a statement");
        assert_eq!((other.builder, other.sources), (None, Vec::new()));
        let control = plain("https://slsa.dev/provenance/v1", r#"{"builder": {"id": "a\u001b[31mb"}}"#);
        assert_eq!(control.expect("a statement").builder.as_deref(), Some("ab"));
    }

    #[test]
    fn an_envelope_is_opened_and_its_signatures_are_counted() {
        let inner = r#"{"_type": "https://in-toto.io/Statement/v1", "predicateType": "p", "subject": []}"#;
        for engine in [STANDARD, URL_SAFE] {
            let payload = engine.encode(inner);
            let envelope = format!(
                r#"{{"payloadType": "application/vnd.in-toto+json", "payload": "{payload}",
                    "signatures": [{{"keyid": "a", "sig": "AA=="}}, {{"sig": "AA=="}}]}}"#
            );
            let read_one = read(AttachmentKind::Dsse, envelope.as_bytes()).expect("an envelope");
            assert_eq!((read_one.statement.signatures, read_one.statement.subjects), (2, 0));
            let bundle = format!(
                r#"{{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": {envelope}}}"#
            );
            assert_eq!(
                read(AttachmentKind::Sigstore, bundle.as_bytes()).expect("a bundle").statement.signatures,
                2
            );
        }
    }

    #[test]
    fn what_can_not_be_read_is_refused() {
        for bad in [
            "",
            "{}",
            r#"{"predicateType": "p"}"#,
            r#"{"predicateType": 1, "subject": []}"#,
            r#"{"predicateType": "p", "subject": {}}"#,
            r#"{"predicateType": "p", "subject": [], "subject": []}"#,
            r#"{"predicateType": "p", "subject": [{"digest": {"sha256": 1}}]}"#,
            r#"{"predicateType": "https://slsa.dev/provenance/v1", "subject": []}"#,
            r#"{"predicateType": "https://slsa.dev/provenance/v1", "subject": [], "predicate": {"builder": 1}}"#,
            &format!(r#"{{"predicateType": "p", "subject": [{}{{}}]}}"#, "{},".repeat(LIST_MAX)),
        ] {
            let read = read(AttachmentKind::InToto, bad.as_bytes()).map(|read| read.statement);
            assert!(matches!(read, Err(AttachmentError::Malformed(_))), "{bad:.80}: {read:?}");
        }
        for bad in [r#"{"payload": "%"}"#, r#"{"payload": "e30="}"#, r#"{"signatures": []}"#] {
            let read = read(AttachmentKind::Dsse, bad.as_bytes()).map(|read| read.statement);
            assert!(matches!(read, Err(AttachmentError::Malformed(_))), "{bad}: {read:?}");
        }
    }
}
