//! What is taken from a registry: the manifest pinned by its digest, the component hashed while it comes, and the
//! signatures that refer to it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use super::attachment::{ATTACHMENT_BYTES_MAX, Attachment, AttachmentKind};
use super::layout::{BUNDLE, Descriptor, INDEX, Index, MANIFEST, MINISIGN, Manifest};
use super::reference::Pinned;
use super::transport::{Asked, OciError, Registry, bounded, component_bytes_max, document, status};
use crate::egress::AnswerBody;
use crate::ids::PackageDigest;
use crate::signing::{BUNDLE_BYTES_MAX, SIGNATURE_BYTES_MAX, SIGNATURES_MAX, Signature, SignatureError};

/// How often a component is asked for on from where its connection broke.
const TRIES_MAX: usize = 4;
/// The most referrers that are looked at.
const REFERRERS_MAX: usize = 200;
/// The most pages of their list that are asked for.
const PAGES_MAX: usize = 20;
/// The most SBOMs and statements of one component.
const ATTACHMENTS_MAX: usize = 16;

/// A component as its manifest describes it. Nothing of it was fetched.
#[derive(Debug)]
pub struct Pulling {
    /// The manifest's digest, which can't become another's.
    pub pinned: Pinned,
    manifest_digest: PackageDigest,
    component: Descriptor,
}

/// A component that was fetched.
#[derive(Debug)]
pub struct Pulled {
    /// Where it is.
    pub file: PathBuf,
    /// The digest of its bytes.
    pub digest: PackageDigest,
    /// How many bytes there are.
    pub bytes: u64,
    /// How many of them were there from an earlier try.
    pub resumed: u64,
}

impl Pulling {
    /// The digest of the component's bytes, as the manifest says.
    ///
    /// # Errors
    /// If it is none.
    pub fn digest(&self) -> Result<PackageDigest, OciError> {
        self.component.sha256()
    }

    /// Its bytes, as the manifest says.
    pub fn bytes(&self) -> u64 {
        self.component.size
    }
}

impl Registry {
    /// Looks a component up. A tag is asked for once; what it named then is what is fetched.
    ///
    /// # Errors
    /// [`OciError`].
    pub async fn resolve(&self) -> Result<Pulling, OciError> {
        let (bytes, digest) = self.manifest(&self.reference.manifest(), self.reference.digest()).await?;
        let component = Manifest::read(&bytes)?.component()?.clone();
        let max = component_bytes_max();
        if component.size > max {
            return Err(OciError::TooLarge { what: "the component".to_owned(), bytes: component.size, max });
        }
        component.sha256()?;
        Ok(Pulling { pinned: self.reference.pinned(digest), manifest_digest: digest, component })
    }

    async fn manifest(
        &self,
        name: &str,
        expected: Option<PackageDigest>,
    ) -> Result<(Vec<u8>, PackageDigest), OciError> {
        let url = format!("{}/manifests/{name}", self.reference.base());
        let answer = self.ask(Asked::get(url.clone(), MANIFEST)).await?;
        if answer.status() != StatusCode::OK {
            return Err(status(&url, answer).await);
        }
        let said = answer.headers().get("docker-content-digest").cloned();
        let bytes = document(&url, answer).await?;
        let found = PackageDigest::of(&bytes);
        // Of a tag, what the registry says of it is all that there is to hold it against.
        let said = said.and_then(|said| said.to_str().ok()?.parse::<PackageDigest>().ok());
        match expected.or(said).filter(|expected| *expected != found) {
            Some(expected) => Err(OciError::Digest { what: url, expected, found }),
            None => Ok((bytes, found)),
        }
    }

    /// Fetches a component into a file, which gets its name when it is whole. What is there of an earlier try that
    /// broke off, in `FILE.partial`, is not fetched again.
    ///
    /// # Errors
    /// [`OciError`]. What came is kept for the next try, unless its hash shows that it is worth nothing.
    pub async fn fetch(
        &self,
        pulling: &Pulling,
        file: &Path,
        mut progress: impl FnMut(u64),
    ) -> Result<Pulled, OciError> {
        let expected = pulling.digest()?;
        let url = format!("{}/blobs/{expected}", self.reference.base());
        let mut partial = Partial::open(file, pulling.component.size)?;
        let resumed = partial.bytes;
        progress(resumed);
        let mut tries = 0;
        while partial.bytes < pulling.component.size {
            tries += 1;
            let had = partial.bytes;
            match self.fetch_on(&url, &mut partial, &mut progress).await {
                Ok(()) => {}
                // The connection broke: on from there, as long as something comes.
                Err(OciError::Egress { error, .. }) if tries < TRIES_MAX && partial.bytes > had => {
                    tracing::warn!(%error, bytes = partial.bytes, "the component is asked for on from there");
                }
                Err(error) => return Err(error),
            }
        }
        let found = partial.finish(expected)?;
        if found != expected {
            return Err(OciError::Digest { what: url, expected, found });
        }
        let (bytes, file) = (pulling.component.size, file.to_owned());
        Ok(Pulled { file, digest: expected, bytes, resumed })
    }

    /// Fetches what is missing.
    async fn fetch_on(
        &self,
        url: &str,
        partial: &mut Partial,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), OciError> {
        let mut asked = Asked::get(url.to_owned(), "application/octet-stream");
        if partial.bytes > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", partial.bytes));
            asked.headers.extend(range.map(|range| (header::RANGE, range)));
        }
        let answer = self.ask(asked).await?;
        match answer.status() {
            StatusCode::OK => partial.begin_anew()?,
            StatusCode::PARTIAL_CONTENT if begins_at(&answer, partial.bytes) => {}
            StatusCode::PARTIAL_CONTENT => {
                return Err(OciError::Layout(
                    "the registry answers with another part than was asked for".to_owned(),
                ));
            }
            _ => return Err(status(url, answer).await),
        }
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| OciError::Egress { url: url.to_owned(), error })?;
            if let Ok(data) = frame.into_data() {
                partial.append(&data)?;
                progress(data.len() as u64);
            }
        }
        if partial.bytes < partial.size {
            return Err(OciError::Layout(format!(
                "the component ends after {} bytes, its manifest says {}",
                partial.bytes, partial.size
            )));
        }
        Ok(())
    }

    /// The signatures that refer to a component: of the referrers' API, else of the tag that stands for it.
    ///
    /// # Errors
    /// [`OciError`].
    pub async fn signatures(&self, pulling: &Pulling) -> Result<Vec<Signature>, OciError> {
        let mut signatures = Vec::new();
        let is_wanted = |kind: &str| kind == MINISIGN || kind == BUNDLE;
        let bytes_max = SIGNATURE_BYTES_MAX.max(BUNDLE_BYTES_MAX);
        for (kind, text) in self.referring(pulling, SIGNATURES_MAX, bytes_max, is_wanted).await? {
            let text =
                String::from_utf8(text).map_err(|_| OciError::Layout("a signature is no text".to_owned()))?;
            match text.parse() {
                Ok(signature) => signatures.push(signature),
                // Others attach bundles about the manifest, and attestations: they sign no bytes of the component.
                Err(SignatureError::Sigstore(error)) if kind == BUNDLE => {
                    tracing::info!(%error, "a bundle is not taken for a signature of the component");
                }
                Err(error) => return Err(OciError::Layout(format!("a signature: {error}"))),
            }
        }
        Ok(signatures)
    }

    /// The SBOMs and statements of provenance that refer to a component: their authors' word. What is not what its
    /// type says is left out.
    ///
    /// # Errors
    /// [`OciError`].
    pub async fn attachments(&self, pulling: &Pulling) -> Result<Vec<Attachment>, OciError> {
        let is_known = |kind: &str| AttachmentKind::of(kind).is_some();
        // Bundles that sign the component have the type of those that hold a statement.
        let count_max = ATTACHMENTS_MAX + SIGNATURES_MAX;
        let found = self.referring(pulling, count_max, ATTACHMENT_BYTES_MAX, is_known).await?;
        let read = found.into_iter().filter_map(|(kind, bytes)| {
            let attachment = Attachment::read(bytes.into()).ok()?;
            (attachment.kind.media_type() == kind).then_some(attachment)
        });
        Ok(read.collect())
    }

    /// What refers to a component and has one layer of a type that is wanted: type and bytes.
    async fn referring(
        &self,
        pulling: &Pulling,
        count_max: usize,
        bytes_max: usize,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Vec<u8>)>, OciError> {
        let index = self.referrers(pulling.manifest_digest).await?;
        let mut found = Vec::new();
        let is_listed = |one: &&Descriptor| one.artifact_type.as_deref().is_some_and(&is_wanted);
        for descriptor in index.manifests.iter().take(REFERRERS_MAX).filter(is_listed) {
            if found.len() == count_max {
                let (bytes, max) = (count_max as u64 + 1, count_max as u64);
                return Err(OciError::TooLarge {
                    what: "the list of what refers to it".to_owned(),
                    bytes,
                    max,
                });
            }
            let digest = descriptor.sha256()?;
            let (bytes, _) = self.manifest(&digest.to_string(), Some(digest)).await?;
            let manifest = Manifest::read(&bytes)?;
            let subject = manifest.subject.as_ref().map(Descriptor::sha256).transpose()?;
            let [layer] = manifest.layers.as_slice() else { continue };
            if layer.media_type == BUNDLE && layer.size > bytes_max as u64 {
                // Longer than one over the component is: a statement.
                continue;
            }
            if subject == Some(pulling.manifest_digest) && is_wanted(&layer.media_type) {
                let bytes = self.small_blob(layer, bytes_max as u64).await?;
                found.push((layer.media_type.clone(), bytes));
            }
        }
        Ok(found)
    }

    /// What refers to a manifest (distribution specification 1.1, "Listing Referrers"), page after page.
    pub(super) async fn referrers(&self, digest: PackageDigest) -> Result<Index, OciError> {
        let mut url = format!("{}/referrers/{digest}", self.reference.base());
        let mut all = Index::empty();
        for page in 0..PAGES_MAX {
            let answer = self.ask(Asked::get(url.clone(), INDEX)).await?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND if page == 0 => {
                    return Ok(self.tagged_referrers(digest).await?.unwrap_or_else(Index::empty));
                }
                _ => return Err(status(&url, answer).await),
            }
            let next = next_page(&answer);
            all.manifests.extend(Index::read(&document(&url, answer).await?)?.manifests);
            match next {
                // Only the registry's own pages are followed.
                Some(next) if all.manifests.len() < REFERRERS_MAX => url = self.upload_url(&next)?,
                Some(_) | None => break,
            }
        }
        Ok(all)
    }

    /// The same by the tag schema, for registries that have no API for it.
    pub(super) async fn tagged_referrers(&self, digest: PackageDigest) -> Result<Option<Index>, OciError> {
        let url = format!("{}/manifests/{}", self.reference.base(), referrers_tag(digest));
        let answer = self.ask(Asked::get(url.clone(), INDEX)).await?;
        match answer.status() {
            StatusCode::OK => Index::read(&document(&url, answer).await?).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(status(&url, answer).await),
        }
    }

    async fn small_blob(&self, of: &Descriptor, max: u64) -> Result<Vec<u8>, OciError> {
        let expected = of.sha256()?;
        let url = format!("{}/blobs/{expected}", self.reference.base());
        if of.size > max {
            return Err(OciError::TooLarge { what: url, bytes: of.size, max });
        }
        let answer = self.ask(Asked::get(url.clone(), "application/octet-stream")).await?;
        if answer.status() != StatusCode::OK {
            return Err(status(&url, answer).await);
        }
        let bytes = bounded(&url, answer, max).await?;
        let found = PackageDigest::of(&bytes);
        if found == expected { Ok(bytes) } else { Err(OciError::Digest { what: url, expected, found }) }
    }
}

/// The tag under which what refers to a manifest is listed ("Referrers Tag Schema").
pub(super) fn referrers_tag(digest: PackageDigest) -> String {
    digest.to_string().replace(':', "-")
}

/// Where the next page of a list is: `Link: <URL>; rel="next"` (RFC 8288).
fn next_page(answer: &Response<AnswerBody>) -> Option<HeaderValue> {
    let links = answer.headers().get_all(header::LINK).iter().filter_map(|link| link.to_str().ok());
    links.flat_map(|links| links.split(',')).find_map(|link| {
        let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|one| matches!(one.trim(), "rel=\"next\"" | "rel=next"));
        HeaderValue::from_str(url).ok().filter(|_| is_next)
    })
}

fn begins_at(answer: &Response<AnswerBody>, at: u64) -> bool {
    let range = answer.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
    start == Some(at)
}

/// A file that is not whole yet, hashed as far as it is.
struct Partial {
    target: PathBuf,
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
    size: u64,
}

impl Partial {
    /// Takes up what is there.
    fn open(target: &Path, size: u64) -> Result<Self, OciError> {
        let mut path = target.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let failed = |error| OciError::File { action: format!("{} can't be used", path.display()), error };
        let mut options = OpenOptions::new();
        // Never through a link that somebody has put there.
        let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        options.read(true).write(true).create(true).truncate(false).mode(0o644).custom_flags(nofollow);
        let mut file = options.open(&path).map_err(failed)?;
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = file.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            bytes += count as u64;
            if bytes > size {
                break;
            }
        }
        let mut partial = Self { target: target.to_owned(), path: path.clone(), file, hash, bytes, size };
        if bytes > size {
            partial.begin_anew()?;
        }
        Ok(partial)
    }

    fn failed(&self, error: std::io::Error) -> OciError {
        OciError::File { action: format!("{} can't be written", self.path.display()), error }
    }

    fn begin_anew(&mut self) -> Result<(), OciError> {
        (self.bytes, self.hash) = (0, Sha256::new());
        let cut = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        cut.map(|_| ()).map_err(|error| self.failed(error))
    }

    fn append(&mut self, data: &[u8]) -> Result<(), OciError> {
        let bytes = self.bytes + data.len() as u64;
        if bytes > self.size {
            return Err(OciError::TooLarge { what: "the component".to_owned(), bytes, max: self.size });
        }
        self.file.write_all(data).map_err(|error| self.failed(error))?;
        self.hash.update(data);
        self.bytes = bytes;
        Ok(())
    }

    /// Gives the file its name, if it is what was asked for; else it is deleted. Its digest.
    fn finish(self, expected: PackageDigest) -> Result<PackageDigest, OciError> {
        let hash: [u8; 32] = self.hash.clone().finalize().into();
        let found = PackageDigest::from_sha256(hash);
        if found != expected {
            std::fs::remove_file(&self.path).map_err(|error| self.failed(error))?;
            return Ok(found);
        }
        let named = self.file.sync_all().and_then(|()| std::fs::rename(&self.path, &self.target));
        named.map_err(|error| self.failed(error))?;
        Ok(found)
    }
}
