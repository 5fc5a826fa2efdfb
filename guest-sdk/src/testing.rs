//! Calls a tool through JSON on the machine that builds it, without wasm. Needs the feature `testing`.
//!
//! The way is that of a call in the sandbox: the schema is asked first, by the rules of the host, then the
//! arguments are read and the function is called. What comes out is what the agent would get; only the
//! wording differs where the schema refuses. Not here are limits and powers: the function runs as part of the
//! test, with all that the test may do. What the helpers of the SDK ask of the host, [`furnish`] gives.

#[cfg(not(target_family = "wasm"))]
pub mod furnish;

use jsonschema::paths::LocationSegment;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use crate::arguments;
use crate::content::Content;
use crate::error::ToolError;
use crate::schema;
pub use crate::tool::Definition;
use crate::tool::Tool;

/// The definition of a tool, as the host will pin it: for snapshots.
///
/// # Panics
/// If the host would refuse it: a recursive schema, or one that is not valid.
pub fn definition<T: Tool>() -> Definition {
    let definition = Definition::of::<T>();
    for schema in std::iter::once(&definition.input_schema).chain(&definition.output_schema) {
        validator(T::NAME, schema);
    }
    definition
}

/// Calls a tool with JSON arguments, such as `json!({"text": "a b"})`.
///
/// # Errors
/// As in the sandbox: arguments that don't fit (the agent's fault), or the tool's own error.
///
/// # Panics
/// If the host would refuse the tool's definition, or if the structured result does not match its schema.
pub fn call<T: Tool>(arguments: impl Into<Value>) -> Result<Vec<Content>, ToolError> {
    call_text::<T>(&arguments.into().to_string())
}

/// Calls a tool with arguments as JSON text, which may be no JSON at all.
///
/// # Errors
/// As [`call`].
///
/// # Panics
/// As [`call`].
pub fn call_text<T: Tool>(text: &str) -> Result<Vec<Content>, ToolError> {
    let definition = definition::<T>();
    check(&validator(T::NAME, &definition.input_schema), &arguments::parse(text)?)
        .map_err(ToolError::invalid_arguments)?;
    let content = T::call(text)?;
    let structured = content.iter().find_map(|part| match part {
        Content::Structured(value) => Some(value),
        Content::Text(_) | Content::Image(_) | Content::Audio(_) | Content::Resource(_) => None,
    });
    if let Some(schema) = &definition.output_schema {
        let value = structured.unwrap_or_else(|| panic!("{}: no structured result", T::NAME));
        if let Err(fault) = check(&validator(T::NAME, schema), value) {
            panic!("{}: the structured result does not match its schema: {fault}", T::NAME);
        }
    }
    Ok(content)
}

/// Compiles a schema as the host does: JSON Schema 2020-12, nothing fetched, formats not checked.
#[track_caller]
fn validator(name: &str, schema: &Value) -> Validator {
    if let Some(place) = schema::recursion(schema) {
        panic!("{name}: the host refuses a schema that contains itself, as {place} does");
    }
    let compiled = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(false)
        .with_pattern_options(PatternOptions::regex())
        .build(schema);
    compiled.unwrap_or_else(|error| panic!("{name}: the host refuses its schema: {error}"))
}

fn check(validator: &Validator, value: &Value) -> Result<(), String> {
    let Err(error) = validator.validate(value) else { return Ok(()) };
    let mut path = "$".to_owned();
    for segment in error.instance_path() {
        match segment {
            LocationSegment::Property(key) => arguments::push_key(&mut path, &key),
            LocationSegment::Index(index) => arguments::push_index(&mut path, index),
        }
    }
    Err(format!("{path}: {error}"))
}
