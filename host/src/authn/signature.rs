//! The signatures of tokens, checked by `ring`, which the tree has for TLS: what `jsonwebtoken` is given instead of
//! cryptography of its own. Knows no symmetric algorithm, signs nothing.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::{Deserialize, Serialize};
use signature::Verifier;

/// How an issuer may sign. There is no symmetric one: who can check those can make them. Nor `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// RSA (PKCS #1 v1.5) with SHA-256, keys of 2,048 to 8,192 bits.
    RS256,
    /// The same with SHA-384.
    RS384,
    /// The same with SHA-512.
    RS512,
    /// RSA-PSS with SHA-256, keys of 2,048 to 8,192 bits.
    PS256,
    /// The same with SHA-384.
    PS384,
    /// The same with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// A text that names no algorithm that is checked here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA: never `none`, nor HS256 and its like, whose checker could sign as well"
)]
pub struct UnknownAlgorithm;

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [TokenAlgorithm; 9] = [
        TokenAlgorithm::RS256,
        TokenAlgorithm::RS384,
        TokenAlgorithm::RS512,
        TokenAlgorithm::PS256,
        TokenAlgorithm::PS384,
        TokenAlgorithm::PS512,
        TokenAlgorithm::ES256,
        TokenAlgorithm::ES384,
        TokenAlgorithm::EdDSA,
    ];

    /// As a token's head writes it (RFC 7518, 3.1; RFC 8037, 3.1).
    pub const fn name(self) -> &'static str {
        match self {
            TokenAlgorithm::RS256 => "RS256",
            TokenAlgorithm::RS384 => "RS384",
            TokenAlgorithm::RS512 => "RS512",
            TokenAlgorithm::PS256 => "PS256",
            TokenAlgorithm::PS384 => "PS384",
            TokenAlgorithm::PS512 => "PS512",
            TokenAlgorithm::ES256 => "ES256",
            TokenAlgorithm::ES384 => "ES384",
            TokenAlgorithm::EdDSA => "EdDSA",
        }
    }

    /// What the library calls it.
    pub(super) fn as_library(self) -> Algorithm {
        match self {
            TokenAlgorithm::RS256 => Algorithm::RS256,
            TokenAlgorithm::RS384 => Algorithm::RS384,
            TokenAlgorithm::RS512 => Algorithm::RS512,
            TokenAlgorithm::PS256 => Algorithm::PS256,
            TokenAlgorithm::PS384 => Algorithm::PS384,
            TokenAlgorithm::PS512 => Algorithm::PS512,
            TokenAlgorithm::ES256 => Algorithm::ES256,
            TokenAlgorithm::ES384 => Algorithm::ES384,
            TokenAlgorithm::EdDSA => Algorithm::EdDSA,
        }
    }

    /// The one that a token names, if it may be used at all.
    pub(super) fn of(named: Algorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_library() == named)
    }
}

impl std::str::FromStr for TokenAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == text).ok_or(UnknownAlgorithm)
    }
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has the library check signatures by what is here. Whoever embeds the host may have given it another provider: then
/// that one does, which the check of algorithms before it still bounds.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(named: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let algorithm = TokenAlgorithm::of(*named).ok_or(ErrorKind::UnsupportedAlgorithm)?;
    if key.family() != named.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Checker { algorithm, key: key.kind().clone() }))
}

/// Checks what one key has signed in one way.
struct Checker {
    algorithm: TokenAlgorithm,
    key: DecodingKeyKind,
}

impl JwtVerifier for Checker {
    fn algorithm(&self) -> Algorithm {
        self.algorithm.as_library()
    }
}

impl Verifier<Vec<u8>> for Checker {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let by_rsa = |how: &'static RsaParameters| match &self.key {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                // Some write them with leading zeros, which are no part of a number.
                let key = RsaPublicKeyComponents { n: without_zeros(n), e: without_zeros(e) };
                key.verify(how, message, signature).is_ok()
            }
            DecodingKeyKind::SecretOrDer(_) => false,
        };
        let by_curve = |how: &'static dyn VerificationAlgorithm| match &self.key {
            DecodingKeyKind::SecretOrDer(point) => {
                UnparsedPublicKey::new(how, point).verify(message, signature).is_ok()
            }
            DecodingKeyKind::RsaModulusExponent { .. } => false,
        };
        let is_right = match self.algorithm {
            TokenAlgorithm::RS256 => by_rsa(&RSA_PKCS1_2048_8192_SHA256),
            TokenAlgorithm::RS384 => by_rsa(&RSA_PKCS1_2048_8192_SHA384),
            TokenAlgorithm::RS512 => by_rsa(&RSA_PKCS1_2048_8192_SHA512),
            TokenAlgorithm::PS256 => by_rsa(&RSA_PSS_2048_8192_SHA256),
            TokenAlgorithm::PS384 => by_rsa(&RSA_PSS_2048_8192_SHA384),
            TokenAlgorithm::PS512 => by_rsa(&RSA_PSS_2048_8192_SHA512),
            TokenAlgorithm::ES256 => by_curve(&ECDSA_P256_SHA256_FIXED),
            TokenAlgorithm::ES384 => by_curve(&ECDSA_P384_SHA384_FIXED),
            TokenAlgorithm::EdDSA => by_curve(&ED25519),
        };
        if is_right { Ok(()) } else { Err(signature::Error::new()) }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
