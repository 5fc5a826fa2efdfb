//! One request by `wasi:http`, and its whole response.

use crate::bindings::exports::test::secret_holder::holder::Response;
use crate::bindings::wasi::http::outgoing_handler::handle;
use crate::bindings::wasi::http::types::{
    Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use crate::bindings::wasi::io::streams::StreamError;

/// More than any response of a test.
const BODY_BYTES_MAX: usize = 4 << 20;

pub(crate) fn send(
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Response, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).map_err(|error| format!("header: {error:?}"))?;
    }
    let request = OutgoingRequest::new(fields);
    let set = |done: Result<(), ()>, what: &str| done.map_err(|()| format!("{what} is not accepted"));
    set(request.set_method(&verb(method)), "the method")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    set(request.set_scheme(Some(&scheme)), "the scheme")?;
    set(request.set_authority(Some(authority)), "the authority")?;
    set(request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })), "the path")?;
    let outgoing = request.body().map_err(|()| "no body")?;
    let answer = handle(request, None).map_err(|error| format!("{error:?}"))?;
    write(&outgoing, body)?;
    OutgoingBody::finish(outgoing, None).map_err(|error| format!("{error:?}"))?;
    answer.subscribe().block();
    let answer = answer.get().ok_or("no answer")?.map_err(|()| "taken twice")?;
    let answer = answer.map_err(|error| format!("{error:?}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let headers = answer.headers().entries().into_iter().map(|(name, value)| (name, text(value))).collect();
    let status = answer.status();
    let incoming = answer.consume().map_err(|()| "no body")?;
    Ok(Response { status, headers, body: text(read(incoming)?) })
}

fn write(outgoing: &OutgoingBody, body: &[u8]) -> Result<(), String> {
    let stream = outgoing.write().map_err(|()| "no stream")?;
    for chunk in body.chunks(4096) {
        stream.blocking_write_and_flush(chunk).map_err(|error| format!("the body: {error:?}"))?;
    }
    Ok(())
}

fn read(incoming: IncomingBody) -> Result<Vec<u8>, String> {
    let stream = incoming.stream().map_err(|()| "no stream")?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => body.extend(bytes),
            Err(StreamError::Closed) => return Ok(body),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(format!("the response breaks off: {}", error.to_debug_string()));
            }
        }
        if body.len() > BODY_BYTES_MAX {
            return Err("the response is too long".to_owned());
        }
    }
}

fn verb(method: &str) -> Method {
    match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}
