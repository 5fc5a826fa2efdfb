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
    assert_eq!(said["files"].as_object().map(serde_json::Map::len), Some(3));
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
