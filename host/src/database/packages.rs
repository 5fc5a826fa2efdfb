//! Which components are registered under which name, and which of them is approved.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};

use super::change::{ChangeError, Plan};
use super::trust::delete_orphans;
use super::{
    ChangeGuard, Database, DatabaseError, GrantsChange, from_integer, from_json, from_text, to_integer,
    to_json,
};
use crate::ids::{PackageDigest, PackageName, PrincipalId};
use crate::package::PackageDescription;
use crate::policy::Quarantine;

/// The most registered components, counted by name and digest.
const PACKAGES_MAX: usize = 10_000;

/// Whether a component may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackageState {
    /// Nobody has approved it.
    Pending,
    /// These bytes, and no others, run under the name.
    Approved,
    /// It was approved until other bytes were.
    Superseded,
}

/// One component under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// Its name.
    pub name: PackageName,
    /// Its bytes.
    pub digest: PackageDigest,
    /// Its version, as its author or `--version` says.
    pub version: semver::Version,
    /// The number of its bytes.
    pub bytes: u64,
    /// Whether it may run.
    pub state: PackageState,
    /// When it was registered.
    pub added_at: Timestamp,
    /// When it was last approved.
    pub approved_at: Option<Timestamp>,
    /// Why it may not run, whatever its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
}

/// A component to be registered.
#[derive(Clone, Copy, Debug)]
pub struct NewPackage<'a> {
    /// Its name.
    pub name: &'a PackageName,
    /// Its bytes.
    pub digest: PackageDigest,
    /// Its version.
    pub version: &'a semver::Version,
    /// The number of its bytes.
    pub bytes: u64,
    /// What it is and asks for.
    pub description: &'a PackageDescription,
}

/// What came of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Added {
    /// It is new under this name, and pending.
    New,
    /// The very same bytes were there under this name, in this state; nothing changed.
    Already(PackageState),
}

type PackageColumns = (String, String, String, i64, String, String, Option<String>);

fn package(
    (name, digest, version, bytes, state, added_at, approved_at): PackageColumns,
    quarantines: &[Quarantine],
) -> Result<Package, DatabaseError> {
    let name = from_text("packages.name", &name)?;
    let digest = from_text("packages.digest", &digest)?;
    Ok(Package {
        quarantine: quarantines.iter().find(|quarantine| quarantine.covers(&name, Some(digest))).cloned(),
        name,
        digest,
        version: from_text("packages.version", &version)?,
        bytes: from_integer("packages.bytes", bytes)?,
        state: state_from_text(&state)?,
        added_at: from_text("packages.added_at", &added_at)?,
        approved_at: approved_at.map(|moment| from_text("packages.approved_at", &moment)).transpose()?,
    })
}

fn state_from_text(text: &str) -> Result<PackageState, DatabaseError> {
    match text {
        "pending" => Ok(PackageState::Pending),
        "approved" => Ok(PackageState::Approved),
        "superseded" => Ok(PackageState::Superseded),
        other => Err(DatabaseError::corrupt(format!("packages.state: {other:?}"))),
    }
}

impl Database {
    /// Registers a component as pending, unless the same bytes are there under its name.
    pub(crate) async fn add_package(
        &self,
        _change: &ChangeGuard,
        new: NewPackage<'_>,
        now: Timestamp,
    ) -> Result<Added, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        let state: Option<String> =
            sqlx::query_scalar("SELECT state FROM packages WHERE name = $1 AND digest = $2")
                .bind(new.name.as_str())
                .bind(new.digest.to_string())
                .fetch_optional(&mut *transaction)
                .await?;
        if let Some(state) = state {
            return Ok(Added::Already(state_from_text(&state)?));
        }
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM packages").fetch_one(&mut *transaction).await?;
        if from_integer("packages", count)? >= PACKAGES_MAX as u64 {
            return Err(DatabaseError::TooMany { what: "registered components", max: PACKAGES_MAX });
        }
        sqlx::query(
            "INSERT INTO packages (name, digest, version, bytes, description, state, added_at) \
             VALUES ($1, $2, $3, $4, $5, 'pending', $6)",
        )
        .bind(new.name.as_str())
        .bind(new.digest.to_string())
        .bind(new.version.to_string())
        .bind(to_integer(new.bytes)?)
        .bind(to_json(new.description)?)
        .bind(now.to_string())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Added::New)
    }

    /// Approves the bytes under the name, and no others. `false` if they are not registered there.
    pub(crate) async fn approve_package(
        &self,
        _change: &ChangeGuard,
        name: &PackageName,
        digest: PackageDigest,
        now: Timestamp,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "UPDATE packages SET state = 'superseded' WHERE name = $1 AND digest <> $2 AND state = 'approved'",
        )
        .bind(name.as_str())
        .bind(digest.to_string())
        .execute(&mut *transaction)
        .await?;
        let approved = sqlx::query(
            "UPDATE packages SET state = 'approved', approved_at = $3 WHERE name = $1 AND digest = $2",
        )
        .bind(name.as_str())
        .bind(digest.to_string())
        .bind(now.to_string())
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if approved == 0 {
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// All components, by name and then by when they were added.
    pub(crate) async fn packages(&self) -> Result<Vec<Package>, DatabaseError> {
        let rows: Vec<PackageColumns> = sqlx::query_as(
            "SELECT name, digest, version, bytes, state, added_at, approved_at FROM packages \
             ORDER BY name, added_at, digest",
        )
        .fetch_all(&self.pool)
        .await?;
        let quarantines = self.quarantines().await?;
        rows.into_iter().map(|row| package(row, &quarantines)).collect()
    }

    /// What is approved under each name: its bytes and version.
    pub(crate) async fn approved_packages(
        &self,
    ) -> Result<Vec<(PackageName, PackageDigest, semver::Version)>, DatabaseError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT name, digest, version FROM packages WHERE state = 'approved' ORDER BY name, added_at, digest",
        )
        .fetch_all(&self.pool)
        .await?;
        let read = |(name, digest, version): (String, String, String)| {
            Ok((
                from_text("packages.name", &name)?,
                from_text("packages.digest", &digest)?,
                from_text("packages.version", &version)?,
            ))
        };
        rows.into_iter().map(read).collect()
    }

    /// The description of all that is approved, each with its name and bytes, one after the other.
    pub(crate) async fn approved_descriptions(
        &self,
        mut take: impl FnMut(PackageName, PackageDigest, PackageDescription),
    ) -> Result<(), DatabaseError> {
        let mut rows = sqlx::query_as::<_, (String, String, String)>(
            "SELECT name, digest, description FROM packages WHERE state = 'approved'",
        )
        .fetch(&self.pool);
        while let Some((name, digest, description)) = rows.try_next().await? {
            take(
                from_text("packages.name", &name)?,
                from_text("packages.digest", &digest)?,
                from_json("packages.description", &description)?,
            );
        }
        Ok(())
    }

    /// The bytes that are registered, under whatever name.
    pub(crate) async fn digests(&self) -> Result<BTreeSet<PackageDigest>, DatabaseError> {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT digest FROM packages").fetch_all(&self.pool).await?;
        rows.iter().map(|digest| from_text("packages.digest", digest)).collect()
    }

    /// The names that something is registered under.
    pub(crate) async fn package_names(&self) -> Result<BTreeSet<PackageName>, DatabaseError> {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT name FROM packages").fetch_all(&self.pool).await?;
        rows.iter().map(|name| from_text("packages.name", name)).collect()
    }

    /// The components under a name, by when they were added.
    pub(crate) async fn packages_named(&self, name: &PackageName) -> Result<Vec<Package>, DatabaseError> {
        let rows: Vec<PackageColumns> = sqlx::query_as(
            "SELECT name, digest, version, bytes, state, added_at, approved_at FROM packages \
             WHERE name = $1 ORDER BY added_at, digest",
        )
        .bind(name.as_str())
        .fetch_all(&self.pool)
        .await?;
        let quarantines = self.quarantines().await?;
        rows.into_iter().map(|row| package(row, &quarantines)).collect()
    }

    /// What the bytes under the name are and ask for.
    pub(crate) async fn package_description(
        &self,
        name: &PackageName,
        digest: PackageDigest,
    ) -> Result<Option<PackageDescription>, DatabaseError> {
        let text: Option<String> =
            sqlx::query_scalar("SELECT description FROM packages WHERE name = $1 AND digest = $2")
                .bind(name.as_str())
                .bind(digest.to_string())
                .fetch_optional(&self.pool)
                .await?;
        text.map(|text| from_json("packages.description", &text)).transpose()
    }

    /// Whether any name has these bytes.
    pub(crate) async fn has_digest(&self, digest: PackageDigest) -> Result<bool, DatabaseError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM packages WHERE digest = $1")
            .bind(digest.to_string())
            .fetch_one(&self.pool)
            .await?;
        Ok(count > 0)
    }

    /// Plans the removal of all components under a name, and of its grants.
    pub(crate) async fn prepare_removal(
        &self,
        guard: ChangeGuard,
        name: &PackageName,
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<PackageRemoval, ChangeError> {
        let revoked: Vec<_> = self.grants(Some(name)).await?.into_iter().map(|grant| grant.id).collect();
        if revoked.is_empty() {
            let (database, name) = (self.clone(), name.clone());
            return Ok(PackageRemoval { step: RemovalStep::Alone { database, name, guard } });
        }
        let plan =
            Plan { revoked, removes: Some(name.clone()), ..Plan::new(self.revision().await?, by, now) };
        let change = GrantsChange::prepare(self.clone(), guard, plan).await?;
        Ok(PackageRemoval { step: RemovalStep::WithGrants(Box::new(change)) })
    }
}

/// Deletes all components under a name and the state that they kept: what is registered under the name later
/// must not find it.
pub(super) async fn delete_package(
    transaction: &mut Transaction<'_, Sqlite>,
    name: &PackageName,
) -> Result<(), DatabaseError> {
    for statement in [
        "DELETE FROM kv_entries WHERE store IN (SELECT id FROM kv_stores WHERE package = $1)",
        "DELETE FROM kv_stores WHERE package = $1",
        "DELETE FROM packages WHERE name = $1",
    ] {
        sqlx::query(statement).bind(name.as_str()).execute(&mut **transaction).await?;
    }
    delete_orphans(transaction).await
}

/// A removal that is planned and not yet made. Dropped, it changes nothing by itself.
#[derive(Debug)]
#[must_use = "nothing is removed before `commit`"]
pub struct PackageRemoval {
    step: RemovalStep,
}

#[derive(Debug)]
enum RemovalStep {
    Alone { database: Database, name: PackageName, guard: ChangeGuard },
    WithGrants(Box<GrantsChange>),
}

impl PackageRemoval {
    /// The change of grants that comes with it, if the package had any.
    pub fn change(&self) -> Option<&GrantsChange> {
        match &self.step {
            RemovalStep::Alone { .. } => None,
            RemovalStep::WithGrants(change) => Some(change.as_ref()),
        }
    }

    /// Makes it. The right to change is handed back, so that files can be tidied under it.
    pub(crate) async fn commit(self) -> Result<ChangeGuard, DatabaseError> {
        match self.step {
            RemovalStep::Alone { database, name, guard } => {
                let mut transaction = database.pool.begin().await?;
                delete_package(&mut transaction, &name).await?;
                transaction.commit().await?;
                Ok(guard)
            }
            RemovalStep::WithGrants(change) => (*change).commit_and_keep().await,
        }
    }

    /// Drops it: nothing changes.
    pub(crate) async fn abandon(self) -> Result<(), DatabaseError> {
        match self.step {
            RemovalStep::Alone { .. } => Ok(()),
            RemovalStep::WithGrants(change) => (*change).abandon().await,
        }
    }
}
