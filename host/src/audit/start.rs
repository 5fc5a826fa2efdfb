//! The host's start before the text that is kept: a receipt has it, and a host may run for longer than text is kept.
//!
//! When retention drops the record of it, its line stays in `start`. Nobody believes it for that: whoever uses
//! it proves that it is in the tree, as any other line.

use std::fs::File;
use std::io::{self, BufRead as _, Read as _};
use std::path::{Path, PathBuf};

use super::disk::{self, Disk};
use super::event::{Event, Record};
use super::line::LINE_BYTES_MAX;
use super::prove::Line;
use super::segment::{self, Found, Lines, Segment};

/// Its file.
pub(super) fn path_of(folder: &Path) -> PathBuf {
    folder.join("start")
}

/// What the line of a start holds. No text of a guest reads so: its quotes are escaped.
const START: &[u8] = br#""event":"host_started""#;

/// Keeps the newest start in segments that are about to be dropped, the oldest first; if they have none, the one
/// that was kept before stays.
pub(super) fn keep(disk: &dyn Disk, folder: &Path, dropped: &[Segment]) -> io::Result<()> {
    for segment in dropped.iter().rev() {
        let mut lines = Lines::open(segment, 0)?;
        let mut newest = None;
        while lines.next()? == Found::Line {
            if lines.line().windows(START.len()).any(|window| window == START) {
                newest = Some(lines.line().to_vec());
            }
        }
        if let Some(line) = newest {
            return disk::replace(disk, &path_of(folder), &line);
        }
    }
    Ok(())
}

/// The start that was kept, if it is from before the text that is kept.
pub(super) fn read(folder: &Path) -> io::Result<Option<Line>> {
    let Some(first) = segment::list(folder)?.into_iter().next().map(|segment| segment.first) else {
        return Ok(None);
    };
    let file = match File::open(path_of(folder)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    io::BufReader::new(file.take(LINE_BYTES_MAX as u64)).read_line(&mut text)?;
    let text = text.trim_end_matches('\n').to_owned();
    // What is no start is of no use to anybody, and is as good as missing.
    let record = serde_json::from_str::<Record>(&text).ok();
    let is_before = |record: &Record| matches!(record.event, Event::HostStarted { .. }) && record.seq < first;
    Ok(record.filter(is_before).map(|record| Line { seq: record.seq, text }))
}
