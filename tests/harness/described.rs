//! Holds what a host answered against the description of its API, which it serves as `GET /v1/openapi.json` and
//! publishes as `docs/openapi.json`: status, media type, headers and body.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

/// The published description.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON"))
}

/// An operation of the description.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) value: &'static Value,
}

/// All of them.
pub(crate) fn operations() -> Vec<Operation> {
    let paths = document()["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&'static String, &'static Value)| {
        let methods = item.as_object().expect("methods");
        methods.iter().map(move |(method, value)| Operation { method, path, value })
    };
    paths.iter().flat_map(of_path).collect()
}

impl Operation {
    /// The roles that may use it; none: whoever asks.
    pub(crate) fn roles(&self) -> Vec<&'static str> {
        let roles = self.value["x-roles"].as_array().expect("roles");
        roles.iter().map(|role| role.as_str().expect("a name")).collect()
    }

    /// Its parameters that are in `place`.
    pub(crate) fn parameters(&self, place: &str) -> Vec<&'static Value> {
        let parameters = self.value["parameters"].as_array().expect("parameters");
        parameters.iter().filter(|parameter| parameter["in"] == place).collect()
    }

    /// What it is described to answer with a status.
    pub(crate) fn answer(&self, status: u16) -> Option<&'static Value> {
        let answer = self.value["responses"].get(status.to_string())?;
        match answer.get("$ref").and_then(Value::as_str) {
            Some(target) => document().pointer(target.strip_prefix('#')?),
            None => Some(answer),
        }
    }

    fn is_of(&self, method: &str, path: &str) -> bool {
        let fits = |(own, given): (&str, &str)| own.starts_with('{') || own == given;
        self.method.eq_ignore_ascii_case(method)
            && self.path.split('/').count() == path.split('/').count()
            && self.path.split('/').zip(path.split('/')).all(fits)
    }
}

/// The operation of a request; a path that has a name of its own comes before one with a parameter there.
fn operation(method: &str, target: &str) -> Option<Operation> {
    let path = target.split('?').next().unwrap_or_default();
    let method = if method == "HEAD" { "get" } else { method };
    let mut found: Vec<Operation> =
        operations().into_iter().filter(|operation| operation.is_of(method, path)).collect();
    found.sort_by_key(|operation| operation.path.matches('{').count());
    found.into_iter().next()
}

/// Holds an answer against what is described for its request. What is no route, and what no handler saw (405, 404 of
/// unknown paths), is a problem document.
#[track_caller]
pub(crate) fn hold(method: &str, target: &str, answer: &super::client::Answer) {
    let path = target.split('?').next().unwrap_or_default();
    if !(path.starts_with("/v1/") || ["/healthz", "/readyz", "/metrics"].contains(&path)) {
        return;
    }
    let what = format!("{method} {path}: {}", answer.status);
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    let media_type = answer.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default();
    let Some(operation) = operation(method, target) else {
        assert_eq!(media_type, "application/problem+json", "{what}");
        return is_as_described(&what, &problem, &answer.body);
    };
    let described = operation.answer(answer.status);
    let described = described.unwrap_or_else(|| panic!("{what} is not described: {answer:?}"));
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        let found = answer.header(&name.to_ascii_lowercase());
        if header["required"] == true {
            let found = found.unwrap_or_else(|| panic!("{what} has no {name}"));
            is_as_described(&what, &header["schema"], Value::from(found).to_string().as_bytes());
        }
    }
    let contents = &described["content"];
    let content = contents.get(media_type);
    let content = content.unwrap_or_else(|| panic!("{what} is {media_type:?}, described is {contents}"));
    if method == "HEAD" {
        return;
    }
    if let Some(schemas) = content.get("x-event-schemas") {
        return events_are_as_described(&what, schemas, &answer.body);
    }
    if let Some(schema) = content.get("schema") {
        is_as_described(&what, schema, &answer.body);
    }
    if let Some(schema) = content.get("x-item-schema") {
        for line in answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            is_as_described(&what, schema, line);
        }
    }
}

/// Server-sent events: each has a name that is described, and data as that says.
#[track_caller]
fn events_are_as_described(what: &str, schemas: &Value, body: &[u8]) {
    let text = std::str::from_utf8(body).expect("UTF-8");
    for event in text.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':')) {
        let parts = event.strip_prefix("event: ").and_then(|event| event.split_once("\ndata: "));
        let (name, data) = parts.unwrap_or_else(|| panic!("{what}: {event:?} is no event"));
        let schema = schemas.get(name).unwrap_or_else(|| panic!("{what}: {name} is not described"));
        is_as_described(what, schema, data.as_bytes());
    }
}

/// Validators are made once for each schema.
#[track_caller]
fn is_as_described(what: &str, schema: &Value, body: &[u8]) {
    static VALIDATORS: OnceLock<Mutex<HashMap<String, &'static Validator>>> = OnceLock::new();
    let body: Value = serde_json::from_slice(body)
        .unwrap_or_else(|error| panic!("{what}: {error}: {}", String::from_utf8_lossy(body)));
    let mut validators =
        VALIDATORS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let validator: &'static Validator = validators.entry(schema.to_string()).or_insert_with(|| {
        let mut whole = schema.clone();
        whole["components"] = document()["components"].clone();
        Box::leak(Box::new(jsonschema::draft202012::new(&whole).expect("a schema")))
    });
    drop(validators);
    let errors: Vec<String> =
        validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what} is not as docs/openapi.json says: {errors:?}\n{body}");
}
