//! From an older schema to this version's, with a copy kept; and whole copies of the database.
//!
//! A newer schema is refused before anything is changed: there is no way back from it.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sqlx::SqlitePool;
use sqlx::migrate::Migrator;

use super::{DatabaseError, MIGRATIONS};

/// Where copies of older schemas are kept, beside the database.
const COPIES: &str = "upgrades";

/// How many of them: those made last.
const COPIES_MAX: usize = 3;

/// The newest schema that this version knows.
pub fn known_schema() -> i64 {
    newest(&MIGRATIONS)
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// The schema of a database; 0 if it is new.
pub(super) async fn schema(pool: &SqlitePool) -> Result<i64, DatabaseError> {
    let tables: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'",
    )
    .fetch_one(pool)
    .await?;
    if tables == 0 {
        return Ok(0);
    }
    let version: Option<i64> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(pool).await?;
    Ok(version.unwrap_or_default())
}

/// Refuses a newer schema; keeps a copy of an older one, and upgrades it.
pub(super) async fn bring_up_to_date(
    pool: &SqlitePool,
    path: &Path,
    migrator: &Migrator,
) -> Result<(), DatabaseError> {
    let (found, known) = (schema(pool).await?, newest(migrator));
    if found > known {
        return Err(DatabaseError::NewerSchema { found, known });
    }
    if found > 0 && found < known {
        let folder = path.parent().unwrap_or(Path::new(".")).join(COPIES);
        let no_copy = |reason: String| DatabaseError::NoCopy { found, path: folder.clone(), reason };
        let target = on_disk(folder.clone(), move |folder| new_copy(&folder, found))
            .await
            .map_err(|error| no_copy(error.to_string()))?;
        copy_into(pool, &target).await.map_err(|error| no_copy(error.to_string()))?;
        tracing::warn!(found, known, copy = %target.display(), "the database is upgraded; a copy is kept");
    }
    migrator.run(pool).await.map_err(|error| DatabaseError::migration(error, known))
}

/// Writes a whole copy into `target`, which is there and empty, and waits for the disk.
pub(super) async fn copy_into(pool: &SqlitePool, target: &Path) -> Result<(), DatabaseError> {
    let Some(text) = target.to_str() else {
        let source = io::Error::other("its path is not UTF-8, which SQLite needs");
        return Err(DatabaseError::Open { path: target.to_owned(), source });
    };
    sqlx::query("VACUUM INTO $1").bind(text).execute(pool).await?;
    on_disk(target.to_owned(), |target| std::fs::File::open(target)?.sync_all())
        .await
        .map_err(|source| DatabaseError::Open { path: target.to_owned(), source })
}

/// An empty file for the next copy, after the oldest ones have made room for it.
fn new_copy(folder: &Path, found: i64) -> io::Result<PathBuf> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(copy_number) {
            copies.push((number, entry.path()));
        }
    }
    copies.sort();
    let next = copies.last().map_or(1, |(number, _)| number.saturating_add(1));
    let surplus = (copies.len() + 1).saturating_sub(COPIES_MAX);
    for (_, path) in copies.iter().take(surplus) {
        std::fs::remove_file(path)?;
    }
    let path = folder.join(format!("{next}-schema-{found}.db"));
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok(path)
}

/// The number of a copy, by its name. Other files are not ours.
fn copy_number(name: &str) -> Option<u64> {
    let (number, schema) = name.strip_suffix(".db")?.split_once("-schema-")?;
    schema.parse::<i64>().ok()?;
    number.parse().ok()
}

async fn on_disk<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(move || work(path)).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the tests put files where they do not belong")]

    use super::*;
    use crate::database::{Database, Settled, look};
    use crate::ids::Revision;

    /// The first schema, as version 0.1.0 has it.
    const FIRST: &str = include_str!("../../migrations/0001_packages_and_grants.sql");

    async fn migrator(folder: &Path, scripts: &[(&str, &str)]) -> Migrator {
        let folder = folder.join(scripts.len().to_string());
        std::fs::create_dir_all(&folder).expect("made");
        for (name, script) in scripts {
            std::fs::write(folder.join(name), script).expect("written");
        }
        Migrator::new(folder).await.expect("migrations")
    }

    /// A database of the first schema, with a revision in it.
    async fn of_the_first_schema(folder: &Path) -> PathBuf {
        let path = folder.join("portcullis.db");
        let first = migrator(folder, &[("0001_packages_and_grants.sql", FIRST)]).await;
        let database = Database::open_with(&path, &first).await.expect("opens");
        let row = "INSERT INTO revisions (number, made_at, made_by, granted, revoked, groups) \
                   VALUES (1, '2026-01-01T00:00:00Z', 'root', '[]', '[]', '[]')";
        sqlx::query(row).execute(&database.pool).await.expect("inserted");
        database.close().await;
        path
    }

    fn copies(folder: &Path) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(folder.join(COPIES)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("one").file_name().into_string().expect("ours")).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn the_first_schema_is_brought_up_to_this_version_with_what_is_in_it() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = of_the_first_schema(temporary.path()).await;
        let database = Database::open(&path).await.expect("opens");
        assert_eq!(schema(&database.pool).await.expect("known"), known_schema());
        assert_eq!(database.settle(Revision(1)).await.expect("settled"), Settled::Nothing);
        database.close().await;
        let expected = if known_schema() == 1 { vec![] } else { vec!["1-schema-1.db".to_owned()] };
        assert_eq!(copies(temporary.path()), expected);
    }

    #[tokio::test]
    async fn a_copy_is_kept_before_an_upgrade_and_the_last_three_stay() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = temporary.path();
        let path = of_the_first_schema(folder).await;
        let mut scripts = vec![("0001_packages_and_grants.sql".to_owned(), FIRST.to_owned())];
        // Later than any schema that this version knows.
        for number in 102..=106 {
            scripts.push((format!("{number:04}_more.sql"), format!("CREATE TABLE more_{number} (a TEXT);")));
            let all: Vec<(&str, &str)> = scripts.iter().map(|(n, s)| (n.as_str(), s.as_str())).collect();
            let database = Database::open_with(&path, &migrator(folder, &all).await).await.expect("opens");
            assert_eq!(schema(&database.pool).await.expect("known"), number);
            assert_eq!(database.revision().await.expect("kept"), Revision(1));
            database.close().await;
        }
        assert_eq!(copies(folder), ["3-schema-103.db", "4-schema-104.db", "5-schema-105.db"]);
        let copy = folder.join(COPIES).join("5-schema-105.db");
        let metadata = std::fs::metadata(&copy).expect("there");
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
        assert_eq!(look(&copy).await.expect("whole").schema, 105);
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused_with_both_numbers_and_stays_as_it_is() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = of_the_first_schema(temporary.path()).await;
        Database::open(&path).await.expect("opens").close().await;
        let newer =
            [("0001_packages_and_grants.sql", FIRST), ("9998_more.sql", "CREATE TABLE more (a TEXT);")];
        // As a later version would have it, whatever lies between.
        let mut later = migrator(temporary.path(), &newer).await;
        later.set_ignore_missing(true);
        Database::open_with(&path, &later).await.expect("opens").close().await;
        let kept = copies(temporary.path());
        let before = std::fs::read(&path).expect("there");
        let error = Database::open(&path).await.expect_err("newer");
        assert!(
            matches!(error, DatabaseError::NewerSchema { found: 9998, known } if known == known_schema())
        );
        assert!(before == std::fs::read(&path).expect("there"), "it was changed");
        assert_eq!(copies(temporary.path()), kept);
        assert_eq!(look(&path).await.expect("whole").content, None);
    }

    #[tokio::test]
    async fn without_room_for_a_copy_nothing_is_upgraded() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = temporary.path();
        let path = of_the_first_schema(folder).await;
        std::fs::write(folder.join(COPIES), "in the way").expect("written");
        let scripts =
            [("0001_packages_and_grants.sql", FIRST), ("0002_more.sql", "CREATE TABLE more (a TEXT);")];
        let newer = migrator(folder, &scripts).await;
        let error = Database::open_with(&path, &newer).await.expect_err("no copy");
        assert!(matches!(error, DatabaseError::NoCopy { found: 1, .. }), "{error}");
        assert_eq!(look(&path).await.expect("whole").schema, 1);
        std::fs::remove_file(folder.join(COPIES)).expect("removed");
        Database::open_with(&path, &newer).await.expect("opens").close().await;
        assert_eq!(copies(folder), ["1-schema-1.db"]);
    }
}
