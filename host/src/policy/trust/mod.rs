//! Whose signatures which packages need, and what a package's signatures are worth by that. Pure: what must be
//! computed over a component's bytes is asked of the caller.
//!
//! No configured signer never means any signer: a rule without signers is refused when it is read, and what no rule
//! covers is denied unless the policy says otherwise.

#[cfg(test)]
mod tests;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{PackageDigest, PackageName, Remark, SignerName};
use crate::signing::{KeyId, PublicKey, Signature};
use crate::wildcard::Wildcard;

pub use upgrade::{Change, Changed, Side, UpgradeDiff, changes};

/// Whose signatures packages need: `trust.toml`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustPolicy {
    /// The text it was read from.
    pub source: String,
    /// What comes of packages that no rule covers.
    pub uncovered: Uncovered,
    /// The signers, by the names that the policy gives them: no key has two.
    pub keys: BTreeMap<SignerName, TrustedKey>,
    /// What packages need. All rules that cover a package must be satisfied.
    pub rules: Vec<TrustRule>,
    /// Whether a newer version that asks for no more is approved without an admin.
    pub approves_narrower: bool,
}

/// What comes of a package that no rule covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncovered {
    /// It can't be added, approved or called.
    Deny,
    /// It needs an admin's approval, and no signature.
    Unsigned,
}

/// A signer's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// It.
    pub key: PublicKey,
    /// Why it counts for nothing any more.
    pub revoked: Option<Remark>,
}

/// What the packages of some names need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRule {
    /// Their names: a star is any text.
    pub packages: Vec<Wildcard>,
    /// Whose signatures count: at least one.
    pub signers: BTreeSet<SignerName>,
    /// How many of them: 1 to the number of signers.
    pub needed: usize,
}

impl TrustRule {
    fn covers(&self, package: &PackageName) -> bool {
        self.packages.iter().any(|pattern| pattern.matches(package.as_str()))
    }
}

/// The component that signatures are about.
#[derive(Clone, Copy, Debug)]
pub struct SignedComponent<'a> {
    /// Its name.
    pub package: &'a PackageName,
    /// Its version.
    pub version: &'a semver::Version,
    /// Its bytes.
    pub digest: PackageDigest,
}

/// What one signature is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignatureFact {
    /// The number of the key that it says it was made by.
    pub key: KeyId,
    /// Who that is by the trust policy, if the key is known to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<SignerName>,
    /// What it is worth.
    pub standing: SignatureStanding,
    /// What its signer says in it: only of one that was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What a signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureStanding {
    /// Its key made it over these bytes, and was not revoked.
    Valid,
    /// No key of the trust policy has its number: it was not verified.
    UnknownKey,
    /// Its key was revoked.
    Revoked,
    /// Its key has not made it over these bytes.
    Invalid,
    /// It says that it is for a package of another name.
    OtherPackage,
    /// It says that it is for another version.
    OtherVersion,
}

impl SignatureStanding {
    /// As people read it.
    pub const fn name(self) -> &'static str {
        match self {
            SignatureStanding::Valid => "valid",
            SignatureStanding::UnknownKey => "by a key that the trust policy does not know",
            SignatureStanding::Revoked => "by a revoked key",
            SignatureStanding::Invalid => "not valid",
            SignatureStanding::OtherPackage => "for another package",
            SignatureStanding::OtherVersion => "for another version",
        }
    }
}

/// Why a package is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Distrust {
    /// No rule covers it.
    #[error("no rule of the trust policy covers it, and what none covers is denied")]
    NotCovered,
    /// A rule asks for more signatures than count.
    #[error("it needs {needed} of the signatures of {}, and {valid} count{}", listed(signers), others(facts))]
    TooFew {
        /// How many are needed.
        needed: usize,
        /// Of whom.
        signers: Vec<SignerName>,
        /// How many there are.
        valid: usize,
        /// All signatures that it has.
        facts: Vec<SignatureFact>,
    },
}

fn listed(signers: &[SignerName]) -> String {
    signers.iter().map(SignerName::as_str).collect::<Vec<_>>().join(", ")
}

fn others(facts: &[SignatureFact]) -> String {
    let not_valid = facts.iter().filter(|fact| fact.standing != SignatureStanding::Valid);
    let told: Vec<String> = not_valid
        .map(|fact| {
            let who = fact.signer.as_ref().map_or_else(|| format!("key {}", fact.key), ToString::to_string);
            format!("that of {who} is {}", fact.standing.name())
        })
        .collect();
    if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) }
}

impl TrustPolicy {
    /// What each signature is worth. `verify` says whether a key has made one over the component's bytes; it is
    /// asked only where the key is known.
    pub fn facts(
        &self,
        of: SignedComponent<'_>,
        signatures: &[Signature],
        mut verify: impl FnMut(&Signature, &PublicKey) -> bool,
    ) -> Vec<SignatureFact> {
        signatures.iter().map(|signature| self.fact(of, signature, &mut verify)).collect()
    }

    fn fact(
        &self,
        of: SignedComponent<'_>,
        signature: &Signature,
        verify: &mut impl FnMut(&Signature, &PublicKey) -> bool,
    ) -> SignatureFact {
        let key = signature.key();
        let known = self.keys.iter().find(|(_, known)| known.key.id() == key);
        let Some((signer, known)) = known else {
            let standing = SignatureStanding::UnknownKey;
            return SignatureFact { key, signer: None, standing, comment: None };
        };
        let claims = signature.claims();
        let is_of_other =
            |claimed: &Option<String>, is: &str| claimed.as_deref().is_some_and(|said| said != is);
        let is_valid = verify(signature, &known.key);
        let standing = if !is_valid || claims.digest.is_some_and(|digest| digest != of.digest) {
            SignatureStanding::Invalid
        } else if known.revoked.is_some() {
            SignatureStanding::Revoked
        } else if is_of_other(&claims.package, of.package.as_str()) {
            SignatureStanding::OtherPackage
        } else if is_of_other(&claims.version, &of.version.to_string()) {
            SignatureStanding::OtherVersion
        } else {
            SignatureStanding::Valid
        };
        let comment = is_valid.then(|| signature.comment().to_owned());
        SignatureFact { key, signer: Some(signer.clone()), standing, comment }
    }

    /// Whether a package with these signatures is trusted.
    ///
    /// # Errors
    /// [`Distrust`].
    pub fn judge(&self, package: &PackageName, facts: &[SignatureFact]) -> Result<(), Distrust> {
        let mut rules = self.rules.iter().filter(|rule| rule.covers(package)).peekable();
        if rules.peek().is_none() {
            return match self.uncovered {
                Uncovered::Deny => Err(Distrust::NotCovered),
                Uncovered::Unsigned => Ok(()),
            };
        }
        let valid = valid_signers(facts);
        for rule in rules {
            let count = rule.signers.iter().filter(|signer| valid.contains(signer)).count();
            if count < rule.needed {
                return Err(Distrust::TooFew {
                    needed: rule.needed,
                    signers: rule.signers.iter().cloned().collect(),
                    valid: count,
                    facts: facts.to_vec(),
                });
            }
        }
        Ok(())
    }

    /// Whether a rule says who must sign packages of this name.
    pub fn covers(&self, package: &PackageName) -> bool {
        self.rules.iter().any(|rule| rule.covers(package))
    }

    /// The keys that these signatures must be verified with.
    pub fn keys_of<'p>(&'p self, signature: &Signature) -> impl Iterator<Item = &'p PublicKey> + use<'p> {
        let key = signature.key();
        self.keys.values().map(|known| &known.key).filter(move |known| known.id() == key)
    }
}

/// Who has signed: each once, however often.
pub fn valid_signers(facts: &[SignatureFact]) -> BTreeSet<&SignerName> {
    let valid = facts.iter().filter(|fact| fact.standing == SignatureStanding::Valid);
    valid.filter_map(|fact| fact.signer.as_ref()).collect()
}
