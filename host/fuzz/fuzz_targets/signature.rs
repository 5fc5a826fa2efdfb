//! Signatures and keys of components, against whatever libFuzzer finds.

#![no_main]

#[path = "../properties/signature.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds(data));
