//! Tokens of issuers (JWT, RFC 7519, used as RFC 9068 and the best practice of RFC 8725 say): what an issuer may say,
//! and what a token of it means. Pure: keys and the time are given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Header, Validation, dangerous, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::refused::Refused;
use super::signature::{self, TokenAlgorithm};
use super::{Admission, Caller, Credential, local_admin};
use crate::egress::CanonicalUrl;
use crate::ids::{GroupName, IssuerName, PrincipalId};
use crate::policy::Role;

/// The most bytes of a token: 8 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The most values of one claim that are looked at.
const VALUES_MAX: usize = 1_024;

/// Where an issuer's public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAt {
    /// Where the issuer's metadata says: OpenID Connect Discovery 1.0, else RFC 8414.
    Metadata,
    /// At this URL.
    Url(CanonicalUrl),
    /// In this file, which is read again when the keys are.
    File(PathBuf),
}

/// An issuer whose tokens let in, and what they may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// What the log calls it. No other has it.
    pub name: IssuerName,
    /// Its `iss`, compared byte by byte; and where its metadata is.
    pub url: CanonicalUrl,
    /// `url` as it was written, which is what tokens say.
    pub issuer: String,
    /// Whom a token must be for: one of these must be in its `aud`. Never empty.
    pub audiences: Vec<String>,
    /// Where its keys are. Default: where its metadata says.
    pub keys: KeysAt,
    /// How it may sign. Default: RS256, PS256, ES256, EdDSA.
    pub algorithms: Vec<TokenAlgorithm>,
    /// What a token's `typ` may be, in lower case and without `application/`. Default: `at+jwt` (RFC 9068).
    pub types: Vec<String>,
    /// The claim that says whom a token is about. Default: `sub`.
    pub principal_claim: Claim,
    /// What precedes its value in the principal's name; `None`: only those in `principals` are let in. Default: the
    /// issuer's name and a dot. No other issuer's begins with it.
    pub principal_prefix: Option<String>,
    /// Values whose principal has another name.
    pub principals: BTreeMap<String, PrincipalId>,
    /// The claim that says groups, and what its values mean here; others mean nothing. Default: none.
    pub groups: Option<(Claim, BTreeMap<String, GroupName>)>,
    /// The claim that says roles, and what its values mean here; others mean nothing, and none is an agent. Default:
    /// all are agents.
    pub roles: Option<(Claim, BTreeMap<String, Role>)>,
    /// The scopes that a token must have (`scope`, or `scp`). Default: none.
    pub scopes: Vec<String>,
    /// How far its clock may be from this host's. Default: 30 s.
    pub leeway: Duration,
    /// Networks that it may be reached in beside public addresses.
    pub addresses: Vec<IpNet>,
    /// A PEM file with the certificates that are believed of it. Default: the system's.
    pub roots: Option<PathBuf>,
    /// How long keys are used before they are fetched again. Default: 5 minutes.
    pub keys_fresh: Duration,
    /// How long they are used when they can't be. Default: 1 hour.
    pub keys_stale: Duration,
}

/// A claim: a name at the top of the token, or a JSON Pointer (RFC 6901) such as `/realm_access/roles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim(String);

impl Claim {
    /// `None` if it is empty.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    fn of<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&self.0) }
    }
}

/// What a token says before anything of it is believed.
#[derive(Debug)]
pub(super) struct Unproven {
    header: Header,
    /// Whose it says to be.
    pub(super) issuer: String,
}

#[derive(Deserialize)]
struct OnlyIssuer {
    iss: String,
}

/// Whether a text could be a token: three parts, which a key does not have.
pub(super) fn looks_like_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Reads what is needed to find the key that is to prove the rest.
///
/// # Errors
/// [`Refused::Malformed`]; `none` is no algorithm.
pub(super) fn unproven(token: &str) -> Result<Unproven, Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused::Malformed);
    }
    let header = decode_header(token).map_err(|_| Refused::Malformed)?;
    let OnlyIssuer { iss } = dangerous::insecure_decode_claims(token).map_err(|_| Refused::Malformed)?;
    Ok(Unproven { header, issuer: iss })
}

impl IssuerSettings {
    /// Which of its keys a token names, and how it says to be signed, if that is allowed.
    ///
    /// # Errors
    /// [`Refused::ForbiddenAlgorithm`].
    pub(super) fn key_of<'a>(
        &self,
        unproven: &'a Unproven,
    ) -> Result<(Option<&'a str>, TokenAlgorithm), Refused> {
        let header = &unproven.header;
        let algorithm =
            TokenAlgorithm::of(header.alg).filter(|algorithm| self.algorithms.contains(algorithm));
        let of_type = header.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
        let of_type = of_type.strip_prefix("application/").unwrap_or(&of_type);
        match algorithm {
            Some(algorithm) if self.types.iter().any(|known| known == of_type) => {
                Ok((header.kid.as_deref(), algorithm))
            }
            Some(_) | None => Err(Refused::ForbiddenAlgorithm),
        }
    }

    /// Who calls with a token, by one of the issuer's keys.
    ///
    /// # Errors
    /// [`Refused`]: what of it is not as the settings say.
    pub(super) fn caller(
        &self,
        token: &str,
        key: &DecodingKey,
        algorithm: TokenAlgorithm,
        now: Timestamp,
    ) -> Result<Caller, Refused> {
        signature::install();
        let mut how = Validation::new(algorithm.as_library());
        // Judged below: by the host's own time, and by what is exactly allowed.
        (how.validate_exp, how.validate_nbf, how.validate_aud) = (false, false, false);
        how.required_spec_claims.clear();
        let claims = match decode::<Map<String, Value>>(token, key, &how) {
            Ok(proven) => Value::Object(proven.claims),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {
                return Err(Refused::BadSignature);
            }
            Err(_) => return Err(Refused::Malformed),
        };
        if claims["iss"].as_str() != Some(&self.issuer) {
            return Err(Refused::UnknownIssuer);
        }
        let meant: BTreeSet<&str> = texts(&claims["aud"]).collect();
        if !self.audiences.iter().any(|audience| meant.contains(audience.as_str())) {
            return Err(Refused::OtherAudience);
        }
        let expires = self.in_time(&claims, now)?;
        let scopes: BTreeSet<&str> =
            texts(&claims["scope"]).chain(texts(&claims["scp"])).flat_map(|text| text.split(' ')).collect();
        if !self.scopes.iter().all(|scope| scopes.contains(scope.as_str())) {
            return Err(Refused::MissingScope);
        }
        let principal = self.principal(&claims).ok_or(Refused::BadClaims)?;
        let role = self.role(&claims).ok_or(Refused::BadClaims)?;
        let credential = Some(Credential::Issuer(self.name.clone()));
        let groups = match &self.groups {
            Some((claim, means)) => meanings(claim.of(&claims), means).cloned().collect(),
            None => BTreeSet::new(),
        };
        let admission = Admission { credential, groups, expires: Some(expires), ..Admission::default() };
        Ok(Caller::let_in(principal, role, admission))
    }

    /// Until when a token lets in.
    fn in_time(&self, claims: &Value, now: Timestamp) -> Result<Timestamp, Refused> {
        let leeway = self.leeway;
        let moment = |name: &str| {
            let value = claims.get(name).filter(|value| !value.is_null());
            value.map(|value| numeric_date(value).ok_or(Refused::BadClaims)).transpose()
        };
        let expires = moment("exp")?.ok_or(Refused::BadClaims)?;
        let expires = expires.checked_add(leeway).map_err(|_| Refused::BadClaims)?;
        if expires <= now {
            return Err(Refused::Expired);
        }
        let soon = now.checked_add(leeway).map_err(|_| Refused::BadClaims)?;
        let begins = [moment("nbf")?, moment("iat")?];
        match begins.into_iter().flatten().all(|begins| begins <= soon) {
            true => Ok(expires),
            false => Err(Refused::NotYetValid),
        }
    }

    /// The owner of the data folder is nobody whom a token can name.
    fn principal(&self, claims: &Value) -> Option<PrincipalId> {
        let value = self.principal_claim.of(claims)?.as_str().filter(|value| !value.is_empty())?;
        let principal = match (self.principals.get(value), &self.principal_prefix) {
            (Some(named), _) => named.clone(),
            (None, Some(prefix)) => format!("{prefix}{value}").parse().ok()?,
            (None, None) => return None,
        };
        (principal != local_admin()).then_some(principal)
    }

    /// The one role that the token's values mean; an agent's if they mean none.
    fn role(&self, claims: &Value) -> Option<Role> {
        let Some((claim, means)) = &self.roles else { return Some(Role::Agent) };
        let mut meant = meanings(claim.of(claims), means).copied();
        let role = meant.next().unwrap_or(Role::Agent);
        meant.all(|other| other == role).then_some(role)
    }
}

/// What the values of a claim mean, of those that mean anything.
fn meanings<'a, T>(value: Option<&'a Value>, means: &'a BTreeMap<String, T>) -> impl Iterator<Item = &'a T> {
    value.into_iter().flat_map(texts).take(VALUES_MAX).filter_map(|text| means.get(text))
}

/// A text, or a list of texts.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    items.iter().take(VALUES_MAX).filter_map(Value::as_str)
}

/// Seconds since 1970, which may have a fraction (RFC 7519, 2).
fn numeric_date(value: &Value) -> Option<Timestamp> {
    if let Some(seconds) = value.as_i64() {
        return Timestamp::from_second(seconds).ok();
    }
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite())?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is out of range saturates, and is refused then"
    )]
    Timestamp::from_second(seconds.floor() as i64).ok()
}
