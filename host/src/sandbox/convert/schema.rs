//! The JSON Schemas (2020-12) of a typed function. The table of forms is in the module above.
//!
//! The same function always gives the same text. It never adds a description: that text is untrusted
//! and is kept apart.

use serde_json::{Map, Value, json};
use wasmtime::component::types::ComponentFunc;

use super::shape::{
    IntegerKind, Named, Place, ResultShape, Shape, TypedFunction, Unconvertible, UnconvertibleReason,
};

/// The longest schema that a tool may have, as compact JSON: 64 KiB.
pub(crate) const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Base64 with padding and no stray bits, so that each value has one form (RFC 4648, sections 3.5 and 4).
const BASE64_PATTERN: &str =
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// The names of the floats that JSON has no number for.
pub(super) const FLOAT_NAMES: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// The schemas of one function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FunctionSchemas {
    /// Of the arguments: always an object, a property for each parameter.
    pub(crate) input: Value,
    /// Of the result, or of the value of `ok`. `None` if there is nothing to return.
    pub(crate) output: Option<Value>,
}

/// The schemas of `func`.
///
/// # Errors
///
/// See [`TypedFunction::new`] and [`TypedFunction::schemas`].
pub(crate) fn function_schemas(func: &ComponentFunc) -> Result<FunctionSchemas, Unconvertible> {
    TypedFunction::new(func)?.schemas()
}

impl TypedFunction {
    /// The schemas of the arguments and the result.
    ///
    /// # Errors
    ///
    /// Fails if one is longer than [`SCHEMA_BYTES_MAX`].
    pub(crate) fn schemas(&self) -> Result<FunctionSchemas, Unconvertible> {
        let input = bounded(object(&self.params), "parameters")?;
        let output = match &self.result {
            ResultShape::Plain(value) => value,
            ResultShape::Fallible { ok, err: _ } => ok,
        };
        let output = output.as_ref().map(|shape| bounded(schema(shape), "result")).transpose()?;
        Ok(FunctionSchemas { input, output })
    }
}

fn bounded(schema: Value, root: &'static str) -> Result<Value, Unconvertible> {
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return Err(Place::Root(root).refuse(UnconvertibleReason::TooLarge));
    }
    Ok(schema)
}

/// The schema of a value. Recursion is bounded by the depth of the shape.
fn schema(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Integer(kind) => integer(*kind),
        Shape::Float32 => json!({"anyOf": [
            {"type": "number", "minimum": f64::from(f32::MIN), "maximum": f64::from(f32::MAX)},
            {"enum": FLOAT_NAMES},
        ]}),
        Shape::Float64 => json!({"anyOf": [{"type": "number"}, {"enum": FLOAT_NAMES}]}),
        Shape::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Shape::String => json!({"type": "string"}),
        Shape::Bytes => json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN}),
        Shape::List(item) => json!({"type": "array", "items": schema(item)}),
        Shape::Record(fields) => object(fields),
        Shape::Tuple(items) => {
            let prefix: Vec<Value> = items.iter().map(schema).collect();
            json!({
                "type": "array",
                "prefixItems": prefix,
                "items": false,
                "minItems": items.len(),
                "maxItems": items.len(),
            })
        }
        Shape::Variant(cases) | Shape::Result(cases) => {
            let cases: Vec<Value> =
                cases.iter().map(|(name, payload)| case(name, payload.as_ref())).collect();
            json!({"oneOf": cases})
        }
        Shape::Enum(names) => json!({"type": "string", "enum": list(names)}),
        Shape::Flags(names) => json!({
            "type": "array",
            "items": {"type": "string", "enum": list(names)},
            "uniqueItems": true,
        }),
        Shape::Option(inner) => json!({"anyOf": [some(inner), {"type": "null"}]}),
    }
}

/// An object of named values: the options may be left out.
fn object(fields: &Named<Shape>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, shape) in fields.iter() {
        properties.insert(name.to_owned(), schema(shape));
        if !shape.is_option() {
            required.push(name);
        }
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn integer(kind: IntegerKind) -> Value {
    let (minimum, maximum) = kind.range();
    // Both ends fit: the smallest is that of i64, the largest that of u64.
    let end =
        |value: i128| i64::try_from(value).map_or_else(|_| json!(u64::try_from(value).ok()), |v| json!(v));
    let number = json!({"type": "integer", "minimum": end(minimum), "maximum": end(maximum)});
    match kind.digits() {
        None => number,
        Some(pattern) => json!({"anyOf": [number, {"type": "string", "pattern": pattern}]}),
    }
}

fn case(name: &str, payload: Option<&Shape>) -> Value {
    match payload {
        None => json!({
            "type": "object",
            "properties": {"tag": {"const": name}},
            "required": ["tag"],
            "additionalProperties": false,
        }),
        Some(shape) => json!({
            "type": "object",
            "properties": {"tag": {"const": name}, "value": schema(shape)},
            "required": ["tag", "value"],
            "additionalProperties": false,
        }),
    }
}

/// What is inside an option. An option inside an option is wrapped, to tell `some(none)` from `none`.
fn some(inner: &Shape) -> Value {
    if inner.is_option() {
        json!({
            "type": "object",
            "properties": {"some": schema(inner)},
            "required": ["some"],
            "additionalProperties": false,
        })
    } else {
        schema(inner)
    }
}

fn list(names: &Named<()>) -> Vec<&str> {
    names.names().collect()
}
