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
//! | [`api`] | protocols: requests to calls of the host, its errors to problem documents |
//! | [`gateway`] | the host as a whole, and the one path of every call |
//! | [`sandbox`] | the engine, compiling, the gate, one fresh sandbox for each call |
//! | `registry` | package name to digest, description and bytes; which folders may be granted |
//! | [`audit`] | the log: events, one writer, recovery, reading |
//! | [`authn`] | who is asking |
//! | `database` | the one place that speaks SQL: packages, grants, revisions |
//! | [`policy`] | grants files, and the one decision; pure |
//! | [`config`] | the data folder: where things are, and who owns it |
//! | [`package`], [`arguments`], [`limits`], [`ids`], [`text`] | plain data, checked when it is made |
//!
//! # To embed it
//!
//! Take a data folder, open a host over it, call a tool:
//!
//! ```no_run
//! use portcullis::config::{DataFolder, Ownership};
//! use portcullis::gateway::{CallRequest, Host, HostOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let Ownership::Ours(folder) = DataFolder::take("data".as_ref())? else {
//!     return Err("another process owns the folder".into());
//! };
//! let host = Host::open(folder, HostOptions::default()).await?;
//! let arguments = br##"{"markdown": "# Hello"}"##;
//! let answer = host
//!     .call(CallRequest {
//!         principal: "writer".parse()?,
//!         package: "markdown".parse()?,
//!         tool: "render".parse()?,
//!         arguments: portcullis::arguments::parse_arguments(arguments)?,
//!         argument_bytes: arguments.len() as u64,
//!     })
//!     .await?;
//! println!("{:?}", answer.answer.structured);
//! host.close().await?;
//! # Ok(())
//! # }
//! ```

pub mod api;
pub mod arguments;
pub mod audit;
pub mod authn;
#[doc(hidden)]
pub mod cli;
pub mod config;
#[doc(hidden)]
pub mod database;
pub mod gateway;
pub mod ids;
pub mod limits;
pub mod package;
pub mod policy;
#[doc(hidden)]
pub mod registry;
pub mod sandbox;
pub mod text;
