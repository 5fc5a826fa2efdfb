//! API keys: how one is made, and what is kept of it.
//!
//! A key is `pcl_`, 12 hex digits that are public, `_`, and 256 random bits as base64url. Only a keyed hash of the
//! whole is kept; a key with so many random bits needs no slow hash.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::database::ApiKey;
use crate::ids::{KeyPrefix, hex};

/// What the host's key is used for here, and nowhere else.
const HASH_CONTEXT: &str = "portcullis 2026-11 hashes of API keys";

const PREFIX_RANDOM_BYTES: usize = 6;
const PREFIX_BYTES: usize = 4 + 2 * PREFIX_RANDOM_BYTES;
const SECRET_BYTES: usize = 32;
/// 32 bytes in base64 without padding.
const SECRET_TEXT_BYTES: usize = 43;

/// The bytes of a whole key.
const KEY_TEXT_BYTES: usize = PREFIX_BYTES + 1 + SECRET_TEXT_BYTES;

/// An API key, whole. Wiped when it is dropped; `Debug` does not show it.
pub struct KeyText {
    prefix: KeyPrefix,
    text: Zeroizing<String>,
}

impl KeyText {
    /// A new one.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let (mut public, mut secret) = ([0; PREFIX_RANDOM_BYTES], Zeroizing::new([0; SECRET_BYTES]));
        getrandom::fill(&mut public)?;
        getrandom::fill(&mut *secret)?;
        let prefix = format!("pcl_{}", hex(&public));
        let mut text = Zeroizing::new(String::with_capacity(KEY_TEXT_BYTES));
        text.push_str(&prefix);
        text.push('_');
        text.push_str(&Zeroizing::new(URL_SAFE_NO_PAD.encode(*secret)));
        Ok(Self { prefix: prefix.parse().expect("made by its rule"), text })
    }

    /// Its public beginning.
    pub fn prefix(&self) -> &KeyPrefix {
        &self.prefix
    }

    /// All of it: for whoever asked for it, once.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText({})", self.prefix)
    }
}

/// The public beginning of a text that looks like a key.
pub(super) fn prefix_of(text: &str) -> Option<KeyPrefix> {
    let (prefix, rest) = text.split_at_checked(PREFIX_BYTES)?;
    let secret = rest.strip_prefix('_')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let looks = secret.len() == SECRET_TEXT_BYTES && secret.bytes().all(fits);
    looks.then(|| prefix.parse().ok())?
}

/// Hashes keys with a key of this host. `Debug` does not show that.
pub struct KeyHasher([u8; 32]);

impl KeyHasher {
    /// With the key of a host.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(blake3::derive_key(HASH_CONTEXT, key))
    }

    pub(super) fn hash(&self, text: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.0, text.as_bytes())
    }

    /// What is kept of a key.
    pub fn kept(&self, key: &KeyText) -> String {
        self.hash(key.expose()).to_hex().to_string()
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(hidden)")
    }
}

/// A key that may let somebody in.
#[derive(Clone, Debug)]
pub struct HeldKey {
    /// What is known of it.
    pub key: ApiKey,
    pub(super) hash: blake3::Hash,
}

/// All API keys of a host, by their public beginnings.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(HashMap<KeyPrefix, HeldKey>);

impl KeyRing {
    /// From what is kept of each. One whose hash can't be read lets nobody in.
    pub fn new(keys: Vec<(ApiKey, String)>) -> Self {
        let held = keys.into_iter().filter_map(|(key, hash)| {
            let hash = blake3::Hash::from_hex(hash).ok()?;
            Some((key.prefix.clone(), HeldKey { key, hash }))
        });
        Self(held.collect())
    }

    /// The key with this beginning.
    pub fn get(&self, prefix: &KeyPrefix) -> Option<&HeldKey> {
        self.0.get(prefix)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.0.values().map(|held| &held.key)
    }
}
