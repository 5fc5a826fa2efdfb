use super::*;
use crate::policy::parse_trust;
use crate::signing::{Claims, SecretKey};

fn key() -> SecretKey {
    SecretKey::read(&SecretKey::generate(None).expect("made").secret, None).expect("just made")
}

fn policy(text: &str) -> TrustPolicy {
    parse_trust(text).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn errors(text: &str) -> Vec<String> {
    parse_trust(text).expect_err("refused").iter().map(ToString::to_string).collect()
}

const BYTES: &[u8] = b"component";

/// What the signatures of keys, each with its claims, are worth for package `name` 1.0.0.
fn facts(policy: &TrustPolicy, name: &str, signed: &[(&SecretKey, Claims)]) -> Vec<SignatureFact> {
    let signatures: Vec<Signature> =
        signed.iter().map(|(key, claims)| key.sign(BYTES, claims).expect("signed")).collect();
    let (package, version) = (name.parse().expect("a name"), semver::Version::new(1, 0, 0));
    let of = SignedComponent { package: &package, version: &version, digest: PackageDigest::of(BYTES) };
    policy.facts(of, &signatures, |signature, prover| signature.prove(prover, &BYTES.into()).is_ok())
}

fn is_trusted(policy: &TrustPolicy, name: &str, signed: &[(&SecretKey, Claims)]) -> bool {
    policy.judge(&name.parse().expect("a name"), &facts(policy, name, signed)).is_ok()
}

fn none() -> Claims {
    Claims::default()
}

#[test]
fn a_package_needs_the_signatures_that_its_rule_says() {
    let (alice, bob, mallory) = (key(), key(), key());
    let text = format!(
        "[keys]\nalice = \"{}\"\nbob = \"{}\"\n\
         [[package]]\nnames = [\"acme-*\", \"notes\"]\nsigners = [\"alice\", \"bob\"]\nneeded = 2\n",
        alice.public(),
        bob.public()
    );
    let policy = policy(&text);
    let both = [(&alice, none()), (&bob, none())];
    assert!(is_trusted(&policy, "notes", &both));
    assert!(is_trusted(&policy, "acme-mail", &both));
    assert!(!is_trusted(&policy, "notes", &both[..1]));
    assert!(!is_trusted(&policy, "notes", &[(&alice, none()), (&alice, none())]), "one signer counts once");
    assert!(!is_trusted(&policy, "notes", &[(&alice, none()), (&mallory, none())]));
    assert!(!is_trusted(&policy, "notes", &[]));
    // What no rule covers is denied, however well it is signed.
    assert!(!is_trusted(&policy, "acme", &both));
    assert!(!is_trusted(&policy, "my-acme-mail", &both));
}

#[test]
fn what_no_rule_covers_is_denied_unless_it_is_said() {
    let alice = key();
    let rules = format!(
        "[keys]\nalice = \"{}\"\n[[package]]\nnames = [\"notes\"]\nsigners = [\"alice\"]\n",
        alice.public()
    );
    let with = |word: &str| policy(&format!("uncovered = \"{word}\"\n{rules}"));
    assert!(!is_trusted(&policy(&rules), "other", &[]));
    assert!(!is_trusted(&with("deny"), "other", &[]));
    assert!(is_trusted(&with("unsigned"), "other", &[]));
    assert!(!is_trusted(&with("unsigned"), "notes", &[]), "what is covered must be signed");
}

#[test]
fn all_rules_that_cover_a_package_count() {
    let (alice, bob) = (key(), key());
    let policy = policy(&format!(
        "[keys]\nalice = \"{}\"\nbob = \"{}\"\n\
         [[package]]\nnames = [\"*\"]\nsigners = [\"alice\", \"bob\"]\n\
         [[package]]\nnames = [\"pay-*\"]\nsigners = [\"bob\"]\n",
        alice.public(),
        bob.public()
    ));
    assert!(is_trusted(&policy, "notes", &[(&alice, none())]));
    assert!(!is_trusted(&policy, "pay-out", &[(&alice, none())]), "a wide rule opens no narrow one");
    assert!(is_trusted(&policy, "pay-out", &[(&bob, none())]));
}

#[test]
fn a_revoked_key_and_a_claim_of_something_else_count_for_nothing() {
    let (alice, bob) = (key(), key());
    let policy = policy(&format!(
        "[keys]\nalice = \"{}\"\nbob = {{ key = \"{}\", revoked = \"stolen\" }}\n\
         [[package]]\nnames = [\"notes\"]\nsigners = [\"alice\", \"bob\"]\n",
        alice.public(),
        bob.public()
    ));
    let standing = |signed: &[(&SecretKey, Claims)]| facts(&policy, "notes", signed)[0].standing;
    assert_eq!(standing(&[(&bob, none())]), SignatureStanding::Revoked);
    assert!(!is_trusted(&policy, "notes", &[(&bob, none())]));
    let claims = |package: &str, version: &str| Claims {
        package: Some(package.to_owned()),
        version: Some(version.to_owned()),
        ..Claims::default()
    };
    assert_eq!(standing(&[(&alice, claims("notes", "1.0.0"))]), SignatureStanding::Valid);
    assert_eq!(standing(&[(&alice, claims("other", "1.0.0"))]), SignatureStanding::OtherPackage);
    assert_eq!(standing(&[(&alice, claims("notes", "2.0.0"))]), SignatureStanding::OtherVersion);
    let other_bytes = Claims { digest: Some(PackageDigest::of(b"other")), ..Claims::default() };
    assert_eq!(standing(&[(&alice, other_bytes)]), SignatureStanding::Invalid);
    let told = policy.judge(&"notes".parse().expect("a name"), &facts(&policy, "notes", &[(&bob, none())]));
    assert_eq!(
        told.expect_err("not trusted").to_string(),
        "it needs 1 of the signatures of alice, bob, and 0 count: that of bob is by a revoked key or identity"
    );
}

/// Case 101: nothing that names no signer is taken for anyone's leave.
#[test]
fn a_policy_that_would_ask_for_nobody_is_refused() {
    let alice = key();
    let keys = format!("[keys]\nalice = \"{}\"\n", alice.public());
    for (rest, why) in [
        ("[[package]]\nnames = [\"*\"]\nsigners = []\n", "must have 1 to 100"),
        ("[[package]]\nnames = []\nsigners = [\"alice\"]\n", "must have 1 to 100"),
        ("[[package]]\nnames = [\"*\"]\n", "`signers` is missing"),
        ("[[package]]\nsigners = [\"alice\"]\n", "`names` is missing"),
        ("[[package]]\nnames = [\"*\"]\nsigners = [\"alice\"]\nneeded = 0\n", "`needed` is 0"),
        ("[[package]]\nnames = [\"*\"]\nsigners = [\"alice\"]\nneeded = 2\n", "`needed` is 2, of 1 signers"),
        ("[[package]]\nnames = [\"*\"]\nsigners = [\"alcie\"]\n", "there is no key of alcie"),
        ("[[package]]\nname = [\"*\"]\nsigners = [\"alice\"]\n", "unknown key name"),
        ("[[packages]]\n", "unknown key packages"),
        ("[sigstore]\n", "`trusted_root` is missing"),
        ("[upgrade]\napprove = \"always\"\n", "\"always\" is not known"),
        ("[upgrade]\n", "`approve` is missing"),
    ] {
        let errors = errors(&format!("{keys}{rest}"));
        assert!(errors.iter().any(|error| error.contains(why)), "{rest}: {errors:?}");
    }
    for (text, why) in [
        ("", "the file says nothing"),
        ("uncovered = \"allow\"\n", "\"allow\" is not known"),
        ("[keys]\nalice = \"RWQ\"\n", "no public key of minisign"),
        ("[keys]\nalice = { revoked = \"x\" }\n", "`key` is missing"),
    ] {
        let errors = errors(text);
        assert!(errors.iter().any(|error| error.contains(why)), "{text}: {errors:?}");
    }
    // One key under two names would be two signers.
    let twice = errors(&format!("{keys}bob = \"{}\"\n", alice.public()));
    assert!(twice[0].contains("alice's already"), "{twice:?}");
}
