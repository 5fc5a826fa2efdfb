//! Protocols: from a request to a call of the [`Host`](crate::gateway::Host), and from its errors to answers.
//!
//! Decides nothing: who may do what is decided below. It bounds what comes in, and ends a call whose
//! client went away.

pub mod access;
mod admin;
mod again;
mod agents;
mod backup;
mod calls;
mod described;
pub mod door;
pub mod evidence;
mod guarded;
mod http;
mod keys;
pub mod mcp;
pub mod messages;
pub mod network;
pub mod openapi;
mod packages;
pub mod problem;
mod records;
mod resource;
mod secrets;
pub mod serve;
pub mod settings;
mod state;
mod strict;
mod tail;
#[cfg(test)]
mod tests;
pub mod tls;
mod tools;
mod trust;

pub use axum::Router;
pub use axum::body::Body;
pub use backup::BYTES_HEADER;
pub use http::{Stopping, router};
pub use problem::{ErrorKind, Problem};
pub use serve::serve;
