//! One request to a registry: its challenge answered, its redirects followed, its answer within a bound.
//!
//! Credentials go to the registry that was named, and to the token service that it names over TLS, and nowhere else:
//! not to where a redirect leads. Where a redirect leads to another host, only public addresses are connected to.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::credentials::Credentials;
use super::reference::{Reference, ReferenceError};
use crate::egress::{
    AnswerBody, CanonicalUrl, Client, EgressError, ExchangeBytes, ExchangeDeadlines, OutboundRequest,
    Resolver, Roots, Scheme, SentBody, SystemResolver, Traffic,
};
use crate::ids::PackageDigest;
use crate::limits::Limit;

/// The most redirects of one request.
const REDIRECTS_MAX: usize = 5;
/// The most bytes of an answer that is not a blob: manifests are at most 4 MiB (distribution specification).
const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// The most bytes of an error's text that are shown.
const ERROR_BYTES_MAX: usize = 500;
/// The most bytes in and out of one command.
const TRAFFIC_BYTES_MAX: u64 = 512 << 20;
/// The longest that one exchange may take: 64 MiB at 40 KiB/s.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(1_800);

/// What the token service is told of who asks.
const CLIENT_ID: &str = "portcullis";
const FORM: &str = "application/x-www-form-urlencoded";

/// Why a registry was of no use.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The reference. The fault of who wrote it.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The request was not sent, or not answered.
    #[error("{url}: {error}")]
    Egress {
        /// What was asked, without a query.
        url: String,
        /// Why not.
        error: EgressError,
    },
    /// A URL of the registry's that is not followed.
    #[error("the registry leads to {url}, which is not followed: {reason}")]
    Redirect {
        /// Where to.
        url: String,
        /// Why not.
        reason: String,
    },
    /// There is no such artifact, or not for whoever asks.
    #[error("{what} is not there, or not for you")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The registry wants to know who asks, or that was not enough.
    #[error(
        "the registry {registry} wants credentials, or other ones{why}: `docker login`, --docker-config or --token-file"
    )]
    Unauthorized {
        /// Which.
        registry: String,
        /// What is wrong with those that there are.
        why: String,
    },
    /// Another status than those that are expected.
    #[error("{url} answered {status}: {text}")]
    Status {
        /// What was asked, without a query.
        url: String,
        /// It.
        status: StatusCode,
        /// What the registry said: text of a stranger.
        text: String,
    },
    /// What came is not what its digest says.
    #[error(
        "{what} has digest {found}, not {expected}: the registry, or somebody on the way, gives other bytes"
    )]
    Digest {
        /// What was asked for.
        what: String,
        /// The digest that it was asked by.
        expected: PackageDigest,
        /// That of what came.
        found: PackageDigest,
    },
    /// More bytes than are taken.
    #[error("{what} has {bytes} bytes or more, at most {max} are taken")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// How many there are, at least.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// Not the layout of a component.
    #[error("{0}")]
    Layout(String),
    /// A file on this side.
    #[error("{action}: {error}")]
    File {
        /// What was tried.
        action: String,
        /// Why not.
        error: std::io::Error,
    },
}

/// How to reach a registry.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Who asks.
    pub credentials: Credentials,
    /// Addresses that may be connected to beside public ones, if they are the named registry's or its token service's.
    /// This machine's own are if the reference names it so.
    pub networks: Vec<IpNet>,
    /// Whose certificates are believed. With those that are given, the registry is spoken to over TLS on this machine
    /// too.
    pub roots: Roots,
    /// Finds the addresses of names.
    pub resolver: Arc<dyn Resolver>,
}

impl Default for RegistryOptions {
    /// Nobody in particular, public addresses, the system's roots and resolver.
    fn default() -> Self {
        Self {
            credentials: Credentials::None,
            networks: Vec::new(),
            roots: Roots::System,
            resolver: Arc::new(SystemResolver::default()),
        }
    }
}

/// One repository of a registry.
#[derive(Debug)]
pub struct Registry {
    pub(super) reference: Reference,
    client: Client,
    credentials: Credentials,
    granted: Arc<[IpNet]>,
    /// Those of them that were named: for the token service as well, which a private registry has in its network.
    named: Arc<[IpNet]>,
    traffic: Arc<Traffic>,
    /// What is sent as `Authorization` since the registry asked.
    authorization: Mutex<Option<HeaderValue>>,
}

/// What is asked.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Sent again if the registry asks who it is that sends it.
    pub(super) body: Bytes,
    /// Told how many bytes of it are on their way.
    pub(super) sent: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl Asked {
    pub(super) fn get(url: String, accept: &'static str) -> Self {
        let headers = vec![(header::ACCEPT, HeaderValue::from_static(accept))];
        Self { method: Method::GET, url, headers, body: Bytes::new(), sent: None }
    }

    pub(super) fn send(method: Method, url: String, kind: &str, body: Bytes) -> Self {
        let kind =
            HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
        Self { method, url, headers: vec![(header::CONTENT_TYPE, kind)], body, sent: None }
    }
}

impl Registry {
    /// Reaches nothing yet.
    ///
    /// # Errors
    /// [`OciError::Reference`].
    pub fn new(reference: Reference, options: RegistryOptions) -> Result<Self, OciError> {
        let RegistryOptions { credentials, mut networks, roots, resolver } = options;
        let named: Arc<[IpNet]> = networks.clone().into();
        // Who names certificates means TLS, on this machine too.
        let reference = match &roots {
            Roots::Given(_) => reference.over_tls()?,
            Roots::System => reference,
        };
        if reference.is_loopback() {
            let own = [
                IpNet::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
                IpNet::new(Ipv6Addr::LOCALHOST.into(), 128),
            ];
            networks.extend(own.into_iter().flatten());
        }
        Ok(Self {
            reference,
            client: Client::new(resolver, roots),
            credentials,
            granted: networks.into(),
            named,
            traffic: Arc::new(Traffic::new(TRAFFIC_BYTES_MAX, TRAFFIC_BYTES_MAX)),
            authorization: Mutex::default(),
        })
    }

    /// The artifact that it is about.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Sends a request; where the registry asks who sends it, once more with that.
    pub(super) async fn ask(&self, asked: Asked) -> Result<Response<AnswerBody>, OciError> {
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = self.follow(&asked, known.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let authorization = self.answer_challenge(answer.headers()).await?;
        if known.as_ref() == Some(&authorization) {
            return Err(self.unauthorized(""));
        }
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization.clone());
        let answer = self.follow(&asked, Some(authorization)).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.unauthorized(" (they were refused)"))
            }
            _ => Ok(answer),
        }
    }

    async fn follow(
        &self,
        asked: &Asked,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<AnswerBody>, OciError> {
        let mut url = self.own_url(&asked.url)?;
        for _ in 0..=REDIRECTS_MAX {
            let is_own = self.is_own(&url);
            let authorization = authorization.clone().filter(|_| is_own);
            let granted = if is_own { Arc::clone(&self.granted) } else { Arc::new([]) };
            let answer = self.once(asked, &url, authorization, granted).await?;
            let is_redirect = answer.status().is_redirection() && answer.status() != StatusCode::NOT_MODIFIED;
            let is_read = asked.method == Method::GET || asked.method == Method::HEAD;
            let Some(location) = answer.headers().get(header::LOCATION).filter(|_| is_redirect && is_read)
            else {
                return Ok(answer);
            };
            url = self.redirected(&url, location)?;
        }
        let (url, reason) = (url.without_query(), format!("there are more than {REDIRECTS_MAX} redirects"));
        Err(OciError::Redirect { url, reason })
    }

    /// Where a redirect leads: to TLS, or to this very registry.
    fn redirected(&self, from: &CanonicalUrl, location: &HeaderValue) -> Result<CanonicalUrl, OciError> {
        let shown: String =
            String::from_utf8_lossy(location.as_bytes()).chars().take(ERROR_BYTES_MAX).collect();
        let refused = |reason: String| OciError::Redirect { url: shown.clone(), reason };
        let location = location.to_str().map_err(|error| refused(error.to_string()))?;
        let joined = Url::parse(&from.to_string()).and_then(|from| from.join(location));
        let joined = joined.map_err(|error| refused(error.to_string()))?;
        let url = CanonicalUrl::parse(joined.as_str()).map_err(|error| refused(error.to_string()))?;
        if url.scheme() == Scheme::Http && !self.is_own(&url) {
            return Err(refused("it is not TLS".to_owned()));
        }
        Ok(url)
    }

    /// Whether a URL is of the registry that was named, by scheme, host and port.
    fn is_own(&self, url: &CanonicalUrl) -> bool {
        url.scheme() == self.reference.scheme()
            && url.host() == self.reference.host()
            && url.authority() == self.reference.registry()
    }

    fn own_url(&self, text: &str) -> Result<CanonicalUrl, OciError> {
        let refused =
            |reason: String| OciError::Redirect { url: text.chars().take(ERROR_BYTES_MAX).collect(), reason };
        let url = CanonicalUrl::parse(text).map_err(|error| refused(error.to_string()))?;
        if self.is_own(&url) { Ok(url) } else { Err(refused("it is another registry's".to_owned())) }
    }

    /// The place for an upload, which must be the registry's own.
    pub(super) fn upload_url(&self, location: &HeaderValue) -> Result<String, OciError> {
        let base = self.own_url(&self.reference.base())?;
        let url = self.redirected(&base, location)?;
        self.own_url(&url.to_string()).map(|url| url.to_string())
    }

    async fn once(
        &self,
        asked: &Asked,
        url: &CanonicalUrl,
        authorization: Option<HeaderValue>,
        granted: Arc<[IpNet]>,
    ) -> Result<Response<AnswerBody>, OciError> {
        let mut headers = HeaderMap::new();
        headers.extend(asked.headers.iter().cloned());
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))),
        );
        let is_empty = asked.body.is_empty();
        if !is_empty {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(asked.body.len()));
        }
        let request = OutboundRequest {
            scope: Arc::from("registry"),
            url: url.clone(),
            method: asked.method.clone(),
            headers,
            body: sent_body(asked.body.clone(), asked.sent.clone()),
            is_empty,
            granted,
            deadlines: ExchangeDeadlines { whole: EXCHANGE_TIME_MAX, ..ExchangeDeadlines::default() },
            traffic: Arc::clone(&self.traffic),
            bytes: ExchangeBytes::default(),
            is_handed_over: Arc::default(),
        };
        let answer = self.client.send(request).await;
        answer.map_err(|error| OciError::Egress { url: url.without_query(), error })
    }

    fn unauthorized(&self, why: &str) -> OciError {
        OciError::Unauthorized { registry: self.reference.registry().to_owned(), why: why.to_owned() }
    }

    /// What to send to a registry that asks who it is (RFC 9110, 11.6.1; the distribution's token specification).
    async fn answer_challenge(&self, headers: &HeaderMap) -> Result<HeaderValue, OciError> {
        let challenges =
            headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = challenges.filter_map(Challenge::parse).collect();
        if let Credentials::Token(token) = &self.credentials {
            return secret_value(&format!("Bearer {}", token.as_str()))
                .ok_or_else(|| self.unauthorized(" (the token has control characters)"));
        }
        if let Some(Challenge::Bearer { realm, service, scope }) =
            challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }))
        {
            return self.token(realm, service.as_deref(), scope.as_deref()).await;
        }
        let is_basic = challenges.contains(&Challenge::Basic);
        self.basic().filter(|_| is_basic).ok_or_else(|| self.unauthorized(""))
    }

    fn basic(&self) -> Option<HeaderValue> {
        let Credentials::Basic { user, password } = &self.credentials else { return None };
        let joined = Zeroizing::new(format!("{user}:{}", password.as_str()));
        secret_value(&format!("Basic {}", STANDARD.encode(joined.as_bytes())))
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<HeaderValue, OciError> {
        let refused = |reason: String| OciError::Redirect {
            url: realm.chars().take(ERROR_BYTES_MAX).collect(),
            reason,
        };
        let mut url = Url::parse(realm).map_err(|error| refused(error.to_string()))?;
        let asked_for = [("service", service), ("scope", scope)];
        let asked_for = asked_for.into_iter().filter_map(|(name, value)| Some((name, value?)));
        // In exchange for an identity token it is asked for in a body (the distribution's OAuth 2 specification).
        let identity = match &self.credentials {
            Credentials::Identity(token) => Some(token),
            Credentials::None | Credentials::Basic { .. } | Credentials::Token(_) => None,
        };
        let form = identity.map(|token| {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT_ID);
            form.extend_pairs(asked_for.clone()).append_pair("refresh_token", token);
            form.finish()
        });
        if form.is_none() {
            for (name, value) in asked_for {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let url = CanonicalUrl::parse(url.as_str()).map_err(|error| refused(error.to_string()))?;
        if url.scheme() == Scheme::Http && !self.is_own(&url) {
            return Err(refused("tokens are asked for over TLS only".to_owned()));
        }
        let asked = match form {
            Some(form) => Asked::send(Method::POST, url.to_string(), FORM, form.into()),
            None => Asked::get(url.to_string(), "application/json"),
        };
        let granted = if self.is_own(&url) { &self.granted } else { &self.named };
        let answer = self.once(&asked, &url, self.basic(), Arc::clone(granted)).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.unauthorized(" (they were refused)"));
            }
            _ => return Err(status(&url.without_query(), answer).await),
        }
        let bytes = Zeroizing::new(document(&url.without_query(), answer).await?);
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|_| OciError::Layout("the registry's token service answers with no token".to_owned()))?;
        let token = token.token.or(token.access_token).map(Zeroizing::new);
        let value = token.and_then(|token| secret_value(&format!("Bearer {}", token.as_str())));
        value.ok_or_else(|| OciError::Layout("the registry's token service answers with no token".to_owned()))
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How a registry asks who it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// Reads one; none of another kind, or of one that is cut off.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if kind.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !kind.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest.trim();
        while let Some((name, after)) = rest.split_once('=') {
            let quoted = after.trim_start().strip_prefix('"')?;
            let (value, after) = quoted.split_once('"')?;
            match name.trim().trim_start_matches(',').trim() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                "scope" => scope = Some(value.to_owned()),
                _ => {}
            }
            rest = after.trim().trim_start_matches(',').trim();
        }
        Some(Challenge::Bearer { realm: realm?, service, scope })
    }
}

/// A body in pieces, so that it can be seen how far it is.
fn sent_body(bytes: Bytes, sent: Option<Arc<dyn Fn(u64) + Send + Sync>>) -> SentBody {
    let Some(sent) = sent else {
        return SentBody::new(Full::new(bytes).map_err(|never| match never {}));
    };
    const PIECE: usize = 64 << 10;
    let pieces = futures_util::stream::unfold(bytes, move |mut left| {
        let sent = Arc::clone(&sent);
        async move {
            if left.is_empty() {
                return None;
            }
            let piece = left.split_to(left.len().min(PIECE));
            sent(piece.len() as u64);
            Some((Ok::<_, String>(hyper::body::Frame::data(piece)), left))
        }
    });
    SentBody::new(http_body_util::StreamBody::new(pieces))
}

/// A whole answer that is no blob.
pub(super) async fn document(what: &str, answer: Response<AnswerBody>) -> Result<Vec<u8>, OciError> {
    bounded(what, answer, DOCUMENT_BYTES_MAX as u64).await
}

/// A whole answer of at most so many bytes.
pub(super) async fn bounded(what: &str, answer: Response<AnswerBody>, max: u64) -> Result<Vec<u8>, OciError> {
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| OciError::Egress { url: what.to_owned(), error })?;
        let Ok(data) = frame.into_data() else { continue };
        bytes.extend_from_slice(&data);
        if bytes.len() as u64 > max {
            return Err(OciError::TooLarge { what: what.to_owned(), bytes: bytes.len() as u64, max });
        }
    }
    Ok(bytes)
}

/// An answer that was not expected.
pub(super) async fn status(what: &str, answer: Response<AnswerBody>) -> OciError {
    let status = answer.status();
    if status == StatusCode::NOT_FOUND {
        return OciError::NotFound { what: what.to_owned() };
    }
    let text = match document(what, answer).await {
        Ok(bytes) => crate::text::clean_line(&String::from_utf8_lossy(&bytes), ERROR_BYTES_MAX),
        Err(_) => String::new(),
    };
    OciError::Status { url: what.to_owned(), status, text }
}

/// The most bytes of a component.
pub(super) fn component_bytes_max() -> u64 {
    Limit::ComponentBytes.row().ceiling
}
