//! The log: whether it can be read to its end, whether it ended well, and whether the database is its.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Check, DatabaseState, Owner};
use crate::audit::event::Event;
use crate::audit::query::{self, Filter, ReadError};
use crate::database::{Content, Look, PackageState};
use crate::ids::{PackageDigest, PackageName, Revision, Sequence};

/// What a log says, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogFacts {
    records: u64,
    /// The first record whose text is kept.
    first: Option<Sequence>,
    last: Option<Sequence>,
    pub(super) latest: Option<Timestamp>,
    revision: Revision,
    /// Whether the last record says that the host stopped in good order.
    ended_well: bool,
    /// Which bytes were approved last under a name; none if the package was removed.
    approved: BTreeMap<PackageName, Option<PackageDigest>>,
    /// Whether there was no time to read on.
    is_cut: bool,
}

/// Reads a log, for so long.
pub(super) fn read(folder: &Path, time_max: Duration) -> Result<LogFacts, ReadError> {
    let deadline = Instant::now() + time_max;
    let mut facts = LogFacts::default();
    for record in query::read(folder, Filter::default()) {
        let record = record?;
        facts.note(&record.event, record.seq, record.time);
        if facts.records.is_multiple_of(1024) && Instant::now() > deadline {
            facts.is_cut = true;
            break;
        }
    }
    Ok(facts)
}

impl LogFacts {
    fn note(&mut self, event: &Event, seq: Sequence, time: Timestamp) {
        self.records += 1;
        self.first.get_or_insert(seq);
        self.last = Some(seq);
        self.latest = self.latest.max(Some(time));
        self.revision = self.revision.max(event.revision().unwrap_or_default());
        self.ended_well = matches!(event, Event::HostStopped { .. });
        if let Event::PackageApproved { package, digest, .. } = event {
            self.approved.insert(package.clone(), Some(*digest));
        } else if let Event::PackageRemoved { package, .. } = event {
            self.approved.insert(package.clone(), None);
        }
    }
}

pub(super) fn checks(
    log: &Result<LogFacts, ReadError>,
    database: &DatabaseState,
    owner: &Owner,
) -> Vec<Check> {
    match log {
        Err(error) => vec![Check::fail(
            "log",
            error.to_string(),
            "keep a copy of the folder; what can be read is shown by `portcullis audit tail`, and a backup is put back with `portcullis restore`",
        )],
        Ok(facts) => {
            let content = match database {
                DatabaseState::Looked(Ok(Look { content, .. })) => content.as_ref(),
                DatabaseState::Missing | DatabaseState::WithOwner | DatabaseState::Looked(Err(_)) => None,
            };
            let mut checks = vec![readable(facts, owner)];
            checks.extend(settled(facts, content, owner));
            checks.extend(content.and_then(|content| approvals(facts, content)));
            checks
        }
    }
}

fn readable(facts: &LogFacts, owner: &Owner) -> Check {
    const NAME: &str = "log";
    let LogFacts { records, last, is_cut, ended_well, .. } = facts;
    if let Owner::Answers { log_failure: Some(failure), .. } = owner {
        return Check::fail(NAME, failure.clone(), "mend the disk, end that process and start it anew");
    }
    if let Owner::Answers { log_alarm: Some(alarm), .. } = owner {
        let advice = "make room on its disk; it is tried again by itself";
        return Check::warn(NAME, format!("closed segments are kept as they are: {alarm}"), advice);
    }
    let Some(last) = last else { return Check::info(NAME, "there are no records yet") };
    if *is_cut {
        return Check::info(
            NAME,
            format!("the first {records} records are readable; there was no time for more"),
        );
    }
    let found = format!("{records} records are readable, the last is {last}");
    match owner {
        Owner::Nobody if !ended_well => Check::warn(
            NAME,
            format!("{found}; its last host ended without a word"),
            "nothing to do: the next start mends it, and records what was interrupted",
        ),
        Owner::Nobody | Owner::Answers { .. } | Owner::Silent { .. } => Check::ok(NAME, found),
    }
}

/// Whether database and log belong together.
fn settled(facts: &LogFacts, content: Option<&Content>, owner: &Owner) -> Option<Check> {
    const NAME: &str = "settled";
    if facts.is_cut {
        return None;
    }
    let log = facts.revision;
    let (database, pending) = match (content, owner) {
        (Some(content), _) => (content.revision, content.pending),
        // It was settled when its owner started.
        (None, Owner::Answers { revision, .. }) => {
            return Some(Check::ok(NAME, format!("the owner's grants are at revision {revision}")));
        }
        (None, Owner::Nobody | Owner::Silent { .. }) => return None,
    };
    Some(match pending {
        Some(pending) if pending.0 == database.0 + 1 && (log == pending || log == database) => {
            let end = if log == pending { "made" } else { "dropped" };
            Check::info(
                NAME,
                format!("a change to revision {pending} was under way; the next start sees it {end}"),
            )
        }
        _ if database < log => Check::fail(
            NAME,
            format!(
                "the database is at revision {database}, the log at {log}: the database is an old copy, and may hold grants that were revoked since. No host starts with it"
            ),
            "put back a whole backup with `portcullis restore`, or the database that belongs to this log. Without either: move the folder away, add and approve the packages in a new one and apply the grants files",
        ),
        _ if database > log => Check::fail(
            NAME,
            format!(
                "the database is at revision {database}, the log ends at {log}: records are missing at the end of the log. No host starts with it"
            ),
            "put back the log that belongs to this database, or a whole backup with `portcullis restore`. Without either: keep this folder as evidence, and begin a new one",
        ),
        _ => Check::ok(NAME, format!("database and log are both at revision {log}")),
    })
}

/// Approvals make no revision, so an old copy of the database could bring back bytes that were replaced.
fn approvals(facts: &LogFacts, content: &Content) -> Option<Check> {
    const NAME: &str = "approvals";
    if facts.is_cut {
        return None;
    }
    let mut wrong = Vec::new();
    for package in content.packages.iter().filter(|package| package.state == PackageState::Approved) {
        match facts.approved.get(&package.name) {
            Some(Some(digest)) if *digest == package.digest => {}
            Some(Some(digest)) => {
                wrong.push(format!(
                    "{}: {digest} by the log, {} by the database",
                    package.name, package.digest
                ));
            }
            Some(None) => {
                wrong.push(format!("{}: removed by the log, approved by the database", package.name))
            }
            // It may have been in text that the host dropped.
            None if facts.first > Some(Sequence(0)) => {}
            None => wrong.push(format!("{}: the log knows of no approval", package.name)),
        }
    }
    Some(if wrong.is_empty() {
        Check::ok(NAME, "what the database holds approved, the log says was approved last")
    } else {
        Check::fail(
            NAME,
            wrong.join("; "),
            "a host died at that moment, or the database is an old copy: look with `portcullis package inspect`, and approve anew what shall run",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Package;
    use crate::doctor::Level;

    fn facts(revision: u64) -> LogFacts {
        LogFacts {
            revision: Revision(revision),
            ended_well: true,
            last: Some(Sequence(9)),
            ..Default::default()
        }
    }

    fn content(revision: u64, pending: Option<u64>) -> Content {
        let (packages, secrets) = Default::default();
        Content { revision: Revision(revision), pending: pending.map(Revision), packages, secrets }
    }

    fn level(log: u64, database: u64, pending: Option<u64>) -> Level {
        settled(&facts(log), Some(&content(database, pending)), &Owner::Nobody).expect("judged").level
    }

    #[test]
    fn a_database_and_a_log_belong_together_or_are_told_apart() {
        assert_eq!(level(3, 3, None), Level::Ok);
        assert_eq!(level(3, 2, None), Level::Fail);
        assert_eq!(level(2, 3, None), Level::Fail);
        assert_eq!(level(3, 2, Some(3)), Level::Info, "it was recorded, and will be made");
        assert_eq!(level(2, 2, Some(3)), Level::Info, "it was not, and will be dropped");
        assert_eq!(level(4, 2, Some(3)), Level::Fail);
    }

    #[test]
    fn an_approval_that_the_log_does_not_know_is_named() {
        let digest = |text: &str| PackageDigest::of(text.as_bytes());
        let package = |state| Package {
            name: "notes".parse().expect("a name"),
            digest: digest("old"),
            version: "1.0.0".parse().expect("a version"),
            bytes: 3,
            state,
            added_at: Timestamp::UNIX_EPOCH,
            approved_at: None,
            quarantine: None,
        };
        let judged_from = |first: u64, log: Option<Option<&str>>, state| {
            let mut facts = LogFacts { first: Some(Sequence(first)), ..facts(1) };
            if let Some(approved) = log {
                facts.approved.insert("notes".parse().expect("a name"), approved.map(digest));
            }
            approvals(&facts, &Content { packages: vec![package(state)], ..content(1, None) })
                .expect("judged")
                .level
        };
        let judged = |log, state| judged_from(0, log, state);
        assert_eq!(judged_from(7, None, PackageState::Approved), Level::Ok, "its text may be dropped");
        assert_eq!(judged_from(7, Some(Some("new")), PackageState::Approved), Level::Fail);
        assert_eq!(judged(Some(Some("old")), PackageState::Approved), Level::Ok);
        assert_eq!(judged(Some(Some("new")), PackageState::Approved), Level::Fail);
        assert_eq!(judged(Some(None), PackageState::Approved), Level::Fail);
        assert_eq!(judged(None, PackageState::Approved), Level::Fail);
        assert_eq!(judged(Some(Some("new")), PackageState::Superseded), Level::Ok);
    }

    #[test]
    fn a_log_that_did_not_end_well_is_mended_by_the_next_start() {
        let torn = LogFacts { ended_well: false, ..facts(1) };
        assert_eq!(readable(&torn, &Owner::Nobody).level, Level::Warn);
        assert_eq!(readable(&facts(1), &Owner::Nobody).level, Level::Ok);
        assert_eq!(readable(&LogFacts::default(), &Owner::Nobody).level, Level::Info);
    }
}
