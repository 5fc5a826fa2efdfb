//! What an admin does with packages: recorded first, then put in force.

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::registrations::Registration;
use super::{Host, HostError, MESSAGE_BYTES_MAX, NotTrusted, Subject, Trust, outcome};
use crate::audit::event::{ApprovalRule, CallContext, Event};
use crate::authoring::{About, read_manifest};
use crate::database::{Added, Package, PackageState};
use crate::ids::{CallId, PackageDigest, PackageName, PrincipalId, Remark};
use crate::package::PackageDescription;
use crate::policy::{SignatureFact, SignatureStanding, SignedComponent, Stop, UpgradeDiff};
use crate::registry::RegistryError;
use crate::sandbox::{CallControl, Described, InvokeError, PackageError, Sandbox};
use crate::signing::{SIGNATURES_MAX, Signature};
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
    /// What it says of itself.
    #[serde(default)]
    pub about: About,
    /// What its signatures are worth.
    #[serde(default)]
    pub trust: Trust,
    /// What is different, compared with the component that was approved under its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeDiff>,
    /// The rule that approved it, with the grants of the former version, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<ApprovalRule>,
}

/// A component that is to be registered.
#[derive(Clone, Debug)]
pub struct NewComponent {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its name. Default: that of its WIT package.
    pub name: Option<PackageName>,
    /// Its version. Default: that of its WIT package, else 0.0.0.
    pub version: Option<semver::Version>,
    /// Its signatures, at most [`SIGNATURES_MAX`].
    pub signatures: Vec<Signature>,
    /// Where it came from: for the log.
    pub source: Option<Remark>,
}

/// A component in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListedPackage {
    /// It.
    #[serde(flatten)]
    pub package: Package,
    /// What its signatures are worth.
    pub trust: Trust,
}

/// A package with what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PackageDetails {
    /// One of the components under its name.
    #[serde(flatten)]
    pub package: Package,
    /// What it is and asks for.
    pub description: PackageDescription,
    /// What it says of itself.
    #[serde(default)]
    pub about: About,
    /// What its signatures are worth.
    #[serde(default)]
    pub trust: Trust,
    /// What is different, compared with the component that is approved; none if it is that, or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeDiff>,
}

/// Which bytes are to be approved, and what is meant by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Approval {
    /// The bytes. Default: the only ones that wait for it.
    pub digest: Option<PackageDigest>,
    /// Whether an earlier version than one that was approved before is meant.
    pub downgrade: bool,
    /// The approved bytes that whoever approves was shown the difference to. Default: whatever is approved.
    pub compared_with: Option<PackageDigest>,
    /// Whether bytes are meant that ask for more than what is approved, or say something else. Default: nothing is
    /// approved that does.
    pub allow_wider: bool,
}

/// What was approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApprovalMade {
    /// The bytes.
    pub digest: PackageDigest,
    /// Whose signatures counted.
    pub trust: Trust,
    /// What is different, compared with what was approved before.
    pub upgrade: Option<UpgradeDiff>,
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
        let component = NewComponent { bytes, name, version, signatures: Vec::new(), source: None };
        self.add_component(registration, component, progress).await
    }

    /// The same with signatures, which the trust policy in force is held against before anything of the component
    /// runs, and again before it is written down. Signatures of bytes that are registered already are added to
    /// those that they have.
    ///
    /// # Errors
    /// As [`add_reserved_package`](Self::add_reserved_package); [`HostError::NotTrusted`] if the policy asks for
    /// signatures that it does not have, and [`HostError::Signature`] if one is wrong, both of which are recorded.
    pub async fn add_component(
        &self,
        registration: Registration,
        component: NewComponent,
        progress: impl Fn(AddProgress) + Send,
    ) -> Result<AddedPackage, HostError> {
        self.disk.check()?;
        if component.signatures.len() > SIGNATURES_MAX {
            return Err(HostError::Signature(format!("a component has at most {SIGNATURES_MAX} signatures")));
        }
        let (by, digest) = (registration.by(), PackageDigest::of(&component.bytes));
        let _turn = registration.turn().await;
        let described = self.describe(by, &component, &progress).await;
        let (package, version, described) = match described {
            Ok(described) => described,
            Err(error) => {
                let is_refused = matches!(
                    error,
                    HostError::Package(_)
                        | HostError::Denied(_)
                        | HostError::NotTrusted(_)
                        | HostError::Signature(_)
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
        let changing = self.begin_change().await?;
        // The policy may have changed while it was compiled.
        let trust = match self.check_trust(&package, &version, &component).await {
            Ok(trust) => trust,
            Err(error) => {
                let reason = clean(&error.to_string(), MESSAGE_BYTES_MAX);
                self.log.append(Event::PackageRefused { digest, reason, by: by.clone() }).await?;
                return Err(error);
            }
        };
        let NewComponent { bytes, signatures, source, .. } = component;
        self.log
            .append(Event::PackageAdded {
                package: package.clone(),
                version: version.to_string(),
                digest,
                bytes: bytes.len() as u64,
                signatures: signatures.iter().filter_map(Signature::key).collect(),
                identities: signatures.iter().filter_map(Signature::identity).cloned().collect(),
                source,
                by: by.clone(),
            })
            .await?;
        let description = described.description.clone();
        let about = About::read(&bytes, &description.capabilities);
        let added = self
            .registry
            .add(&package, &version, digest, (bytes.into(), &signatures), &description, (by, self.now()))
            .await?;
        // Only now, so that what is refused, or given up, leaves nothing behind.
        if let Err(error) = self.sandbox.keep(described).await {
            tracing::warn!(%digest, %error, "it will be compiled again at its first call");
        }
        let is_new_name = !self.in_force().names.contains(&package);
        if is_new_name || !signatures.is_empty() && added != Added::New {
            // A call of it finds it from now on, and what was not trusted may be now.
            self.refresh().await?;
        }
        let in_force = self.in_force();
        let listed = self.registry.get(&package).await?;
        let upgrade = match listed.iter().find(|known| known.digest == digest) {
            Some(known) => self.upgrade(&in_force.policy, known, &trust).await?,
            None => None,
        };
        let approved_by = match (&added, &upgrade) {
            (Added::New, Some(upgrade)) => {
                self.approve_by_rule(by, (&package, &version, digest), &trust, upgrade).await?
            }
            (Added::New | Added::Already(_), _) => None,
        };
        drop(changing);
        Ok(AddedPackage { package, version, digest, added, description, about, trust, upgrade, approved_by })
    }

    /// Whether the policy in force trusts a component that is to be registered. A signature that a known key has not
    /// made is refused, needed or not: it is no accident.
    async fn check_trust(
        &self,
        package: &PackageName,
        version: &semver::Version,
        component: &NewComponent,
    ) -> Result<Trust, HostError> {
        let digest = PackageDigest::of(&component.bytes);
        let mut signatures = self.database.signatures(digest).await?;
        for signature in &component.signatures {
            if !signatures.contains(signature) {
                signatures.push(signature.clone());
            }
        }
        if signatures.len() > SIGNATURES_MAX {
            return Err(HostError::Signature(format!("a component has at most {SIGNATURES_MAX} signatures")));
        }
        let policy = &self.in_force().policy;
        let of = SignedComponent { package, version, digest };
        let trust = self.worth(policy, of, signatures, Some(component.bytes.clone())).await?;
        let wrong = trust.signatures.iter().find(|fact| fact.standing == SignatureStanding::Invalid);
        if let Some((fact, signer)) = wrong.and_then(|fact| Some((fact, fact.signer.as_ref()?))) {
            let maker = SignatureFact::maker(fact);
            return Err(HostError::Signature(format!(
                "the signature of {signer} ({maker}) is not one over these bytes"
            )));
        }
        match trust.because {
            Some(because) => Err(NotTrusted { package: package.clone(), because }.into()),
            None => Ok(trust),
        }
    }

    /// Approves a newer version that asks for no more, if the trust policy has that rule, and binds the grants of
    /// the former one to it: what they allow was reviewed, and nothing of it widened.
    async fn approve_by_rule(
        &self,
        by: &PrincipalId,
        (package, version, digest): (&PackageName, &semver::Version, PackageDigest),
        trust: &Trust,
        upgrade: &UpgradeDiff,
    ) -> Result<Option<ApprovalRule>, HostError> {
        let policy = self.in_force().policy.clone();
        let has_rule =
            policy.trust.as_ref().is_some_and(|trust| trust.approves_narrower && trust.covers(package));
        let is_upgrade = has_rule
            && trust.trusted == Some(true)
            && !upgrade.widens()
            && *version > upgrade.from_version
            && policy.bars_component(package, Some(upgrade.from)).is_none()
            && policy.bars_component(package, Some(digest)).is_none();
        if !is_upgrade {
            return Ok(None);
        }
        let rule = ApprovalRule::SameOrNarrower;
        let approval = self.registry.prepare_approval(package, Some(digest)).await?;
        if self.downgraded(package, digest, version).await?.is_some() {
            return Ok(None);
        }
        self.log
            .append(Event::PackageApproved {
                package: package.clone(),
                digest,
                signers: trust.signers().into_iter().collect(),
                downgrade: false,
                rule: Some(rule),
                by: by.clone(),
            })
            .await?;
        approval.commit(self.now()).await?;
        // If the host ends between the two, agents are denied until the grants are applied again.
        let rebound = self.database.prepare_rebinding(package, (upgrade.from, digest), by, self.now()).await;
        if let Some(change) = rebound.map_err(HostError::Change)? {
            let (revision, granted, revoked) =
                (change.revision(), change.granted(), change.revoked().to_vec());
            self.log.append(Event::GrantsChanged { revision, granted, revoked, by: by.clone() }).await?;
            self.commit(change).await?;
        } else {
            self.refresh().await?;
        }
        Ok(Some(rule))
    }

    /// The newest version that was approved under the name, if the approval of this one would be a step back: to an
    /// earlier version, or, of versions that are the same or unknown, to bytes that were approved before.
    async fn downgraded(
        &self,
        name: &PackageName,
        digest: PackageDigest,
        version: &semver::Version,
    ) -> Result<Option<semver::Version>, HostError> {
        let packages = self.registry.get(name).await?;
        let state = packages.iter().find(|known| known.digest == digest).map(|known| known.state);
        if state == Some(PackageState::Approved) {
            return Ok(None);
        }
        let others = packages.iter().filter(|known| known.digest != digest && known.approved_at.is_some());
        let newest = others.map(|known| known.version.clone()).max();
        Ok(newest.filter(|newest| {
            version < newest || (version == newest && state == Some(PackageState::Superseded))
        }))
    }

    async fn describe(
        &self,
        by: &PrincipalId,
        component: &NewComponent,
        progress: &(impl Fn(AddProgress) + Send),
    ) -> Result<(PackageName, semver::Version, Described), HostError> {
        let NewComponent { bytes, name, version, .. } = component;
        let (name, version) = (name.clone(), version.clone());
        Sandbox::measure(bytes, &self.limits)?;
        let manifest = read_manifest(bytes).map_err(|error| PackageError::Manifest(error.to_string()))?;
        let (name, version) = match &manifest {
            Some(manifest) => {
                (name.or(Some(manifest.name.clone())), version.or(Some(manifest.version.clone())))
            }
            None => (name, version),
        };
        progress(AddProgress::Compiling);
        let candidate = self.sandbox.compile(bytes.clone()).await?;
        let (package, version) = named(name, version, candidate.wit_package.clone())?;
        self.registry.tell_apart(&package).await?;
        self.check_trust(&package, &version, component).await?;
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
        let in_force = self.in_force();
        for package in self.registry.get(name).await? {
            let description = self.registry.description(name, package.digest).await?;
            let trust = self.worth_of(&in_force.policy, &package).await?;
            let upgrade = self.upgrade(&in_force.policy, &package, &trust).await?;
            let about = self.about(&package, &description).await?;
            details.push(PackageDetails { package, description, about, trust, upgrade });
        }
        Ok(details)
    }

    /// All packages, by name, with what their signatures are worth.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn listed_packages(&self) -> Result<Vec<ListedPackage>, HostError> {
        let in_force = self.in_force();
        let mut listed = Vec::new();
        for package in self.registry.list().await? {
            let trust = self.worth_of(&in_force.policy, &package).await?;
            listed.push(ListedPackage { package, trust });
        }
        Ok(listed)
    }

    /// What a component says of itself, read from its bytes. One whose file is gone or altered, which does not run
    /// either, says nothing.
    pub(super) async fn about(
        &self,
        package: &Package,
        description: &PackageDescription,
    ) -> Result<About, HostError> {
        match self.registry.bytes(package.digest).await {
            Ok(bytes) => Ok(About::read(&bytes, &description.capabilities)),
            Err(RegistryError::Missing { .. } | RegistryError::Altered { .. }) => Ok(About::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Approves bytes under a name: those named, or the only ones that wait for it. Running calls of others
    /// under the name end.
    ///
    /// # Errors
    /// If there are none, or several and none was named, or they are quarantined, not trusted, of an earlier
    /// version than was approved before, or ask for more than what is approved.
    pub async fn approve(
        &self,
        by: &PrincipalId,
        name: &PackageName,
        digest: Option<PackageDigest>,
    ) -> Result<PackageDigest, HostError> {
        let made = self.approve_as(by, name, Approval { digest, ..Approval::default() }).await?;
        Ok(made.digest)
    }

    /// The same, also where an earlier version is meant, or one that asks for more.
    ///
    /// # Errors
    /// As [`approve`](Self::approve); [`HostError::NotTrusted`], [`HostError::Downgrade`],
    /// [`HostError::Outdated`] and [`HostError::Wider`] above all.
    pub async fn approve_as(
        &self,
        by: &PrincipalId,
        name: &PackageName,
        wanted: Approval,
    ) -> Result<ApprovalMade, HostError> {
        let _changing = self.begin_change().await?;
        let approval = self.registry.prepare_approval(name, wanted.digest).await?;
        let digest = approval.digest();
        let of_name = self.registry.get(name).await?;
        let chosen = of_name.iter().find(|known| known.digest == digest);
        let package = chosen.ok_or_else(|| RegistryError::NoSuchDigest { name: name.clone(), digest })?;
        let in_force = self.in_force();
        let trust = self.worth_of(&in_force.policy, package).await?;
        if let Some(because) = trust.because {
            return Err(NotTrusted { package: name.clone(), because }.into());
        }
        let newest = self.downgraded(name, digest, &package.version).await?;
        if let Some(newest) = newest.clone().filter(|_| !wanted.downgrade) {
            let (package, version) = (name.clone(), package.version.clone());
            return Err(HostError::Downgrade { package, version, newest });
        }
        let upgrade = self.upgrade(&in_force.policy, package, &trust).await?;
        let approved = of_name.iter().find(|known| known.state == PackageState::Approved);
        let approved = approved.map(|known| known.digest);
        if let Some(compared_with) = wanted.compared_with.filter(|shown| Some(*shown) != approved) {
            return Err(HostError::Outdated { package: name.clone(), compared_with });
        }
        if let Some(upgrade) = upgrade.as_ref().filter(|upgrade| upgrade.widens() && !wanted.allow_wider) {
            let (package, changes) = (name.clone(), upgrade.changes.clone());
            return Err(HostError::Wider { package, digest, changes });
        }
        self.log
            .append(Event::PackageApproved {
                package: name.clone(),
                digest,
                signers: trust.signers().into_iter().collect(),
                downgrade: newest.is_some(),
                rule: None,
                by: by.clone(),
            })
            .await?;
        approval.commit(self.now()).await?;
        self.refresh().await?;
        Ok(ApprovalMade { digest, trust, upgrade })
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
