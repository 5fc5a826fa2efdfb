//! Cases 96 to 102: who made a component is proved before it runs, and what is not trusted does not.

mod attached;
mod gate;
mod keys;
mod private;
pub(crate) mod registry;
mod resumed;
mod sent;
mod sigstore;
pub(crate) mod trust;

use std::process::Command;

use crate::harness::process::{Cli, Ran, Running};

/// The format's own program. A test that needs it fails without it: what was not compared is not compatible.
#[track_caller]
fn minisign(cli: &Cli, arguments: &[&str]) -> Ran {
    run(cli, "minisign", arguments)
}

#[track_caller]
fn run(cli: &Cli, program: &str, arguments: &[&str]) -> Ran {
    let there = Command::new(program).arg("-v").output();
    assert!(
        there.is_ok(),
        "this test needs {program}: run `cargo xtask programs`, or apt-get install {program}"
    );
    let mut command = Command::new(program);
    command.args(arguments).current_dir(cli.temporary.path());
    Running::start(command).end()
}
