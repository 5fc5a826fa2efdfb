//! Whether a built guest still fits its sources.
//!
//! `target/guests/SET.stamp` holds the hash of the sources and what they were built with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Folders that hold what a build made, or a guest that is a set of its own.
const NOT_SOURCES: [&str; 7] =
    ["target", "__pycache__", "python", "javascript", "c", "echo-python", "echo-javascript"];

/// The hash of some sources.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sources(String);

impl Sources {
    /// Hashes names and contents of all files in some folders.
    pub(crate) fn read(folders: &[&Path]) -> Result<Self> {
        let mut hash = Sha256::new();
        for folder in folders {
            for file in files(folder)? {
                let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
                let name = file.strip_prefix(folder)?.to_string_lossy().into_owned();
                // Lengths first, so that no two sets of files hash the same text.
                hash.update(format!("{} {} {name}", name.len(), bytes.len()));
                hash.update(bytes);
            }
        }
        Ok(Self(hex(&hash.finalize())))
    }
}

/// All files below a folder, in the order of their names.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .collect::<std::io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() && !NOT_SOURCES.iter().any(|name| entry.file_name() == *name) {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `names` were built with, if they are there and were built from these sources.
pub(crate) fn fitting(guests: &Path, set: &str, sources: &Sources, names: &[String]) -> Option<String> {
    let stamp = fs::read_to_string(stamp_file(guests, set)).ok()?;
    let (hash, built_with) = stamp.trim_end().split_once('\n')?;
    let all_there = names.iter().all(|name| guests.join(format!("{name}.wasm")).is_file());
    (hash == sources.0 && all_there).then(|| built_with.to_owned())
}

/// Remembers that a set was built from these sources.
pub(crate) fn stamp(guests: &Path, set: &str, sources: &Sources, built_with: &str) -> Result<()> {
    let file = stamp_file(guests, set);
    fs::write(&file, format!("{}\n{built_with}\n", sources.0))
        .with_context(|| format!("writing {}", file.display()))
}

fn stamp_file(guests: &Path, set: &str) -> PathBuf {
    guests.join(format!("{}.stamp", set.replace('/', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_built_from_these_sources_fits() {
        let folder = std::env::temp_dir().join(format!("xtask-cache-{}", std::process::id()));
        let (source, guests) = (folder.join("source"), folder.join("guests"));
        fs::create_dir_all(source.join("target")).expect("made");
        fs::create_dir_all(&guests).expect("made");
        fs::write(source.join("a"), "one").expect("written");
        let names = ["x".to_owned()];

        let first = Sources::read(&[&source]).expect("read");
        stamp(&guests, "a/set", &first, "a compiler").expect("written");
        assert_eq!(fitting(&guests, "a/set", &first, &names), None, "the guest is not there");
        fs::write(guests.join("x.wasm"), "").expect("written");
        assert_eq!(fitting(&guests, "a/set", &first, &names).as_deref(), Some("a compiler"));

        fs::write(source.join("target/built"), "not a source").expect("written");
        assert_eq!(Sources::read(&[&source]).expect("read"), first);
        fs::write(source.join("a"), "two").expect("written");
        let second = Sources::read(&[&source]).expect("read");
        assert_eq!(fitting(&guests, "a/set", &second, &names), None, "the sources changed");
        fs::remove_dir_all(folder).expect("removed");
    }
}
