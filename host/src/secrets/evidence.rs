//! Keys of evidence: what salts of commitments are made of, and payloads are encrypted with.
//!
//! Each principal has one, made with its first call and kept encrypted under a key of this host. A call's salt is
//! a function of that key and the call's id, so none is stored, and erasing the key erases all of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::database::{Database, DatabaseError, SealedEvidenceKey};
use crate::ids::{CallId, PrincipalId, text_schema};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// How many keys are held in memory; when there are more, they are read again as they are needed.
const HELD_MAX: usize = 10_000;

/// Makes both halves of a key's use independent of one another.
const OF_SALTS: &[u8] = b"portcullis salt v1\n";
const OF_PAYLOADS: &[u8] = b"portcullis payload v1\n";

/// Why what a key would open can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceKeyError {
    /// It was erased.
    #[error("the salt and payloads of this call were erased at {at}, with the key of principal {principal}")]
    Erased {
        /// Whose.
        principal: PrincipalId,
        /// When.
        at: Timestamp,
    },
    /// It is encrypted under another key of the host, or was altered.
    #[error(
        "the key of principal {principal} can't be opened: it was kept under another evidence.key; put that back into the data folder"
    )]
    OtherKey {
        /// Whose.
        principal: PrincipalId,
    },
    /// There is no such key: the log and the database are not of one host.
    #[error("the database has no evidence key {number}")]
    Unknown {
        /// Which.
        number: u64,
    },
    /// What was encrypted with it was altered.
    #[error("it was altered, or is of another call")]
    Altered,
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The salt of one call's commitments: 32 bytes, written in hex. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt([u8; KEY_BYTES]);

text_schema!(Salt, "the salt of a call's commitments: 64 lower-case hex digits", "^[0-9a-f]{64}$");

impl Salt {
    /// The 32 bytes.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(hidden)")
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        salt.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Salt {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const RULE: &str = "a salt is 64 lower-case hex digits";
        let mut salt = [0; KEY_BYTES];
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(RULE);
        }
        for (byte, pair) in salt.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| RULE)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| RULE)?;
        }
        Ok(Self(salt))
    }
}

/// What of a call is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// What was asked.
    Arguments,
    /// What was answered.
    Result,
}

impl PayloadKind {
    /// Its name in files and domains.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Result => "result",
        }
    }
}

/// The key of one principal's evidence.
pub struct EvidenceKey {
    number: u64,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for EvidenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvidenceKey").field("number", &self.number).finish_non_exhaustive()
    }
}

impl EvidenceKey {
    /// Its number, as records of calls name it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The salt of a call.
    pub fn salt(&self, call: CallId) -> Salt {
        Salt(self.derive(OF_SALTS, call))
    }

    /// Encrypts something of a call.
    ///
    /// # Errors
    /// [`EvidenceKeyError::Random`], and `Altered`, which can't be.
    pub fn seal(&self, call: CallId, kind: PayloadKind, text: &[u8]) -> Result<Vec<u8>, EvidenceKeyError> {
        seal(&self.derive(OF_PAYLOADS, call), kind.name().as_bytes(), text)
    }

    /// Decrypts it.
    ///
    /// # Errors
    /// [`EvidenceKeyError::Altered`].
    pub fn open(&self, call: CallId, kind: PayloadKind, sealed: &[u8]) -> Result<Vec<u8>, EvidenceKeyError> {
        open(&self.derive(OF_PAYLOADS, call), kind.name().as_bytes(), sealed).ok_or(EvidenceKeyError::Altered)
    }

    fn derive(&self, domain: &[u8], call: CallId) -> [u8; KEY_BYTES] {
        let mac =
            <Hmac<Sha256> as hmac::Mac>::new_from_slice(&*self.secret).expect("any length is a key of HMAC");
        mac.chain_update(domain).chain_update(call.as_bytes()).finalize().into_bytes().into()
    }
}

/// The keys of one data folder.
#[derive(Debug)]
pub struct EvidenceKeys {
    database: Database,
    host: HostKey,
    held: Mutex<HashMap<PrincipalId, Arc<EvidenceKey>>>,
    /// Held while a key is looked up or made, so that a principal has one.
    making: tokio::sync::Mutex<()>,
}

struct HostKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(hidden)")
    }
}

impl EvidenceKeys {
    /// Over the database, with the host's key that its keys are kept under.
    pub fn new(database: Database, host: [u8; KEY_BYTES]) -> Self {
        let host = HostKey(Zeroizing::new(host));
        Self { database, host, held: Mutex::default(), making: tokio::sync::Mutex::default() }
    }

    /// The key for a new call of a principal; made if it has none, or none that this host can open.
    ///
    /// # Errors
    /// If the database does not answer, or there are no random numbers.
    pub async fn of(
        &self,
        principal: &PrincipalId,
        now: Timestamp,
    ) -> Result<Arc<EvidenceKey>, EvidenceKeyError> {
        if let Some(key) = self.held(principal) {
            return Ok(key);
        }
        let _making = self.making.lock().await;
        if let Some(key) = self.held(principal) {
            return Ok(key);
        }
        let kept = self.database.newest_evidence_key(principal).await?;
        let key = match kept.map(|kept| self.unseal(kept)) {
            Some(Ok(key)) => key,
            Some(Err(EvidenceKeyError::OtherKey { .. })) | None => self.make(principal, now).await?,
            Some(Err(error)) => return Err(error),
        };
        let key = Arc::new(key);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= HELD_MAX {
            held.clear();
        }
        held.insert(principal.clone(), Arc::clone(&key));
        Ok(key)
    }

    /// The key of a number, for what it was used for.
    ///
    /// # Errors
    /// [`EvidenceKeyError`], above all `Erased`.
    pub async fn numbered(&self, number: u64) -> Result<EvidenceKey, EvidenceKeyError> {
        let kept = self.database.evidence_key(number).await?;
        self.unseal(kept.ok_or(EvidenceKeyError::Unknown { number })?)
    }

    /// The numbers of a principal's keys.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn numbers_of(&self, principal: &PrincipalId) -> Result<Vec<u64>, EvidenceKeyError> {
        Ok(self.database.evidence_keys_of(principal).await?)
    }

    /// Erases a principal's keys. Its next call makes a new one.
    ///
    /// # Errors
    /// If the database does not answer; then they may be there yet.
    pub async fn erase(&self, principal: &PrincipalId, now: Timestamp) -> Result<(), EvidenceKeyError> {
        let _making = self.making.lock().await;
        self.database.erase_evidence_keys(principal, now).await?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(principal);
        Ok(())
    }

    fn held(&self, principal: &PrincipalId) -> Option<Arc<EvidenceKey>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(principal).cloned()
    }

    async fn make(&self, principal: &PrincipalId, now: Timestamp) -> Result<EvidenceKey, EvidenceKeyError> {
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        fill(&mut *secret)?;
        let sealed = STANDARD.encode(seal(&self.host.0, principal.as_str().as_bytes(), &*secret)?);
        let number = self.database.add_evidence_key(principal, &sealed, now).await?;
        Ok(EvidenceKey { number, secret })
    }

    fn unseal(&self, kept: SealedEvidenceKey) -> Result<EvidenceKey, EvidenceKeyError> {
        let SealedEvidenceKey { number, principal, sealed, erased_at } = kept;
        let Some(sealed) = sealed else {
            return Err(EvidenceKeyError::Erased { principal, at: erased_at.unwrap_or_default() });
        };
        let opened = STANDARD.decode(sealed).ok();
        let opened = opened.and_then(|sealed| open(&self.host.0, principal.as_str().as_bytes(), &sealed));
        let secret: Option<[u8; KEY_BYTES]> =
            opened.and_then(|secret| Zeroizing::new(secret).as_slice().try_into().ok());
        match secret {
            Some(secret) => Ok(EvidenceKey { number, secret: Zeroizing::new(secret) }),
            None => Err(EvidenceKeyError::OtherKey { principal }),
        }
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), EvidenceKeyError> {
    getrandom::fill(bytes).map_err(|error| EvidenceKeyError::Random(error.to_string()))
}

/// XChaCha20-Poly1305 with a random nonce before the ciphertext.
fn seal(key: &[u8; KEY_BYTES], aad: &[u8], text: &[u8]) -> Result<Vec<u8>, EvidenceKeyError> {
    let mut nonce = [0; NONCE_BYTES];
    fill(&mut nonce)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    let sealed = cipher.encrypt(XNonce::from_slice(&nonce), Payload { msg: text, aad });
    Ok([&nonce[..], &sealed.map_err(|_| EvidenceKeyError::Altered)?].concat())
}

fn open(key: &[u8; KEY_BYTES], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, msg) = sealed.split_at_checked(NONCE_BYTES)?;
    XChaCha20Poly1305::new(key.into()).decrypt(XNonce::from_slice(nonce), Payload { msg, aad }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: u8) -> EvidenceKey {
        EvidenceKey { number: 1, secret: Zeroizing::new([secret; KEY_BYTES]) }
    }

    #[test]
    fn salts_differ_by_call_and_key_and_are_never_shown() {
        let (one, two) = (CallId::generate(), CallId::generate());
        assert_eq!(key(1).salt(one), key(1).salt(one));
        assert_ne!(key(1).salt(one), key(1).salt(two));
        assert_ne!(key(1).salt(one), key(2).salt(one));
        assert_eq!(format!("{:?}", key(1).salt(one)), "Salt(hidden)");
        let text = String::from(key(1).salt(one));
        assert_eq!(Salt::try_from(text.clone()), Ok(key(1).salt(one)));
        for wrong in [&text[1..], &text.to_uppercase(), &format!("{text}0"), "", &"+1".repeat(32)] {
            assert!(Salt::try_from((*wrong).to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_payload_opens_for_its_call_and_kind_only() {
        let call = CallId::generate();
        let mut sealed = key(1).seal(call, PayloadKind::Arguments, b"{}").expect("sealed");
        let open = |key: &EvidenceKey, call, kind, sealed: &[u8]| key.open(call, kind, sealed).ok();
        assert_eq!(open(&key(1), call, PayloadKind::Arguments, &sealed).as_deref(), Some(&b"{}"[..]));
        assert_eq!(open(&key(1), call, PayloadKind::Result, &sealed), None);
        assert_eq!(open(&key(1), CallId::generate(), PayloadKind::Arguments, &sealed), None);
        assert_eq!(open(&key(2), call, PayloadKind::Arguments, &sealed), None);
        for length in 0..sealed.len() {
            assert_eq!(open(&key(1), call, PayloadKind::Arguments, &sealed[..length]), None);
        }
        for at in 0..sealed.len() {
            sealed[at] ^= 1;
            assert_eq!(open(&key(1), call, PayloadKind::Arguments, &sealed), None);
            sealed[at] ^= 1;
        }
    }

    #[tokio::test]
    async fn a_principal_has_one_key_until_it_is_erased_or_the_hosts_key_is_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let database = Database::open(&path).await.expect("opens");
        let keys = EvidenceKeys::new(database.clone(), [1; KEY_BYTES]);
        let (ann, bob): (PrincipalId, PrincipalId) = ("ann".parse().expect("ok"), "bob".parse().expect("ok"));
        let (call, now) = (CallId::generate(), Timestamp::UNIX_EPOCH);
        let first = keys.of(&ann, now).await.expect("made");
        assert_eq!(keys.of(&ann, now).await.expect("held").number(), 1);
        assert_eq!(keys.of(&bob, now).await.expect("made").number(), 2);
        // Another process over the same folder reads what this one kept.
        let again = EvidenceKeys::new(database.clone(), [1; KEY_BYTES]);
        assert_eq!(again.of(&ann, now).await.expect("read").salt(call), first.salt(call));
        assert_eq!(again.numbered(1).await.expect("read").salt(call), first.salt(call));
        // A restored folder has no evidence.key, and makes one: calls go on, with keys of their own.
        let other = EvidenceKeys::new(database.clone(), [2; KEY_BYTES]);
        assert_eq!(other.of(&ann, now).await.expect("made").number(), 3);
        assert!(matches!(other.numbered(1).await, Err(EvidenceKeyError::OtherKey { .. })));
        let sealed = database.evidence_key(2).await.expect("read").and_then(|key| key.sealed).expect("kept");
        keys.erase(&bob, now).await.expect("erased");
        assert!(matches!(keys.numbered(2).await, Err(EvidenceKeyError::Erased { .. })));
        assert!(matches!(keys.numbered(9).await, Err(EvidenceKeyError::Unknown { number: 9 })));
        assert_eq!(keys.of(&bob, now).await.expect("a new one").number(), 4);
        database.close().await;
        // Nothing of it is left in the files.
        for entry in std::fs::read_dir(folder.path()).expect("a folder") {
            #[expect(clippy::disallowed_methods, reason = "a small file of the test")]
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("read");
            assert!(!bytes.windows(20).any(|window| window == &sealed.as_bytes()[..20]));
        }
    }
}
