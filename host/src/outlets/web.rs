//! One POST over the host's own connector, for outlets that speak HTTP.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Surroundings;
use crate::audit::Peer;
use crate::egress::{
    CanonicalUrl, Client, Deadlines, ExchangeBytes, ExchangeDeadlines, OutboundRequest, Roots, Traffic,
    UrlHost,
};

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The most certificates, and bytes of a file with them.
const ROOTS_FILE_BYTES_MAX: u64 = 4 << 20;
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// How long an exchange with an outlet may take.
pub(super) const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(30);

/// Sends to one URL.
#[derive(Debug)]
pub(super) struct Web {
    client: Client,
    url: CanonicalUrl,
    granted: Arc<[IpNet]>,
    bearer: Option<std::path::PathBuf>,
}

impl Web {
    pub(super) fn new(url: CanonicalUrl, peer: &Peer, surroundings: &Surroundings) -> Result<Self, String> {
        let client = Client::new(Arc::clone(&surroundings.resolver), roots(peer, surroundings)?);
        let granted = granted(url.host(), peer).into();
        Ok(Self { client, url, granted, bearer: peer.bearer.clone() })
    }

    /// Sends a body, and gives status and answer, whatever they are.
    pub(super) async fn post(
        &self,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some(path) = &self.bearer {
            // Read each time, so that it can be renewed beside a running host.
            let token = read_text(path, TOKEN_BYTES_MAX)?;
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .map_err(|_| format!("{} holds no token", path.display()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let step = Duration::from_secs(10);
        let request = OutboundRequest {
            scope: "outlet".into(),
            url: self.url.clone(),
            method: Method::POST,
            headers,
            body: UnsyncBoxBody::new(Full::new(body).map_err(|never| match never {})),
            is_empty: false,
            granted: Arc::clone(&self.granted),
            deadlines: ExchangeDeadlines {
                connecting: Deadlines { lookup: step, connect: step, handshake: step },
                first_byte: EXCHANGE_TIME_MAX,
                between_bytes: step,
                whole: EXCHANGE_TIME_MAX,
            },
            traffic: Arc::new(Traffic::new(1 << 20, 1 << 30)),
            bytes: ExchangeBytes::default(),
            is_handed_over: Arc::default(),
        };
        let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("its answer can't be read: {error}"))?;
        Ok((status, body.to_bytes()))
    }
}

/// Networks that may be connected to: those that are named, and an address that is the host itself.
pub(super) fn granted(host: &UrlHost, peer: &Peer) -> Vec<IpNet> {
    let mut granted = peer.addresses.clone();
    if let UrlHost::Address(address) = host {
        granted.push(IpNet::from(*address));
    }
    granted
}

/// Whose certificates are believed.
pub(super) fn roots(peer: &Peer, surroundings: &Surroundings) -> Result<Roots, String> {
    let Some(path) = &peer.roots else { return Ok(surroundings.roots.clone()) };
    let text = read_text(path, ROOTS_FILE_BYTES_MAX)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(Roots::Given(certificates)),
        Ok(_) => Err(format!("{} holds no certificate in PEM", path.display())),
        Err(error) => Err(format!("{} holds no certificates: {error}", path.display())),
    }
}

fn read_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| format!("{} can't be read: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(bytes_max).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
