//! What an admin does with API keys. Decides nothing. A key is in the answer to its making, and in no other.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use http::{HeaderValue, header};

use super::http::{Api, Checked, json, json_body, to_its_end};
use super::messages::{CreateKeyRequest, RotateKeyRequest};
use super::problem::Problem;
use crate::authn::Caller;
use crate::database::ApiKey;
use crate::gateway::{KeyMade, KeyRevoked};
use crate::ids::KeyPrefix;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/keys", get(list).post(create))
        .route("/v1/keys/{prefix}", delete(revoke))
        .route("/v1/keys/{prefix}/rotate", post(rotate))
}

async fn list(State(api): State<Api>) -> Result<Json<Vec<ApiKey>>, Problem> {
    Ok(Json(api.host.api_keys().await?))
}

async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let CreateKeyRequest { principal, role, expires } = json(&json_body(request).await?)?;
    to_its_end(async move {
        Ok(secret(&api.host.create_key(caller.principal(), principal, role, expires).await?))
    })
    .await
}

async fn rotate(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(prefix)): Checked<Path<KeyPrefix>>,
    request: Request,
) -> Result<Response, Problem> {
    let bytes = json_body(request).await?;
    let RotateKeyRequest { expires } =
        if bytes.is_empty() { RotateKeyRequest::default() } else { json(&bytes)? };
    to_its_end(async move { Ok(secret(&api.host.rotate_key(caller.principal(), prefix, expires).await?)) })
        .await
}

async fn revoke(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(prefix)): Checked<Path<KeyPrefix>>,
) -> Result<Json<KeyRevoked>, Problem> {
    to_its_end(async move { Ok(Json(api.host.revoke_key(caller.principal(), prefix).await?)) }).await
}

/// An answer that nobody on the way may keep.
fn secret(made: &KeyMade) -> Response {
    let mut response = Json(made).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
