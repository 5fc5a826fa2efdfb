//! Reads the log: all of it, one call's part, or its end. Holds one line at a time, and sees only
//! whole lines.
//!
//! Never changes anything, and needs no running host. What it finds wrong it names, and stops.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::event::Record;
use super::line::sequence_of;
use super::recovery;
use super::segment::{self, Found, Lines, Segment};
use super::start;
use super::tree;
use crate::ids::{CallId, Sequence};

/// How many records `audit tail` shows when nobody says otherwise.
pub const TAIL_RECORDS: usize = 100;

const BLOCK_BYTES: usize = 64 << 10;

/// How often something is tried again that the archivist was faster with. A segment has two forms and an end.
const TRIES_MAX: usize = 10;

/// Which records to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this call.
    pub call: Option<CallId>,
    /// Only this one and those after it.
    pub from: Option<Sequence>,
}

/// Why the log could not be read on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or folder could not be read: the host's or its disk's fault.
    #[error("could not read {path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The text of records that were to be read next is not there any more: retention dropped it meanwhile.
    #[error(
        "the text of the records from {from} up to {first} was dropped while the log was read: begin anew, with what \
         is kept"
    )]
    Dropped {
        /// The first of them.
        from: Sequence,
        /// The first record whose text is kept.
        first: Sequence,
    },
    /// A line is not the record that belongs there: the log was changed or damaged.
    #[error("the audit log is damaged at byte {offset} of {path}: {reason}", path = path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl ReadError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source: Arc::new(source) }
    }
}

/// Reads the log in `folder` from its beginning, or from `filter.from`.
pub fn read(folder: &Path, filter: Filter) -> Reader {
    Reader::new(folder, filter)
}

/// Reads the last `count` records, and then, as the log grows, those after them. Finds its beginning
/// from the end of the log, so a long log costs no more than a short one.
///
/// # Errors
/// [`ReadError::Io`].
pub fn tail(folder: &Path, count: usize) -> Result<Reader, ReadError> {
    for _ in 1..TRIES_MAX {
        match tail_of(folder, count, &segments(folder)?) {
            // Even the newest of what was there: the log's end is elsewhere now.
            Err(ReadError::Dropped { .. }) => {}
            found => return found,
        }
    }
    tail_of(folder, count, &segments(folder)?)
}

/// The same, of a log whose segments were these a moment ago.
pub(super) fn tail_of(folder: &Path, count: usize, listed: &[Segment]) -> Result<Reader, ReadError> {
    let mut reader = Reader::new(folder, Filter::default());
    let mut wanted = count;
    for segment in listed.iter().rev() {
        let found = with_listed(folder, segment, |segment| line_from_end(segment, wanted));
        let found = found.and_then(|(offset, found)| Ok((reader.open(segment, offset)?, found)));
        let (place, found) = match found {
            // What is before it is not kept either.
            Err(ReadError::Dropped { .. }) if !matches!(reader.place, Place::Start) => break,
            found => found?,
        };
        reader.place = place;
        wanted -= found;
        if wanted == 0 {
            break;
        }
    }
    Ok(reader)
}

/// How many bytes the log's text has, whatever form its segments have.
///
/// # Errors
/// [`ReadError::Io`].
pub fn text_bytes(folder: &Path) -> Result<u64, ReadError> {
    text_bytes_of(folder, &segments(folder)?)
}

/// The same, of a log whose segments were these a moment ago.
pub(super) fn text_bytes_of(folder: &Path, listed: &[Segment]) -> Result<u64, ReadError> {
    let bytes = |segment: &Segment| match with_listed(folder, segment, segment::text_bytes) {
        Err(ReadError::Dropped { .. }) => Ok(0),
        bytes => bytes,
    };
    listed.iter().map(bytes).sum()
}

/// Does something with a segment that was listed; if it was compressed since, with its new form.
///
/// # Errors
/// [`ReadError::Dropped`] if its text was dropped since.
pub(super) fn with_listed<T>(
    folder: &Path,
    segment: &Segment,
    mut work: impl FnMut(&Segment) -> io::Result<T>,
) -> Result<T, ReadError> {
    let mut form = segment.clone();
    let mut tries = 0;
    loop {
        tries += 1;
        match work(&form) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES_MAX => {
                let listed = segments(folder)?;
                match (listed.iter().find(|other| other.first == segment.first), listed.first()) {
                    (Some(found), _) => form = found.clone(),
                    (None, Some(kept)) if kept.first > segment.first => {
                        return Err(ReadError::Dropped { from: segment.first, first: kept.first });
                    }
                    (None, _) => return Err(ReadError::io(&form.path, error)),
                }
            }
            done => return done.map_err(|error| ReadError::io(&form.path, error)),
        }
    }
}

/// The files of a log, as far as they hold whole records now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogParts {
    /// Segments by their first record.
    pub segments: Vec<LogPart>,
    /// The hashes of records whose text was dropped: the file, and how much of it.
    pub hashes: Option<(PathBuf, u64)>,
    /// The host's start before the text that is kept: the file, and how much of it.
    pub start: Option<(PathBuf, u64)>,
    /// What crashes tore off, by name.
    pub quarantine: Vec<(String, (PathBuf, u64))>,
}

/// One segment, as far as it holds whole records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// Its first record.
    pub first: Sequence,
    /// Whether it is closed and compressed.
    pub is_compressed: bool,
    /// The file.
    pub path: PathBuf,
    /// How much of it.
    pub bytes: u64,
}

/// The files of the log in `folder`. They only grow, so what is named here stays as it is.
///
/// # Errors
/// [`ReadError::Io`].
pub fn parts(folder: &Path) -> Result<LogParts, ReadError> {
    let mut parts = LogParts::default();
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| ReadError::io(&path, error)
    };
    for segment in segments(folder)? {
        let Segment { first, path, is_compressed } = segment;
        let bytes = if is_compressed { length(&path) } else { whole_lines(&path) };
        let bytes = bytes.map_err(io(&path))?;
        parts.segments.push(LogPart { first, is_compressed, path, bytes });
    }
    let tree = tree::path_of(folder);
    // Of records whose text was dropped nothing else is left.
    if let Some(first) = parts.segments.first().map(|part| part.first.0).filter(|first| *first > 0) {
        parts.hashes = Some((tree, tree::bytes_of(first)));
        let start = start::path_of(folder);
        parts.start = match length(&start) {
            Ok(bytes) => Some((start, bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(ReadError::io(&start, error)),
        };
    }
    let quarantine = folder.join(recovery::QUARANTINE);
    let entries = match fs::read_dir(&quarantine) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(parts),
        Err(error) => return Err(ReadError::io(&quarantine, error)),
    };
    for entry in entries {
        let entry = entry.map_err(io(&quarantine))?;
        let metadata = entry.metadata().map_err(io(&entry.path()))?;
        if let Ok(name) = entry.file_name().into_string()
            && metadata.is_file()
        {
            parts.quarantine.push((name, (entry.path(), metadata.len())));
        }
    }
    parts.quarantine.sort();
    Ok(parts)
}

/// All segments; none before the host's first start.
pub(super) fn segments(folder: &Path) -> Result<Vec<Segment>, ReadError> {
    match segment::list(folder) {
        Ok(segments) => Ok(segments),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(ReadError::io(folder, error)),
    }
}

fn length(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|metadata| metadata.len())
}

/// How many bytes of a file are whole lines.
fn whole_lines(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BLOCK_BYTES];
    while end > 0 {
        let start = end.saturating_sub(u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX));
        let block = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK_BYTES)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(newline) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + u64::try_from(newline + 1).unwrap_or(0));
        }
        end = start;
    }
    Ok(0)
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineAt {
    pub(super) seq: Sequence,
    /// The first record of its segment.
    pub(super) segment: Sequence,
    /// Where in the segment's text it begins.
    pub(super) offset: u64,
    /// Where it ends, its newline included.
    pub(super) end: u64,
}

/// An iterator over records. After `None` it can be asked again: it goes on when the log has grown.
/// After an error it is done.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    filter: Filter,
    /// The filter's call as text, which its lines contain.
    call_text: Option<String>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// No segment was opened yet.
    Start,
    In {
        path: PathBuf,
        first: Sequence,
        lines: Lines,
        /// The next record; unknown after a jump into the midst of a segment.
        expected: Option<Sequence>,
    },
    Failed,
}

impl Place {
    fn open(segment: &Segment, offset: u64) -> io::Result<Self> {
        let lines = Lines::open(segment, offset)?;
        let expected = (offset == 0).then_some(segment.first);
        Ok(Place::In { path: segment.path.clone(), first: segment.first, lines, expected })
    }
}

impl Iterator for Reader {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance().transpose();
        if let Some(Err(_)) = item {
            self.place = Place::Failed;
        }
        item
    }
}

impl Reader {
    fn new(folder: &Path, filter: Filter) -> Self {
        let call_text = filter.call.map(|call| call.to_string());
        Self { folder: folder.to_owned(), filter, call_text, place: Place::Start }
    }

    /// Goes on after a line, whose place is known: at `offset` of a segment stands record `next`, or will.
    pub(super) fn at(
        folder: &Path,
        segment: Sequence,
        offset: u64,
        next: Sequence,
    ) -> Result<Self, ReadError> {
        let mut reader = Self::new(folder, Filter::default());
        let segments = reader.segments()?;
        match segments.iter().find(|found| found.first == segment) {
            Some(found) => {
                reader.place = match reader.open(found, offset) {
                    Err(ReadError::Dropped { from, first }) => {
                        return Err(ReadError::Dropped { from: from.max(next), first });
                    }
                    opened => opened?,
                };
                if let Place::In { expected, .. } = &mut reader.place {
                    *expected = Some(next);
                }
            }
            None => reader.filter.from = Some(next),
        }
        Ok(reader)
    }

    /// The next record that the filter lets through, or none for now.
    fn advance(&mut self) -> Result<Option<Record>, ReadError> {
        while let Some(seq) = self.next_line()? {
            if let Some(record) = self.parse(seq)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Goes to the next line, whatever the filter says of it. None at the end, for now.
    pub(super) fn next_line(&mut self) -> Result<Option<Sequence>, ReadError> {
        loop {
            let Place::In { path, lines, expected, .. } = &mut self.place else {
                if self.start()? {
                    continue;
                }
                return Ok(None);
            };
            match lines.next().map_err(|error| ReadError::io(path, error))? {
                Found::Line => {}
                Found::TooLong => return Err(self.damaged("the line is too long")),
                Found::End => {
                    if self.next_segment()? {
                        continue;
                    }
                    return Ok(None);
                }
                Found::Torn => return self.torn().map(|()| None),
            }
            let Some(seq) = sequence_of(lines.line()) else {
                return Err(self.damaged("the line does not begin with a sequence number"));
            };
            if let Some(expected) = expected.filter(|expected| *expected != seq) {
                return Err(self.damaged(&format!("record {seq} stands where {expected} is expected")));
            }
            *expected = Some(Sequence(seq.0.saturating_add(1)));
            return Ok(Some(seq));
        }
    }

    /// Where the line stands that [`next_line`](Self::next_line) went to.
    pub(super) fn line_at(&self, seq: Sequence) -> LineAt {
        match &self.place {
            Place::In { first, lines, .. } => {
                LineAt { seq, segment: *first, offset: lines.offset(), end: lines.end_offset() }
            }
            Place::Start | Place::Failed => LineAt { seq, segment: Sequence(0), offset: 0, end: 0 },
        }
    }

    /// The line that [`next_line`](Self::next_line) went to, without its newline: what is signed.
    pub(super) fn line(&self) -> Result<&str, ReadError> {
        let Place::In { lines, .. } = &self.place else { return Ok("") };
        let line = lines.line().strip_suffix(b"\n").unwrap_or(lines.line());
        std::str::from_utf8(line).map_err(|error| self.damaged(&error.to_string()))
    }

    /// The record on the line that [`next_line`](Self::next_line) went to.
    pub(super) fn record(&self) -> Result<Record, ReadError> {
        serde_json::from_str(self.line()?)
            .map_err(|error| self.damaged(&format!("the line is not a record: {error}")))
    }

    /// The record on the current line, if the filter lets it through. The others are skipped unparsed.
    fn parse(&self, seq: Sequence) -> Result<Option<Record>, ReadError> {
        if self.filter.from.is_some_and(|from| seq < from) {
            return Ok(None);
        }
        let line = self.line()?;
        if self.call_text.as_ref().is_some_and(|call| !line.contains(call)) {
            return Ok(None);
        }
        let record = self.record()?;
        let fits = self.filter.call.is_none_or(|call| record.event.call() == Some(call));
        Ok(fits.then_some(record))
    }

    /// Opens the segment to begin with. Returns whether there is one.
    fn start(&mut self) -> Result<bool, ReadError> {
        if matches!(self.place, Place::Failed) {
            return Ok(false);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.start_in(&self.segments()?) {
                // It begins with what is kept, and that is less now.
                Err(ReadError::Dropped { .. }) if tries < TRIES_MAX => {}
                Ok(Some(place)) => {
                    self.place = place;
                    return Ok(true);
                }
                Ok(None) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn start_in(&self, listed: &[Segment]) -> Result<Option<Place>, ReadError> {
        let from = self.filter.from.unwrap_or(Sequence(0));
        let before = listed.iter().rev().find(|segment| segment.first <= from);
        before.or(listed.first()).map(|segment| self.open(segment, 0)).transpose()
    }

    /// Goes to the segment after the current one. Returns whether there is one.
    fn next_segment(&mut self) -> Result<bool, ReadError> {
        let Place::In { first, expected, .. } = &self.place else { return Ok(false) };
        let (first, expected) = (*first, *expected);
        let segments = self.segments()?;
        let Some(segment) = segments.iter().find(|segment| segment.first > first).cloned() else {
            return Ok(false);
        };
        if let Some(expected) = expected.filter(|expected| *expected != segment.first) {
            // What retention drops are the first segments.
            if segments.first().is_some_and(|kept| kept.first == segment.first && kept.first > expected) {
                return Err(ReadError::Dropped { from: expected, first: segment.first });
            }
            return Err(self.damaged(&format!("record {expected} is missing after it")));
        }
        self.place = self.open(&segment, 0)?;
        Ok(true)
    }

    /// An unfinished line is not there yet, if the writer can still be about to finish it.
    fn torn(&self) -> Result<(), ReadError> {
        let Place::In { first, .. } = &self.place else { return Ok(()) };
        if self.segments()?.iter().any(|segment| segment.first > *first) {
            return Err(self.damaged("the segment ends within a line, and is not the last"));
        }
        Ok(())
    }

    /// Opens a segment, which may have been compressed or dropped since it was listed.
    fn open(&self, segment: &Segment, offset: u64) -> Result<Place, ReadError> {
        with_listed(&self.folder, segment, |segment| Place::open(segment, offset))
    }

    fn segments(&self) -> Result<Vec<Segment>, ReadError> {
        segments(&self.folder)
    }

    pub(super) fn damaged(&self, reason: &str) -> ReadError {
        let (path, offset) = match &self.place {
            Place::In { path, lines, .. } => (path.clone(), lines.offset()),
            Place::Start | Place::Failed => (self.folder.clone(), 0),
        };
        ReadError::Damaged { path, offset, reason: reason.to_owned() }
    }
}

/// Where the last `count` whole lines of a segment's text begin, and how many there are, up to `count`.
fn line_from_end(segment: &Segment, count: usize) -> io::Result<(u64, usize)> {
    if segment.is_compressed {
        return line_from_end_of_compressed(segment, count);
    }
    let mut file = File::open(&segment.path)?;
    let mut end = file.metadata()?.len();
    let mut newlines = 0;
    let mut block = vec![0; BLOCK_BYTES];
    while end > 0 {
        let start = end.saturating_sub(u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX));
        let block = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK_BYTES)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The line after this newline is whole if there is a newline after it.
            if newlines == count {
                return Ok((start + u64::try_from(index + 1).unwrap_or(0), count));
            }
            newlines += 1;
        }
        end = start;
    }
    Ok((0, newlines))
}

/// The same of a text that can be read only from its beginning.
fn line_from_end_of_compressed(segment: &Segment, count: usize) -> io::Result<(u64, usize)> {
    let mut lines = Lines::open(segment, 0)?;
    let mut last = std::collections::VecDeque::new();
    while lines.next()? == Found::Line {
        if last.len() == count {
            last.pop_front();
        }
        if count > 0 {
            last.push_back(lines.offset());
        }
    }
    Ok((last.front().copied().unwrap_or(lines.offset()), last.len()))
}
