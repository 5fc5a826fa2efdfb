//! Package name → digest, description, bytes: what is registered, and which bytes are approved.
//!
//! It never compiles or runs a component and never decides who may call it. Bytes are named by
//! their SHA-256 and hashed again whenever they are read, so what was approved is what is loaded.

mod files;
mod folders;
pub mod oci;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::database::{
    Added, ChangeError, ChangeGuard, Database, DatabaseError, GrantsChange, NewPackage, Package,
    PackageRemoval, PackageState,
};
use crate::ids::{PackageDigest, PackageName, PrincipalId, are_alike};
use crate::limits::Limit;
use crate::package::PackageDescription;
use crate::policy::Quarantine;
use crate::signing::Signature;
use files::PackageFiles;

pub use folders::FolderCheck;

/// The most bytes of a version's text.
const VERSION_BYTES_MAX: usize = 64;

/// Why the registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No package has this name. The caller's fault.
    #[error("package {name} is not registered")]
    NotFound {
        /// The name.
        name: PackageName,
    },
    /// The name can be taken for that of another package. The caller's fault.
    #[error(
        "{name} can be taken for package {other}, which is registered; give it a name that differs in more than 0 and o, or 1 and l, with --name"
    )]
    Alike {
        /// The name.
        name: PackageName,
        /// The registered one.
        other: PackageName,
    },
    /// The package does not have these bytes. The caller's fault.
    #[error("package {name} has no component {digest}")]
    NoSuchDigest {
        /// The name.
        name: PackageName,
        /// The bytes.
        digest: PackageDigest,
    },
    /// Several components wait for approval, and none was named. The caller's fault.
    #[error("several components of package {name} are pending, name one: {}", list(.digests))]
    Ambiguous {
        /// The name.
        name: PackageName,
        /// The pending ones, by when they were added.
        digests: Vec<PackageDigest>,
    },
    /// None waits for approval. The caller's fault.
    #[error("no component of package {name} is pending; name the digest of a former one to go back to it")]
    NothingPending {
        /// The name.
        name: PackageName,
    },
    /// The component may not run, and so is not approved. The admin's affair.
    #[error("package {} is quarantined since {} by {}: {}; `portcullis package release` lifts it", .0.package, .0.since, .0.by, .0.because)]
    Quarantined(Box<Quarantine>),
    /// The component has more bytes than a package may have. Its author's fault.
    #[error("the component has {bytes} bytes, at most {max} are registered")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// The version's text is too long. Its author's fault.
    #[error("the version has {bytes} bytes, at most {VERSION_BYTES_MAX}")]
    VersionTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// The bytes are not those of the digest that came with them. The caller's fault.
    #[error("the bytes have digest {found}, not {expected}")]
    WrongDigest {
        /// What was said.
        expected: PackageDigest,
        /// What was found.
        found: PackageDigest,
    },
    /// A registered component's file is not there. The disk's or its admin's fault: add it again.
    #[error("the file of component {digest} is missing; add the package again")]
    Missing {
        /// The component.
        digest: PackageDigest,
    },
    /// A registered component's file was changed. It is not used: add it again.
    #[error("the file of component {digest} was altered; add the package again")]
    Altered {
        /// The component.
        digest: PackageDigest,
    },
    /// A file could not be read or written: the disk's fault.
    #[error("{action} failed: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The grants that belong to the package could not be changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

fn list(digests: &[PackageDigest]) -> String {
    digests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What runs under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovedPackage {
    /// The approved bytes.
    pub digest: PackageDigest,
    /// Their version.
    pub version: semver::Version,
    /// What they are and ask for.
    pub description: PackageDescription,
}

/// The packages of one data folder. Clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    database: Database,
    files: PackageFiles,
}

impl Registry {
    /// The registry that keeps components in `folder`, which is made (mode 0700) if it is not there.
    ///
    /// # Errors
    /// [`RegistryError::File`].
    pub async fn open(database: Database, folder: &Path) -> Result<Self, RegistryError> {
        Ok(Self { database, files: PackageFiles::open(folder).await? })
    }

    /// Registers `bytes` under `name`, pending.
    ///
    /// The very same bytes under the same name change nothing, except that a missing or altered file
    /// is mended. Other bytes under the name stand beside the earlier ones, which stay approved until
    /// the new ones are.
    ///
    /// # Errors
    /// `TooLarge`, `VersionTooLong`, `WrongDigest`, `File` or `Database`. Nothing is registered then.
    pub async fn add(
        &self,
        name: &PackageName,
        version: &semver::Version,
        digest: PackageDigest,
        (bytes, signatures): (Vec<u8>, &[Signature]),
        description: &PackageDescription,
        (by, now): (&PrincipalId, Timestamp),
    ) -> Result<Added, RegistryError> {
        let max = Limit::ComponentBytes.row().ceiling;
        let count = bytes.len() as u64;
        if count > max {
            return Err(RegistryError::TooLarge { bytes: count, max });
        }
        let version_bytes = version.to_string().len();
        if version_bytes > VERSION_BYTES_MAX {
            return Err(RegistryError::VersionTooLong { bytes: version_bytes });
        }
        let guard = self.database.begin_change().await?;
        // The file first: a row without its file would be a package that can't run.
        self.files.write(digest, bytes).await?;
        let new = NewPackage { name, digest, version, bytes: count, description };
        let added = self.database.add_package(&guard, new, now).await?;
        self.database.add_signatures(&guard, digest, signatures, by, now).await?;
        Ok(added)
    }

    /// Refuses a name that can be taken for that of a registered package.
    ///
    /// # Errors
    /// `Alike` or `Database`.
    pub async fn tell_apart(&self, name: &PackageName) -> Result<(), RegistryError> {
        let names = self.names().await?;
        if names.contains(name) {
            return Ok(());
        }
        match names.into_iter().find(|other| are_alike(name.as_str(), other.as_str())) {
            Some(other) => Err(RegistryError::Alike { name: name.clone(), other }),
            None => Ok(()),
        }
    }

    /// Which bytes `approve` means: those named, else the only pending ones, else those that are
    /// approved already.
    ///
    /// For callers that record an approval before they make it.
    ///
    /// # Errors
    /// `NotFound`, `NoSuchDigest`, `Ambiguous`, `NothingPending` or `Quarantined`.
    pub async fn choose(
        &self,
        name: &PackageName,
        digest: Option<PackageDigest>,
    ) -> Result<PackageDigest, RegistryError> {
        let packages = self.get(name).await?;
        let chosen = chosen(name, &packages, digest)?;
        match &chosen.quarantine {
            Some(quarantine) => Err(RegistryError::Quarantined(Box::new(quarantine.clone()))),
            None => Ok(chosen.digest),
        }
    }

    /// Approves bytes under a name, as [`choose`](Self::choose) finds them. Others under the name are
    /// not approved any more; grants that were made for them give nothing from now on.
    ///
    /// # Errors
    /// Those of `choose`, and `Missing` or `Altered`: what can't be loaded is not approved.
    pub async fn approve(
        &self,
        name: &PackageName,
        digest: Option<PackageDigest>,
        now: Timestamp,
    ) -> Result<PackageDigest, RegistryError> {
        let approval = self.prepare_approval(name, digest).await?;
        let digest = approval.digest();
        approval.commit(now).await?;
        Ok(digest)
    }

    /// Plans an approval, so that exactly what is recorded is approved: nothing else changes before it is
    /// committed or dropped.
    ///
    /// # Errors
    /// Those of [`approve`](Self::approve).
    pub async fn prepare_approval(
        &self,
        name: &PackageName,
        digest: Option<PackageDigest>,
    ) -> Result<Approval, RegistryError> {
        let guard = self.database.begin_change().await?;
        let digest = self.choose(name, digest).await?;
        // What can't be read any more is not approved, nor recorded as such.
        self.bytes(digest).await?;
        Ok(Approval { registry: self.clone(), name: name.clone(), digest, guard })
    }

    /// Plans the removal of a package with all its components and grants. Record it, then commit it.
    ///
    /// # Errors
    /// `NotFound`, `Change` or `Database`.
    pub async fn prepare_removal(
        &self,
        name: &PackageName,
        by: &PrincipalId,
        now: Timestamp,
    ) -> Result<Removal, RegistryError> {
        let guard = self.database.begin_change().await?;
        let packages = self.get(name).await?;
        let removal = self.database.prepare_removal(guard, name, by, now).await?;
        Ok(Removal { registry: self.clone(), packages, removal })
    }

    /// All components, by name and then by when they were added.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(&self) -> Result<Vec<Package>, RegistryError> {
        Ok(self.database.packages().await?)
    }

    /// The names that something is registered under.
    ///
    /// # Errors
    /// `Database`.
    pub async fn names(&self) -> Result<BTreeSet<PackageName>, RegistryError> {
        Ok(self.database.package_names().await?)
    }

    /// The bytes that are registered, under whatever name.
    ///
    /// # Errors
    /// `Database`.
    pub async fn digests(&self) -> Result<BTreeSet<PackageDigest>, RegistryError> {
        Ok(self.database.digests().await?)
    }

    /// What runs under each name. Of bytes that `known` has under the name, what they are is not read again: it
    /// never changes.
    ///
    /// # Errors
    /// `Database`.
    pub async fn all_approved(
        &self,
        known: &BTreeMap<PackageName, Arc<ApprovedPackage>>,
    ) -> Result<BTreeMap<PackageName, Arc<ApprovedPackage>>, RegistryError> {
        let (mut all, mut unknown) = (BTreeMap::new(), BTreeMap::new());
        for (name, digest, version) in self.database.approved_packages().await? {
            match known.get(&name).filter(|known| known.digest == digest && known.version == version) {
                Some(known) => drop(all.insert(name, Arc::clone(known))),
                None => drop(unknown.insert(name, (digest, version))),
            }
        }
        // One statement for many of them, and one for each of a few.
        if unknown.len() > all.len() {
            let mut descriptions = BTreeMap::new();
            self.database
                .approved_descriptions(|name, digest, description| {
                    if unknown.get(&name).is_some_and(|(unknown, _)| *unknown == digest) {
                        descriptions.insert(name, description);
                    }
                })
                .await?;
            for (name, description) in descriptions {
                let Some((digest, version)) = unknown.remove(&name) else { continue };
                all.insert(name, Arc::new(ApprovedPackage { digest, version, description }));
            }
        }
        for (name, (digest, version)) in unknown {
            let Some(description) = self.database.package_description(&name, digest).await? else { continue };
            all.insert(name, Arc::new(ApprovedPackage { digest, version, description }));
        }
        Ok(all)
    }

    /// The components under a name, by when they were added; never empty.
    ///
    /// # Errors
    /// `NotFound` or `Database`.
    pub async fn get(&self, name: &PackageName) -> Result<Vec<Package>, RegistryError> {
        let packages = self.database.packages_named(name).await?;
        if packages.is_empty() { Err(RegistryError::NotFound { name: name.clone() }) } else { Ok(packages) }
    }

    /// What a component under a name is and asks for.
    ///
    /// # Errors
    /// `NoSuchDigest` or `Database`.
    pub async fn description(
        &self,
        name: &PackageName,
        digest: PackageDigest,
    ) -> Result<PackageDescription, RegistryError> {
        let description = self.database.package_description(name, digest).await?;
        description.ok_or_else(|| RegistryError::NoSuchDigest { name: name.clone(), digest })
    }

    /// What runs under a name; `None` if nothing is approved, or there is no such package.
    ///
    /// # Errors
    /// `Database`.
    pub async fn approved(&self, name: &PackageName) -> Result<Option<ApprovedPackage>, RegistryError> {
        let packages = self.database.packages_named(name).await?;
        let approved = packages.into_iter().find(|package| package.state == PackageState::Approved);
        let Some(Package { digest, version, .. }) = approved else { return Ok(None) };
        let description = self.database.package_description(name, digest).await?;
        Ok(description.map(|description| ApprovedPackage { digest, version, description }))
    }

    /// The bytes of a component, hashed anew.
    ///
    /// # Errors
    /// `Missing`, `Altered` or `File`: then there is nothing to run.
    pub async fn bytes(&self, digest: PackageDigest) -> Result<Vec<u8>, RegistryError> {
        self.files.read(digest).await
    }

    /// Deletes what an interrupted `add` or removal left in the folder: to be called at start, after
    /// [`Database::settle`] has found the database to be the log's.
    ///
    /// # Errors
    /// `File` or `Database`.
    pub async fn tidy(&self) -> Result<(), RegistryError> {
        let _guard = self.database.begin_change().await?;
        self.files.keep_only(self.digests().await?).await
    }
}

fn chosen<'p>(
    name: &PackageName,
    packages: &'p [Package],
    digest: Option<PackageDigest>,
) -> Result<&'p Package, RegistryError> {
    if let Some(digest) = digest {
        let named = packages.iter().find(|package| package.digest == digest);
        return named.ok_or_else(|| RegistryError::NoSuchDigest { name: name.clone(), digest });
    }
    let in_state = |state| packages.iter().filter(move |package| package.state == state);
    let pending: Vec<&Package> = in_state(PackageState::Pending).collect();
    match pending.as_slice() {
        [package] => Ok(*package),
        [] => in_state(PackageState::Approved)
            .next()
            .ok_or_else(|| RegistryError::NothingPending { name: name.clone() }),
        _ => {
            let digests = pending.into_iter().map(|package| package.digest).collect();
            Err(RegistryError::Ambiguous { name: name.clone(), digests })
        }
    }
}

/// An approval that is planned and not yet made.
#[derive(Debug)]
#[must_use = "nothing is approved before `commit`"]
pub struct Approval {
    registry: Registry,
    name: PackageName,
    digest: PackageDigest,
    guard: ChangeGuard,
}

impl Approval {
    /// The bytes that will be approved.
    pub fn digest(&self) -> PackageDigest {
        self.digest
    }

    /// Makes it.
    ///
    /// # Errors
    /// `Database`: nothing is approved then.
    pub async fn commit(self, now: Timestamp) -> Result<(), RegistryError> {
        let Self { registry, name, digest, guard } = self;
        if registry.database.approve_package(&guard, &name, digest, now).await? {
            Ok(())
        } else {
            Err(RegistryError::NoSuchDigest { name, digest })
        }
    }
}

/// A removal that is planned and not yet made.
#[derive(Debug)]
#[must_use = "nothing is removed before `commit`"]
pub struct Removal {
    registry: Registry,
    packages: Vec<Package>,
    removal: PackageRemoval,
}

impl Removal {
    /// The bytes that are approved now, if any are.
    pub fn approved(&self) -> Option<PackageDigest> {
        let approved = self.packages.iter().find(|package| package.state == PackageState::Approved);
        approved.map(|package| package.digest)
    }

    /// The change of grants that comes with it, if the package has any.
    pub fn change(&self) -> Option<&GrantsChange> {
        self.removal.change()
    }

    /// Makes it: package and grants in one transaction, then the files that no other name has. A file
    /// that can't be deleted is left for [`Registry::tidy`].
    ///
    /// # Errors
    /// `Database`: nothing is removed then.
    pub async fn commit(self) -> Result<(), RegistryError> {
        let Self { registry, packages, removal } = self;
        let _guard = removal.commit().await?;
        for package in packages {
            if !registry.database.has_digest(package.digest).await?
                && let Err(error) = registry.files.delete(package.digest).await
            {
                tracing::warn!(digest = %package.digest, %error, "a removed component's file is left");
            }
        }
        Ok(())
    }

    /// Drops it: nothing is removed.
    ///
    /// # Errors
    /// `Database`. The plan is then dropped at the next start.
    pub async fn abandon(self) -> Result<(), RegistryError> {
        Ok(self.removal.abandon().await?)
    }
}
