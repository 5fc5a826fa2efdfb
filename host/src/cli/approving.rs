//! `portcullis package approve`: what is to be approved is on screen before it is.
//!
//! At a terminal it is shown and asked for; what is approved then are the very bytes that were shown, compared with the
//! very bytes that were approved. Where nobody can be asked, `--json` included, the host refuses what widened unless `--yes` was said.

use http::Method;

use super::client::Client;
use super::commands::{get, json, send};
use super::failure::Failure;
use super::output::Output;
use super::{input, show};
use crate::api::Problem;
use crate::api::messages::{ApproveRequest, Approved};
use crate::database::PackageState;
use crate::gateway::{HostError, PackageDetails};
use crate::ids::{PackageDigest, PackageName};
use crate::policy::UpgradeDiff;
use crate::registry::RegistryError;

pub(super) async fn approve(
    client: Client,
    name: PackageName,
    (digest, downgrade): (Option<PackageDigest>, bool),
    is_meant: bool,
    output: &Output,
) -> Result<(), Failure> {
    if output.json || is_meant || !input::can_ask() {
        // --json is a form of the answer, and no consent: a program says --yes like everybody.
        let wanted = ApproveRequest { digest, downgrade, compared_with: None, allow_wider: is_meant };
        let approved: Approved = client.document(request(&name, &wanted)?).await?;
        return output.answer(&approved, show::approved);
    }
    let again = client.again();
    let details: Vec<PackageDetails> = client.document(get(&format!("/v1/packages/{name}"))?).await?;
    let chosen = chosen(&name, details, digest)?;
    output.note(show::details(std::slice::from_ref(&chosen)).trim_end());
    let question = match &chosen.upgrade {
        Some(upgrade) if upgrade.widens() => {
            format!("\n{name} asks for MORE than what is approved, or says something else. Approve it?")
        }
        Some(_) => format!("\nApprove {name}, which asks for no more than what is approved?"),
        None => format!("\nLet these bytes run as {name}?"),
    };
    if !input::confirmed(&question).await? {
        return Err(Failure::input("nothing was approved"));
    }
    let wanted = ApproveRequest {
        digest: Some(chosen.package.digest),
        downgrade,
        compared_with: chosen.upgrade.as_ref().map(|upgrade| upgrade.from),
        // Only of what was shown as wider: if it has become so since, nothing is approved.
        allow_wider: chosen.upgrade.as_ref().is_some_and(UpgradeDiff::widens),
    };
    let approved: Approved = again.client().await?.document(request(&name, &wanted)?).await?;
    output.answer(&approved, show::approval)
}

fn request(name: &PackageName, wanted: &ApproveRequest) -> Result<http::Request<crate::api::Body>, Failure> {
    send(Method::POST, &format!("/v1/packages/{name}/approve"), json(wanted)?)
}

/// Those of a digest, else the only ones that wait, else those that are approved: as the host chooses.
fn chosen(
    name: &PackageName,
    details: Vec<PackageDetails>,
    digest: Option<PackageDigest>,
) -> Result<PackageDetails, Failure> {
    let name = name.clone();
    let refused = |error: RegistryError| Failure::from(Problem::from(HostError::from(error)));
    if let Some(digest) = digest {
        let found = details.into_iter().find(|details| details.package.digest == digest);
        return found.ok_or_else(|| refused(RegistryError::NoSuchDigest { name, digest }));
    }
    let is_pending = |details: &PackageDetails| details.package.state == PackageState::Pending;
    let (mut pending, others): (Vec<_>, Vec<_>) = details.into_iter().partition(is_pending);
    match (pending.pop(), pending.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            let digests = pending.into_iter().chain([last]).map(|details| details.package.digest);
            Err(refused(RegistryError::Ambiguous { name, digests: digests.collect() }))
        }
        (None, _) => {
            let approved = others.into_iter().find(|details| details.package.state == PackageState::Approved);
            approved.ok_or_else(|| refused(RegistryError::NothingPending { name }))
        }
    }
}
