//! A share of what the fuzz targets in `host/fuzz` do, from a seed: texts made of parts that were trouble
//! somewhere. `cargo xtask soak fuzz` goes on from there.

use crate::harness::random::Random;

#[path = "../host/fuzz/properties/arguments.rs"]
mod arguments;
#[path = "../host/fuzz/properties/attachment.rs"]
mod attachment;
#[path = "../host/fuzz/properties/grants.rs"]
mod grants;
#[path = "../host/fuzz/properties/leaks.rs"]
mod leaks;
#[path = "../host/fuzz/properties/manifest.rs"]
mod manifest;
#[path = "../host/fuzz/properties/signature.rs"]
mod signature;
#[path = "../host/fuzz/properties/trust.rs"]
mod trust;

/// Gives a property texts of these parts, and bytes of no kind.
fn hold(seed: u64, count: u32, parts: &[&str], holds: fn(&[u8])) {
    let mut random = Random::new(seed);
    for _ in 0..count {
        let length = random.below(24);
        let text: String = (0..length).map(|_| *random.pick(parts)).collect();
        holds(text.as_bytes());
    }
    for _ in 0..count / 4 {
        let length = random.index(64);
        holds(&random.bytes(length));
    }
}

#[test]
fn arguments_are_read_as_any_parser_reads_them_or_refused_with_a_place() {
    let parts = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\":",
        "\"\"",
        "1",
        "-0",
        "1e5",
        "1e999",
        "0.1",
        "01",
        "null",
        "true",
        "NaN",
        "\n",
        " ",
        "\"\\u00e9\"",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "\u{1b}",
        "{\"a\":",
        "{\"a\":1}",
        "18446744073709551616",
        "\u{202e}",
        "\\",
    ];
    hold(2_027, 40_000, &parts, arguments::holds);
}

#[test]
fn grants_files_are_read_or_refused_with_a_place() {
    let parts = [
        "[[grant]]\n",
        "[grant]\n",
        "[groups]\n",
        "team = [\"ann\"]\n",
        "package = \"a\"\n",
        "agents = [\"ann\"]\n",
        "agents = [\"group:team\"]\n",
        "tools = [\"t\"]\n",
        "expires = 2027-01-01T00:00:00Z\n",
        "expires = 1\n",
        "limits = { fuel = 5 }\n",
        "limits = { fuel = 0, memroy = 1 }\n",
        "[grant.clock]\n",
        "resolution = \"1s\"\n",
        "resolution = \"\"\n",
        "[[grant.http]]\n",
        "hosts = [\"a.test\"]\n",
        "methods = [\"GET\"]\n",
        "[[grant.filesystem]]\n",
        "host_path = \"no\"\n",
        "host_path = \"a\"\n",
        "guest_path = \"/a\"\n",
        "access = \"read\"\n",
        "[[grant.keyvalue]]\n",
        "store = \"s\"\n",
        "scope = \"agent\"\n",
        "[limits]\n",
        "fuel = { default = 1 }\n",
        "wall_time = \"1s\"\n",
        "\"",
        "'''",
        "=",
        "\u{202e}",
        "é = 1\n",
        "#",
        "\t",
        "[",
        "]",
    ];
    hold(2_028, 10_000, &parts, grants::holds);
}

#[test]
fn secrets_are_found_wherever_a_stream_is_cut() {
    let parts = [
        "\u{1}",
        "\u{3}",
        "\u{7}",
        "ab",
        "abab",
        "abababab",
        "%61",
        "%2F",
        "%252F",
        "c",
        "a",
        "aaaa",
        "t0ken",
        " ",
        "%20",
        "\"",
        "\\\"",
        "with",
        "\\\\",
        "\\\\quotes",
        "YWJhYmFiYWI=",
        "6162616261626162",
        "61",
        "62",
        "%",
        "%%",
        "[secret ",
        "\\u0061",
    ];
    hold(2_029, 20_000, &parts, leaks::holds);
}

#[test]
fn manifests_are_read_or_refused_with_a_place() {
    let parts = [
        "name = \"a\"\n",
        "version = \"1.0.0\"\n",
        "version = \"1\"\n",
        "description = \"d\"\n",
        "name = \"a\"\nversion = \"1.0.0\"\ndescription = \"d\"\n",
        "license = \"MIT OR Apache-2.0\"\n",
        "license = \"(MIT\"\n",
        "source = \"https://example.org\"\n",
        "manifest = 1\n",
        "[[ask.http]]\nhosts = [\"a.example\"]\nmethods = [\"GET\"]\n",
        "[[ask.config]]\n",
        "[[ask.arguments]]\n",
        "[[ask.secrets]]\n",
        "[ask.http]\n",
        "[ask]\n",
        "why = \"w\"\n",
        "why = \"\u{202e}\"\n",
        "inject = {}\n",
        "[limits]\nfuel = 5\n",
        "memory = \"64MiB\"\n",
        "[build]\nx = 1\n",
        "{\"manifest\":1,",
        "\"name\":\"a\",",
        "}",
        "\n",
        "\u{1b}",
    ];
    hold(2_031, 40_000, &parts, manifest::holds);
    for seed in ["whole", "section"] {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/fuzz/seeds/manifest").join(seed);
        let bytes = std::fs::read(path).expect("a seed");
        (0..=bytes.len()).for_each(|end| manifest::holds(&bytes[..end]));
    }
}

/// A line of a public key, and one of a signature.
const KEY: &str = "RWQE1v7vYVQyHeJ6i+5euIdafQw1pheU4U2UF11I2a+vSWoxZYH9Cyzc";

#[test]
fn signatures_and_keys_are_read_or_refused() {
    let written = include_str!("../host/fuzz/seeds/signature/signature");
    let lines: Vec<&str> = written.lines().collect();
    let parts = [
        lines[0],
        lines[1],
        lines[2],
        lines[3],
        "\n",
        "\r\n",
        "untrusted comment: ",
        "trusted comment: ",
        KEY,
        "RU",
        "RW",
        "=",
        "package:x\t",
        "digest:sha256:",
        " ",
        "\0",
        written,
    ];
    hold(0x51_97, 4_000, &parts, signature::holds);
    signature::holds(written.as_bytes());
    signature::holds(include_bytes!("../host/fuzz/seeds/signature/public"));
}

#[test]
fn sboms_and_statements_are_read_or_refused() {
    let seeds = [
        include_str!("../host/fuzz/seeds/attachment/cyclonedx"),
        include_str!("../host/fuzz/seeds/attachment/spdx"),
        include_str!("../host/fuzz/seeds/attachment/statement"),
    ];
    let parts = [
        "{\"bomFormat\":\"CycloneDX\",\"components\":",
        "{\"spdxVersion\":\"SPDX-2.3\",\"packages\":",
        "{\"@context\":\"https://spdx.org/rdf/3.0.1/c\",\"@graph\":",
        "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicateType\":\"https://slsa.dev/provenance/v1\",\"subject\":",
        "{\"payloadType\":\"application/vnd.in-toto+json\",\"payload\":",
        "\"predicate\":",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"purl\":\"pkg:cargo/a@1%2B\"",
        "\"components\":",
        "\"externalRefs\":",
        "\"digest\":{\"sha256\":\"00\"}",
        "\"e30=\"",
        "null",
        seeds[2],
    ];
    hold(0xa7_7a, 4_000, &parts, attachment::holds);
    for seed in seeds {
        attachment::holds(seed.as_bytes());
        // Each of its beginnings, and each with one byte altered.
        for at in 0..seed.len() {
            attachment::holds(&seed.as_bytes()[..at]);
            let mut altered = seed.as_bytes().to_vec();
            altered[at] ^= 1;
            attachment::holds(&altered);
        }
    }
}

#[test]
fn a_trust_policy_lets_in_nobody_whom_it_does_not_name() {
    let key = format!("a = \"{KEY}\"\n");
    let parts = [
        "[keys]\n",
        &key,
        "b = { key = \"x\", revoked = \"y\" }\n",
        "[[package]]\n",
        "names = [\"*\"]\n",
        "names = [\"notes\", \"acme-*\"]\n",
        "names = []\n",
        "signers = [\"a\"]\n",
        "signers = [\"b\"]\n",
        "signers = []\n",
        "needed = 1\n",
        "needed = 0\n",
        "needed = -1\n",
        "[upgrade]\n",
        "approve = \"same-or-narrower\"\n",
        "uncovered = \"unsigned\"\n",
        "uncovered = \"deny\"\n",
        "\u{1b}",
        "=",
        "\n",
    ];
    hold(0x72_75, 4_000, &parts, trust::holds);
    trust::holds(include_bytes!("../host/fuzz/seeds/trust/whole"));
}
