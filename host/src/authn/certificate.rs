//! Client certificates: which principal the settings give one to. Pure; the chain was checked by TLS.

use std::fmt;
use std::sync::Arc;

use super::refused::Refused;
use super::{Admission, Caller, Credential, local_admin};
use crate::ids::{CertificateDigest, PrincipalId};
use crate::policy::Role;

/// The certificate that a client has shown, and proved to have the key of.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its SHA-256.
    pub digest: CertificateDigest,
    /// Its names of kind DNS (RFC 5280, 4.2.1.6).
    pub dns_names: Vec<String>,
    /// Its names of kind URI, such as a SPIFFE ID.
    pub uris: Vec<String>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({})", self.digest)
    }
}

/// What of a certificate says whose it is. Its subject's common name never does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateName {
    /// One of its URIs, byte by byte.
    Uri(String),
    /// One of its DNS names, whatever the case. A wildcard is a name like others.
    Dns(String),
    /// Its SHA-256.
    Digest(CertificateDigest),
}

/// A `[[client_certificate]]` of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSettings {
    /// Which certificates.
    pub name: CertificateName,
    /// Whose they are.
    pub principal: PrincipalId,
}

impl CertificateName {
    pub(super) fn is_of(&self, certificate: &ClientCertificate) -> bool {
        match self {
            CertificateName::Uri(uri) => certificate.uris.contains(uri),
            CertificateName::Dns(name) => {
                certificate.dns_names.iter().any(|found| found.eq_ignore_ascii_case(name))
            }
            CertificateName::Digest(digest) => certificate.digest == *digest,
        }
    }
}

/// Whose certificate it is; `None`: nobody's. `role_of` says what a principal is for.
///
/// # Errors
/// [`Refused::BadCertificate`] if the settings give it to more than one.
pub(super) fn holder(
    certificate: &Arc<ClientCertificate>,
    settings: &[CertificateSettings],
    role_of: impl FnOnce(&PrincipalId) -> Role,
) -> Result<Option<Caller>, Refused> {
    let mut meant = settings.iter().filter(|entry| entry.name.is_of(certificate));
    let Some(CertificateSettings { principal, .. }) = meant.next() else { return Ok(None) };
    if meant.any(|other| other.principal != *principal) || *principal == local_admin() {
        return Err(Refused::BadCertificate);
    }
    let credential = Some(Credential::Certificate(certificate.digest.clone()));
    let certificate = Some(Arc::clone(certificate));
    let admission = Admission { credential, certificate, ..Admission::default() };
    Ok(Some(Caller::let_in(principal.clone(), role_of(principal), admission)))
}
