//! Why the host did not do what was asked, and whose fault it was.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AccessError, Busy, CallReport, DiskLow, EvidenceError, NotTrusted, QuotaReached};
use crate::audit::LogError;
use crate::audit::query::ReadError;
use crate::backup::BackupError;
use crate::config::DataFolderError;
use crate::database::{ChangeError, DatabaseError};
use crate::ids::{CallId, PackageDigest, PackageName};
use crate::limits::LimitReached;
use crate::outlets::OutletError;
use crate::policy::parse::Diagnostic;
use crate::policy::{Change, Denial, QuotaError};
use crate::registry::RegistryError;
use crate::sandbox::{InvokeError, PackageError, PrepareError, SandboxError};
use crate::secrets::{EvidenceKeyError, SecretsError};
use crate::text::clean_line;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// As many calls run as may, and it waited for a place as long as it may, or as many others do.
    #[error("the host is busy: {0}")]
    Busy(Busy),
    /// A quota is used up.
    #[error("a quota is used up: {}", .0.reached)]
    Quota(QuotaReached),
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
    /// The disk is low: what room there is, is for calls that run already.
    #[error(transparent)]
    DiskLow(#[from] DiskLow),
    /// The host failed before the call could run.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl CallError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            CallError::NotFound(_) | CallError::Quota(_) => Blame::Agent,
            CallError::Denied { .. } => Blame::Admin,
            CallError::Failed { error, .. } => match error {
                InvokeError::Arguments(_) | InvokeError::Cancelled => Blame::Agent,
                InvokeError::LimitReached(_)
                | InvokeError::Tool { .. }
                | InvokeError::Crashed(_)
                | InvokeError::Withheld { .. } => Blame::Tool,
                InvokeError::Grant(_) | InvokeError::Stopped(_) => Blame::Admin,
                InvokeError::Busy | InvokeError::Log(_) | InvokeError::Host(_) => Blame::Host,
            },
            CallError::Busy(busy) if busy.is_callers_own() => Blame::Agent,
            CallError::Busy(_) | CallError::Log(_) | CallError::DiskLow(_) | CallError::Host(_) => {
                Blame::Host
            }
        }
    }
}

/// Why the host could not do what an admin asked for.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// The key that signs the log's checkpoints.
    #[error("the key of the log's checkpoints: {0}")]
    Key(String),
    /// There is no such running call.
    #[error("no call {call} is running")]
    NotRunning {
        /// Which was asked for.
        call: CallId,
    },
    /// Another process owns the data folder. Its own commands, and the command line, can talk to it.
    #[error("data folder {}: owned by another process{}", path.display(), process(.pid))]
    Owned {
        /// The folder.
        path: std::path::PathBuf,
        /// The owner, if it has said so.
        pid: Option<u32>,
    },
    /// What `audit.toml` says of where records or checkpoints go.
    #[error(transparent)]
    Outlet(#[from] OutletError),
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
    /// A component that would have to run to be registered, and may not.
    #[error("the component can't be asked for its tools: {0}")]
    Denied(Denial),
    /// A component whose signatures are not those that the trust policy asks for.
    #[error(transparent)]
    NotTrusted(#[from] NotTrusted),
    /// A signature that is wrong, or too many of them.
    #[error("{0}")]
    Signature(String),
    /// An earlier version was to be approved, and it was not said that this is meant.
    #[error(
        "package {package} {version} is not newer than {newest}, which was approved before; --allow-downgrade approves it all the same"
    )]
    Downgrade {
        /// The package.
        package: PackageName,
        /// The version that was to be approved.
        version: semver::Version,
        /// The newest that ever was.
        newest: semver::Version,
    },
    /// What is approved is not what the bytes were compared with, so somebody saw another difference.
    #[error(
        "nothing was approved: the difference that was shown is to {compared_with}, which is not what is approved of package {package} any more"
    )]
    Outdated {
        /// The package.
        package: PackageName,
        /// What they were compared with.
        compared_with: PackageDigest,
    },
    /// Bytes that ask for more than what is approved, or say something else, were to be approved unseen.
    #[error(
        "nothing was approved: {digest} asks for more than what is approved of package {package}, or says something else{}; look at the difference, and approve it at a terminal, with --yes, or with `allow_wider` in the request",
        widened(.changes)
    )]
    Wider {
        /// The package.
        package: PackageName,
        /// What was to be approved.
        digest: PackageDigest,
        /// What differs.
        changes: Vec<Change>,
    },
    /// A trust policy with errors.
    #[error("the trust policy {file} has {count} errors; nothing was changed", count = diagnostics.len())]
    TrustFile {
        /// Its name.
        file: String,
        /// Its errors.
        diagnostics: Vec<Diagnostic>,
    },
    /// As many registrations wait as may.
    #[error("the host is busy: {0}")]
    Busy(LimitReached),
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
    /// The disk is low, and a package takes room.
    #[error(transparent)]
    DiskLow(#[from] DiskLow),
    /// A backup that can't be made or put back.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A secret that can't be stored, or its key.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// What opens a call's commitments, or was kept of it.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// An API key that can't be made.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Something else is being done that this must wait for.
    #[error("{0}; try again")]
    Occupied(&'static str),
    /// A change that can't be made.
    #[error(transparent)]
    Change(ChangeError),
    /// A quota that can't be set so.
    #[error(transparent)]
    Quota(#[from] QuotaError),
}

fn process(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" ({pid})"))
}

/// What widened, one line each, as far as a message goes.
fn widened(changes: &[Change]) -> String {
    const SHOWN_MAX: usize = 10;
    const LINE_BYTES_MAX: usize = 200;
    let wider = changes.iter().filter(|change| change.widened);
    let told: Vec<String> = wider
        .map(|Change { about, old, new, .. }| {
            let line = |sign: char, text: &str| match text {
                "" => String::new(),
                text => format!(" {sign} {}", clean_line(text, LINE_BYTES_MAX)),
            };
            format!("\n  {}{}{}", about.name(), line('-', old), line('+', new))
        })
        .collect();
    let more = match told.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    format!(":{}{more}\n", told.into_iter().take(SHOWN_MAX).collect::<String>())
}

impl HostError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            HostError::Package(_) => Blame::Tool,
            HostError::Naming(_)
            | HostError::Quota(_)
            | HostError::Grants { .. }
            | HostError::Denied(_)
            | HostError::NotTrusted(_)
            | HostError::Signature(_)
            | HostError::Downgrade { .. }
            | HostError::Outdated { .. }
            | HostError::Wider { .. }
            | HostError::TrustFile { .. }
            | HostError::NotRunning { .. } => Blame::Admin,
            HostError::Registry(
                RegistryError::NotFound { .. }
                | RegistryError::NoSuchDigest { .. }
                | RegistryError::Ambiguous { .. }
                | RegistryError::NothingPending { .. }
                | RegistryError::Quarantined(_)
                | RegistryError::Alike { .. }
                | RegistryError::VersionTooLong { .. },
            ) => Blame::Admin,
            HostError::Secrets(SecretsError::Database(_) | SecretsError::Encrypt(_)) => Blame::Host,
            HostError::Secrets(_) => Blame::Admin,
            HostError::Evidence(
                EvidenceError::Payload(_)
                | EvidenceError::Key(EvidenceKeyError::Database(_) | EvidenceKeyError::Random(_)),
            ) => Blame::Host,
            HostError::Evidence(_) => Blame::Admin,
            HostError::Access(AccessError::Random(_)) => Blame::Host,
            HostError::Access(_) => Blame::Admin,
            HostError::Change(ChangeError::Database(_)) => Blame::Host,
            HostError::Change(_) => Blame::Admin,
            HostError::Backup(
                BackupError::NotWhole(_) | BackupError::Newer { .. } | BackupError::NotEmpty { .. },
            ) => Blame::Admin,
            HostError::Outlet(_) => Blame::Admin,
            HostError::Folder(_)
            | HostError::Owned { .. }
            | HostError::DiskLow(_)
            | HostError::Backup(_)
            | HostError::Occupied(_)
            | HostError::Log(_)
            | HostError::Key(_)
            | HostError::Read(_)
            | HostError::Database(_)
            | HostError::Registry(_)
            | HostError::Sandbox(_)
            | HostError::Busy(_) => Blame::Host,
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
