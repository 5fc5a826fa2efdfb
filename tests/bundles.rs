//! Evidence bundles: all that proves some calls, for one reader, and nothing of it can be changed on the way.

use age::secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::harness::process::{Cli, Ran};

/// A host that has made two calls, and a reader.
struct Bundled {
    cli: Cli,
    calls: [String; 2],
    reader: age::x25519::Identity,
    identity: String,
    key: String,
}

impl Bundled {
    fn new() -> Self {
        let (cli, _) = Cli::with_notes();
        let calls = ["one", "two"].map(|name| {
            let ran = cli.call("notes", "add", &json!({"name": name, "text": "x"}).to_string()).expect(0);
            ran.answer()["call"].as_str().expect("an id").to_owned()
        });
        let reader = age::x25519::Identity::generate();
        let identity = cli.file("reader.key", reader.to_string().expose_secret());
        let key = cli.file("key", std::fs::read(cli.path("data/audit.pub")).expect("a key"));
        Self { cli, calls, reader, identity, key }
    }

    fn bundle(&self, which: &[&str]) -> Ran {
        let to = self.reader.to_public().to_string();
        self.cli.run([&["audit", "bundle", "--to", &to, "--out", "evidence.age"], which].concat())
    }

    /// Opens a bundle where nothing of the host is.
    fn verify(&self, bytes: &[u8], identity: &str, key: &str) -> Ran {
        let file = self.cli.file("given.age", bytes);
        Cli::new().run(["audit", "bundle-verify", &file, "--identity", identity, "--key", key])
    }

    fn written(&self) -> Vec<u8> {
        std::fs::read(self.cli.path("evidence.age")).expect("written")
    }

    /// The bundle with its tar made by somebody who can encrypt for the reader, as anyone can.
    fn forged(&self, change: impl Fn(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
        let plain = age::decrypt(&self.reader, &self.written()).expect("it is for the reader");
        let mut archive = tar::Archive::new(plain.as_slice());
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).expect("read");
            files.push((entry.path().expect("a name").to_str().expect("UTF-8").to_owned(), bytes));
        }
        change(&mut files);
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_path(name).expect("a name");
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.append(&header, bytes.as_slice()).expect("appended");
        }
        age::encrypt(&self.reader.to_public(), &tar.into_inner().expect("a tar")).expect("encrypted")
    }
}

#[test]
fn a_bundle_is_all_that_proves_its_calls_for_its_reader_alone() {
    let bundled = Bundled::new();
    let [one, two] = &bundled.calls;
    let said = bundled.bundle(&[one, "--json"]).expect(0);
    let said: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((&said["calls"], &said["missing"]), (&json!([one]), &json!([])));
    let files: Vec<&String> = said["files"].as_object().expect("files").keys().collect();
    assert_eq!(files.len(), 4, "{files:?}");
    let shown = bundled.verify(&bundled.written(), &bundled.identity, &bundled.key).expect(0).stdout;
    assert!(shown.starts_with("verified: 1 calls"), "{shown}");
    bundled.bundle(&["--since", "2020-01-01T00:00:00Z"]).expect(0);
    let shown = bundled.verify(&bundled.written(), &bundled.identity, &bundled.key).expect(0).stdout;
    assert!(shown.starts_with("verified: 2 calls"), "{shown}");
    assert!(!bundled.written().windows(two.len()).any(|window| window == two.as_bytes()));

    let stranger = age::x25519::Identity::generate();
    let stranger = bundled.cli.file("stranger.key", stranger.to_string().expose_secret());
    bundled
        .verify(&bundled.written(), &stranger, &bundled.key)
        .expect(2)
        .says("can't be opened with this identity");
    let other = Bundled::new();
    bundled.verify(&bundled.written(), &bundled.identity, &other.key).expect(8).says("is of the log");
    bundled.bundle(&["--since", "2999-01-01T00:00:00Z"]).expect(2).says("no such calls");
    bundled.bundle(&[]).expect(2);
    bundled
        .cli
        .run(["audit", "bundle", one, "--to", "age1x", "--out", "x.age"])
        .expect(2)
        .says("no age recipient");
}

#[test]
fn a_bundle_that_was_changed_is_refused_and_it_is_said_why() {
    let bundled = Bundled::new();
    bundled.bundle(&["--since", "2020-01-01T00:00:00Z"]).expect(0);
    let refused = |bytes: &[u8], why: &str| {
        bundled.verify(bytes, &bundled.identity, &bundled.key).expect(8).says(why);
    };
    let written = bundled.written();
    let mut flipped = written.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    refused(&flipped, "not whole");
    refused(&written[..written.len() - 100], "not whole");
    let whole = bundled.forged(|_| {});
    bundled.verify(&whole, &bundled.identity, &bundled.key).expect(0);
    let receipt = |files: &mut Vec<(String, Vec<u8>)>| {
        files.iter().position(|(name, _)| name.starts_with("receipts/")).expect("a receipt")
    };
    let edited = bundled.forged(|files| {
        let at = receipt(files);
        let text = String::from_utf8(files[at].1.clone()).expect("text");
        files[at].1 = text.replace("researcher", "somebody00").into_bytes();
    });
    refused(&edited, "the receipt of call");
    let without = bundled.forged(|files| {
        let at = receipt(files);
        files.remove(at);
    });
    refused(&without, "names other files");
    let more = bundled.forged(|files| files.insert(0, ("packages/evil.wasm".to_owned(), b"x".to_vec())));
    refused(&more, "not what its name says");
    let cut = bundled.forged(|files| {
        files.pop();
    });
    refused(&cut, "no manifest");
    let component = bundled.forged(|files| {
        let at = files.iter().position(|(name, _)| name.starts_with("packages/")).expect("a component");
        files[at].1[20] ^= 1;
    });
    refused(&component, "not what its name says");
}

/// By which power a call did what it did: the terms of its grants as they were in force then.
#[test]
fn a_bundle_has_the_terms_of_the_grants_that_allowed_its_calls() {
    let bundled = Bundled::new();
    // The grant of both calls ends, and another allows the third.
    let narrower = crate::harness::process::notes_folder("notes").replace("read-write", "read");
    let grants = bundled.cli.file("narrower.toml", crate::harness::process::grant("notes", &narrower));
    bundled.cli.run(["grant", "apply", &grants]).expect(0);
    bundled.cli.call("notes", "list", "{}").expect(0);
    let [one, _] = &bundled.calls;
    bundled.bundle(&[one]).expect(0);
    let whole = bundled.written();
    let opened = |bytes: &[u8]| {
        let plain = age::decrypt(&bundled.reader, bytes).expect("it is for the reader");
        let mut archive = tar::Archive::new(plain.as_slice());
        let mut entries = archive.entries().expect("a tar").map(|entry| entry.expect("an entry"));
        let entry = entries.find(|entry| entry.path().expect("a name").ends_with("grants.json"));
        serde_json::from_reader::<_, Value>(entry.expect("grants")).expect("JSON")
    };
    let grants = opened(&whole);
    let [of_one] = &grants.as_array().expect("a list")[..] else { panic!("{grants}") };
    assert_eq!(of_one["grant"]["filesystem"][0]["access"], "read-write", "{of_one}");
    assert!(of_one["revoked"].as_u64() > of_one["created"].as_u64(), "{of_one}");
    assert_eq!(of_one["created_by"], "local-admin", "{of_one}");
    bundled.bundle(&["--since", "2020-01-01T00:00:00Z"]).expect(0);
    let both = opened(&bundled.written());
    assert_eq!(both.as_array().map(Vec::len), Some(2), "{both}");
    assert!(both[1].get("revoked").is_none(), "{both}");
    bundled.verify(&bundled.written(), &bundled.identity, &bundled.key).expect(0);

    // A grant that could not allow it is no evidence of what did.
    for (what, value) in [("created", json!(999)), ("revoked", json!(0)), ("grant", both[1]["grant"].clone())]
    {
        let changed = bundled.forged(|files| {
            let at = files.iter().position(|(name, _)| name == "grants.json").expect("grants");
            let mut grants: Value = serde_json::from_slice(&files[at].1).expect("JSON");
            grants[0][what] = value.clone();
            files[at].1 = grants.to_string().into_bytes();
            resum(files);
        });
        let ran = bundled.verify(&changed, &bundled.identity, &bundled.key).expect(8);
        ran.says("is missing, or is not one that could allow it");
    }
    let without = bundled.forged(|files| {
        files.retain(|(name, _)| name != "grants.json");
        resum(files);
    });
    bundled.verify(&without, &bundled.identity, &bundled.key).expect(8).says("it has no grants");

    // Of a copy of the log alone it is said that they are not there, and the rest is verified.
    let audit = bundled.cli.path("data/audit");
    let elsewhere = Cli::new();
    let (audit, out) = (audit.to_str().expect("UTF-8"), bundled.cli.path("copy.age"));
    let out = out.to_str().expect("UTF-8");
    let to = bundled.reader.to_public().to_string();
    let arguments = [
        "audit",
        "bundle",
        one,
        "--folder",
        audit,
        "--key",
        &bundled.key,
        "--to",
        &to,
        "--out",
        out,
        "--json",
    ];
    let said: Value = serde_json::from_str(&elsewhere.run(arguments).expect(0).stdout).expect("JSON");
    assert_eq!(said["missing_grants"].as_array().map(Vec::len), Some(1), "{said}");
    let copy = std::fs::read(out).expect("written");
    let shown = bundled.verify(&copy, &bundled.identity, &bundled.key).expect(0).stdout;
    assert!(shown.contains("1 grants whose terms are not there"), "{shown}");
}

/// Puts the sums of what is there into the manifest, as somebody could who changes a file.
fn resum(files: &mut [(String, Vec<u8>)]) {
    let (manifest, rest) = files.split_last_mut().expect("a manifest");
    let mut said: Value = serde_json::from_slice(&manifest.1).expect("JSON");
    let sums = rest.iter().map(|(name, bytes)| {
        let sum: String = <sha2_of_others::Sha256 as sha2_of_others::Digest>::digest(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        (name.clone(), Value::from(sum))
    });
    said["files"] = Value::Object(sums.collect());
    manifest.1 = said.to_string().into_bytes();
}

/// A bundle brings what leads from the reader's key to the one that signed, and no other way.
#[test]
fn a_bundle_is_verified_with_a_key_from_before_the_log_rotated_it() {
    let bundled = Bundled::new();
    bundled.bundle(&["--since", "2020-01-01T00:00:00Z"]).expect(0);
    let before = bundled.written();
    bundled.cli.run(["audit", "key", "rotate"]).expect(0);
    bundled.cli.call("notes", "add", &json!({"name": "three", "text": "x"}).to_string()).expect(0);
    let later = bundled.cli.file("later", std::fs::read(bundled.cli.path("data/audit.pub")).expect("a key"));
    bundled.bundle(&["--since", "2020-01-01T00:00:00Z"]).expect(0);
    let after = bundled.written();
    for key in [&bundled.key, &later] {
        let shown = bundled.verify(&after, &bundled.identity, key).expect(0).stdout;
        assert!(shown.starts_with("verified: 3 calls"), "{shown}");
    }
    bundled.verify(&before, &bundled.identity, &bundled.key).expect(0);
    bundled.verify(&before, &bundled.identity, &later).expect(8).says("does not lead back");
    let without = bundled.forged(|files| files.retain(|(name, _)| name != "rotations.json"));
    bundled.verify(&without, &bundled.identity, &bundled.key).expect(8).says("not signed by");
    let changed = bundled.forged(|files| {
        let at = files.iter().position(|(name, _)| name == "rotations.json").expect("rotations");
        let text = String::from_utf8(files[at].1.clone()).expect("text");
        files[at].1 = text.replace("key_rotated", "key_r0tated").into_bytes();
    });
    bundled.verify(&changed, &bundled.identity, &bundled.key).expect(8).says("the rotation from key");
}
