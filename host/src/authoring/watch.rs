//! Whether a project's sources changed, by looking: names, lengths and times of its files, several times a second.
//!
//! Not by the notices of the operating system: a project has some dozens of files, to look at them costs less than a
//! millisecond, and it sees what network file systems and editors that replace files do (decision 026).

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Folders that builds and editors write, and that are no sources. Those whose names begin with a dot aren't either.
const NOT_SOURCES: [&str; 3] = ["target", "node_modules", "__pycache__"];
/// What stands at the top of a project and does not become part of its component.
const BESIDE: [&str; 2] = ["tests", GRANTS];
/// For whoever tries the tool.
const GRANTS: &str = "grants.toml";
/// The most entries that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// How a project's files were when they were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What its component is made of.
    pub sources: Vec<(PathBuf, u64, Option<SystemTime>)>,
    /// The grant for trying it, if it has one.
    pub grants: Option<(u64, Option<SystemTime>)>,
}

impl Seen {
    /// Looks. Links are taken for what they are, and not followed.
    ///
    /// # Errors
    /// If a folder can't be read, or there are more than 10,000 entries.
    pub fn look(folder: &Path) -> io::Result<Self> {
        let mut seen = Self::default();
        let mut folders = vec![folder.to_owned()];
        while let Some(inner) = folders.pop() {
            for entry in std::fs::read_dir(&inner)? {
                let entry = entry?;
                let (name, path) = (entry.file_name(), entry.path());
                let is_top = inner == folder;
                let text = name.to_string_lossy();
                let is_beside = is_top && BESIDE.iter().any(|beside| *text == **beside);
                // One that is gone since the folder was read is not there any more.
                let Ok(metadata) = entry.metadata() else { continue };
                if is_top && *text == *GRANTS {
                    seen.grants = Some((metadata.len(), metadata.modified().ok()));
                }
                if is_beside || is_no_source(&text) {
                    continue;
                }
                if metadata.is_dir() {
                    folders.push(path);
                } else {
                    seen.sources.push((path, metadata.len(), metadata.modified().ok()));
                }
                if seen.sources.len() + folders.len() > ENTRIES_MAX {
                    let reason = format!("{} has more than {ENTRIES_MAX} files", folder.display());
                    return Err(io::Error::other(reason));
                }
            }
        }
        seen.sources.sort();
        Ok(seen)
    }
}

fn is_no_source(name: &str) -> bool {
    NOT_SOURCES.contains(&name) || name.starts_with('.') || name.ends_with(".wasm") || name.ends_with('~')
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_source_that_changes_comes_or_goes_is_seen_and_what_builds_write_is_not() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = temporary.path();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            let mut file = std::fs::File::create(path).expect("made");
            file.write_all(text.as_bytes()).expect("written");
        };
        write("src/lib.rs", "one");
        let first = Seen::look(folder).expect("seen");
        for name in ["target/a", "a.wasm", ".git/a", "node_modules/b/c.js", "tests/a.toml", "src/lib.rs~"] {
            write(name, "new");
            assert_eq!(Seen::look(folder).expect("seen"), first, "{name}");
        }
        write("src/lib.rs", "three");
        let changed = Seen::look(folder).expect("seen");
        assert_ne!(changed, first);
        write("grants.toml", "");
        let granted = Seen::look(folder).expect("seen");
        assert_eq!(granted.sources, changed.sources);
        assert_ne!(granted.grants, changed.grants);
        write("wit/tests/new.wit", "");
        let more = Seen::look(folder).expect("seen");
        assert_ne!(more.sources, changed.sources);
        std::fs::remove_file(folder.join("wit/tests/new.wit")).expect("removed");
        assert_eq!(Seen::look(folder).expect("seen"), granted);
        assert!(Seen::look(&folder.join("none")).is_err());
    }
}
