//! Changes of what is in force in three steps: planned here, recorded in the log by the caller, put in force here.
//!
//! The plan is on disk before the log has its record, so whatever moment the host dies at,
//! [`Database::settle`] can tell by the log whether the change was made.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};

use super::packages::delete_package;
use super::secrets::Sealed;
use super::standing::{Step, write_step};
use super::{ChangeGuard, Database, DatabaseError, StoreId, from_json, to_integer, to_json};
use crate::ids::{
    GrantId, GroupName, KeyPrefix, PackageDigest, PackageName, PrincipalId, Revision, SecretName, are_alike,
};
use crate::policy::agents::{alike_agents, unusable_agents};
use crate::policy::names::clashing_names;
use crate::policy::parse::unknown_secrets;
use crate::policy::{Diagnostic, Grant, GrantsFile, Policy};

/// The most grants in force at once.
const GRANTS_MAX: usize = 10_000;

/// The most groups.
const GROUPS_MAX: usize = 10_000;

/// Why what is in force can't be changed so.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The grants file does not fit the registered packages. The admin's fault.
    #[error("the grants file has {} errors, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    File(Vec<Diagnostic>),
    /// No grant in force has this number. The admin's fault.
    #[error("no grant in force has number {0}")]
    NoSuchGrant(GrantId),
    /// Something else of the package is quarantined than was to be released. The admin's fault.
    #[error("{}", other_quarantine(package, digests))]
    OtherQuarantine {
        /// The package.
        package: PackageName,
        /// The bytes that are; none: the package as a whole is.
        digests: Vec<PackageDigest>,
    },
    /// Nobody has this name: it was not added, and no grant or group names it. The admin's fault.
    #[error("there is no principal {name}{}", near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    NoSuchPrincipal {
        /// The name.
        name: PrincipalId,
        /// One that is like it.
        near: Option<String>,
    },
    /// The name can be taken for another one of its kind. The admin's fault.
    #[error(
        "{kind} {name} can be taken for {other}, which is known; choose a name that differs in more than case, or 0 and O, or 1, l and I"
    )]
    Alike {
        /// Of what: `principal` or `secret`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The one that is known.
        other: String,
    },
    /// No secret of this name is stored. The admin's fault.
    #[error("there is no secret {name}{}; `portcullis secret list` shows all", near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    NoSuchSecret {
        /// The name.
        name: SecretName,
        /// One that is like it.
        near: Option<String>,
    },
    /// There is no API key with this beginning. The admin's fault.
    #[error("there is no API key {0}; `portcullis key list` shows all")]
    NoSuchKey(KeyPrefix),
    /// There is no such store. The admin's fault.
    #[error("there is no {0}; `portcullis state list` shows all")]
    NoSuchStore(Box<StoreId>),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

fn other_quarantine(package: &PackageName, digests: &[PackageDigest]) -> String {
    match digests {
        [] => format!("all of package {package} is quarantined; release it without a digest"),
        _ => {
            let digests: Vec<String> = digests.iter().map(ToString::to_string).collect();
            format!(
                "of package {package} these are quarantined, release them by name: {}",
                digests.join(", ")
            )
        }
    }
}

impl From<sqlx::Error> for ChangeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Refuses a name that can be taken for another one of its kind.
pub(super) fn tell_apart<'a>(
    kind: &'static str,
    name: &str,
    mut known: impl Iterator<Item = &'a str>,
) -> Result<(), ChangeError> {
    match known.find(|known| are_alike(name, known)) {
        None => Ok(()),
        Some(other) => Err(ChangeError::Alike { kind, name: name.to_owned(), other: other.to_owned() }),
    }
}

/// What will change, in full: enough to do it after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) revision: Revision,
    pub(super) made_at: Timestamp,
    pub(super) by: PrincipalId,
    pub(super) source: Option<String>,
    pub(super) granted: Vec<Grant>,
    pub(super) revoked: Vec<GrantId>,
    pub(super) groups: BTreeMap<GroupName, BTreeSet<PrincipalId>>,
    pub(super) removes: Option<PackageName>,
    #[serde(default)]
    pub(super) step: Option<Step>,
    /// The value of a step that stores a secret: not of the step itself, which history keeps.
    #[serde(default)]
    pub(super) sealed: Option<Sealed>,
}

impl Plan {
    /// A plan for the revision after `current` that changes nothing yet.
    pub(super) fn new(current: Revision, by: &PrincipalId, now: Timestamp) -> Self {
        Self {
            revision: Revision(current.0 + 1),
            made_at: now,
            by: by.clone(),
            source: None,
            granted: Vec::new(),
            revoked: Vec::new(),
            groups: BTreeMap::new(),
            removes: None,
            step: None,
            sealed: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.granted.is_empty()
            && self.revoked.is_empty()
            && self.groups.is_empty()
            && self.removes.is_none()
            && self.step.is_none()
    }

    /// The grants and groups that will be in force.
    fn after(&self, before: &Policy) -> Policy {
        let mut after = before.clone();
        after.revision = self.revision;
        after.grants.retain(|grant| !self.revoked.contains(&grant.id));
        after.grants.extend(self.granted.iter().cloned());
        after.groups.extend(self.groups.clone());
        after
    }
}

/// A change of grants, or a [`Step`], that is planned and not yet in force. While it lives, no other can
/// be made.
///
/// Write its record to the log, durably, then [`commit`](Self::commit). If the log refuses,
/// [`abandon`](Self::abandon) it, unless the record may have reached the disk: then drop it, and the
/// next start will settle it by what the log holds.
#[derive(Debug)]
#[must_use = "nothing changes before `commit`"]
pub struct GrantsChange {
    database: Database,
    plan: Plan,
    guard: ChangeGuard,
}

impl GrantsChange {
    /// Writes the plan down.
    pub(super) async fn prepare(
        database: Database,
        guard: ChangeGuard,
        plan: Plan,
    ) -> Result<Self, DatabaseError> {
        database.refuse_unsettled().await?;
        sqlx::query("INSERT INTO pending_change (slot, plan) VALUES (1, $1)")
            .bind(to_json(&plan)?)
            .execute(&database.pool)
            .await?;
        Ok(Self { database, plan, guard })
    }

    /// The revision that it makes.
    pub fn revision(&self) -> Revision {
        self.plan.revision
    }

    /// The numbers of the grants that are new in it.
    pub fn granted(&self) -> Vec<GrantId> {
        self.plan.granted.iter().map(|grant| grant.id).collect()
    }

    /// The numbers of the grants that end with it.
    pub fn revoked(&self) -> &[GrantId] {
        &self.plan.revoked
    }

    /// The groups whose members change with it.
    pub fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.plan.groups.keys()
    }

    /// Who makes it.
    pub fn by(&self) -> &PrincipalId {
        &self.plan.by
    }

    /// Puts it in force, in one transaction.
    ///
    /// # Errors
    /// [`DatabaseError`]. The plan then stays, and the next start puts it in force if the log has it.
    pub async fn commit(self) -> Result<Revision, DatabaseError> {
        let revision = self.plan.revision;
        self.commit_and_keep().await?;
        Ok(revision)
    }

    pub(super) async fn commit_and_keep(self) -> Result<ChangeGuard, DatabaseError> {
        self.database.put_in_force(&self.plan).await?;
        Ok(self.guard)
    }

    /// Drops it: nothing changes, and its revision number is free again.
    ///
    /// # Errors
    /// [`DatabaseError`]. The plan then stays, and the next start drops it.
    pub async fn abandon(self) -> Result<(), DatabaseError> {
        sqlx::query("DELETE FROM pending_change").execute(&self.database.pool).await?;
        Ok(())
    }
}

/// What a grants file would make of what is in force. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What is in force.
    pub before: Policy,
    /// What would be; the same if the file changes nothing.
    pub after: Policy,
}

/// What [`Database::settle`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// No change was under way.
    Nothing,
    /// A change that the log has was put in force.
    PutInForce(Revision),
    /// A change that the log does not have was dropped.
    Dropped(Revision),
}

impl Database {
    /// Finishes a change that was left between its plan and its end, with the highest revision that
    /// the log speaks of (0 if none). To be called at start, before any change, and after a change
    /// was refused as [`DatabaseError::Unsettled`].
    ///
    /// # Errors
    /// [`DatabaseError::Behind`] if the log knows of later revisions, [`DatabaseError::Ahead`] if it does
    /// not know of the database's: one of them is an old copy, and the host must not start.
    pub async fn settle(&self, logged: Revision) -> Result<Settled, DatabaseError> {
        let _guard = self.begin_change().await?;
        let settled = match self.pending().await? {
            None => Settled::Nothing,
            Some(plan) if plan.revision <= logged => {
                self.put_in_force(&plan).await?;
                Settled::PutInForce(plan.revision)
            }
            Some(plan) => {
                sqlx::query("DELETE FROM pending_change").execute(&self.pool).await?;
                Settled::Dropped(plan.revision)
            }
        };
        let database = self.revision().await?;
        match database.cmp(&logged) {
            Ordering::Less => Err(DatabaseError::Behind { database, log: logged }),
            // A revision is put in force after its record is on disk, so no crash explains it.
            Ordering::Greater => Err(DatabaseError::Ahead { database, log: logged }),
            Ordering::Equal => Ok(settled),
        }
    }

    /// Plans what a grants file says: it replaces all grants of each package that it names, and each
    /// group that it names. Other packages and groups stay. Grants that stay the same keep their numbers.
    ///
    /// No change if nothing would change: no revision is made then.
    ///
    /// # Errors
    /// [`ChangeError::File`] with a place for each package that is unknown or not approved, for each tool
    /// that the approved component does not have, and for each agent that was removed or is none.
    pub async fn prepare_apply(
        &self,
        file: &GrantsFile,
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<(Option<GrantsChange>, Preview), ChangeError> {
        let guard = self.begin_change().await?;
        self.refuse_unsettled().await?;
        let (plan, preview) = self.plan_apply(file, by, now).await?;
        if plan.is_empty() {
            return Ok((None, preview));
        }
        Ok((Some(GrantsChange::prepare(self.clone(), guard, plan).await?), preview))
    }

    /// What [`prepare_apply`](Self::prepare_apply) would plan, without planning it.
    ///
    /// # Errors
    /// The same.
    pub async fn preview_apply(
        &self,
        file: &GrantsFile,
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<Preview, ChangeError> {
        let _guard = self.begin_change().await?;
        Ok(self.plan_apply(file, by, now).await?.1)
    }

    /// Plans the end of one grant.
    ///
    /// # Errors
    /// [`ChangeError::NoSuchGrant`] if no grant in force has this number.
    pub async fn prepare_revoke(
        &self,
        grant: GrantId,
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<GrantsChange, ChangeError> {
        let guard = self.begin_change().await?;
        if !self.grants(None).await?.iter().any(|existing| existing.id == grant) {
            return Err(ChangeError::NoSuchGrant(grant));
        }
        let plan = Plan { revoked: vec![grant], ..Plan::new(self.revision().await?, by, now) };
        Ok(GrantsChange::prepare(self.clone(), guard, plan).await?)
    }

    async fn plan_apply(
        &self,
        file: &GrantsFile,
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<(Plan, Preview), ChangeError> {
        let policy = self.policy().await?;
        let mut diagnostics = unusable_agents(file, &policy);
        diagnostics.extend(unknown_secrets(file, policy.secrets.keys()));
        let digests = self.approved_digests(file, diagnostics).await?;
        let mut plan = Plan { source: Some(file.source.clone()), ..Plan::new(policy.revision, by, now) };
        // What is in force and not asked for again ends; what is asked for and not in force begins.
        let mut old: Vec<&Grant> =
            policy.grants.iter().filter(|grant| digests.contains_key(&grant.package)).collect();
        let mut next_id = self.next_grant_id().await?;
        for entry in &file.grants {
            let Some(digest) = digests.get(&entry.package).copied() else { continue };
            let same = |grant: &&Grant| {
                grant.package == entry.package && grant.digest == digest && grant.terms == entry.terms
            };
            if let Some(index) = old.iter().position(same) {
                old.remove(index);
                continue;
            }
            let (package, terms) = (entry.package.clone(), entry.terms.clone());
            plan.granted.push(Grant { id: GrantId(next_id), package, digest, terms });
            next_id += 1;
        }
        plan.revoked = old.into_iter().map(|grant| grant.id).collect();
        let changed = |(name, members): &(&GroupName, &BTreeSet<PrincipalId>)| {
            policy.groups.get(*name) != Some(*members)
        };
        plan.groups = file.groups.iter().filter(changed).map(|(n, m)| (n.clone(), m.clone())).collect();
        let in_force = policy.grants.len() + plan.granted.len() - plan.revoked.len();
        if in_force > GRANTS_MAX {
            return Err(DatabaseError::TooMany { what: "grants in force", max: GRANTS_MAX }.into());
        }
        let new_groups = plan.groups.keys().filter(|name| !policy.groups.contains_key(*name)).count();
        if policy.groups.len() + new_groups > GROUPS_MAX {
            return Err(DatabaseError::TooMany { what: "groups", max: GROUPS_MAX }.into());
        }
        let after = if plan.is_empty() { policy.clone() } else { plan.after(&policy) };
        let alike = alike_agents(file, &after);
        if !alike.is_empty() {
            return Err(ChangeError::File(alike));
        }
        let clashing = clashing_names(file, &after);
        if !clashing.is_empty() {
            return Err(ChangeError::File(clashing));
        }
        Ok((plan, Preview { before: policy, after }))
    }

    async fn pending(&self) -> Result<Option<Plan>, DatabaseError> {
        let plan: Option<String> =
            sqlx::query_scalar("SELECT plan FROM pending_change").fetch_optional(&self.pool).await?;
        plan.map(|plan| from_json("pending_change.plan", &plan)).transpose()
    }

    /// The revision of a change that waits to be settled.
    pub(super) async fn pending_revision(&self) -> Result<Option<Revision>, DatabaseError> {
        Ok(self.pending().await?.map(|plan| plan.revision))
    }

    /// Refuses a new plan while an earlier one waits to be settled.
    pub(super) async fn refuse_unsettled(&self) -> Result<(), DatabaseError> {
        match self.pending().await? {
            None => Ok(()),
            Some(plan) => Err(DatabaseError::Unsettled { revision: plan.revision }),
        }
    }

    async fn put_in_force(&self, plan: &Plan) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        write_revision(&mut transaction, plan).await?;
        let number = to_integer(plan.revision.0)?;
        for id in &plan.revoked {
            let ended = sqlx::query(
                "UPDATE grants SET revoked_revision = $1 WHERE id = $2 AND revoked_revision IS NULL",
            )
            .bind(number)
            .bind(to_integer(id.0)?)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            if ended != 1 {
                return Err(DatabaseError::corrupt(format!("grant {id} is to end, but is not in force")));
            }
        }
        for grant in &plan.granted {
            sqlx::query(
                "INSERT INTO grants (id, package, digest, terms, created_revision) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(to_integer(grant.id.0)?)
            .bind(grant.package.as_str())
            .bind(grant.digest.to_string())
            .bind(to_json(&grant.terms)?)
            .bind(number)
            .execute(&mut *transaction)
            .await?;
        }
        for (name, members) in &plan.groups {
            sqlx::query(
                "INSERT INTO agent_groups (name, members) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET members = excluded.members",
            )
            .bind(name.as_str())
            .bind(to_json(members)?)
            .execute(&mut *transaction)
            .await?;
        }
        if let Some(name) = &plan.removes {
            delete_package(&mut transaction, name).await?;
        }
        if let Some(step) = &plan.step {
            write_step(&mut transaction, step, plan).await?;
        }
        sqlx::query("DELETE FROM pending_change").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn write_revision(transaction: &mut Transaction<'_, Sqlite>, plan: &Plan) -> Result<(), DatabaseError> {
    let granted: Vec<GrantId> = plan.granted.iter().map(|grant| grant.id).collect();
    let groups: Vec<&GroupName> = plan.groups.keys().collect();
    sqlx::query(
        "INSERT INTO revisions (number, made_at, made_by, granted, revoked, groups, source, step) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(to_integer(plan.revision.0)?)
    .bind(plan.made_at.to_string())
    .bind(plan.by.as_str())
    .bind(to_json(&granted)?)
    .bind(to_json(&plan.revoked)?)
    .bind(to_json(&groups)?)
    .bind(plan.source.as_deref())
    .bind(plan.step.as_ref().map(to_json).transpose()?)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
