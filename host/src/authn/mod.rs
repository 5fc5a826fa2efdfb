//! Who is asking: from a credential to a [`Caller`].
//!
//! Credentials are: being able to open the data folder, or its owner's socket, which only the user who runs the host
//! can; API keys; tokens of issuers that the settings name; client certificates. Decides nothing about grants, and
//! reads no clock. All of it is pure but for [`Trust`], which fetches issuers' public keys.

mod caller;
mod certificate;
mod key;
mod key_set;
mod rates;
mod refused;
mod signature;
mod token;
mod tries;
mod trust;

use jiff::Timestamp;

pub use self::caller::{Admission, Caller, Credential};
pub use self::certificate::{CertificateName, CertificateSettings, ClientCertificate};
pub use self::key::{HeldKey, KeyHasher, KeyRing, KeyText};
pub use self::rates::Rates;
pub use self::refused::{Refusal, Refused};
pub use self::signature::{TokenAlgorithm, UnknownAlgorithm};
pub use self::token::{Claim, IssuerSettings, KeysAt, TOKEN_BYTES_MAX};
pub use self::tries::{Tries, TriesEntry};
pub use self::trust::{Trust, TrustError, TrustSettings};
use crate::ids::{KeyPrefix, PrincipalId};
use crate::policy::{Principal, Role, Standing};

/// The name under which the admin's own actions are recorded.
const LOCAL_ADMIN: &str = "local-admin";

/// The principal of whoever can open the data folder.
pub fn local_admin() -> PrincipalId {
    LOCAL_ADMIN.parse().expect("the constant is a valid name")
}

/// Finds out who calls with a key, at `now`. `known` is what an admin said of principals.
///
/// # Errors
/// [`Refusal`].
pub fn authenticate<'a>(
    token: &str,
    keys: &KeyRing,
    hasher: &KeyHasher,
    now: Timestamp,
    known: impl FnOnce(&PrincipalId) -> Option<&'a Principal>,
) -> Result<Caller, Refusal> {
    let refused = |reason, key: Option<&KeyPrefix>| Refusal { key: key.cloned(), ..Refusal::from(reason) };
    let Some(prefix) = key::prefix_of(token) else { return Err(refused(Refused::Malformed, None)) };
    // Made in any case, so that it takes no less time to learn that a beginning is not known.
    let hash = hasher.hash(token);
    let Some(HeldKey { key, hash: expected }) = keys.get(&prefix) else {
        return Err(refused(Refused::Unknown, None));
    };
    // Comparing hashes of blake3 takes the same time wherever they differ.
    if hash != *expected {
        return Err(refused(Refused::Unknown, Some(&prefix)));
    }
    if key.expires.is_some_and(|expires| expires <= now) {
        return Err(refused(Refused::Expired, Some(&prefix)));
    }
    // One that only grants name is an agent.
    stands(known(&key.principal), key.role, Role::Agent).map_err(|reason| refused(reason, Some(&prefix)))?;
    let credential = Some(Credential::Key(prefix));
    let admission = Admission { credential, expires: key.expires, ..Admission::default() };
    Ok(Caller::let_in(key.principal.clone(), key.role, admission))
}

/// Whether a principal is what its credential says. `otherwise` is what one is of which nothing was said.
fn stands(known: Option<&Principal>, role: Role, otherwise: Role) -> Result<(), Refused> {
    match known {
        Some(Principal { standing: Standing::Removed, .. }) => Err(Refused::PrincipalRemoved),
        Some(Principal { role: is, .. }) if *is != role => Err(Refused::OtherRole),
        None if role != otherwise => Err(Refused::OtherRole),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
