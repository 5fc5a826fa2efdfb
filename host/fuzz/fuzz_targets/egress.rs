//! The judge of URLs and patterns against whatever libFuzzer finds.

#![no_main]

#[path = "../judge.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|data: &[u8]| judge::holds(data));
