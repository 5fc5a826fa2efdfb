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
use crate::signing::{KeyId, Maker, Prover, PublicKey, Signature, SignedIdentity, TrustRoot};
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
    /// The signers that are identities of Sigstore: no two are the same, and no name is one of a key as well.
    pub identities: BTreeMap<SignerName, TrustedIdentity>,
    /// Whose certificates are believed of them: there where there are identities.
    pub root: Option<TrustRoot>,
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

/// An identity of Sigstore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIdentity {
    /// What a certificate must name: the very text, or, with a star at its end, one that begins so.
    pub subject: String,
    /// Who must have vouched for it.
    pub issuer: String,
    /// Why it counts for nothing any more.
    pub revoked: Option<Remark>,
}

impl TrustedIdentity {
    fn is(&self, identity: &SignedIdentity) -> bool {
        let is_subject = match self.subject.strip_suffix('*') {
            Some(start) => identity.subject.starts_with(start),
            None => identity.subject == self.subject,
        };
        is_subject && identity.issuer == self.issuer
    }
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
    /// The number of the key that it says it was made by, if it is one of minisign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// Whom its certificate names, if it is a bundle of Sigstore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<SignedIdentity>,
    /// Who that is by the trust policy, if it knows the key or identity.
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
    /// No key or identity of the trust policy is its maker: it was not verified.
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
            SignatureStanding::UnknownKey => "by a key or identity that the trust policy does not know",
            SignatureStanding::Revoked => "by a revoked key or identity",
            SignatureStanding::Invalid => "not valid",
            SignatureStanding::OtherPackage => "for another package",
            SignatureStanding::OtherVersion => "for another version",
        }
    }
}

impl SignatureFact {
    /// Who it says that it was made by, for people.
    pub fn maker(&self) -> String {
        match (&self.key, &self.identity) {
            (Some(key), _) => format!("key {key}"),
            (None, Some(identity)) => identity.to_string(),
            (None, None) => "nobody".to_owned(),
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
            let who = fact.signer.as_ref().map_or_else(|| fact.maker(), ToString::to_string);
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
        mut verify: impl FnMut(&Signature, &Prover) -> bool,
    ) -> Vec<SignatureFact> {
        signatures.iter().map(|signature| self.fact(of, signature, &mut verify)).collect()
    }

    fn fact(
        &self,
        of: SignedComponent<'_>,
        signature: &Signature,
        verify: &mut impl FnMut(&Signature, &Prover) -> bool,
    ) -> SignatureFact {
        let (key, identity) = (signature.key(), signature.identity().cloned());
        let Some((signer, prover, is_revoked)) = self.known(signature) else {
            let standing = SignatureStanding::UnknownKey;
            return SignatureFact { key, identity, signer: None, standing, comment: None };
        };
        let claims = signature.claims();
        let is_of_other =
            |claimed: &Option<String>, is: &str| claimed.as_deref().is_some_and(|said| said != is);
        let is_valid = verify(signature, &prover);
        let standing = if !is_valid || claims.digest.is_some_and(|digest| digest != of.digest) {
            SignatureStanding::Invalid
        } else if is_revoked {
            SignatureStanding::Revoked
        } else if is_of_other(&claims.package, of.package.as_str()) {
            SignatureStanding::OtherPackage
        } else if is_of_other(&claims.version, &of.version.to_string()) {
            SignatureStanding::OtherVersion
        } else {
            SignatureStanding::Valid
        };
        let comment = Some(signature.comment().to_owned()).filter(|comment| is_valid && !comment.is_empty());
        SignatureFact { key, identity, signer: Some(signer.clone()), standing, comment }
    }

    /// Who made a signature by its own word, by what it must be verified, and whether that is revoked. An identity that is
    /// written out comes before one with a star, so that one bundle is of one signer.
    fn known(&self, signature: &Signature) -> Option<(&SignerName, Prover, bool)> {
        match signature.maker() {
            Maker::Key(key) => {
                let (signer, known) = self.keys.iter().find(|(_, known)| known.key.id() == *key)?;
                Some((signer, Prover::Key(known.key.clone()), known.revoked.is_some()))
            }
            Maker::Identity(identity) => {
                let mut known: Vec<_> =
                    self.identities.iter().filter(|(_, known)| known.is(identity)).collect();
                known.sort_by_key(|(_, known)| known.subject.ends_with('*'));
                let is_revoked = known.iter().any(|(_, known)| known.revoked.is_some());
                let (signer, _) = known.first()?;
                Some((signer, Prover::Root(self.root.clone()?), is_revoked))
            }
        }
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

    /// What a signature must be verified by, if its maker is known.
    pub fn prover_of(&self, signature: &Signature) -> Option<Prover> {
        self.known(signature).map(|(_, prover, _)| prover)
    }
}

/// Who has signed: each once, however often.
pub fn valid_signers(facts: &[SignatureFact]) -> BTreeSet<&SignerName> {
    let valid = facts.iter().filter(|fact| fact.standing == SignatureStanding::Valid);
    valid.filter_map(|fact| fact.signer.as_ref()).collect()
}
