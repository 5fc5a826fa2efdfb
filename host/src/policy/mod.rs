//! Grants, rules and decisions: pure functions, no I/O, no clock of their own.

pub mod authorize;
pub mod grant;
pub mod parse;

pub use authorize::{AuthorizationRequest, AuthorizedCall, AuthorizedFolder, Denial, authorize};
pub use grant::{Access, AgentSelector, FilesystemRule, Grant, GrantTerms, Policy};
pub(crate) use parse::nearest;
pub use parse::{
    Diagnostic, GRANTS_FILE_BYTES_MAX, GrantEntry, GrantsFile, PathCheck, PathProblem, parse_grants,
};
