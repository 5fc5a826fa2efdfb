//! The files of the log: their names, how they are made, written and read line by line.
//!
//! Knows lines but not what is in them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, new_file, sync_folder};
use super::line::LINE_BYTES_MAX;
use crate::ids::Sequence;

/// The ending of a segment's name, and of one that was closed and compressed.
const PLAIN: &str = ".jsonl";
const COMPRESSED: &str = ".jsonl.zst";

/// The most bytes of a frame's header (RFC 8878, 3.1.1.1).
const FRAME_HEAD_BYTES: usize = 18;

/// How much is read at once.
const BLOCK_BYTES: usize = 64 << 10;

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its first record's sequence number: the file's name.
    pub(super) first: Sequence,
    pub(super) path: PathBuf,
    /// Whether it is closed and compressed (zstd).
    pub(super) is_compressed: bool,
}

impl Segment {
    /// The one that begins with record `first` and can grow.
    pub(super) fn plain(folder: &Path, first: Sequence) -> Self {
        Self { first, path: path_of(folder, first), is_compressed: false }
    }

    /// The segment that a file's name is of, if it is one's.
    fn named(folder: &Path, name: &str) -> Option<Self> {
        let (digits, is_compressed) = match name.strip_suffix(PLAIN) {
            Some(digits) => (digits, false),
            None => (name.strip_suffix(COMPRESSED)?, true),
        };
        if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Twenty digits can be more than a u64 holds; such a file is not ours.
        let first = digits.parse().map(Sequence).ok()?;
        Some(Self { first, path: folder.join(name), is_compressed })
    }
}

/// The path of the segment that begins with record `first`, while it can grow.
pub(super) fn path_of(folder: &Path, first: Sequence) -> PathBuf {
    folder.join(format!("{:020}{PLAIN}", first.0))
}

/// The path of it once it is compressed.
pub(super) fn compressed_path_of(folder: &Path, first: Sequence) -> PathBuf {
    folder.join(format!("{:020}{COMPRESSED}", first.0))
}

/// All segments in order. One that is there in both forms, as a crash may leave it, is the plain one. Other
/// files are left alone.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        segments.extend(name.to_str().and_then(|name| Segment::named(folder, name)));
    }
    segments.sort_by_key(|segment| (segment.first, segment.is_compressed));
    segments.dedup_by_key(|segment| segment.first);
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
pub(super) fn create(disk: &dyn Disk, folder: &Path, first: Sequence) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(&path_of(folder, first))?;
    disk.sync_folder(folder)?;
    Ok(file)
}

/// The text of a segment from byte `offset` on.
pub(super) fn text_of(segment: &Segment, offset: u64) -> io::Result<Box<dyn BufRead + Send + Sync>> {
    let mut file = File::open(&segment.path)?;
    if !segment.is_compressed {
        file.seek(SeekFrom::Start(offset))?;
        return Ok(Box::new(BufReader::with_capacity(BLOCK_BYTES, file)));
    }
    let mut reader = BufReader::with_capacity(BLOCK_BYTES, zstd::Decoder::new(file)?);
    let skipped = io::copy(&mut (&mut reader).take(offset), &mut io::sink())?;
    if skipped < offset {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Box::new(reader))
}

/// How many bytes of text a segment has; of a compressed one that does not say, none.
pub(super) fn text_bytes(segment: &Segment) -> io::Result<u64> {
    let mut file = File::open(&segment.path)?;
    if !segment.is_compressed {
        return Ok(file.metadata()?.len());
    }
    let mut head = [0; FRAME_HEAD_BYTES];
    let count = file.read(&mut head)?;
    Ok(zstd::zstd_safe::get_frame_content_size(&head[..count]).ok().flatten().unwrap_or(0))
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

/// Reads a segment line by line, holding no more than one line of bounded length. One that is not
/// compressed can be read on after its end when it has grown.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send + Sync>,
    line: Vec<u8>,
    /// Whether `line` was given out, so that the next one replaces it.
    complete: bool,
    offset: u64,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Lines {
    /// Reads a segment from byte `offset` of its text on, which is where a line begins.
    pub(super) fn open(segment: &Segment, offset: u64) -> io::Result<Self> {
        let reader = text_of(segment, offset)?;
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
