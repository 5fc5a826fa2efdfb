//! One request, sent to a judged address, and its answer: HTTP/1.1 or HTTP/2, every step with a deadline.
//!
//! Redirects are answers like others, bodies are never decompressed, and no credentials, cookies or
//! caches are kept between requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::ext::on_informational;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, timeout, timeout_at};

use super::body::{AnswerBody, AnswerBounds, RequestBody, SentBody, hyper_error};
use super::connect::{Deadlines, Protocol, Roots, RootsError, Tls, connect, resolve_judged};
use super::error::{EgressError, Phase};
use super::message::{ANSWER_HEAD_BYTES_MAX, FIELDS_MAX, check_answer, check_request, request_head_bytes};
use super::pool::{Carrier, Connection, Driver, Key, Many, One, Pool};
use super::resolver::Resolver;
use super::stand_in::{self, StandIn};
use super::traffic::{ExchangeBytes, Traffic};
use super::url::{CanonicalUrl, Scheme};

/// The most bytes of an answer that wait in memory for a reader: of one HTTP/1.1 connection, and of one
/// stream of HTTP/2.
const READ_AHEAD_BYTES_MAX: u32 = 256 << 10;
/// The same for all streams of one connection of HTTP/2.
const READ_AHEAD_BYTES_OF_ALL_MAX: u32 = 1 << 20;
/// The most bytes of a request that wait in memory for a slow reader.
const WRITE_AHEAD_BYTES_MAX: usize = 256 << 10;

/// How long the parts of an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeDeadlines {
    /// The steps to a connection.
    pub connecting: Deadlines,
    /// From the connection to the head of the answer.
    pub first_byte: Duration,
    /// Between two parts of the answer's body.
    pub between_bytes: Duration,
    /// All of it, from the lookup to the last byte.
    pub whole: Duration,
}

impl Default for ExchangeDeadlines {
    /// 5 s for each step to the connection, 30 s to the head of the answer, 30 s between bytes, 10 minutes
    /// for the whole.
    fn default() -> Self {
        let wait = Duration::from_secs(30);
        let connecting = Deadlines::default();
        Self { connecting, first_byte: wait, between_bytes: wait, whole: Duration::from_secs(600) }
    }
}

/// What is to be sent, and within which bounds.
#[derive(Debug)]
pub struct OutboundRequest {
    /// For whom: connections are shared within one scope only.
    pub scope: Arc<str>,
    /// To where. Judged by the caller.
    pub url: CanonicalUrl,
    /// Not `CONNECT`.
    pub method: Method,
    /// Without those that only the sender sets.
    pub headers: HeaderMap,
    /// Sent as it comes; with the length of `content-length`, if that is declared.
    pub body: SentBody,
    /// Whether there is no body at all.
    pub is_empty: bool,
    /// CIDRs that may be connected to beside public addresses.
    pub granted: Arc<[IpNet]>,
    /// How long it may take.
    pub deadlines: ExchangeDeadlines,
    /// Where its bytes are counted, and bounded.
    pub traffic: Arc<Traffic>,
    /// The same of this exchange alone.
    pub bytes: ExchangeBytes,
    /// Set once the request is with an open connection: from then on only the answer is waited for, unless
    /// the peer had closed a connection that was open for long.
    pub is_handed_over: Arc<AtomicBool>,
}

/// Sends requests. One for a host; its connections stay open for a while, each for its scope only.
#[derive(Clone, Debug)]
pub struct Client {
    resolver: Arc<dyn Resolver>,
    roots: Arc<Roots>,
    /// Read when it is first needed.
    tls: Arc<OnceCell<Result<Tls, RootsError>>>,
    pool: Arc<Pool>,
    /// Who answers in the place of the network.
    stand_in: Option<Arc<dyn StandIn>>,
}

impl Client {
    /// Sends nothing yet.
    pub fn new(resolver: Arc<dyn Resolver>, roots: Roots) -> Self {
        Self { resolver, roots: Arc::new(roots), tls: Arc::default(), pool: Arc::default(), stand_in: None }
    }

    /// Connects to nobody: what is sent, `stand_in` answers.
    #[must_use]
    pub fn standing_in(self, stand_in: Option<Arc<dyn StandIn>>) -> Self {
        Self { stand_in, ..self }
    }

    /// Sends a request and waits for the head of its answer. Dropped while it waits, the exchange ends and
    /// its connection is closed; so it is when the answer's body is dropped before its end.
    ///
    /// # Errors
    /// [`EgressError`].
    pub async fn send(&self, request: OutboundRequest) -> Result<Response<AnswerBody>, EgressError> {
        let whole = request.deadlines.whole;
        let until = Instant::now() + whole;
        match timeout_at(until, self.exchange(request, until)).await {
            Ok(answer) => answer,
            Err(_) => Err(EgressError::TimedOut { phase: Phase::Exchange, after: whole }),
        }
    }

    async fn exchange(
        &self,
        sent: OutboundRequest,
        until: Instant,
    ) -> Result<Response<AnswerBody>, EgressError> {
        let OutboundRequest { scope, url, method, mut headers, body, is_empty, granted, deadlines, .. } =
            sent;
        let (traffic, bytes, handed_over) = (sent.traffic, sent.bytes, sent.is_handed_over);
        let target = url.path_and_query();
        let declared = check_request(&method, &target, &headers)?;
        let length = if is_empty { Some(declared.unwrap_or(0)) } else { declared };
        bytes.send(&traffic, request_head_bytes(&method, &target, &headers))?;
        headers.remove(header::CONTENT_LENGTH);
        let (mut body, progress, alive) = RequestBody::new(body, length, Arc::clone(&traffic), bytes.clone());
        let rarely_has_content = method == Method::GET || method == Method::HEAD;
        if length == Some(0) || (rarely_has_content && length.is_none()) {
            // hyper would drop what such a body has, if its length is not known.
            let waited = timeout(deadlines.first_byte, body.has_content()).await;
            let has_content =
                waited.map_err(|_| EgressError::RequestBody("it was not finished in time".to_owned()))?;
            if let Some(failure) = progress.take_failure() {
                return Err(failure);
            }
            let says_so = declared.is_some() || [Method::POST, Method::PUT, Method::PATCH].contains(&method);
            if !has_content && says_so {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            } else if has_content && length.is_none() {
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        let key = Key { scope, scheme: url.scheme(), host: url.host().clone(), port: url.port() };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let failed = |error| progress.take_failure().unwrap_or(error);
        let (carrier, answer) = match self.pool.take(&key, &granted).await {
            None => {
                let carrier = self.open(&key, &granted, deadlines.connecting).await?;
                handed_over.store(true, Ordering::Relaxed);
                self.send_over(carrier, &url, request, deadlines.first_byte).await.map_err(|(error, _)| error)
            }
            Some(carrier) => {
                handed_over.store(true, Ordering::Relaxed);
                match self.send_over(carrier, &url, request, deadlines.first_byte).await {
                    // The peer had closed it, and nothing was sent.
                    Err((_, Some(request))) => {
                        let carrier = self.open(&key, &granted, deadlines.connecting).await?;
                        self.send_over(carrier, &url, *request, deadlines.first_byte)
                            .await
                            .map_err(|(error, _)| error)
                    }
                    Err((error, None)) => Err(error),
                    Ok(answer) => Ok(answer),
                }
            }
        }
        .map_err(failed)?;
        let (mut head, incoming) = answer.into_parts();
        bytes.receive(&traffic, check_answer(head.version, head.status, &mut head.headers)?)?;
        let bounds = AnswerBounds {
            traffic,
            bytes,
            between_bytes: deadlines.between_bytes,
            until,
            whole: deadlines.whole,
        };
        Ok(Response::from_parts(head, AnswerBody::new(incoming, carrier, progress, alive, bounds)))
    }

    /// Opens a connection to a judged address.
    async fn open(&self, key: &Key, granted: &[IpNet], deadlines: Deadlines) -> Result<Carrier, EgressError> {
        if let Some(stand_in) = &self.stand_in {
            let stream = stand_in::connect(Arc::clone(stand_in), key.scheme, &key.host, key.port);
            let connection = over_http1(stream).await?;
            let (key, pool) = (key.clone(), Arc::downgrade(&self.pool));
            return Ok(Carrier { connection, peer: stand_in::PEER, key, pool });
        }
        let judged = resolve_judged(&key.host, key.port, granted, &*self.resolver, deadlines.lookup).await?;
        let stream = connect(&judged, deadlines.connect).await?;
        let peer = stream.peer_addr().map_err(EgressError::Connect)?.ip().to_canonical();
        let late = |_| EgressError::TimedOut { phase: Phase::Handshake, after: deadlines.handshake };
        let opening = self.shake_hands(key, stream, deadlines.handshake);
        let connection = timeout(deadlines.handshake, opening).await.map_err(late)??;
        let carrier = Carrier { connection, peer, key: key.clone(), pool: Arc::downgrade(&self.pool) };
        self.pool.share(&carrier);
        Ok(carrier)
    }

    async fn shake_hands(
        &self,
        key: &Key,
        stream: TcpStream,
        deadline: Duration,
    ) -> Result<Connection, EgressError> {
        match key.scheme {
            Scheme::Http => over_http1(stream).await,
            Scheme::Https => {
                let (stream, protocol) =
                    self.tls().await?.handshake_http(&key.host, stream, deadline).await?;
                match protocol {
                    Protocol::Http1 => over_http1(stream).await,
                    Protocol::Http2 => over_http2(stream).await,
                }
            }
        }
    }

    async fn tls(&self) -> Result<&Tls, EgressError> {
        let read = async || {
            let roots = Arc::clone(&self.roots);
            let made = tokio::task::spawn_blocking(move || Tls::new(&roots)).await;
            made.unwrap_or_else(|error| Err(RootsError::System(error.to_string())))
        };
        self.tls.get_or_init(read).await.as_ref().map_err(|error| EgressError::Roots(error.clone()))
    }

    /// Sends a request over one connection. If it was closed before anything was sent, the request comes
    /// back.
    async fn send_over(
        &self,
        mut carrier: Carrier,
        url: &CanonicalUrl,
        mut request: Request<RequestBody>,
        deadline: Duration,
    ) -> Result<(Carrier, Response<Incoming>), (EgressError, Option<Box<Request<RequestBody>>>)> {
        let malformed = |error: String| (EgressError::Protocol(error), None);
        let late = || (EgressError::TimedOut { phase: Phase::FirstByte, after: deadline }, None);
        let answered = match &mut carrier.connection {
            Connection::Http1(one) => {
                let host =
                    HeaderValue::from_str(&url.authority()).map_err(|error| malformed(error.to_string()))?;
                request.headers_mut().insert(header::HOST, host);
                *request.uri_mut() =
                    url.path_and_query().parse::<Uri>().map_err(|error| malformed(error.to_string()))?;
                let informed = Arc::new(Notify::new());
                let inform = Arc::clone(&informed);
                on_informational(&mut request, move |_| inform.notify_one());
                tokio::select! {
                    biased;
                    () = informed.notified() => {
                        let why = "it is informational, or changes the protocol";
                        return Err((EgressError::Framing(why), None));
                    }
                    answer = timeout(deadline, one.sender.try_send_request(request)) => answer,
                }
            }
            Connection::Http2(many) => {
                request.headers_mut().remove(header::HOST);
                request.headers_mut().remove(header::TRANSFER_ENCODING);
                *request.uri_mut() =
                    url.to_string().parse::<Uri>().map_err(|error| malformed(error.to_string()))?;
                let mut sender = many.sender.clone();
                timeout(deadline, sender.try_send_request(request)).await
            }
        };
        match answered {
            Ok(Ok(answer)) => Ok((carrier, answer)),
            Ok(Err(mut error)) => {
                let back = error.take_message().map(Box::new);
                Err((hyper_error(error.error()), back))
            }
            Err(_) => Err(late()),
        }
    }
}

async fn over_http1<S>(stream: S) -> Result<Connection, EgressError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .max_header_size(ANSWER_HEAD_BYTES_MAX)
        .max_buf_size(READ_AHEAD_BYTES_MAX as usize)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = made.map_err(|error| hyper_error(&error))?;
    // What fails on the connection is told to the exchange that uses it.
    let driver = Driver::spawn(async move { drop(connection.await) });
    Ok(Connection::Http1(Box::new(One { sender, _driver: driver })))
}

async fn over_http2<S>(stream: S) -> Result<Connection, EgressError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(READ_AHEAD_BYTES_MAX)
        .initial_connection_window_size(READ_AHEAD_BYTES_OF_ALL_MAX)
        .max_header_list_size(u32::try_from(ANSWER_HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_send_buf_size(WRITE_AHEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = made.map_err(|error| hyper_error(&error))?;
    let driver = Driver::spawn(async move { drop(connection.await) });
    Ok(Connection::Http2(Arc::new(Many { sender, _driver: driver })))
}
