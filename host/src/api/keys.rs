//! What an admin does with API keys. Decides nothing. A key is in the answer to its making, and in no other.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use http::{HeaderValue, header};
use serde_json::json as example;

use super::http::{Api, Checked, json, json_body, to_its_end};
use super::messages::{CreateKeyRequest, RotateKeyRequest};
use super::openapi::{Described, Describing};
use super::problem::{ErrorKind, Problem};
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

pub(super) fn describe(api: &mut Described) {
    let secret = |making: Describing<'_>| {
        let value = example!({"const": "no-store"});
        making.with_header("Cache-Control", "Nobody on the way may keep it.", value).done();
    };
    api.get("/v1/keys", "list_keys", "Lists the API keys.")
        .answers::<Vec<ApiKey>>("What is known of each, which is not the key itself.")
        .done();
    secret(
        api.post("/v1/keys", "create_key", "Makes an API key.")
            .body::<CreateKeyRequest>(example!({"principal": "writer", "expires": "2027-06-30T00:00:00Z"}))
            .changes()
            .fails(&[ErrorKind::NotFound])
            .answers::<KeyMade>("The key. It is not shown again."),
    );
    secret(
        api.post(
            "/v1/keys/{prefix}/rotate",
            "rotate_key",
            "Puts a new key in the place of another, which ends.",
        )
        .path::<KeyPrefix>("prefix", "Its public beginning.", example!("pcl_0123456789ab"))
        .maybe_body::<RotateKeyRequest>(example!({}))
        .changes()
        .fails(&[ErrorKind::NotFound])
        .answers::<KeyMade>("The new key. It is not shown again."),
    );
    api.delete("/v1/keys/{prefix}", "revoke_key", "Ends a key; calls that run go on.")
        .path::<KeyPrefix>("prefix", "Its public beginning.", example!("pcl_0123456789ab"))
        .changes()
        .fails(&[ErrorKind::NotFound])
        .answers::<KeyRevoked>("Which ended.")
        .done();
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
