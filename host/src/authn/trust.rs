//! Whom else than keys of its own a host believes: issuers of tokens, whose public keys it fetches and keeps for a
//! while, and client certificates.
//!
//! Keys are fetched over the host's one connector: at a judged address, over TLS (or on this machine), within bounds
//! of time and size, and never for a redirect. An issuer is asked at most once in [`ASK_INTERVAL`], whatever tokens
//! say; when it does not answer, its last keys are used for as long as its settings say.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Limited};
use ipnet::IpNet;
use jiff::Timestamp;
use jsonwebtoken::DecodingKey;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::certificate::{CertificateSettings, ClientCertificate, holder};
use super::key_set::{KEY_SET_BYTES_MAX, KeySet};
use super::refused::{Refusal, Refused};
use super::signature::TokenAlgorithm;
use super::token::{IssuerSettings, KeysAt, looks_like_token, unproven};
use super::{Caller, stands};
use crate::config::public_text;
use crate::egress::{
    CanonicalUrl, Client, Deadlines, ExchangeBytes, ExchangeDeadlines, OutboundRequest, Resolver, Roots,
    Scheme, Traffic, UrlHost,
};
use crate::ids::{IssuerName, PrincipalId};
use crate::policy::{Principal, Role};

/// The least time between two times that an issuer is asked for its keys.
const ASK_INTERVAL: Duration = Duration::from_secs(10);
/// The longest that asking it may take, and each step of that.
const ASK_TIME_MAX: Duration = Duration::from_secs(10);
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest that a request waits for that.
const WAIT_TIME_MAX: Duration = Duration::from_secs(5);
/// The most bytes of a file with certificates.
const ROOTS_FILE_BYTES_MAX: usize = 4 << 20;

/// Whom a host believes beside keys of its own. Default: nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustSettings {
    /// Issuers of tokens, each with a name and an `iss` of its own.
    pub issuers: Vec<IssuerSettings>,
    /// Whose client certificates are.
    pub certificates: Vec<CertificateSettings>,
}

/// Why an issuer can't be believed as its settings say. The admin's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("issuer {issuer}: {reason}")]
pub struct TrustError {
    /// Which.
    pub issuer: IssuerName,
    /// Why not.
    pub reason: String,
}

/// The same, with what was fetched. Default: nobody is believed.
#[derive(Debug, Default)]
pub struct Trust {
    settings: TrustSettings,
    issuers: Vec<Arc<Issuer>>,
}

impl Trust {
    /// By the settings. What was fetched for issuers whose settings are as `before` is kept. Fetches nothing yet: who
    /// can't be reached now may be later.
    ///
    /// # Errors
    /// If a file that the settings name can't be used.
    pub fn new(
        settings: TrustSettings,
        resolver: &Arc<dyn Resolver>,
        roots: &Roots,
        before: &Trust,
    ) -> Result<Self, TrustError> {
        let mut issuers = Vec::new();
        for wanted in &settings.issuers {
            let known = before.issuers.iter().find(|known| known.settings == *wanted);
            issuers.push(match known {
                Some(known) => Arc::clone(known),
                None => Arc::new(Issuer::new(wanted.clone(), Arc::clone(resolver), roots)?),
            });
        }
        Ok(Self { settings, issuers })
    }

    /// What it was made of.
    pub fn settings(&self) -> &TrustSettings {
        &self.settings
    }

    /// Whether a text is to be judged as a token: it looks like one, and there are issuers.
    pub fn takes(&self, text: &str) -> bool {
        !self.issuers.is_empty() && looks_like_token(text)
    }

    /// Finds out who calls with a token, at `now`. `known` is what an admin said of principals: one that was removed,
    /// or has another role, is refused whatever its issuer says.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn token_caller<'a>(
        &self,
        token: &str,
        now: Timestamp,
        known: impl FnOnce(&PrincipalId) -> Option<&'a Principal>,
    ) -> Result<Caller, Refusal> {
        let unproven = unproven(token)?;
        let named = self.issuers.iter().find(|issuer| issuer.settings.issuer == unproven.issuer);
        let issuer = named.ok_or(Refused::UnknownIssuer)?;
        let refused =
            |reason| Refusal { issuer: Some(issuer.settings.name.clone()), ..Refusal::from(reason) };
        let (id, algorithm) = issuer.settings.key_of(&unproven).map_err(refused)?;
        let key = issuer.key(id, algorithm).await.map_err(refused)?;
        let caller = issuer.settings.caller(token, &key, algorithm, now).map_err(refused)?;
        // What an issuer may make somebody is in its settings; what an admin said here comes first.
        stands(known(caller.principal()), caller.role(), caller.role()).map_err(refused)?;
        Ok(caller)
    }

    /// Whose certificate it is; `None`: nobody's that the settings name.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn certificate_caller<'a>(
        &self,
        certificate: &Arc<ClientCertificate>,
        known: impl Fn(&PrincipalId) -> Option<&'a Principal>,
    ) -> Result<Option<Caller>, Refusal> {
        let role_of = |name: &PrincipalId| known(name).map_or(Role::Agent, |principal| principal.role);
        let Some(caller) = holder(certificate, &self.settings.certificates, role_of)? else {
            return Ok(None);
        };
        stands(known(caller.principal()), caller.role(), caller.role())?;
        Ok(Some(caller))
    }

    /// Whether a certificate is still a principal's.
    pub fn gives(&self, certificate: &ClientCertificate, principal: &PrincipalId) -> bool {
        let mut entries = self.settings.certificates.iter().filter(|entry| entry.name.is_of(certificate));
        let is_given = entries.next().is_some_and(|entry| entry.principal == *principal);
        is_given && entries.all(|entry| entry.principal == *principal)
    }

    /// Whether tokens of an issuer are still believed.
    pub fn believes(&self, name: &IssuerName) -> bool {
        self.issuers.iter().any(|issuer| issuer.settings.name == *name)
    }
}

/// One issuer, and its keys as they were last.
#[derive(Debug)]
struct Issuer {
    settings: IssuerSettings,
    client: Client,
    granted: Arc<[IpNet]>,
    held: RwLock<Held>,
    /// Held while it is asked.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    /// The keys, and since when.
    keys: Option<(Arc<KeySet>, Instant)>,
    asked: Option<Instant>,
}

impl Held {
    /// The keys, if they are no older than this.
    fn within(&self, age_max: Duration) -> Option<&KeySet> {
        let (keys, since) = self.keys.as_ref()?;
        (since.elapsed() <= age_max).then_some(keys)
    }

    fn may_ask(&self) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() >= ASK_INTERVAL)
    }
}

/// What an issuer says of itself (OpenID Connect Discovery 1.0, 3; RFC 8414, 2).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Issuer {
    fn new(settings: IssuerSettings, resolver: Arc<dyn Resolver>, roots: &Roots) -> Result<Self, TrustError> {
        let roots = match &settings.roots {
            None => roots.clone(),
            Some(path) => {
                read_roots(path).map_err(|reason| TrustError { issuer: settings.name.clone(), reason })?
            }
        };
        let mut granted = settings.addresses.clone();
        let at = match &settings.keys {
            KeysAt::Url(url) => url,
            KeysAt::Metadata | KeysAt::File(_) => &settings.url,
        };
        match at.host() {
            // An address that the settings name was chosen by who wrote them.
            UrlHost::Address(address) => granted.push(IpNet::from(*address)),
            UrlHost::Name(name) if name == "localhost" => {
                granted.extend([IpNet::from(IpAddr::from([127, 0, 0, 1])), this_machine_in_six()]);
            }
            UrlHost::Name(_) => {}
        }
        Ok(Self {
            client: Client::new(resolver, roots),
            granted: granted.into(),
            held: RwLock::default(),
            asking: tokio::sync::Mutex::default(),
            settings,
        })
    }

    /// The key that a token names.
    async fn key(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: TokenAlgorithm,
    ) -> Result<DecodingKey, Refused> {
        let held = self.held();
        if let Some(key) = held.within(self.settings.keys_fresh).and_then(|keys| keys.find(id, algorithm)) {
            return Ok(key.clone());
        }
        let since = held.keys.map(|(_, since)| since);
        let issuer = Arc::clone(self);
        // In a task of its own: a client that goes away does not waste what was asked for it.
        let asked = tokio::spawn(async move { issuer.ask(since).await });
        if tokio::time::timeout(WAIT_TIME_MAX, asked).await.is_err() {
            tracing::debug!(issuer = %self.settings.name, "its keys are late");
        }
        let held = self.held();
        match held.within(self.settings.keys_stale.max(self.settings.keys_fresh)) {
            Some(keys) => keys.find(id, algorithm).cloned().ok_or(Refused::UnknownSigningKey),
            None => Err(Refused::IssuerDown),
        }
    }

    /// Fetches the keys, unless that was done since, or too short a time ago.
    async fn ask(&self, seen: Option<Instant>) {
        let _asking = self.asking.lock().await;
        let held = self.held();
        if held.keys.as_ref().map(|(_, since)| *since) != seen || !held.may_ask() {
            return;
        }
        self.change(|held| held.asked = Some(Instant::now()));
        match tokio::time::timeout(ASK_TIME_MAX, self.fetch()).await {
            Ok(Ok(keys)) => self.change(|held| held.keys = Some((Arc::new(keys), Instant::now()))),
            Ok(Err(reason)) => {
                tracing::warn!(issuer = %self.settings.name, %reason, "its keys can't be fetched");
            }
            Err(_) => {
                tracing::warn!(issuer = %self.settings.name, "its keys can't be fetched: it took too long");
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let at = match &self.settings.keys {
            KeysAt::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || public_text(&path, KEY_SET_BYTES_MAX));
                let text = read.await.map_err(|error| error.to_string())?;
                return KeySet::parse(text.map_err(|error| error.to_string())?.as_bytes());
            }
            KeysAt::Url(url) => url.clone(),
            KeysAt::Metadata => self.metadata().await?,
        };
        let bytes = self.get(&at).await?;
        KeySet::parse(&bytes).map_err(|reason| format!("{}: {reason}", at.without_query()))
    }

    /// Where its keys are, by its own word.
    async fn metadata(&self) -> Result<CanonicalUrl, String> {
        let mut failed = String::new();
        for url in metadata_urls(&self.settings.url)? {
            let bytes = match self.get(&url).await {
                Ok(bytes) => bytes,
                Err(reason) => {
                    failed = reason;
                    continue;
                }
            };
            let says: Metadata = serde_json::from_slice(&bytes)
                .map_err(|error| format!("{}: it is no metadata: {error}", url.without_query()))?;
            if says.issuer != self.settings.issuer {
                return Err(format!("{} is of another issuer", url.without_query()));
            }
            return secure(&says.jwks_uri).map_err(|reason| format!("its `jwks_uri`: {reason}"));
        }
        Err(failed)
    }

    async fn get(&self, url: &CanonicalUrl) -> Result<Bytes, String> {
        let failed = |reason: String| format!("{}: {reason}", url.without_query());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/jwk-set+json"));
        let request = OutboundRequest {
            scope: "issuer".into(),
            url: url.clone(),
            method: Method::GET,
            headers,
            body: UnsyncBoxBody::new(Empty::new().map_err(|never| match never {})),
            is_empty: true,
            granted: Arc::clone(&self.granted),
            deadlines: ExchangeDeadlines {
                connecting: Deadlines {
                    lookup: STEP_TIME_MAX,
                    connect: STEP_TIME_MAX,
                    handshake: STEP_TIME_MAX,
                },
                first_byte: STEP_TIME_MAX,
                between_bytes: STEP_TIME_MAX,
                whole: ASK_TIME_MAX,
            },
            traffic: Arc::new(Traffic::new(64 << 10, 1 << 20)),
            bytes: ExchangeBytes::default(),
            is_handed_over: Arc::default(),
        };
        let answer = self.client.send(request).await.map_err(|error| failed(error.to_string()))?;
        if answer.status() != StatusCode::OK {
            return Err(failed(format!("it answered {}", answer.status())));
        }
        let body = Limited::new(answer.into_body(), KEY_SET_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| failed(error.to_string()))?.to_bytes())
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.held.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Where an issuer's metadata may be: behind its path by OpenID Connect Discovery 1.0 (4), before it by RFC 8414 (3).
fn metadata_urls(issuer: &CanonicalUrl) -> Result<[CanonicalUrl; 2], String> {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let authority = issuer.authority();
        CanonicalUrl::from_parts(issuer.scheme(), &authority, &path).map_err(|error| error.to_string())
    };
    Ok([
        at(format!("{path}/.well-known/openid-configuration"))?,
        at(format!("/.well-known/oauth-authorization-server{path}"))?,
    ])
}

/// A URL whose answer nobody on the way has made.
fn secure(text: &str) -> Result<CanonicalUrl, String> {
    let url = CanonicalUrl::parse(text).map_err(|error| error.to_string())?;
    if url.scheme() == Scheme::Https || is_this_machine(url.host()) {
        Ok(url)
    } else {
        Err("without TLS whoever is on the way could write it: write https".to_owned())
    }
}

fn is_this_machine(host: &UrlHost) -> bool {
    match host {
        UrlHost::Name(name) => name == "localhost",
        UrlHost::Address(address) => address.is_loopback(),
    }
}

fn this_machine_in_six() -> IpNet {
    IpNet::from(IpAddr::from(std::net::Ipv6Addr::LOCALHOST))
}

fn read_roots(path: &Path) -> Result<Roots, String> {
    let text = public_text(path, ROOTS_FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(Roots::Given(certificates)),
        Ok(_) => Err(format!("{} holds no certificate (PEM)", path.display())),
        Err(error) => Err(format!("{} holds no certificates: {error}", path.display())),
    }
}

impl IssuerSettings {
    /// A URL that an issuer, or its keys, may be at: over TLS, or on this machine.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn url(text: &str) -> Result<CanonicalUrl, String> {
        secure(text)
    }
}
