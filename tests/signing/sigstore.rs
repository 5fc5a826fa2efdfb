//! Sigstore bundles by a certificate authority, a log of certificates and a transparency log of the test's own: the host
//! has their root from a file, and asks nobody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::audit::event::Event;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::registry::{DockerRegistry, text};
use super::trust::{add, numbered, public, signed, with_keys};
use crate::harness::AGENT;
use crate::harness::process::{Cli, grant};

const ISSUER: &str = "https://token.actions.githubusercontent.com";
const WORKFLOW: &str = "https://github.com/acme/tools/.github/workflows/release.yml@refs/tags/v1";

/// Object identifiers of Fulcio's issuer and of the list of SCTs (RFC 6962, 3.3).
const ISSUER_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 8];
const SCT_OID: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// A key of one of the instance's parts.
struct Key(KeyPair);

impl Key {
    fn new() -> Self {
        Self(KeyPair::generate().expect("a key"))
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let der = self.0.serialized_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random).expect("a key");
        pair.sign(&random, bytes).expect("signed").as_ref().to_vec()
    }

    fn info(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    fn id(&self) -> Vec<u8> {
        sha256(&self.info())
    }
}

/// An instance of Sigstore.
struct Instance {
    authority: CertifiedIssuer<'static, KeyPair>,
    authority_info: Vec<u8>,
    certificates: Key,
    log: Key,
}

impl Instance {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let authority_info = key.subject_public_key_info();
        let authority = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self { authority, authority_info, certificates: Key::new(), log: Key::new() }
    }

    /// Its `trusted_root.json`.
    fn root(&self) -> String {
        let from = json!({"start": "2020-01-01T00:00:00Z"});
        let log = |key: &Key| {
            json!({
                "baseUrl": "https://log.example", "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": base64(key.info()), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": from},
                "logId": {"keyId": base64(key.id())},
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.log)],
            "certificateAuthorities": [{
                "subject": {"organization": "tests", "commonName": "tests"}, "uri": "https://ca.example",
                "certChain": {"certificates": [{"rawBytes": base64(self.authority.der())}]}, "validFor": from,
            }],
            "ctlogs": [log(&self.certificates)],
            "timestampAuthorities": [],
        })
        .to_string()
    }

    /// A certificate of ten minutes for an identity, with the promise of the log of certificates.
    fn certificate(&self, key: &KeyPair, subject: &str, issuer: &str) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.serial_number = Some(SerialNumber::from(42_u64));
        params.subject_alt_names = vec![SanType::URI(subject.try_into().expect("ASCII"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let now = std::time::SystemTime::now();
        params.not_before = (now - std::time::Duration::from_secs(300)).into();
        params.not_after = (now + std::time::Duration::from_secs(300)).into();
        let mut text = vec![0x0c, u8::try_from(issuer.len()).expect("short")];
        text.extend(issuer.as_bytes());
        params.custom_extensions = vec![CustomExtension::from_oid_content(&ISSUER_OID, text)];
        // What is promised is the certificate without the promise.
        let without = params.clone().signed_by(key, &self.authority).expect("signed");
        let promised = to_be_signed(without.der());
        let time = u64::try_from(jiff::Timestamp::now().as_millisecond()).expect("after 1970");
        let mut over = vec![0, 0];
        over.extend(time.to_be_bytes());
        over.extend([0, 1]);
        over.extend(sha256(&self.authority_info));
        over.extend(&u32::try_from(promised.len()).expect("short").to_be_bytes()[1..]);
        over.extend(promised);
        over.extend([0, 0]);
        let signature = self.certificates.sign(&over);
        let mut promise = vec![0];
        promise.extend(self.certificates.id());
        promise.extend(time.to_be_bytes());
        promise.extend([0, 0, 4, 3]);
        promise.extend(u16::try_from(signature.len()).expect("short").to_be_bytes());
        promise.extend(signature);
        let length = u8::try_from(promise.len()).expect("short");
        let mut list = vec![0x04, length + 4, 0, length + 2, 0, length];
        if length + 4 > 0x7f {
            list = vec![0x04, 0x81, length + 4, 0, length + 2, 0, length];
        }
        list.extend(promise);
        params.custom_extensions.push(CustomExtension::from_oid_content(&SCT_OID, list));
        params.signed_by(key, &self.authority).expect("signed").der().to_vec()
    }

    /// A bundle over some bytes.
    fn bundle(&self, bytes: &[u8], subject: &str, issuer: &str) -> Value {
        let key = Key::new();
        let certificate = self.certificate(&key.0, subject, issuer);
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            base64(&certificate)
                .as_bytes()
                .chunks(64)
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect::<Vec<_>>()
                .join("\n")
        );
        let signature = base64(key.sign(bytes));
        let hex: String = sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let body = json!({
            "apiVersion": "0.0.1", "kind": "hashedrekord",
            "spec": {"data": {"hash": {"algorithm": "sha256", "value": hex}},
                     "signature": {"content": signature, "publicKey": {"content": base64(pem)}}},
        })
        .to_string();
        let leaf = sha256(&[&[0], body.as_bytes()].concat());
        let time = jiff::Timestamp::now().as_second();
        let log: String = self.log.id().iter().map(|byte| format!("{byte:02x}")).collect();
        let promised =
            json!({"body": base64(&body), "integratedTime": time, "logID": log, "logIndex": 0}).to_string();
        let note = format!("log.example - 1\n1\n{}\n", base64(&leaf));
        let noted = [&self.log.id()[..4], &self.log.sign(note.as_bytes())].concat();
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": base64(certificate)},
                "tlogEntries": [{
                    "logIndex": "0", "logId": {"keyId": base64(self.log.id())},
                    "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"}, "integratedTime": time.to_string(),
                    "inclusionPromise": {"signedEntryTimestamp": base64(self.log.sign(promised.as_bytes()))},
                    "inclusionProof": {
                        "logIndex": "0", "rootHash": base64(&leaf), "treeSize": "1", "hashes": [],
                        "checkpoint": {"envelope": format!("{note}\n— log.example {}\n", base64(noted))},
                    },
                    "canonicalizedBody": base64(&body),
                }],
            },
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": base64(sha256(bytes))}, "signature": signature,
            },
        })
    }
}

/// The part of a certificate that is signed: the first of a sequence of three.
fn to_be_signed(certificate: &[u8]) -> &[u8] {
    let head = |bytes: &[u8]| match bytes[1] {
        length @ 0..=0x7f => (2, usize::from(length)),
        0x81 => (3, usize::from(bytes[2])),
        _ => (4, usize::from(bytes[2]) << 8 | usize::from(bytes[3])),
    };
    let (begin, _) = head(certificate);
    let (skipped, length) = head(&certificate[begin..]);
    &certificate[begin..begin + skipped + length]
}

/// A policy that asks for two: alice's key, or one of the identities.
fn policy(cli: &Cli, more: &str, needed: u32) -> String {
    let policy = format!(
        "[keys]\nalice = \"{}\"\n\n[sigstore]\ntrusted_root = \"root.json\"\n\n\
         [identities]\nci = {{ subject = \"https://github.com/acme/tools/.github/workflows/release.yml@refs/tags/*\", \
         issuer = \"{ISSUER}\"{more} }}\n\n\
         [[package]]\nnames = [\"tool\"]\nsigners = [\"alice\", \"ci\"]\nneeded = {needed}\n",
        public(cli, "alice")
    );
    cli.file("trust.toml", policy)
}

#[test]
fn a_key_and_an_identity_count_together_at_registration_and_at_load() {
    let cli = with_keys();
    let instance = Instance::new();
    cli.file("root.json", instance.root());
    cli.run(["trust", "apply", &policy(&cli, "", 2)]).expect(0);
    let bytes = numbered(1, "", "");
    let by_alice = signed(&cli, "tool.wasm", &bytes, &["alice"]);
    cli.run(add(&by_alice, "1.0.0")).expect(3).says("it needs 2 of the signatures of alice, ci, and 1 count");
    let write = |bundle: &Value| cli.file("tool.wasm.sigstore.json", bundle.to_string());
    // Each denied twin: another workflow, another issuer, another instance, other bytes, a part that is gone.
    let other_workflow = WORKFLOW.replace("release.yml", "test.yml");
    let mut without = instance.bundle(&bytes, WORKFLOW, ISSUER);
    without["verificationMaterial"]["tlogEntries"] = json!([]);
    for (bundle, code, told) in [
        (instance.bundle(&bytes, &other_workflow, ISSUER), 3, "that the trust policy does not know"),
        (instance.bundle(&bytes, WORKFLOW, "https://evil.example"), 3, "that the trust policy does not know"),
        (Instance::new().bundle(&bytes, WORKFLOW, ISSUER), 2, "not one over these bytes"),
        (instance.bundle(b"other", WORKFLOW, ISSUER), 2, "not one over these bytes"),
        (without, 2, "not one over these bytes"),
    ] {
        write(&bundle);
        cli.run(add(&by_alice, "1.0.0")).expect(code).says(told);
    }
    assert_eq!(cli.json(&["package", "list"]), json!([]));
    write(&instance.bundle(&bytes, WORKFLOW, ISSUER));
    let added = cli.json(&add(&by_alice, "1.0.0").iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(added["trust"]["trusted"], json!(true), "{added}");
    cli.run(["package", "approve", "tool"]).expect(0);
    let grants = cli.file("grants.toml", grant("tool", ""));
    cli.run(["grant", "apply", &grants]).expect(0);
    assert_eq!(cli.json(&["call", "tool", "run", "--as", AGENT])["structured"], json!(1));
    let (named, signers) = cli.log().into_iter().fold((Vec::new(), Vec::new()), |mut all, record| {
        match record.event {
            Event::PackageAdded { identities, .. } => all.0.extend(identities),
            Event::PackageApproved { signers, .. } => all.1.extend(signers),
            _ => {}
        }
        all
    });
    assert_eq!((named[0].subject.as_str(), named[0].issuer.as_str()), (WORKFLOW, ISSUER));
    assert_eq!(signers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["alice", "ci"]);
    // What is in force says all of it, and can be applied as it stands.
    let shown = text(&cli.json(&["trust", "show"])["policy"]["text"]);
    assert!(shown.contains("trustedroot+json"), "{shown}");
    let again = cli.file("again.toml", &shown);
    assert_eq!(cli.json(&["trust", "apply", &again])["changed"], json!(false));

    // Revoked, or believed by another root only, it counts for nothing: at load too.
    cli.run(["trust", "apply", &policy(&cli, ", revoked = \"taken over\"", 2)]).expect(0);
    cli.run(["call", "tool", "run", "--as", AGENT]).expect(3).says("by a revoked key or identity");
    cli.file("root.json", Instance::new().root());
    cli.run(["trust", "apply", &policy(&cli, "", 2)]).expect(0);
    cli.run(["call", "tool", "run", "--as", AGENT]).expect(3).says("is not valid");
    cli.file("root.json", instance.root());
    cli.run(["trust", "apply", &policy(&cli, "", 2)]).expect(0);
    assert_eq!(cli.json(&["call", "tool", "run", "--as", AGENT])["structured"], json!(1));
}

#[test]
fn a_bundle_goes_along_through_a_registry() {
    let cli = with_keys();
    let instance = Instance::new();
    cli.file("root.json", instance.root());
    let bytes = numbered(1, "", "");
    let file = cli.file("tool.wasm", &bytes);
    cli.file("tool.wasm.sigstore.json", instance.bundle(&bytes, WORKFLOW, ISSUER).to_string());
    let registry = DockerRegistry::start(&cli, "");
    let pushed = cli.json(&["push", &file, &registry.reference("tool:1")]);
    assert_eq!(pushed["signatures"], json!(1), "{pushed}");
    let reference = text(&pushed["reference"]);
    cli.run(["trust", "apply", &policy(&cli, "", 1)]).expect(0);
    cli.run(add(&reference, "1.0.0")).expect(0);
    let pulled = cli.json(&["pull", &reference, "--out", "pulled.wasm"]);
    assert_eq!(text(&pulled["signatures"][0]["by"]), format!("{WORKFLOW} ({ISSUER})"));
    assert!(cli.path("pulled.wasm.1.sigstore.json").exists());
}

#[test]
fn a_policy_of_identities_says_whom_and_by_whose_word() {
    let cli = with_keys();
    cli.file("root.json", Instance::new().root());
    let refused = |text: &str, why: &str| {
        let file = cli.file("bad.toml", text);
        cli.run(["trust", "apply", &file]).expect(2).says(why);
    };
    let root = "[sigstore]\ntrusted_root = \"root.json\"\n";
    let of = |subject: &str| {
        format!("{root}[identities]\na = {{ subject = \"{subject}\", issuer = \"{ISSUER}\" }}\n")
    };
    refused(
        "[identities]\na = { subject = \"a@b.example\", issuer = \"https://i.example\" }\n",
        "nobody vouches",
    );
    for subject in ["*", "*@acme.example", "https://github.com/acme/*", "https://github.com/*@refs/*", ""] {
        refused(&of(subject), "names no one identity");
    }
    refused(&format!("{root}[identities]\na = {{ subject = \"a@b.example\" }}\n"), "`issuer` is missing");
    refused(&of("a@b.example").replace(ISSUER, "http://i.example"), "is no issuer");
    refused(
        &format!("{}b = {{ subject = \"a@b.example\", issuer = \"{ISSUER}\" }}\n", of("a@b.example")),
        "a's already",
    );
    let key = format!("[keys]\na = \"{}\"\n", public(&cli, "alice"));
    refused(&format!("{key}{}", of("a@b.example")), "a is a key already");
    refused("[sigstore]\ntrusted_root = \"nowhere.json\"\n", "nowhere.json");
    cli.file("empty.json", "{}");
    refused("[sigstore]\ntrusted_root = \"empty.json\"\n", "no trust root of Sigstore");
    assert_eq!(cli.json(&["trust", "show"])["policy"], json!(null));
}
