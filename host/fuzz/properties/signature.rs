//! What must hold of signatures and keys of components for any bytes: shared by the fuzz target and by a test, which
//! gives them bytes from a seed.

use std::sync::LazyLock;

use portcullis::signing::{
    BUNDLE_BYTES_MAX, PUBLIC_KEY_BYTES_MAX, PublicKey, SECRET_KEY_BYTES_MAX, SIGNATURE_BYTES_MAX, SecretKey,
    Signature,
};

/// A key that has signed nothing.
static NOBODY: LazyLock<SecretKey> = LazyLock::new(|| {
    let written = SecretKey::generate(None).expect("random numbers");
    SecretKey::read(&written.secret, None).expect("just written")
});

/// Reads bytes as the file of a signature, of a public key and of a secret key.
pub(crate) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(signature) = text.parse::<Signature>() {
        assert!(text.len() <= SIGNATURE_BYTES_MAX.max(BUNDLE_BYTES_MAX));
        assert_eq!(signature.key().is_some(), signature.identity().is_none());
        assert_eq!(signature.as_str(), text);
        assert_eq!(text.parse::<Signature>().map(|again| again.key()), Ok(signature.key()));
        let claims = signature.claims();
        assert!(claims.digest.is_none_or(|digest| signature.comment().contains(&digest.to_string())));
        // Whatever it says, this key has not made it.
        assert!(signature.verify(NOBODY.public(), b"component").is_err());
        let json = serde_json::to_string(&signature).expect("it serialises");
        assert_eq!(serde_json::from_str::<Signature>(&json).ok().as_ref(), Some(&signature));
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert!(text.len() <= PUBLIC_KEY_BYTES_MAX);
        assert_eq!(key.to_string().parse::<PublicKey>().as_ref(), Ok(&key));
        assert_eq!(key.to_file().parse::<PublicKey>().as_ref(), Ok(&key));
    }
    // Without a password: what is encrypted costs what its own parameters say.
    if SecretKey::is_encrypted(&text) == Ok(false) {
        assert!(text.len() <= SECRET_KEY_BYTES_MAX);
        if let Ok(key) = SecretKey::read(&text, None) {
            let signed = key.sign(b"component", &Default::default()).expect("signed");
            assert_eq!(signed.verify(key.public(), b"component"), Ok(()));
        }
    }
}
