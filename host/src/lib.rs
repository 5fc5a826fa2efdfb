//! A host that runs AI agents' tools that nobody trusts.

pub mod api;
pub mod audit;
pub mod authn;
pub mod cli;
pub mod config;
pub mod database;
pub mod gateway;
pub mod ids;
pub mod limits;
pub mod package;
pub mod policy;
pub mod registry;
pub mod sandbox;
