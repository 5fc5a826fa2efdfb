//! Reads a backup: checks it whole, or puts it into an empty data folder.
//!
//! Anybody may have made the file. Nothing of it names a path: names are parsed, and paths made anew.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{
    AUDIT, BLOCK_BYTES, BackupError, DATABASE, FORMAT, MANIFEST_BYTES_MAX, MEMBERS_MAX, Manifest, Member,
    MemberName, PACKAGES, PAYLOADS, QUARANTINE,
};
use crate::config::DataFolder;
use crate::ids::hex;
use crate::platform;

/// Reads a backup from its beginning to its end, and changes nothing. `progress` gets the number of
/// bytes with each piece that was read.
///
/// # Errors
/// [`BackupError::NotWhole`] if anything is missing, too much, or not what its sum says, and `Newer`.
pub fn verify(
    file: &Path,
    schema_known: i64,
    progress: &mut dyn FnMut(u64),
) -> Result<Manifest, BackupError> {
    let manifest = walk(file, &mut |_| Ok(Box::new(io::sink())), progress)?;
    let newer = |what, found, known| {
        let version = manifest.of.version.clone();
        Err(BackupError::Newer { version, what, found, known })
    };
    if manifest.format > FORMAT {
        return newer("archive's form", i64::from(manifest.format), i64::from(FORMAT));
    }
    if manifest.of.schema > schema_known {
        return newer("schema", manifest.of.schema, schema_known);
    }
    Ok(manifest)
}

/// Puts a backup that was verified into a data folder in which nothing is yet but what
/// [`DataFolder::take`] makes. Until it is all there, the folder is refused as half restored.
///
/// # Errors
/// [`BackupError`]: the folder is then to be deleted.
pub fn restore(
    file: &Path,
    folder: &DataFolder,
    progress: &mut dyn FnMut(u64),
) -> Result<Manifest, BackupError> {
    let paths = folder.paths();
    let needed = std::fs::metadata(file).map_err(BackupError::io("measure", file))?.len();
    let free = platform::free_bytes(paths.root()).map_err(BackupError::io("measure", paths.root()))?;
    if needed > free {
        return Err(BackupError::NoRoom { path: paths.root().to_owned(), needed, free });
    }
    let restoring = paths.restoring();
    let folders =
        [restoring.clone(), restoring.join(PACKAGES), restoring.join(AUDIT), restoring.join(QUARANTINE)];
    for folder in &folders {
        make_folder(folder)?;
    }
    let mut keys = BTreeSet::new();
    let mut sink = |name: &MemberName| -> Result<Box<dyn Sink>, BackupError> {
        if *name == MemberName::Manifest {
            return Ok(Box::new(io::sink()));
        }
        let path = restoring.join(name.text());
        if let MemberName::Payload(payload) = name
            && keys.insert(payload.key)
        {
            if keys.len() == 1 {
                make_folder(&restoring.join(PAYLOADS))?;
            }
            make_folder(&restoring.join(PAYLOADS).join(payload.key.to_string()))?;
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        Ok(Box::new(file.map_err(BackupError::io("make", &path))?))
    };
    let manifest = walk(file, &mut sink, progress)?;
    // The database last: whatever is missing without it is missing in a folder that is refused.
    let quarantine = paths.root().join(QUARANTINE);
    make_folder(&quarantine)?;
    let payloads: Vec<_> = keys.iter().map(|key| paths.payloads().join(key.to_string())).collect();
    if !payloads.is_empty() {
        make_folder(&paths.payloads())?;
    }
    payloads.iter().try_for_each(|folder| make_folder(folder))?;
    let database = |member: &&Member| member.name == DATABASE;
    let others = manifest.members.iter().filter(|member| member.name != DATABASE);
    for member in others.chain(manifest.members.iter().filter(database)) {
        let (from, to) = (restoring.join(&member.name), paths.root().join(&member.name));
        std::fs::rename(&from, &to).map_err(BackupError::io("put in its place", &to))?;
    }
    for folder in &payloads {
        sync_folder(folder)?;
        let restored = restoring.join(PAYLOADS).join(folder.file_name().unwrap_or_default());
        std::fs::remove_dir(&restored).map_err(BackupError::io("remove", &restored))?;
    }
    if !payloads.is_empty() {
        sync_folder(&paths.payloads())?;
        let restored = restoring.join(PAYLOADS);
        std::fs::remove_dir(&restored).map_err(BackupError::io("remove", &restored))?;
    }
    for folder in [paths.root(), &paths.packages(), &paths.audit(), &quarantine] {
        sync_folder(folder)?;
    }
    for folder in folders.iter().rev() {
        std::fs::remove_dir(folder).map_err(BackupError::io("remove", folder))?;
    }
    sync_folder(paths.root())?;
    Ok(manifest)
}

fn make_folder(folder: &Path) -> Result<(), BackupError> {
    DirBuilder::new().mode(0o700).create(folder).map_err(BackupError::io("make", folder))
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(BackupError::io("sync", folder))
}

/// Where a member goes.
trait Sink: Write {
    /// Waits for the disk.
    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for io::Sink {}

impl Sink for File {
    fn settle(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

type OpenSink<'a> = &'a mut dyn FnMut(&MemberName) -> Result<Box<dyn Sink>, BackupError>;

/// Goes through all members, and checks each against the manifest at the end.
fn walk(file: &Path, open: OpenSink<'_>, progress: &mut dyn FnMut(u64)) -> Result<Manifest, BackupError> {
    let source = File::open(file).map_err(BackupError::io("open", file))?;
    let is_file = source.metadata().map_err(BackupError::io("look at", file))?.is_file();
    if !is_file {
        return Err(not_whole("it is no file"));
    }
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(BLOCK_BYTES, source));
    let mut names = BTreeSet::new();
    let mut members = Vec::new();
    let mut manifest: Option<Manifest> = None;
    // Raw: what would follow a link, lengthen a name or leave holes in a file comes as a member of its
    // own kind, and is refused.
    for entry in archive.entries().map_err(|error| not_whole(error.to_string()))?.raw(true) {
        let mut entry = entry.map_err(|error| not_whole(error.to_string()))?;
        let name = member_name(&entry)?;
        let text = name.text();
        if manifest.is_some() {
            return Err(not_whole(format!("{text} stands after the manifest")));
        }
        if !names.insert(text.clone()) {
            return Err(not_whole(format!("{text} stands in it twice")));
        }
        if names.len() > MEMBERS_MAX {
            return Err(not_whole(format!("it has more than {MEMBERS_MAX} files")));
        }
        let bytes = entry.header().entry_size().map_err(|error| not_whole(error.to_string()))?;
        if bytes > name.bytes_max() {
            return Err(not_whole(format!("{text} has {bytes} bytes, at most {}", name.bytes_max())));
        }
        if name == MemberName::Manifest {
            manifest = Some(read_manifest(&mut entry, bytes)?);
            continue;
        }
        let mut sink = open(&name)?;
        let sha256 = copy(&mut entry, &mut *sink, bytes, &text, progress)?;
        if let MemberName::Package(digest) = name
            && digest.hex() != sha256
        {
            return Err(not_whole(format!("{text} is not what its name says")));
        }
        members.push(Member { name: text, bytes, sha256 });
    }
    let manifest = manifest.ok_or_else(|| not_whole("its manifest is missing, so it ends too early"))?;
    compare(&manifest, &members)?;
    Ok(manifest)
}

fn compare(manifest: &Manifest, members: &[Member]) -> Result<(), BackupError> {
    for (said, found) in manifest.members.iter().zip(members) {
        if said != found {
            return Err(not_whole(format!("{} is not what the manifest says", found.name)));
        }
    }
    if manifest.members.len() != members.len() {
        let (said, found) = (manifest.members.len(), members.len());
        return Err(not_whole(format!("it has {found} files, the manifest names {said}")));
    }
    if !members.iter().any(|member| member.name == DATABASE) {
        return Err(not_whole("it has no database"));
    }
    Ok(())
}

fn member_name(entry: &tar::Entry<'_, impl Read>) -> Result<MemberName, BackupError> {
    let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    if entry.header().entry_type() != tar::EntryType::Regular {
        return Err(not_whole(format!("{shown:?} is a link or something else that no backup has")));
    }
    MemberName::parse(&shown).ok_or_else(|| not_whole(format!("{shown:?} belongs to no backup")))
}

fn read_manifest(entry: &mut impl Read, bytes: u64) -> Result<Manifest, BackupError> {
    let mut text = Vec::new();
    entry.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(|error| not_whole(error.to_string()))?;
    if text.len() as u64 != bytes {
        return Err(not_whole("it ends within its manifest"));
    }
    serde_json::from_slice(&text).map_err(|error| not_whole(format!("its manifest can't be read: {error}")))
}

/// Copies a member, and gives the SHA-256 of what it held.
fn copy(
    entry: &mut impl Read,
    sink: &mut dyn Sink,
    bytes: u64,
    name: &str,
    progress: &mut dyn FnMut(u64),
) -> Result<String, BackupError> {
    let mut sum = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut copied = 0;
    loop {
        let count = entry.read(&mut block).map_err(|error| not_whole(format!("{name}: {error}")))?;
        if count == 0 {
            break;
        }
        sum.update(&block[..count]);
        sink.write_all(&block[..count]).map_err(BackupError::io("write", Path::new(name)))?;
        copied += count as u64;
        progress(count as u64);
    }
    if copied != bytes {
        return Err(not_whole(format!("it ends within {name}")));
    }
    sink.settle().map_err(BackupError::io("sync", Path::new(name)))?;
    Ok(hex(&sum.finalize()))
}

fn not_whole(reason: impl Into<String>) -> BackupError {
    BackupError::NotWhole(reason.into())
}
