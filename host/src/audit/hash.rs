//! A hash of the tree as records and proofs write it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tlog_tiles::Hash;

use crate::ids::text_schema;

/// A hash of an RFC 6962 tree: 32 bytes, written in base64 as checkpoints write the root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TreeHash([u8; 32]);

text_schema!(TreeHash, "a hash of an RFC 6962 tree: 32 bytes in base64", "^[A-Za-z0-9+/]{43}=$");

/// A text that is no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 32 bytes in base64")]
pub struct NoHash;

impl TreeHash {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn to_hash(self) -> Hash {
        Hash(self.0)
    }
}

impl From<Hash> for TreeHash {
    fn from(hash: Hash) -> Self {
        Self(hash.0)
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TreeHash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        let bytes = STANDARD.decode(text).map_err(|_| NoHash)?;
        bytes.try_into().map(Self).map_err(|_| NoHash)
    }
}

impl Serialize for TreeHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TreeHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
