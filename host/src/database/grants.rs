//! Grants in force, groups, and the history of revisions: reading.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::ChangeError;
use super::standing::{Step, read_standing};
use super::{Database, DatabaseError, PackageState, from_integer, from_json, from_text, to_integer};
use crate::ids::{GrantId, GroupName, PackageDigest, PackageName, PrincipalId, Revision, ToolName};
use crate::package::PackageDescription;
use crate::policy::{Diagnostic, Grant, GrantsFile, Policy, nearest};

/// One change of what is in force, as history shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRow {
    /// Its number.
    pub number: Revision,
    /// When it was made.
    pub made_at: Timestamp,
    /// Who made it.
    pub made_by: PrincipalId,
    /// Grants that are new in it.
    pub granted: Vec<GrantId>,
    /// Grants that ended with it.
    pub revoked: Vec<GrantId>,
    /// Groups whose members it set.
    pub groups: Vec<GroupName>,
    /// What else it set.
    pub step: Option<Step>,
}

/// A grant, and when it was in force. Neither its number nor its terms ever change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantHistory {
    /// It.
    pub grant: Grant,
    /// The revision that it began with.
    pub created: Revision,
    /// When that was.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: PrincipalId,
    /// The revision that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revision>,
}

type HistoryColumns = (i64, String, String, String, i64, String, String, Option<i64>);

type GrantColumns = (i64, String, String, String);
type RevisionColumns = (i64, String, String, String, String, String, Option<String>);

fn grant((id, package, digest, terms): GrantColumns) -> Result<Grant, DatabaseError> {
    Ok(Grant {
        id: GrantId(from_integer("grants.id", id)?),
        package: from_text("grants.package", &package)?,
        digest: from_text("grants.digest", &digest)?,
        terms: from_json("grants.terms", &terms)?,
    })
}

impl Database {
    /// The number of the state of grants that is in force; 0 before the first change.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn revision(&self) -> Result<Revision, DatabaseError> {
        let number: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(number), 0) FROM revisions")
            .fetch_one(&self.pool)
            .await?;
        Ok(Revision(from_integer("revisions.number", number)?))
    }

    /// All that is in force now.
    ///
    /// # Errors
    /// [`DatabaseError`]: then nothing may be allowed; there is no policy to fall back to.
    pub async fn policy(&self) -> Result<Policy, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        let number: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(number), 0) FROM revisions")
            .fetch_one(&mut *transaction)
            .await?;
        let grants: Vec<GrantColumns> = sqlx::query_as(
            "SELECT id, package, digest, terms FROM grants WHERE revoked_revision IS NULL ORDER BY id",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let groups: Vec<(String, String)> =
            sqlx::query_as("SELECT name, members FROM agent_groups").fetch_all(&mut *transaction).await?;
        let mut policy = Policy {
            revision: Revision(from_integer("revisions.number", number)?),
            grants: grants.into_iter().map(grant).collect::<Result<_, _>>()?,
            groups: groups
                .into_iter()
                .map(|(name, members)| {
                    let members: BTreeSet<PrincipalId> = from_json("agent_groups.members", &members)?;
                    Ok((from_text("agent_groups.name", &name)?, members))
                })
                .collect::<Result<_, DatabaseError>>()?,
            ..Policy::default()
        };
        read_standing(&mut transaction, &mut policy).await?;
        Ok(policy)
    }

    /// The grants in force, of one package or of all, in the order of their numbers.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn grants(&self, package: Option<&PackageName>) -> Result<Vec<Grant>, DatabaseError> {
        let rows: Vec<GrantColumns> = sqlx::query_as(
            "SELECT id, package, digest, terms FROM grants \
             WHERE revoked_revision IS NULL AND ($1 IS NULL OR package = $1) ORDER BY id",
        )
        .bind(package.map(PackageName::as_str))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(grant).collect()
    }

    /// Grants by their numbers, in force or not, in their order. Those that there never were are left out.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn grant_histories(&self, ids: &BTreeSet<GrantId>) -> Result<Vec<GrantHistory>, DatabaseError> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let row: Option<HistoryColumns> = sqlx::query_as(
                "SELECT id, package, digest, terms, created_revision, made_at, made_by, revoked_revision \
                 FROM grants JOIN revisions ON number = created_revision WHERE id = $1",
            )
            .bind(to_integer(id.0)?)
            .fetch_optional(&self.pool)
            .await?;
            let Some((id, package, digest, terms, created, made_at, made_by, revoked)) = row else {
                continue;
            };
            let revoked =
                revoked.map(|number| from_integer("grants.revoked_revision", number)).transpose()?;
            found.push(GrantHistory {
                grant: grant((id, package, digest, terms))?,
                created: Revision(from_integer("grants.created_revision", created)?),
                created_at: from_text("revisions.made_at", &made_at)?,
                created_by: from_text("revisions.made_by", &made_by)?,
                revoked: revoked.map(Revision),
            });
        }
        Ok(found)
    }

    /// The latest changes of grants, the newest first, at most `count`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn revisions(&self, count: u32) -> Result<Vec<RevisionRow>, DatabaseError> {
        let rows: Vec<RevisionColumns> = sqlx::query_as(
            "SELECT number, made_at, made_by, granted, revoked, groups, step FROM revisions \
             ORDER BY number DESC LIMIT $1",
        )
        .bind(i64::from(count))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(number, made_at, made_by, granted, revoked, groups, step)| {
                Ok(RevisionRow {
                    number: Revision(from_integer("revisions.number", number)?),
                    made_at: from_text("revisions.made_at", &made_at)?,
                    made_by: from_text("revisions.made_by", &made_by)?,
                    granted: from_json("revisions.granted", &granted)?,
                    revoked: from_json("revisions.revoked", &revoked)?,
                    groups: from_json("revisions.groups", &groups)?,
                    step: step.map(|step| from_json("revisions.step", &step)).transpose()?,
                })
            })
            .collect()
    }

    /// The text of the grants file that made a revision; `None` if there is no such revision, or it
    /// was not made by a file.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn revision_source(&self, revision: Revision) -> Result<Option<String>, DatabaseError> {
        let source: Option<Option<String>> =
            sqlx::query_scalar("SELECT source FROM revisions WHERE number = $1")
                .bind(to_integer(revision.0)?)
                .fetch_optional(&self.pool)
                .await?;
        Ok(source.flatten())
    }

    /// A number that no grant ever had.
    pub(super) async fn next_grant_id(&self) -> Result<u64, DatabaseError> {
        let last: i64 =
            sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM grants").fetch_one(&self.pool).await?;
        Ok(from_integer("grants.id", last)? + 1)
    }

    /// The approved digest of each package that the file names, once its tools are known to exist and
    /// nothing else was found to be wrong.
    pub(super) async fn approved_digests(
        &self,
        file: &GrantsFile,
        mut diagnostics: Vec<Diagnostic>,
    ) -> Result<BTreeMap<PackageName, PackageDigest>, ChangeError> {
        let mut approved: BTreeMap<&PackageName, Result<(PackageDigest, PackageDescription), Unusable>> =
            BTreeMap::new();
        for (index, entry) in file.grants.iter().enumerate() {
            if !approved.contains_key(&entry.package) {
                approved.insert(&entry.package, self.approved_for_grant(&entry.package).await?);
            }
            let report = |span: &std::ops::Range<usize>, key: &str, (message, help)| {
                Diagnostic::new(&file.source, span.clone(), &format!("grant[{index}].{key}"), message, help)
            };
            match approved.get(&entry.package) {
                Some(Ok((_, description))) => {
                    for (tool, span) in &entry.tool_spans {
                        if let Some(problem) = unknown_tool(&entry.package, description, tool) {
                            diagnostics.push(report(span, "tools", problem));
                        }
                    }
                    for (tool, place) in &entry.names {
                        if let Some(problem) = unknown_tool(&entry.package, description, tool) {
                            diagnostics.push(report(&place.tool_span, "names", problem));
                        }
                    }
                }
                Some(Err(unusable)) => {
                    diagnostics.push(report(&entry.span, "package", unusable.explain(&entry.package)));
                }
                None => {}
            }
        }
        if !diagnostics.is_empty() {
            diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
            return Err(ChangeError::File(diagnostics));
        }
        let digests = approved.into_iter().filter_map(|(name, found)| Some((name.clone(), found.ok()?.0)));
        Ok(digests.collect())
    }

    async fn approved_for_grant(
        &self,
        name: &PackageName,
    ) -> Result<Result<(PackageDigest, PackageDescription), Unusable>, DatabaseError> {
        let packages = self.packages_named(name).await?;
        if packages.is_empty() {
            let names: BTreeSet<String> =
                self.packages().await?.into_iter().map(|package| package.name.to_string()).collect();
            let near = nearest(name.as_str(), names.iter().map(String::as_str)).map(ToOwned::to_owned);
            return Ok(Err(Unusable::Unknown { near }));
        }
        let approved = packages.into_iter().find(|package| package.state == PackageState::Approved);
        let Some(package) = approved else { return Ok(Err(Unusable::NotApproved)) };
        let description = self.package_description(name, package.digest).await?;
        Ok(description.map(|description| (package.digest, description)).ok_or(Unusable::NotApproved))
    }
}

/// Why a package can't be granted anything.
#[derive(Debug)]
enum Unusable {
    Unknown { near: Option<String> },
    NotApproved,
}

impl Unusable {
    fn explain(&self, name: &PackageName) -> (String, Option<String>) {
        match self {
            Unusable::Unknown { near } => {
                let help = near.as_ref().map_or_else(
                    || "register it first: portcullis package add FILE".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                (format!("package {name} is not registered"), Some(help))
            }
            Unusable::NotApproved => {
                let help = format!("review and approve it first: portcullis package approve {name}");
                (format!("package {name} is not approved"), Some(help))
            }
        }
    }
}

fn unknown_tool(
    package: &PackageName,
    description: &PackageDescription,
    tool: &ToolName,
) -> Option<(String, Option<String>)> {
    let names = || description.tools.iter().map(|known| known.name.as_str());
    if names().any(|known| known == tool.as_str()) {
        return None;
    }
    let help = nearest(tool.as_str(), names()).map_or_else(
        || format!("its tools: {}", names().take(20).collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Some((format!("package {package} has no tool {tool}"), Some(help)))
}
