//! C, by clang with a library for WASI; a linker of Rust's makes the component.

use std::path::{Path, PathBuf};

use super::rust::{DEBIAN_WASI_LIBC, link_names, linkers};
use super::{BuildError, Job};

const TARGET: &str = "--target=wasm32-wasi";

const MISSING: &str = "\
C needs clang with a library for WASI, and a Rust toolchain by rustup (https://rustup.rs), whose linker makes components.
  on Debian 12: apt-get install -y --no-install-recommends clang libclang-rt-dev-wasm32 wasi-libc";

pub(super) fn build(job: &Job<'_>) -> Result<(PathBuf, String), BuildError> {
    let programs = &job.programs;
    let missing = || BuildError::NoToolchain(MISSING.to_owned());
    let clang = programs.find("clang").ok_or_else(missing)?;
    let version = programs.ask(programs.command(&clang).arg("--version")).ok_or_else(missing)?;
    let version = version.lines().next().unwrap_or_default().to_owned();
    let builtins = programs.ask(programs.command(&clang).args([TARGET, "-print-libgcc-file-name"]));
    let builtins = builtins.map(PathBuf::from).filter(|path| path.is_file()).ok_or_else(missing)?;
    let libc = Path::new(DEBIAN_WASI_LIBC);
    if !libc.join("libc.a").is_file() {
        return Err(missing());
    }
    let linkers = linkers(programs).ok_or_else(missing)?;
    let mut objects = Vec::new();
    for (index, source) in sources(job)?.iter().enumerate() {
        let object = job.scratch.join(format!("{index}.o"));
        let mut compile = programs.command(&clang);
        compile
            .args([TARGET, "--sysroot=/usr", "-I/usr/include/wasm32-wasi", "-O2", "-Wall", "-Wextra", "-c"])
            .arg(job.folder.join(source))
            .arg("-o")
            .arg(&object)
            .current_dir(job.folder);
        programs.run(&mut compile, &[])?;
        objects.push(object);
    }
    let output = job.scratch.join("c.wasm");
    let names = link_names(&linkers, job.scratch)?;
    let mut link = programs.command(linkers.join("wasm-component-ld"));
    link.arg("--wasm-ld-path").arg(names.join("wasm-ld"));
    link.arg("--component-type").arg(job.folder.join(&job.settings.wit).join("world.wit"));
    // It has no `main`: its functions are called, and the C library is started before the first.
    link.args(["--wasi-adapter", "reactor", "--no-entry", "--strip-all"]);
    link.arg(format!("-L{DEBIAN_WASI_LIBC}")).arg(libc.join("crt1-reactor.o"));
    link.args(objects).arg("-lc").arg(builtins).arg("-o").arg(&output);
    programs.run(&mut link, &[])?;
    Ok((output, version))
}

/// Those that are named, else all of the project's folder.
fn sources(job: &Job<'_>) -> Result<Vec<String>, BuildError> {
    if !job.settings.sources.is_empty() {
        return Ok(job.settings.sources.clone());
    }
    let failed = |source| BuildError::File { path: job.folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(job.folder).map_err(failed)?.take(10_000) {
        let name = entry.map_err(failed)?.file_name();
        found.extend(
            name.to_str()
                .filter(|name| name.ends_with(".c") && !name.starts_with(['.', '-']))
                .map(str::to_owned),
        );
    }
    found.sort();
    if found.is_empty() {
        return Err(BuildError::NotAComponent("there is no .c file in the project's folder".to_owned()));
    }
    Ok(found)
}
