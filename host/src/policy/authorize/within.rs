//! Whether a call that runs would still be given what it has: what revocation, narrower grants, other
//! bytes and expiry mean for it. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AuthorizedCall, AuthorizedRule, AuthorizedSecret, Denial};
use crate::ids::{Revision, SecretName};
use crate::limits::{CallLimits, Limit};
use crate::policy::grant::{Access, ClockRule, FilesystemRule};

/// Why a call that was allowed must end before it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Stop {
    /// It would not be allowed any more.
    #[error("{denial}")]
    Denied {
        /// The revision that it was judged by.
        revision: Revision,
        /// Why not.
        denial: Denial,
    },
    /// It would be given less than it has.
    #[error("what was granted became less: {lost}")]
    Narrowed {
        /// The revision that it was judged by.
        revision: Revision,
        /// The first power that it would not be given.
        lost: Loss,
    },
    /// What it was begun with lets nobody in any more: an admin revoked the key, or the settings no longer name the
    /// issuer or the certificate.
    #[error("the credential that the call was begun with was revoked")]
    CredentialRevoked {
        /// The revision that it was judged by.
        revision: Revision,
    },
}

/// A power that a call has and would not be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[serde(tag = "power", rename_all = "snake_case")]
pub enum Loss {
    /// To be this call at all: other bytes are approved, or it is another principal's or tool's.
    #[error("other bytes are approved")]
    Call,
    /// A folder.
    #[error("{guest_path} is not granted any more, or is another folder")]
    Folder {
        /// Where the guest sees it.
        guest_path: String,
    },
    /// To write in a folder.
    #[error("{guest_path} may only be read")]
    Write {
        /// Where the guest sees it.
        guest_path: String,
    },
    /// Room in a folder.
    #[error("the {limit} of {guest_path} are {to} instead of {from}")]
    Quota {
        /// Where the guest sees it.
        guest_path: String,
        /// Bytes or entries.
        limit: Limit,
        /// What it has.
        from: u64,
        /// What it would be given.
        to: u64,
    },
    /// A rule of any other kind: it is gone, or says something else.
    #[error("no longer granted: {rule}")]
    Rule {
        /// As people read it.
        rule: String,
    },
    /// The value of a secret: it was replaced, or removed.
    #[error("secret {name} was replaced or removed")]
    Secret {
        /// Which.
        name: SecretName,
    },
    /// The exactness of the clock: it is told the time in wider steps now.
    #[error("{to}")]
    Clock {
        /// What it would be given.
        to: ClockRule,
    },
    /// A limit that is lower now.
    #[error("{limit} is {to} instead of {from}")]
    Limit {
        /// Which.
        limit: Limit,
        /// What it has.
        from: u64,
        /// What it would be given.
        to: u64,
    },
}

impl AuthorizedCall {
    /// Whether everything that this call may do, `now` allows as well. Grants' numbers do not matter, nor
    /// what `now` allows beyond that.
    pub fn is_within(&self, now: &AuthorizedCall) -> bool {
        self.first_loss(now).is_none()
    }

    /// The first power of this call that `now` does not have.
    pub fn first_loss(&self, now: &AuthorizedCall) -> Option<Loss> {
        let who_what = |call: &AuthorizedCall| {
            (call.principal.clone(), call.package.clone(), call.digest, call.tool.clone())
        };
        if who_what(self) != who_what(now) {
            return Some(Loss::Call);
        }
        let folder = |rule: &FilesystemRule| {
            let same = now.filesystem.iter().find(|given| given.rule.guest_path == rule.guest_path);
            folder_loss(rule, same.map(|given| &given.rule))
        };
        self.filesystem
            .iter()
            .find_map(|held| folder(&held.rule))
            .or_else(|| {
                let is_given =
                    |held: &&AuthorizedRule| now.rules.iter().any(|given| given.rule.covers(&held.rule));
                let lost = self.rules.iter().find(|held| !is_given(held))?;
                Some(Loss::Rule { rule: lost.rule.told().into_owned() })
            })
            .or_else(|| {
                let is_same = |held: &AuthorizedSecret| {
                    let mut given = now.secrets.iter();
                    given.any(|given| (&given.name, given.revision) == (&held.name, held.revision))
                };
                let lost = self.secrets.iter().find(|held| !is_same(held))?;
                Some(Loss::Secret { name: lost.name.clone() })
            })
            .or_else(|| {
                let (held, given) = (&self.clock, now.clock.as_ref()?);
                let is_coarser = held.as_ref().is_none_or(|held| held.rule < given.rule);
                is_coarser.then_some(Loss::Clock { to: given.rule })
            })
            .or_else(|| limit_loss(&self.limits, &now.limits))
    }
}

fn folder_loss(held: &FilesystemRule, given: Option<&FilesystemRule>) -> Option<Loss> {
    let guest_path = held.guest_path.clone();
    let Some(given) = given.filter(|given| given.host_path == held.host_path) else {
        return Some(Loss::Folder { guest_path });
    };
    match (held.access, given.access) {
        (Access::Read, Access::Read | Access::ReadWrite) => None,
        (Access::ReadWrite, Access::Read) => Some(Loss::Write { guest_path }),
        (Access::ReadWrite, Access::ReadWrite) => {
            let quotas = [
                (Limit::FileBytes, held.quota_bytes, given.quota_bytes),
                (Limit::Files, held.quota_files, given.quota_files),
            ];
            let (limit, from, to) = quotas.into_iter().find(|(_, from, to)| to < from)?;
            Some(Loss::Quota { guest_path, limit, from, to })
        }
    }
}

fn limit_loss(held: &CallLimits, given: &CallLimits) -> Option<Loss> {
    // A call that has its place keeps it: how many may run says who may begin.
    Limit::ALL.into_iter().filter(|limit| *limit != Limit::Concurrency).find_map(|limit| {
        let (from, to) = (limit_of(held, limit)?, limit_of(given, limit)?);
        (to < from).then_some(Loss::Limit { limit, from, to })
    })
}

/// The value of a limit, durations in milliseconds; `None` for those that a grant can't set.
pub(in crate::policy) fn limit_of(limits: &CallLimits, limit: Limit) -> Option<u64> {
    Some(match limit {
        Limit::Fuel => limits.fuel,
        Limit::WallTime => u64::try_from(limits.wall_time.as_millis()).unwrap_or(u64::MAX),
        Limit::Memory => limits.memory,
        Limit::TableElements => limits.table_elements,
        Limit::HostCalls => limits.host_calls,
        Limit::CopiedBytes => limits.copied_bytes,
        Limit::Resources => limits.resources,
        Limit::Output => limits.output,
        Limit::Stdio => limits.stdio,
        Limit::Log => limits.log,
        Limit::HttpRequests => limits.http_requests,
        Limit::HttpBytesIn => limits.http_bytes_in,
        Limit::HttpBytesOut => limits.http_bytes_out,
        Limit::Connections => limits.connections,
        Limit::Depth => limits.depth,
        Limit::FanOut => limits.fan_out,
        Limit::Concurrency => limits.concurrency,
        Limit::OpenFiles => limits.open_files,
        Limit::DirectoryEntries => limits.directory_entries,
        Limit::RandomBytes => limits.random_bytes,
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
        | Limit::PreparedSandboxes => return None,
    })
}
