//! Packages of Debian: whether they can be installed, and installing them.

use std::process::Command;

use anyhow::Result;

use crate::process;

/// Whether packages can be installed: this is a Debian, and we may.
pub(crate) fn apt_works() -> bool {
    let root = process::ask(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    root && process::ask(Command::new("apt-get").arg("--version")).is_some()
}

/// Installs Debian's packages, and names them first.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    println!("installing Debian's {}", packages.join(", "));
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        process::run(&mut command, process::INSTALL_TIME_MAX)
    };
    apt_get(&["update", "-qq"])?;
    apt_get(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat())
}
