//! The index of the audit log: where the records are that somebody asks for. A file of its own beside the log.
//!
//! It is made from the log, and can be made again at any time; it is no evidence. It holds no line: who
//! asks reads the lines where it points to, and sees whether they are what was asked for. This file is
//! SQLite's only: `GLOB` and partial indexes are not portable, and it is never shared.

mod facts;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool};

pub use self::facts::{Facts, Order, Question};
use super::{DatabaseError, TURN_TIMEOUT, from_integer, on_file, private_file, to_integer};
use crate::ids::{CallId, PackageName, PrincipalId, Sequence};
use crate::wildcard::Wildcard;

/// What the tables are. An index of another number is made anew.
const SCHEMA: i64 = 1;

/// The most entries that are added at once: SQLite takes 32,766 values in a statement.
pub const ENTRIES_MAX: usize = 1_900;

/// How long a statement waits for another process that indexes: one batch takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const TABLES: [&str; 8] = [
    "CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    "CREATE TABLE records (
        seq INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, time INTEGER NOT NULL,
        event INTEGER NOT NULL, call BLOB, parent BLOB, principal INTEGER, package INTEGER, tool INTEGER,
        interface INTEGER, function INTEGER, decision INTEGER, outcome INTEGER, subject TEXT,
        attempt INTEGER, denied INTEGER NOT NULL)",
    "CREATE INDEX records_call ON records (call) WHERE call IS NOT NULL",
    "CREATE INDEX records_parent ON records (parent) WHERE parent IS NOT NULL",
    "CREATE INDEX records_time ON records (time)",
    "CREATE INDEX records_denied ON records (seq) WHERE denied = 1",
    "CREATE TABLE place (
        one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL, segment INTEGER NOT NULL,
        line_offset INTEGER NOT NULL, end_offset INTEGER NOT NULL, line_hash BLOB NOT NULL)",
    "PRAGMA user_version = 1",
];

/// One record, and where its line begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// What can be asked for.
    pub facts: Facts,
    /// The first record of its segment.
    pub segment: Sequence,
    /// Where in the segment's text its line begins.
    pub offset: u64,
}

/// How far the log is indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPlace {
    /// The record after the last one that is indexed.
    pub next: Sequence,
    /// The first record of the last one's segment.
    pub segment: Sequence,
    /// Where the last one's line begins.
    pub line_offset: u64,
    /// Where it ends.
    pub end_offset: u64,
    /// What it was: BLAKE3.
    pub line_hash: [u8; 32],
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which.
    pub seq: Sequence,
    /// The first record of its segment.
    pub segment: Sequence,
    /// Where in the segment's text its line begins.
    pub offset: u64,
}

/// The index of one log. Several processes may use it at once.
#[derive(Clone, Debug)]
pub struct AuditIndex {
    pool: SqlitePool,
}

impl AuditIndex {
    /// Opens the index at `path`, or makes an empty one, with mode 0600.
    ///
    /// # Errors
    /// [`DatabaseError`], such as `Open` where the folder can't be written.
    pub async fn open(path: &Path) -> Result<Self, DatabaseError> {
        on_file(path, private_file).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // What a power loss takes is read from the log again.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(TURN_TIMEOUT)
            .connect_with(options)
            .await?;
        let index = Self { pool };
        if index.schema().await? != SCHEMA {
            index.clear().await?;
        }
        Ok(index)
    }

    async fn schema(&self) -> Result<i64, DatabaseError> {
        Ok(sqlx::query_scalar("PRAGMA user_version").fetch_one(&self.pool).await?)
    }

    /// Closes the file. Later calls fail.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Empties it.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn clear(&self) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for table in ["place", "records", "names"] {
            sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}")))
                .execute(&mut *transaction)
                .await?;
        }
        for statement in TABLES {
            sqlx::query(statement).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// How far the log is indexed; none if nothing is.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn place(&self) -> Result<Option<IndexPlace>, DatabaseError> {
        let row = sqlx::query("SELECT next, segment, line_offset, end_offset, line_hash FROM place");
        let Some(row) = row.fetch_optional(&self.pool).await? else { return Ok(None) };
        let hash: Vec<u8> = row.try_get("line_hash")?;
        Ok(Some(IndexPlace {
            next: Sequence(number(&row, "next")?),
            segment: Sequence(number(&row, "segment")?),
            line_offset: number(&row, "line_offset")?,
            end_offset: number(&row, "end_offset")?,
            line_hash: hash
                .try_into()
                .map_err(|_| DatabaseError::corrupt("line_hash: not 32 bytes".to_owned()))?,
        }))
    }

    /// Adds entries, at most [`ENTRIES_MAX`], that go on where `before` was. False, and nothing is added, if
    /// that is not any more how far the log is indexed: another process was here.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing is added.
    pub async fn add(
        &self,
        before: Option<Sequence>,
        entries: &[IndexEntry],
        place: &IndexPlace,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let next: Option<i64> =
            sqlx::query_scalar("SELECT next FROM place").fetch_optional(&mut *transaction).await?;
        if next != before.map(|next| to_integer(next.0)).transpose()? {
            return Ok(false);
        }
        let names = keep_names(&mut transaction, entries).await?;
        insert(&mut transaction, entries, &names).await?;
        sqlx::query(
            "INSERT OR REPLACE INTO place (one, next, segment, line_offset, end_offset, line_hash)
             VALUES (1, $1, $2, $3, $4, $5)",
        )
        .bind(to_integer(place.next.0)?)
        .bind(to_integer(place.segment.0)?)
        .bind(to_integer(place.line_offset)?)
        .bind(to_integer(place.end_offset)?)
        .bind(place.line_hash.as_slice())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Drops what is before a record: its text is not kept any more.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn forget_before(&self, first: Sequence) -> Result<(), DatabaseError> {
        let statement = sqlx::query("DELETE FROM records WHERE seq < $1").bind(to_integer(first.0)?);
        statement.execute(&self.pool).await?;
        Ok(())
    }

    /// How many records are indexed.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn count(&self) -> Result<u64, DatabaseError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM records").fetch_one(&self.pool).await?;
        from_integer("count", count)
    }

    /// The next records that are asked for, at most `limit`, in order, after one of them.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn find(
        &self,
        question: &Question,
        order: Order,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<Hit>, DatabaseError> {
        let (first, last) = self.bounds(question).await?;
        let mut query = QueryBuilder::<Sqlite>::new("SELECT seq, segment, offset FROM records WHERE seq >= ");
        let after = after.map(|after| to_integer(after.0)).transpose()?;
        let (first, last) = match (order, after) {
            (_, None) => (first, last),
            (Order::OldestFirst, Some(after)) => (first.max(after.saturating_add(1)), last),
            (Order::NewestFirst, Some(after)) => (first, last.min(after.saturating_sub(1))),
        };
        query.push_bind(first).push(" AND seq <= ").push_bind(last);
        narrow(&mut query, question)?;
        query.push(match order {
            Order::OldestFirst => " ORDER BY seq ASC LIMIT ",
            Order::NewestFirst => " ORDER BY seq DESC LIMIT ",
        });
        query.push_bind(to_integer(limit as u64)?);
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(hit).collect()
    }

    /// Between which records all those of a time are, so that they can be read in order. The clock may have been
    /// set back, so that not all between them are of that time.
    async fn bounds(&self, question: &Question) -> Result<(i64, i64), DatabaseError> {
        let (mut first, mut last) = (0, i64::MAX);
        if let Some(since) = question.since {
            let found: Option<i64> = sqlx::query_scalar("SELECT MIN(seq) FROM records WHERE time >= $1")
                .bind(nanoseconds(since))
                .fetch_one(&self.pool)
                .await?;
            first = found.unwrap_or(i64::MAX);
        }
        if let Some(until) = question.until {
            let found: Option<i64> = sqlx::query_scalar("SELECT MAX(seq) FROM records WHERE time < $1")
                .bind(nanoseconds(until))
                .fetch_one(&self.pool)
                .await?;
            last = found.unwrap_or(-1);
        }
        Ok((first, last))
    }

    /// The calls that a call's tool made, at most `limit`, in the order of their first records.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn nested_calls(&self, call: CallId, limit: usize) -> Result<Vec<CallId>, DatabaseError> {
        let calls: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT call FROM records WHERE parent = $1 AND call IS NOT NULL
             GROUP BY call ORDER BY MIN(seq) LIMIT $2",
        )
        .bind(call.as_bytes().as_slice())
        .bind(to_integer(limit as u64)?)
        .fetch_all(&self.pool)
        .await?;
        let id = |bytes: Vec<u8>| {
            let bytes =
                bytes.try_into().map_err(|_| DatabaseError::corrupt("call: not 16 bytes".to_owned()))?;
            Ok(CallId::from_bytes(bytes))
        };
        calls.into_iter().map(id).collect()
    }
}

/// Adds what is asked for to the condition.
fn narrow(query: &mut QueryBuilder<Sqlite>, question: &Question) -> Result<(), DatabaseError> {
    let Question {
        since,
        until,
        call,
        principal,
        package,
        interface,
        function,
        subject,
        decision,
        outcome,
        event,
    } = question;
    // The signs keep SQLite from the index of times, whose order is not that of records.
    if let Some(since) = since {
        query.push(" AND +time >= ").push_bind(nanoseconds(*since));
    }
    if let Some(until) = until {
        query.push(" AND +time < ").push_bind(nanoseconds(*until));
    }
    if let Some(call) = call {
        query.push(" AND call = ").push_bind(call.as_bytes().to_vec());
    }
    if decision.as_deref() == Some("denied") {
        query.push(" AND denied = 1");
    }
    let exact = [
        ("event", event.as_deref()),
        ("principal", principal.as_ref().map(PrincipalId::as_str)),
        ("package", package.as_ref().map(PackageName::as_str)),
        ("decision", decision.as_deref()),
        ("outcome", outcome.as_deref()),
    ];
    for (column, wanted) in exact {
        if let Some(wanted) = wanted {
            query.push(" AND ").push(column).push(" = (SELECT id FROM names WHERE text = ");
            query.push_bind(wanted.to_owned()).push(")");
        }
    }
    for (column, wanted) in [("interface", interface), ("function", function)] {
        if let Some(wanted) = wanted {
            query.push(" AND ").push(column).push(" IN (SELECT id FROM names WHERE text");
            compare(query, wanted);
            query.push(")");
        }
    }
    if let Some(wanted) = subject {
        query.push(" AND subject");
        compare(query, wanted);
    }
    Ok(())
}

/// SQLite's `GLOB` has stars and question marks as we have them, and brackets, which we have not.
fn compare(query: &mut QueryBuilder<Sqlite>, wanted: &Wildcard) {
    match wanted.literal() {
        Some(literal) => query.push(" = ").push_bind(literal.to_owned()),
        None => query.push(" GLOB ").push_bind(wanted.as_str().replace('[', "[[]")),
    };
}

type Names = std::collections::HashMap<String, i64>;

fn names_of(facts: &Facts) -> impl Iterator<Item = &str> {
    let optional = [
        &facts.principal,
        &facts.package,
        &facts.tool,
        &facts.interface,
        &facts.function,
        &facts.decision,
        &facts.outcome,
    ];
    std::iter::once(facts.event.as_str()).chain(optional.into_iter().filter_map(|name| name.as_deref()))
}

/// The numbers of all names in the entries, those that are new included.
async fn keep_names(
    connection: &mut SqliteConnection,
    entries: &[IndexEntry],
) -> Result<Names, DatabaseError> {
    let mut names: Vec<&str> = entries.iter().flat_map(|entry| names_of(&entry.facts)).collect();
    names.sort_unstable();
    names.dedup();
    let mut known = Names::new();
    // Each entry can have eight names; a statement takes 32,766 values.
    for some in names.chunks(10_000) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO names (text) ");
        insert.push_values(some, |mut row, name| {
            row.push_bind(*name);
        });
        insert.build().persistent(false).execute(&mut *connection).await?;
        let mut select = QueryBuilder::<Sqlite>::new("SELECT id, text FROM names WHERE text IN (");
        let mut listed = select.separated(", ");
        for name in some {
            listed.push_bind(*name);
        }
        select.push(")");
        for row in select.build().persistent(false).fetch_all(&mut *connection).await? {
            known.insert(row.try_get("text")?, row.try_get("id")?);
        }
    }
    Ok(known)
}

async fn insert(
    connection: &mut SqliteConnection,
    entries: &[IndexEntry],
    names: &Names,
) -> Result<(), DatabaseError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut statement = QueryBuilder::<Sqlite>::new(
        "INSERT INTO records (seq, segment, offset, time, event, call, parent, principal, package, tool,
         interface, function, decision, outcome, subject, attempt, denied) ",
    );
    let integer = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    statement.push_values(entries, |mut row, IndexEntry { facts, segment, offset }| {
        let id = |name: &Option<String>| name.as_ref().and_then(|name| names.get(name)).copied();
        row.push_bind(integer(facts.seq.0)).push_bind(integer(segment.0)).push_bind(integer(*offset));
        row.push_bind(nanoseconds(facts.time)).push_bind(names.get(&facts.event).copied());
        row.push_bind(facts.call.map(|call| call.as_bytes().to_vec()));
        row.push_bind(facts.parent.map(|parent| parent.as_bytes().to_vec()));
        row.push_bind(id(&facts.principal)).push_bind(id(&facts.package)).push_bind(id(&facts.tool));
        row.push_bind(id(&facts.interface)).push_bind(id(&facts.function));
        row.push_bind(id(&facts.decision)).push_bind(id(&facts.outcome));
        row.push_bind(facts.subject.as_deref()).push_bind(facts.attempt.map(|attempt| integer(attempt.0)));
        row.push_bind(facts.decision.as_deref() == Some("denied"));
    });
    statement.build().persistent(false).execute(&mut *connection).await?;
    if entries.iter().any(|entry| entry.facts.attempt.is_some()) {
        // An effect's outcome is asked for by what its attempt says.
        sqlx::query(
            "UPDATE records SET (interface, function, subject, decision) =
               (SELECT a.interface, a.function, a.subject, a.decision FROM records a WHERE a.seq = records.attempt)
             WHERE seq >= $1 AND attempt IS NOT NULL",
        )
        .bind(integer(entries[0].facts.seq.0))
        .execute(connection)
        .await?;
    }
    Ok(())
}

fn nanoseconds(time: jiff::Timestamp) -> i64 {
    // Times of records are within these 584 years.
    i64::try_from(time.as_nanosecond()).unwrap_or(if time.as_second() < 0 { i64::MIN } else { i64::MAX })
}

fn number(row: &SqliteRow, column: &str) -> Result<u64, DatabaseError> {
    from_integer(column, row.try_get(column)?)
}

fn hit(row: &SqliteRow) -> Result<Hit, DatabaseError> {
    Ok(Hit {
        seq: Sequence(number(row, "seq")?),
        segment: Sequence(number(row, "segment")?),
        offset: number(row, "offset")?,
    })
}
