//! What an agent is told when its call gives no answer: no more of the host than it needs.
//!
//! An agent learns nothing of packages that it is not granted, not even whether there are any; nothing of an
//! admin's words; and nothing of the host's machine.

use std::fmt;

use super::problem::{ErrorKind, Problem};
use crate::gateway::{Blame, CallError};
use crate::policy::Denial;

/// There is no such tool, or none for this agent: it is told the same.
pub(super) fn unknown(tool: &impl fmt::Display) -> Problem {
    Problem::new(ErrorKind::NotFound, format!("there is no {tool} for you"), Blame::Admin)
}

/// The problem as an agent is told it; `tool` as it asked for it.
pub(super) fn problem(error: CallError, tool: &impl fmt::Display) -> Problem {
    let is_unknown = match &error {
        CallError::NotFound(_) => true,
        CallError::Denied { denial, .. } => is_of_what_it_lacks(denial),
        CallError::Busy(_)
        | CallError::Quota(_)
        | CallError::Failed { .. }
        | CallError::Log(_)
        | CallError::DiskLow(_)
        | CallError::Host(_) => false,
    };
    if is_unknown {
        return unknown(tool);
    }
    veiled(error.into())
}

/// A problem without what is for admins only.
pub(super) fn veiled(mut problem: Problem) -> Problem {
    // They hold an admin's words, and how the host is set up.
    (problem.denial, problem.stop) = (None, None);
    match problem.kind {
        ErrorKind::HostFault | ErrorKind::LogUnavailable | ErrorKind::DiskLow | ErrorKind::GrantUnusable => {
            problem.detail = problem.title.clone()
        }
        ErrorKind::BadInput
        | ErrorKind::NotFound
        | ErrorKind::MethodNotAllowed
        | ErrorKind::TooLarge
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::TooSlow
        | ErrorKind::Conflict
        | ErrorKind::InvalidPackage
        | ErrorKind::InvalidGrants
        | ErrorKind::InvalidSettings
        | ErrorKind::Denied
        | ErrorKind::Stopped
        | ErrorKind::Cancelled
        | ErrorKind::Unauthenticated
        | ErrorKind::Forbidden
        | ErrorKind::TooManyRequests
        | ErrorKind::Interrupted
        | ErrorKind::Gone
        | ErrorKind::KeyInUse
        | ErrorKind::KeyReused
        | ErrorKind::LimitReached
        | ErrorKind::ToolError
        | ErrorKind::Withheld
        | ErrorKind::Busy => {}
    }
    problem
}

/// Whether a denial says that there is something that the agent was not given. Quarantine is judged before grants, so
/// it is told to nobody: who was granted the package sees that it is no longer listed.
fn is_of_what_it_lacks(denial: &Denial) -> bool {
    match denial {
        Denial::NotApproved { .. }
        | Denial::NotGranted { .. }
        | Denial::ToolNotGranted { .. }
        | Denial::Quarantined { .. } => true,
        Denial::Frozen { .. }
        | Denial::PrincipalRemoved { .. }
        | Denial::NotAnAgent { .. }
        | Denial::OtherBytes { .. }
        | Denial::Expired { .. } => false,
    }
}
