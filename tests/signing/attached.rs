//! `inspect` shows SBOMs and provenance of a component, from files and from a registry; and refuses what is said about
//! other bytes.

use portcullis::ids::PackageDigest;
use serde_json::{Value, json};

use super::registry::{DockerRegistry, text};
use super::trust::numbered;
use crate::harness::process::Cli;

const SLSA: &str = "https://slsa.dev/provenance/v1";

fn statement(digest: PackageDigest) -> Value {
    let hex = digest.to_string().replace("sha256:", "");
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "tool.wasm", "digest": {"sha256": hex}}],
        "predicateType": SLSA,
        "predicate": {
            "buildDefinition": {
                "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                "externalParameters": {},
                "resolvedDependencies": [{
                    "uri": "git+https://github.com/ann/tool@refs/tags/v1.0.0",
                    "digest": {"gitCommit": "c0ffee"},
                }],
            },
            "runDetails": {"builder": {"id": "https://github.com/actions/runner/github-hosted"}},
        },
    })
}

fn envelope(statement: &Value) -> Value {
    use base64::Engine as _;
    let payload = base64::engine::general_purpose::STANDARD.encode(statement.to_string());
    json!({"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": [{"sig": "AA=="}]})
}

fn cyclone(purls: &[&str]) -> String {
    let components: Vec<Value> = purls.iter().map(|purl| json!({"type": "library", "purl": purl})).collect();
    json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components}).to_string()
}

/// Lines of what is shown, that say something of attachments.
fn shown(cli: &Cli, arguments: &[&str]) -> String {
    cli.run(arguments).expect(0).stdout
}

#[test]
fn an_sbom_is_counted_and_its_crates_looked_up() {
    let cli = Cli::new();
    let file = cli.file("tool.wasm", numbered(1, "", ""));
    let front =
        "[advisory]\nid = \"RUSTSEC-2020-0071\"\npackage = \"time\"\n[versions]\npatched = [\">= 0.2.23\"]";
    let folder = cli.path("db/crates/time");
    std::fs::create_dir_all(&folder).expect("made");
    let advisory = format!("```toml\n{front}\n```\n\n# Potential segfault\n");
    std::fs::write(folder.join("RUSTSEC-2020-0071.md"), advisory).expect("written");
    let purls =
        ["pkg:cargo/time@0.1.45", "pkg:cargo/time@0.3.47", "pkg:npm/left-pad@1.3.0", "pkg:cargo/bare"];
    let sbom = cli.file("sbom.json", cyclone(&purls));
    let told = cli.json(&["inspect", &file, "--sbom", &sbom, "--advisories", "db"]);
    let one = &told["sboms"][0];
    assert_eq!((&one["format"], &one["components"]), (&json!("CycloneDX 1.6"), &json!(4)), "{told}");
    assert_eq!((one["crates"].as_array().map(Vec::len), &one["without_version"]), (Some(2), &json!(1)));
    assert_eq!(one["advisories"][0]["id"], json!("RUSTSEC-2020-0071"), "{told}");
    assert_eq!(one["advisories"].as_array().map(Vec::len), Some(1), "{told}");
    let text = shown(&cli, &["inspect", &file, "--sbom", &sbom, "--advisories", "db"]);
    for part in [
        "sbom          CycloneDX 1.6: 4 components, 2 of them crates with a version",
        "its author's word, not verified",
        "RUSTSEC-2020-0071 time 0.1.45",
        "1 crates without a version",
    ] {
        assert!(text.contains(part), "no {part}: {text}");
    }
    // The same crate from elsewhere is not the one of crates.io.
    let forked = cli.file("forked.json", cyclone(&["pkg:cargo/time@0.1.45?vcs_url=git%2Bhttps://a.example"]));
    let told = cli.json(&["inspect", &file, "--sbom", &forked, "--advisories", "db"]);
    assert_eq!(told["sboms"][0]["advisories"], json!([]), "{told}");
    // What can't be read is refused, and never passed over.
    let wrong = cli.file("wrong.json", cyclone(&["pkg:cargo/time@%ff"]));
    cli.run(["inspect", &file, "--sbom", &wrong]).expect(2).says("wrong.json: it can't be read");
    cli.run(["inspect", &file, "--sbom", &file]).expect(2);
    cli.run(["inspect", &file, "--advisories", "db"]).expect(2).says("has no SBOM");
}

#[test]
fn provenance_is_shown_if_it_is_about_these_bytes_and_refused_else() {
    let cli = Cli::new();
    let bytes = numbered(1, "", "");
    let file = cli.file("tool.wasm", &bytes);
    let ours = statement(PackageDigest::of(&bytes));
    let others = statement(PackageDigest::of(b"other"));
    let bundle = |statement: &Value| {
        json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {},
               "dsseEnvelope": envelope(statement)})
    };
    for (name, kind, ours, others, signatures) in [
        ("bare", "in_toto", ours.clone(), others.clone(), 0),
        ("envelope", "dsse", envelope(&ours), envelope(&others), 1),
        ("bundle", "sigstore", bundle(&ours), bundle(&others), 1),
    ] {
        let good = cli.file(&format!("{name}.json"), ours.to_string());
        let told = cli.json(&["inspect", &file, "--provenance", &good]);
        let one = &told["statements"][0];
        assert_eq!((&one["kind"], &one["signatures"]), (&json!(kind), &json!(signatures)), "{told}");
        assert_eq!(one["predicate_type"], json!(SLSA));
        let text = shown(&cli, &["inspect", &file, "--provenance", &good]);
        let worth = if signatures == 0 { "signatures  none: whoever" } else { "signatures  1, NOT verified" };
        for part in [
            "about       these bytes",
            "builder     https://github.com/actions/runner/github-hosted",
            "source      git+https://github.com/ann/tool@refs/tags/v1.0.0 (gitCommit c0ffee)",
            worth,
        ] {
            assert!(text.contains(part), "{name}: no {part}: {text}");
        }
        // The denied twin.
        let bad = cli.file(&format!("{name}-other.json"), others.to_string());
        cli.run(["inspect", &file, "--provenance", &bad]).expect(2).says("its subject is not this component");
    }
    let no_payload = json!({"payloadType": "application/vnd.in-toto+json", "payload": "e30="});
    let no_payload = cli.file("empty.json", no_payload.to_string());
    cli.run(["inspect", &file, "--provenance", &no_payload]).expect(2).says("can't be read");
}

/// What `pull` writes beside a component, and what a registry has, is found without being named.
#[test]
fn what_is_attached_is_shown_from_the_registry_and_from_beside_the_file() {
    let cli = Cli::new();
    let registry = DockerRegistry::start(&cli, "");
    let bytes = numbered(1, "", "");
    let file = cli.file("tool.wasm", &bytes);
    let sbom = cli.file("sbom.json", cyclone(&["pkg:cargo/serde@1.0.1"]));
    let digest = PackageDigest::of(&bytes);
    let bare = cli.file("bare.json", statement(digest).to_string());
    let bundle = json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                        "verificationMaterial": {"padding": "x".repeat(20_000)},
                        "dsseEnvelope": envelope(&statement(digest))});
    // Longer than a bundle that signs a component may be: it is not taken for one.
    let bundle = cli.file("bundle.json", bundle.to_string());
    let reference = registry.reference("tool:1");
    let push = ["push", &file, &reference, "--sbom", &sbom, "--provenance", &bare, "--provenance", &bundle];
    let pushed = cli.json(&push);
    assert_eq!(pushed["attachments"], json!(3), "{pushed}");
    let pinned = text(&pushed["reference"]);
    cli.run(["pull", &pinned, "--out", "pulled.wasm"]).expect(0);
    for (from, place) in [("pulled.wasm", "pulled.wasm."), (pinned.as_str(), pinned.as_str())] {
        let told = cli.json(&["inspect", from]);
        assert_eq!(told["digest"], json!(digest.to_string()), "{from}");
        assert_eq!(told["sboms"][0]["crates"][0]["name"], json!("serde"), "{told}");
        assert_eq!(told["statements"].as_array().map(Vec::len), Some(2), "{told}");
        assert!(text(&told["sboms"][0]["from"]).contains(place), "{told}");
    }
    // What was pulled beside another component is not about that one.
    cli.file("pulled.wasm", numbered(2, "", ""));
    cli.run(["inspect", "pulled.wasm"]).expect(2).says("its subject is not this component");
    // A component that has nothing beside it shows nothing.
    let told = cli.json(&["inspect", &file]);
    assert_eq!((&told["sboms"], &told["statements"]), (&json!(null), &json!(null)), "{told}");
}
