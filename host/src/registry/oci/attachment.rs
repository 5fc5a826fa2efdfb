//! What can stand beside a component in a registry, and tells of it: SBOMs and provenance. Told apart by what they say of
//! themselves; their author's word, which nothing here verifies. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::PackageDigest;

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
}

impl AttachmentKind {
    const ALL: [Self; 4] = [Self::Spdx, Self::CycloneDx, Self::InToto, Self::Dsse];

    /// Its media type, which is the artifact's type as well.
    pub const fn media_type(self) -> &'static str {
        match self {
            AttachmentKind::Spdx => "application/spdx+json",
            AttachmentKind::CycloneDx => "application/vnd.cyclonedx+json",
            AttachmentKind::InToto => "application/vnd.in-toto+json",
            AttachmentKind::Dsse => "application/vnd.dsse.envelope.v1+json",
        }
    }

    /// How the name of its file ends.
    pub const fn suffix(self) -> &'static str {
        match self {
            AttachmentKind::Spdx => ".spdx.json",
            AttachmentKind::CycloneDx => ".cdx.json",
            AttachmentKind::InToto => ".intoto.json",
            AttachmentKind::Dsse => ".dsse.json",
        }
    }

    /// That of a media type.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.media_type() == media_type)
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
    #[error("it is neither JSON of SPDX or CycloneDX, nor an in-toto statement, nor a DSSE envelope of one")]
    Unknown,
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
    payload: Option<String>,
    #[serde(default)]
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: std::collections::BTreeMap<String, String>,
}

const STATEMENT: &str = "https://in-toto.io/Statement/";
const PAYLOAD: &str = "application/vnd.in-toto+json";
const SPDX_3: &str = "https://spdx.org/rdf/3";

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
    /// [`AttachmentError::OtherSubject`].
    pub fn check_subject(&self, digest: PackageDigest) -> Result<(), AttachmentError> {
        let told = told(&self.bytes).ok_or(AttachmentError::Unknown)?;
        let statement = match self.kind {
            AttachmentKind::Spdx | AttachmentKind::CycloneDx => return Ok(()),
            AttachmentKind::InToto => Some(told),
            AttachmentKind::Dsse => {
                let payload = told.payload.and_then(|payload| STANDARD.decode(payload).ok());
                payload.and_then(|payload| self::told(&payload))
            }
        };
        let wanted = digest.to_string();
        let wanted = wanted.strip_prefix("sha256:").unwrap_or(&wanted);
        let names = |subject: &Subject| {
            subject.digest.get("sha256").is_some_and(|hex| hex.eq_ignore_ascii_case(wanted))
        };
        match statement.is_some_and(|statement| statement.subject.iter().any(names)) {
            true => Ok(()),
            false => Err(AttachmentError::OtherSubject(digest)),
        }
    }
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
        } else {
            None
        }
    }
}
