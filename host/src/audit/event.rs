//! What the log can say: one closed enum, written as one JSON object a line.

mod accepted;
mod access;
mod approval;
mod host_call;
mod keeping;
mod names;
mod open_call;
mod room;
mod secret;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::commitment::Commitment;
use super::hash::TreeHash;
use crate::authn::{Credential, Refused};
use crate::ids::{
    CallId, GrantId, IssuerName, KeyPrefix, OutletName, PackageDigest, PackageName, PrincipalId, Remark,
    Revision, SecretName, Sequence, SignerName, StoreName, ToolName, TraceParent,
};
use crate::limits::{LimitReached, Usage};
use crate::policy::{Denial, Role, Stop};
use crate::signing::{KeyId, SignedIdentity};

pub use accepted::AcceptedCall;
pub use access::{ServeSettingsRead, SettingsCause};
pub use approval::ApprovalRule;
pub use host_call::{Attempt, Decision, HostCall, HostCallOutcome, HostCallResult, Repeats};
pub use keeping::{DropReason, OutletKind, OutletTrouble};
pub use names::{check_event_name, check_outcome_name};
pub use open_call::OpenCall;
pub use room::{CallsRefused, QuotasSet};
pub use secret::{LeakAction, LeakPlace, SecretInjected, SecretLeak};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place. No gaps.
    pub seq: Sequence,
    /// When it was made. May stand still or go back with the clock; `seq` never does.
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A host took the data folder.
    HostStarted {
        /// The host's version.
        version: String,
        /// Its process id.
        pid: u32,
        /// The engine that runs components, and its version, such as `wasmtime 48.0.8`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        engine: Option<String>,
    },
    /// The host let the folder go in good order: nothing is in flight, and the log ends well.
    HostStopped {
        /// The latest time of any record so far. The next host goes on from it without reading the
        /// whole log, so that an expired grant stays expired when the clock is set back.
        latest: Timestamp,
        /// The highest revision that a record so far speaks of.
        revision: Revision,
    },
    /// The log did not end well, and was mended at start.
    Recovered {
        /// Bytes of the torn tail that were moved out of the log; 0 if it ended at a line's end.
        torn_bytes: u64,
        /// The file, in the audit folder, that holds them.
        quarantine: Option<String>,
        /// Calls that were admitted and have no final record: they ended with the host.
        interrupted: Vec<CallId>,
    },
    /// The log goes on in a new file, of which this is the first record. A recovery need not read what is
    /// before it.
    SegmentStarted {
        /// The latest time of any record so far.
        latest: Timestamp,
        /// The highest revision that a record so far speaks of.
        revision: Revision,
        /// The calls that were admitted and have not ended.
        open: Vec<OpenCall>,
    },
    /// A file of the log was closed and compressed.
    SegmentSealed {
        /// Its first record.
        first: Sequence,
        /// Its last record.
        last: Sequence,
        /// The file, in the audit folder.
        file: String,
        /// Its bytes.
        bytes: u64,
        /// Its SHA-256, in hex.
        sha256: String,
        /// The bytes of its text.
        text_bytes: u64,
    },
    /// The text of the oldest records is dropped, as the host's retention says. Their hashes stay.
    TextDropped {
        /// All records up to this one.
        through: Sequence,
        /// Why.
        because: DropReason,
    },
    /// From the next checkpoints on, another key signs them.
    KeyRotated {
        /// It, as C2SP `signed-note` writes a public key.
        key: String,
        /// Who did it.
        by: PrincipalId,
    },
    /// Closed files of the log can't be compressed, or old text not dropped. Once, until it is done.
    SegmentsAlarm {
        /// What failed first.
        reason: String,
    },
    /// What could not be done with closed files was done.
    SegmentsRecovered,
    /// What goes out of the log is behind for longer than it may be, or is said to be not what it was. Once,
    /// until it works again.
    OutletAlarm {
        /// Which, as `audit.toml` names it.
        name: OutletName,
        /// What it passes on.
        kind: OutletKind,
        /// What is wrong.
        because: OutletTrouble,
        /// What failed last, if it said so: text of a stranger, cleaned and cut.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// What was an alarm took what it was owed.
    OutletRecovered {
        /// Which.
        name: OutletName,
        /// What it passes on.
        kind: OutletKind,
    },
    /// Records that an outlet never got: their text was dropped before. It goes on with the next.
    OutletLost {
        /// Which.
        name: OutletName,
        /// How many.
        records: u64,
        /// The last of them.
        through: Sequence,
    },
    /// A component was registered.
    PackageAdded {
        /// Its name.
        package: PackageName,
        /// Its version.
        version: String,
        /// Its bytes.
        digest: PackageDigest,
        /// Their number.
        bytes: u64,
        /// The keys that signatures which came with it say they were made by.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        signatures: Vec<KeyId>,
        /// Whom bundles of Sigstore that came with it name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        identities: Vec<SignedIdentity>,
        /// Where it came from, as whoever added it says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Remark>,
        /// Who did it.
        by: PrincipalId,
    },
    /// A component was refused at registration.
    PackageRefused {
        /// The bytes.
        digest: PackageDigest,
        /// Why.
        reason: String,
        /// Who tried.
        by: PrincipalId,
    },
    /// An admin, or a rule that an admin set, approved these bytes under this name.
    PackageApproved {
        /// The name.
        package: PackageName,
        /// The bytes.
        digest: PackageDigest,
        /// Whose signatures counted then.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        signers: Vec<SignerName>,
        /// Whether a later version had been approved before.
        #[serde(default, skip_serializing_if = "is_false")]
        downgrade: bool,
        /// The rule, if no admin looked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<ApprovalRule>,
        /// Who did it.
        by: PrincipalId,
    },
    /// A package was removed.
    PackageRemoved {
        /// The name.
        package: PackageName,
        /// The bytes that were approved, if any were.
        digest: Option<PackageDigest>,
        /// Who did it.
        by: PrincipalId,
    },
    /// A compiled artifact was not what this host had made, and was compiled anew.
    ArtifactRefused {
        /// The component's bytes.
        digest: PackageDigest,
        /// What did not fit.
        reason: String,
    },
    /// The grants changed.
    GrantsChanged {
        /// The new revision.
        revision: Revision,
        /// Grants that are new in it.
        granted: Vec<GrantId>,
        /// Grants that ended with it.
        revoked: Vec<GrantId>,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin stopped everything: no call begins, and those that run end.
    HostFrozen {
        /// The new revision.
        revision: Revision,
        /// Why.
        because: Remark,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin let calls begin again.
    HostThawed {
        /// The new revision.
        revision: Revision,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin forbade a package, or some bytes.
    PackageQuarantined {
        /// The new revision.
        revision: Revision,
        /// The package.
        package: PackageName,
        /// The bytes; absent: all of the package.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<PackageDigest>,
        /// Why.
        because: Remark,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin lifted a quarantine.
    PackageReleased {
        /// The new revision.
        revision: Revision,
        /// The package.
        package: PackageName,
        /// The bytes; absent: all of the package.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<PackageDigest>,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin added a principal, or changed its role or note.
    PrincipalAdded {
        /// The new revision.
        revision: Revision,
        /// It. Not called `principal`, which in records of calls is whoever calls.
        name: PrincipalId,
        /// What it is for.
        role: Role,
        /// What was noted about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<Remark>,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin set the quotas of a principal or of a package.
    QuotasSet(Box<QuotasSet>),
    /// An admin removed a principal.
    PrincipalRemoved {
        /// The new revision.
        revision: Revision,
        /// It.
        name: PrincipalId,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin put a trust policy in force, or went on without one.
    TrustChanged {
        /// The new revision.
        revision: Revision,
        /// The SHA-256 of its text, in hex; absent: there is none any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// How many keys it knows.
        keys: u64,
        /// How many of them are revoked.
        revoked: u64,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin stored a secret, or replaced its value, which is not in here.
    SecretSet {
        /// The new revision.
        revision: Revision,
        /// Its name.
        name: SecretName,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin removed a secret.
    SecretRemoved {
        /// The new revision.
        revision: Revision,
        /// Its name.
        name: SecretName,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin made an API key, which is not in here.
    ApiKeyCreated {
        /// The new revision.
        revision: Revision,
        /// Its public beginning.
        key: KeyPrefix,
        /// Who will call with it. Not called `principal`, which in records of calls is whoever calls.
        name: PrincipalId,
        /// As what.
        role: Role,
        /// When it ends, if it was said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Timestamp>,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin put an API key in the place of another, which ended.
    ApiKeyRotated {
        /// The new revision.
        revision: Revision,
        /// The public beginning of the new one.
        key: KeyPrefix,
        /// That of the one that ended.
        replaces: KeyPrefix,
        /// Who calls with it.
        name: PrincipalId,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin ended an API key.
    ApiKeyRevoked {
        /// The new revision.
        revision: Revision,
        /// Its public beginning.
        key: KeyPrefix,
        /// Who called with it.
        name: PrincipalId,
        /// Who did it.
        by: PrincipalId,
    },
    /// Somebody tried to be let in and was not. Tries of one kind within about a second are one record.
    AuthenticationFailed {
        /// Why not.
        reason: Refused,
        /// Where the tries came from; absent: from several addresses, when there are very many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<IpAddr>,
        /// The public beginning of the key that was tried, if one like it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<KeyPrefix>,
        /// The issuer of the token that was tried, if the settings name it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<IssuerName>,
        /// How many tries it stands for.
        tries: u64,
    },
    /// The settings by which the host is served were read, or refused.
    ServeSettingsRead(ServeSettingsRead),
    /// An admin was given what opens the commitments of a call.
    EvidenceOpened {
        /// The call.
        call: CallId,
        /// Whether what was kept whole of it was given as well.
        payloads: bool,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin erased what opens the commitments of a principal's calls, and what was kept whole of them.
    EvidenceErased {
        /// The principal. Not called `principal`, which in records of calls is whoever calls.
        name: PrincipalId,
        /// The keys: the calls that name one in `salt_key` can't be opened any more.
        keys: Vec<u64>,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin erased what was kept whole of one call. What opens its commitments is there as before.
    PayloadErased {
        /// The call.
        call: CallId,
        /// Who did it.
        by: PrincipalId,
    },
    /// An admin deleted all keys of a store.
    StateCleared {
        /// The new revision.
        revision: Revision,
        /// Whose state it was.
        package: PackageName,
        /// The agent in whose calls it was seen; `None`: those of all agents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<PrincipalId>,
        /// Its name in the package.
        store: StoreName,
        /// Who did it.
        by: PrincipalId,
    },
    /// A backup was taken, of which this is the last record that is sure to be in it.
    BackupTaken {
        /// Who did it.
        by: PrincipalId,
    },
    /// The data folder was put back from a backup. What happened after the backup is not in this log.
    Restored {
        /// When the backup was taken.
        made_at: Timestamp,
        /// The revision of the grants in it.
        revision: Revision,
        /// Its `backup_taken` record.
        record: Sequence,
        /// Who did it.
        by: PrincipalId,
    },
    /// A call was taken that is answered later, before who asked was told so.
    CallAccepted(AcceptedCall),
    /// Somebody asked a call to end.
    CallCancelled {
        /// The call.
        call: CallId,
        /// Who.
        by: PrincipalId,
    },
    /// A call was refused before it began.
    CallDenied {
        /// Its id.
        call: CallId,
        /// Who asked.
        principal: PrincipalId,
        /// For which package.
        package: PackageName,
        /// The bytes that were approved under its name, if any were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<PackageDigest>,
        /// For which tool.
        tool: ToolName,
        /// The revision that was judged by.
        revision: Revision,
        /// The call whose tool asked for this one, if an agent did not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<CallId>,
        /// Why.
        denial: Denial,
    },
    /// Calls were refused before they began, for want of room.
    CallsRefused(CallsRefused),
    /// A call was allowed and is about to begin.
    CallAdmitted {
        /// Who calls what.
        #[serde(flatten)]
        context: Arc<CallContext>,
        /// The grants that allow it.
        grants: Vec<GrantId>,
        /// Bytes of the arguments.
        argument_bytes: u64,
        /// What its principal was let in by; absent: by being able to open the data folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<Credential>,
        /// What the arguments are held against, by whoever is shown them and the call's salt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arguments_commitment: Option<Commitment>,
        /// The number of the key that the salt is made of: once that is erased, nobody can tell what was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        salt_key: Option<u64>,
    },
    /// The guest called the host, without an effect on the world outside. One record, after it.
    HostCall {
        /// Who calls what.
        #[serde(flatten)]
        context: Arc<CallContext>,
        /// What was called and what came of it.
        #[serde(flatten)]
        host_call: HostCall,
    },
    /// The guest is about to change the world outside. Written before it does.
    EffectAttempted {
        /// Who calls what.
        #[serde(flatten)]
        context: Arc<CallContext>,
        /// What is about to happen.
        #[serde(flatten)]
        attempt: Attempt,
    },
    /// What came of an attempt. An attempt without one reads "unknown".
    EffectFinished {
        /// Who calls what.
        #[serde(flatten)]
        context: Arc<CallContext>,
        /// The attempt's place in the log.
        attempt: Sequence,
        /// What came of it.
        #[serde(flatten)]
        result: HostCallResult,
    },
    /// The host put a secret into a request, which the next attempt of the call is. Its value is not in here.
    SecretInjected {
        /// Who calls what.
        #[serde(flatten)]
        context: Arc<CallContext>,
        /// Which, and where.
        #[serde(flatten)]
        injected: SecretInjected,
    },
    /// A secret of the call was about to leave it, in a form that is looked for. Its value is not in here.
    SecretLeak {
        /// Who calls what.
        #[serde(flatten)]
        context: Arc<CallContext>,
        /// What was found, and what was done.
        #[serde(flatten)]
        leak: SecretLeak,
    },
    /// A call ended. The last record of each admitted call.
    CallFinished {
        /// Who calls what.
        #[serde(flatten)]
        context: Arc<CallContext>,
        /// How it ended.
        #[serde(flatten)]
        end: Box<CallEnd>,
    },
}

impl Event {
    /// The call that the record belongs to, if it belongs to one.
    pub fn call(&self) -> Option<CallId> {
        if let Event::CallDenied { call, .. }
        | Event::CallAccepted(AcceptedCall { call, .. })
        | Event::CallCancelled { call, .. }
        | Event::EvidenceOpened { call, .. }
        | Event::PayloadErased { call, .. } = self
        {
            return Some(*call);
        }
        self.context().map(|context| context.call)
    }

    /// Who calls what, in the records that a call made itself: those that its last one counts, and that one.
    pub fn context(&self) -> Option<&Arc<CallContext>> {
        match self {
            Event::CallAdmitted { context, .. }
            | Event::HostCall { context, .. }
            | Event::EffectAttempted { context, .. }
            | Event::EffectFinished { context, .. }
            | Event::SecretInjected { context, .. }
            | Event::SecretLeak { context, .. }
            | Event::CallFinished { context, .. } => Some(context),
            Event::CallDenied { .. }
            | Event::CallsRefused(_)
            | Event::QuotasSet(_)
            | Event::CallAccepted(_)
            | Event::CallCancelled { .. }
            | Event::EvidenceOpened { .. }
            | Event::EvidenceErased { .. }
            | Event::PayloadErased { .. }
            | Event::HostStarted { .. }
            | Event::HostStopped { .. }
            | Event::Recovered { .. }
            | Event::SegmentStarted { .. }
            | Event::SegmentSealed { .. }
            | Event::TextDropped { .. }
            | Event::SegmentsAlarm { .. }
            | Event::SegmentsRecovered
            | Event::OutletAlarm { .. }
            | Event::OutletRecovered { .. }
            | Event::OutletLost { .. }
            | Event::KeyRotated { .. }
            | Event::PackageAdded { .. }
            | Event::PackageRefused { .. }
            | Event::PackageApproved { .. }
            | Event::PackageRemoved { .. }
            | Event::ArtifactRefused { .. }
            | Event::GrantsChanged { .. }
            | Event::HostFrozen { .. }
            | Event::HostThawed { .. }
            | Event::PackageQuarantined { .. }
            | Event::PackageReleased { .. }
            | Event::PrincipalAdded { .. }
            | Event::PrincipalRemoved { .. }
            | Event::SecretSet { .. }
            | Event::TrustChanged { .. }
            | Event::SecretRemoved { .. }
            | Event::ApiKeyCreated { .. }
            | Event::ApiKeyRotated { .. }
            | Event::ApiKeyRevoked { .. }
            | Event::AuthenticationFailed { .. }
            | Event::ServeSettingsRead(_)
            | Event::StateCleared { .. }
            | Event::BackupTaken { .. }
            | Event::Restored { .. } => None,
        }
    }
}

/// Who calls what, by whose leave: the same in every record of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallContext {
    /// The call.
    pub call: CallId,
    /// Who calls.
    pub principal: PrincipalId,
    /// The package called.
    pub package: PackageName,
    /// Its bytes.
    pub digest: PackageDigest,
    /// The tool called.
    pub tool: ToolName,
    /// The revision of the grants that allowed it.
    pub revision: Revision,
    /// The call whose tool made this one, if an agent did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<CallId>,
    /// Where the call belongs in its caller's trace, if the caller said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnd {
    /// How.
    #[serde(flatten)]
    pub outcome: CallOutcome,
    /// Records of this call before this one, its `call_admitted` included.
    pub records: u64,
    /// The root of the RFC 6962 tree over their lines, in the log's order. Absent in older logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_root: Option<TreeHash>,
    /// The commitment to the arguments, as in `call_admitted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_commitment: Option<Commitment>,
    /// What the answer, or what the tool said of its failure, is held against; absent if it gave neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_commitment: Option<Commitment>,
    /// What it used.
    pub usage: Usage,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CallOutcome {
    /// The tool answered.
    Ok,
    /// The tool answered that it failed, or trapped.
    ToolError {
        /// What it said, cut to 1,000 characters.
        message: String,
    },
    /// The arguments did not fit the tool's schema.
    BadInput {
        /// What did not fit, cut to 1,000 bytes.
        message: String,
    },
    /// A limit ended it.
    LimitReached(LimitReached),
    /// Its caller went away, or the host was told to stop.
    Cancelled,
    /// What is in force changed, so that it would be denied now, or given less.
    Stopped {
        /// Why.
        stop: Stop,
    },
    /// What it gave would have given away a secret whose leak is refused.
    Withheld {
        /// Which.
        secret: SecretName,
    },
    /// The host ended before the call did. Written at the next start.
    Interrupted,
    /// The host failed.
    HostFault {
        /// What failed: for admins only.
        message: String,
    },
}

impl CallOutcome {
    /// Its name in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            CallOutcome::Ok => "ok",
            CallOutcome::ToolError { .. } => "tool_error",
            CallOutcome::BadInput { .. } => "bad_input",
            CallOutcome::LimitReached(_) => "limit_reached",
            CallOutcome::Cancelled => "cancelled",
            CallOutcome::Stopped { .. } => "stopped",
            CallOutcome::Withheld { .. } => "withheld",
            CallOutcome::Interrupted => "interrupted",
            CallOutcome::HostFault { .. } => "host_fault",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Event {
    /// The revision of what is in force that it speaks of.
    pub fn revision(&self) -> Option<Revision> {
        match self {
            Event::HostStopped { revision, .. }
            | Event::SegmentStarted { revision, .. }
            | Event::GrantsChanged { revision, .. }
            | Event::HostFrozen { revision, .. }
            | Event::HostThawed { revision, .. }
            | Event::PackageQuarantined { revision, .. }
            | Event::PackageReleased { revision, .. }
            | Event::PrincipalAdded { revision, .. }
            | Event::PrincipalRemoved { revision, .. }
            | Event::SecretSet { revision, .. }
            | Event::TrustChanged { revision, .. }
            | Event::SecretRemoved { revision, .. }
            | Event::ApiKeyCreated { revision, .. }
            | Event::ApiKeyRotated { revision, .. }
            | Event::ApiKeyRevoked { revision, .. }
            | Event::StateCleared { revision, .. }
            | Event::CallDenied { revision, .. } => Some(*revision),
            Event::QuotasSet(set) => Some(set.revision),
            Event::CallAdmitted { context, .. }
            | Event::HostCall { context, .. }
            | Event::EffectAttempted { context, .. }
            | Event::EffectFinished { context, .. }
            | Event::SecretInjected { context, .. }
            | Event::SecretLeak { context, .. }
            | Event::CallFinished { context, .. } => Some(context.revision),
            Event::CallsRefused(_)
            | Event::HostStarted { .. }
            | Event::CallAccepted(_)
            | Event::CallCancelled { .. }
            | Event::EvidenceOpened { .. }
            | Event::EvidenceErased { .. }
            | Event::PayloadErased { .. }
            | Event::Recovered { .. }
            | Event::SegmentSealed { .. }
            | Event::TextDropped { .. }
            | Event::SegmentsAlarm { .. }
            | Event::SegmentsRecovered
            | Event::OutletAlarm { .. }
            | Event::OutletRecovered { .. }
            | Event::OutletLost { .. }
            | Event::KeyRotated { .. }
            | Event::PackageAdded { .. }
            | Event::PackageRefused { .. }
            | Event::PackageApproved { .. }
            | Event::PackageRemoved { .. }
            | Event::ArtifactRefused { .. }
            | Event::AuthenticationFailed { .. }
            | Event::ServeSettingsRead(_)
            | Event::BackupTaken { .. }
            | Event::Restored { .. } => None,
        }
    }
}
