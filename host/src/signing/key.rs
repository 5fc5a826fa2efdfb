//! The keys of signers: the public half, which hosts are told of, and the secret half in its file.

use std::fmt;
use std::str::FromStr;

use minisign::{KeyPair, SecretKeyBox};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::signature::{Claims, Signature};

/// The most bytes of a public key's file.
pub const PUBLIC_KEY_BYTES_MAX: usize = 4 << 10;
/// The most bytes of a secret key's file.
pub const SECRET_KEY_BYTES_MAX: usize = 4 << 10;

/// The line that minisign begins with where nothing must be believed.
const UNTRUSTED: &str = "untrusted comment:";
/// Bytes of a public key as minisign encodes it: `Ed`, the key's number, the key.
const PUBLIC_KEY_BYTES: usize = 2 + 8 + 32;

/// Bytes of a secret key: the kinds of key, encryption and checksum, the salt and parameters of scrypt, and then the
/// key's number, the key pair and their checksum.
const SECRET_KEY_BYTES: usize = 2 + 2 + 2 + 32 + 8 + 8 + 8 + 64 + 32;

/// The number that a key pair was given when it was made, as minisign shows it: 16 hex digits. It finds a key and
/// proves nothing: anybody can make a key with any number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(u64);

crate::ids::text_schema!(KeyId, "the number of a signer's key: 16 hex digits", "^[0-9A-F]{16}$");

impl KeyId {
    pub(super) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl FromStr for KeyId {
    type Err = SigningError;

    fn from_str(text: &str) -> Result<Self, SigningError> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if is_hex { u64::from_str_radix(text, 16).ok() } else { None };
        number.map(Self).ok_or(SigningError::KeyId)
    }
}

impl TryFrom<String> for KeyId {
    type Error = SigningError;

    fn try_from(text: String) -> Result<Self, SigningError> {
        text.parse()
    }
}

/// Why a key can't be used. The fault of who gave it, but for `Random`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The text is no number of a key.
    #[error("the number of a key is 16 hex digits")]
    KeyId,
    /// The text is no public key.
    #[error(
        "this is no public key of minisign: write the line of 56 characters that begins with RW, or its file with the comment"
    )]
    PublicKey,
    /// The text is no secret key.
    #[error("this is no secret key of minisign")]
    SecretKey,
    /// The key is encrypted, and nothing opens it.
    #[error("the secret key is encrypted: its password is needed")]
    Encrypted,
    /// The password is not the key's.
    #[error("the password does not open the secret key")]
    Password,
    /// A password is empty, or longer than minisign takes.
    #[error("a password has 1 to 1024 bytes")]
    PasswordLength,
    /// What is to be signed over can't be written.
    #[error("it can't be signed: {0}")]
    Sign(String),
    /// A key can't be made: the machine's fault.
    #[error("a key can't be made: {0}")]
    Random(String),
}

/// The public half of a signer's key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    key: minisign::PublicKey,
    id: KeyId,
}

impl PublicKey {
    /// Its number.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn inner(&self) -> &minisign::PublicKey {
        &self.key
    }

    fn new(key: minisign::PublicKey) -> Result<Self, SigningError> {
        let number = key.keynum().try_into().map_err(|_| SigningError::PublicKey)?;
        Ok(Self { key, id: KeyId::from_bytes(number) })
    }

    /// Its file, as minisign writes it.
    pub fn to_file(&self) -> String {
        format!("{UNTRUSTED} minisign public key {}\n{self}\n", self.id)
    }
}

/// The one line of it.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key.to_base64())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = SigningError;

    fn try_from(text: String) -> Result<Self, SigningError> {
        text.parse()
    }
}

/// The line itself, or a file with the comment above it.
impl FromStr for PublicKey {
    type Err = SigningError;

    fn from_str(text: &str) -> Result<Self, SigningError> {
        if text.len() > PUBLIC_KEY_BYTES_MAX {
            return Err(SigningError::PublicKey);
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().ok_or(SigningError::PublicKey)?;
        let line = if first.starts_with(UNTRUSTED) { lines.next() } else { Some(first) };
        let line = line.filter(|_| lines.next().is_none()).ok_or(SigningError::PublicKey)?;
        if decoded(line).is_none_or(|bytes| bytes.len() != PUBLIC_KEY_BYTES) {
            return Err(SigningError::PublicKey);
        }
        Self::new(minisign::PublicKey::from_base64(line).map_err(|_| SigningError::PublicKey)?)
    }
}

pub(super) fn decoded(base64: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(base64).ok()
}

/// A signer's key pair, ready to sign.
pub struct SecretKey {
    secret: minisign::SecretKey,
    public: PublicKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

/// A new key pair as it is to be kept.
pub struct WrittenSecretKey {
    /// The text of the secret key's file.
    pub secret: Zeroizing<String>,
    /// The public half.
    pub public: PublicKey,
}

impl fmt::Debug for WrittenSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrittenSecretKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SecretKey {
    /// Makes a key pair. With a password the secret half is encrypted by a key that scrypt makes of it, as
    /// minisign does; without one it is as good as its file is kept.
    ///
    /// # Errors
    /// [`SigningError::PasswordLength`], [`SigningError::Random`].
    pub fn generate(password: Option<&str>) -> Result<WrittenSecretKey, SigningError> {
        let random = |error: minisign::PError| SigningError::Random(error.to_string());
        let pair = match password {
            None => KeyPair::generate_unencrypted_keypair().map_err(random)?,
            Some(password) => {
                check_password(password)?;
                KeyPair::generate_encrypted_keypair(Some(password.to_owned())).map_err(random)?
            }
        };
        let public = PublicKey::new(pair.pk)?;
        let kind = if password.is_some() { "encrypted" } else { "unencrypted" };
        let comment = format!("minisign {kind} secret key {}", public.id);
        let secret = Zeroizing::new(pair.sk.to_box(Some(&comment)).map_err(random)?.into_string());
        Ok(WrittenSecretKey { secret, public })
    }

    /// Whether the file of a secret key needs a password.
    ///
    /// # Errors
    /// [`SigningError::SecretKey`].
    pub fn is_encrypted(file: &str) -> Result<bool, SigningError> {
        let bytes = encoded(file)?;
        match bytes.get(2..4) {
            Some([0, 0]) => Ok(false),
            Some(b"Sc") => Ok(true),
            Some(_) | None => Err(SigningError::SecretKey),
        }
    }

    /// Reads the file of a secret key.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn read(file: &str, password: Option<&str>) -> Result<Self, SigningError> {
        let secret = match (Self::is_encrypted(file)?, password) {
            (false, _) => unencrypted(file)?,
            (true, None) => return Err(SigningError::Encrypted),
            (true, Some(password)) => {
                check_password(password)?;
                boxed(file)?.into_secret_key(Some(password.to_owned())).map_err(|_| SigningError::Password)?
            }
        };
        let public = minisign::PublicKey::from_secret_key(&secret).map_err(|_| SigningError::SecretKey)?;
        Ok(Self { secret, public: PublicKey::new(public)? })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs bytes, and with them what is claimed of them.
    ///
    /// # Errors
    /// [`SigningError::Sign`].
    pub fn sign(&self, bytes: &[u8], claims: &Claims) -> Result<Signature, SigningError> {
        let failed = |why: String| SigningError::Sign(why);
        let untrusted = format!("signature from minisign secret key {}", self.public.id);
        let trusted = claims.to_string();
        let made =
            minisign::sign(Some(self.public.inner()), &self.secret, bytes, Some(&trusted), Some(&untrusted));
        let text = made.map_err(|error| failed(error.to_string()))?.into_string();
        text.parse().map_err(|error: super::SignatureError| failed(error.to_string()))
    }
}

/// A key that is not encrypted. minisign itself leaves the checksum of such a key at zero, which the crate takes for
/// a damaged one.
fn unencrypted(file: &str) -> Result<minisign::SecretKey, SigningError> {
    let bytes = encoded(file)?;
    if bytes[SECRET_KEY_BYTES - 32..].iter().all(|byte| *byte == 0) {
        return minisign::SecretKey::from_bytes(&bytes).map_err(|_| SigningError::SecretKey);
    }
    boxed(file)?.into_unencrypted_secret_key().map_err(|_| SigningError::SecretKey)
}

/// What is encoded in the second line of a secret key's file.
fn encoded(file: &str) -> Result<Zeroizing<Vec<u8>>, SigningError> {
    let line = file.lines().nth(1).filter(|_| file.len() <= SECRET_KEY_BYTES_MAX);
    let bytes = line.and_then(|line| decoded(line.trim())).map(Zeroizing::new);
    bytes.filter(|bytes| bytes.len() == SECRET_KEY_BYTES).ok_or(SigningError::SecretKey)
}

fn check_password(password: &str) -> Result<(), SigningError> {
    if (1..=1024).contains(&password.len()) { Ok(()) } else { Err(SigningError::PasswordLength) }
}

fn boxed(file: &str) -> Result<SecretKeyBox, SigningError> {
    if file.len() > SECRET_KEY_BYTES_MAX {
        return Err(SigningError::SecretKey);
    }
    SecretKeyBox::from_string(file).map_err(|_| SigningError::SecretKey)
}
