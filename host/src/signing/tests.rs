use super::*;
use crate::ids::PackageDigest;

fn key() -> SecretKey {
    let written = SecretKey::generate(None).expect("random numbers");
    SecretKey::read(&written.secret, None).expect("just written")
}

fn claims() -> Claims {
    Claims {
        timestamp: Some(1_800_000_000),
        file: Some("notes.wasm".to_owned()),
        package: Some("notes".to_owned()),
        version: Some("1.2.0".to_owned()),
        digest: Some(PackageDigest::of(b"bytes")),
    }
}

#[test]
fn what_was_signed_is_verified_and_nothing_else() {
    let (key, other) = (key(), key());
    let signature = key.sign(b"bytes", &claims()).expect("signed");
    assert_eq!(signature.claims(), claims());
    assert_eq!(signature.key(), Some(key.public().id()));
    assert_eq!(signature.verify(key.public(), b"bytes"), Ok(()));
    let invalid = |key: &SecretKey| Err(SignatureError::Invalid { key: key.public().id() });
    assert_eq!(signature.verify(key.public(), b"bytez"), invalid(&key));
    assert_eq!(signature.verify(other.public(), b"bytes"), invalid(&other));
    // The comment is signed as well.
    let forged: Signature =
        signature.as_str().replace("package:notes", "package:evil!").parse().expect("well formed");
    assert_eq!(forged.claims().package.as_deref(), Some("evil!"));
    assert_eq!(forged.verify(key.public(), b"bytes"), invalid(&key));
    // The one above it is nobody's.
    let commented = signature.as_str().replace("signature from", "a signature of");
    assert_eq!(commented.parse::<Signature>().expect("well formed").verify(key.public(), b"bytes"), Ok(()));
}

#[test]
fn a_key_survives_its_files() {
    let key = key();
    let file = key.public().to_file();
    assert_eq!(file.parse::<PublicKey>().as_ref(), Ok(key.public()));
    assert_eq!(key.public().to_string().parse::<PublicKey>().as_ref(), Ok(key.public()));
    let id = key.public().id().to_string();
    assert_eq!(id.parse::<KeyId>(), Ok(key.public().id()));
    for bad in ["", "RW", "untrusted comment: x", &format!("{file}{file}"), &"x".repeat(5_000)] {
        assert_eq!(bad.parse::<PublicKey>(), Err(SigningError::PublicKey), "{bad:?}");
    }
    for bad in ["", "12", "123456789012345G", "+123456789012345"] {
        assert_eq!(bad.parse::<KeyId>(), Err(SigningError::KeyId), "{bad:?}");
    }
}

#[test]
fn an_encrypted_key_is_opened_by_its_password_only() {
    let written = SecretKey::generate(Some("correct horse")).expect("made");
    assert_eq!(SecretKey::is_encrypted(&written.secret), Ok(true));
    assert_eq!(SecretKey::read(&written.secret, None).err(), Some(SigningError::Encrypted));
    assert_eq!(SecretKey::read(&written.secret, Some("wrong")).err(), Some(SigningError::Password));
    let key = SecretKey::read(&written.secret, Some("correct horse")).expect("its twin");
    assert_eq!(*key.public(), written.public);
    assert_eq!(SecretKey::generate(Some("")).err(), Some(SigningError::PasswordLength));
    assert_eq!(SecretKey::read("no key", None).err(), Some(SigningError::SecretKey));
}

#[test]
fn malformed_signatures_are_refused_without_a_panic() {
    let good = key().sign(b"bytes", &claims()).expect("signed").as_str().to_owned();
    let lines: Vec<&str> = good.lines().collect();
    let with = |index: usize, line: &str| {
        let mut changed = lines.clone();
        changed[index] = line;
        changed.join("\n").parse::<Signature>().err()
    };
    assert_eq!(good.parse::<Signature>().err(), None);
    assert_eq!(with(1, ""), Some(SignatureError::Malformed));
    assert_eq!(with(1, "RUQ="), Some(SignatureError::Malformed));
    assert_eq!(with(2, "trusted comment"), Some(SignatureError::Malformed));
    // Shorter than a signature, which the crate would read past.
    assert_eq!(with(3, "AAAA"), Some(SignatureError::Malformed));
    assert_eq!(with(3, ""), Some(SignatureError::Malformed));
    // `Ed` instead of `ED`: over the bytes themselves.
    let legacy = lines[1].replacen("RU", "RW", 1);
    assert_eq!(with(1, &legacy), Some(SignatureError::Legacy));
    assert_eq!("".parse::<Signature>().err(), Some(SignatureError::Malformed));
    assert_eq!("x".repeat(5_000).parse::<Signature>().err(), Some(SignatureError::TooLong));
}
