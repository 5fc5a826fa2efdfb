//! Checks a log against a checkpoint that its host signed, without the host: every line, every hash.
//!
//! Needs the folder of the log and the public key. Changes nothing. One line is held at a time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tlog_tiles::{Error, Hash, record_hash};

use super::checkpoint::{self, Checkpoint, CheckpointError, VerifierKey};
use super::event::{Event, Record, is_zero};
use super::line::sequence_of;
use super::rotation::{self, HandedOver};
use super::segment::{self, Found, Lines, Segment};
use super::sum::Sum;
use super::tree::{Frontier, StoredHashes};
use super::trust::TrustedKeys;
use crate::ids::{Sequence, hex};

/// What was found to be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The log's origin: the name of its key.
    pub origin: String,
    /// Records that the newest checkpoint covers.
    pub covered: u64,
    /// The oldest of them, whose text the host has dropped, as a record says; their hashes are still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Records after it, which no signature covers yet.
    pub uncovered: u64,
    /// The root over those that are covered, in base64.
    pub root: String,
    /// How often the key was rotated since the one that was trusted.
    #[serde(skip_serializing_if = "is_zero")]
    pub rotations: u64,
    /// The size of the earlier checkpoint that the log was held against, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier: Option<u64>,
}

/// Where a log is not what its host signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment.
    pub path: PathBuf,
    /// The line in it, from 1.
    pub line: u64,
    /// The byte at which the line begins.
    pub offset: u64,
    /// The record that is expected there.
    pub record: Sequence,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, line, offset, record } = self;
        write!(f, "{}, line {line} (byte {offset}), record {record}", path.display())
    }
}

/// Why a log is not verified.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file could not be read.
    #[error("could not read {path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// There is nothing to hold the log against.
    #[error("{path} has no checkpoint: the host never signed this log", path = path.display())]
    NoCheckpoint {
        /// The log's folder.
        path: PathBuf,
    },
    /// A checkpoint does not hold by itself.
    #[error("{which}: {error}")]
    Checkpoint {
        /// Which of the two.
        which: &'static str,
        /// Why not.
        error: CheckpointError,
    },
    /// A line is not what it was.
    #[error("the log was changed at {place}: {reason}")]
    Changed {
        /// Where.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// A closed segment's file is not the one that was recorded.
    #[error("{path} is not the file that was closed: {reason}", path = path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The word of one key for the next is about another record than the log has.
    #[error(
        "the key was not rotated by record {record} of this log: it is another record than the old key signed"
    )]
    OtherRotation {
        /// Where.
        record: Sequence,
    },
    /// The text of the first records is gone, and so are their hashes.
    #[error("the first {dropped} records are missing, and so are their hashes (the file `tree`)")]
    HashesMissing {
        /// How many.
        dropped: u64,
    },
    /// The text of the first records is gone, and the host does not say that it dropped it.
    #[error(
        "the text of the first {dropped} records is missing, and no record says that the host dropped it"
    )]
    TextMissing {
        /// How many.
        dropped: u64,
    },
    /// Records are missing at the end.
    #[error("the end of the log is cut off: {which} covers {covered} records, and there are {found}")]
    CutOff {
        /// Which checkpoint.
        which: &'static str,
        /// How many it covers.
        covered: u64,
        /// How many are there.
        found: u64,
    },
    /// The records are others than those that were signed, and it can't be said which.
    #[error("the log is not the one that {which} was signed for: another root over its {size} records")]
    OtherRoot {
        /// Which checkpoint.
        which: &'static str,
        /// How many it covers.
        size: u64,
    },
}

/// What lines hold that speak of the log's own files.
const SEALED: &[u8] = br#""event":"segment_sealed""#;
const DROPPED: &[u8] = br#""event":"text_dropped""#;

/// Whether a line's beginning, which is the host's alone, holds `event`.
fn find(line: &[u8], event: &[u8]) -> bool {
    let head = &line[..line.len().min(HEAD_BYTES)];
    head.windows(event.len()).any(|window| window == event)
}

/// The most bytes of a line before the end of its event's name: sequence number and time.
const HEAD_BYTES: usize = 120;

/// How often the folder is looked at anew because the archivist was faster, without getting on.
const TRIES_MAX: usize = 10;

const NEWEST: &str = "the newest checkpoint";
const EARLIER: &str = "the earlier checkpoint";
const ROTATION: &str = "the last checkpoint of a key that was rotated";

/// Verifies the log in `folder`: each line in its place, and the tree over all of them as the newest
/// checkpoint says. With the text of an `earlier` checkpoint, that the log still has what that one covered.
/// `progress` is told the bytes that were read.
///
/// # Errors
/// [`VerifyError`]: what is wrong, and where.
pub fn verify(
    folder: &Path,
    key: &VerifierKey,
    earlier: Option<&[u8]>,
    mut progress: impl FnMut(u64),
) -> Result<Verified, VerifyError> {
    let signed = |which: &'static str| move |error| VerifyError::Checkpoint { which, error };
    // Before the lines: what is written meanwhile is not covered by it.
    let note = checkpoint::read(folder).map_err(io_of(folder))?;
    let note = note.ok_or_else(|| VerifyError::NoCheckpoint { path: folder.to_owned() })?;
    let chain = Chain::of(folder, key)?;
    let newest = chain.keys.check(&note).map_err(signed(NEWEST))?;
    let earlier = earlier.map(|note| chain.keys.check(note)).transpose().map_err(signed(EARLIER))?;
    let mut walk = Walk {
        folder,
        newest,
        earlier,
        tree: Frontier::default(),
        handed_over: chain.handed_over,
        sealed: BTreeMap::new(),
        dropped_through: None,
        dropped: 0,
        compressed: Vec::new(),
    };
    walk.read(&mut progress)?;
    let found = walk.tree.size();
    for (which, checkpoint) in walk.checkpoints() {
        if checkpoint.size > found {
            // A newline that is gone makes one line of two, which the kept hashes tell.
            let located = walk.locate(which, checkpoint);
            let is_changed = matches!(located, VerifyError::Changed { .. });
            let cut = VerifyError::CutOff { which, covered: checkpoint.size, found };
            return Err(if is_changed { located } else { cut });
        }
    }
    walk.check_dropped()?;
    walk.check_sealed()?;
    Ok(Verified {
        dropped: (walk.dropped > 0).then_some(walk.dropped),
        rotations: walk.handed_over.len() as u64,
        origin: key.origin().to_owned(),
        covered: newest.size,
        uncovered: found - newest.size,
        root: newest.root.to_string(),
        earlier: earlier.map(|earlier| earlier.size),
    })
}

fn io_of(path: &Path) -> impl FnOnce(io::Error) -> VerifyError {
    let path = path.to_owned();
    move |error| VerifyError::Io { path, source: Arc::new(error) }
}

/// The keys that may have signed: the one that is trusted, and those that it handed over to, one by one.
struct Chain {
    keys: TrustedKeys,
    handed_over: Vec<(HandedOver, Hash)>,
}

impl Chain {
    fn of(folder: &Path, key: &VerifierKey) -> Result<Self, VerifyError> {
        let io = |error| VerifyError::Io { path: folder.to_owned(), source: Arc::new(error) };
        let mut chain = Self { keys: key.clone().into(), handed_over: Vec::new() };
        for rotation in rotation::read(folder).map_err(io)? {
            let last = chain.keys.newest();
            // Those before the key that is trusted say nothing of it.
            if rotation.from != last.text() {
                continue;
            }
            let over = rotation.check(last);
            let over = over.map_err(|error| VerifyError::Checkpoint { which: ROTATION, error })?;
            chain.keys.push(over.key.clone());
            chain.handed_over.push((over, record_hash(rotation.record.as_bytes())));
        }
        Ok(chain)
    }
}

struct Walk<'a> {
    folder: &'a Path,
    newest: Checkpoint,
    earlier: Option<Checkpoint>,
    /// Rotations of the key: the record's place and hash, and what the old key signed.
    handed_over: Vec<(HandedOver, Hash)>,
    tree: Frontier,
    /// What records say of closed segments, by their first record: the newest word of each.
    sealed: BTreeMap<Sequence, (String, String)>,
    /// Up to where records say that text was dropped.
    dropped_through: Option<Sequence>,
    /// Up to where there was no text.
    dropped: u64,
    /// The segments that were read in their compressed form.
    compressed: Vec<Segment>,
}

impl Walk<'_> {
    /// Reads all text. What the host compresses or drops meanwhile is taken as it is found then: the records that say
    /// so were written before, and so are in what is still to be read.
    fn read(&mut self, progress: &mut impl FnMut(u64)) -> Result<(), VerifyError> {
        let mut queue = self.list_from_here()?;
        let mut tries = 0;
        while let Some(segment) = queue.pop_front() {
            let lines = match Lines::open(&segment, 0) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES_MAX => {
                    tries += 1;
                    queue = self.list_from_here()?;
                    continue;
                }
                lines => lines.map_err(io_of(&segment.path))?,
            };
            tries = 0;
            self.segment(&segment, lines, queue.is_empty(), progress).map_err(|error| self.sooner(error))?;
            if segment.is_compressed {
                self.compressed.push(segment);
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<Segment>, VerifyError> {
        segment::list(self.folder).map_err(io_of(self.folder))
    }

    /// The segments that are to be read now; of records whose text is not there any more the hashes are taken.
    fn list_from_here(&mut self) -> Result<VecDeque<Segment>, VerifyError> {
        let listed = self.list()?;
        let kept = listed.first().map_or(0, |first| first.first.0);
        if kept > self.tree.size() {
            self.skip(kept)?;
        }
        Ok(listed.into_iter().filter(|segment| segment.first.0 >= self.tree.size()).collect())
    }

    /// Takes the hashes of records whose text is not there from where they are kept.
    fn skip(&mut self, kept: u64) -> Result<(), VerifyError> {
        let missing = || VerifyError::HashesMissing { dropped: kept };
        let stored = StoredHashes::open(self.folder).map_err(|_| missing())?;
        for number in self.tree.size()..kept {
            let leaf = stored.leaf(number).ok_or_else(missing)?;
            self.check_rotation(leaf)?;
            self.tree.push(leaf).map_err(|_| missing())?;
            self.hold_against_checkpoints()?;
        }
        self.dropped = kept;
        Ok(())
    }

    /// Whether the host says that it dropped the text that is not there.
    fn check_dropped(&self) -> Result<(), VerifyError> {
        match self.dropped_through {
            _ if self.dropped == 0 => Ok(()),
            Some(Sequence(through)) if through + 1 >= self.dropped => Ok(()),
            _ => Err(VerifyError::TextMissing { dropped: self.dropped }),
        }
    }

    /// Whether each compressed file is the one that its record speaks of.
    fn check_sealed(&self) -> Result<(), VerifyError> {
        for segment in &self.compressed {
            let path = segment.path.clone();
            let of = |reason: &str| VerifyError::OtherFile { path: path.clone(), reason: reason.to_owned() };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some((file, sha256)) = self.sealed.get(&segment.first) else {
                return Err(of("no record says that it was closed"));
            };
            if file != name {
                return Err(of(&format!("its record is about {file}")));
            }
            let sum = match Sum::of(&path) {
                // Dropped since it was read.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && self.list()?.first().is_some_and(|kept| kept.first > segment.first) =>
                {
                    continue;
                }
                sum => sum.map_err(io_of(&path))?,
            };
            if hex(&sum.sha256) != *sha256 {
                return Err(of("its SHA-256 is not the one that was recorded when it was closed"));
            }
        }
        Ok(())
    }

    /// Keeps what a record says of the log's own files.
    fn note(&mut self, line: &[u8]) {
        let is_of_files = [SEALED, DROPPED].iter().any(|event| find(line, event));
        let Some(record) = is_of_files.then(|| serde_json::from_slice::<Record>(line).ok()).flatten() else {
            return;
        };
        if let Event::SegmentSealed { first, file, sha256, .. } = record.event {
            self.sealed.insert(first, (file, sha256));
        } else if let Event::TextDropped { through, .. } = record.event {
            self.dropped_through = self.dropped_through.max(Some(through));
        }
    }

    fn checkpoints(&self) -> impl Iterator<Item = (&'static str, Checkpoint)> + use<> {
        let earlier = self.earlier.map(|earlier| (EARLIER, earlier));
        let rotations: Vec<_> =
            self.handed_over.iter().map(|(over, _)| (ROTATION, over.checkpoint)).collect();
        earlier.into_iter().chain(rotations).chain([(NEWEST, self.newest)])
    }

    fn segment(
        &mut self,
        segment: &Segment,
        mut lines: Lines,
        is_last: bool,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), VerifyError> {
        let mut line = 0;
        loop {
            line += 1;
            let found = match lines.next() {
                // What can't be uncompressed is no fault of the disk.
                Err(error) if segment.is_compressed && error.raw_os_error().is_none() => {
                    let (path, offset) = (segment.path.clone(), lines.offset());
                    let place = Place { path, line, offset, record: Sequence(self.tree.size()) };
                    let reason = format!("it can't be uncompressed from here: {error}");
                    return Err(VerifyError::Changed { place, reason });
                }
                found => found.map_err(io_of(&segment.path))?,
            };
            let place = Place {
                path: segment.path.clone(),
                line,
                offset: lines.offset(),
                record: Sequence(self.tree.size()),
            };
            let changed =
                |reason: &str| VerifyError::Changed { place: place.clone(), reason: reason.to_owned() };
            if line == 1 && segment.first != place.record {
                return Err(changed(&format!("the segment begins with record {}", segment.first)));
            }
            match found {
                Found::Line => {}
                Found::End => return Ok(()),
                // The writer may be about to finish it, if nothing that was signed ends there.
                Found::Torn if is_last && self.tree.size() >= self.newest.size => return Ok(()),
                Found::Torn => return Err(changed("it ends within a line")),
                Found::TooLong => return Err(changed("the line is too long")),
            }
            let text = lines.line();
            let leaf = record_hash(text.strip_suffix(b"\n").unwrap_or(text));
            match sequence_of(text) {
                Some(found) if found == place.record => {}
                Some(found) => return Err(changed(&format!("record {found} stands there"))),
                None => return Err(changed("it does not begin with a sequence number")),
            }
            self.check_rotation(leaf)?;
            self.tree.push(leaf).map_err(|error: Error| changed(&error.to_string()))?;
            progress(text.len() as u64);
            self.note(lines.line());
            self.hold_against_checkpoints()?;
        }
    }

    /// Whether the record of a rotation is the one that its keys speak of.
    fn check_rotation(&self, leaf: Hash) -> Result<(), VerifyError> {
        let at = Sequence(self.tree.size());
        match self.handed_over.iter().find(|(over, _)| over.seq == at) {
            Some((_, kept)) if *kept != leaf => Err(VerifyError::OtherRotation { record: at }),
            _ => Ok(()),
        }
    }

    fn hold_against_checkpoints(&mut self) -> Result<(), VerifyError> {
        for (which, checkpoint) in self.checkpoints() {
            if checkpoint.size == self.tree.size() && self.tree.root() != checkpoint.root {
                return Err(self.locate(which, checkpoint));
            }
        }
        Ok(())
    }

    /// A line that is not in its place may be so because of one before it, which the kept hashes tell.
    fn sooner(&self, error: VerifyError) -> VerifyError {
        let VerifyError::Changed { place: later, .. } = &error else { return error };
        let located = self.locate(NEWEST, self.newest);
        let is_sooner = matches!(&located, VerifyError::Changed { place, .. } if place.record < later.record);
        if is_sooner { located } else { error }
    }

    /// Finds the first line that differs, by the hashes that were kept when it was written, if those are the
    /// ones that were signed.
    fn locate(&self, which: &'static str, checkpoint: Checkpoint) -> VerifyError {
        let other = VerifyError::OtherRoot { which, size: checkpoint.size };
        let Ok(stored) = StoredHashes::open(self.folder) else { return other };
        let mut kept = Frontier::default();
        for number in 0..checkpoint.size {
            let Some(leaf) = stored.leaf(number) else { return other };
            if kept.push(leaf).is_err() {
                return other;
            }
        }
        if kept.root() != checkpoint.root {
            return other;
        }
        first_other(self.folder, &stored).unwrap_or(other)
    }
}

/// The first line whose hash is not the one that was kept.
fn first_other(folder: &Path, stored: &StoredHashes) -> Option<VerifyError> {
    let segments = segment::list(folder).ok()?;
    let mut number = segments.first().map_or(0, |first| first.first.0);
    for segment in segments {
        let mut lines = Lines::open(&segment, 0).ok()?;
        let mut line = 0;
        while lines.next().ok()? == Found::Line {
            line += 1;
            let text = lines.line();
            let leaf = record_hash(text.strip_suffix(b"\n").unwrap_or(text));
            if stored.leaf(number)? != leaf {
                let (path, offset) = (segment.path.clone(), lines.offset());
                let place = Place { path, line, offset, record: Sequence(number) };
                let reason = "its hash is not the one that was signed".to_owned();
                return Some(VerifyError::Changed { place, reason });
            }
            number += 1;
        }
    }
    None
}
