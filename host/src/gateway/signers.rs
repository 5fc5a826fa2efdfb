//! Whose signatures packages need: the policy put in force, and what each package's signatures are worth by it.
//!
//! What is worth nothing is worked out whenever what is in force is read: at start, and with each change. So a call is
//! denied whatever is cached of its package, and a running one ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Host, HostError, Taken, blocking};
use crate::database::{Package, PackageState, Step, TrustInForce};
use crate::ids::{PackageDigest, PackageName, PrincipalId, Remark, SignerName};
use crate::policy::{
    Distrust, Distrusted, Policy, Side, SignatureFact, SignedComponent, TrustPolicy, Uncovered, UpgradeDiff,
    parse_trust, valid_signers,
};
use crate::registry::{ApprovedPackage, RegistryError};
use crate::signing::{Prover, Signature};
use crate::text::clean_line;

/// The most verifications that are remembered.
const REMEMBERED_MAX: usize = 65_536;
/// The most bytes of a reason that goes into the log.
const REASON_BYTES_MAX: usize = 400;

/// A trust policy as it comes: its text, and the name of its file for messages.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustSource {
    /// The file's name.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// What came of a change of the trust policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustChanged {
    /// What came of it.
    #[serde(flatten)]
    pub taken: Taken,
    /// The approved components that are not trusted now, and so can't be called.
    pub distrusted: BTreeMap<PackageName, Distrusted>,
}

/// The trust policy, and what it does not trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustStatus {
    /// The policy, if there is one.
    pub policy: Option<TrustInForce>,
    /// The approved components that it does not trust.
    pub distrusted: BTreeMap<PackageName, Distrusted>,
}

/// What a component's signatures are worth by the policy in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trust {
    /// Each signature.
    pub signatures: Vec<SignatureFact>,
    /// Whether it is trusted; none: there is no trust policy, so an admin's approval is all that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<bool>,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Distrust>,
}

impl Trust {
    /// Whose signatures count.
    pub fn signers(&self) -> BTreeSet<SignerName> {
        valid_signers(&self.signatures).into_iter().cloned().collect()
    }
}

/// A component that is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("package {package} is not trusted: {because}")]
pub struct NotTrusted {
    /// Its name.
    pub package: PackageName,
    /// Why not.
    pub because: Distrust,
}

/// Which signatures were verified already: over bytes that are known by their hash, so it stays true.
#[derive(Debug, Default)]
pub(super) struct Verifications(Mutex<BTreeMap<[u8; 32], bool>>);

impl Verifications {
    fn key(digest: PackageDigest, prover: &Prover, signature: &Signature) -> [u8; 32] {
        let prover = match prover {
            Prover::Key(key) => key.to_string(),
            Prover::Root(root) => root.as_str().to_owned(),
        };
        let mut hasher = blake3::Hasher::new();
        // None of them holds a zero byte.
        for part in [&digest.to_string(), &prover, signature.as_str()] {
            hasher.update(part.as_bytes()).update(&[0]);
        }
        *hasher.finalize().as_bytes()
    }

    fn known(&self, key: &[u8; 32]) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn remember(&self, verified: Vec<([u8; 32], bool)>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + verified.len() > REMEMBERED_MAX {
            known.clear();
        }
        known.extend(verified);
    }
}

impl Host {
    /// Puts a trust policy in force. Approved packages that it does not trust can't be called from then on, and
    /// running calls of them end. Changes nothing where it is in force already.
    ///
    /// # Errors
    /// [`HostError::TrustFile`] with the place of each error; or if it can't be recorded or stored.
    pub async fn apply_trust(
        &self,
        by: &PrincipalId,
        source: &TrustSource,
    ) -> Result<TrustChanged, HostError> {
        if let Err(diagnostics) = parse_trust(&source.text) {
            return Err(HostError::TrustFile { file: source.file.clone(), diagnostics });
        }
        let taken = self.take(by, Step::SetTrust { text: Some(source.text.clone()) }).await?;
        Ok(TrustChanged { taken, distrusted: self.in_force().policy.distrusted.clone() })
    }

    /// Goes on without a trust policy: packages need an admin's approval, and no signature.
    ///
    /// # Errors
    /// If it can't be recorded or stored.
    pub async fn remove_trust(&self, by: &PrincipalId) -> Result<TrustChanged, HostError> {
        let taken = self.take(by, Step::SetTrust { text: None }).await?;
        Ok(TrustChanged { taken, distrusted: self.in_force().policy.distrusted.clone() })
    }

    /// The trust policy in force, and what it does not trust.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn trust_policy(&self) -> Result<TrustStatus, HostError> {
        let policy = self.database.trust_in_force().await?;
        Ok(TrustStatus { policy, distrusted: self.in_force().policy.distrusted.clone() })
    }

    /// What a component's signatures are worth by this policy.
    pub(super) async fn worth(
        &self,
        policy: &Policy,
        of: SignedComponent<'_>,
        signatures: Vec<Signature>,
        bytes: Option<Bytes>,
    ) -> Result<Trust, HostError> {
        let nobody = TrustPolicy::without_keys();
        let trust = policy.trust.as_ref().unwrap_or(&nobody);
        self.verify(trust, of.digest, &signatures, bytes).await?;
        let facts = trust.facts(of, &signatures, |signature, prover| {
            // What could not be verified, because the bytes are gone, was not.
            self.verifications.known(&Verifications::key(of.digest, prover, signature)).unwrap_or(false)
        });
        let judged = policy.trust.as_ref().map(|trust| trust.judge(of.package, &facts));
        Ok(Trust {
            signatures: facts,
            trusted: judged.as_ref().map(Result::is_ok),
            because: judged.and_then(Result::err),
        })
    }

    /// Verifies what was not verified before.
    async fn verify(
        &self,
        trust: &TrustPolicy,
        digest: PackageDigest,
        signatures: &[Signature],
        bytes: Option<Bytes>,
    ) -> Result<(), HostError> {
        let pairs =
            signatures.iter().filter_map(|signature| Some((signature.clone(), trust.prover_of(signature)?)));
        let new: Vec<(Signature, Prover)> = pairs
            .filter(|(signature, prover)| {
                self.verifications.known(&Verifications::key(digest, prover, signature)).is_none()
            })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => match self.registry.bytes(digest).await {
                Ok(bytes) => Bytes::from(bytes),
                // It can't run either; nothing is remembered.
                Err(RegistryError::Missing { .. } | RegistryError::Altered { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
        };
        let verified = blocking(move || {
            let verify = |(signature, prover): (Signature, Prover)| {
                (Verifications::key(digest, &prover, &signature), signature.prove(&prover, &bytes).is_ok())
            };
            Ok::<_, HostError>(new.into_iter().map(verify).collect::<Vec<_>>())
        })
        .await?;
        self.verifications.remember(verified);
        Ok(())
    }

    /// What a registered component's signatures are worth now.
    pub(super) async fn worth_of(&self, policy: &Policy, package: &Package) -> Result<Trust, HostError> {
        let of =
            SignedComponent { package: &package.name, version: &package.version, digest: package.digest };
        let signatures = self.database.signatures(package.digest).await?;
        self.worth(policy, of, signatures, None).await
    }

    /// Why an approved component is not trusted, if it is not.
    pub(super) async fn distrusted(
        &self,
        policy: &Policy,
        name: &PackageName,
        approved: &ApprovedPackage,
    ) -> Result<Option<Distrusted>, HostError> {
        if policy.trust.is_none() {
            return Ok(None);
        }
        let digest = approved.digest;
        let of = SignedComponent { package: name, version: &approved.version, digest };
        let signatures = self.database.signatures(digest).await?;
        let trust = self.worth(policy, of, signatures, None).await?;
        Ok(trust.because.map(|because| Distrusted { digest, because: remark(&because) }))
    }

    /// Refuses what is about to be loaded, if the trust policy in force does not trust it.
    pub(super) async fn check_trust_at_load(
        &self,
        name: &PackageName,
        package: &ApprovedPackage,
    ) -> Result<(), HostError> {
        let policy = &self.in_force().policy;
        if policy.trust.is_none() {
            return Ok(());
        }
        let of = SignedComponent { package: name, version: &package.version, digest: package.digest };
        let signatures = self.database.signatures(package.digest).await?;
        let trust = self.worth(policy, of, signatures, None).await?;
        match trust.because {
            Some(because) => Err(NotTrusted { package: name.clone(), because }.into()),
            None => Ok(()),
        }
    }

    /// What is different in a component that waits for approval.
    pub(super) async fn upgrade(
        &self,
        policy: &Policy,
        package: &Package,
        trust: &Trust,
    ) -> Result<Option<UpgradeDiff>, HostError> {
        if package.state == PackageState::Approved {
            return Ok(None);
        }
        let of_name = self.registry.get(&package.name).await?;
        let Some(approved) = of_name.iter().find(|known| known.state == PackageState::Approved) else {
            return Ok(None);
        };
        let old = self.registry.description(&package.name, approved.digest).await?;
        let new = self.registry.description(&package.name, package.digest).await?;
        let (old_about, new_about) = (self.about(approved, &old).await?, self.about(package, &new).await?);
        let (old_signers, new_signers) = (self.worth_of(policy, approved).await?.signers(), trust.signers());
        Ok(Some(UpgradeDiff::between(
            (approved.digest, &approved.version),
            Side { description: &old, manifest: old_about.manifest.as_ref(), signers: &old_signers },
            Side { description: &new, manifest: new_about.manifest.as_ref(), signers: &new_signers },
        )))
    }
}

impl TrustPolicy {
    /// Knows no key, so that every signature is by an unknown one. For hosts without a policy.
    fn without_keys() -> Self {
        Self {
            source: String::new(),
            uncovered: Uncovered::Unsigned,
            keys: BTreeMap::new(),
            identities: BTreeMap::new(),
            root: None,
            rules: Vec::new(),
            approves_narrower: false,
        }
    }
}

/// As the log has it.
fn remark(because: &Distrust) -> Remark {
    let text = clean_line(&because.to_string(), REASON_BYTES_MAX);
    text.parse().unwrap_or_else(|_| "it is not trusted".parse().expect("the constant is a valid remark"))
}
