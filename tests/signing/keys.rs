//! Keys and signatures in files, and the program that the format is of.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::minisign;
use crate::harness::process::{Cli, spin};

fn with_key() -> Cli {
    let cli = Cli::new();
    cli.file("spin.wasm", spin());
    cli.run(["signing-key", "generate", "author.key", "--unencrypted"]).expect(0);
    cli
}

#[test]
fn minisign_verifies_what_we_sign() {
    let cli = with_key();
    let signed = cli.json(&[
        "sign",
        "spin.wasm",
        "--secret-key",
        "author.key",
        "--name",
        "spin",
        "--version",
        "1.2.0",
    ]);
    let verified = minisign(&cli, &["-V", "-H", "-p", "author.pub", "-m", "spin.wasm"]).expect(0);
    assert!(verified.stdout.contains("Signature and comment signature verified"), "{verified:?}");
    let digest = signed["digest"].as_str().expect("a digest");
    for part in ["package:spin", "version:1.2.0", "file:spin.wasm", &format!("digest:{digest}")] {
        assert!(verified.stdout.contains(part), "{part} in {verified:?}");
    }
    // It signs with our key as well, so the secret key's file is its own too.
    minisign(&cli, &["-S", "-W", "-s", "author.key", "-m", "spin.wasm", "-x", "theirs.minisig"]).expect(0);
    cli.run(["verify", "spin.wasm", "--public-key", "author.pub", "--signature", "theirs.minisig"]).expect(0);
    // The denied twin: other bytes.
    cli.file("spin.wasm", b"other bytes");
    minisign(&cli, &["-V", "-p", "author.pub", "-m", "spin.wasm"]).expect(1);
}

#[test]
fn we_verify_what_minisign_signs() {
    let cli = Cli::new();
    cli.file("spin.wasm", spin());
    minisign(&cli, &["-G", "-W", "-p", "m.pub", "-s", "m.key"]).expect(0);
    minisign(&cli, &["-S", "-s", "m.key", "-m", "spin.wasm", "-t", "by hand"]).expect(0);
    let verified = cli.json(&["verify", "spin.wasm", "--public-key", "m.pub"]);
    assert_eq!(verified["ok"], json!(true));
    assert_eq!(verified["signatures"][0]["comment"], json!("by hand"));
    // Its secret key signs here.
    cli.run(["sign", "spin.wasm", "--secret-key", "m.key", "--out", "ours.minisig"]).expect(0);
    minisign(&cli, &["-V", "-p", "m.pub", "-m", "spin.wasm", "-x", "ours.minisig"]).expect(0);
    // What it signed in its legacy form is refused, with what to do.
    minisign(&cli, &["-S", "-l", "-s", "m.key", "-m", "spin.wasm", "-x", "legacy.minisig"]).expect(0);
    cli.run(["verify", "spin.wasm", "--public-key", "m.pub", "--signature", "legacy.minisig"])
        .expect(2)
        .says("minisign -S -H");
}

/// A password is scrypt's, with the parameters that are in the file: each reads the other's.
#[test]
fn an_encrypted_key_is_of_use_only_with_its_password() {
    let cli = Cli::new();
    cli.file("spin.wasm", spin());
    let (right, wrong) = (cli.file("right", "correct horse\n"), cli.file("wrong", "battery\n"));
    cli.run(["signing-key", "generate", "author.key", "--password-file", &right]).expect(0);
    let mode = cli.path("author.key").metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let sign = ["sign", "spin.wasm", "--secret-key", "author.key"];
    cli.run(sign.into_iter().chain(["--password-file", &wrong])).expect(2).says("the password does not open");
    // Nobody can be asked.
    cli.run(sign).expect(2).says("--password-file");
    cli.run(sign.into_iter().chain(["--password-file", &right])).expect(0);
    cli.run(["verify", "spin.wasm", "--public-key", "author.pub"]).expect(0);
    let shown = cli.json(&["signing-key", "show", "author.key", "--password-file", &right]);
    let public = cli.json(&["signing-key", "show", "author.pub"]);
    assert_eq!(shown["public_key"], public["public_key"]);
}

#[test]
fn a_signature_of_another_key_or_of_other_bytes_is_no_signature() {
    let cli = with_key();
    cli.run(["signing-key", "generate", "other.key", "--unencrypted"]).expect(0);
    cli.run(["sign", "spin.wasm", "--secret-key", "author.key"]).expect(0);
    let ran = cli.run(["verify", "spin.wasm", "--public-key", "other.pub"]).expect(8);
    assert!(ran.stdout.contains("has made no valid signature"), "{ran:?}");
    // Both have to: one signature each, beside the component.
    cli.run(["sign", "spin.wasm", "--secret-key", "other.key"]).expect(2).says("--out names another file");
    cli.run(["sign", "spin.wasm", "--secret-key", "other.key", "--out", "spin.wasm.other.minisig"]).expect(0);
    cli.run(["verify", "spin.wasm", "--public-key", "other.pub", "--public-key", "author.pub"]).expect(0);
    cli.file("spin.wasm", b"other bytes");
    let ran = cli.run(["verify", "spin.wasm", "--public-key", "author.pub"]).expect(8);
    assert!(ran.stdout.contains("NOT VALID"), "{ran:?}");
}

#[test]
fn keys_and_signatures_are_never_replaced_unasked() {
    let cli = with_key();
    let before = std::fs::read(cli.path("author.key")).expect("there");
    cli.run(["signing-key", "generate", "author.key", "--unencrypted"]).expect(2).says("never replaced");
    assert_eq!(std::fs::read(cli.path("author.key")).expect("there"), before);
    cli.run(["sign", "spin.wasm", "--secret-key", "author.key"]).expect(0);
    cli.run(["sign", "spin.wasm", "--secret-key", "author.key"]).expect(2).says("is there already");
    cli.run(["sign", "spin.wasm", "--secret-key", "author.key", "--force"]).expect(0);
    cli.run(["verify", "spin.wasm", "--public-key", "author.pub"]).expect(0);
    // A public key signs nothing, and no key at all verifies nothing.
    cli.run(["sign", "spin.wasm", "--secret-key", "author.pub", "--force"]).expect(2).says("no secret key");
    cli.run(["verify", "spin.wasm"]).expect(2);
}
