//! Whom the host believes beside its own keys, put in force and ended: and whether what somebody was let in by still
//! stands, which is asked of calls and answers that go on for long.

use std::sync::{Arc, PoisonError};

use super::{Host, HostError};
use crate::audit::event::{Event, ServeSettingsRead};
use crate::authn::{
    Admission, Caller, ClientCertificate, Credential, Refusal, Refused, Trust, TrustError, TrustSettings,
    local_admin,
};
use crate::ids::PrincipalId;
use crate::policy::{Principal, Standing};
use crate::text::clean;

pub use crate::audit::event::SettingsCause;

/// How much of a reason goes into the log.
const REASON_BYTES_MAX: usize = 1_000;

impl Host {
    /// Finds out who calls, by a key or token, by a certificate, or by both, which must then be of the same principal.
    /// `None`: neither says who.
    ///
    /// # Errors
    /// [`Refusal`]: nobody is let in. [`note_refusal`](Self::note_refusal) writes it down.
    pub async fn identify(
        &self,
        token: Option<&str>,
        certificate: Option<&Arc<ClientCertificate>>,
    ) -> Result<Option<Caller>, Refusal> {
        let shown = match certificate {
            Some(certificate) => {
                let in_force = self.in_force();
                let known = |name: &PrincipalId| in_force.policy.principals.get(name);
                self.access.trust().certificate_caller(certificate, known)?
            }
            None => None,
        };
        let said = match token {
            Some(token) => Some(self.authenticate(token).await?),
            None => None,
        };
        match (said, shown) {
            (Some(said), Some(shown)) if said.principal() != shown.principal() => {
                Err(Refused::TwoPrincipals.into())
            }
            // A token or key can say more than a certificate: groups, and when it ends.
            (Some(said), _) => Ok(Some(said)),
            (None, shown) => Ok(shown),
        }
    }

    /// Believes those whom the settings name, and nobody else from now on. Calls that were begun by a credential that
    /// is not believed any more are told to stop.
    ///
    /// # Errors
    /// [`TrustError`]: then nothing has changed.
    pub fn trust(&self, settings: TrustSettings) -> Result<(), TrustError> {
        let before = self.access.trust();
        let trust = Trust::new(settings, &self.access.resolver, &self.access.roots, &before)?;
        *self.access.trust.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trust);
        self.stop_what_is_not_allowed();
        self.replaced.send_replace(());
        Ok(())
    }

    /// Whom it believes.
    pub fn trusted(&self) -> Arc<Trust> {
        self.access.trust()
    }

    /// Records that the settings by which the host is served were read, or why they were refused.
    ///
    /// # Errors
    /// If the log can't be written.
    pub async fn record_serve_settings(
        &self,
        cause: SettingsCause,
        sha256: Option<String>,
        reason: Option<&str>,
    ) -> Result<(), HostError> {
        let trust = self.access.trust();
        let TrustSettings { issuers, certificates } = trust.settings();
        let read = ServeSettingsRead {
            cause,
            sha256,
            issuers: issuers.iter().map(|issuer| issuer.name.clone()).collect(),
            certificates: certificates.len() as u64,
            reason: reason.map(|reason| clean(reason, REASON_BYTES_MAX)),
            by: local_admin(),
        };
        self.log.append(Event::ServeSettingsRead(read)).await?;
        Ok(())
    }

    /// Whether somebody who was let in would be let in again now: its credential was not revoked, replaced or taken
    /// out of the settings, its time is not over, and its principal is what it was.
    pub fn still_admits(&self, caller: &Caller) -> bool {
        let admission = caller.admission();
        let Some(credential) = &admission.credential else { return true };
        let in_force = self.in_force();
        let stands = match in_force.policy.principals.get(caller.principal()) {
            Some(Principal { standing: Standing::Removed, .. }) => false,
            Some(Principal { role, .. }) => *role == caller.role(),
            None => true,
        };
        let is_held = match credential {
            Credential::Key(prefix) => in_force.keys.get(prefix).is_some(),
            Credential::Issuer(_) | Credential::Certificate(_) => {
                !self.is_revoked(caller.principal(), admission)
            }
        };
        stands && is_held && admission.expires.is_none_or(|expires| self.now() < expires)
    }

    /// Whether an admin has ended what somebody was let in by. A key that was rotated was not ended so, and one whose
    /// time is over neither: calls that were begun with it go on.
    pub(super) fn is_revoked(&self, principal: &PrincipalId, admission: &Admission) -> bool {
        match &admission.credential {
            None => false,
            Some(Credential::Key(prefix)) => self.access.was_revoked(prefix),
            Some(Credential::Issuer(name)) => !self.access.trust().believes(name),
            Some(Credential::Certificate(_)) => match &admission.certificate {
                Some(certificate) => !self.access.trust().gives(certificate, principal),
                None => true,
            },
        }
    }
}
