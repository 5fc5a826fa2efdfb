use std::collections::BTreeSet;
use std::path::Path;

use super::operation::Operation;
use super::*;
use crate::api::problem::ErrorKind;

/// Each place below a value where there is an object.
fn objects<'a>(value: &'a Value, found: &mut Vec<&'a Map<String, Value>>) {
    match value {
        Value::Object(members) => {
            found.push(members);
            members.values().for_each(|member| objects(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| objects(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("an item");
            methods.iter().map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

/// A schema with what it names.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    jsonschema::draft202012::new(&whole).expect("a schema")
}

#[test]
fn each_route_of_the_table_is_described_once_and_nothing_else_is() {
    let document = document();
    let described: Vec<(String, String)> = operations(&document)
        .into_iter()
        .map(|(path, method, _)| (path.to_owned(), method.to_ascii_uppercase()))
        .collect();
    let table: Vec<(String, String)> = ENDPOINTS
        .iter()
        .map(|endpoint| (endpoint.path.to_owned(), endpoint.method.as_str().to_owned()))
        .collect();
    let sorted = |list: &[(String, String)]| list.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(sorted(&described), sorted(&table));
    assert_eq!(described.len(), table.len());
    // What is described beside the table is in no path of the document.
    let every = super::described();
    let places: Vec<_> = every.into_parts().0.iter().map(Operation::place).collect();
    let unique: BTreeSet<_> = places.iter().map(|(method, path)| (path, method.as_str())).collect();
    assert_eq!((places.len(), unique.len()), (table.len(), table.len()));
    let ids: BTreeSet<&str> = operations(&document)
        .iter()
        .filter_map(|(.., operation)| operation["operationId"].as_str())
        .collect();
    assert_eq!(ids.len(), table.len());
}

#[test]
fn each_parameter_of_a_path_is_described_and_no_other() {
    let document = document();
    for (path, method, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().expect("a list");
        let described: Vec<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        assert_eq!(described, parts.collect::<Vec<_>>(), "{method} {path}");
    }
}

#[test]
fn each_reference_leads_somewhere_and_each_schema_is_named() {
    let document = document();
    let mut found = Vec::new();
    objects(&document, &mut found);
    let mut named = BTreeSet::new();
    for target in found.iter().filter_map(|members| members.get("$ref")?.as_str()) {
        let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} is elsewhere"));
        assert!(document.pointer(pointer).is_some(), "{target}");
        named.extend(target.split('/').nth(3));
    }
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (name, schema) in schemas {
        assert!(named.contains(name.as_str()), "nothing names {name}");
        validator(&document, schema);
    }
}

#[test]
fn each_example_is_what_its_schema_says() {
    let document = document();
    let mut found = Vec::new();
    objects(&document["paths"], &mut found);
    let mut count = 0;
    for members in found {
        let (Some(schema), Some(example)) = (members.get("schema"), members.get("example")) else { continue };
        let errors: Vec<String> =
            validator(&document, schema).iter_errors(example).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{example}: {errors:?}");
        count += 1;
    }
    assert!(count >= 30, "{count}");
}

#[test]
fn objects_of_ours_are_closed() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (name, schema) in schemas {
        let closed =
            ["additionalProperties", "unevaluatedProperties"].iter().any(|key| schema.get(key).is_some());
        let has_members = schema.get("properties").is_some();
        assert!(closed || !has_members, "{name} takes any member");
    }
    // One that is not closed would take this.
    let problem = crate::api::Problem::new(ErrorKind::BadInput, "x", crate::gateway::Blame::Agent);
    let mut problem = serde_json::to_value(problem).expect("JSON");
    let schema = validator(&document, &json!({"$ref": "#/components/schemas/Problem"}));
    assert!(schema.is_valid(&problem));
    problem["more"] = json!(1);
    assert!(!schema.is_valid(&problem));
}

/// Descriptions are comments of Rust; what only rustdoc reads is not told.
#[test]
fn descriptions_are_for_readers_of_the_api() {
    let document = document();
    let mut found = Vec::new();
    objects(&document, &mut found);
    let texts = found.iter().filter_map(|members| members.get("description")?.as_str());
    let mut count = 0;
    for text in texts {
        count += 1;
        for rust in ["](", "[`", "crate::", "`None`", "`Some"] {
            assert!(!text.contains(rust), "{text}");
        }
    }
    assert!(count > 300, "{count}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test that reads the documentation")]
fn the_published_description_is_this_one() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let text = std::fs::read_to_string(published).expect("docs/openapi.json");
    let published: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(published, document(), "run `portcullis openapi > docs/openapi.json`");
}
