//! `portcullis inspect`: a file that is not registered, as a host would see it; and what another version asks more.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Serialize;

use super::scratch::Scratch;
use crate::authoring::advisories::{Advisory, advisories};
use crate::cli::arguments::InspectArguments;
use crate::cli::attached::{self, Told};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{input, oci, show};
use crate::gateway::AddedPackage;
use crate::ids::PackageDigest;
use crate::policy::{Side, changes};

/// A file, for `--json`.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Inspected {
    #[serde(flatten)]
    pub(in crate::cli) package: AddedPackage,
    /// Of the crates that it was built from, where a database was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) advisories: Option<Vec<Advisory>>,
    /// What is attached to it: its author's word.
    #[serde(flatten)]
    pub(in crate::cli) attached: Told,
}

/// Shows a file, or what differs between two.
pub(in crate::cli) async fn inspect(arguments: InspectArguments, output: &Output) -> Result<(), Failure> {
    let InspectArguments { file, diff, advisories: database, sbom, provenance, registry } = arguments;
    if let [old, new] = diff.as_slice() {
        let (old, new) = (read(old.clone()).await?, read(new.clone()).await?);
        // Who has signed is a host's to say.
        let signers = BTreeSet::new();
        let [old, new] = [&old, &new].map(|AddedPackage { description, about, .. }| Side {
            description,
            manifest: about.manifest.as_ref(),
            signers: &signers,
        });
        let changes = changes(old, new);
        output.answer(&changes, |changes| show::built::changes(changes))?;
        let has_widened = changes.iter().any(|change| change.widened);
        return if has_widened { Err(Failure::Differs) } else { Ok(()) };
    }
    let Some(file) = file else { return Err(Failure::input("name a file, or two with --diff OLD NEW")) };
    let (bytes, attached) = match oci::reference(&file)? {
        Some(reference) => {
            let is_named = !sbom.is_empty() || !provenance.is_empty();
            let taken = oci::take(reference, registry, !is_named, output).await?;
            let digest = PackageDigest::of(&taken.bytes);
            let attached = match is_named {
                true => attached::of_named(sbom, provenance, digest).await?,
                false => attached::of_registry(&taken.reference, taken.attachments),
            };
            (taken.bytes, attached)
        }
        None => {
            let bytes = input::component(file.clone()).await?;
            let digest = PackageDigest::of(&bytes);
            let attached = match sbom.is_empty() && provenance.is_empty() {
                true => attached::beside(&file).await?,
                false => attached::of_named(sbom, provenance, digest).await?,
            };
            (bytes, attached)
        }
    };
    let package = described(bytes).await?;
    let dependencies = package.about.dependencies.as_deref();
    let attached = attached::told(attached, package.digest, dependencies, database.as_deref())?;
    let advisories = match (database, dependencies) {
        (None, _) => None,
        (Some(_), None) if !attached.sboms.is_empty() => None,
        (Some(_), None) => {
            let detail = "the component does not say what it was built from, and has no SBOM: build it with cargo-auditable, or give one with --sbom";
            return Err(Failure::input(detail));
        }
        (Some(folder), Some(dependencies)) => {
            let found = advisories(&folder, dependencies);
            Some(found.map_err(|error| Failure::input(error.to_string()))?)
        }
    };
    let inspected = Inspected { package, advisories, attached };
    output.answer(&inspected, show::built::inspected)
}

/// Has a throw-away host look at a file.
async fn read(file: PathBuf) -> Result<AddedPackage, Failure> {
    described(input::component(file).await?).await
}

async fn described(bytes: Bytes) -> Result<AddedPackage, Failure> {
    let scratch = Scratch::open().await?;
    let added = scratch.add(bytes, None).await;
    scratch.close().await?;
    added
}
