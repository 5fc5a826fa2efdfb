//! Which role may use which endpoint: one table, and the layer that enforces it before a body is read.
//!
//! Deny by default: a route that is not in the table answers nobody. A test walks all of them.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};

use super::problem::{ErrorKind, Problem};
use crate::authn::Caller;
use crate::gateway::Blame;
use crate::policy::Role::{self, Admin, Agent, Auditor, Author};

/// A method of a route, and who may use it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The route, as axum writes it.
    pub path: &'static str,
    /// The roles that may; none: whoever asks, without a credential.
    pub roles: &'static [Role],
}

const fn endpoint(method: Method, path: &'static str, roles: &'static [Role]) -> Endpoint {
    Endpoint { method, path, roles }
}

const ANYONE: &[Role] = &[];
/// Whoever sets up the host.
const ADMINS: &[Role] = &[Admin];
/// Whoever may see how it is set up, and what was done.
const READERS: &[Role] = &[Admin, Auditor];
/// Whoever may see the packages.
const OF_PACKAGES: &[Role] = &[Admin, Auditor, Author];
/// Whoever registers packages.
const AUTHORS: &[Role] = &[Admin, Author];
/// Whoever calls tools; an admin on the owner's socket does so in an agent's name.
const CALLERS: &[Role] = &[Agent, Admin];
const AGENTS: &[Role] = &[Agent];
/// Whoever may see calls: an agent its own.
const OF_CALLS: &[Role] = &[Agent, Admin, Auditor];
/// Whoever has a key.
const ALL: &[Role] = &[Admin, Agent, Auditor, Author];

/// All endpoints.
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint(Method::GET, "/healthz", ANYONE),
    endpoint(Method::GET, "/readyz", ANYONE),
    endpoint(Method::GET, "/.well-known/oauth-protected-resource", ANYONE),
    endpoint(Method::GET, "/.well-known/oauth-protected-resource/mcp", ANYONE),
    endpoint(Method::GET, "/metrics", READERS),
    endpoint(Method::GET, "/v1/openapi.json", ALL),
    endpoint(Method::POST, "/mcp", AGENTS),
    endpoint(Method::GET, "/mcp", AGENTS),
    endpoint(Method::DELETE, "/mcp", AGENTS),
    endpoint(Method::POST, "/v1/mcp", CALLERS),
    endpoint(Method::GET, "/v1/tools", CALLERS),
    endpoint(Method::POST, "/v1/calls", CALLERS),
    endpoint(Method::GET, "/v1/calls", OF_CALLS),
    endpoint(Method::GET, "/v1/calls/{id}", OF_CALLS),
    endpoint(Method::DELETE, "/v1/calls/{id}", CALLERS),
    endpoint(Method::GET, "/v1/calls/{id}/events", CALLERS),
    endpoint(Method::GET, "/v1/calls/{id}/receipt", OF_CALLS),
    endpoint(Method::GET, "/v1/calls/{id}/opening", ADMINS),
    endpoint(Method::DELETE, "/v1/calls/{id}/payload", ADMINS),
    endpoint(Method::GET, "/v1/packages", OF_PACKAGES),
    endpoint(Method::POST, "/v1/packages", AUTHORS),
    endpoint(Method::GET, "/v1/packages/{name}", OF_PACKAGES),
    endpoint(Method::DELETE, "/v1/packages/{name}", ADMINS),
    endpoint(Method::POST, "/v1/packages/{name}/approve", ADMINS),
    endpoint(Method::POST, "/v1/packages/{name}/quarantine", ADMINS),
    endpoint(Method::POST, "/v1/packages/{name}/release", ADMINS),
    endpoint(Method::GET, "/v1/packages/{name}/quotas", READERS),
    endpoint(Method::PATCH, "/v1/packages/{name}/quotas", ADMINS),
    endpoint(Method::GET, "/v1/grants", READERS),
    endpoint(Method::PUT, "/v1/grants", ADMINS),
    endpoint(Method::POST, "/v1/grants/diff", ADMINS),
    endpoint(Method::DELETE, "/v1/grants/{id}", ADMINS),
    endpoint(Method::GET, "/v1/policy", READERS),
    endpoint(Method::GET, "/v1/principals", READERS),
    endpoint(Method::GET, "/v1/principals/{name}", READERS),
    endpoint(Method::PUT, "/v1/principals/{name}", ADMINS),
    endpoint(Method::DELETE, "/v1/principals/{name}", ADMINS),
    endpoint(Method::PATCH, "/v1/principals/{name}/quotas", ADMINS),
    endpoint(Method::DELETE, "/v1/principals/{name}/evidence", ADMINS),
    endpoint(Method::GET, "/v1/keys", READERS),
    endpoint(Method::POST, "/v1/keys", ADMINS),
    endpoint(Method::DELETE, "/v1/keys/{prefix}", ADMINS),
    endpoint(Method::POST, "/v1/keys/{prefix}/rotate", ADMINS),
    endpoint(Method::GET, "/v1/secrets", READERS),
    endpoint(Method::PUT, "/v1/secrets/{name}", ADMINS),
    endpoint(Method::DELETE, "/v1/secrets/{name}", ADMINS),
    endpoint(Method::GET, "/v1/state", READERS),
    endpoint(Method::DELETE, "/v1/state/{package}/{store}", ADMINS),
    endpoint(Method::PUT, "/v1/freeze", ADMINS),
    endpoint(Method::DELETE, "/v1/freeze", ADMINS),
    endpoint(Method::GET, "/v1/status", READERS),
    endpoint(Method::GET, "/v1/health", READERS),
    endpoint(Method::GET, "/v1/audit", READERS),
    endpoint(Method::GET, "/v1/audit/key", READERS),
    endpoint(Method::POST, "/v1/audit/key/rotate", ADMINS),
    endpoint(Method::GET, "/v1/audit/query", READERS),
    endpoint(Method::GET, "/v1/audit/calls/{id}", READERS),
    endpoint(Method::GET, "/v1/audit/calls/{id}/receipt", READERS),
    endpoint(Method::GET, "/v1/audit/checkpoint", READERS),
    endpoint(Method::POST, "/v1/audit/consistency", READERS),
    endpoint(Method::GET, "/v1/audit/rotations", READERS),
    endpoint(Method::POST, "/v1/audit/reindex", ADMINS),
    endpoint(Method::GET, "/v1/settings", READERS),
    endpoint(Method::POST, "/v1/backup", ADMINS),
];

/// What the table says of a request.
enum Entry {
    /// Who may.
    Of(&'static Endpoint),
    /// The route has no such method.
    OtherMethods,
    /// The route is not in the table.
    Missing,
}

fn entry(method: &Method, path: &str) -> Entry {
    // What answers GET answers HEAD, and says no more.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let mut of_path = ENDPOINTS.iter().filter(|endpoint| endpoint.path == path).peekable();
    if of_path.peek().is_none() {
        return Entry::Missing;
    }
    of_path.find(|endpoint| endpoint.method == *method).map_or(Entry::OtherMethods, Entry::Of)
}

/// Whether nobody is asked for a credential here: then not for a method that there is not, either.
pub(super) fn is_open_to_all(request: &Request) -> bool {
    let mut of_path = ENDPOINTS.iter().filter(|endpoint| endpoint.path == request.uri().path()).peekable();
    of_path.peek().is_some() && of_path.all(|endpoint| endpoint.roles.is_empty())
}

/// Lets a request through to its handler if the role of its caller may use the endpoint.
///
/// A path without a route goes on to where that is answered; whoever got here was authenticated before.
pub(super) async fn authorize(request: Request, next: Next) -> Response {
    let Some(route) = request.extensions().get::<MatchedPath>() else {
        return next.run(request).await;
    };
    match entry(request.method(), route.as_str()) {
        Entry::OtherMethods => {
            let detail = format!("{} does not know {}", request.uri().path(), request.method());
            let mut response =
                Problem::new(ErrorKind::MethodNotAllowed, detail, Blame::Agent).into_response();
            response.headers_mut().insert(header::ALLOW, allowed(route.as_str()));
            response
        }
        Entry::Of(endpoint) if endpoint.roles.is_empty() => next.run(request).await,
        Entry::Of(endpoint) => {
            let caller = request.extensions().get::<Caller>();
            match caller.map(Caller::role) {
                Some(role) if endpoint.roles.contains(&role) => next.run(request).await,
                Some(role) => refused(role.with_article(), &request),
                None => refused("nobody in particular", &request),
            }
        }
        Entry::Missing => refused("whoever asks", &request),
    }
}

/// The methods of a route (RFC 9110, 15.5.6).
fn allowed(path: &str) -> HeaderValue {
    let of_path = ENDPOINTS.iter().filter(|endpoint| endpoint.path == path);
    let mut methods: Vec<&str> = of_path.map(|endpoint| endpoint.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    HeaderValue::from_str(&methods.join(", ")).expect("methods are ASCII")
}

fn refused(who: &str, request: &Request) -> Response {
    let detail = format!("{who} may not {} {}", request.method(), request.uri().path());
    Problem::new(ErrorKind::Forbidden, detail, Blame::Agent).into_response()
}
