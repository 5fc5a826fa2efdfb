//! SBOMs and provenance, against whatever libFuzzer finds.

#![no_main]

#[path = "../properties/attachment.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds(data));
