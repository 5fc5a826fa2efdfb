//! What principals and packages may use, as an admin says; and what they used of it, as the host notes it at intervals.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Sqlite, Transaction};

use super::change::ChangeError;
use super::{Database, DatabaseError, from_integer, from_json, from_text, to_integer, to_json};
use crate::ids::PrincipalId;
use crate::policy::{Policy, QuotaSubject, Quotas, Resource, nearest};

/// The most principals and packages that have quotas of their own.
const SUBJECTS_MAX: usize = 20_000;
/// Rows that are noted by one statement, of five values each: SQLite takes 32,766 of those.
const ROWS_MAX: usize = 1_000;

/// What was used within one step of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUsage {
    /// By whom.
    pub subject: QuotaSubject,
    /// Of what.
    pub resource: Resource,
    /// When: a number of steps since 1970.
    pub step: u64,
    /// How much.
    pub used: u64,
}

fn columns(subject: &QuotaSubject) -> (&'static str, &str) {
    match subject {
        QuotaSubject::Principal(name) => ("principal", name.as_str()),
        QuotaSubject::Package(name) => ("package", name.as_str()),
    }
}

fn subject(kind: &str, name: &str) -> Result<QuotaSubject, DatabaseError> {
    match kind {
        "principal" => Ok(QuotaSubject::Principal(from_text("quotas.name", name)?)),
        "package" => Ok(QuotaSubject::Package(from_text("quotas.name", name)?)),
        other => Err(DatabaseError::corrupt(format!("quotas.kind: {other:?}"))),
    }
}

/// Whether the quotas are so already.
pub(super) fn are_set(subject: &QuotaSubject, quotas: &Quotas, policy: &Policy) -> Result<bool, ChangeError> {
    if let QuotaSubject::Principal(name) = subject {
        refuse_stranger(name, policy)?;
    }
    if !policy.quotas.contains_key(subject) && policy.quotas.len() >= SUBJECTS_MAX {
        return Err(DatabaseError::TooMany { what: "quotas", max: SUBJECTS_MAX }.into());
    }
    Ok(policy.quotas_of(subject) == *quotas)
}

/// Refuses a principal that was not added and that no grant names: it may be a slip.
fn refuse_stranger(name: &PrincipalId, policy: &Policy) -> Result<(), ChangeError> {
    let names = policy.principal_names();
    if names.contains(name) {
        return Ok(());
    }
    let near = nearest(name.as_str(), names.into_iter().map(PrincipalId::as_str)).map(str::to_owned);
    Err(ChangeError::NoSuchPrincipal { name: name.clone(), near })
}

pub(super) async fn write_quotas(
    transaction: &mut Transaction<'_, Sqlite>,
    subject: &QuotaSubject,
    quotas: &Quotas,
) -> Result<(), DatabaseError> {
    let (kind, name) = columns(subject);
    sqlx::query("DELETE FROM quotas WHERE kind = $1 AND name = $2")
        .bind(kind)
        .bind(name)
        .execute(&mut **transaction)
        .await?;
    if quotas.is_empty() {
        return Ok(());
    }
    sqlx::query("INSERT INTO quotas (kind, name, quotas) VALUES ($1, $2, $3)")
        .bind(kind)
        .bind(name)
        .bind(to_json(quotas)?)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

pub(super) async fn read_quotas(
    transaction: &mut Transaction<'_, Sqlite>,
) -> Result<BTreeMap<QuotaSubject, Quotas>, DatabaseError> {
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT kind, name, quotas FROM quotas").fetch_all(&mut **transaction).await?;
    rows.into_iter()
        .map(|(kind, name, quotas)| Ok((subject(&kind, &name)?, from_json("quotas.quotas", &quotas)?)))
        .collect()
}

impl Database {
    /// All that was noted of what was used.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn quota_usage(&self) -> Result<Vec<QuotaUsage>, DatabaseError> {
        let rows: Vec<(String, String, String, i64, i64)> =
            sqlx::query_as("SELECT kind, name, resource, step, used FROM quota_usage ORDER BY step")
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter()
            .map(|(kind, name, resource, step, used)| {
                let found = Resource::ALL.into_iter().find(|known| known.name() == resource);
                let resource = found
                    .ok_or_else(|| DatabaseError::corrupt(format!("quota_usage.resource: {resource:?}")))?;
                Ok(QuotaUsage {
                    subject: subject(&kind, &name)?,
                    resource,
                    step: from_integer("quota_usage.step", step)?,
                    used: from_integer("quota_usage.used", used)?,
                })
            })
            .collect()
    }

    /// Notes what was used, each in the place of what was noted of the same step; and forgets the steps of each resource
    /// before those that still count.
    ///
    /// # Errors
    /// [`DatabaseError`]; then nothing was noted.
    pub async fn note_quota_usage(
        &self,
        used: &[QuotaUsage],
        first_steps: &[(Resource, u64)],
    ) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        for used in used.chunks(ROWS_MAX) {
            let rows = used.iter().map(|QuotaUsage { subject, resource, step, used }| {
                Ok((
                    columns(subject),
                    resource.name(),
                    to_integer(*step)?,
                    i64::try_from(*used).unwrap_or(i64::MAX),
                ))
            });
            let rows: Vec<_> = rows.collect::<Result<_, DatabaseError>>()?;
            let mut insert = QueryBuilder::new("INSERT INTO quota_usage (kind, name, resource, step, used) ");
            insert.push_values(rows, |mut row, ((kind, name), resource, step, used)| {
                row.push_bind(kind).push_bind(name).push_bind(resource).push_bind(step).push_bind(used);
            });
            insert.push(" ON CONFLICT (kind, name, resource, step) DO UPDATE SET used = excluded.used");
            // Each number of rows is another statement.
            insert.build().persistent(false).execute(&mut *transaction).await?;
        }
        let mut forget = QueryBuilder::new("DELETE FROM quota_usage WHERE FALSE");
        for (resource, first) in first_steps {
            forget.push(" OR (resource = ").push_bind(resource.name());
            forget.push(" AND step < ").push_bind(to_integer(*first)?).push(")");
        }
        forget.build().persistent(false).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }
}
