//! The one check of JSON before anything is made of it: what two parsers could read in two ways is refused.
//!
//! The parser is that of arguments (`arguments.rs`): no key twice, no number out of range, a bound on depth and
//! memory. Decides nothing about what the document means.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;

use super::http::body;
use super::problem::{ErrorKind, Problem};
use crate::arguments::{
    ARGUMENT_BYTES_MAX, ARGUMENT_DEPTH_MAX, ARGUMENT_MEMORY_MAX, ArgumentTextError, ArgumentTextFault,
    parse_json,
};
use crate::gateway::Blame;

/// The most bytes of a message of a protocol that is mounted beside the API: the arguments of a call, and as much as
/// a tenth of them around.
const MESSAGE_BYTES_MAX: usize = ARGUMENT_BYTES_MAX + ARGUMENT_BYTES_MAX / 10;

/// Checks a document.
pub(super) fn check(text: &[u8]) -> Result<(), Box<Problem>> {
    parse_json(text).map(drop).map_err(|error| {
        let ArgumentTextError { line, column, ref fault } = error;
        Problem::bad_input(format!("the body, line {line}, column {column}: {}", said(fault))).into()
    })
}

/// Reads the body of each message of a mounted protocol, all of which are JSON, and checks it before the protocol's
/// own parser has it.
pub(super) async fn check_messages(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, unread) = request.into_parts();
    let mut head = Request::new(unread);
    *head.headers_mut() = parts.headers.clone();
    let text = match body(head, MESSAGE_BYTES_MAX).await {
        Ok(text) => text,
        Err(error) => {
            let too_long = |bytes| {
                let detail =
                    format!("the body has {bytes} bytes or more, at most {MESSAGE_BYTES_MAX} are read");
                Problem::new(ErrorKind::TooLarge, detail, Blame::Agent)
            };
            return error.into_problem(too_long).into_response();
        }
    };
    match check(&text) {
        Ok(()) => next.run(Request::from_parts(parts, Body::from(text))).await,
        Err(problem) => problem.into_response(),
    }
}

fn said(fault: &ArgumentTextFault) -> String {
    match fault {
        ArgumentTextFault::TooLong { bytes } => format!("it has {bytes} bytes, which is too long"),
        ArgumentTextFault::NotUtf8 => "it is not valid UTF-8".to_owned(),
        ArgumentTextFault::Syntax { message } => format!("it is not valid JSON: {message}"),
        ArgumentTextFault::TooDeep => format!("it is nested deeper than {ARGUMENT_DEPTH_MAX} levels"),
        ArgumentTextFault::TooManyValues => {
            format!("it holds too many values: parsed, they would take more than {ARGUMENT_MEMORY_MAX} bytes")
        }
        ArgumentTextFault::DuplicateKey { path } => format!("{path} is given twice"),
        ArgumentTextFault::NumberOutOfRange => "a number is out of range".to_owned(),
        ArgumentTextFault::NotAnObject { found } => format!("it must be a JSON object, this is {found}"),
    }
}
