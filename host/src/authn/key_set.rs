//! An issuer's public keys: a JWK set (RFC 7517), read within bounds. Pure.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use serde::Deserialize;

use super::signature::TokenAlgorithm;

/// The most bytes of a set, and of what else an issuer says of itself: 256 KiB.
pub(super) const KEY_SET_BYTES_MAX: usize = 256 << 10;
/// The most keys of one issuer.
const KEYS_MAX: usize = 128;

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The keys of one issuer that can check a signature.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet(Vec<SigningKey>);

#[derive(Clone, Debug)]
struct SigningKey {
    id: Option<String>,
    /// What it may check: what its kind can, narrowed by its `alg`.
    algorithms: Vec<TokenAlgorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a set. Keys that are not for signatures, or of a kind that is not known here, are left out.
    ///
    /// # Errors
    /// If it is no set, or too large.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > KEY_SET_BYTES_MAX {
            return Err(format!("it has {} bytes, at most {KEY_SET_BYTES_MAX} are read", bytes.len()));
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no JWK set: {error}"))?;
        if document.keys.len() > KEYS_MAX {
            return Err(format!("it has {} keys, at most {KEYS_MAX} are read", document.keys.len()));
        }
        Ok(Self(document.keys.into_iter().filter_map(signing_key).collect()))
    }

    /// The key that a token names, if it may check that algorithm. One that names none must leave no choice.
    pub(super) fn find(&self, id: Option<&str>, algorithm: TokenAlgorithm) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| key.algorithms.contains(&algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)).map(|key| &key.key),
            None => {
                let only = fitting.next()?;
                fitting.next().is_none().then_some(&only.key)
            }
        }
    }
}

fn signing_key(value: serde_json::Value) -> Option<SigningKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let of_kind: &[TokenAlgorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            TokenAlgorithm::RS256,
            TokenAlgorithm::RS384,
            TokenAlgorithm::RS512,
            TokenAlgorithm::PS256,
            TokenAlgorithm::PS384,
            TokenAlgorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            &[TokenAlgorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P384 => {
            &[TokenAlgorithm::ES384]
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            &[TokenAlgorithm::EdDSA]
        }
        // A secret, or a kind that is not known here.
        AlgorithmParameters::EllipticCurve(_)
        | AlgorithmParameters::OctetKey(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::Other(_)
        | _ => return None,
    };
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|says| *says != PublicKeyUse::Signature) {
        return None;
    }
    if common.key_operations.as_ref().is_some_and(|may| !may.contains(&KeyOperations::Verify)) {
        return None;
    }
    let mut algorithms = of_kind.to_vec();
    if let Some(says) = common.key_algorithm {
        algorithms.retain(|algorithm| algorithm.name() == says.to_string());
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then(|| SigningKey { id: common.key_id.clone(), algorithms, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &str) -> KeySet {
        KeySet::parse(format!("{{\"keys\": [{keys}]}}").as_bytes()).expect("a set")
    }

    const ED: &str =
        r#"{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const RSA: &str = r#"{"kty": "RSA", "kid": "b", "alg": "RS256", "n": "AQAB", "e": "AQAB"}"#;

    #[test]
    fn a_key_checks_what_its_kind_and_its_alg_say() {
        let keys = set(&format!("{ED}, {RSA}"));
        assert!(keys.find(Some("a"), TokenAlgorithm::EdDSA).is_some());
        assert!(keys.find(Some("a"), TokenAlgorithm::RS256).is_none());
        assert!(keys.find(Some("b"), TokenAlgorithm::RS256).is_some());
        assert!(keys.find(Some("b"), TokenAlgorithm::PS256).is_none(), "its alg says RS256");
        assert!(keys.find(Some("c"), TokenAlgorithm::EdDSA).is_none());
        // Without a name, the only one that fits.
        assert!(keys.find(None, TokenAlgorithm::EdDSA).is_some());
        let two = set(&format!("{ED}, {}", ED.replace("\"a\"", "\"z\"")));
        assert!(two.find(None, TokenAlgorithm::EdDSA).is_none(), "it would be a choice");
    }

    #[test]
    fn secrets_and_keys_for_other_ends_are_left_out() {
        for key in [
            r#"{"kty": "oct", "kid": "a", "k": "c2VjcmV0", "alg": "HS256"}"#.to_owned(),
            ED.replace("\"kid\"", "\"use\": \"enc\", \"kid\""),
            ED.replace("\"kid\"", "\"key_ops\": [\"sign\"], \"kid\""),
            ED.replace("Ed25519", "X25519"),
            ED.replace("\"kid\"", "\"alg\": \"HS256\", \"kid\""),
            r#"{"kty": "unheard of", "kid": "a"}"#.to_owned(),
            "7".to_owned(),
        ] {
            assert_eq!(set(&key).0.len(), 0, "{key}");
        }
        assert_eq!(set(&format!("7, {ED}")).0.len(), 1, "one that is not known spoils no other");
    }

    #[test]
    fn what_is_no_set_or_too_large_is_an_error() {
        assert!(KeySet::parse(b"[]").is_err() && KeySet::parse(b"{}").is_err());
        let many = vec!["7"; KEYS_MAX + 1].join(",");
        assert!(KeySet::parse(format!("{{\"keys\": [{many}]}}").as_bytes()).is_err());
        assert!(KeySet::parse(&vec![b' '; KEY_SET_BYTES_MAX + 1]).is_err());
    }
}
