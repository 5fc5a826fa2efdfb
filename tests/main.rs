//! The promises of `docs/architecture.md`, each tested at the boundary that a user sees: the library
//! for what a guest may do, the built binary for what survives a crash. One file for each promise.
//!
//! Numbers such as "case 34" are those of the threat list in `docs/threat-model.md`.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the few records that it is about")]
#![expect(clippy::print_stdout, reason = "a test that can't be done on a machine says so")]

mod admin;
mod advisories;
mod asking;
mod author_pages;
mod authoring;
mod bad_input;
mod bounded;
mod bundles;
mod calls;
mod changed;
mod clients;
mod clocks;
mod command_line;
mod commitments;
mod completeness;
mod dev;
mod door;
mod evidence;
mod example_tools;
mod fair;
mod files;
mod fuzzed;
mod harness;
mod http;
mod journey;
mod kept;
mod languages;
mod mcp;
mod mutated;
mod nested;
mod one_door;
mod operations;
mod output;
mod proofs;
mod ready;
mod registration;
mod sdk;
mod sdks;
mod secrets;
mod signing;
mod sockets;
mod state;
mod steady;
mod ungranted;
mod values;
