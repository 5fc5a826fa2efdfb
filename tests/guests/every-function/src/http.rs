//! `wasi:http`: what a guest can make up in memory, the one step that sends it, and what comes back.

use std::cell::RefCell;

use crate::Driver;
use crate::answers::{NoHandle, Outcome, fallible, needed, plain};
use crate::bindings::wasi::http::outgoing_handler::handle;
use crate::bindings::wasi::http::types::{
    Fields, FutureIncomingResponse, FutureTrailers, IncomingBody, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, OutgoingResponse, RequestOptions, Scheme, http_error_code,
};
use crate::streams::http_error;

thread_local! {
    static PEER: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Where requests go.
pub(crate) fn set_peer(peer: String) {
    PEER.with_borrow_mut(|kept| *kept = peer);
}

fn fields() -> Result<Fields, NoHandle> {
    needed(Fields::from_list(&[("accept".to_owned(), b"*/*".to_vec())]))
}

fn request() -> OutgoingRequest {
    OutgoingRequest::new(Fields::new())
}

fn response() -> OutgoingResponse {
    OutgoingResponse::new(Fields::new())
}

/// The body of a request, and the request.
fn body() -> Result<(OutgoingBody, OutgoingRequest), NoHandle> {
    let request = request();
    Ok((needed(request.body())?, request))
}

/// A request to the peer, as it is to be sent.
fn to_peer() -> Result<OutgoingRequest, NoHandle> {
    let request = request();
    needed(request.set_scheme(Some(&Scheme::Http)))?;
    needed(PEER.with_borrow(|peer| request.set_authority(Some(peer))))?;
    Ok(request)
}

/// Sends a request, and waits until it is answered.
fn send() -> Outcome {
    let sent = handle(to_peer()?, None);
    if let Ok(future) = &sent {
        future.subscribe().block();
        drop(future.get());
    }
    fallible(sent)
}

fn future() -> Result<FutureIncomingResponse, NoHandle> {
    needed(handle(to_peer()?, None))
}

/// A request that was answered.
fn answered() -> Result<FutureIncomingResponse, NoHandle> {
    let future = future()?;
    future.subscribe().block();
    Ok(future)
}

fn answer() -> Result<IncomingResponse, NoHandle> {
    let answer = answered()?.get().ok_or_else(|| NoHandle("no answer yet".to_owned()))?;
    needed(needed(answer)?)
}

fn incoming() -> Result<IncomingBody, NoHandle> {
    needed(answer()?.consume())
}

fn trailers() -> Result<FutureTrailers, NoHandle> {
    Ok(IncomingBody::finish(incoming()?))
}

/// Trailers that came.
fn trailers_read() -> Result<FutureTrailers, NoHandle> {
    let trailers = trailers()?;
    trailers.subscribe().block();
    Ok(trailers)
}

fn stream() -> Outcome {
    let body = incoming()?;
    let stream = body.stream();
    fallible(stream)
}

fn write() -> Outcome {
    let (body, _request) = body()?;
    let stream = body.write();
    fallible(stream)
}

fn finish() -> Outcome {
    let (body, _request) = body()?;
    fallible(OutgoingBody::finish(body, None))
}

macro_rules! types {
    ($($function:literal => $call:expr;)*) => {
        pub(crate) const DRIVERS: &[Driver] = &[
            $((concat!("wasi:http/types#", $function), || $call),)*
            ("wasi:http/outgoing-handler#handle", send),
        ];
    };
}

types! {
    "http-error-code" => plain(http_error_code(&http_error()?));
    "[constructor]fields" => plain(Fields::new());
    "[static]fields.from-list" => fallible(Fields::from_list(&[]));
    "[method]fields.get" => plain(fields()?.get("accept"));
    "[method]fields.has" => plain(fields()?.has("accept"));
    "[method]fields.set" => fallible(fields()?.set("accept", &[b"text/plain".to_vec()]));
    "[method]fields.delete" => fallible(fields()?.delete("accept"));
    "[method]fields.append" => fallible(fields()?.append("accept", b"text/plain"));
    "[method]fields.entries" => plain(fields()?.entries());
    "[method]fields.clone" => plain(fields()?.clone());
    "[constructor]outgoing-request" => plain(OutgoingRequest::new(fields()?));
    "[method]outgoing-request.body" => fallible(request().body());
    "[method]outgoing-request.method" => plain(request().method());
    "[method]outgoing-request.set-method" => fallible(request().set_method(&Method::Post));
    "[method]outgoing-request.path-with-query" => plain(request().path_with_query());
    "[method]outgoing-request.set-path-with-query" => fallible(request().set_path_with_query(Some("/a?b")));
    "[method]outgoing-request.scheme" => plain(request().scheme());
    "[method]outgoing-request.set-scheme" => fallible(request().set_scheme(Some(&Scheme::Https)));
    "[method]outgoing-request.authority" => plain(request().authority());
    "[method]outgoing-request.set-authority" => fallible(request().set_authority(Some("example.test")));
    "[method]outgoing-request.headers" => plain(request().headers());
    "[constructor]request-options" => plain(RequestOptions::new());
    "[method]request-options.connect-timeout" => plain(RequestOptions::new().connect_timeout());
    "[method]request-options.set-connect-timeout" =>
        fallible(RequestOptions::new().set_connect_timeout(Some(1)));
    "[method]request-options.first-byte-timeout" => plain(RequestOptions::new().first_byte_timeout());
    "[method]request-options.set-first-byte-timeout" =>
        fallible(RequestOptions::new().set_first_byte_timeout(Some(1)));
    "[method]request-options.between-bytes-timeout" => plain(RequestOptions::new().between_bytes_timeout());
    "[method]request-options.set-between-bytes-timeout" =>
        fallible(RequestOptions::new().set_between_bytes_timeout(Some(1)));
    "[constructor]outgoing-response" => plain(OutgoingResponse::new(fields()?));
    "[method]outgoing-response.status-code" => plain(response().status_code());
    "[method]outgoing-response.set-status-code" => fallible(response().set_status_code(204));
    "[method]outgoing-response.headers" => plain(response().headers());
    "[method]outgoing-response.body" => fallible(response().body());
    "[method]future-incoming-response.subscribe" => plain(future()?.subscribe());
    "[method]future-incoming-response.get" => plain(answered()?.get());
    "[method]incoming-response.status" => plain(answer()?.status());
    "[method]incoming-response.headers" => plain(answer()?.headers());
    "[method]incoming-response.consume" => fallible(answer()?.consume());
    "[method]incoming-body.stream" => stream();
    "[static]incoming-body.finish" => plain(trailers()?);
    "[method]future-trailers.subscribe" => plain(trailers()?.subscribe());
    "[method]future-trailers.get" => plain(trailers_read()?.get());
    "[method]outgoing-body.write" => write();
    "[static]outgoing-body.finish" => finish();
}
