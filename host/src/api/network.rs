//! Serves a router over TCP, with TLS or without, until the caller says to stop.
//!
//! Knows no route. Bounds connections (in all, and for each address that is not this machine's), the time of a
//! handshake and of a request's head, how long a client may be idle, and how long it may take nothing of an answer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, interval, sleep, timeout};
use tower::ServiceExt;

use super::again::again_at_once;
use super::door::Peer;
use super::serve::DRAIN_TIME_MAX;
use super::tls::{Shown, Tls};

/// Connections that are served at once, if the process may open so many files; more wait in the kernel's queue.
pub const NETWORK_CONNECTIONS_MAX: usize = 4_096;
/// Of these, those of one address that is not this machine's; more are closed at once.
pub const PEER_CONNECTIONS_MAX: usize = 256;
/// The longest that a request's head may take, and that a connection may be idle between two requests.
const HEADER_TIME_MAX: Duration = Duration::from_secs(30);
/// The most bytes of a request's head: 16 KiB.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// The longest that a TLS handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// The longest that a client may take nothing of what is sent to it.
const STALL_TIME_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether the certificate's files were replaced.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(2);
/// After a failed `accept` (no descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How to serve.
#[derive(Debug)]
pub struct NetworkOptions {
    /// Without it, in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Connections at once; at most [`NETWORK_CONNECTIONS_MAX`].
    pub connections_max: usize,
}

/// Serves `router` until `shutdown` ends, and then as long as requests go on, at most ten seconds.
pub async fn serve_network(
    listener: TcpListener,
    router: Router,
    options: NetworkOptions,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(options.connections_max.clamp(1, NETWORK_CONNECTIONS_MAX)));
    let peers = Arc::new(Peers::default());
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut look = interval(CERTIFICATE_INTERVAL);
    loop {
        let (stream, address, place) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            _ = look.tick() => {
                if let Some(tls) = &options.tls {
                    tls.reload_if_changed().await;
                }
                continue;
            }
            accepted = accept(&listener, &places) => accepted,
        };
        let Some(held) = peers.enter(address.ip()) else {
            tracing::debug!(peer = %address.ip(), "too many connections of one address");
            continue;
        };
        let (router, tls, closed) = (router.clone(), options.tls.clone(), closed.clone());
        connections.spawn(async move {
            connection(stream, address, router, tls, closed).await;
            drop((place, held));
        });
    }
    drop(listener);
    closing.send_replace(true);
    let drained = timeout(DRAIN_TIME_MAX, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(requests = connections.len(), "requests were still running and are cancelled");
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address, place),
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    tls: Option<Arc<Tls>>,
    closed: watch::Receiver<bool>,
) {
    // Without it, an answer in two pieces waits for the client's delayed acknowledgement, some 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection sends what it has late");
    }
    let stream = Patient::new(stream, STALL_TIME_MAX);
    let Some(tls) = tls else { return exchange(stream, address, None, router, closed).await };
    match timeout(HANDSHAKE_TIME_MAX, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = Shown::new(&tls, stream.get_ref().1.peer_certificates()).map(Arc::new);
            exchange(stream, address, shown, router, closed).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
        Err(_) => tracing::debug!("a handshake took too long"),
    }
}

/// The requests of one connection. If the client goes away, hyper drops the handler.
async fn exchange<S>(
    stream: S,
    address: SocketAddr,
    shown: Option<Arc<Shown>>,
    router: Router,
    mut closed: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(address));
        if let Some(shown) = &shown {
            request.extensions_mut().insert(Arc::clone(shown));
        }
        router.clone().oneshot(request)
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = again_at_once(async {
        tokio::select! {
            ended = served.as_mut() => ended,
            // An error says that the server is gone, which is as good.
            () = async { drop(closed.wait_for(|closed| *closed).await) } => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        }
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// How many connections each address has.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A connection of an address; given back when it is dropped.
#[derive(Debug)]
struct Held {
    peers: Arc<Peers>,
    /// None for this machine's own, of which each user and each proxy has the same.
    address: Option<IpAddr>,
}

impl Peers {
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Held> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return Some(Held { peers: Arc::clone(self), address: None });
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= PEER_CONNECTIONS_MAX {
            return None;
        }
        *count += 1;
        Some(Held { peers: Arc::clone(self), address: Some(address) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

/// A stream that fails when its reader takes nothing for as long as `patience`.
struct Patient<S> {
    stream: S,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stalled: None }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.judge(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::api::tls::TlsFiles;
    use crate::api::tls::tests::write;

    #[tokio::test]
    async fn who_takes_nothing_of_an_answer_is_let_go_and_who_takes_it_is_not() {
        let patience = Duration::from_millis(50);
        let (near, mut far) = tokio::io::duplex(16);
        let mut near = Patient::new(near, Duration::from_secs(60));
        let sending = tokio::spawn(async move { near.write_all(&[7; 1 << 10]).await });
        let mut taken = vec![0; 1 << 10];
        far.read_exact(&mut taken).await.expect("all of it");
        sending.await.expect("no panic").expect("sent");

        let (near, far) = tokio::io::duplex(16);
        let mut near = Patient::new(near, patience);
        let stalled = near.write_all(&[7; 1 << 10]).await.expect_err("nobody takes it");
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
        drop(far);
    }

    /// One request over TLS, by a client that believes this certificate only.
    async fn ask(address: SocketAddr, certificate: &std::path::Path) -> io::Result<String> {
        let mut roots = rustls::RootCertStore::empty();
        let believed = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
        roots.add(believed).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn requests_come_over_tls_also_by_a_certificate_that_was_replaced() {
        let temporary = tempfile::tempdir().expect("a folder");
        let (certificate, key) = write(temporary.path());
        let tls = Arc::new(Tls::load(TlsFiles::new(certificate.clone(), key)).expect("usable"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let peer = |axum::Extension(Peer(peer)): axum::Extension<Peer>| async move { peer.ip().to_string() };
        let router = Router::new().fallback(peer);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let options = NetworkOptions { tls: Some(Arc::clone(&tls)), connections_max: 8 };
        let server = tokio::spawn(serve_network(listener, router, options, async { drop(stopped.await) }));
        let answer = ask(address, &certificate).await.expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");

        let old = temporary.path().join("old.pem");
        std::fs::copy(&certificate, &old).expect("copied");
        write(temporary.path());
        tls.reload_if_changed().await;
        assert!(ask(address, &old).await.is_err(), "the old one is not shown any more");
        ask(address, &certificate).await.expect("answered");
        // In the clear, nothing is answered.
        let mut plain = TcpStream::connect(address).await.expect("connected");
        plain.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        let mut answer = Vec::new();
        // The server may reset it.
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
        drop(stop);
        server.await.expect("ended well");
    }

    #[test]
    fn an_address_has_so_many_connections_and_this_machine_any_number() {
        let peers = Arc::new(Peers::default());
        let far: IpAddr = "192.0.2.7".parse().expect("an address");
        let mut held: Vec<Held> =
            (0..PEER_CONNECTIONS_MAX).map(|_| peers.enter(far).expect("a place")).collect();
        assert!(peers.enter("::ffff:192.0.2.7".parse().expect("an address")).is_none());
        assert!(peers.enter("192.0.2.8".parse().expect("an address")).is_some());
        held.pop();
        assert!(peers.enter(far).is_some());
        drop(held);
        assert!(peers.0.lock().expect("not poisoned").is_empty());
        let near: Vec<_> = (0..=PEER_CONNECTIONS_MAX).map(|_| peers.enter([127, 0, 0, 1].into())).collect();
        assert!(near.iter().all(Option::is_some));
    }
}
