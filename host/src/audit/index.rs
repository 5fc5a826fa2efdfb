//! Keeps the index of a log up, and reads the lines that it points to.
//!
//! The index is `index.db` beside the segments. It follows the log when somebody asks, never on the way of
//! a call, and is no evidence: each line that it points to is read from the log, and held against what was asked.

use std::path::{Path, PathBuf};

use super::query::{self, LineAt, ReadError, Reader};
use super::segment::{Found, Lines, Segment};
use crate::database::DatabaseError;
use crate::database::audit_index::{
    AuditIndex, ENTRIES_MAX, Facts, Hit, IndexEntry, IndexPlace, Order, Question,
};
use crate::ids::{CallId, Sequence};

/// The most bytes of lines that are read for one batch of the index.
const BATCH_BYTES_MAX: u64 = 8 << 20;

/// How often it begins anew because retention was faster.
const TRIES_MAX: usize = 10;

/// A line that is less far ahead is reached by reading, not by a seek.
const SKIP_BYTES_MAX: u64 = 256 << 10;

/// Why the index can't be used, or the log behind it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The index's file failed.
    #[error("the index of the log, {path}, can't be used: {source}; delete it, or make it anew with `portcullis audit reindex`", path = path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: DatabaseError,
    },
    /// Index and log are not of each other. The log is what counts.
    #[error("the index does not fit the log: {reason}; make it anew with `portcullis audit reindex`")]
    Disagrees {
        /// What does not fit.
        reason: String,
    },
    /// More was asked for than can be held. The fault of who asked.
    #[error("{reason}")]
    TooMuch {
        /// Why.
        reason: String,
    },
}

/// What came of following the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    /// Records that were added.
    pub records: u64,
    /// Bytes of their lines.
    pub bytes: u64,
}

/// A line that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLine {
    /// Its record's place.
    pub seq: Sequence,
    /// It, as it stands in the log, without its newline.
    pub line: Vec<u8>,
}

/// The index of the log in a folder.
#[derive(Clone, Debug)]
pub struct LogIndex {
    folder: PathBuf,
    index: AuditIndex,
}

/// The file of a log's index.
fn path_of(folder: &Path) -> PathBuf {
    folder.join("index.db")
}

impl LogIndex {
    /// Opens the index of a log, or makes an empty one.
    ///
    /// # Errors
    /// [`IndexError::Database`], such as where the folder can't be written.
    pub async fn open(folder: &Path) -> Result<Self, IndexError> {
        let opened = AuditIndex::open(&path_of(folder)).await;
        let index = opened.map_err(|source| IndexError::Database { path: path_of(folder), source })?;
        Ok(Self { folder: folder.to_owned(), index })
    }

    /// Closes its file.
    pub async fn close(&self) {
        self.index.close().await;
    }

    /// Empties it, and reads the whole log. `progress` is told of each batch's bytes.
    ///
    /// # Errors
    /// [`IndexError`]; what was indexed until then stays.
    pub async fn rebuild(&self, progress: impl FnMut(u64)) -> Result<Indexed, IndexError> {
        self.index.clear().await.map_err(self.failed())?;
        self.catch_up(progress).await
    }

    /// Follows the log to its end. `progress` is told of each batch's bytes.
    ///
    /// # Errors
    /// [`IndexError`]; what was indexed until then stays.
    pub async fn catch_up(&self, mut progress: impl FnMut(u64)) -> Result<Indexed, IndexError> {
        let mut indexed = Indexed::default();
        let mut tries = 0;
        loop {
            tries += 1;
            match self.follow(&mut indexed, &mut progress).await {
                // Retention was faster: it goes on with what is kept.
                Err(IndexError::Read(ReadError::Dropped { .. })) if tries < TRIES_MAX => {}
                followed => return followed.map(|()| indexed),
            }
        }
    }

    async fn follow(&self, indexed: &mut Indexed, progress: &mut impl FnMut(u64)) -> Result<(), IndexError> {
        let mut place = self.index.place().await.map_err(self.failed())?;
        let first = self.check(place.clone()).await?;
        if let Some(first) = first.filter(|first| first.0 > 0 && place.is_some()) {
            // Of what is before it no text is kept.
            self.index.forget_before(first).await.map_err(self.failed())?;
        }
        let mut reader = None;
        loop {
            let (folder, before) = (self.folder.clone(), place.clone());
            let read = blocking(move || {
                let mut reader = match reader {
                    Some(reader) => reader,
                    None => open_reader(&folder, before.as_ref())?,
                };
                read_batch(&mut reader).map(|batch| (batch, reader))
            });
            let (batch, read) = read.await?;
            reader = Some(read);
            let Some(Batch { entries, place: reached, bytes }) = batch else { return Ok(()) };
            let before = place.as_ref().map(|place| place.next);
            if self.index.add(before, &entries, &reached).await.map_err(self.failed())? {
                indexed.records += entries.len() as u64;
                indexed.bytes += bytes;
                progress(bytes);
                place = Some(reached);
            } else {
                // Another process indexes as well: go on where it is.
                place = self.index.place().await.map_err(self.failed())?;
                reader = None;
            }
        }
    }

    /// Whether the last line that was indexed is still what it was. Gives the first record whose text is kept.
    async fn check(&self, place: Option<IndexPlace>) -> Result<Option<Sequence>, IndexError> {
        let folder = self.folder.clone();
        blocking(move || {
            let segments = query::segments(&folder)?;
            let first = segments.first().map(|segment| segment.first);
            let Some(place) = place else { return Ok(first) };
            let Some(segment) = segments.iter().find(|segment| segment.first == place.segment) else {
                // Its text is not kept any more, or this is another log.
                return match first {
                    Some(first) if first >= place.next => Ok(Some(first)),
                    _ => disagrees(format!("record {} has no segment any more", place.next.0 - 1)),
                };
            };
            let hit =
                Hit { seq: Sequence(place.next.0 - 1), segment: place.segment, offset: place.line_offset };
            let line = match Fetcher::new(&folder).fetch(segment, hit) {
                Err(IndexError::Read(ReadError::Dropped { first, .. })) => return Ok(Some(first)),
                line => line?,
            };
            match *blake3::hash(&line).as_bytes() == place.line_hash {
                true => Ok(first),
                false => disagrees(format!("record {} is another one than was indexed", hit.seq)),
            }
        })
        .await
    }

    /// The next records that are asked for, at most `limit`, after one of them, with their lines.
    ///
    /// # Errors
    /// [`IndexError`], above all `Disagrees`.
    pub(crate) async fn find(
        &self,
        question: &Question,
        order: Order,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<FoundLine>, IndexError> {
        let mut after = after;
        loop {
            let hits = self.index.find(question, order, after, limit).await.map_err(self.failed())?;
            let Some(last) = hits.last().map(|hit| hit.seq) else { return Ok(Vec::new()) };
            after = Some(last);
            let (folder, question) = (self.folder.clone(), question.clone());
            let fetched = blocking(move || {
                let listed = query::segments(&folder)?;
                fetch(&folder, &listed, &hits, &question, order)
            });
            let lines = fetched.await?;
            // What retention drops while somebody asks is not there any more, and what comes after it is.
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
    }

    /// The calls that a call's tool made, at most `limit`.
    ///
    /// # Errors
    /// [`IndexError::Database`].
    pub(super) async fn nested_calls(&self, call: CallId, limit: usize) -> Result<Vec<CallId>, IndexError> {
        self.index.nested_calls(call, limit).await.map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(DatabaseError) -> IndexError {
        let path = path_of(&self.folder);
        move |source| IndexError::Database { path: path.clone(), source }
    }
}

fn disagrees<T>(reason: String) -> Result<T, IndexError> {
    Err(IndexError::Disagrees { reason })
}

/// Some records after those that are indexed.
struct Batch {
    entries: Vec<IndexEntry>,
    place: IndexPlace,
    bytes: u64,
}

fn open_reader(folder: &Path, place: Option<&IndexPlace>) -> Result<Reader, ReadError> {
    match place {
        Some(place) => Reader::at(folder, place.segment, place.end_offset, place.next),
        None => Ok(query::read(folder, query::Filter::default())),
    }
}

fn read_batch(reader: &mut Reader) -> Result<Option<Batch>, IndexError> {
    let mut entries = Vec::new();
    let mut place = None;
    let mut bytes = 0;
    while entries.len() < ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
        let Some(seq) = reader.next_line()? else { break };
        let LineAt { segment, offset, end, .. } = reader.line_at(seq);
        let line = reader.line()?;
        let facts = Facts::of(line.as_bytes())
            .map_err(|error| reader.damaged(&format!("the line is not a record: {error}")))?;
        bytes += end - offset;
        place = Some(IndexPlace {
            next: Sequence(seq.0.saturating_add(1)),
            segment,
            line_offset: offset,
            end_offset: end,
            line_hash: *blake3::hash(line.as_bytes()).as_bytes(),
        });
        entries.push(IndexEntry { facts, segment, offset });
    }
    Ok(place.map(|place| Batch { entries, place, bytes }))
}

/// Reads the lines that hits point to, in the order of the hits, each held against what was asked, of a log whose
/// segments were these a moment ago.
fn fetch(
    folder: &Path,
    segments: &[Segment],
    hits: &[Hit],
    question: &Question,
    order: Order,
) -> Result<Vec<FoundLine>, IndexError> {
    // Lines are read forwards; a segment that is compressed can't be read in another way.
    let mut hits = hits.to_vec();
    hits.sort_unstable_by_key(|hit| hit.seq);
    let mut fetcher = Fetcher::new(folder);
    let mut lines = Vec::with_capacity(hits.len());
    for hit in hits {
        let Some(segment) = segments.iter().find(|segment| segment.first == hit.segment) else {
            if segments.first().is_some_and(|first| hit.segment < first.first) {
                continue;
            }
            return disagrees(format!("record {} has no segment any more", hit.seq));
        };
        let line = match fetcher.fetch(segment, hit) {
            // Dropped between the look at the folder and the reading.
            Err(IndexError::Read(ReadError::Dropped { .. })) => continue,
            line => line?,
        };
        if !is_asked_for(&line, question) {
            return disagrees(format!("record {} is not what was asked for", hit.seq));
        }
        lines.push(FoundLine { seq: hit.seq, line });
    }
    if order == Order::NewestFirst {
        lines.reverse();
    }
    Ok(lines)
}

/// Whether a line is what was asked for, as far as it says so itself: of an effect's outcome, the attempt says
/// the rest.
fn is_asked_for(line: &[u8], question: &Question) -> bool {
    let Ok(facts) = Facts::of(line) else { return false };
    if facts.attempt.is_none() {
        return question.matches(&facts);
    }
    let own = Question { interface: None, function: None, subject: None, decision: None, ..question.clone() };
    own.matches(&facts)
}

/// Reads single lines of segments, best in their order.
#[derive(Debug)]
struct Fetcher<'a> {
    folder: &'a Path,
    open: Option<(Sequence, Lines)>,
}

impl<'a> Fetcher<'a> {
    fn new(folder: &'a Path) -> Self {
        Self { folder, open: None }
    }

    /// The line at a place, without its newline.
    fn fetch(&mut self, segment: &Segment, hit: Hit) -> Result<Vec<u8>, IndexError> {
        let io = |error| ReadError::io(&segment.path, error);
        let is_near = self.open.as_ref().is_some_and(|(first, lines)| {
            let end = lines.end_offset();
            *first == segment.first && (end..=end.saturating_add(SKIP_BYTES_MAX)).contains(&hit.offset)
        });
        if !is_near {
            let lines = query::with_listed(self.folder, segment, |segment| Lines::open(segment, hit.offset))?;
            self.open = Some((segment.first, lines));
        }
        let Some((_, lines)) = &mut self.open else { return disagrees("no segment is open".to_owned()) };
        loop {
            match lines.next().map_err(io)? {
                Found::Line if lines.offset() < hit.offset => {}
                Found::Line if lines.offset() == hit.offset => break,
                Found::Line | Found::Torn | Found::TooLong | Found::End => {
                    return disagrees(format!("record {} is not where it was", hit.seq));
                }
            }
        }
        if super::line::sequence_of(lines.line()) != Some(hit.seq) {
            return disagrees(format!("record {} is not where it was", hit.seq));
        }
        Ok(lines.line().strip_suffix(b"\n").unwrap_or(lines.line()).to_vec())
    }
}

pub(super) async fn blocking<T: Send + 'static, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, IndexError>
where
    E: Send + 'static,
    IndexError: From<E>,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
