//! What must hold of any log, however its calls ended. Reads it record by record: a soak's is large.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use portcullis::audit::event::{CallOutcome, Event, Record};
use portcullis::audit::query::{self, Filter};
use portcullis::ids::{CallId, Sequence};
use tempfile::TempDir;

/// A log that was read from its beginning to its end.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) records: u64,
    pub(crate) admitted: u64,
    pub(crate) denied: u64,
    /// How the admitted calls ended, by the name of the outcome.
    pub(crate) ends: BTreeMap<&'static str, u64>,
    pub(crate) packages_added: u64,
    pub(crate) packages_refused: u64,
    next: Option<Sequence>,
    open: BTreeMap<CallId, u64>,
}

/// Reads a whole log: no gap, nothing that can't be read, each admitted call closed once, with as many
/// records as its last one says.
#[track_caller]
pub(crate) fn check(folder: &Path) -> Checked {
    let mut checked = Checked::default();
    for record in query::read(folder, Filter::default()) {
        checked.take(&record.expect("the log can be read"));
    }
    assert!(checked.open.is_empty(), "admitted and never closed: {:?}", checked.open);
    checked
}

/// A temporary folder around a data folder. At the end of its test, each record of the log is held against the
/// published schema. What can't be read is what some tests are about; of a soak's log, the first records are enough.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

const HELD_MAX: usize = 100_000;

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl From<TempDir> for Folder {
    fn from(temporary: TempDir) -> Self {
        Self(temporary)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        static VALIDATOR: OnceLock<jsonschema::Validator> = OnceLock::new();
        if std::thread::panicking() {
            return;
        }
        let validator = VALIDATOR.get_or_init(|| {
            let schema = include_str!("../../docs/audit-record.schema.json");
            let schema = serde_json::from_str(schema).expect("JSON");
            jsonschema::validator_for(&schema).expect("a schema")
        });
        let records = query::read(&self.path().join("data/audit"), Filter::default()).take(HELD_MAX);
        for record in records.map_while(Result::ok) {
            let json = serde_json::to_value(&record).expect("JSON");
            let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "docs/audit-record.schema.json does not have {json}: {errors:?}");
        }
    }
}

impl Checked {
    #[track_caller]
    fn take(&mut self, record: &Record) {
        if let Some(next) = self.next {
            assert_eq!(record.seq, next, "no gaps");
        }
        self.next = Some(Sequence(record.seq.0 + 1));
        self.records += 1;
        if let Some(own) = record.event.context()
            && let Some(records) = self.open.get_mut(&own.call)
        {
            *records += 1;
        }
        match &record.event {
            Event::CallAdmitted { context, .. } => {
                self.admitted += 1;
                assert_eq!(self.open.insert(context.call, 1), None, "admitted twice: {record:?}");
            }
            Event::CallFinished { context, end } => {
                let records = self.open.remove(&context.call);
                assert_eq!(records, Some(end.records + 1), "{record:?}");
                *self.ends.entry(name(&end.outcome)).or_default() += 1;
            }
            Event::CallDenied { .. } => self.denied += 1,
            Event::PackageAdded { .. } => self.packages_added += 1,
            Event::PackageRefused { .. } => self.packages_refused += 1,
            _ => {}
        }
    }
}

fn name(outcome: &CallOutcome) -> &'static str {
    match outcome {
        CallOutcome::Ok => "ok",
        CallOutcome::LimitReached(reached) => reached.limit.name(),
        CallOutcome::Cancelled => "cancelled",
        _ => "failed",
    }
}
