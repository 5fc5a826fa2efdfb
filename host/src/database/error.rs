//! Why the database did not answer, in our words. SQLite's codes are read here only.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;

use crate::ids::Revision;

/// Why the database did not do what was asked. Unless a variant says otherwise, the fault lies
/// with the host's disk or its admin, never with an agent or a tool.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file can't be opened or made.
    #[error("the database {path:?} can't be opened: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not what this host wrote. Nothing is guessed: restore a copy.
    #[error("the database is damaged ({what}); restore a copy of the data folder")]
    Corrupt {
        /// What does not fit.
        what: String,
    },
    /// It can't be written.
    #[error("the database is read-only; check the permissions of the data folder")]
    ReadOnly,
    /// The disk is full. Nothing of the change was made.
    #[error("the disk is full; nothing was changed")]
    Full,
    /// Somebody else held it for longer than we wait.
    #[error("the database is busy; try again")]
    Busy,
    /// A newer host wrote it.
    #[error(
        "the database has schema {found}, this version knows {known} and older: run the newer version of portcullis"
    )]
    NewerSchema {
        /// The schema of the file.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// A change of grants was begun and neither put in force nor dropped;
    /// [`Database::settle`](super::Database::settle) decides it by the log.
    #[error(
        "the change to revision {revision} is not settled; restart the host, which will look it up in the log"
    )]
    Unsettled {
        /// The revision that it would make.
        revision: Revision,
    },
    /// The log knows of changes that the database does not: it is an old copy, which would revive
    /// revoked grants.
    #[error(
        "the database is at revision {database}, the log at {log}: this is an old copy of the database, and it may allow what was revoked or forbidden since; put back a whole backup with `portcullis restore`, never the database alone"
    )]
    Behind {
        /// The database's revision.
        database: Revision,
        /// The log's last revision.
        log: Revision,
    },
    /// The database knows of changes that the log does not: records are missing at the log's end.
    #[error(
        "the log ends at revision {log}, the database is at {database}: records are missing at the end of the log, so it is an old copy or was cut; put back a whole backup with `portcullis restore`"
    )]
    Ahead {
        /// The database's revision.
        database: Revision,
        /// The log's last revision.
        log: Revision,
    },
    /// The copy that is kept before an upgrade of the schema could not be made, so nothing was upgraded.
    #[error(
        "the database has schema {found} and was not upgraded, since no copy of it could be kept in {path:?}: {reason}"
    )]
    NoCopy {
        /// The schema of the file.
        found: i64,
        /// Where the copy should be.
        path: PathBuf,
        /// Why it can't.
        reason: String,
    },
    /// A table has no room for more rows, by its bound. The admin's fault.
    #[error("there may be at most {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// Something else failed in the database.
    #[error("the database failed: {0}")]
    Other(#[source] sqlx::Error),
}

impl DatabaseError {
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(super) fn migration(error: MigrateError, known: i64) -> Self {
        if let MigrateError::VersionMissing(found) = error
            && found > known
        {
            return Self::NewerSchema { found, known };
        }
        if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = error {
            return error.into();
        }
        Self::corrupt(error.to_string())
    }
}

// Primary result codes: <https://www.sqlite.org/rescode.html>.
const SQLITE_PERM: u32 = 3;
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_READONLY: u32 = 8;
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_NOTADB: u32 = 26;

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        // The code is the extended one, whose low byte is the primary one.
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .and_then(|code| code.parse::<u32>().ok())
            .map(|code| code & 0xff);
        match (code, &error) {
            (Some(SQLITE_CORRUPT | SQLITE_NOTADB), _) => Self::corrupt(error.to_string()),
            (Some(SQLITE_READONLY | SQLITE_PERM), _) => Self::ReadOnly,
            (Some(SQLITE_FULL), _) => Self::Full,
            (Some(SQLITE_BUSY | SQLITE_LOCKED), _) | (None, sqlx::Error::PoolTimedOut) => Self::Busy,
            (
                None,
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_),
            ) => Self::corrupt(error.to_string()),
            _ => Self::Other(error),
        }
    }
}
