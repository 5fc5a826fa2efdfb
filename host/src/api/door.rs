//! The door for agents and programs: what is asked of a request before its body is read.
//!
//! In this order: it is meant for this host (Host), no web page of another origin made it (Origin), no key is in
//! its URL, and its key, token or certificate is valid. The role is judged after that, by [`access`](super::access).
//! An answer that goes on for long ends when what its caller was let in by does. Knows no route but those that need
//! no credential.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access;
use super::guarded::guarded;
use super::http::{Api, Stopping, routes};
use super::openapi::Described;
use super::problem::{ErrorKind, Problem};
use super::resource;
use super::tls::Shown;
use crate::authn::{Caller, Rates, Refusal, Refused};
use crate::egress::CanonicalUrl;
use crate::gateway::{Blame, Host};
use crate::policy::Role;

/// Names of query parameters that keys are given in elsewhere (RFC 6750, 2.3), where they end in logs.
const TOKEN_PARAMETERS: [&str; 4] = ["access_token", "api_key", "apikey", "token"];

/// When to try again with a token whose issuer is down.
const RETRY_ISSUER_SECONDS: u64 = 10;

/// Whom a door is for.
#[derive(Clone, Debug, Default)]
pub struct DoorSettings {
    /// Whether it is reached from this machine only. Then a request must be for this machine as well: a page whose
    /// name was made to point here (DNS rebinding) asks for another.
    pub loopback: bool,
    /// Whether it is reached over TLS.
    pub secure: bool,
    /// How often an agent may ask, and how often each did. Doors of one host share it.
    pub rates: Arc<Mutex<Rates>>,
    /// What may be changed beside running requests. Doors of one host share it.
    pub rules: Arc<RwLock<Arc<DoorRules>>>,
}

/// By what a door judges requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoorRules {
    /// Further names by which it may be asked for, without ports. Default: none.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may ask, such as `https://console.example.org`. Default: those of the door itself.
    pub allowed_origins: Vec<String>,
    /// By which URL it is known, without a path. Default: by what each request asks for.
    pub public_url: Option<CanonicalUrl>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

#[derive(Clone, Debug)]
struct Door {
    host: Arc<Host>,
    settings: Arc<DoorSettings>,
}

/// The API as it is served over the network: each request has a key, but for `/healthz` and `/readyz`.
///
/// `mounted` is served beside it, such as MCP: behind the same checks, with its caller
/// ([`Caller`](crate::authn::Caller)) in the request's extensions. It checks its bodies itself, since it answers bad ones
/// in the form of its own protocol. Its routes must be in [`ENDPOINTS`](super::access::ENDPOINTS), or they answer nobody.
pub fn network_router(
    host: Arc<Host>,
    stopping: Stopping,
    settings: DoorSettings,
    mounted: Router,
) -> Router {
    let door = Door { host: Arc::clone(&host), settings: Arc::new(settings) };
    let api = Api::new(host, stopping);
    let open = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    let described = resource::routes(Arc::clone(&api.host), Arc::clone(&door.settings));
    let beside = open.with_state(api.clone()).merge(described).merge(mounted);
    routes(api, beside).layer(from_fn_with_state(door, let_in))
}

pub(super) fn describe(api: &mut Described) {
    resource::describe(api);
    api.get("/healthz", "is_alive", "Says that the process lives.")
        .answers::<Alive>("It does.")
        .example(json!({"status": "ok"}))
        .done();
    api.get("/readyz", "is_ready", "Says whether calls are taken.")
        .answers::<Readiness>("They are.")
        .answers_with::<Readiness>(StatusCode::SERVICE_UNAVAILABLE, "They are not, and why not.")
        .done();
}

/// Answers that the process lives.
async fn healthz() -> Json<Alive> {
    Json(Alive { status: "ok".to_owned() })
}

/// Answer of `GET /healthz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alive {
    /// Always `ok`.
    pub status: String,
}

/// Answer of `GET /readyz`: with 200 if calls are taken, else with 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Whether calls are taken.
    pub ready: bool,
    /// Why not, in a word: admins learn more from `/v1/health` and `/v1/status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Unready>,
}

/// Why no calls are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unready {
    /// The host ends.
    Stopping,
    /// The log takes no records.
    Log,
    /// The disk is low.
    Disk,
    /// An admin stopped everything.
    Frozen,
}

async fn readyz(State(api): State<Api>) -> Response {
    let health = api.host.health();
    let because = if *api.stopping.borrow() {
        Some(Unready::Stopping)
    } else if health.log_failure.is_some() {
        Some(Unready::Log)
    } else if health.disk_low.is_some() {
        Some(Unready::Disk)
    } else {
        api.host.frozen().map(|_| Unready::Frozen)
    };
    let status = if because.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: because.is_none(), because })).into_response()
}

async fn let_in(State(door): State<Door>, request: Request, next: Next) -> Response {
    if let Err(problem) = door.is_meant(&request) {
        return problem.into_response();
    }
    if access::is_open_to_all(&request) {
        return next.run(request).await;
    }
    let (mut head, body) = request.into_parts();
    let caller = match door.caller(&head).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    // Nothing further in needs it, so nothing can pass it on.
    head.headers.remove(header::AUTHORIZATION);
    head.extensions.remove::<Arc<Shown>>();
    head.extensions.insert(caller.clone());
    let answered = next.run(Request::from_parts(head, body));
    let response = door.host.in_turn(caller.principal(), answered).await;
    guarded(response, &door.host, caller)
}

impl Door {
    /// Whether a request was made for this host, and by somebody who may be asked.
    fn is_meant(&self, request: &Request) -> Result<(), Box<Problem>> {
        let host = sole(request.headers(), &header::HOST)?
            .ok_or_else(|| Problem::bad_input("the request has no Host header"))?;
        let host = host.parse::<Authority>().map_err(|_| Problem::bad_input("Host is not a name"))?;
        let asked = request.uri().authority().into_iter().chain([&host]);
        let rules = self.settings.rules();
        if asked.map(Authority::host).any(|name| !rules.is_allowed_host(name, self.settings.loopback)) {
            let detail = "this host does not go by that name; `portcullis serve --allowed-host` lets it";
            return Err(forbidden(detail));
        }
        if let Some(origin) = sole(request.headers(), &header::ORIGIN)?
            && !rules.is_allowed_origin(origin, &host)
        {
            let detail = "pages of that origin may not ask; `portcullis serve --allowed-origin` lets them";
            return Err(forbidden(detail));
        }
        if has_token(request.uri()) {
            let detail = "a key does not belong into a URL, which is logged by whoever sees it: revoke it, \
                          and send the new one as `Authorization: Bearer`";
            return Err(Problem::bad_input(detail).into());
        }
        Ok(())
    }

    /// Who asks.
    async fn caller(&self, head: &Parts) -> Result<Caller, Box<Response>> {
        let shown = head.extensions.get::<Arc<Shown>>();
        let token = match bearer(&head.headers) {
            Bearer::Missing => None,
            Bearer::Malformed => Some(""),
            Bearer::Token(token) => Some(token),
        };
        let found = match shown {
            Some(shown) if !shown.is_valid() => Err(Refused::BadCertificate.into()),
            _ => self.host.identify(token, shown.map(|shown| &shown.certificate)).await,
        };
        let refusal = match found {
            Ok(Some(caller)) => return self.in_time(caller),
            Ok(None) => {
                let detail = "give a key or token as `Authorization: Bearer`";
                return Err(unauthenticated(detail, self.challenge(head, None, None)).into());
            }
            Err(refusal) => refusal,
        };
        let peer = head.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        let unknown_peer = IpAddr::from([0, 0, 0, 0]);
        if let Some(wait) = self.host.note_refusal(peer.unwrap_or(unknown_peer), &refusal) {
            return Err(try_later(wait).into());
        }
        Err(self.refused(head, &refusal).into())
    }

    /// What a client is told of a credential that was refused.
    fn refused(&self, head: &Parts, refusal: &Refusal) -> Response {
        match refusal.reason {
            Refused::Malformed
            | Refused::Unknown
            | Refused::Expired
            | Refused::UnknownIssuer
            | Refused::ForbiddenAlgorithm
            | Refused::UnknownSigningKey
            | Refused::BadSignature
            | Refused::OtherAudience
            | Refused::NotYetValid
            | Refused::BadClaims => {
                let detail = if refusal.issuer.is_some() {
                    "the token is not one that this host takes, or its time is over; an admin can tell why"
                } else {
                    "the key is not known, or its time is over"
                };
                unauthenticated(detail, self.challenge(head, Some("invalid_token"), None))
            }
            Refused::MissingScope => {
                let detail = "the token lacks a scope that this host asks for";
                let mut response = (*forbidden(detail)).into_response();
                let challenge = self.challenge(head, Some("insufficient_scope"), Some(refusal));
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response
            }
            Refused::IssuerDown => {
                let detail = "the keys of the token's issuer can't be had now; try again later";
                let mut response = Problem::new(ErrorKind::Busy, detail, Blame::Host).into_response();
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_ISSUER_SECONDS));
                response
            }
            Refused::PrincipalRemoved | Refused::OtherRole => {
                (*forbidden("the principal of what you sent may not use it any more; an admin can tell why"))
                    .into_response()
            }
            Refused::BadCertificate => {
                (*forbidden("the client certificate is not valid here; an admin can tell why"))
                    .into_response()
            }
            Refused::TwoPrincipals => (*forbidden(
                "the client certificate is one principal's, and the key or token another's: send one of them",
            ))
            .into_response(),
        }
    }

    /// How a client learns what to send (RFC 6750, 3), and where to get it (RFC 9728, 5.1).
    fn challenge(&self, head: &Parts, error: Option<&str>, refusal: Option<&Refusal>) -> HeaderValue {
        let mut parts = Vec::new();
        if let Some(error) = error {
            parts.push(format!("error=\"{error}\""));
        }
        let trusted = self.host.trusted();
        let issuers = &trusted.settings().issuers;
        if !issuers.is_empty() {
            let of = refusal.and_then(|refusal| refusal.issuer.as_ref());
            let scopes =
                resource::scopes(issuers.iter().filter(|issuer| of.is_none_or(|of| issuer.name == *of)));
            if !scopes.is_empty() {
                parts.push(format!("scope=\"{}\"", scopes.join(" ")));
            }
            if let Some(at) = resource::metadata_url(&self.settings, head) {
                parts.push(format!("resource_metadata=\"{at}\""));
            }
        }
        let text =
            if parts.is_empty() { "Bearer".to_owned() } else { format!("Bearer {}", parts.join(", ")) };
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

impl Door {
    /// Whether an agent asks no more often than it may. Who sets up a host, or looks at it, is not counted.
    fn in_time(&self, caller: Caller) -> Result<Caller, Box<Response>> {
        if caller.role() != Role::Agent {
            return Ok(caller);
        }
        let mut rates = self.settings.rates.lock().unwrap_or_else(PoisonError::into_inner);
        match rates.note(caller.principal(), Instant::now()) {
            Some(wait) => Err(try_later(wait).into()),
            None => Ok(caller),
        }
    }
}

impl DoorSettings {
    /// What is in force now.
    pub fn rules(&self) -> Arc<DoorRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl DoorRules {
    fn is_allowed_host(&self, name: &str, loopback: bool) -> bool {
        let name = name.trim_end_matches('.');
        if self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) {
            return true;
        }
        let own = self.public_url.as_ref().map(|url| url.host().to_string());
        if own.is_some_and(|own| own.eq_ignore_ascii_case(name)) {
            return true;
        }
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match literal.parse::<IpAddr>() {
            // No name leads a browser to one that its page does not show.
            Ok(address) => !loopback || address.is_loopback(),
            Err(_) => false,
        }
    }

    /// A page of the door itself may ask, and pages of the origins that were named.
    fn is_allowed_origin(&self, origin: &str, host: &Authority) -> bool {
        let own = ["http://", "https://"].iter().any(|scheme| {
            origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host.as_str()))
        });
        own || self.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
}

enum Bearer<'a> {
    Missing,
    /// Another scheme, several headers, or no ASCII.
    Malformed,
    Token(&'a str),
}

fn bearer(headers: &HeaderMap) -> Bearer<'_> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Bearer::Missing };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match (token, values.next()) {
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => {
            Bearer::Token(token.trim_matches(' '))
        }
        _ => Bearer::Malformed,
    }
}

/// The one value of a header; which there may not be.
fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Box<Problem>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(Problem::bad_input(format!("there is more than one `{name}`, or it is not ASCII")).into()),
    }
}

/// Whether a key, or what is meant to be one, is in a URL.
fn has_token(uri: &Uri) -> bool {
    let looks_like_key = |text: &str| {
        let mut rest = text;
        while let Some(at) = rest.find("pcl_") {
            rest = &rest[at + 4..];
            if rest.as_bytes().get(12) == Some(&b'_') {
                return true;
            }
        }
        false
    };
    let query = uri.query().unwrap_or_default();
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    looks_like_key(uri.path())
        || looks_like_key(query)
        || names.into_iter().any(|name| TOKEN_PARAMETERS.iter().any(|token| token.eq_ignore_ascii_case(name)))
}

fn forbidden(detail: &str) -> Box<Problem> {
    Problem::new(ErrorKind::Forbidden, detail, Blame::Agent).into()
}

fn unauthenticated(detail: &str, challenge: HeaderValue) -> Response {
    let mut response = Problem::new(ErrorKind::Unauthenticated, detail, Blame::Agent).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// An answer that says when to try again.
pub(super) fn try_later(wait: std::time::Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let detail = format!("that was too often; try again in {seconds} s");
    let problem = Problem::new(ErrorKind::TooManyRequests, detail, Blame::Agent);
    Problem { retry_after: Some(seconds), ..problem }.into_response()
}
