//! Commitments: what a call asked and answered, so that it can be proved to whoever is shown it, and not guessed
//! by whoever is not.
//!
//! A commitment is HMAC-SHA256 under the call's salt over a domain and the canonical text of a JSON value. The
//! salt is in no record; an [`Opening`] gives it to whoever may see the call.

use std::fmt;
use std::io;
use std::str::FromStr;

use hmac::{Hmac, Mac as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;

use super::receipt::VerifiedReceipt;
use crate::ids::{CallId, text_schema};
use crate::secrets::{PayloadKind, Salt};

/// What the form of an opening of this version is called.
pub const OPENING_FORMAT: &str = "portcullis-opening/1";

/// The most bytes of an opening.
pub const OPENING_BYTES_MAX: usize = 64 << 20;

const PREFIX: &str = "hmac-sha256:";

/// A commitment to a JSON value; written `hmac-sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commitment([u8; 32]);

text_schema!(
    Commitment,
    "a commitment: hmac-sha256: and 64 lower-case hex digits",
    "^hmac-sha256:[0-9a-f]{64}$"
);

/// What a call's first record says of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The commitment.
    pub commitment: Commitment,
    /// The number of the key that the salt is made of.
    pub key: u64,
}

/// A text that is no commitment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a commitment is hmac-sha256: and 64 lower-case hex digits")]
pub struct NoCommitment;

impl Commitment {
    /// The commitment to a value.
    pub fn to(salt: &Salt, kind: PayloadKind, value: &Value) -> Self {
        let mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(salt.expose());
        let mut mac = MacWriter(mac.expect("any length is a key of HMAC"));
        mac.0.update(b"portcullis ");
        mac.0.update(kind.name().as_bytes());
        mac.0.update(b"\n");
        write_canonical(&mut mac, value).expect("writing to a MAC does not fail, and values serialise");
        Self(mac.0.finalize().into_bytes().into())
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Commitment {
    type Err = NoCommitment;

    fn from_str(text: &str) -> Result<Self, NoCommitment> {
        let salt = text.strip_prefix(PREFIX).and_then(|hex| Salt::try_from(hex.to_owned()).ok());
        salt.map(|bytes| Self(*bytes.expose())).ok_or(NoCommitment)
    }
}

impl TryFrom<String> for Commitment {
    type Error = NoCommitment;

    fn try_from(text: String) -> Result<Self, NoCommitment> {
        text.parse()
    }
}

impl From<Commitment> for String {
    fn from(commitment: Commitment) -> Self {
        commitment.to_string()
    }
}

struct MacWriter(Hmac<Sha256>);

impl io::Write for MacWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The canonical text of a value: no spaces, members in the order of their names' bytes, numbers and texts as
/// `serde_json` writes them.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    write_canonical(&mut text, value).expect("writing to memory does not fail, and values serialise");
    text
}

/// Nested as deep as the value is; those of requests and of files end at 128 (`serde_json`).
fn write_canonical(out: &mut impl io::Write, value: &Value) -> io::Result<()> {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| name.as_bytes());
            out.write_all(b"{")?;
            for (at, (name, member)) in members.into_iter().enumerate() {
                out.write_all(if at == 0 { b"" } else { b"," })?;
                serde_json::to_writer(&mut *out, name)?;
                out.write_all(b":")?;
                write_canonical(out, member)?;
            }
            out.write_all(b"}")
        }
        Value::Array(items) => {
            out.write_all(b"[")?;
            for (at, item) in items.iter().enumerate() {
                out.write_all(if at == 0 { b"" } else { b"," })?;
                write_canonical(out, item)?;
            }
            out.write_all(b"]")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Ok(serde_json::to_writer(out, value)?)
        }
    }
}

/// The private part of a receipt: what opens the commitments of its call, for whoever may see what it asked and
/// answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// [`OPENING_FORMAT`].
    pub format: String,
    /// The call.
    pub call: CallId,
    /// The salt of its commitments.
    pub salt: Salt,
    /// What it asked, if a grant has kept it whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<KeptPayload>,
    /// What it answered, if a grant has kept it whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<KeptPayload>,
}

/// What was kept whole of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptPayload {
    /// It.
    pub value: Value,
    /// Whether a secret of the call was in it, in whose place a mark stands: the commitment is to what was there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// Why an opening does not open a receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// Not an opening.
    #[error("this is not the private part of a receipt: {0}")]
    Malformed(String),
    /// Of another call.
    #[error("it opens call {found}, and the receipt is of {expected}")]
    OtherCall {
        /// What it says.
        found: CallId,
        /// The receipt's.
        expected: CallId,
    },
    /// The call committed to nothing of that kind.
    #[error("the call has no commitment to its {}", kind.name())]
    NoCommitment {
        /// Of which.
        kind: PayloadKind,
    },
    /// What is shown is not what was committed to.
    #[error("the {} that are shown are not those of the call, or the salt is not", kind.name())]
    Other {
        /// Of which.
        kind: PayloadKind,
    },
    /// Nothing was shown.
    #[error("there is nothing to hold against the commitments: give what the call asked or answered")]
    Nothing,
}

/// What was found to be what the call asked and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Opened {
    /// The arguments are those of the call.
    pub arguments: bool,
    /// The result is that of the call.
    pub result: bool,
}

/// Holds what somebody was shown, or what the opening has of it, against a verified receipt.
///
/// # Errors
/// [`OpeningError`]: what does not fit.
pub fn verify_opening(
    receipt: &VerifiedReceipt,
    opening: &[u8],
    arguments: Option<&Value>,
    result: Option<&Value>,
) -> Result<Opened, OpeningError> {
    let malformed = |reason: String| OpeningError::Malformed(reason);
    if opening.len() > OPENING_BYTES_MAX {
        return Err(malformed(format!("it has more than {OPENING_BYTES_MAX} bytes")));
    }
    let opening: Opening = serde_json::from_slice(opening).map_err(|error| malformed(error.to_string()))?;
    if opening.format != OPENING_FORMAT {
        return Err(malformed(format!("its form is not {OPENING_FORMAT}")));
    }
    if opening.call != receipt.call {
        return Err(OpeningError::OtherCall { found: opening.call, expected: receipt.call });
    }
    let mut opened = Opened::default();
    let facts = &receipt.facts;
    for (kind, shown, kept, commitment, is_open) in [
        (
            PayloadKind::Arguments,
            arguments,
            &opening.arguments,
            facts.arguments_commitment,
            &mut opened.arguments,
        ),
        (PayloadKind::Result, result, &opening.result, facts.result_commitment, &mut opened.result),
    ] {
        let kept = kept.as_ref().filter(|kept| !kept.redacted).map(|kept| &kept.value);
        for value in [shown, kept].into_iter().flatten() {
            let commitment = commitment.ok_or(OpeningError::NoCommitment { kind })?;
            if Commitment::to(&opening.salt, kind, value) != commitment {
                return Err(OpeningError::Other { kind });
            }
            *is_open = true;
        }
    }
    if opened == Opened::default() { Err(OpeningError::Nothing) } else { Ok(opened) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What `openssl dgst -sha256 -mac HMAC -macopt hexkey:…` says of the same bytes.
    #[test]
    fn a_commitment_is_a_plain_hmac_of_canonical_json() {
        let value: Value =
            serde_json::from_str(r#"{ "b": [1, 2.5, "é\n"], "a": {"z": null, "y": true} }"#).expect("JSON");
        assert_eq!(
            String::from_utf8(canonical(&value)).expect("text"),
            r#"{"a":{"y":true,"z":null},"b":[1,2.5,"é\n"]}"#
        );
        let salt = Salt::try_from("00".repeat(32)).expect("a salt");
        let of = |kind, value: &Value| Commitment::to(&salt, kind, value).to_string();
        insta::assert_snapshot!(of(PayloadKind::Arguments, &json!({})), @"hmac-sha256:be10220c91fc92184da359a222d60fe572582af9d60c062439ff3ec6e0f05608");
        assert_ne!(of(PayloadKind::Arguments, &value), of(PayloadKind::Result, &value));
        assert_ne!(
            of(PayloadKind::Arguments, &json!({"n": 9_007_199_254_740_993_u64})),
            of(PayloadKind::Arguments, &json!({"n": 9_007_199_254_740_992_u64}))
        );
        let text = of(PayloadKind::Result, &value);
        assert_eq!(text.parse::<Commitment>().expect("its own form").to_string(), text);
        assert!(text.to_uppercase().parse::<Commitment>().is_err());
    }
}
