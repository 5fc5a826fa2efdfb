//! What a package says of itself: its name, what it asks for and why, and the limits it would like.
//!
//! A manifest asks and gives nothing: only a grant gives. Its texts are the author's, whom nobody trusts; the
//! parser takes none that could hide from a reader. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::grant::Access;
use super::rule::{DnsRule, HttpRule, InvokeRule, PathPattern, Scheme, SocketRule, StoreScope};
use crate::ids::{PackageName, SecretName, StoreName};
use crate::limits::Limit;
use crate::package::Capability;

/// The version of the form of manifests that this host reads.
pub const MANIFEST_VERSION: u64 = 1;

/// The most bytes of a manifest, as TOML and as the JSON in a component.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// What a package says of itself. Made by [`parse_manifest`](super::parse::parse_manifest) only.
///
/// As JSON it has the words of `portcullis.toml`, without what is as by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Manifest {
    /// What the package is called.
    pub name: PackageName,
    /// Its version.
    pub version: semver::Version,
    /// What it is, in 1 to 1,000 bytes on one line.
    pub description: String,
    /// Under which licence: an SPDX expression of at most 200 bytes. Its shape is checked, not its names.
    pub license: Option<String>,
    /// Where its source is: a URL of `https` or `http`, of at most 1,000 bytes.
    pub source: Option<String>,
    /// What it asks for, in the order of the kinds; at most 64 of each.
    pub asks: Vec<Ask>,
    /// The limits that it would like. Durations are in milliseconds.
    pub limits: BTreeMap<Limit, u64>,
}

/// One thing that a package asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub what: Asked,
    /// What for: a sentence of 1 to 300 bytes, by the author.
    pub why: String,
}

/// What can be asked for: what grants can give, without what only an admin knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A folder.
    Filesystem {
        /// Where the tool looks for it.
        guest_path: String,
        /// What it does there.
        access: Access,
    },
    /// Requests. Nothing is injected, and the rate is not bounded: those are an admin's to say.
    Http(HttpRule),
    /// Other tools.
    Invoke(InvokeRule),
    /// A store.
    Keyvalue {
        /// Its name.
        store: StoreName,
        /// Who shares it.
        scope: StoreScope,
        /// What the tool does with it.
        access: Access,
    },
    /// A value of its configuration.
    Config(String),
    /// A variable of its environment.
    Environment(String),
    /// Arguments as programs have them.
    Arguments,
    /// Connections.
    Tcp(SocketRule),
    /// Datagrams.
    Udp(SocketRule),
    /// Lookups of names.
    Dns(DnsRule),
    /// To see the value of a secret.
    Secrets(SecretName),
}

/// The kinds of asks, as they are written in a manifest and in a grants file.
pub const ASK_KINDS: [&str; 11] = [
    "filesystem",
    "http",
    "invoke",
    "keyvalue",
    "config",
    "environment",
    "arguments",
    "tcp",
    "udp",
    "dns",
    "secrets",
];

impl Asked {
    /// The key of its table, in a manifest and in a grants file.
    pub fn kind(&self) -> &'static str {
        match self {
            Asked::Filesystem { .. } => "filesystem",
            Asked::Http(_) => "http",
            Asked::Invoke(_) => "invoke",
            Asked::Keyvalue { .. } => "keyvalue",
            Asked::Config(_) => "config",
            Asked::Environment(_) => "environment",
            Asked::Arguments => "arguments",
            Asked::Tcp(_) => "tcp",
            Asked::Udp(_) => "udp",
            Asked::Dns(_) => "dns",
            Asked::Secrets(_) => "secrets",
        }
    }

    /// What a component must import to use it.
    pub fn capability(&self) -> Capability {
        match self {
            Asked::Filesystem { .. } => Capability::Filesystem,
            Asked::Http(_) => Capability::Http,
            Asked::Invoke(_) => Capability::Tools,
            Asked::Keyvalue { .. } => Capability::Keyvalue,
            Asked::Config(_) | Asked::Environment(_) | Asked::Arguments => Capability::Config,
            Asked::Tcp(_) | Asked::Udp(_) => Capability::Sockets,
            Asked::Dns(_) => Capability::Dns,
            Asked::Secrets(_) => Capability::Secrets,
        }
    }

    /// Whether a grant of all that this asks for would give all that another asks for: of the same kind, and no
    /// wider in anything. Says no where it can't tell.
    pub fn covers(&self, other: &Asked) -> bool {
        fn all<T: Ord>(of: &BTreeSet<T>, other: &BTreeSet<T>) -> bool {
            other.is_subset(of)
        }
        match (self, other) {
            (
                Asked::Filesystem { guest_path, access },
                Asked::Filesystem { guest_path: other_path, access: other_access },
            ) => guest_path == other_path && other_access <= access,
            (Asked::Http(rule), Asked::Http(other)) => {
                let same = HttpRule {
                    hosts: rule.hosts.clone(),
                    methods: rule.methods.clone(),
                    schemes: rule.schemes.clone(),
                    ports: rule.ports.clone(),
                    paths: rule.paths.clone(),
                    addresses: rule.addresses.clone(),
                    ..other.clone()
                };
                same == *rule
                    && all(&rule.hosts, &other.hosts)
                    && all(&rule.methods, &other.methods)
                    && all(&rule.schemes, &other.schemes)
                    && all(&rule.ports, &other.ports)
                    && all(&rule.paths, &other.paths)
                    && all(&rule.addresses, &other.addresses)
            }
            (Asked::Invoke(rule), Asked::Invoke(other)) => {
                let tools = match (&rule.tools, &other.tools) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(tools), Some(other)) => all(tools, other),
                };
                rule.package == other.package && tools
            }
            (
                Asked::Keyvalue { store, scope, access },
                Asked::Keyvalue { store: other_store, scope: other_scope, access: other_access },
            ) => store == other_store && scope == other_scope && other_access <= access,
            (Asked::Tcp(rule), Asked::Tcp(other)) | (Asked::Udp(rule), Asked::Udp(other)) => {
                let SocketRule { hosts, ports, addresses } = rule;
                all(hosts, &other.hosts) && all(ports, &other.ports) && all(addresses, &other.addresses)
            }
            (Asked::Dns(rule), Asked::Dns(other)) => all(&rule.names, &other.names),
            (
                Asked::Config(_)
                | Asked::Environment(_)
                | Asked::Arguments
                | Asked::Secrets(_)
                | Asked::Filesystem { .. }
                | Asked::Http(_)
                | Asked::Invoke(_)
                | Asked::Keyvalue { .. }
                | Asked::Tcp(_)
                | Asked::Udp(_)
                | Asked::Dns(_),
                _,
            ) => self == other,
        }
    }

    /// Its keys, without what is as by default.
    fn keys(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        let mut put = |name: &str, value: Value| {
            keys.insert(name.to_owned(), value);
        };
        match self {
            Asked::Filesystem { guest_path, access } => {
                put("guest_path", json!(guest_path));
                put("access", json!(access));
            }
            Asked::Http(rule) => {
                put("hosts", json!(rule.hosts));
                put("methods", json!(rule.methods));
                if rule.schemes != BTreeSet::from([Scheme::Https]) {
                    let schemes: Vec<&str> = rule.schemes.iter().map(|scheme| scheme.as_str()).collect();
                    put("schemes", json!(schemes));
                }
                if rule.ports != rule.schemes.iter().map(|scheme| scheme.default_port()).collect() {
                    put("ports", json!(rule.ports));
                }
                if rule.paths != BTreeSet::from([PathPattern::all()]) {
                    put("paths", json!(rule.paths));
                }
                if let Some(query) = &rule.query {
                    put("query", json!(query));
                }
                if !rule.addresses.is_empty() {
                    put("addresses", json!(rule.addresses));
                }
            }
            Asked::Invoke(rule) => {
                put("package", json!(rule.package));
                if let Some(tools) = &rule.tools {
                    put("tools", json!(tools));
                }
            }
            Asked::Keyvalue { store, scope, access } => {
                put("store", json!(store));
                put("scope", json!(scope));
                put("access", json!(access));
            }
            Asked::Config(name) | Asked::Environment(name) => put("name", json!(name)),
            Asked::Arguments => {}
            Asked::Tcp(rule) | Asked::Udp(rule) => {
                put("hosts", json!(rule.hosts));
                put("ports", json!(rule.ports));
                if !rule.addresses.is_empty() {
                    put("addresses", json!(rule.addresses));
                }
            }
            Asked::Dns(rule) => put("names", json!(rule.names)),
            Asked::Secrets(name) => put("name", json!(name)),
        }
        keys
    }
}

/// One line: what a grant of it would say.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |access: Access| match access {
            Access::Read => "read",
            Access::ReadWrite => "read and write",
        };
        match self {
            Asked::Filesystem { guest_path, access } => {
                write!(f, "{} a folder that it sees as {guest_path:?}", verb(*access))
            }
            Asked::Http(rule) => rule.fmt(f),
            Asked::Invoke(rule) => rule.fmt(f),
            Asked::Keyvalue { store, scope, access } => {
                let whose = match scope {
                    StoreScope::Package => "shared by its agents",
                    StoreScope::Agent => "one for each agent",
                };
                write!(f, "{} the store {store}, {whose}", verb(*access))
            }
            Asked::Config(name) => write!(f, "be told the configuration {name:?}"),
            Asked::Environment(name) => write!(f, "be told the environment variable {name:?}"),
            Asked::Arguments => f.write_str("be told arguments"),
            Asked::Tcp(rule) => write!(f, "TCP {rule}"),
            Asked::Udp(rule) => write!(f, "UDP {rule}"),
            Asked::Dns(rule) => rule.fmt(f),
            Asked::Secrets(name) => write!(f, "READ secret {name}: the tool sees the value"),
        }
    }
}

/// What a manifest and the imports of its component do not have in common. None of it is an error: an ask without
/// its import gets nothing, and so does an import without an ask, unless an admin grants it all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mismatch {
    /// Asked for, and nothing is imported that could use it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub not_imported: BTreeSet<Capability>,
    /// Imported, and not asked for. Toolchains import folders and the environment by themselves.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub not_asked: BTreeSet<Capability>,
}

impl Mismatch {
    /// Compares a manifest with the kinds of power that imports ask for.
    pub fn between(manifest: &Manifest, imported: &BTreeSet<Capability>) -> Self {
        let asked: BTreeSet<Capability> = manifest.asks.iter().map(|ask| ask.what.capability()).collect();
        let can_be_asked = |capability: &Capability| match capability {
            Capability::Log | Capability::Clock | Capability::Random => false,
            Capability::Filesystem
            | Capability::Http
            | Capability::Keyvalue
            | Capability::Config
            | Capability::Sockets
            | Capability::Dns
            | Capability::Secrets
            | Capability::Tools => true,
        };
        // Whoever may connect to a name may look it up.
        let is_dns_of_sockets =
            |capability: &Capability| *capability == Capability::Dns && asked.contains(&Capability::Sockets);
        Self {
            not_imported: asked.difference(imported).copied().collect(),
            not_asked: imported
                .iter()
                .filter(|capability| can_be_asked(capability))
                .filter(|capability| !asked.contains(capability) && !is_dns_of_sockets(capability))
                .copied()
                .collect(),
        }
    }
}

impl Manifest {
    /// The canonical JSON that a component carries: RFC 8785, since its names are ASCII and its numbers whole.
    pub fn canonical(&self) -> String {
        // The map is ordered by name.
        Value::from(self.clone()).to_string()
    }
}

/// As in `docs/manifest.schema.json`, without what only a source has.
impl JsonSchema for Manifest {
    fn schema_name() -> Cow<'static, str> {
        "PackageManifest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = super::parse::manifest_schema();
        if let Some(members) = schema.as_object_mut() {
            members.retain(|name, _| !name.starts_with('$') && name != "title");
        }
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove(super::parse::BUILD_KEY);
        }
        Schema::try_from(schema).unwrap_or_default()
    }
}

impl From<Manifest> for Value {
    fn from(manifest: Manifest) -> Value {
        let Manifest { name, version, description, license, source, asks, limits } = manifest;
        let mut asked: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
        for Ask { what, why } in asks {
            let mut keys = what.keys();
            keys.insert("why".to_owned(), why.into());
            asked.entry(what.kind()).or_default().push(keys.into());
        }
        let mut value = json!({
            "manifest": MANIFEST_VERSION,
            "name": name,
            "version": version,
            "description": description,
        });
        if let Some(license) = license {
            value["license"] = license.into();
        }
        if let Some(source) = source {
            value["source"] = source.into();
        }
        if !asked.is_empty() {
            value["ask"] = json!(asked);
        }
        if !limits.is_empty() {
            let written =
                |(limit, number): (&Limit, &u64)| (limit.name(), super::parse::limit_text(*limit, *number));
            value["limits"] = limits.iter().map(written).collect::<BTreeMap<_, _>>().into_iter().collect();
        }
        value
    }
}

/// Why a text is no manifest: one line, with the key. The author's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ManifestError(pub(crate) String);

impl TryFrom<Value> for Manifest {
    type Error = ManifestError;

    fn try_from(value: Value) -> Result<Self, ManifestError> {
        super::parse::parse_manifest_json(&value)
    }
}
