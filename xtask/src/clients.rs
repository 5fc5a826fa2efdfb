//! Installs what tests speak with and nobody here wrote: MCP's official conformance suite and official clients, and
//! schemathesis, which asks the HTTP API; by exact versions and hashes, into folders of their own below `target/clients`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::folders::Folders;
use crate::process;

/// Where their lists of versions are, with the programs that use them.
const SOURCE: &str = "tests/clients";
/// What npm installs by.
const NPM: [&str; 2] = ["package.json", "package-lock.json"];
/// What pip installs by.
const PIP: &str = "requirements.txt";

/// Installs what is not installed.
pub(crate) fn clients(folders: &Folders) -> Result<()> {
    let source = folders.root.join(SOURCE);
    let target = folders.target.join("clients");
    let usual = folders.root.join("target/clients");
    npm(&source, &target.join("node"))?;
    pip("a client of MCP", &source, &target.join("python"))?;
    pip("schemathesis", &source.join("schemathesis"), &target.join("schemathesis"))?;
    if !usual.exists() {
        // A dangling link of an earlier run is replaced.
        let _ = fs::remove_file(&usual);
        std::os::unix::fs::symlink(&target, &usual)
            .with_context(|| format!("linking {}", usual.display()))?;
    }
    Ok(())
}

fn npm(source: &Path, folder: &Path) -> Result<()> {
    if is_installed(&NPM, source, folder) {
        return Ok(());
    }
    println!("installing the conformance suite and clients of MCP from npm into {}", folder.display());
    install(&NPM, source, folder, || {
        // Scripts of packages are not run: nothing that is needed has one.
        let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"];
        process::run(Command::new("npm").args(options).arg(folder), process::INSTALL_TIME_MAX).context(
            "npm must be there (on Debian: apt-get install -y nodejs npm), and its registry within reach",
        )
    })
}

fn pip(what: &str, source: &Path, folder: &Path) -> Result<()> {
    if is_installed(&[PIP], source, folder) {
        return Ok(());
    }
    println!("installing {what} from PyPI into {}", folder.display());
    install(&[PIP], source, folder, || {
        let environment = folder.join("environment");
        process::run(
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment),
            process::INSTALL_TIME_MAX,
        )
        .context("python3 (3.10 or later) with venv; on Debian: apt-get install -y python3 python3-venv")?;
        let options =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"];
        process::run(
            Command::new(environment.join("bin/python")).args(options).arg(source.join(PIP)),
            process::INSTALL_TIME_MAX,
        )
    })
}

/// Whether what was installed is what is listed now.
fn is_installed(lists: &[&str], source: &Path, folder: &Path) -> bool {
    lists.iter().all(|list| {
        let wanted = fs::read(source.join(list)).ok();
        wanted.is_some() && wanted == fs::read(folder.join(list)).ok()
    })
}

fn install(lists: &[&str], source: &Path, folder: &Path, run: impl FnOnce() -> Result<()>) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let copies: Vec<PathBuf> = lists.iter().map(|list| folder.join(list)).collect();
    for (list, copy) in lists.iter().zip(&copies) {
        fs::copy(source.join(list), copy).with_context(|| format!("copying {list}"))?;
    }
    let installed = run();
    if installed.is_err() {
        // What is half installed must not look installed to the next run.
        let _ = copies.last().map(fs::remove_file);
    }
    installed
}
