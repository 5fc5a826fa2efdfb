//! Serves the API on a listener that the caller gives, until the caller says to stop.
//!
//! Knows no route. Bounds the connections and the time that a request's head may take; one request
//! for each connection, so that stopping needs to wait for requests only, never for idle clients.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections that are served at once; more wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 64;
/// The longest that a request's head may take.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// The most bytes of a request's head: 16 KiB.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// The longest that requests may go on after `shutdown`; then they are dropped, which cancels calls.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// After a failed `accept` (no descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `shutdown` ends, and then as long as requests go on, at most ten seconds.
///
/// Whoever has connected by then is still served: before `shutdown` ends, the caller takes the
/// socket's name away, so that nobody new connects.
pub async fn serve(listener: UnixListener, router: Router, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place) = accepted;
        connections.spawn(connection(stream, router.clone(), place));
    }
    let drained = timeout(DRAIN_TIME_MAX, async {
        // Those who connected in time are in the kernel's queue, whether or not this process was told of them by now.
        if let Ok(queue) = listener.into_std() {
            while let Some((stream, place)) = queued(&queue, &places) {
                connections.spawn(connection(stream, router.clone(), place));
            }
        }
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!(requests = connections.len(), "requests were still running and are cancelled");
        connections.shutdown().await;
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &UnixListener, places: &Arc<Semaphore>) -> (UnixStream, Place) {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Who is in the queue of a listener, without waiting for anybody.
fn queued(
    listener: &std::os::unix::net::UnixListener,
    places: &Arc<Semaphore>,
) -> Option<(UnixStream, Place)> {
    let place = Arc::clone(places).try_acquire_owned().ok()?;
    let (stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(true).ok()?;
    Some((UnixStream::from_std(stream).ok()?, place))
}

/// One request. If the client goes away, hyper drops the handler.
async fn connection(stream: UnixStream, router: Router, _place: Place) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended early");
    }
}
