//! Manifests, as text and in components, against whatever libFuzzer finds.

#![no_main]

#[path = "../properties/manifest.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds(data));
