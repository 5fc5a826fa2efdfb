//! From a request to a call that may begin: allowed, with a place, and judged anew if it had to wait for that.

use std::sync::Arc;

use super::{Claim, Found, Place};
use crate::gateway::nested::Parent;
use crate::gateway::quotas::Held;
use crate::gateway::{CallError, CallRequest, Host, InForce, not_approved};
use crate::ids::CallId;
use crate::limits::Limit;
use crate::policy::{AuthorizationRequest, AuthorizedCall, QuotaSubject, authorize};
use crate::registry::ApprovedPackage;

/// A call that is allowed.
pub(in crate::gateway) struct Allowed {
    /// What allowed it.
    pub(in crate::gateway) in_force: Arc<InForce>,
    pub(in crate::gateway) authorized: AuthorizedCall,
    pub(in crate::gateway) package: Arc<ApprovedPackage>,
}

impl Host {
    /// Judges a call by what is in force now. A denial is recorded.
    pub(in crate::gateway) async fn judge_call(
        &self,
        call: CallId,
        request: &CallRequest,
        parent: Option<CallId>,
    ) -> Result<Allowed, CallError> {
        let in_force = self.in_force();
        let package = in_force.resolve(request)?;
        let declared = package.as_ref().map(|package| &package.description.capabilities);
        let decision = authorize(
            &AuthorizationRequest {
                call,
                principal: &request.principal,
                groups: &request.admission.groups,
                package: &request.package,
                tool: &request.tool,
                approved: package.as_ref().map(|package| package.digest),
                declared: declared.unwrap_or(&Default::default()),
                now: self.now(),
                limits: &self.limits,
            },
            &in_force.policy,
        );
        match (decision, package) {
            (Ok(authorized), Some(package)) => Ok(Allowed { in_force, authorized, package }),
            (Ok(_), None) => {
                let denial = not_approved(request);
                Err(self.denied(call, request, parent, &in_force, None, denial).await?)
            }
            (Err(denial), package) => {
                let digest = package.map(|package| package.digest);
                Err(self.denied(call, request, parent, &in_force, digest, denial).await?)
            }
        }
    }

    /// Judges a call and finds it a place, after its turn in the queue if there is none. While it waits, each change of
    /// what is in force judges it anew, and so does its turn: it begins by what is in force then, or not at all.
    pub(in crate::gateway) async fn admit(
        &self,
        call: CallId,
        request: &CallRequest,
        parent: Option<&Parent<'_>>,
    ) -> Result<(Allowed, Place, Held), CallError> {
        let (allowed, place) = self.find_place(call, request, parent).await?;
        let Allowed { in_force, authorized, package: _ } = &allowed;
        let held = self.hold_quotas(request, authorized, in_force, parent.is_some(), place.spent())?;
        Ok((allowed, place, held))
    }

    async fn find_place(
        &self,
        call: CallId,
        request: &CallRequest,
        parent: Option<&Parent<'_>>,
    ) -> Result<(Allowed, Place), CallError> {
        let parent_id = parent.map(|parent| parent.call);
        let mut allowed = self.judge_call(call, request, parent_id).await?;
        let claim = self.claim(&allowed);
        let found = if parent.is_some() {
            self.admission.take(claim).map(Found::Place)
        } else {
            self.admission.ask(claim)
        };
        // With a place, they are asked when they are held. Without, nobody need wait for one in vain.
        if !matches!(found, Ok(Found::Place(_))) {
            self.check_quotas(request, &allowed.authorized, &allowed.in_force, parent.is_some())?;
        }
        let mut waiting = match found.map_err(|busy| self.busy(request, busy))? {
            Found::Place(place) => return Ok((allowed, place)),
            Found::Waiting(waiting) => waiting,
        };
        let mut replaced = self.replaced.subscribe();
        let place = loop {
            if !Arc::ptr_eq(&allowed.in_force, &self.in_force()) {
                allowed = self.judge_call(call, request, parent_id).await?;
            }
            tokio::select! {
                biased;
                place = waiting.place() => break place.map_err(|busy| self.busy(request, busy))?,
                Ok(()) = replaced.changed() => {}
            }
        };
        // What allowed it may have been for a time that is over.
        allowed = self.judge_call(call, request, parent_id).await?;
        Ok((allowed, place))
    }

    fn claim(&self, Allowed { in_force, authorized, package: _ }: &Allowed) -> Claim {
        let (principal, package) = (authorized.principal().clone(), authorized.package().clone());
        let of_principal = in_force.policy.quotas_of(&QuotaSubject::Principal(principal.clone()));
        let of_package = in_force.policy.quotas_of(&QuotaSubject::Package(package.clone()));
        let principal_max = self.limits.ceiling_of(Limit::PrincipalConcurrency);
        Claim {
            principal,
            package,
            weight: of_principal.weight.unwrap_or_default(),
            package_weight: of_package.weight.unwrap_or_default(),
            principal_max: of_principal.concurrency.unwrap_or(principal_max),
            package_max: authorized.limits().concurrency.min(of_package.concurrency.unwrap_or(u64::MAX)),
        }
    }
}
