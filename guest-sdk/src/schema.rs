//! Schemas of types, as the host takes them: JSON Schema 2020-12, with references inside only.

use std::collections::{BTreeMap, BTreeSet};

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Number, Value};

/// The schema of arguments: what can be read into `T`.
pub fn input<T: JsonSchema>() -> Value {
    let mut schema = root::<T>(SchemaSettings::draft2020_12().for_deserialize());
    // Without arguments as well: there are models that ask for it, and a checker can name the key that it refuses.
    if let Some(map) = schema.as_object_mut() {
        map.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    }
    schema
}

/// The schema of a structured result: what `T` is written as.
pub(crate) fn output<T: JsonSchema>() -> Value {
    root::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn root<T: JsonSchema>(settings: SchemaSettings) -> Value {
    // The contract says which dialect it is, and the name of a Rust type tells an agent nothing.
    let settings = settings.with(|settings| settings.meta_schema = None);
    let mut schema = settings
        .with_transform(RecursiveTransform(bound_integers))
        .into_generator()
        .into_root_schema_for::<T>();
    schema.remove("title");
    schema.to_value()
}

/// Says the range of an integer where schemars only names it, so that the host refuses what the type can't
/// hold. `usize` has 32 bits in a component, and so it has everywhere.
fn bound_integers(schema: &mut Schema) {
    let Some((minimum, maximum)) = schema.get("format").and_then(Value::as_str).and_then(range) else {
        return;
    };
    for (keyword, bound) in [("minimum", minimum), ("maximum", maximum)] {
        if schema.get(keyword).is_none() {
            schema.insert(keyword.to_owned(), Value::Number(bound));
        }
    }
}

/// The range of a format of schemars. Beyond 64 bits there are no JSON numbers to read.
fn range(format: &str) -> Option<(Number, Number)> {
    Some(match format {
        "int32" | "int" => (i32::MIN.into(), i32::MAX.into()),
        "int64" => (i64::MIN.into(), i64::MAX.into()),
        "int128" => (i64::MIN.into(), u64::MAX.into()),
        "uint32" | "uint" => (0.into(), u32::MAX.into()),
        "uint64" | "uint128" => (0.into(), u64::MAX.into()),
        _ => return None,
    })
}

/// The first definition of a schema that contains itself: the host refuses such, because the work of a check
/// would have no bound.
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "only tests ask"))]
pub(crate) fn recursion(schema: &Value) -> Option<String> {
    let mut targets = BTreeMap::from([("#".to_owned(), references(schema, true))]);
    for (name, definition) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
        targets.insert(format!("#/$defs/{name}"), references(definition, false));
    }
    let contains_itself = |start: &String| {
        let (mut open, mut seen) = (vec![start], BTreeSet::new());
        while let Some(place) = open.pop() {
            for next in targets.get(place).into_iter().flatten() {
                if next == start {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    };
    targets.keys().find(|place| contains_itself(place)).cloned()
}

/// All references in a part of a schema.
fn references(part: &Value, root: bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    match part {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(target) if key == "$ref" => drop(found.insert(target.to_owned())),
                    _ if root && key == "$defs" => {}
                    _ => found.extend(references(value, false)),
                }
            }
        }
        Value::Array(items) => found.extend(items.iter().flat_map(|item| references(item, false))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}
