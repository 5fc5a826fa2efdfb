//! Evidence bundles: what proves some calls, in one file that only its recipient can open.
//!
//! An age file around a tar: a receipt of each call with all its records, the components that ran, the public key
//! and its rotations, and at its end a manifest with the SHA-256 of each. Holds one receipt at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::x25519::{Identity, Recipient};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::checkpoint::VerifierKey;
use super::event::Event;
use super::prove::{ProveError, prove_call};
use super::query::{self, Filter, ReadError};
use super::receipt::{RECEIPT_BYTES_MAX, ReceiptError, verify_receipt};
use super::trust::{ROTATIONS_BYTES_MAX, RotationsError, TrustedKeys, rotations_of};
use crate::ids::{CallId, PackageDigest, hex};

/// What the form of this version is called.
pub const BUNDLE_FORMAT: &str = "portcullis-bundle/1";

/// The most calls of one bundle.
pub const BUNDLE_CALLS_MAX: usize = 1_000;

const MANIFEST: &str = "manifest.json";
const KEY: &str = "audit.pub";
/// Before the receipts, so that whoever trusts an earlier key can check them as they come.
const ROTATIONS: &str = "rotations.json";
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
const KEY_BYTES_MAX: u64 = 4 << 10;
/// As many as a component may have.
const PACKAGE_BYTES_MAX: u64 = 1 << 30;
const BLOCK_BYTES: usize = 64 << 10;

/// Which calls.
#[derive(Clone, Copy, Debug)]
pub enum Calls {
    /// One, and those that its tool made.
    Of(CallId),
    /// All that were admitted or denied since.
    Since(Timestamp),
}

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleManifest {
    /// [`BUNDLE_FORMAT`].
    pub format: String,
    /// The log: the name of its key.
    pub origin: String,
    /// The calls, in the log's order.
    pub calls: Vec<CallId>,
    /// Calls that had not ended, so that nothing proves them yet.
    pub unfinished: Vec<CallId>,
    /// Components that ran and are not in the data folder any more.
    pub missing: Vec<PackageDigest>,
    /// Each file and its SHA-256 in hex.
    pub files: BTreeMap<String, String>,
}

/// Why there is no bundle, or it does not hold.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file.
    #[error("could not {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// What should be a recipient is none.
    #[error("this is no age recipient (age1…): {0}")]
    Recipient(String),
    /// What should be an identity is none.
    #[error("this is no age identity: one line AGE-SECRET-KEY-1…, as `age-keygen` writes it")]
    Identity,
    /// It is for somebody else.
    #[error("the bundle can't be opened with this identity: {0}")]
    NotForUs(String),
    /// No call fits.
    #[error("the log has no such calls")]
    NoCalls,
    /// Too many calls fit.
    #[error("{BUNDLE_CALLS_MAX} calls fit in a bundle, and there are more: take a later time")]
    TooMany,
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A call can't be proved.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// It is not what was written.
    #[error("the bundle is not whole: {0}")]
    NotWhole(String),
    /// The rotations of the key in it do not hold.
    #[error(transparent)]
    Rotations(#[from] RotationsError),
    /// A receipt in it does not hold.
    #[error("the receipt of call {call}: {error}")]
    Receipt {
        /// Whose.
        call: String,
        /// Why not.
        error: ReceiptError,
    },
}

impl BundleError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }
}

/// What to bundle.
#[derive(Debug)]
pub struct Source<'a> {
    /// The log's folder.
    pub folder: &'a Path,
    /// Its key.
    pub key: &'a VerifierKey,
    /// The same as text.
    pub key_text: &'a str,
    /// Where components are, by digest.
    pub packages: &'a Path,
    /// Which calls.
    pub calls: Calls,
}

/// Writes a bundle for an age recipient. `progress` is told the bytes of the log that were read, for each call
/// anew.
///
/// # Errors
/// [`BundleError`]; what was written then is not whole.
pub fn write(
    source: &Source<'_>,
    recipient: &str,
    out: impl Write,
    mut progress: impl FnMut(u64),
) -> Result<BundleManifest, BundleError> {
    let recipient: Recipient =
        recipient.parse().map_err(|why: &str| BundleError::Recipient(why.to_owned()))?;
    let calls = find(source.folder, source.calls)?;
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
    let encryptor = encryptor.map_err(|error| BundleError::Recipient(error.to_string()))?;
    let stream = |error: io::Error| BundleError::io("write", Path::new("the bundle"))(error);
    let mut archive = Archive {
        tar: tar::Builder::new(encryptor.wrap_output(out).map_err(stream)?),
        manifest: BundleManifest {
            format: BUNDLE_FORMAT.to_owned(),
            origin: source.key.origin().to_owned(),
            calls: Vec::new(),
            unfinished: Vec::new(),
            missing: Vec::new(),
            files: BTreeMap::new(),
        },
    };
    archive.bytes(KEY, source.key_text.trim().as_bytes())?;
    let rotations = rotations_of(source.folder, source.key)?;
    if !rotations.rotations.is_empty() {
        let text = serde_json::to_vec(&rotations).expect("rotations are texts and numbers");
        archive.bytes(ROTATIONS, &text)?;
    }
    let mut digests = BTreeSet::new();
    for call in calls {
        let receipt = match prove_call(source.folder, source.key, call, None, true, &mut progress) {
            Ok(receipt) => receipt,
            Err(ProveError::NotFinished { .. } | ProveError::NotCovered { .. }) => {
                archive.manifest.unfinished.push(call);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        digests.extend(receipt.facts.digest);
        let text = serde_json::to_vec(&receipt).expect("a receipt is texts and numbers");
        archive.bytes(&format!("receipts/{call}.json"), &text)?;
        archive.manifest.calls.push(call);
    }
    for digest in digests {
        archive.package(source.packages, digest)?;
    }
    archive.finish().map_err(stream)
}

/// The calls in the log's order.
fn find(folder: &Path, which: Calls) -> Result<Vec<CallId>, BundleError> {
    let mut found = Vec::new();
    for record in query::read(folder, Filter::default()) {
        let record = record?;
        let (call, parent) = if let Event::CallAdmitted { context, .. } = &record.event {
            (context.call, context.parent)
        } else if let Event::CallDenied { call, parent, .. } = &record.event {
            (*call, *parent)
        } else {
            continue;
        };
        let fits = match which {
            Calls::Of(asked) => call == asked || parent.is_some_and(|parent| found.contains(&parent)),
            Calls::Since(time) => record.time >= time,
        };
        if fits {
            if found.len() == BUNDLE_CALLS_MAX {
                return Err(BundleError::TooMany);
            }
            found.push(call);
        }
    }
    if found.is_empty() { Err(BundleError::NoCalls) } else { Ok(found) }
}

struct Archive<W: Write> {
    tar: tar::Builder<age::stream::StreamWriter<W>>,
    manifest: BundleManifest,
}

impl<W: Write> Archive<W> {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        self.append(name, bytes.len() as u64, &mut &*bytes)?;
        self.manifest.files.insert(name.to_owned(), hex(&Sha256::digest(bytes)));
        Ok(())
    }

    /// A component, if it is there; one that was altered is no evidence.
    fn package(&mut self, folder: &Path, digest: PackageDigest) -> Result<(), BundleError> {
        let path = folder.join(format!("{}.wasm", digest.hex()));
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.manifest.missing.push(digest);
                return Ok(());
            }
            Err(error) => return Err(BundleError::io("open", &path)(error)),
        };
        let bytes = file.metadata().map_err(BundleError::io("measure", &path))?.len();
        let name = format!("packages/{}.wasm", digest.hex());
        let mut reader = Summed { inner: (&mut file).take(bytes), sum: Sha256::new() };
        self.append(&name, bytes, &mut reader)?;
        if hex(&reader.sum.finalize()) != digest.hex() {
            let altered = io::Error::other("it was altered");
            return Err(BundleError::io("read", &path)(altered));
        }
        self.manifest.files.insert(name, digest.hex());
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: u64, data: &mut dyn Read) -> Result<(), BundleError> {
        let failed = |error| BundleError::io("write", Path::new(name))(error);
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_path(name).map_err(failed)?;
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_cksum();
        self.tar.append(&header, io::BufReader::with_capacity(BLOCK_BYTES, data)).map_err(failed)
    }

    fn finish(mut self) -> io::Result<BundleManifest> {
        let text = serde_json::to_vec_pretty(&self.manifest)?;
        self.append(MANIFEST, text.len() as u64, &mut text.as_slice()).map_err(io::Error::other)?;
        self.tar.into_inner()?.finish()?.flush()?;
        Ok(self.manifest)
    }
}

/// Opens a bundle and checks all that is in it with the log's public key: each receipt with all records of its
/// call, each component, and that nothing is missing or more than the manifest says.
///
/// # Errors
/// [`BundleError`]: what does not hold.
pub fn verify(
    bundle: impl Read,
    identity: &str,
    key: &VerifierKey,
    mut progress: impl FnMut(u64),
) -> Result<BundleManifest, BundleError> {
    let mut lines = identity.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identity: Identity = lines.next().and_then(|line| line.parse().ok()).ok_or(BundleError::Identity)?;
    let decryptor = age::Decryptor::new(io::BufReader::new(bundle))
        .map_err(|error| BundleError::NotWhole(error.to_string()))?;
    let plain = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity));
    let plain = plain.map_err(|error| BundleError::NotForUs(error.to_string()))?;
    let not_whole = |error: io::Error| BundleError::NotWhole(error.to_string());
    let mut archive = tar::Archive::new(plain);
    let mut keys = TrustedKeys::from(key.clone());
    let (mut files, mut manifest, mut calls, mut ran) = (BTreeMap::new(), None, Vec::new(), BTreeSet::new());
    for entry in archive.entries().map_err(not_whole)? {
        let mut entry = entry.map_err(not_whole)?;
        let name = entry.path().map_err(not_whole)?.to_str().unwrap_or_default().to_owned();
        if manifest.is_some() || files.contains_key(&name) {
            return Err(BundleError::NotWhole(format!("{name:?} is there twice, or after the manifest")));
        }
        if name == MANIFEST {
            let text = whole(&mut entry, &name, MANIFEST_BYTES_MAX)?;
            let read = serde_json::from_slice::<BundleManifest>(&text);
            manifest = Some(read.map_err(|error| BundleError::NotWhole(format!("its manifest: {error}")))?);
            continue;
        }
        let sum = if let Some(call) =
            name.strip_prefix("receipts/").and_then(|rest| rest.strip_suffix(".json"))
        {
            let text = whole(&mut entry, &name, RECEIPT_BYTES_MAX as u64)?;
            let verified = verify_receipt(&text, &keys, None);
            let verified = verified.map_err(|error| BundleError::Receipt { call: call.to_owned(), error })?;
            if verified.call.to_string() != call {
                return Err(BundleError::NotWhole(format!("{name:?} is of call {}", verified.call)));
            }
            calls.push(verified.call);
            ran.extend(verified.facts.digest);
            hex(&Sha256::digest(&text))
        } else if name == ROTATIONS {
            let text = whole(&mut entry, &name, ROTATIONS_BYTES_MAX as u64)?;
            keys = TrustedKeys::with_rotations(key.clone(), &text)?;
            hex(&Sha256::digest(&text))
        } else if name == KEY {
            hex(&Sha256::digest(whole(&mut entry, &name, KEY_BYTES_MAX)?))
        } else {
            let mut summed = Summed { inner: (&mut entry).take(PACKAGE_BYTES_MAX), sum: Sha256::new() };
            io::copy(&mut summed, &mut io::sink()).map_err(not_whole)?;
            let sum = hex(&summed.sum.finalize());
            if name != format!("packages/{sum}.wasm") {
                return Err(BundleError::NotWhole(format!("{name:?} is not what its name says")));
            }
            sum
        };
        progress(entry.size());
        files.insert(name, sum);
    }
    let manifest =
        manifest.ok_or_else(|| BundleError::NotWhole("it has no manifest: its end is cut off".to_owned()))?;
    if manifest.format != BUNDLE_FORMAT || manifest.origin != key.origin() {
        return Err(BundleError::NotWhole("its manifest is of another form or log".to_owned()));
    }
    if manifest.files != files || manifest.calls != calls {
        return Err(BundleError::NotWhole("its manifest names other files".to_owned()));
    }
    let is_there = |digest: &PackageDigest| {
        manifest.missing.contains(digest) || files.contains_key(&format!("packages/{}.wasm", digest.hex()))
    };
    if let Some(digest) = ran.iter().find(|digest| !is_there(digest)) {
        return Err(BundleError::NotWhole(format!("component {digest} ran, and is not in it")));
    }
    Ok(manifest)
}

fn whole(entry: &mut impl Read, name: &str, bytes_max: u64) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    let read = entry.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(|error| BundleError::NotWhole(error.to_string()))?;
    if bytes.len() as u64 > bytes_max {
        return Err(BundleError::NotWhole(format!("{name:?} has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Sums what is read.
struct Summed<R> {
    inner: R,
    sum: Sha256,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sum.update(&buffer[..count]);
        Ok(count)
    }
}
