//! Calls that outlive their request, and the answers that are kept of them.
//!
//! A row is on disk before its call begins. Rows go when their time is over; the answers of one caller together have
//! a bound, at which the oldest go first.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};

use super::{Database, DatabaseError, from_integer, from_text, to_integer};
use crate::ids::{CallId, PackageName, PrincipalId, ToolName};

/// Whether who asked waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallMode {
    /// It does.
    Sync,
    /// It comes back for it.
    Async,
}

impl CallMode {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            CallMode::Sync => "sync",
            CallMode::Async => "async",
        }
    }
}

/// How a kept call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptEnd {
    /// The tool answered.
    Succeeded,
    /// It gave no answer.
    Failed,
    /// It was asked to end.
    Cancelled,
    /// The host ended before it did.
    Interrupted,
}

impl KeptEnd {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            KeptEnd::Succeeded => "succeeded",
            KeptEnd::Failed => "failed",
            KeptEnd::Cancelled => "cancelled",
            KeptEnd::Interrupted => "interrupted",
        }
    }
}

/// A call that is to be kept.
#[derive(Clone, Debug)]
pub struct NewKeptCall {
    /// Its id.
    pub call: CallId,
    /// Who asked.
    pub asked_by: PrincipalId,
    /// In whose name.
    pub principal: PrincipalId,
    /// For which package.
    pub package: PackageName,
    /// For which tool.
    pub tool: ToolName,
    /// Whether who asked waits for it.
    pub mode: CallMode,
    /// Its key, and the fingerprint of the request that the key stands for.
    pub key: Option<(String, String)>,
}

/// What is known of a kept call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRow {
    /// Its id.
    pub call: CallId,
    /// Who asked.
    pub asked_by: PrincipalId,
    /// In whose name.
    pub principal: PrincipalId,
    /// For which package.
    pub package: PackageName,
    /// For which tool.
    pub tool: ToolName,
    /// Whether who asked waited for it.
    pub mode: CallMode,
    /// The fingerprint of its request, if it has a key.
    pub fingerprint: Option<String>,
    /// When it was taken, to the millisecond.
    pub accepted: Timestamp,
    /// How and when it ended; `None`: it is open.
    pub end: Option<(KeptEnd, Timestamp)>,
    /// Until when it is kept; `None` while it is open.
    pub keep_until: Option<Timestamp>,
    /// What its caller was told, as JSON.
    pub answer: Option<String>,
}

/// The bounds of what is kept of one caller's calls.
#[derive(Clone, Copy, Debug)]
pub struct KeptBounds {
    /// Calls with a key; one more is refused.
    pub keyed: usize,
    /// Calls without one; for one more, the oldest that has ended goes.
    pub unkeyed: usize,
    /// Bytes of their answers; for more, the oldest answers go.
    pub answer_bytes: u64,
}

/// What came of asking to keep a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// It is kept.
    New,
    /// There is one with its key.
    Known(Box<KeptRow>),
    /// There is no room for another key. When the first goes; `None`: when a call ends.
    NoRoom(Option<Timestamp>),
}

/// Which kept calls are asked for. The newest come first.
#[derive(Clone, Debug, Default)]
pub struct KeptQuery {
    /// Only those that this principal asked for; `None`: all.
    pub asked_by: Option<PrincipalId>,
    /// Only those in this state; `Some(None)`: only open ones.
    pub end: Option<Option<KeptEnd>>,
    /// Only those older than this one.
    pub before: Option<CallId>,
}

type Columns = (
    String,
    String,
    String,
    String,
    String,
    String,
    Option<String>,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

const COLUMNS: &str =
    "id, asked_by, principal, package, tool, mode, fingerprint, state, accepted_at, ended_at, keep_until";

impl Database {
    /// Keeps a call, unless there is one with its key already.
    ///
    /// # Errors
    /// [`DatabaseError`]; then it is not kept.
    pub async fn keep_call(
        &self,
        new: &NewKeptCall,
        bounds: KeptBounds,
        now: Timestamp,
    ) -> Result<Keeping, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        match &new.key {
            Some((key, _)) => {
                if let Some(row) = keyed(&mut transaction, new, key).await? {
                    if row.keep_until.is_none_or(|until| until > now) {
                        return Ok(Keeping::Known(Box::new(row)));
                    }
                    delete(&mut transaction, row.call).await?;
                }
                let (count, first) = count_keyed(&mut transaction, new).await?;
                if count >= bounds.keyed as u64 {
                    return Ok(Keeping::NoRoom(first));
                }
            }
            None => make_room(&mut transaction, new, bounds.unkeyed).await?,
        }
        let (key, fingerprint) = new.key.clone().unzip();
        sqlx::query(
            "INSERT INTO calls (id, asked_by, principal, package, tool, mode, idempotency_key, fingerprint, \
             state, accepted_at, answer_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, 0)",
        )
        .bind(new.call.to_string())
        .bind(new.asked_by.as_str())
        .bind(new.principal.as_str())
        .bind(new.package.as_str())
        .bind(new.tool.as_str())
        .bind(new.mode.name())
        .bind(key)
        .bind(fingerprint)
        .bind(now.as_millisecond())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Keeping::New)
    }

    /// Notes how an open call ended, and keeps what its caller was told; for an answer that has no room beside the
    /// caller's others, the oldest of those go.
    ///
    /// # Errors
    /// [`DatabaseError`]; then it is open as before.
    pub async fn end_kept_call(
        &self,
        call: CallId,
        (end, now): (KeptEnd, Timestamp),
        keep_until: Timestamp,
        answer: Option<&str>,
        bounds: KeptBounds,
    ) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        let answer = answer.filter(|answer| answer.len() as u64 <= bounds.answer_bytes);
        if let Some(answer) = answer {
            let room = bounds.answer_bytes - answer.len() as u64;
            drop_answers(&mut transaction, call, room).await?;
        }
        sqlx::query(
            "UPDATE calls SET state = $2, ended_at = $3, keep_until = $4, answer_bytes = $5, answer = $6 \
             WHERE id = $1 AND state = 'open'",
        )
        .bind(call.to_string())
        .bind(end.name())
        .bind(now.as_millisecond())
        .bind(keep_until.as_millisecond())
        .bind(to_integer(answer.map_or(0, str::len) as u64)?)
        .bind(answer)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Forgets the key of a call, so that it can be used again.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn release_key(&self, call: CallId) -> Result<(), DatabaseError> {
        sqlx::query("UPDATE calls SET idempotency_key = NULL, fingerprint = NULL WHERE id = $1")
            .bind(call.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets a call.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn forget_call(&self, call: CallId) -> Result<(), DatabaseError> {
        sqlx::query("DELETE FROM calls WHERE id = $1").bind(call.to_string()).execute(&self.pool).await?;
        Ok(())
    }

    /// A kept call with its answer.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn kept_call(&self, call: CallId, now: Timestamp) -> Result<Option<KeptRow>, DatabaseError> {
        let sql = format!(
            "SELECT {COLUMNS}, answer FROM calls WHERE id = $1 AND (keep_until IS NULL OR keep_until > $2)"
        );
        let row: Option<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(call.to_string())
            .bind(now.as_millisecond())
            .fetch_optional(&self.readers)
            .await?;
        row.map(read).transpose()
    }

    /// The kept call that has the key of this one.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn call_of_key(
        &self,
        new: &NewKeptCall,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KeptRow>, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        let row = keyed(&mut transaction, new, key).await?;
        Ok(row.filter(|row| row.keep_until.is_none_or(|until| until > now)))
    }

    /// Kept calls without their answers, the newest first, at most `limit`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn kept_calls(
        &self,
        query: &KeptQuery,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<KeptRow>, DatabaseError> {
        let state = query.end.map(|end| end.map_or("open", KeptEnd::name));
        let sql = format!(
            "SELECT {COLUMNS}, NULL FROM calls WHERE (keep_until IS NULL OR keep_until > $1) \
             AND ($2 IS NULL OR asked_by = $2) AND ($3 IS NULL OR state = $3) AND ($4 IS NULL OR id < $4) \
             ORDER BY id DESC LIMIT $5"
        );
        let rows: Vec<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(now.as_millisecond())
            .bind(query.asked_by.as_ref().map(PrincipalId::as_str))
            .bind(state)
            .bind(query.before.map(|call| call.to_string()))
            .bind(to_integer(limit as u64)?)
            .fetch_all(&self.readers)
            .await?;
        rows.into_iter().map(read).collect()
    }

    /// Marks all open calls as interrupted: the host that ran them ended before they did. Each is kept for `kept_ms`
    /// from now, and one with a key for `key_ms`. How many there were.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn interrupt_kept_calls(
        &self,
        now: Timestamp,
        kept_ms: i64,
        key_ms: i64,
    ) -> Result<u64, DatabaseError> {
        let done = sqlx::query(
            "UPDATE calls SET state = 'interrupted', ended_at = $1, keep_until = $1 + \
             CASE WHEN idempotency_key IS NULL THEN $2 ELSE $3 END WHERE state = 'open'",
        )
        .bind(now.as_millisecond())
        .bind(kept_ms)
        .bind(key_ms)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Removes calls whose time is over, and gives how many are left, and how many bytes their answers have.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn sweep_kept_calls(&self, now: Timestamp) -> Result<(u64, u64), DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        let over: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM calls WHERE keep_until <= $1")
            .bind(now.as_millisecond())
            .fetch_one(&mut *connection)
            .await?;
        if over > 0 {
            // What is over is not left in the file's free space.
            sqlx::query("PRAGMA secure_delete = ON").execute(&mut *connection).await?;
            let deleted = sqlx::query("DELETE FROM calls WHERE keep_until <= $1")
                .bind(now.as_millisecond())
                .execute(&mut *connection)
                .await;
            // Others need not pay for it.
            sqlx::query("PRAGMA secure_delete = OFF").execute(&mut *connection).await?;
            deleted?;
        }
        let (count, bytes): (i64, i64) =
            sqlx::query_as("SELECT COUNT(*), COALESCE(SUM(answer_bytes), 0) FROM calls")
                .fetch_one(&mut *connection)
                .await?;
        Ok((from_integer("calls", count)?, from_integer("calls.answer_bytes", bytes)?))
    }

    /// Removes the answers of all calls that were made in a principal's name.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn erase_kept_answers(&self, principal: &PrincipalId) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query("PRAGMA secure_delete = ON").execute(&mut *connection).await?;
        let erased = sqlx::query("UPDATE calls SET answer = NULL, answer_bytes = 0 WHERE principal = $1")
            .bind(principal.as_str())
            .execute(&mut *connection)
            .await;
        sqlx::query("PRAGMA secure_delete = OFF").execute(&mut *connection).await?;
        Ok(erased.map(drop)?)
    }
}

/// The call of this caller that has this key.
async fn keyed(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &NewKeptCall,
    key: &str,
) -> Result<Option<KeptRow>, DatabaseError> {
    let sql = format!(
        "SELECT {COLUMNS}, answer FROM calls WHERE asked_by = $1 AND principal = $2 AND idempotency_key = $3"
    );
    let row: Option<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(new.asked_by.as_str())
        .bind(new.principal.as_str())
        .bind(key)
        .fetch_optional(&mut **transaction)
        .await?;
    row.map(read).transpose()
}

/// How many keys this caller has, and when the first of them goes.
async fn count_keyed(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &NewKeptCall,
) -> Result<(u64, Option<Timestamp>), DatabaseError> {
    let (count, first): (i64, Option<i64>) = sqlx::query_as(
        "SELECT COUNT(*), MIN(keep_until) FROM calls \
         WHERE asked_by = $1 AND principal = $2 AND idempotency_key IS NOT NULL",
    )
    .bind(new.asked_by.as_str())
    .bind(new.principal.as_str())
    .fetch_one(&mut **transaction)
    .await?;
    Ok((from_integer("calls", count)?, first.map(moment).transpose()?))
}

/// Has the oldest calls go that have ended and have no key, so that there is room for one.
async fn make_room(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &NewKeptCall,
    max: usize,
) -> Result<(), DatabaseError> {
    let kept: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, state FROM calls WHERE asked_by = $1 AND principal = $2 AND idempotency_key IS NULL \
         ORDER BY id",
    )
    .bind(new.asked_by.as_str())
    .bind(new.principal.as_str())
    .fetch_all(&mut **transaction)
    .await?;
    let too_many = (kept.len() + 1).saturating_sub(max);
    let ended = kept.iter().filter(|(_, state)| state != "open");
    for (id, _) in ended.take(too_many) {
        delete(transaction, from_text("calls.id", id)?).await?;
    }
    Ok(())
}

async fn delete(transaction: &mut Transaction<'_, Sqlite>, call: CallId) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM calls WHERE id = $1").bind(call.to_string()).execute(&mut **transaction).await?;
    Ok(())
}

/// Has the oldest answers of the caller of `call` go, until what is left of them fits into `room`.
async fn drop_answers(
    transaction: &mut Transaction<'_, Sqlite>,
    call: CallId,
    room: u64,
) -> Result<(), DatabaseError> {
    let caller: Option<(String, String)> =
        sqlx::query_as("SELECT asked_by, principal FROM calls WHERE id = $1")
            .bind(call.to_string())
            .fetch_optional(&mut **transaction)
            .await?;
    let Some((asked_by, principal)) = caller else { return Ok(()) };
    let held: i64 = sqlx::query_scalar(
        "SELECT COALESCE(SUM(answer_bytes), 0) FROM calls WHERE asked_by = $1 AND principal = $2",
    )
    .bind(&asked_by)
    .bind(&principal)
    .fetch_one(&mut **transaction)
    .await?;
    let mut held = from_integer("calls.answer_bytes", held)?;
    if held <= room {
        return Ok(());
    }
    let answers: Vec<(String, i64)> = sqlx::query_as(
        "SELECT id, answer_bytes FROM calls WHERE asked_by = $1 AND principal = $2 AND answer_bytes > 0 \
         ORDER BY id",
    )
    .bind(&asked_by)
    .bind(&principal)
    .fetch_all(&mut **transaction)
    .await?;
    for (id, bytes) in answers {
        if held <= room {
            break;
        }
        sqlx::query("UPDATE calls SET answer = NULL, answer_bytes = 0 WHERE id = $1")
            .bind(id)
            .execute(&mut **transaction)
            .await?;
        held = held.saturating_sub(from_integer("calls.answer_bytes", bytes)?);
    }
    Ok(())
}

fn read(columns: Columns) -> Result<KeptRow, DatabaseError> {
    let (
        id,
        asked_by,
        principal,
        package,
        tool,
        mode,
        fingerprint,
        state,
        accepted,
        ended,
        keep_until,
        answer,
    ) = columns;
    let unknown =
        |column: &str, text: &str| DatabaseError::corrupt(format!("{column}: {text:?} is not known"));
    let mode = match mode.as_str() {
        "sync" => CallMode::Sync,
        "async" => CallMode::Async,
        other => return Err(unknown("calls.mode", other)),
    };
    let end = match state.as_str() {
        "open" => None,
        "succeeded" => Some(KeptEnd::Succeeded),
        "failed" => Some(KeptEnd::Failed),
        "cancelled" => Some(KeptEnd::Cancelled),
        "interrupted" => Some(KeptEnd::Interrupted),
        other => return Err(unknown("calls.state", other)),
    };
    let ended = ended.map(moment).transpose()?;
    Ok(KeptRow {
        call: from_text("calls.id", &id)?,
        asked_by: from_text("calls.asked_by", &asked_by)?,
        principal: from_text("calls.principal", &principal)?,
        package: from_text("calls.package", &package)?,
        tool: from_text("calls.tool", &tool)?,
        mode,
        fingerprint,
        accepted: moment(accepted)?,
        end: end.map(|end| (end, ended.unwrap_or_default())),
        keep_until: keep_until.map(moment).transpose()?,
        answer,
    })
}

fn moment(milliseconds: i64) -> Result<Timestamp, DatabaseError> {
    Timestamp::from_millisecond(milliseconds)
        .map_err(|error| DatabaseError::corrupt(format!("a time of calls: {error}")))
}

#[cfg(test)]
mod tests;
