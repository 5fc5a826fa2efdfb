//! The HTTP API, version 1: routes, and what each takes.
//!
//! Served to whoever can open the owner's socket, and called in process by the owner's own command: the
//! admin, by [`authn`](crate::authn); and, behind [`door`](super::door), over the network. A call ends when its client goes away, because its handler is
//! dropped; a change of packages or grants, once begun, is made to its end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::json as example;
use tokio::sync::watch;

use super::messages::{
    AddLine, AddQuery, ApproveRequest, Approved, AuditQuery, GrantEffect, GrantList, GrantStatus,
    GrantsQuery, Health, Removed, SIGNATURE_HEADER, SIGNATURE_LIST_BYTES_MAX, TailError,
};
use super::openapi::Described;
use super::problem::{ErrorKind, Problem};
use super::records::Reading;
use super::{
    access, admin, backup, calls, evidence, keys, mcp, openapi, packages, records, secrets, state, strict,
    tail, tools, trust,
};
use crate::audit::event::Record;
use crate::authn::Caller;
use crate::database::{Package, PackageState};
use crate::gateway::{
    Approval, ApprovalMade, Blame, GrantsChanged, GrantsSource, Host, HostError, ListedPackage, NewComponent,
    PackageDetails,
};
use crate::ids::{GrantId, PackageName};
use crate::limits::{Limit, LimitReached};
use crate::policy::{Grant, Policy};
use crate::secrets::{SECRET_BYTES_MAX, ValueError};

/// The longest that a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// The most bytes of a body that is JSON: a grants file of 1 MiB, each character escaped.
const JSON_BYTES_MAX: usize = 8 << 20;

/// Says when the host stops: answers that would go on for ever end then.
pub type Stopping = watch::Receiver<bool>;

/// What the handlers share.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) host: Arc<Host>,
    pub(super) stopping: Stopping,
    pub(super) reading: Reading,
}

impl Api {
    pub(super) fn new(host: Arc<Host>, stopping: Stopping) -> Self {
        Self { host, stopping, reading: Reading::default() }
    }
}

/// The API over a host, for whoever can open the owner's socket: the admin. Answers that follow the log end when
/// `stopping` turns true, or its sender is gone.
pub fn router(host: Arc<Host>, stopping: Stopping) -> Router {
    routes(Api::new(host, stopping), Router::new()).layer(Extension(Caller::owner()))
}

/// The API, with what else is served beside it. Each request must bring its [`Caller`] in its extensions.
pub(super) fn routes(api: Api, beside: Router) -> Router {
    Router::new()
        .route("/v1/packages", post(add_package).get(list_packages))
        .route("/v1/packages/{name}", get(show_package).delete(remove_package))
        .route("/v1/packages/{name}/approve", post(approve_package))
        .route("/v1/grants", put(apply_grants).get(list_grants))
        .route("/v1/grants/{id}", delete(revoke_grant))
        .route("/v1/policy", get(show_policy))
        .route("/v1/tools", get(tools::list))
        .route("/v1/mcp", post(mcp::stream::converse))
        .route("/v1/audit", get(audit))
        .route("/v1/backup", post(take_backup))
        .route("/v1/health", get(health))
        .route("/metrics", get(metrics))
        .merge(admin::routes())
        .merge(calls::routes())
        .merge(secrets::routes())
        .merge(evidence::routes())
        .merge(state::routes())
        .merge(keys::routes())
        .merge(openapi::routes())
        .merge(records::routes())
        .merge(trust::routes())
        .with_state(api.clone())
        .merge(beside)
        .fallback(no_route)
        // Each handler reads its body within a bound of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(access::authorize))
        .layer(from_fn_with_state(api, admin::tell_frozen))
}

pub(super) fn describe(api: &mut Described) {
    let (record, error) = (api.schema::<Record>(), api.schema::<TailError>());
    api.get("/v1/packages", "list_packages", "Lists the registered components.")
        .answers::<Vec<ListedPackage>>("They, in the order of their names.")
        .done();
    api.post(
        "/v1/packages",
        "add_package",
        "Registers a component: pending, without power, until it is approved.",
    )
    .query::<AddQuery>()
    .header::<String>(
        SIGNATURE_HEADER,
        "The base64 of a signature's file, as minisign writes it. One header for each; 16 KiB in all.",
    )
    .bytes_body("application/wasm", "The component, after its signatures if `signature_bytes` says so.")
    .changes()
    .lines::<AddLine>("How far it is, at least once a second; then the package, or the problem.")
    .done();
    api.get("/v1/packages/{name}", "show_package", "Shows what a package is and asks for.")
        .path::<PackageName>("name", "The package.", example!("notes"))
        .fails(&[ErrorKind::NotFound])
        .answers::<Vec<PackageDetails>>("Each of its components.")
        .done();
    api.delete("/v1/packages/{name}", "remove_package", "Removes a package with its components and grants.")
        .path::<PackageName>("name", "The package.", example!("notes"))
        .changes()
        .fails(&[ErrorKind::NotFound])
        .answers::<Removed>("What was removed.")
        .done();
    api.post("/v1/packages/{name}/approve", "approve_package", "Lets bytes run under a name, and no others.")
        .path::<PackageName>("name", "The package.", example!("notes"))
        .maybe_body::<ApproveRequest>(example!({}))
        .changes()
        .fails(&[ErrorKind::NotFound, ErrorKind::InvalidPackage, ErrorKind::Denied])
        .answers::<Approved>("What runs from now on.")
        .done();
    api.get("/v1/grants", "list_grants", "Lists the grants in force.")
        .query::<GrantsQuery>()
        .fails(&[ErrorKind::NotFound])
        .answers::<GrantList>("They, and whether each gives anything.")
        .done();
    api.put(
        "/v1/grants",
        "apply_grants",
        "Puts a grants file in force: it replaces the grants of each package that it names.",
    )
    .body::<GrantsSource>(grants_example())
    .changes()
    .fails(&[ErrorKind::InvalidGrants])
    .answers::<GrantsChanged>("What it changed.")
    .done();
    api.delete("/v1/grants/{id}", "revoke_grant", "Ends a grant; running calls that need it end.")
        .path::<GrantId>("id", "Its number.", example!(7))
        .changes()
        .fails(&[ErrorKind::NotFound])
        .answers::<GrantsChanged>("What it changed.")
        .done();
    api.get("/v1/policy", "show_policy", "Shows all that is in force, of one revision.")
        .answers::<Policy>("It.")
        .done();
    api.get(
        "/v1/audit",
        "tail_audit",
        "Reads the log's end or a call's records, and follows it if that is asked.",
    )
    .query::<AuditQuery>()
    .lines_of(example!({"anyOf": [record, error]}), "Records.")
    .done();
    api.post("/v1/backup", "take_backup", "Gives database, components and log, of one moment.")
        .changes()
        .bytes(
            "application/x-tar",
            "What `portcullis restore` takes. One that breaks off ends the connection.",
        )
        .with_length()
        .done();
    api.get("/v1/health", "show_health", "Shows how the host is.").answers::<Health>("That.").done();
    api.get("/metrics", "show_metrics", "Gives the host's numbers.")
        .bytes("application/openmetrics-text", "As Prometheus reads them.")
        .done();
}

/// A grants file, as an example of a request.
pub(super) fn grants_example() -> serde_json::Value {
    let text = "[[grant]]\npackage = \"notes\"\nagents = [\"writer\"]\n";
    example!({"file": "grants.toml", "folder": "/srv/portcullis", "text": text})
}

async fn add_package(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Query(query)): Checked<Query<AddQuery>>,
    request: Request,
) -> Result<Response, Problem> {
    // Before the body, which is held in memory until it is registered.
    let registration = api.host.reserve_registration(caller.principal())?;
    let AddQuery { name, version, source, signature_bytes } = query;
    if signature_bytes > SIGNATURE_LIST_BYTES_MAX {
        let detail = format!("signature_bytes is {signature_bytes}, at most {SIGNATURE_LIST_BYTES_MAX}");
        return Err(Problem::bad_input(detail));
    }
    let headers = request.headers().clone();
    let max = api.host.limits().ceiling_of(Limit::ComponentBytes);
    let both = max.saturating_add(signature_bytes.into());
    let mut bytes = body(request, usize::try_from(both).unwrap_or(usize::MAX)).await.map_err(|error| {
        error.into_problem(|value| {
            let value = value.saturating_sub(signature_bytes.into());
            Problem::component_too_large(LimitReached { limit: Limit::ComponentBytes, value, max })
        })
    })?;
    let signatures = trust::signatures(&headers, &mut bytes, signature_bytes)?;
    let component = NewComponent { bytes, name, version, signatures, source };
    Ok(packages::add(api.host, component, registration))
}

async fn list_packages(State(api): State<Api>) -> Result<Json<Vec<ListedPackage>>, Problem> {
    Ok(Json(api.host.listed_packages().await?))
}

async fn show_package(
    State(api): State<Api>,
    Checked(Path(name)): Checked<Path<PackageName>>,
) -> Result<Json<Vec<PackageDetails>>, Problem> {
    Ok(Json(api.host.package(&name).await?))
}

async fn approve_package(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<PackageName>>,
    request: Request,
) -> Result<Json<Approved>, Problem> {
    let bytes = json_body(request).await?;
    let wanted: ApproveRequest = if bytes.is_empty() { ApproveRequest::default() } else { json(&bytes)? };
    let host = Arc::clone(&api.host);
    to_its_end(async move {
        let ApproveRequest { digest, downgrade, compared_with, allow_wider } = wanted;
        let approval = Approval { digest, downgrade, compared_with, allow_wider };
        let ApprovalMade { digest, trust, upgrade } =
            host.approve_as(caller.principal(), &name, approval).await?;
        let details = host.package(&name).await?;
        let approved = details.into_iter().find(|details| details.package.digest == digest);
        let PackageDetails { description, about, .. } = approved.ok_or_else(|| {
            let detail = format!("package {name} was removed while it was approved");
            Problem::new(ErrorKind::Conflict, detail, Blame::Admin)
        })?;
        let others = host.grants(Some(&name)).into_iter().filter(|grant| grant.digest != digest);
        let grants_without_effect = others.map(|grant| grant.id).collect();
        Ok(Json(Approved {
            package: name,
            digest,
            description,
            about,
            trust,
            upgrade,
            grants_without_effect,
        }))
    })
    .await
}

async fn remove_package(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<PackageName>>,
) -> Result<Json<Removed>, Problem> {
    to_its_end(async move {
        api.host.remove_package(caller.principal(), &name).await?;
        Ok(Json(Removed { package: name }))
    })
    .await
}

async fn apply_grants(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<GrantsChanged>, Problem> {
    let source: GrantsSource = json(&json_body(request).await?)?;
    to_its_end(async move { Ok(Json(api.host.apply_grants(caller.principal(), &source).await?)) }).await
}

async fn list_grants(
    State(api): State<Api>,
    Checked(Query(query)): Checked<Query<GrantsQuery>>,
) -> Result<Json<GrantList>, Problem> {
    let packages = match &query.package {
        // So that a slip in the name does not read as "no grants".
        Some(name) => api.host.package(name).await?.into_iter().map(|details| details.package).collect(),
        None => api.host.packages().await?,
    };
    let now = Timestamp::now();
    let Policy { revision, grants, .. } = api.host.policy();
    let asked = grants.into_iter().filter(|grant| query.package.as_ref().is_none_or(|p| grant.package == *p));
    let grants = asked.map(|grant| GrantStatus { effect: effect(&grant, &packages, now), grant }).collect();
    Ok(Json(GrantList { revision, grants }))
}

fn effect(grant: &Grant, packages: &[Package], now: Timestamp) -> GrantEffect {
    let bound = packages.iter().find(|package| {
        (&package.name, package.digest, package.state)
            == (&grant.package, grant.digest, PackageState::Approved)
    });
    let Some(package) = bound else { return GrantEffect::OtherBytes };
    if package.quarantine.is_some() {
        GrantEffect::Quarantined
    } else if grant.terms.expires.is_some_and(|expires| expires <= now) {
        GrantEffect::Expired
    } else {
        GrantEffect::InForce
    }
}

async fn revoke_grant(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(grant)): Checked<Path<GrantId>>,
) -> Result<Json<GrantsChanged>, Problem> {
    to_its_end(async move { Ok(Json(api.host.revoke(caller.principal(), grant).await?)) }).await
}

async fn show_policy(State(api): State<Api>) -> Json<Policy> {
    Json(api.host.policy())
}

async fn audit(
    State(api): State<Api>,
    Checked(Query(query)): Checked<Query<AuditQuery>>,
) -> Result<Response, Problem> {
    tail::tail(&api, query).await
}

async fn take_backup(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    backup::backup(&api, &caller).await
}

async fn health(State(api): State<Api>) -> Json<Health> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(Health { version, pid: std::process::id(), health: api.host.health() })
}

async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let text = api.host.metrics().await?;
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Ok((StatusCode::OK, kind, text).into_response())
}

async fn no_route(request: Request) -> Problem {
    let detail = format!("there is no {}", request.uri().path());
    Problem::new(ErrorKind::NotFound, detail, Blame::Agent)
}

/// Makes a change in a task of its own, so that a client that goes away does not leave it half made: its
/// record would be in the log, and nobody would put it in force before the next start.
pub(super) async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(error) => {
            let detail = format!("the change was not made to its end: {error}");
            Err(Problem::new(ErrorKind::HostFault, detail, Blame::Host))
        }
    }
}

/// An extractor whose refusal is a problem document.
pub(super) struct Checked<E>(pub(super) E);

impl<E: FromRequestParts<Api>> FromRequestParts<Api> for Checked<E>
where
    E::Rejection: IntoResponse + std::fmt::Display,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        match E::from_request_parts(parts, api).await {
            Ok(extracted) => Ok(Self(extracted)),
            Err(rejection) => Err(Problem::bad_input(rejection.to_string())),
        }
    }
}

pub(super) enum BodyError {
    /// At least so many bytes.
    TooLong { bytes: u64 },
    /// Not in time.
    TooSlow,
    /// The connection broke.
    Broken(String),
}

impl BodyError {
    pub(super) fn into_problem(self, too_long: impl FnOnce(u64) -> Problem) -> Problem {
        match self {
            BodyError::TooLong { bytes } => too_long(bytes),
            BodyError::TooSlow => {
                let detail = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
                Problem::new(ErrorKind::TooSlow, detail, Blame::Agent)
            }
            BodyError::Broken(reason) => Problem::bad_input(format!("the body can't be read: {reason}")),
        }
    }
}

/// Reads a body of at most `bytes_max`. One that says that it is longer is refused before it is read.
pub(super) async fn body(request: Request, bytes_max: usize) -> Result<Bytes, BodyError> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if let Some(bytes) = length.filter(|length| *length > bytes_max as u64) {
        return Err(BodyError::TooLong { bytes });
    }
    let read = Limited::new(request.into_body(), bytes_max).collect();
    match tokio::time::timeout(BODY_TIME_MAX, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(BodyError::TooLong { bytes: bytes_max as u64 + 1 })
        }
        Ok(Err(error)) => Err(BodyError::Broken(error.to_string())),
        Err(_) => Err(BodyError::TooSlow),
    }
}

pub(super) async fn json_body(request: Request) -> Result<Bytes, Problem> {
    is_json(request.headers())?;
    body(request, JSON_BYTES_MAX).await.map_err(|error| {
        error.into_problem(|bytes| {
            let detail = format!("the body has {bytes} bytes or more, at most {JSON_BYTES_MAX} are read");
            Problem::new(ErrorKind::TooLarge, detail, Blame::Agent)
        })
    })
}

/// Whether a body says that it is JSON, or does not say what it is.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(()) };
    let essence = value.to_str().ok().and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") && values.next().is_none() {
        return Ok(());
    }
    let detail = "the body must be JSON: send it as application/json, or leave Content-Type out";
    Err(Problem::new(ErrorKind::UnsupportedMediaType, detail, Blame::Agent).into())
}

/// A secret's value. One byte beyond the most is let through, so that it is refused as a secret.
pub(super) async fn secret_body(request: Request) -> Result<Vec<u8>, Problem> {
    let bytes = body(request, SECRET_BYTES_MAX + 1).await.map_err(|error| {
        error.into_problem(|bytes| {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            HostError::Secrets(ValueError::TooLong(bytes).into()).into()
        })
    })?;
    Ok(bytes.into())
}

pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Box<Problem>> {
    strict::check(bytes)?;
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad_input(format!("the body is not what it should be: {error}")).into())
}

/// An answer of JSON lines, as they come.
pub(super) fn lines<S>(lines: S) -> Response
where
    S: futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static,
{
    let kind = [(header::CONTENT_TYPE, "application/jsonl")];
    (StatusCode::OK, kind, axum::body::Body::from_stream(lines)).into_response()
}

/// One line of such an answer.
pub(super) fn line(value: &impl serde::Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).expect("messages are text and numbers: they always serialise");
    line.push(b'\n');
    line.into()
}
