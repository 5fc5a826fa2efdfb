//! Installs programs of the system that tests are held against and nobody here wrote: minisign, and a registry.

use std::process::Command;

use anyhow::{Result, bail};

use crate::debian::apt_install;

/// Each program, which is a package of Debian of the same name, and what it is for.
const PROGRAMS: [(&str, &str); 2] = [
    ("minisign", "the program whose format signatures of components have"),
    ("docker-registry", "a registry that components are pushed to"),
];

/// Installs what is missing, by apt-get where there is one and this is root.
pub(crate) fn programs() -> Result<()> {
    let missing: Vec<&(&str, &str)> = PROGRAMS.iter().filter(|(program, _)| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for (program, what) in &missing {
        println!("tests need {program}, {what}");
    }
    let names: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let installed = apt_install(&names);
    if installed.is_err() || !names.iter().all(|name| is_there(name)) {
        bail!("tests need {0}: as root, apt-get install -y {0}", names.join(" "));
    }
    Ok(())
}

fn is_there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output();
    found.is_ok_and(|found| found.status.success())
}
