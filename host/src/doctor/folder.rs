//! The data folder: whose it is, who else may touch it, and whether what should be in it is.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::{Check, DatabaseState, Owner};
use crate::config::DataPaths;
use crate::database::{Look, known_schema};
use crate::platform::{self, Ownership};

/// How many files of one kind are named in one line.
const NAMED_MAX: usize = 5;

pub(super) fn owner(owner: &Owner) -> Check {
    const NAME: &str = "owner";
    match owner {
        Owner::Nobody => Check::ok(NAME, "no process owns the folder now"),
        Owner::Answers { pid, version, .. } => {
            Check::ok(NAME, format!("process {pid}, version {version}, and it answers"))
        }
        Owner::Silent { pid, reason } => {
            let who = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
            Check::fail(
                NAME,
                format!("{who} owns the folder and does not answer on its socket: {reason}"),
                "wait for it, or end it: commands need its answer",
            )
        }
    }
}

/// Modes and owners of the folder and of all that is secret in it.
pub(super) fn permissions(paths: &DataPaths) -> Vec<Check> {
    const FOLDER: &str = "data folder";
    let root = match std::fs::metadata(paths.root()) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![Check::info(FOLDER, "it is not there yet: the first command makes it")];
        }
        Err(error) => {
            let advice = "mend its permissions, or choose another with --data-dir";
            return vec![Check::fail(FOLDER, format!("it can't be looked at: {error}"), advice)];
        }
    };
    if !root.is_dir() {
        return vec![Check::fail(FOLDER, "it is no folder", "choose another with --data-dir")];
    }
    let mut checks = vec![judge(FOLDER, paths.root(), Ownership::from(&root), platform::user(), 0o700)];
    if paths.restoring().exists() {
        checks.push(Check::fail(
            "restore",
            "a backup was being put back when that ended",
            "delete the folder and run `portcullis restore` again",
        ));
    }
    for (name, key) in [
        ("key", paths.artifact_key()),
        ("audit key", paths.audit_key()),
        ("evidence key", paths.evidence_key()),
        ("API keys", paths.api_key()),
        ("admin key", paths.admin_key()),
    ] {
        if let Some(metadata) = found(&key, &mut checks) {
            checks.push(judge(name, &key, Ownership::from(&metadata), platform::user(), 0o600));
        }
    }
    let key = paths.secrets_key();
    if let Some(metadata) = found(&key, &mut checks) {
        checks.push(judge("secrets key", &key, Ownership::from(&metadata), platform::user(), 0o600));
    }
    checks.push(files(paths));
    checks
}

fn found(path: &Path, checks: &mut Vec<Check>) -> Option<Metadata> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            let found = format!("{} is a symlink", path.display());
            checks.push(Check::fail("files", found, "put the file itself in its place"));
            None
        }
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let found = format!("{} can't be looked at: {error}", path.display());
            checks.push(Check::fail("files", found, "mend the permissions of the data folder"));
            None
        }
    }
}

fn judge(name: &'static str, path: &Path, found: Ownership, user: u32, mode: u32) -> Check {
    let shown = path.display();
    if found.user != user {
        return Check::fail(
            name,
            format!("{shown} belongs to user {}, this is user {user}", found.user),
            format!("run this as user {}, or give the files back to user {user}", found.user),
        );
    }
    if !found.is_private() {
        return Check::fail(
            name,
            format!("{shown} can be used by others (mode {:03o})", found.mode),
            format!("chmod {mode:o} {shown}, after making sure that nobody did"),
        );
    }
    Check::ok(name, format!("{shown}, mode {:03o}, user {user}", found.mode))
}

/// Everything else that is ours alone: the database, the log, the components.
fn files(paths: &DataPaths) -> Check {
    const NAME: &str = "files";
    let mut all: Vec<PathBuf> = vec![paths.database(), paths.audit(), paths.packages(), paths.artifacts()];
    for folder in [paths.audit(), paths.packages()] {
        // One that is missing or closed is named by the checks of what is in it.
        if let Ok(entries) = std::fs::read_dir(folder) {
            all.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
    }
    let user = platform::user();
    let is_exposed = |path: &&PathBuf| {
        std::fs::symlink_metadata(path).is_ok_and(|metadata| {
            let found = Ownership::from(&metadata);
            found.user != user || !found.is_private()
        })
    };
    let exposed: Vec<&PathBuf> = all.iter().filter(is_exposed).collect();
    if exposed.is_empty() {
        return Check::ok(NAME, "database, log and components are nobody else's to open");
    }
    let names: Vec<String> = exposed.iter().take(NAMED_MAX).map(|path| path.display().to_string()).collect();
    Check::warn(
        NAME,
        format!("{} can be used by others, or are another user's: {}", exposed.len(), names.join(", ")),
        "chmod 600 for files and 700 for folders; the data folder itself must be closed to others",
    )
}

pub(super) fn database(state: &DatabaseState) -> Check {
    const NAME: &str = "database";
    let known = known_schema();
    match state {
        DatabaseState::Missing => Check::info(NAME, "there is none yet"),
        DatabaseState::WithOwner => Check::ok(NAME, "its owner has it open"),
        DatabaseState::Looked(Err(error)) => Check::fail(
            NAME,
            error.to_string(),
            "put back a backup with `portcullis restore` into a new folder",
        ),
        DatabaseState::Looked(Ok(Look { schema, .. })) if *schema > known => Check::fail(
            NAME,
            format!("its schema is {schema}, this version knows {known}"),
            "use the newer version of portcullis that wrote it",
        ),
        DatabaseState::Looked(Ok(Look { schema, .. })) if *schema < known => Check::info(
            NAME,
            format!("its schema is {schema}; the next start makes it {known}, and keeps a copy in upgrades/"),
        ),
        DatabaseState::Looked(Ok(Look { schema, content, .. })) => {
            let revision = content.as_ref().map_or(0, |content| content.revision.0);
            Check::ok(NAME, format!("whole, schema {schema}, grants at revision {revision}"))
        }
    }
}

/// Whether each registered component's file is there, with as many bytes as it should have.
pub(super) fn packages(paths: &DataPaths, state: &DatabaseState) -> Option<Check> {
    const NAME: &str = "packages";
    let DatabaseState::Looked(Ok(Look { content: Some(content), .. })) = state else { return None };
    let is_missing = |package: &&crate::database::Package| {
        let path = paths.packages().join(format!("{}.wasm", package.digest.hex()));
        std::fs::metadata(path).map_or(true, |metadata| metadata.len() != package.bytes)
    };
    let missing: Vec<String> =
        content.packages.iter().filter(is_missing).map(|package| package.name.to_string()).collect();
    Some(if missing.is_empty() {
        Check::ok(NAME, format!("{} components, and the file of each", content.packages.len()))
    } else {
        Check::fail(
            NAME,
            format!("the files of components are missing or cut: {}", missing.join(", ")),
            "add them again with `portcullis package add`",
        )
    })
}

pub(super) fn artifacts(paths: &DataPaths) -> Check {
    const NAME: &str = "artifacts";
    match std::fs::read_dir(paths.artifacts()) {
        Ok(entries) => Check::ok(NAME, format!("{} compiled components are kept", entries.count())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::info(NAME, "none are kept yet: they are made as they are needed")
        }
        Err(error) => Check::fail(
            NAME,
            format!("they can't be read: {error}"),
            "delete artifacts/: what was compiled is made again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_key_is_judged_by_its_owner_and_its_mode() {
        let judged = |user, mode| judge("key", Path::new("/k"), Ownership { user, mode }, 7, 0o600);
        assert_eq!(judged(7, 0o600).level, Level::Ok);
        assert_eq!(judged(7, 0o400).level, Level::Ok);
        assert_eq!(judged(8, 0o600).level, Level::Fail);
        let open = judged(7, 0o640);
        assert_eq!(open.level, Level::Fail);
        assert!(open.advice.is_some_and(|advice| advice.starts_with("chmod 600 /k")));
    }
}
