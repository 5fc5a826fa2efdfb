//! A host in a temporary folder, for one author's tries: the same as any other, and nothing of it is kept.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

use crate::audit::event::Record;
use crate::audit::query::{self, Filter};
use crate::authn::local_admin;
use crate::cli::environment;
use crate::cli::failure::Failure;
use crate::cli::session::sole;
use crate::config::{DataFolder, Ownership};
use crate::gateway::{
    AddedPackage, Approval, CallAnswer, CallError, CallRequest, GrantsSource, Host, HostError, HostOptions,
};
use crate::ids::{CallId, PackageName, PrincipalId, ToolName};
use crate::policy::Grant;
use crate::sandbox::compiler::Compiler;

/// In whose name tools are tried.
pub(super) const AGENT: &str = "me";

/// Who calls.
pub(super) fn agent() -> PrincipalId {
    AGENT.parse().expect("the constant is a name")
}

/// The host.
pub(super) struct Scratch {
    host: Arc<Host>,
    /// Removed when this is dropped.
    _folder: TempDir,
}

impl Scratch {
    pub(super) async fn open() -> Result<Self, Failure> {
        Self::open_with(HostOptions::default()).await
    }

    /// With what differs in a host for tries: its compiler is this program. Answers wait for their records, as on any
    /// host: what a run needed is read from them.
    pub(super) async fn open_with(options: HostOptions) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("portcullis-")
            .tempdir()
            .map_err(|error| Failure::host(format!("no temporary folder can be made: {error}")))?;
        let program = environment::own_program()
            .map_err(|error| Failure::host(format!("this program does not find itself: {error}")))?;
        let options = HostOptions { compiler: Compiler::Program(program), disk_reserve_bytes: 0, ..options };
        let data = folder.path().join("data");
        let host = match DataFolder::take(&data)? {
            Ownership::Ours(taken) => Host::open(taken, options).await?,
            Ownership::Others { .. } => {
                return Err(Failure::host("somebody else took the temporary folder"));
            }
        };
        Ok(Self { host: Arc::new(host), _folder: folder })
    }

    /// Registers a component and approves it: its author tries it, with the powers that its author gives it.
    pub(super) async fn install(
        &self,
        bytes: Bytes,
        name: Option<PackageName>,
    ) -> Result<AddedPackage, Failure> {
        let added = self.add(bytes, name).await?;
        self.approve(&added).await?;
        Ok(added)
    }

    /// Approves what was registered, also if it says that it is earlier than what was approved before, or asks for
    /// more: it is its author's.
    pub(super) async fn approve(&self, added: &AddedPackage) -> Result<(), Failure> {
        let wanted =
            Approval { digest: Some(added.digest), downgrade: true, allow_wider: true, compared_with: None };
        self.host.approve_as(&local_admin(), &added.package, wanted).await?;
        Ok(())
    }

    /// Removes all that is registered under a name.
    pub(super) async fn remove(&self, package: &PackageName) -> Result<(), Failure> {
        Ok(self.host.remove_package(&local_admin(), package).await?)
    }

    /// Deletes all that a package keeps.
    pub(super) async fn clear_stores(&self, package: &PackageName) -> Result<(), Failure> {
        for held in self.host.stores(Some(package)).await?.stores {
            self.host.clear_store(&local_admin(), held.store).await?;
        }
        Ok(())
    }

    /// The host, for what serves it.
    pub(super) fn host(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    /// A key for [`AGENT`].
    pub(super) async fn key(&self) -> Result<String, Failure> {
        Ok(self.host.create_key(&local_admin(), agent(), None, None).await?.token.to_string())
    }

    /// Registers a component.
    pub(super) async fn add(&self, bytes: Bytes, name: Option<PackageName>) -> Result<AddedPackage, Failure> {
        let added = self.host.add_package(&local_admin(), bytes.clone(), name, None, |_| {}).await;
        match added {
            // Where it has no name, any will do here.
            Err(HostError::Naming(_)) => {
                let name = "tool".parse().expect("the constant is a name");
                Ok(self.host.add_package(&local_admin(), bytes, Some(name), None, |_| {}).await?)
            }
            added => Ok(added?),
        }
    }

    /// Puts a grants file in force, whose relative paths begin at `folder`.
    pub(super) async fn grant(&self, text: &str, folder: &Path) -> Result<Vec<Grant>, HostError> {
        let source =
            GrantsSource { file: "grants".to_owned(), folder: folder.to_owned(), text: text.to_owned() };
        self.apply(source).await?;
        Ok(self.host.grants(None))
    }

    /// Puts a grants file in force.
    pub(super) async fn apply(&self, source: GrantsSource) -> Result<(), HostError> {
        self.host.apply_grants(&local_admin(), &source).await?;
        Ok(())
    }

    pub(super) async fn call(
        &self,
        package: &PackageName,
        tool: &ToolName,
        arguments: Value,
    ) -> Result<CallAnswer, CallError> {
        let argument_bytes = arguments.to_string().len() as u64;
        let (package, tool) = (package.clone(), tool.clone());
        let principal = agent();
        self.host
            .call(CallRequest {
                principal,
                package,
                tool,
                arguments,
                argument_bytes,
                trace: None,
                admission: Arc::default(),
            })
            .await
    }

    /// The records of a call, which is over.
    pub(super) fn records(&self, call: CallId) -> Result<Vec<Record>, Failure> {
        let filter = Filter { call: Some(call), ..Filter::default() };
        let read: Result<Vec<Record>, _> = query::read(&self.host.audit_folder(), filter).collect();
        Ok(read.map_err(HostError::from)?)
    }

    /// Ends in good order.
    pub(super) async fn close(self) -> Result<(), Failure> {
        match sole(self.host).await {
            Ok(host) => Ok(host.close().await?),
            Err(host) => Ok(host.log().clone().close().await.map_err(HostError::from)?),
        }
    }
}
