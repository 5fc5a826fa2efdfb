//! A host in a temporary folder, with guests and grants: what every test starts from.

pub(crate) mod arguments;
pub(crate) mod client;
pub(crate) mod described;
pub(crate) mod generator;
pub(crate) mod installed;
pub(crate) mod issuer;
pub(crate) mod log;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod soak;
pub(crate) mod spans;
pub(crate) mod talk;
pub(crate) mod web;
pub(crate) mod worker;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use portcullis::audit::AuditSettings;
use portcullis::audit::event::{Event, Record};
use portcullis::audit::query::{self, Filter};
use portcullis::authn::local_admin;
use portcullis::config::{DataFolder, Ownership};
use portcullis::gateway::{
    Approval, CallAnswer, CallError, CallRequest, GrantsChanged, GrantsSource, Host, HostError, HostOptions,
};
use portcullis::ids::{CallId, PackageDigest};
use portcullis::limits::{HostLimits, Limit, LimitReached};
use portcullis::policy::Durability;
use portcullis::sandbox::InvokeError;
use portcullis::sandbox::compiler::Compiler;
use serde_json::Value;

use self::log::Folder;

/// The agent that tests call as.
pub(crate) const AGENT: &str = "researcher";

/// A host of its own.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) host: Host,
    /// Data folder and granted folders, removed at the end.
    pub(crate) temporary: Folder,
}

impl World {
    /// A fresh host without packages.
    pub(crate) async fn new() -> Self {
        Self::open_in(Folder::new(), options()).await
    }

    /// The same with limits of its own.
    pub(crate) async fn within(limits: HostLimits) -> Self {
        let temporary = Folder::new();
        Self::open_in(temporary, HostOptions { limits, ..options() }).await
    }

    /// A host over the data folder in a folder, as it is there or a fresh one.
    pub(crate) async fn open_in(temporary: impl Into<Folder>, options: HostOptions) -> Self {
        let temporary = temporary.into();
        let host = open_with(&temporary.path().join("data"), options).await.expect("the folder opens");
        Self { host, temporary }
    }

    /// The same, whose answers do not wait for the disk: for those who make very many.
    pub(crate) async fn relaxed() -> Self {
        let temporary = Folder::new();
        let options = HostOptions {
            audit: AuditSettings { durability: Durability::Relaxed, ..AuditSettings::default() },
            ..options()
        };
        let data = temporary.path().join("data");
        let host = open_with(&data, options).await.expect("a fresh folder opens");
        Self { host, temporary }
    }

    /// A host with one approved package that the agent may use without any folder.
    pub(crate) async fn with(name: &str, bytes: Vec<u8>) -> Self {
        let world = Self::new().await;
        world.add(name, bytes).await;
        world.grant(&format!("[[grant]]\npackage = \"{name}\"\nagents = [\"{AGENT}\"]\n")).await;
        world
    }

    /// The same with limits, such as `fuel = 1000, wall_time = "1s"`.
    pub(crate) async fn with_limits(name: &str, bytes: Vec<u8>, limits: &str) -> Self {
        let world = Self::new().await;
        world.add(name, bytes).await;
        world.grant(&limited(name, limits)).await;
        world
    }

    /// Registers and approves a component.
    pub(crate) async fn add(&self, name: &str, bytes: Vec<u8>) -> PackageDigest {
        let digest = self.register(name, bytes).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        // The tests that add another component under a name mean it.
        let wanted = Approval { digest: Some(digest), allow_wider: true, ..Approval::default() };
        let name = name.parse().expect("a name");
        self.host.approve_as(&local_admin(), &name, wanted).await.expect("approved");
        digest
    }

    /// Registers a component without approving it.
    pub(crate) async fn register(&self, name: &str, bytes: Vec<u8>) -> Result<PackageDigest, HostError> {
        let name = Some(name.parse().expect("a name"));
        let added = self.host.add_package(&local_admin(), Bytes::from(bytes), name, None, |_| {}).await?;
        Ok(added.digest)
    }

    /// Puts a grants file in force.
    pub(crate) async fn grant(&self, text: &str) -> GrantsChanged {
        match self.try_grant(text).await {
            Ok(changed) => changed,
            Err(HostError::Grants { diagnostics, .. }) => panic!("{diagnostics:#?}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Tries to.
    pub(crate) async fn try_grant(&self, text: &str) -> Result<GrantsChanged, HostError> {
        let folder = self.temporary.path().to_owned();
        let source = GrantsSource { file: "grants.toml".into(), folder, text: text.into() };
        self.host.apply_grants(&local_admin(), &source).await
    }

    /// A folder beside the data folder, made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.temporary.path().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    }

    /// Calls a tool as [`AGENT`].
    pub(crate) async fn call(
        &self,
        package: &str,
        tool: &str,
        arguments: Value,
    ) -> Result<CallAnswer, CallError> {
        self.call_as(AGENT, package, tool, arguments).await
    }

    /// Calls a tool as somebody.
    pub(crate) async fn call_as(
        &self,
        agent: &str,
        package: &str,
        tool: &str,
        arguments: Value,
    ) -> Result<CallAnswer, CallError> {
        self.host.call(request(agent, package, tool, arguments)).await
    }

    /// Calls a tool and gives what it returned.
    pub(crate) async fn value(&self, package: &str, tool: &str, arguments: Value) -> Value {
        match self.call(package, tool, arguments).await {
            Ok(answer) => answer.answer.structured.unwrap_or(Value::Null),
            Err(error) => panic!("{package} {tool}: {error}"),
        }
    }

    /// The records of one call, in order.
    pub(crate) fn records(&self, call: CallId) -> Vec<Record> {
        let filter = Filter { call: Some(call), ..Filter::default() };
        query::read(&self.host.audit_folder(), filter).collect::<Result<_, _>>().expect("the log can be read")
    }

    /// All records.
    pub(crate) fn all_records(&self) -> Vec<Record> {
        read_log(&self.host.audit_folder())
    }
}

/// All records of a log.
pub(crate) fn read_log(folder: &Path) -> Vec<Record> {
    query::read(folder, Filter::default()).collect::<Result<_, _>>().expect("the log can be read")
}

/// The texts of a log's segments.
pub(crate) fn segments(folder: &Path) -> Vec<String> {
    let text = |name: &String| {
        let path = folder.join(name).with_extension("jsonl");
        std::fs::read_to_string(path).expect("a segment is text")
    };
    names(folder, "jsonl").iter().map(text).collect()
}

/// Opens a host over a data folder that nobody owns.
pub(crate) async fn open(data: &Path) -> Result<Host, HostError> {
    open_with(data, options()).await
}

/// As the program opens its own: components are compiled in a process of the built program. It may take its
/// time, since the machine that tests run on may have other work.
pub(crate) fn options() -> HostOptions {
    let mut limits = HostLimits::default();
    limits.set_value(Limit::CompileTime, Limit::CompileTime.row().ceiling).expect("the table's own");
    HostOptions { compiler: Compiler::Program(process::program()), limits, ..HostOptions::default() }
}

/// A folder that was let go may be held for a moment more: by a child of a test beside this one that was made, and
/// has not become its own program yet.
async fn open_with(data: &Path, options: HostOptions) -> Result<Host, HostError> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        match DataFolder::take(data)? {
            Ownership::Ours(folder) => return Host::open(folder, options).await,
            Ownership::Others { pid, .. } => {
                assert!(std::time::Instant::now() < deadline, "owned by {pid:?}");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

/// A request as it comes from an agent.
pub(crate) fn request(agent: &str, package: &str, tool: &str, arguments: Value) -> CallRequest {
    CallRequest {
        principal: agent.parse().expect("a name"),
        package: package.parse().expect("a name"),
        tool: tool.parse().expect("a name"),
        argument_bytes: arguments.to_string().len() as u64,
        arguments,
        trace: None,
        admission: Default::default(),
    }
}

/// A grant of everything but folders.
pub(crate) fn grant(package: &str) -> String {
    format!("[[grant]]\npackage = \"{package}\"\nagents = [\"{AGENT}\"]\n")
}

/// A grant of everything but folders, with limits.
pub(crate) fn limited(package: &str, limits: &str) -> String {
    format!("[[grant]]\npackage = \"{package}\"\nagents = [\"{AGENT}\"]\nlimits = {{ {limits} }}\n")
}

/// The limit that ended a call.
#[track_caller]
pub(crate) fn limit_reached(result: Result<CallAnswer, CallError>) -> LimitReached {
    match result {
        Err(CallError::Failed { error: InvokeError::LimitReached(reached), .. }) => reached,
        Err(CallError::Failed { error, .. }) => panic!("no limit, but: {error:?}"),
        Err(error) => panic!("no limit, but: {error}"),
        Ok(answer) => panic!("no limit, but an answer: {answer:?}"),
    }
}

/// What the tool said of its failure.
#[track_caller]
pub(crate) fn crashed(result: Result<CallAnswer, CallError>) -> String {
    match result {
        Err(CallError::Failed { error: InvokeError::Crashed(reason), .. }) => reason,
        Err(error) => panic!("no crash, but: {error:?}"),
        Ok(answer) => panic!("no crash, but an answer: {answer:?}"),
    }
}

/// The last record of a call.
#[track_caller]
pub(crate) fn end(records: &[Record]) -> &portcullis::audit::event::CallEnd {
    match records.last().map(|record| &record.event) {
        Some(Event::CallFinished { end, .. }) => end,
        other => panic!("the last record is {other:?}"),
    }
}

/// A hostile guest written by hand: `tests/guests/wat/NAME.wat`.
pub(crate) fn wat(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/wat").join(name).with_extension("wat");
    wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// The names of all hostile guests written by hand.
pub(crate) fn wat_guests() -> Vec<String> {
    names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/wat"), "wat")
}

/// The names of all guests that `cargo xtask guests` built.
pub(crate) fn built_guests() -> Vec<String> {
    names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests"), "wasm")
}

/// The files of a folder with an extension, without it, in order.
fn names(folder: &Path, extension: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let named = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    let mut names: Vec<String> = named
        .map(|path| path.file_stem().and_then(|stem| stem.to_str()).expect("a name of ours").to_owned())
        .collect();
    names.sort();
    names
}

/// A guest that `cargo xtask guests` built.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests").join(name).with_extension("wasm");
    match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => panic!("{}: {error}; run `cargo xtask guests` first", path.display()),
    }
}
