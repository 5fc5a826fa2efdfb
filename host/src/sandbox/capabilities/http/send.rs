//! `outgoing-handler.handle`: judged by the call's rules, recorded, and only then sent.
//!
//! The record of the attempt is with the kernel before the name is looked up. What is sent is the URL
//! that was judged, over the one path that leaves the host ([`Client`]).

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use wasmtime::component::Resource;
use wasmtime_wasi_http::RequestOptions;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, FutureIncomingResponse, Method, OutgoingRequest, RequestOptions as GuestOptions, Scheme,
};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};

use super::bound::Bound;
use super::exchange::{About, GuestBody, OpenExchange, Report, ReportedBody};
use super::filter::AnswerFilter;
use super::handler;
use super::under_way::Exchange;
use crate::egress::{
    AnswerBody, CanonicalUrl, Client, ExchangeBytes, ExchangeDeadlines, OutboundRequest, RequestFault,
    Scheme as UrlScheme, SentBody, UrlError, UrlHost, check_request, judge_address, request_head_bytes,
};
use crate::limits::Limit;
use crate::policy::{AuthorizedRule, HttpMismatch, HttpRule, Rule};
use crate::sandbox::bindings::wasi::http::outgoing_handler;
use crate::sandbox::capabilities::{CallState, NOT_GRANTED, SUBJECT_BYTES_MAX};
use crate::sandbox::connections::Connection;
use crate::text::clean_line;

/// Why a request is refused before anything is sent.
struct Refusal {
    /// For the log: what it lacks.
    why: Cow<'static, str>,
    code: ErrorCode,
    /// What `wasi:http` calls the code.
    name: &'static str,
}

impl Refusal {
    fn denied(why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), code: ErrorCode::HttpRequestDenied, name: "HTTP-request-denied" }
    }

    fn limit(limit: Limit) -> Self {
        Self::denied(format!("limit {limit}"))
    }

    /// A limit on connections.
    fn connections(limit: Limit) -> Self {
        let (code, name) = (ErrorCode::ConnectionLimitReached, "connection-limit-reached");
        Self { why: format!("limit {limit}").into(), code, name }
    }

    fn url(error: UrlError) -> Self {
        let why = format!("the URL is refused: {error}");
        Self { why: why.into(), code: ErrorCode::HttpRequestUriInvalid, name: "HTTP-request-URI-invalid" }
    }

    fn fault(fault: &RequestFault) -> Self {
        Self::denied(fault.to_string())
    }
}

/// A request that may be sent.
struct Judged {
    url: CanonicalUrl,
    method: http::Method,
    rule: AuthorizedRule,
    /// What its head weighs.
    head_bytes: u64,
    /// What is put into it.
    bound: Bound,
}

impl outgoing_handler::Host for CallState {
    async fn handle(
        &mut self,
        request: Resource<OutgoingRequest>,
        options: Option<Resource<GuestOptions>>,
    ) -> wasmtime::Result<Result<Resource<FutureIncomingResponse>, ErrorCode>> {
        self.settle_exchanges();
        let url = self.table.get(&request).map(url)?;
        let subject: Arc<str> =
            self.table.get(&request).map(|request| subject(request, url.as_ref().ok()))?.into();
        let entered = self.gate.enter(handler::HANDLE, Some(Arc::clone(&subject))).await?;
        // The guest gave both away.
        let body = self.http.owners.forget(request.rep());
        let request = self.delete(request)?;
        let options = options.map(|options| self.delete(options)).transpose()?;
        let admitted =
            url.map_err(Refusal::url).and_then(|url| self.judge(url, &request)).and_then(|mut judged| {
                if let Some(rule) = http_rule(&judged.rule) {
                    judged.bound = self.bind(rule, &judged.url, &request).map_err(Refusal::denied)?;
                }
                let connection =
                    self.connections.take().map_err(|reached| Refusal::connections(reached.limit))?;
                self.take_rate(&judged.rule)?;
                Ok((judged, connection))
            });
        let (judged, connection) = match admitted {
            Ok(admitted) => admitted,
            Err(Refusal { why, code, name }) => {
                self.gate.deny(entered, why, name);
                return Ok(Err(code));
            }
        };
        self.gate.usage().http_requests += 1;
        self.record_injections(&judged.bound);
        let rule: Arc<str> = judged.rule.name().into();
        let named = Cow::Owned(rule.to_string());
        let attempted = self.gate.attempt(entered, named, judged.head_bytes).await?;
        let about = About { subject, rule };
        let answer = body.unwrap_or_default();
        // The guest can't have set it: it is set here only, and the request is gone.
        let _ = answer.set(about);
        let future = self.begin(judged, request, options, attempted, connection).await?;
        self.http.owners.set(future.rep(), answer);
        Ok(Ok(future))
    }
}

impl CallState {
    /// Whether the call's rules and limits allow a request.
    fn judge(&self, url: CanonicalUrl, request: &HostOutgoingRequest) -> Result<Judged, Refusal> {
        let method: http::Method = request.method.clone().try_into().map_err(|_| Refusal {
            why: Cow::Borrowed("the method is malformed"),
            code: ErrorCode::HttpRequestMethodInvalid,
            name: "HTTP-request-method-invalid",
        })?;
        let (rule, granted) = self.allowing_rule(method.as_str(), &url)?;
        let target = url.path_and_query();
        let headers: &http::HeaderMap = &request.headers;
        let declared = check_request(&method, &target, headers).map_err(|fault| Refusal::fault(&fault))?;
        if request.body.is_none() && declared.is_some_and(|length| length > 0) {
            return Err(Refusal::fault(&RequestFault::ContentLength));
        }
        if let UrlHost::Address(address) = url.host() {
            let networks: Vec<_> = granted.addresses.iter().copied().collect();
            judge_address(*address, &networks).map_err(|refused| Refusal {
                why: refused.to_string().into(),
                code: ErrorCode::DestinationIpProhibited,
                name: "destination-IP-prohibited",
            })?;
        }
        let (limits, used) = (self.gate.limits(), self.gate.used());
        if used.http_requests >= limits.http_requests {
            return Err(Refusal::limit(Limit::HttpRequests));
        }
        let head_bytes = request_head_bytes(&method, &target, headers);
        if self.http.traffic.bytes_out().saturating_add(head_bytes) > limits.http_bytes_out {
            return Err(Refusal::limit(Limit::HttpBytesOut));
        }
        Ok(Judged { method, rule: rule.clone(), head_bytes, url, bound: Bound::default() })
    }

    /// The first rule that allows a request; else what the nearest rule does not allow of it.
    fn allowing_rule(
        &self,
        method: &str,
        url: &CanonicalUrl,
    ) -> Result<(&AuthorizedRule, &HttpRule), Refusal> {
        let mut nearest: Option<HttpMismatch> = None;
        for given in &self.rules {
            let Some(rule) = http_rule(given) else { continue };
            match rule.judge(method, url) {
                Ok(()) => return Ok((given, rule)),
                Err(mismatch) => nearest = nearest.max(Some(mismatch)),
            }
        }
        Err(Refusal::denied(match nearest {
            None => Cow::Borrowed(NOT_GRANTED),
            Some(HttpMismatch::Host) => format!("no http rule names the host {}", url.host()).into(),
            Some(HttpMismatch::Scheme) => {
                format!("no http rule for the host allows the scheme {}", url.scheme()).into()
            }
            Some(HttpMismatch::Port) => {
                format!("no http rule for the host allows the port {}", url.port()).into()
            }
            Some(HttpMismatch::Method) => {
                format!("no http rule for the host allows the method {}", clean_line(method, 40)).into()
            }
            Some(HttpMismatch::Path) => Cow::Borrowed("no http rule for the host and method allows the path"),
            Some(HttpMismatch::QueryKey(key)) => {
                format!("no http rule for the path allows the query key {:?}", clean_line(&key, 80)).into()
            }
        }))
    }

    fn take_rate(&self, given: &AuthorizedRule) -> Result<(), Refusal> {
        let Some(rate) = http_rule(given).and_then(|rule| rule.requests_per_minute) else { return Ok(()) };
        if self.http.sender.rates.take((given.grant, given.index), rate, Instant::now()) {
            return Ok(());
        }
        Err(Refusal::denied(format!("{} allows {rate} requests a minute", given.name())))
    }

    /// Begins an exchange whose attempt is in the log.
    async fn begin(
        &mut self,
        judged: Judged,
        request: HostOutgoingRequest,
        options: Option<RequestOptions>,
        attempted: super::super::gate::Attempted,
        connection: Connection,
    ) -> wasmtime::Result<Resource<FutureIncomingResponse>> {
        let Judged { url, method, rule, bound, .. } = judged;
        let granted = http_rule(&rule).map(|rule| rule.addresses.iter().copied().collect());
        let bytes = ExchangeBytes::default();
        let (open, report) = OpenExchange::new(attempted, bytes.clone());
        self.http.open.push(open);
        let is_empty = request.body.is_none();
        let body: SentBody = match request.body {
            Some(body) => GuestBody { body, is_over: Arc::clone(&self.http.is_over) }.boxed_unsync(),
            None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        };
        let is_handed_over = Arc::new(AtomicBool::new(false));
        let sent = OutboundRequest {
            scope: self.http.scope(),
            url,
            method,
            headers: request.headers.into(),
            body,
            is_empty,
            granted: granted.unwrap_or_default(),
            deadlines: deadlines(options),
            traffic: Arc::clone(&self.http.traffic),
            bytes,
            is_handed_over: Arc::clone(&is_handed_over),
        };
        let (sent, filter) = self.rewritten(bound, sent);
        let client = self.http.sender.client.clone();
        let mut exchange: Exchange = Box::pin(exchange(client, sent, filter, report, connection));
        let step = poll_fn(|context| Poll::Ready(exchange.as_mut().poll(context))).await;
        match step {
            Poll::Ready(answer) => self.push(HostFutureIncomingResponse::Ready(answer)),
            Poll::Pending if is_empty && is_handed_over.load(Ordering::Relaxed) => {
                let future = self.push(HostFutureIncomingResponse::Consumed)?;
                self.http.under_way.keep(future.rep(), exchange);
                Ok(future)
            }
            Poll::Pending => {
                self.push(HostFutureIncomingResponse::Pending(wasmtime_wasi::runtime::spawn(exchange)))
            }
        }
    }
}

/// What an exchange gives, as the engine has it.
pub(super) type Answer = Result<
    (
        http::Response<wasmtime_wasi_http::p2::body::HyperIncomingBody>,
        wasmtime_wasi::runtime::AbortOnDropJoinHandle<()>,
    ),
    wasmtime_wasi_http::Error,
>;

async fn exchange(
    client: Client,
    sent: OutboundRequest,
    mut filter: Box<dyn AnswerFilter>,
    mut report: Report,
    connection: Connection,
) -> Answer {
    let answer: http::Response<AnswerBody> =
        client.send(sent).await.map_err(|error| report.failed(&error))?;
    let (mut head, body) = answer.into_parts();
    report.answered(head.status.as_u16());
    filter.head(&mut head.headers).map_err(|error| report.failed(&error))?;
    let body = ReportedBody::new(body, filter, report, connection).boxed_unsync();
    Ok((http::Response::from_parts(head, body), no_task()))
}

/// The handle of a task that never runs. The engine's type asks for what drives the connection, and that is the
/// client's: there is nothing to keep alive beside the body. A task that is scheduled, even to do nothing, has
/// the runtime wake another worker for each answer.
fn no_task() -> wasmtime_wasi::runtime::AbortOnDropJoinHandle<()> {
    tokio::task::LocalSet::new().spawn_local(std::future::ready(())).into()
}

fn http_rule(given: &AuthorizedRule) -> Option<&HttpRule> {
    match &given.rule {
        Rule::Http(rule) => Some(rule),
        Rule::Invoke(_)
        | Rule::Keyvalue(_)
        | Rule::Config(_)
        | Rule::Environment(_)
        | Rule::Arguments(_)
        | Rule::Tcp(_)
        | Rule::Udp(_)
        | Rule::Dns(_)
        | Rule::Secrets(_) => None,
    }
}

/// The host's deadlines; a guest can only shorten them.
fn deadlines(options: Option<RequestOptions>) -> ExchangeDeadlines {
    let mut deadlines = ExchangeDeadlines::default();
    let Some(options) = options else { return deadlines };
    let shorten =
        |deadline: &mut Duration, to: Option<Duration>| *deadline = to.unwrap_or(*deadline).min(*deadline);
    shorten(&mut deadlines.connecting.lookup, options.connect_timeout);
    shorten(&mut deadlines.connecting.connect, options.connect_timeout);
    shorten(&mut deadlines.connecting.handshake, options.connect_timeout);
    shorten(&mut deadlines.first_byte, options.first_byte_timeout);
    shorten(&mut deadlines.between_bytes, options.between_bytes_timeout);
    deadlines
}

/// The request's URL in its one form.
fn url(request: &HostOutgoingRequest) -> Result<CanonicalUrl, UrlError> {
    let scheme = match &request.scheme {
        Some(Scheme::Http) => UrlScheme::Http,
        Some(Scheme::Https) | None => UrlScheme::Https,
        Some(Scheme::Other(other)) => other.parse()?,
    };
    let path = match request.path_with_query.as_deref() {
        None | Some("") => Cow::Borrowed("/"),
        Some(query) if query.starts_with('?') => Cow::Owned(format!("/{query}")),
        Some(path) => Cow::Borrowed(path),
    };
    CanonicalUrl::from_parts(scheme, request.authority.as_deref().unwrap_or_default(), &path)
}

/// Method and URL of a request, without what may be secret: user and password, and the query.
fn subject(request: &HostOutgoingRequest, url: Option<&CanonicalUrl>) -> String {
    let method = match &request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(other) => other,
    };
    if let Some(url) = url {
        return clean_line(&format!("{method} {}", url.without_query()), SUBJECT_BYTES_MAX);
    }
    let scheme = match &request.scheme {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) | None => "https",
        Some(Scheme::Other(other)) => other,
    };
    let authority = request.authority.as_deref().unwrap_or("");
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = request.path_with_query.as_deref().unwrap_or("/");
    let path = path.split(['?', '#']).next().unwrap_or(path);
    clean_line(&format!("{method} {scheme}://{host}{path}"), SUBJECT_BYTES_MAX)
}
