//! Checks arguments against a JSON Schema that a guest wrote (a tool that `list-tools` announced).
//!
//! The schema is hostile until it was looked at: nothing is ever fetched, references stay inside it, and the work that
//! it can cause is bounded before it is compiled and again before each check. Typed functions don't
//! need this: their types are checked by the conversion.

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::schema::SCHEMA_BYTES_MAX;
use crate::arguments::{ArgumentError, ArgumentErrors, ErrorCollector, JsonPath, PathStep, describe};
use crate::text;

/// The deepest nesting of a schema, before and after its references are followed.
pub(crate) const SCHEMA_DEPTH_MAX: usize = 64;

/// The most JSON values in a schema once its references are followed.
pub(crate) const SCHEMA_NODES_MAX: usize = 20_000;

/// The most regular expressions in a schema once its references are followed.
pub(crate) const SCHEMA_PATTERNS_MAX: usize = 64;

/// The most memory of one compiled regular expression, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The most steps of one check, as estimated: schema nodes times size of the arguments. Some seconds at the worst.
pub(crate) const CHECK_STEPS_MAX: usize = 50_000_000;

/// Arguments larger than this get only the first error, since the library finds all errors before it gives one.
const ALL_ERRORS_SIZE_MAX: usize = 10_000;

/// A schema that is safe to check with.
#[derive(Debug)]
pub(crate) struct CheckedSchema {
    schema: Value,
    validator: Validator,
    nodes: usize,
}

impl CheckedSchema {
    /// Compiles a schema (JSON Schema 2020-12), once for all checks.
    ///
    /// # Errors
    ///
    /// Fails on a schema that is not an object, that goes beyond one of the bounds above, refers to anything but a
    /// place inside itself by JSON pointer, is recursive, or is not valid. The tool author's fault.
    pub(crate) fn new(schema: &Value) -> Result<Self, ListedSchemaError> {
        if !schema.is_object() {
            return Err(ListedSchemaError::NotAnObject);
        }
        if depth_is_beyond(schema, SCHEMA_DEPTH_MAX) {
            return Err(ListedSchemaError::TooDeep);
        }
        if schema.to_string().len() > SCHEMA_BYTES_MAX {
            return Err(ListedSchemaError::TooLong);
        }
        let mut survey = Survey { root: schema, nodes: 0, patterns: 0, followed: Vec::new() };
        survey.visit(schema, 0)?;
        let nodes = survey.nodes;
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(patterns)
            .build(schema)
            .map_err(|error| ListedSchemaError::Invalid {
                message: text::clean_line(&error.to_string(), 256),
            })?;
        Ok(Self { schema: schema.clone(), validator, nodes })
    }

    /// Checks arguments.
    ///
    /// # Errors
    ///
    /// Fails with up to ten errors, each with its path (large arguments: with the first), or with one if the check
    /// would take more than [`CHECK_STEPS_MAX`]. The caller's fault.
    pub(crate) fn check(&self, arguments: &Value) -> Result<(), ArgumentErrors> {
        let size = size(arguments);
        if size.saturating_mul(self.nodes) > CHECK_STEPS_MAX {
            let expected = "arguments small enough to be checked against this tool's schema";
            return Err(ArgumentError::new(JsonPath::root(), expected, describe(arguments)).into());
        }
        if self.validator.is_valid(arguments) {
            return Ok(());
        }
        if size > ALL_ERRORS_SIZE_MAX {
            let first = self.validator.validate(arguments).err();
            let mut errors = ErrorCollector::default();
            errors.stop_early();
            errors.push(first.map_or_else(|| self.unexplained(arguments), |error| self.error(&error)));
            return errors.finish();
        }
        let mut errors = ErrorCollector::default();
        for error in self.validator.iter_errors(arguments) {
            errors.push(self.error(&error));
        }
        if errors.is_empty() {
            errors.push(self.unexplained(arguments));
        }
        errors.finish()
    }

    /// The answer if the library says "not valid" and then finds no error.
    fn unexplained(&self, arguments: &Value) -> ArgumentError {
        ArgumentError::new(JsonPath::root(), "arguments that fit the schema", describe(arguments))
    }

    fn error(&self, error: &ValidationError<'_>) -> ArgumentError {
        let place = error.instance_path();
        if let ValidationErrorKind::Required { property } = error.kind() {
            let path = path(place, property.as_str());
            return ArgumentError::new(path, "a value, which is required", "nothing".to_owned());
        }
        if let ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } = error.kind()
        {
            let key = unexpected.first().map(String::as_str);
            let value = key.and_then(|key| error.instance().get(key)).unwrap_or(&Value::Null);
            return ArgumentError::new(path(place, key), "no such key", describe(value));
        }
        // What the library says of a key in an object that may have none. It does not tell which.
        if let ValidationErrorKind::FalseSchema = error.kind()
            && error.schema_path().as_str().ends_with("/additionalProperties")
        {
            return ArgumentError::new(path(place, None), "no keys", describe(error.instance()));
        }
        // The schema's own words: `maximum 10`, `type "string"`.
        let keyword = error.kind().keyword();
        let rule = self.schema.pointer(error.schema_path().as_str()).unwrap_or(&Value::Null);
        let expected = format!("{keyword} {}", excerpt(rule));
        ArgumentError::new(path(place, None), &expected, describe(error.instance()))
    }
}

/// Why a schema that a guest announced is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListedSchemaError {
    #[error("the schema is not a JSON object")]
    NotAnObject,
    #[error("the schema is longer than {SCHEMA_BYTES_MAX} bytes")]
    TooLong,
    #[error("the schema is nested deeper than {SCHEMA_DEPTH_MAX} levels, references included")]
    TooDeep,
    #[error("the schema has more than {SCHEMA_NODES_MAX} values, references included")]
    TooLarge,
    #[error("the schema has more than {SCHEMA_PATTERNS_MAX} regular expressions, references included")]
    TooManyPatterns,
    /// References are followed inside the schema only; nothing is fetched.
    #[error("the schema refers to {target}: only `#` with a JSON pointer is allowed")]
    Reference {
        /// The reference, cut.
        target: String,
    },
    /// The work that a recursive schema can cause has no bound.
    #[error("the schema refers to itself at {target}: recursive schemas are not served by this host")]
    Recursive {
        /// The reference, cut.
        target: String,
    },
    /// A keyword that would change what references mean.
    #[error("the schema uses {keyword}, which is not served by this host")]
    Keyword {
        /// The keyword.
        keyword: &'static str,
    },
    #[error("the schema is not valid: {message}")]
    Invalid {
        /// The reason, cut.
        message: String,
    },
}

/// The one dialect that is served.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords that move or compute references. `$id` is allowed at the root.
const REFUSED_KEYWORDS: [&str; 6] =
    ["$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor", "$anchor", "$vocabulary"];

/// Counts a schema with its references followed. It takes each object for a schema, also where it is
/// data (`const`, `default`): that refuses a little more and misses nothing.
struct Survey<'a> {
    root: &'a Value,
    nodes: usize,
    patterns: usize,
    followed: Vec<&'a str>,
}

impl<'a> Survey<'a> {
    fn visit(&mut self, value: &'a Value, depth: usize) -> Result<(), ListedSchemaError> {
        self.nodes += 1;
        if self.nodes > SCHEMA_NODES_MAX {
            return Err(ListedSchemaError::TooLarge);
        }
        if depth > SCHEMA_DEPTH_MAX {
            return Err(ListedSchemaError::TooDeep);
        }
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    self.keyword(key, value, depth)?;
                    self.visit(value, depth + 1)?;
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.visit(item, depth + 1)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(())
    }

    fn keyword(&mut self, key: &str, value: &'a Value, depth: usize) -> Result<(), ListedSchemaError> {
        // A property may have the name of a keyword; then its value is a schema, not a text.
        let text = value.as_str();
        if let (Some(keyword), Some(_)) = (REFUSED_KEYWORDS.into_iter().find(|refused| *refused == key), text)
        {
            return Err(ListedSchemaError::Keyword { keyword });
        }
        match (key, text) {
            ("$id", Some(_)) if depth > 0 => {
                Err(ListedSchemaError::Keyword { keyword: "$id below the root" })
            }
            ("$schema", Some(dialect)) if dialect.trim_end_matches('#') != DIALECT => {
                Err(ListedSchemaError::Keyword { keyword: "another $schema" })
            }
            ("$ref", Some(target)) => self.follow(target, depth),
            ("pattern", Some(_)) => self.count_patterns(1),
            ("patternProperties", None) => {
                self.count_patterns(value.as_object().map_or(0, serde_json::Map::len))
            }
            _ => Ok(()),
        }
    }

    fn count_patterns(&mut self, more: usize) -> Result<(), ListedSchemaError> {
        self.patterns = self.patterns.saturating_add(more);
        if self.patterns > SCHEMA_PATTERNS_MAX { Err(ListedSchemaError::TooManyPatterns) } else { Ok(()) }
    }

    fn follow(&mut self, target: &'a str, depth: usize) -> Result<(), ListedSchemaError> {
        let shown = || text::clean_line(target, 128);
        // Percent-encoding in the fragment would need a second reader of pointers: refused.
        let pointer = target.strip_prefix('#').filter(|pointer| !pointer.contains('%'));
        let place = pointer.and_then(|pointer| self.root.pointer(pointer));
        let Some(place) = place else {
            return Err(ListedSchemaError::Reference { target: shown() });
        };
        if self.followed.contains(&target) {
            return Err(ListedSchemaError::Recursive { target: shown() });
        }
        self.followed.push(target);
        self.visit(place, depth + 1)?;
        self.followed.pop();
        Ok(())
    }
}

/// Whether a value is nested deeper than `max`, found without recursion: a guest's JSON may be deep.
fn depth_is_beyond(value: &Value, max: usize) -> bool {
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        if depth > max {
            return true;
        }
        match value {
            Value::Object(map) => open.extend(map.values().map(|value| (value, depth + 1))),
            Value::Array(items) => open.extend(items.iter().map(|value| (value, depth + 1))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    false
}

/// The size of arguments for the estimate: one for each value, one for every 16 bytes of text.
fn size(value: &Value) -> usize {
    let mut size = 0_usize;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        size += 1;
        match value {
            Value::Object(map) => {
                size += map.keys().map(|key| key.len() / 16).sum::<usize>();
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            Value::String(string) => size += string.len() / 16,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    size
}

/// The path of a place, and of a key below it.
fn path(place: &Location, key: Option<&str>) -> JsonPath {
    let segments: Vec<LocationSegment<'_>> = place.into_iter().collect();
    let steps = segments.iter().map(|segment| match segment {
        LocationSegment::Property(key) => PathStep::Key(key),
        LocationSegment::Index(index) => PathStep::Index(*index),
    });
    JsonPath::from_steps(steps.chain(key.map(PathStep::Key)))
}

/// The start of a value as JSON. Schemas are short (64 KiB), so writing it whole first is bounded.
fn excerpt(value: &Value) -> String {
    text::clean_line(&value.to_string(), 200)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refused(schema: &Value) -> ListedSchemaError {
        CheckedSchema::new(schema).expect_err("the schema is refused")
    }

    fn errors(schema: &Value, arguments: &Value) -> Vec<String> {
        let schema = CheckedSchema::new(schema).expect("the schema is fine");
        match schema.check(arguments) {
            Ok(()) => Vec::new(),
            Err(errors) => errors.errors().iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_key_of_an_object_that_may_have_none_is_refused_in_plain_words() {
        let schema = json!({"type": "object", "additionalProperties": false});
        assert_eq!(errors(&schema, &json!({})), [""; 0]);
        assert_eq!(errors(&schema, &json!({"a": 1})), ["$: expected no keys, found the number 1"]);
    }

    #[test]
    fn errors_carry_paths_and_the_rule() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "path": {"type": "string", "pattern": "^[a-z/]+$", "maxLength": 20},
                "depth": {"$ref": "#/$defs/small"},
                "kinds": {"type": "array", "items": {"enum": ["file", "folder"]}},
            },
            "required": ["path"],
            "additionalProperties": false,
            "$defs": {"small": {"type": "integer", "maximum": 10}},
        });
        assert_eq!(errors(&schema, &json!({"path": "a/b", "depth": 3, "kinds": ["file"]})), [""; 0]);
        let wrong = json!({"path": "A B", "depth": 11, "kinds": ["file", "link"], "more \u{1b}[31m": 1});
        let mut found = errors(&schema, &wrong);
        found.sort();
        assert_eq!(
            found,
            [
                r#"$.depth: expected maximum 10, found the number 11"#,
                r#"$.kinds[1]: expected enum ["file","folder"], found the string "link""#,
                r#"$.path: expected pattern "^[a-z/]+$", found the string "A B""#,
                r#"$["more \u001b[31m"]: expected no such key, found the number 1"#,
            ]
        );
        assert_eq!(
            errors(&schema, &json!({})),
            ["$.path: expected a value, which is required, found nothing"]
        );
        assert_eq!(errors(&schema, &json!([1])), ["$: expected type \"object\", found an array of 1"]);
    }

    /// Threat 82: nothing is fetched.
    #[test]
    fn references_stay_inside() {
        for target in [
            "http://127.0.0.1:1/x",
            "file:///etc/passwd",
            "other.json",
            "#anchor",
            "#/missing",
            "#/a%2fb",
            "",
        ] {
            for schema in
                [json!({"$ref": target}), json!({"properties": {"default": {"items": {"$ref": target}}}})]
            {
                assert!(matches!(refused(&schema), ListedSchemaError::Reference { .. }), "{schema}");
            }
        }
        for dialect in ["http://127.0.0.1:1/meta", "http://json-schema.org/draft-07/schema#"] {
            assert_eq!(
                refused(&json!({"$schema": dialect})),
                ListedSchemaError::Keyword { keyword: "another $schema" }
            );
        }
        assert!(matches!(refused(&json!({"$dynamicRef": "#x"})), ListedSchemaError::Keyword { .. }));
        let moved = json!({"properties": {"a": {"$id": "http://127.0.0.1:1/x", "$ref": "#/b"}}});
        assert!(matches!(refused(&moved), ListedSchemaError::Keyword { .. }));
        // A property of that name is no reference.
        assert!(
            CheckedSchema::new(
                &json!({"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}})
            )
            .is_ok()
        );
    }

    /// Threat 82: schemas that would take for ever, or the stack.
    #[test]
    fn bombs_are_refused_in_time() {
        let started = Instant::now();
        assert!(matches!(refused(&json!({"$ref": "#"})), ListedSchemaError::Recursive { .. }));
        assert!(matches!(refused(&json!({"allOf": [{"$ref": "#"}]})), ListedSchemaError::Recursive { .. }));
        let tree = json!({"properties": {"left": {"$ref": "#"}}});
        assert!(matches!(refused(&tree), ListedSchemaError::Recursive { .. }));

        let mut defs = json!({"d0": {"type": "string"}});
        for level in 1..30 {
            let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
            defs[format!("d{level}")] = json!({"anyOf": [below, below]});
        }
        let doubling = json!({"$defs": defs, "properties": {"a": {"$ref": "#/$defs/d29"}}});
        // Whichever bound is met first.
        assert!(matches!(refused(&doubling), ListedSchemaError::TooLarge | ListedSchemaError::TooDeep));

        let mut chain = json!({"d0": {"type": "string"}});
        for level in 1..1_000 {
            chain[format!("d{level}")] = json!({"$ref": format!("#/$defs/d{}", level - 1)});
        }
        assert_eq!(refused(&json!({"$defs": chain})), ListedSchemaError::TooDeep);

        let mut deep = json!(true);
        for _ in 0..SCHEMA_DEPTH_MAX / 2 {
            deep = json!({"items": {"not": deep}});
        }
        assert!(CheckedSchema::new(&deep).is_ok());
        assert_eq!(refused(&json!({"not": deep})), ListedSchemaError::TooDeep);
        assert_eq!(
            refused(&json!({"description": "x".repeat(SCHEMA_BYTES_MAX)})),
            ListedSchemaError::TooLong
        );
        assert_eq!(refused(&json!(true)), ListedSchemaError::NotAnObject);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn regular_expressions_are_bounded_and_linear() {
        let pattern = |pattern: &str| json!({"properties": {"a": {"type": "string", "pattern": pattern}}});
        let started = Instant::now();
        for refused_pattern in ["(", "(?=a)b", "((a{1000}){1000}){1000}"] {
            assert!(
                matches!(refused(&pattern(refused_pattern)), ListedSchemaError::Invalid { .. }),
                "{refused_pattern}"
            );
        }
        let many: serde_json::Map<_, _> =
            (0..=SCHEMA_PATTERNS_MAX).map(|at| (format!("^p{at}$"), json!({}))).collect();
        assert_eq!(refused(&json!({"patternProperties": many})), ListedSchemaError::TooManyPatterns);
        // Exponential for an engine that backtracks.
        let evil = json!({"a": "a".repeat(100_000) + "!"});
        assert_eq!(errors(&pattern("^(a+)+$"), &evil).len(), 1);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_check_is_bounded() {
        let all: Vec<Value> = (0..2_000).map(|at| json!({"items": {"maximum": at}})).collect();
        let schema = json!({"properties": {"a": {"allOf": all}}});
        let wide = json!({"a": vec![1; 400_000]});
        let started = Instant::now();
        let found = errors(&schema, &wide);
        assert!(found.len() == 1 && found[0].contains("small enough"), "{found:?}");
        let plain = json!({"properties": {"a": {"items": {"type": "string"}}}});
        let found =
            CheckedSchema::new(&plain).expect("fine").check(&wide).expect_err("numbers are no strings");
        assert_eq!((found.errors().len(), found.more()), (1, true));
        let few =
            CheckedSchema::new(&plain).expect("fine").check(&json!({"a": vec![1; 100]})).expect_err("wrong");
        assert_eq!((few.errors().len(), few.more()), (10, true));
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    /// A value of a schema or of arguments, with a liking for what hurts.
    fn value() -> impl Strategy<Value = Value> {
        let odd = vec![
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(1),
            json!(0.5),
            json!(1e308),
            json!(-1e308),
            json!(5e-324),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e19),
            json!(""),
            json!("a"),
            json!("^"),
            json!("[a"),
            json!("\\p{L}+"),
            json!("object"),
            json!("array"),
            json!("integer"),
            json!("#"),
            json!("#/$defs/a"),
            json!("base64"),
            json!("date"),
        ];
        let keys = vec![
            "type",
            "properties",
            "items",
            "prefixItems",
            "required",
            "enum",
            "const",
            "anyOf",
            "oneOf",
            "allOf",
            "not",
            "if",
            "then",
            "else",
            "pattern",
            "patternProperties",
            "propertyNames",
            "additionalProperties",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "uniqueItems",
            "contains",
            "minContains",
            "maxContains",
            "dependentRequired",
            "dependentSchemas",
            "unevaluatedItems",
            "unevaluatedProperties",
            "contentEncoding",
            "contentMediaType",
            "contentSchema",
            "format",
            "$defs",
            "$ref",
            "$comment",
            "$id",
            "$schema",
            "a",
            "b",
        ];
        let odd = proptest::sample::select(odd);
        odd.prop_recursive(4, 40, 5, move |inner| {
            let entries = prop::collection::btree_map(proptest::sample::select(keys.clone()), inner.clone(), 0..5);
            prop_oneof![
                1 => prop::collection::vec(inner, 0..4).prop_map(Value::from),
                3 => entries.prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        /// Whatever a guest announces and an agent sends, there is an answer.
        #[test]
        fn no_schema_and_no_arguments_panic(schema in value(), arguments in value()) {
            if let Ok(schema) = CheckedSchema::new(&schema)
                && let Err(errors) = schema.check(&arguments)
            {
                prop_assert!(!errors.errors().is_empty() && errors.to_string().len() < 8_000);
            }
        }
    }
}
