//! What must hold of any log, however its calls ended. Reads it record by record: a soak's is large.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis::audit::event::{CallOutcome, Event, Record};
use portcullis::audit::query::{self, Filter};
use portcullis::ids::{CallId, Sequence};

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

impl Checked {
    #[track_caller]
    fn take(&mut self, record: &Record) {
        if let Some(next) = self.next {
            assert_eq!(record.seq, next, "no gaps");
        }
        self.next = Some(Sequence(record.seq.0 + 1));
        self.records += 1;
        if let Some(call) = record.event.call()
            && let Some(records) = self.open.get_mut(&call)
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
