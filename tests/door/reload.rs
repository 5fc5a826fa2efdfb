//! SIGHUP: the settings of a running host are read again, or refused, and what they end ends.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event, SettingsCause};
use portcullis::policy::Stop;
use rustix::process::Signal;
use serde_json::json;

use super::Door;
use crate::harness::client::Client;
use crate::harness::guest;
use crate::harness::issuer::{How, Issuer, Key};
use crate::harness::process::{Cli, Running, exists, wait_until};

fn with_settings(settings: &str) -> Cli {
    let cli = Cli::new();
    cli.run(["package", "list"]).expect(0);
    std::fs::write(cli.data.join("serve.toml"), settings).expect("written");
    cli
}

impl Door {
    /// Has the host read these settings, and waits until it says so.
    fn reload(&self, settings: &str, cause: SettingsCause) {
        let reads = || {
            let events = self.events().into_iter();
            events
                .filter(|event| matches!(event, Event::ServeSettingsRead(read) if read.cause == cause))
                .count()
        };
        let before = reads();
        std::fs::write(self.cli.data.join("serve.toml"), settings).expect("written");
        self.server.signal(Signal::HUP);
        wait_until("the settings were read", || reads() > before);
    }
}

#[test]
fn settings_are_read_again_and_broken_ones_change_nothing() {
    // Nothing is said on the command line, which would come before the file.
    let cli = with_settings("listen = [\"127.0.0.1:0\"]\n");
    let server = cli.start(["serve"]);
    wait_until("it listens, and has a key", || exists(&cli.data.join("admin.key")));
    let anonymous = Client::new(cli.port());
    let key = std::fs::read_to_string(cli.data.join("admin.key")).expect("the first admin's key");
    let door = Door { admin: anonymous.with_key(&key), cli, server, anonymous };
    let named = |name: &str| {
        let head = door.anonymous.head("GET", "/healthz", &format!("host: {name}\r\n"));
        door.anonymous.exchange(&head, b"").status
    };
    let from = |origin: &str| {
        let head = door.anonymous.head("GET", "/healthz", &format!("origin: {origin}\r\n"));
        door.anonymous.exchange(&head, b"").status
    };
    assert_eq!((named("a.example.org"), from("https://c.example.org")), (403, 403));
    let settings = "allowed_hosts = [\"a.example.org\"]\nallowed_origins = [\"https://c.example.org\"]\n\
                    requests_per_minute = 2\nlisten = [\"127.0.0.1:1\"]\n";
    door.reload(settings, SettingsCause::Reloaded);
    wait_until("the name is known", || named("a.example.org") == 200);
    assert_eq!(from("https://c.example.org"), 200);
    let agent = door.caller("ann", "agent");
    wait_until("it is too often", || agent.get("/v1/tools").status == 429);
    // An error on one line: nothing of the file is taken, whatever else it says.
    door.reload("allowed_hosts = []\nallowed_hots = []\n", SettingsCause::Refused);
    assert_eq!(named("a.example.org"), 200);
    let refused = door.events().into_iter().find_map(|event| match event {
        Event::ServeSettingsRead(read) if read.cause == SettingsCause::Refused => read.reason,
        _ => None,
    });
    assert!(refused.expect("a reason").contains("line 2: allowed_hots"));
    door.reload("allowed_hosts = []\n", SettingsCause::Reloaded);
    wait_until("the name is forgotten", || named("a.example.org") == 403);
    let ran = door.server.interrupt().expect(0);
    assert!(ran.stderr.contains("`listen` stay as they were"), "{ran:?}");
    assert!(ran.stderr.contains("is refused; what was in force stays in force"), "{ran:?}");
}

/// Whom the settings no longer name is let in no more, and what it began ends.
#[test]
fn an_issuer_comes_and_goes_beside_running_calls() {
    let key = Key::new("k", How::EdDsa);
    let issuer = Issuer::new(&[&key]);
    let door = Door::serve(with_settings(""), &[]);
    door.cli.install("std-probe", &guest("std-probe"), "limits = { wall_time = \"300s\" }\n");
    let client = door.anonymous.with_key(&issuer.token(&key, "7", json!({})));
    assert_eq!(client.get("/v1/tools").status, 401);
    let settings = issuer.settings("corp", "principals = { 7 = \"researcher\" }\n");
    door.reload(&settings, SettingsCause::Reloaded);
    client.get("/v1/tools").expect(200);
    let by_key = door.caller(crate::harness::AGENT, "agent");
    let sleep = |client: &Client, ms: u64| {
        let client = client.clone();
        std::thread::spawn(move || {
            let arguments = format!("{{\"milliseconds\":{ms}}}");
            client.ask("POST", "/v1/calls?package=std-probe&tool=sleep", arguments.as_bytes())
        })
    };
    let (by_token, by_key) = (sleep(&client, 300_000), sleep(&by_key, 3_000));
    let admitted =
        || door.events().into_iter().filter(|event| matches!(event, Event::CallAdmitted { .. })).count();
    wait_until("both run", || admitted() == 2);
    // The same again ends nothing.
    door.reload(&settings, SettingsCause::Reloaded);
    door.reload("", SettingsCause::Reloaded);
    assert_eq!(by_token.join().expect("answered").problem(), (403, "stopped".to_owned()));
    by_key.join().expect("answered").expect(200);
    assert_eq!(client.get("/v1/tools").status, 401);
    assert!(door.events().into_iter().any(|event| matches!(event, Event::CallFinished { end, .. }
        if matches!(end.outcome, CallOutcome::Stopped { stop: Stop::CredentialRevoked { .. } }))));
}

/// The protocol of `sd_notify(3)`, at a real socket: what the unit's systemd is told, in this order.
#[test]
fn a_service_manager_is_told_of_each_step() {
    let cli = with_settings("");
    let path = cli.path("notify");
    let manager = UnixDatagram::bind(&path).expect("bound");
    manager.set_read_timeout(Some(Duration::from_secs(120))).expect("set");
    let mut buffer = [0; 256];
    let mut told = || {
        let count = manager.recv(&mut buffer).expect("told in time");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let mut command = cli.command(["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path);
    let server = Running::start(command);
    assert_eq!(told(), "READY=1");
    assert!(exists(&cli.data.join("serving.json")), "it listens by then");
    server.signal(Signal::HUP);
    let reloading = told();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("systemd waits for this");
    assert!(since.parse::<u64>().expect("a number") > 0);
    assert_eq!(told(), "READY=1");
    let ran = server.interrupt().expect(0);
    assert_eq!(told(), "STOPPING=1", "{ran:?}");
}
