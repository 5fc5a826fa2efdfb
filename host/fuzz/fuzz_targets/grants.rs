//! The parsers of grants files and of a host's limits against whatever libFuzzer finds.

#![no_main]

#[path = "../properties/grants.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds(data));
