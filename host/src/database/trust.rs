//! Signatures of components, and the trust policy. What they are worth is not known here.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};

use super::change::{ChangeError, Plan};
use super::{ChangeGuard, Database, DatabaseError, GrantsChange, from_integer, from_text, to_integer};
use crate::ids::{GrantId, PackageDigest, PackageName, PrincipalId, Revision};
use crate::policy::{Grant, TrustPolicy, parse_trust};
use crate::signing::{SIGNATURES_MAX, Signature};

/// The trust policy in force: its text, and who put it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustInForce {
    /// The file.
    pub text: String,
    /// The revision that put it in force.
    pub since: Revision,
    /// Who did it.
    pub by: PrincipalId,
    /// When.
    pub at: Timestamp,
}

impl Database {
    /// Keeps signatures of bytes. Those that are there already are left as they are.
    pub(crate) async fn add_signatures(
        &self,
        _change: &ChangeGuard,
        digest: PackageDigest,
        signatures: &[Signature],
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        for signature in signatures {
            sqlx::query(
                "INSERT INTO package_signatures (digest, signature, added_by, added_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(digest.to_string())
            .bind(signature.as_str())
            .bind(by.as_str())
            .bind(now.to_string())
            .execute(&mut *transaction)
            .await?;
        }
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM package_signatures WHERE digest = $1")
            .bind(digest.to_string())
            .fetch_one(&mut *transaction)
            .await?;
        if from_integer("package_signatures", count)? > SIGNATURES_MAX as u64 {
            return Err(DatabaseError::TooMany { what: "signatures of one component", max: SIGNATURES_MAX });
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The signatures of bytes, in the order in which they came.
    pub(crate) async fn signatures(&self, digest: PackageDigest) -> Result<Vec<Signature>, DatabaseError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT signature FROM package_signatures WHERE digest = $1 ORDER BY added_at, signature",
        )
        .bind(digest.to_string())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|(text,)| from_text("package_signatures.signature", &text)).collect()
    }

    /// The trust policy in force, if there is one.
    pub(crate) async fn trust_in_force(&self) -> Result<Option<TrustInForce>, DatabaseError> {
        let row: Option<(String, i64, String, String)> =
            sqlx::query_as("SELECT text, revision, made_by, made_at FROM trust")
                .fetch_optional(&self.pool)
                .await?;
        row.map(|(text, revision, by, at)| {
            Ok(TrustInForce {
                text,
                since: Revision(from_integer("trust.revision", revision)?),
                by: from_text("trust.made_by", &by)?,
                at: from_text("trust.made_at", &at)?,
            })
        })
        .transpose()
    }

    /// Plans that the grants of a package which are bound to some bytes are bound to others, word for word; no
    /// change if there are none.
    pub(crate) async fn prepare_rebinding(
        &self,
        package: &PackageName,
        (from, to): (PackageDigest, PackageDigest),
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<Option<GrantsChange>, ChangeError> {
        let guard = self.begin_change().await?;
        self.refuse_unsettled().await?;
        let grants = self.grants(Some(package)).await?;
        let bound: Vec<Grant> = grants.into_iter().filter(|grant| grant.digest == from).collect();
        if bound.is_empty() {
            return Ok(None);
        }
        let mut plan = Plan::new(self.revision().await?, by, now);
        plan.revoked = bound.iter().map(|grant| grant.id).collect();
        let next = self.next_grant_id().await?;
        let numbered = bound.into_iter().zip(next..);
        plan.granted = numbered.map(|(grant, id)| Grant { id: GrantId(id), digest: to, ..grant }).collect();
        Ok(Some(GrantsChange::prepare(self.clone(), guard, plan).await?))
    }
}

/// Deletes the signatures of bytes that no package has any more.
pub(super) async fn delete_orphans(transaction: &mut Transaction<'_, Sqlite>) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM package_signatures WHERE digest NOT IN (SELECT digest FROM packages)")
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// The trust policy, read anew. One that can't be read is no reason to go on without.
pub(super) async fn read_trust(
    transaction: &mut Transaction<'_, Sqlite>,
) -> Result<Option<TrustPolicy>, DatabaseError> {
    let text: Option<String> =
        sqlx::query_scalar("SELECT text FROM trust").fetch_optional(&mut **transaction).await?;
    let parsed = |text: String| {
        parse_trust(&text).map_err(|errors| {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            DatabaseError::corrupt(format!("trust.text: {first}"))
        })
    };
    text.map(parsed).transpose()
}

/// Puts a trust policy in force, or goes on without one.
pub(super) async fn write_trust(
    transaction: &mut Transaction<'_, Sqlite>,
    text: Option<&str>,
    plan: &Plan,
) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM trust").execute(&mut **transaction).await?;
    let Some(text) = text else { return Ok(()) };
    sqlx::query("INSERT INTO trust (slot, text, revision, made_by, made_at) VALUES (1, $1, $2, $3, $4)")
        .bind(text)
        .bind(to_integer(plan.revision.0)?)
        .bind(plan.by.as_str())
        .bind(plan.made_at.to_string())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
