//! Finds a way to build Rust for `wasm32-wasip2`.
//!
//! There are two: rustup's target, where it can be downloaded; and Debian's packages, from whose
//! sources cargo builds the standard library, where only package registries can be reached.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::{apt_install, apt_works};
use crate::process;

const TARGET: &str = "wasm32-wasip2";
/// What Debian calls a current rustc, its cargo, the sources of its standard library, and the C
/// library for WASI that std is linked with.
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
pub(super) const DEBIAN_WASI_LIBC: &str = "/usr/lib/wasm32-wasi";
/// What links: both come with every rustup toolchain, for its own host.
const LINKERS: [&str; 2] = ["rust-lld", "wasm-component-ld"];

/// A way to build a guest.
#[derive(Debug)]
pub(crate) enum Way {
    /// The target is installed for the compiler in the path.
    Installed {
        /// What that compiler calls itself.
        version: String,
    },
    /// The standard library is built from Debian's sources.
    Debian {
        /// What Debian's compiler calls itself.
        version: String,
        /// The folder with the linkers.
        linkers: PathBuf,
    },
}

/// Finds a way among what is installed.
pub(crate) fn detect() -> Option<Way> {
    installed().or_else(debian)
}

/// Installs Debian's packages if this is a Debian and we may, else says what to do.
pub(crate) fn install() -> Result<Way> {
    let ways = format!(
        "Rust can't be built for {TARGET} here. Either of these helps:\n  \
         1. rustup target add {TARGET}\n  \
         2. on Debian 12: apt-get install -y --no-install-recommends {}",
        DEBIAN_PACKAGES.join(" ")
    );
    if !apt_works() {
        bail!("{ways}");
    }
    println!("{TARGET} is not installed");
    apt_install(&DEBIAN_PACKAGES).context(ways.clone())?;
    debian().context(format!("the packages are installed, but of no use.\n{ways}"))
}

fn installed() -> Option<Way> {
    let library =
        process::ask(process::clean("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    let version = process::ask(process::clean("rustc").arg("--version"))?;
    Path::new(&library).is_dir().then_some(Way::Installed { version })
}

fn debian() -> Option<Way> {
    let sysroot = process::ask(process::clean(DEBIAN_RUSTC).args(["--print", "sysroot"]))?;
    let sources = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    let libc = Path::new(DEBIAN_WASI_LIBC).join("libc.a");
    if !sources.is_file() || !libc.is_file() || !Path::new(DEBIAN_CARGO).is_file() {
        return None;
    }
    let version = process::ask(process::clean(DEBIAN_RUSTC).arg("--version"))?;
    Some(Way::Debian { version, linkers: linkers()? })
}

/// The folder of linkers of the toolchain in the path.
pub(super) fn linkers() -> Option<PathBuf> {
    let sysroot = process::ask(process::clean("rustc").args(["--print", "sysroot"]))?;
    let version = process::ask(process::clean("rustc").args(["--version", "--verbose"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
    let folder = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin");
    LINKERS.iter().all(|name| folder.join(name).is_file()).then_some(folder)
}

impl Way {
    /// One line for people, and for the cache.
    pub(crate) fn describe(&self) -> String {
        match self {
            Way::Installed { version } => format!("{version}, whose {TARGET} is installed"),
            Way::Debian { version, .. } => format!("Debian's {version}, building std from its sources"),
        }
    }

    /// The command that builds all guests of a workspace.
    pub(crate) fn build(&self, workspace: &Path, build: &Path) -> Result<Command> {
        let mut command = self.cargo(workspace, build)?;
        command.args(["build", "--release", "--locked", "--workspace", "--target", TARGET]);
        Ok(command)
    }

    /// The command that builds one package, and tells the linker more.
    pub(crate) fn build_linked(&self, package: &Path, build: &Path, arguments: &[&str]) -> Result<Command> {
        let mut command = self.cargo(package, build)?;
        command.args(["rustc", "--quiet", "--release", "--locked", "--target", TARGET, "--"]);
        command.args(arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
        Ok(command)
    }

    /// What the linker has to be told of a program, as opposed to a library.
    pub(crate) fn of_programs(&self) -> Vec<String> {
        match self {
            Way::Installed { .. } => Vec::new(),
            // Without its own C library, rustc does not name what begins a program.
            Way::Debian { .. } => vec![format!("{DEBIAN_WASI_LIBC}/crt1-command.o")],
        }
    }

    fn cargo(&self, workspace: &Path, build: &Path) -> Result<Command> {
        let mut command = match self {
            Way::Installed { .. } => process::clean("cargo"),
            Way::Debian { linkers, .. } => {
                let mut command = process::clean(DEBIAN_CARGO);
                let mut path = vec![link_names(linkers, build)?, PathBuf::from("/usr/bin")];
                path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
                command
                    .arg("-Zbuild-std=std,panic_abort")
                    .env("PATH", std::env::join_paths(path)?)
                    .env("RUSTC", DEBIAN_RUSTC)
                    // Its only use: -Zbuild-std, which a stable compiler would refuse.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTFLAGS", format!("-C link-self-contained=no -L native={DEBIAN_WASI_LIBC}"));
                command
            }
        };
        command.env("CARGO_TARGET_DIR", build).current_dir(workspace);
        Ok(command)
    }

    /// Where that command puts a guest.
    pub(crate) fn artifact(&self, build: &Path, name: &str) -> PathBuf {
        build.join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")))
    }
}

/// A folder with the linkers under each name that they are called by.
pub(super) fn link_names(linkers: &Path, build: &Path) -> Result<PathBuf> {
    let folder = build.join("bin");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for (name, linker) in [("rust-lld", LINKERS[0]), ("wasm-ld", LINKERS[0]), (LINKERS[1], LINKERS[1])] {
        let link = folder.join(name);
        // There may be one of an earlier toolchain, or none.
        let _ = fs::remove_file(&link);
        symlink(linkers.join(linker), &link).with_context(|| format!("linking {}", link.display()))?;
    }
    Ok(folder)
}
