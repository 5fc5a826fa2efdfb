//! `portcullis audit query`, `show` and `reindex`: read the log and its index, without a host.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::asking::{Asked, QueryArguments, ReindexArguments, ShowArguments};
use super::evidence::total;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::progress::Meter;
use super::{environment, records, story};
use crate::audit::event::Record;
use crate::audit::index::{FoundLine, IndexError, Indexed, LogIndex};
use crate::audit::search::{Search, Way};
use crate::audit::story::{STORY_RECORDS_MAX, tell};
use crate::config::DataPaths;
use crate::gateway::HostError;
use crate::text::clean_line;

/// How much of any one text a cell of CSV has.
const CELL_BYTES_MAX: usize = 8 << 10;

/// Shows the records that are asked for.
pub(super) async fn query(
    data_folder: Option<PathBuf>,
    arguments: QueryArguments,
    output: Output,
) -> Result<Exit, Failure> {
    let folder = folder(data_folder, arguments.asked.folder.as_ref())?;
    let way = way(&folder, &arguments.asked, output).await?;
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let mut search = Search::new(&folder, way, arguments.question(), arguments.order.into(), limit);
    let shape = begin(&arguments, &output)?;
    while let Some(lines) = search.next().await.map_err(failure)? {
        output.text(&shown(&lines, shape)?)?;
    }
    Ok(Exit::Ok)
}

/// How the lines of an answer are shown; says first what must come first.
pub(super) fn begin(arguments: &QueryArguments, output: &Output) -> Result<Shape, Failure> {
    let shape = match (arguments.csv, output.json) {
        (true, _) => Shape::Csv,
        (false, true) => Shape::Json,
        (false, false) => Shape::Text,
    };
    if shape == Shape::Csv {
        output.text(&csv_of(&[COLUMNS.map(str::to_owned)])?)?;
    }
    Ok(shape)
}

/// Shows the story of a call.
pub(super) async fn show(
    data_folder: Option<PathBuf>,
    arguments: ShowArguments,
    output: Output,
) -> Result<Exit, Failure> {
    let folder = folder(data_folder, arguments.asked.folder.as_ref())?;
    let way = way(&folder, &arguments.asked, output).await?;
    let call = arguments.call;
    match tell(&folder, &way, call, STORY_RECORDS_MAX).await.map_err(failure)? {
        Some(told) => output.answer(&told, story::text).map(|()| Exit::Ok),
        None => Err(Failure::input(format!("the log has no call {call}"))),
    }
}

/// What was indexed.
#[derive(Debug, Serialize)]
struct Reindexed {
    folder: PathBuf,
    records: u64,
    bytes: u64,
}

/// Makes the index anew.
pub(super) async fn reindex(
    data_folder: Option<PathBuf>,
    arguments: ReindexArguments,
    output: Output,
) -> Result<Exit, Failure> {
    let folder = folder(data_folder, arguments.folder.as_ref())?;
    let index = LogIndex::open(&folder).await.map_err(failure)?;
    let mut meter = Meter::new(&output, "indexing", total(&folder));
    let rebuilt = index.rebuild(|bytes| meter.advance(bytes)).await;
    drop(meter);
    index.close().await;
    let Indexed { records, bytes } = rebuilt.map_err(failure)?;
    output.answer(&Reindexed { folder, records, bytes }, |done| {
        format!("indexed {} records, {} bytes, of {}", done.records, done.bytes, done.folder.display())
    })?;
    Ok(Exit::Ok)
}

/// The folder of the log, which must be there.
fn folder(data_folder: Option<PathBuf>, folder: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    let folder = match folder {
        Some(folder) => folder.clone(),
        None => DataPaths::of(&environment::chosen(data_folder)?).audit(),
    };
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(Failure::input(format!("there is no log in {}", folder.display())))
    }
}

/// By the index, brought up to date; by reading the log, where there can be none, which is said.
async fn way(folder: &Path, asked: &Asked, output: Output) -> Result<Way, Failure> {
    if asked.no_index {
        return Ok(Way::Read);
    }
    let indexed = async {
        let index = LogIndex::open(folder).await?;
        let mut meter = Meter::new(&output, "indexing", None);
        index.catch_up(|bytes| meter.advance(bytes)).await?;
        Ok(index)
    };
    match indexed.await {
        Ok(index) => Ok(Way::Index(index)),
        Err(error @ (IndexError::Database { .. } | IndexError::Disagrees { .. })) => {
            output.note(&format!("note: {error}. The log itself is read."));
            Ok(Way::Read)
        }
        Err(error @ (IndexError::Read(_) | IndexError::TooMuch { .. })) => Err(failure(error)),
    }
}

fn failure(error: IndexError) -> Failure {
    match error {
        IndexError::Read(error) => HostError::from(error).into(),
        IndexError::TooMuch { .. } => Failure::input(error.to_string()),
        IndexError::Database { .. } | IndexError::Disagrees { .. } => Failure::host(error.to_string()),
    }
}

/// How lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Json,
    Csv,
}

/// Lines as text.
pub(super) fn shown(lines: &[FoundLine], shape: Shape) -> Result<String, Failure> {
    match shape {
        // As they stand in the log: what made them has escaped them.
        Shape::Json => Ok(joined(lines.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()))),
        Shape::Text => {
            let records: Result<Vec<Record>, Failure> = lines.iter().map(parse).collect();
            Ok(joined(records?.iter().map(records::line)))
        }
        Shape::Csv => {
            let rows: Result<Vec<_>, Failure> = lines.iter().map(row).collect();
            csv_of(&rows?)
        }
    }
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

fn parse<T: serde::de::DeserializeOwned>(line: &FoundLine) -> Result<T, Failure> {
    serde_json::from_slice(&line.line)
        .map_err(|error| Failure::host(format!("record {} can't be read: {error}", line.seq)))
}

/// The columns: keys of records.
const COLUMNS: [&str; 24] = [
    "seq",
    "time",
    "event",
    "call",
    "parent",
    "principal",
    "by",
    "package",
    "digest",
    "tool",
    "revision",
    "interface",
    "function",
    "subject",
    "decision",
    "rule",
    "attempt",
    "outcome",
    "error",
    "status",
    "bytes_in",
    "bytes_out",
    "duration_ns",
    "secret",
];

fn row(line: &FoundLine) -> Result<[String; COLUMNS.len()], Failure> {
    let record: serde_json::Map<String, serde_json::Value> = parse(line)?;
    Ok(COLUMNS.map(|column| match record.get(column) {
        None => String::new(),
        Some(serde_json::Value::String(text)) => cell(text),
        Some(other) => cell(&other.to_string()),
    }))
}

/// A cell that acts on nobody: no control characters, and nothing that a spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    let text = clean_line(text, CELL_BYTES_MAX);
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

fn csv_of(rows: &[[String; COLUMNS.len()]]) -> Result<String, Failure> {
    let unwritable = |error: String| Failure::host(format!("CSV can't be written: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(|error| unwritable(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| unwritable(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| unwritable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula_and_one_line() {
        let line = br#"{"seq":7,"time":"2026-01-02T03:04:05Z","event":"host_call","subject":"=HYPERLINK(\"x\")\n\u001b[31m","duration_ns":5}"#;
        let line = FoundLine { seq: crate::ids::Sequence(7), line: line.to_vec() };
        let csv = shown(&[line], Shape::Csv).expect("a row");
        insta::assert_snapshot!(csv, @r#"7,2026-01-02T03:04:05Z,host_call,,,,,,,,,,,"'=HYPERLINK(""x"") ",,,,,,,,,5,"#);
    }
}
