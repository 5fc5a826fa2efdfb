//! What an admin asks of the host as a whole: freeze, quarantines, principals, what a file would change.

use std::path::PathBuf;

use bytes::Bytes;
use http::Method;

use super::arguments::{PrincipalCommand, QuotaArguments};
use super::client::Client;
use super::commands::{get, json, send};
use super::failure::Failure;
use super::input;
use super::output::Output;
use super::show::{diff as show_diff, standing as show};
use crate::api::messages::{
    FreezeRequest, PrincipalDetails, PrincipalRequest, QuarantineRequest, ReleaseRequest,
};
use crate::gateway::{
    FreezeChanged, HostStatus, PrincipalChanged, PrincipalStatus, QuarantineChanged, QuotaStatus,
    QuotasChanged,
};
use crate::ids::{PackageDigest, PackageName, Remark};
use crate::policy::diff::GrantsDiff;
use crate::policy::{Freeze, QuotasChange};

pub(super) async fn freeze(client: Client, because: Remark, output: &Output) -> Result<(), Failure> {
    let request = send(Method::PUT, "/v1/freeze", json(&FreezeRequest { because })?)?;
    let changed: FreezeChanged = client.document(request).await?;
    output.answer(&changed, show::frozen)
}

pub(super) async fn thaw(client: Client, output: &Output) -> Result<(), Failure> {
    let changed: FreezeChanged = client.document(send(Method::DELETE, "/v1/freeze", Bytes::new())?).await?;
    output.answer(&changed, show::thawed)
}

pub(super) async fn status(client: Client, output: &Output) -> Result<(), Failure> {
    let status: HostStatus = client.document(get("/v1/status")?).await?;
    output.answer(&status, show::status)
}

pub(super) async fn quarantine(
    client: Client,
    name: PackageName,
    digest: Option<PackageDigest>,
    because: Remark,
    output: &Output,
) -> Result<(), Failure> {
    let body = json(&QuarantineRequest { digest, because })?;
    let request = send(Method::POST, &format!("/v1/packages/{name}/quarantine"), body)?;
    let changed: QuarantineChanged = client.document(request).await?;
    output.answer(&changed, show::quarantined)
}

pub(super) async fn release(
    client: Client,
    name: PackageName,
    digest: Option<PackageDigest>,
    output: &Output,
) -> Result<(), Failure> {
    let body = json(&ReleaseRequest { digest })?;
    let request = send(Method::POST, &format!("/v1/packages/{name}/release"), body)?;
    let changed: QuarantineChanged = client.document(request).await?;
    output.answer(&changed, show::released)
}

pub(super) async fn principal(
    client: Client,
    command: PrincipalCommand,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        PrincipalCommand::Add { name, role, note, quotas } => {
            let quotas = Some(QuotasChange::from(quotas)).filter(|quotas| !quotas.is_empty());
            let body = json(&PrincipalRequest { role, note, quotas })?;
            let request = send(Method::PUT, &format!("/v1/principals/{name}"), body)?;
            let changed: PrincipalChanged = client.document(request).await?;
            output.answer(&changed, show::principal_added)
        }
        PrincipalCommand::Show { name } => {
            let details: PrincipalDetails = client.document(get(&format!("/v1/principals/{name}"))?).await?;
            output.answer(&details, show::principal)
        }
        PrincipalCommand::Limit { name, quotas } if QuotasChange::from(quotas).is_empty() => {
            let details: PrincipalDetails = client.document(get(&format!("/v1/principals/{name}"))?).await?;
            output.answer(&details.quotas, show::quota_status)
        }
        PrincipalCommand::Limit { name, quotas } => {
            set_quotas(client, &format!("/v1/principals/{name}/quotas"), quotas.into(), output).await
        }
        PrincipalCommand::List => {
            let principals: Vec<PrincipalStatus> = client.document(get("/v1/principals")?).await?;
            output.answer(&principals, |principals| show::principals(principals))
        }
        PrincipalCommand::Remove { name } => {
            let request = send(Method::DELETE, &format!("/v1/principals/{name}"), Bytes::new())?;
            let changed: PrincipalChanged = client.document(request).await?;
            output.answer(&changed, show::principal_removed)
        }
    }
}

/// Shows or sets the quotas of a package.
pub(super) async fn limit_package(
    client: Client,
    name: PackageName,
    quotas: QuotaArguments,
    output: &Output,
) -> Result<(), Failure> {
    let (target, change) = (format!("/v1/packages/{name}/quotas"), QuotasChange::from(quotas));
    if change.is_empty() {
        let status: QuotaStatus = client.document(get(&target)?).await?;
        return output.answer(&status, show::quota_status);
    }
    set_quotas(client, &target, change, output).await
}

async fn set_quotas(
    client: Client,
    target: &str,
    change: QuotasChange,
    output: &Output,
) -> Result<(), Failure> {
    let changed: QuotasChanged = client.document(send(Method::PATCH, target, json(&change)?)?).await?;
    output.answer(&changed, show::quotas_set)
}

pub(super) async fn diff(client: Client, file: PathBuf, output: &Output) -> Result<(), Failure> {
    let source = input::grants(file).await?;
    let request = send(Method::POST, "/v1/grants/diff", json(&source)?)?;
    let diff: Result<GrantsDiff, Failure> = client.document(request).await;
    let diff = diff.map_err(|failure| failure.about(source.file, source.text))?;
    note_warnings(&diff, output);
    output.answer(&diff, show_diff::diff)?;
    if diff.changes { Err(Failure::Differs) } else { Ok(()) }
}

/// Points out what may be a slip in a grants file. With `--json` it is in the answer.
pub(super) fn note_warnings(diff: &GrantsDiff, output: &Output) {
    if !output.json {
        show_diff::warnings(diff).iter().for_each(|warning| output.note(warning));
    }
}

/// Says that the host is frozen, for a person: who asks a program reads `status`.
pub(super) fn note_freeze(frozen: Option<&Freeze>, output: &Output) {
    if let Some(frozen) = frozen.filter(|_| !output.json) {
        output.note(&show::freeze_line(frozen));
    }
}
