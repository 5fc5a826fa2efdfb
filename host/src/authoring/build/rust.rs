//! Rust, by cargo, for `wasm32-wasip2`: with rustup's target, or with Debian's compiler and its sources of std.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::process::Programs;
use super::{BuildError, Job};

const TARGET: &str = "wasm32-wasip2";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// Debian's C library for WASI.
pub(super) const DEBIAN_WASI_LIBC: &str = "/usr/lib/wasm32-wasi";
/// What links: both come with every rustup toolchain, for its own host.
const LINKERS: [&str; 2] = ["rust-lld", "wasm-component-ld"];

const MISSING: &str = "\
Rust can't be built for wasm32-wasip2 here. One of these helps:
  1. with rustup (https://rustup.rs): rustup target add wasm32-wasip2
  2. on Debian 12, with a rustup toolchain for its linkers:
     apt-get install -y --no-install-recommends rustc-web cargo-web rust-web-src wasi-libc";

pub(super) fn build(job: &Job<'_>) -> Result<(PathBuf, String), BuildError> {
    let programs = &job.programs;
    let (mut cargo, built_with) = if let Some(version) = installed(programs) {
        (programs.command("cargo"), version)
    } else if let Some((version, linkers)) = debian(programs) {
        (debian_cargo(programs, &linkers, job.scratch)?, format!("{version}, std from its sources"))
    } else {
        return Err(BuildError::NoToolchain(MISSING.to_owned()));
    };
    cargo
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .current_dir(job.folder);
    let wrote = programs.run(&mut cargo, &[])?;
    match artifact(&wrote.stdout, job.manifest.name.as_str(), &job.folder.join("Cargo.toml")) {
        Some(path) => Ok((path, built_with)),
        None => Err(BuildError::NotAComponent(
            "cargo made no .wasm: Cargo.toml needs [lib] with crate-type = [\"cdylib\"]".to_owned(),
        )),
    }
}

/// The component among the lines that cargo wrote: that of the package in the folder, of several the one of its name.
fn artifact(lines: &[u8], name: &str, manifest: &Path) -> Option<PathBuf> {
    let mut found = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
        if line["reason"] != "compiler-artifact"
            || line["manifest_path"].as_str().map(Path::new) != Some(manifest)
        {
            continue;
        }
        let files = line["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        found.extend(files.filter(|file| file.ends_with(".wasm")).map(PathBuf::from));
    }
    let file = format!("{}.wasm", name.replace('-', "_"));
    let of_name = found.iter().position(|path| path.file_name().is_some_and(|found| *found == *file));
    if found.is_empty() { None } else { Some(found.swap_remove(of_name.unwrap_or(0))) }
}

/// The version of the compiler in the path, if the target is installed for it.
fn installed(programs: &Programs<'_>) -> Option<String> {
    programs.find("cargo")?;
    let folder =
        programs.ask(programs.command("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    if !Path::new(&folder).is_dir() {
        return None;
    }
    programs.ask(programs.command("rustc").arg("--version"))
}

/// Debian's compiler with its sources, and the linkers of a rustup toolchain.
fn debian(programs: &Programs<'_>) -> Option<(String, PathBuf)> {
    let sysroot = programs.ask(programs.command(DEBIAN_RUSTC).args(["--print", "sysroot"]))?;
    let sources = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    let libc = Path::new(DEBIAN_WASI_LIBC).join("libc.a");
    if !sources.is_file() || !libc.is_file() || !Path::new(DEBIAN_CARGO).is_file() {
        return None;
    }
    Some((programs.ask(programs.command(DEBIAN_RUSTC).arg("--version"))?, linkers(programs)?))
}

/// The folder of linkers of the toolchain in the path.
pub(super) fn linkers(programs: &Programs<'_>) -> Option<PathBuf> {
    programs.find("rustc")?;
    let sysroot = programs.ask(programs.command("rustc").args(["--print", "sysroot"]))?;
    let version = programs.ask(programs.command("rustc").args(["--version", "--verbose"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
    let folder = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin");
    LINKERS.iter().all(|name| folder.join(name).is_file()).then_some(folder)
}

fn debian_cargo(programs: &Programs<'_>, linkers: &Path, scratch: &Path) -> Result<Command, BuildError> {
    let path = programs.path_after([link_names(linkers, scratch)?, PathBuf::from("/usr/bin")]);
    let mut cargo = programs.command(DEBIAN_CARGO);
    cargo
        .arg("-Zbuild-std=std,panic_abort")
        .env("PATH", path)
        .env("RUSTC", DEBIAN_RUSTC)
        // Its only use: -Zbuild-std, which a stable compiler would refuse.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", format!("-C link-self-contained=no -L native={DEBIAN_WASI_LIBC}"));
    Ok(cargo)
}

/// A folder with the linkers under each name that they are called by.
pub(super) fn link_names(linkers: &Path, scratch: &Path) -> Result<PathBuf, BuildError> {
    let folder = scratch.join("bin");
    let failed = |source| BuildError::File { path: folder.clone(), source };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for (name, linker) in [("rust-lld", LINKERS[0]), ("wasm-ld", LINKERS[0]), (LINKERS[1], LINKERS[1])] {
        symlink(linkers.join(linker), folder.join(name)).map_err(failed)?;
    }
    Ok(folder)
}
