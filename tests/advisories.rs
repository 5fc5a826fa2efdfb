//! `inspect --advisories`: what a component was built from, looked up in a copy of the RustSec database. The advisories
//! here have the forms of real ones, with their ids and versions (their front matter is in the public domain, CC0).

use serde_json::{Value, json};

use crate::harness::process::Cli;
use crate::harness::wat;

/// Two ranges that are mended, one of an older line.
const WASMTIME: &str = r#"[advisory]
id = "RUSTSEC-2026-0327"
package = "wasmtime"
date = "2026-10-02"
url = "https://github.com/bytecodealliance/wasmtime/pull/14471"
categories = []
keywords = []
aliases = ["GHSA-32h6-97mm-8q3c"]
license = "CC0-1.0"
cvss = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:L/VI:H/VA:H/SC:L/SI:H/SA:H"

[versions]
patched = [
    ">= 48.0.4, < 49.0.0",
    ">= 49.0.2",
]
unaffected = ["< 39.0.0"]"#;

/// Versions that are not affected one by one, functions, a comment.
const TIME: &str = r#"[advisory]
id = "RUSTSEC-2020-0071"
package = "time"
date = "2020-11-18"
url = "https://github.com/time-rs/time/issues/293"
categories = ["code-execution", "memory-corruption"]
cvss = "CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
keywords = ["segfault"]
aliases = ["CVE-2020-26235"]

[affected]
# any Unix-like OS
os = ["linux", "freebsd"]
[affected.functions]
"time::at" = ["^0.1"]

[versions]
patched = [">= 0.2.23"]
unaffected = ["=0.2.0", "=0.2.1", "=0.2.2", "=0.2.3", "=0.2.4", "=0.2.5", "=0.2.6"]"#;

/// A component that says what it was built from, as cargo-auditable does: JSON, compressed by zlib.
fn built_from(crates: &[(&str, &str)]) -> Vec<u8> {
    let packages: Vec<Value> = crates
        .iter()
        .map(|(name, version)| json!({"name": name, "version": version, "source": "crates.io"}))
        .collect();
    let text = json!({"packages": packages}).to_string().into_bytes();
    // One block, stored as it is (RFC 1950 and 1951): the test needs no compressor.
    let length = u16::try_from(text.len()).expect("short");
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in &text {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    let mut section = b"\x07.dep-v0\x78\x01\x01".to_vec();
    section.extend(length.to_le_bytes());
    section.extend((!length).to_le_bytes());
    section.extend(text);
    section.extend(((high << 16) | low).to_be_bytes());
    let mut bytes = wat("polite");
    let size = section.len();
    bytes.extend([
        0,
        u8::try_from(size & 0x7f).expect("seven bits") | 0x80,
        u8::try_from(size >> 7).expect("short"),
    ]);
    bytes.extend(section);
    bytes
}

fn write(cli: &Cli, name: &str, id: &str, front: &str, title: &str) {
    let folder = cli.path("db/crates").join(name);
    std::fs::create_dir_all(&folder).expect("made");
    let text = format!("```toml\n{front}\n```\n\n# {title}\n\n### Impact\n\nText.\n");
    std::fs::write(folder.join(format!("{id}.md")), text).expect("written");
}

#[test]
fn crates_of_a_component_are_looked_up_in_a_copy_of_the_database() {
    let cli = Cli::new();
    write(&cli, "wasmtime", "RUSTSEC-2026-0327", WASMTIME, "Result count is unvalidated");
    write(&cli, "time", "RUSTSEC-2020-0071", TIME, "Potential segfault");
    let told = |crates: &[(&str, &str)]| -> Vec<String> {
        let file = cli.file("tool.wasm", built_from(crates));
        let shown = cli.json(&["inspect", &file, "--advisories", "db"]);
        let advisories = shown["advisories"].as_array().unwrap_or_else(|| panic!("{shown:#}")).clone();
        advisories.iter().map(|one| format!("{} {}", one["id"], one["version"]).replace('"', "")).collect()
    };
    assert_eq!(
        told(&[("time", "0.1.45"), ("time", "0.2.6"), ("time", "0.2.7"), ("time", "0.3.47")]),
        ["RUSTSEC-2020-0071 0.1.45", "RUSTSEC-2020-0071 0.2.7"]
    );
    assert_eq!(
        told(&[
            ("wasmtime", "38.0.4"),
            ("wasmtime", "48.0.3"),
            ("wasmtime", "48.0.4"),
            ("wasmtime", "49.0.1"),
            ("wasmtime", "49.0.2")
        ]),
        ["RUSTSEC-2026-0327 48.0.3", "RUSTSEC-2026-0327 49.0.1"]
    );
    assert_eq!(told(&[("serde", "1.0.0")]), [""; 0]);
    let file = cli.file("tool.wasm", built_from(&[("time", "0.1.45")]));
    let shown = cli.run(["inspect", &file, "--advisories", "db"]).expect(0);
    assert!(
        shown.stdout.contains("RUSTSEC-2020-0071 time 0.1.45 (vulnerability, mended in >=0.2.23)"),
        "{shown:?}"
    );

    // One that can't be read is never passed over.
    write(
        &cli,
        "time",
        "RUSTSEC-2020-0071",
        &TIME.replace("\">= 0.2.23\"", "\"newest\""),
        "Potential segfault",
    );
    cli.run(["inspect", &file, "--advisories", "db"])
        .expect(2)
        .says("RUSTSEC-2020-0071.md is not an advisory");
}
