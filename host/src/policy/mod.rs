//! Grants, rules and decisions: pure functions, no I/O, no clock of their own.

pub(crate) mod agents;
pub mod authorize;
pub mod diff;
pub mod evidence;
pub mod grant;
pub mod manifest;
pub mod names;
pub mod parse;
pub mod quotas;
pub mod rule;
pub mod standing;
pub mod trust;

pub use authorize::{
    AuthorizationRequest, AuthorizedCall, AuthorizedClock, AuthorizedFolder, AuthorizedRule,
    AuthorizedSecret, Denial, Loss, Stop, authorize,
};
pub use evidence::{Durability, Evidence};
pub use grant::{
    Access, AgentSelector, CLOCK_RESOLUTION_MS_MAX, ClockRule, FilesystemRule, Grant, GrantTerms, Grants,
    Policy,
};
pub use manifest::{Ask, Asked, MANIFEST_BYTES_MAX, MANIFEST_VERSION, Manifest, ManifestError, Mismatch};
pub(crate) use parse::nearest;
pub use parse::{
    AgentPlace, Diagnostic, GRANTS_FILE_BYTES_MAX, GrantEntry, GrantsFile, NamePlace, PathCheck, PathProblem,
    SecretPlace, manifest_schema, parse_grants, parse_grants_within, parse_host_limits, parse_manifest,
    parse_size, parse_trust,
};
pub use quotas::{QuotaError, QuotaSubject, Quotas, QuotasChange, Resource};
pub use rule::{
    ArgumentsRule, BasicUser, DnsRule, HostPattern, HostPatternError, HttpMethod, HttpMethodError,
    HttpMismatch, HttpRule, InjectError, InjectedHeader, Injection, InvokeRule, KeyvalueRule, OnLeak,
    PathPattern, PathPatternError, QueryKey, Rule, Scheme, SecretRule, Setting, SocketRule, StoreScope,
    Template, TemplateError, UrlHost,
};
pub use standing::{Distrusted, Freeze, Principal, Quarantine, Role, Standing};
pub use trust::{
    Change, Changed, Distrust, Side, SignatureFact, SignatureStanding, SignedComponent, TrustPolicy,
    TrustRule, TrustedIdentity, TrustedKey, Uncovered, UpgradeDiff, changes, valid_signers,
};
