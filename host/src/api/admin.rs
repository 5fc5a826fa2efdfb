//! What an admin does to the host as a whole: freeze, quarantines, principals, what a grants file would
//! change. Decides nothing.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, patch, post, put};
use axum::{Extension, Json, Router};
use http::HeaderValue;
use serde_json::json as example;

use super::http::{Api, Checked, grants_example, json, json_body, to_its_end};
use super::messages::{
    FROZEN_HEADER, FreezeRequest, PrincipalDetails, PrincipalRequest, QuarantineRequest, ReleaseRequest,
};
use super::openapi::Described;
use super::problem::{ErrorKind, Problem};
use crate::authn::Caller;
use crate::gateway::{
    FreezeChanged, GrantsSource, HostError, HostStatus, PrincipalChanged, PrincipalStatus, QuarantineChanged,
    QuotaStatus, QuotasChanged,
};
use crate::ids::{PackageName, PrincipalId};
use crate::policy::diff::GrantsDiff;
use crate::policy::{QuotaSubject, Quotas, QuotasChange, Role};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/packages/{name}/quarantine", post(quarantine))
        .route("/v1/packages/{name}/release", post(release))
        .route("/v1/freeze", put(freeze).delete(thaw))
        .route("/v1/status", get(status))
        .route("/v1/grants/diff", post(diff_grants))
        .route("/v1/principals", get(list_principals))
        .route("/v1/principals/{name}", get(show_principal).put(add_principal).delete(remove_principal))
        .route("/v1/principals/{name}/quotas", patch(set_principal_quotas))
        .route("/v1/packages/{name}/quotas", get(package_quotas).patch(set_package_quotas))
}

pub(super) fn describe(api: &mut Described) {
    api.post(
        "/v1/packages/{name}/quarantine",
        "quarantine_package",
        "Forbids a package, or bytes: no call begins, running ones end.",
    )
    .path::<PackageName>("name", "The package.", example!("notes"))
    .body::<QuarantineRequest>(example!({"because": "CVE-2026-1"}))
    .changes()
    .fails(&[ErrorKind::NotFound])
    .answers::<QuarantineChanged>("What is in force now.")
    .done();
    api.post("/v1/packages/{name}/release", "release_package", "Lifts a quarantine.")
        .path::<PackageName>("name", "The package.", example!("notes"))
        .maybe_body::<ReleaseRequest>(example!({}))
        .changes()
        .fails(&[ErrorKind::NotFound])
        .answers::<QuarantineChanged>("What is in force now.")
        .done();
    api.put("/v1/freeze", "freeze", "Stops everything: running calls end, none begins.")
        .body::<FreezeRequest>(example!({"because": "looking into what notes wrote"}))
        .changes()
        .answers::<FreezeChanged>("What is in force now.")
        .done();
    api.delete("/v1/freeze", "thaw", "Lets calls begin again.")
        .changes()
        .answers::<FreezeChanged>("What is in force now.")
        .done();
    api.get("/v1/status", "show_status", "Shows a freeze, quarantines, and the calls that run.")
        .answers::<HostStatus>("That.")
        .done();
    api.post(
        "/v1/grants/diff",
        "diff_grants",
        "Says what applying a grants file would change; changes nothing.",
    )
    .body::<GrantsSource>(grants_example())
    .fails(&[ErrorKind::InvalidGrants, ErrorKind::Busy])
    .answers::<GrantsDiff>("That.")
    .done();
    api.get("/v1/principals", "list_principals", "Lists who was added, and who is named by grants.")
        .answers::<Vec<PrincipalStatus>>("They, in the order of their names.")
        .done();
    api.get(
        "/v1/principals/{name}",
        "show_principal",
        "Shows a principal, what it may use, and what it uses.",
    )
    .path::<PrincipalId>("name", "Its name.", example!("ann"))
    .fails(&[ErrorKind::NotFound])
    .answers::<PrincipalDetails>("That.")
    .done();
    api.patch(
        "/v1/principals/{name}/quotas",
        "limit_principal",
        "Says how much a principal may use: what is absent stays, what is null is taken away.",
    )
    .path::<PrincipalId>("name", "Its name.", example!("ann"))
    .body::<QuotasChange>(example!({"weight": 2, "calls_per_minute": 60}))
    .changes()
    .fails(&[ErrorKind::NotFound])
    .answers::<QuotasChanged>("What is in force now.")
    .done();
    api.get(
        "/v1/packages/{name}/quotas",
        "show_package_quotas",
        "Shows what may be used of a package, and is.",
    )
    .path::<PackageName>("name", "The package.", example!("notes"))
    .fails(&[ErrorKind::NotFound])
    .answers::<QuotaStatus>("That.")
    .done();
    api.patch(
        "/v1/packages/{name}/quotas",
        "limit_package",
        "Says how much of a package may be used: what is absent stays, what is null is taken away.",
    )
    .path::<PackageName>("name", "The package.", example!("notes"))
    .body::<QuotasChange>(example!({"concurrency": 4}))
    .changes()
    .fails(&[ErrorKind::NotFound])
    .answers::<QuotasChanged>("What is in force now.")
    .done();
    api.put("/v1/principals/{name}", "add_principal", "Adds a principal, or changes its role.")
        .path::<PrincipalId>("name", "Its name.", example!("ann"))
        .body::<PrincipalRequest>(example!({"role": "auditor"}))
        .changes()
        .answers::<PrincipalChanged>("What is in force now.")
        .done();
    api.delete(
        "/v1/principals/{name}",
        "remove_principal",
        "Lets a principal in no more; its running calls end.",
    )
    .path::<PrincipalId>("name", "Its name.", example!("ann"))
    .changes()
    .fails(&[ErrorKind::NotFound])
    .answers::<PrincipalChanged>("What is in force now.")
    .done();
}

/// Says in each answer that the host is frozen, while it is: an admin who sees no call run should see why.
pub(super) async fn tell_frozen(State(api): State<Api>, request: Request, next: Next) -> Response {
    let role = request.extensions().get::<Caller>().map(Caller::role);
    let mut response = next.run(request).await;
    // It has an admin's words.
    if !role.is_some_and(|role| matches!(role, Role::Admin | Role::Auditor)) {
        return response;
    }
    let told = api.host.frozen().and_then(|frozen| {
        let json = serde_json::to_vec(&frozen).ok()?;
        HeaderValue::from_bytes(&json).ok()
    });
    if let Some(told) = told {
        response.headers_mut().insert(FROZEN_HEADER, told);
    }
    response
}

async fn quarantine(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<PackageName>>,
    request: Request,
) -> Result<Json<QuarantineChanged>, Problem> {
    let QuarantineRequest { digest, because } = json(&json_body(request).await?)?;
    to_its_end(async move { Ok(Json(api.host.quarantine(caller.principal(), name, digest, because).await?)) })
        .await
}

async fn release(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<PackageName>>,
    request: Request,
) -> Result<Json<QuarantineChanged>, Problem> {
    let bytes = json_body(request).await?;
    let ReleaseRequest { digest } = if bytes.is_empty() { ReleaseRequest::default() } else { json(&bytes)? };
    to_its_end(async move { Ok(Json(api.host.release(caller.principal(), name, digest).await?)) }).await
}

async fn freeze(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<FreezeChanged>, Problem> {
    let FreezeRequest { because } = json(&json_body(request).await?)?;
    to_its_end(async move { Ok(Json(api.host.freeze(caller.principal(), because).await?)) }).await
}

async fn thaw(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<FreezeChanged>, Problem> {
    to_its_end(async move { Ok(Json(api.host.thaw(caller.principal()).await?)) }).await
}

async fn status(State(api): State<Api>) -> Json<HostStatus> {
    Json(api.host.status())
}

async fn diff_grants(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<GrantsDiff>, Problem> {
    let source: GrantsSource = json(&json_body(request).await?)?;
    Ok(Json(api.host.diff_grants(caller.principal(), &source).await?))
}

async fn list_principals(State(api): State<Api>) -> Json<Vec<PrincipalStatus>> {
    Json(api.host.principals())
}

async fn add_principal(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<PrincipalId>>,
    request: Request,
) -> Result<Json<PrincipalChanged>, Problem> {
    let PrincipalRequest { role, note, quotas } = json(&json_body(request).await?)?;
    let host = Arc::clone(&api.host);
    to_its_end(async move {
        let subject = QuotaSubject::Principal(name.clone());
        // So that a quota that can't be set leaves nothing half done.
        quotas
            .map_or(Ok(()), |said| said.over(Quotas::default()).check(&subject))
            .map_err(HostError::from)?;
        let mut changed = host.add_principal(caller.principal(), name, role, note).await?;
        if let Some(quotas) = quotas {
            let set = host.set_quotas(caller.principal(), subject, quotas).await?.taken;
            let (changed, mut stopped) = (&mut changed.taken, set.stopped);
            changed.revision = set.revision;
            changed.changed |= set.changed;
            changed.stopped.append(&mut stopped);
        }
        Ok(Json(changed))
    })
    .await
}

async fn show_principal(
    State(api): State<Api>,
    Checked(Path(name)): Checked<Path<PrincipalId>>,
) -> Result<Json<PrincipalDetails>, Problem> {
    let quotas = api.host.principal_quotas(&name)?;
    Ok(Json(PrincipalDetails { principal: api.host.principal(name), quotas }))
}

async fn set_principal_quotas(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<PrincipalId>>,
    request: Request,
) -> Result<Json<QuotasChanged>, Problem> {
    set_quotas(api, caller, QuotaSubject::Principal(name), request).await
}

async fn package_quotas(
    State(api): State<Api>,
    Checked(Path(name)): Checked<Path<PackageName>>,
) -> Result<Json<QuotaStatus>, Problem> {
    Ok(Json(api.host.package_quotas(&name).await?))
}

async fn set_package_quotas(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<PackageName>>,
    request: Request,
) -> Result<Json<QuotasChanged>, Problem> {
    set_quotas(api, caller, QuotaSubject::Package(name), request).await
}

async fn set_quotas(
    api: Api,
    caller: Caller,
    subject: QuotaSubject,
    request: Request,
) -> Result<Json<QuotasChanged>, Problem> {
    let quotas: QuotasChange = json(&json_body(request).await?)?;
    to_its_end(async move { Ok(Json(api.host.set_quotas(caller.principal(), subject, quotas).await?)) }).await
}

async fn remove_principal(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<PrincipalId>>,
) -> Result<Json<PrincipalChanged>, Problem> {
    to_its_end(async move { Ok(Json(api.host.remove_principal(caller.principal(), name).await?)) }).await
}
