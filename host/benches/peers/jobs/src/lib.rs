//! The jobs that hosts are compared by: give JSON back, hash a text, parse JSON; and two that no host should let go on.
#![no_std]

extern crate alloc;

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Does one of `echo`, `hash`, `parse`, `endless`, `grow`. What went wrong is in the answer, and fails the comparison.
pub fn run(job: &str, text: &str) -> String {
    match job {
        "echo" => match serde_json::from_str::<Value>(text) {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        },
        "hash" => {
            let mut hex = String::new();
            for byte in Sha256::digest(text.as_bytes()) {
                // A string takes all.
                let _ = write!(hex, "{byte:02x}");
            }
            hex
        }
        "parse" => match serde_json::from_str::<Value>(text) {
            Ok(value) => count(&value).to_string(),
            Err(error) => error.to_string(),
        },
        "endless" => {
            let mut number = 1_u64;
            loop {
                number =
                    core::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        }
        "grow" => grow(),
        other => String::from(other),
    }
}

/// Values in a document, itself counted. Arguments have few levels.
fn count(value: &Value) -> u64 {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Takes a megabyte and another, touches each, and says how many there were when there was none left; 2 GiB are enough.
fn grow() -> String {
    const MEGABYTE: usize = 1 << 20;
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for number in 0_u64..2048 {
        let mut next = Vec::new();
        if taken.try_reserve(1).is_err() || next.try_reserve_exact(MEGABYTE).is_err() {
            return number.to_string();
        }
        next.resize(MEGABYTE, 1);
        taken.push(core::hint::black_box(next));
    }
    taken.len().to_string()
}
