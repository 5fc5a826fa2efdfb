//! Follows the log for those who pass it on: its lines from a record on, as they reach the disk.

use std::path::Path;

use super::index::FoundLine;
use super::query::{Filter, ReadError, Reader, read};
use crate::ids::Sequence;

/// A place in the log that moves towards its end.
#[derive(Debug)]
pub struct Follower {
    reader: Reader,
    from: Sequence,
    /// A line that was read and is not on disk yet.
    held: Option<FoundLine>,
}

impl Follower {
    /// Begins with a record, or with the first one after it whose text is kept.
    pub fn new(folder: &Path, from: Sequence) -> Self {
        let reader = read(folder, Filter { from: Some(from), ..Filter::default() });
        Self { reader, from, held: None }
    }

    /// The next lines up to the record `last`, at most so many and about so many bytes. None for now, if there
    /// is none. Blocks on the disk.
    ///
    /// # Errors
    /// [`ReadError`]: begin anew.
    pub fn next(
        &mut self,
        last: Sequence,
        lines_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<FoundLine>, ReadError> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < lines_max && bytes < bytes_max {
            let line = match self.held.take() {
                Some(line) => line,
                None => match self.reader.next_line()? {
                    Some(seq) if seq < self.from => continue,
                    Some(seq) => FoundLine { seq, line: self.reader.line()?.as_bytes().to_vec() },
                    None => break,
                },
            };
            if line.seq > last {
                self.held = Some(line);
                break;
            }
            bytes += line.line.len();
            lines.push(line);
        }
        Ok(lines)
    }
}
