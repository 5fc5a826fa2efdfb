//! Finds records, by the index or by reading the whole log: the answers are the same.
//!
//! Changes nothing of the log, and needs no running host. Holds a batch of lines at a time.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::index::{FoundLine, IndexError, LogIndex, blocking};
use super::query::{Filter, Reader, read};
use crate::database::audit_index::Facts;
use crate::ids::Sequence;

pub use crate::database::audit_index::{Order, Question};

/// How many lines are given at once.
const BATCH_LINES: usize = 500;

/// The most attempts without an outcome that are kept in mind while the log is read.
const ATTEMPTS_MAX: usize = 100_000;

/// The most bytes of lines that are kept while the log is read from its beginning for its newest records.
const NEWEST_BYTES_MAX: usize = 256 << 20;

/// How the log is asked.
#[derive(Clone, Debug)]
pub enum Way {
    /// By its index, which was brought up to date.
    Index(LogIndex),
    /// By reading it.
    Read,
}

/// A question being answered.
#[derive(Debug)]
pub struct Search {
    folder: PathBuf,
    question: Question,
    order: Order,
    /// How many lines are still wanted.
    left: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Index {
        index: LogIndex,
        after: Option<Sequence>,
    },
    Read {
        reader: Box<Reader>,
        attempts: Attempts,
    },
    /// What was found, newest first.
    Found(VecDeque<FoundLine>),
    Ended,
}

impl Search {
    /// Asks the log in a folder for at most `limit` records.
    pub fn new(folder: &Path, way: Way, question: Question, order: Order, limit: usize) -> Self {
        let state = match way {
            Way::Index(index) => State::Index { index, after: None },
            Way::Read => {
                let reader = Box::new(read(folder, Filter::default()));
                State::Read { reader, attempts: Attempts::default() }
            }
        };
        Self { folder: folder.to_owned(), question, order, left: limit, state }
    }

    /// The next lines; none at the end.
    ///
    /// # Errors
    /// [`IndexError`]: nothing more comes.
    pub async fn next(&mut self) -> Result<Option<Vec<FoundLine>>, IndexError> {
        loop {
            let wanted = self.left.min(BATCH_LINES);
            if wanted == 0 {
                return Ok(None);
            }
            let lines = match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(None),
                State::Index { index, after } => {
                    let lines = index.find(&self.question, self.order, after, wanted).await?;
                    let Some(last) = lines.last() else { return Ok(None) };
                    self.state = State::Index { index, after: Some(last.seq) };
                    lines
                }
                State::Read { mut reader, mut attempts } => {
                    let question = self.question.clone();
                    let order = self.order;
                    let left = self.left;
                    match order {
                        Order::OldestFirst => {
                            let read = blocking(move || {
                                let lines = some(&mut reader, &mut attempts, &question, wanted)?;
                                Ok::<_, IndexError>((lines, reader, attempts))
                            });
                            let (lines, reader, attempts) = read.await?;
                            if lines.is_empty() {
                                return Ok(None);
                            }
                            self.state = State::Read { reader, attempts };
                            lines
                        }
                        Order::NewestFirst => {
                            let found = blocking(move || newest(&mut reader, &question, left)).await?;
                            self.state = State::Found(found);
                            continue;
                        }
                    }
                }
                State::Found(mut found) => {
                    let lines: Vec<_> = found.drain(..wanted.min(found.len())).collect();
                    if lines.is_empty() {
                        return Ok(None);
                    }
                    self.state = State::Found(found);
                    lines
                }
            };
            self.left -= lines.len();
            return Ok(Some(lines));
        }
    }

    /// The log that is asked.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The next lines that are asked for, at most `wanted`.
fn some(
    reader: &mut Reader,
    attempts: &mut Attempts,
    question: &Question,
    wanted: usize,
) -> Result<Vec<FoundLine>, IndexError> {
    let mut lines = Vec::new();
    while lines.len() < wanted {
        let Some(seq) = reader.next_line()? else { break };
        let facts = attempts.facts(reader)?;
        if question.matches(&facts) {
            let line = reader.line()?.as_bytes().to_vec();
            lines.push(FoundLine { seq, line });
        }
    }
    Ok(lines)
}

/// The newest lines that are asked for, newest first.
fn newest(reader: &mut Reader, question: &Question, limit: usize) -> Result<VecDeque<FoundLine>, IndexError> {
    let mut attempts = Attempts::default();
    let mut found = VecDeque::new();
    let mut bytes = 0;
    loop {
        let Some(line) = some(reader, &mut attempts, question, 1)?.pop() else { return Ok(found) };
        bytes += line.line.len();
        found.push_front(line);
        while found.len() > limit {
            bytes -= found.pop_back().map_or(0, |line| line.line.len());
        }
        if bytes > NEWEST_BYTES_MAX {
            let reason = format!(
                "more than {} MiB of lines would be kept to show the newest first: give a limit, or use the index",
                NEWEST_BYTES_MAX >> 20
            );
            return Err(IndexError::TooMuch { reason });
        }
    }
}

/// Attempts whose outcome was not read yet.
#[derive(Debug, Default)]
struct Attempts(BTreeMap<Sequence, Facts>);

impl Attempts {
    /// The facts of the line that was read last.
    fn facts(&mut self, reader: &Reader) -> Result<Facts, IndexError> {
        let mut facts = Facts::of(reader.line()?.as_bytes())
            .map_err(|error| reader.damaged(&format!("the line is not a record: {error}")))?;
        match facts.attempt.and_then(|attempt| self.0.remove(&attempt)) {
            Some(attempt) => facts.complete(&attempt),
            None if facts.event == "effect_attempted" => {
                self.0.insert(facts.seq, facts.clone());
                if self.0.len() > ATTEMPTS_MAX {
                    self.0.pop_first();
                }
            }
            None => {}
        }
        Ok(facts)
    }
}
