//! What an admin sets beside grants and packages: a freeze, quarantines, principals. Each is a revision:
//! planned, recorded, and only then put in force, and running calls that it denies end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Host, HostError};
use crate::audit::event::{Event, QuotasSet};
use crate::authn::local_admin;
use crate::database::{ChangeError, GrantsChange, NewKey, Step, StoreId};
use crate::ids::{CallId, GrantId, PackageDigest, PackageName, PrincipalId, Remark, Revision, are_alike};
use crate::policy::{Freeze, Principal, Quarantine, Role, Standing, nearest};

/// The most pairs of agent and grant that are looked at to list principals.
const PAIRS_MAX: usize = 100_000;

/// What came of setting something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Taken {
    /// The revision now in force.
    pub revision: Revision,
    /// Whether anything changed: it may have been so already.
    pub changed: bool,
    /// Running calls that were told to end by it.
    pub stopped: Vec<CallId>,
}

/// What came of a freeze or a thaw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FreezeChanged {
    /// What came of it.
    #[serde(flatten)]
    pub taken: Taken,
    /// The freeze that is in force now, if one is.
    pub frozen: Option<Freeze>,
}

/// What came of a quarantine or a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineChanged {
    /// What came of it.
    #[serde(flatten)]
    pub taken: Taken,
    /// The package.
    pub package: PackageName,
    /// The bytes; `None`: all of the package.
    pub digest: Option<PackageDigest>,
    /// The quarantine that is in force for them now, if one is.
    pub quarantine: Option<Quarantine>,
}

/// What came of adding or removing a principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrincipalChanged {
    /// What came of it.
    #[serde(flatten)]
    pub taken: Taken,
    /// The principal as it is now.
    pub principal: PrincipalStatus,
}

/// A principal, and what names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrincipalStatus {
    /// Its name.
    pub name: PrincipalId,
    /// What an admin said of it; `None` if only grants name it, which makes it an agent.
    pub known: Option<Principal>,
    /// The grants in force that name it, by itself or by a group.
    pub grants: Vec<GrantId>,
}

/// How the host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostStatus {
    /// The host's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// The revision in force.
    pub revision: Revision,
    /// Why nothing may run, if nothing may.
    pub frozen: Option<Freeze>,
    /// What may not run.
    pub quarantines: Vec<Quarantine>,
    /// What runs now.
    pub running: Vec<super::RunningCall>,
    /// How many calls wait for a place.
    #[serde(default)]
    pub waiting: u64,
}

impl Host {
    /// Stops everything: running calls end, no call begins, and no component is run to be registered, until
    /// [`thaw`](Self::thaw). Survives restarts. Changes nothing where it is so already.
    ///
    /// # Errors
    /// If it can't be recorded or stored.
    pub async fn freeze(&self, by: &PrincipalId, because: Remark) -> Result<FreezeChanged, HostError> {
        let taken = self.take(by, Step::Freeze { because }).await?;
        Ok(FreezeChanged { taken, frozen: self.frozen() })
    }

    /// Lets calls begin again. Changes nothing where they may already.
    ///
    /// # Errors
    /// If it can't be recorded or stored.
    pub async fn thaw(&self, by: &PrincipalId) -> Result<FreezeChanged, HostError> {
        let taken = self.take(by, Step::Thaw).await?;
        Ok(FreezeChanged { taken, frozen: self.frozen() })
    }

    /// Why nothing may run, if nothing may.
    pub fn frozen(&self) -> Option<Freeze> {
        self.in_force().policy.frozen.clone()
    }

    /// Forbids bytes, under whatever name, or all of a package: they can't be called or approved, and
    /// running calls of them end. Survives restarts, and the package's removal.
    ///
    /// # Errors
    /// If there is no such package, or it does not have these bytes.
    pub async fn quarantine(
        &self,
        by: &PrincipalId,
        package: PackageName,
        digest: Option<PackageDigest>,
        because: Remark,
    ) -> Result<QuarantineChanged, HostError> {
        let known = self.registry.get(&package).await?;
        if let Some(digest) = digest.filter(|digest| !known.iter().any(|known| known.digest == *digest)) {
            return Err(crate::registry::RegistryError::NoSuchDigest { name: package, digest }.into());
        }
        let step = Step::Quarantine { package: package.clone(), digest, because };
        let taken = self.take(by, step).await?;
        Ok(self.quarantine_changed(taken, package, digest))
    }

    /// Lifts a quarantine of the same bytes, or of the package as a whole. What was approved before may run
    /// again. Changes nothing where there is none.
    ///
    /// # Errors
    /// If the name is unknown, or something else of the package is quarantined than is named.
    pub async fn release(
        &self,
        by: &PrincipalId,
        package: PackageName,
        digest: Option<PackageDigest>,
    ) -> Result<QuarantineChanged, HostError> {
        // A quarantine outlives its package.
        if !self.in_force().policy.quarantines.iter().any(|quarantine| quarantine.package == package) {
            self.registry.get(&package).await?;
        }
        let taken = self.take(by, Step::Release { package: package.clone(), digest }).await?;
        Ok(self.quarantine_changed(taken, package, digest))
    }

    fn quarantine_changed(
        &self,
        taken: Taken,
        package: PackageName,
        digest: Option<PackageDigest>,
    ) -> QuarantineChanged {
        let in_force = self.in_force();
        let mut quarantines = in_force.policy.quarantines.iter();
        let quarantine = quarantines.find(|quarantine| quarantine.covers(&package, digest)).cloned();
        QuarantineChanged { taken, package, digest, quarantine }
    }

    /// Makes a principal known, or known again, with this role and note. A role other than agent may
    /// not call tools. Changes nothing where it is so already.
    ///
    /// # Errors
    /// If it is the local admin, which is always there.
    pub async fn add_principal(
        &self,
        by: &PrincipalId,
        name: PrincipalId,
        role: Role,
        note: Option<Remark>,
    ) -> Result<PrincipalChanged, HostError> {
        refuse_local_admin(&name)?;
        let taken = self.take(by, Step::AddPrincipal { name: name.clone(), role, note }).await?;
        Ok(PrincipalChanged { taken, principal: self.principal(name) })
    }

    /// Bars a principal: whatever grants say, it may call nothing, and its running calls end. Its name stays
    /// barred until it is added again. Changes nothing where it was removed already.
    ///
    /// # Errors
    /// If nobody has the name, or it is the local admin.
    pub async fn remove_principal(
        &self,
        by: &PrincipalId,
        name: PrincipalId,
    ) -> Result<PrincipalChanged, HostError> {
        refuse_local_admin(&name)?;
        let taken = self.take(by, Step::RemovePrincipal { name: name.clone() }).await?;
        Ok(PrincipalChanged { taken, principal: self.principal(name) })
    }

    /// A principal, whether somebody has the name or not.
    pub fn principal(&self, name: PrincipalId) -> PrincipalStatus {
        let known = self.principals().into_iter().find(|principal| principal.name == name);
        known.unwrap_or(PrincipalStatus { name, known: None, grants: Vec::new() })
    }

    /// Refuses a name that nobody has.
    pub(super) fn known_principal(&self, name: &PrincipalId) -> Result<(), HostError> {
        let in_force = self.in_force();
        let names = in_force.policy.principal_names();
        if names.contains(name) {
            return Ok(());
        }
        let near = nearest(name.as_str(), names.into_iter().map(PrincipalId::as_str)).map(str::to_owned);
        Err(HostError::Change(ChangeError::NoSuchPrincipal { name: name.clone(), near }))
    }

    /// All principals that were added or removed, or that a grant in force names, by name.
    pub fn principals(&self) -> Vec<PrincipalStatus> {
        let in_force = self.in_force();
        let (by_agent, _) = in_force.policy.grants_by_agent(PAIRS_MAX);
        let principals = &in_force.policy.principals;
        let names: std::collections::BTreeSet<&PrincipalId> =
            principals.keys().chain(by_agent.keys().copied()).collect();
        let status = |name: &PrincipalId| PrincipalStatus {
            name: name.clone(),
            known: principals.get(name).cloned(),
            grants: by_agent
                .get(name)
                .map(|grants| grants.iter().map(|grant| grant.id).collect())
                .unwrap_or_default(),
        };
        names.into_iter().map(status).collect()
    }

    /// How the host is.
    pub fn status(&self) -> HostStatus {
        let in_force = self.in_force();
        HostStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            revision: in_force.policy.revision,
            frozen: in_force.policy.frozen.clone(),
            quarantines: in_force.policy.quarantines.clone(),
            running: self.running(),
            waiting: self.admission.waiting(),
        }
    }

    pub(super) async fn take(&self, by: &PrincipalId, step: Step) -> Result<Taken, HostError> {
        let _changing = self.begin_change().await?;
        let change = self.database.prepare_step(&step, by, self.now()).await.map_err(HostError::Change)?;
        let Some(change) = change else {
            let revision = self.in_force().policy.revision;
            return Ok(Taken { revision, changed: false, stopped: Vec::new() });
        };
        let revision = change.revision();
        self.log.append(event(step, &change)).await?;
        let stopped = self.commit(change).await?;
        Ok(Taken { revision, changed: true, stopped })
    }
}

/// Whoever can open the data folder is the admin, whatever the database says.
fn refuse_local_admin(name: &PrincipalId) -> Result<(), HostError> {
    let admin = local_admin();
    if are_alike(name.as_str(), admin.as_str()) {
        return Err(HostError::Naming(format!("{name} can be taken for {admin}; choose another name")));
    }
    if *name == admin {
        let told = format!("{name} is whoever can open the data folder; it can be neither added nor removed");
        return Err(HostError::Naming(told));
    }
    Ok(())
}

pub(super) fn event(step: Step, change: &GrantsChange) -> Event {
    let (revision, by) = (change.revision(), change.by().clone());
    match step {
        Step::Freeze { because } => Event::HostFrozen { revision, because, by },
        Step::Thaw => Event::HostThawed { revision, by },
        Step::Quarantine { package, digest, because } => {
            Event::PackageQuarantined { revision, package, digest, because, by }
        }
        Step::Release { package, digest } => Event::PackageReleased { revision, package, digest, by },
        Step::AddPrincipal { name, role, note } => Event::PrincipalAdded { revision, name, role, note, by },
        Step::SetQuotas { subject, quotas } => {
            Event::QuotasSet(Box::new(QuotasSet { revision, subject, quotas, by }))
        }
        Step::RemovePrincipal { name } => Event::PrincipalRemoved { revision, name, by },
        Step::SetSecret { name } => Event::SecretSet { revision, name, by },
        Step::RemoveSecret { name } => Event::SecretRemoved { revision, name, by },
        Step::CreateKey { key: NewKey { prefix, principal, role, expires, hash: _ } } => {
            Event::ApiKeyCreated { revision, key: prefix, name: principal, role, expires, by }
        }
        Step::RotateKey { replaces, key } => {
            Event::ApiKeyRotated { revision, key: key.prefix, replaces, name: key.principal, by }
        }
        Step::RevokeKey { prefix, principal } => {
            Event::ApiKeyRevoked { revision, key: prefix, name: principal, by }
        }
        Step::ClearStore { store: StoreId { package, agent, name } } => {
            Event::StateCleared { revision, package, agent, store: name, by }
        }
    }
}

impl PrincipalStatus {
    /// Whether it may not act at all.
    pub fn is_removed(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.standing == Standing::Removed)
    }
}
