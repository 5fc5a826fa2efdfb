//! What an admin does with stored secrets: names and values in, names out. Decides nothing.

use axum::extract::{Path, Request, State};
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use serde_json::json;

use super::http::{Api, Checked, secret_body, to_its_end};
use super::openapi::Described;
use super::problem::{ErrorKind, Problem};
use crate::authn::Caller;
use crate::database::StoredSecret;
use crate::gateway::{HostError, SecretChanged};
use crate::ids::SecretName;
use crate::secrets::SecretValue;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/secrets", get(list_secrets))
        .route("/v1/secrets/{name}", put(set_secret).delete(remove_secret))
}

pub(super) fn describe(api: &mut Described) {
    api.get("/v1/secrets", "list_secrets", "Lists the names of stored secrets.")
        .answers::<Vec<StoredSecret>>("What is known of each, which is not its value.")
        .done();
    api.put("/v1/secrets/{name}", "set_secret", "Stores a secret, encrypted.")
        .path::<SecretName>("name", "Its name.", json!("github"))
        .bytes_body("application/octet-stream", "The value, byte for byte.")
        .changes()
        .answers::<SecretChanged>("What is in force now.")
        .done();
    api.delete("/v1/secrets/{name}", "remove_secret", "Removes a secret.")
        .path::<SecretName>("name", "Its name.", json!("github"))
        .changes()
        .fails(&[ErrorKind::NotFound])
        .answers::<SecretChanged>("What is in force now.")
        .done();
}

async fn list_secrets(State(api): State<Api>) -> Result<Json<Vec<StoredSecret>>, Problem> {
    Ok(Json(api.host.list_secrets().await?))
}

/// The body is the value, byte for byte.
async fn set_secret(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<SecretName>>,
    request: Request,
) -> Result<Json<SecretChanged>, Problem> {
    let value = SecretValue::new(secret_body(request).await?);
    let value = value.map_err(|error| HostError::Secrets(error.into()))?;
    to_its_end(async move { Ok(Json(api.host.set_secret(caller.principal(), name, &value).await?)) }).await
}

async fn remove_secret(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<SecretName>>,
) -> Result<Json<SecretChanged>, Problem> {
    to_its_end(async move { Ok(Json(api.host.remove_secret(caller.principal(), name).await?)) }).await
}
