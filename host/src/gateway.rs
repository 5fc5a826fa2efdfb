//! The host as a whole, and the one path that every call takes.
//!
//! [`Host::call`] reads from top to bottom: resolve, authorize, admit, run, finish. What an admin does
//! is planned, recorded, and only then put in force. Nothing here knows HTTP, MCP or a command line.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::event::{CallContext, CallOutcome, Event};
use crate::audit::query::{self, Filter, ReadError};
use crate::audit::{Durability, Log, LogError, LogOptions};
use crate::config::{DataFolder, DataFolderError, DataPaths};
use crate::database::{Added, ChangeError, Database, DatabaseError, Package};
use crate::ids::{CallId, GrantId, PackageDigest, PackageName, PrincipalId, Revision, Sequence, ToolName};
use crate::limits::{LimitReached, Usage};
use crate::package::PackageDescription;
use crate::policy::parse::{Diagnostic, parse_grants};
use crate::policy::{AuthorizationRequest, Denial, Grant, Policy, authorize};
use crate::registry::{ApprovedPackage, FolderCheck, Registry, RegistryError};
use crate::sandbox::{InvokeError, Origin, PackageError, PrepareError, Sandbox, SandboxError, ToolAnswer};
use crate::text::clean;

/// The tool name under which a component's `list-tools` runs at registration.
const LIST_TOOLS: &str = "list-tools";
/// How much of an error's text goes into the log.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// A host over one data folder.
#[derive(Debug)]
pub struct Host {
    folder: DataFolder,
    registry: Registry,
    database: Database,
    sandbox: Sandbox,
    log: Log,
    /// What is in force, in memory: this process owns the folder, so nobody else changes it.
    in_force: RwLock<Arc<InForce>>,
    durability: Durability,
}

#[derive(Debug, Default)]
struct InForce {
    policy: Policy,
    approved: BTreeMap<PackageName, Arc<ApprovedPackage>>,
}

/// How to open a host.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostOptions {
    /// What an answer waits for. Default: that its records are on disk.
    pub durability: Durability,
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
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallAnswer {
    /// What the tool said.
    #[serde(flatten)]
    pub answer: ToolAnswer,
    /// How the call went.
    #[serde(flatten)]
    pub report: CallReport,
}

/// How a call went, whether it gave an answer or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// Whoever called.
    Agent,
    /// Whoever wrote the tool.
    Tool,
    /// Whoever set up grants and packages.
    Admin,
    /// The host, or its machine.
    Host,
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such package, or it has no such tool.
    #[error("{0}")]
    NotFound(String),
    /// Not allowed. It is in the log.
    #[error("{denial}")]
    Denied {
        /// The call's id.
        call: CallId,
        /// Why.
        denial: Denial,
    },
    /// The host runs as many calls as it can.
    #[error("the host is busy: {0}")]
    Busy(LimitReached),
    /// It ran, and gave no answer.
    #[error("{error}")]
    Failed {
        /// Why.
        error: InvokeError,
        /// How it went.
        report: Box<CallReport>,
    },
    /// The log can't be written, so nothing runs.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The host failed before the call could run.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl CallError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            CallError::NotFound(_) => Blame::Agent,
            CallError::Denied { .. } => Blame::Admin,
            CallError::Failed { error, .. } => match error {
                InvokeError::Arguments(_) => Blame::Agent,
                InvokeError::LimitReached(_) | InvokeError::Tool { .. } | InvokeError::Crashed(_) => {
                    Blame::Tool
                }
                InvokeError::Grant(_) => Blame::Admin,
                InvokeError::Busy | InvokeError::Log(_) | InvokeError::Host(_) => Blame::Host,
            },
            CallError::Busy(_) | CallError::Log(_) | CallError::Host(_) => Blame::Host,
        }
    }
}

/// Why the host could not do what an admin asked for.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log, read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The packages.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The engine.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A component that can't be a package.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A name or version that is missing or wrong.
    #[error("{0}")]
    Naming(String),
    /// A grants file with errors.
    #[error("the grants file {file} has {count} errors; nothing was changed", count = diagnostics.len())]
    Grants {
        /// Its name.
        file: String,
        /// Its errors.
        diagnostics: Vec<Diagnostic>,
    },
    /// A change that can't be made.
    #[error(transparent)]
    Change(ChangeError),
}

impl HostError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            HostError::Package(_) => Blame::Tool,
            HostError::Naming(_) | HostError::Grants { .. } => Blame::Admin,
            HostError::Registry(
                RegistryError::NotFound { .. }
                | RegistryError::NoSuchDigest { .. }
                | RegistryError::Ambiguous { .. }
                | RegistryError::NothingPending { .. }
                | RegistryError::VersionTooLong { .. },
            ) => Blame::Admin,
            HostError::Change(ChangeError::Database(_)) => Blame::Host,
            HostError::Change(_) => Blame::Admin,
            HostError::Folder(_)
            | HostError::Log(_)
            | HostError::Read(_)
            | HostError::Database(_)
            | HostError::Registry(_)
            | HostError::Sandbox(_) => Blame::Host,
        }
    }
}

impl From<PrepareError> for HostError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Package(error) => error.into(),
            PrepareError::Sandbox(error) => error.into(),
        }
    }
}

/// How far a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddProgress {
    /// Sizes and counts were looked at; compiling begins.
    Compiling,
    /// Its own list of tools is asked for.
    ListingTools,
    /// It is being written down.
    Storing,
}

/// A component that was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddedPackage {
    /// Its name.
    pub package: PackageName,
    /// Its version.
    pub version: semver::Version,
    /// Its bytes.
    pub digest: PackageDigest,
    /// Whether it was there before.
    pub added: Added,
    /// What it is and asks for.
    pub description: PackageDescription,
}

/// A package with what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackageDetails {
    /// One of the components under its name.
    #[serde(flatten)]
    pub package: Package,
    /// What it is and asks for.
    pub description: PackageDescription,
}

/// A grants file as an admin gave it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantsSource {
    /// Its name, for messages.
    pub file: String,
    /// The folder that relative paths begin at.
    pub folder: std::path::PathBuf,
    /// Its text.
    pub text: String,
}

/// What a change of grants did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantsChanged {
    /// The revision now in force.
    pub revision: Revision,
    /// Grants that are new in it.
    pub granted: Vec<GrantId>,
    /// Grants that ended with it.
    pub revoked: Vec<GrantId>,
    /// Whether anything changed at all.
    pub changed: bool,
}

impl Host {
    /// Opens a host over a data folder: mends the log, brings the database up to date, makes the engine.
    ///
    /// # Errors
    /// [`HostError`]: then nothing was changed that the next start would not mend.
    pub async fn open(folder: DataFolder, options: HostOptions) -> Result<Self, HostError> {
        let paths = folder.paths().clone();
        let key = folder.artifact_key()?;
        let audit = paths.audit();
        let log = blocking(move || Log::open(&audit, LogOptions::default())).await?;
        let database = Database::open(&paths.database()).await?;
        let logged = last_revision(&paths)?;
        database.settle(logged).await?;
        let registry = Registry::open(database.clone(), &paths.packages()).await?;
        registry.tidy().await?;
        let artifacts = paths.artifacts();
        let sandbox = blocking(move || Sandbox::new(artifacts, key)).await?;
        let durability = options.durability;
        let host = Self { folder, registry, database, sandbox, log, in_force: RwLock::default(), durability };
        host.refresh().await?;
        Ok(host)
    }

    /// Ends in good order: the log says so, and the folder is free again.
    ///
    /// # Errors
    /// If calls are still running, or the log can't be written.
    pub async fn close(self) -> Result<(), HostError> {
        self.log.close().await?;
        self.database.close().await;
        Ok(())
    }

    /// The one call path.
    ///
    /// Dropping the future cancels the call: the guest stops within two epoch ticks, and the log says
    /// that it was cancelled.
    ///
    /// # Errors
    /// [`CallError`]; each says whose fault it is.
    pub async fn call(&self, request: CallRequest) -> Result<CallAnswer, CallError> {
        self.log.check()?;
        let in_force = self.in_force();
        let package = self.resolve(&in_force, &request).await?;
        let call = CallId::generate();
        let declared = package.as_ref().map(|package| &package.description.capabilities);
        let decision = authorize(
            &AuthorizationRequest {
                call,
                principal: &request.principal,
                package: &request.package,
                tool: &request.tool,
                approved: package.as_ref().map(|package| package.digest),
                declared: declared.unwrap_or(&Default::default()),
                now: self.now(),
            },
            &in_force.policy,
        );
        let (authorized, package) = match (decision, package) {
            (Ok(authorized), Some(package)) => (authorized, package),
            (Ok(_), None) => {
                return Err(self.denied(call, &request, &in_force, not_approved(&request)).await?);
            }
            (Err(denial), _) => return Err(self.denied(call, &request, &in_force, denial).await?),
        };
        let place = self.sandbox.place().map_err(CallError::Busy)?;
        let ready = self.ready(&package).await?;
        let context = Arc::new(CallContext {
            call,
            principal: request.principal,
            package: request.package,
            digest: authorized.digest(),
            tool: request.tool,
            revision: authorized.revision(),
        });
        let recorder =
            self.log.begin_call(context, authorized.grants().to_vec(), request.argument_bytes).await?;
        let invoked = self.sandbox.invoke(&ready, &authorized, &request.arguments, recorder, place).await;
        let outcome = outcome(&invoked.result);
        let record = invoked.recorder.finish(outcome, invoked.usage.clone(), self.durability).await?;
        let digest = authorized.digest();
        let (usage, stdout, stderr) = (invoked.usage, invoked.stdout, invoked.stderr);
        let report = CallReport { call, digest, record, usage, stdout, stderr };
        match invoked.result {
            Ok(answer) => Ok(CallAnswer { answer, report }),
            Err(error) => Err(CallError::Failed { error, report: Box::new(report) }),
        }
    }

    /// How often running guests were made to yield since the start: it rises while the host can
    /// interrupt them. For tests.
    #[doc(hidden)]
    pub fn epoch_ticks(&self) -> u64 {
        self.sandbox.epoch_ticks()
    }

    /// The package's approved bytes; `None` if it is known and not approved.
    async fn resolve(
        &self,
        in_force: &InForce,
        request: &CallRequest,
    ) -> Result<Option<Arc<ApprovedPackage>>, CallError> {
        let Some(package) = in_force.approved.get(&request.package) else {
            return match self.registry.get(&request.package).await {
                Ok(_) => Ok(None),
                Err(RegistryError::NotFound { name }) => Err(CallError::NotFound(format!(
                    "there is no package {name}; `portcullis package list` shows all"
                ))),
                Err(error) => Err(HostError::from(error).into()),
            };
        };
        if package.description.tools.iter().any(|tool| tool.name == request.tool) {
            return Ok(Some(Arc::clone(package)));
        }
        let names: Vec<&str> = package.description.tools.iter().map(|tool| tool.name.as_str()).collect();
        let (name, tool, names) = (&request.package, &request.tool, names.join(", "));
        Err(CallError::NotFound(format!("package {name} has no tool {tool}; it has {names}")))
    }

    async fn denied(
        &self,
        call: CallId,
        request: &CallRequest,
        in_force: &InForce,
        denial: Denial,
    ) -> Result<CallError, LogError> {
        let event = Event::CallDenied {
            call,
            principal: request.principal.clone(),
            package: request.package.clone(),
            tool: request.tool.clone(),
            revision: in_force.policy.revision,
            denial: denial.clone(),
        };
        self.log.append(event).await?;
        Ok(CallError::Denied { call, denial })
    }

    async fn ready(&self, package: &ApprovedPackage) -> Result<Arc<crate::sandbox::ReadyPackage>, CallError> {
        let digest = package.digest;
        let read = async { self.registry.bytes(digest).await.map(Bytes::from) };
        let prepared = self.sandbox.prepare(digest, &package.description.tools, read).await;
        let (ready, origin) = prepared.map_err(HostError::from)?;
        match origin {
            Origin::Recompiled(reason) => {
                self.log.append(Event::ArtifactRefused { digest, reason }).await?;
            }
            Origin::Memory | Origin::Artifact | Origin::Compiled => {}
        }
        Ok(ready)
    }

    /// Registers a component. It has no power, and does not run, until it is approved and granted.
    ///
    /// # Errors
    /// [`HostError::Package`] if it can't be a package, which is recorded; [`HostError::Naming`] if no
    /// name was given and the component has none.
    pub async fn add_package(
        &self,
        by: &PrincipalId,
        bytes: Bytes,
        name: Option<PackageName>,
        version: Option<semver::Version>,
        progress: impl Fn(AddProgress) + Send,
    ) -> Result<AddedPackage, HostError> {
        let digest = PackageDigest::of(&bytes);
        let described = self.describe(by, &bytes, name, version, &progress).await;
        let (package, version, description) = match described {
            Ok(described) => described,
            Err(error) => {
                if let HostError::Package(refusal) = &error {
                    let reason = clean(&refusal.to_string(), MESSAGE_BYTES_MAX);
                    self.log.append(Event::PackageRefused { digest, reason, by: by.clone() }).await?;
                }
                return Err(error);
            }
        };
        progress(AddProgress::Storing);
        self.log
            .append(Event::PackageAdded {
                package: package.clone(),
                version: version.to_string(),
                digest,
                bytes: bytes.len() as u64,
                by: by.clone(),
            })
            .await?;
        let added =
            self.registry.add(&package, &version, digest, bytes.into(), &description, self.now()).await?;
        Ok(AddedPackage { package, version, digest, added, description })
    }

    async fn describe(
        &self,
        by: &PrincipalId,
        bytes: &Bytes,
        name: Option<PackageName>,
        version: Option<semver::Version>,
        progress: &(impl Fn(AddProgress) + Send),
    ) -> Result<(PackageName, semver::Version, PackageDescription), HostError> {
        Sandbox::measure(bytes)?;
        progress(AddProgress::Compiling);
        let candidate = self.sandbox.compile(bytes.clone()).await?;
        let (package, version) = named(name, version, candidate.wit_package.clone())?;
        if !candidate.lists_tools {
            return Ok((package, version, Sandbox::typed_description(candidate)));
        }
        progress(AddProgress::ListingTools);
        let context = Arc::new(CallContext {
            call: CallId::generate(),
            principal: by.clone(),
            package: package.clone(),
            digest: PackageDigest::of(bytes),
            tool: LIST_TOOLS.parse().expect("the constant is a valid name"),
            revision: self.in_force().policy.revision,
        });
        let recorder = self.log.begin_call(context, Vec::new(), 0).await?;
        let (described, invoked) = self.sandbox.describe(candidate, recorder).await;
        invoked.recorder.finish(outcome(&invoked.result), invoked.usage, self.durability).await?;
        Ok((package, version, described?))
    }

    /// All packages, by name.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn packages(&self) -> Result<Vec<Package>, HostError> {
        Ok(self.registry.list().await?)
    }

    /// The components under a name, with what is known of them.
    ///
    /// # Errors
    /// If there is no such package.
    pub async fn package(&self, name: &PackageName) -> Result<Vec<PackageDetails>, HostError> {
        let mut details = Vec::new();
        for package in self.registry.get(name).await? {
            let description = self.registry.description(name, package.digest).await?;
            details.push(PackageDetails { package, description });
        }
        Ok(details)
    }

    /// Approves bytes under a name: those named, or the only ones that wait for it.
    ///
    /// # Errors
    /// If there are none, or several and none was named.
    pub async fn approve(
        &self,
        by: &PrincipalId,
        name: &PackageName,
        digest: Option<PackageDigest>,
    ) -> Result<PackageDigest, HostError> {
        let digest = self.registry.choose(name, digest).await?;
        // What can't be read any more is not approved, nor recorded as such.
        self.registry.bytes(digest).await?;
        self.log.append(Event::PackageApproved { package: name.clone(), digest, by: by.clone() }).await?;
        self.registry.approve(name, Some(digest), self.now()).await?;
        self.refresh().await?;
        Ok(digest)
    }

    /// Removes a package with all its bytes and grants.
    ///
    /// # Errors
    /// If there is no such package.
    pub async fn remove_package(&self, by: &PrincipalId, name: &PackageName) -> Result<(), HostError> {
        let removal = self.registry.prepare_removal(name, by, self.now()).await?;
        if let Some(change) = removal.change() {
            let (revision, granted, revoked) =
                (change.revision(), change.granted(), change.revoked().to_vec());
            self.log.append(Event::GrantsChanged { revision, granted, revoked, by: by.clone() }).await?;
        }
        let digest = removal.approved();
        self.log.append(Event::PackageRemoved { package: name.clone(), digest, by: by.clone() }).await?;
        let digests: Vec<PackageDigest> =
            self.registry.get(name).await?.into_iter().map(|package| package.digest).collect();
        removal.commit().await?;
        self.refresh().await?;
        let kept: Vec<PackageDigest> =
            self.registry.list().await?.iter().map(|package| package.digest).collect();
        for digest in digests.into_iter().filter(|digest| !kept.contains(digest)) {
            self.sandbox.forget(digest);
        }
        Ok(())
    }

    /// Puts a grants file in force: it replaces all grants of each package that it names.
    ///
    /// # Errors
    /// [`HostError::Grants`] with every error of the file; nothing is changed then.
    pub async fn apply_grants(
        &self,
        by: &PrincipalId,
        source: &GrantsSource,
    ) -> Result<GrantsChanged, HostError> {
        let wrong = |diagnostics| HostError::Grants { file: source.file.clone(), diagnostics };
        let folders = FolderCheck::new(&source.folder, &[self.folder.paths().root()])
            .map_err(|error| HostError::Naming(format!("folder {}: {error}", source.folder.display())))?;
        let file = parse_grants(&source.text, &folders).map_err(wrong)?;
        let change = match self.database.prepare_apply(&file, by, self.now()).await {
            Ok(change) => change,
            Err(ChangeError::File(diagnostics)) => return Err(wrong(diagnostics)),
            Err(error) => return Err(HostError::Change(error)),
        };
        let Some(change) = change else {
            let revision = self.in_force().policy.revision;
            return Ok(GrantsChanged { revision, granted: Vec::new(), revoked: Vec::new(), changed: false });
        };
        self.put_in_force(by, change).await
    }

    /// Ends a grant.
    ///
    /// # Errors
    /// If there is no such grant.
    pub async fn revoke(&self, by: &PrincipalId, grant: GrantId) -> Result<GrantsChanged, HostError> {
        let change = self.database.prepare_revoke(grant, by, self.now()).await.map_err(HostError::Change)?;
        self.put_in_force(by, change).await
    }

    /// The record first, then the change. If the log may have it, the change is not abandoned: the next
    /// start settles it by what the log holds.
    async fn put_in_force(
        &self,
        by: &PrincipalId,
        change: crate::database::GrantsChange,
    ) -> Result<GrantsChanged, HostError> {
        let (revision, granted, revoked) = (change.revision(), change.granted(), change.revoked().to_vec());
        let event = Event::GrantsChanged {
            revision,
            granted: granted.clone(),
            revoked: revoked.clone(),
            by: by.clone(),
        };
        self.log.append(event).await?;
        change.commit().await?;
        self.refresh().await?;
        Ok(GrantsChanged { revision, granted, revoked, changed: true })
    }

    /// The grants in force, of one package or of all.
    pub fn grants(&self, package: Option<&PackageName>) -> Vec<Grant> {
        let in_force = self.in_force();
        let of_package = |grant: &&Grant| package.is_none_or(|package| grant.package == *package);
        in_force.policy.grants.iter().filter(of_package).cloned().collect()
    }

    /// All that is granted now.
    pub fn policy(&self) -> Policy {
        self.in_force().policy.clone()
    }

    /// Where the log's segments are, for those who read it.
    pub fn audit_folder(&self) -> std::path::PathBuf {
        self.folder.paths().audit()
    }

    /// The log, for those who follow it.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Where things are.
    pub fn paths(&self) -> &DataPaths {
        self.folder.paths()
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn refresh(&self) -> Result<(), HostError> {
        let mut in_force = InForce { policy: self.database.policy().await?, approved: BTreeMap::new() };
        for package in self.registry.list().await? {
            if let Some(approved) = self.registry.approved(&package.name).await? {
                in_force.approved.insert(package.name, Arc::new(approved));
            }
        }
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
        Ok(())
    }

    /// The later of the clock and the log's last record: a clock that was set back revives no grant.
    fn now(&self) -> Timestamp {
        Timestamp::now().max(self.log.last_time())
    }
}

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

/// The highest revision of grants that the log speaks of, found from its end.
fn last_revision(paths: &DataPaths) -> Result<Revision, HostError> {
    let audit = paths.audit();
    for count in [100, 10_000] {
        let mut last = None;
        for record in query::tail(&audit, count)? {
            last = last.max(record?.event.revision());
        }
        if let Some(revision) = last {
            return Ok(revision);
        }
    }
    let mut last = Revision::default();
    for record in query::read(&audit, Filter::default()) {
        last = last.max(record?.event.revision().unwrap_or_default());
    }
    Ok(last)
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
        Err(error @ InvokeError::Arguments(_)) => CallOutcome::BadInput { message: message(error) },
        Err(error @ (InvokeError::Tool { .. } | InvokeError::Crashed(_))) => {
            CallOutcome::ToolError { message: message(error) }
        }
        Err(
            error @ (InvokeError::Busy | InvokeError::Grant(_) | InvokeError::Log(_) | InvokeError::Host(_)),
        ) => CallOutcome::HostFault { message: message(error) },
    }
}

/// What the package is called: as said, or else as its WIT package is.
fn named(
    name: Option<PackageName>,
    version: Option<semver::Version>,
    wit: Option<(String, Option<String>)>,
) -> Result<(PackageName, semver::Version), HostError> {
    let (wit_name, wit_version) = wit.map_or((None, None), |(name, version)| (Some(name), version));
    let name = match (name, wit_name) {
        (Some(name), _) => name,
        (None, Some(name)) => {
            name.parse().map_err(|error| HostError::Naming(format!("{error}; give another with --name")))?
        }
        (None, None) => {
            return Err(HostError::Naming(
                "the component does not say what it is called; give it a name with --name".into(),
            ));
        }
    };
    let version = match (version, wit_version.and_then(|version| version.parse().ok())) {
        (Some(version), _) | (None, Some(version)) => version,
        (None, None) => semver::Version::new(0, 0, 0),
    };
    Ok((name, version))
}
