//! What an admin does with the state that packages keep. Decides nothing.

use axum::extract::{Path, Query, State};
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use serde::Deserialize;

use super::http::{Api, Checked, to_its_end};
use super::problem::Problem;
use crate::authn::Caller;
use crate::database::{HeldStores, StoreId};
use crate::gateway::StateCleared;
use crate::ids::{PackageName, PrincipalId, StoreName};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPackage {
    package: Option<PackageName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfAgent {
    agent: Option<PrincipalId>,
}

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/state", get(list_stores))
        .route("/v1/state/{package}/{store}", delete(clear_store))
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
