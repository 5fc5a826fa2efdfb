//! The store over a real database and data folder.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests look at files, and put some where they do not belong"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::config::Ownership;
use crate::database::Settled;

const VALUE: &[u8] = b"ghp_the-value-of-the-secret";

struct Data {
    root: tempfile::TempDir,
    folder: DataFolder,
    database: Database,
}

impl Data {
    async fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let Ownership::Ours(folder) = DataFolder::take(root.path()).expect("usable") else {
            panic!("owned by another");
        };
        let database = Database::open(&folder.paths().database()).await.expect("made");
        Self { root, folder, database }
    }

    fn secrets(&self, given: Option<SecretsKey>) -> Result<Secrets, SecretsError> {
        Secrets::open(self.database.clone(), &self.folder, given)
    }

    async fn set(&self, secrets: &Secrets, name: &str, value: &[u8]) -> Result<Revision, SecretsError> {
        let value = SecretValue::new(value.to_vec())?;
        let sealed = secrets.seal(&self.folder, &value).await?;
        let by = "admin".parse().expect("a name");
        let change = self.database.prepare_secret(&id(name), sealed, &by, Timestamp::now()).await;
        Ok(change.expect("planned").commit().await?)
    }

    fn key(&self) -> std::path::PathBuf {
        self.root.path().join("secrets.key")
    }
}

fn id(name: &str) -> SecretName {
    name.parse().expect("a name")
}

#[tokio::test]
async fn a_value_comes_back_and_only_its_ciphertext_is_on_disk() {
    let data = Data::new().await;
    let secrets = data.secrets(None).expect("opened");
    assert!(!data.key().exists(), "no key before the first secret");
    let first = data.set(&secrets, "github", VALUE).await.expect("stored");
    let mode = std::fs::metadata(data.key()).expect("made").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(secrets.value(&id("github"), first).await.expect("opened").expose(), VALUE);
    // Another start finds the key again.
    let again = data.secrets(None).expect("opened");
    assert_eq!(again.value(&id("github"), first).await.expect("opened").expose(), VALUE);

    let second = data.set(&again, "github", b"another value").await.expect("replaced");
    assert_eq!(again.value(&id("github"), second).await.expect("opened").expose(), b"another value");
    assert!(matches!(again.value(&id("github"), first).await, Err(SecretsError::Gone { .. })));
    let listed = again.list().await.expect("listed");
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].revision, listed[0].name.as_str()), (second, "github"));
    assert!(listed[0].made_at <= listed[0].updated_at);

    data.database.close().await;
    let value = SecretValue::new(VALUE.to_vec()).expect("long enough");
    let name = id("github");
    let patterns = crate::secrets::Patterns::new([(&name, &value, Default::default())]);
    let patterns = Arc::new(patterns.expect("one"));
    for file in ["portcullis.db", "portcullis.db-wal", "secrets.key"] {
        let bytes = std::fs::read(data.root.path().join(file)).unwrap_or_default();
        assert_eq!(patterns.find(&bytes), None, "{file}");
    }
}

#[tokio::test]
async fn a_key_that_others_can_read_or_that_is_none_is_refused() {
    let data = Data::new().await;
    let secrets = data.secrets(None).expect("opened");
    let revision = data.set(&secrets, "github", VALUE).await.expect("stored");
    let chmod = |mode| std::fs::set_permissions(data.key(), PermissionsExt::from_mode(mode)).expect("set");
    for mode in [0o640, 0o604, 0o660, 0o644] {
        chmod(mode);
        let error = data.secrets(None).expect_err("refused").to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
    chmod(0o400);
    assert!(data.secrets(None).is_ok());
    chmod(0o600);
    std::fs::write(data.key(), "not a key\n").expect("written");
    let error = data.secrets(None).expect_err("refused").to_string();
    assert!(error.contains("secrets.key holds no age identity"), "{error}");
    // The value of the first is still there for the right key.
    assert_eq!(secrets.value(&id("github"), revision).await.expect("opened").expose(), VALUE);
}

#[tokio::test]
async fn a_missing_or_another_key_loses_nothing_and_makes_no_new_one() {
    let data = Data::new().await;
    let secrets = data.secrets(None).expect("opened");
    let revision = data.set(&secrets, "github", VALUE).await.expect("stored");
    let kept = std::fs::read(data.key()).expect("read");
    std::fs::remove_file(data.key()).expect("removed");

    let without = data.secrets(None).expect("a host starts without it");
    let opened = without.value(&id("github"), revision).await.expect_err("no key");
    assert!(matches!(opened, SecretsError::KeyMissing { .. }), "{opened}");
    assert!(opened.to_string().contains("PORTCULLIS_SECRETS_KEY"), "{opened}");
    let set = data.set(&without, "other", VALUE).await.expect_err("it would be a second key");
    assert!(matches!(set, SecretsError::KeyMissing { .. }), "{set}");
    assert!(!data.key().exists());

    let (other, _) = SecretsKey::generate(Path::new("elsewhere").into());
    let with_other = data.secrets(Some(other)).expect("opened");
    let opened = with_other.value(&id("github"), revision).await.expect_err("another key");
    assert!(matches!(opened, SecretsError::OtherKey { .. }), "{opened}");
    let set = data.set(&with_other, "other", VALUE).await.expect_err("it would be a second key");
    assert!(matches!(set, SecretsError::OtherKey { .. }), "{set}");

    let text = String::from_utf8(kept).expect("text");
    let given = SecretsKey::parse(&text, KeyOrigin::Given("$KEY")).expect("a key");
    let back = data.secrets(Some(given)).expect("opened");
    assert_eq!(back.value(&id("github"), revision).await.expect("opened").expose(), VALUE);
    data.set(&back, "other", VALUE).await.expect("stored");
    assert!(!data.key().exists(), "a key that was given is not written down");
    assert_eq!(data.database.settle(Revision(2)).await.expect("whole"), Settled::Nothing);
}

#[tokio::test]
async fn what_was_altered_in_the_database_is_damaged_and_not_guessed() {
    let data = Data::new().await;
    let secrets = data.secrets(None).expect("opened");
    let value = SecretValue::new(VALUE.to_vec()).expect("long enough");
    let sealed = secrets.seal(&data.folder, &value).await.expect("sealed");
    let key = read_key(data.folder.paths()).expect("read").expect("made");
    assert_eq!(open_sealed(&key, &id("a"), &sealed).expect("opened"), value);
    let age = STANDARD.decode(&sealed.ciphertext).expect("base64");
    for at in [0, 30, age.len() / 2, age.len() - 1] {
        let mut altered = age.clone();
        altered[at] ^= 1;
        let altered = Sealed { ciphertext: STANDARD.encode(altered), ..sealed.clone() };
        assert!(matches!(open_sealed(&key, &id("a"), &altered), Err(SecretsError::Damaged { .. })), "{at}");
    }
    for ciphertext in [String::new(), "?".to_owned(), STANDARD.encode("age-encryption.org/v1\n")] {
        let altered = Sealed { ciphertext, ..sealed.clone() };
        assert!(matches!(open_sealed(&key, &id("a"), &altered), Err(SecretsError::Damaged { .. })));
    }
}
