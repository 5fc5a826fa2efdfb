//! Answers in the place of the network, for tests of tools. What may be sent is judged as ever, and what is sent is
//! spoken as HTTP/1.1 over a pipe in memory: only lookup, connection and TLS are not there.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};

use super::url::{Scheme, UrlHost};

/// The most bytes in the pipe.
const PIPE_BYTES_MAX: usize = 64 << 10;
/// The most bytes of a request's body that a stand-in is shown.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Who the peer is said to be: an address for documentation (RFC 5737), which no connection can have.
pub(super) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A request that was judged and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoodInRequest {
    /// Its method.
    pub method: Method,
    /// All of its URL.
    pub url: String,
    /// Its fields, as a server would see them.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Answers requests.
pub trait StandIn: fmt::Debug + Send + Sync {
    /// The answer; `None` closes the connection.
    fn answer(&self, request: &StoodInRequest) -> Option<Response<Bytes>>;
}

/// A connection to a stand-in, which answers until the other end is dropped.
pub(super) fn connect(stand_in: Arc<dyn StandIn>, scheme: Scheme, host: &UrlHost, port: u16) -> DuplexStream {
    let (ours, theirs) = duplex(PIPE_BYTES_MAX);
    let authority = match port == scheme.default_port() {
        true => host.to_string(),
        false => format!("{host}:{port}"),
    };
    tokio::spawn(serve(stand_in, format!("{scheme}://{authority}"), theirs));
    ours
}

async fn serve(stand_in: Arc<dyn StandIn>, origin: String, pipe: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(|request: Request<Incoming>| {
        let (stand_in, origin) = (Arc::clone(&stand_in), origin.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Closed)?.to_bytes();
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            let asked = StoodInRequest {
                method: head.method,
                url: format!("{origin}{path}"),
                headers: head.headers,
                body,
            };
            let answer = stand_in.answer(&asked).ok_or(Closed)?;
            Ok::<_, Closed>(answer.map(|body| Full::new(body).map_err(|never: Infallible| match never {})))
        }
    });
    // Who asked sees a connection that was closed.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(pipe), service).await;
}

/// Nobody answers.
#[derive(Debug, thiserror::Error)]
#[error("the stand-in does not answer")]
struct Closed;
