use super::layout::{Index, Manifest, WASM, component_names, wasm_config};
use super::transport::Challenge;
use super::*;
use crate::ids::PackageDigest;

#[test]
fn a_reference_is_host_repository_and_tag_or_digest() {
    let digest = PackageDigest::of(b"manifest");
    let read = |text: &str| text.parse::<Reference>();
    let whole = read(&format!("oci://Registry.Example:5000/a/b-c/d.e:1.0@{digest}")).expect("a reference");
    assert_eq!(whole.registry(), "registry.example:5000");
    assert_eq!(whole.repository(), "a/b-c/d.e");
    assert_eq!((whole.tag(), whole.digest()), (Some("1.0"), Some(digest)));
    assert_eq!(whole.manifest(), digest.to_string(), "the digest counts");
    assert_eq!(whole.base(), "https://registry.example:5000/v2/a/b-c/d.e");
    assert_eq!(read("oci://registry.example/tool").expect("a reference").manifest(), "latest");
    // Without TLS to this machine only, and only if it is called so.
    for (text, base) in [
        ("oci://localhost:5000/t", "http://localhost:5000/v2/t"),
        ("oci://127.1:5000/t", "http://127.0.0.1:5000/v2/t"),
        ("oci://[::1]:5000/t", "http://[::1]:5000/v2/t"),
        ("oci://localhost:443/t", "http://localhost:443/v2/t"),
        ("oci://localhost.example/t", "https://localhost.example/v2/t"),
        ("oci://10.0.0.1/t", "https://10.0.0.1/v2/t"),
        ("oci://[::ffff:127.0.0.1]/t", "http://127.0.0.1/v2/t"),
    ] {
        assert_eq!(read(text).map(|read| read.base()), Ok(base.to_owned()), "{text}");
    }
    for bad in [
        "registry.example/tool:1",
        "https://registry.example/tool:1",
        "oci://registry.example",
        "oci:///tool",
        "oci://user@registry.example/tool",
        "oci://registry.example/",
        "oci://registry.example/Tool",
        "oci://registry.example/a//b",
        "oci://registry.example/../b",
        "oci://registry.example/a..b",
        "oci://registry.example/-a",
        "oci://registry.example/tool:",
        "oci://registry.example/tool:-1",
        "oci://registry.example/tool:1?x=y",
        "oci://registry.example/tool@sha256:12",
        "oci://registry.example/tool@sha512:12",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert!(read(&format!("oci://r.example/{}", "a".repeat(256))).is_err());
}

#[test]
fn docker_s_configuration_is_read_for_the_named_registry_only() {
    let config = r#"{"auths": {
        "one.example": {"auth": "dXNlcjpwYXNz"},
        "https://two.example/v1/": {"auth": "dXNlcjpwYTpzcw=="},
        "three.example": {"registrytoken": "t"},
        "four.example": {"auth": "!"},
        "five.example:5000": {"username": "u", "password": "p"},
        "nine.example": {"auth": "PHRva2VuPjo=", "identitytoken": "refresh"}
    }, "credHelpers": {"six.example": "secretservice", "one.example:5000": "a/../b"}}"#;
    let read = |registry: &str| from_docker_config(config, registry);
    let given = |registry: &str| match read(registry) {
        Ok(Found::Credentials(credentials)) => credentials,
        other => panic!("{registry}: {other:?}"),
    };
    let basic = |registry: &str| match given(registry) {
        Credentials::Basic { user, password } => (user, password.to_string()),
        other @ (Credentials::None | Credentials::Token(_) | Credentials::Identity(_)) => {
            panic!("{registry}: {other:?}")
        }
    };
    assert_eq!(basic("one.example"), ("user".to_owned(), "pass".to_owned()));
    assert_eq!(basic("two.example"), ("user".to_owned(), "pa:ss".to_owned()));
    assert_eq!(basic("five.example:5000"), ("u".to_owned(), "p".to_owned()));
    assert!(matches!(given("three.example"), Credentials::Token(_)));
    assert!(matches!(given("nine.example"), Credentials::Identity(token) if *token == "refresh"));
    assert!(matches!(read("four.example"), Err(CredentialsError::Malformed(_))));
    for other in ["five.example", "one.example.evil", "evil.one.example", "example"] {
        assert!(matches!(given(other), Credentials::None), "{other}");
    }
    assert!(from_docker_config("no JSON", "one.example").is_err());
    assert_eq!(format!("{:?}", given("one.example")), "Basic", "no password is ever shown");
    // A helper is a name in the path, and nothing else.
    let helper = |config: &str, registry: &str| match from_docker_config(config, registry) {
        Ok(Found::Helper { program, server }) => Ok((program, server)),
        Err(error) => Err(error),
        Ok(other) => panic!("{other:?}"),
    };
    let named = |program: &str, server: &str| Ok((program.to_owned(), server.to_owned()));
    assert_eq!(helper(config, "six.example"), named("docker-credential-secretservice", "six.example"));
    let refused = CredentialsError::HelperName { registry: "one.example:5000".to_owned() };
    assert_eq!(helper(config, "one.example:5000"), Err(refused));
    // A store has those that are not in the file.
    let store =
        r#"{"credsStore": "pass", "auths": {"https://a.example/v1/": {}, "b.example": {"auth": "dTpw"}}}"#;
    assert_eq!(helper(store, "a.example"), named("docker-credential-pass", "https://a.example/v1/"));
    assert_eq!(helper(store, "c.example"), named("docker-credential-pass", "c.example"));
    assert!(matches!(
        from_docker_config(store, "b.example"),
        Ok(Found::Credentials(Credentials::Basic { .. }))
    ));
}

#[test]
fn a_helper_answers_with_a_password_or_an_identity() {
    let read = |text: &str| from_helper(text.as_bytes());
    let answer = r#"{"ServerURL": "a.example", "Username": "ann", "Secret": "pass"}"#;
    assert!(matches!(read(answer), Ok(Credentials::Basic { user, .. }) if user == "ann"));
    let answer = r#"{"ServerURL": "a.example", "Username": "<token>", "Secret": "refresh"}"#;
    assert!(matches!(read(answer), Ok(Credentials::Identity(token)) if *token == "refresh"));
    for bad in ["", "secret", r#"{"Username": "ann"}"#, "[]"] {
        let error = read(bad).expect_err("no credentials");
        assert!(!error.to_string().contains("secret\""), "nothing is quoted: {error}");
    }
}

#[test]
fn an_attachment_says_what_it_is_and_what_it_is_about() {
    let digest = PackageDigest::of(b"component");
    let hex = digest.to_string().replace("sha256:", "");
    let read = |text: &str| Attachment::read(text.to_owned().into());
    let kind = |text: &str| read(text).map(|read| read.kind);
    assert_eq!(kind(r#"{"spdxVersion": "SPDX-2.3"}"#), Ok(AttachmentKind::Spdx));
    let spdx_3 = r#"{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": []}"#;
    assert_eq!(kind(spdx_3), Ok(AttachmentKind::Spdx));
    assert_eq!(kind(r#"{"bomFormat": "CycloneDX", "specVersion": "1.6"}"#), Ok(AttachmentKind::CycloneDx));
    let statement = |hex: &str| {
        format!(
            r#"{{"_type": "https://in-toto.io/Statement/v1", "subject": [{{"digest": {{"sha256": "{hex}"}}}}]}}"#
        )
    };
    let ours = read(&statement(&hex)).expect("a statement");
    assert_eq!((ours.kind, ours.check_subject(digest)), (AttachmentKind::InToto, Ok(())));
    let others = read(&statement(&"0".repeat(64))).expect("a statement");
    assert_eq!(others.check_subject(digest), Err(AttachmentError::OtherSubject(digest)));
    let envelope = |payload: &str| {
        use base64::Engine as _;
        let payload = base64::engine::general_purpose::STANDARD.encode(payload);
        read(&format!(
            r#"{{"payloadType": "application/vnd.in-toto+json", "payload": "{payload}", "signatures": []}}"#
        ))
    };
    let ours = envelope(&statement(&hex)).expect("an envelope");
    assert_eq!((ours.kind, ours.check_subject(digest)), (AttachmentKind::Dsse, Ok(())));
    assert!(envelope("no JSON").expect("an envelope").check_subject(digest).is_err());
    for bad in
        ["", "{}", "[]", r#"{"bomFormat": "other"}"#, r#"{"_type": "https://evil.example/Statement/v1"}"#]
    {
        assert_eq!(kind(bad), Err(AttachmentError::Unknown), "{bad}");
    }
}

#[test]
fn a_challenge_is_read_or_none() {
    let bearer = Challenge::parse(
        r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a:pull,push""#,
    );
    let expected = Challenge::Bearer {
        realm: "https://auth.example/token".to_owned(),
        service: Some("r.example".to_owned()),
        scope: Some("repository:a:pull,push".to_owned()),
    };
    assert_eq!(bearer, Some(expected));
    assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
    for bad in ["", "Bearer", "Bearer realm=", "Bearer realm=\"x", "Bearer service=\"x\"", "Negotiate x"] {
        assert_eq!(Challenge::parse(bad), None, "{bad}");
    }
}

#[test]
fn the_config_is_that_of_the_wasm_layout() {
    let component = wat::parse_str(
        r#"(component
            (import "wasi:clocks/wall-clock@0.2.0" (instance (export "now" (func (result u64)))))
            (core module $m (import "env" "hidden" (func)) (func (export "run") (result i32) (i32.const 1)))
            (component $nested (import "inner" (func)))
            (core module $n (func (export "run") (result i32) (i32.const 1)))
            (core instance $i (instantiate $n))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#,
    )
    .expect("valid");
    let names = component_names(&component).expect("a component");
    assert_eq!(names.imports, ["wasi:clocks/wall-clock@0.2.0"]);
    assert_eq!(names.exports, ["run"]);
    let config = wasm_config(&component, jiff::Timestamp::UNIX_EPOCH).expect("a config");
    let config: serde_json::Value = serde_json::from_slice(&config).expect("JSON");
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["os"], "wasip2");
    assert_eq!(config["layerDigests"][0], PackageDigest::of(&component).to_string());
    assert_eq!(config["component"]["exports"][0], "run");
    assert_eq!(config["created"], "1970-01-01T00:00:00Z");
    assert!(component_names(b"\0asm\x01\0\0\0").expect_err("a module").contains("core module"));
    assert!(component_names(b"no wasm").is_err());
}

#[test]
fn manifests_of_other_tools_are_read_if_they_are_of_one_component() {
    let layer = |kind: &str| serde_json::json!({"mediaType": kind, "digest": "sha256:00", "size": 1});
    let read = |layers: &[&str]| {
        let layers: Vec<_> = layers.iter().map(|kind| layer(kind)).collect();
        let text =
            serde_json::json!({"schemaVersion": 2, "config": layer("x"), "layers": layers, "more": {}})
                .to_string();
        Manifest::read(text.as_bytes()).expect("a manifest").component().map(|found| found.media_type.clone())
    };
    assert_eq!(read(&[WASM]).expect("one"), WASM);
    let former = "application/vnd.module.wasm.content.layer.v1+wasm";
    assert_eq!(read(&["application/json", former]).expect("one"), former);
    assert!(read(&[]).is_err());
    assert!(read(&[WASM, WASM]).is_err());
    assert!(read(&["application/json"]).is_err());
    assert!(Index::read(b"{}").is_err());
}
