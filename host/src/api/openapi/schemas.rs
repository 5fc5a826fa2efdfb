//! Schemas of messages: derived from their types, closed, and gathered below `#/components/schemas`.

use std::borrow::Cow;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::audit::event::Record;
use crate::audit::schema::record_schema;

/// Where the document has them.
const PLACE: &str = "/components/schemas";
/// What the schema of a record is called.
const RECORD: &str = "AuditRecord";

/// The schemas of what is taken and of what is given. One type may be read in more ways than it is written, so each
/// has a generator of its own; a type that is both must be one, which a test holds.
#[derive(Debug)]
pub(super) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = PLACE.into();
                settings.meta_schema = None;
            })
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }
}

impl Schemas {
    pub(super) fn request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().into()
    }

    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().into()
    }

    pub(super) fn parameter<T: JsonSchema>(&mut self) -> Value {
        present(self.request::<T>())
    }

    /// The members of a struct, as query parameters.
    pub(super) fn query<T: JsonSchema>(&mut self) -> Vec<Value> {
        let schema: Schema = T::json_schema(&mut self.requests);
        let schema: Value = schema.into();
        let required = list(&schema["required"]);
        let members = schema["properties"].as_object().cloned().unwrap_or_default();
        let parameter = |(name, mut member): (String, Value)| {
            let description = member.as_object_mut().and_then(|member| member.remove("description"));
            let is_required = required.iter().any(|required| *required == name);
            json!({
                "name": name, "in": "query", "required": is_required,
                "description": cleaned(description.as_ref().and_then(Value::as_str).unwrap_or_default()),
                "schema": present(member),
            })
        };
        members.into_iter().map(parameter).collect()
    }

    /// All that were named.
    ///
    /// # Panics
    /// If a type is read in another way than it is written. The document is one and the same at each start, and a
    /// test makes it.
    pub(super) fn into_value(mut self) -> Value {
        let mut all = self.answers.take_definitions(true);
        for schema in all.values_mut() {
            close(schema, false);
        }
        for (name, mut schema) in self.requests.take_definitions(true) {
            close(&mut schema, false);
            let other = all.insert(name.clone(), schema.clone());
            assert!(other.is_none_or(|other| other == schema), "{name} is read otherwise than written");
        }
        for schema in all.values_mut() {
            clean(schema);
        }
        all.insert(RECORD.to_owned(), record());
        all.into()
    }
}

/// The one that is published, instead of one that is derived.
impl JsonSchema for Record {
    fn schema_name() -> Cow<'static, str> {
        RECORD.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::try_from(record()).expect("it is an object")
    }
}

/// The published schema of a record, with its parts named from this document's root.
fn record() -> Value {
    let mut schema = record_schema();
    if let Some(members) = schema.as_object_mut() {
        members.remove("$schema");
        members.remove("$id");
    }
    walk(&mut schema, &mut |members| {
        if let Some(Value::String(target)) = members.get_mut("$ref")
            && let Some(part) = target.strip_prefix("#/")
        {
            *target = format!("#{PLACE}/{RECORD}/{part}");
        }
    });
    schema
}

/// A parameter that is given is not null.
fn present(mut schema: Value) -> Value {
    let Some(members) = schema.as_object_mut() else { return schema };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            members.insert("type".to_owned(), one);
        }
    }
    if members.get("default").is_some_and(Value::is_null) {
        members.remove("default");
    }
    let mut choices = members.remove("anyOf").map(|choices| list(&choices)).unwrap_or_default();
    choices.retain(|choice| choice["type"] != "null");
    match choices.as_slice() {
        [] => {}
        [one] => {
            if let Some(one) = one.as_object() {
                members.extend(one.clone());
            }
        }
        _ => {
            members.insert("anyOf".to_owned(), choices.into());
        }
    }
    schema
}

/// Closes each object whose members are known. Where alternatives add to members, the whole is closed, not its parts.
fn close(schema: &mut Value, is_part: bool) {
    let Some(members) = schema.as_object_mut() else { return };
    let has_members = members.contains_key("properties");
    let mut parts_are_open = is_part;
    let combined = ["allOf", "anyOf", "oneOf"].iter().any(|key| members.contains_key(*key));
    if has_members && combined {
        parts_are_open = true;
        if !is_part {
            members.remove("additionalProperties");
            members.insert("unevaluatedProperties".to_owned(), false.into());
        }
    } else if has_members && !is_part {
        members.entry("additionalProperties").or_insert(Value::Bool(false));
    } else if is_part {
        members.remove("additionalProperties");
    }
    for (key, value) in members.iter_mut() {
        match key.as_str() {
            "allOf" | "anyOf" | "oneOf" => {
                for part in value.as_array_mut().into_iter().flatten() {
                    close(part, parts_are_open);
                }
            }
            "properties" => {
                for part in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
                    close(part, false);
                }
            }
            "items" | "additionalProperties" => close(value, false),
            "prefixItems" => {
                for part in value.as_array_mut().into_iter().flatten() {
                    close(part, false);
                }
            }
            _ => {}
        }
    }
}

/// Descriptions are comments of Rust: without what only rustdoc reads.
fn clean(schema: &mut Value) {
    walk(schema, &mut |members| {
        if let Some(Value::String(text)) = members.get_mut("description") {
            *text = cleaned(text);
        }
    });
}

fn cleaned(text: &str) -> String {
    let mut rest = text.replace("`None`", "null").replace('\n', " ");
    // [`Name`](path) is a link that leads nowhere from here.
    while let Some(at) = rest.find("`](") {
        let Some(end) = rest[at..].find(')') else { break };
        rest.replace_range(at + 1..=at + end, "");
        if let Some(begin) = rest[..at].rfind("[`") {
            rest.remove(begin);
        }
    }
    rest.replace("[`", "`").replace("`]", "`")
}

fn walk(value: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            visit(members);
            for member in members.values_mut() {
                walk(member, visit);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
