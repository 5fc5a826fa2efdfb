//! What must hold of the parser of arguments for any bytes: shared by the fuzz target and by a test, which gives
//! it texts from a seed.

use portcullis::arguments::parse_arguments;
use serde_json::Value;

/// Reads the bytes as arguments of a call.
pub(crate) fn holds(data: &[u8]) {
    match parse_arguments(data) {
        Ok(value) => {
            assert!(value.is_object());
            // What it takes, any parser takes, and for the same.
            assert_eq!(serde_json::from_slice::<Value>(data).ok().as_ref(), Some(&value));
            // What it gives is read again as the same.
            assert_eq!(parse_arguments(value.to_string().as_bytes()).as_ref(), Ok(&value));
        }
        Err(error) => {
            assert!(error.line >= 1 && error.line <= data.iter().filter(|byte| **byte == b'\n').count() + 1);
            let told = error.to_string();
            assert!(!told.contains(char::is_control), "{told:?}");
        }
    }
}
