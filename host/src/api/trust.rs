//! The trust policy, and the signatures that come with a component. Decides nothing.

use axum::extract::{Request, State};
use axum::routing::get;
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::json as example;

use super::http::{Api, json, json_body, to_its_end};
use super::messages::SIGNATURE_HEADER;
use super::openapi::Described;
use super::problem::{ErrorKind, Problem};
use crate::authn::Caller;
use crate::gateway::{TrustChanged, TrustSource, TrustStatus};
use crate::signing::{SIGNATURES_MAX, Signature, SignatureError};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v1/trust", get(show).put(apply).delete(remove))
}

pub(super) fn describe(api: &mut Described) {
    api.get("/v1/trust", "show_trust", "Shows the trust policy: whose signatures packages need.")
        .answers::<TrustStatus>("It, and the approved components that it does not trust.")
        .done();
    api.put(
        "/v1/trust",
        "apply_trust",
        "Puts a trust policy in force; running calls of what it does not trust end.",
    )
    .body::<TrustSource>(example!({"file": "trust.toml", "text": "uncovered = \"unsigned\"\n"}))
    .changes()
    .fails(&[ErrorKind::InvalidSettings])
    .answers::<TrustChanged>("What came of it.")
    .done();
    api.delete("/v1/trust", "remove_trust", "Goes on without a trust policy.")
        .changes()
        .answers::<TrustChanged>("What came of it.")
        .done();
}

async fn show(State(api): State<Api>) -> Result<Json<TrustStatus>, Problem> {
    Ok(Json(api.host.trust_policy().await?))
}

async fn apply(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<TrustChanged>, Problem> {
    let source: TrustSource = json(&json_body(request).await?)?;
    to_its_end(async move { Ok(Json(api.host.apply_trust(caller.principal(), &source).await?)) }).await
}

async fn remove(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<TrustChanged>, Problem> {
    to_its_end(async move { Ok(Json(api.host.remove_trust(caller.principal()).await?)) }).await
}

/// The signatures in the headers of a request, each in one of its own, in base64; and those that its body begins with,
/// which are taken out of it.
pub(super) fn signatures(
    headers: &HeaderMap,
    body: &mut Bytes,
    in_body: u32,
) -> Result<Vec<Signature>, Box<Problem>> {
    let refused = |detail: String| Box::new(Problem::bad_input(detail));
    let mut texts = Vec::new();
    for value in headers.get_all(SIGNATURE_HEADER) {
        let text = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        texts.push(text.ok_or_else(|| {
            refused(format!("the header {SIGNATURE_HEADER} is not the base64 of a signature's file"))
        })?);
    }
    if in_body > 0 {
        let length = usize::try_from(in_body).unwrap_or(usize::MAX);
        if body.len() < length {
            let detail = format!("signature_bytes is {in_body}, and the body has {} bytes", body.len());
            return Err(refused(detail));
        }
        let list: Vec<String> = json(&body.split_to(length))?;
        texts.extend(list);
    }
    if texts.len() > SIGNATURES_MAX {
        return Err(refused(format!("a component has at most {SIGNATURES_MAX} signatures")));
    }
    let read = |text: String| text.parse().map_err(|error: SignatureError| refused(error.to_string()));
    texts.into_iter().map(read).collect()
}
