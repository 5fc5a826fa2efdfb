//! Errors as RFC 9457 problem documents: a closed list of kinds, each with its status.
//!
//! Only translates. What went wrong, and whose fault it is, was decided where it happened.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::query::ReadError;
use crate::backup::BackupError;
use crate::database::{ChangeError, DatabaseError};
use crate::gateway::{AccessError, Blame, CallError, CallReport, EvidenceError, HostError, QuotaReached};
use crate::ids::CallId;
use crate::limits::LimitReached;
use crate::policy::{Denial, Diagnostic, Stop};
use crate::registry::RegistryError;
use crate::sandbox::{InvokeError, PackageError};
use crate::secrets::{EvidenceKeyError, SecretsError};

/// What kinds of errors there are. Closed and stable: clients match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ErrorKind {
    /// The request, or the arguments of a call, are not what they should be.
    #[serde(rename = "urn:portcullis:error:bad-input")]
    BadInput,
    /// There is no such package, tool, grant or route.
    #[serde(rename = "urn:portcullis:error:not-found")]
    NotFound,
    /// The route does not know this method.
    #[serde(rename = "urn:portcullis:error:method-not-allowed")]
    MethodNotAllowed,
    /// The body has too many bytes.
    #[serde(rename = "urn:portcullis:error:too-large")]
    TooLarge,
    /// The body is of a type that is not taken: `Accept` of the answer has those that are.
    #[serde(rename = "urn:portcullis:error:unsupported-media-type")]
    UnsupportedMediaType,
    /// The body did not come in time.
    #[serde(rename = "urn:portcullis:error:too-slow")]
    TooSlow,
    /// It can't be done in the present state.
    #[serde(rename = "urn:portcullis:error:conflict")]
    Conflict,
    /// The file can't be a package.
    #[serde(rename = "urn:portcullis:error:invalid-package")]
    InvalidPackage,
    /// The grants file has errors.
    #[serde(rename = "urn:portcullis:error:invalid-grants")]
    InvalidGrants,
    /// A settings file of the data folder has errors.
    #[serde(rename = "urn:portcullis:error:invalid-settings")]
    InvalidSettings,
    /// The call is not allowed.
    #[serde(rename = "urn:portcullis:error:denied")]
    Denied,
    /// What is in force changed while the call ran, so that it was ended. What it did until then is done.
    #[serde(rename = "urn:portcullis:error:stopped")]
    Stopped,
    /// Whoever waited for the call, or an admin, asked it to end. What it did until then is done.
    #[serde(rename = "urn:portcullis:error:cancelled")]
    Cancelled,
    /// Nobody is let in without a key that is valid now.
    #[serde(rename = "urn:portcullis:error:unauthenticated")]
    Unauthenticated,
    /// Whoever asks may not ask for this, or not from here.
    #[serde(rename = "urn:portcullis:error:forbidden")]
    Forbidden,
    /// Too many tries, requests or calls, or a quota is used up: the answer says when to try again.
    #[serde(rename = "urn:portcullis:error:too-many-requests")]
    TooManyRequests,
    /// The host ended before the call did. What it did until then is done, and it is not run again.
    #[serde(rename = "urn:portcullis:error:interrupted")]
    Interrupted,
    /// The call ended, and its answer is not kept any more. It is not run again.
    #[serde(rename = "urn:portcullis:error:gone")]
    Gone,
    /// The request with this Idempotency-Key goes on.
    #[serde(rename = "urn:portcullis:error:idempotency-key-in-use")]
    KeyInUse,
    /// The Idempotency-Key was used for another request.
    #[serde(rename = "urn:portcullis:error:idempotency-key-reused")]
    KeyReused,
    /// A limit ended the call.
    #[serde(rename = "urn:portcullis:error:limit-reached")]
    LimitReached,
    /// The tool failed, or said that it did.
    #[serde(rename = "urn:portcullis:error:tool-error")]
    ToolError,
    /// The answer would have given away a secret, and its grant says to refuse that.
    #[serde(rename = "urn:portcullis:error:withheld")]
    Withheld,
    /// The host does as much as it can.
    #[serde(rename = "urn:portcullis:error:busy")]
    Busy,
    /// A granted folder can't be used.
    #[serde(rename = "urn:portcullis:error:grant-unusable")]
    GrantUnusable,
    /// The log can't be written, so nothing runs.
    #[serde(rename = "urn:portcullis:error:log-unavailable")]
    LogUnavailable,
    /// The disk is low: no new calls or packages are taken.
    #[serde(rename = "urn:portcullis:error:disk-low")]
    DiskLow,
    /// The host failed.
    #[serde(rename = "urn:portcullis:error:host-fault")]
    HostFault,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [ErrorKind; 28] = [
        ErrorKind::BadInput,
        ErrorKind::NotFound,
        ErrorKind::MethodNotAllowed,
        ErrorKind::TooLarge,
        ErrorKind::UnsupportedMediaType,
        ErrorKind::TooSlow,
        ErrorKind::Conflict,
        ErrorKind::InvalidPackage,
        ErrorKind::InvalidGrants,
        ErrorKind::InvalidSettings,
        ErrorKind::Denied,
        ErrorKind::Stopped,
        ErrorKind::Cancelled,
        ErrorKind::Unauthenticated,
        ErrorKind::Forbidden,
        ErrorKind::TooManyRequests,
        ErrorKind::Interrupted,
        ErrorKind::Gone,
        ErrorKind::KeyInUse,
        ErrorKind::KeyReused,
        ErrorKind::LimitReached,
        ErrorKind::ToolError,
        ErrorKind::Withheld,
        ErrorKind::Busy,
        ErrorKind::GrantUnusable,
        ErrorKind::LogUnavailable,
        ErrorKind::DiskLow,
        ErrorKind::HostFault,
    ];

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorKind::BadInput => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorKind::TooSlow => StatusCode::REQUEST_TIMEOUT,
            ErrorKind::Conflict | ErrorKind::Cancelled | ErrorKind::KeyInUse => StatusCode::CONFLICT,
            ErrorKind::Gone => StatusCode::GONE,
            ErrorKind::InvalidPackage
            | ErrorKind::InvalidGrants
            | ErrorKind::InvalidSettings
            | ErrorKind::KeyReused
            | ErrorKind::LimitReached => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Denied | ErrorKind::Stopped | ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::ToolError | ErrorKind::Withheld => StatusCode::BAD_GATEWAY,
            ErrorKind::Busy | ErrorKind::LogUnavailable | ErrorKind::DiskLow => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorKind::Interrupted | ErrorKind::GrantUnusable | ErrorKind::HostFault => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The `type` of its documents.
    pub fn type_uri(self) -> &'static str {
        match self {
            ErrorKind::BadInput => "urn:portcullis:error:bad-input",
            ErrorKind::NotFound => "urn:portcullis:error:not-found",
            ErrorKind::MethodNotAllowed => "urn:portcullis:error:method-not-allowed",
            ErrorKind::TooLarge => "urn:portcullis:error:too-large",
            ErrorKind::UnsupportedMediaType => "urn:portcullis:error:unsupported-media-type",
            ErrorKind::TooSlow => "urn:portcullis:error:too-slow",
            ErrorKind::Conflict => "urn:portcullis:error:conflict",
            ErrorKind::InvalidPackage => "urn:portcullis:error:invalid-package",
            ErrorKind::InvalidGrants => "urn:portcullis:error:invalid-grants",
            ErrorKind::InvalidSettings => "urn:portcullis:error:invalid-settings",
            ErrorKind::Denied => "urn:portcullis:error:denied",
            ErrorKind::Stopped => "urn:portcullis:error:stopped",
            ErrorKind::Cancelled => "urn:portcullis:error:cancelled",
            ErrorKind::Unauthenticated => "urn:portcullis:error:unauthenticated",
            ErrorKind::Forbidden => "urn:portcullis:error:forbidden",
            ErrorKind::TooManyRequests => "urn:portcullis:error:too-many-requests",
            ErrorKind::Interrupted => "urn:portcullis:error:interrupted",
            ErrorKind::Gone => "urn:portcullis:error:gone",
            ErrorKind::KeyInUse => "urn:portcullis:error:idempotency-key-in-use",
            ErrorKind::KeyReused => "urn:portcullis:error:idempotency-key-reused",
            ErrorKind::LimitReached => "urn:portcullis:error:limit-reached",
            ErrorKind::ToolError => "urn:portcullis:error:tool-error",
            ErrorKind::Withheld => "urn:portcullis:error:withheld",
            ErrorKind::Busy => "urn:portcullis:error:busy",
            ErrorKind::GrantUnusable => "urn:portcullis:error:grant-unusable",
            ErrorKind::LogUnavailable => "urn:portcullis:error:log-unavailable",
            ErrorKind::DiskLow => "urn:portcullis:error:disk-low",
            ErrorKind::HostFault => "urn:portcullis:error:host-fault",
        }
    }

    /// What is the same in each error of the kind.
    pub fn title(self) -> &'static str {
        match self {
            ErrorKind::BadInput => "The request is not valid",
            ErrorKind::NotFound => "There is no such thing",
            ErrorKind::MethodNotAllowed => "The method is not allowed here",
            ErrorKind::TooLarge => "The body is too large",
            ErrorKind::UnsupportedMediaType => "The body is of a type that is not taken",
            ErrorKind::TooSlow => "The body came too slowly",
            ErrorKind::Conflict => "It can't be done in the present state",
            ErrorKind::InvalidPackage => "The file can't be a package",
            ErrorKind::InvalidGrants => "The grants file has errors",
            ErrorKind::InvalidSettings => "A settings file of the data folder has errors",
            ErrorKind::Denied => "The call is not allowed",
            ErrorKind::Stopped => "The call was stopped",
            ErrorKind::Cancelled => "The call was cancelled",
            ErrorKind::Unauthenticated => "A valid key is needed",
            ErrorKind::Forbidden => "This is not allowed",
            ErrorKind::TooManyRequests => "Too many requests or calls",
            ErrorKind::Interrupted => "The call was interrupted",
            ErrorKind::Gone => "The answer is not kept any more",
            ErrorKind::KeyInUse => "The request goes on",
            ErrorKind::KeyReused => "The key was used for another request",
            ErrorKind::LimitReached => "A limit ended the call",
            ErrorKind::ToolError => "The tool failed",
            ErrorKind::Withheld => "The answer was withheld",
            ErrorKind::Busy => "The host is busy",
            ErrorKind::GrantUnusable => "A granted folder can't be used",
            ErrorKind::LogUnavailable => "The audit log can't be written",
            ErrorKind::DiskLow => "The disk is low",
            ErrorKind::HostFault => "The host failed",
        }
    }
}

/// An error as a document (RFC 9457), with members of ours. Absent members say nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The kind.
    #[serde(rename = "type")]
    pub kind: ErrorKind,
    /// What is the same in each error of the kind.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What happened this time. May hold text of a tool: untrusted.
    pub detail: String,
    /// Whose fault it is.
    pub blame: Blame,
    /// The call that it happened to: its records are in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// The limit that was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitReached>,
    /// In how many seconds it makes sense to try again: the header `Retry-After` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// What is missing for the call to be allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denial: Option<Denial>,
    /// Why a running call was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// What the tool said of its failure, as data: untrusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Each error of a grants file, with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// How the call went until it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<CallReport>>,
}

impl From<Box<Problem>> for Problem {
    fn from(problem: Box<Problem>) -> Self {
        *problem
    }
}

impl Problem {
    /// A problem with nothing but its kind, detail and blame.
    pub fn new(kind: ErrorKind, detail: impl Into<String>, blame: Blame) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            blame,
            call: None,
            limit: None,
            retry_after: None,
            denial: None,
            stop: None,
            data: None,
            diagnostics: Vec::new(),
            report: None,
        }
    }

    /// A request that is not what it should be.
    pub fn bad_input(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadInput, detail, Blame::Agent)
    }

    /// A component that has more bytes than are read.
    pub fn component_too_large(reached: LimitReached) -> Self {
        let detail = format!("the component is too large: {reached}");
        Self { limit: Some(reached), ..Self::new(ErrorKind::TooLarge, detail, Blame::Agent) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a problem is text and numbers: it always serialises");
        let mut response = (self.kind.status(), body).into_response();
        let value = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, value);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == ErrorKind::UnsupportedMediaType {
            // What would be taken (RFC 9110, 15.5.16).
            response.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        }
        response
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let (blame, detail) = (error.blame(), error.to_string());
        let new = |kind| Problem::new(kind, detail.clone(), blame);
        match error {
            CallError::NotFound(_) => new(ErrorKind::NotFound),
            CallError::Denied { call, denial } => {
                Self { call: Some(call), denial: Some(denial), ..new(ErrorKind::Denied) }
            }
            CallError::Busy(busy) => {
                let kind = if busy.is_callers_own() { ErrorKind::TooManyRequests } else { ErrorKind::Busy };
                let retry_after = Some(busy.retry_after.as_secs().max(1));
                Self { limit: Some(busy.reached), retry_after, ..new(kind) }
            }
            CallError::Quota(QuotaReached { reached, retry_after }) => {
                let retry_after = Some(retry_after.as_secs().max(1));
                Self { limit: Some(reached), retry_after, ..new(ErrorKind::TooManyRequests) }
            }
            CallError::Failed { error, report } => {
                let call = Some(report.call);
                let stop = if let InvokeError::Stopped(stop) = &error { Some(stop.clone()) } else { None };
                let (kind, limit, data) = failed(error);
                Self { call, limit, stop, data, report: Some(report), ..new(kind) }
            }
            CallError::Log(_) => new(ErrorKind::LogUnavailable),
            CallError::DiskLow(_) => new(ErrorKind::DiskLow),
            CallError::Host(error) => error.into(),
        }
    }
}

fn failed(error: InvokeError) -> (ErrorKind, Option<LimitReached>, Option<Value>) {
    match error {
        InvokeError::Arguments(_) => (ErrorKind::BadInput, None, None),
        InvokeError::LimitReached(reached) => (ErrorKind::LimitReached, Some(reached), None),
        InvokeError::Tool { data, .. } => (ErrorKind::ToolError, None, data),
        InvokeError::Crashed(_) => (ErrorKind::ToolError, None, None),
        InvokeError::Withheld { .. } => (ErrorKind::Withheld, None, None),
        InvokeError::Stopped(_) => (ErrorKind::Stopped, None, None),
        InvokeError::Cancelled => (ErrorKind::Cancelled, None, None),
        InvokeError::Busy => (ErrorKind::Busy, None, None),
        InvokeError::Grant(_) => (ErrorKind::GrantUnusable, None, None),
        InvokeError::Log(_) => (ErrorKind::LogUnavailable, None, None),
        InvokeError::Host(_) => (ErrorKind::HostFault, None, None),
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        let (blame, detail) = (error.blame(), error.to_string());
        let kind = kind_of(&error);
        let problem = Problem::new(kind, detail, blame);
        match error {
            HostError::Package(PackageError::TooLarge(reached)) | HostError::Busy(reached) => {
                Self { limit: Some(reached), ..problem }
            }
            HostError::Grants { diagnostics, .. }
            | HostError::TrustFile { diagnostics, .. }
            | HostError::Change(ChangeError::File(diagnostics)) => Self { diagnostics, ..problem },
            HostError::Denied(denial) => Self { denial: Some(denial), ..problem },
            HostError::Package(_)
            | HostError::NotRunning { .. }
            | HostError::NotTrusted(_)
            | HostError::Signature(_)
            | HostError::Downgrade { .. }
            | HostError::Outdated { .. }
            | HostError::Wider { .. }
            | HostError::Key(_)
            | HostError::Folder(_)
            | HostError::Owned { .. }
            | HostError::Outlet(_)
            | HostError::Log(_)
            | HostError::Read(_)
            | HostError::Database(_)
            | HostError::Registry(_)
            | HostError::Sandbox(_)
            | HostError::Naming(_)
            | HostError::DiskLow(_)
            | HostError::Backup(_)
            | HostError::Secrets(_)
            | HostError::Occupied(_)
            | HostError::Evidence(_)
            | HostError::Access(_)
            | HostError::Quota(_)
            | HostError::Change(_) => problem,
        }
    }
}

fn kind_of(error: &HostError) -> ErrorKind {
    match error {
        HostError::Outlet(_) => ErrorKind::InvalidSettings,
        HostError::Log(_) => ErrorKind::LogUnavailable,
        HostError::Package(_) => ErrorKind::InvalidPackage,
        HostError::Denied(_) | HostError::NotTrusted(_) => ErrorKind::Denied,
        HostError::Signature(_) => ErrorKind::BadInput,
        HostError::Downgrade { .. } | HostError::Outdated { .. } | HostError::Wider { .. } => {
            ErrorKind::Conflict
        }
        HostError::TrustFile { .. } => ErrorKind::InvalidSettings,
        HostError::Busy(_) => ErrorKind::Busy,
        HostError::NotRunning { .. } => ErrorKind::NotFound,
        HostError::Key(_) => ErrorKind::HostFault,
        HostError::Naming(_) | HostError::Quota(_) => ErrorKind::BadInput,
        HostError::Grants { .. } => ErrorKind::InvalidGrants,
        HostError::Change(error) => kind_of_change(error),
        HostError::Registry(error) => kind_of_registry(error),
        HostError::Database(error) => kind_of_database(error),
        HostError::DiskLow(_) => ErrorKind::DiskLow,
        // Asked again, it is answered with what is kept.
        HostError::Occupied(_) | HostError::Read(ReadError::Dropped { .. }) => ErrorKind::Busy,
        HostError::Secrets(error) => kind_of_secrets(error),
        HostError::Access(AccessError::Random(_)) => ErrorKind::HostFault,
        HostError::Access(AccessError::OtherRole { .. } | AccessError::Removed { .. }) => ErrorKind::Conflict,
        HostError::Access(AccessError::Expired | AccessError::Owner) => ErrorKind::BadInput,
        HostError::Evidence(EvidenceError::Key(error)) => match error {
            EvidenceKeyError::Erased { .. } | EvidenceKeyError::Unknown { .. } => ErrorKind::NotFound,
            EvidenceKeyError::Database(error) => kind_of_database(error),
            EvidenceKeyError::OtherKey { .. } | EvidenceKeyError::Altered | EvidenceKeyError::Random(_) => {
                ErrorKind::HostFault
            }
        },
        HostError::Evidence(EvidenceError::Payload(_)) => ErrorKind::HostFault,
        HostError::Evidence(
            EvidenceError::NoSuchCall { .. }
            | EvidenceError::NoCommitments { .. }
            | EvidenceError::NotKept { .. }
            | EvidenceError::NothingToErase { .. },
        ) => ErrorKind::NotFound,
        HostError::Backup(BackupError::NotWhole(_) | BackupError::Newer { .. }) => ErrorKind::BadInput,
        HostError::Backup(BackupError::NotEmpty { .. }) => ErrorKind::Conflict,
        HostError::Backup(BackupError::Io { .. } | BackupError::Stream(_) | BackupError::NoRoom { .. }) => {
            ErrorKind::HostFault
        }
        HostError::Folder(_) | HostError::Owned { .. } | HostError::Read(_) | HostError::Sandbox(_) => {
            ErrorKind::HostFault
        }
    }
}

fn kind_of_registry(error: &RegistryError) -> ErrorKind {
    match error {
        RegistryError::NotFound { .. } | RegistryError::NoSuchDigest { .. } => ErrorKind::NotFound,
        RegistryError::Ambiguous { .. }
        | RegistryError::Alike { .. }
        | RegistryError::NothingPending { .. }
        | RegistryError::Quarantined(_) => ErrorKind::Conflict,
        RegistryError::TooLarge { .. } => ErrorKind::InvalidPackage,
        RegistryError::VersionTooLong { .. } | RegistryError::WrongDigest { .. } => ErrorKind::BadInput,
        RegistryError::Missing { .. } | RegistryError::Altered { .. } | RegistryError::File { .. } => {
            ErrorKind::HostFault
        }
        RegistryError::Change(error) => kind_of_change(error),
        RegistryError::Database(error) => kind_of_database(error),
    }
}

fn kind_of_secrets(error: &SecretsError) -> ErrorKind {
    match error {
        SecretsError::Value(_) => ErrorKind::BadInput,
        SecretsError::Gone { .. } => ErrorKind::NotFound,
        SecretsError::KeyMissing { .. }
        | SecretsError::OtherKey { .. }
        | SecretsError::NoKey(_)
        | SecretsError::TooMany(_)
        | SecretsError::Damaged { .. } => ErrorKind::Conflict,
        SecretsError::Encrypt(_) | SecretsError::Folder(_) => ErrorKind::HostFault,
        SecretsError::Database(error) => kind_of_database(error),
    }
}

fn kind_of_change(error: &ChangeError) -> ErrorKind {
    match error {
        ChangeError::File(_) => ErrorKind::InvalidGrants,
        ChangeError::NoSuchGrant(_)
        | ChangeError::NoSuchPrincipal { .. }
        | ChangeError::NoSuchSecret { .. }
        | ChangeError::NoSuchKey(_)
        | ChangeError::NoSuchStore(_) => ErrorKind::NotFound,
        ChangeError::OtherQuarantine { .. } | ChangeError::Alike { .. } => ErrorKind::Conflict,
        ChangeError::Database(error) => kind_of_database(error),
    }
}

fn kind_of_database(error: &DatabaseError) -> ErrorKind {
    match error {
        DatabaseError::TooMany { .. } => ErrorKind::Conflict,
        DatabaseError::Busy => ErrorKind::Busy,
        DatabaseError::Open { .. }
        | DatabaseError::Corrupt { .. }
        | DatabaseError::ReadOnly
        | DatabaseError::Full
        | DatabaseError::NewerSchema { .. }
        | DatabaseError::Unsettled { .. }
        | DatabaseError::Behind { .. }
        | DatabaseError::Ahead { .. }
        | DatabaseError::NoCopy { .. }
        | DatabaseError::Other(_) => ErrorKind::HostFault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;

    fn json(problem: &Problem) -> String {
        serde_json::to_string_pretty(problem).expect("serialises")
    }

    #[test]
    fn a_denial_is_a_document_that_names_the_call_and_what_is_missing() {
        let call: CallId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        let denial = Denial::NotGranted {
            package: "notes".parse().expect("a name"),
            principal: "mallory".parse().expect("a name"),
        };
        insta::assert_snapshot!(json(&CallError::Denied { call, denial }.into()), @r##"
        {
          "type": "urn:portcullis:error:denied",
          "title": "The call is not allowed",
          "status": 403,
          "detail": "no grant of package notes names agent mallory",
          "blame": "admin",
          "call": "01890a5d-ac96-774b-bcce-b302099a8057",
          "denial": {
            "reason": "not_granted",
            "package": "notes",
            "principal": "mallory"
          }
        }
        "##);
    }

    #[test]
    fn a_limit_is_named_with_its_value_and_its_bound() {
        let reached = LimitReached { limit: Limit::ComponentBytes, value: 209_715_200, max: 67_108_864 };
        insta::assert_snapshot!(json(&Problem::component_too_large(reached)), @r##"
        {
          "type": "urn:portcullis:error:too-large",
          "title": "The body is too large",
          "status": 413,
          "detail": "the component is too large: limit reached: component_bytes 209715200, at most 67108864 bytes",
          "blame": "agent",
          "limit": {
            "limit": "component_bytes",
            "value": 209715200,
            "max": 67108864
          }
        }
        "##);
    }

    #[test]
    fn errors_of_a_grants_file_keep_their_places() {
        let text = "[[grant]]\nagnets = []\n";
        let diagnostic = Diagnostic::new(text, 10..16, "grant[0].agnets", "unknown key".into(), None);
        let error = HostError::Grants { file: "g.toml".into(), diagnostics: vec![diagnostic.clone()] };
        let problem = Problem::from(error);
        assert_eq!((problem.kind, problem.status), (ErrorKind::InvalidGrants, 422));
        assert_eq!(problem.diagnostics, [diagnostic]);
    }

    #[test]
    fn each_kind_survives_its_document() {
        for kind in ErrorKind::ALL {
            let problem = Problem::new(kind, "x", Blame::Host);
            let read: Problem = serde_json::from_str(&json(&problem)).expect("what was written");
            assert_eq!(read, problem);
            assert_eq!(serde_json::to_value(kind).expect("serialises"), kind.type_uri());
        }
    }
}
