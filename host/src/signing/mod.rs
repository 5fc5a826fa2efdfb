//! Signatures of components, as minisign writes them and as bundles of Sigstore (`sigstore`).
//!
//! Minisign's are Ed25519 over the BLAKE2b-512 of the bytes (the prehashed form,
//! `ED`), in a file of its own. Pure: opens no file, asks for no password, trusts nobody.
//!
//! The format is that of <https://jedisct1.github.io/minisign/#signature-format>; the cryptography is the crate
//! `minisign`. What comes from a file is measured here before that crate sees it.

mod key;
mod signature;
mod sigstore;
#[cfg(test)]
mod tests;

pub use key::{
    KeyId, PUBLIC_KEY_BYTES_MAX, PublicKey, SECRET_KEY_BYTES_MAX, SecretKey, SigningError, WrittenSecretKey,
};
pub use signature::{
    Claims, Maker, Prover, SIGNATURE_BYTES_MAX, SIGNATURES_MAX, Signature, SignatureError, is_bundle,
};
pub use sigstore::{BUNDLE_BYTES_MAX, SignedIdentity, SigstoreError, TRUST_ROOT_BYTES_MAX, TrustRoot};
