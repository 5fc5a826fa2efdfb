//! Writes a backup as a stream: each file as long as it was at the moment of the backup.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::{BLOCK_BYTES, BackupError, FORMAT, Manifest, Member, MemberName, Moment};
use crate::audit::payload::PayloadName;
use crate::audit::sum::Summed;
use crate::ids::{PackageDigest, Sequence, hex};

/// A file of the log, up to the end of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// How much of it belongs to the backup.
    pub bytes: u64,
}

/// What to write. Nothing in it changes any more, but that the files of the log grow.
#[derive(Debug)]
pub struct Source {
    /// What it is of.
    pub of: Moment,
    /// A copy of the database. Removed with this.
    pub database: tempfile::TempPath,
    /// The admin's limits of the host, if there are any: without them a restored host would allow more.
    pub limits: Option<Part>,
    /// How the log is kept, if the admin says.
    pub audit_settings: Option<Part>,
    /// How it is served, if the admin says.
    pub serve_settings: Option<Part>,
    /// What API keys are hashed with.
    pub api_key: Option<Part>,
    /// The components.
    pub packages: Vec<(PackageDigest, PathBuf)>,
    /// The log's segments, by their first record.
    pub segments: Vec<(Sequence, Part)>,
    /// Those that are closed and compressed.
    pub closed_segments: Vec<(Sequence, Part)>,
    /// The hashes of records whose text was dropped, if any was.
    pub hashes: Option<Part>,
    /// The host's start before the text that is kept, if text was dropped.
    pub start: Option<Part>,
    /// What crashes tore off the log.
    pub quarantine: Vec<(String, Part)>,
    /// What grants have kept whole of calls, encrypted.
    pub payloads: Vec<(PayloadName, Part)>,
    /// About how many bytes it has in all.
    pub bytes: u64,
}

/// Writes a backup, its manifest last.
///
/// # Errors
/// [`BackupError`]: what was written then is not a backup, and can't be taken for one.
pub fn write(source: &Source, out: impl Write) -> Result<Manifest, BackupError> {
    let mut archive = Archive { tar: tar::Builder::new(out), of: &source.of, members: Vec::new() };
    let whole = |path: &std::path::Path| -> Result<Part, BackupError> {
        let bytes = std::fs::metadata(path).map_err(BackupError::io("measure", path))?.len();
        Ok(Part { path: path.to_owned(), bytes })
    };
    archive.file(&MemberName::Database, &whole(&source.database)?)?;
    let settings = [
        (MemberName::Limits, &source.limits),
        (MemberName::AuditSettings, &source.audit_settings),
        (MemberName::ServeSettings, &source.serve_settings),
        (MemberName::ApiKey, &source.api_key),
        (MemberName::Hashes, &source.hashes),
        (MemberName::Start, &source.start),
    ];
    for (name, part) in settings {
        if let Some(part) = part {
            archive.file(&name, part)?;
        }
    }
    for (digest, path) in &source.packages {
        archive.file(&MemberName::Package(*digest), &whole(path)?)?;
    }
    for (first, part) in &source.closed_segments {
        archive.file(&MemberName::ClosedSegment(*first), part)?;
    }
    for (first, part) in &source.segments {
        archive.file(&MemberName::Segment(*first), part)?;
    }
    for (file, part) in &source.quarantine {
        let name = MemberName::Quarantine(file.clone());
        // What has a name of its own was put there by somebody else.
        if MemberName::parse(&name.text()).is_some() {
            archive.file(&name, part)?;
        }
    }
    for (name, part) in &source.payloads {
        archive.file(&MemberName::Payload(*name), part)?;
    }
    archive.finish()
}

struct Archive<'a, W: Write> {
    tar: tar::Builder<W>,
    of: &'a Moment,
    members: Vec<Member>,
}

impl<W: Write> Archive<'_, W> {
    fn file(&mut self, name: &MemberName, part: &Part) -> Result<(), BackupError> {
        let file = File::open(&part.path).map_err(BackupError::io("open", &part.path))?;
        let mut reader = Summed::new(file.take(part.bytes));
        self.append(name, part.bytes, &mut reader)?;
        let sum = reader.finish();
        if sum.bytes != part.bytes {
            let error = std::io::Error::other("it became shorter while it was read");
            return Err(BackupError::io("read", &part.path)(error));
        }
        let sha256 = hex(&sum.sha256);
        if let MemberName::Package(digest) = name
            && digest.hex() != sha256
        {
            let error = std::io::Error::other("it was altered; add the package again");
            return Err(BackupError::io("read", &part.path)(error));
        }
        self.members.push(Member { name: name.text(), bytes: part.bytes, sha256 });
        Ok(())
    }

    fn finish(mut self) -> Result<Manifest, BackupError> {
        let members = std::mem::take(&mut self.members);
        let manifest = Manifest { format: FORMAT, of: self.of.clone(), members };
        let text = serde_json::to_vec_pretty(&manifest).expect("text and numbers always serialise");
        self.append(&MemberName::Manifest, text.len() as u64, &mut text.as_slice())?;
        let stream = |error| BackupError::Stream(Arc::new(error));
        let mut out = self.tar.into_inner().map_err(stream)?;
        out.flush().map_err(stream)?;
        Ok(manifest)
    }

    fn append(&mut self, name: &MemberName, bytes: u64, data: &mut dyn Read) -> Result<(), BackupError> {
        let stream = |error| BackupError::Stream(Arc::new(error));
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_path(name.text()).map_err(stream)?;
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.of.made_at.as_second()).unwrap_or(0));
        header.set_cksum();
        let data = std::io::BufReader::with_capacity(BLOCK_BYTES, data);
        self.tar.append(&header, data).map_err(stream)
    }
}
