//! Counts things, and remembers how many there were: state in a granted store.
//!
//! Counts go up by one operation of the store, so that calls at the same time lose nothing. How high a count
//! may be asked to go at once is configuration.

use std::collections::BTreeMap;

use portcullis_sdk::kv::{self, Store};
use portcullis_sdk::{Json, ToolError, config, tool, tools};
use schemars::JsonSchema;
use serde::Serialize;

tools![count, totals, reset];

/// The name of the store in the grant.
const STORE: &str = "counters";

/// The most by which one call counts, if the key `step_max` of the configuration says nothing else.
const STEP_MAX: u64 = 1_000;

/// A count.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Count {
    /// What is counted.
    name: String,
    /// How many there were so far.
    total: u64,
}

/// Counts: adds to a counter, which begins at 0, and gives its new total.
#[tool]
fn count(
    /// What is counted.
    name: String,
    /// How many more there are.
    #[serde(default = "one")]
    more: u64,
) -> Result<Json<Count>, ToolError> {
    let most = step_max()?;
    if more > most {
        return Err(ToolError::invalid_arguments(format!("at most {most} are counted at once")));
    }
    let total = store()?.increment(&name, more)?;
    Ok(Json(Count { name, total }))
}

fn one() -> u64 {
    1
}

/// Gives all totals.
#[tool]
fn totals() -> Result<Json<BTreeMap<String, String>>, ToolError> {
    let store = store()?;
    let mut totals = BTreeMap::new();
    let keys = store.keys()?;
    for some in keys.chunks(1_000) {
        for (key, value) in some.iter().zip(store.get_many(some)?) {
            // One that was reset meanwhile is not there any more.
            if let Some(value) = value {
                totals.insert(key.clone(), String::from_utf8_lossy(&value).into_owned());
            }
        }
    }
    Ok(Json(totals))
}

/// Forgets a counter: it begins at 0 again.
#[tool]
fn reset(
    /// What was counted.
    name: &str,
) -> Result<(), ToolError> {
    Ok(store()?.delete(name)?)
}

fn store() -> Result<Store, ToolError> {
    Ok(kv::open(STORE)?)
}

/// A tool that was set up without any configuration goes by what it has itself.
fn step_max() -> Result<u64, ToolError> {
    match config::parse("step_max") {
        Ok(most) => Ok(most.unwrap_or(STEP_MAX)),
        Err(config::ConfigError::Unavailable(_)) => Ok(STEP_MAX),
        Err(error @ config::ConfigError::Invalid { .. }) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_sdk::testing::{call, furnish};
    use portcullis_sdk::{Content, ErrorKind};
    use serde_json::json;

    use super::*;

    #[test]
    fn counters_are_kept_and_forgotten() {
        furnish::store(STORE);
        let counted = |total: u64| Ok(vec![Content::Structured(json!({"name": "apples", "total": total}))]);
        assert_eq!(call::<count>(json!({"name": "apples"})), counted(1));
        assert_eq!(call::<count>(json!({"name": "apples", "more": 4})), counted(5));
        assert_eq!(totals(), Ok(Json(BTreeMap::from([("apples".to_owned(), "5".to_owned())]))));
        reset("apples").expect("forgotten");
        assert_eq!(totals(), Ok(Json(BTreeMap::new())));
    }

    #[test]
    fn the_step_is_bounded_by_what_was_set_up() {
        furnish::store(STORE);
        let refused = |more: u64| call::<count>(json!({"name": "a", "more": more})).expect_err("too many");
        assert_eq!(refused(1_001).kind, ErrorKind::InvalidArguments);
        furnish::config("step_max", "3");
        assert!(call::<count>(json!({"name": "a", "more": 3})).is_ok());
        assert_eq!(refused(4).message, "at most 3 are counted at once");
    }

    #[test]
    fn without_its_store_it_counts_nothing() {
        let error = call::<count>(json!({"name": "a"})).expect_err("not granted");
        assert_eq!(error.message, "the store is not granted to this tool for this");
    }
}
