//! Which folders of the host may be granted: the one place that looks at the file system for policy.
//!
//! It stands here, above `policy`, because `policy` is pure: `policy` asks by its trait `PathCheck`.
//! What it finds holds at the moment of the grant only. The sandbox opens the folder again for each
//! call, without following symlinks.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::policy::{PathCheck, PathProblem};

/// Folders of the system that are not files, or lead to other processes' memory and handles.
const SYSTEM_FOLDERS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Judges host paths by the folder of the grants file and by what no tool may reach.
#[derive(Clone, Debug)]
pub struct FolderCheck {
    /// Canonical; relative paths begin here.
    base: PathBuf,
    /// Canonical: the data folder, and /proc, /sys and /dev.
    forbidden: Vec<Forbidden>,
}

#[derive(Clone, Debug)]
struct Forbidden {
    path: PathBuf,
    /// Device and inode, so that the folder is known under another name (a bind mount) too.
    identity: Option<(u64, u64)>,
}

impl FolderCheck {
    /// Relative paths begin at `base`, the folder of the grants file. Nothing may be granted that
    /// contains or lies inside one of `forbidden`, such as the data folder, or /proc, /sys or /dev.
    ///
    /// # Errors
    /// The operating system's, if `base` or one of `forbidden` can't be looked at.
    pub fn new(base: &Path, forbidden: &[&Path]) -> io::Result<Self> {
        let mut all = Vec::new();
        for path in forbidden {
            let path = path.canonicalize()?;
            let metadata = path.metadata()?;
            all.push(Forbidden { path, identity: Some((metadata.dev(), metadata.ino())) });
        }
        for path in SYSTEM_FOLDERS {
            let identity = Path::new(path).metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
            all.push(Forbidden { path: PathBuf::from(path), identity });
        }
        Ok(Self { base: base.canonicalize()?, forbidden: all })
    }

    /// Whether the folder is, contains or lies inside a forbidden one. By components, not by text:
    /// `/data2` has nothing to do with `/data`.
    fn refuse_forbidden(&self, path: &Path) -> Result<(), PathProblem> {
        for forbidden in &self.forbidden {
            let name = || (path.to_owned(), forbidden.path.clone());
            if path.starts_with(&forbidden.path) || self.lies_in(path, forbidden.identity) {
                let (path, forbidden) = name();
                return Err(PathProblem::Inside { path, forbidden });
            }
            if forbidden.path.starts_with(path) {
                let (path, forbidden) = name();
                return Err(PathProblem::Contains { path, forbidden });
            }
        }
        Ok(())
    }

    /// Whether the folder or one above it is the one with this device and inode.
    fn lies_in(&self, path: &Path, identity: Option<(u64, u64)>) -> bool {
        path.ancestors().any(|ancestor| {
            ancestor.metadata().is_ok_and(|metadata| identity == Some((metadata.dev(), metadata.ino())))
        })
    }
}

impl PathCheck for FolderCheck {
    fn check(&self, host_path: &str) -> Result<PathBuf, PathProblem> {
        if host_path.is_empty() || host_path.contains('\0') {
            return Err(PathProblem::Malformed);
        }
        let path = walk(&self.base, Path::new(host_path))?;
        if path.parent().is_none() {
            return Err(PathProblem::Root);
        }
        if path.to_str().is_none() {
            return Err(PathProblem::NotText { path });
        }
        self.refuse_forbidden(&path)?;
        Ok(path)
    }
}

/// Walks from `base`, which is canonical, one component at a time. Since none is a symlink, `..`
/// means the folder above, and the result is canonical.
fn walk(base: &Path, relative: &Path) -> Result<PathBuf, PathProblem> {
    let mut path = base.to_owned();
    for component in relative.components() {
        match component {
            Component::RootDir => path = PathBuf::from("/"),
            Component::Prefix(_) | Component::CurDir => {}
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => {
                path.push(name);
                look_at(&path)?;
            }
        }
    }
    Ok(path)
}

/// Checks that the path is a folder and no symlink.
fn look_at(path: &Path) -> Result<(), PathProblem> {
    let named = || path.to_owned();
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PathProblem::Missing { path: named() });
        }
        Err(error) => return Err(PathProblem::Unreadable { path: named(), reason: error.to_string() }),
    };
    if metadata.is_symlink() {
        return Err(PathProblem::Symlink { path: named() });
    }
    if !metadata.is_dir() {
        return Err(PathProblem::NotAFolder { path: named() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{GrantsFile, parse_grants};

    /// A home with a data folder in it, folders to grant, and traps.
    fn home() -> (tempfile::TempDir, FolderCheck) {
        let home = tempfile::tempdir().expect("temporary folder");
        let at = |name: &str| home.path().join(name);
        for folder in ["data/packages", "data2", "home/reports", "home/deep/er"] {
            std::fs::create_dir_all(at(folder)).expect("folder");
        }
        std::fs::File::create(at("home/file")).expect("file");
        std::os::unix::fs::symlink(at("home/reports"), at("home/link")).expect("symlink");
        std::os::unix::fs::symlink(at("data"), at("home/way-in")).expect("symlink");
        std::os::unix::fs::symlink("loop", at("home/loop")).expect("symlink");
        let check = FolderCheck::new(&at("home"), &[&at("data")]).expect("folders exist");
        (home, check)
    }

    #[test]
    fn folders_beside_the_forbidden_ones_may_be_granted() {
        let (home, check) = home();
        let home = home.path().canonicalize().expect("canonical");
        let absolute = home.join("home/reports");
        let cases = [
            ("reports", "home/reports"),
            ("./reports/", "home/reports"),
            ("deep/../reports", "home/reports"),
            (absolute.to_str().expect("UTF-8"), "home/reports"),
            (".", "home"),
            ("../data2", "data2"),
        ];
        for (written, canonical) in cases {
            assert_eq!(check.check(written), Ok(home.join(canonical)), "{written}");
        }
    }

    #[test]
    fn all_else_is_refused_by_its_name() {
        let (home, check) = home();
        let home = home.path().canonicalize().expect("canonical");
        let (work, data) = (home.join("home"), home.join("data"));
        let symlink = |name: &str| PathProblem::Symlink { path: work.join(name) };
        let cases = [
            ("", PathProblem::Malformed),
            ("a\0", PathProblem::Malformed),
            ("missing/deeper", PathProblem::Missing { path: work.join("missing") }),
            ("file", PathProblem::NotAFolder { path: work.join("file") }),
            ("file/deeper", PathProblem::NotAFolder { path: work.join("file") }),
            ("link", symlink("link")),
            ("link/", symlink("link")),
            ("link/../reports", symlink("link")),
            ("loop", symlink("loop")),
            ("way-in/packages", symlink("way-in")),
            ("..", PathProblem::Contains { path: home.clone(), forbidden: data.clone() }),
            ("../data", PathProblem::Inside { path: data.clone(), forbidden: data.clone() }),
            (
                "../data/packages",
                PathProblem::Inside { path: data.join("packages"), forbidden: data.clone() },
            ),
            ("/", PathProblem::Root),
            ("/..", PathProblem::Root),
            ("/sys/kernel", PathProblem::Inside { path: "/sys/kernel".into(), forbidden: "/sys".into() }),
            ("/dev", PathProblem::Inside { path: "/dev".into(), forbidden: "/dev".into() }),
            ("/proc/self/root", PathProblem::Symlink { path: "/proc/self".into() }),
            ("/proc/1", PathProblem::Inside { path: "/proc/1".into(), forbidden: "/proc".into() }),
        ];
        for (written, problem) in cases {
            assert_eq!(check.check(written), Err(problem), "{written:?}");
        }
    }

    #[test]
    fn a_folder_whose_name_is_not_text_is_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        let (home, _) = home();
        let base = home.path().join(std::ffi::OsStr::from_bytes(b"home/\xff"));
        std::fs::create_dir_all(base.join("reports")).expect("folder");
        let check = FolderCheck::new(&base, &[]).expect("folder exists");
        assert!(matches!(check.check("reports"), Err(PathProblem::NotText { .. })));
        assert!(check.check("../reports").is_ok());
    }

    #[test]
    fn a_forbidden_folder_is_known_by_its_inode_too() {
        let (home, check) = home();
        let data = home.path().join("data").metadata().expect("metadata");
        let identity = Some((data.dev(), data.ino()));
        assert!(check.lies_in(&home.path().join("data/packages"), identity));
        assert!(!check.lies_in(&home.path().join("data2"), identity));
    }

    /// The errors of a grants file about real folders, with the temporary folder's name left out.
    #[test]
    fn a_grants_file_says_which_folder_is_wrong_and_where() {
        let (home, check) = home();
        let parse = |host_path: &str| -> Result<GrantsFile, String> {
            let text = format!(
                "[[grant]]\npackage = \"notes\"\nagents = [\"ann\"]\n\n[[grant.filesystem]]\n\
                 host_path = \"{host_path}\"\nguest_path = \"/notes\"\naccess = \"read\"\n"
            );
            parse_grants(&text, &check).map_err(|diagnostics| {
                let home = home.path().canonicalize().expect("canonical");
                let lines = diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>();
                lines.join("\n").replace(home.to_str().expect("UTF-8"), "~")
            })
        };
        assert!(parse("reports").is_ok());
        insta::assert_snapshot!(parse("missing").expect_err("missing"), @r#"
        6:13: grant[0].filesystem[0].host_path: "~/home/missing" does not exist
        "#);
        insta::assert_snapshot!(parse("link").expect_err("symlink"), @r#"
        6:13: grant[0].filesystem[0].host_path: "~/home/link" is a symlink
        "#);
        insta::assert_snapshot!(parse("..").expect_err("contains the data folder"), @r#"
        6:13: grant[0].filesystem[0].host_path: "~" contains "~/data", which no tool may reach
        "#);
        insta::assert_snapshot!(parse("../data/packages").expect_err("inside the data folder"), @r#"
        6:13: grant[0].filesystem[0].host_path: "~/data/packages" lies inside "~/data", which no tool may reach
        "#);
        insta::assert_snapshot!(parse("file").expect_err("not a folder"), @r#"
        6:13: grant[0].filesystem[0].host_path: "~/home/file" is not a folder
        "#);
    }
}
