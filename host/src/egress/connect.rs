//! The connection: every address of the name judged, one of them connected to, TLS for that name.
//!
//! No proxy is asked, and nothing is read from the environment but the place of the system's root
//! certificates (`SSL_CERT_FILE`, `SSL_CERT_DIR`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::judge_address;
use super::error::{EgressError, Phase};
use super::resolver::{ADDRESSES_MAX, Resolver};
use super::url::UrlHost;

/// The most addresses of a name that are tried, one after the other, within one deadline.
const TRIES_MAX: usize = 4;

/// How long the steps to a connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Looking up the name.
    pub lookup: Duration,
    /// Connecting, all addresses together.
    pub connect: Duration,
    /// The handshake of TLS.
    pub handshake: Duration,
}

impl Default for Deadlines {
    /// Five seconds for each.
    fn default() -> Self {
        let step = Duration::from_secs(5);
        Self { lookup: step, connect: step, handshake: step }
    }
}

/// Looks a host up once and judges every address that it has. One refused address refuses all.
///
/// The answer is in the resolver's order, without duplicates, in canonical form, 1 to
/// [`ADDRESSES_MAX`]. Connect to these, and never look the name up again for the same purpose.
///
/// # Errors
/// [`EgressError::Lookup`], [`EgressError::TooManyAddresses`], [`EgressError::Address`], or
/// [`EgressError::TimedOut`] after `deadline`.
pub async fn resolve_judged(
    host: &UrlHost,
    port: u16,
    granted: &[IpNet],
    resolver: &dyn Resolver,
    deadline: Duration,
) -> Result<Vec<SocketAddr>, EgressError> {
    let found = match host {
        UrlHost::Address(address) => vec![*address],
        UrlHost::Name(name) => timeout(deadline, resolver.resolve(name))
            .await
            .map_err(|_| EgressError::TimedOut { phase: Phase::Lookup, after: deadline })?
            .map_err(EgressError::Lookup)?,
    };
    if found.is_empty() {
        return Err(EgressError::Lookup(std::io::Error::other("it has no address")));
    }
    if found.len() > ADDRESSES_MAX {
        return Err(EgressError::TooManyAddresses);
    }
    let mut judged: Vec<SocketAddr> = Vec::with_capacity(found.len());
    for address in found {
        let address = address.to_canonical();
        judge_address(address, granted)?;
        let address = SocketAddr::new(address, port);
        if !judged.contains(&address) {
            judged.push(address);
        }
    }
    Ok(judged)
}

/// Connects to the first of some judged addresses that takes it, at most [`TRIES_MAX`] of them, within
/// one deadline. Each gets an equal share of what is left.
///
/// # Errors
/// [`EgressError::Connect`], or [`EgressError::TimedOut`] after `deadline`.
pub async fn connect(judged: &[SocketAddr], deadline: Duration) -> Result<TcpStream, EgressError> {
    let until = Instant::now() + deadline;
    let tried = &judged[..judged.len().min(TRIES_MAX)];
    let mut failed = EgressError::Connect(std::io::Error::other("there is no address to connect to"));
    for (index, address) in tried.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let shares = u32::try_from(tried.len() - index).unwrap_or(u32::MAX);
        failed = match timeout(left / shares, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is one write, and small writes of streams are meant to go.
                stream.set_nodelay(true).map_err(EgressError::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => EgressError::Connect(error),
            Err(_) => EgressError::TimedOut { phase: Phase::Connect, after: deadline },
        };
    }
    Err(failed)
}

/// What HTTP is spoken over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by ALPN.
    Http2,
}

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Roots {
    /// The system's.
    System,
    /// These, in DER, and no others.
    Given(Vec<CertificateDer<'static>>),
}

/// Why root certificates can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// The system has none, or none that can be read.
    #[error("the system has no root certificates that can be read: {0}")]
    System(String),
    /// One of the given is no certificate.
    #[error("a given root certificate is malformed: {0}")]
    Malformed(String),
}

/// TLS as a client: TLS 1.2 and 1.3, certificates checked against the judged name, HTTP/2 or HTTP/1.1
/// by ALPN. Sessions are never resumed, so that no server can link what different packages or principals
/// ask of it.
#[derive(Clone, Debug)]
pub struct Tls {
    http: TlsConfig,
    plain: TlsConfig,
}

type TlsConfig = Arc<ClientConfig>;

impl Tls {
    /// Reads the roots once. The system's take some milliseconds.
    ///
    /// # Errors
    /// [`RootsError`].
    pub fn new(roots: &Roots) -> Result<Self, RootsError> {
        let mut store = RootCertStore::empty();
        match roots {
            Roots::System => {
                let found = rustls_native_certs::load_native_certs();
                // Systems carry some that no longer parse: those that do are enough.
                store.add_parsable_certificates(found.certs);
                if store.is_empty() {
                    let why =
                        found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
                    return Err(RootsError::System(why));
                }
            }
            Roots::Given(certificates) => {
                for certificate in certificates {
                    store
                        .add(certificate.clone())
                        .map_err(|error| RootsError::Malformed(error.to_string()))?;
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| RootsError::Malformed(error.to_string()))?;
        let mut plain = builder.with_root_certificates(store).with_no_client_auth();
        plain.resumption = Resumption::disabled();
        let mut http = plain.clone();
        http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { http: Arc::new(http), plain: Arc::new(plain) })
    }

    /// Shakes hands for HTTP on a fresh connection. The name is told to the peer (SNI) unless it is an
    /// address, and its certificate must be one for it.
    ///
    /// # Errors
    /// [`EgressError::Certificate`], [`EgressError::Tls`], or [`EgressError::TimedOut`].
    pub async fn handshake_http(
        &self,
        host: &UrlHost,
        stream: TcpStream,
        deadline: Duration,
    ) -> Result<(TlsStream<TcpStream>, Protocol), EgressError> {
        let stream = shake_hands(&self.http, host, stream, deadline).await?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            Some(_) | None => Protocol::Http1,
        };
        Ok((stream, protocol))
    }

    /// The same without a word on what is spoken over it.
    ///
    /// # Errors
    /// As [`handshake_http`](Self::handshake_http).
    pub async fn handshake(
        &self,
        host: &UrlHost,
        stream: TcpStream,
        deadline: Duration,
    ) -> Result<TlsStream<TcpStream>, EgressError> {
        shake_hands(&self.plain, host, stream, deadline).await
    }
}

async fn shake_hands(
    config: &TlsConfig,
    host: &UrlHost,
    stream: TcpStream,
    deadline: Duration,
) -> Result<TlsStream<TcpStream>, EgressError> {
    let name = match host {
        UrlHost::Name(name) => ServerName::try_from(name.clone()).map_err(|error| {
            EgressError::Tls(std::io::Error::new(std::io::ErrorKind::InvalidInput, error))
        })?,
        UrlHost::Address(address) => ServerName::from(*address),
    };
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    match timeout(deadline, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(tls_error(error)),
        Err(_) => Err(EgressError::TimedOut { phase: Phase::Handshake, after: deadline }),
    }
}

/// Tells a refused certificate from what else can go wrong.
fn tls_error(error: std::io::Error) -> EgressError {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => EgressError::Certificate(why.clone()),
        Some(_) | None => EgressError::Tls(error),
    }
}
