//! `cargo xtask bench peers`: other hosts beside ours, by the scripts of `host/benches/peers`.
//!
//! What is compared is installed into `target/peers` from PyPI and npm, by versions and hashes that are in the repository;
//! nothing is installed anywhere else. Progress goes to stderr, and stdout has the table or the document alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::figures::{self, PROFILE};
use crate::folders::Folders;
use crate::guests::toolchain::{self, Way};
use crate::process::{self, BUILD_TIME_MAX, INSTALL_TIME_MAX};

/// What the chore is asked for by.
pub(crate) const NAME: &str = "peers";

const SCRIPTS: &str = "host/benches/peers";
const LOCK: [&str; 2] = ["package.json", "package-lock.json"];

/// Installs what is missing, builds the jobs and the program, and compares.
pub(crate) fn bench(folders: &Folders, json: bool, quick: bool) -> Result<()> {
    let (scripts, installed) = (folders.root.join(SCRIPTS), folders.target.join(NAME));
    for file in requirements(&scripts)? {
        install_python(&file, &installed)?;
    }
    install_node(&scripts, &installed.join("node"))?;
    let jobs = build_jobs(folders, &scripts, &installed)?;
    quietly(
        process::as_shipped(process::cargo())
            .args(["build", "--package", "portcullis"])
            .current_dir(&folders.root),
        BUILD_TIME_MAX,
    )?;

    let run = figures::run(folders, PROFILE, quick);
    let file = figures::file(folders)?;
    let mut compare = Command::new("python3");
    compare.arg(scripts.join("peers.py")).arg("--portcullis").arg(folders.portcullis());
    compare.arg("--jobs").arg(jobs).arg("--installed").arg(&installed).arg("--figures").arg(&file);
    compare.args(json.then_some("--json")).args(["--seconds", if quick { "0.2" } else { "2" }]);
    compare.env("PYTHONDONTWRITEBYTECODE", "1");
    // What is no figure: what failed, and what became of jobs without an end.
    let told = process::read(&mut compare, BUILD_TIME_MAX)?;
    let rows = figures::some(figures::rows(&file)?)?;
    if json {
        let mut document = figures::document(run, &rows);
        document[NAME] = serde_json::from_str(&told).context("what peers.py told")?;
        println!("{document:#}");
    } else {
        println!("{}\n\n{told}", figures::table(&run, &rows));
    }
    Ok(())
}

/// The files of what pip installs, one for each peer: they need different versions of the same packages.
fn requirements(scripts: &Path) -> Result<Vec<PathBuf>> {
    let folder = scripts.join("requirements");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// A virtual environment of the file's name. A copy of the file in it says what was installed.
fn install_python(file: &Path, installed: &Path) -> Result<()> {
    let environment = installed.join(file.file_stem().context("a file has a name")?);
    let done = environment.join("requirements.txt");
    let wanted = fs::read(file)?;
    if fs::read(&done).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    eprintln!("installing {} from PyPI into {}", file.display(), environment.display());
    quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment), INSTALL_TIME_MAX)?;
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--only-binary",
    ]);
    quietly(pip.args([":all:", "-r"]).arg(file), INSTALL_TIME_MAX)
        .context("the wheels of peers are of Linux on x86-64")?;
    fs::write(done, wanted)?;
    Ok(())
}

fn install_node(scripts: &Path, folder: &Path) -> Result<()> {
    let same = |name: &&str| fs::read(scripts.join(name)).ok() == fs::read(folder.join(name)).ok();
    if LOCK.iter().all(same) && folder.join("node_modules").is_dir() {
        return Ok(());
    }
    eprintln!("installing workerd from npm into {}", folder.display());
    fs::create_dir_all(folder)?;
    for name in LOCK {
        fs::copy(scripts.join(name), folder.join(name)).with_context(|| format!("copying {name}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
        .arg(folder);
    let ran = quietly(&mut npm, INSTALL_TIME_MAX);
    if ran.is_err() {
        // What is half installed must not look installed to the next run.
        let _ = fs::remove_dir_all(folder.join("node_modules"));
    }
    ran.context("workerd comes from the npm registry")
}

/// The jobs in the form that each host takes, in one folder.
fn build_jobs(folders: &Folders, scripts: &Path, installed: &Path) -> Result<PathBuf> {
    let way: Way = match toolchain::detect() {
        Some(way) => way,
        None => toolchain::install()?,
    };
    // Where the guests are built: their standard library is the same.
    let build = folders.guests().join("build");
    let jobs = installed.join("jobs");
    fs::create_dir_all(&jobs)?;
    let of_programs = way.of_programs();
    let of_programs: Vec<&str> = of_programs.iter().map(String::as_str).collect();
    // A plug-in of Extism is a module of its own, and no component.
    let of_plugins = ["--skip-wit-component", "-lc"];
    for (folder, made, arguments) in [
        ("component", "jobs_component.wasm", &[][..]),
        ("command", "jobs-command.wasm", &of_programs),
        ("plugin", "jobs_plugin.wasm", &of_plugins),
        ("act", "jobs_act.wasm", &[]),
    ] {
        eprintln!("building {SCRIPTS}/{folder} with {}", way.describe());
        quietly(&mut way.build_linked(&scripts.join(folder), &build, arguments)?, BUILD_TIME_MAX)?;
        let made = build.join("wasm32-wasip2/release").join(made);
        fs::copy(&made, jobs.join(format!("{folder}.wasm")))
            .with_context(|| format!("copying {}", made.display()))?;
    }
    let native = installed.join("build");
    let mut cargo = process::clean("cargo");
    cargo.args(["build", "--quiet", "--release", "--locked"]).current_dir(scripts.join("command"));
    quietly(cargo.env("CARGO_TARGET_DIR", &native), BUILD_TIME_MAX)?;
    fs::copy(native.join("release/jobs-command"), jobs.join("command"))?;
    Ok(jobs)
}

/// Runs a step whose output is progress.
fn quietly(command: &mut Command, time_max: std::time::Duration) -> Result<()> {
    eprint!("{}", process::read(command, time_max)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_installed_is_named_by_version_and_hash() {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join(SCRIPTS);
        let files = requirements(&scripts).expect("there");
        assert_eq!(files.len(), 5);
        for file in files {
            let text = fs::read_to_string(&file).expect("text");
            let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            for pair in lines.chunks(2) {
                assert!(pair[0].contains("==") && pair[0].ends_with('\\'), "{pair:?}");
                assert!(pair[1].trim().starts_with("--hash=sha256:"), "{pair:?}");
            }
        }
        let package = fs::read_to_string(scripts.join(LOCK[0])).expect("text");
        assert!(package.contains("\"workerd\": \"1."), "an exact version: {package}");
    }
}
