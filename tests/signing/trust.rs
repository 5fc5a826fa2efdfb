//! The trust policy: what is refused, what stops, and what an upgrade may do by itself.

use portcullis::audit::event::{ApprovalRule, CallOutcome, Event};
use portcullis::policy::{Denial, Stop};
use serde_json::json;

use crate::harness::AGENT;
use crate::harness::process::{Cli, grant, spin};

/// A tool `run` that answers with a number; `more` is beside it.
pub(crate) fn numbered(number: u32, imports: &str, more: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            {imports}
            (core module $m (func (export "run") (result i32) (i32.const {number})))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run")))
            {more})"#
    );
    wat::parse_str(text).expect("valid")
}

const MORE: &str = r#"(func (export "more") (result u32) (canon lift (core func $i "run")))"#;
const RANDOM: &str =
    r#"(import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u64)))))"#;

/// Keys alice, bob and mallory.
pub(super) fn with_keys() -> Cli {
    let cli = Cli::new();
    for name in ["alice", "bob", "mallory"] {
        cli.run(["signing-key", "generate", &format!("{name}.key"), "--unencrypted"]).expect(0);
    }
    cli
}

pub(super) fn public(cli: &Cli, name: &str) -> String {
    let key = cli.json(&["signing-key", "show", &format!("{name}.pub")]);
    key["public_key"].as_str().expect("a key").to_owned()
}

/// Of packages named tool or tool-*, by alice or bob; `alice` is the value of her key, `more` is at the end.
fn policy(cli: &Cli, alice: &str, more: &str) -> String {
    let text = format!(
        "[keys]\nalice = {alice}\nbob = \"{}\"\n\n\
         [[package]]\nnames = [\"tool\", \"tool-*\"]\nsigners = [\"alice\", \"bob\"]\n{more}",
        public(cli, "bob")
    );
    cli.file("trust.toml", text)
}

pub(super) fn apply(cli: &Cli, more: &str) {
    let alice = format!("\"{}\"", public(cli, "alice"));
    let file = policy(cli, &alice, more);
    cli.run(["trust", "apply", &file]).expect(0);
}

/// Writes a component, signed by some.
pub(super) fn signed(cli: &Cli, file: &str, bytes: &[u8], signers: &[&str]) -> String {
    let path = cli.file(file, bytes);
    for signer in signers {
        let (key, out) = (format!("{signer}.key"), format!("{file}.{signer}.minisig"));
        cli.run(["sign", file, "--secret-key", &key, "--out", &out, "--force"]).expect(0);
    }
    path
}

pub(super) fn add(file: &str, version: &str) -> Vec<String> {
    ["package", "add", file, "--name", "tool", "--version", version].map(str::to_owned).to_vec()
}

fn refusals(cli: &Cli) -> Vec<String> {
    let records = cli.log().into_iter();
    records
        .filter_map(|record| match record.event {
            Event::PackageRefused { reason, .. } => Some(reason),
            _ => None,
        })
        .collect()
}

/// Case 96, the first half: at registration.
#[test]
fn what_is_unsigned_or_signed_by_others_is_not_registered() {
    let cli = with_keys();
    apply(&cli, "");
    let bytes = numbered(1, "", "");
    let unsigned = signed(&cli, "unsigned.wasm", &bytes, &[]);
    cli.run(add(&unsigned, "1.0.0"))
        .expect(3)
        .says("it needs 1 of the signatures of alice, bob, and 0 count");
    let by_mallory = signed(&cli, "mallory.wasm", &bytes, &["mallory"]);
    cli.run(add(&by_mallory, "1.0.0"))
        .expect(3)
        .says("a key or identity that the trust policy does not know");
    // Alice's signature of something else.
    signed(&cli, "other.wasm", &numbered(2, "", ""), &["alice"]);
    let wrong = ["--signature", "other.wasm.alice.minisig"].map(str::to_owned);
    cli.run(add(&unsigned, "1.0.0").into_iter().chain(wrong)).expect(2).says("not one over these bytes");
    // What no rule covers, however it is signed.
    let by_alice = signed(&cli, "alice.wasm", &bytes, &["alice"]);
    cli.run(["package", "add", &by_alice, "--name", "elsewhere"])
        .expect(3)
        .says("no rule of the trust policy covers");
    assert_eq!(refusals(&cli).len(), 4, "{:?}", refusals(&cli));
    assert_eq!(cli.json(&["package", "list"]), json!([]));

    // The granted twin.
    cli.run(add(&by_alice, "1.0.0")).expect(0);
    cli.run(["package", "approve", "tool"]).expect(0);
    let grants = cli.file("grants.toml", grant("tool", ""));
    cli.run(["grant", "apply", &grants]).expect(0);
    let answer = cli.json(&["call", "tool", "run", "--as", AGENT]);
    assert_eq!(answer["structured"], json!(1));
    let list = cli.run(["package", "list"]).expect(0);
    assert!(list.stdout.contains("alice"), "{list:?}");
    let approved = cli.log().into_iter().find_map(|record| match record.event {
        Event::PackageApproved { signers, .. } => Some(signers),
        _ => None,
    });
    assert_eq!(approved.expect("approved")[0].as_str(), "alice");
}

/// A signature that names a package or a version counts for no other.
#[test]
fn a_signature_is_for_what_it_names() {
    let cli = with_keys();
    apply(&cli, "");
    let file = cli.file("tool.wasm", numbered(1, "", ""));
    let sign = ["sign", "tool.wasm", "--secret-key", "alice.key", "--force"];
    cli.run(sign.into_iter().chain(["--name", "tool-other", "--version", "1.0.0"])).expect(0);
    cli.run(add(&file, "1.0.0")).expect(3).says("for another package");
    cli.run(sign.into_iter().chain(["--name", "tool", "--version", "1.0.1"])).expect(0);
    cli.run(add(&file, "1.0.0")).expect(3).says("for another version");
    cli.run(sign.into_iter().chain(["--name", "tool", "--version", "1.0.0"])).expect(0);
    cli.run(add(&file, "1.0.0")).expect(0);
}

/// Case 96, the second half, and case 100: a revoked key ends what runs, and what is compiled and cached runs no more.
#[test]
fn a_revoked_key_ends_the_use_of_what_it_signed() {
    let cli = with_keys();
    apply(&cli, "");
    let file = signed(&cli, "tool.wasm", &spin(), &["alice"]);
    cli.run(add(&file, "1.0.0")).expect(0);
    cli.run(["package", "approve", "tool"]).expect(0);
    let limits = "limits = { wall_time = \"120s\", fuel = 1_000_000_000_000 }\n";
    let grants = cli.file("grants.toml", grant("tool", limits));
    cli.run(["grant", "apply", &grants]).expect(0);
    let owner = cli.serve();
    let tool = cli.json(&["package", "inspect", "tool"])[0]["description"]["tools"][0]["name"].clone();
    let tool = tool.as_str().expect("a tool").to_owned();
    let running = cli.start(["call", "tool", &tool, "--as", AGENT]);
    cli.wait_for_record("the call runs", |record| {
        matches!(record.event, Event::CallAdmitted { .. }).then_some(())
    });

    let revoked = format!("{{ key = \"{}\", revoked = \"stolen on the train\" }}", public(&cli, "alice"));
    let file = policy(&cli, &revoked, "");
    let changed = cli.json(&["trust", "apply", &file]);
    assert_eq!(changed["stopped"].as_array().map(Vec::len), Some(1), "{changed}");
    assert!(changed["distrusted"]["tool"]["because"].as_str().expect("why").contains("revoked"), "{changed}");
    running.end().expect(3).says("does not have the signatures");
    let stop = cli.wait_for_record("the call's end", |record| match &record.event {
        Event::CallFinished { end, .. } => Some(end.outcome.clone()),
        _ => None,
    });
    let is_stop = |outcome: &CallOutcome| {
        matches!(
            outcome,
            CallOutcome::Stopped { stop: Stop::Denied { denial: Denial::Untrusted { .. }, .. } }
        )
    };
    assert!(is_stop(&stop), "{stop:?}");
    // Not with the running host, whose engine has it in memory, nor with the next, which has its artifact.
    cli.run(["call", "tool", &tool, "--as", AGENT]).expect(3).says("by a revoked key");
    owner.interrupt();
    cli.run(["call", "tool", &tool, "--as", AGENT]).expect(3).says("by a revoked key");
    cli.run(["package", "approve", "tool"]).expect(3);
    let shown = cli.run(["package", "inspect", "tool"]).expect(0);
    assert!(shown.stdout.contains("NOT TRUSTED"), "{shown:?}");

    // The granted twin: bob signs the same bytes, and nothing has to be approved again.
    let file = signed(&cli, "tool.wasm", &spin(), &["bob"]);
    cli.run(add(&file, "1.0.0")).expect(0);
    let status = cli.json(&["trust", "show"]);
    assert_eq!(status["distrusted"], json!({}), "{status}");
}

/// Case 101: without a policy nothing passes for signed; a policy that names nobody is refused, and lets nobody in.
#[test]
fn no_configured_signer_is_not_any_signer() {
    let cli = with_keys();
    let file = signed(&cli, "tool.wasm", &numbered(1, "", ""), &["mallory"]);
    cli.run(add(&file, "1.0.0")).expect(0);
    let list = cli.run(["package", "list"]).expect(0);
    assert!(list.stdout.contains("unknown") && list.stdout.contains("pending"), "{list:?}");
    let shown = cli.run(["package", "inspect", "tool"]).expect(0);
    assert!(shown.stdout.contains("there is no trust policy"), "{shown:?}");
    let empty = cli.file("empty.toml", "");
    cli.run(["trust", "apply", &empty]).expect(2).says("deny every package");
    let nobody = cli.file("nobody.toml", "[[package]]\nnames = [\"*\"]\nsigners = []\n");
    cli.run(["trust", "apply", &nobody]).expect(2).says("must have 1 to 100");
    assert_eq!(cli.json(&["trust", "show"])["policy"], json!(null));
    // A policy of keys alone covers nothing, and so denies everything.
    let keys = cli.file("keys.toml", format!("[keys]\nmallory = \"{}\"\n", public(&cli, "mallory")));
    cli.run(["trust", "apply", &keys]).expect(0);
    cli.run(["package", "approve", "tool"]).expect(3).says("no rule of the trust policy covers it");
    cli.run(["trust", "remove"]).expect(0);
    cli.run(["package", "approve", "tool"]).expect(0);
}

/// Case 97.
#[test]
fn an_earlier_version_is_approved_only_when_it_is_said() {
    let cli = Cli::new();
    let digest = |number: u32| portcullis::ids::PackageDigest::of(&numbered(number, "", "")).to_string();
    for (number, version) in [(1, "1.0.0"), (2, "1.1.0"), (3, "1.1.0")] {
        let file = cli.file(&format!("{number}.wasm"), numbered(number, "", ""));
        cli.run(add(&file, version)).expect(0);
    }
    let approve = |number: u32| {
        let words = ["package", "approve", "tool", "--digest"].map(str::to_owned);
        words.into_iter().chain([digest(number)])
    };
    cli.run(approve(2)).expect(0);
    cli.run(approve(1)).expect(2).says("1.0.0 is not newer than 1.1.0");
    // Others of the same version are no step back; those that were approved before them are.
    cli.run(approve(3)).expect(0);
    cli.run(approve(2)).expect(2).says("--allow-downgrade");
    cli.run(approve(3)).expect(0);
    cli.run(approve(1).chain(["--allow-downgrade".to_owned()])).expect(0);
    let downgrades: Vec<bool> = cli
        .log()
        .into_iter()
        .filter_map(|record| match record.event {
            Event::PackageApproved { downgrade, .. } => Some(downgrade),
            _ => None,
        })
        .collect();
    assert_eq!(downgrades, [false, false, false, true]);
}

/// A newer version that asks for no more is approved by a rule, with its grants; a wider one waits.
#[test]
fn only_what_asks_for_no_more_is_approved_by_rule() {
    let cli = with_keys();
    apply(&cli, "\n[upgrade]\napprove = \"same-or-narrower\"\n");
    let added = |file: &str, bytes: &[u8], signers: &[&str], version: &str| {
        let path = signed(&cli, file, bytes, signers);
        let ran = cli.run(add(&path, version).into_iter().chain(["--json".to_owned()])).expect(0);
        ran.answer()["approved_by"].clone()
    };
    let value = || cli.json(&["call", "tool", "run", "--as", AGENT])["structured"].clone();
    // The first is for an admin, whatever the rule.
    assert_eq!(added("1.wasm", &numbered(1, "", MORE), &["alice"], "1.0.0"), json!(null));
    cli.run(["package", "approve", "tool"]).expect(0);
    let grants = cli.file("grants.toml", grant("tool", ""));
    cli.run(["grant", "apply", &grants]).expect(0);
    assert_eq!(value(), json!(1));
    // The same, and then less: agents go on without a step of anybody.
    assert_eq!(added("2.wasm", &numbered(2, "", MORE), &["alice"], "1.1.0"), json!("same-or-narrower"));
    assert_eq!(value(), json!(2));
    assert_eq!(added("3.wasm", &numbered(3, "", ""), &["alice"], "1.2.0"), json!("same-or-narrower"));
    assert_eq!(value(), json!(3));
    // A tool more, an import more, a signer more, and no newer version: each waits for an admin.
    for (file, bytes, signers, version) in [
        ("4.wasm", numbered(4, "", MORE), &["alice"][..], "1.3.0"),
        ("5.wasm", numbered(5, RANDOM, ""), &["alice"], "1.3.0"),
        ("6.wasm", numbered(6, "", ""), &["alice", "bob"], "1.3.0"),
        ("7.wasm", numbered(7, "", ""), &["alice"], "1.2.0"),
        ("8.wasm", numbered(8, "", ""), &["alice"], "1.1.5"),
    ] {
        assert_eq!(added(file, &bytes, signers, version), json!(null), "{file}");
        assert_eq!(value(), json!(3), "{file}");
    }
    // What widened is on screen, and no grant carries over to it.
    let digest = portcullis::ids::PackageDigest::of(&numbered(5, RANDOM, "")).to_string();
    let approved = cli.run(["package", "approve", "tool", "--digest", &digest, "--yes"]).expect(0);
    assert!(approved.stdout.contains("+ wasi:random/random"), "{approved:?}");
    cli.run(["call", "tool", "run", "--as", AGENT]).expect(3).says("made for other bytes");
    let rules: Vec<Option<ApprovalRule>> = cli
        .log()
        .into_iter()
        .filter_map(|record| match record.event {
            Event::PackageApproved { rule, .. } => Some(rule),
            _ => None,
        })
        .collect();
    let by_rule = Some(ApprovalRule::SameOrNarrower);
    assert_eq!(rules, [None, by_rule, by_rule, None]);
}

/// A signature that somebody changes in the database is worth nothing: signatures are kept as they came and verified
/// whenever they count. And one that is gone is missed, not remembered.
#[test]
fn a_stored_signature_that_is_altered_counts_for_nothing() {
    let cli = with_keys();
    apply(&cli, "");
    let file = signed(&cli, "tool.wasm", &numbered(1, "", ""), &["alice"]);
    cli.run(add(&file, "1.0.0")).expect(0);
    cli.run(["package", "approve", "tool"]).expect(0);
    let grants = cli.file("grants.toml", grant("tool", ""));
    cli.run(["grant", "apply", &grants]).expect(0);
    let call = || cli.run(["call", "tool", "run", "--as", AGENT, "--json"]);
    assert_eq!(call().expect(0).answer()["structured"], json!(1));
    // No process has the folder now: its database is one file.
    let database = cli.data.join("portcullis.db");
    let whole = std::fs::read(&database).expect("there");
    let kept = std::fs::read_to_string(cli.path("tool.wasm.alice.minisig")).expect("written");
    let lines: Vec<&str> = kept.lines().collect();
    let flipped = |line: &str, at: usize| {
        let other = if line.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &line[..at], &line[at + 1..])
    };
    // Another byte of the signature, of that over its comment, and of the comment: each is well formed.
    let claimed = lines[2].find("digest:sha256:").expect("it says what was signed") + "digest:sha256:".len();
    let claim = if lines[2].as_bytes()[claimed] == b'0' { "1" } else { "0" };
    let claim = format!("{}{claim}{}", &lines[2][..claimed], &lines[2][claimed + 1..]);
    for (line, altered) in
        [(lines[1], flipped(lines[1], 40)), (lines[3], flipped(lines[3], 40)), (lines[2], claim)]
    {
        assert_eq!(line.len(), altered.len());
        let mut bytes = whole.clone();
        let mut count = 0;
        for at in 0..bytes.len() - line.len() {
            if &whole[at..at + line.len()] == line.as_bytes() {
                bytes[at..at + line.len()].copy_from_slice(altered.as_bytes());
                count += 1;
            }
        }
        assert!(count > 0, "it is kept as it came: {line}");
        std::fs::write(&database, &bytes).expect("written");
        call().expect(3).says("does not have the signatures").says("that of alice is not valid");
        let shown = cli.run(["package", "inspect", "tool"]).expect(0);
        assert!(shown.stdout.contains("NOT TRUSTED") && shown.stdout.contains("not valid"), "{shown:?}");
        cli.run(["package", "approve", "tool"]).expect(3);
        // A wrong one stands beside what is sent again, and refuses it: an admin removes the package.
        cli.run(add(&file, "1.0.0")).expect(2).says("not one over these bytes");
    }
    // The granted twin: what was there is put back.
    std::fs::write(&database, &whole).expect("written");
    assert_eq!(call().expect(0).answer()["structured"], json!(1));
}
