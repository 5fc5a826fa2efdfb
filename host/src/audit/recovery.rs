//! Finds where a log left by an earlier host ends, and mends it if it did not end well.
//!
//! Nothing is thrown away: what is not a valid continuation moves to `quarantine/`. Only the last
//! segment is ever cut; damage in an earlier one is not the work of a crash, and is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tlog_tiles::Hash;

use super::commitment::Commitment;
use super::disk::Disk;
use super::event::{self, CallContext, Event, Record};
use super::hash::TreeHash;
use super::log::LogError;
use super::segment::{self, Found, Lines, Segment};
use super::tree::{Frontier, leaf_of};
use crate::ids::{CallId, Revision, Sequence};

pub(super) const QUARANTINE: &str = "quarantine";

/// Far more than a `host_stopped` line needs.
const TAIL_BYTES: usize = 4096;

/// Where a log goes on.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The segment to append to.
    pub(super) segment: Segment,
    /// The time of its first record, if it has one.
    pub(super) begun: Option<Timestamp>,
    /// The next record's place.
    pub(super) next: Sequence,
    /// The latest time of any record, if there is one.
    pub(super) latest: Option<Timestamp>,
    /// The highest revision of any record; 0 if none speaks of one.
    pub(super) revision: Revision,
    pub(super) ending: Ending,
}

/// How a log ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// There was none.
    New,
    /// With `host_stopped`.
    Clean,
    /// In the midst of things, and was mended.
    Mended {
        torn_bytes: u64,
        /// The file that holds them, relative to the audit folder.
        quarantine: Option<String>,
        /// Calls without their last record, in the order of their ids.
        interrupted: Vec<OpenCall>,
    },
}

/// A call that was admitted and has no final record.
#[derive(Clone, Debug)]
pub(super) struct OpenCall {
    pub(super) context: Arc<CallContext>,
    /// The tree over its records so far.
    pub(super) tree: Frontier,
    pub(super) arguments_commitment: Option<Commitment>,
}

impl OpenCall {
    /// As the record at the beginning of a segment has it; none if it is not a tree's.
    fn from_record(open: event::OpenCall) -> Option<Self> {
        let roots = open.roots.into_iter().map(TreeHash::to_hash).collect();
        let (context, arguments_commitment) = (open.context, open.arguments_commitment);
        Some(Self { context, tree: Frontier::of(open.records, roots)?, arguments_commitment })
    }

    fn push(&mut self, leaf: Hash) {
        self.tree.push(leaf).expect("a tree of fewer than 2^64 leaves grows");
    }
}

/// Brings the log in `folder` into a state that can be appended to. Reads only the tail after a
/// clean end, else, one line at a time, what follows the newest record that says which calls were open.
pub(super) fn recover(disk: &dyn Disk, folder: &Path, now: Timestamp) -> Result<Recovered, LogError> {
    let io = |action: &'static str| move |error| LogError::io(action, folder, error);
    segment::create_folder(folder).map_err(io("create the folder"))?;
    let segments = segment::list(folder).map_err(io("list the folder"))?;
    let Some(last) = segments.last() else {
        segment::create(disk, folder, Sequence(0)).map_err(io("create the first segment in"))?;
        return Ok(Recovered {
            segment: Segment::plain(folder, Sequence(0)),
            begun: None,
            next: Sequence(0),
            latest: None,
            revision: Revision::default(),
            ending: Ending::New,
        });
    };
    if last.is_compressed {
        let reason = "it is closed, and the file that comes after it is missing".to_owned();
        return Err(LogError::Damaged { path: last.path.clone(), offset: 0, reason });
    }
    let begun = first_record(last)?.map(|record| record.time);
    if let Some((seq, latest, revision)) = clean_end(last)? {
        return Ok(Recovered {
            segment: last.clone(),
            begun,
            next: following(seq, last)?,
            latest: Some(latest),
            revision,
            ending: Ending::Clean,
        });
    }
    let scan = Scan::run(&segments[start(&segments)?..])?;
    let (torn_bytes, quarantine) = set_aside(disk, folder, last, &scan, now)?;
    let interrupted = scan.open_calls.into_values().collect();
    Ok(Recovered {
        segment: last.clone(),
        begun,
        next: scan.next,
        latest: scan.latest,
        revision: scan.revision,
        ending: Ending::Mended { torn_bytes, quarantine, interrupted },
    })
}

/// The first record of a segment, if its first line is one.
fn first_record(segment: &Segment) -> Result<Option<Record>, LogError> {
    let io = |error| LogError::io("read", &segment.path, error);
    let mut lines = Lines::open(segment, 0).map_err(io)?;
    let is_line = lines.next().map_err(io)? == Found::Line;
    Ok(is_line.then(|| serde_json::from_slice(lines.line()).ok()).flatten())
}

/// Which segment a scan begins with: the last that says what it must know of those before it, else the first.
fn start(segments: &[Segment]) -> Result<usize, LogError> {
    for (index, segment) in segments.iter().enumerate().rev() {
        if let Some(Record { seq, event: Event::SegmentStarted { .. }, .. }) = first_record(segment)?
            && seq == segment.first
        {
            return Ok(index);
        }
    }
    Ok(0)
}

/// The sequence number, the latest time and the revision of the `host_stopped` that a segment ends with, if it does.
fn clean_end(last: &Segment) -> Result<Option<(Sequence, Timestamp, Revision)>, LogError> {
    let (bytes, whole) = segment::last_bytes(&last.path, TAIL_BYTES)
        .map_err(|error| LogError::io("read the end of", &last.path, error))?;
    let Some(text) = bytes.strip_suffix(b"\n") else { return Ok(None) };
    let line = match text.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => &text[newline + 1..],
        None if whole => text,
        None => return Ok(None),
    };
    let Ok(record) = serde_json::from_slice::<Record>(line) else { return Ok(None) };
    let Event::HostStopped { latest, revision } = record.event else { return Ok(None) };
    Ok((record.seq >= last.first).then(|| (record.seq, latest.max(record.time), revision)))
}

fn following(seq: Sequence, segment: &Segment) -> Result<Sequence, LogError> {
    seq.0.checked_add(1).map(Sequence).ok_or_else(|| LogError::Damaged {
        path: segment.path.clone(),
        offset: 0,
        reason: "its last sequence number is the largest there is".to_owned(),
    })
}

/// What reading the whole log gave.
struct Scan {
    /// Where the longest valid prefix of the last segment ends.
    end: u64,
    next: Sequence,
    latest: Option<Timestamp>,
    revision: Revision,
    open_calls: BTreeMap<CallId, OpenCall>,
}

impl Scan {
    fn run(segments: &[Segment]) -> Result<Self, LogError> {
        let first = segments.first().map_or(Sequence(0), |segment| segment.first);
        let mut scan = Self {
            end: 0,
            next: first,
            latest: None,
            revision: Revision::default(),
            open_calls: BTreeMap::new(),
        };
        for (index, segment) in segments.iter().enumerate() {
            let damaged = |offset, reason| LogError::Damaged { path: segment.path.clone(), offset, reason };
            if segment.first != scan.next {
                let reason = format!("record {} is expected here, by the segments before it", scan.next);
                return Err(damaged(0, reason));
            }
            let flaw = scan.read(segment)?;
            if let Some(reason) = flaw.filter(|_| index + 1 < segments.len()) {
                return Err(damaged(scan.end, reason));
            }
        }
        Ok(scan)
    }

    /// Reads one segment up to its end, or to the first flaw, which it names.
    fn read(&mut self, segment: &Segment) -> Result<Option<String>, LogError> {
        let io = |error| LogError::io("read", &segment.path, error);
        let mut lines = Lines::open(segment, 0).map_err(io)?;
        self.end = 0;
        loop {
            match lines.next().map_err(io)? {
                Found::End => return Ok(None),
                Found::Torn => return Ok(Some("it ends within a line".to_owned())),
                Found::TooLong => return Ok(Some("a line is too long".to_owned())),
                Found::Line => {}
            }
            let record: Record = match serde_json::from_slice(lines.line()) {
                Ok(record) => record,
                Err(error) => return Ok(Some(format!("a line is not a record: {error}"))),
            };
            if record.seq != self.next {
                return Ok(Some(format!("record {} stands where {} is expected", record.seq, self.next)));
            }
            self.next = following(record.seq, segment)?;
            self.end = lines.end_offset();
            self.note(record, leaf_of(lines.line()));
        }
    }

    /// Keeps what later records depend on.
    fn note(&mut self, record: Record, leaf: Hash) {
        self.latest = self.latest.max(Some(record.time));
        self.revision = self.revision.max(record.event.revision().unwrap_or_default());
        if let Event::HostStopped { latest, .. } = record.event {
            self.latest = self.latest.max(Some(latest));
        } else if let Event::SegmentStarted { latest, open, .. } = record.event {
            self.latest = self.latest.max(Some(latest));
            // What was read before it says the same.
            let known = open.into_iter().filter_map(OpenCall::from_record);
            self.open_calls.extend(known.map(|open| (open.context.call, open)));
        } else if let Event::CallAdmitted { context, arguments_commitment, .. } = record.event {
            let mut open = OpenCall { context, tree: Frontier::default(), arguments_commitment };
            open.push(leaf);
            self.open_calls.insert(open.context.call, open);
        } else if let Event::CallFinished { context, .. } = record.event {
            self.open_calls.remove(&context.call);
        } else if let Some(open) = record.event.context().and_then(|own| self.open_calls.get_mut(&own.call)) {
            open.push(leaf);
        }
    }
}

/// Moves what stands behind the valid prefix of the last segment into a file of its own. The copy is
/// on disk before the segment is cut.
fn set_aside(
    disk: &dyn Disk,
    folder: &Path,
    last: &Segment,
    scan: &Scan,
    now: Timestamp,
) -> Result<(u64, Option<String>), LogError> {
    let length =
        std::fs::metadata(&last.path).map_err(|error| LogError::io("measure", &last.path, error))?.len();
    if length == scan.end {
        return Ok((0, None));
    }
    let quarantine = folder.join(QUARANTINE);
    segment::create_folder(&quarantine).map_err(|error| LogError::io("create", &quarantine, error))?;
    let name = format!("{}-{}.torn", scan.next, now.as_nanosecond());
    let target = quarantine.join(&name);
    let torn_bytes = segment::copy_rest(&last.path, scan.end, &target)
        .map_err(|error| LogError::io("save the torn tail of the log in", &target, error))?;
    disk.truncate(&last.path, scan.end)
        .map_err(|error| LogError::io("cut the torn tail off", &last.path, error))?;
    Ok((torn_bytes, Some(format!("{QUARANTINE}/{name}"))))
}
