//! What the helpers stand on: the host's interfaces where a component is built, and elsewhere a stand-in with
//! the same functions that tests furnish.

#[cfg(target_family = "wasm")]
mod component;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod stand_in;

#[cfg(target_family = "wasm")]
pub(crate) use component::*;
#[cfg(not(target_family = "wasm"))]
pub(crate) use stand_in::*;
