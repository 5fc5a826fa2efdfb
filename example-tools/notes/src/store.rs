//! A folder of notes, one `NAME.txt` each. Knows nothing of components.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;

/// The longest text of a note, in bytes.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
const NAME_CHARS_MAX: usize = 64;
const HITS_MAX: usize = 100;
const SNIPPET_CHARS_MAX: usize = 160;
const TITLE_CHARS_MAX: usize = 80;
const SUFFIX: &str = ".txt";

/// Why nothing came of it.
#[derive(Debug)]
pub enum Problem {
    InvalidName(String),
    NotFound(String),
    Exists(String),
    TooLong(u64),
    Storage(io::Error),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub bytes: u64,
    pub title: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Hit {
    pub name: String,
    pub line: u32,
    pub snippet: String,
}

/// The notes of one folder.
pub struct Notebook {
    folder: PathBuf,
}

impl Notebook {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Keeps a note. A note that is not wholly written is not kept: the file is written under
    /// another name first.
    pub fn add(&self, name: &str, text: &str, replace: bool) -> Result<Entry, Problem> {
        let path = self.path(name)?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(Problem::TooLong(text.len() as u64));
        }
        if !replace && fs::exists(&path).map_err(Problem::Storage)? {
            return Err(Problem::Exists(name.to_owned()));
        }
        let draft = self.folder.join(format!("{name}.draft"));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&draft)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&draft, &path));
        if let Err(error) = written {
            // The draft may not even exist; what counts is the first error.
            let _ = fs::remove_file(&draft);
            return Err(Problem::Storage(error));
        }
        Ok(entry(name, text))
    }

    pub fn get(&self, name: &str) -> Result<String, Problem> {
        let path = self.path(name)?;
        let mut text = String::new();
        let file = fs::File::open(path).map_err(|error| missing(name, error))?;
        file.take(TEXT_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(Problem::Storage)?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(Problem::TooLong(text.len() as u64));
        }
        Ok(text)
    }

    pub fn list(&self) -> Result<Vec<Entry>, Problem> {
        self.names()?.iter().map(|name| Ok(entry(name, &self.get(name)?))).collect()
    }

    pub fn search(&self, text: &str) -> Result<Vec<Hit>, Problem> {
        let wanted = text.to_lowercase();
        let mut hits = Vec::new();
        if wanted.trim().is_empty() {
            return Ok(hits);
        }
        for name in self.names()? {
            for (index, line) in self.get(&name)?.lines().enumerate() {
                if let Some(snippet) = snippet(line, &wanted) {
                    let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
                    hits.push(Hit { name: name.clone(), line, snippet });
                    if hits.len() == HITS_MAX {
                        return Ok(hits);
                    }
                }
            }
        }
        Ok(hits)
    }

    pub fn delete(&self, name: &str) -> Result<(), Problem> {
        fs::remove_file(self.path(name)?).map_err(|error| missing(name, error))
    }

    /// The names of all notes, in their order. Files that we did not make are not listed.
    fn names(&self) -> Result<Vec<String>, Problem> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(Problem::Storage)? {
            let file = file.map_err(Problem::Storage)?;
            let file_name = file.file_name();
            if let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(SUFFIX))
                && check(name).is_ok()
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &str) -> Result<PathBuf, Problem> {
        check(name).map_err(|why| Problem::InvalidName(format!("{name:?} {why}")))?;
        Ok(self.folder.join(format!("{name}{SUFFIX}")))
    }
}

/// Says what is wrong with a name. One that passes is a file name everywhere, and the same file
/// on disks that fold case.
fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Err("is longer than 64 characters");
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_') {
        return Err("has characters other than a to z, 0 to 9, `-` and `_`");
    }
    Ok(())
}

fn missing(name: &str, error: io::Error) -> Problem {
    if error.kind() == ErrorKind::NotFound {
        Problem::NotFound(name.to_owned())
    } else {
        Problem::Storage(error)
    }
}

fn entry(name: &str, text: &str) -> Entry {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let title = first.chars().take(TITLE_CHARS_MAX).collect();
    Entry { name: name.to_owned(), bytes: text.len() as u64, title }
}

/// The part of `line` around `wanted` (in lower case), or `None` if it is not there.
fn snippet(line: &str, wanted: &str) -> Option<String> {
    let lower = line.to_lowercase();
    let at = lower.find(wanted)?;
    // Lower case may have other lengths than the line itself, so places are counted in characters.
    let start = lower[..at].chars().count();
    let length = wanted.chars().count();
    let before = SNIPPET_CHARS_MAX.saturating_sub(length) / 2;
    Some(line.chars().skip(start.saturating_sub(before)).take(SNIPPET_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for each test, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("notes-{}-{test}", std::process::id()));
            fs::create_dir_all(&path).expect("the temporary folder can be written");
            Self(path)
        }

        fn notebook(&self) -> Notebook {
            Notebook::new(&self.0)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_note_is_kept_listed_replaced_and_deleted() {
        let folder = Folder::new("kept");
        let notes = folder.notebook();
        let added = notes.add("shopping", "\n  Milk \nBread\n", false).expect("new");
        assert_eq!(added, Entry { name: "shopping".into(), bytes: 15, title: "Milk".into() });
        assert!(matches!(notes.add("shopping", "x", false), Err(Problem::Exists(_))));
        notes.add("shopping", "Eggs", true).expect("may be replaced");
        assert_eq!(notes.get("shopping").expect("kept"), "Eggs");
        fs::write(folder.0.join("Other.txt"), "not ours").expect("written");
        let names: Vec<String> = notes.list().expect("listed").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["shopping"]);
        notes.delete("shopping").expect("was there");
        assert!(matches!(notes.delete("shopping"), Err(Problem::NotFound(_))));
        assert!(matches!(notes.get("shopping"), Err(Problem::NotFound(_))));
    }

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        let folder = Folder::new("names");
        let notes = folder.notebook();
        for bad in ["", "..", "../x", "a/b", "a\\b", "A", "a.b", "a\0", "ä", &"a".repeat(65)] {
            assert!(matches!(notes.add(bad, "x", true), Err(Problem::InvalidName(_))), "{bad:?}");
            assert!(matches!(notes.get(bad), Err(Problem::InvalidName(_))), "{bad:?}");
            assert!(matches!(notes.delete(bad), Err(Problem::InvalidName(_))), "{bad:?}");
        }
        assert!(notes.add(&"a".repeat(64), "x", false).is_ok());
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert!(matches!(notes.add("long", &long, false), Err(Problem::TooLong(_))));
        assert!(notes.add("long", &long[1..], false).is_ok());
    }

    #[test]
    fn search_ignores_case_and_shows_the_place() {
        let folder = Folder::new("search");
        let notes = folder.notebook();
        notes.add("a", "nothing\nThe ÜBER word", false).expect("new");
        notes.add("b", &format!("{}needle{}", "x".repeat(500), "y".repeat(500)), false).expect("new");
        let hits = notes.search("über").expect("searched");
        assert_eq!(hits, [Hit { name: "a".into(), line: 2, snippet: "The ÜBER word".into() }]);
        let hits = notes.search("NEEDLE").expect("searched");
        assert_eq!(hits.len(), 1);
        assert!(hits[0].snippet.contains("needle") && hits[0].snippet.chars().count() == SNIPPET_CHARS_MAX);
        assert_eq!(notes.search(" ").expect("searched"), []);
        notes.add("many", &"word\n".repeat(300), false).expect("new");
        assert_eq!(notes.search("word").expect("searched").len(), HITS_MAX);
    }
}
