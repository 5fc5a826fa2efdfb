//! The files of the log: their names, how they are made, written and read line by line.
//!
//! Knows lines but not what is in them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::line::LINE_BYTES_MAX;
use crate::ids::Sequence;

/// What the writer and the syncer need of a segment. A trait so that tests can have disks that fail.
pub(super) trait SegmentFile: Send + Sync {
    /// As `write(2)` on a file opened for appending: may write less than asked.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// As `fdatasync(2)`. Called no more once it has failed: the kernel may have dropped the pages.
    fn sync(&self) -> io::Result<()>;
}

impl SegmentFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Writes all of `bytes`, or says why not. On an error a part may have been written.
pub(super) fn write_all(file: &dyn SegmentFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its first record's sequence number: the file's name.
    pub(super) first: Sequence,
    pub(super) path: PathBuf,
}

/// The path of the segment that begins with record `first`.
pub(super) fn path_of(folder: &Path, first: Sequence) -> PathBuf {
    folder.join(format!("{:020}.jsonl", first.0))
}

/// All segments in order. Other files are left alone.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(digits) = name.to_str().and_then(|name| name.strip_suffix(".jsonl")) else { continue };
        if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // Twenty digits can be more than a u64 holds; such a file is not ours.
        let Ok(first) = digits.parse().map(Sequence) else { continue };
        segments.push(Segment { first, path: folder.join(name) });
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Makes a folder that only its owner may enter, if it is not there, so that it outlives a crash.
pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => folder.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes an empty segment, so that it outlives a crash.
pub(super) fn create(folder: &Path, first: Sequence) -> io::Result<File> {
    let file = new_file(&path_of(folder, first))?;
    sync_folder(folder)?;
    Ok(file)
}

/// Opens a segment for appending.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).open(path)
}

/// Copies what stands in `from` from `offset` on into a new file, and waits for the disk.
pub(super) fn copy_rest(from: &Path, offset: u64, to: &Path) -> io::Result<u64> {
    let mut source = File::open(from)?;
    source.seek(SeekFrom::Start(offset))?;
    let mut target = new_file(to)?;
    let copied = io::copy(&mut source, &mut target)?;
    target.sync_all()?;
    to.parent().map_or(Ok(()), sync_folder)?;
    Ok(copied)
}

/// Cuts a segment, and waits for the disk.
pub(super) fn truncate(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

/// The last bytes of a file, at most `max`, and whether that is all of it.
pub(super) fn last_bytes(path: &Path, max: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(u64::try_from(max).unwrap_or(u64::MAX));
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(length - start).read_to_end(&mut bytes)?;
    Ok((bytes, start == 0))
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What [`Lines::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole line: see [`Lines::line`].
    Line,
    /// The file ends within a line. More may come.
    Torn,
    /// A line is longer than [`LINE_BYTES_MAX`].
    TooLong,
    /// The file ends after a line. More may come.
    End,
}

/// Reads a file line by line, holding no more than one line of bounded length. It can go on after
/// the end when the file has grown.
#[derive(Debug)]
pub(super) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Whether `line` was given out, so that the next one replaces it.
    complete: bool,
    offset: u64,
}

impl Lines {
    /// Reads `path` from byte `offset` on, which is where a line begins.
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let reader = BufReader::with_capacity(64 << 10, file);
        Ok(Self { reader, line: Vec::new(), complete: false, offset })
    }

    /// Goes to the next line.
    pub(super) fn next(&mut self) -> io::Result<Found> {
        if self.complete {
            self.offset = self.end_offset();
            self.line.clear();
            self.complete = false;
        }
        let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        (&mut self.reader).take(room).read_until(b'\n', &mut self.line)?;
        Ok(if self.line.len() > LINE_BYTES_MAX {
            Found::TooLong
        } else if self.line.ends_with(b"\n") {
            self.complete = true;
            Found::Line
        } else if self.line.is_empty() {
            Found::End
        } else {
            Found::Torn
        })
    }

    /// The line found last, with its newline.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Where the line found last begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the line found last ends.
    pub(super) fn end_offset(&self) -> u64 {
        self.offset + u64::try_from(self.line.len()).unwrap_or(u64::MAX)
    }
}
