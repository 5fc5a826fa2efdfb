//! A host that runs AI agents' tools that nobody trusts.
//!
//! A tool is a WebAssembly component. It gets exactly the powers that it declares by its imports *and*
//! that an admin granted *for this agent*, inside hard limits; each host call that it makes is decided,
//! recorded and performed in one place, and a call's answer leaves only when its records are on disk.
//!
//! # The map
//!
//! From the top down; imports point down only, which a test holds.
//!
//! | module | its one job |
//! | --- | --- |
//! | `cli` | the command line: arguments to requests, answers to text, errors to exit codes |
//! | `api` | protocols: requests to calls of the host, its errors to problem documents |
//! | `gateway` ([`Host`]) | the host as a whole, and the one path of every call |
//! | `doctor` | looks over machine and data folder, and says what to do; changes nothing |
//! | `sandbox` | the engine, compiling, the gate, one fresh sandbox for each call |
//! | `registry` | package name to digest, description and bytes; which folders may be granted |
//! | `backup` | the archive of a data folder: written as a stream, read back with suspicion |
//! | [`audit`] | the log: events, one writer, recovery, reading |
//! | `authn` | who is asking |
//! | `egress` | what leaves the host: the judge of URLs and addresses, the one connector |
//! | `secrets` | stored secrets, encrypted; looking for them in what leaves |
//! | `database` | the one place that speaks SQL: packages, grants, revisions, the state that packages keep |
//! | [`policy`] | grants files, and the one decision; pure |
//! | `config` | the data folder: where things are, and who owns it |
//! | `platform`, [`hardening`] | facts about the machine; what a process gives up at its start |
//! | [`package`], [`arguments`], [`limits`], [`ids`], `text` | plain data, checked when it is made |
//!
//! # To embed it
//!
//! Register, approve, grant, call:
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let data = tempfile::tempdir()?;
//! # let data = data.path().join("data");
//! # let component = wat::parse_str(
//! #     r#"(component
//! #         (core module $m (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
//! #         (core instance $i (instantiate $m))
//! #         (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"#,
//! # )?;
//! use portcullis::ids::PackageName;
//! use portcullis::{CallRequest, GrantsSource, Host, HostOptions, local_admin};
//!
//! let (admin, adder): (_, PackageName) = (local_admin(), "adder".parse()?);
//! let host = Host::at(data, HostOptions::default()).await?;
//! host.add_package(&admin, component.into(), Some(adder.clone()), None, |_| {}).await?;
//! host.approve(&admin, &adder, None).await?;
//! let grants = "[[grant]]\npackage = 'adder'\nagents = ['researcher']";
//! host.apply_grants(&admin, &GrantsSource::new(grants, ".")).await?;
//! let request = CallRequest::new("researcher", "adder", "add", r#"{"a": 1, "b": 2}"#)?;
//! assert_eq!(host.call(request).await?.answer.structured, Some(3.into()));
//! let denied = CallRequest::new("somebody", "adder", "add", r#"{"a": 1, "b": 2}"#)?;
//! assert!(host.call(denied).await.is_err(), "nobody granted it");
//! host.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is public
//!
//! What this page lists, and nothing else: `docs/api.txt` holds each item, and a change of it is a
//! deliberate one. Modules that are hidden here serve the binary, and change without notice.

#[doc(hidden)]
pub mod api;
pub mod arguments;
pub mod audit;
#[doc(hidden)]
pub mod authn;
#[doc(hidden)]
pub mod authoring;
#[doc(hidden)]
pub mod backup;
mod bell;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod database;
#[doc(hidden)]
pub mod doctor;
#[doc(hidden)]
pub mod egress;
#[doc(hidden)]
pub mod fairness;
pub mod gateway;
pub mod hardening;
pub mod ids;
pub mod limits;
#[doc(hidden)]
pub mod outlets;
pub mod package;
#[doc(hidden)]
pub mod platform;
pub mod policy;
#[doc(hidden)]
pub mod registry;
#[doc(hidden)]
pub mod sandbox;
#[doc(hidden)]
pub mod secrets;
pub mod signing;
#[doc(hidden)]
pub mod text;
#[doc(hidden)]
pub mod wildcard;

pub use authn::local_admin;
pub use backup::{BackupError, Manifest, Member, Moment, Part, Source};
pub use config::{DataFolder, DataFolderError, DataPaths, Ownership};
pub use database::{Added, ChangeError, DatabaseError, Package, PackageState, StoredSecret};
pub use gateway::{
    AddProgress, AddedPackage, Backup, Blame, CallAnswer, CallError, CallReport, CallRequest,
    DISK_RESERVE_BYTES_DEFAULT, DiskLow, FreezeChanged, GrantsChanged, GrantsSource, Host, HostError,
    HostHealth, HostOptions, HostStatus, PackageDetails, PrincipalChanged, PrincipalStatus,
    QuarantineChanged, Registration, RequestError, RestoreProgress, RestoreStep, RunningCall, SecretChanged,
    Taken, restore_backup,
};
pub use registry::RegistryError;
pub use sandbox::compiler;
pub use sandbox::{Content, InvokeError, PackageError, SandboxError, ToolAnswer};
pub use secrets::{
    Encoding, KeyOrigin, NoKey, SecretValue, SecretsError, SecretsKey, TooManySecrets, ValueError,
};
