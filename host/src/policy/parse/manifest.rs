//! `portcullis.toml`: what a package says of itself, with errors that point at line and key. Pure.
//!
//! The JSON in a component is read as the TOML of the same words, so that there is one reader for both.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use super::diagnostic::Diagnostic;
use super::grant::{read_access, read_limits, report_child};
use super::http::parsed;
use super::parse_settings;
use super::reader::{Keys, Node, Reader, Table};
use super::values::{self, Problem, quoted};
use crate::ids::{PackageName, SecretName, StoreName};
use crate::limits::{HostLimits, Limit};
use crate::policy::manifest::{
    ASK_KINDS, Ask, Asked, MANIFEST_BYTES_MAX, MANIFEST_VERSION, Manifest, ManifestError,
};
use crate::text::clean_line;

/// The most asks of one kind.
const ASKS_MAX: usize = 64;
/// The most bytes of single texts.
const DESCRIPTION_BYTES_MAX: usize = 1_000;
const WHY_BYTES_MAX: usize = 300;
const LICENSE_BYTES_MAX: usize = 200;
const SOURCE_BYTES_MAX: usize = 1_000;
const VERSION_BYTES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 256;

/// The table that only `portcullis build` reads.
pub(crate) const BUILD_KEY: &str = "build";

const TOP_KEYS: Keys<'static> = Keys {
    known: &["manifest", "name", "version", "description", "license", "source", "ask", "limits", BUILD_KEY],
    later: &[],
};

/// Reads the text of a `portcullis.toml`: at most [`MANIFEST_BYTES_MAX`] bytes. Its `[build]` is not looked at.
///
/// # Errors
/// Every error that was found, in the order of the file, at most 100. They are the author's.
pub fn parse_manifest(text: &str) -> Result<Manifest, Vec<Diagnostic>> {
    let read = parse_settings(text, MANIFEST_BYTES_MAX, TOP_KEYS, read_manifest)?;
    // Nothing was wrong, so all of it is there.
    read.ok_or_else(|| vec![Diagnostic::new(text, 0..0, "", "the manifest can't be read".to_owned(), None)])
}

/// Reads what [`Manifest::canonical`] wrote.
pub(in crate::policy) fn parse_manifest_json(value: &Value) -> Result<Manifest, ManifestError> {
    if value.get(BUILD_KEY).is_some() {
        return Err(ManifestError(format!("`{BUILD_KEY}` belongs to the source, not to a component")));
    }
    let text = toml::to_string(value).map_err(|error| {
        ManifestError(format!(
            "it is not a table of texts, whole numbers and lists: {}",
            clean_line(&error.to_string(), 200)
        ))
    })?;
    parse_manifest(&text).map_err(|diagnostics| {
        let told = diagnostics.first().map(|first| format!("{}: {}", first.key, first.message));
        ManifestError(clean_line(&told.unwrap_or_default(), 1_000))
    })
}

/// A limit as a manifest writes it.
pub(in crate::policy) fn limit_text(limit: Limit, number: u64) -> Value {
    match limit.row().unit {
        "bytes" => format!("{number}B").into(),
        "milliseconds" => format!("{number}ms").into(),
        _ => number.into(),
    }
}

fn read_manifest(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Option<Manifest> {
    if let Some(node) = root.child("manifest") {
        let version = reader.integer(&node)?;
        if version != MANIFEST_VERSION {
            let message = format!("manifests of version {version} are not known here");
            reader.report_node(&node, Problem::new(message, "write manifest = 1, or leave it out"));
        }
    }
    let name = reader.required(root, "name").and_then(|node| reader.parsed::<PackageName>(&node));
    let version = reader.required(root, "version").and_then(|node| read_version(reader, &node));
    let description = reader
        .required(root, "description")
        .and_then(|node| read_text(reader, &node, DESCRIPTION_BYTES_MAX).map(str::to_owned));
    let license = root.child("license").and_then(|node| read_license(reader, &node));
    let source = root.child("source").and_then(|node| read_source(reader, &node));
    let host = HostLimits::default();
    let limits = root.child("limits").map(|node| read_limits(reader, &node, &host)).unwrap_or_default();
    let asks = root.child("ask").map(|node| read_asks(reader, &node)).unwrap_or_default();
    Some(Manifest {
        name: name?,
        version: version?,
        description: description?,
        license,
        source,
        asks,
        limits,
    })
}

fn read_version(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<semver::Version> {
    let text = reader.string(node)?;
    let help = "write a version of three numbers (semver.org), such as \"0.1.0\"";
    let problem = |why: String| Problem::new(format!("{} is not a version: {why}", quoted(text)), help);
    let parsed = if text.len() > VERSION_BYTES_MAX {
        Err(problem(format!("it is longer than {VERSION_BYTES_MAX} bytes")))
    } else {
        text.parse().map_err(|error: semver::Error| problem(error.to_string()))
    };
    reader.keep(node, parsed)
}

/// One line of text that hides nothing from its reader.
fn read_text<'a>(reader: &mut Reader<'_>, node: &Node<'a, '_>, bytes_max: usize) -> Option<&'a str> {
    let text = reader.string(node)?;
    let checked = if text.trim().is_empty() {
        Err(Problem::new("the text is empty", "write a sentence"))
    } else if text.len() > bytes_max {
        Err(Problem::new(format!("the text has {} bytes, at most {bytes_max}", text.len()), ""))
    } else if clean_line(text, bytes_max) != text {
        let message = "the text has line breaks, or characters that act on a terminal or hide from a reader";
        Err(Problem::new(message, "write one line of plain text"))
    } else {
        Ok(text)
    };
    reader.keep(node, checked)
}

fn read_license(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<String> {
    let text = read_text(reader, node, LICENSE_BYTES_MAX)?;
    let help =
        "write identifiers of spdx.org/licenses with AND, OR, WITH and brackets: \"MIT OR Apache-2.0\"";
    let problem = || Problem::new(format!("{} is not an SPDX expression", quoted(text)), help);
    reader.keep(node, if is_spdx(text) { Ok(text.to_owned()) } else { Err(problem()) })
}

/// Whether a text has the shape of an SPDX expression (SPDX 3.0.1, annex B). Which licences there are is not looked up.
fn is_spdx(text: &str) -> bool {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut depth = 0_usize;
    let mut wants_license = true;
    let mut after_with = false;
    for word in spaced.split_whitespace() {
        match word {
            "(" if wants_license && !after_with => depth += 1,
            ")" if !wants_license && depth > 0 => depth -= 1,
            "AND" | "OR" if !wants_license => wants_license = true,
            "WITH" if !wants_license => (wants_license, after_with) = (true, true),
            _ if wants_license && is_license_id(word) => (wants_license, after_with) = (false, false),
            _ => return false,
        }
    }
    !wants_license && depth == 0
}

fn is_license_id(word: &str) -> bool {
    let plain = word.strip_suffix('+').unwrap_or(word);
    !matches!(plain, "AND" | "OR" | "WITH" | "")
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte))
}

fn read_source(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<String> {
    let text = read_text(reader, node, SOURCE_BYTES_MAX)?;
    let is_url = Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    let help = "write the URL of its repository, such as \"https://example.org/tools/weather\"";
    let checked = if is_url {
        Ok(text.to_owned())
    } else {
        Err(Problem::new(format!("{} is not a URL of the web", quoted(text)), help))
    };
    reader.keep(node, checked)
}

/// The keys of each kind of ask.
fn keys_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "filesystem" => &["guest_path", "access", "why"],
        "http" => &["hosts", "schemes", "ports", "methods", "paths", "query", "addresses", "why"],
        "invoke" => &["package", "tools", "why"],
        "keyvalue" => &["store", "scope", "access", "why"],
        "tcp" | "udp" => &["hosts", "ports", "addresses", "why"],
        "dns" => &["names", "why"],
        "config" | "environment" | "secrets" => &["name", "why"],
        _ => &["why"],
    }
}

fn read_asks(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    let Some(table) = reader.table(node) else { return asks };
    reader.check_keys(&table, Keys { known: &ASK_KINDS, later: &[] });
    for kind in ASK_KINDS {
        let Some(node) = table.child(kind) else { continue };
        for table in reader.rules(&node, ASKS_MAX, Keys { known: keys_of(kind), later: &[] }) {
            let why = reader
                .required(&table, "why")
                .and_then(|node| read_text(reader, &node, WHY_BYTES_MAX).map(str::to_owned));
            let (Some(what), Some(why)) = (read_asked(reader, &table, kind), why) else { continue };
            if asks.iter().any(|ask| ask.what == what) {
                let problem = Problem::new("this is asked for twice", "leave one out");
                report_child(reader, &table, "why", problem);
                continue;
            }
            asks.push(Ask { what, why });
        }
    }
    asks
}

fn read_asked(reader: &mut Reader<'_>, table: &Table<'_, '_>, kind: &str) -> Option<Asked> {
    match kind {
        "filesystem" => {
            let guest_path = reader.required(table, "guest_path").and_then(|node| {
                let text = reader.string(&node)?;
                reader.keep(&node, values::guest_path(text))
            });
            let access = reader.required(table, "access").and_then(|node| read_access(reader, &node));
            Some(Asked::Filesystem { guest_path: guest_path?, access: access? })
        }
        "http" => super::http::read_rule(reader, table).map(Asked::Http),
        "invoke" => super::invoke::read_rule(reader, table).map(Asked::Invoke),
        "keyvalue" => {
            let store = reader.required(table, "store").and_then(|node| parsed::<StoreName>(reader, &node));
            let scope =
                reader.required(table, "scope").and_then(|node| super::keyvalue::read_scope(reader, &node));
            let access = reader.required(table, "access").and_then(|node| read_access(reader, &node));
            Some(Asked::Keyvalue { store: store?, scope: scope?, access: access? })
        }
        "config" => read_name(reader, table).map(Asked::Config),
        "environment" => read_name(reader, table).map(Asked::Environment),
        "tcp" => super::sockets::read_one(reader, table).map(Asked::Tcp),
        "udp" => super::sockets::read_one(reader, table).map(Asked::Udp),
        "dns" => super::sockets::read_names(reader, table).map(Asked::Dns),
        "secrets" => reader
            .required(table, "name")
            .and_then(|node| parsed::<SecretName>(reader, &node))
            .map(Asked::Secrets),
        // The kinds are those of the table, so it is `arguments`.
        _ => Some(Asked::Arguments),
    }
}

/// The name of a setting, as grants have it.
fn read_name(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<String> {
    let node = reader.required(table, "name")?;
    let name = read_text(reader, &node, NAME_BYTES_MAX)?;
    let checked =
        if name.contains('=') { Err(Problem::new("the name has a '='", "")) } else { Ok(name.to_owned()) };
    reader.keep(&node, checked)
}

/// The JSON Schema (2020-12) of a manifest, as JSON and as TOML.
pub fn manifest_schema() -> Value {
    use serde_json::json;
    let line = |max: usize| json!({"type": "string", "minLength": 1, "maxLength": max});
    let list = |items: Value| json!({"type": "array", "items": items, "minItems": 1, "maxItems": 256, "uniqueItems": true});
    let text = json!({"type": "string"});
    let port = json!({"type": "integer", "minimum": 1, "maximum": 65535});
    let access = json!({"enum": ["read", "read-write"]});
    let key = |kind: &str, name: &str| match (kind, name) {
        (_, "why") => {
            let mut why = line(WHY_BYTES_MAX);
            why["description"] = "What for, in a sentence. Shown to whoever approves the package.".into();
            why
        }
        (_, "access") => access.clone(),
        (_, "guest_path") => {
            json!({"type": "string", "pattern": "^/", "maxLength": values::GUEST_PATH_BYTES_MAX})
        }
        (_, "scope") => json!({"enum": ["agent", "package"]}),
        (_, "ports") => list(port.clone()),
        (_, "schemes") => list(json!({"enum": ["https", "http"]})),
        (_, "query") => json!({"type": "array", "items": text, "maxItems": 256, "uniqueItems": true}),
        (_, "hosts" | "methods" | "paths" | "addresses" | "tools" | "names") => list(text.clone()),
        _ => line(NAME_BYTES_MAX),
    };
    let optional = ["schemes", "ports", "paths", "query", "addresses", "tools"];
    let ask = |kind: &str| {
        let keys = keys_of(kind);
        let properties: BTreeMap<&str, Value> = keys.iter().map(|name| (*name, key(kind, name))).collect();
        let is_required =
            |name: &&&str| !optional.contains(*name) || matches!(kind, "tcp" | "udp") && **name == "ports";
        let required: Vec<&&str> = keys.iter().filter(is_required).collect();
        let item = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
        json!({"type": "array", "items": item, "maxItems": ASKS_MAX})
    };
    let asks: BTreeMap<&str, Value> = ASK_KINDS.into_iter().map(|kind| (kind, ask(kind))).collect();
    let grantable = Limit::ALL.into_iter().filter(|limit| limit.row().grantable);
    let limits: BTreeMap<&str, Value> = grantable
        .map(|limit| {
            let size = json!({"type": ["string", "integer"]});
            (
                limit.name(),
                match limit.row().unit {
                    "bytes" => size,
                    "milliseconds" => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}),
                    _ => json!({"type": "integer", "minimum": 1}),
                },
            )
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:portcullis:schema:manifest:{MANIFEST_VERSION}"),
        "title": "The manifest of a Portcullis package",
        "description": "What a package says of itself: portcullis.toml, and the section `portcullis:manifest` of its component. Keys that are not here are refused.",
        "type": "object",
        "properties": {
            "manifest": {"const": MANIFEST_VERSION, "description": "The version of this form."},
            "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,63}$"},
            "version": {"type": "string", "maxLength": VERSION_BYTES_MAX, "description": "Semantic versioning 2.0."},
            "description": line(DESCRIPTION_BYTES_MAX),
            "license": {"type": "string", "maxLength": LICENSE_BYTES_MAX, "description": "An SPDX expression."},
            "source": {"type": "string", "maxLength": SOURCE_BYTES_MAX, "pattern": "^https?://"},
            "ask": {"type": "object", "properties": asks, "additionalProperties": false},
            "limits": {"type": "object", "properties": limits, "additionalProperties": false},
            "build": {"type": "object", "description": "How `portcullis build` makes the component. Not part of it."},
        },
        "required": ["name", "version", "description"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
manifest = 1
name = "weather"
version = "0.2.0-rc.1"
description = "Tells the weather of a place"
license = "Apache-2.0 OR (MIT AND GPL-2.0+ WITH Classpath-exception-2.0)"
source = "https://example.org/tools/weather"

[[ask.filesystem]]
guest_path = "/cache"
access = "read-write"
why = "Keeps what it was told for an hour."

[[ask.http]]
hosts = ["api.example.org", "*.example.net"]
methods = ["GET"]
paths = ["/v1/**"]
why = "The weather comes from there."

[[ask.http]]
hosts = ["127.0.0.1"]
schemes = ["http"]
ports = [8080]
methods = ["GET"]
query = ["place"]
addresses = ["127.0.0.1/32"]
why = "A station in the house."

[[ask.invoke]]
package = "units"
tools = ["convert"]
why = "Converts what it was told."

[[ask.keyvalue]]
store = "places"
scope = "agent"
access = "read"
why = "Knows your places."

[[ask.config]]
name = "units"
why = "Metric or not."

[[ask.environment]]
name = "TZ"
why = "Tells local times."

[[ask.arguments]]
why = "Is a program inside."

[[ask.tcp]]
hosts = ["db.example.org"]
ports = [5432]
why = "The archive."

[[ask.udp]]
hosts = ["time.example.org"]
ports = [123]
why = "The time."

[[ask.dns]]
names = ["*.example.org"]
why = "Looks for stations."

[[ask.secrets]]
name = "station"
why = "Signs what it sends."

[limits]
fuel = 5_000_000
memory = "64MiB"
wall_time = "2s"

[build]
language = "rust"
"#;

    fn told(text: &str) -> String {
        let diagnostics = parse_manifest(text).expect_err("refused");
        diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_manifest_is_read_and_its_canonical_form_is_the_same_manifest() {
        let manifest = parse_manifest(FULL).expect("a good manifest");
        assert_eq!(manifest.asks.len(), 12);
        assert_eq!(manifest.limits[&Limit::Memory], 64 << 20);
        let json = manifest.canonical();
        assert!(
            json.starts_with(r#"{"ask":{"arguments":[{"why":"Is a program inside."}],"config":"#),
            "{json}"
        );
        assert!(!json.contains("build"), "{json}");
        let value: Value = serde_json::from_str(&json).expect("JSON");
        let again = Manifest::try_from(value).expect("the same");
        assert_eq!(again, manifest);
        assert_eq!(again.canonical(), json);
        // However it is written, it is the same.
        let other = FULL
            .replace("[\"api.example.org\", \"*.example.net\"]", "[\"*.Example.net\", \"api.example.org\"]");
        assert_eq!(parse_manifest(&other).expect("a good manifest").canonical(), json);
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_key() {
        let head = "name = \"a\"\nversion = \"1.0.0\"\ndescription = \"d\"\n";
        let with = |rest: &str| told(&format!("{head}{rest}"));
        let all = [
            told("nam = \"a\"\nversion = \"1\"\ndescription = \"a\\nb\"\n"),
            with("license = \"MIT OR\"\nsource = \"ftp://x\"\nmanifest = 2"),
            with("[[ask.http]]\nhosts = [\"a.example\"]\nmethods = [\"GET\"]"),
            with(
                "[[ask.http]]\nhosts = [\"a.example\"]\nmethods = [\"GET\"]\nwhy = \"\\u202e\"\ninject = {}",
            ),
            with("[[ask.htp]]\nwhy = \"a\""),
            with("[[ask.secrets]]\nname = \"a\"\nwhy = \"b\"\n[[ask.secrets]]\nname = \"a\"\nwhy = \"c\""),
            with("[limits]\nmemory = \"2TiB\"\ncompile_time = \"1s\""),
            told(&"#".repeat(MANIFEST_BYTES_MAX + 1)),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        1:1: nam: unknown key nam
        1:1: name: `name` is missing
        2:11: version: "1" is not a version: unexpected end of input while parsing major version number
        3:15: description: the text has line breaks, or characters that act on a terminal or hide from a reader
        4:11: license: "MIT OR" is not an SPDX expression
        5:10: source: "ftp://x" is not a URL of the web
        6:12: manifest: manifests of version 2 are not known here
        4:1: ask.http[0].why: `why` is missing
        7:7: ask.http[0].why: the text has line breaks, or characters that act on a terminal or hide from a reader
        8:1: ask.http[0].inject: unknown key inject
        8:10: ask.http[0].inject: this is not one place to inject a secret into
        4:7: ask.htp: unknown key htp
        9:7: ask.secrets[1].why: this is asked for twice
        5:10: limits.memory: `memory` is 2199023255552 bytes, above the ceiling of 1073741824
        6:1: limits.compile_time: `compile_time` can't be set by a grant
        1:1: : the file has 65537 bytes, at most 65536 are read
        "#);
    }

    #[test]
    fn only_texts_of_the_same_words_are_manifests() {
        let good = Value::from(parse_manifest(FULL).expect("a good manifest"));
        let with = |key: &str, value: Value| {
            let mut changed = good.clone();
            changed[key] = value;
            Manifest::try_from(changed).expect_err("refused").to_string()
        };
        assert!(with("build", serde_json::json!({})).contains("build"));
        assert!(!with("name", Value::Null).is_empty());
        assert!(with("more", 1.into()).contains("unknown key"));
        assert!(with("name", "A".into()).starts_with("name: "));
        for value in [Value::Null, 1.into(), "a".into(), serde_json::json!([])] {
            assert!(Manifest::try_from(value).is_err());
        }
    }

    #[test]
    fn the_schema_in_docs_is_the_readers() {
        let text = include_str!("../../../../docs/manifest.schema.json");
        let expected = serde_json::to_string_pretty(&manifest_schema()).expect("JSON") + "\n";
        assert!(text == expected, "docs/manifest.schema.json differs; it should be:\n{expected}");
        let schema = jsonschema::validator_for(&manifest_schema()).expect("a schema");
        let good = Value::from(parse_manifest(FULL).expect("a good manifest"));
        assert!(
            schema.is_valid(&good),
            "{:?}",
            schema.iter_errors(&good).map(|error| error.to_string()).collect::<Vec<_>>()
        );
        let mut bad = good.clone();
        bad["ask"]["http"][0]["inject"] = Value::Null;
        assert!(!schema.is_valid(&bad));
        let mut bad = good;
        bad["ask"]["http"][0].as_object_mut().expect("an object").remove("why");
        assert!(!schema.is_valid(&bad));
    }
}
