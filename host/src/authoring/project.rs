//! New projects: a tool, its test cases, its manifest, a grant for trying it. Small enough to be read at once.
//!
//! Nothing that exists is ever written over.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::sdk;
use crate::ids::PackageName;

/// What a tool is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// With cargo.
    Rust,
    /// With componentize-py.
    Python,
    /// With componentize-js.
    JavaScript,
    /// With clang.
    C,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 4] = [Language::Rust, Language::Python, Language::JavaScript, Language::C];

    /// As it is written on the command line and in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Python => "python",
            Language::JavaScript => "javascript",
            Language::C => "c",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Language::ALL.into_iter().find(|language| language.name() == text);
        found.ok_or_else(|| format!("write one of {}", Language::ALL.map(Language::name).join(", ")))
    }
}

/// How a tool says what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By the types of its exports, in WIT.
    Typed,
    /// By the SDK: plain functions with attributes.
    Sdk,
}

/// Where a project finds the SDK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SdkSource {
    /// Beside its own sources: the copy that this program carries.
    Embedded,
    /// In a checkout: the folder `guest-sdk`. For Rust only: the others have no way to name a folder elsewhere.
    At(PathBuf),
}

/// What is to be made.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// Of package and folder.
    pub name: PackageName,
    /// In what.
    pub language: Language,
    /// How.
    pub kind: Kind,
    /// Read for [`Kind::Sdk`] only.
    pub sdk: SdkSource,
}

/// Why a project was not made.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Languages and their package formats would not take the name.
    #[error("{0} can't name a project: {1}")]
    Name(PackageName, &'static str),
    /// There is no SDK for the language.
    #[error("there is no SDK for {0}: leave out --kind, and the tool is typed by its WIT")]
    NoSdk(Language),
    /// An SDK elsewhere, for a language that needs it in the project.
    #[error("--sdk is for Rust: a project in {0} has a copy of its SDK in it")]
    SdkElsewhere(Language),
    /// Something is there.
    #[error("{} exists: nothing was written", .0.display())]
    Exists(PathBuf),
    /// What was named is no SDK.
    #[error("{} is not the folder `guest-sdk`: it has no Cargo.toml of portcullis-sdk", .0.display())]
    NotTheSdk(PathBuf),
    /// The disk's or its admin's fault.
    #[error("{} can't be written: {}", .0.display(), .1)]
    File(PathBuf, io::Error),
}

/// Names that some language or WIT has taken.
const RESERVED: [&str; 40] = [
    "as",
    "async",
    "await",
    "bool",
    "break",
    "char",
    "const",
    "constructor",
    "continue",
    "crate",
    "dyn",
    "else",
    "enum",
    "export",
    "fn",
    "for",
    "func",
    "if",
    "impl",
    "import",
    "in",
    "include",
    "interface",
    "let",
    "loop",
    "match",
    "mod",
    "package",
    "pub",
    "record",
    "result",
    "self",
    "static",
    "string",
    "struct",
    "test",
    "type",
    "use",
    "with",
    "world",
];

impl NewProject {
    /// Writes it into the folder of its name in `parent`, and answers where.
    ///
    /// # Errors
    /// [`ProjectError`]. After [`ProjectError::File`] a part may be there.
    pub fn write(&self, parent: &Path) -> Result<PathBuf, ProjectError> {
        check_name(&self.name)?;
        if self.kind == Kind::Sdk && self.language == Language::C {
            return Err(ProjectError::NoSdk(self.language));
        }
        if self.kind == Kind::Sdk && self.language != Language::Rust && self.sdk != SdkSource::Embedded {
            return Err(ProjectError::SdkElsewhere(self.language));
        }
        let folder = parent.join(self.name.as_str());
        let sdk = match (&self.sdk, self.kind) {
            (_, Kind::Typed) => String::new(),
            (SdkSource::Embedded, Kind::Sdk) => "sdk/guest-sdk".to_owned(),
            (SdkSource::At(path), Kind::Sdk) => checked_sdk(path)?,
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| ProjectError::File(path, error)
        };
        std::fs::create_dir_all(parent).map_err(failed(parent))?;
        // Fails if anything is there, whatever it is.
        std::fs::create_dir(&folder).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                ProjectError::Exists(folder.clone())
            } else {
                ProjectError::File(folder.clone(), error)
            }
        })?;
        for (name, text) in self.files(&sdk) {
            let path = folder.join(name);
            write_new(&path, &text).map_err(failed(&path))?;
        }
        if self.kind == Kind::Sdk && self.sdk == SdkSource::Embedded {
            for (name, text) in sdk::files(self.language) {
                let path = folder.join(name);
                write_new(&path, text).map_err(failed(&path))?;
            }
        }
        Ok(folder)
    }

    /// Its files, with what they hold.
    fn files(&self, sdk: &str) -> Vec<(&'static str, String)> {
        let common = |file: &'static str, text: &str| (file, self.filled(text, sdk));
        let mut files = vec![
            common("portcullis.toml", include_str!("templates/common/manifest.toml")),
            common("grants.toml", include_str!("templates/common/grants.toml")),
            common("README.md", include_str!("templates/common/README.md")),
            common("tests/cases.toml", include_str!("templates/common/cases.toml")),
            common(".gitignore", include_str!("templates/common/gitignore")),
        ];
        match (self.language, self.kind) {
            (_, Kind::Typed) => {
                files.push(common("wit/world.wit", include_str!("templates/common/world.wit")));
            }
            (Language::Python | Language::JavaScript, Kind::Sdk) => {
                files.push(common("wit/world.wit", include_str!("templates/common/world-sdk.wit")));
            }
            (Language::Rust | Language::C, Kind::Sdk) => {}
        }
        files.extend(match (self.language, self.kind) {
            (Language::Rust, Kind::Typed) => vec![
                common("Cargo.toml", include_str!("templates/rust-typed/Cargo.toml")),
                common("src/lib.rs", include_str!("templates/rust-typed/src/lib.rs")),
            ],
            (Language::Rust, Kind::Sdk) => vec![
                common("Cargo.toml", include_str!("templates/rust-sdk/Cargo.toml")),
                common("src/lib.rs", include_str!("templates/rust-sdk/src/lib.rs")),
            ],
            (Language::Python, Kind::Sdk) => vec![
                common("app.py", include_str!("templates/python-sdk/app.py")),
                common("test_app.py", include_str!("templates/python-sdk/test_app.py")),
                common("requirements.txt", include_str!("templates/python/requirements.txt")),
            ],
            (Language::JavaScript, Kind::Sdk) => vec![
                common("tool.js", include_str!("templates/javascript-sdk/tool.js")),
                common("tool.test.js", include_str!("templates/javascript-sdk/tool.test.js")),
                common("package.json", include_str!("templates/javascript-sdk/package.json")),
            ],
            (Language::Python, Kind::Typed) => vec![
                common("app.py", include_str!("templates/python/app.py")),
                common("requirements.txt", include_str!("templates/python/requirements.txt")),
            ],
            (Language::JavaScript, Kind::Typed) => vec![
                common("tool.js", include_str!("templates/javascript/tool.js")),
                common("package.json", include_str!("templates/javascript/package.json")),
            ],
            (Language::C, _) => vec![
                common("tool.c", include_str!("templates/c/tool.c")),
                common("abi.c", include_str!("templates/c/abi.c")),
                common("abi.h", include_str!("templates/c/abi.h")),
            ],
        });
        files
    }

    fn filled(&self, text: &str, sdk: &str) -> String {
        let name = self.name.as_str();
        // What an interpreter holds before a line of the tool ran, and what it computes for one call.
        let (memory, fuel) = match self.language {
            Language::Rust | Language::C => ("16MiB", "100_000_000"),
            Language::Python | Language::JavaScript => ("128MiB", "2_000_000_000"),
        };
        let row = |file: &str, what: &str| format!("| `{file}` | {what} |\n");
        let wit = row("wit/world.wit", "what the tool takes and gives, with the text that agents read");
        let imports = row("wit/world.wit", "which helpers of the SDK the tool uses: a line for each");
        let files = match (self.language, self.kind) {
            (Language::Rust, Kind::Sdk) => row("src/lib.rs", "the tool"),
            (Language::Rust, Kind::Typed) => wit + &row("src/lib.rs", "the tool"),
            (Language::Python, Kind::Sdk) => {
                imports
                    + &row("app.py", "the tool")
                    + &row("test_app.py", "its tests without wasm: `python3 -m unittest`")
                    + &row("portcullis_sdk/", "the SDK, which its tests and its component use")
            }
            (Language::JavaScript, Kind::Sdk) => {
                imports
                    + &row("tool.js", "the tool")
                    + &row("tool.test.js", "its tests without wasm: `npm test`")
                    + &row("sdk/", "the SDK, which its tests and its component use")
            }
            (Language::Python, Kind::Typed) => wit + &row("app.py", "the tool"),
            (Language::JavaScript, Kind::Typed) => wit + &row("tool.js", "the tool"),
            (Language::C, _) => wit + &row("tool.c, abi.c, abi.h", "the tool, and how values lie in memory"),
        };
        let toolchain = match self.language {
            Language::Rust => {
                "Needs Rust with the target `wasm32-wasip2`: `rustup target add wasm32-wasip2`."
            }
            Language::Python => {
                "Needs componentize-py: `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt`."
            }
            Language::JavaScript => "Needs componentize-js: `npm install`.",
            Language::C => {
                "Needs clang with a C library for WASI, and a Rust toolchain, whose linker makes components."
            }
        };
        text.replace("{{name}}", name)
            .replace("{{snake}}", &name.replace('-', "_"))
            .replace("{{language}}", self.language.name())
            .replace("{{tool}}", "count")
            .replace("{{memory}}", memory)
            .replace("{{fuel}}", fuel)
            .replace("{{sdk}}", sdk)
            .replace("{{toolchain}}", toolchain)
            .replace("{{files}}", &files)
    }
}

/// The names that all languages take: words of a-z and 0-9 that begin with a letter, joined by single hyphens.
fn check_name(name: &PackageName) -> Result<(), ProjectError> {
    let is_word = |word: &str| word.starts_with(|first: char| first.is_ascii_lowercase());
    let fault = if !name.as_str().split('-').all(is_word) {
        "each part between hyphens must begin with a letter, such as \"word-count\""
    } else if RESERVED.contains(&name.as_str()) {
        "it is a word of Rust or WIT"
    } else {
        return Ok(());
    };
    Err(ProjectError::Name(name.clone(), fault))
}

/// The absolute path of an SDK's folder, as Cargo.toml writes it.
fn checked_sdk(path: &Path) -> Result<String, ProjectError> {
    let not_it = || ProjectError::NotTheSdk(path.to_owned());
    let full = std::fs::canonicalize(path).map_err(|_| not_it())?;
    let cargo = super::files::read_text(&full.join("Cargo.toml"), 64 << 10).map_err(|_| not_it())?;
    if !cargo.contains("name = \"portcullis-sdk\"") {
        return Err(not_it());
    }
    let text =
        full.to_str().filter(|text| !text.contains(['"', '\\']) && !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or_else(not_it)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse_manifest;

    fn project(name: &str, language: Language, kind: Kind) -> NewProject {
        NewProject { name: name.parse().expect("a name"), language, kind, sdk: SdkSource::Embedded }
    }

    #[test]
    fn every_kind_is_written_whole_and_never_over_anything() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        for (language, kind) in Language::ALL.map(|language| (language, Kind::Typed)).into_iter().chain(
            [Language::Rust, Language::Python, Language::JavaScript].map(|language| (language, Kind::Sdk)),
        ) {
            let name = format!("word-{}{}", language.name(), if kind == Kind::Sdk { "-sdk" } else { "" });
            let project = project(&name, language, kind);
            let folder = project.write(temporary.path()).expect("written");
            let manifest =
                super::super::files::read_text(&folder.join("portcullis.toml"), 1 << 20).expect("there");
            assert_eq!(parse_manifest(&manifest).expect("a good manifest").name.as_str(), name);
            for (file, text) in project.files("x") {
                assert!(!text.contains("{{"), "{file}: {text}");
            }
            assert!(matches!(project.write(temporary.path()), Err(ProjectError::Exists(_))));
            let again =
                super::super::files::read_text(&folder.join("portcullis.toml"), 1 << 20).expect("there");
            assert_eq!(again, manifest);
        }
    }

    #[test]
    fn names_that_no_language_takes_are_refused_before_anything_is_written() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        for name in ["1st", "a--b", "a-", "a-1", "fn", "world"] {
            let refused = project(name, Language::Rust, Kind::Typed).write(temporary.path());
            assert!(matches!(refused, Err(ProjectError::Name(..))), "{name}");
        }
        let refused = project("a", Language::C, Kind::Sdk).write(temporary.path());
        assert!(matches!(refused, Err(ProjectError::NoSdk(Language::C))));
        let at = NewProject {
            sdk: SdkSource::At(temporary.path().to_owned()),
            ..project("a", Language::Rust, Kind::Sdk)
        };
        assert!(matches!(at.write(temporary.path()), Err(ProjectError::NotTheSdk(_))));
        let elsewhere = NewProject { language: Language::Python, ..at };
        let refused = elsewhere.write(temporary.path());
        assert!(matches!(refused, Err(ProjectError::SdkElsewhere(Language::Python))));
        assert_eq!(std::fs::read_dir(temporary.path()).expect("there").count(), 0);
    }
}
