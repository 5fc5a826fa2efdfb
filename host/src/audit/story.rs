//! The whole story of one call: its records, and those of the calls that its tool made, as a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{Event, Record};
use super::index::{FoundLine, IndexError, LogIndex, blocking};
use super::query::{Filter, ReadError, read};
use super::search::Way;
use crate::database::audit_index::{Order, Question};
use crate::ids::{CallId, Sequence};

/// The most records of a story, those of nested calls included.
pub const STORY_RECORDS_MAX: usize = 100_000;

/// The most calls of a story.
pub const STORY_CALLS_MAX: usize = 10_000;

/// How deep calls are shown to nest: far more than a host lets them.
const DEPTH_MAX: usize = 64;

/// How many records are read at once.
const BATCH_RECORDS: usize = 1_000;

/// What is known of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Story {
    /// The call.
    pub call: CallId,
    /// Its own records, in their order.
    pub records: Vec<Record>,
    /// The calls that its tool made, in the order of their first records.
    pub calls: Vec<Story>,
}

/// A story, and whether it is all there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// The call and what it led to.
    #[serde(flatten)]
    pub story: Story,
    /// Whether records were left out: there are more than [`STORY_RECORDS_MAX`], or than [`STORY_CALLS_MAX`] calls.
    pub is_cut: bool,
}

/// Reads the story of a call, at most so many records, and at most [`STORY_RECORDS_MAX`]; none if the log does not
/// know it.
///
/// # Errors
/// [`IndexError`].
pub async fn tell(
    folder: &Path,
    way: &Way,
    call: CallId,
    records_max: usize,
) -> Result<Option<Told>, IndexError> {
    let records_max = records_max.min(STORY_RECORDS_MAX);
    let (records, is_cut) = match way {
        Way::Index(index) => by_index(folder, index, call, records_max).await?,
        Way::Read => {
            let folder = folder.to_owned();
            blocking(move || by_reading(&folder, call, records_max)).await?
        }
    };
    Ok(Story::of(call, records).map(|story| Told { story, is_cut }))
}

async fn by_index(
    folder: &Path,
    index: &LogIndex,
    call: CallId,
    records_max: usize,
) -> Result<(Vec<Record>, bool), IndexError> {
    let mut records = Vec::new();
    let mut calls = vec![call];
    let mut at = 0;
    let mut is_cut = false;
    while let Some(call) = calls.get(at).copied() {
        at += 1;
        let question = Question { call: Some(call), ..Question::default() };
        let mut after = None;
        loop {
            let lines = index.find(&question, Order::OldestFirst, after, BATCH_RECORDS).await?;
            let Some(last) = lines.last().map(|line| line.seq) else { break };
            after = Some(last);
            for line in &lines {
                records.push(parse(folder, line)?);
            }
            if records.len() > records_max {
                records.truncate(records_max);
                return Ok((records, true));
            }
        }
        let room = STORY_CALLS_MAX.saturating_sub(calls.len());
        let nested = index.nested_calls(call, room + 1).await?;
        is_cut |= nested.len() > room;
        // A log that was tampered with could have calls that are each other's parents.
        let new = nested.into_iter().take(room).filter(|nested| !calls.contains(nested));
        let new: Vec<_> = new.collect();
        calls.extend(new);
    }
    records.sort_by_key(|record| record.seq);
    Ok((records, is_cut))
}

fn parse(folder: &Path, line: &FoundLine) -> Result<Record, ReadError> {
    serde_json::from_slice(&line.line).map_err(|error| ReadError::Damaged {
        path: folder.to_owned(),
        offset: 0,
        reason: format!("record {} can't be read: {error}", line.seq),
    })
}

/// A nested call comes after its parent began, so that one pass finds all.
fn by_reading(folder: &Path, call: CallId, records_max: usize) -> Result<(Vec<Record>, bool), ReadError> {
    let mut calls = BTreeSet::from([call]);
    let mut records = Vec::new();
    for record in read(folder, Filter::default()) {
        let record = record?;
        let Some(own) = record.event.call() else { continue };
        if parent(&record.event).is_some_and(|parent| calls.contains(&parent))
            && calls.len() < STORY_CALLS_MAX
        {
            calls.insert(own);
        }
        if !calls.contains(&own) {
            continue;
        }
        if records.len() == records_max {
            return Ok((records, true));
        }
        records.push(record);
    }
    let is_cut = calls.len() == STORY_CALLS_MAX;
    Ok((records, is_cut))
}

/// The call whose tool made the one that a record is about.
fn parent(event: &Event) -> Option<CallId> {
    if let Event::CallDenied { parent, .. } = event {
        return *parent;
    }
    event.context().and_then(|context| context.parent)
}

impl Story {
    /// Puts records in order of their calls. None if there is none of `call`.
    fn of(call: CallId, records: Vec<Record>) -> Option<Self> {
        let mut parts: BTreeMap<CallId, (Option<CallId>, Vec<Record>)> = BTreeMap::new();
        let mut order = Vec::new();
        for record in records {
            let Some(own) = record.event.call() else { continue };
            let part = parts.entry(own).or_insert_with(|| {
                order.push(own);
                (None, Vec::new())
            });
            part.0 = part.0.or(parent(&record.event));
            part.1.push(record);
        }
        let mut children: BTreeMap<CallId, Vec<CallId>> = BTreeMap::new();
        for own in order {
            if own != call
                && let Some((Some(parent), _)) = parts.get(&own)
            {
                children.entry(*parent).or_default().push(own);
            }
        }
        build(call, &mut parts, &children, DEPTH_MAX)
    }

    /// The place of its first record.
    pub fn begins(&self) -> Option<Sequence> {
        self.records.first().map(|record| record.seq)
    }
}

/// Each call is taken once, so that this ends.
fn build(
    call: CallId,
    parts: &mut BTreeMap<CallId, (Option<CallId>, Vec<Record>)>,
    children: &BTreeMap<CallId, Vec<CallId>>,
    depth: usize,
) -> Option<Story> {
    let depth = depth.checked_sub(1)?;
    let (_, records) = parts.remove(&call)?;
    let nested = children.get(&call).map(Vec::as_slice).unwrap_or_default();
    let calls = nested.iter().filter_map(|nested| build(*nested, parts, children, depth)).collect();
    Some(Story { call, records, calls })
}
