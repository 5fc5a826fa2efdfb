//! What an admin does with grants: planned, recorded, and only then put in force.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Host, HostError};
use crate::audit::event::Event;
use crate::database::{ChangeError, GrantsChange, Preview};
use crate::ids::{CallId, GrantId, PackageName, PrincipalId, Revision};
use crate::policy::agents::new_agents;
use crate::policy::diff::{Approved, GrantsDiff, diff};
use crate::policy::parse::parse_grants_within;
use crate::policy::{Grant, GrantsFile, Policy};
use crate::registry::FolderCheck;

/// A grants file as an admin gave it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GrantsSource {
    /// Its name, for messages.
    pub file: String,
    /// The folder that relative paths begin at.
    pub folder: std::path::PathBuf,
    /// Its text.
    pub text: String,
}

/// What a change of grants did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantsChanged {
    /// The revision now in force.
    pub revision: Revision,
    /// Grants that are new in it.
    pub granted: Vec<GrantId>,
    /// Grants that ended with it.
    pub revoked: Vec<GrantId>,
    /// Whether anything changed at all.
    pub changed: bool,
    /// Running calls that were told to end, because they would be denied now, or given less.
    #[serde(default)]
    pub stopped: Vec<CallId>,
    /// What it means for agents, where a grants file was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Box<GrantsDiff>>,
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
        let file = self.read_grants(source)?;
        let _changing = self.begin_change().await?;
        let planned = self.database.prepare_apply(&file, by, self.now()).await;
        let (change, preview) = planned.map_err(|error| refused(source, error))?;
        let diff = Some(Box::new(self.compare(&file, &preview)));
        let Some(change) = change else {
            let (granted, revoked, stopped) = Default::default();
            let revision = preview.before.revision;
            return Ok(GrantsChanged { revision, granted, revoked, changed: false, stopped, diff });
        };
        Ok(GrantsChanged { diff, ..self.put_in_force(by, change).await? })
    }

    /// What [`apply_grants`](Self::apply_grants) would change. Changes nothing, and is not recorded.
    ///
    /// # Errors
    /// [`HostError::Grants`] with every error of the file.
    pub async fn diff_grants(
        &self,
        by: &PrincipalId,
        source: &GrantsSource,
    ) -> Result<GrantsDiff, HostError> {
        let file = self.read_grants(source)?;
        let preview = self.database.preview_apply(&file, by, self.now()).await;
        Ok(self.compare(&file, &preview.map_err(|error| refused(source, error))?))
    }

    fn read_grants(&self, source: &GrantsSource) -> Result<GrantsFile, HostError> {
        let folders = FolderCheck::new(&source.folder, &[self.folder.paths().root()])
            .map_err(|error| HostError::Naming(format!("folder {}: {error}", source.folder.display())))?;
        parse_grants_within(&source.text, &folders, &self.limits)
            .map_err(|diagnostics| HostError::Grants { file: source.file.clone(), diagnostics })
    }

    fn compare(&self, file: &GrantsFile, preview: &Preview) -> GrantsDiff {
        let Preview { before, after } = preview;
        let in_force = self.in_force();
        let approved: Approved<'_> = in_force
            .approved
            .iter()
            .map(|(name, package)| (name, (package.digest, &package.description)))
            .collect();
        let packages = file.grants.iter().map(|grant| &grant.package).collect();
        let warnings = new_agents(file, before);
        GrantsDiff { warnings, ..diff(before, after, &approved, &packages, &self.limits, self.now()) }
    }

    /// Ends a grant. Running calls that need it end.
    ///
    /// # Errors
    /// If there is no such grant.
    pub async fn revoke(&self, by: &PrincipalId, grant: GrantId) -> Result<GrantsChanged, HostError> {
        let _changing = self.begin_change().await?;
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
        let stopped = self.commit(change).await?;
        Ok(GrantsChanged { revision, granted, revoked, changed: true, stopped, diff: None })
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

fn refused(source: &GrantsSource, error: ChangeError) -> HostError {
    if let ChangeError::File(diagnostics) = error {
        return HostError::Grants { file: source.file.clone(), diagnostics };
    }
    HostError::Change(error)
}
