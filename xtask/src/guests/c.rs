//! Builds the C guest: clang compiles for WASI, and the linker of the Rust toolchain that makes
//! components does so here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::toolchain::{self, DEBIAN_WASI_LIBC};
use crate::debian;
use crate::process;

/// The compiler, what it calls for arithmetic that WebAssembly lacks, and the C library.
const DEBIAN_PACKAGES: [&str; 3] = ["clang", "libclang-rt-dev-wasm32", "wasi-libc"];
const TARGET: &str = "--target=wasm32-wasi";
const SOURCES: [&str; 2] = ["abi.c", "tool.c"];
const WARNINGS: [&str; 3] = ["-Wall", "-Wextra", "-Werror"];

/// A C compiler with a library for WASI.
#[derive(Debug)]
pub(crate) struct Compiler {
    version: String,
    /// Of clang: the arithmetic that WebAssembly lacks.
    builtins: PathBuf,
    /// The folder with the linkers.
    linkers: PathBuf,
}

/// Finds a compiler, or installs Debian's.
pub(crate) fn compiler() -> Result<Compiler> {
    if let Some(compiler) = installed() {
        return Ok(compiler);
    }
    let ways = format!(
        "the C guest needs clang with a library for WASI, and a Rust toolchain by rustup, whose linker it uses.\n  \
         on Debian 12: apt-get install -y --no-install-recommends {}",
        DEBIAN_PACKAGES.join(" ")
    );
    if !debian::apt_works() {
        bail!("{ways}");
    }
    debian::apt_install(&DEBIAN_PACKAGES).context(ways.clone())?;
    installed().context(ways)
}

fn installed() -> Option<Compiler> {
    let version = process::ask(Command::new("clang").arg("--version"))?.lines().next()?.to_owned();
    let builtins: PathBuf =
        process::ask(Command::new("clang").args([TARGET, "-print-libgcc-file-name"]))?.into();
    let libc = Path::new(DEBIAN_WASI_LIBC).join("libc.a");
    let linkers = toolchain::linkers()?;
    (builtins.is_file() && libc.is_file()).then_some(Compiler { version, builtins, linkers })
}

impl Compiler {
    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        self.version.clone()
    }

    /// The commands that build the guest, in their order.
    pub(crate) fn build(&self, source: &Path, build: &Path, wanted: &Path) -> Result<Vec<Command>> {
        let objects = build.join("c");
        std::fs::create_dir_all(&objects).with_context(|| format!("making {}", objects.display()))?;
        let object = |name: &str| objects.join(name).with_extension("o");
        let mut commands = Vec::new();
        for name in SOURCES {
            let mut compile = Command::new("clang");
            compile
                .args([TARGET, "--sysroot=/usr", "-I/usr/include/wasm32-wasi", "-O2", "-c"])
                .args(WARNINGS);
            compile.arg(source.join(name)).arg("-o").arg(object(name));
            commands.push(compile);
        }
        let names = toolchain::link_names(&self.linkers, build)?;
        let mut link = Command::new(self.linkers.join("wasm-component-ld"));
        link.arg("--wasm-ld-path").arg(names.join("wasm-ld"));
        link.arg("--component-type").arg(source.join("wit/world.wit"));
        // It has no `main`: its functions are called, and the C library is started before the first.
        link.args(["--wasi-adapter", "reactor", "--no-entry", "--strip-all"]);
        link.arg(format!("-L{DEBIAN_WASI_LIBC}")).arg(Path::new(DEBIAN_WASI_LIBC).join("crt1-reactor.o"));
        link.args(SOURCES.map(object)).arg("-lc").arg(&self.builtins).arg("-o").arg(wanted);
        commands.push(link);
        Ok(commands)
    }
}
