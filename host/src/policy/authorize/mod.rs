//! The one decision: may this agent call this tool now, and with which powers?
//!
//! A pure function. It opens nothing, reads no clock, and knows no other module above it.

mod within;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::grant::{Access, ClockRule, FilesystemRule, Grant, Policy};
use super::rule::{OnLeak, Rule};
use super::standing::Role;
use crate::ids::{
    CallId, GrantId, GroupName, PackageDigest, PackageName, PrincipalId, Remark, Revision, SecretName,
    ToolName,
};
use crate::limits::{CallLimits, HostLimits, Limit};
use crate::package::Capability;

pub(super) use within::limit_of;
pub use within::{Loss, Stop};

/// What is asked of [`authorize`].
#[derive(Clone, Debug)]
pub struct AuthorizationRequest<'a> {
    /// The id that the call will have.
    pub call: CallId,
    /// Who asks.
    pub principal: &'a PrincipalId,
    /// The groups that its credential says it is in, beside those that grants files name it in.
    pub groups: &'a BTreeSet<GroupName>,
    /// The package that is called.
    pub package: &'a PackageName,
    /// The tool in it. The caller has checked that the package has such a tool.
    pub tool: &'a ToolName,
    /// The digest of the package that an admin approved, if any.
    pub approved: Option<PackageDigest>,
    /// What the approved component declares by its imports.
    pub declared: &'a BTreeSet<Capability>,
    /// The moment of the decision: the later of the clock and the log's last record.
    pub now: Timestamp,
    /// The host's defaults and ceilings.
    pub limits: &'a HostLimits,
}

/// The proof that a call was allowed, with exactly the powers it may use.
///
/// Only [`authorize`] makes one, and it can't be deserialised: that would be a second constructor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct AuthorizedCall {
    call: CallId,
    principal: PrincipalId,
    package: PackageName,
    digest: PackageDigest,
    tool: ToolName,
    revision: Revision,
    grants: Vec<GrantId>,
    limits: CallLimits,
    filesystem: Vec<AuthorizedFolder>,
    rules: Vec<AuthorizedRule>,
    secrets: Vec<AuthorizedSecret>,
    evidence: Evidence,
    clock: Option<AuthorizedClock>,
    next_expiry: Option<Timestamp>,
}

/// One folder that a call may use, with the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthorizedFolder {
    /// The grant it comes from.
    pub grant: GrantId,
    /// The place of the rule in the grant: the first `[[grant.filesystem]]` is 0.
    pub index: usize,
    /// The rule.
    #[serde(flatten)]
    pub rule: FilesystemRule,
}

impl AuthorizedFolder {
    /// The rule's name in the log, such as `grant 7 filesystem 0`.
    pub fn rule_name(&self) -> String {
        format!("grant {} filesystem {}", self.grant, self.index)
    }
}

/// One power beside folders that a call may use, with the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuthorizedRule {
    /// The grant it comes from.
    pub grant: GrantId,
    /// The place of the rule among those of its kind in the grant: the first `[[grant.http]]` is 0.
    pub index: usize,
    /// The rule.
    pub rule: Rule,
}

impl AuthorizedRule {
    /// The rule's name in the log, such as `grant 7 http 0`.
    pub fn name(&self) -> String {
        format!("grant {} {} {}", self.grant, self.rule.kind(), self.index)
    }
}

/// A coarse clock, with the grant that says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthorizedClock {
    /// The grant it comes from.
    pub grant: GrantId,
    /// The rule.
    #[serde(flatten)]
    pub rule: ClockRule,
}

impl AuthorizedClock {
    /// The rule's name in the log, such as `grant 7 clock`.
    pub fn name(&self) -> String {
        format!("grant {} clock", self.grant)
    }
}

/// A stored secret that a rule of a call names: to see it, or to use it unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthorizedSecret {
    /// Its name.
    pub name: SecretName,
    /// The revision that has set its value.
    pub revision: Revision,
    /// What is done where it is about to leave: the strictest that a rule says.
    pub on_leak: OnLeak,
}

impl AuthorizedCall {
    /// The call's id.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// Who calls.
    pub fn principal(&self) -> &PrincipalId {
        &self.principal
    }

    /// The package called.
    pub fn package(&self) -> &PackageName {
        &self.package
    }

    /// The approved bytes, and no others, may run.
    pub fn digest(&self) -> PackageDigest {
        self.digest
    }

    /// The tool called.
    pub fn tool(&self) -> &ToolName {
        &self.tool
    }

    /// The revision of the grants that allowed it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The grants that allowed it; never empty.
    pub fn grants(&self) -> &[GrantId] {
        &self.grants
    }

    /// Its bounds.
    pub fn limits(&self) -> &CallLimits {
        &self.limits
    }

    /// Its folders: one for each guest path.
    pub fn filesystem(&self) -> &[AuthorizedFolder] {
        &self.filesystem
    }

    /// Its powers beside folders, in the order of grants and of their rules.
    pub fn rules(&self) -> &[AuthorizedRule] {
        &self.rules
    }

    /// The same call with no more fuel and time than its caller has left.
    pub fn within_budget(mut self, fuel: u64, wall_time: Duration) -> Self {
        self.limits.fuel = self.limits.fuel.min(fuel);
        self.limits.wall_time = self.limits.wall_time.min(wall_time);
        self
    }

    /// Whether one of its rules lets it call other tools.
    pub fn may_invoke(&self) -> bool {
        self.rules.iter().any(|given| given.rule.capability() == Capability::Tools)
    }

    /// The stored secrets that its rules name, by name. One that was removed is not among them.
    pub fn secrets(&self) -> &[AuthorizedSecret] {
        &self.secrets
    }

    /// What its grants ask of the log.
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// How exactly it is told the time; `None` is as exactly as the host knows it.
    pub fn clock(&self) -> Option<&AuthorizedClock> {
        self.clock.as_ref()
    }

    /// The moment at which the first of its grants expires, so that it must be judged anew.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.next_expiry
    }
}

/// Why a call was not allowed. Its text is for whoever called, so it holds no words of an admin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Denial {
    /// An admin stopped everything.
    #[error("the host is frozen: an admin has stopped all calls")]
    Frozen {
        /// Why: for admins.
        because: Remark,
    },
    /// The principal was removed.
    #[error("principal {principal} was removed by an admin, and may call nothing")]
    PrincipalRemoved {
        /// It.
        principal: PrincipalId,
    },
    /// The principal is known, and is not for calling tools.
    #[error("principal {principal} is registered as {role}; only agents call tools")]
    NotAnAgent {
        /// It.
        principal: PrincipalId,
        /// What it is for.
        role: Role,
    },
    /// An admin forbade the package, or these bytes.
    #[error("package {package} is quarantined by an admin")]
    Quarantined {
        /// The package.
        package: PackageName,
        /// The bytes; `None` if all of the package is quarantined.
        digest: Option<PackageDigest>,
        /// Why: for admins.
        because: Remark,
    },
    /// The trust policy asks for signatures that the package's bytes do not have, or have no more.
    #[error("package {package} does not have the signatures that this host asks for")]
    Untrusted {
        /// The package.
        package: PackageName,
        /// Its approved bytes.
        digest: PackageDigest,
        /// What is missing: for admins.
        because: Remark,
    },
    /// The package's bytes were not approved by an admin.
    #[error("package {package} is not approved; an admin can run `portcullis package approve {package}`")]
    NotApproved {
        /// The package.
        package: PackageName,
    },
    /// No grant of the package names this agent.
    #[error("no grant of package {package} names agent {principal}")]
    NotGranted {
        /// The package.
        package: PackageName,
        /// The agent.
        principal: PrincipalId,
    },
    /// Grants name the agent, but other tools.
    #[error("the grants of package {package} for agent {principal} do not name tool {tool}")]
    ToolNotGranted {
        /// The package.
        package: PackageName,
        /// The agent.
        principal: PrincipalId,
        /// The tool.
        tool: ToolName,
    },
    /// The grants that would allow it were made for other bytes.
    #[error(
        "the grants of package {package} were made for other bytes than those approved; apply them again"
    )]
    OtherBytes {
        /// The package.
        package: PackageName,
    },
    /// The grants that would allow it have expired.
    #[error("grant {grant} expired at {expires}")]
    Expired {
        /// The grant that expired last.
        grant: GrantId,
        /// When.
        expires: Timestamp,
    },
}

/// Decides. Effective power = declared by the component ∩ granted by an admin ∩ allowed to this agent.
///
/// All grants that match add up: their folders are united (where two give the same guest path, the
/// wider access, then the larger quota wins), and each limit is the largest that a matching grant
/// gives, a grant that is silent giving the host's default; of all other rules, each counts. The clock is
/// as exact as the most exact of them allows. No limit and no quota is above the host's
/// ceiling, whatever a stored grant says.
///
/// What an admin has barred (by a freeze, a quarantine, the removal of a principal) is denied before
/// anything else is looked at.
///
/// # Errors
/// A [`Denial`] that names what is missing.
pub fn authorize(request: &AuthorizationRequest<'_>, policy: &Policy) -> Result<AuthorizedCall, Denial> {
    let barred = policy
        .bars_component(request.package, request.approved)
        .or_else(|| policy.bars_principal(request.principal));
    if let Some(denial) = barred {
        return Err(denial);
    }
    let Some(approved) = request.approved else {
        return Err(Denial::NotApproved { package: request.package.clone() });
    };
    let grants = matching(request, policy, approved)?;
    let rules = united_rules(&grants, request.declared);
    Ok(AuthorizedCall {
        call: request.call,
        principal: request.principal.clone(),
        package: request.package.clone(),
        digest: approved,
        tool: request.tool.clone(),
        revision: policy.revision,
        grants: grants.iter().map(|grant| grant.id).collect(),
        limits: united_limits(&grants, request.limits),
        filesystem: if request.declared.contains(&Capability::Filesystem) {
            united_folders(&grants, request.limits)
        } else {
            Vec::new()
        },
        secrets: named_secrets(&rules, policy),
        rules,
        evidence: Evidence::united(&grants),
        clock: united_clock(&grants),
        next_expiry: grants.iter().filter_map(|grant| grant.terms.expires).min(),
    })
}

/// The grants that allow the call: never empty. Each step narrows, and names itself if nothing is left.
fn matching<'p>(
    request: &AuthorizationRequest<'_>,
    policy: &'p Policy,
    approved: PackageDigest,
) -> Result<Vec<&'p Grant>, Denial> {
    let (package, principal, tool) = (request.package, request.principal, request.tool);
    let mut grants: Vec<&Grant> =
        policy.grants.of(package).filter(|grant| policy.names(grant, principal, request.groups)).collect();
    if grants.is_empty() {
        return Err(Denial::NotGranted { package: package.clone(), principal: principal.clone() });
    }
    grants.retain(|grant| grant.terms.tools.as_ref().is_none_or(|tools| tools.contains(tool)));
    if grants.is_empty() {
        let (package, principal, tool) = (package.clone(), principal.clone(), tool.clone());
        return Err(Denial::ToolNotGranted { package, principal, tool });
    }
    grants.retain(|grant| grant.digest == approved);
    let last_to_expire = grants
        .iter()
        .filter_map(|grant| grant.terms.expires.map(|expires| (expires, grant.id)))
        .max_by_key(|(expires, grant)| (*expires, std::cmp::Reverse(*grant)));
    grants.retain(|grant| grant.terms.expires.is_none_or(|expires| request.now < expires));
    match (grants.is_empty(), last_to_expire) {
        (false, _) => Ok(grants),
        (true, Some((expires, grant))) => Err(Denial::Expired { grant, expires }),
        (true, None) => Err(Denial::OtherBytes { package: package.clone() }),
    }
}

/// Each limit is the largest that one of the grants gives, a silent grant giving the default.
pub(super) fn united_limits(grants: &[&Grant], host: &HostLimits) -> CallLimits {
    let mut limits = CallLimits::of(host);
    for limit in Limit::ALL {
        let default = host.default_of(limit);
        let value = grants.iter().map(|grant| limit_in(grant, limit, host)).max().unwrap_or(default);
        set_limit(&mut limits, limit, value);
    }
    limits
}

/// Sets the field of a limit. Those that a grant can't set have none.
fn set_limit(limits: &mut CallLimits, limit: Limit, value: u64) {
    match limit {
        Limit::Fuel => limits.fuel = value,
        Limit::WallTime => limits.wall_time = Duration::from_millis(value),
        Limit::Memory => limits.memory = value,
        Limit::TableElements => limits.table_elements = value,
        Limit::HostCalls => limits.host_calls = value,
        Limit::CopiedBytes => limits.copied_bytes = value,
        Limit::Resources => limits.resources = value,
        Limit::Output => limits.output = value,
        Limit::Stdio => limits.stdio = value,
        Limit::Log => limits.log = value,
        Limit::OpenFiles => limits.open_files = value,
        Limit::DirectoryEntries => limits.directory_entries = value,
        Limit::RandomBytes => limits.random_bytes = value,
        Limit::HttpRequests => limits.http_requests = value,
        Limit::HttpBytesIn => limits.http_bytes_in = value,
        Limit::HttpBytesOut => limits.http_bytes_out = value,
        Limit::Connections => limits.connections = value,
        Limit::Depth => limits.depth = value,
        Limit::FanOut => limits.fan_out = value,
        Limit::Concurrency => limits.concurrency = value,
        Limit::Instances
        | Limit::Stack
        | Limit::FileBytes
        | Limit::Files
        | Limit::KvBytes
        | Limit::KvKeys
        | Limit::PackageConnections
        | Limit::PrincipalConcurrency
        | Limit::HostConcurrency
        | Limit::PrincipalQueue
        | Limit::HostQueue
        | Limit::QueueTime
        | Limit::PrincipalCallsPerMinute
        | Limit::PrincipalFuelPerHour
        | Limit::PrincipalEgressPerDay
        | Limit::PackageCallsPerMinute
        | Limit::PackageFuelPerHour
        | Limit::PackageEgressPerDay
        | Limit::Registrations
        | Limit::HostRegistrations
        | Limit::ComponentBytes
        | Limit::Functions
        | Limit::Types
        | Limit::Imports
        | Limit::Modules
        | Limit::CompileTime
        | Limit::CompileMemory
        | Limit::LoadedCode
        | Limit::PreparedSandboxes => {}
    }
}

/// One folder for each guest path, in the order of the guest paths: the rule with the wider access,
/// then the larger quota in bytes, then in files; of equals, the first.
pub(super) fn united_folders(grants: &[&Grant], host: &HostLimits) -> Vec<AuthorizedFolder> {
    let mut folders: BTreeMap<&str, AuthorizedFolder> = BTreeMap::new();
    for grant in grants {
        for (index, rule) in grant.terms.filesystem.iter().enumerate() {
            let bounded = bounded(rule, host);
            let earlier = folders.get(rule.guest_path.as_str());
            if earlier.is_none_or(|earlier| width(&bounded) > width(&earlier.rule)) {
                let folder = AuthorizedFolder { grant: grant.id, index, rule: bounded };
                folders.insert(&rule.guest_path, folder);
            }
        }
    }
    folders.into_values().collect()
}

/// The rules of all grants for what the component declares; of equals, the first.
pub(super) fn united_rules(grants: &[&Grant], declared: &BTreeSet<Capability>) -> Vec<AuthorizedRule> {
    let mut rules: Vec<AuthorizedRule> = Vec::new();
    for grant in grants {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for rule in &grant.terms.rules {
            let count = counts.entry(rule.kind()).or_default();
            let index = *count;
            *count += 1;
            let is_new = !rules.iter().any(|given| given.rule == *rule);
            if is_new && declared.contains(&rule.capability()) {
                rules.push(AuthorizedRule { grant: grant.id, index, rule: rule.clone() });
            }
        }
    }
    rules
}

/// The most exact clock that one of the grants gives, of equals the first: a grant that is silent gives the
/// exact one.
pub(super) fn united_clock(grants: &[&Grant]) -> Option<AuthorizedClock> {
    let given = |grant: &&Grant| Some(AuthorizedClock { grant: grant.id, rule: grant.terms.clock? });
    let clocks: Option<Vec<AuthorizedClock>> = grants.iter().map(given).collect();
    clocks?.into_iter().min_by_key(|clock| clock.rule)
}

/// The stored secrets that rules name.
fn named_secrets(rules: &[AuthorizedRule], policy: &Policy) -> Vec<AuthorizedSecret> {
    let mut named: BTreeMap<&SecretName, OnLeak> = BTreeMap::new();
    for (name, on_leak) in rules.iter().flat_map(|given| given.rule.secrets()) {
        let strictest = named.entry(name).or_default();
        *strictest = on_leak.max(*strictest);
    }
    let stored = |(name, on_leak): (&SecretName, OnLeak)| {
        let revision = *policy.secrets.get(name)?;
        Some(AuthorizedSecret { name: name.clone(), revision, on_leak })
    };
    named.into_iter().filter_map(stored).collect()
}

/// The rule with quotas that are not above the host's ceilings.
pub(super) fn bounded(rule: &FilesystemRule, host: &HostLimits) -> FilesystemRule {
    FilesystemRule {
        quota_bytes: rule.quota_bytes.min(host.ceiling_of(Limit::FileBytes)),
        quota_files: rule.quota_files.min(host.ceiling_of(Limit::Files)),
        ..rule.clone()
    }
}

/// How much a rule gives, to be compared.
pub(super) fn width(rule: &FilesystemRule) -> (Access, u64, u64) {
    (rule.access, rule.quota_bytes, rule.quota_files)
}

/// The value of a limit that a grant gives.
pub(super) fn limit_in(grant: &Grant, limit: Limit, host: &HostLimits) -> u64 {
    let given = grant.terms.limits.get(&limit).copied().unwrap_or(host.default_of(limit));
    given.min(host.ceiling_of(limit))
}

#[cfg(test)]
mod tests;
