//! Published vectors, and what is refused of them. That a whole bundle of a CA of our own holds, and each of its parts
//! must, is `tests/signing/sigstore.rs`.

use serde_json::{Value, json};
use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT};

use super::*;
use crate::signing::{Maker, Prover, Signature};

const COSIGN: &str = include_str!("vectors/cosign-v3-blob.sigstore.json");
const COSIGN_SIGNED: &[u8] = include_bytes!("vectors/cosign-v3-blob.txt");
const PYTHON: &str = include_str!("vectors/staging-rekor-v2.txt.sigstore.json");
const PYTHON_SIGNED: &[u8] = include_bytes!("vectors/staging-rekor-v2.txt");

fn root(text: &str) -> TrustRoot {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn verified(root: &TrustRoot, bundle: &str, bytes: &'static [u8]) -> Result<SignedIdentity, SigstoreError> {
    root.verify(bundle, &Bytes::from_static(bytes))
}

#[test]
fn bundles_of_other_programs_are_verified_by_their_own_root_over_their_own_bytes() {
    let (production, staging) = (root(SIGSTORE_PRODUCTION_TRUSTED_ROOT), root(SIGSTORE_STAGING_TRUSTED_ROOT));
    let identity = verified(&production, COSIGN, COSIGN_SIGNED).expect("verified");
    assert_eq!(identity.issuer, "https://github.com/login/oauth");
    assert_eq!(COSIGN.parse::<Signature>().expect("a bundle").maker(), &Maker::Identity(identity));
    verified(&staging, PYTHON, PYTHON_SIGNED).expect("verified: a log of the second version");
    // Each denied twin: another root, and other bytes.
    assert!(matches!(verified(&staging, COSIGN, COSIGN_SIGNED), Err(SigstoreError::Invalid(_))));
    assert!(matches!(verified(&production, PYTHON, PYTHON_SIGNED), Err(SigstoreError::Invalid(_))));
    for (root, bundle) in [(&production, COSIGN), (&staging, PYTHON)] {
        for other in [&b"other"[..], b""] {
            assert!(matches!(verified(root, bundle, other), Err(SigstoreError::Invalid(_))));
        }
    }
}

/// Every part counts: without it, or with another in its place, nothing holds.
#[test]
fn a_bundle_without_one_of_its_proofs_does_not_verify() {
    let production = root(SIGSTORE_PRODUCTION_TRUSTED_ROOT);
    let whole: Value = serde_json::from_str(COSIGN).expect("JSON");
    let entry = "/verificationMaterial/tlogEntries/0";
    let cases: [(&str, Value); 9] = [
        ("/verificationMaterial/tlogEntries", json!([])),
        (&format!("{entry}/inclusionProof"), Value::Null),
        (&format!("{entry}/inclusionProof/checkpoint"), Value::Null),
        (&format!("{entry}/inclusionProof/rootHash"), json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        (&format!("{entry}/logIndex"), json!("1")),
        (&format!("{entry}/integratedTime"), json!("1764787004")),
        (&format!("{entry}/canonicalizedBody"), json!("e30=")),
        ("/messageSignature/signature", json!("MEUCIQDAAAA=")),
        ("/messageSignature/messageDigest/digest", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
    ];
    for (place, value) in cases {
        let mut changed = whole.clone();
        *changed.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value;
        let refused = production.verify(&changed.to_string(), &Bytes::from_static(COSIGN_SIGNED));
        assert!(refused.is_err(), "{place}");
    }
    production.verify(&whole.to_string(), &Bytes::from_static(COSIGN_SIGNED)).expect("its twin");
}

#[test]
fn what_is_no_bundle_or_no_root_is_refused_without_a_panic() {
    for bad in [
        "{",
        "{}",
        "{\"mediaType\": \"x\"}",
        "{\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\"}",
    ] {
        assert!(matches!(Bundle::read(bad), Err(SigstoreError::Malformed(_))), "{bad}");
        assert!(matches!(bad.parse::<TrustRoot>(), Err(SigstoreError::TrustRoot(_))), "{bad}");
    }
    let long = format!("{{{}}}", " ".repeat(BUNDLE_BYTES_MAX));
    assert!(matches!(Bundle::read(&long), Err(SigstoreError::TooLong { .. })));
    // A root that would believe nobody's log is none.
    let mut root: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).expect("JSON");
    root["tlogs"] = json!([]);
    assert!(matches!(root.to_string().parse::<TrustRoot>(), Err(SigstoreError::TrustRoot(_))));
    // A key makes no bundle.
    let written = crate::signing::SecretKey::generate(None).expect("made");
    let bundle: Signature = COSIGN.parse().expect("a bundle");
    let proved = bundle.prove(&Prover::Key(written.public.clone()), &Bytes::from_static(COSIGN_SIGNED));
    assert!(proved.is_err() && bundle.verify(&written.public, COSIGN_SIGNED).is_err());
}
