//! Stored secrets, as ciphertext: what opens them is not known here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};

use super::change::{ChangeError, Plan, tell_apart};
use super::standing::Step;
use super::{Database, DatabaseError, GrantsChange, from_integer, from_text, to_integer};
use crate::ids::{PrincipalId, Revision, SecretName};
use crate::policy::{Policy, nearest};

/// The most stored secrets.
pub(super) const SECRETS_MAX: usize = 1_000;

/// What is known of a stored secret without opening it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredSecret {
    /// Its name.
    pub name: SecretName,
    /// The revision that set it last.
    pub revision: Revision,
    /// When it was stored first.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: PrincipalId,
    /// When it was stored last.
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: PrincipalId,
}

/// An encrypted value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Base64 of an age file.
    pub ciphertext: String,
    /// Whose key opens it, as age writes it.
    pub recipient: String,
}

type Columns = (String, i64, String, String, String, String);

impl Database {
    /// All stored secrets, by name.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn stored_secrets(&self) -> Result<Vec<StoredSecret>, DatabaseError> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT name, revision, made_at, made_by, updated_at, updated_by FROM secrets ORDER BY name",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(name, revision, made_at, made_by, updated_at, updated_by)| {
                Ok(StoredSecret {
                    name: from_text("secrets.name", &name)?,
                    revision: Revision(from_integer("secrets.revision", revision)?),
                    made_at: from_text("secrets.made_at", &made_at)?,
                    made_by: from_text("secrets.made_by", &made_by)?,
                    updated_at: from_text("secrets.updated_at", &updated_at)?,
                    updated_by: from_text("secrets.updated_by", &updated_by)?,
                })
            })
            .collect()
    }

    /// The encrypted value that this revision has set; none if it was replaced or removed since.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn sealed_secret(
        &self,
        name: &SecretName,
        revision: Revision,
    ) -> Result<Option<Sealed>, DatabaseError> {
        let row: Option<(String, String)> =
            sqlx::query_as("SELECT ciphertext, recipient FROM secrets WHERE name = $1 AND revision = $2")
                .bind(name.as_str())
                .bind(to_integer(revision.0)?)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(ciphertext, recipient)| Sealed { ciphertext, recipient }))
    }

    /// The encrypted values of all, by name.
    pub(super) async fn sealed_secrets(&self) -> Result<Vec<(SecretName, Sealed)>, DatabaseError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT name, ciphertext, recipient FROM secrets ORDER BY name")
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter()
            .map(|(name, ciphertext, recipient)| {
                Ok((from_text("secrets.name", &name)?, Sealed { ciphertext, recipient }))
            })
            .collect()
    }

    /// Whose keys open what is stored.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn secret_recipients(&self) -> Result<BTreeSet<String>, DatabaseError> {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT recipient FROM secrets").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }

    /// Plans that a secret is stored, or replaced.
    ///
    /// # Errors
    /// [`ChangeError::Alike`], or [`DatabaseError`], above all `TooMany`.
    pub async fn prepare_secret(
        &self,
        name: &SecretName,
        sealed: Sealed,
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<GrantsChange, ChangeError> {
        let guard = self.begin_change().await?;
        self.refuse_unsettled().await?;
        let policy = self.policy().await?;
        if !policy.secrets.contains_key(name) {
            tell_apart("secret", name.as_str(), policy.secrets.keys().map(SecretName::as_str))?;
            if policy.secrets.len() >= SECRETS_MAX {
                return Err(DatabaseError::TooMany { what: "stored secrets", max: SECRETS_MAX }.into());
            }
        }
        let step = Some(Step::SetSecret { name: name.clone() });
        let plan = Plan { step, sealed: Some(sealed), ..Plan::new(policy.revision, by, now) };
        Ok(GrantsChange::prepare(self.clone(), guard, plan).await?)
    }
}

/// That there is such a secret; names one that is like it if there is none.
pub(super) fn refuse_unknown(name: &SecretName, policy: &Policy) -> Result<(), ChangeError> {
    if policy.secrets.contains_key(name) {
        return Ok(());
    }
    let near = nearest(name.as_str(), policy.secrets.keys().map(SecretName::as_str)).map(str::to_owned);
    Err(ChangeError::NoSuchSecret { name: name.clone(), near })
}

/// The revision that has set each secret.
pub(super) async fn read_secrets(
    transaction: &mut Transaction<'_, Sqlite>,
) -> Result<BTreeMap<SecretName, Revision>, DatabaseError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT name, revision FROM secrets").fetch_all(&mut **transaction).await?;
    rows.into_iter()
        .map(|(name, revision)| {
            let revision = Revision(from_integer("secrets.revision", revision)?);
            Ok((from_text("secrets.name", &name)?, revision))
        })
        .collect()
}

/// Stores a secret within the transaction that makes its revision.
pub(super) async fn write_secret(
    transaction: &mut Transaction<'_, Sqlite>,
    name: &SecretName,
    plan: &Plan,
) -> Result<(), DatabaseError> {
    let Some(sealed) = &plan.sealed else {
        return Err(DatabaseError::corrupt(format!("the plan to store secret {name} has no value")));
    };
    sqlx::query(
        "INSERT INTO secrets (name, ciphertext, recipient, revision, made_at, made_by, updated_at, updated_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $5, $6) \
         ON CONFLICT (name) DO UPDATE SET ciphertext = excluded.ciphertext, \
         recipient = excluded.recipient, revision = excluded.revision, \
         updated_at = excluded.updated_at, updated_by = excluded.updated_by",
    )
    .bind(name.as_str())
    .bind(&sealed.ciphertext)
    .bind(&sealed.recipient)
    .bind(to_integer(plan.revision.0)?)
    .bind(plan.made_at.to_string())
    .bind(plan.by.as_str())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
