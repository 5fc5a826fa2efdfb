//! OAuth as MCP asks for it, among programs that nobody here wrote: the official client learns from the host's refusal
//! where to get a token, gets it from `oidc-provider`, and calls a tool with it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use portcullis::audit::event::{Event, SettingsCause};
use portcullis::authn::{Credential, Refused};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::guest;
use crate::harness::installed::{installed, node, sources};
use crate::harness::process::{Cli, Running};

/// Modules are looked for beside the program.
fn script(name: &str) -> Command {
    let program = installed("node").join(name);
    std::fs::copy(sources().join(name), &program).expect("copied");
    let mut command = node();
    command.arg(program);
    command
}

/// The issuer; it ends when it is dropped.
struct Provider {
    child: Child,
    url: String,
}

impl Provider {
    fn start(algorithm: &str) -> Self {
        let mut command = script("issuer.mjs");
        command.args([algorithm, "researcher", "a-secret"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("node starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it is");
        Self { child, url: line.trim().to_owned() }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // Both fail if it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_official_client_gets_its_token_from_a_certified_issuer_and_calls_a_tool() {
    for algorithm in ["ES256", "RS256"] {
        let provider = Provider::start(algorithm);
        let cli = Cli::with("mcp", &guest("mcp"), "tools = [\"count\"]\n");
        let (server, port) = cli.serve_network(&[]);
        let url = format!("http://127.0.0.1:{port}/mcp");
        let settle = |audience: &str| {
            let settings = format!(
                "[[issuer]]\nname = \"corp\"\nissuer = \"{}\"\naudience = \"{audience}\"\nscopes = [\"tools:call\"]\n\
                 principals = {{ researcher = \"researcher\" }}\n",
                provider.url
            );
            std::fs::write(cli.data.join("serve.toml"), settings).expect("written");
            let reads = || {
                let records = cli.log();
                let is_read = |event: &Event| matches!(event, Event::ServeSettingsRead(read) if read.cause == SettingsCause::Reloaded);
                records.iter().filter(|record| is_read(&record.event)).count()
            };
            let before = reads();
            server.signal(Signal::HUP);
            crate::harness::process::wait_until("the settings are read", || reads() > before);
        };
        let ask = || {
            let mut client = script("oauth_client.mjs");
            client.args([&url, "researcher", "a-secret"]);
            Running::start(client).end()
        };
        settle(&url);
        let ran = ask();
        assert!(ran.status.success(), "{algorithm}\n{}\n{}", ran.stdout, ran.stderr);
        let seen: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert_eq!(seen["tools"], json!(["mcp__count"]), "{seen}");
        let credential = cli.wait_for_record("the call is admitted", |record| match &record.event {
            Event::CallAdmitted { context, credential, .. } if context.principal.as_str() == "researcher" => {
                Some(credential.clone())
            }
            _ => None,
        });
        assert_eq!(credential, Some(Credential::Issuer("corp".parse().expect("a name"))));
        // The twin: what the client asks a token for is not what this host is.
        settle("https://elsewhere.example.org/mcp");
        assert!(!ask().status.success());
        cli.wait_for_record("another audience", |record| {
            matches!(record.event, Event::AuthenticationFailed { reason: Refused::OtherAudience, .. })
                .then_some(())
        });
        assert_eq!(server.interrupt().status.code(), Some(0));
    }
}
