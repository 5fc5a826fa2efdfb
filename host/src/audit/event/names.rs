//! The names of records and outcomes, for whoever asks the log by them.

use super::{CallOutcome, Event, HostCallOutcome};

/// Holds a name of a kind of record, such as `host_call`, against those that there are.
///
/// # Errors
/// A text that says which there are.
pub fn check_event_name(name: &str) -> Result<(), String> {
    unknown_variant::<Event>("event", name).map_or(Ok(()), Err)
}

/// Holds a name of an outcome, of host calls or of calls, against those that there are.
///
/// # Errors
/// A text that says which there are.
pub fn check_outcome_name(name: &str) -> Result<(), String> {
    let of_host_calls = unknown_variant::<HostCallOutcome>("outcome", name);
    let of_calls = unknown_variant::<CallOutcome>("outcome", name);
    match (of_host_calls, of_calls) {
        (Some(first), Some(second)) => Err(format!("of host calls: {first}; of calls: {second}")),
        _ => Ok(()),
    }
}

/// What serde says of a name that no variant has: it lists them.
fn unknown_variant<T: serde::de::DeserializeOwned>(tag: &str, name: &str) -> Option<String> {
    let mut value = serde_json::Map::new();
    value.insert(tag.to_owned(), name.into());
    let error = serde_json::from_value::<T>(value.into()).err()?.to_string();
    error.starts_with("unknown variant").then_some(error)
}
