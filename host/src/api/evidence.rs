//! What opens a call's commitments, what was kept of it, and erasing that of a call or a principal. Decides nothing.

use axum::extract::{Path, Query, State};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use serde_json::json;

use super::http::{Api, Checked, to_its_end};
use super::messages::{AuditKey, OpeningQuery};
use super::openapi::Described;
use super::problem::{ErrorKind, Problem};
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

pub(super) fn describe(api: &mut Described) {
    let call = json!("01890a5d-ac96-774b-bcce-b302099a8057");
    api.get("/v1/audit/key", "show_audit_key", "Shows the key that the log's checkpoints are verified by.")
        .answers::<AuditKey>("Its public half.")
        .done();
    api.post(
        "/v1/audit/key/rotate",
        "rotate_audit_key",
        "Signs with a new key from now on; the old one signs that.",
    )
    .changes()
    .answers::<KeyRotated>("The new key's public half.")
    .done();
    api.get("/v1/calls/{id}/opening", "open_evidence", "Gives what opens the commitments of a call.")
        .path::<CallId>("id", "The call.", call.clone())
        .query::<OpeningQuery>()
        .changes()
        .fails(&[ErrorKind::NotFound])
        .answers::<Opening>("It. A secret, as the arguments and the result are.")
        .done();
    api.delete("/v1/calls/{id}/payload", "erase_payload", "Erases what was kept whole of a call.")
        .path::<CallId>("id", "The call.", call)
        .changes()
        .fails(&[ErrorKind::NotFound])
        .answers::<PayloadErased>("What was erased.")
        .done();
    api.delete(
        "/v1/principals/{name}/evidence",
        "erase_evidence",
        "Erases what opens the commitments of a principal's calls.",
    )
    .path::<PrincipalId>("name", "Whose.", json!("writer"))
    .changes()
    .fails(&[ErrorKind::NotFound])
    .answers::<Erased>("What was erased.")
    .done();
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
