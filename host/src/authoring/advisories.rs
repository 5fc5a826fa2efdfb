//! Which crates of a component have advisories, by a copy of the RustSec database that an admin has
//! (github.com/RustSec/advisory-db): files of Markdown that begin with TOML. Nothing is fetched.

use std::io;
use std::path::{Path, PathBuf};

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use super::about::Dependency;
use super::files::read_text;
use crate::text::clean_line;

/// The most advisories of one crate that are read, and the most bytes of one.
const PER_CRATE_MAX: usize = 500;
const ADVISORY_BYTES_MAX: usize = 256 << 10;

/// An advisory about a crate that a component was built from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Advisory {
    /// Such as `RUSTSEC-2026-0001`.
    pub id: String,
    /// The crate.
    pub package: String,
    /// The version that was built in.
    pub version: String,
    /// The advisory's heading.
    pub title: String,
    /// `unmaintained`, `unsound` or `notice`; `None` for a vulnerability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub informational: Option<String>,
    /// The versions that are mended.
    pub patched: Vec<String>,
}

/// Why the database can't be read: the admin's to mend. An advisory that can't be read is never passed over.
#[derive(Debug, thiserror::Error)]
pub enum AdvisoriesError {
    /// The folder is not such a database.
    #[error("{} has no folder `crates`: it is not a copy of the RustSec advisory database", .0.display())]
    NotADatabase(PathBuf),
    /// A file can't be read.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, io::Error),
    /// It is not an advisory.
    #[error("{} is not an advisory: {}", .0.display(), .1)]
    Malformed(PathBuf, String),
}

#[derive(Deserialize)]
struct Front {
    advisory: Head,
    versions: Versions,
}

#[derive(Deserialize)]
struct Head {
    id: String,
    package: String,
    #[serde(default)]
    withdrawn: Option<toml::Value>,
    #[serde(default)]
    informational: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Versions {
    patched: Vec<VersionReq>,
    #[serde(default)]
    unaffected: Vec<VersionReq>,
}

/// The advisories about these crates. Only those of crates.io are looked for.
///
/// # Errors
/// [`AdvisoriesError`].
pub fn advisories(folder: &Path, dependencies: &[Dependency]) -> Result<Vec<Advisory>, AdvisoriesError> {
    let crates = folder.join("crates");
    if !crates.is_dir() {
        return Err(AdvisoriesError::NotADatabase(folder.to_owned()));
    }
    let mut found = Vec::new();
    for dependency in dependencies.iter().filter(|one| one.source == "crates.io" && is_name(&one.name)) {
        let Ok(version) = dependency.version.parse::<Version>() else { continue };
        let folder = crates.join(&dependency.name);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(AdvisoriesError::File(folder, error)),
        };
        for (count, entry) in entries.enumerate() {
            let path = entry.map_err(|error| AdvisoriesError::File(folder.clone(), error))?.path();
            if count >= PER_CRATE_MAX {
                let why = format!("the crate has more than {PER_CRATE_MAX} advisories");
                return Err(AdvisoriesError::Malformed(folder, why));
            }
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = read_text(&path, ADVISORY_BYTES_MAX)
                .map_err(|error| AdvisoriesError::File(path.clone(), error))?;
            found.extend(about(&text, &path, dependency, &version)?);
        }
    }
    found.sort();
    Ok(found)
}

/// A name that can't lead out of the folder.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The advisory, if it is about this version.
fn about(
    text: &str,
    path: &Path,
    dependency: &Dependency,
    version: &Version,
) -> Result<Option<Advisory>, AdvisoriesError> {
    let malformed = |why: String| AdvisoriesError::Malformed(path.to_owned(), clean_line(&why, 500));
    let front = text.trim_start().strip_prefix("```toml").and_then(|rest| rest.split_once("\n```"));
    let (front, rest) = front.ok_or_else(|| malformed("it does not begin with ```toml".to_owned()))?;
    let Front { advisory, versions } = toml::from_str(front).map_err(|error| malformed(error.to_string()))?;
    if path.file_stem().is_none_or(|stem| *stem != *advisory.id) || advisory.package != dependency.name {
        return Err(malformed(format!("it is {} about {}", advisory.id, advisory.package)));
    }
    let is_safe = versions.patched.iter().chain(&versions.unaffected).any(|safe| safe.matches(version));
    if is_safe || advisory.withdrawn.is_some() {
        return Ok(None);
    }
    let title = rest.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default();
    Ok(Some(Advisory {
        id: clean_line(&advisory.id, 100),
        package: dependency.name.clone(),
        version: dependency.version.clone(),
        title: clean_line(title, 300),
        informational: advisory.informational.map(|kind| clean_line(&kind, 100)),
        patched: versions.patched.iter().map(ToString::to_string).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, id: &str, text: &str) {
        use std::io::Write as _;
        let folder = folder.join("crates").join(name);
        std::fs::create_dir_all(&folder).expect("made");
        let mut file = std::fs::File::create(folder.join(format!("{id}.md"))).expect("made");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn advisory(id: &str, name: &str, more: &str, versions: &str) -> String {
        format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{name}\"\ndate = \"2026-01-01\"\n{more}\n[versions]\n{versions}\n```\n\n# It overflows\n\nText.\n"
        )
    }

    fn built_from(name: &str, version: &str, source: &str) -> Dependency {
        Dependency {
            name: name.to_owned(),
            version: version.to_owned(),
            source: source.to_owned(),
            build: false,
        }
    }

    #[test]
    fn a_version_is_named_unless_it_is_mended_unaffected_or_the_advisory_was_withdrawn() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = folder.path();
        write(
            at,
            "a",
            "RUSTSEC-2026-0001",
            &advisory("RUSTSEC-2026-0001", "a", "", "patched = [\">= 1.2.0\"]\nunaffected = [\"< 1.0.0\"]"),
        );
        write(
            at,
            "a",
            "RUSTSEC-2026-0002",
            &advisory("RUSTSEC-2026-0002", "a", "withdrawn = \"2026-02-01\"", "patched = []"),
        );
        write(
            at,
            "b",
            "RUSTSEC-2026-0003",
            &advisory("RUSTSEC-2026-0003", "b", "informational = \"unmaintained\"", "patched = []"),
        );
        let told = |name, version, source| -> Vec<String> {
            let found = advisories(at, &[built_from(name, version, source)]).expect("read");
            found.into_iter().map(|one| one.id).collect()
        };
        assert_eq!(told("a", "1.1.9", "crates.io"), ["RUSTSEC-2026-0001"]);
        assert_eq!(told("a", "1.2.0", "crates.io"), [""; 0]);
        assert_eq!(told("a", "0.9.0", "crates.io"), [""; 0]);
        assert_eq!(told("a", "1.1.9", "git"), [""; 0]);
        assert_eq!(told("b", "7.0.0", "crates.io"), ["RUSTSEC-2026-0003"]);
        assert_eq!(told("../a", "1.1.9", "crates.io"), [""; 0]);
    }

    #[test]
    fn what_can_not_be_read_is_never_passed_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let all = [built_from("a", "1.0.0", "crates.io")];
        assert!(matches!(advisories(folder.path(), &all), Err(AdvisoriesError::NotADatabase(_))));
        for text in [
            "# No front matter".to_owned(),
            advisory("RUSTSEC-2026-0009", "a", "", "patched = []"),
            advisory("RUSTSEC-2026-0001", "b", "", "patched = []"),
            advisory("RUSTSEC-2026-0001", "a", "", "patched = [\"newest\"]"),
            advisory("RUSTSEC-2026-0001", "a", "", "fixed = []"),
        ] {
            write(folder.path(), "a", "RUSTSEC-2026-0001", &text);
            assert!(matches!(advisories(folder.path(), &all), Err(AdvisoriesError::Malformed(..))), "{text}");
        }
    }
}
