//! What an admin does with packages: recorded first, then put in force.

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::registrations::Registration;
use super::{Host, HostError, MESSAGE_BYTES_MAX, Subject, outcome};
use crate::audit::event::{CallContext, Event};
use crate::database::{Added, Package};
use crate::ids::{CallId, PackageDigest, PackageName, PrincipalId};
use crate::package::PackageDescription;
use crate::policy::Stop;
use crate::registry::RegistryError;
use crate::sandbox::{CallControl, Described, InvokeError, Sandbox};
use crate::text::clean;

/// The tool name under which a component's `list-tools` runs at registration.
const LIST_TOOLS: &str = "list-tools";

/// How far a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddProgress {
    /// Sizes and counts were looked at; compiling begins.
    Compiling,
    /// Its own list of tools is asked for.
    ListingTools,
    /// It is being written down.
    Storing,
}

/// A component that was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AddedPackage {
    /// Its name.
    pub package: PackageName,
    /// Its version.
    pub version: semver::Version,
    /// Its bytes.
    pub digest: PackageDigest,
    /// Whether it was there before.
    pub added: Added,
    /// What it is and asks for.
    pub description: PackageDescription,
}

/// A package with what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PackageDetails {
    /// One of the components under its name.
    #[serde(flatten)]
    pub package: Package,
    /// What it is and asks for.
    pub description: PackageDescription,
}

impl Host {
    /// Takes a place for a registration, before its bytes are read: so many may wait, for each principal and
    /// in all, and each may hold [`Limit::ComponentBytes`](crate::limits::Limit::ComponentBytes).
    ///
    /// # Errors
    /// [`HostError::Busy`].
    pub fn reserve_registration(&self, by: &PrincipalId) -> Result<Registration, HostError> {
        self.registrations.reserve(by).map_err(HostError::Busy)
    }

    /// Registers a component. It has no power, and does not run, until it is approved and granted.
    ///
    /// # Errors
    /// As [`add_reserved_package`](Self::add_reserved_package), and [`HostError::Busy`].
    pub async fn add_package(
        &self,
        by: &PrincipalId,
        bytes: Bytes,
        name: Option<PackageName>,
        version: Option<semver::Version>,
        progress: impl Fn(AddProgress) + Send,
    ) -> Result<AddedPackage, HostError> {
        let registration = self.reserve_registration(by)?;
        self.add_reserved_package(registration, bytes, name, version, progress).await
    }

    /// The same with a place that was taken before. Registrations are made one at a time; dropping the
    /// future gives place and turn back, and ends the compiler's process.
    ///
    /// # Errors
    /// [`HostError::Package`] if it can't be a package, and [`RegistryError::Alike`] if its name can be taken
    /// for another package's, which are recorded; [`HostError::Naming`] if no name was given and the component
    /// has none.
    pub async fn add_reserved_package(
        &self,
        registration: Registration,
        bytes: Bytes,
        name: Option<PackageName>,
        version: Option<semver::Version>,
        progress: impl Fn(AddProgress) + Send,
    ) -> Result<AddedPackage, HostError> {
        self.disk.check()?;
        let (by, digest) = (registration.by(), PackageDigest::of(&bytes));
        let _turn = registration.turn().await;
        let described = self.describe(by, &bytes, name, version, &progress).await;
        let (package, version, described) = match described {
            Ok(described) => described,
            Err(error) => {
                let is_refused = matches!(
                    error,
                    HostError::Package(_)
                        | HostError::Denied(_)
                        | HostError::Registry(RegistryError::Alike { .. })
                );
                if is_refused {
                    let reason = clean(&error.to_string(), MESSAGE_BYTES_MAX);
                    self.log.append(Event::PackageRefused { digest, reason, by: by.clone() }).await?;
                }
                return Err(error);
            }
        };
        progress(AddProgress::Storing);
        let _changing = self.begin_change().await?;
        self.log
            .append(Event::PackageAdded {
                package: package.clone(),
                version: version.to_string(),
                digest,
                bytes: bytes.len() as u64,
                by: by.clone(),
            })
            .await?;
        let description = described.description.clone();
        let added =
            self.registry.add(&package, &version, digest, bytes.into(), &description, self.now()).await?;
        // Only now, so that what is refused, or given up, leaves nothing behind.
        if let Err(error) = self.sandbox.keep(described).await {
            tracing::warn!(%digest, %error, "it will be compiled again at its first call");
        }
        Ok(AddedPackage { package, version, digest, added, description })
    }

    async fn describe(
        &self,
        by: &PrincipalId,
        bytes: &Bytes,
        name: Option<PackageName>,
        version: Option<semver::Version>,
        progress: &(impl Fn(AddProgress) + Send),
    ) -> Result<(PackageName, semver::Version, Described), HostError> {
        Sandbox::measure(bytes, &self.limits)?;
        progress(AddProgress::Compiling);
        let candidate = self.sandbox.compile(bytes.clone()).await?;
        let (package, version) = named(name, version, candidate.wit_package.clone())?;
        self.registry.tell_apart(&package).await?;
        if !candidate.lists_tools {
            return Ok((package, version, Sandbox::typed_description(candidate)));
        }
        progress(AddProgress::ListingTools);
        let digest = PackageDigest::of(bytes);
        let in_force = self.in_force();
        if let Some(denial) = in_force.policy.bars_component(&package, Some(digest)) {
            return Err(HostError::Denied(denial));
        }
        let context = Arc::new(CallContext {
            call: CallId::generate(),
            principal: by.clone(),
            package: package.clone(),
            digest,
            tool: LIST_TOOLS.parse().expect("the constant is a valid name"),
            revision: in_force.policy.revision,
            parent: None,
            trace: None,
        });
        let stopped = self.stopped(
            Subject {
                context: Arc::clone(&context),
                authorized: None,
                admission: Arc::default(),
                control: CallControl::default(),
            },
            in_force,
        );
        let recorder = self.log.begin_call(context, Vec::new(), 0, self.recording(None, None)).await?;
        let (described, invoked) = self.sandbox.describe(candidate, recorder, stopped).await;
        invoked.recorder.finish(outcome(&invoked.result), invoked.usage).await?;
        if let Err(InvokeError::Stopped(Stop::Denied { denial, .. })) = invoked.result {
            return Err(HostError::Denied(denial));
        }
        Ok((package, version, described?))
    }

    /// All packages, by name.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn packages(&self) -> Result<Vec<Package>, HostError> {
        Ok(self.registry.list().await?)
    }

    /// The components under a name, with what is known of them.
    ///
    /// # Errors
    /// If there is no such package.
    pub async fn package(&self, name: &PackageName) -> Result<Vec<PackageDetails>, HostError> {
        let mut details = Vec::new();
        for package in self.registry.get(name).await? {
            let description = self.registry.description(name, package.digest).await?;
            details.push(PackageDetails { package, description });
        }
        Ok(details)
    }

    /// Approves bytes under a name: those named, or the only ones that wait for it. Running calls of others
    /// under the name end.
    ///
    /// # Errors
    /// If there are none, or several and none was named, or they are quarantined.
    pub async fn approve(
        &self,
        by: &PrincipalId,
        name: &PackageName,
        digest: Option<PackageDigest>,
    ) -> Result<PackageDigest, HostError> {
        let _changing = self.begin_change().await?;
        let approval = self.registry.prepare_approval(name, digest).await?;
        let digest = approval.digest();
        self.log.append(Event::PackageApproved { package: name.clone(), digest, by: by.clone() }).await?;
        approval.commit(self.now()).await?;
        self.refresh().await?;
        Ok(digest)
    }

    /// Removes a package with all its bytes and grants. Its running calls end; a quarantine of it stays.
    ///
    /// # Errors
    /// If there is no such package.
    pub async fn remove_package(&self, by: &PrincipalId, name: &PackageName) -> Result<(), HostError> {
        let _keeping = self.begin_removal().await?;
        let _changing = self.begin_change().await?;
        let removal = self.registry.prepare_removal(name, by, self.now()).await?;
        if let Some(change) = removal.change() {
            let (revision, granted, revoked) =
                (change.revision(), change.granted(), change.revoked().to_vec());
            self.log.append(Event::GrantsChanged { revision, granted, revoked, by: by.clone() }).await?;
        }
        let digest = removal.approved();
        self.log.append(Event::PackageRemoved { package: name.clone(), digest, by: by.clone() }).await?;
        let digests: Vec<PackageDigest> =
            self.registry.get(name).await?.into_iter().map(|package| package.digest).collect();
        if let Err(error) = removal.commit().await {
            self.doubt();
            return Err(error.into());
        }
        self.refresh().await?;
        let kept: Vec<PackageDigest> =
            self.registry.list().await?.iter().map(|package| package.digest).collect();
        for digest in digests.into_iter().filter(|digest| !kept.contains(digest)) {
            self.sandbox.forget(digest);
        }
        Ok(())
    }
}

/// What the package is called: as said, or else as its WIT package is.
fn named(
    name: Option<PackageName>,
    version: Option<semver::Version>,
    wit: Option<(String, Option<String>)>,
) -> Result<(PackageName, semver::Version), HostError> {
    let (wit_name, wit_version) = wit.map_or((None, None), |(name, version)| (Some(name), version));
    let name = match (name, wit_name) {
        (Some(name), _) => name,
        (None, Some(name)) => {
            name.parse().map_err(|error| HostError::Naming(format!("{error}; give another with --name")))?
        }
        (None, None) => {
            return Err(HostError::Naming(
                "the component does not say what it is called; give it a name with --name".into(),
            ));
        }
    };
    let version = match (version, wit_version.and_then(|version| version.parse().ok())) {
        (Some(version), _) | (None, Some(version)) => version,
        (None, None) => semver::Version::new(0, 0, 0),
    };
    Ok((name, version))
}
