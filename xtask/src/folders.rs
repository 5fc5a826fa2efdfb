//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders that chores read and write.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Cargo's target folder: `target`, or where `CARGO_TARGET_DIR` says.
    pub(crate) target: PathBuf,
}

impl Folders {
    /// Finds them, and sees to it that `target/guests` leads to the guests, wherever cargo builds.
    pub(crate) fn find() -> Result<Self> {
        // At run time, not `env!`: a target folder may be shared by several checkouts.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("xtask/ lies inside the repository")?.to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => std::path::absolute(folder)?,
            None => root.join("target"),
        };
        let folders = Self { root, target };
        folders.link_guests()?;
        Ok(folders)
    }

    /// The built guests.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The host's program.
    pub(crate) fn portcullis(&self) -> PathBuf {
        self.target.join("debug/portcullis")
    }

    fn link_guests(&self) -> Result<()> {
        let real = self.guests();
        std::fs::create_dir_all(&real).with_context(|| format!("making {}", real.display()))?;
        let usual = self.root.join("target/guests");
        if usual.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(self.root.join("target"))?;
        // A dangling link of an earlier run, to a folder that is gone, is replaced.
        let _ = std::fs::remove_file(&usual);
        std::os::unix::fs::symlink(&real, &usual).with_context(|| format!("linking {}", usual.display()))
    }
}
