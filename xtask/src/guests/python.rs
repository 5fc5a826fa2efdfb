//! Builds the Python guest with componentize-py, in a virtual environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The module that implements a guest's world.
const MODULE: &str = "app";

/// An installed componentize-py.
#[derive(Debug)]
pub(crate) struct Componentize {
    program: PathBuf,
    version: String,
}

/// Finds componentize-py in a virtual environment, or installs it there by the guest's
/// `requirements.txt`, which names version and hashes.
pub(crate) fn componentize(environment: &Path, source: &Path) -> Result<Componentize> {
    let program = environment.join("bin/componentize-py");
    let requirements = source.join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements)?;
    let installed = process::ask(Command::new(&program).arg("--version"));
    if installed.as_deref().is_none_or(|version| !wanted.contains(&version.replace(' ', "=="))) {
        install(environment, &requirements)?;
    }
    let version =
        process::ask(Command::new(&program).arg("--version")).context("componentize-py does not run")?;
    Ok(Componentize { program, version })
}

fn install(environment: &Path, requirements: &Path) -> Result<()> {
    println!("installing componentize-py from PyPI into {}", environment.display());
    process::run(
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment),
        process::INSTALL_TIME_MAX,
    )
    .context(
        "the Python guest needs python3 (3.10 or later) with venv.\n  \
         on Debian: apt-get install -y python3 python3-venv",
    )?;
    process::run(
        Command::new(environment.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--require-hashes",
                "-r",
            ])
            .arg(requirements),
        process::INSTALL_TIME_MAX,
    )
    .context("componentize-py comes from PyPI, which has it for Linux and macOS on x86-64 and arm64")
}

impl Componentize {
    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        self.version.clone()
    }

    /// The command that builds the guest of a world, which is in one of the folders of WIT.
    pub(crate) fn build(&self, world: &str, wit: &[PathBuf], source: &Path, wanted: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--quiet", "--world", world]);
        for folder in wit {
            command.arg("--wit-path").arg(folder);
        }
        command
            .args(["componentize", "--python-path"])
            .arg(source)
            .arg("--output")
            .arg(wanted)
            .arg(MODULE)
            // No bytecode beside the sources: they would look changed.
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}
