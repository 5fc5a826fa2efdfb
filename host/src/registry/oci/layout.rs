//! Manifests, configs and indexes as data: what is written, and what is read of others'. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};

use super::transport::OciError;
use crate::ids::PackageDigest;

/// A manifest of the OCI image specification 1.1.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The config of a component (CNCF Wasm OCI artifact layout, version 0).
pub(super) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// A component.
pub(super) const WASM: &str = "application/wasm";
/// What tools before that layout called it.
const FORMER_WASM: [&str; 2] =
    ["application/vnd.wasm.content.layer.v1+wasm", "application/vnd.module.wasm.content.layer.v1+wasm"];
/// A signature of minisign, and the kind of artifact that it is.
pub(super) const MINISIGN: &str = "application/vnd.portcullis.minisign.v1";
/// A bundle of Sigstore.
pub(super) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// A config that says nothing.
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Its bytes.
pub(super) const EMPTY_BYTES: &[u8] = b"{}";

/// What names some bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(super) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: PackageDigest::of(bytes).to_string(),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Its digest, which must be of SHA-256.
    pub(super) fn sha256(&self) -> Result<PackageDigest, OciError> {
        let wrong = |_| OciError::Layout(format!("{:?} is no digest of SHA-256", shortened(&self.digest)));
        self.digest.parse().map_err(wrong)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    pub(super) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Manifest {
    pub(super) fn new(config: Descriptor, layer: Descriptor) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers: vec![layer],
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, OciError> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| OciError::Layout(format!("the manifest is none: {error}")))?;
        match manifest.media_type.as_deref() {
            Some(MANIFEST) | None => Ok(manifest),
            Some(other) => {
                Err(OciError::Layout(format!("it is {}, and no manifest of one component", shortened(other))))
            }
        }
    }

    /// The one layer that is a component.
    pub(super) fn component(&self) -> Result<&Descriptor, OciError> {
        let is_wasm = |layer: &&Descriptor| {
            layer.media_type == WASM || FORMER_WASM.contains(&layer.media_type.as_str())
        };
        let mut layers = self.layers.iter().filter(is_wasm);
        match (layers.next(), layers.next()) {
            (Some(layer), None) => Ok(layer),
            (None, _) => Err(OciError::Layout(format!("it has no layer {WASM}: it is no component"))),
            (Some(_), Some(_)) => Err(OciError::Layout(format!("it has several layers {WASM}"))),
        }
    }
}

/// A list of manifests: what refers to a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    #[serde(default)]
    pub(super) media_type: Option<String>,
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

impl Index {
    pub(super) fn empty() -> Self {
        Self { schema_version: 2, media_type: Some(INDEX.to_owned()), manifests: Vec::new() }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, OciError> {
        serde_json::from_slice(bytes)
            .map_err(|error| OciError::Layout(format!("the list of what refers to it is none: {error}")))
    }
}

/// The config of a component.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig<'a> {
    created: Timestamp,
    architecture: &'a str,
    os: &'a str,
    layer_digests: [String; 1],
    component: Names,
}

/// What a component imports and exports, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Names {
    /// What it exports.
    pub(super) exports: Vec<String>,
    /// What it imports.
    pub(super) imports: Vec<String>,
}

/// The config of a component, at a moment.
pub(super) fn wasm_config(component: &[u8], now: Timestamp) -> Result<Vec<u8>, OciError> {
    let config = WasmConfig {
        created: now,
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [PackageDigest::of(component).to_string()],
        component: component_names(component).map_err(OciError::Layout)?,
    };
    Ok(written(&config))
}

pub(super) fn written(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("names and numbers always serialise")
}

/// What a component imports and exports, without validating it.
///
/// # Errors
/// If it is no component.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "wasmparser's enum is open; what else a component holds is not named"
)]
pub(super) fn component_names(bytes: &[u8]) -> Result<Names, String> {
    let mut names = Names::default();
    // Nested components and modules have imports of their own.
    let mut depth = 0_usize;
    let broken = |error: wasmparser::BinaryReaderError| format!("it is no component: {error}");
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version { encoding: wasmparser::Encoding::Module, .. } if depth == 0 => {
                return Err("it is a core module, and no component".to_owned());
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    names.exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}
