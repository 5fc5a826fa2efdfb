//! The one check of JSON before anything is made of it: what two parsers could read in two ways is refused.
//!
//! The parser is that of arguments (`arguments.rs`): no key twice, no number out of range, a bound on depth and
//! memory. Decides nothing about what the document means.

use super::problem::Problem;
use crate::arguments::{
    ARGUMENT_DEPTH_MAX, ARGUMENT_MEMORY_MAX, ArgumentTextError, ArgumentTextFault, parse_json,
};

/// Checks a document.
pub(super) fn check(text: &[u8]) -> Result<(), Box<Problem>> {
    parse_json(text).map(drop).map_err(|error| {
        let ArgumentTextError { line, column, ref fault } = error;
        Problem::bad_input(format!("the body, line {line}, column {column}: {}", said(fault))).into()
    })
}

/// What is wrong with a document, which is `it`.
pub(super) fn said(fault: &ArgumentTextFault) -> String {
    match fault {
        ArgumentTextFault::TooLong { bytes } => format!("it has {bytes} bytes, which is too long"),
        ArgumentTextFault::NotUtf8 => "it is not valid UTF-8".to_owned(),
        ArgumentTextFault::Syntax { message } => format!("it is not valid JSON: {message}"),
        ArgumentTextFault::TooDeep => {
            format!("it is nested deeper than {ARGUMENT_DEPTH_MAX} levels (json_depth)")
        }
        ArgumentTextFault::TooManyValues => {
            format!("it holds too many values: parsed, they would take more than {ARGUMENT_MEMORY_MAX} bytes")
        }
        ArgumentTextFault::DuplicateKey { path } => format!("{path} is given twice"),
        ArgumentTextFault::NumberOutOfRange => "a number is out of range".to_owned(),
        ArgumentTextFault::NotAnObject { found } => format!("it must be a JSON object, this is {found}"),
    }
}
