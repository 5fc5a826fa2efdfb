//! The keys of evidence, as ciphertext: one in use for each principal, numbered.

use jiff::Timestamp;

use super::{Database, DatabaseError, from_integer, from_text, to_integer};
use crate::ids::PrincipalId;

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEvidenceKey {
    /// Its number.
    pub number: u64,
    /// Whose calls it is for.
    pub principal: PrincipalId,
    /// Base64; none once it was erased.
    pub sealed: Option<String>,
    /// When it was erased, if it was.
    pub erased_at: Option<Timestamp>,
}

type Columns = (i64, String, String, Option<String>);

const COLUMNS: &str = "SELECT number, principal, sealed, erased_at FROM evidence_keys";

impl Database {
    /// The newest key of a principal, if it has one that was not erased.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn newest_evidence_key(
        &self,
        principal: &PrincipalId,
    ) -> Result<Option<SealedEvidenceKey>, DatabaseError> {
        let sql = format!("{COLUMNS} WHERE principal = $1 AND sealed <> '' ORDER BY number DESC LIMIT 1");
        let row: Option<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(principal.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.map(read).transpose()
    }

    /// The key of a number, erased or not.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn evidence_key(&self, number: u64) -> Result<Option<SealedEvidenceKey>, DatabaseError> {
        let sql = format!("{COLUMNS} WHERE number = $1");
        let row: Option<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(to_integer(number)?)
            .fetch_optional(&self.pool)
            .await?;
        row.map(read).transpose()
    }

    /// Keeps a new key, and gives its number.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn add_evidence_key(
        &self,
        principal: &PrincipalId,
        sealed: &str,
        now: Timestamp,
    ) -> Result<u64, DatabaseError> {
        let number: i64 = sqlx::query_scalar(
            "INSERT INTO evidence_keys (number, principal, sealed, made_at) \
             SELECT COALESCE(MAX(number), 0) + 1, $1, $2, $3 FROM evidence_keys RETURNING number",
        )
        .bind(principal.as_str())
        .bind(sealed)
        .bind(now.to_string())
        .fetch_one(&self.pool)
        .await?;
        from_integer("evidence_keys.number", number)
    }

    /// The numbers of a principal's keys that are not erased.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn evidence_keys_of(&self, principal: &PrincipalId) -> Result<Vec<u64>, DatabaseError> {
        let numbers: Vec<i64> = sqlx::query_scalar(
            "SELECT number FROM evidence_keys WHERE principal = $1 AND sealed <> '' ORDER BY number",
        )
        .bind(principal.as_str())
        .fetch_all(&self.pool)
        .await?;
        numbers.into_iter().map(|number| from_integer("evidence_keys.number", number)).collect()
    }

    /// Erases a principal's keys: from the file, and from the write-ahead log before it.
    ///
    /// # Errors
    /// [`DatabaseError`]; then they may be there yet.
    pub async fn erase_evidence_keys(
        &self,
        principal: &PrincipalId,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        // What is overwritten is not left in the file's free space.
        sqlx::query("PRAGMA secure_delete = ON").execute(&mut *connection).await?;
        sqlx::query(
            "UPDATE evidence_keys SET sealed = '', erased_at = $2 WHERE principal = $1 AND sealed <> ''",
        )
        .bind(principal.as_str())
        .bind(now.to_string())
        .execute(&mut *connection)
        .await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *connection).await?;
        Ok(())
    }
}

fn read((number, principal, sealed, erased_at): Columns) -> Result<SealedEvidenceKey, DatabaseError> {
    let erased_at = erased_at.map(|at| from_text("evidence_keys.erased_at", &at)).transpose()?;
    Ok(SealedEvidenceKey {
        number: from_integer("evidence_keys.number", number)?,
        principal: from_text("evidence_keys.principal", &principal)?,
        sealed: Some(sealed).filter(|sealed| !sealed.is_empty()),
        erased_at,
    })
}
