//! Python, by componentize-py, which puts the interpreter into the component.

use std::path::PathBuf;

use super::{BuildError, Job};

/// The module that implements the world, unless `sources` names another.
const MODULE: &str = "app";

const MISSING: &str = "\
componentize-py is neither in .venv of the project nor in the path. It comes from PyPI, for Python 3.10 or later:
  python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
  (on Debian, venv is a package of its own: apt-get install -y python3 python3-venv)";

pub(super) fn build(job: &Job<'_>) -> Result<(PathBuf, String), BuildError> {
    let programs = &job.programs;
    let own = job.folder.join(".venv/bin/componentize-py");
    let program = if own.is_file() { Some(own) } else { programs.find("componentize-py") };
    let missing = || BuildError::NoToolchain(MISSING.to_owned());
    let program = program.ok_or_else(missing)?;
    let version = programs.ask(programs.command(&program).arg("--version")).ok_or_else(missing)?;
    let output = job.scratch.join("python.wasm");
    let module = job.settings.sources.first().map_or(MODULE, |source| source.trim_end_matches(".py"));
    let mut command = programs.command(program);
    command.arg("--quiet");
    if let Some(world) = &job.settings.world {
        command.args(["--world", world]);
    }
    command
        .arg("--wit-path")
        .arg(job.folder.join(&job.settings.wit))
        .args(["componentize", "--python-path"])
        .arg(job.folder)
        .arg("--output")
        .arg(&output)
        .arg(module)
        // No bytecode beside the sources: they would look changed.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(job.folder);
    programs.run(&mut command, &[])?;
    Ok((output, version))
}
