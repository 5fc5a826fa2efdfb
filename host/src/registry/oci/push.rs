//! What is put into a registry: the component with its config and manifest, then its signatures as referrers.

use bytes::Bytes;
use http::{Method, StatusCode};
use jiff::Timestamp;

use super::attachment::Attachment;
use super::layout::{
    BUNDLE, Descriptor, EMPTY, EMPTY_BYTES, INDEX, MANIFEST, MINISIGN, Manifest, WASM, WASM_CONFIG,
    wasm_config, written,
};
use super::pull::referrers_tag;
use super::reference::Pinned;
use super::transport::{Asked, OciError, Registry, status};
use super::upload::{Meter, Put};
use crate::ids::PackageDigest;
use crate::signing::Signature;

/// The most referrers that a tag of theirs is made to list.
const REFERRERS_MAX: usize = 200;

/// A component that is to be pushed.
#[derive(Debug)]
pub struct Pushing {
    /// Its bytes.
    pub component: Bytes,
    /// Its signatures.
    pub signatures: Vec<Signature>,
    /// SBOMs and provenance.
    pub attachments: Vec<Attachment>,
    /// What the manifest says of it: `org.opencontainers.image.version` and others.
    pub annotations: Vec<(String, String)>,
    /// When it is pushed, which its config says.
    pub now: Timestamp,
}

/// A component that was pushed.
#[derive(Debug)]
pub struct Pushed {
    /// Its manifest.
    pub pinned: Pinned,
    /// Its bytes.
    pub digest: PackageDigest,
    /// Whether the bytes were there before.
    pub was_there: bool,
    /// How many of its bytes were not sent again after connections broke.
    pub resumed: u64,
    /// How many signatures refer to it now by this push.
    pub signatures: usize,
    /// How many SBOMs and statements of provenance.
    pub attachments: usize,
}

impl Registry {
    /// Pushes a component and its signatures. What breaks off is gone on with, a few times.
    ///
    /// # Errors
    /// [`OciError`]. What was pushed until then stays: it is named by its digest, and not sent again the next time.
    pub async fn push(&self, pushing: Pushing, progress: Meter) -> Result<Pushed, OciError> {
        let Pushing { component, signatures, attachments, annotations, now } = pushing;
        let config = wasm_config(&component, now)?;
        let digest = PackageDigest::of(&component);
        let mut manifest =
            Manifest::new(Descriptor::of(WASM_CONFIG, &config), Descriptor::of(WASM, &component));
        manifest.annotations.extend(annotations);
        let Put { was_there, resumed } = self.put_blob(component, Some(progress)).await?;
        self.put_blob(config.into(), None).await?;
        let bytes = written(&manifest);
        let pinned_digest = PackageDigest::of(&bytes);
        if let Some(expected) = self.reference.digest().filter(|expected| *expected != pinned_digest) {
            let what = "the manifest that would be pushed".to_owned();
            return Err(OciError::Digest { what, expected, found: pinned_digest });
        }
        let subject = Descriptor::of(MANIFEST, &bytes);
        self.put_manifest(&self.reference.manifest(), MANIFEST, bytes).await?;
        for signature in &signatures {
            let layer = Bytes::from(signature.as_str().to_owned());
            let kind = if signature.key().is_some() { MINISIGN } else { BUNDLE };
            self.put_referrer(&subject, kind, layer).await?;
        }
        for Attachment { kind, bytes } in &attachments {
            self.put_referrer(&subject, kind.media_type(), bytes.clone()).await?;
        }
        let pinned = self.reference.pinned(pinned_digest);
        let (signatures, attachments) = (signatures.len(), attachments.len());
        Ok(Pushed { pinned, digest, was_there, resumed, signatures, attachments })
    }

    /// Puts a manifest there. Whether the registry lists what it refers to by itself.
    async fn put_manifest(&self, name: &str, kind: &'static str, bytes: Vec<u8>) -> Result<bool, OciError> {
        let url = format!("{}/manifests/{name}", self.reference.base());
        let answer = self.ask(Asked::send(Method::PUT, url.clone(), kind, bytes.into())).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(answer.headers().contains_key("oci-subject")),
            _ => Err(status(&url, answer).await),
        }
    }

    /// Puts one blob there that refers to a manifest.
    async fn put_referrer(&self, subject: &Descriptor, kind: &str, layer: Bytes) -> Result<(), OciError> {
        self.put_blob(Bytes::from_static(EMPTY_BYTES), None).await?;
        self.put_blob(layer.clone(), None).await?;
        let mut manifest = Manifest::new(Descriptor::of(EMPTY, EMPTY_BYTES), Descriptor::of(kind, &layer));
        manifest.artifact_type = Some(kind.to_owned());
        manifest.subject = Some(subject.clone());
        let bytes = written(&manifest);
        let mut descriptor = Descriptor::of(MANIFEST, &bytes);
        descriptor.artifact_type = Some(kind.to_owned());
        let is_listed = self.put_manifest(&descriptor.digest, MANIFEST, bytes).await?;
        if is_listed { Ok(()) } else { self.list_by_tag(subject, descriptor).await }
    }

    /// Adds a referrer to the tag that stands for the API ("Pushing Manifests with Subject"). Two who do so at one
    /// moment may lose one: the specification has no way around that.
    async fn list_by_tag(&self, subject: &Descriptor, referrer: Descriptor) -> Result<(), OciError> {
        let digest = subject.sha256()?;
        let mut index = self.tagged_referrers(digest).await?.unwrap_or_else(super::layout::Index::empty);
        if index.manifests.iter().any(|known| known.digest == referrer.digest) {
            return Ok(());
        }
        if index.manifests.len() >= REFERRERS_MAX {
            let (bytes, max) = (index.manifests.len() as u64 + 1, REFERRERS_MAX as u64);
            return Err(OciError::TooLarge { what: "the list of what refers to it".to_owned(), bytes, max });
        }
        index.manifests.push(referrer);
        self.put_manifest(&referrers_tag(digest), INDEX, written(&index)).await?;
        Ok(())
    }
}
