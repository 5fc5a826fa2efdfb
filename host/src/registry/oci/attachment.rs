//! What can stand beside a component in a registry, and tells of it: SBOMs and provenance. Told apart by what they say of
//! themselves; their author's word, of which only what it is about is held against the component. Pure.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::layout::BUNDLE;
use super::sbom::{self, Sbom};
use super::statement::{self, Statement};
use crate::ids::PackageDigest;
use crate::text::clean_line;

/// The most bytes of an attachment.
pub const ATTACHMENT_BYTES_MAX: usize = 16 << 20;

/// What an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentKind {
    /// An SBOM: SPDX 2 or 3, as JSON.
    Spdx,
    /// An SBOM: CycloneDX, as JSON.
    CycloneDx,
    /// Provenance or another statement: in-toto, unsigned.
    InToto,
    /// The same in an envelope with signatures (DSSE).
    Dsse,
    /// Such an envelope in a Sigstore bundle.
    Sigstore,
}

impl AttachmentKind {
    const ALL: [Self; 5] = [Self::Spdx, Self::CycloneDx, Self::InToto, Self::Dsse, Self::Sigstore];

    /// Its media type, which is the artifact's type as well.
    pub const fn media_type(self) -> &'static str {
        match self {
            AttachmentKind::Spdx => "application/spdx+json",
            AttachmentKind::CycloneDx => "application/vnd.cyclonedx+json",
            AttachmentKind::InToto => "application/vnd.in-toto+json",
            AttachmentKind::Dsse => "application/vnd.dsse.envelope.v1+json",
            AttachmentKind::Sigstore => BUNDLE,
        }
    }

    /// How the name of its file ends. That of a bundle is not that of one which signs the component.
    pub const fn suffix(self) -> &'static str {
        match self {
            AttachmentKind::Spdx => ".spdx.json",
            AttachmentKind::CycloneDx => ".cdx.json",
            AttachmentKind::InToto => ".intoto.json",
            AttachmentKind::Dsse => ".dsse.json",
            AttachmentKind::Sigstore => ".sigstore-dsse.json",
        }
    }

    /// That of a media type.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.media_type() == media_type)
    }

    /// Whether a file is named as [`suffix`](Self::suffix) has it.
    pub fn names(file: &str) -> bool {
        Self::ALL.into_iter().any(|kind| file.ends_with(kind.suffix()))
    }

    /// Whether it is an SBOM.
    pub const fn is_sbom(self) -> bool {
        matches!(self, AttachmentKind::Spdx | AttachmentKind::CycloneDx)
    }
}

/// An SBOM or a provenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What it is.
    pub kind: AttachmentKind,
    /// It.
    pub bytes: Bytes,
}

/// Why bytes are no attachment. The fault of who gave them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// Too many bytes.
    #[error("it has {bytes} bytes, at most {ATTACHMENT_BYTES_MAX} are taken")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// None of those that are known.
    #[error(
        "it is neither JSON of SPDX or CycloneDX, nor an in-toto statement, nor a DSSE envelope or a Sigstore bundle of one"
    )]
    Unknown,
    /// It is one, and can't be read as one.
    #[error("it can't be read: {0}")]
    Malformed(String),
    /// A statement about something else.
    #[error("its subject is not this component: it names no digest {0}")]
    OtherSubject(PackageDigest),
}

/// The members that tell them apart.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "spdxVersion")]
    spdx: Option<serde_json::Value>,
    #[serde(rename = "@context")]
    context: Option<serde_json::Value>,
    #[serde(rename = "bomFormat")]
    bom: Option<String>,
    #[serde(rename = "_type")]
    kind: Option<String>,
    #[serde(rename = "payloadType")]
    payload_type: Option<String>,
    payload: Option<serde::de::IgnoredAny>,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    #[serde(rename = "dsseEnvelope")]
    envelope: Option<serde::de::IgnoredAny>,
}

const STATEMENT: &str = "https://in-toto.io/Statement/";
const PAYLOAD: &str = "application/vnd.in-toto+json";
const SPDX_3: &str = "https://spdx.org/rdf/3";
const BUNDLES: &str = "application/vnd.dev.sigstore.bundle";

impl Attachment {
    /// Tells what some bytes are.
    ///
    /// # Errors
    /// [`AttachmentError`].
    pub fn read(bytes: Bytes) -> Result<Self, AttachmentError> {
        if bytes.len() > ATTACHMENT_BYTES_MAX {
            return Err(AttachmentError::TooLong { bytes: bytes.len() });
        }
        let kind = told(&bytes).and_then(|told| told.kind()).ok_or(AttachmentError::Unknown)?;
        Ok(Self { kind, bytes })
    }

    /// Refuses a statement that is about other bytes. An SBOM does not say what it is about in a way that can be
    /// checked.
    ///
    /// # Errors
    /// [`AttachmentError::OtherSubject`], [`AttachmentError::Malformed`].
    pub fn check_subject(&self, digest: PackageDigest) -> Result<(), AttachmentError> {
        match self.said_of(digest) {
            Err(error) if !self.kind.is_sbom() => Err(error),
            // What it lists is read when it is shown.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What it says, of these bytes.
    ///
    /// # Errors
    /// [`AttachmentError::OtherSubject`] of a statement about other bytes, [`AttachmentError::Malformed`].
    pub fn said_of(&self, digest: PackageDigest) -> Result<Said, AttachmentError> {
        if self.kind.is_sbom() {
            return sbom::read(&self.bytes).map(Said::Sbom);
        }
        let read = statement::read(self.kind, &self.bytes)?;
        match read.is_about(digest) {
            true => Ok(Said::Statement(read.statement)),
            false => Err(AttachmentError::OtherSubject(digest)),
        }
    }
}

/// What an attachment says: its author's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// An SBOM's.
    Sbom(Sbom),
    /// A statement's.
    Statement(Statement),
}

pub(super) fn malformed(error: &dyn fmt::Display) -> AttachmentError {
    AttachmentError::Malformed(clean_line(&error.to_string(), 300))
}

fn told(bytes: &[u8]) -> Option<Told> {
    serde_json::from_slice(bytes).ok()
}

impl Told {
    fn kind(&self) -> Option<AttachmentKind> {
        let is_spdx_3 = || {
            let context = self.context.as_ref().and_then(serde_json::Value::as_str);
            context.is_some_and(|context| context.starts_with(SPDX_3))
        };
        if self.spdx.is_some() || is_spdx_3() {
            Some(AttachmentKind::Spdx)
        } else if self.bom.as_deref() == Some("CycloneDX") {
            Some(AttachmentKind::CycloneDx)
        } else if self.kind.as_deref().is_some_and(|kind| kind.starts_with(STATEMENT)) {
            Some(AttachmentKind::InToto)
        } else if self.payload_type.as_deref() == Some(PAYLOAD) && self.payload.is_some() {
            Some(AttachmentKind::Dsse)
        } else if self.media_type.as_deref().is_some_and(|kind| kind.starts_with(BUNDLES))
            && self.envelope.is_some()
        {
            Some(AttachmentKind::Sigstore)
        } else {
            None
        }
    }
}
