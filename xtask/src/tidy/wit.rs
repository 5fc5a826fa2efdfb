//! The pinned packages of WASI are what they were when they were pinned.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::guests::{files, hex};

const FOLDER: &str = "wit";
const SUMS: &str = "wit/deps.sha256";

/// Names each file that differs from its checksum, is missing, or has none.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let sums = fs::read_to_string(root.join(SUMS)).with_context(|| format!("reading {SUMS}"))?;
    Ok(differences(&parse(&sums), &actual(root)?))
}

/// Writes the checksums of the files as they are.
pub(super) fn update(root: &Path) -> Result<()> {
    let lines: String = actual(root)?.iter().map(|(file, sum)| format!("{sum}  {file}\n")).collect();
    fs::write(root.join(SUMS), lines).with_context(|| format!("writing {SUMS}"))?;
    println!("{SUMS} is written: read what changed in wit/deps before you commit it");
    Ok(())
}

/// Reads what `sha256sum` writes: a file may also be checked without us, by `sha256sum --check`.
fn parse(sums: &str) -> BTreeMap<String, String> {
    let pairs = sums.lines().filter_map(|line| line.split_once("  "));
    pairs.map(|(sum, file)| (file.to_owned(), sum.to_owned())).collect()
}

fn actual(root: &Path) -> Result<BTreeMap<String, String>> {
    let base = root.join(FOLDER);
    let mut sums = BTreeMap::new();
    for file in files(&base.join("deps"))? {
        let name = file.strip_prefix(&base)?.to_string_lossy().into_owned();
        sums.insert(name, hex(&Sha256::digest(fs::read(&file)?)));
    }
    Ok(sums)
}

fn differences(pinned: &BTreeMap<String, String>, actual: &BTreeMap<String, String>) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, sum) in pinned {
        match actual.get(file) {
            Some(found) if found == sum => {}
            Some(_) => {
                broken.push(format!("wit/{file}: differs from its pinned checksum (see wit/README.md)"))
            }
            None => broken.push(format!("wit/{file}: pinned in {SUMS}, but missing")),
        }
    }
    let unpinned = actual.keys().filter(|file| !pinned.contains_key(*file));
    broken.extend(unpinned.map(|file| format!("wit/{file}: not pinned in {SUMS}")));
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_named() {
        let pinned = parse("aa  deps/a.wit\nbb  deps/b.wit\ncc  deps/c.wit\n");
        let actual = [("deps/a.wit", "aa"), ("deps/b.wit", "xx"), ("deps/d.wit", "dd")];
        let actual = actual.map(|(file, sum)| (file.to_owned(), sum.to_owned())).into();
        let broken = differences(&pinned, &actual);
        assert_eq!(broken.len(), 3, "{broken:?}");
        assert!(broken[0].contains("b.wit") && broken[1].contains("missing") && broken[2].contains("d.wit"));
        assert_eq!(differences(&pinned, &pinned), [""; 0]);
    }
}
