//! From a project's sources to its component: the language's own toolchain, then the manifest, the docs of its WIT,
//! and nothing that only debuggers read.
//!
//! Starts the toolchain's programs, which run whatever the project says: as its author, who asked for it. No guest
//! runs here.

mod c;
mod docs;
mod javascript;
mod process;
mod python;
mod rust;
mod settings;
mod strip;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::files::read_text;
use super::project::Language;
use super::section::{self, SectionError, with_manifest};
use crate::limits::{Limit, LimitReached};
use crate::policy::{Diagnostic, MANIFEST_BYTES_MAX, Manifest, parse_manifest};
use process::Programs;
use settings::BuildSettings;

/// The file that makes a folder a project.
pub const MANIFEST_FILE: &str = "portcullis.toml";

/// What a build finds in its surroundings. Only the command line reads the environment.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Where programs are looked for.
    pub path: OsString,
    /// Variables that a cargo which runs us has set, and that must not reach another.
    pub leftovers: Vec<OsString>,
}

/// A component that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its bytes, manifest included.
    pub component: Vec<u8>,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What built it, in a line.
    pub built_with: String,
    /// Its bytes as the toolchain made it.
    pub unstripped_bytes: u64,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder is no project.
    #[error("{} can't be read: {source}; `portcullis new` makes a project", .path.display())]
    NoProject {
        /// Its manifest.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its manifest is wrong.
    #[error("the manifest {} has {} errors", .path.display(), .diagnostics.len())]
    Manifest {
        /// Where it is.
        path: PathBuf,
        /// What it says.
        text: String,
        /// What is wrong with it.
        diagnostics: Vec<Diagnostic>,
    },
    /// What builds the language is not there: what to install, in one text.
    #[error("{0}")]
    NoToolchain(String),
    /// The toolchain failed, with the end of what it said.
    #[error("{command} failed ({status}):\n{said}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// The end of its stderr and stdout.
        said: String,
    },
    /// A source imports what the world does not, so that it could not be granted.
    #[error(
        "the sources import {interface}, and the world in {wit} does not{}: it needs a line there: {line}",
        helper.map(|helper| format!(" (it is what sdk/{helper}.js uses)")).unwrap_or_default()
    )]
    NotImported {
        /// The interface.
        interface: String,
        /// The helper of the SDK that needs it, if one does.
        helper: Option<&'static str>,
        /// The folder of the WIT, as the project names it.
        wit: String,
        /// What to write into the world.
        line: String,
    },
    /// The WIT can't be read.
    #[error("{} can't be read: {reason}", .path.display())]
    Wit {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What was built can't be a package.
    #[error("what was built is not a component: {0}")]
    NotAComponent(String),
    /// It is too large to be registered.
    #[error(transparent)]
    TooLarge(#[from] LimitReached),
    /// The manifest can't be put into it.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// A file can't be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was told to stop.
    #[error("the build was stopped")]
    Stopped,
}

/// One build: who reads it may stop it, and hears how far it is.
pub struct Build<'a> {
    /// The project.
    pub folder: &'a Path,
    /// Where it runs.
    pub surroundings: &'a Surroundings,
    /// Set by whoever wants it to end.
    pub stopped: &'a AtomicBool,
    /// Told each step.
    pub progress: &'a (dyn Fn(&str) + Sync),
}

impl std::fmt::Debug for Build<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Build").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The manifest of a project.
///
/// # Errors
/// [`BuildError::NoProject`] or [`BuildError::Manifest`].
pub fn manifest_of(folder: &Path) -> Result<Manifest, BuildError> {
    Ok(read_project(folder)?.0)
}

fn read_project(folder: &Path) -> Result<(Manifest, BuildSettings), BuildError> {
    let path = folder.join(MANIFEST_FILE);
    let text = read_text(&path, MANIFEST_BYTES_MAX)
        .map_err(|source| BuildError::NoProject { path: path.clone(), source })?;
    let read = parse_manifest(&text).and_then(|manifest| Ok((manifest, settings::parse(&text)?)));
    read.map_err(|diagnostics| BuildError::Manifest { path, text, diagnostics })
}

impl Build<'_> {
    /// Builds. Blocks its thread for as long as the toolchain takes, at most an hour for each of its programs.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn run(&self) -> Result<Built, BuildError> {
        let folder = std::fs::canonicalize(self.folder)
            .map_err(|source| BuildError::NoProject { path: self.folder.to_owned(), source })?;
        let (manifest, settings) = read_project(&folder)?;
        let wit = folder.join(&settings.wit);
        let docs = wit.is_dir().then(|| docs::read(&wit, settings.world.as_deref())).transpose()?;
        let scratch =
            tempfile::tempdir().map_err(|source| BuildError::File { path: std::env::temp_dir(), source })?;
        let programs = Programs { surroundings: self.surroundings, stopped: self.stopped };
        let job = Job {
            folder: &folder,
            scratch: scratch.path(),
            manifest: &manifest,
            settings: &settings,
            programs,
        };
        (self.progress)(&format!("building with the toolchain of {}", settings.language));
        let (path, built_with) = match settings.language {
            Language::Rust => rust::build(&job)?,
            Language::Python => python::build(&job)?,
            Language::JavaScript => javascript::build(&job)?,
            Language::C => c::build(&job)?,
        };
        (self.progress)("embedding the manifest");
        let limit = Limit::ComponentBytes;
        let max = limit.row().ceiling;
        let length =
            std::fs::metadata(&path).map_err(|source| BuildError::File { path: path.clone(), source })?.len();
        let bytes_max = usize::try_from(max).unwrap_or(usize::MAX).saturating_mul(4);
        let made =
            super::files::read(&path, bytes_max).map_err(|source| BuildError::File { path, source })?;
        let mut component = strip::strip(&made).map_err(BuildError::NotAComponent)?;
        if let Some(docs) = docs.filter(|_| section::own(&component, docs::SECTION).is_empty()) {
            component = section::with(component, docs::SECTION, &docs);
        }
        let component = with_manifest(component, &manifest)?;
        let value = component.len() as u64;
        if value > max {
            return Err(LimitReached { limit, value, max }.into());
        }
        Ok(Built { component, manifest, built_with, unstripped_bytes: length })
    }
}

/// What a language's builder works with.
struct Job<'a> {
    /// Absolute.
    folder: &'a Path,
    /// Removed at the end.
    scratch: &'a Path,
    manifest: &'a Manifest,
    settings: &'a BuildSettings,
    programs: Programs<'a>,
}
