//! Writes components that nobody wrote: `generator SEED FROM COUNT`, to stdout, each with its length
//! before it as four bytes, little-endian. The same numbers give the same components.
//!
//! Three of four are a random module in a component that lifts its functions with random types, so that
//! most can be registered and called; the fourth is a random component, which most hosts refuse.

mod random;
mod types;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use arbitrary::Unstructured;
use wasm_smith::{Component, Config, Module};

use random::Random;
use types::{Core, Signature, Types};

/// What a random module or component is made from.
const ENTROPY_BYTES: usize = 6 << 10;
/// The exported functions of one component.
const TOOLS_MAX: u64 = 4;

/// What the host's side of each module is: small functions without power.
const HOST: &str = r#"
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "now" (func (result u64))) (export "resolution" (func (result u64)))))
  (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core func $resolution (canon lower (func $clock "resolution")))
  (core func $random-u64 (canon lower (func $random "get-random-u64")))
  (core instance $host
    (export "now" (func $now)) (export "resolution" (func $resolution)) (export "random" (func $random-u64)))
"#;

const IMPORTS: &str = r#"(module
  (import "host" "now" (func (result i64)))
  (import "host" "resolution" (func (result i64)))
  (import "host" "random" (func (result i64))))"#;

fn main() -> ExitCode {
    let numbers: Option<Vec<u64>> = std::env::args().skip(1).map(|word| word.parse().ok()).collect();
    let Some([seed, from, count]) = numbers.as_deref() else {
        eprintln!("generator SEED FROM COUNT");
        return ExitCode::FAILURE;
    };
    // What the libraries say when they give up is of no use to whoever reads on.
    std::panic::set_hook(Box::new(|_| ()));
    let mut out = std::io::stdout().lock();
    for index in *from..from.saturating_add(*count) {
        // Where a library gives up, there is an empty file, which is a case as well.
        let bytes = std::panic::catch_unwind(|| component(*seed, index)).ok().flatten().unwrap_or_default();
        let length = u32::try_from(bytes.len()).unwrap_or_default();
        let written = out.write_all(&length.to_le_bytes()).and_then(|()| out.write_all(&bytes));
        if written.is_err() {
            // Whoever reads has enough.
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::SUCCESS
}

fn component(seed: u64, index: u64) -> Option<Vec<u8>> {
    let mut random = Random::new(seed, index);
    let entropy = random.bytes(ENTROPY_BYTES);
    let mut unstructured = Unstructured::new(&entropy);
    if index % 4 == 3 {
        let config = Config { max_imports: 2, ..config(&mut random) };
        return Some(Component::new(config, &mut unstructured).ok()?.to_bytes());
    }
    let mut types = Types::default();
    let tools: Vec<Signature> = (0..=random.below(TOOLS_MAX)).map(|_| types.signature(&mut random)).collect();
    let config = Config {
        available_imports: Some(wat::parse_str(IMPORTS).ok()?),
        exports: Some(wat::parse_str(exports(&tools)).ok()?),
        ..config(&mut random)
    };
    let module = Module::new(config, &mut unstructured).ok()?.to_bytes();
    let outer = wat::parse_str(lifted(&types, &tools)).ok()?;
    Some(in_the_place_of_the_first_module(&outer, &module))
}

/// Mostly what the host's engine takes, and nothing that would be refused for its size.
fn config(random: &mut Random) -> Config {
    let seldom = random.below(12) == 0;
    Config {
        allow_start_export: random.below(4) == 0,
        custom_page_sizes_enabled: false,
        compact_imports_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        max_instructions: 200,
        // One is exported.
        max_memories: usize::from(seldom),
        max_modules: 3,
        max_components: 2,
        max_instances: 4,
        max_table_elements: 1_000,
        memory64_enabled: false,
        // With it come references to things of the host, which it has none of.
        reference_types_enabled: seldom,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}

/// A module whose exports are those that the component needs.
fn exports(tools: &[Signature]) -> String {
    let mut text = "(module (memory (export \"memory\") 1)\n".to_owned();
    let realloc = ("realloc".to_owned(), vec![Core::I32; 4], vec![Core::I32]);
    let tools =
        tools.iter().enumerate().map(|(at, tool)| (tool_name(at), tool.params.clone(), tool.results.clone()));
    for (name, params, results) in tools.chain([realloc]) {
        let list = |word: &str, list: &[Core]| match list {
            [] => String::new(),
            list => format!("({word} {})", list.iter().map(|core| core.name()).collect::<Vec<_>>().join(" ")),
        };
        let _ = writeln!(
            text,
            "(func (export \"{name}\") {} {} unreachable)",
            list("param", &params),
            list("result", &results)
        );
    }
    text + ")"
}

fn tool_name(at: usize) -> String {
    format!("tool-{at}")
}

/// The component around the module, for which an empty one stands.
fn lifted(types: &Types, tools: &[Signature]) -> String {
    let mut text = format!(
        "(component (core module $m) {HOST}
         (core instance $i (instantiate $m (with \"host\" (instance $host))))\n{}",
        types.declarations()
    );
    for (at, tool) in tools.iter().enumerate() {
        let name = tool_name(at);
        let _ = writeln!(
            text,
            "(func (export \"{name}\") {} (canon lift (core func $i \"{name}\") (memory (core memory $i \"memory\")) \
             (realloc (core func $i \"realloc\"))))",
            tool.text
        );
    }
    text + ")"
}

/// Replaces the first section of a component, which is an empty module.
fn in_the_place_of_the_first_module(outer: &[u8], module: &[u8]) -> Vec<u8> {
    const PREAMBLE_BYTES: usize = 8;
    const EMPTY_MODULE_BYTES: usize = 8;
    let mut bytes = outer[..PREAMBLE_BYTES + 1].to_vec();
    let mut length = module.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(module);
    // Its length is one byte.
    bytes.extend(&outer[PREAMBLE_BYTES + 2 + EMPTY_MODULE_BYTES..]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_give_the_same_components_and_others_give_others() {
        let all: Vec<_> = (0..40).map(|index| component(7, index)).collect();
        assert_eq!(all, (0..40).map(|index| component(7, index)).collect::<Vec<_>>());
        let made: Vec<&Vec<u8>> = all.iter().flatten().collect();
        assert!(made.len() >= 30, "{} of 40", made.len());
        assert!(made.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(made.iter().all(|bytes| bytes.starts_with(b"\0asm\x0d\0\x01\0")));
    }
}
