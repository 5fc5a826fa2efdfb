//! What a grants file needs to know of the host's folders: a trait, so that parsing stays pure.
//!
//! The one implementation that looks at the file system is `registry::FolderCheck`.

use std::path::PathBuf;

/// Judges the host paths of a grants file.
pub trait PathCheck {
    /// The one canonical spelling of the folder at `host_path`: absolute, no symlink, no `.` or `..`.
    ///
    /// # Errors
    /// A [`PathProblem`] if it may not be granted, or can't be looked at.
    fn check(&self, host_path: &str) -> Result<PathBuf, PathProblem>;
}

/// Why a host path can't be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// It is empty, or has a NUL.
    #[error("the path is empty or has a NUL")]
    Malformed,
    /// There is nothing.
    #[error("{path:?} does not exist")]
    Missing {
        /// The first component that is not there.
        path: PathBuf,
    },
    /// It is not a folder.
    #[error("{path:?} is not a folder")]
    NotAFolder {
        /// What is not a folder: the path itself, or a component of it.
        path: PathBuf,
    },
    /// It leads over a symlink, which could lead elsewhere tomorrow.
    #[error("{path:?} is a symlink")]
    Symlink {
        /// The component that is one.
        path: PathBuf,
    },
    /// It is `/`, which contains everything that may not be granted.
    #[error("the whole file system can't be granted")]
    Root,
    /// It is, or lies inside, a folder that no tool may reach.
    #[error("{path:?} lies inside {forbidden:?}, which no tool may reach")]
    Inside {
        /// The folder.
        path: PathBuf,
        /// What it lies inside.
        forbidden: PathBuf,
    },
    /// It contains a folder that no tool may reach.
    #[error("{path:?} contains {forbidden:?}, which no tool may reach")]
    Contains {
        /// The folder.
        path: PathBuf,
        /// What it contains.
        forbidden: PathBuf,
    },
    /// Its full name is not UTF-8, so that it could be neither kept nor shown as it is.
    #[error("{path:?} is not UTF-8")]
    NotText {
        /// The folder.
        path: PathBuf,
    },
    /// The host could not look.
    #[error("{path:?} can't be looked at: {reason}")]
    Unreadable {
        /// Where it failed.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
}

impl PathProblem {
    /// What to write instead.
    pub fn help(&self) -> &'static str {
        match self {
            PathProblem::Malformed => "name a folder, relative to the grants file or absolute",
            PathProblem::Missing { .. } => {
                "make the folder first; a relative host_path begins at the folder of the grants file"
            }
            PathProblem::NotAFolder { .. } => "grant the folder that holds the file",
            PathProblem::Symlink { .. } => "write the path that the symlink leads to",
            PathProblem::Root | PathProblem::Contains { .. } => "grant a folder further down",
            PathProblem::Inside { .. } => "grant a folder elsewhere",
            PathProblem::NotText { .. } => "rename the folders on the way",
            PathProblem::Unreadable { .. } => "the host must be able to read each folder on the way",
        }
    }
}
