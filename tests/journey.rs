//! From an empty folder to a call on a host that has never seen the tool, for each language: `docs/first-tool.md` as it
//! stands there, by one shell, with the built program and Debian's registry.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event};
use serde_json::{Value, json};

use crate::harness::process::{Cli, Ran, Running, program};
use crate::signing::registry::DockerRegistry;

/// The longest that the walk may take on a machine that does other things too: it builds a component.
const WALK_TIME_MAX: Duration = Duration::from_secs(20 * 60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// The page's blocks of commands, in their order.
fn blocks() -> Vec<String> {
    let page = std::fs::read_to_string(root().join("docs/first-tool.md")).expect("there");
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.map(str::to_owned).collect()
}

/// Lines that put into the new project what the page's reader is told to install, as `cargo xtask guests` has it.
fn toolchains() -> String {
    let root = root().display().to_string();
    format!(
        "cp '{root}/example-tools/Cargo.lock' word-count/\n\
         ln -s '{root}/target/python' word-count/.venv\n\
         ln -s '{root}/target/javascript/node_modules' word-count/node_modules\n"
    )
}

/// The shell that walks, in the folder of `cli` and with its data folder, which is not made yet.
fn walk(cli: &Cli, language: &str, registry: &DockerRegistry) -> Ran {
    let blocks = blocks();
    assert!(blocks.len() >= 9 && blocks[0].contains("portcullis new"), "{blocks:#?}");
    let script = [&blocks[..1], &[toolchains()], &blocks[1..]].concat().concat();
    let path = std::env::var("PATH").expect("a path");
    let mut shell = Command::new("sh");
    shell.args(["-e", "-x", "-c", &script]).current_dir(cli.temporary.path());
    shell.env("PATH", format!("{}:{path}", program().parent().expect("its folder").display()));
    shell.env("PORTCULLIS_DATA_DIR", &cli.data).env("LANGUAGE", language);
    shell.env("REGISTRY", format!("localhost:{}", registry.port));
    // Crates are those that the guests were built with, and so is what was compiled of them.
    shell.env("CARGO_TARGET_DIR", root().join("target/guests/build")).env("CARGO_NET_OFFLINE", "true");
    shell.env("NO_COLOR", "1");
    Running::start(shell).end_within(WALK_TIME_MAX).expect(0)
}

fn refusals(cli: &Cli) -> Vec<String> {
    let reason = |event| if let Event::PackageRefused { reason, .. } = event { Some(reason) } else { None };
    cli.log().into_iter().filter_map(|record| reason(record.event)).collect()
}

fn goes_the_whole_way(language: &str) {
    let cli = Cli::new();
    let registry = DockerRegistry::start(&cli, "");
    let walked = walk(&cli, language, &registry);
    assert!(walked.stdout.contains("2 of 2 cases passed"), "{walked:?}");
    assert!(walked.stdout.contains(r#"{"lines":1,"words":2}"#), "the answer of the call: {walked:?}");

    // What the log of the new host has: where it came from, who signed it, one call that went well.
    let log = cli.log();
    let reference = format!("oci://localhost:{}/tools/word-count@sha256:", registry.port);
    let sources: Vec<String> = log
        .iter()
        .filter_map(|record| match &record.event {
            Event::PackageAdded { source, .. } => source.as_ref().map(|source| source.as_str().to_owned()),
            _ => None,
        })
        .collect();
    assert!(matches!(sources.as_slice(), [one] if one.starts_with(&reference)), "{sources:?}");
    let signers: Vec<String> = log
        .iter()
        .filter_map(|record| match &record.event {
            Event::PackageApproved { signers, .. } => Some(signers),
            _ => None,
        })
        .flatten()
        .map(|signer| signer.as_str().to_owned())
        .collect();
    assert_eq!(signers, ["author"]);
    let ended =
        |event: &Event| matches!(event, Event::CallFinished { end, .. } if end.outcome == CallOutcome::Ok);
    assert_eq!(log.iter().filter(|record| ended(&record.event)).count(), 1, "{log:?}");

    // The denied twins: what is refused is refused for what the page says, and is in the log of the host that refused.
    let refused = refusals(&cli);
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("not one over these bytes"), "{refused:?}");
    assert!(refused[1].contains("it needs 1 of the signatures of author"), "{refused:?}");
    let strangers = Cli { data: cli.path("strangers"), ..Cli::new() };
    let refused = refusals(&strangers);
    assert!(
        matches!(refused.as_slice(), [one] if one.contains("that the trust policy does not know")),
        "{refused:?}"
    );
    assert_eq!(strangers.json(&["package", "list"]), json!([]));

    // And one that only a registry can do: other bytes in the place of those that the digest names.
    let pinned = walked.stdout.lines().find_map(|line| line.strip_prefix("it is "));
    let pinned = pinned.expect("the reference by digest").trim().to_owned();
    alter(&cli, &component_digest(&cli));
    let third = Cli { data: cli.path("third"), ..Cli::new() };
    third.run(["package", "add", &pinned]).expect(2).says("gives other bytes");
    assert_eq!(third.json(&["package", "list"]), json!([]));
}

/// What the registry calls the component's bytes.
fn component_digest(cli: &Cli) -> String {
    let packages: Value = cli.json(&["package", "list"]);
    let digest = packages[0]["digest"].as_str().unwrap_or_else(|| panic!("{packages}"));
    digest.strip_prefix("sha256:").unwrap_or(digest).to_owned()
}

/// Changes the last byte of a blob in the registry's folder.
fn alter(cli: &Cli, digest: &str) {
    let blob = format!("registry/docker/registry/v2/blobs/sha256/{}/{digest}/data", &digest[..2]);
    let mut bytes = std::fs::read(cli.path(&blob)).expect("a blob of the registry");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    std::fs::write(cli.path(&blob), bytes).expect("written");
}

#[test]
fn rust() {
    goes_the_whole_way("rust");
}

#[test]
fn python() {
    goes_the_whole_way("python");
}

#[test]
fn javascript() {
    goes_the_whole_way("javascript");
}

#[test]
fn c() {
    goes_the_whole_way("c");
}
