//! Asks an issue tracker's API. The credential that the API wants is put into each request by the host: this
//! tool never has it.

use portcullis_sdk::{Json, ToolError, config, http, tool, tools};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

tools![open_issues];

/// The key of the configuration that names the API, such as `https://api.example.com`.
const API_URL: &str = "api_url";

/// An issue.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Issue {
    /// Its number.
    number: u64,
    /// Its title.
    title: String,
}

/// Lists the open issues of a repository.
#[tool]
fn open_issues(
    /// The owner's name.
    owner: &str,
    /// The repository's name.
    repository: &str,
) -> Result<Json<Vec<Issue>>, ToolError> {
    for name in [owner, repository] {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(is_plain) {
            return Err(ToolError::invalid_arguments(format!("{name:?} is not a name")));
        }
    }
    let Some(api) = config::get(API_URL)? else {
        return Err(ToolError::failed(format!("`{API_URL}` is not configured")));
    };
    let url = format!("{api}/repos/{owner}/{repository}/issues");
    let answer = http::get(&url).query("state", "open").header("accept", "application/json").send()?;
    Ok(Json(answer.success()?.json()?))
}
