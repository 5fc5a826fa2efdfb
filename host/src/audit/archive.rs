//! What becomes of closed segments: they are compressed, and their text is dropped when it is old or takes
//! too much room. A thread of its own; what it can't do now it tries again later, and says so.
//!
//! A segment is removed only after what replaces it, and the record that says so, are on disk. So a host
//! that dies at any moment leaves at most both forms of one, of which the plain one counts.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::disk::{self, Disk, DiskFile};
use super::event::{DropReason, Event, Record};
use super::log::{Handle, LogError};
use super::segment::{self, Found, Lines, Segment};
use super::settings::AuditSettings;
use super::start;
use super::sum::{Sum, Summed};
use crate::ids::{Sequence, hex};

/// How much a closed segment is compressed: zstd's own default, some tenfold at hundreds of megabytes a second.
const LEVEL: i32 = 3;
/// How much is read at once, and after how much it is looked whether to stop, and rested: some tenths of a millisecond
/// of work, for which a thread of a call that has the same core may have to wait.
const BLOCK_BYTES: usize = 64 << 10;
/// How often as long as it worked it rests, unless another closed segment waits: what it does is never urgent, and calls
/// are.
const REST: u32 = 4;
/// The longest rest: a disk that takes seconds for a block must not hold up the end of the host by several times that.
const REST_TIME_MAX: Duration = Duration::from_millis(10);
/// How often retention is looked at, at least.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(3_600);
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Between two tries to get at files that somebody reads.
const PAUSE: Duration = Duration::from_millis(20);

/// The thread.
pub(super) struct Archivist {
    pub(super) folder: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) settings: AuditSettings,
    /// Weak, so that the log ends when its last user goes.
    pub(super) log: Weak<Handle>,
    /// A message when a segment was closed; its end when the writer has ended.
    pub(super) closed: Receiver<()>,
    pub(super) stopping: Arc<AtomicBool>,
}

/// Why something was not done.
enum Trouble {
    /// The log is closing, or gone.
    Stopping,
    /// It can be tried again.
    Failed(String),
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Closed | LogError::Poisoned { .. } => Self::Stopping,
            LogError::Overloaded
            | LogError::TooLarge { .. }
            | LogError::CallsRunning { .. }
            | LogError::NotAnchored { .. }
            | LogError::Unreadable { .. }
            | LogError::Io { .. }
            | LogError::Damaged { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl Archivist {
    /// Works until the log ends.
    pub(super) fn run(self) {
        let keep_age = self.settings.keep_age.unwrap_or(LOOK_INTERVAL_MAX);
        let interval = (keep_age / 10).clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX);
        let mut is_told = false;
        loop {
            let trouble = match self.seal_all().and_then(|()| self.drop_text()) {
                Ok(()) => None,
                Err(Trouble::Failed(reason)) => Some(reason),
                Err(Trouble::Stopping) => return,
            };
            if let Some(reason) = &trouble {
                tracing::warn!(reason, "a closed segment of the audit log is kept as it is for now");
            }
            let changed = match (&trouble, is_told) {
                (Some(reason), false) => Some(Event::SegmentsAlarm { reason: reason.clone() }),
                (None, true) => Some(Event::SegmentsRecovered),
                (Some(_), true) | (None, false) => None,
            };
            let Some(log) = self.log.upgrade() else { return };
            log.set_alarm(trouble);
            drop(log);
            // Once for each change, so at most once a try; there is a try for a closed segment, or an interval.
            if let Some(event) = changed {
                match self.record(event) {
                    Ok(()) => is_told = !is_told,
                    Err(Trouble::Stopping) => return,
                    Err(Trouble::Failed(reason)) => {
                        tracing::warn!(reason, "an alarm is not in the audit log yet");
                    }
                }
            }
            match self.closed.recv_timeout(interval) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Compresses each closed segment that is not.
    fn seal_all(&self) -> Result<(), Trouble> {
        let segments = self.segments()?;
        let closed = segments.windows(2).filter_map(|pair| match pair {
            [segment, next] if !segment.is_compressed => Some((segment, next.first)),
            _ => None,
        });
        let mut waiting = closed.clone().count();
        for (segment, next) in closed {
            waiting -= 1;
            self.seal(segment, next, waiting == 0)?;
        }
        Ok(())
    }

    fn seal(&self, segment: &Segment, next: Sequence, may_rest: bool) -> Result<(), Trouble> {
        let target = segment::compressed_path_of(&self.folder, segment.first);
        let partial = target.with_added_extension("next");
        let sealed = self.seal_into(segment, next, may_rest, &target, &partial);
        if sealed.is_err() {
            // On a disk that is full it is in the way of the record that says so. What can't be removed now is
            // removed by the next try.
            let _ = remove_if_there(&*self.disk, &partial);
        }
        sealed
    }

    fn seal_into(
        &self,
        segment: &Segment,
        next: Sequence,
        may_rest: bool,
        target: &Path,
        partial: &Path,
    ) -> Result<(), Trouble> {
        let failed = |action: &'static str, path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| {
                if error.kind() == io::ErrorKind::Interrupted {
                    return Trouble::Stopping;
                }
                Trouble::Failed(format!("could not {action} {}: {error}", path.display()))
            }
        };
        remove_if_there(&*self.disk, partial).map_err(failed("remove", partial))?;
        let file = self.disk.create(partial).map_err(failed("create", partial))?;
        let written = self.compress(segment, &*file, may_rest).map_err(failed("compress into", partial))?;
        file.sync().map_err(failed("sync", partial))?;
        let read = self.text_of(partial, segment.first, may_rest).map_err(failed("read back", partial))?;
        if read != written.text {
            let reason = "what was compressed is not what comes out of it".to_owned();
            return Err(Trouble::Failed(format!("{}: {reason}", partial.display())));
        }
        self.disk.rename(partial, target).map_err(failed("rename", partial))?;
        self.disk.sync_folder(&self.folder).map_err(failed("sync", &self.folder))?;
        self.record(Event::SegmentSealed {
            first: segment.first,
            last: Sequence(next.0.saturating_sub(1)),
            file: target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            bytes: written.file.bytes,
            sha256: hex(&written.file.sha256),
            text_bytes: written.text.bytes,
        })?;
        self.remove(std::slice::from_ref(&segment.path))
    }

    /// Writes the text of a segment, compressed, with a checksum of its content.
    fn compress(&self, segment: &Segment, file: &dyn DiskFile, may_rest: bool) -> io::Result<Written> {
        let mut text = segment::text_of(segment, 0)?;
        let target = Summed::new(Appending(file));
        let mut encoder = zstd::Encoder::new(io::BufWriter::with_capacity(BLOCK_BYTES, target), LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.set_pledged_src_size(Some(segment::text_bytes(segment)?))?;
        let mut copied = Summed::new(&mut encoder);
        self.copy(&mut text, &mut copied, may_rest)?;
        let text = copied.finish();
        let target = encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Written { text, file: target.finish() })
    }

    /// What a compressed file holds.
    fn text_of(&self, path: &Path, first: Sequence, may_rest: bool) -> io::Result<Sum> {
        let segment = Segment { first, path: path.to_owned(), is_compressed: true };
        let mut text = Summed::new(io::sink());
        self.copy(&mut segment::text_of(&segment, 0)?, &mut text, may_rest)?;
        Ok(text.finish())
    }

    fn copy(&self, from: &mut dyn Read, to: &mut dyn Write, may_rest: bool) -> io::Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let begun = Instant::now();
            if self.stopping.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match from.read(&mut block)? {
                0 => return Ok(()),
                count => to.write_all(&block[..count])?,
            }
            if may_rest {
                std::thread::sleep(begun.elapsed().min(REST_TIME_MAX / REST) * REST);
            }
        }
    }

    /// Drops the text of the oldest closed segments, as far as retention says.
    fn drop_text(&self) -> Result<(), Trouble> {
        let (keep_age, keep_bytes) = (self.settings.keep_age, self.settings.keep_bytes);
        if keep_age.is_none() && keep_bytes.is_none() {
            return Ok(());
        }
        let segments = self.segments()?;
        let now = self.log.upgrade().ok_or(Trouble::Stopping)?.now();
        let size = |segment: &Segment| std::fs::metadata(&segment.path).map_or(0, |metadata| metadata.len());
        let mut taken: u64 = segments.iter().filter(|segment| segment.is_compressed).map(size).sum();
        let mut dropped: Vec<Segment> = Vec::new();
        let mut last = None;
        for pair in segments.windows(2) {
            let [segment, next] = pair else { continue };
            // One that is not sealed yet has no record that says what it was.
            if !segment.is_compressed {
                break;
            }
            let is_old = match keep_age {
                Some(age) => self.began(next)?.is_some_and(|time| is_older(time, now, age)),
                None => false,
            };
            let because = match keep_bytes {
                _ if is_old => DropReason::Age,
                Some(most) if taken > most => DropReason::Size,
                _ => break,
            };
            taken = taken.saturating_sub(size(segment));
            dropped.push(segment.clone());
            last = Some((Sequence(next.first.0.saturating_sub(1)), because));
        }
        let Some((through, because)) = last else { return Ok(()) };
        start::keep(&*self.disk, &self.folder, &dropped).map_err(|error| {
            Trouble::Failed(format!("could not keep the host's start of text that is to be dropped: {error}"))
        })?;
        self.record(Event::TextDropped { through, because })?;
        let files: Vec<PathBuf> = dropped.into_iter().map(|segment| segment.path).collect();
        self.remove(&files)
    }

    /// The time of a segment's first record: no record before it is much younger.
    fn began(&self, segment: &Segment) -> Result<Option<Timestamp>, Trouble> {
        let failed =
            |error: io::Error| Trouble::Failed(format!("could not read {}: {error}", segment.path.display()));
        let mut lines = Lines::open(segment, 0).map_err(failed)?;
        if lines.next().map_err(failed)? != Found::Line {
            return Ok(None);
        }
        Ok(serde_json::from_slice::<Record>(lines.line()).ok().map(|record| record.time))
    }

    fn segments(&self) -> Result<Vec<Segment>, Trouble> {
        segment::list(&self.folder)
            .map_err(|error| Trouble::Failed(format!("could not list {}: {error}", self.folder.display())))
    }

    fn record(&self, event: Event) -> Result<(), Trouble> {
        let log = self.log.upgrade().ok_or(Trouble::Stopping)?;
        log.append_blocking(event, &self.stopping).map_err(Trouble::from)
    }

    /// Removes files once nobody needs them to stay.
    fn remove(&self, files: &[PathBuf]) -> Result<(), Trouble> {
        let held = self.log.upgrade().ok_or(Trouble::Stopping)?.files();
        let _alone = loop {
            if self.stopping.load(Ordering::SeqCst) {
                return Err(Trouble::Stopping);
            }
            match held.try_write() {
                Ok(alone) => break alone,
                Err(_) => std::thread::sleep(PAUSE),
            }
        };
        let removed = files.iter().try_for_each(|path| remove_if_there(&*self.disk, path));
        removed
            .and_then(|()| self.disk.sync_folder(&self.folder))
            .map_err(|error| Trouble::Failed(format!("could not remove closed segments: {error}")))
    }
}

fn is_older(time: Timestamp, now: Timestamp, age: Duration) -> bool {
    now.duration_since(time).unsigned_abs() > age && now > time
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// What was made of a segment.
struct Written {
    text: Sum,
    file: Sum,
}

/// A file of the log as a stream.
struct Appending<'a>(&'a dyn DiskFile);

impl Write for Appending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        disk::write_all(self.0, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
