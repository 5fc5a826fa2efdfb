//! API keys, as hashes: the keys themselves are not known here.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};

use super::change::{Plan, tell_apart};
use super::{ChangeError, Database, DatabaseError, from_integer, from_text, to_integer};
use crate::ids::{KeyPrefix, PrincipalId, Revision};
use crate::policy::{Policy, Role};

/// The most API keys at once, expired ones included.
pub(super) const KEYS_MAX: usize = 10_000;

/// What is known of an API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKey {
    /// Its public beginning.
    pub prefix: KeyPrefix,
    /// Who calls with it.
    pub principal: PrincipalId,
    /// As what.
    pub role: Role,
    /// When it ends; `None`: when it is revoked.
    pub expires: Option<Timestamp>,
    /// The revision that made it.
    pub revision: Revision,
    /// Who made it.
    pub made_by: PrincipalId,
    /// When.
    pub made_at: Timestamp,
    /// When it was last used, at most a minute behind; `None`: never.
    pub last_used: Option<Timestamp>,
}

/// An API key that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// Its public beginning.
    pub prefix: KeyPrefix,
    /// The keyed hash of the whole, in hex.
    pub hash: String,
    /// Who will call with it.
    pub principal: PrincipalId,
    /// As what.
    pub role: Role,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

type Columns = (String, String, String, String, Option<String>, i64, String, String, Option<String>);

impl Database {
    /// All API keys with their hashes, by prefix.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn api_keys(&self) -> Result<Vec<(ApiKey, String)>, DatabaseError> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT prefix, hash, principal, role, expires, revision, made_by, made_at, last_used \
             FROM api_keys ORDER BY prefix",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(prefix, hash, principal, role, expires, revision, made_by, made_at, last_used)| {
                let key = ApiKey {
                    prefix: from_text("api_keys.prefix", &prefix)?,
                    principal: from_text("api_keys.principal", &principal)?,
                    role: from_text("api_keys.role", &role)?,
                    expires: expires.map(|at| from_text("api_keys.expires", &at)).transpose()?,
                    revision: Revision(from_integer("api_keys.revision", revision)?),
                    made_by: from_text("api_keys.made_by", &made_by)?,
                    made_at: from_text("api_keys.made_at", &made_at)?,
                    last_used: last_used.map(|at| from_text("api_keys.last_used", &at)).transpose()?,
                };
                Ok((key, hash))
            })
            .collect()
    }

    /// Notes when keys were last used. Those that are gone meanwhile are left out.
    ///
    /// # Errors
    /// [`DatabaseError`]; then some may be noted.
    pub async fn note_key_uses(&self, uses: &[(KeyPrefix, Timestamp)]) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        for (prefix, at) in uses {
            sqlx::query("UPDATE api_keys SET last_used = $2 WHERE prefix = $1")
                .bind(prefix.as_str())
                .bind(at.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Whether somebody of that name has a key.
    pub(super) async fn has_key(&self, principal: &PrincipalId) -> Result<bool, DatabaseError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM api_keys WHERE principal = $1 LIMIT 1")
            .bind(principal.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some())
    }

    /// Refuses to end a key that is not there.
    pub(super) async fn refuse_unknown_key(&self, prefix: &KeyPrefix) -> Result<(), ChangeError> {
        let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM api_keys WHERE prefix = $1")
            .bind(prefix.as_str())
            .fetch_optional(&self.pool)
            .await?;
        known.map(drop).ok_or_else(|| ChangeError::NoSuchKey(prefix.clone()))
    }

    /// Refuses a key more than there may be, and one for a name that can be taken for another's.
    pub(super) async fn refuse_new_key(
        &self,
        principal: &PrincipalId,
        policy: &Policy,
    ) -> Result<(), ChangeError> {
        let names: Vec<String> =
            sqlx::query_scalar("SELECT principal FROM api_keys").fetch_all(&self.pool).await?;
        if names.len() >= KEYS_MAX {
            return Err(DatabaseError::TooMany { what: "API keys", max: KEYS_MAX }.into());
        }
        let known = policy.principal_names();
        if known.contains(principal) || names.iter().any(|name| name == principal.as_str()) {
            return Ok(());
        }
        let others = known.into_iter().map(PrincipalId::as_str).chain(names.iter().map(String::as_str));
        tell_apart("principal", principal.as_str(), others)
    }
}

/// Makes a key within the transaction that makes its revision.
pub(super) async fn write_key(
    transaction: &mut Transaction<'_, Sqlite>,
    key: &NewKey,
    plan: &Plan,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO api_keys (prefix, hash, principal, role, expires, revision, made_by, made_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(key.prefix.as_str())
    .bind(&key.hash)
    .bind(key.principal.as_str())
    .bind(key.role.name())
    .bind(key.expires.map(|at| at.to_string()))
    .bind(to_integer(plan.revision.0)?)
    .bind(plan.by.as_str())
    .bind(plan.made_at.to_string())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Ends a key within such a transaction.
pub(super) async fn delete_key(
    transaction: &mut Transaction<'_, Sqlite>,
    prefix: &KeyPrefix,
) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM api_keys WHERE prefix = $1")
        .bind(prefix.as_str())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
