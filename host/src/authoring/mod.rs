//! What authors make and what is read of it: the manifest in a component, who produced it, what it depends on; new
//! projects, their builds, and test cases as data.
//!
//! Everything that is read from a component is its author's word: bounded, strict, cleaned. Nothing here decides who
//! may do what, and nothing runs a guest.

pub mod about;
pub mod advisories;
pub mod build;
pub mod cases;
mod dependencies;
pub(crate) mod files;
pub mod project;
mod sdk;
pub mod section;
pub mod watch;

pub use about::{About, Dependency, Producer};
pub use section::{MANIFEST_SECTION, SectionError, read_manifest, with_manifest};
