//! Sends one request to whoever owns the data folder: the router in this process, or its socket; or to a host in the
//! network.
//!
//! The one way of every command. Each wait has a deadline, but for the records that a follower asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tower::ServiceExt;

use super::failure::Failure;
use super::remote::Remote;
use crate::api::messages::{FROZEN_HEADER, NEXT_HEADER};
use crate::api::{BYTES_HEADER, Body, Problem, Router};
use crate::ids::Sequence;
use crate::policy::Freeze;

/// The longest wait for an answer to begin: longer than a call, or a change that waits for the disk.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// The most bytes of an answer that is one document: a call's largest output as text and as data, each
/// byte escaped.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The most bytes of one line of an answer: a package's description, or a record.
const LINE_BYTES_MAX: usize = 256 << 20;

/// The way to a host, for one request.
#[derive(Debug)]
pub(super) enum Client {
    /// This process is the owner.
    Local(Router),
    /// Another is, and took the connection.
    Socket(UnixStream),
    /// A host that is reached over the network.
    Remote(Arc<Remote>),
}

/// A connection to a host in the network.
#[derive(Debug)]
pub(super) enum Connection {
    /// In the clear: on this machine.
    Plain(TokioIo<TcpStream>),
    /// By TLS.
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

/// An answer that was begun. Dropping it ends the request.
#[derive(Debug)]
struct Answer {
    response: Response<Body>,
    /// The connection, if there is one.
    connection: JoinSet<()>,
}

/// The way back to the host that a client is for.
#[derive(Debug)]
pub(super) enum Again {
    Local(Router),
    Socket(Option<PathBuf>),
    Remote(Arc<Remote>),
}

impl Again {
    /// A client for one more request. An owner that was only there for a command of its own may have left.
    pub(super) async fn client(self) -> Result<Client, Failure> {
        match self {
            Again::Local(router) => Ok(Client::Local(router)),
            Again::Remote(remote) => Ok(Client::Remote(remote)),
            Again::Socket(path) => {
                let left = || Failure::host("the host that was asked before has ended; say it again");
                let stream = super::session::connect(&path.ok_or_else(left)?).await;
                stream.map(Client::Socket).map_err(|_| left())
            }
        }
    }
}

impl Client {
    /// How the same host is reached once more.
    pub(super) fn again(&self) -> Again {
        match self {
            Client::Local(router) => Again::Local(router.clone()),
            Client::Socket(stream) => {
                let address = stream.peer_addr().ok();
                Again::Socket(address.and_then(|address| address.as_pathname().map(PathBuf::from)))
            }
            Client::Remote(remote) => Again::Remote(Arc::clone(remote)),
        }
    }

    /// Sends a request whose answer is one document.
    pub(super) async fn document<T: DeserializeOwned>(self, request: Request<Body>) -> Result<T, Failure> {
        Ok(self.document_and_freeze(request).await?.0)
    }

    /// The same, with why the host is frozen, if it is.
    pub(super) async fn document_and_freeze<T: DeserializeOwned>(
        self,
        request: Request<Body>,
    ) -> Result<(T, Option<Freeze>), Failure> {
        let Answer { response, connection } = self.send(request).await?;
        let frozen =
            response.headers().get(FROZEN_HEADER).map(|json| serde_json::from_slice(json.as_bytes()));
        let frozen = frozen.transpose().map_err(|error| unreadable(&error))?;
        let bytes = collect(response.into_body()).await?;
        drop(connection);
        let document = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
        Ok((document, frozen))
    }

    /// Sends a request whose answer is lines, as they come.
    pub(super) async fn lines(self, request: Request<Body>) -> Result<Lines, Failure> {
        let Answer { response, connection } = self.send(request).await?;
        let next = response.headers().get(NEXT_HEADER).and_then(|next| next.to_str().ok()?.parse().ok());
        Ok(Lines {
            next_page: next.map(Sequence),
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            _connection: connection,
        })
    }

    /// Sends a request whose answer is bytes, as they come.
    pub(super) async fn pieces(self, request: Request<Body>) -> Result<Pieces, Failure> {
        let Answer { response, connection } = self.send(request).await?;
        let expected = response.headers().get(BYTES_HEADER);
        let bytes_expected = expected.and_then(|bytes| bytes.to_str().ok()?.parse().ok());
        Ok(Pieces { body: response.into_body(), bytes_expected, _connection: connection })
    }

    /// Sends a request; an answer that is a problem is an error.
    async fn send(self, request: Request<Body>) -> Result<Answer, Failure> {
        let mut connection = JoinSet::new();
        let sent = async {
            match self {
                Client::Local(router) => match router.oneshot(request).await {
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                },
                Client::Socket(stream) => over(TokioIo::new(stream), request, &mut connection).await,
                Client::Remote(remote) => {
                    let mut request = request;
                    match remote.connect(&mut request).await? {
                        Connection::Plain(stream) => over(stream, request, &mut connection).await,
                        Connection::Tls(stream) => over(*stream, request, &mut connection).await,
                    }
                }
            }
        };
        let seconds = ANSWER_TIME_MAX.as_secs();
        let response = timeout(ANSWER_TIME_MAX, sent)
            .await
            .map_err(|_| Failure::host(format!("the host did not answer within {seconds} s")))??;
        if response.status().is_success() {
            return Ok(Answer { response, connection });
        }
        let bytes = collect(response.into_body()).await?;
        let problem: Problem = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
        Err(problem.into())
    }
}

/// Sends a request over a connection, which `connection` then drives.
async fn over<S>(
    stream: S,
    request: Request<Body>,
    connection: &mut JoinSet<()>,
) -> Result<Response<Body>, Failure>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, driver) = http1::handshake(stream).await.map_err(|error| lost(&error))?;
    connection.spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "the connection to the host ended early");
        }
    });
    let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
    Ok(response.map(Body::new))
}

/// The bytes of an answer.
#[derive(Debug)]
pub(super) struct Pieces {
    body: Body,
    bytes_expected: Option<u64>,
    _connection: JoinSet<()>,
}

impl Pieces {
    /// About how many bytes will come, if the host said so.
    pub(super) fn bytes_expected(&self) -> Option<u64> {
        self.bytes_expected
    }

    /// The next bytes; none at the end, and an error if the host broke off. Waits at most `patience`.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout(patience, self.body.frame())
                .await
                .map_err(|_| Failure::host(format!("the host said nothing for {} s", patience.as_secs())))?;
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(Failure::host(format!("the host broke off before the end: {error}")));
                }
                None => return Ok(None),
            }
        }
    }
}

/// The lines of an answer.
#[derive(Debug)]
pub(super) struct Lines {
    /// Where the page after this one begins, if the host said that there is one.
    next_page: Option<Sequence>,
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no newline.
    searched: usize,
    _connection: JoinSet<()>,
}

impl Lines {
    /// Where the page after this one begins, if there is one.
    pub(super) fn next_page(&self) -> Option<Sequence> {
        self.next_page
    }

    /// The next line without its newline; none at the end. Waits at most `patience`, if there is one.
    pub(super) async fn next(&mut self, patience: Option<Duration>) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.searched + at + 1);
                line.truncate(line.len() - 1);
                self.searched = 0;
                return Ok(Some(line.freeze()));
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(Failure::host("the answer has a line that is too long"));
            }
            let frame = match patience {
                Some(patience) => timeout(patience, self.body.frame()).await.map_err(|_| {
                    Failure::host(format!("the host said nothing for {} s", patience.as_secs()))
                })?,
                None => self.body.frame().await,
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(lost(&error)),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(lost(&"the answer ended within a line")),
            }
        }
    }
}

async fn collect(body: Body) -> Result<Bytes, Failure> {
    match timeout(ANSWER_TIME_MAX, Limited::new(body, ANSWER_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(lost(&error)),
        Err(_) => Err(lost(&"the answer did not end in time")),
    }
}

fn lost(error: &dyn std::fmt::Display) -> Failure {
    Failure::host(format!(
        "the host ended before it answered ({error}); `portcullis audit tail` shows what was done"
    ))
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::host(format!("the host gave an answer that this version does not know: {error}"))
}
