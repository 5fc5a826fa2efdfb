//! Why a credential lets nobody in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{IssuerName, KeyPrefix};

/// Why a credential lets nobody in. What the caller is told is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// It does not look like a key of a host, nor like a token.
    Malformed,
    /// There is no such key: it never was, or was rotated or revoked, or it is another host's.
    Unknown,
    /// Its time is over.
    Expired,
    /// An admin removed its principal.
    PrincipalRemoved,
    /// Its principal has another role by now.
    OtherRole,
    /// A token of an issuer that the settings do not name.
    UnknownIssuer,
    /// A token that is signed in a way, or is of a type, that its issuer's settings do not allow.
    ForbiddenAlgorithm,
    /// A token whose key its issuer does not have.
    UnknownSigningKey,
    /// A token that its issuer did not sign.
    BadSignature,
    /// A token for somebody else.
    OtherAudience,
    /// A token whose time has not begun.
    NotYetValid,
    /// A token whose claims are missing, malformed, or mean no principal or more than one role.
    BadClaims,
    /// A token without a scope that the settings ask for.
    MissingScope,
    /// A token whose issuer's keys can't be had.
    IssuerDown,
    /// A certificate that is not valid any more, or that the settings give to several principals.
    BadCertificate,
    /// A certificate of one principal, with a key or token of another.
    TwoPrincipals,
}

impl Refused {
    /// All of them.
    pub const ALL: [Refused; 16] = [
        Refused::Malformed,
        Refused::Unknown,
        Refused::Expired,
        Refused::PrincipalRemoved,
        Refused::OtherRole,
        Refused::UnknownIssuer,
        Refused::ForbiddenAlgorithm,
        Refused::UnknownSigningKey,
        Refused::BadSignature,
        Refused::OtherAudience,
        Refused::NotYetValid,
        Refused::BadClaims,
        Refused::MissingScope,
        Refused::IssuerDown,
        Refused::BadCertificate,
        Refused::TwoPrincipals,
    ];

    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Refused::Malformed => "malformed",
            Refused::Unknown => "unknown",
            Refused::Expired => "expired",
            Refused::PrincipalRemoved => "principal_removed",
            Refused::OtherRole => "other_role",
            Refused::UnknownIssuer => "unknown_issuer",
            Refused::ForbiddenAlgorithm => "forbidden_algorithm",
            Refused::UnknownSigningKey => "unknown_signing_key",
            Refused::BadSignature => "bad_signature",
            Refused::OtherAudience => "other_audience",
            Refused::NotYetValid => "not_yet_valid",
            Refused::BadClaims => "bad_claims",
            Refused::MissingScope => "missing_scope",
            Refused::IssuerDown => "issuer_down",
            Refused::BadCertificate => "bad_certificate",
            Refused::TwoPrincipals => "two_principals",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A credential that was refused: why, and which, as far as the host knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Refused,
    /// The public beginning of a key, if there is one with that.
    pub key: Option<KeyPrefix>,
    /// The issuer of a token, if the settings name it.
    pub issuer: Option<IssuerName>,
}

impl From<Refused> for Refusal {
    fn from(reason: Refused) -> Self {
        Self { reason, key: None, issuer: None }
    }
}
