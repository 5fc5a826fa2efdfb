//! The judge of URLs and patterns against whatever libFuzzer finds.

#![no_main]

#[path = "../properties/egress.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds(data));
