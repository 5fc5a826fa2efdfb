//! What an admin does with the state that packages keep. Decides nothing.

use axum::extract::{Path, Query, State};
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::http::{Api, Checked, to_its_end};
use super::openapi::Described;
use super::problem::{ErrorKind, Problem};
use crate::authn::Caller;
use crate::database::{HeldStores, StoreId};
use crate::gateway::StateCleared;
use crate::ids::{PackageName, PrincipalId, StoreName};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfPackage {
    /// Only those of this package.
    package: Option<PackageName>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfAgent {
    /// The store that is this agent's own. Default: the one that is shared.
    agent: Option<PrincipalId>,
}

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/state", get(list_stores))
        .route("/v1/state/{package}/{store}", delete(clear_store))
}

pub(super) fn describe(api: &mut Described) {
    api.get("/v1/state", "list_state", "Lists the stores that packages keep.")
        .query::<OfPackage>()
        .answers::<HeldStores>("Their sizes.")
        .done();
    api.delete("/v1/state/{package}/{store}", "clear_state", "Clears a store.")
        .path::<PackageName>("package", "The package.", json!("notes"))
        .path::<StoreName>("store", "The store.", json!("default"))
        .query::<OfAgent>()
        .changes()
        .fails(&[ErrorKind::NotFound])
        .answers::<StateCleared>("What was cleared.")
        .done();
}

async fn list_stores(
    State(api): State<Api>,
    Checked(Query(OfPackage { package })): Checked<Query<OfPackage>>,
) -> Result<Json<HeldStores>, Problem> {
    Ok(Json(api.host.stores(package.as_ref()).await?))
}

async fn clear_store(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Path((package, name))): Checked<Path<(PackageName, StoreName)>>,
    Checked(Query(OfAgent { agent })): Checked<Query<OfAgent>>,
) -> Result<Json<StateCleared>, Problem> {
    let store = StoreId { package, agent, name };
    to_its_end(async move { Ok(Json(api.host.clear_store(caller.principal(), store).await?)) }).await
}
