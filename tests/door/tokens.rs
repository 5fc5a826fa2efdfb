//! Tokens of issuers: what lets in, as whom, and what never does. The issuers are this test's own, on loopback.

use portcullis::audit::event::{CallOutcome, Event, SettingsCause};
use portcullis::authn::{Credential, Refused};
use portcullis::policy::Stop;
use serde_json::{Value, json};

use super::Door;
use crate::harness::client::Client;
use crate::harness::guest;
use crate::harness::issuer::{AUDIENCE, How, Issuer, Key, encoded};
use crate::harness::process::{Cli, grant, notes_folder, wait_until};

/// A door whose settings file says this.
fn door(settings: &str) -> Door {
    Door::serve(with_settings(settings), &[])
}

fn with_settings(settings: &str) -> Cli {
    let cli = Cli::new();
    // Makes the data folder.
    cli.run(["package", "list"]).expect(0);
    std::fs::write(cli.data.join("serve.toml"), settings).expect("written");
    cli
}

fn status(door: &Door, token: &str) -> u16 {
    door.anonymous.with_key(token).get("/v1/tools").status
}

/// Cases 73 and 84.
#[test]
fn a_token_lets_in_whom_its_issuer_names_and_what_is_wrong_with_one_lets_nobody_in() {
    let (ed, ec, rsa) = (Key::new("ed", How::EdDsa), Key::new("ec", How::Es256), Key::new("rsa", How::Rs256));
    let issuer = Issuer::new(&[&ed, &ec, &rsa]);
    let door = door(&issuer.settings("corp", "scopes = [\"tools\"]"));
    let scope = json!({"scope": "openid tools"});
    for key in [&ed, &ec, &rsa] {
        assert_eq!(status(&door, &issuer.token(key, "ann", scope.clone())), 200, "{}", key.algorithm());
    }
    let token = |more: Value| {
        let mut claims = scope.clone();
        claims.as_object_mut().expect("claims").extend(more.as_object().expect("claims").clone());
        issuer.token(&ed, "ann", claims)
    };
    let now = jiff::Timestamp::now().as_second();
    // The twins: what is just within what is allowed.
    for more in [
        json!({"aud": ["elsewhere", AUDIENCE]}),
        json!({"exp": now - 20, "iat": now - 100}),
        json!({"exp": now as f64 + 60.5}),
        json!({"nbf": now + 20}),
        json!({"scope": null, "scp": ["tools"]}),
    ] {
        assert_eq!(status(&door, &token(more.clone())), 200, "{more}");
    }
    let head = |more: Value| {
        let mut head = ed.head();
        for (name, value) in more.as_object().expect("a head") {
            head[name] = value.clone();
        }
        let mut claims = issuer.claims("ann");
        claims["scope"] = "tools".into();
        ed.token_of(&head, &claims)
    };
    assert_eq!(status(&door, &head(json!({"typ": "application/AT+JWT"}))), 200);
    let good = token(json!({}));
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let forged = |algorithm: &str, secret: &[u8]| {
        let head = json!({"alg": algorithm, "typ": "at+jwt", "kid": "rsa"});
        let mut claims = issuer.claims("ann");
        claims["scope"] = "tools".into();
        let message = format!("{}.{}", encoded(head.to_string()), encoded(claims.to_string()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        format!("{message}.{}", encoded(ring::hmac::sign(&key, message.as_bytes())))
    };
    let stranger = Key::new("ed", How::EdDsa);
    let none = {
        let head = json!({"alg": "none", "typ": "at+jwt"});
        format!("{}.{}.", encoded(head.to_string()), message.split('.').nth(1).expect("claims"))
    };
    let (modulus, _) = rsa.modulus();
    let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n", encoded(&modulus));
    let cases = [
        ("another audience", token(json!({"aud": "http://localhost/other"})), Refused::OtherAudience),
        (
            "an audience that begins like it",
            token(json!({"aud": format!("{AUDIENCE}x")})),
            Refused::OtherAudience,
        ),
        ("no audience", token(json!({"aud": null})), Refused::OtherAudience),
        ("another issuer", token(json!({"iss": format!("{}/", issuer.url)})), Refused::UnknownIssuer),
        ("over", token(json!({"exp": now - 40})), Refused::Expired),
        ("without an end", token(json!({"exp": null})), Refused::BadClaims),
        ("with an end that is a text", token(json!({"exp": "2040-01-01"})), Refused::BadClaims),
        ("not yet", token(json!({"nbf": now + 60})), Refused::NotYetValid),
        ("of the future", token(json!({"iat": now + 3_600, "exp": now + 7_200})), Refused::NotYetValid),
        ("of nobody", token(json!({"sub": null})), Refused::BadClaims),
        ("of a number", token(json!({"sub": 7})), Refused::BadClaims),
        ("of no name", token(json!({"sub": "ann lee"})), Refused::BadClaims),
        ("an ID token", head(json!({"typ": "JWT"})), Refused::ForbiddenAlgorithm),
        ("of no type", head(json!({"typ": ""})), Refused::ForbiddenAlgorithm),
        ("with an extension", head(json!({"crit": ["x"], "x": 1})), Refused::Malformed),
        ("an unknown key", head(json!({"kid": "another"})), Refused::UnknownSigningKey),
        ("a key of another kind", head(json!({"kid": "ec"})), Refused::UnknownSigningKey),
        ("another algorithm than it says", head(json!({"alg": "ES256", "kid": "ec"})), Refused::BadSignature),
        (
            "an algorithm that is not allowed",
            head(json!({"alg": "RS512", "kid": "rsa"})),
            Refused::ForbiddenAlgorithm,
        ),
        ("signed by a stranger", stranger.token_of(&ed.head(), &issuer.claims("ann")), Refused::BadSignature),
        ("altered", format!("{}A.{signature}", &message[..message.len() - 1]), Refused::Malformed),
        ("without a signature", format!("{message}."), Refused::BadSignature),
        ("`none`", none, Refused::Malformed),
        ("the public key as a secret", forged("HS256", &modulus), Refused::ForbiddenAlgorithm),
        ("its PEM as a secret", forged("HS256", pem.as_bytes()), Refused::ForbiddenAlgorithm),
        ("the same, said to be RSA", forged("RS256", &modulus), Refused::BadSignature),
        ("too long", token(json!({"x": "x".repeat(9_000)})), Refused::Malformed),
    ];
    let mut expected = Vec::new();
    for (what, token, reason) in &cases {
        let answer = door.anonymous.with_key(token).get("/v1/tools");
        // Whoever tries often is told to wait; that nobody is let in holds in any case.
        assert!([401, 429].contains(&answer.status), "{what}: {}", answer.status);
        if answer.status == 401 {
            let challenge = answer.header("www-authenticate").expect("a challenge").to_owned();
            assert!(challenge.starts_with("bearer error=\"invalid_token\""), "{what}: {challenge}");
        }
        assert!(!String::from_utf8_lossy(&answer.body).contains(token.as_str()), "{what}");
        expected.push((*what, *reason));
    }
    // A scope that is missing is named, and is another answer (RFC 6750, 3.1), before a body is read.
    let without = issuer.token(&ed, "ann", json!({}));
    wait_until("the address may try again", || status(&door, &without) == 403);
    let client = door.anonymous.with_key(&without);
    let head = client.head("POST", "/mcp", "content-length: 1073741824\r\n");
    let answer = client.exchange(&head, b"");
    assert_eq!(answer.problem(), (403, "forbidden".to_owned()));
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"tools\""),
        "{challenge}"
    );

    for (what, reason) in expected.into_iter().chain([("no scope", Refused::MissingScope)]) {
        door.cli.wait_for_record(what, |record| match &record.event {
            Event::AuthenticationFailed { reason: found, issuer, .. } if *found == reason => {
                let is_known = ![Refused::Malformed, Refused::UnknownIssuer].contains(&reason);
                assert!(!is_known || issuer.as_ref().is_some_and(|name| name.as_str() == "corp"), "{what}");
                Some(())
            }
            _ => None,
        });
    }
    // Of no token is anything in a file of the host, or in what it says.
    let Door { cli, server, .. } = door;
    let ran = server.interrupt().expect(0);
    let mut files = vec![ran.stdout.into_bytes(), ran.stderr.into_bytes()];
    let mut folders = vec![cli.data.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                files.push(std::fs::read(&path).expect("a file"));
            }
        }
    }
    assert!(files.len() > 5);
    for token in cases.iter().map(|(_, token, _)| token).chain([&good, &without]) {
        for part in token.split('.').filter(|part| part.len() > 20) {
            let is_in = |file: &Vec<u8>| file.windows(part.len()).any(|found| found == part.as_bytes());
            assert!(!files.iter().any(is_in), "{part}");
        }
    }
}

/// What a token says is what its issuer's settings let it mean; an admin's word comes first.
#[test]
fn a_principal_its_groups_and_its_role_are_what_the_settings_let_an_issuer_say() {
    let key = Key::new("k", How::Es256);
    let (corp, lab) = (Issuer::new(&[&key]), Issuer::new(&[&key]));
    let settings = [
        corp.settings(
            "corp",
            "groups_claim = \"/realm/groups\"\ngroups = { \"Tool Users\" = \"users\" }\n\
             roles_claim = \"roles\"\nroles = { watch = \"auditor\", run = \"admin\", call = \"agent\" }\n",
        ),
        // In the lab, only those who are named, and all are agents.
        lab.settings("lab", "principals = { \"auth0|7\" = \"ann\" }\n"),
    ];
    let door = door(&settings.concat());
    door.cli.install_notes();
    let grants = grant("notes", &notes_folder("notes")).replace("\"researcher\"", "\"group:users\"");
    let file = door.cli.file("grants.toml", format!("{grants}\n[groups]\nusers = []\n"));
    door.cli.run(["grant", "apply", &file]).expect(0);
    let as_token = |token: String| door.anonymous.with_key(&token);
    let tools =
        |client: &Client| client.get("/v1/tools").expect(200).json().as_array().expect("a list").len();

    let member = as_token(corp.token(&key, "ann", json!({"realm": {"groups": ["x", "Tool Users"]}})));
    assert!(tools(&member) > 0);
    for more in
        [json!({}), json!({"groups": ["Tool Users", "users"]}), json!({"realm": {"groups": ["users"]}})]
    {
        let outsider = as_token(corp.token(&key, "ann", more.clone()));
        assert_eq!(tools(&outsider), 0, "{more}");
        assert_eq!(outsider.ask("POST", "/v1/calls?package=notes&tool=list", b"{}").status, 404, "{more}");
    }
    member.ask("POST", "/v1/calls?package=notes&tool=list", b"{}").expect(200);
    let admitted = door.cli.wait_for_record("the call is admitted", |record| match &record.event {
        Event::CallAdmitted { context, credential, .. } => {
            Some((context.principal.clone(), credential.clone()))
        }
        _ => None,
    });
    let credential = Credential::Issuer("corp".parse().expect("a name"));
    assert_eq!((admitted.0.as_str(), admitted.1), ("corp.ann", Some(credential)));
    // The lab can say the same of itself, and it means nothing.
    assert_eq!(as_token(lab.token(&key, "ann", json!({}))).get("/v1/tools").status, 401);
    let named =
        as_token(lab.token(&key, "auth0|7", json!({"roles": ["run"], "realm": {"groups": ["Tool Users"]}})));
    assert_eq!(tools(&named), 0);
    assert_eq!(named.get("/v1/keys").problem(), (403, "forbidden".to_owned()));

    let in_role = |subject: &str, roles: Value| as_token(corp.token(&key, subject, json!({"roles": roles})));
    in_role("eve", json!(["watch"])).get("/v1/audit/key").expect(200);
    assert_eq!(in_role("eve", json!(["watch"])).ask("PUT", "/v1/freeze", b"{\"because\":\"x\"}").status, 403);
    in_role("root", json!("run")).get("/v1/keys").expect(200);
    assert_eq!(in_role("root", json!(["run", "watch"])).get("/v1/keys").status, 401, "no two roles");
    assert_eq!(
        in_role("bob", json!(["admin", "auditor"])).get("/v1/keys").status,
        403,
        "values that mean nothing"
    );
    // What an admin said of a principal comes first.
    door.cli.run(["principal", "add", "corp.eve", "--role", "agent"]).expect(0);
    assert_eq!(
        in_role("eve", json!(["watch"])).get("/v1/audit/key").problem(),
        (403, "forbidden".to_owned())
    );
    in_role("eve", json!([])).get("/v1/tools").expect(200);
    // One whom no grant names is added first, so that a slip in the name is seen.
    door.cli.run(["principal", "remove", "corp.ann"]).expect(2).says("no principal");
    door.cli.run(["principal", "add", "corp.ann"]).expect(0);
    door.cli.run(["principal", "remove", "corp.ann"]).expect(0);
    assert_eq!(member.get("/v1/tools").problem(), (403, "forbidden".to_owned()));
}

/// Made-up keys do not hammer an issuer, and new ones are found.
#[test]
fn an_issuer_is_asked_seldom_and_its_new_keys_are_found_and_its_old_ones_forgotten() {
    let (old, new) = (Key::new("old", How::EdDsa), Key::new("new", How::EdDsa));
    let issuer = Issuer::new(&[&old]);
    let door = door(&issuer.settings("corp", "keys_fresh = \"1s\"\n"));
    let before = issuer.token(&old, "ann", json!({}));
    assert_eq!(status(&door, &before), 200);
    let asked = issuer.asked();
    for number in 0..200 {
        let mut head = old.head();
        head["kid"] = format!("made-up-{number}").into();
        assert_ne!(status(&door, &old.token_of(&head, &issuer.claims("ann"))), 200);
    }
    // Each time it is asked for metadata and for keys, at most once in ten seconds.
    assert!(issuer.asked() - asked <= 40, "{} for 200 requests", issuer.asked() - asked);
    issuer.has(&[&new]);
    let after = issuer.token(&new, "ann", json!({}));
    wait_until("the new key is found", || status(&door, &after) == 200);
    wait_until("the old one is not used any more", || status(&door, &before) != 200);
    assert_eq!(status(&door, &after), 200);
}

/// Whose issuer is down waits; everybody else does not notice.
#[test]
fn a_host_whose_issuer_is_down_serves_keys_and_what_it_knows_for_a_while() {
    let key = Key::new("k", How::EdDsa);
    let issuer = Issuer::new(&[&key]);
    issuer.set_down(true);
    let door = door(&issuer.settings("corp", "keys_fresh = \"1s\"\nkeys_stale = \"15s\"\n"));
    let token = issuer.token(&key, "ann", json!({}));
    let answer = door.anonymous.with_key(&token).get("/v1/tools");
    assert_eq!(answer.problem(), (503, "busy".to_owned()));
    assert!(answer.header("retry-after").is_some());
    door.caller("bob", "agent").get("/v1/tools").expect(200);
    issuer.set_down(false);
    wait_until("its keys are fetched", || status(&door, &token) == 200);
    issuer.set_down(true);
    // Used for as long as is said, and no longer: the keys are older than a second at once.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(status(&door, &token), 200, "they are used while they are stale");
    wait_until("they are too old", || status(&door, &token) != 200);
    door.caller("bob", "agent").get("/v1/tools").expect(200);
}

/// An issuer that says that it is another, or whose keys are elsewhere without TLS, is not believed.
#[test]
fn metadata_of_another_issuer_or_that_leads_away_is_not_followed() {
    let key = Key::new("k", How::EdDsa);
    for (what, metadata) in [
        (
            "another",
            json!({"issuer": "https://login.example.org", "jwks_uri": "https://login.example.org/keys"}),
        ),
        ("in the clear", json!({"jwks_uri": "http://192.0.2.7/keys"})),
        ("a private address", json!({"jwks_uri": "https://10.0.0.7/keys"})),
        ("the metadata of a cloud", json!({"jwks_uri": "https://169.254.169.254/keys"})),
    ] {
        let issuer = Issuer::new(&[&key]);
        let mut metadata = metadata;
        if metadata["issuer"].is_null() {
            metadata["issuer"] = issuer.url.clone().into();
        }
        issuer.says(metadata);
        let door = door(&issuer.settings("corp", ""));
        assert_eq!(status(&door, &issuer.token(&key, "ann", json!({}))), 503, "{what}");
        let ran = door.server.interrupt().expect(0);
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    }
}

/// MCP's authorization (2025-11-25 and 2026-07-28): a client learns where to get a token from the refusal.
#[test]
fn a_client_without_a_token_is_told_where_to_get_one() {
    let key = Key::new("k", How::EdDsa);
    let issuer = Issuer::new(&[&key]);
    let settings = format!(
        "public_url = \"https://tools.example.org\"\n{}",
        issuer.settings("corp", "scopes = [\"tools:call\"]\n")
    );
    let door = door(&settings);
    for (target, path) in [("/mcp", "/mcp"), ("/v1/tools", "")] {
        let answer = door.anonymous.ask("POST", target, b"{}");
        assert_eq!(answer.status, 401);
        let at = format!("https://tools.example.org/.well-known/oauth-protected-resource{path}");
        let expected = format!("bearer scope=\"tools:call\", resource_metadata=\"{at}\"");
        assert_eq!(answer.header("www-authenticate"), Some(expected.as_str()));
        let metadata =
            door.anonymous.get(&format!("/.well-known/oauth-protected-resource{path}")).expect(200);
        assert_eq!(
            metadata.json(),
            json!({
                "resource": format!("https://tools.example.org{path}"),
                "authorization_servers": [issuer.url],
                "scopes_supported": ["tools:call"],
                "bearer_methods_supported": ["header"],
            })
        );
    }
    // By its public name it is asked as well.
    let client = door.anonymous.with_key(&issuer.token(&key, "ann", json!({"scope": "tools:call"})));
    client.exchange(&client.head("GET", "/v1/tools", "host: tools.example.org\r\n"), b"").expect(200);
    client.exchange(&client.head("GET", "/v1/tools", "host: other.example.org\r\n"), b"").expect(403);
    // Without issuers there is nothing to say, and no word of it in a refusal.
    let keys_only = Door::open();
    assert_eq!(keys_only.anonymous.get("/.well-known/oauth-protected-resource").status, 404);
    assert_eq!(keys_only.anonymous.get("/.well-known/oauth-protected-resource/mcp").status, 404);
    assert_eq!(keys_only.anonymous.get("/v1/tools").header("www-authenticate"), Some("bearer"));
    let token = issuer.token(&key, "ann", json!({}));
    assert_eq!(keys_only.anonymous.with_key(&token).get("/v1/tools").status, 401);
}

/// Settings that would let somebody be another are refused where they are wrong, and nothing listens.
#[test]
fn settings_that_mix_up_principals_or_are_weak_are_refused() {
    let issuer = |name: &str, more: &str| {
        format!(
            "[[issuer]]\nname = \"{name}\"\nissuer = \"https://{name}.example.org\"\naudience = \"x\"\n{more}\n"
        )
    };
    for (settings, says) in [
        (issuer("a", "algorithms = [\"HS256\"]"), "could sign as well"),
        (issuer("a", "algorithms = [\"none\"]"), "never `none`"),
        (issuer("a", "") + &issuer("a", ""), "a name of its own"),
        (issuer("a", "") + &issuer("b", "principal_prefix = \"a.b\""), "can be taken for issuer a"),
        (issuer("a", "") + &issuer("b", "principals = { x = \"a.ann\" }"), "can be taken for issuer a"),
        (issuer("a", "principal_prefix = \"\""), "begins no name"),
        (issuer("a", "principals = { x = \"local-admin\" }"), "local-admin"),
        (issuer("a", "roles = { x = \"admin\" }"), "go together"),
        (issuer("a", "roles_claim = \"r\"\nroles = { x = \"king\" }"), "agent, author, admin or auditor"),
        (issuer("a", "keys = \"http://a.example.org/keys\""), "write https"),
        (issuer("a", "").replace("audience = \"x\"", "audience = []"), "for nobody"),
        (issuer("a", "").replace("audience = \"x\"\n", ""), "audience"),
        (issuer("a", "").replace("https://", "http://"), "write https"),
        (issuer("a", "scopes = [\"a b\"]"), "is no scope"),
        ("[[client_certificate]]\nprincipal = \"ann\"\n".to_owned(), "name one of"),
        ("tls_client_required = true\n".to_owned(), "tls_client_ca"),
        ("public_url = \"https://a.example.org/x\"\n".to_owned(), "has a path"),
    ] {
        let cli = with_settings(&settings);
        cli.run(["serve", "--listen", "127.0.0.1:0"]).expect(2).says(says);
    }
    let far = with_settings(&issuer("a", ""));
    far.run(["serve", "--listen", "0.0.0.0:0", "--insecure-listen"]).expect(2).says("public_url");
}

/// Calls and answers that go on end with what they were begun by.
#[test]
fn what_runs_by_a_revoked_key_ends_and_by_a_rotated_one_goes_on() {
    let door = Door::open();
    let endless = "limits = { wall_time = \"300s\" }\n";
    door.cli.install("std-probe", &guest("std-probe"), endless);
    let agent = door.caller(crate::harness::AGENT, "agent");
    let prefix = |client: &Client| client.key.clone().expect("a key")[..16].to_owned();
    let sleeper = agent.clone();
    let sleeping = std::thread::spawn(move || {
        sleeper.ask("POST", "/v1/calls?package=std-probe&tool=sleep", b"{\"milliseconds\":300000}")
    });
    let running = || door.cli.json(&["status"])["running"].as_array().map_or(0, Vec::len);
    door.cli.wait_for_record("the sleeper is admitted", |record| match &record.event {
        Event::CallAdmitted { credential, .. } => {
            assert_eq!(credential, &Some(Credential::Key(prefix(&agent).parse().expect("a beginning"))));
            Some(())
        }
        _ => None,
    });
    // Another key of the same agent, and its rotation, end nothing.
    let other = door.caller(crate::harness::AGENT, "agent");
    door.cli.run(["key", "revoke", &prefix(&other)]).expect(0);
    assert_eq!(running(), 1);
    door.cli.run(["key", "revoke", &prefix(&agent)]).expect(0);
    let ended = sleeping.join().expect("answered");
    assert_eq!(ended.problem(), (403, "stopped".to_owned()));
    door.cli.wait_for_record("the call was stopped", |record| match &record.event {
        Event::CallFinished { end, .. } => match &end.outcome {
            CallOutcome::Stopped { stop: Stop::CredentialRevoked { .. } } => Some(()),
            _ => None,
        },
        _ => None,
    });
    let rotated = door.caller(crate::harness::AGENT, "agent");
    let sleeper = rotated.clone();
    let sleeping = std::thread::spawn(move || {
        sleeper.ask("POST", "/v1/calls?package=std-probe&tool=sleep", b"{\"milliseconds\":1500}")
    });
    wait_until("it runs", || running() == 1);
    door.cli.run(["key", "rotate", &prefix(&rotated)]).expect(0);
    sleeping.join().expect("answered").expect(200);
}

/// A stream of records, and MCP's of changes, end soon after the credential does.
#[test]
fn open_streams_end_when_their_credential_does() {
    let key = Key::new("k", How::EdDsa);
    let issuer = Issuer::new(&[&key]);
    let door = door(
        &issuer.settings("corp", "leeway = \"0ms\"\nroles_claim = \"r\"\nroles = { w = \"auditor\" }\n"),
    );
    let follow = |client: Client| {
        std::thread::spawn(move || {
            client.exchange(&client.head("GET", "/v1/audit?last=1&follow=true", ""), b"")
        })
    };
    let by_key = door.caller("eve", "auditor");
    let followed = follow(by_key.clone());
    let soon = jiff::Timestamp::now().as_second() + 3;
    let token = issuer.token(&key, "watcher", json!({"r": "w", "exp": soon}));
    let by_token = follow(door.anonymous.with_key(&token));
    // Ends by itself, when the token's time is over.
    by_token.join().expect("it ended").expect(200);
    assert!(!followed.is_finished());
    let listen = json!({
        "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen",
        "params": {
            "notifications": {"toolsListChanged": true},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    });
    let agent = door.caller("ann", "agent");
    let listening = {
        let agent = agent.clone();
        std::thread::spawn(move || {
            let body = listen.to_string();
            let more = format!(
                "content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
                 mcp-protocol-version: 2026-07-28\r\nmcp-method: subscriptions/listen\r\ncontent-length: {}\r\n",
                body.len()
            );
            agent.exchange(&agent.head("POST", "/mcp", &more), body.as_bytes())
        })
    };
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!listening.is_finished(), "it listens");
    door.cli.run(["key", "revoke", &agent.key.clone().expect("a key")[..16]]).expect(0);
    door.cli.run(["key", "revoke", &by_key.key.clone().expect("a key")[..16]]).expect(0);
    followed.join().expect("it ended").expect(200);
    listening.join().expect("it ended").expect(200);
}

/// Who is believed is in the log when the host starts to serve.
#[test]
fn whom_a_host_believes_is_recorded_when_it_begins_to_serve() {
    let issuer = Issuer::new(&[]);
    let door = door(&issuer.settings("corp", ""));
    let read = door.cli.wait_for_record("it is recorded", |record| match &record.event {
        Event::ServeSettingsRead(read) => Some(read.clone()),
        _ => None,
    });
    assert_eq!((read.cause, read.issuers.len(), read.certificates), (SettingsCause::Started, 1, 0));
    assert!(read.sha256.is_some() && read.reason.is_none());
}
