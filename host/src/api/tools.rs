//! The tools that a caller may use, in the shapes that clients of models take. Decides nothing.

use axum::extract::{Query, State};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::calls::in_whose_name;
use super::http::{Api, Checked};
use super::messages::{ToolsFormat, ToolsQuery};
use super::problem::Problem;
use crate::authn::Caller;
use crate::gateway::GrantedTool;

/// An array, as it can be handed to a model's API.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Checked(Query(query)): Checked<Query<ToolsQuery>>,
) -> Result<Json<Vec<Value>>, Problem> {
    let principal = in_whose_name(&caller, query.principal)?;
    let granted = api.host.granted_tools(&principal, caller.admission());
    Ok(Json(granted.iter().map(|tool| shape(tool, query.format)).collect()))
}

fn shape(granted: &GrantedTool, format: ToolsFormat) -> Value {
    let (name, tool) = (&granted.name, granted.description());
    match format {
        ToolsFormat::Portcullis => json!({
            "name": name,
            "package": granted.package,
            "tool": tool.name,
            "digest": granted.digest(),
            "description": tool.description,
            "input_schema": tool.input_schema,
            "output_schema": tool.output_schema,
        }),
        ToolsFormat::Openai => json!({
            "type": "function",
            "function": { "name": name, "description": tool.description, "parameters": tool.input_schema },
        }),
        ToolsFormat::Anthropic => json!({
            "name": name, "description": tool.description, "input_schema": tool.input_schema,
        }),
    }
}
