//! Where guests run: the engine, compiling, the gate, one fresh sandbox for each call.
//!
//! The only module that sees `wasmtime` types. It is handed an [`AuthorizedCall`] and a recorder, and
//! gives back an outcome: it never decides who may call what, and never speaks to an agent.

mod admitted;
mod artifact;
#[doc(hidden)]
pub mod bindings;
pub(crate) mod capabilities;
mod code;
pub mod compiler;
pub(crate) mod connections;
mod control;
pub(crate) mod convert;
mod copies;
mod engine;
mod ground;
mod image;
mod inspect;
mod invocation;
mod limiter;
mod listed;
pub mod nested;
mod prepared;
mod screen;
mod stand_ins;
mod turns;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::Value;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, Linker};

pub use self::admitted::{Admitted, Spent};
use self::artifact::{ArtifactError, Artifacts};
use self::bindings::tool::exports::portcullis::tool::tools as tool_world;
use self::capabilities::CallState;
use self::capabilities::filesystem::{DISK_WORKERS_MAX, Quotas};
use self::capabilities::http::Sender;
use self::code::LoadedCode;
use self::compiler::{Compiler, Job};
use self::connections::Connections;
pub use self::control::{CANCEL_GRACE, CallControl, Progress};
use self::convert::shape::TypedFunction;
pub use self::engine::{ENGINE, EPOCH_TICK, open_page_map, tuned_floor_engine};
pub use self::ground::Ground;
use self::ground::Loading;
pub use self::inspect::PackageError;
pub use self::invocation::{Content, InvokeError, Invoked, ToolAnswer};
use self::invocation::{Entry, Loaded, Resources};
use self::nested::Nesting;
use self::prepared::Preparer;
pub use self::stand_ins::StandIns;
use self::turns::Turns;
pub use self::turns::worker_threads;
pub(crate) use self::turns::{Work, in_turn};
use crate::audit::Recorder;
use crate::database::KeyValue;
use crate::egress::{Client, Meter, Resolver, Roots};
use crate::ids::{PackageDigest, ToolName};
use crate::limits::{CallLimits, HostLimits, Limit};
use crate::package::{
    CodeHeld, CompileCost, ComponentSize, PackageDescription, SandboxesPrepared, ToolDescription, ToolExport,
};
use crate::policy::{AuthorizedCall, Stop};
use crate::secrets::CallSecrets;

/// Components that are compiled at once: compiling takes all cores and much memory.
const COMPILERS_MAX: usize = 1;

/// Why a sandbox, or a package in it, is not to be had. The host's fault, or its machine's.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox can't run: {0}")]
pub struct SandboxError(String);

/// Makes an engine, and drops it: whether this machine can run one.
///
/// # Errors
/// Why it can't.
pub fn try_engine() -> Result<(), SandboxError> {
    engine::engine(&HostLimits::default()).map(drop).map_err(|error| SandboxError(format!("{error:#}")))
}

/// Whose fault it is that a component can't be had.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The component's.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The host's.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// The engine, and every component that was made ready on it.
pub struct Sandbox {
    engine: Engine,
    ticker: engine::Ticker,
    linker: Linker<CallState>,
    artifacts: Arc<Artifacts>,
    /// What is loaded for the first call before it comes; taken by the first component that is made ready.
    loading: Mutex<Option<Loading>>,
    compiler: Arc<Compiler>,
    ready: LoadedCode<ReadyPackage>,
    compilers: Arc<Semaphore>,
    resources: Arc<Resources>,
    /// None where sandboxes are made with their calls.
    preparer: Option<Preparer>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("artifacts", &self.artifacts).finish_non_exhaustive()
    }
}

/// A component that is compiled and linked.
pub struct ReadyPackage {
    loaded: Arc<Loaded>,
    entries: HashMap<ToolName, Entry>,
}

impl std::fmt::Debug for ReadyPackage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadyPackage").field("tools", &self.entries.keys()).finish_non_exhaustive()
    }
}

/// How a component came to be ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was ready already.
    Memory,
    /// From the artifact that this host had made.
    Artifact,
    /// Compiled, because there was no artifact.
    Compiled,
    /// Compiled, because the artifact was not this host's; the reason is for the log.
    Recompiled(String),
}

/// What a sandbox runs a call with, beside its authorization.
#[derive(Debug)]
pub struct Order<'a> {
    /// A JSON object.
    pub arguments: &'a Value,
    /// Takes its records.
    pub recorder: Recorder,
    /// The place that it runs in.
    pub admitted: Admitted,
    /// The line to whoever waits for it.
    pub control: CallControl,
    /// The calls around it.
    pub nesting: Nesting,
    /// The secrets that it was given.
    pub secrets: CallSecrets,
    /// Is asked before bytes leave.
    pub meter: Arc<dyn Meter>,
    /// Takes what it used.
    pub spent: Spent,
}

/// What a sandbox is made of.
#[derive(Debug)]
pub struct SandboxOptions {
    /// Where components are compiled.
    pub compiler: Compiler,
    /// Finds the addresses of names that guests look up or connect to.
    pub resolver: Arc<dyn Resolver>,
    /// Where packages keep state.
    pub state: KeyValue,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// What stands in for the world, in tests of tools.
    pub stand_ins: StandIns,
    /// Whether some are made before their calls: not where there will be one call.
    pub prepares: bool,
}

/// A component that was compiled to be registered, and what is known of it so far. Nothing of it is kept
/// before [`Sandbox::keep`].
pub struct Candidate {
    component: Component,
    digest: PackageDigest,
    /// Name and version of its WIT package, if it has one.
    pub wit_package: Option<(String, Option<String>)>,
    /// Whether `list-tools` must be asked for its tools.
    pub lists_tools: bool,
    description: PackageDescription,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// A candidate that turned out to be a package.
pub struct Described {
    component: Component,
    digest: PackageDigest,
    /// What it is and asks for.
    pub description: PackageDescription,
}

impl std::fmt::Debug for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Described").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Makes a sandbox.
    ///
    /// # Errors
    /// If this machine has no thread for it.
    pub fn new(ground: Ground, options: SandboxOptions) -> Result<Self, SandboxError> {
        let Ground { engine, ticker, linker, artifacts, limits, loading } = ground;
        let SandboxOptions { compiler, resolver, state, roots, stand_ins, prepares } = options;
        let resources = Arc::new(Resources {
            turns: Turns::new(),
            connections: Arc::new(Connections::new(&limits)),
            http: Sender::new(Client::new(Arc::clone(&resolver), roots).standing_in(stand_ins.http.clone())),
            stand_ins,
            resolver,
            limits,
            quotas: Quotas::default(),
            state,
            disk_workers: Arc::new(Semaphore::new(DISK_WORKERS_MAX)),
            host_calls_seen: OnceLock::new(),
        });
        let limits = &resources.limits;
        let prepared_max = limits.ceiling_of(Limit::PreparedSandboxes);
        let preparer = (prepares && prepared_max > 0)
            .then(|| Preparer::start(prepared_max, Arc::clone(&resources)))
            .transpose();
        Ok(Self {
            artifacts,
            engine,
            ticker,
            linker,
            loading: Mutex::new(loading),
            ready: LoadedCode::new(limits.ceiling_of(Limit::LoadedCode)),
            compilers: Arc::new(Semaphore::new(COMPILERS_MAX)),
            compiler: Arc::new(compiler),
            preparer: preparer.map_err(|error| SandboxError(error.to_string()))?,
            resources,
        })
    }

    /// Counts what is in a file, without compiling it.
    ///
    /// # Errors
    /// If it can't be a package.
    pub fn measure(bytes: &[u8], limits: &HostLimits) -> Result<ComponentSize, PackageError> {
        inspect::measure(bytes, limits)
    }

    /// Compiles a file to be registered. Takes from milliseconds to
    /// [`Limit::CompileTime`](crate::limits::Limit::CompileTime), as [`Compiler`] says where. Dropping the
    /// future kills the compiler's process.
    ///
    /// # Errors
    /// If it can't be a package, or the host can't compile.
    pub async fn compile(&self, bytes: bytes::Bytes) -> Result<Candidate, PrepareError> {
        let size = inspect::measure(&bytes, &self.resources.limits)?;
        let digest = PackageDigest::of(&bytes);
        let (component, cost) = self.compile_bytes(bytes.clone()).await?;
        let (imports, capabilities) = inspect::imports(&self.engine, &component)?;
        // What the names promise, the types must keep.
        self.linker
            .instantiate_pre(&component)
            .map_err(|error| PackageError::UnknownImports(vec![format!("{error:#}")]))?;
        let exports = inspect::exports(&self.engine, &component, &bytes);
        if exports.tools.is_empty() && !exports.lists_tools {
            return Err(PackageError::NoTools(exports.left_out).into());
        }
        inspect::tell_apart(&exports.tools)?;
        let description = PackageDescription {
            tools: exports.tools,
            imports,
            capabilities,
            size,
            compile: Some(cost),
            left_out: exports.left_out,
        };
        Ok(Candidate {
            component,
            digest,
            wit_package: exports.wit_package,
            lists_tools: exports.lists_tools,
            description,
        })
    }

    /// Asks a candidate for its listed tools, if it has such, in a sandbox without any power, until
    /// `stopped` ends.
    ///
    /// # Errors
    /// If `list-tools` fails or answers nonsense. The recorder is given back in each case.
    pub async fn describe(
        &self,
        candidate: Candidate,
        recorder: Recorder,
        stopped: impl Future<Output = Stop>,
    ) -> (Result<Described, PackageError>, Invoked) {
        let listed = async {
            let pre = self.linker.instantiate_pre(&candidate.component).map_err(not_listed)?;
            let indices = tool_world::GuestIndices::new(&pre).map_err(not_listed)?;
            Ok((Loaded::new(pre), indices))
        };
        let (loaded, indices) = match listed.await {
            Ok(ready) => ready,
            Err(error) => return (Err(error), Invoked::not_started(recorder)),
        };
        let (limits, resources) = (CallLimits::of(&self.resources.limits), &self.resources);
        let (listed, invoked) =
            invocation::list_tools(&loaded, &indices, &limits, recorder, resources, stopped).await;
        let tools = match (listed, &invoked.result) {
            (Ok(listed), Ok(_)) => listed::descriptions(listed),
            (_, Err(error)) => Err(PackageError::ListTools(error.to_string())),
            (Err(error), Ok(_)) => Err(PackageError::ListTools(error.to_string())),
        };
        let mut described = Self::typed_description(candidate);
        let description = &mut described.description;
        let complete = tools.and_then(|tools| {
            description.tools.extend(tools);
            listed::sort_by_name(&mut description.tools)?;
            inspect::tell_apart(&description.tools)?;
            match description.tools.is_empty() {
                true => Err(PackageError::NoTools(std::mem::take(&mut description.left_out))),
                false => Ok(()),
            }
        });
        (complete.map(|()| described), invoked)
    }

    /// What is known of a candidate that lists no tools.
    pub fn typed_description(candidate: Candidate) -> Described {
        let Candidate { component, digest, description, .. } = candidate;
        Described { component, digest, description }
    }

    /// Keeps what was compiled of a package that is registered now, so that it need not be compiled again.
    ///
    /// # Errors
    /// If it can't be written: the package works all the same.
    pub async fn keep(&self, described: Described) -> Result<(), SandboxError> {
        let artifacts = Arc::clone(&self.artifacts);
        let kept = tokio::task::spawn_blocking(move || {
            let code = described.component.serialize().map_err(std::io::Error::other)?;
            artifacts.store(described.digest, &code)
        });
        let kept = kept.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        kept.map_err(|error| SandboxError(format!("the compiled component can't be kept: {error}")))
    }

    /// Deletes compiled components that are of no registered package: what a host that died left behind.
    ///
    /// # Errors
    /// If their folder can't be read.
    pub fn tidy(&self, registered: &BTreeSet<PackageDigest>) -> Result<(), SandboxError> {
        let tidied = self.artifacts.keep_only(registered);
        tidied.map_err(|error| SandboxError(format!("the folder of compiled components: {error}")))
    }

    /// Makes a registered package ready to be called: from memory, from its artifact, or by compiling
    /// the bytes that `read` gives.
    ///
    /// # Errors
    /// If it can't be compiled any more, or its bytes can't be read.
    pub async fn prepare<E>(
        &self,
        digest: PackageDigest,
        tools: &[ToolDescription],
        read: impl Future<Output = Result<bytes::Bytes, E>>,
    ) -> Result<(Arc<ReadyPackage>, Origin), PrepareError>
    where
        E: std::fmt::Display,
    {
        // Who comes second waits for the first, instead of compiling the same again.
        let cell = self.ready.cell(digest);
        let (mut origin, mut bytes) = (Origin::Memory, 0);
        let ready = cell.get_or_try_init(|| async {
            let (component, loaded) = self.load_or_compile(digest, read).await?;
            origin = loaded;
            bytes = code_bytes(&component);
            self.link(&component, tools).map(Arc::new)
        });
        let ready = match ready.await {
            Ok(ready) => Arc::clone(ready),
            Err(error) => {
                self.ready.failed(digest, &cell);
                return Err(error);
            }
        };
        if origin != Origin::Memory {
            self.ready.loaded(digest, &cell, bytes);
        }
        Ok((ready, origin))
    }

    async fn load_or_compile<E>(
        &self,
        digest: PackageDigest,
        read: impl Future<Output = Result<bytes::Bytes, E>>,
    ) -> Result<(Component, Origin), PrepareError>
    where
        E: std::fmt::Display,
    {
        let (artifacts, engine) = (Arc::clone(&self.artifacts), self.engine.clone());
        let begun = self.loading.lock().unwrap_or_else(PoisonError::into_inner).take();
        let loading = match begun.filter(|(begun, _)| *begun == digest) {
            Some((_, loading)) => loading,
            None => tokio::task::spawn_blocking(move || artifacts.load(&engine, digest)),
        };
        let loaded = loading.await;
        let reason = match loaded.map_err(|error| SandboxError(format!("loading ended: {error}")))? {
            Ok(component) => return Ok((component, Origin::Artifact)),
            Err(reason) => reason,
        };
        let bytes = read.await.map_err(|error| SandboxError(error.to_string()))?;
        let (component, _) = self.compile_bytes(bytes).await?;
        let (artifacts, compiled) = (Arc::clone(&self.artifacts), component.clone());
        let kept = tokio::task::spawn_blocking(move || {
            artifacts.store(digest, &compiled.serialize().map_err(std::io::Error::other)?)
        });
        let kept = kept.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        kept.map_err(|error| SandboxError(format!("the compiled component can't be kept: {error}")))?;
        Ok(match reason {
            ArtifactError::Missing => (component, Origin::Compiled),
            ArtifactError::Refused(reason) => (component, Origin::Recompiled(reason)),
        })
    }

    /// Forgets a package and its artifact.
    pub fn forget(&self, digest: PackageDigest) {
        self.ready.forget(digest);
        self.artifacts.remove(digest);
    }

    /// Runs a call, until `stopped` ends. That, or dropping the future, ends it within two epoch ticks;
    /// its record says that it was stopped, or cancelled.
    pub async fn invoke(
        &self,
        package: &ReadyPackage,
        call: &AuthorizedCall,
        Order { arguments, recorder, admitted, control, nesting, secrets, meter, spent }: Order<'_>,
        stopped: impl Future<Output = Stop>,
    ) -> Invoked {
        if !self.ticker.is_alive() {
            let error = InvokeError::Host("the thread that interrupts guests has ended".to_owned());
            return Invoked { result: Err(error), ..Invoked::not_started(recorder) };
        }
        let Some(entry) = package.entries.get(call.tool()) else {
            let error = InvokeError::Host(format!("the package has no tool {}", call.tool()));
            return Invoked { result: Err(error), ..Invoked::not_started(recorder) };
        };
        let running = invocation::Running { call, admitted, control, nesting, secrets, meter, spent };
        let (loaded, resources) = ((&package.loaded, self.preparer.as_ref()), &self.resources);
        invocation::invoke(loaded, entry, running, arguments, recorder, resources, stopped).await
    }

    /// The turns on the processor of all that is done for principals.
    pub(crate) fn turns(&self) -> &Turns {
        &self.resources.turns
    }

    /// How much compiled code is in memory.
    pub fn code_held(&self) -> CodeHeld {
        self.ready.count()
    }

    /// How sandboxes were prepared.
    pub fn prepared(&self) -> SandboxesPrepared {
        self.preparer.as_ref().map(Preparer::count).unwrap_or_default()
    }

    /// How often guests were asked to yield since the start; it rises 100 times a second.
    pub fn epoch_ticks(&self) -> u64 {
        self.ticker.ticks()
    }

    /// Has the engine count the host calls of all calls that begin from now on, by a hook that is not
    /// there otherwise. For tests: it sees each way out of a guest, the gate's and any other.
    #[doc(hidden)]
    pub fn count_host_calls(&self) -> Arc<AtomicU64> {
        Arc::clone(self.resources.host_calls_seen.get_or_init(Arc::default))
    }

    /// Compiles a component, one at a time in a host.
    async fn compile_bytes(&self, bytes: bytes::Bytes) -> Result<(Component, CompileCost), PrepareError> {
        let failed = |reason: String| PrepareError::Sandbox(SandboxError(reason));
        let permit =
            Arc::clone(&self.compilers).acquire_owned().await.map_err(|error| failed(error.to_string()))?;
        let (engine, compiler) = (self.engine.clone(), Arc::clone(&self.compiler));
        let (limits, job) = (Arc::clone(&self.resources.limits), Job::default());
        // Whoever goes away takes the process along; the thread ends with it.
        let _cancel = job.cancel_on_drop();
        let compiled = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let compiled = compiler.compile(&engine, &bytes, &limits, &job)?;
            let component = Artifacts::adopt(&engine, &compiled.code)
                .map_err(|error| PackageError::Invalid(compiler::told(&error)))?;
            Ok((component, compiled.cost))
        });
        compiled.await.map_err(|error| failed(format!("the compiler ended: {error}")))?
    }

    fn link(&self, component: &Component, tools: &[ToolDescription]) -> Result<ReadyPackage, PrepareError> {
        let failed = |error: wasmtime::Error| SandboxError(format!("{error:#}"));
        let pre = self.linker.instantiate_pre(component).map_err(failed)?;
        let mut entries = HashMap::with_capacity(tools.len());
        for tool in tools {
            let entry = match &tool.export {
                ToolExport::Typed { interface, function } => {
                    typed_entry(component, interface.as_deref(), function).ok_or_else(|| {
                        SandboxError(format!("the component has no export {function} that was registered"))
                    })?
                }
                ToolExport::Listed => Entry::Listed {
                    tools: tool_world::GuestIndices::new(&pre).map_err(failed)?,
                    name: tool.name.to_string(),
                    schema: listed::checked_schema(tool)?,
                },
            };
            entries.insert(tool.name.clone(), entry);
        }
        Ok(ReadyPackage { loaded: Arc::new(Loaded::new(pre)), entries })
    }
}

/// The memory that a component's machine code takes, with what it says of itself to the engine.
fn code_bytes(component: &Component) -> u64 {
    let image = component.image_range();
    (image.end as usize).saturating_sub(image.start as usize) as u64
}

fn not_listed(error: wasmtime::Error) -> PackageError {
    PackageError::ListTools(format!("{error:#}"))
}

fn typed_entry(component: &Component, interface: Option<&str>, function: &str) -> Option<Entry> {
    let interface: Option<ComponentExportIndex> = match interface {
        Some(name) => Some(component.get_export_index(None, name)?),
        None => None,
    };
    let (item, function) = component.get_export(interface.as_ref(), function)?;
    let ComponentItem::ComponentFunc(ty) = item else { return None };
    Some(Entry::Typed { function, shape: TypedFunction::new(&ty).ok()? })
}
