//! The host as a whole, and the one path that every call takes.
//!
//! [`Host::call`] reads from top to bottom: resolve, authorize, admit, run, finish. What an admin does
//! is in `gateway/`, by what it is done to. Nothing here knows HTTP, MCP or a command line.

mod access;
mod admission;
mod backup;
mod calls;
mod disk;
mod embedding;
mod errors;
mod evidence;
mod grants;
mod keys;
mod nested;
mod opening;
mod outlets;
mod packages;
mod quotas;
mod receipts;
mod refusals;
mod registrations;
mod running;
mod secrets;
mod signers;
mod standing;
mod state;
#[cfg(test)]
mod tests;
mod tools;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use self::disk::DiskWatch;
use self::opening::Beginning;
use crate::audit::commitment::Opening;
use crate::audit::event::{CallContext, CallOutcome, Event};
use crate::audit::payload::Payloads;
use crate::audit::{AuditSettings, Log, LogError, LogOptions, Recording};
use crate::authn::{Admission, KeyRing, local_admin};
use crate::config::{DataFolder, DataPaths};
use crate::database::{Database, GrantsChange};
use crate::egress::{Resolver, Roots, SystemResolver};
use crate::ids::{
    CallId, PackageDigest, PackageName, PrincipalId, Revision, Sequence, ToolName, TraceParent,
};
use crate::limits::{HostLimits, Usage};
use crate::outlets::metrics::Metrics;
use crate::outlets::{OutletHealth, Outlets};
use crate::package::SandboxesPrepared;
use crate::policy::{AuthorizedCall, Denial, Durability, Evidence, Freeze, Policy, QuotaSubject};
use crate::registry::{ApprovedPackage, Registry};
use crate::sandbox::compiler::Compiler;
use crate::sandbox::{
    ENGINE, InvokeError, Order, Origin, Sandbox, SandboxOptions, StandIns, ToolAnswer, Work, in_turn,
};
use crate::secrets::{EvidenceKeys, Secrets, SecretsKey};
use crate::text::clean;
use admission::Allowed;
use nested::Parent;
use running::{Running, Subject};

pub use crate::sandbox::{CANCEL_GRACE, CallControl, Progress};
pub use access::{AccessError, FIRST_ADMIN, KeyMade, KeyRevoked};
pub use admission::Busy;
pub use backup::{Backup, RestoreProgress, RestoreStep, restore_backup};
pub use calls::{
    CallState, Ended, Ending, Following, KEPT_ANSWERS_BYTES_MAX, KEPT_ANSWERS_HOST_BYTES_MAX,
    KEPT_CALLS_HOST_MAX, KEPT_CALLS_MAX, KEY_KEPT, KEYS_MAX, KeepError, KeepRequest, Kept, KeptCall,
    KeptPage, OPEN_ARGUMENT_BYTES_HOST_MAX, OPEN_ARGUMENT_BYTES_MAX, OPEN_CALLS_HOST_MAX, OPEN_CALLS_MAX,
    PAGE_MAX, RESULT_KEPT, STREAMS_MAX, StreamPlace, Tell,
};
pub use disk::{DISK_RESERVE_BYTES_DEFAULT, DiskLow};
pub use embedding::RequestError;
pub use errors::{Blame, CallError, HostError};
pub use evidence::{Erased, EvidenceError, PayloadErased};
pub use grants::{GrantsChanged, GrantsSource};
pub use keys::KeyRotated;
pub use packages::{
    AddProgress, AddedPackage, Approval, ApprovalMade, ListedPackage, NewComponent, PackageDetails,
};
pub use quotas::{QuotaReached, QuotaStatus, QuotaUse, QuotasChanged};
pub use receipts::ReceiptError;
pub use registrations::Registration;
pub use running::RunningCall;
pub use secrets::SecretChanged;
pub use signers::{NotTrusted, Trust, TrustChanged, TrustSource, TrustStatus};
pub use standing::{FreezeChanged, HostStatus, PrincipalChanged, PrincipalStatus, QuarantineChanged, Taken};
pub use state::StateCleared;
pub use tools::GrantedTool;
pub use trust::SettingsCause;

/// How much of an error's text goes into the log.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// Why the host freezes itself.
const IN_DOUBT: &str = "a change is in the log and could not be put in force; restart the host";

/// A host over one data folder.
#[derive(Debug)]
pub struct Host {
    folder: DataFolder,
    registry: Registry,
    database: Database,
    secrets: Secrets,
    sandbox: Sandbox,
    log: Log,
    evidence_keys: EvidenceKeys,
    payloads: Payloads,
    access: access::Access,
    /// What is in force, in memory: this process owns the folder, so nobody else changes it.
    in_force: RwLock<Arc<InForce>>,
    /// Rings when that was replaced.
    replaced: watch::Sender<()>,
    /// Held while that is read anew, so that what was read first is not kept last.
    refreshing: tokio::sync::Mutex<()>,
    /// A change is in the log and could not be put in force: nothing runs before the next start.
    in_doubt: AtomicBool,
    running: Running,
    admission: Arc<admission::Admission>,
    refusals: refusals::Refusals,
    quotas: Arc<quotas::QuotaBook>,
    calls: calls::Calls,
    receipts: receipts::Receipts,
    audit: AuditSettings,
    limits: Arc<HostLimits>,
    outlets: Outlets,
    metrics: Arc<Metrics>,
    registrations: Arc<registrations::Registrations>,
    disk: DiskWatch,
    verifications: signers::Verifications,
    /// Read by whoever changes packages or grants, written by whoever needs a moment without changes.
    changing: tokio::sync::RwLock<()>,
    /// Held by whoever removes components, or needs them to stay.
    keeping: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Debug, Default)]
struct InForce {
    policy: Policy,
    /// The names that something is registered under. An agent may call any that it thinks of, and a call is judged
    /// without the database, whose one connection for changes is the admins' as well.
    names: BTreeSet<PackageName>,
    approved: BTreeMap<PackageName, Arc<ApprovedPackage>>,
    keys: Arc<KeyRing>,
}

impl InForce {
    /// The package's approved bytes; `None` if it is known and not approved.
    fn resolve(&self, request: &CallRequest) -> Result<Option<Arc<ApprovedPackage>>, CallError> {
        let CallRequest { package: name, tool, .. } = request;
        let Some(package) = self.approved.get(name) else {
            return if self.names.contains(name) {
                Ok(None)
            } else {
                Err(CallError::NotFound(format!(
                    "there is no package {name}; `portcullis package list` shows all"
                )))
            };
        };
        if package.description.tools.iter().any(|known| known.name == *tool) {
            return Ok(Some(Arc::clone(package)));
        }
        let names: Vec<&str> = package.description.tools.iter().map(|tool| tool.name.as_str()).collect();
        Err(CallError::NotFound(format!("package {name} has no tool {tool}; it has {}", names.join(", "))))
    }
}

/// How to open a host.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// How the log is kept, and what answers and effects wait for.
    pub audit: AuditSettings,
    /// Where components are compiled. Default: on a thread of this process, which is weaker than a
    /// program of its own: name one where components come from people whom nobody trusts.
    pub compiler: Compiler,
    /// Defaults and ceilings of this host. Default: those of the table in [`limits`](crate::limits). Stored
    /// grants that give more are cut to the ceilings.
    pub limits: HostLimits,
    /// When fewer bytes are free on the data folder's disk, no new call or package is taken, so that the
    /// ends of running calls and what admins do can still be written. 0: never looked at. Default:
    /// [`DISK_RESERVE_BYTES_DEFAULT`].
    pub disk_reserve_bytes: u64,
    /// Finds the addresses of the names that tools look up or connect to. Default: the system's resolver.
    #[doc(hidden)]
    pub resolver: Arc<dyn Resolver>,
    /// Whose certificates are believed of those that tools send requests to. Default: the system's.
    pub roots: Roots,
    /// The key of stored secrets. Default: that of the data folder, made with the first secret.
    pub secrets_key: Option<SecretsKey>,
    /// What stands in for the world where tools are tested. Default: nothing.
    #[doc(hidden)]
    pub stand_ins: StandIns,
    /// Whether asynchronous calls are taken: whether the host goes on when who asked for one has gone. Default: yes.
    pub asynchronous_calls: bool,
    /// A package that is about to be called, and whose call is the only one: its code is loaded while the rest of the
    /// host opens, and no sandbox is prepared. Default: none.
    pub expected: Option<PackageName>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            audit: AuditSettings::default(),
            compiler: Compiler::default(),
            limits: HostLimits::default(),
            disk_reserve_bytes: DISK_RESERVE_BYTES_DEFAULT,
            resolver: Arc::new(SystemResolver::default()),
            roots: Roots::System,
            secrets_key: None,
            stand_ins: StandIns::default(),
            asynchronous_calls: true,
            expected: None,
        }
    }
}

/// Whether a host can work, as far as only it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostHealth {
    /// The revision of the grants in force.
    pub revision: Revision,
    /// Why the log takes no records, if it does not.
    pub log_failure: Option<String>,
    /// What is not as it should be with the log, though it takes records: closed segments that can't be compressed
    /// or dropped.
    #[serde(default)]
    pub log_alarm: Option<String>,
    /// Why no new calls are taken, if the disk is low.
    pub disk_low: Option<String>,
    /// What is kept free on the disk.
    pub disk_reserve_bytes: u64,
    /// What goes out of the log: records that are shipped, checkpoints that are anchored.
    #[serde(default)]
    pub outlets: Vec<OutletHealth>,
}

/// A call that is asked for.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// In whose name.
    pub principal: PrincipalId,
    /// Which package.
    pub package: PackageName,
    /// Which of its tools.
    pub tool: ToolName,
    /// Its arguments: a JSON object.
    pub arguments: Value,
    /// Bytes of the arguments as they were sent.
    pub argument_bytes: u64,
    /// Where the call belongs in its caller's trace. Recorded, and told to nobody else.
    pub trace: Option<TraceParent>,
    /// How whoever asks was let in: of a [`Caller`](crate::authn::Caller), its own. The call ends if that is revoked.
    pub admission: Arc<Admission>,
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallAnswer {
    /// What the tool said.
    #[serde(flatten)]
    pub answer: ToolAnswer,
    /// How the call went.
    #[serde(flatten)]
    pub report: CallReport,
}

/// How a call went, whether it gave an answer or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallReport {
    /// Its id: `audit tail --call` shows its records.
    pub call: CallId,
    /// The bytes that ran.
    pub digest: PackageDigest,
    /// The place of its last record in the log, where the answer waited for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Sequence>,
    /// What it used.
    pub usage: Usage,
    /// What the tool wrote to stdout: untrusted, cleaned, cut.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// What the tool wrote to stderr: untrusted, cleaned, cut.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// The lines that the tool logged by `wasi:logging`: untrusted, cleaned, cut.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// The private part of its receipt: what opens its commitments. For the caller only, so it is not serialised with
    /// the rest.
    #[serde(skip)]
    pub opening: Option<Opening>,
}

impl Host {
    /// Opens a host over a data folder: mends the log, brings the database up to date, makes the engine.
    ///
    /// # Errors
    /// [`HostError`]: then nothing was changed that the next start would not mend.
    pub async fn open(folder: DataFolder, options: HostOptions) -> Result<Self, HostError> {
        let paths = folder.paths().clone();
        let audit = paths.audit();
        let limits = Arc::new(options.limits.clone());
        let engine_begun = Beginning::begin(&folder, &limits)?;
        // The database before the log: one of a newer version is refused before anything is written.
        let database = Database::open(&paths.database()).await?;
        let ground = engine_begun.ground(&database, options.expected.as_ref()).await?;
        let signing = keys::signing(&folder)?;
        let engine = Some(ENGINE.to_owned());
        let log_options = LogOptions {
            settings: options.audit.clone(),
            checkpoints: Some(signing.clone()),
            engine,
            ..LogOptions::default()
        };
        let log = blocking(move || Log::open(&audit, log_options)).await?;
        if let Err(refusal) = database.settle(log.opened_at()).await {
            // The log ends well, and says that a host was here and did nothing.
            if let Err(error) = log.close().await {
                tracing::warn!(%error, "the log was not closed");
            }
            database.close().await;
            return Err(refusal.into());
        }
        let (outlets, metrics) = match outlets::start(&options, &paths, &signing, &log) {
            Ok(started) => started,
            Err(refusal) => {
                if let Err(error) = log.close().await {
                    tracing::warn!(%error, "the log was not closed");
                }
                database.close().await;
                return Err(refusal);
            }
        };
        let registry = Registry::open(database.clone(), &paths.packages()).await?;
        registry.tidy().await?;
        let HostOptions {
            audit: settings,
            compiler,
            limits: _,
            disk_reserve_bytes,
            resolver,
            roots,
            secrets_key,
            stand_ins,
            asynchronous_calls,
            expected,
        } = options;
        let access = access::Access::new(&folder.api_key()?, Arc::clone(&resolver), roots.clone());
        let secrets = Secrets::open(database.clone(), &folder, secrets_key)?;
        let evidence_keys = EvidenceKeys::new(database.clone(), folder.evidence_key()?);
        let used = database.quota_usage().await?;
        let quotas = Arc::new(quotas::QuotaBook::new(&limits, log.last_time(), used));
        let registrations = Arc::new(registrations::Registrations::new(&limits));
        let (state, prepares) = (database.key_value(), expected.is_none());
        let options = SandboxOptions { compiler, resolver, state, roots, stand_ins, prepares };
        let registered = registry.digests().await?;
        let sandbox = blocking(move || {
            let sandbox = Sandbox::new(ground, options)?;
            sandbox.tidy(&registered).map(|()| sandbox)
        })
        .await?;
        let host = Self {
            payloads: Payloads::new(paths.payloads()),
            access,
            evidence_keys,
            disk: DiskWatch::new(folder.paths().audit(), disk::reserve(disk_reserve_bytes, &limits)),
            folder,
            registry,
            database,
            secrets,
            sandbox,
            log,
            in_force: RwLock::default(),
            replaced: watch::Sender::new(()),
            refreshing: tokio::sync::Mutex::default(),
            in_doubt: AtomicBool::new(false),
            running: Running::default(),
            admission: Arc::new(admission::Admission::new(&limits)),
            refusals: Default::default(),
            quotas,
            calls: calls::Calls::new(asynchronous_calls),
            receipts: receipts::Receipts::default(),
            audit: settings,
            limits,
            outlets,
            metrics,
            registrations,
            verifications: signers::Verifications::default(),
            changing: Default::default(),
            keeping: Arc::default(),
        };
        host.refresh().await?;
        host.interrupt_kept_calls().await?;
        Ok(host)
    }

    /// Ends in good order: the log says so, and the folder is free again.
    ///
    /// # Errors
    /// If calls are still running, or the log can't be written.
    pub async fn close(mut self) -> Result<(), HostError> {
        if let Err(error) = self.write_refusals().await {
            tracing::warn!(%error, "refused calls are not in the log");
        }
        if let Err(error) = self.write_quotas(true).await {
            tracing::warn!(%error, "what was used of quotas is not written down");
        }
        self.receipts.close().await;
        let Self { folder, sandbox, log, mut outlets, database, .. } = self;
        // Giving its memory back takes milliseconds: as long as the disk is waited for.
        let dropped = tokio::task::spawn_blocking(move || drop(sandbox));
        let logged = async {
            let closed = log.close().await;
            outlets.close().await;
            closed
        };
        let (closed, ()) = tokio::join!(logged, database.close());
        if let Err(error) = dropped.await {
            tracing::warn!(%error, "the sandbox did not end well");
        }
        drop(folder);
        Ok(closed?)
    }

    /// The one call path.
    ///
    /// Dropping the future cancels the call: the guest stops within two epoch ticks, and the log says
    /// that it was cancelled. So does a change of what is in force that would deny it, or give it less; then
    /// the log says that it was stopped, and why.
    ///
    /// # Errors
    /// [`CallError`]; each says whose fault it is.
    pub async fn call(&self, request: CallRequest) -> Result<CallAnswer, CallError> {
        self.call_controlled(request, &CallControl::default()).await
    }

    /// The same, for a caller that wants to hear the call's progress, or to ask it to end.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_controlled(
        &self,
        request: CallRequest,
        control: &CallControl,
    ) -> Result<CallAnswer, CallError> {
        self.call_numbered(CallId::generate(), request, control).await
    }

    /// The same, by an id that was given out before.
    async fn call_numbered(
        &self,
        call: CallId,
        request: CallRequest,
        control: &CallControl,
    ) -> Result<CallAnswer, CallError> {
        self.run(call, request, control.clone(), None).await
    }

    /// Makes a call of an agent, or, with its `parent`, of a tool.
    async fn run(
        &self,
        call: CallId,
        request: CallRequest,
        control: CallControl,
        parent: Option<Parent<'_>>,
    ) -> Result<CallAnswer, CallError> {
        self.log.check()?;
        self.disk.check()?;
        self.check_anchors()?;
        let parent_id = parent.as_ref().map(|parent| parent.call);
        let (allowed, place, held) = self.admit(call, &request, parent.as_ref()).await?;
        let Allowed { in_force, authorized, package } = allowed;
        let authorized = match &parent {
            Some(Parent { budget, .. }) => authorized.within_budget(budget.fuel, budget.wall_time),
            None => authorized,
        };
        let authorized = authorized.within_budget(held.fuel(), Duration::MAX);
        let ready = self.ready(&request.package, &package).await?;
        let context = Arc::new(CallContext {
            call,
            principal: request.principal,
            package: request.package,
            digest: authorized.digest(),
            tool: request.tool,
            revision: authorized.revision(),
            parent: parent_id,
            trace: request.trace,
        });
        let secrets = self.secrets.open_for_call(authorized.secrets()).await;
        let secrets = secrets.map_err(|error| HostError::Secrets(error.into()))?;
        let authorized = Arc::new(authorized);
        let subject = Subject {
            context: Arc::clone(&context),
            authorized: Some(Arc::clone(&authorized)),
            admission: Arc::clone(&request.admission),
            control: control.clone(),
        };
        let stopped = self.stopped(subject, in_force);
        let grants = authorized.grants().to_vec();
        let asked = self.begin_evidence(
            call,
            &context.principal,
            &request.arguments,
            authorized.evidence(),
            &secrets,
        );
        let evidence = asked.await?;
        let recording = Recording {
            arguments: Some(evidence.committed()),
            credential: request.admission.credential.clone(),
            ..self.recording(Some(&authorized), parent.as_ref())
        };
        let durability = recording.durability;
        let begun =
            self.log.begin_call(Arc::clone(&context), grants, request.argument_bytes, recording).await;
        let recorder = begun?;
        let (nesting, orders) = nested::nesting(&authorized, parent.as_ref());
        let ancestors = Arc::clone(&nesting.ancestors);
        let (arguments, depth_max) = (&request.arguments, nesting.depth_max);
        let admitted = place.admitted();
        let (meter, spent) = (held.leaving(), place.spent().clone());
        let order = Order { arguments, recorder, admitted, control, nesting, secrets, meter, spent };
        let running = self.sandbox.invoke(&ready, &authorized, order, stopped);
        let mut invoked = match orders {
            None => running.await,
            Some(orders) => {
                let caller = nested::Caller {
                    context: &context,
                    admission: &request.admission,
                    ancestors,
                    depth_max,
                    durability,
                };
                self.serve_nested(running, orders, &caller).await
            }
        };
        // What comes now is the host's own work, and waits for the disk: others may run meanwhile.
        drop((held, place));
        match self.end_evidence(&evidence, &invoked.result).await {
            Ok(commitment) => invoked.recorder.commit_result(commitment),
            Err(error) => {
                let message = clean(&error.to_string(), MESSAGE_BYTES_MAX);
                invoked.recorder.finish(CallOutcome::HostFault { message }, invoked.usage).await?;
                return Err(error.into());
            }
        }
        let outcome = outcome(&invoked.result);
        // What a nested call did comes before its caller's end in the log, and so is on disk when that is.
        let record = if parent.is_some_and(|parent| parent.durability > Durability::Relaxed) {
            invoked.recorder.finish_unawaited(outcome, invoked.usage.clone())?;
            None
        } else {
            invoked.recorder.finish(outcome, invoked.usage.clone()).await?
        };
        let digest = authorized.digest();
        let (usage, stdout, stderr, log) = (invoked.usage, invoked.stdout, invoked.stderr, invoked.log);
        let opening = Some(evidence.opening());
        let report = CallReport { call, digest, record, usage, stdout, stderr, log, opening };
        match invoked.result {
            Ok(answer) => Ok(CallAnswer { answer, report }),
            Err(error) => Err(CallError::Failed { error, report: Box::new(report) }),
        }
    }

    /// How a call is recorded. It waits for what the host says, what its grants ask, or what the call waits for
    /// whose tool made it: the strictest.
    fn recording(&self, authorized: Option<&AuthorizedCall>, parent: Option<&Parent<'_>>) -> Recording {
        let Evidence { durability, fold_reads, payloads: _ } =
            authorized.map(AuthorizedCall::evidence).unwrap_or_default();
        let asked = [durability, parent.map(|parent| parent.durability)];
        let durability = asked.into_iter().flatten().fold(self.audit.durability, Durability::max);
        Recording { durability, fold_reads, ..Recording::default() }
    }

    /// Does a principal's work in its turn on the processor, as its guests run, while another principal asks too.
    pub(crate) async fn in_turn<T>(&self, principal: &PrincipalId, work: impl Future<Output = T>) -> T {
        let subject = QuotaSubject::Principal(principal.clone());
        let weight = self.in_force().policy.quotas_of(&subject).weight.unwrap_or_default();
        in_turn(self.sandbox.turns(), principal, weight, Work::Request, work).await
    }

    /// How sandboxes were prepared since the host started.
    pub fn prepared_sandboxes(&self) -> SandboxesPrepared {
        self.sandbox.prepared()
    }

    /// How often running guests were made to yield since the start: it rises while the host can
    /// interrupt them. For tests.
    #[doc(hidden)]
    pub fn epoch_ticks(&self) -> u64 {
        self.sandbox.epoch_ticks()
    }

    /// Has the engine itself count host calls from now on. For tests.
    #[doc(hidden)]
    pub fn count_host_calls(&self) -> Arc<std::sync::atomic::AtomicU64> {
        self.sandbox.count_host_calls()
    }

    async fn denied(
        &self,
        call: CallId,
        request: &CallRequest,
        parent: Option<CallId>,
        in_force: &InForce,
        digest: Option<PackageDigest>,
        denial: Denial,
    ) -> Result<CallError, LogError> {
        let event = Event::CallDenied {
            call,
            principal: request.principal.clone(),
            package: request.package.clone(),
            digest,
            tool: request.tool.clone(),
            revision: in_force.policy.revision,
            parent,
            denial: denial.clone(),
        };
        self.log.append(event).await?;
        Ok(CallError::Denied { call, denial })
    }

    /// What runs: of what is loaded anew, the signatures are looked at again as they are kept now.
    async fn ready(
        &self,
        name: &PackageName,
        package: &ApprovedPackage,
    ) -> Result<Arc<crate::sandbox::ReadyPackage>, CallError> {
        let digest = package.digest;
        let read = async { self.registry.bytes(digest).await.map(Bytes::from) };
        let prepared = self.sandbox.prepare(digest, &package.description.tools, read).await;
        let (ready, origin) = prepared.map_err(HostError::from)?;
        match &origin {
            Origin::Recompiled(reason) => {
                self.log.append(Event::ArtifactRefused { digest, reason: reason.clone() }).await?;
            }
            Origin::Memory | Origin::Artifact | Origin::Compiled => {}
        }
        if !matches!(origin, Origin::Memory) {
            self.check_trust_at_load(name, package).await?;
        }
        Ok(ready)
    }

    /// Where the log's segments are, for those who read it.
    pub fn audit_folder(&self) -> std::path::PathBuf {
        self.folder.paths().audit()
    }

    /// The log, for those who follow it.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The defaults and ceilings of this host.
    pub fn limits(&self) -> &HostLimits {
        &self.limits
    }

    /// How its log is kept.
    pub fn audit_settings(&self) -> &AuditSettings {
        &self.audit
    }

    /// Whether the host can work.
    pub fn health(&self) -> HostHealth {
        HostHealth {
            revision: self.in_force().policy.revision,
            log_failure: self.log.check().err().map(|error| error.to_string()),
            log_alarm: self.log.alarm(),
            disk_low: self.disk.check().err().map(|low| low.to_string()),
            disk_reserve_bytes: self.disk.reserve_bytes(),
            outlets: self.outlets(),
        }
    }

    /// Where things are.
    pub fn paths(&self) -> &DataPaths {
        self.folder.paths()
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads what is in force, and ends the running calls that it does not allow; answers which.
    async fn refresh(&self) -> Result<Vec<CallId>, HostError> {
        let _refreshing = self.refreshing.lock().await;
        match self.read_in_force().await {
            Ok(in_force) => Ok(self.replace(in_force)),
            Err(error) => {
                self.doubt();
                Err(error)
            }
        }
    }

    async fn read_in_force(&self) -> Result<InForce, HostError> {
        let keys = Arc::new(KeyRing::new(self.database.api_keys().await?));
        let policy = self.database.policy().await?;
        let names = self.registry.names().await?;
        let mut in_force = InForce { policy, names, approved: BTreeMap::new(), keys };
        in_force.approved = self.registry.all_approved(&self.in_force().approved).await?;
        for (name, approved) in &in_force.approved {
            if let Some(distrusted) = self.distrusted(&in_force.policy, name, approved).await? {
                in_force.policy.distrusted.insert(name.clone(), distrusted);
            }
        }
        Ok(in_force)
    }

    /// Puts in force what the log has already.
    async fn commit(&self, change: GrantsChange) -> Result<Vec<CallId>, HostError> {
        if let Err(error) = change.commit().await {
            self.doubt();
            return Err(error.into());
        }
        self.refresh().await
    }

    /// What is in force is not what the log says, or can't be read: nothing runs until the next start, which
    /// settles it.
    fn doubt(&self) {
        self.in_doubt.store(true, Ordering::Release);
        self.replace(InForce::clone(&self.in_force()));
    }

    fn replace(&self, mut in_force: InForce) -> Vec<CallId> {
        if self.in_doubt.load(Ordering::Acquire) {
            let because = IN_DOUBT.parse().expect("the constant is a valid remark");
            in_force.policy.frozen = Some(Freeze { because, by: local_admin(), since: self.now() });
        }
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
        // Before all others hear of the change: a call that judges itself by it ends uncounted.
        let stopped = self.stop_what_is_not_allowed();
        self.replaced.send_replace(());
        stopped
    }

    /// The later of the clock and the log's last record: a clock that was set back revives no grant.
    fn now(&self) -> Timestamp {
        Timestamp::now().max(self.log.last_time())
    }
}

/// Finishes a change that was under way, and refuses a database and a log that do not belong together.
async fn blocking<T: Send + 'static, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, HostError>
where
    E: Send + 'static,
    HostError: From<E>,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn not_approved(request: &CallRequest) -> Denial {
    Denial::NotApproved { package: request.package.clone() }
}

/// What the log says of how a call ended.
fn outcome(result: &Result<ToolAnswer, InvokeError>) -> CallOutcome {
    let message = |error: &InvokeError| clean(&error.to_string(), MESSAGE_BYTES_MAX);
    match result {
        Ok(_) => CallOutcome::Ok,
        Err(InvokeError::LimitReached(reached)) => CallOutcome::LimitReached(*reached),
        Err(InvokeError::Cancelled) => CallOutcome::Cancelled,
        Err(InvokeError::Stopped(stop)) => CallOutcome::Stopped { stop: stop.clone() },
        Err(InvokeError::Withheld { secret }) => CallOutcome::Withheld { secret: secret.clone() },
        Err(error @ InvokeError::Arguments(_)) => CallOutcome::BadInput { message: message(error) },
        Err(error @ (InvokeError::Tool { .. } | InvokeError::Crashed(_))) => {
            CallOutcome::ToolError { message: message(error) }
        }
        Err(
            error @ (InvokeError::Busy | InvokeError::Grant(_) | InvokeError::Log(_) | InvokeError::Host(_)),
        ) => CallOutcome::HostFault { message: message(error) },
    }
}
