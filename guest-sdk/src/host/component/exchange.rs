//! One HTTP exchange over `wasi:http`: the request is written, the answer is read up to its bound.

use super::bindings::wasi::http::outgoing_handler::handle;
use super::bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method as WasiMethod, OutgoingBody, OutgoingRequest,
    Scheme,
};
use super::bindings::wasi::io::streams::StreamError;
use crate::http::{HttpError, Request, Response};

/// The most bytes that one write to a stream takes.
const WRITE_BYTES_MAX: usize = 4096;

/// The most bytes that one read asks for.
const READ_BYTES_MAX: u64 = 64 << 10;

pub(crate) fn send(request: &Request) -> Result<Response, HttpError> {
    let outgoing = outgoing(request)?;
    let body = outgoing.body().map_err(|()| HttpError::Request("it has no body".to_owned()))?;
    let answer = handle(outgoing, None).map_err(refused)?;
    if !request.body.is_empty() {
        write(&body, &request.body)?;
    }
    OutgoingBody::finish(body, None).map_err(refused)?;
    answer.subscribe().block();
    let response = match answer.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(error))) => return Err(refused(error)),
        Some(Err(())) | None => return Err(HttpError::Failed("the answer is not there".to_owned())),
    };
    incoming(&response, request.answer_bytes_max)
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, HttpError> {
    let mut headers: Vec<(String, Vec<u8>)> =
        request.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    if !request.body.is_empty() {
        headers.push(("content-length".to_owned(), request.body.len().to_string().into_bytes()));
    }
    let fields =
        Fields::from_list(&headers).map_err(|error| HttpError::Request(format!("a header: {error}")))?;
    let outgoing = OutgoingRequest::new(fields);
    let scheme = match request.scheme.as_str() {
        "https" => Scheme::Https,
        _ => Scheme::Http,
    };
    let bad = |what: &'static str| move |()| HttpError::Request(format!("the {what} can't be sent"));
    outgoing.set_method(&WasiMethod::Other(request.method.clone())).map_err(bad("method"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(bad("scheme"))?;
    outgoing.set_authority(Some(&request.authority)).map_err(bad("host"))?;
    outgoing.set_path_with_query(Some(&request.path)).map_err(bad("path"))?;
    Ok(outgoing)
}

fn write(body: &OutgoingBody, bytes: &[u8]) -> Result<(), HttpError> {
    let stream = body.write().map_err(|()| HttpError::Failed("the body can't be written".to_owned()))?;
    for chunk in bytes.chunks(WRITE_BYTES_MAX) {
        stream.blocking_write_and_flush(chunk).map_err(|error| broken(&error))?;
    }
    Ok(())
}

fn incoming(response: &IncomingResponse, bytes_max: usize) -> Result<Response, HttpError> {
    let headers = response.headers().entries();
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let body = response.consume().map_err(|()| HttpError::Failed("the body is not there".to_owned()))?;
    let bytes = read(&body, bytes_max)?;
    Ok(Response { status: response.status(), headers, body: bytes })
}

fn read(body: &IncomingBody, bytes_max: usize) -> Result<Vec<u8>, HttpError> {
    let stream = body.stream().map_err(|()| HttpError::Failed("the body can't be read".to_owned()))?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES_MAX) {
            Ok(chunk) if bytes.len() + chunk.len() > bytes_max => {
                return Err(HttpError::TooLong { bytes_max });
            }
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(error @ StreamError::LastOperationFailed(_)) => return Err(broken(&error)),
        }
    }
}

fn broken(error: &StreamError) -> HttpError {
    match error {
        StreamError::Closed => HttpError::Failed("the connection was closed".to_owned()),
        StreamError::LastOperationFailed(error) => HttpError::Failed(error.to_debug_string()),
    }
}

fn refused(error: ErrorCode) -> HttpError {
    if matches!(error, ErrorCode::HttpRequestDenied) {
        return HttpError::Denied;
    }
    HttpError::Failed(error.to_string())
}
