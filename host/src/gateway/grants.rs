//! What an admin does with grants: planned, recorded, and only then put in force.

use serde::{Deserialize, Serialize};

use super::{Host, HostError};
use crate::audit::event::Event;
use crate::database::{ChangeError, GrantsChange};
use crate::ids::{GrantId, PackageName, PrincipalId, Revision};
use crate::policy::parse::parse_grants;
use crate::policy::{Grant, Policy};
use crate::registry::FolderCheck;

/// A grants file as an admin gave it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantsSource {
    /// Its name, for messages.
    pub file: String,
    /// The folder that relative paths begin at.
    pub folder: std::path::PathBuf,
    /// Its text.
    pub text: String,
}

/// What a change of grants did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantsChanged {
    /// The revision now in force.
    pub revision: Revision,
    /// Grants that are new in it.
    pub granted: Vec<GrantId>,
    /// Grants that ended with it.
    pub revoked: Vec<GrantId>,
    /// Whether anything changed at all.
    pub changed: bool,
}

impl Host {
    /// Puts a grants file in force: it replaces all grants of each package that it names.
    ///
    /// # Errors
    /// [`HostError::Grants`] with every error of the file; nothing is changed then.
    pub async fn apply_grants(
        &self,
        by: &PrincipalId,
        source: &GrantsSource,
    ) -> Result<GrantsChanged, HostError> {
        let wrong = |diagnostics| HostError::Grants { file: source.file.clone(), diagnostics };
        let folders = FolderCheck::new(&source.folder, &[self.folder.paths().root()])
            .map_err(|error| HostError::Naming(format!("folder {}: {error}", source.folder.display())))?;
        let file = parse_grants(&source.text, &folders).map_err(wrong)?;
        let change = match self.database.prepare_apply(&file, by, self.now()).await {
            Ok(change) => change,
            Err(ChangeError::File(diagnostics)) => return Err(wrong(diagnostics)),
            Err(error) => return Err(HostError::Change(error)),
        };
        let Some(change) = change else {
            let revision = self.in_force().policy.revision;
            return Ok(GrantsChanged { revision, granted: Vec::new(), revoked: Vec::new(), changed: false });
        };
        self.put_in_force(by, change).await
    }

    /// Ends a grant.
    ///
    /// # Errors
    /// If there is no such grant.
    pub async fn revoke(&self, by: &PrincipalId, grant: GrantId) -> Result<GrantsChanged, HostError> {
        let change = self.database.prepare_revoke(grant, by, self.now()).await.map_err(HostError::Change)?;
        self.put_in_force(by, change).await
    }

    /// The record first, then the change. If the log may have it, the change is not abandoned: the next
    /// start settles it by what the log holds.
    async fn put_in_force(&self, by: &PrincipalId, change: GrantsChange) -> Result<GrantsChanged, HostError> {
        let (revision, granted, revoked) = (change.revision(), change.granted(), change.revoked().to_vec());
        let event = Event::GrantsChanged {
            revision,
            granted: granted.clone(),
            revoked: revoked.clone(),
            by: by.clone(),
        };
        self.log.append(event).await?;
        change.commit().await?;
        self.refresh().await?;
        Ok(GrantsChanged { revision, granted, revoked, changed: true })
    }

    /// The grants in force, of one package or of all.
    pub fn grants(&self, package: Option<&PackageName>) -> Vec<Grant> {
        let in_force = self.in_force();
        let of_package = |grant: &&Grant| package.is_none_or(|package| grant.package == *package);
        in_force.policy.grants.iter().filter(of_package).cloned().collect()
    }

    /// All that is granted now.
    pub fn policy(&self) -> Policy {
        self.in_force().policy.clone()
    }
}
