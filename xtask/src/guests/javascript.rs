//! Builds the JavaScript guest with componentize-js, which npm installs into a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::process;

/// What `npm ci` installs by: exact versions, with the hash of each package.
const LOCK: [&str; 2] = ["package.json", "package-lock.json"];
/// The packages of WASI that the guest imports by name, and those that they need.
const WIT_PACKAGES: [&str; 3] = ["io", "clocks", "filesystem"];
/// What Debian calls them.
const DEBIAN_PACKAGES: [&str; 2] = ["nodejs", "npm"];

/// An installed componentize-js.
#[derive(Debug)]
pub(crate) struct Componentize {
    folder: PathBuf,
    version: String,
}

/// Finds componentize-js in `folder`, or has npm install it there by the guest's lock file.
pub(crate) fn componentize(folder: &Path, source: &Path) -> Result<Componentize> {
    let node = node_version()?;
    let installed = LOCK.iter().all(|name| {
        let wanted = fs::read(source.join(name)).ok();
        wanted.is_some() && wanted == fs::read(folder.join(name)).ok()
    });
    if !installed {
        install(folder, source)?;
    }
    let package = fs::read_to_string(
        folder.join("node_modules/@bytecodealliance/componentize-js").join("package.json"),
    );
    let package: serde_json::Value = serde_json::from_str(&package.context("componentize-js is missing")?)?;
    let version = package["version"].as_str().context("componentize-js has no version")?;
    Ok(Componentize { folder: folder.to_owned(), version: format!("componentize-js {version}, node {node}") })
}

fn node_version() -> Result<String> {
    let version = || {
        process::ask(Command::new("npm").arg("--version"))?;
        process::ask(Command::new("node").arg("--version"))
    };
    if let Some(version) = version() {
        return Ok(version);
    }
    let ways = format!(
        "the JavaScript guest needs node (18 or later) with npm.\n  \
         on Debian 12: apt-get install -y {}",
        DEBIAN_PACKAGES.join(" ")
    );
    if !debian::apt_works() {
        bail!("{ways}");
    }
    debian::apt_install(&DEBIAN_PACKAGES).context(ways.clone())?;
    version().context(ways)
}

fn install(folder: &Path, source: &Path) -> Result<()> {
    println!("installing componentize-js from npm into {}", folder.display());
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let copy = |name: &str| {
        fs::copy(source.join(name), folder.join(name)).with_context(|| format!("copying {name}"))
    };
    let [package, lock] = LOCK;
    copy(package)?;
    copy(lock)?;
    let installed = process::run(
        // Scripts of packages are not run: nothing that is needed has one.
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
            .arg(folder),
        process::INSTALL_TIME_MAX,
    );
    if installed.is_err() {
        // What is half installed must not look installed to the next run.
        let _ = fs::remove_file(folder.join(lock));
    }
    installed.context("componentize-js comes from the npm registry")
}

impl Componentize {
    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        self.version.clone()
    }

    /// The command that builds the guest of a world; `builder` is the folder with the program that does.
    pub(crate) fn build(
        &self,
        world: &str,
        wit: &Path,
        builder: &Path,
        source: &Path,
        wanted: &Path,
    ) -> Command {
        let mut command = Command::new("node");
        command
            .arg(builder.join("build.mjs"))
            .arg(self.folder.join("node_modules"))
            .arg(source.join("tool.js"))
            .arg(wit)
            .arg(wanted)
            .arg(world);
        command
    }

    /// The command that builds what `portcullis new --kind sdk` would have made, by the script that `portcullis build` uses.
    pub(crate) fn build_project(
        &self,
        script: &Path,
        project: &Path,
        disabled: &str,
        wanted: &Path,
    ) -> Command {
        let mut command = Command::new("node");
        command
            .arg(script)
            .arg(self.folder.join("node_modules"))
            .arg(project.join("tool.js"))
            .arg(project.join("wit"))
            .args(["tool", disabled])
            .arg(wanted)
            .current_dir(project);
        command
    }

    /// The guest's WIT with what it imports beside it, as tools look for it.
    pub(crate) fn stage_wit(&self, wit: &Path, source: &Path) -> Result<PathBuf> {
        let staged = self.folder.join("wit");
        let copy = |from: PathBuf, to: PathBuf| -> Result<()> {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
            Ok(())
        };
        copy(source.join("wit/world.wit"), staged.join("world.wit"))?;
        for package in WIT_PACKAGES {
            let file = Path::new("deps").join(package).join("package.wit");
            copy(wit.join(&file), staged.join(&file))?;
        }
        Ok(staged)
    }
}
