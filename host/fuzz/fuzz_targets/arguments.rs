//! The parser of arguments against whatever libFuzzer finds.

#![no_main]

#[path = "../properties/arguments.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds(data));
