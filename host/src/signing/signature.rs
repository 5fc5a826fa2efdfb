//! One signature in its file, and what its signer says in it.

use std::fmt;
use std::io::Cursor;
use std::str::FromStr;

use bytes::Bytes;
use minisign::SignatureBox;
use serde::{Deserialize, Serialize};

use super::key::{KeyId, PublicKey, decoded};
use super::sigstore::{self, SignedIdentity, SigstoreError, TrustRoot};
use crate::ids::PackageDigest;

/// The most bytes of a signature's file.
pub const SIGNATURE_BYTES_MAX: usize = 4 << 10;
/// The most signatures of one component.
pub const SIGNATURES_MAX: usize = 16;

/// Bytes of the signature itself, with its kind and the key's number.
const SIGNATURE_BYTES: usize = 2 + 8 + 64;
/// Bytes of the signature over that and the comment.
const COMMENT_SIGNATURE_BYTES: usize = 64;
/// Signed over the hash of the bytes, which is the only form that is taken.
const PREHASHED: &[u8] = b"ED";

/// Why a signature is none. The fault of who gave it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// More bytes than are read.
    #[error("a signature's file has at most {SIGNATURE_BYTES_MAX} bytes")]
    TooLong,
    /// Not what minisign writes.
    #[error(
        "this is no signature of minisign: four lines, an untrusted comment, the signature, a trusted comment and its signature"
    )]
    Malformed,
    /// The form that signs the bytes themselves.
    #[error("the signature is of minisign's legacy form; sign with `minisign -S -H`, or `portcullis sign`")]
    Legacy,
    /// A bundle of Sigstore that is none.
    #[error(transparent)]
    Sigstore(#[from] SigstoreError),
    /// It is of another kind than what it is verified by.
    #[error("a key makes no Sigstore bundle, and an identity no signature of minisign")]
    OtherKind,
    /// It was not made by this key over these bytes, or its trusted comment was changed.
    #[error("the signature is not one of key {key} over these bytes and this comment")]
    Invalid {
        /// The key.
        key: KeyId,
    },
}

/// A signature, well formed and not verified.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature {
    text: String,
    maker: Maker,
    comment: String,
}

/// Who a signature says that it was made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The key of this number: a signature of minisign.
    Key(KeyId),
    /// Whom a certificate names: a bundle of Sigstore.
    Identity(SignedIdentity),
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Maker::Key(key) => write!(f, "key {key}"),
            Maker::Identity(identity) => identity.fmt(f),
        }
    }
}

/// What a signature is verified by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prover {
    /// The key that it names.
    Key(PublicKey),
    /// The root of the certificate that names its identity.
    Root(TrustRoot),
}

/// Whether a text can be a bundle of Sigstore and no signature of minisign.
pub fn is_bundle(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

impl Signature {
    /// Who it says that it was made by.
    pub fn maker(&self) -> &Maker {
        &self.maker
    }

    /// The number of the key that it says it was made by, if it is one of minisign.
    pub fn key(&self) -> Option<KeyId> {
        match &self.maker {
            Maker::Key(key) => Some(*key),
            Maker::Identity(_) => None,
        }
    }

    /// Whom its certificate names, if it is a bundle of Sigstore.
    pub fn identity(&self) -> Option<&SignedIdentity> {
        match &self.maker {
            Maker::Key(_) => None,
            Maker::Identity(identity) => Some(identity),
        }
    }

    /// Verifies it, by what it must be verified by.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn prove(&self, prover: &Prover, bytes: &Bytes) -> Result<(), SignatureError> {
        match (prover, &self.maker) {
            (Prover::Key(key), Maker::Key(_)) => self.verify(key, bytes),
            (Prover::Root(root), Maker::Identity(_)) => {
                root.verify(&self.text, bytes).map(drop).map_err(SignatureError::from)
            }
            (Prover::Key(_), Maker::Identity(_)) | (Prover::Root(_), Maker::Key(_)) => {
                Err(SignatureError::OtherKind)
            }
        }
    }

    /// Its file.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trusted comment: text of its signer, and only once it is verified. A bundle has none.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// What the trusted comment claims: to be believed only once it is verified.
    pub fn claims(&self) -> Claims {
        Claims::read(&self.comment)
    }

    /// Verifies that the key made it over these bytes, and over its trusted comment.
    ///
    /// # Errors
    /// [`SignatureError::Invalid`], which a bundle always is: no key of minisign makes one.
    pub fn verify(&self, key: &PublicKey, bytes: &[u8]) -> Result<(), SignatureError> {
        let invalid = |_| SignatureError::Invalid { key: key.id() };
        let signature = SignatureBox::from_string(&self.text).map_err(invalid)?;
        minisign::verify(key.inner(), &signature, Cursor::new(bytes), true, false, false).map_err(invalid)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature").field("maker", &self.maker).field("comment", &self.comment).finish()
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        signature.text
    }
}

impl TryFrom<String> for Signature {
    type Error = SignatureError;

    fn try_from(text: String) -> Result<Self, SignatureError> {
        text.parse()
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        if is_bundle(text) {
            let maker = Maker::Identity(sigstore::Bundle::read(text)?.identity().clone());
            return Ok(Self { text: text.to_owned(), maker, comment: String::new() });
        }
        if text.len() > SIGNATURE_BYTES_MAX {
            return Err(SignatureError::TooLong);
        }
        let lines: Vec<&str> = text.lines().collect();
        let [_, signature, _, of_comment] = lines.as_slice() else { return Err(SignatureError::Malformed) };
        // The crate reads past the end of what is shorter.
        let bytes = decoded(signature.trim()).ok_or(SignatureError::Malformed)?;
        let of_comment = decoded(of_comment.trim()).ok_or(SignatureError::Malformed)?;
        if bytes.len() != SIGNATURE_BYTES || of_comment.len() != COMMENT_SIGNATURE_BYTES {
            return Err(SignatureError::Malformed);
        }
        let read = SignatureBox::from_string(text).map_err(|_| SignatureError::Malformed)?;
        if !bytes.starts_with(PREHASHED) {
            return Err(SignatureError::Legacy);
        }
        let number = read.keynum().try_into().map_err(|_| SignatureError::Malformed)?;
        let comment = read.trusted_comment().map_err(|_| SignatureError::Malformed)?;
        Ok(Self { text: text.to_owned(), maker: Maker::Key(KeyId::from_bytes(number)), comment })
    }
}

/// What a signer says of the bytes, in the trusted comment: `name:value`, separated by tabs, as minisign's own
/// `timestamp:` and `file:` are. What it does not know is left where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Seconds since 1970 at which it was signed.
    pub timestamp: Option<u64>,
    /// The name of the file that was signed.
    pub file: Option<String>,
    /// The package: the signature then counts for no other name.
    pub package: Option<String>,
    /// The version: the signature then counts for no other.
    pub version: Option<String>,
    /// The bytes, again: so that whoever reads the comment knows what was signed.
    pub digest: Option<PackageDigest>,
}

impl Claims {
    fn read(comment: &str) -> Self {
        let mut claims = Self::default();
        for field in comment.split('\t') {
            let Some((name, value)) = field.split_once(':') else { continue };
            match name {
                "timestamp" => claims.timestamp = value.parse().ok(),
                "file" => claims.file = Some(value.to_owned()),
                "package" => claims.package = Some(value.to_owned()),
                "version" => claims.version = Some(value.to_owned()),
                "digest" => claims.digest = value.parse().ok(),
                _ => {}
            }
        }
        claims
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timestamp, file, package, version, digest } = self;
        let clean = |text: &String| text.replace(char::is_control, "_");
        let fields = [
            timestamp.map(|seconds| format!("timestamp:{seconds}")),
            file.as_ref().map(|file| format!("file:{}", clean(file))),
            package.as_ref().map(|package| format!("package:{}", clean(package))),
            version.as_ref().map(|version| format!("version:{}", clean(version))),
            digest.map(|digest| format!("digest:{digest}")),
        ];
        let fields: Vec<String> = fields.into_iter().flatten().collect();
        f.write_str(&fields.join("\t"))
    }
}
