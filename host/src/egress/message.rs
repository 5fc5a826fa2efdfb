//! What a request may say in its head, and what an answer may: framing is ours and hyper's, never the
//! guest's, and an answer that could be read in two ways is none. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

use super::error::EgressError;

/// The most fields of a head, or of trailers.
pub const FIELDS_MAX: usize = 100;
/// The most bytes of a request's head.
pub const REQUEST_HEAD_BYTES_MAX: u64 = 32 << 10;
/// The most bytes of an answer's head, and of its trailers.
pub(super) const ANSWER_HEAD_BYTES_MAX: usize = 64 << 10;

/// Fields that belong to the connection, or say where a message ends or to whom it goes. Nobody but the
/// sender sets them. `expect` asks for an informational answer, which is refused.
const FORBIDDEN: [HeaderName; 12] = [
    header::HOST,
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("http2-settings"),
];

/// Fields that trailers must not have beside [`FORBIDDEN`]: framing, routing, authentication and
/// control (RFC 9110, 6.5.1).
const FORBIDDEN_IN_TRAILERS: [HeaderName; 10] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::CACHE_CONTROL,
    header::LOCATION,
    header::RANGE,
];

/// Whether nobody but the sender may set a field.
pub fn is_forbidden_field(name: &HeaderName) -> bool {
    FORBIDDEN.contains(name)
}

/// Why a request must not be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// A field that only the sender may set.
    #[error("the header {0} is set by the host, never by a tool")]
    ForbiddenField(HeaderName),
    /// A field that trailers must not have.
    #[error("the header {0} must not be in trailers")]
    ForbiddenTrailer(HeaderName),
    /// `CONNECT` makes a tunnel.
    #[error("the method CONNECT asks for a tunnel")]
    Connect,
    /// More than one `content-length`, or one that is no number, or not that of the body.
    #[error("its content-length is not one number that is the body's")]
    ContentLength,
    /// More than [`FIELDS_MAX`] fields or [`REQUEST_HEAD_BYTES_MAX`].
    #[error("its head has more than 100 fields or 32 KiB")]
    HeadTooLarge,
}

/// Checks the head of a request, and answers its declared length.
///
/// # Errors
/// [`RequestFault`]: the first thing that is wrong.
pub fn check_request(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
) -> Result<Option<u64>, RequestFault> {
    if *method == Method::CONNECT {
        return Err(RequestFault::Connect);
    }
    if let Some(name) = headers.keys().find(|name| is_forbidden_field(name)) {
        return Err(RequestFault::ForbiddenField(name.clone()));
    }
    if headers.len() > FIELDS_MAX || request_head_bytes(method, target, headers) > REQUEST_HEAD_BYTES_MAX {
        return Err(RequestFault::HeadTooLarge);
    }
    content_length(headers).map_err(|()| RequestFault::ContentLength)
}

/// Checks the trailers of a request.
pub(super) fn check_trailers(trailers: &HeaderMap) -> Result<(), RequestFault> {
    let forbidden = |name: &&HeaderName| is_forbidden_field(name) || FORBIDDEN_IN_TRAILERS.contains(name);
    if let Some(name) = trailers.keys().find(forbidden) {
        return Err(RequestFault::ForbiddenTrailer(name.clone()));
    }
    if trailers.len() > FIELDS_MAX || fields_bytes(trailers) > REQUEST_HEAD_BYTES_MAX {
        return Err(RequestFault::HeadTooLarge);
    }
    Ok(())
}

/// The one `content-length`, in digits only.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.is_empty() || !value.as_bytes().iter().all(u8::is_ascii_digit) {
        return Err(());
    }
    value.to_str().ok().and_then(|digits| digits.parse().ok()).map(Some).ok_or(())
}

/// What a request's head weighs as HTTP/1.1.
pub fn request_head_bytes(method: &Method, target: &str, headers: &HeaderMap) -> u64 {
    (method.as_str().len() + target.len() + " HTTP/1.1\r\n\r\n ".len()) as u64 + fields_bytes(headers)
}

/// What fields weigh as HTTP/1.1.
pub(super) fn fields_bytes(fields: &HeaderMap) -> u64 {
    let bytes =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    fields.iter().map(bytes).sum::<usize>() as u64
}

/// Checks the head of an answer, and takes out of it what belongs to the connection. Answers its weight.
pub(super) fn check_answer(
    version: Version,
    status: StatusCode,
    headers: &mut HeaderMap,
) -> Result<u64, EgressError> {
    if status.is_informational() {
        return Err(EgressError::Framing("it is informational, or changes the protocol"));
    }
    let weight = "HTTP/1.1 200 \r\n\r\n".len() as u64 + fields_bytes(headers);
    if headers.len() > FIELDS_MAX || weight > ANSWER_HEAD_BYTES_MAX as u64 {
        return Err(EgressError::HeadTooLarge);
    }
    let length = content_length(headers)
        .map_err(|()| EgressError::Framing("it has more than one content-length, or a malformed one"))?;
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        if length.is_some() {
            return Err(EgressError::Framing("it has both a transfer-encoding and a content-length"));
        }
        if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(EgressError::Framing("its transfer-encoding is not just \"chunked\""));
        }
        if version != Version::HTTP_11 {
            return Err(EgressError::Framing("only HTTP/1.1 has a transfer-encoding"));
        }
    }
    for name in &FORBIDDEN {
        headers.remove(name);
    }
    Ok(weight)
}

/// Checks the trailers of an answer, and answers their weight.
pub(super) fn check_answer_trailers(trailers: &HeaderMap) -> Result<u64, EgressError> {
    match check_trailers(trailers) {
        Ok(()) => Ok(fields_bytes(trailers)),
        Err(RequestFault::HeadTooLarge) => Err(EgressError::HeadTooLarge),
        Err(
            RequestFault::ForbiddenField(_)
            | RequestFault::ForbiddenTrailer(_)
            | RequestFault::Connect
            | RequestFault::ContentLength,
        ) => Err(EgressError::Framing("its trailers have a field that trailers must not have")),
    }
}
