//! What the host says of itself to whoever wants a token for it: as a protected resource of OAuth 2.0 (RFC 9728), as
//! MCP's authorization asks for (revisions 2025-11-25 and 2026-07-28). Without issuers there is nothing to say.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::door::DoorSettings;
use super::openapi::Described as ApiDescribed;
use super::problem::{ErrorKind, Problem};
use crate::authn::IssuerSettings;
use crate::gateway::{Blame, Host};

/// Where it is said (RFC 9728, 3), of the host as a whole; with a resource's path after it, of that.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// The path of MCP, which is a resource by itself.
const MCP: &str = "/mcp";
/// How long it may be kept.
const KEPT: &str = "max-age=300";

/// Answer of `GET /.well-known/oauth-protected-resource` (RFC 9728, 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct ResourceMetadata {
    /// The resource: what a token is asked for with (RFC 8707), and must have as its audience.
    pub resource: String,
    /// The issuers whose tokens are taken.
    pub authorization_servers: Vec<String>,
    /// The scopes that tokens need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// How a token is sent: never in a URL or a body.
    pub bearer_methods_supported: Vec<String>,
}

#[derive(Clone, Debug)]
struct Described {
    host: Arc<Host>,
    settings: Arc<DoorSettings>,
}

pub(super) fn routes(host: Arc<Host>, settings: Arc<DoorSettings>) -> Router {
    Router::new()
        .route("/.well-known/oauth-protected-resource", get(of_host))
        .route("/.well-known/oauth-protected-resource/mcp", get(of_mcp))
        .with_state(Described { host, settings })
}

pub(super) fn describe(api: &mut ApiDescribed) {
    let example = |path: &str| {
        json!({
            "resource": format!("https://tools.example.org{path}"),
            "authorization_servers": ["https://login.example.org"],
            "scopes_supported": ["tools:call"],
            "bearer_methods_supported": ["header"],
        })
    };
    api.get(
        "/.well-known/oauth-protected-resource",
        "describe_resource",
        "Says where tokens for this host are to be had (RFC 9728), if it takes any.",
    )
    .answers::<ResourceMetadata>("The host as a protected resource of OAuth 2.0.")
    .example(example(""))
    .fails(&[ErrorKind::NotFound])
    .done();
    api.get(
        "/.well-known/oauth-protected-resource/mcp",
        "describe_mcp_resource",
        "Says where tokens for MCP are to be had (RFC 9728), if any are taken.",
    )
    .answers::<ResourceMetadata>("MCP as a protected resource of OAuth 2.0.")
    .example(example(MCP))
    .fails(&[ErrorKind::NotFound])
    .done();
}

async fn of_host(State(described): State<Described>, request: Request) -> Response {
    described.metadata("", request.headers())
}

async fn of_mcp(State(described): State<Described>, request: Request) -> Response {
    described.metadata(MCP, request.headers())
}

impl Described {
    fn metadata(&self, path: &str, headers: &HeaderMap) -> Response {
        let trusted = self.host.trusted();
        let issuers = &trusted.settings().issuers;
        let base = base(&self.settings, headers).filter(|_| !issuers.is_empty());
        let Some(base) = base else {
            let detail = "this host takes keys of its own only, and no tokens of an issuer";
            return Problem::new(ErrorKind::NotFound, detail, Blame::Agent).into_response();
        };
        let metadata = ResourceMetadata {
            resource: format!("{base}{path}"),
            authorization_servers: issuers.iter().map(|issuer| issuer.issuer.clone()).collect(),
            scopes_supported: scopes(issuers),
            bearer_methods_supported: vec!["header".to_owned()],
        };
        let mut response = Json(metadata).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(KEPT));
        response
    }
}

/// The scopes that issuers' tokens need, each once.
pub(super) fn scopes<'a>(issuers: impl IntoIterator<Item = &'a IssuerSettings>) -> Vec<String> {
    let scopes: BTreeSet<&String> = issuers.into_iter().flat_map(|issuer| &issuer.scopes).collect();
    scopes.into_iter().cloned().collect()
}

/// Where the metadata of what a request asks for is.
pub(super) fn metadata_url(settings: &DoorSettings, head: &Parts) -> Option<String> {
    let path = if head.uri.path() == MCP { MCP } else { "" };
    Some(format!("{}{WELL_KNOWN}{path}", base(settings, &head.headers)?))
}

/// By which URL the host is known, without a slash at its end.
fn base(settings: &DoorSettings, headers: &HeaderMap) -> Option<String> {
    if let Some(url) = &settings.rules().public_url {
        return Some(format!("{}://{}", url.scheme(), url.authority()));
    }
    // The door has looked at it: it is one of the host's names.
    let host = headers.get(header::HOST)?.to_str().ok()?;
    Some(format!("{}://{host}", if settings.secure { "https" } else { "http" }))
}
