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
use super::event::{CallContext, Event, Record};
use super::prove::{Line, ProveError, Prover, RECORDS_BYTES_MAX, Story};
use super::query::{self, Filter, ReadError};
use super::receipt::{RECEIPT_BYTES_MAX, Receipt, ReceiptError, verify_receipt};
use super::start;
use super::sum::Summed;
use super::trust::{ROTATIONS_BYTES_MAX, RotationsError, TrustedKeys, rotations_of};
use crate::database::{DatabaseError, GrantHistory};
use crate::ids::{CallId, GrantId, PackageDigest, hex};

/// What the form of this version is called.
pub const BUNDLE_FORMAT: &str = "portcullis-bundle/1";

/// The most calls of one bundle: as many as its manifest, which names each twice, has room for with a margin.
pub const BUNDLE_CALLS_MAX: usize = 10_000;

/// The most grants that they may have been allowed by.
pub const BUNDLE_GRANTS_MAX: usize = 10_000;

/// The most bytes of records that are held of calls that were running at one time.
const HELD_BYTES_MAX: usize = 256 << 20;

const MANIFEST: &str = "manifest.json";
const KEY: &str = "audit.pub";
/// Before the receipts, so that whoever trusts an earlier key can check them as they come.
const ROTATIONS: &str = "rotations.json";
const GRANTS: &str = "grants.json";
const GRANTS_BYTES_MAX: u64 = 256 << 20;
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
    /// The calls, in the order of their ends in the log.
    pub calls: Vec<CallId>,
    /// Calls that had not ended, so that nothing proves them yet.
    pub unfinished: Vec<CallId>,
    /// Components that ran and are not in the data folder any more.
    pub missing: Vec<PackageDigest>,
    /// Grants that allowed calls, and whose terms are not known: the database was not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_grants: Vec<GrantId>,
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
    /// Too much is held at one time.
    #[error(
        "calls that ran at one time have more than {HELD_BYTES_MAX} bytes of records: bundle them one by one"
    )]
    TooMuch,
    /// The terms of grants can't be read.
    #[error("the terms of grants can't be read: {0}")]
    Database(#[from] DatabaseError),
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

/// Finds grants by their numbers; those that are not known are left out.
pub type FindGrants<'a> = &'a dyn Fn(&BTreeSet<GrantId>) -> Result<Vec<GrantHistory>, DatabaseError>;

/// What to bundle.
pub struct Source<'a> {
    /// The log's folder.
    pub folder: &'a Path,
    /// Its key.
    pub key: &'a VerifierKey,
    /// The same as text.
    pub key_text: &'a str,
    /// Where components are, by digest.
    pub packages: &'a Path,
    /// Where grants are.
    pub grants: FindGrants<'a>,
    /// Which calls.
    pub calls: Calls,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("folder", &self.folder)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

/// Writes a bundle for an age recipient. Reads the log once, and holds the records of calls that run at one time.
/// `progress` is told the bytes of the log that were read.
///
/// # Errors
/// [`BundleError`]; what was written then is not whole.
pub fn write(
    source: &Source<'_>,
    recipient: &str,
    out: impl Write,
    progress: impl FnMut(u64),
) -> Result<BundleManifest, BundleError> {
    let recipient: Recipient =
        recipient.parse().map_err(|why: &str| BundleError::Recipient(why.to_owned()))?;
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
            missing_grants: Vec::new(),
            files: BTreeMap::new(),
        },
    };
    archive.bytes(KEY, source.key_text.trim().as_bytes())?;
    let rotations = rotations_of(source.folder, source.key)?;
    if !rotations.rotations.is_empty() {
        let text = serde_json::to_vec(&rotations).expect("rotations are texts and numbers");
        archive.bytes(ROTATIONS, &text)?;
    }
    let mut gathering = Gathering {
        which: source.calls,
        prover: Prover::new(source.folder, source.key, None)?,
        archive,
        host: start::read(source.folder).map_err(BundleError::io("read", &start::path_of(source.folder)))?,
        found: BTreeSet::new(),
        running: BTreeMap::new(),
        held: 0,
        digests: BTreeSet::new(),
        grants: BTreeSet::new(),
    };
    gathering.read(source.folder, progress)?;
    let Gathering { mut archive, digests, grants, .. } = gathering;
    let known = (source.grants)(&grants)?;
    let is_known = |id: &GrantId| known.iter().any(|known| known.grant.id == *id);
    archive.manifest.missing_grants = grants.iter().copied().filter(|id| !is_known(id)).collect();
    archive.bytes(GRANTS, &serde_json::to_vec_pretty(&known).expect("grants are texts and numbers"))?;
    for digest in digests {
        archive.package(source.packages, digest)?;
    }
    archive.finish().map_err(stream)
}

/// One pass over the log.
struct Gathering<W: Write> {
    which: Calls,
    prover: Prover,
    archive: Archive<W>,
    /// The newest start of a host.
    host: Option<Line>,
    /// The calls that are asked for, so far.
    found: BTreeSet<CallId>,
    /// Those of them that have not ended.
    running: BTreeMap<CallId, Running>,
    /// Bytes of their records.
    held: usize,
    digests: BTreeSet<PackageDigest>,
    grants: BTreeSet<GrantId>,
}

/// A call that has not ended.
struct Running {
    host: Option<Line>,
    records: Vec<String>,
    bytes: usize,
}

impl<W: Write> Gathering<W> {
    fn read(&mut self, folder: &Path, mut progress: impl FnMut(u64)) -> Result<(), BundleError> {
        let mut reader = query::read(folder, Filter::default());
        while let Some(seq) = reader.next_line()? {
            let text = reader.line()?;
            progress(text.len() as u64 + 1);
            // No text of a guest reads so: its quotes are escaped.
            let begins = ["host_started", "call_admitted", "call_denied"];
            let may_begin = begins.iter().any(|name| text.contains(&format!("\"event\":\"{name}\"")));
            if !may_begin && self.running.is_empty() {
                continue;
            }
            let record: Record = reader.record()?;
            self.take(record, Line { seq, text: text.to_owned() })?;
            if let Calls::Of(call) = self.which
                && self.found.contains(&call)
                && self.running.is_empty()
            {
                // It has ended, and so have those that its tool made.
                return Ok(());
            }
        }
        if self.found.is_empty() {
            return Err(BundleError::NoCalls);
        }
        self.archive.manifest.unfinished.extend(std::mem::take(&mut self.running).into_keys());
        Ok(())
    }

    fn take(&mut self, record: Record, line: Line) -> Result<(), BundleError> {
        if let Event::HostStarted { .. } = record.event {
            self.host = Some(line);
        } else if let Event::CallDenied { call, parent, .. } = record.event {
            if self.is_asked_for(call, parent, record.time)? {
                self.prove(call, self.host.clone(), line, None)?;
            }
        } else if let Event::CallAdmitted { context, grants, .. } = &record.event {
            if self.is_asked_for(context.call, context.parent, record.time)? {
                self.grants.extend(grants);
                if self.grants.len() > BUNDLE_GRANTS_MAX {
                    return Err(BundleError::TooMany);
                }
                let running = Running { host: self.host.clone(), records: Vec::new(), bytes: 0 };
                self.running.insert(context.call, running);
                self.hold(context.call, line)?;
            }
        } else if let Event::CallFinished { context, .. } = &record.event {
            if let Some(Running { host, records, bytes }) = self.running.remove(&context.call) {
                self.held -= bytes;
                self.prove(context.call, host, line, Some(records))?;
            }
        } else if let Some(context) = record.event.context() {
            self.hold(context.call, line)?;
        }
        Ok(())
    }

    fn is_asked_for(
        &mut self,
        call: CallId,
        parent: Option<CallId>,
        time: Timestamp,
    ) -> Result<bool, BundleError> {
        let fits = match self.which {
            Calls::Of(asked) => call == asked || parent.is_some_and(|parent| self.found.contains(&parent)),
            Calls::Since(since) => time >= since,
        };
        if fits && self.found.len() == BUNDLE_CALLS_MAX {
            return Err(BundleError::TooMany);
        }
        Ok(fits && self.found.insert(call))
    }

    /// Keeps a record of a call until the call ends.
    fn hold(&mut self, call: CallId, line: Line) -> Result<(), BundleError> {
        let Some(running) = self.running.get_mut(&call) else { return Ok(()) };
        running.bytes += line.text.len();
        self.held += line.text.len();
        if running.bytes > RECORDS_BYTES_MAX {
            return Err(ProveError::TooLarge.into());
        }
        if self.held > HELD_BYTES_MAX {
            return Err(BundleError::TooMuch);
        }
        running.records.push(line.text);
        Ok(())
    }

    /// Writes the receipt of a call that has ended.
    fn prove(
        &mut self,
        call: CallId,
        host: Option<Line>,
        last: Line,
        records: Option<Vec<String>>,
    ) -> Result<(), BundleError> {
        let host = host.ok_or(ProveError::StartDropped { call })?;
        let receipt = match self.prover.receipt(call, Story { host, last, records }) {
            Ok(receipt) => receipt,
            Err(ProveError::NotCovered { .. }) => {
                self.archive.manifest.unfinished.push(call);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.digests.extend(receipt.facts.digest);
        let text = serde_json::to_vec(&receipt).expect("a receipt is texts and numbers");
        self.archive.bytes(&format!("receipts/{call}.json"), &text)?;
        self.archive.manifest.calls.push(call);
        Ok(())
    }
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
        let mut reader = Summed::new((&mut file).take(bytes));
        self.append(&name, bytes, &mut reader)?;
        if hex(&reader.finish().sha256) != digest.hex() {
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
    let (mut powers, mut grants) = (Vec::new(), None);
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
            powers.extend(
                Powers::of(&text).map_err(|reason| BundleError::NotWhole(format!("{name:?}: {reason}")))?,
            );
            hex(&Sha256::digest(&text))
        } else if name == GRANTS {
            let text = whole(&mut entry, &name, GRANTS_BYTES_MAX)?;
            let read = serde_json::from_slice::<Vec<GrantHistory>>(&text);
            grants = Some(read.map_err(|error| BundleError::NotWhole(format!("its grants: {error}")))?);
            hex(&Sha256::digest(&text))
        } else if name == ROTATIONS {
            let text = whole(&mut entry, &name, ROTATIONS_BYTES_MAX as u64)?;
            keys = TrustedKeys::with_rotations(key.clone(), &text)?;
            hex(&Sha256::digest(&text))
        } else if name == KEY {
            hex(&Sha256::digest(whole(&mut entry, &name, KEY_BYTES_MAX)?))
        } else {
            let mut summed = Summed::new((&mut entry).take(PACKAGE_BYTES_MAX));
            io::copy(&mut summed, &mut io::sink()).map_err(not_whole)?;
            let sum = hex(&summed.finish().sha256);
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
    let grants = grants.ok_or_else(|| BundleError::NotWhole("it has no grants".to_owned()))?;
    for power in &powers {
        power.check(&grants, &manifest.missing_grants)?;
    }
    Ok(manifest)
}

/// By which grants a call was allowed, as its first record says.
struct Powers {
    context: Arc<CallContext>,
    grants: Vec<GrantId>,
}

impl Powers {
    /// None of a call that was denied.
    fn of(receipt: &[u8]) -> Result<Option<Self>, String> {
        let receipt: Receipt = serde_json::from_slice(receipt).map_err(|error| error.to_string())?;
        let Some(first) = receipt.records.as_ref().and_then(|records| records.first()) else {
            // A call that was denied has none, and the receipt of another would not be all there is.
            return match receipt.facts.records {
                None => Ok(None),
                Some(_) => Err("it lacks the call's own records".to_owned()),
            };
        };
        let first: Record = serde_json::from_str(first).map_err(|error| error.to_string())?;
        let Event::CallAdmitted { context, grants, .. } = first.event else {
            return Err("it does not begin with the record that the call was admitted".to_owned());
        };
        Ok(Some(Self { context, grants }))
    }

    /// Whether its grants are there, and were in force for those bytes at its revision.
    fn check(&self, known: &[GrantHistory], missing: &[GrantId]) -> Result<(), BundleError> {
        let CallContext { call, package, digest, revision, .. } = &*self.context;
        for id in &self.grants {
            let found = known.iter().find(|known| known.grant.id == *id);
            let fits = match found {
                Some(GrantHistory { grant, created, revoked, .. }) => {
                    grant.package == *package
                        && grant.digest == *digest
                        && created <= revision
                        && revoked.is_none_or(|revoked| revoked > *revision)
                }
                None => missing.contains(id),
            };
            if !fits {
                return Err(BundleError::NotWhole(format!(
                    "grant {id}, which allowed call {call}, is missing, or is not one that could allow it"
                )));
            }
        }
        Ok(())
    }
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
