//! The tools that a caller may use, in the shapes that clients of models take. Decides nothing.

use axum::extract::{Query, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::calls::in_whose_name;
use super::described;
use super::http::{Api, Checked};
use super::messages::{ToolsFormat, ToolsQuery};
use super::openapi::Described;
use super::problem::Problem;
use crate::authn::Caller;
use crate::gateway::GrantedTool;
use crate::ids::{PackageDigest, PackageName, ToolName};
use crate::policy::Role;

pub(super) fn describe(api: &mut Described) {
    let name = json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"});
    let described = json!({"type": "string", "description": "By the tool's author: untrusted."});
    let schema = json!({"type": "object", "description": "JSON Schema (2020-12)."});
    let closed = |members: &[(&str, Value)]| {
        let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
        let members: Map<String, Value> =
            members.iter().map(|(name, member)| ((*name).to_owned(), member.clone())).collect();
        json!({"type": "object", "properties": members, "required": names, "additionalProperties": false})
    };
    let ours = closed(&[
        ("name", name.clone()),
        ("package", api.schema::<PackageName>()),
        ("tool", api.schema::<ToolName>()),
        ("digest", api.schema::<PackageDigest>()),
        ("description", described.clone()),
        ("input_schema", schema.clone()),
        ("output_schema", json!({"type": ["object", "null"]})),
    ]);
    let function =
        [("name", name.clone()), ("description", described.clone()), ("parameters", schema.clone())];
    let openai = closed(&[("type", json!({"const": "function"})), ("function", closed(&function))]);
    let anthropic = closed(&[("name", name), ("description", described), ("input_schema", schema)]);
    let list = |of: &Value| json!({"type": "array", "items": of});
    api.get(
        "/v1/tools",
        "list_tools",
        "Lists the tools that the caller may call, as a model's API takes them.",
    )
    .query::<ToolsQuery>()
    .own(Role::Agent)
    .gives(
        StatusCode::OK,
        "application/json",
        json!({"anyOf": [list(&ours), list(&openai), list(&anthropic)]}),
        "They, in the shape that was asked for.",
    )
    .done();
}

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
    // APIs of models want a text.
    let description = described::description(granted).unwrap_or_default();
    let input = described::schema(&tool.input_schema);
    match format {
        ToolsFormat::Portcullis => json!({
            "name": name,
            "package": granted.package,
            "tool": tool.name,
            "digest": granted.digest(),
            "description": description,
            "input_schema": input,
            "output_schema": tool.output_schema.as_ref().map(described::schema),
        }),
        ToolsFormat::Openai => json!({
            "type": "function",
            "function": { "name": name, "description": description, "parameters": input },
        }),
        ToolsFormat::Anthropic => json!({
            "name": name, "description": description, "input_schema": input,
        }),
    }
}
