//! Checked names and numbers, each a type of its own.
//!
//! Parsing is the only way in, so a value of these types is always valid. This
//! module never touches files, clocks or the network.

mod alike;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use alike::{Names, are_alike};

/// Why a text is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {rule}")]
pub struct IdError {
    kind: &'static str,
    rule: &'static str,
    /// The text as given, cut to 80 characters.
    text: String,
}

impl IdError {
    fn new(kind: &'static str, rule: &'static str, text: &str) -> Self {
        Self { kind, rule, text: text.chars().take(80).collect() }
    }
}

/// The JSON Schema of a type that is written as text: its rule in words, and as a pattern (ECMA 262). What a pattern
/// can't say, such as a bound in bytes, the rule does.
macro_rules! text_schema {
    ($name:ident, $rule:expr, $pattern:expr) => {
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $rule, "pattern": $pattern })
            }
        }
    };
}
pub(crate) use text_schema;

/// Declares a newtype over a `String` that can only be made by its check.
macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $pattern:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        text_schema!($name, $rule, $pattern);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError::new($kind, $rule, text))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

/// 1 to `max` bytes, an ASCII letter or digit first, then those or `extra`.
fn is_name(text: &str, max: usize, upper: bool, extra: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let letter = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || (upper && b.is_ascii_uppercase());
    (1..=max).contains(&bytes.len())
        && bytes.first().is_some_and(letter)
        && bytes.iter().all(|b| letter(b) || extra.contains(b))
}

checked_name!(
    /// A package's name: what grants, calls and the log call it.
    ///
    /// 1 to 64 of `a-z`, `0-9` and `-`, not beginning with `-`. No underscore, so
    /// that `package__tool` splits in one way only.
    PackageName,
    "package name",
    "use 1 to 64 of a-z, 0-9 and '-', beginning with a letter or digit",
    r"^[a-z0-9][a-z0-9-]{0,63}$",
    |text| is_name(text, 64, false, b"-")
);

checked_name!(
    /// A tool's name within its package.
    ///
    /// 1 to 64 of `A-Z`, `a-z`, `0-9`, `_` and `-`, beginning with a letter or digit: what every
    /// model's API accepts.
    ToolName,
    "tool name",
    "use 1 to 64 of A-Z, a-z, 0-9, '_' and '-', beginning with a letter or digit",
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
    |text| is_name(text, 64, true, b"_-")
);

checked_name!(
    /// The name of a principal: an agent, admin, auditor or author.
    ///
    /// 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_`, `@` and `-`, beginning with a letter or digit.
    PrincipalId,
    "principal name",
    "use 1 to 64 of A-Z, a-z, 0-9, '.', '_', '@' and '-', beginning with a letter or digit",
    r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$",
    |text| is_name(text, 64, true, b"._@-")
);

checked_name!(
    /// The name of a group of agents; written `group:NAME` in a grant.
    GroupName,
    "group name",
    "use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    |text| is_name(text, 64, true, b"._-")
);

checked_name!(
    /// The name of an issuer of tokens in the host's settings: what principals of its tokens begin with, and what the
    /// log calls it.
    ///
    /// 1 to 32 of `a-z`, `0-9` and `-`, beginning with a letter or digit.
    IssuerName,
    "issuer name",
    "use 1 to 32 of a-z, 0-9 and '-', beginning with a letter or digit",
    r"^[a-z0-9][a-z0-9-]{0,31}$",
    |text| is_name(text, 32, false, b"-")
);

checked_name!(
    /// The SHA-256 of a certificate (DER): 64 hex digits, in lower case.
    CertificateDigest,
    "certificate digest",
    "write the 64 hex digits of its SHA-256, in lower case and without colons",
    r"^[0-9a-f]{64}$",
    |text| text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
);

checked_name!(
    /// The name of a stored secret: what grants and the log call it.
    ///
    /// 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`, beginning with a letter or digit.
    SecretName,
    "secret name",
    "use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
    r"^[a-z0-9][a-z0-9._-]{0,63}$",
    |text| is_name(text, 64, false, b"._-")
);

checked_name!(
    /// The public beginning of an API key: what the log and people call it.
    ///
    /// `pcl_` and 12 lower-case hex digits.
    KeyPrefix,
    "beginning of an API key",
    "write pcl_ and 12 hex digits, as `portcullis key list` shows it",
    r"^pcl_[0-9a-f]{12}$",
    |text| text.strip_prefix("pcl_").is_some_and(|rest| {
        rest.len() == 12 && rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
);

checked_name!(
    /// The name of something outside that follows the log: where records are shipped to, or checkpoints anchored.
    ///
    /// 1 to 64 of `a-z`, `0-9` and `-`, beginning with a letter or digit.
    OutletName,
    "name of an outlet",
    "use 1 to 64 of a-z, 0-9 and '-', beginning with a letter or digit",
    r"^[a-z0-9][a-z0-9-]{0,63}$",
    |text| is_name(text, 64, false, b"-")
);

checked_name!(
    /// The name by which a package opens a store of key-value state.
    ///
    /// 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`, beginning with a letter or digit.
    StoreName,
    "store name",
    "use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    |text| is_name(text, 64, true, b"._-")
);

checked_name!(
    /// A key in a store of key-value state, as a guest wrote it: any text but NUL characters.
    ///
    /// 1 to 1,024 bytes.
    StoreKey,
    "key",
    "use 1 to 1,024 bytes without NUL",
    r"^[^\u0000]{1,1024}$",
    |text| (1..=1_024).contains(&text.len()) && !text.contains('\0')
);

checked_name!(
    /// A few words of an admin: why something was done, or what somebody is for. Shown to admins and
    /// written to the log; agents are not shown it.
    ///
    /// 1 to 500 bytes on one line, not only spaces, without control characters.
    Remark,
    "remark",
    "write 1 to 500 bytes on one line, without control characters",
    r"^[^\u0000-\u001F\u007F-\u009F]{1,500}$",
    |text| text.len() <= 500 && !text.trim().is_empty() && !text.chars().any(char::is_control)
);

checked_name!(
    /// What makes a second request the same as the first: a caller's own text (`Idempotency-Key`).
    ///
    /// 1 to 255 printable ASCII characters.
    IdempotencyKey,
    "Idempotency-Key",
    "use 1 to 255 printable ASCII characters, such as a UUID",
    r"^[ -~]{1,255}$",
    |text| (1..=255).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
);

checked_name!(
    /// Where a call belongs in its caller's trace: a `traceparent` of W3C Trace Context, in its first version's form.
    ///
    /// `VERSION-TRACE-PARENT-FLAGS`: 2, 32, 16 and 2 lower-case hex digits; trace and parent are not all zeros, and
    /// the version is not `ff`.
    TraceParent,
    "traceparent",
    "write 00-, 32 hex digits, -, 16 hex digits, - and 2 hex digits, lower case (W3C Trace Context)",
    r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
    is_trace_parent
);

fn is_trace_parent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex =
        |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let [version, trace, parent, flags] = parts.as_slice() else { return false };
    let lengths = [version.len(), trace.len(), parent.len(), flags.len()];
    let is_something = |part: &str| part.bytes().any(|byte| byte != b'0');
    lengths == [2, 32, 16, 2]
        && parts.iter().all(is_hex)
        && *version != "ff"
        && is_something(trace)
        && is_something(parent)
}

/// The SHA-256 of a component's bytes; written `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageDigest([u8; 32]);

impl PackageDigest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits without the `sha256:` prefix: a file name.
    pub fn hex(&self) -> String {
        self.text()[DIGEST_PREFIX.len()..].to_owned()
    }

    /// Each call says its digest to the log, so that this makes one text and no more.
    fn text(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(DIGEST_PREFIX.len() + 2 * self.0.len());
        text.push_str(DIGEST_PREFIX);
        for byte in self.0 {
            text.extend([byte >> 4, byte & 0xf].map(|digit| char::from(DIGITS[usize::from(digit)])));
        }
        text
    }
}

const DIGEST_PREFIX: &str = "sha256:";

text_schema!(
    PackageDigest,
    "the SHA-256 of a component's bytes: sha256: and 64 lower-case hex digits",
    "^sha256:[0-9a-f]{64}$"
);

impl fmt::Display for PackageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for PackageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PackageDigest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError::new("package digest", "write sha256: and 64 lower-case hex digits", text);
        let hex = text.strip_prefix(DIGEST_PREFIX).ok_or_else(error)?.as_bytes();
        if hex.len() != 64 || !hex.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)) {
            return Err(error());
        }
        let nibble = |b: u8| if b.is_ascii_digit() { b - b'0' } else { b - b'a' + 10 };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for PackageDigest {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<PackageDigest> for String {
    fn from(digest: PackageDigest) -> Self {
        digest.text()
    }
}

/// One invocation of a tool: a version 7 UUID, so that ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(uuid::Uuid);

text_schema!(
    CallId,
    "a call's id: a UUID, of version 7",
    "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
);

impl CallId {
    /// A new id, unique without coordination.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CallId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        uuid::Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| IdError::new("call id", "write a UUID, as `call` printed it", text))
    }
}

/// The place of a record in the log. The first is 0; there are no gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a state of all that is in force: grants, quarantines, principals, a freeze. Each change
/// makes the next; 0 is "nothing yet".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of one grant; never used again after a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct GrantId(pub u64);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GrantId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse()
            .map(Self)
            .map_err(|_| IdError::new("grant id", "write the number that `grant list` shows", text))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_accept_what_their_rule_says_and_refuse_the_rest() {
        for good in ["a", "web-fetch", "9lives", &"x".repeat(64)] {
            assert!(good.parse::<PackageName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a/b", "..", "a\0", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<PackageName>().is_err(), "{bad}");
        }
        assert!("Read_file-2".parse::<ToolName>().is_ok());
        assert!("read.file".parse::<ToolName>().is_err());
        assert!("group:a".parse::<PrincipalId>().is_err());
        assert!("ann@example.org".parse::<PrincipalId>().is_ok());
        for good in ["k", "two words", "a/b", "\u{1b}[31m", "é\n", &"x".repeat(1_024)] {
            assert!(good.parse::<StoreKey>().is_ok(), "{good:?}");
        }
        for bad in ["", "a\0", &"x".repeat(1_025)] {
            assert!(bad.parse::<StoreKey>().is_err(), "{bad:?}");
        }
        assert!("pcl_0123456789ab".parse::<KeyPrefix>().is_ok());
        for bad in ["", "pcl_", "pcl_0123456789AB", "pcl_0123456789ab0", "abc_0123456789ab"] {
            assert!(bad.parse::<KeyPrefix>().is_err(), "{bad:?}");
        }
        assert!("default".parse::<StoreName>().is_ok());
        assert!("a/b".parse::<StoreName>().is_err());
        for good in ["x", "CVE-2026-1: reads too much", "prüfen", &"x".repeat(500)] {
            assert!(good.parse::<Remark>().is_ok(), "{good}");
        }
        for bad in ["", "  ", "two\nlines", "\u{1b}[31m", "nul\0", &"x".repeat(501)] {
            assert!(bad.parse::<Remark>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_trace_parent_is_what_w3c_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(good.parse::<TraceParent>().is_ok());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033311-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\n",
        ] {
            assert!(bad.parse::<TraceParent>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_survives_its_text_form() {
        let digest = PackageDigest::of(b"");
        let text = digest.to_string();
        assert_eq!(text, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(text.parse::<PackageDigest>(), Ok(digest));
        assert!(text.to_uppercase().parse::<PackageDigest>().is_err());
    }
}
