//! What opens a call's commitments, what was kept of it, and erasing that of a call or a principal. Decides nothing.

use axum::extract::{Path, Query, State};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};

use super::http::{Api, Checked, to_its_end};
use super::messages::{AuditKey, OpeningQuery};
use super::problem::Problem;
use crate::audit::commitment::Opening;
use crate::authn::Caller;
use crate::gateway::{Erased, KeyRotated, PayloadErased};
use crate::ids::{CallId, PrincipalId};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/audit/key", get(show_key))
        .route("/v1/audit/key/rotate", post(rotate_key))
        .route("/v1/calls/{id}/opening", get(open_evidence))
        .route("/v1/calls/{id}/payload", delete(erase_payload))
        .route("/v1/principals/{name}/evidence", delete(erase_evidence))
}

async fn show_key(State(api): State<Api>) -> Json<AuditKey> {
    Json(AuditKey { key: api.host.audit_key() })
}

async fn rotate_key(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<KeyRotated>, Problem> {
    to_its_end(async move { Ok(Json(api.host.rotate_audit_key(caller.principal()).await?)) }).await
}

async fn open_evidence(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(call)): Checked<Path<CallId>>,
    Checked(Query(query)): Checked<Query<OpeningQuery>>,
) -> Result<Json<Opening>, Problem> {
    Ok(Json(api.host.open_evidence(caller.principal(), call, query.payloads).await?))
}

async fn erase_evidence(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<PrincipalId>>,
) -> Result<Json<Erased>, Problem> {
    to_its_end(async move { Ok(Json(api.host.erase_evidence(caller.principal(), name).await?)) }).await
}

async fn erase_payload(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(call)): Checked<Path<CallId>>,
) -> Result<Json<PayloadErased>, Problem> {
    to_its_end(async move { Ok(Json(api.host.erase_payload(caller.principal(), call).await?)) }).await
}
