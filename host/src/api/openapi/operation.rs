//! One operation after the other, said in a sentence each.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use crate::api::access::Endpoint;
use crate::api::problem::ErrorKind;
use crate::api::{BYTES_HEADER, messages};
use crate::policy::Role;

/// What each operation can end with: its path or query is not what it should be, it was meant for another host (Host,
/// Origin), or the host fails.
const ALWAYS: &[ErrorKind] = &[ErrorKind::BadInput, ErrorKind::Forbidden, ErrorKind::HostFault];
/// What one that needs a credential can: none, another role, too often, or a token whose issuer can't be reached.
const WITH_KEY: &[ErrorKind] = &[ErrorKind::Unauthenticated, ErrorKind::TooManyRequests, ErrorKind::Busy];
/// What one with a body can.
const WITH_BODY: &[ErrorKind] = &[ErrorKind::TooLarge, ErrorKind::TooSlow];
/// What one that changes the host can.
const CHANGING: &[ErrorKind] =
    &[ErrorKind::Conflict, ErrorKind::Busy, ErrorKind::LogUnavailable, ErrorKind::DiskLow];

/// The operations that were described so far, and the schemas that they name.
#[derive(Debug, Default)]
pub(in crate::api) struct Described {
    operations: Vec<Operation>,
    schemas: Schemas,
}

/// An operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    own: Option<Role>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Answer>,
    fails: BTreeSet<(u16, &'static str)>,
}

#[derive(Clone, Debug)]
struct Answer {
    description: String,
    content: Option<Value>,
    headers: Map<String, Value>,
}

/// An operation that is being described.
#[derive(Debug)]
pub(in crate::api) struct Describing<'a> {
    schemas: &'a mut Schemas,
    operation: &'a mut Operation,
}

impl Described {
    pub(in crate::api) fn get(
        &mut self,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Describing<'_> {
        self.begin(Method::GET, path, id, summary)
    }

    pub(in crate::api) fn post(
        &mut self,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Describing<'_> {
        self.begin(Method::POST, path, id, summary)
    }

    pub(in crate::api) fn put(
        &mut self,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Describing<'_> {
        self.begin(Method::PUT, path, id, summary)
    }

    pub(in crate::api) fn patch(
        &mut self,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Describing<'_> {
        self.begin(Method::PATCH, path, id, summary)
    }

    pub(in crate::api) fn delete(
        &mut self,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Describing<'_> {
        self.begin(Method::DELETE, path, id, summary)
    }

    fn begin(
        &mut self,
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Describing<'_> {
        self.operations.push(Operation {
            method,
            path,
            id,
            summary,
            own: None,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            fails: BTreeSet::new(),
        });
        let operation = self.operations.last_mut().expect("it was pushed");
        Describing { schemas: &mut self.schemas, operation }.fails(ALWAYS)
    }

    /// The schema of a type that is given, for one that is written by hand.
    pub(in crate::api) fn schema<T: JsonSchema>(&mut self) -> Value {
        self.schemas.answer::<T>()
    }

    /// The operations, and the schemas that they name.
    pub(super) fn into_parts(self) -> (Vec<Operation>, Value) {
        let Self { operations, mut schemas } = self;
        // Every operation may end with one.
        schemas.answer::<crate::api::Problem>();
        (operations, schemas.into_value())
    }
}

impl Describing<'_> {
    /// A part of the path, with an example.
    pub(in crate::api) fn path<T: JsonSchema>(self, name: &str, description: &str, example: Value) -> Self {
        let schema = self.schemas.parameter::<T>();
        self.operation.parameters.push(json!({
            "name": name, "in": "path", "required": true, "description": description,
            "schema": schema, "example": example,
        }));
        self
    }

    /// The members of a struct are query parameters.
    pub(in crate::api) fn query<T: JsonSchema>(self) -> Self {
        self.operation.parameters.extend(self.schemas.query::<T>());
        self
    }

    /// A header that may be given.
    pub(in crate::api) fn header<T: JsonSchema>(self, name: &str, description: &str) -> Self {
        let schema = self.schemas.parameter::<T>();
        self.operation.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": schema,
        }));
        self
    }

    /// The body is JSON, with an example.
    pub(in crate::api) fn body<T: JsonSchema>(self, example: Value) -> Self {
        let schema = self.schemas.request::<T>();
        self.json_body(schema, example, true)
    }

    /// The same, and it may be left out.
    pub(in crate::api) fn maybe_body<T: JsonSchema>(self, example: Value) -> Self {
        let schema = self.schemas.request::<T>();
        self.json_body(schema, example, false)
    }

    /// A body that is JSON, of which a schema is known.
    pub(in crate::api) fn json_body(self, schema: Value, example: Value, required: bool) -> Self {
        let content = json!({"application/json": {"schema": schema, "example": example}});
        self.operation.body = Some(json!({"required": required, "content": content}));
        self.fails(WITH_BODY).fails(&[ErrorKind::UnsupportedMediaType])
    }

    /// The body is bytes, of any type.
    pub(in crate::api) fn bytes_body(self, media_type: &str, description: &str) -> Self {
        let content = json!({media_type: {"schema": {"type": "string", "format": "binary"}}});
        self.operation.body = Some(json!({"required": true, "description": description, "content": content}));
        self.fails(WITH_BODY)
    }

    /// It changes the host.
    pub(in crate::api) fn changes(self) -> Self {
        self.fails(CHANGING)
    }

    /// A role reaches its own objects only.
    pub(in crate::api) fn own(self, role: Role) -> Self {
        self.operation.own = Some(role);
        self.fails(&[ErrorKind::NotFound])
    }

    /// What else can go wrong.
    pub(in crate::api) fn fails(self, kinds: &[ErrorKind]) -> Self {
        self.operation.fails.extend(kinds.iter().map(|kind| (kind.status().as_u16(), kind.type_uri())));
        self
    }

    /// It answers 200 with JSON.
    pub(in crate::api) fn answers<T: JsonSchema>(self, description: &str) -> Self {
        let schema = self.schemas.answer::<T>();
        self.gives(StatusCode::OK, "application/json", schema, description)
    }

    /// It answers with JSON, and another status.
    pub(in crate::api) fn answers_with<T: JsonSchema>(self, status: StatusCode, description: &str) -> Self {
        let schema = self.schemas.answer::<T>();
        self.gives(status, "application/json", schema, description)
    }

    /// It answers 200 with lines of JSON.
    pub(in crate::api) fn lines<T: JsonSchema>(self, description: &str) -> Self {
        let schema = self.schemas.answer::<T>();
        self.lines_of(schema, description)
    }

    /// It answers 200 with lines of JSON, of which a schema is known.
    pub(in crate::api) fn lines_of(self, schema: Value, description: &str) -> Self {
        self.content(StatusCode::OK, "application/jsonl", json!({"x-item-schema": schema}), description)
    }

    /// It answers 200 with server-sent events; each name has a schema of its data.
    pub(in crate::api) fn events(self, schemas: Value, description: &str) -> Self {
        let content = json!({"schema": {"type": "string"}, "x-event-schemas": schemas});
        self.content(StatusCode::OK, "text/event-stream", content, description)
    }

    /// It answers 200 with what is no JSON.
    pub(in crate::api) fn bytes(self, media_type: &str, description: &str) -> Self {
        self.content(StatusCode::OK, media_type, json!({}), description)
    }

    /// It answers with a status, and a schema that is known.
    pub(in crate::api) fn gives(
        self,
        status: StatusCode,
        media_type: &str,
        schema: Value,
        description: &str,
    ) -> Self {
        self.content(status, media_type, json!({"schema": schema}), description)
    }

    /// The answer with a status has an example.
    pub(in crate::api) fn example(self, example: Value) -> Self {
        let answers = self.operation.answers.values_mut();
        let contents = answers.filter_map(|answer| answer.content.as_mut()?.get_mut("application/json"));
        for content in contents.take(1) {
            content["example"] = example.clone();
        }
        self
    }

    /// The answer has this header, always.
    pub(in crate::api) fn with_header(self, name: &str, description: &str, schema: Value) -> Self {
        let header = json!({"description": description, "required": true, "schema": schema});
        for answer in self.operation.answers.values_mut() {
            answer.headers.insert(name.to_owned(), header.clone());
        }
        self
    }

    /// The answer has this header, sometimes.
    pub(in crate::api) fn with_optional_header(self, name: &str, description: &str) -> Self {
        let header = json!({"description": description, "schema": {"type": "string"}});
        for answer in self.operation.answers.values_mut() {
            answer.headers.insert(name.to_owned(), header.clone());
        }
        self
    }

    /// About how many bytes come.
    pub(in crate::api) fn with_length(self) -> Self {
        let schema = json!({"type": "string", "pattern": "^[0-9]+$"});
        self.with_header(BYTES_HEADER, "About how many bytes come.", schema)
    }

    /// The end of the sentence.
    pub(in crate::api) fn done(self) {}

    /// Several media types may be given for one status: which, depends on what was asked.
    fn content(self, status: StatusCode, media_type: &str, content: Value, description: &str) -> Self {
        let answer = self.operation.answers.entry(status.as_u16()).or_insert_with(|| Answer {
            description: String::new(),
            content: None,
            headers: Map::new(),
        });
        if !answer.description.is_empty() {
            answer.description.push(' ');
        }
        answer.description.push_str(description);
        answer.content.get_or_insert_with(|| json!({}))[media_type] = content;
        self
    }
}

impl Operation {
    pub(super) fn is_of(&self, endpoint: &Endpoint) -> bool {
        (&self.method, self.path) == (&endpoint.method, endpoint.path)
    }

    #[cfg(test)]
    pub(super) fn place(&self) -> (Method, &'static str) {
        (self.method.clone(), self.path)
    }

    /// As the document has it; answers that others share go into `shared`, by name.
    pub(super) fn to_value(&self, endpoint: &Endpoint, shared: &mut Map<String, Value>) -> Value {
        let mut answers = self.answers.clone();
        let mut responses = Map::new();
        for (status, problem) in self.problems(endpoint) {
            match answers.entry(status) {
                Entry::Vacant(_) => {
                    let name = format!("{status}-{}", problem.description.replace(", or ", "-"));
                    responses.insert(
                        status.to_string(),
                        json!({"$ref": format!("#/components/responses/{name}")}),
                    );
                    shared.entry(name).or_insert_with(|| problem.to_value());
                }
                Entry::Occupied(mut entry) => entry.get_mut().or(problem),
            }
        }
        responses.extend(answers.iter().map(|(status, answer)| (status.to_string(), answer.to_value())));
        let roles: Vec<&str> = endpoint.roles.iter().map(|role| role.name()).collect();
        let mut value = json!({
            "operationId": self.id,
            "summary": self.summary,
            "tags": [self.tag()],
            "x-roles": roles,
            "parameters": self.parameters,
            "responses": responses,
        });
        if endpoint.roles.is_empty() {
            value["security"] = json!([]);
        }
        if let Some(own) = self.own {
            value["x-own"] = json!([own.name()]);
        }
        if let Some(body) = &self.body {
            value["requestBody"] = body.clone();
        }
        value
    }

    /// What the operation is about: the first word of its path.
    fn tag(&self) -> &'static str {
        let path = self.path.strip_prefix("/v1").unwrap_or(self.path);
        let word = path.split('/').nth(1).unwrap_or_default();
        word.split('.').next().unwrap_or_default()
    }

    /// One answer for each status, with the types that it may be of.
    fn problems(&self, endpoint: &Endpoint) -> Vec<(u16, Answer)> {
        let mut fails = self.fails.clone();
        if !endpoint.roles.is_empty() {
            fails.extend(WITH_KEY.iter().map(|kind| (kind.status().as_u16(), kind.type_uri())));
        }
        let mut types: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for (status, uri) in fails {
            types.entry(status).or_default().push(uri);
        }
        let problem = |(status, types): (u16, Vec<&str>)| {
            let schema = json!({
                "$ref": "#/components/schemas/Problem",
                "properties": {"type": {"enum": types}, "status": {"const": status}},
            });
            let words: Vec<&str> = types.iter().filter_map(|uri| uri.rsplit(':').next()).collect();
            let mut answer = Answer {
                description: words.join(", or "),
                content: Some(json!({"application/problem+json": {"schema": schema}})),
                headers: Map::new(),
            };
            let header =
                |text: &str, schema: Value| json!({"description": text, "required": true, "schema": schema});
            match status {
                401 => {
                    let value = header("What to send (RFC 6750, 3).", json!({"type": "string"}));
                    answer.headers.insert("WWW-Authenticate".to_owned(), value);
                }
                429 => {
                    let seconds = json!({"type": "string", "pattern": "^[0-9]+$"});
                    answer.headers.insert("Retry-After".to_owned(), header("Seconds.", seconds));
                }
                _ => {}
            }
            (status, answer)
        };
        types.into_iter().map(problem).collect()
    }
}

impl Answer {
    /// One status, answered in either of two forms.
    fn or(&mut self, other: Answer) {
        self.description = format!("{} Or {}", self.description, other.description);
        if let (Some(Value::Object(own)), Some(Value::Object(other))) = (&mut self.content, other.content) {
            own.extend(other);
        }
        self.headers.extend(other.headers);
    }

    fn to_value(&self) -> Value {
        let mut headers = self.headers.clone();
        headers.insert(messages::FROZEN_HEADER.to_owned(), json!({"$ref": "#/components/headers/Frozen"}));
        let mut value = json!({"description": self.description});
        if let Some(content) = &self.content {
            value["content"] = content.clone();
        }
        value["headers"] = headers.into();
        value
    }
}
