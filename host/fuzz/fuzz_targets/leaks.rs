//! The search for secrets in a stream against whatever libFuzzer finds.

#![no_main]

#[path = "../properties/leaks.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds(data));
