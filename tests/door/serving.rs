//! Where the host listens, and where it does not.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use portcullis::audit::event::Event;

use super::Door;
use crate::harness::client::Client;
use crate::harness::process::{Cli, exists};

#[test]
fn two_hosts_listen_beside_each_other_and_a_taken_address_is_named() {
    let (one, other) = (Door::open(), Door::open());
    assert_ne!(one.anonymous.port, other.anonymous.port);
    one.anonymous.get("/readyz").expect(200);
    other.anonymous.get("/readyz").expect(200);
    let taken = format!("127.0.0.1:{}", one.anonymous.port);
    let third = Cli::new();
    third.run(["serve", "--listen", &taken]).expect(2).says(&taken).says("--listen");
    // A key of one host is nothing at another.
    assert_eq!(Client { port: other.anonymous.port, ..one.admin.clone() }.get("/v1/packages").status, 401);
}

#[test]
fn beyond_this_machine_it_listens_with_tls_only_or_when_it_is_told_to() {
    let cli = Cli::new();
    let refused =
        cli.run(["serve", "--listen", "0.0.0.0:0"]).expect(2).says("--tls-cert").says("--insecure-listen");
    assert!(refused.stdout.is_empty() && !exists(&cli.data));
    cli.run(["serve", "--listen", "[::ffff:0.0.0.0]:0"]).expect(2).says("--insecure-listen");
    cli.run(["serve", "--listen", "none", "--listen", "127.0.0.1:0"]).expect(2).says("don't go together");
    cli.run(["serve", "--listen", "127.0.0.1:0", "--tls-cert", "a.pem"]).expect(2).says("--tls-key");
    let key = cli.file("key.pem", "nothing");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("changed");
    let broken = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", &key, "--tls-key", &key];
    cli.run(broken).expect(2).says("no certificate");
    let server = cli.start(["serve", "--listen", "0.0.0.0:0", "--insecure-listen"]);
    crate::harness::process::wait_until("it listens", || exists(&cli.data.join("serving.json")));
    let client = Client::new(cli.port());
    client.get("/healthz").expect(200);
    let ran = server.interrupt().expect(0).says("--insecure-listen");
    assert!(!exists(&cli.data.join("serving.json")), "{ran:?}");
}

#[test]
fn the_first_admin_has_a_key_that_is_made_once() {
    let door = Door::open();
    let file = door.cli.data.join("admin.key");
    let mode = std::fs::metadata(&file).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let key = std::fs::read_to_string(&file).expect("text");
    assert_eq!(door.admin.get("/v1/keys").expect(200).json()[0]["principal"], "first-admin");
    let Door { cli, server, .. } = door;
    let ran = server.interrupt().expect(0).says("admin.key");
    assert!(!ran.stderr.contains(&key), "a service's output is kept by others");
    std::fs::remove_file(&file).expect("removed");
    let (server, port) = cli.serve_network(&[]);
    Client::new(port).with_key(&key).get("/v1/packages").expect(200);
    server.interrupt().expect(0);
    assert!(!exists(&file), "it is made once");
    let made =
        cli.log().into_iter().filter(|record| matches!(record.event, Event::ApiKeyCreated { .. })).count();
    assert_eq!(made, 1);
    // Whoever serves nobody else needs no such key.
    let quiet = Cli::new();
    quiet.serve().interrupt().expect(0);
    assert!(!exists(&quiet.data.join("admin.key")) && !exists(&quiet.data.join("serving.json")));
}

/// A stop lets what runs end, and takes nothing new.
#[test]
fn metrics_and_the_api_are_served_until_it_ends() {
    let door = Door::open();
    let auditor = door.caller("eve", "auditor");
    let metrics = auditor.get("/metrics").expect(200);
    assert!(String::from_utf8_lossy(&metrics.body).contains("# EOF"));
    assert_eq!(door.anonymous.get("/metrics").status, 401);
    let answer = door.admin.exchange(&door.admin.head("GET", "/v1/audit?last=5", ""), b"").expect(200);
    assert_eq!(answer.body.iter().filter(|byte| **byte == b'\n').count(), 5);
    let port = door.anonymous.port;
    door.server.interrupt().expect(0);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// What is in the file is so, unless the command line says otherwise; what can't be so is refused by file, line and
/// key before anything listens.
#[test]
fn serving_is_as_the_settings_file_says() {
    let cli = Cli::new();
    let file = cli.json(&["config", "init"])["file"].as_str().expect("a path").to_owned();
    let text = std::fs::read_to_string(&file).expect("written");
    cli.run(["config", "init"]).expect(2).says("--force");
    std::fs::write(&file, "listen = []\nlistne = []\n").expect("written");
    cli.run(["serve"]).expect(2).says("serve.toml").says("did you mean `listen`?");
    cli.run(["config", "init", "--force"]).expect(0);
    assert_eq!(std::fs::read_to_string(&file).expect("written"), text);

    let text = text
        .replace("127.0.0.1:7878", "127.0.0.1:0")
        .replace("allowed_hosts = []", "allowed_hosts = [\"tools\"]");
    std::fs::write(&file, text).expect("written");
    let server = cli.start(["serve"]);
    crate::harness::process::wait_until("it listens", || exists(&cli.data.join("serving.json")));
    let client = Client::new(cli.port());
    client.exchange(&client.head("GET", "/healthz", "host: tools\r\n"), b"").expect(200);
    server.interrupt().expect(0);
    let quiet = cli.serve();
    assert!(!exists(&cli.data.join("serving.json")), "the command line comes first");
    quiet.interrupt().expect(0);
}

/// The command line works against a host in the network, as far as its key goes.
#[test]
fn commands_reach_a_host_by_its_url_and_a_key() {
    let door = Door::open();
    door.cli.install_notes();
    let url = format!("http://127.0.0.1:{}", door.anonymous.port);
    let key = door.cli.data.join("admin.key");
    let key = key.to_str().expect("ours").to_owned();
    let elsewhere = Cli::new();
    let admin = ["--server", &url, "--key-file", &key];
    let run = |more: &[&str]| elsewhere.run(admin.iter().chain(more));
    assert!(run(&["package", "list"]).expect(0).stdout.contains("notes"));
    assert!(run(&["audit", "tail", "--last", "3"]).expect(0).stdout.lines().count() == 3);
    let made = run(&["key", "create", crate::harness::AGENT]).expect(0);
    let agent_key = elsewhere.file("agent.key", &made.stdout);
    let agent = ["--server", url.as_str(), "--key-file", agent_key.as_str()];
    // A key that others can read is none.
    std::fs::set_permissions(&agent_key, PermissionsExt::from_mode(0o644)).expect("changed");
    elsewhere
        .run(agent.iter().chain(&["call", "notes", "list", "--as", crate::harness::AGENT]))
        .expect(2)
        .says("chmod 600");
    std::fs::set_permissions(&agent_key, PermissionsExt::from_mode(0o600)).expect("changed");
    elsewhere.run(agent.iter().chain(&["call", "notes", "list", "--as", crate::harness::AGENT])).expect(0);
    elsewhere
        .run(agent.iter().chain(&["call", "notes", "list", "--as", "other"]))
        .expect(3)
        .says("in the name of others");
    elsewhere
        .run(agent.iter().chain(&["package", "list"]))
        .expect(3)
        .says("an agent may not GET /v1/packages");
    assert!(!exists(&elsewhere.data), "no data folder is made");
    let wrong = elsewhere.file("wrong.key", "pcl_0123456789ab");
    std::fs::set_permissions(&wrong, PermissionsExt::from_mode(0o600)).expect("changed");
    elsewhere.run(["--server", &url, "--key-file", &wrong, "package", "list"]).expect(3).says("not known");
    elsewhere.run(["--server", &url, "package", "list"]).expect(2).says("PORTCULLIS_KEY");
    elsewhere
        .run(["--server", "http://tools.example.org", "--key-file", &key, "package", "list"])
        .expect(2)
        .says("https");
    elsewhere
        .run(["--server", "http://127.0.0.1:9/x", "--key-file", &key, "package", "list"])
        .expect(2)
        .says("path");
    let gone = format!("http://127.0.0.1:{}", door.anonymous.port);
    door.server.interrupt().expect(0);
    elsewhere
        .run(["--server", &gone, "--key-file", &key, "package", "list"])
        .expect(1)
        .says("can't be reached");
}

/// Over TLS, to whoever believes its certificate, by the name that it has.
#[test]
fn it_is_reached_over_tls_by_who_believes_its_certificate() {
    let cli = Cli::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = cli.file("chain.pem", made.cert.pem());
    let key = cli.file("key.pem", made.signing_key.serialize_pem());
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("changed");
    // Beyond this machine, with TLS: no more needs to be said.
    let server = cli.start(["serve", "--listen", "0.0.0.0:0", "--tls-cert", &certificate, "--tls-key", &key]);
    crate::harness::process::wait_until("it listens, and has a key", || exists(&cli.data.join("admin.key")));
    let url = format!("https://localhost:{}", cli.port());
    let admin = cli.data.join("admin.key");
    let ask = ["--server", &url, "--key-file", admin.to_str().expect("ours"), "package", "list"];
    let elsewhere = Cli::new();
    elsewhere.run(ask.iter().copied().chain(["--server-ca", &certificate])).expect(0);
    elsewhere.run(ask).expect(1).says("certificate");
    let by_address = url.replace("localhost", "127.0.0.1");
    let ask = ["--server", &by_address, "--key-file", ask[3], "--server-ca", &certificate, "package", "list"];
    elsewhere.run(ask).expect(1).says("certificate");
    // In the clear, it answers nothing.
    let mut plain = Client::new(cli.port()).connect();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    server.interrupt().expect(0);
}

/// Who keeps a connection open does not keep the host from ending.
#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let door = Door::open();
    let mut idle = door.anonymous.connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    let mut first = [0; 16];
    idle.read_exact(&mut first).expect("an answer");
    let ran = door.server.interrupt().expect(0);
    assert!(!ran.stderr.contains("still running"), "{ran:?}");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).expect("closed in good order");
}
