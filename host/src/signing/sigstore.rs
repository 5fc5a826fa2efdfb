//! Sigstore bundles: a signature over a component's bytes by a key that lived for minutes, with the certificate that says
//! whose it was, and the proof that both are in a public log. Verified offline, with a trust root from a file.
//!
//! The crate `sigstore-verify` does the verifying, `ring` the cryptography. Everything it can check must be there: the
//! certificate's chain and its timestamp, a verified time, inclusion in the log. What it takes for an identity is not
//! judged here.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Once};

use bytes::Bytes;
use ring::digest;
use ring::signature as ring_signature;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sigstore_verify::crypto::error::{Error as CryptoError, Result as CryptoResult};
use sigstore_verify::crypto::{CryptoProvider, HashContext, SigningScheme};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{HashAlgorithm, SignatureContent};
use sigstore_verify::{SubjectAltName, VerificationPolicy, Verifier};

/// The most bytes of a bundle. Those of today's clients have 5 to 11 KB.
pub const BUNDLE_BYTES_MAX: usize = 16 << 10;
/// The most bytes of a trust root.
pub const TRUST_ROOT_BYTES_MAX: usize = 128 << 10;
/// The most bytes of an identity, and of its issuer.
const IDENTITY_BYTES_MAX: usize = 500;

/// Who a certificate says that a signature is of. A claim until it is verified.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SignedIdentity {
    /// A URI or a mail address.
    pub subject: String,
    /// Who has vouched for it to the certificate's authority.
    pub issuer: String,
}

impl fmt::Display for SignedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.subject, self.issuer)
    }
}

/// Why a bundle, or a trust root, is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigstoreError {
    /// Too many bytes.
    #[error("it has {bytes} bytes, at most {max} are read")]
    TooLong {
        /// How many there are.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Not what Sigstore's clients write.
    #[error("this is no Sigstore bundle: {0}")]
    Malformed(String),
    /// It is an attestation, which says something of bytes and does not sign them.
    #[error(
        "the Sigstore bundle has an attestation instead of a signature over the file: sign with `cosign sign-blob`, `sigstore sign` or the like"
    )]
    Attestation,
    /// It was made with a key that has no certificate.
    #[error("the Sigstore bundle names no identity: its key has no certificate")]
    NoIdentity,
    /// The trust root.
    #[error("this is no trust root of Sigstore: {0}")]
    TrustRoot(String),
    /// It does not hold.
    #[error("the Sigstore bundle does not verify: {0}")]
    Invalid(String),
}

/// A bundle, well formed and not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bundle {
    identity: SignedIdentity,
}

impl Bundle {
    /// Reads what a bundle says of itself.
    ///
    /// # Errors
    /// [`SigstoreError`].
    pub(super) fn read(text: &str) -> Result<Self, SigstoreError> {
        let bundle = parse(text)?;
        let SignatureContent::MessageSignature(_) = &bundle.content else {
            return Err(SigstoreError::Attestation);
        };
        let certificate = bundle.signing_certificate().ok_or(SigstoreError::NoIdentity)?;
        let claims = sigstore_verify::crypto::parse_certificate_info(certificate).map_err(malformed)?;
        let subject = claims.identity.as_ref().map(SubjectAltName::as_str).map(str::to_owned);
        let (Some(subject), Some(issuer)) = (subject, claims.issuer) else {
            return Err(SigstoreError::NoIdentity);
        };
        for text in [&subject, &issuer] {
            let is_plain = crate::text::clean_line(text, IDENTITY_BYTES_MAX) == *text && !text.is_empty();
            if !is_plain {
                return Err(SigstoreError::Malformed(
                    "its identity is empty, too long, or not plain".to_owned(),
                ));
            }
        }
        Ok(Self { identity: SignedIdentity { subject, issuer } })
    }

    /// Who it says that it is of.
    pub(super) fn identity(&self) -> &SignedIdentity {
        &self.identity
    }
}

fn malformed(error: impl fmt::Display) -> SigstoreError {
    SigstoreError::Malformed(crate::text::clean_line(&error.to_string(), 300))
}

fn parse(text: &str) -> Result<sigstore_verify::types::Bundle, SigstoreError> {
    if text.len() > BUNDLE_BYTES_MAX {
        return Err(SigstoreError::TooLong { bytes: text.len(), max: BUNDLE_BYTES_MAX });
    }
    // Reading may hash, and the crate panics where it has nothing to hash with.
    install();
    sigstore_verify::types::Bundle::from_json(text).map_err(malformed)
}

/// Whose certificates, timestamps and logs are believed: `trusted_root.json`.
#[derive(Clone)]
pub struct TrustRoot {
    text: Arc<str>,
    verifier: Arc<Verifier>,
}

impl TrustRoot {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Verifies that a bundle's certificate was issued by this root for whom it names, that its key has signed these
    /// bytes while it was valid, and that the log has it.
    ///
    /// # Errors
    /// [`SigstoreError::Invalid`], or as [`Bundle::read`].
    pub fn verify(&self, text: &str, bytes: &Bytes) -> Result<SignedIdentity, SigstoreError> {
        let claimed = Bundle::read(text)?;
        let bundle = parse(text)?;
        let policy = VerificationPolicy::any_identity();
        let SignedIdentity { subject, issuer } = &claimed.identity;
        let policy = policy.require_identity(subject.as_str()).require_issuer(issuer.as_str());
        let verified = signed_over(bytes, || self.verifier.verify(bytes.as_ref(), &bundle, &policy));
        let verified = verified
            .map_err(|error| SigstoreError::Invalid(crate::text::clean_line(&error.to_string(), 300)))?;
        let is_whole = verified.certificate_verified()
            && verified.sct_verified()
            && verified.tlog_verified()
            && verified.identity_policy_checked()
            && !verified.verified_timestamps().is_empty();
        if is_whole {
            Ok(claimed.identity)
        } else {
            Err(SigstoreError::Invalid("not all was checked".to_owned()))
        }
    }
}

impl FromStr for TrustRoot {
    type Err = SigstoreError;

    fn from_str(text: &str) -> Result<Self, SigstoreError> {
        if text.len() > TRUST_ROOT_BYTES_MAX {
            return Err(SigstoreError::TooLong { bytes: text.len(), max: TRUST_ROOT_BYTES_MAX });
        }
        let wrong = |error: &dyn fmt::Display| {
            SigstoreError::TrustRoot(crate::text::clean_line(&error.to_string(), 300))
        };
        install();
        let root = TrustedRoot::from_json(text).map_err(|error| wrong(&error))?;
        if root.certificate_authorities.is_empty() || root.tlogs.is_empty() || root.ctlogs.is_empty() {
            return Err(wrong(
                &"it names no certificate authority, no transparency log, or no log of certificates",
            ));
        }
        let verifier = Verifier::new(&root).map_err(|error| wrong(&error))?;
        Ok(Self { text: text.into(), verifier: Arc::new(verifier) })
    }
}

impl PartialEq for TrustRoot {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TrustRoot {}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoot").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

thread_local! {
    /// The bytes that are verified on this thread now: for [`Ring::verify_prehashed`].
    static SIGNED: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

fn signed_over<T>(bytes: &Bytes, verify: impl FnOnce() -> T) -> T {
    install();
    SIGNED.with(|signed| signed.replace(Some(bytes.clone())));
    let verified = verify();
    SIGNED.with(|signed| signed.replace(None));
    verified
}

/// Has the crate use `ring`, as TLS does here. A second one would be installed by nobody.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let _ = sigstore_verify::crypto::install_default_provider(&Ring);
    });
}

/// `ring`, as the crate asks for cryptography. It signs nothing.
#[derive(Debug)]
struct Ring;

struct Hashing(digest::Context);

impl HashContext for Hashing {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

fn unsupported(what: impl fmt::Debug) -> CryptoError {
    CryptoError::UnsupportedAlgorithm(format!("{what:?}"))
}

fn hash_of(algorithm: HashAlgorithm) -> CryptoResult<&'static digest::Algorithm> {
    match algorithm {
        HashAlgorithm::Sha2256 => Ok(&digest::SHA256),
        HashAlgorithm::Sha2384 => Ok(&digest::SHA384),
        HashAlgorithm::Sha2512 => Ok(&digest::SHA512),
        other => Err(unsupported(other)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the crate's enum is open; what is not named is refused")]
fn algorithm_of(scheme: SigningScheme) -> CryptoResult<&'static dyn ring_signature::VerificationAlgorithm> {
    Ok(match scheme {
        SigningScheme::EcdsaP256Sha256 => &ring_signature::ECDSA_P256_SHA256_ASN1,
        SigningScheme::EcdsaP256Sha384 => &ring_signature::ECDSA_P256_SHA384_ASN1,
        SigningScheme::EcdsaP384Sha256 => &ring_signature::ECDSA_P384_SHA256_ASN1,
        SigningScheme::EcdsaP384Sha384 => &ring_signature::ECDSA_P384_SHA384_ASN1,
        SigningScheme::Ed25519 => &ring_signature::ED25519,
        SigningScheme::RsaPkcs1Sha256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
        SigningScheme::RsaPkcs1Sha384 => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
        SigningScheme::RsaPkcs1Sha512 => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
        SigningScheme::RsaPssSha256 => &ring_signature::RSA_PSS_2048_8192_SHA256,
        SigningScheme::RsaPssSha384 => &ring_signature::RSA_PSS_2048_8192_SHA384,
        SigningScheme::RsaPssSha512 => &ring_signature::RSA_PSS_2048_8192_SHA512,
        other => return Err(unsupported(other)),
    })
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> CryptoResult<Box<dyn HashContext>> {
        Ok(Box::new(Hashing(digest::Context::new(hash_of(algorithm)?))))
    }

    fn verify_raw(
        &self,
        scheme: SigningScheme,
        spki_pubkey_bytes: &[u8],
        data: &[u8],
        signature: &[u8],
    ) -> CryptoResult<()> {
        let key = ring_signature::UnparsedPublicKey::new(algorithm_of(scheme)?, spki_pubkey_bytes);
        let wrong = |_| CryptoError::Verification(format!("{} signature invalid", scheme.name()));
        key.verify(data, signature).map_err(wrong)
    }

    /// `ring` verifies over bytes only, so it is given those whose hash this is, and hashes them itself.
    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        spki_pubkey_bytes: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> CryptoResult<()> {
        let algorithm = scheme.hash_algorithm().ok_or_else(|| unsupported(scheme))?;
        let bytes = SIGNED.with(|signed| signed.borrow().clone()).unwrap_or_default();
        if digest::digest(hash_of(algorithm)?, &bytes).as_ref() != digest {
            return Err(CryptoError::Verification(
                "the hash is not of the bytes that are verified".to_owned(),
            ));
        }
        self.verify_raw(scheme, spki_pubkey_bytes, &bytes, signature)
    }
}

#[cfg(test)]
mod tests;
