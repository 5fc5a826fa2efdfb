//! The jobs as exports of a plug-in of Extism: input and output lie in memory of the host's, and are read and written
//! eight bytes at a time.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[link(wasm_import_module = "extism:host/env")]
unsafe extern "C" {
    safe fn input_length() -> u64;
    safe fn input_load_u64(offset: u64) -> u64;
    safe fn input_load_u8(offset: u64) -> u32;
    safe fn alloc(bytes: u64) -> u64;
    safe fn store_u64(offset: u64, value: u64);
    safe fn store_u8(offset: u64, value: u32);
    safe fn output_set(offset: u64, bytes: u64);
}

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

fn input() -> String {
    let length = input_length();
    let mut bytes = Vec::new();
    let whole = length / 8 * 8;
    for offset in (0..whole).step_by(8) {
        bytes.extend(input_load_u64(offset).to_le_bytes());
    }
    for offset in whole..length {
        bytes.extend(input_load_u8(offset).to_le_bytes().first());
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn output(text: &str) {
    let (mut at, length) = (alloc(text.len() as u64), text.len() as u64);
    let start = at;
    let mut chunks = text.as_bytes().chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        store_u64(at, u64::from_le_bytes(word));
        at += 8;
    }
    for byte in chunks.remainder() {
        store_u8(at, u32::from(*byte));
        at += 1;
    }
    output_set(start, length);
}

/// Exports that do one job each, and answer that it went well.
macro_rules! exports {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name() -> i32 {
            output(&jobs::run(stringify!($name), &input()));
            0
        })*
    };
}

exports! { echo hash parse endless grow }
