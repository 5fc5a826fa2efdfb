//! What the HTTP API takes and gives, as plain data: the same types for the server and for its clients.
//!
//! Names and numbers in it are checked by being parsed; nothing here does anything.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::audit::commitment::Opening;
use crate::authoring::About;
use crate::gateway::{AddedPackage, CallAnswer, HostHealth};
use crate::ids::{CallId, GrantId, PackageDigest, PackageName, PrincipalId, Remark, Revision, ToolName};
use crate::package::PackageDescription;
use crate::policy::{Grant, Role};
use crate::sandbox::Progress;

/// Query of `POST /v1/packages`; the body is the component's bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddQuery {
    /// The name to register under. Default: that of the component's WIT package.
    pub name: Option<PackageName>,
    /// The version. Default: that of the component's WIT package, else 0.0.0.
    pub version: Option<semver::Version>,
}

/// One line of the answer to `POST /v1/packages`. The last line is a result or an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddLine {
    /// It goes on: at each new stage, and at least once a second.
    Progress {
        /// What is being done.
        stage: AddStage,
        /// Milliseconds since the body was read.
        elapsed_ms: u64,
    },
    /// It is registered.
    Result(Box<AddedPackage>),
    /// It is not.
    Error(Box<Problem>),
}

/// What a registration is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddStage {
    /// Sizes and counts are looked at.
    Measuring,
    /// It is being compiled.
    Compiling,
    /// Its own list of tools is asked for.
    ListingTools,
    /// It is being written down.
    Storing,
}

/// The public half of the key that signs checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditKey {
    /// As C2SP `signed-note` writes it.
    pub key: Option<String>,
}

/// Query of `GET /v1/calls/{id}/opening`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeningQuery {
    /// Whether what was kept whole of the call is asked for as well. Default: no.
    #[serde(default)]
    pub payloads: bool,
}

/// Body of `POST /v1/packages/{name}/approve`; may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// The bytes to approve. Default: the only ones that wait for it.
    pub digest: Option<PackageDigest>,
}

/// What was approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approved {
    /// The package.
    pub package: PackageName,
    /// The bytes that run under its name from now on.
    pub digest: PackageDigest,
    /// What they are and ask for.
    pub description: PackageDescription,
    /// What they say of themselves.
    #[serde(default)]
    pub about: About,
    /// Grants in force that are bound to other bytes, and so give nothing any more.
    pub grants_without_effect: Vec<GrantId>,
}

/// Body of `POST /v1/packages/{name}/quarantine`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantineRequest {
    /// The bytes, under whatever name. Default: all of the package.
    #[serde(default)]
    pub digest: Option<PackageDigest>,
    /// Why.
    pub because: Remark,
}

/// Body of `POST /v1/packages/{name}/release`; may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The bytes. Default: the package as a whole.
    #[serde(default)]
    pub digest: Option<PackageDigest>,
}

/// Body of `PUT /v1/freeze`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeRequest {
    /// Why.
    pub because: Remark,
}

/// Body of `PUT /v1/principals/{name}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalRequest {
    /// What it is for.
    pub role: Role,
    /// What is noted about it.
    #[serde(default)]
    pub note: Option<Remark>,
}

/// Body of `POST /v1/keys`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyRequest {
    /// Who will call with it.
    pub principal: PrincipalId,
    /// As what: that which the principal is. Default: that.
    #[serde(default)]
    pub role: Option<Role>,
    /// When it ends. Default: when it is revoked.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

/// Body of `POST /v1/keys/{prefix}/rotate`; may be left out.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateKeyRequest {
    /// When the new one ends. Default: when it is revoked.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

/// The header of a call's request that says where it belongs in its caller's trace (W3C Trace Context).
pub const TRACE_PARENT_HEADER: &str = "traceparent";

/// The header of each answer while the host is frozen: the freeze, as JSON.
pub const FROZEN_HEADER: &str = "portcullis-frozen";

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The package.
    pub package: PackageName,
}

/// Query of `GET /v1/grants`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantsQuery {
    /// Only those of this package, which must exist.
    pub package: Option<PackageName>,
}

/// Grants in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantList {
    /// The revision that they are of.
    pub revision: Revision,
    /// They, in the order of their ids.
    pub grants: Vec<GrantStatus>,
}

/// A grant, and whether it gives anything now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantStatus {
    /// The grant.
    #[serde(flatten)]
    pub grant: Grant,
    /// Whether it does.
    pub effect: GrantEffect,
}

/// Whether a grant gives anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantEffect {
    /// It does.
    InForce,
    /// It is bound to other bytes than those that are approved.
    OtherBytes,
    /// Its time is over.
    Expired,
    /// Its package, or the bytes that it is bound to, may not run.
    Quarantined,
}

/// Query of `POST /v1/calls`; the body is the arguments, a JSON object.
///
/// The arguments are not a member of a larger document so that their text reaches the one strict
/// parser as it was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallQuery {
    /// In whose name: the owner of the data folder must say so. Default: the caller's own, and no other for whoever
    /// comes with a key.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalId>,
    /// Which package.
    pub package: PackageName,
    /// Which of its tools.
    pub tool: ToolName,
    /// Whether the answer is lines that say how far the call is, and then what came of it. Default: one
    /// document at the end.
    #[serde(default)]
    pub progress: bool,
    /// Whether the answer has the private part of the call's receipt beside it, in `opening`: what shows that the log's
    /// commitments are to these arguments and this result. Not with `progress`. Default: no.
    #[serde(default)]
    pub opening: bool,
}

/// Answer of `POST /v1/calls?opening=true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenedAnswer {
    /// What the call gave.
    #[serde(flatten)]
    pub answer: CallAnswer,
    /// The private part of its receipt.
    pub opening: Option<Opening>,
}

/// Query of `GET /v1/tools`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolsQuery {
    /// Whose: the owner of the data folder must say so. Default: the caller's own, and no other for whoever comes
    /// with a key.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalId>,
    /// In which shape. Default: ours, which has all that is known.
    #[serde(default)]
    pub format: ToolsFormat,
}

/// The shape of a list of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolsFormat {
    /// Ours.
    #[default]
    Portcullis,
    /// As OpenAI's chat completions take it.
    Openai,
    /// As Anthropic's messages take it.
    Anthropic,
}

/// One line of the answer to `POST /v1/calls?progress=true`. The last line is a result or an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallLine {
    /// How far it is, as the tool says. Steps that come too fast are left out.
    Progress(Progress),
    /// It answered.
    Result(Box<CallAnswer>),
    /// It did not.
    Error(Box<Problem>),
}

/// A call that was asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Which.
    pub call: CallId,
}

/// Query of `GET /v1/audit`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only the records of this call, from the first on. Not together with `last`.
    pub call: Option<CallId>,
    /// How many records, from the end. Default: 100.
    pub last: Option<usize>,
    /// Whether to go on with new records. Default: no.
    #[serde(default)]
    pub follow: bool,
}

/// One line of the answer to `GET /v1/audit` that is not a record: the log could not be read on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailError {
    /// Why not.
    pub error: Problem,
}

/// Answer of `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The host's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// How it is.
    #[serde(flatten)]
    pub health: HostHealth,
}
