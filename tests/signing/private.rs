//! Private registries: Debian's `docker-registry` with passwords, over TLS with a CA of its own, and with a token
//! service that this test plays; credential helpers. And what is attached to a component, through the API for referrers
//! and without it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis::ids::PackageDigest;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::registry::{DockerRegistry, PASSWORDS, text};
use super::trust::{numbered, signed, with_keys};
use crate::harness::process::Cli;

/// A CA of a test, and a certificate of this machine by it, in files.
struct Machine {
    ca: String,
    certificate: String,
    key: String,
}

fn machine(cli: &Cli, name: &str) -> Machine {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(names).expect("names").signed_by(&key, &ca).expect("signed");
    Machine {
        ca: cli.file(&format!("{name}-ca.pem"), ca.pem()),
        certificate: cli.file(&format!("{name}.pem"), certificate.pem()),
        key: cli.file(&format!("{name}.key"), key.serialize_pem()),
    }
}

/// What a request said: its first line with its fields, and its body.
type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// A server over TLS that answers what a test wants, and notes what it is asked. Its thread ends with the process.
fn tls_server(
    machine: &Machine,
    answers: impl Fn(&str, &str) -> (&'static str, String) + Send + 'static,
) -> (u16, Requests) {
    let read = |path: &str| std::fs::read(path).expect("there");
    let chain = rustls::pki_types::CertificateDer::pem_slice_iter(&read(&machine.certificate))
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(&read(&machine.key)).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate");
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let port = listener.local_addr().expect("an address").port();
    let requests: Requests = Arc::default();
    let noted = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut reader = BufReader::new(rustls::StreamOwned::new(connection, stream));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|count| count > 0) {}
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            if head.is_empty() || reader.read_exact(&mut body).is_err() {
                continue;
            }
            let body = String::from_utf8_lossy(&body).into_owned();
            let (status, answer) = answers(&head, &body);
            noted.lock().expect("no panic").push((head, body));
            let stream = reader.get_mut();
            let length = answer.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
            );
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (port, requests)
}

/// A script that stands in the path as a helper of docker's.
fn helper(cli: &mut Cli, script: &str) {
    let folder = cli.path("helpers");
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("docker-credential-test");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("set");
    let path = std::env::var("PATH").expect("a path");
    cli.environment.retain(|(name, _)| *name != "PATH");
    cli.environment.push(("PATH", format!("{}:{path}", folder.display())));
}

#[test]
fn a_credential_helper_is_asked_about_its_registry_and_told_nothing_else() {
    let mut cli = Cli::new();
    let passwords = cli.file("htpasswd", PASSWORDS);
    let registry =
        DockerRegistry::start(&cli, &format!("auth: {{htpasswd: {{realm: tests, path: {passwords:?}}}}}\n"));
    let file = cli.file("tool.wasm", numbered(1, "", ""));
    let (tagged, name) = (registry.reference("tool:1"), format!("localhost:{}", registry.port));
    let by_name = cli.file("name.json", json!({"credHelpers": {&name: "test"}}).to_string());
    let store = cli.file("store.json", json!({"auths": {&name: {}}, "credsStore": "test"}).to_string());
    let push = |cli: &Cli, config: &str| cli.run(["push", &file, &tagged, "--docker-config", config]);
    push(&cli, &by_name).expect(2).says("docker-credential-test, which is not in the path");
    cli.environment.push(("PORTCULLIS_KEY", "not for helpers".to_owned()));
    cli.environment.push(("AWS_SECRET_ACCESS_KEY", "not for helpers".to_owned()));
    let seen = cli.path("seen");
    let answer = json!({"ServerURL": name, "Username": "author", "Secret": "open sesame"});
    let script = format!("(echo \"$1\"; cat; echo; env) > {}\necho '{answer}'", seen.display());
    helper(&mut cli, &script);
    for config in [&by_name, &store] {
        push(&cli, config).expect(0);
        let seen = std::fs::read_to_string(&seen).expect("it was run");
        assert!(seen.starts_with(&format!("get\n{name}\n")), "{seen}");
        assert!(!seen.contains("not for helpers") && seen.contains("PATH="), "{seen}");
    }
    // One that does not know the registry; one that fails; one that talks; one that has the wrong password.
    helper(&mut cli, "echo 'credentials not found in native keychain'; exit 1");
    push(&cli, &store).expect(3).says("wants credentials");
    helper(&mut cli, "echo 'the keyring is locked'; exit 1");
    push(&cli, &store).expect(2).says("docker-credential-test failed: the keyring is locked");
    helper(&mut cli, "echo 'open sesame'");
    let told = push(&cli, &store).expect(2).says("answers with something else");
    assert!(!told.stderr.contains("open sesame"), "{told:?}");
    helper(&mut cli, "echo '{\"Username\": \"author\", \"Secret\": \"wrong\"}'");
    push(&cli, &store).expect(3).says("were refused");
}

/// A key that signs tokens, in the form that docker's registry believes: ES256, with its certificate in the head.
struct TokenKey {
    pair: EcdsaKeyPair,
    certificate: Vec<u8>,
}

impl TokenKey {
    fn new() -> (Self, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["tokens".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random);
        (Self { pair: pair.expect("a key"), certificate: certificate.der().to_vec() }, certificate.pem())
    }

    /// A token for what a scope says: `repository:NAME:pull,push`.
    fn token(&self, scope: &str) -> String {
        let parts: Vec<&str> = scope.split(':').collect();
        let access = match parts.as_slice() {
            [kind, name, actions] => {
                json!([{"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}])
            }
            _ => json!([]),
        };
        let now = jiff::Timestamp::now().as_second();
        let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&self.certificate)]});
        let claims = json!({"iss": "tests", "sub": "author", "aud": "registry", "exp": now + 300,
                            "nbf": now - 60, "iat": now, "jti": "1", "access": access});
        let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(head), encoded(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A value of a query or form.
fn value(text: &str, name: &str) -> Option<String> {
    let pair = text.split(['?', '&', ' ']).find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    pair.map(|value| value.replace("%3A", ":").replace("%2C", ",").replace("%2F", "/"))
}

/// A registry over TLS, by a CA of its own, that believes a token service, which has a name and password, or an identity.
#[test]
fn a_token_is_asked_for_over_tls_with_a_password_or_an_identity() {
    let cli = Cli::new();
    let machine = machine(&cli, "machine");
    let (key, bundle) = TokenKey::new();
    let bundle = cli.file("tokens.pem", bundle);
    let basic = format!("Basic {}", STANDARD.encode("author:open sesame"));
    let (port, requests) = tls_server(&machine, move |head, body| {
        let is_by_name = head.to_lowercase().contains(&format!("authorization: {basic}").to_lowercase());
        let is_by_identity =
            head.starts_with("POST ") && value(body, "refresh_token").as_deref() == Some("r3fresh");
        let scope = value(head.lines().next().unwrap_or_default(), "scope").or(value(body, "scope"));
        let token = || key.token(&scope.clone().unwrap_or_default());
        match (is_by_name, is_by_identity) {
            (true, _) => ("200 OK", json!({"token": token()}).to_string()),
            (_, true) => ("200 OK", json!({"access_token": token()}).to_string()),
            (false, false) => ("401 Unauthorized", "{}".to_owned()),
        }
    });
    let registry = DockerRegistry::start_with(
        &cli,
        &format!(", tls: {{certificate: {:?}, key: {:?}}}", machine.certificate, machine.key),
        &format!(
            "auth: {{token: {{realm: \"https://localhost:{port}/token\", service: registry, issuer: tests, \
             rootcertbundle: {bundle:?}}}}}\n"
        ),
    );
    let bytes = numbered(1, "", "");
    let file = cli.file("tool.wasm", &bytes);
    let tagged = registry.reference("a/tool:1");
    let config = |name: &str, auth: Value| {
        let name =
            cli.file(name, json!({"auths": {format!("localhost:{}", registry.port): auth}}).to_string());
        [
            "--registry-ca",
            &machine.ca,
            "--allow-network",
            "127.0.0.0/8",
            "--allow-network",
            "::1/128",
            "--docker-config",
            &name,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let name = config("name.json", json!({"auth": STANDARD.encode("author:open sesame")}));
    let identity = config("identity.json", json!({"identitytoken": "r3fresh"}));
    let run = |words: &[&str], more: &[String]| {
        cli.run(words.iter().map(|word| (*word).to_owned()).chain(more.iter().cloned()))
    };
    run(&["push", &file, &tagged], &name).expect(0);
    run(&["pull", &tagged, "--out", "by-identity.wasm"], &identity).expect(0);
    assert_eq!(std::fs::read(cli.path("by-identity.wasm")).expect("there"), bytes);
    let seen = requests.lock().expect("no panic").clone();
    let scopes: Vec<Option<String>> = seen
        .iter()
        .map(|(head, body)| value(head.lines().next().unwrap_or_default(), "scope").or(value(body, "scope")))
        .collect();
    // The registry asks for both in either order.
    let both = ["repository:a/tool:pull,push", "repository:a/tool:push,pull"];
    assert!(scopes.iter().flatten().any(|scope| both.contains(&scope.as_str())), "{scopes:?}");
    let form = seen.iter().find(|(head, _)| head.starts_with("POST ")).expect("an exchange");
    assert!(form.1.starts_with("grant_type=refresh_token&client_id=portcullis&"), "{form:?}");
    assert!(!form.0.contains("r3fresh") && !form.0.to_lowercase().contains("authorization"), "{form:?}");
    // The denied twins: another password, another identity, nobody, a CA that is not named, a network that is not.
    let wrong = config("wrong.json", json!({"auth": STANDARD.encode("author:password")}));
    run(&["pull", &tagged, "--out", "no.wasm"], &wrong).expect(3).says("were refused");
    let wrong = config("wrong-identity.json", json!({"identitytoken": "other"}));
    run(&["pull", &tagged, "--out", "no.wasm"], &wrong).expect(3).says("were refused");
    run(&["pull", &tagged, "--out", "no.wasm"], &config("nobody.json", json!({}))).expect(3);
    let ran = cli.run(["pull", &tagged, "--out", "no.wasm"]);
    assert_ne!(ran.status.code(), Some(0), "without TLS: {ran:?}");
    let other = self::machine(&cli, "other").ca;
    cli.run(["pull", &tagged, "--out", "no.wasm", "--registry-ca", &other]).expect(1).says("certificate");
    let without = &name[..2].iter().chain(&name[6..]).cloned().collect::<Vec<_>>();
    run(&["pull", &tagged, "--out", "no.wasm"], without).expect(1).says("loopback address");
    assert!(!cli.path("no.wasm").exists());
}

/// A registry of the distribution specification 1.1, as far as this needs it: blobs, manifests and the API for referrers,
/// one a page. Debian's has no such API.
#[derive(Clone, Default)]
struct Referring {
    blobs: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    manifests: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Referring {
    fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let registry = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|count| count > 0)
                {
                }
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                if reader.read_exact(&mut body).is_err() {
                    continue;
                }
                let mut words = head.split(' ');
                let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                let (status, fields, mut answer) = registry.answer(method, path, body);
                let length = answer.len();
                if method == "HEAD" {
                    answer.clear();
                }
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{fields}\r\n"
                );
                let _ = stream.write_all(&answer);
            }
        });
        port
    }

    fn answer(&self, method: &str, path: &str, body: Vec<u8>) -> (&'static str, String, Vec<u8>) {
        let path = path.strip_prefix("/v2/tool/").unwrap_or_default();
        let (mut blobs, mut manifests) =
            (self.blobs.lock().expect("no panic"), self.manifests.lock().expect("no panic"));
        let found = |found: Option<&Vec<u8>>| match found {
            Some(bytes) => ("200 OK", String::new(), bytes.clone()),
            None => ("404 Not Found", String::new(), Vec::new()),
        };
        if method == "POST" {
            return ("202 Accepted", "location: /v2/tool/blobs/uploads/1\r\n".to_owned(), Vec::new());
        }
        if let Some((_, digest)) = path.split_once("uploads/1?digest=") {
            assert_eq!(PackageDigest::of(&body).to_string(), digest.replace("%3A", ":"));
            blobs.insert(PackageDigest::of(&body).to_string(), body);
            return ("201 Created", String::new(), Vec::new());
        }
        if let Some(digest) = path.strip_prefix("blobs/") {
            return found(blobs.get(digest));
        }
        if let Some(name) = path.strip_prefix("manifests/") {
            if method != "PUT" {
                return found(manifests.get(name));
            }
            let subject: Value = serde_json::from_slice(&body).expect("JSON");
            manifests.insert(PackageDigest::of(&body).to_string(), body.clone());
            manifests.insert(name.to_owned(), body);
            let subject = subject["subject"]["digest"].as_str();
            let fields = subject.map(|subject| format!("oci-subject: {subject}\r\n")).unwrap_or_default();
            return ("201 Created", fields, Vec::new());
        }
        let (digest, page) =
            path.strip_prefix("referrers/").unwrap_or_default().split_once('?').unwrap_or((path, "page=0"));
        let digest = digest.trim_start_matches("referrers/");
        let page: usize = page.trim_start_matches("page=").parse().expect("a number");
        let all: Vec<Value> = manifests
            .iter()
            .filter(|(name, _)| name.starts_with("sha256:"))
            .filter_map(|(name, bytes)| {
                let manifest: Value = serde_json::from_slice(bytes).expect("JSON");
                (manifest["subject"]["digest"] == digest).then(|| {
                    json!({"mediaType": manifest["mediaType"], "digest": name, "size": bytes.len(),
                           "artifactType": manifest["artifactType"]})
                })
            })
            .collect();
        let next = if page + 1 < all.len() {
            format!("link: </v2/tool/referrers/{digest}?page={}>; rel=\"next\"\r\n", page + 1)
        } else {
            String::new()
        };
        let one: Vec<Value> = all.into_iter().skip(page).take(1).collect();
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": one});
        ("200 OK", next, index.to_string().into_bytes())
    }
}

/// An SBOM and a provenance go along as the signatures do: listed by the API, and by the tag that stands for it.
#[test]
fn what_is_attached_is_found_with_the_api_and_without() {
    let cli = with_keys();
    let bytes = numbered(1, "", "");
    let file = signed(&cli, "tool.wasm", &bytes, &["alice", "bob"]);
    let sbom = cli.file("sbom.json", json!({"spdxVersion": "SPDX-2.3", "name": "tool"}).to_string());
    let cdx = cli.file("cdx.json", json!({"bomFormat": "CycloneDX", "specVersion": "1.6"}).to_string());
    let statement = |digest: PackageDigest| {
        let hex = digest.to_string().replace("sha256:", "");
        json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
               "subject": [{"name": "tool.wasm", "digest": {"sha256": hex}}], "predicate": {}})
        .to_string()
    };
    let provenance = cli.file("provenance.json", statement(PackageDigest::of(&bytes)));
    let others = cli.file("others.json", statement(PackageDigest::of(b"other")));
    let referring = Referring::default();
    let (with_api, without) =
        (format!("oci://localhost:{}/tool:1", referring.start()), DockerRegistry::start(&cli, ""));
    for (name, reference) in [("api", with_api), ("tag", without.reference("tool:1"))] {
        let push = |more: &[&str]| cli.run(["push", &file, &reference].iter().chain(more));
        push(&["--provenance", &others]).expect(2).says("its subject is not this component");
        push(&["--sbom", &provenance]).expect(2).says("give it with --provenance");
        push(&["--sbom", &file]).expect(2);
        push(&["--sbom", "trust.toml"]).expect(2);
        let all = ["push", &file, &reference, "--sbom", &sbom, "--sbom", &cdx, "--provenance", &provenance];
        let pushed = cli.json(&all);
        assert_eq!((&pushed["signatures"], &pushed["attachments"]), (&json!(2), &json!(3)), "{pushed}");
        // Twice is once: they are named by their digests.
        cli.run(all).expect(0);
        let out = format!("{name}.wasm");
        let pulled = cli.json(&["pull", &text(&pushed["reference"]), "--out", &out]);
        assert_eq!(pulled["signatures"].as_array().map(Vec::len), Some(2), "{pulled}");
        let attached = pulled["attachments"].as_array().expect("a list");
        let mut found: Vec<(String, String)> = attached
            .iter()
            .map(|one| {
                let bytes = std::fs::read_to_string(cli.path(&text(&one["file"]))).expect("written");
                (text(&one["kind"]), bytes)
            })
            .collect();
        found.sort();
        let read = |path: &str| std::fs::read_to_string(path).expect("there");
        let expected = [("cyclone_dx", &cdx), ("in_toto", &provenance), ("spdx", &sbom)];
        assert_eq!(found, expected.map(|(kind, path)| (kind.to_owned(), read(path))), "{name}");
        assert!(attached.iter().all(|one| one["is_about_it"] == json!(true)), "{pulled}");
    }
    // Whether the two were asked as they should be: only the one without the API has the tag.
    let tagged = |name: &String| name.starts_with("sha256-");
    assert!(!referring.manifests.lock().expect("no panic").keys().any(tagged));
}
