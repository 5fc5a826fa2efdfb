//! Ships records: follows the log, gives batches to a sink, and keeps how far it is once the sink has taken them.
//!
//! At least once: what is sent and not acknowledged is sent again, after a restart too. Only what is on disk is sent.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Surroundings;
use super::ocsf::{Translated, translate};
use super::otlp::{self, LogRecord};
use super::spans::Spans;
use super::status::Status;
use super::syslog::Syslog;
use super::web::Web;
use crate::audit::Log;
use crate::audit::event::Event;
use crate::audit::follow::Follower;
use crate::audit::index::FoundLine;
use crate::ids::{OutletName, Sequence};

/// The most records and bytes of one batch.
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 512 << 10;
/// How long more is waited for after something came: a batch costs the sink about as much as a record.
const LINGER: Duration = Duration::from_millis(250);
/// Between two tries: from the first to the longest, doubling, with jitter.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
const CURSOR_BYTES_MAX: u64 = 1_000;

/// What takes records.
#[derive(Debug)]
pub(super) enum Sink {
    File(PathBuf),
    Syslog(Box<Syslog>),
    Logs(Box<Web>),
    Traces(Box<Web>, Box<Spans>),
}

/// One outlet of records.
#[derive(Debug)]
pub(super) struct Shipper {
    sink: Sink,
    audit: PathBuf,
    origin: String,
    cursor: PathBuf,
    /// The next record to be sent; unknown until the cursor was read.
    next: Option<Sequence>,
    /// It never sent anything: it begins with the oldest text that is kept, and has lost nothing.
    is_new: bool,
    follower: Option<Follower>,
    status: Arc<Status>,
    log: Log,
    /// The first record after those that were lost and told.
    lost_before: Option<Sequence>,
}

/// How far it is, as the file says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    next: u64,
}

impl Shipper {
    pub(super) fn new(
        name: OutletName,
        sink: Sink,
        surroundings: &Surroundings,
        status: Arc<Status>,
        log: Log,
    ) -> Self {
        let cursor = surroundings.audit.join("ship").join(format!("{name}.cursor"));
        let (audit, origin) = (surroundings.audit.clone(), surroundings.origin.clone());
        Self {
            sink,
            audit,
            origin,
            cursor,
            next: None,
            is_new: false,
            follower: None,
            status,
            log,
            lost_before: None,
        }
    }

    /// Works until it is told to stop, or the log is gone; then it passes on what is left, if the sink takes it.
    pub(super) async fn run(
        mut self,
        mut durable: watch::Receiver<Sequence>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut pauses = pauses();
        let mut is_last = false;
        loop {
            is_last |= *stopping.borrow_and_update();
            let last = *durable.borrow_and_update();
            match self.step(last).await {
                Ok(true) => pauses = self::pauses(),
                Ok(false) if is_last => return,
                Ok(false) => tokio::select! {
                    changed = durable.changed() => match changed {
                        Ok(()) => sleep(LINGER).await,
                        Err(_) => is_last = true,
                    },
                    // Its sender gone is as good as its word.
                    _ = stopping.changed() => is_last = true,
                },
                Err(reason) => {
                    self.follower = None;
                    self.status.failed(&reason);
                    if is_last {
                        return;
                    }
                    tokio::select! {
                        () = sleep(pauses.next().unwrap_or(PAUSES.1)) => {}
                        _ = stopping.changed() => return,
                    }
                }
            }
        }
    }

    /// Sends one batch. Whether there was one.
    async fn step(&mut self, last: Sequence) -> Result<bool, String> {
        let next = match self.next {
            Some(next) => next,
            None => {
                let cursor = read_cursor(&self.cursor)?;
                self.is_new = cursor.is_none();
                let next = Sequence(cursor.unwrap_or(0));
                self.status.resume(next.0);
                *self.next.insert(next)
            }
        };
        if next.0 > last.0.saturating_add(1) {
            return Err(format!(
                "its cursor {} is at record {next}, and the log ends at {last}: it is of another log; delete it to \
                 ship this one from its beginning",
                self.cursor.display()
            ));
        }
        let mut follower = self.follower.take().unwrap_or_else(|| Follower::new(&self.audit, next));
        let read = tokio::task::spawn_blocking(move || {
            let lines = follower.next(last, BATCH_RECORDS, BATCH_BYTES);
            lines.map(|lines| (lines, follower))
        });
        let (lines, follower) =
            read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let (Some(first), Some(end)) = (lines.first(), lines.last()) else {
            self.follower = Some(follower);
            return Ok(false);
        };
        self.status.owe();
        let after = Sequence(end.seq.0 + 1);
        let (first, lost) = (first.seq, first.seq.0.saturating_sub(next.0));
        self.send(&lines).await?;
        if lost > 0 && !self.is_new {
            self.tell_lost(lost, first).await?;
        }
        let path = self.cursor.clone();
        let kept = tokio::task::spawn_blocking(move || write_cursor(&path, after)).await;
        let kept = kept.map_err(|error| error.to_string())?;
        kept.map_err(|error| format!("its cursor {} can't be kept: {error}", self.cursor.display()))?;
        (self.next, self.is_new) = (Some(after), false);
        self.follower = Some(follower);
        self.status.took(after.0);
        Ok(true)
    }

    /// Records that the text of records was dropped before it was sent: before the cursor moves, so that no crash
    /// keeps it from the log, and once, though the cursor may be hard to keep.
    async fn tell_lost(&mut self, records: u64, before: Sequence) -> Result<(), String> {
        if self.lost_before == Some(before) {
            return Ok(());
        }
        let (name, through) = (self.status.name.clone(), Sequence(before.0 - 1));
        let recorded = self.log.append(Event::OutletLost { name, records, through }).await;
        recorded
            .map_err(|error| format!("{records} records were lost, and that can't be recorded: {error}"))?;
        self.lost_before = Some(before);
        self.status.lost(records);
        Ok(())
    }

    async fn send(&mut self, lines: &[FoundLine]) -> Result<(), String> {
        if let Sink::Traces(web, known) = &mut self.sink {
            // What is known moves on when the batch was taken: it may come again.
            let mut after = known.clone();
            let spans: Result<Vec<_>, String> = lines.iter().map(|line| after.of(line)).collect();
            let spans: Vec<_> = spans?.into_iter().flatten().collect();
            if !spans.is_empty() {
                otlp::send(web, otlp::traces(spans)).await?;
            }
            *known = after;
            return Ok(());
        }
        let batch: Result<Vec<_>, String> = lines.iter().map(|line| translate(line, &self.origin)).collect();
        let batch = batch?;
        match &self.sink {
            Sink::File(path) => {
                let path = path.clone();
                let written = tokio::task::spawn_blocking(move || append(&path, &batch));
                written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
            }
            Sink::Syslog(syslog) => syslog.send(&batch).await,
            Sink::Traces(..) => Ok(()),
            Sink::Logs(web) => {
                let now = jiff::Timestamp::now().as_nanosecond();
                otlp::send(web, otlp::logs(batch.into_iter().map(|event| log_record(event, now)).collect()))
                    .await
            }
        }
    }
}

fn pauses() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(PAUSES.0)
        .with_max_delay(PAUSES.1)
        .with_jitter()
        .without_max_times()
        .build()
}

fn log_record(event: Translated, observed_ns: i128) -> LogRecord {
    let severity = match event.severity_id {
        0..=1 => (9, "INFO"),
        2 => (10, "INFO2"),
        3 => (13, "WARN"),
        _ => (17, "ERROR"),
    };
    LogRecord {
        time_ns: event.time.as_nanosecond(),
        observed_ns,
        severity,
        event: event.event,
        body: event.json,
        seq: event.seq,
    }
}

/// Appends lines to a file and waits for the disk. The file is opened each time, so that it may be rotated.
fn append(path: &Path, batch: &[Translated]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut text = Vec::new();
    if file.metadata()?.len() > 0 {
        // What a crash tore off stays a line of its own; the record comes again.
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push(b'\n');
        }
    }
    for event in batch {
        text.extend_from_slice(event.json.as_bytes());
        text.push(b'\n');
    }
    file.write_all(&text)?;
    file.sync_data()
}

/// The next record to be sent, if there is a cursor.
fn read_cursor(path: &Path) -> Result<Option<u64>, String> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(CURSOR_BYTES_MAX).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("its cursor {} can't be read: {error}", path.display())),
    }
    let cursor: Result<Cursor, _> = serde_json::from_str(&text);
    let unusable = |error| {
        format!(
            "its cursor {} is not what this host wrote ({error}); delete it to ship the log from its beginning",
            path.display()
        )
    };
    cursor.map(|cursor| Some(cursor.next)).map_err(unusable)
}

/// Puts a cursor in the place of the one before, so that it outlives a crash.
fn write_cursor(path: &Path, next: Sequence) -> io::Result<()> {
    let text = serde_json::to_vec(&Cursor { next: next.0 })?;
    keep(path, &text)
}

/// Puts a file in the place of the one before, so that it outlives a crash; makes its folder.
pub(super) fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}
