//! One message of JSON-RPC, read by the same strict parser as the arguments of calls elsewhere.
//!
//! Before rmcp sees it: duplicate keys, numbers out of range, deep nesting and what is not JSON end here.

use std::io;

use rmcp::ErrorData;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, NumberOrString};
use serde_json::Value;

use crate::api::strict::said;
use crate::arguments::{ARGUMENT_BYTES_MAX, ArgumentTextError, ArgumentTextFault, describe, parse_json};

/// The most bytes of a message: the arguments of a call, and as much as a tenth of them around.
pub(super) const MESSAGE_BYTES_MAX: usize = ARGUMENT_BYTES_MAX + ARGUMENT_BYTES_MAX / 10;

/// Why a text is no message, and the id of the request that it would have been, if it has one.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: ErrorData,
    pub(super) id: Option<NumberOrString>,
}

/// Reads a message as an object.
pub(super) fn object(text: &[u8]) -> Result<Value, Refused> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(too_long());
    }
    let error = match parse_json(text) {
        Ok(object @ Value::Object(_)) => return Ok(object),
        Ok(other) => {
            let fault = ArgumentTextFault::NotAnObject { found: describe(&other) };
            ArgumentTextError { line: 1, column: 1, fault }
        }
        Err(error) => error,
    };
    Err(Refused { error: refusal(&error), id: None })
}

/// The message that an object is.
pub(super) fn message(object: Value) -> Result<ClientJsonRpcMessage, Refused> {
    let id = id(&object);
    // The library's own text may hold any of the message.
    serde_json::from_value(object).map_err(|_| {
        let error = ErrorData::invalid_request("Invalid Request: not a message of JSON-RPC 2.0 or MCP", None);
        Refused { error, id }
    })
}

/// The id of the request that a message is, if it has one.
pub(super) fn id(object: &Value) -> Option<NumberOrString> {
    object.get("id").and_then(|id| serde_json::from_value(id.clone()).ok())
}

/// The answer to a message that is too long to be read.
pub(super) fn too_long() -> Refused {
    let message = format!("Invalid Request: the message has more than {MESSAGE_BYTES_MAX} bytes");
    Refused { error: ErrorData::invalid_request(message, None), id: None }
}

fn refusal(error: &ArgumentTextError) -> ErrorData {
    let ArgumentTextError { line, column, fault } = error;
    let (code, what) = match fault {
        ArgumentTextFault::NotUtf8
        | ArgumentTextFault::Syntax { .. }
        | ArgumentTextFault::NumberOutOfRange => (ErrorCode::PARSE_ERROR, "Parse error"),
        ArgumentTextFault::TooLong { .. }
        | ArgumentTextFault::TooDeep
        | ArgumentTextFault::TooManyValues
        | ArgumentTextFault::DuplicateKey { .. }
        | ArgumentTextFault::NotAnObject { .. } => (ErrorCode::INVALID_REQUEST, "Invalid Request"),
    };
    ErrorData::new(code, format!("{what}: line {line}, column {column}: {}", said(fault)), None)
}

/// The bytes of a value as compact JSON.
pub(super) fn compact_bytes(value: &Value) -> u64 {
    struct Count(u64);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("JSON is written to a counter that never fails");
    count.0
}
