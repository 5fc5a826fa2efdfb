//! What the HTTP API takes and gives, as plain data: the same types for the server and for its clients.
//!
//! Names and numbers in it are checked by being parsed; nothing here does anything.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problem::Problem;
use crate::audit::AuditSettings;
use crate::audit::commitment::Opening;
use crate::authoring::About;
use crate::database::CallMode;
use crate::gateway::{AddedPackage, CallAnswer, CallState, HostHealth, PrincipalStatus, QuotaStatus, Trust};
use crate::ids::{
    CallId, GrantId, OutletName, PackageDigest, PackageName, PrincipalId, Remark, Revision, Sequence,
    ToolName,
};
use crate::limits::{HostLimits, Limit};
use crate::package::PackageDescription;
use crate::policy::evidence::Durability;
use crate::policy::{Grant, QuotasChange, Role, UpgradeDiff};
use crate::sandbox::Progress;
use crate::wildcard::Wildcard;

/// Query of `POST /v1/packages`; the body is the component's bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddQuery {
    /// The name to register under. Default: that of the component's WIT package.
    pub name: Option<PackageName>,
    /// The version. Default: that of the component's WIT package, else 0.0.0.
    pub version: Option<semver::Version>,
    /// Where it came from, in a line: for the log, which does not vouch for it.
    #[serde(default)]
    pub source: Option<Remark>,
    /// How many bytes of the body are signatures: a JSON list of the texts of their files, before the component. At
    /// most 512 KiB. Default: none.
    #[serde(default)]
    pub signature_bytes: u32,
}

/// The most bytes of the signatures in the body of `POST /v1/packages`: 16 of 16 KiB, each quote and line end escaped.
pub const SIGNATURE_LIST_BYTES_MAX: u32 = 512 << 10;

/// The header of `POST /v1/packages` that holds a signature: the base64 of its file. One for each, at most
/// [`SIGNATURES_MAX`](crate::signing::SIGNATURES_MAX), as long as the head has no more than 16 KiB; longer ones go
/// into the body ([`AddQuery::signature_bytes`]).
pub const SIGNATURE_HEADER: &str = "portcullis-signature";

/// One line of the answer to `POST /v1/packages`. The last line is a result or an error.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditKey {
    /// As C2SP `signed-note` writes it.
    pub key: Option<String>,
}

/// Query of `GET /v1/calls/{id}/opening`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningQuery {
    /// Whether what was kept whole of the call is asked for as well. Default: no.
    #[serde(default)]
    pub payloads: bool,
}

/// Body of `POST /v1/packages/{name}/approve`; may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// The bytes to approve. Default: the only ones that wait for it.
    #[serde(default)]
    pub digest: Option<PackageDigest>,
    /// Whether an earlier version than one that was approved before is meant. Default: no.
    #[serde(default)]
    pub downgrade: bool,
    /// The approved bytes that these were compared with: if others are approved by then, nothing is done. Default:
    /// whatever is approved.
    #[serde(default)]
    pub compared_with: Option<PackageDigest>,
    /// Whether bytes are meant that ask for more than what is approved, or say something else. Default: no, and then
    /// nothing is done if they do.
    #[serde(default)]
    pub allow_wider: bool,
}

/// What was approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Approved {
    /// The package.
    pub package: PackageName,
    /// The bytes that run under its name from now on.
    pub digest: PackageDigest,
    /// What they are and ask for.
    pub description: PackageDescription,
    /// What their signatures were worth.
    pub trust: Trust,
    /// What is different, compared with what was approved before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeDiff>,
    /// What they say of themselves.
    #[serde(default)]
    pub about: About,
    /// Grants in force that are bound to other bytes, and so give nothing any more.
    pub grants_without_effect: Vec<GrantId>,
}

/// Body of `POST /v1/packages/{name}/quarantine`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuarantineRequest {
    /// The bytes, under whatever name. Default: all of the package.
    #[serde(default)]
    pub digest: Option<PackageDigest>,
    /// Why.
    pub because: Remark,
}

/// Body of `POST /v1/packages/{name}/release`; may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The bytes. Default: the package as a whole.
    #[serde(default)]
    pub digest: Option<PackageDigest>,
}

/// Body of `PUT /v1/freeze`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeRequest {
    /// Why.
    pub because: Remark,
}

/// Body of `PUT /v1/principals/{name}`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalRequest {
    /// What it is for.
    pub role: Role,
    /// What is noted about it.
    #[serde(default)]
    pub note: Option<Remark>,
    /// How much it may use: what is not said stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<QuotasChange>,
}

/// Answer of `GET /v1/principals/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrincipalDetails {
    /// It, and what names it.
    #[serde(flatten)]
    pub principal: PrincipalStatus,
    /// What it may use, and does.
    pub quotas: QuotaStatus,
}

/// Body of `POST /v1/keys`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// The package.
    pub package: PackageName,
}

/// Query of `GET /v1/grants`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantsQuery {
    /// Only those of this package, which must exist.
    pub package: Option<PackageName>,
}

/// Grants in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantList {
    /// The revision that they are of.
    pub revision: Revision,
    /// They, in the order of their ids.
    pub grants: Vec<GrantStatus>,
}

/// A grant, and whether it gives anything now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantStatus {
    /// The grant.
    #[serde(flatten)]
    pub grant: Grant,
    /// Whether it does.
    pub effect: GrantEffect,
}

/// Whether a grant gives anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallQuery {
    /// In whose name: the owner of the data folder must say so. Default: the caller's own, and no other for whoever
    /// comes with a key.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalId>,
    /// Which package. Either this and `tool`, or `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageName>,
    /// Which of its tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// Which tool, by its name in the caller's list of tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ToolName>,
    /// Whether the answer has the private part of the call's receipt beside it, in `opening`: what shows that the log's
    /// commitments are to these arguments and this result. Only of a call that is answered with one document and has no
    /// `Idempotency-Key`: it is not kept. Default: no.
    #[serde(default)]
    pub opening: bool,
}

/// Answer of `POST /v1/calls?opening=true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpenedAnswer {
    /// What the call gave.
    #[serde(flatten)]
    pub answer: CallAnswer,
    /// The private part of its receipt.
    pub opening: Option<Opening>,
}

/// Query of `GET /v1/tools`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// A call that outlives its request, as `GET /v1/calls/{id}` and a 202 of `POST /v1/calls` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallResource {
    /// Its id.
    pub call: CallId,
    /// How it is.
    pub state: CallState,
    /// Whether who asked waits for it.
    pub mode: CallMode,
    /// Who asked: the principal itself, or the owner of the data folder in its name.
    pub asked_by: PrincipalId,
    /// In whose name.
    pub principal: PrincipalId,
    /// For which package.
    pub package: PackageName,
    /// For which tool.
    pub tool: ToolName,
    /// When it was taken, to the millisecond.
    pub accepted: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Until when it is kept, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Timestamp>,
    /// How far it is, as its tool said last: untrusted. Not in lists, and not for auditors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What it gave, as the answer to `POST /v1/calls` has it. Not in lists, not for auditors, and not once the caller
    /// has more answers than are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CallAnswer>")]
    pub result: Option<Value>,
    /// Why it gave nothing: a problem document. The same holds for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Problem>")]
    pub error: Option<Value>,
}

/// Query of `GET /v1/calls`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallsQuery {
    /// Only those in this state.
    pub state: Option<CallState>,
    /// Only those older than this one: the `next` of the page before.
    pub after: Option<CallId>,
    /// How many. Default: 100.
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<usize>,
}

/// A page of calls, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallPage {
    /// They, without results.
    pub calls: Vec<CallResource>,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<CallId>,
}

/// The header with which a caller makes a second request the same as the first
/// (draft-ietf-httpapi-idempotency-key-header-07).
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

/// The header of an answer that was given before: `true`.
pub const REPLAYED_HEADER: &str = "idempotent-replayed";

/// The header of a caller's preferences, and that of an answer that follows one (RFC 7240).
pub const PREFER_HEADER: &str = "prefer";
/// See [`PREFER_HEADER`].
pub const PREFERENCE_APPLIED_HEADER: &str = "preference-applied";
/// The preference of a caller that does not wait for its call (RFC 7240, 4.1).
pub const RESPOND_ASYNC: &str = "respond-async";

/// The names of events of `POST /v1/calls` with `Accept: text/event-stream`, and of `GET /v1/calls/{id}/events`: how far
/// the call is (a [`Progress`]); what it gave (a [`CallAnswer`]); why it gave nothing (a [`Problem`]). One of the last two
/// is the last event.
pub const PROGRESS_EVENT: &str = "progress";
/// See [`PROGRESS_EVENT`].
pub const RESULT_EVENT: &str = "result";
/// See [`PROGRESS_EVENT`].
pub const ERROR_EVENT: &str = "error";

/// A call that was asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// Which.
    pub call: CallId,
}

/// Query of `GET /v1/audit`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
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

/// Query of `GET /v1/audit/query`: all parts that are given must fit. In interfaces, functions and subjects `*` is any
/// text and `?` one character.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordsQuery {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before, and not then.
    pub until: Option<Timestamp>,
    /// Of this call.
    pub call: Option<CallId>,
    /// What this principal did: calls, and the actions of admins.
    pub principal: Option<PrincipalId>,
    /// About this package.
    pub package: Option<PackageName>,
    /// Host calls of this interface.
    pub interface: Option<Wildcard>,
    /// Host calls of this function.
    pub function: Option<Wildcard>,
    /// What was about this: a path, a URL, a key.
    pub subject: Option<Wildcard>,
    /// Only what was let through, or only what was refused.
    pub decision: Option<DecisionName>,
    /// Calls and host calls that ended so.
    pub outcome: Option<String>,
    /// Records of this kind.
    pub event: Option<String>,
    /// How many at most. Default: 100.
    #[schemars(range(min = 1, max = 1_000))]
    pub limit: Option<usize>,
    /// Which come first. Default: the oldest.
    #[serde(default)]
    pub order: FirstRecords,
    /// Only those that come after this one, in that order: what the page before said in `portcullis-next`.
    pub after: Option<Sequence>,
}

/// How a call or a host call was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionName {
    /// Let through.
    Allowed,
    /// Refused.
    Denied,
}

impl DecisionName {
    /// As records have it.
    pub fn name(self) -> &'static str {
        match self {
            DecisionName::Allowed => "allowed",
            DecisionName::Denied => "denied",
        }
    }
}

/// Which records come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstRecords {
    /// As they happened.
    #[default]
    Oldest,
    /// The other way round.
    Newest,
}

/// The header of a page of records that is not the last: what to give as `after`.
pub const NEXT_HEADER: &str = "portcullis-next";

/// Query of `GET /v1/audit/calls/{id}/receipt`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptQuery {
    /// Whether all of the call's own records are put into it, which name paths and hosts. Default: no.
    #[serde(default)]
    pub records: bool,
}

/// Body of `POST /v1/audit/consistency`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyRequest {
    /// The earlier checkpoint, as the host signed it.
    pub from: String,
    /// The later one. Default: the newest.
    #[serde(default)]
    pub to: Option<String>,
}

/// What was indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reindexed {
    /// Records.
    pub records: u64,
    /// Bytes of their lines.
    pub bytes: u64,
}

/// What holds at this host: the settings of `limits.toml` and `audit.toml`, or what is so without them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The limits, in the order of their table.
    pub limits: Vec<LimitSetting>,
    /// How the log is kept.
    pub audit: LogSettings,
}

/// A limit, as it holds here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitSetting {
    /// Which.
    pub limit: Limit,
    /// What its numbers count.
    pub unit: String,
    /// Where no grant says otherwise.
    pub default: u64,
    /// The most that a grant may give.
    pub ceiling: u64,
}

/// How the log is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogSettings {
    /// What waits for the disk; grants may ask for more.
    pub durability: Durability,
    /// A segment that has so many bytes is closed.
    pub segment_bytes: u64,
    /// So is one that is so old, in milliseconds.
    pub segment_age_ms: u64,
    /// Text that is older than so many milliseconds is dropped; null is never.
    pub keep_age_ms: Option<u64>,
    /// So is the oldest text while closed segments take more than so many bytes; null is never.
    pub keep_bytes: Option<u64>,
    /// Where records are shipped to, by name.
    pub ship: Vec<OutletName>,
    /// Where checkpoints are anchored, by name.
    pub anchors: Vec<OutletName>,
}

impl Settings {
    /// Those of a host.
    pub fn of(limits: &HostLimits, audit: &AuditSettings) -> Self {
        let limits = Limit::ALL.map(|limit| LimitSetting {
            limit,
            unit: limit.row().unit.to_owned(),
            default: limits.default_of(limit),
            ceiling: limits.ceiling_of(limit),
        });
        let milliseconds = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let audit = LogSettings {
            durability: audit.durability,
            segment_bytes: audit.segment_bytes,
            segment_age_ms: milliseconds(audit.segment_age),
            keep_age_ms: audit.keep_age.map(milliseconds),
            keep_bytes: audit.keep_bytes,
            ship: audit.ship.iter().map(|outlet| outlet.name.clone()).collect(),
            anchors: audit.anchors.iter().map(|outlet| outlet.name.clone()).collect(),
        };
        Self { limits: limits.into(), audit }
    }
}

/// One line of the answer to `GET /v1/audit` that is not a record: the log could not be read on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TailError {
    /// Why not.
    pub error: Problem,
}

/// Answer of `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The host's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// How it is.
    #[serde(flatten)]
    pub health: HostHealth,
}
