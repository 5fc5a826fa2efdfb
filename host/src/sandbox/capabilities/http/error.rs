//! What a failed exchange is to the guest (an error code of `wasi:http`), and to the log.

use std::borrow::Cow;

use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::egress::{EgressError, Phase, RequestFault};
use crate::limits::Limit;

/// The guest's error. It names no address and no file of the host.
pub(super) fn for_guest(error: &EgressError) -> Error {
    match error {
        EgressError::Lookup(_) | EgressError::TooManyAddresses => {
            Error::DnsError { rcode: None, info_code: None }
        }
        EgressError::Address(_) => Error::DestinationIpProhibited,
        EgressError::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Error::ConnectionRefused
        }
        EgressError::Connect(_) => Error::DestinationUnavailable,
        EgressError::Certificate(_) => Error::TlsCertificateError,
        EgressError::Tls(_) => Error::TlsProtocolError,
        EgressError::TimedOut { phase, .. } => match phase {
            Phase::Lookup => Error::DnsTimeout,
            Phase::Connect | Phase::Handshake => Error::ConnectionTimeout,
            Phase::FirstByte | Phase::Exchange => Error::HttpResponseTimeout,
            Phase::BetweenBytes => Error::ConnectionReadTimeout,
        },
        EgressError::Roots(_) => Error::ConfigurationError,
        EgressError::Request(RequestFault::HeadTooLarge) => Error::HttpRequestHeaderSectionSize(None),
        EgressError::Request(
            RequestFault::ForbiddenField(_)
            | RequestFault::ForbiddenTrailer(_)
            | RequestFault::Connect
            | RequestFault::ContentLength,
        ) => Error::HttpRequestDenied,
        EgressError::Limit(reached) if reached.limit == Limit::HttpBytesIn => {
            Error::HttpResponseBodySize(Some(reached.max))
        }
        EgressError::Limit(reached) => Error::HttpRequestBodySize(Some(reached.max)),
        EgressError::HeadTooLarge => Error::HttpResponseHeaderSectionSize(None),
        EgressError::Refused(_) => Error::HttpRequestDenied,
        EgressError::Incomplete => Error::HttpResponseIncomplete,
        EgressError::RequestBody(_) | EgressError::Framing(_) | EgressError::Protocol(_) => {
            Error::HttpProtocolError
        }
    }
}

/// The log's text.
pub(super) fn for_log(error: &EgressError) -> Cow<'static, str> {
    if let EgressError::Limit(reached) = error {
        return Cow::Owned(format!("limit {}", reached.limit));
    }
    Cow::Owned(crate::text::clean_line(&error.to_string(), 200))
}

/// The code of an error that [`for_guest`] made, for streams: `http-error-code` knows the codes of WIT only.
#[expect(clippy::wildcard_enum_match_arm, reason = "wasmtime's enum is open; the others are never made here")]
pub(crate) fn code(error: &Error) -> ErrorCode {
    match error {
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        Error::HttpRequestBodySize(max) => ErrorCode::HttpRequestBodySize(*max),
        Error::HttpResponseBodySize(max) => ErrorCode::HttpResponseBodySize(*max),
        Error::HttpResponseHeaderSectionSize(max) => ErrorCode::HttpResponseHeaderSectionSize(*max),
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        _ => ErrorCode::InternalError(None),
    }
}
