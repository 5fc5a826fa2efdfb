//! What proves a call to somebody who trusts neither the host nor its operator: receipts and consistency
//! proofs, verified by the program with the public key alone, and by others' code.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2_of_others::Sha256;

use crate::harness::process::Cli;
use crate::harness::{World, grant, guest};

/// What a stranger is given.
struct Evidence {
    cli: Cli,
    call: String,
    key: String,
}

impl Evidence {
    fn new() -> Self {
        let (cli, _) = Cli::with_notes();
        let call = add(&cli, "one");
        let key = cli.file("key", std::fs::read(cli.path("data/audit.pub")).expect("a key"));
        Self { cli, call, key }
    }

    fn prove(&self, more: &[&str]) -> Value {
        let arguments = [&["audit", "prove", &self.call], more].concat();
        self.cli.json(&arguments)
    }

    fn checkpoint(&self, name: &str) -> String {
        self.cli.file(name, std::fs::read(self.cli.path("data/audit/checkpoint")).expect("a checkpoint"))
    }

    /// Verifies a receipt in a place that has nothing of the host.
    fn verify(&self, receipt: &Value, more: &[&str]) -> crate::harness::process::Ran {
        let file = self.cli.file("receipt", receipt.to_string());
        let (stranger, key) = (Cli::new(), self.key.as_str());
        stranger.run([&["audit", "verify-receipt", &file, "--key", key], more].concat())
    }
}

fn add(cli: &Cli, name: &str) -> String {
    let ran = cli.call("notes", "add", &json!({"name": name, "text": "x"}).to_string()).expect(0);
    ran.answer()["call"].as_str().expect("an id").to_owned()
}

#[test]
fn a_receipt_proves_a_call_without_the_log() {
    let evidence = Evidence::new();
    let receipt = evidence.prove(&["--with-records"]);
    assert_eq!(receipt["facts"]["engine"], format!("wasmtime {}", locked("wasmtime")));
    let shown = evidence.verify(&receipt, &[]).expect(0).stdout;
    assert!(shown.contains(&evidence.call) && shown.contains("own records"), "{shown}");
    let verified = evidence.verify(&receipt, &["--json"]).expect(0);
    let verified: Value = serde_json::from_str(&verified.stdout).expect("JSON");
    assert_eq!(verified["facts"], receipt["facts"]);
    assert_eq!(verified["own_records"], receipt["records"].as_array().map(Vec::len).expect("records"));
    // Beside a running host, against what its answer waited for.
    let owner = evidence.cli.owner();
    let call = add(&evidence.cli, "two");
    let beside = evidence.cli.json(&["audit", "prove", &call]);
    owner.kill();
    evidence.verify(&beside, &[]).expect(0);
    let out = evidence.cli.path("written");
    let name = out.to_str().expect("UTF-8");
    evidence.cli.run(["audit", "prove", &call, "--out", name]).expect(0);
    let written = std::fs::read_to_string(&out).expect("written");
    evidence.verify(&serde_json::from_str(&written).expect("JSON"), &[]).expect(0);
}

#[test]
fn a_receipt_that_was_changed_or_is_of_another_log_is_refused_and_it_is_said_why() {
    let evidence = Evidence::new();
    let receipt = evidence.prove(&[]);
    let line = receipt["record"]["line"].as_str().expect("a line");
    let mut changed = receipt.clone();
    changed["record"]["line"] = line.replace("researcher", "somebody00").into();
    evidence.verify(&changed, &[]).expect(8).says("the call's last record is not in the log");
    let mut changed = receipt.clone();
    changed["facts"]["principal"] = "somebody".into();
    evidence.verify(&changed, &[]).expect(8).says("not what the signed record says");
    let mut changed = receipt.clone();
    changed["note"] = "believe me".into();
    evidence.verify(&changed, &[]).expect(8).says("unknown field `note`");
    let other = Evidence::new();
    other.verify(&receipt, &[]).expect(8).says("is of the log");
    let ran = evidence.verify(&json!([1, 2]), &["--json"]).expect(8);
    let said: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert!(said["not_verified"].as_str().is_some_and(|text| text.contains("not a receipt")), "{said}");
    // What can't be proved at all is another matter.
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    evidence.cli.run(["audit", "prove", unknown]).expect(2).says("the log has no call");
    evidence.cli.run(["audit", "verify-receipt", "nowhere.json"]).expect(2);
}

#[test]
fn checkpoints_are_held_together_by_consistency_proofs() {
    let evidence = Evidence::new();
    let monday = evidence.checkpoint("monday");
    let receipt = evidence.prove(&[]);
    evidence.verify(&receipt, &["--checkpoint", &monday]).expect(0);
    add(&evidence.cli, "two");
    let tuesday = evidence.checkpoint("tuesday");
    evidence.verify(&receipt, &["--checkpoint", &tuesday]).expect(8).says("audit consistency");
    let proof = evidence
        .cli
        .file("proof", evidence.cli.json(&["audit", "consistency", "--from", &monday]).to_string());
    let bridge = ["--checkpoint", &tuesday, "--consistency", &proof];
    evidence.verify(&receipt, &bridge).expect(0);
    // The receipt against the old checkpoint is still to be had.
    assert_eq!(evidence.prove(&["--checkpoint", &monday]), receipt);

    let stranger = Cli::new();
    let verify = |proof: &str, more: &[&str]| {
        stranger.run([&["audit", "verify-consistency", proof, "--key", &evidence.key], more].concat())
    };
    let shown = verify(&proof, &["--from", &monday, "--to", &tuesday]).expect(0).stdout;
    assert!(shown.starts_with("verified: the "), "{shown}");
    verify(&proof, &["--from", &tuesday]).expect(8).says("earlier checkpoint is not the one");
    let backwards = ["audit", "consistency", "--from", &tuesday, "--to", &monday];
    evidence.cli.run(backwards).expect(2).says("exchange them");
    let mut changed: Value =
        serde_json::from_str(&std::fs::read_to_string(&proof).expect("text")).expect("JSON");
    changed["proof"][0] = changed["proof"][1].clone();
    let changed = evidence.cli.file("changed", changed.to_string());
    verify(&changed, &[]).expect(8).says("did not grow into");
    let other = Evidence::new();
    let foreign = other.checkpoint("foreign");
    evidence.cli.run(["audit", "consistency", "--from", &foreign]).expect(8).says("not signed by");
}

/// Calls before, between and after two rotations of the key, for verifiers who have different things at hand.
#[test]
fn proofs_hold_across_rotations_of_the_key_for_who_has_a_key_and_its_rotations() {
    let mut evidence = Evidence::new();
    let audit_pub = evidence.cli.path("data/audit.pub");
    let kept = |name: &str| evidence.cli.file(name, std::fs::read(&audit_pub).expect("a key"));
    let first = kept("first.pub");
    let old_receipt = evidence.prove(&[]);
    let old_checkpoint = evidence.checkpoint("old.checkpoint");
    evidence.cli.run(["audit", "key", "rotate"]).expect(0);
    let second = kept("second.pub");
    let between = add(&evidence.cli, "between");
    evidence.cli.run(["audit", "key", "rotate"]).expect(0);
    let third = kept("third.pub");
    let after = add(&evidence.cli, "after");
    let rotations = evidence.cli.path("rotations.json");
    let rotations = rotations.to_str().expect("UTF-8").to_owned();
    evidence.cli.run(["audit", "rotations", "--out", &rotations]).expect(0);
    let led = ["--rotations", rotations.as_str()];

    // What was signed before stays good for who has the key of then, with and without the rotations.
    evidence.key.clone_from(&first);
    evidence.verify(&old_receipt, &[]).expect(0);
    evidence.verify(&old_receipt, &led).expect(0);
    // A later key does not lead back: it is said, and a receipt made anew is of the newest key.
    evidence.key.clone_from(&third);
    evidence.verify(&old_receipt, &led).expect(8).says("not signed by").says("does not lead back");
    let calls = [evidence.call.clone(), between, after];
    for call in &calls {
        let receipt = evidence.cli.json(&["audit", "prove", call, "--with-records"]);
        evidence.key.clone_from(&third);
        evidence.verify(&receipt, &[]).expect(0);
        for earlier in [&first, &second] {
            evidence.key.clone_from(earlier);
            evidence.verify(&receipt, &[]).expect(8).says("--rotations");
            evidence.verify(&receipt, &led).expect(0);
        }
    }
    // The host proves against what any of its keys signed.
    let against_old = ["audit", "prove", &calls[0], "--checkpoint", &old_checkpoint];
    assert_eq!(evidence.cli.json(&against_old), old_receipt);
    let proof = evidence.cli.json(&["audit", "consistency", "--from", &old_checkpoint]).to_string();
    let proof = evidence.cli.file("proof", proof);
    let stranger = Cli::new();
    let verify = |key: &str, more: &[&str]| {
        let arguments = ["audit", "verify-consistency", &proof, "--key", key, "--from", &old_checkpoint];
        stranger.run([&arguments, more].concat())
    };
    verify(&first, &led).expect(0);
    verify(&first, &[]).expect(8).says("--rotations");
    verify(&third, &led).expect(8).says("does not lead back");
    // A checkpoint that was kept under the first key holds what the third signed to its word.
    evidence.key.clone_from(&first);
    let receipt = evidence.cli.json(&["audit", "prove", &calls[2]]);
    let bridge = ["--checkpoint", &old_checkpoint, "--consistency", &proof, "--rotations", &rotations];
    evidence.verify(&receipt, &bridge).expect(0);
    evidence.cli.run(["audit", "verify", "--key", &first, "--checkpoint", &old_checkpoint]).expect(0);
    let ran = evidence.cli.run(["audit", "verify", "--checkpoint", &old_checkpoint]);
    ran.expect(8).says("give the key that signed the earliest checkpoint");

    // Rotations that were changed, or are of another log, lead nowhere.
    let text = std::fs::read_to_string(&rotations).expect("text");
    let (second, third) = [&second, &third].map(|key| std::fs::read_to_string(key).expect("text")).into();
    let changed = evidence.cli.file("changed", text.replace(second.trim(), third.trim()));
    evidence.verify(&receipt, &["--rotations", &changed]).expect(8).says("the rotation from key");
    let other = Evidence::new();
    other.verify(&other.prove(&[]), &led).expect(8).says("the rotations are of the log");
    // A log whose key was never rotated has none, and that holds as well.
    let none = other.cli.file("none", other.cli.json(&["audit", "rotations"]).to_string());
    other.verify(&other.prove(&[]), &["--rotations", &none]).expect(0);
}

/// Nothing of this project, and none of the crates that it hashes, proves and signs with: only the documents,
/// their specifications (RFC 6962, C2SP signed-note and tlog-checkpoint), `ct-merkle`, `ring` and another `sha2`.
#[test]
fn others_code_verifies_checkpoints_receipts_and_consistency() {
    let evidence = Evidence::new();
    let monday = std::fs::read_to_string(evidence.checkpoint("monday")).expect("text");
    for name in ["two", "three"] {
        add(&evidence.cli, name);
    }
    let receipt = evidence.prove(&["--with-records"]);
    let key = std::fs::read_to_string(&evidence.key).expect("text");
    let root = others::checkpoint(receipt["checkpoint"].as_str().expect("a note"), &key).expect("it holds");
    for part in ["record", "host"] {
        others::included(&receipt[part], &root).expect("it holds");
        let mut wrong = receipt[part].clone();
        wrong["line"] = wrong["line"].as_str().expect("a line").replace("seq", "Seq").into();
        assert!(others::included(&wrong, &root).is_err());
    }
    let mut own = ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, String>::new();
    for line in receipt["records"].as_array().expect("records") {
        own.push(line.as_str().expect("a line").to_owned());
    }
    assert_eq!(receipt["facts"]["records_root"], STANDARD.encode(own.root().as_bytes()));
    assert_eq!(receipt["facts"]["records"], own.len());
    // The tree over all lines of the log, which `tail` gives.
    let mut all = ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, String>::new();
    for line in crate::harness::segments(&evidence.cli.path("data/audit")).concat().lines() {
        if all.len() < root.num_leaves() {
            all.push(line.to_owned());
        }
    }
    assert_eq!(all.root().as_bytes(), root.as_bytes());
    // The receipt's checkpoint, while `monday` was the newest of its day.
    let earlier = others::checkpoint(&monday, &key).expect("it holds");
    let file = evidence.cli.path("monday");
    let proof = evidence.cli.json(&["audit", "consistency", "--from", file.to_str().expect("UTF-8")]);
    let later = others::checkpoint(proof["to"].as_str().expect("a note"), &key).expect("it holds");
    let proof = ConsistencyProof::<Sha256>::try_from_bytes(others::hashes(&proof["proof"])).expect("hashes");
    assert!(later.num_leaves() > earlier.num_leaves());
    later.verify_consistency(&earlier, &proof).expect("it holds");
    let forged = others::checkpoint(&monday.replace('\n', "\n "), &key);
    assert!(forged.is_err());
}

mod others {
    use super::*;

    /// The size and root that a checkpoint names, if the key has signed it.
    pub(super) fn checkpoint(note: &str, key: &str) -> Result<RootHash<Sha256>, String> {
        let [name, id, public] = key.trim().splitn(3, '+').collect::<Vec<_>>()[..] else {
            return Err("key".into());
        };
        let public = STANDARD.decode(public).map_err(|error| error.to_string())?;
        let (text, signatures) = note.split_once("\n\n").ok_or("no blank line")?;
        let text = format!("{text}\n");
        let signed = signatures.lines().find_map(|line| line.strip_prefix(&format!("\u{2014} {name} ")));
        let signature = STANDARD.decode(signed.ok_or("no signature")?).map_err(|error| error.to_string())?;
        let (key_id, signature) = signature.split_at(4);
        let hex: String = key_id.iter().map(|byte| format!("{byte:02x}")).collect();
        if hex != id || public[0] != 1 {
            return Err("another key".to_owned());
        }
        UnparsedPublicKey::new(&ED25519, &public[1..])
            .verify(text.as_bytes(), signature)
            .map_err(|error| error.to_string())?;
        let [origin, size, root] = text.lines().collect::<Vec<_>>()[..] else { return Err("lines".into()) };
        if origin != name {
            return Err("another log".to_owned());
        }
        let root: [u8; 32] =
            STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or("root")?;
        Ok(RootHash::new(root.into(), size.parse().map_err(|_| "size")?))
    }

    /// Whether a record is where it says in the tree.
    pub(super) fn included(record: &Value, root: &RootHash<Sha256>) -> Result<(), String> {
        let (line, at) =
            (record["line"].as_str().ok_or("line")?, record["sequence"].as_u64().ok_or("sequence")?);
        let proof = InclusionProof::<Sha256>::try_from_bytes(hashes(&record["proof"]));
        let proof = proof.map_err(|error| format!("{error:?}"))?;
        root.verify_inclusion(&line, at, &proof).map_err(|error| format!("{error:?}"))
    }

    pub(super) fn hashes(list: &Value) -> Vec<u8> {
        let decode = |hash: &Value| STANDARD.decode(hash.as_str().expect("text")).expect("base64");
        list.as_array().expect("a list").iter().flat_map(decode).collect()
    }
}

/// Each of the calls that call one another has count and root of its own records, though they lie in one
/// another in the log.
#[tokio::test]
async fn nested_calls_have_roots_of_their_own() {
    let world = World::new().await;
    for name in ["one", "two"] {
        world.add(name, guest("callers")).await;
    }
    let rule = "[[grant.invoke]]\npackage = \"two\"\n";
    world.grant(&format!("{}{rule}\n{}", grant("one"), grant("two"))).await;
    let order = json!({"package": "two", "tool": "report", "arguments": "{\"steps\": 1}"});
    let _ = world.call("one", "call", order).await;
    let lines = crate::harness::segments(&world.host.audit_folder()).concat();
    let parsed: Vec<(Value, &str)> =
        lines.lines().map(|line| (serde_json::from_str(line).expect("JSON"), line)).collect();
    let mut calls = 0;
    for (last, _) in parsed.iter().filter(|(record, _)| record["event"] == "call_finished") {
        let mut tree = ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, String>::new();
        let own = parsed.iter().filter(|(record, _)| {
            record["call"] == last["call"] && record["seq"].as_u64() < last["seq"].as_u64()
        });
        own.for_each(|(_, line)| tree.push((*line).to_owned()));
        assert_eq!(
            (&last["records"], &last["records_root"]),
            (&json!(tree.len()), &json!(STANDARD.encode(tree.root().as_bytes())))
        );
        calls += 1;
    }
    assert!(calls >= 2, "{lines}");
    assert!(parsed.iter().any(|(record, _)| record["parent"].is_string()), "{lines}");
}

/// The version of a crate in the lock file.
fn locked(name: &str) -> String {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let text = std::fs::read_to_string(lock).expect("a lock file");
    let (_, after) = text.split_once(&format!("name = \"{name}\"\nversion = \"")).expect("it is in there");
    after.split('"').next().expect("a version").to_owned()
}
