//! Looks over the machine and a data folder, and says what is wrong and what to do about it.
//!
//! Changes nothing, works beside a running host and on a folder that no host can open. What only the
//! owner of the folder knows is asked by the caller, and handed in.

mod folder;
mod log;
mod machine;
mod secrets;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::DataPaths;
use crate::database::{self, DatabaseError, Look};
use crate::ids::Revision;
use crate::secrets::SecretsKey;

/// How long the log is read. What comes after is said not to have been looked at.
const LOG_TIME_MAX: Duration = Duration::from_secs(60);

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know, and no fault.
    Info,
    /// It works, but not as well or as safely as it could.
    Warn,
    /// It does not work, or is not safe.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it stands.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, found: found.into(), advice: None }
    }

    fn info(name: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Info, ..Self::ok(name, found) }
    }

    fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warn, advice: Some(advice.into()), ..Self::ok(name, found) }
    }

    fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Fail, ..Self::warn(name, found, advice) }
    }
}

/// All that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version of this program.
    pub version: &'static str,
    /// The folder.
    pub data_dir: PathBuf,
    /// The worst of all levels.
    pub worst: Level,
    /// In the order in which one thing leads to the next.
    pub checks: Vec<Check>,
}

/// Who owns the folder, and what that process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody: it can be looked into.
    Nobody,
    /// A process that answers.
    Answers {
        /// Its process id.
        pid: u32,
        /// Its version.
        version: String,
        /// The revision of the grants in force.
        revision: Revision,
        /// Why its log takes no records, if it does not.
        log_failure: Option<String>,
        /// What is not as it should be with it all the same.
        log_alarm: Option<String>,
        /// Why it takes no new calls, if its disk is low.
        disk_low: Option<String>,
        /// What it keeps free on the disk.
        disk_reserve_bytes: u64,
    },
    /// A process that does not.
    Silent {
        /// Its process id, if it is known.
        pid: Option<u32>,
        /// What came instead of an answer.
        reason: String,
    },
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct Patient {
    /// The data folder; it need not be there.
    pub paths: DataPaths,
    /// Who owns it.
    pub owner: Owner,
    /// What a host started now would keep free on the disk.
    pub disk_reserve_bytes: u64,
    /// The key of stored secrets, if one was given from outside the folder.
    pub secrets_key: Option<SecretsKey>,
    /// Where the standard libraries of Rust's targets may be.
    pub toolchains: Vec<PathBuf>,
    /// The clock.
    pub now: Timestamp,
}

/// What is known of the database.
enum DatabaseState {
    /// There is none.
    Missing,
    /// Its owner has it open, so nobody else looks.
    WithOwner,
    Looked(Result<Look, DatabaseError>),
}

/// Looks at everything.
pub async fn examine(patient: Patient) -> Report {
    let database = match &patient.owner {
        Owner::Answers { .. } | Owner::Silent { .. } => DatabaseState::WithOwner,
        Owner::Nobody if !patient.paths.database().exists() => DatabaseState::Missing,
        Owner::Nobody => DatabaseState::Looked(database::look(&patient.paths.database()).await),
    };
    let data_dir = patient.paths.root().to_owned();
    let looked = tokio::task::spawn_blocking(move || look_over(&patient, &database));
    let checks = looked.await.unwrap_or_else(|error| {
        let found = format!("the examination did not come to its end: {error}");
        vec![Check::fail("doctor", found, "report this as a bug of portcullis")]
    });
    let worst = checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok);
    Report { version: env!("CARGO_PKG_VERSION"), data_dir, worst, checks }
}

fn look_over(patient: &Patient, database: &DatabaseState) -> Vec<Check> {
    let log = log::read(&patient.paths.audit(), LOG_TIME_MAX);
    let mut checks = machine::checks(&patient.owner);
    checks.push(machine::clock(patient.now, log.as_ref().ok().and_then(|log| log.latest)));
    checks.push(machine::disk(&patient.paths, &patient.owner, patient.disk_reserve_bytes));
    checks.push(folder::owner(&patient.owner));
    checks.extend(folder::permissions(&patient.paths));
    checks.push(folder::database(database));
    checks.extend(log::checks(&log, database, &patient.owner));
    checks.extend(folder::packages(&patient.paths, database));
    checks.push(folder::artifacts(&patient.paths));
    checks.push(secrets::check(&patient.paths, patient.secrets_key.as_ref(), database));
    checks.push(machine::toolchain(&patient.toolchains));
    checks
}
