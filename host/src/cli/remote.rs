//! A host on another machine, or of another user: reached over the network with an API key, instead of the owner of
//! the data folder.
//!
//! Follows no redirect and no proxy variable. A key goes over TLS, or stays on this machine.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Request, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::client::Connection;
use super::environment;
use super::failure::Failure;
use crate::api::Body;
use crate::config::{private_text, public_text};
use crate::egress::{CanonicalUrl, Roots, Scheme, Tls, UrlHost};

/// The longest wait for a connection, and for its handshake.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// The most bytes of a file with a key, and of one with certificates.
const KEY_FILE_BYTES_MAX: usize = 4 << 10;
const CA_FILE_BYTES_MAX: usize = 1 << 20;

/// Where a host is, and the key that it lets in.
pub(super) struct Remote {
    url: CanonicalUrl,
    authorization: HeaderValue,
    tls: Option<Tls>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Remote {
    /// From a URL, the file of a key (else the environment has the key), and the file of certificates that are
    /// believed (else the system's are).
    pub(super) fn new(url: &str, key: Option<PathBuf>, ca: Option<PathBuf>) -> Result<Self, Failure> {
        let url = CanonicalUrl::parse(url).map_err(|error| Failure::input(format!("--server: {error}")))?;
        if url.path() != "/" || url.query().is_some() {
            return Err(Failure::input(
                "--server: write a URL without a path, such as https://tools.example.org",
            ));
        }
        let tls = match url.scheme() {
            Scheme::Https => Some(tls(ca)?),
            Scheme::Http if is_this_machine(url.host()) => None,
            Scheme::Http => {
                return Err(Failure::input(format!(
                    "--server: without TLS whoever is on the way to {} sees the key: write https",
                    url.authority()
                )));
            }
        };
        let key = match key {
            Some(file) => {
                private_text(&file, KEY_FILE_BYTES_MAX).map_err(|error| Failure::input(error.to_string()))?
            }
            None => environment::api_key().ok_or_else(|| {
                Failure::input("--server needs a key: name its file with --key-file, or set PORTCULLIS_KEY")
            })?,
        };
        let authorization = Zeroizing::new(format!("Bearer {}", key.trim()));
        let mut authorization = HeaderValue::from_str(&authorization)
            .map_err(|_| Failure::input("the key has characters that no key has"))?;
        authorization.set_sensitive(true);
        Ok(Self { url, authorization, tls })
    }

    /// Connects, and makes the request one for this host.
    pub(super) async fn connect(&self, request: &mut Request<Body>) -> Result<Connection, Failure> {
        let host = HeaderValue::from_str(&self.url.authority())
            .map_err(|error| Failure::host(format!("the request can't be made: {error}")))?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().insert(header::AUTHORIZATION, self.authorization.clone());
        let unreachable =
            |reason: String| Failure::host(format!("{} can't be reached: {reason}", self.url.authority()));
        let port = self.url.port();
        let connecting = async {
            match self.url.host() {
                UrlHost::Name(name) => TcpStream::connect((name.as_str(), port)).await,
                UrlHost::Address(address) => TcpStream::connect((*address, port)).await,
            }
        };
        let stream = match timeout(CONNECT_TIME_MAX, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => return Err(unreachable(format!("no answer within {} s", CONNECT_TIME_MAX.as_secs()))),
        };
        stream.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
        match &self.tls {
            None => Ok(Connection::Plain(TokioIo::new(stream))),
            Some(tls) => {
                let shaken = tls.handshake(self.url.host(), stream, CONNECT_TIME_MAX).await;
                let stream = shaken.map_err(|error| unreachable(error.to_string()))?;
                Ok(Connection::Tls(Box::new(TokioIo::new(stream))))
            }
        }
    }
}

fn is_this_machine(host: &UrlHost) -> bool {
    match host {
        UrlHost::Name(name) => name == "localhost",
        UrlHost::Address(address) => IpAddr::is_loopback(address),
    }
}

fn tls(ca: Option<PathBuf>) -> Result<Tls, Failure> {
    let roots = match ca {
        None => Roots::System,
        Some(file) => {
            let text =
                public_text(&file, CA_FILE_BYTES_MAX).map_err(|error| Failure::input(error.to_string()))?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
            let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
            let no_certificate = || Failure::input(format!("{} holds no certificate (PEM)", file.display()));
            Roots::Given(certificates.ok_or_else(no_certificate)?)
        }
    };
    Tls::new(&roots).map_err(|error| Failure::host(error.to_string()))
}
