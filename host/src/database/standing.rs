//! What an admin sets beside the grants: a freeze, quarantines, principals, API keys. Planned and made as changes
//! of grants are, each a revision.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};

use super::change::{ChangeError, Plan, tell_apart};
use super::keys::{NewKey, delete_key, write_key};
use super::keyvalue::admin::clear_store;
use super::quotas::{are_set, read_quotas, write_quotas};
use super::secrets::{read_secrets, refuse_unknown, write_secret};
use super::{Database, DatabaseError, GrantsChange, StoreId, from_text};
use crate::ids::{KeyPrefix, PackageDigest, PackageName, PrincipalId, Remark, SecretName};
use crate::policy::{Freeze, Policy, Principal, Quarantine, QuotaSubject, Quotas, Role, Standing, nearest};

/// The most quarantines at once.
const QUARANTINES_MAX: usize = 10_000;

/// The most principals, removed ones included.
const PRINCIPALS_MAX: usize = 10_000;

/// One thing that an admin sets or lifts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Nothing may run.
    Freeze {
        /// Why.
        because: Remark,
    },
    /// Calls may run again.
    Thaw,
    /// A package, or these bytes, may not run.
    Quarantine {
        /// The package.
        package: PackageName,
        /// The bytes; `None`: all of the package.
        digest: Option<PackageDigest>,
        /// Why.
        because: Remark,
    },
    /// They may again.
    Release {
        /// The package.
        package: PackageName,
        /// The bytes; `None`: the package as a whole.
        digest: Option<PackageDigest>,
    },
    /// A principal is known, with this role and note.
    AddPrincipal {
        /// Its name.
        name: PrincipalId,
        /// What it is for.
        role: Role,
        /// What is noted about it.
        note: Option<Remark>,
    },
    /// A principal, or a package, may use so much.
    SetQuotas {
        /// Whose.
        subject: QuotaSubject,
        /// All that is said from now on.
        quotas: Quotas,
    },
    /// A principal may do nothing any more.
    RemovePrincipal {
        /// Its name.
        name: PrincipalId,
    },
    /// A secret is stored, or replaced. Its value is not here.
    SetSecret {
        /// Its name.
        name: SecretName,
    },
    /// A secret is stored no more.
    RemoveSecret {
        /// Its name.
        name: SecretName,
    },
    /// An API key is made.
    CreateKey {
        /// It, as a hash.
        key: NewKey,
    },
    /// An API key takes the place of another, which ends.
    RotateKey {
        /// The one that ends.
        replaces: KeyPrefix,
        /// The new one, as a hash.
        key: NewKey,
    },
    /// An API key ends.
    RevokeKey {
        /// Its public beginning.
        prefix: KeyPrefix,
        /// Whose it is.
        principal: PrincipalId,
    },
    /// The state in a store is gone.
    ClearStore {
        /// Which.
        store: StoreId,
    },
}

impl Step {
    /// Whether it is so already under this policy.
    ///
    /// # Errors
    /// If it can't be done.
    fn is_done(&self, policy: &Policy) -> Result<bool, ChangeError> {
        match self {
            Step::Freeze { .. } => Ok(policy.frozen.is_some()),
            Step::Thaw => Ok(policy.frozen.is_none()),
            Step::Quarantine { package, digest, .. } => {
                let is_done = policy.quarantines.iter().any(is_of(package, *digest));
                has_room(
                    is_done || policy.quarantines.len() < QUARANTINES_MAX,
                    "quarantines",
                    QUARANTINES_MAX,
                )?;
                Ok(is_done)
            }
            Step::Release { package, digest } => is_released(package, *digest, policy),
            Step::AddPrincipal { name, role, note } => {
                let known = policy.principals.get(name);
                let is_room = known.is_some() || policy.principals.len() < PRINCIPALS_MAX;
                has_room(is_room, "principals", PRINCIPALS_MAX)?;
                let names = policy.principal_names();
                if !names.contains(name) {
                    tell_apart("principal", name.as_str(), names.into_iter().map(PrincipalId::as_str))?;
                }
                Ok(known.is_some_and(|known| {
                    (known.role, known.note.as_ref(), known.standing)
                        == (*role, note.as_ref(), Standing::Added)
                }))
            }
            Step::SetQuotas { subject, quotas } => are_set(subject, quotas, policy),
            Step::RemovePrincipal { name } => is_removed(name, policy),
            // What is stored can't be compared, and state and keys are no part of the policy.
            Step::SetSecret { .. }
            | Step::ClearStore { .. }
            | Step::CreateKey { .. }
            | Step::RotateKey { .. }
            | Step::RevokeKey { .. } => Ok(false),
            Step::RemoveSecret { name } => refuse_unknown(name, policy).map(|()| false),
        }
    }
}

fn has_room(has: bool, what: &'static str, max: usize) -> Result<(), DatabaseError> {
    if has { Ok(()) } else { Err(DatabaseError::TooMany { what, max }) }
}

fn is_of(package: &PackageName, digest: Option<PackageDigest>) -> impl Fn(&Quarantine) -> bool {
    move |quarantine| quarantine.package == *package && quarantine.digest == digest
}

fn is_released(
    package: &PackageName,
    digest: Option<PackageDigest>,
    policy: &Policy,
) -> Result<bool, ChangeError> {
    if policy.quarantines.iter().any(is_of(package, digest)) {
        return Ok(false);
    }
    // The package as a whole was not quarantined: "release it" may mean some of its bytes, or not.
    let of_package = policy.quarantines.iter().filter(|quarantine| quarantine.package == *package);
    let others: Vec<PackageDigest> = of_package.filter_map(|quarantine| quarantine.digest).collect();
    match digest {
        None if !others.is_empty() => {
            Err(ChangeError::OtherQuarantine { package: package.clone(), digests: others })
        }
        Some(_) if policy.quarantines.iter().any(is_of(package, None)) => {
            Err(ChangeError::OtherQuarantine { package: package.clone(), digests: Vec::new() })
        }
        None | Some(_) => Ok(true),
    }
}

fn is_removed(name: &PrincipalId, policy: &Policy) -> Result<bool, ChangeError> {
    if let Some(known) = policy.principals.get(name) {
        return Ok(known.standing == Standing::Removed);
    }
    let named = policy.principal_names();
    if named.contains(name) {
        return Ok(false);
    }
    let near = nearest(name.as_str(), named.into_iter().map(PrincipalId::as_str)).map(str::to_owned);
    Err(ChangeError::NoSuchPrincipal { name: name.clone(), near })
}

type FreezeColumns = (String, String, String);
type QuarantineColumns = (String, String, String, String, String);
type PrincipalColumns = (String, String, Option<String>, String, String, String);

impl Database {
    /// Plans one step; `None` if it is so already.
    ///
    /// # Errors
    /// [`ChangeError`]: `OtherQuarantine`, `NoSuchPrincipal`, `Alike`, or the database's.
    pub async fn prepare_step(
        &self,
        step: &Step,
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<Option<GrantsChange>, ChangeError> {
        let guard = self.begin_change().await?;
        // What is so "already" may be about to change.
        self.refuse_unsettled().await?;
        let policy = self.policy().await?;
        let is_done = match step.is_done(&policy) {
            // A key is reason enough to bar a name that nothing else has.
            Err(ChangeError::NoSuchPrincipal { name, .. }) if self.has_key(&name).await? => false,
            is_done => is_done?,
        };
        if is_done {
            return Ok(None);
        }
        match step {
            Step::CreateKey { key } => self.refuse_new_key(&key.principal, &policy).await?,
            Step::RotateKey { replaces: prefix, .. } | Step::RevokeKey { prefix, .. } => {
                self.refuse_unknown_key(prefix).await?;
            }
            Step::Freeze { .. }
            | Step::Thaw
            | Step::Quarantine { .. }
            | Step::Release { .. }
            | Step::AddPrincipal { .. }
            | Step::RemovePrincipal { .. }
            | Step::SetQuotas { .. }
            | Step::SetSecret { .. }
            | Step::RemoveSecret { .. }
            | Step::ClearStore { .. } => {}
        }
        let plan = Plan { step: Some(step.clone()), ..Plan::new(policy.revision, by, now) };
        Ok(Some(GrantsChange::prepare(self.clone(), guard, plan).await?))
    }

    /// What may not run.
    pub(super) async fn quarantines(&self) -> Result<Vec<Quarantine>, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        read_quarantines(&mut transaction).await
    }
}

/// What is set beside the grants, into the policy.
pub(super) async fn read_standing(
    transaction: &mut Transaction<'_, Sqlite>,
    policy: &mut Policy,
) -> Result<(), DatabaseError> {
    let row: Option<FreezeColumns> = sqlx::query_as("SELECT because, made_by, made_at FROM freeze")
        .fetch_optional(&mut **transaction)
        .await?;
    let freeze = |(because, by, since): FreezeColumns| {
        Ok::<_, DatabaseError>(Freeze {
            because: from_text("freeze.because", &because)?,
            by: from_text("freeze.made_by", &by)?,
            since: from_text("freeze.made_at", &since)?,
        })
    };
    policy.frozen = row.map(freeze).transpose()?;
    policy.quarantines = read_quarantines(transaction).await?;
    policy.principals = read_principals(transaction).await?;
    policy.quotas = read_quotas(transaction).await?;
    policy.secrets = read_secrets(transaction).await?;
    Ok(())
}

async fn read_quarantines(
    transaction: &mut Transaction<'_, Sqlite>,
) -> Result<Vec<Quarantine>, DatabaseError> {
    let rows: Vec<QuarantineColumns> = sqlx::query_as(
        "SELECT package, digest, because, made_by, made_at FROM quarantines ORDER BY package, digest",
    )
    .fetch_all(&mut **transaction)
    .await?;
    rows.into_iter()
        .map(|(package, digest, because, by, since)| {
            let digest = (!digest.is_empty()).then(|| from_text("quarantines.digest", &digest));
            Ok(Quarantine {
                package: from_text("quarantines.package", &package)?,
                digest: digest.transpose()?,
                because: from_text("quarantines.because", &because)?,
                by: from_text("quarantines.made_by", &by)?,
                since: from_text("quarantines.made_at", &since)?,
            })
        })
        .collect()
}

async fn read_principals(
    transaction: &mut Transaction<'_, Sqlite>,
) -> Result<BTreeMap<PrincipalId, Principal>, DatabaseError> {
    let rows: Vec<PrincipalColumns> =
        sqlx::query_as("SELECT name, role, note, standing, made_by, made_at FROM principals")
            .fetch_all(&mut **transaction)
            .await?;
    rows.into_iter()
        .map(|(name, role, note, standing, by, since)| {
            let name: PrincipalId = from_text("principals.name", &name)?;
            let standing = match standing.as_str() {
                "added" => Standing::Added,
                "removed" => Standing::Removed,
                other => return Err(DatabaseError::corrupt(format!("principals.standing: {other:?}"))),
            };
            let principal = Principal {
                name: name.clone(),
                role: from_text("principals.role", &role)?,
                note: note.map(|note| from_text("principals.note", &note)).transpose()?,
                standing,
                by: from_text("principals.made_by", &by)?,
                since: from_text("principals.made_at", &since)?,
            };
            Ok((name, principal))
        })
        .collect()
}

/// Makes a step within the transaction that makes its revision.
pub(super) async fn write_step(
    transaction: &mut Transaction<'_, Sqlite>,
    step: &Step,
    plan: &Plan,
) -> Result<(), DatabaseError> {
    let (by, at) = (plan.by.as_str(), plan.made_at.to_string());
    let digest_column = |digest: &Option<PackageDigest>| digest.map(|d| d.to_string()).unwrap_or_default();
    let query = match step {
        Step::Freeze { because } => {
            sqlx::query("INSERT INTO freeze (slot, because, made_by, made_at) VALUES (1, $1, $2, $3)")
                .bind(because.as_str())
                .bind(by)
                .bind(at)
        }
        Step::Thaw => sqlx::query("DELETE FROM freeze"),
        Step::Quarantine { package, digest, because } => sqlx::query(
            "INSERT INTO quarantines (package, digest, because, made_by, made_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(package.as_str())
        .bind(digest_column(digest))
        .bind(because.as_str())
        .bind(by)
        .bind(at),
        Step::Release { package, digest } => {
            sqlx::query("DELETE FROM quarantines WHERE package = $1 AND digest = $2")
                .bind(package.as_str())
                .bind(digest_column(digest))
        }
        Step::AddPrincipal { name, role, note } => sqlx::query(
            "INSERT INTO principals (name, role, note, standing, made_by, made_at) \
             VALUES ($1, $2, $3, 'added', $4, $5) \
             ON CONFLICT (name) DO UPDATE SET role = excluded.role, note = excluded.note, \
             standing = excluded.standing, made_by = excluded.made_by, made_at = excluded.made_at",
        )
        .bind(name.as_str())
        .bind(role.name())
        .bind(note.as_ref().map(Remark::as_str))
        .bind(by)
        .bind(at),
        // One that only grants have named was an agent by that.
        Step::RemovePrincipal { name } => sqlx::query(
            "INSERT INTO principals (name, role, standing, made_by, made_at) \
             VALUES ($1, 'agent', 'removed', $2, $3) \
             ON CONFLICT (name) DO UPDATE SET standing = excluded.standing, made_by = excluded.made_by, \
             made_at = excluded.made_at",
        )
        .bind(name.as_str())
        .bind(by)
        .bind(at),
        Step::SetQuotas { subject, quotas } => return write_quotas(transaction, subject, quotas).await,
        Step::SetSecret { name } => return write_secret(transaction, name, plan).await,
        Step::ClearStore { store } => return clear_store(transaction, store).await,
        Step::CreateKey { key } => return write_key(transaction, key, plan).await,
        Step::RotateKey { replaces, key } => {
            delete_key(transaction, replaces).await?;
            return write_key(transaction, key, plan).await;
        }
        Step::RevokeKey { prefix, .. } => return delete_key(transaction, prefix).await,
        Step::RemoveSecret { name } => {
            sqlx::query("DELETE FROM secrets WHERE name = $1").bind(name.as_str())
        }
    };
    query.execute(&mut **transaction).await?;
    Ok(())
}
