//! The key that signs the log's checkpoints: made at the first start, rotated when an admin says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Host, HostError};
use crate::audit::{CheckpointError, CheckpointKey, rotation};
use crate::config::{DataFolder, DataFolderError};
use crate::ids::{PrincipalId, Sequence};

/// What came of rotating the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRotated {
    /// The key that signs from now on, as C2SP `signed-note` writes a public key.
    pub key: String,
    /// The record that says so, which the old key signed.
    pub record: Sequence,
}

/// The key of a data folder; made if there is none. A rotation that a crash interrupted is ended if the old key
/// has given its word for the new one, else forgotten.
pub(super) fn signing(folder: &DataFolder) -> Result<CheckpointKey, HostError> {
    let key = match folder.audit_key()? {
        Some(text) => CheckpointKey::parse(&text).map_err(unusable)?,
        None => {
            let key = CheckpointKey::generate().map_err(unusable)?;
            folder.keep_audit_key(key.text())?;
            key
        }
    };
    let key = match folder.next_audit_key()? {
        None => key,
        Some(text) => {
            let next = CheckpointKey::parse(&text).map_err(unusable)?;
            let audit = folder.paths().audit();
            let kept = rotation::is_kept(&audit, next.public()).map_err(|error| {
                DataFolderError::Unusable { path: audit.clone(), reason: error.to_string() }
            })?;
            if kept {
                folder.take_next_audit_key()?;
                next
            } else {
                folder.drop_next_audit_key()?;
                key
            }
        }
    };
    folder.keep_audit_public_key(key.public())?;
    Ok(key)
}

fn unusable(error: CheckpointError) -> HostError {
    HostError::Key(error.to_string())
}

impl Host {
    /// The public half of the key that signs checkpoints.
    pub fn audit_key(&self) -> Option<String> {
        self.log.key().map(|key| key.public().to_owned())
    }

    /// Has a new key sign checkpoints from now on. The old one signs a last one, over the record that names the
    /// new one: whoever trusts the old key can go on from there.
    ///
    /// # Errors
    /// If it can't be recorded or kept: then the old key goes on, or the next start ends the rotation.
    pub async fn rotate_audit_key(&self, by: &PrincipalId) -> Result<KeyRotated, HostError> {
        let _changing = self.begin_change().await?;
        let Some(old) = self.log.key() else {
            return Err(HostError::Key("this log is not signed".to_owned()));
        };
        let new = old.successor().map_err(unusable)?;
        self.folder.keep_next_audit_key(new.text())?;
        let record = self.log.record_rotation(&new, by.clone()).await?;
        self.folder.take_next_audit_key()?;
        self.folder.keep_audit_public_key(new.public())?;
        let key = new.public().to_owned();
        self.log.sign_with(new);
        Ok(KeyRotated { key, record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ownership;
    use crate::gateway::HostOptions;

    fn taken(root: &std::path::Path) -> DataFolder {
        match DataFolder::take(root).expect("usable") {
            Ownership::Ours(folder) => folder,
            Ownership::Others { pid, .. } => panic!("owned by {pid:?}"),
        }
    }

    #[tokio::test]
    async fn a_rotation_that_a_crash_interrupts_is_ended_if_it_was_given_word_of_and_else_forgotten() {
        let temporary = tempfile::tempdir().expect("a folder");
        let host = Host::at(temporary.path(), HostOptions::default()).await.expect("a host");
        let first = host.audit_key().expect("a key");
        host.close().await.expect("closed");

        let folder = taken(temporary.path());
        let old = signing(&folder).expect("the key");
        assert_eq!(old.public(), first);
        let lost = old.successor().expect("a key");
        folder.keep_next_audit_key(lost.text()).expect("kept");
        assert_eq!(signing(&folder).expect("the old key").public(), first);
        assert!(folder.next_audit_key().expect("readable").is_none());
        drop(folder);

        let host = Host::at(temporary.path(), HostOptions::default()).await.expect("a host");
        let old = host.log.key().expect("a key");
        let rotated = host.rotate_audit_key(&"root".parse().expect("a name")).await.expect("rotated");
        let new = host.log.key().expect("a key");
        assert_eq!((new.public(), host.audit_key()), (rotated.key.as_str(), Some(rotated.key.clone())));
        host.close().await.expect("closed");

        // As if the host had died before the new key was put in its place.
        let folder = taken(temporary.path());
        folder.keep_audit_key(old.text()).expect("kept");
        folder.keep_next_audit_key(new.text()).expect("kept");
        assert_eq!(signing(&folder).expect("the new key").public(), rotated.key);
        assert_eq!(signing(&folder).expect("the new key").public(), rotated.key);
    }
}
