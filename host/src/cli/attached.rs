//! SBOMs and provenance: read from files and registries, and told as what they are, their author's word.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::failure::Failure;
use super::{input, signing};
use crate::authoring::Dependency;
use crate::authoring::advisories::{Advisory, advisories};
use crate::ids::PackageDigest;
use crate::registry::oci::{
    ATTACHMENT_BYTES_MAX, Attachment, AttachmentError, AttachmentKind, Said, Sbom, Statement,
};

/// The most attachments of a component that are shown.
const ATTACHMENTS_MAX: usize = 16;

/// An attachment, and where it was.
pub(super) struct Attached {
    pub(super) from: String,
    pub(super) attachment: Attachment,
}

/// What the attachments of a component say.
#[derive(Debug, Default, Serialize)]
pub(in crate::cli) struct Told {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) sboms: Vec<ToldSbom>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) statements: Vec<ToldStatement>,
}

/// An SBOM: its author's word.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct ToldSbom {
    pub(in crate::cli) from: String,
    #[serde(flatten)]
    pub(in crate::cli) sbom: Sbom,
    /// The crates that the component itself says it was built from and this does not list; none where it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) unlisted: Option<Vec<String>>,
    /// Of the crates that it lists, where a database was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) advisories: Option<Vec<Advisory>>,
}

/// A statement about the component's own bytes: its author's word.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct ToldStatement {
    pub(in crate::cli) from: String,
    pub(in crate::cli) kind: AttachmentKind,
    #[serde(flatten)]
    pub(in crate::cli) statement: Statement,
}

/// An SBOM or a provenance in a file, of a component if it is a statement.
pub(super) async fn read(file: PathBuf, is_sbom: bool, of: PackageDigest) -> Result<Attachment, Failure> {
    let attachment = file_of_any_kind(file.clone()).await?;
    let name = file.display();
    if attachment.kind.is_sbom() != is_sbom {
        let flag = if is_sbom { "--provenance" } else { "--sbom" };
        return Err(Failure::input(format!(
            "{name} is {}: give it with {flag}",
            attachment.kind.media_type()
        )));
    }
    attachment.said_of(of).map_err(|error| wrong(&name.to_string(), &error))?;
    Ok(attachment)
}

/// The attachments of a component in a registry.
pub(super) fn of_registry(reference: &str, attachments: Vec<Attachment>) -> Vec<Attached> {
    let attached = |attachment| Attached { from: reference.to_owned(), attachment };
    attachments.into_iter().map(attached).collect()
}

/// Those beside its file, as `pull` names them.
pub(super) async fn beside(component: &Path) -> Result<Vec<Attached>, Failure> {
    let files = signing::beside_named(component, AttachmentKind::names)?;
    at_most(files.len())?;
    let mut all = Vec::new();
    for file in files {
        let from = file.display().to_string();
        all.push(Attached { from, attachment: file_of_any_kind(file).await? });
    }
    Ok(all)
}

/// Those in files that are named.
pub(super) async fn of_named(
    sboms: Vec<PathBuf>,
    statements: Vec<PathBuf>,
    digest: PackageDigest,
) -> Result<Vec<Attached>, Failure> {
    at_most(sboms.len() + statements.len())?;
    let mut all = Vec::new();
    for (files, is_sbom) in [(sboms, true), (statements, false)] {
        for file in files {
            let from = file.display().to_string();
            all.push(Attached { from, attachment: read(file, is_sbom, digest).await? });
        }
    }
    Ok(all)
}

fn at_most(count: usize) -> Result<(), Failure> {
    if count > ATTACHMENTS_MAX {
        let detail = format!("{count} SBOMs and statements are there, at most {ATTACHMENTS_MAX} are read");
        return Err(Failure::input(detail));
    }
    Ok(())
}

async fn file_of_any_kind(file: PathBuf) -> Result<Attachment, Failure> {
    let name = file.display().to_string();
    let text = input::text(file, ATTACHMENT_BYTES_MAX).await?;
    Attachment::read(text.into()).map_err(|error| wrong(&name, &error))
}

fn wrong(name: &str, error: &AttachmentError) -> Failure {
    Failure::input(format!("{name}: {error}"))
}

/// What they say of a component, which was built from `dependencies` if it says so.
///
/// # Errors
/// If a statement is about other bytes, or one of them can't be read.
pub(super) fn told(
    attached: Vec<Attached>,
    digest: PackageDigest,
    dependencies: Option<&[Dependency]>,
    database: Option<&Path>,
) -> Result<Told, Failure> {
    let mut told = Told::default();
    for Attached { from, attachment } in attached {
        match attachment.said_of(digest).map_err(|error| wrong(&from, &error))? {
            Said::Statement(statement) => {
                told.statements.push(ToldStatement { from, kind: attachment.kind, statement });
            }
            Said::Sbom(sbom) => {
                let unlisted = dependencies.map(|dependencies| unlisted(&sbom, dependencies));
                let found = database.map(|folder| advisories(folder, &of_crates_io(&sbom))).transpose();
                let advisories = found.map_err(|error| Failure::input(error.to_string()))?;
                told.sboms.push(ToldSbom { from, sbom, unlisted, advisories });
            }
        }
    }
    Ok(told)
}

fn of_crates_io(sbom: &Sbom) -> Vec<Dependency> {
    let listed = sbom.crates.iter().filter(|one| one.is_of_crates_io);
    let dependency = |one: &crate::registry::oci::ListedCrate| Dependency {
        name: one.name.clone(),
        version: one.version.clone(),
        source: "crates.io".to_owned(),
        build: false,
    };
    listed.map(dependency).collect()
}

/// What is in the component and not in the list: crates that others have made, and that did not only build it.
fn unlisted(sbom: &Sbom, dependencies: &[Dependency]) -> Vec<String> {
    let listed: BTreeSet<(&str, &str)> =
        sbom.crates.iter().map(|one| (one.name.as_str(), one.version.as_str())).collect();
    let is_unlisted = |one: &&Dependency| {
        !one.build && one.source != "local" && !listed.contains(&(one.name.as_str(), one.version.as_str()))
    };
    dependencies.iter().filter(is_unlisted).map(|one| format!("{} {}", one.name, one.version)).collect()
}
