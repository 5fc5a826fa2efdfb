//! Reads the arguments of a call, which come from outside: JSON text in, one checked JSON object out.
//!
//! The one strict parser, also of other documents that come from outside, and the errors that say where arguments are wrong. It never
//! looks at a tool's schema: `sandbox/convert` does.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::Serialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::text;

/// The longest argument text that is read: 1 MiB.
pub const ARGUMENT_BYTES_MAX: usize = 1 << 20;

/// The most levels of arrays and objects in arguments, the outermost object included. It is the depth at
/// which `serde_json` itself stops, so that neither it nor we can overflow the stack.
pub const ARGUMENT_DEPTH_MAX: usize = 127;

/// The most memory that parsed arguments may take, as estimated: 64 MiB. An object of few entries
/// takes some 80 times its text, so that the bound on the text alone would allow 100 MB.
pub const ARGUMENT_MEMORY_MAX: usize = 64 << 20;

/// The most errors that are collected before the check stops.
pub const ARGUMENT_ERRORS_MAX: usize = 10;

/// The longest path, expectation or excerpt in an error, in bytes.
const EXCERPT_BYTES_MAX: usize = 256;

/// Estimated bytes of a map that is not empty: one node of a B-tree of string keys.
const MAP_BYTES: usize = 640;

/// Parses the arguments of a call.
///
/// # Errors
///
/// Fails, with line and column, on text that is longer than [`ARGUMENT_BYTES_MAX`], is not UTF-8, is not exactly
/// one JSON value (RFC 8259, so no `NaN`, no comments, nothing after it), is nested deeper than
/// [`ARGUMENT_DEPTH_MAX`], has a key twice in one object, a number beyond the range of a double
/// (`1e999`), would take more than [`ARGUMENT_MEMORY_MAX`], or is not an object.
pub fn parse_arguments(text: &[u8]) -> Result<Value, ArgumentTextError> {
    if text.len() > ARGUMENT_BYTES_MAX {
        let fault = ArgumentTextFault::TooLong { bytes: text.len() };
        return Err(ArgumentTextError { line: 1, column: 1, fault });
    }
    let value = parse_json(text)?;
    if value.is_object() {
        return Ok(value);
    }
    let fault = ArgumentTextFault::NotAnObject { found: describe(&value) };
    Err(ArgumentTextError { line: 1, column: 1, fault })
}

/// Parses any document with the same rules, but for its length, which its reader has bounded, and for what it is.
pub(crate) fn parse_json(text: &[u8]) -> Result<Value, ArgumentTextError> {
    let text = std::str::from_utf8(text).map_err(|error| not_utf8(text, error.valid_up_to()))?;
    let state = State { memory: Cell::new(0), fault: RefCell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let root = Seed { path: &PathStack::Root, depth: 0, state: &state };
    let parsed = root.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| {
        let fault = state.fault.into_inner().unwrap_or_else(|| syntax_fault(&error));
        ArgumentTextError { line: error.line(), column: error.column(), fault }
    })
}

/// Why a text is not the arguments of a call, and where. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("line {line}, column {column}: {fault}")]
pub struct ArgumentTextError {
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1; 0 at the start of a line that ended too early.
    pub column: usize,
    /// What is wrong there.
    pub fault: ArgumentTextFault,
}

/// What is wrong with an argument text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ArgumentTextFault {
    /// The text is longer than [`ARGUMENT_BYTES_MAX`].
    #[error("the arguments are {bytes} bytes long, at most {ARGUMENT_BYTES_MAX} are read")]
    TooLong {
        /// The text's length.
        bytes: usize,
    },
    /// The text is not UTF-8.
    #[error("the arguments are not valid UTF-8")]
    NotUtf8,
    /// The text is not JSON.
    #[error("the arguments are not valid JSON: {message}")]
    Syntax {
        /// The parser's reason, without any of the text.
        message: String,
    },
    /// More levels than [`ARGUMENT_DEPTH_MAX`].
    #[error("the arguments are nested deeper than {ARGUMENT_DEPTH_MAX} levels")]
    TooDeep,
    /// The value would take more than [`ARGUMENT_MEMORY_MAX`].
    #[error(
        "the arguments hold too many values: parsed, they would take more than {ARGUMENT_MEMORY_MAX} bytes"
    )]
    TooManyValues,
    /// A key stands twice in one object.
    #[error("{path} is given twice")]
    DuplicateKey {
        /// The path of the key.
        path: JsonPath,
    },
    /// A number is beyond what a double can hold.
    #[error("a number is out of range")]
    NumberOutOfRange,
    /// The arguments are not an object.
    #[error("the arguments must be a JSON object, this is {found}")]
    NotAnObject {
        /// What they are instead.
        found: String,
    },
}

/// A place in a JSON document, such as `$.users[3]["first name"]`: `$` is the whole document.
///
/// The notation of RFC 9535. A long path is cut and marked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct JsonPath(String);

impl JsonPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the whole document.
    pub(crate) fn root() -> Self {
        Self("$".to_owned())
    }

    /// The path that follows `steps` from the root.
    pub(crate) fn from_steps<'a>(steps: impl IntoIterator<Item = PathStep<'a>>) -> Self {
        let mut path = "$".to_owned();
        for step in steps {
            step.write_to(&mut path);
            // What does not fit is not written: a hostile key may be as long as the arguments.
            if path.len() > EXCERPT_BYTES_MAX {
                break;
            }
        }
        Self(text::clean_line(&path, EXCERPT_BYTES_MAX))
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One step of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PathStep<'a> {
    /// Into an object.
    Key(&'a str),
    /// Into an array.
    Index(usize),
}

impl PathStep<'_> {
    fn write_to(self, path: &mut String) {
        match self {
            PathStep::Index(index) => path.push_str(&format!("[{index}]")),
            PathStep::Key(key) if is_plain(key) => {
                path.push('.');
                path.push_str(key);
            }
            PathStep::Key(key) => {
                let shown: String = key.chars().take(EXCERPT_BYTES_MAX).collect();
                path.push_str(&format!("[{}]", Value::String(shown)));
            }
        }
    }
}

/// Whether a key needs no quotes. Names of WIT (`max-size`) need none.
fn is_plain(key: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !key.is_empty()
        && key.len() <= EXCERPT_BYTES_MAX
        && key.chars().all(letters)
        && !key.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

/// The steps from the root to where a walk is: a list on the stack, which costs nothing until an error asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PathStack<'a> {
    /// The whole document.
    Root,
    /// One step below another place.
    Below(&'a PathStack<'a>, PathStep<'a>),
}

impl<'a> PathStack<'a> {
    /// The place one step below.
    pub(crate) fn step(&'a self, step: PathStep<'a>) -> PathStack<'a> {
        PathStack::Below(self, step)
    }

    /// The path as a value of its own.
    pub(crate) fn path(&self) -> JsonPath {
        let mut steps = Vec::new();
        let mut here = *self;
        while let PathStack::Below(parent, step) = here {
            steps.push(step);
            here = *parent;
        }
        JsonPath::from_steps(steps.into_iter().rev())
    }
}

/// One place where arguments do not fit a tool's schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct ArgumentError {
    /// Where.
    pub path: JsonPath,
    /// What the schema asks for.
    pub expected: String,
    /// What is there, cut.
    pub found: String,
}

impl ArgumentError {
    pub(crate) fn new(path: JsonPath, expected: &str, found: String) -> Self {
        Self { path, expected: text::clean_line(expected, EXCERPT_BYTES_MAX), found }
    }
}

/// Why arguments do not fit a tool's schema: one to [`ARGUMENT_ERRORS_MAX`] errors. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArgumentErrors {
    errors: Vec<ArgumentError>,
    more: bool,
}

impl ArgumentErrors {
    /// Each error, in the order of the walk. Never empty.
    pub fn errors(&self) -> &[ArgumentError] {
        &self.errors
    }

    /// Whether the check stopped before the end, so that there may be more errors.
    pub fn more(&self) -> bool {
        self.more
    }
}

impl From<ArgumentError> for ArgumentErrors {
    fn from(error: ArgumentError) -> Self {
        Self { errors: vec![error], more: false }
    }
}

impl fmt::Display for ArgumentErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments do not fit the tool: ")?;
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        if self.more { f.write_str("; and perhaps more") } else { Ok(()) }
    }
}

impl std::error::Error for ArgumentErrors {}

/// Collects errors up to the bound.
#[derive(Debug, Default)]
pub(crate) struct ErrorCollector {
    errors: Vec<ArgumentError>,
    more: bool,
}

impl ErrorCollector {
    /// Notes an error.
    pub(crate) fn push(&mut self, error: ArgumentError) {
        if self.is_full() {
            self.more = true;
        } else {
            self.errors.push(error);
        }
    }

    /// Whether the walk may stop: nothing more would be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= ARGUMENT_ERRORS_MAX
    }

    /// Says that the walk stopped early.
    pub(crate) fn stop_early(&mut self) {
        self.more = true;
    }

    /// Whether no error was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The errors, if there were any.
    ///
    /// # Errors
    ///
    /// Fails with what was noted.
    pub(crate) fn finish(self) -> Result<(), ArgumentErrors> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ArgumentErrors { errors: self.errors, more: self.more })
        }
    }
}

/// Says in a few words what a value is. Cut, and safe to show.
pub(crate) fn describe(value: &Value) -> String {
    const SHOWN: usize = 64;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(string) => {
            // Cleaned before it is quoted: an escape sequence would be lost inside the quotes.
            format!("the string {}", Value::String(text::clean_line(string, SHOWN)))
        }
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(map) => format!("an object with {} keys", map.len()),
    }
}

fn not_utf8(text: &[u8], valid_up_to: usize) -> ArgumentTextError {
    let valid = &text[..valid_up_to];
    let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + valid.iter().rev().take_while(|byte| **byte != b'\n').count();
    ArgumentTextError { line, column, fault: ArgumentTextFault::NotUtf8 }
}

/// The fault behind an error of `serde_json` itself. Its texts are fixed and hold nothing of the input.
fn syntax_fault(error: &serde_json::Error) -> ArgumentTextFault {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or_default();
    match message {
        "recursion limit exceeded" => ArgumentTextFault::TooDeep,
        "number out of range" => ArgumentTextFault::NumberOutOfRange,
        _ => ArgumentTextFault::Syntax { message: message.to_owned() },
    }
}

/// What one parse shares between its levels.
struct State {
    memory: Cell<usize>,
    /// The typed fault, since an error that passes through `serde_json` keeps only its text.
    fault: RefCell<Option<ArgumentTextFault>>,
}

impl State {
    fn fail<E: de::Error>(&self, fault: ArgumentTextFault) -> E {
        let error = E::custom(&fault);
        *self.fault.borrow_mut() = Some(fault);
        error
    }

    fn charge<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        self.memory.set(self.memory.get().saturating_add(bytes));
        if self.memory.get() > ARGUMENT_MEMORY_MAX {
            return Err(self.fail(ArgumentTextFault::TooManyValues));
        }
        Ok(())
    }
}

/// Reads one value at one place.
#[derive(Clone, Copy)]
struct Seed<'a> {
    path: &'a PathStack<'a>,
    depth: usize,
    state: &'a State,
}

impl Seed<'_> {
    /// The depth inside an array or object.
    fn deeper<E: de::Error>(&self) -> Result<usize, E> {
        if self.depth >= ARGUMENT_DEPTH_MAX {
            return Err(self.state.fail(ArgumentTextFault::TooDeep));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.state.charge(size_of::<Value>())?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(self.state.fail(ArgumentTextFault::NumberOutOfRange)),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.state.charge(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut array = Vec::new();
        loop {
            let path = self.path.step(PathStep::Index(array.len()));
            let seed = Seed { path: &path, depth, state: self.state };
            match items.next_element_seed(seed)? {
                Some(item) => array.push(item),
                None => return Ok(Value::Array(array)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = self.path.step(PathStep::Key(&key));
            if map.contains_key(&key) {
                return Err(self.state.fail(ArgumentTextFault::DuplicateKey { path: path.path() }));
            }
            // A node of the tree holds up to eleven entries, and at least five.
            let node = if map.len().is_multiple_of(5) { MAP_BYTES } else { 0 };
            self.state.charge(key.len() + node)?;
            let seed = Seed { path: &path, depth, state: self.state };
            let value = entries.next_value_seed(seed)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fault(text: &str) -> (usize, usize, ArgumentTextFault) {
        let error = parse_arguments(text.as_bytes()).expect_err("the text is wrong");
        (error.line, error.column, error.fault)
    }

    fn syntax(message: &str) -> ArgumentTextFault {
        ArgumentTextFault::Syntax { message: message.to_owned() }
    }

    #[test]
    fn reads_an_object_of_everything() {
        let text = r#" {"a":[1,-2,0.5,-0.0,18446744073709551615,1e3],"b":{"c":null,"d":[true,false]},"":"\u00e9😀"} "#;
        let parsed = parse_arguments(text.as_bytes()).expect("valid");
        assert_eq!(parsed, serde_json::from_str::<Value>(text).expect("valid"));
    }

    /// Threat 77: duplicate keys, NaN and 1e999 are refused, with line and column.
    #[test]
    fn refuses_what_other_parsers_let_through() {
        let duplicate = |path: &str| ArgumentTextFault::DuplicateKey { path: JsonPath(path.to_owned()) };
        assert_eq!(fault("{\"a\":1,\n \"a\":2}"), (2, 4, duplicate("$.a")));
        assert_eq!(fault(r#"{"x":[0,{"a b":1,"a\u0020b":2}]}"#), (1, 27, duplicate(r#"$.x[1]["a b"]"#)));
        assert_eq!(fault(r#"{"a":1e999}"#), (1, 10, ArgumentTextFault::NumberOutOfRange));
        assert_eq!(fault(r#"{"a":-1e999}"#).2, ArgumentTextFault::NumberOutOfRange);
        for text in [
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{"a":1} x"#,
            r#"{"a":1}{}"#,
            r#"{'a':1}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\n\"}",
            "{/**/}",
            "{",
            "",
            "\u{feff}{}",
        ] {
            assert!(matches!(fault(text).2, ArgumentTextFault::Syntax { .. }), "{text}");
        }
        assert_eq!(fault("{\"a\":1}\n]"), (2, 1, syntax("trailing characters")));
    }

    #[test]
    fn refuses_what_is_not_an_object_or_not_utf8() {
        for (text, found) in [("[1,2]", "an array of 2"), ("null", "null"), ("\"x\"", "the string \"x\"")] {
            assert_eq!(fault(text).2, ArgumentTextFault::NotAnObject { found: found.to_owned() });
        }
        let error = parse_arguments(b"{\"a\":\n \"\xff\"}").expect_err("not UTF-8");
        assert_eq!(error, ArgumentTextError { line: 2, column: 3, fault: ArgumentTextFault::NotUtf8 });
    }

    /// Threat 76: depth and length are bounded, and a refusal does not need the stack.
    #[test]
    fn refuses_what_is_too_deep_or_too_long() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(parse_arguments(nested(ARGUMENT_DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(fault(&nested(ARGUMENT_DEPTH_MAX + 1)).2, ArgumentTextFault::TooDeep);
        assert_eq!(fault(&nested(10_000)).2, ArgumentTextFault::TooDeep);
        assert_eq!(fault(&"{\"a\":".repeat(100_000)).2, ArgumentTextFault::TooDeep);
        let long = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        assert!(parse_arguments(long(ARGUMENT_BYTES_MAX).as_bytes()).is_ok());
        let bytes = ARGUMENT_BYTES_MAX + 1;
        assert_eq!(fault(&long(bytes)).2, ArgumentTextFault::TooLong { bytes });
    }

    #[test]
    fn bounds_the_memory_of_many_small_objects_and_allows_a_full_list_of_numbers() {
        let list = |item: &str| format!("{{\"a\":[{}]}}", vec![item; 1_000_000 / (item.len() + 1)].join(","));
        assert!(parse_arguments(list("1").as_bytes()).is_ok());
        assert_eq!(fault(&list("{\"\":0}")).2, ArgumentTextFault::TooManyValues);
    }

    #[test]
    fn writes_paths_and_cuts_them() {
        use PathStep::{Index, Key};
        let path =
            JsonPath::from_steps([Key("max-size"), Index(3), Key("a.b"), Key("\u{1b}[31m\""), Key("0")]);
        assert_eq!(path.as_str(), r#"$.max-size[3]["a.b"]["\u001b[31m\""]["0"]"#);
        let long = "k".repeat(100_000);
        assert!(JsonPath::from_steps([Key(&long), Key(&long)]).as_str().len() <= EXCERPT_BYTES_MAX);
        assert_eq!(PathStack::Root.path(), JsonPath::root());
    }

    #[test]
    fn describes_a_value_within_a_bound() {
        assert_eq!(describe(&json!("a\u{1b}[31m\nb")), "the string \"a b\"");
        assert!(describe(&json!("\"".repeat(1000))).len() < 160);
        assert_eq!(describe(&json!({"a": 1})), "an object with 1 keys");
    }

    proptest! {
        /// Whatever it accepts, `serde_json` reads the same way; it never panics.
        #[test]
        fn agrees_with_the_plain_parser(text in r#"(\{("[ab]":([0-9]{1,3}|"[ab]"|\[1,2\]|\{\}),?){0,3}\}|.{0,20})"#) {
            if let Ok(value) = parse_arguments(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).expect("accepted"));
            }
        }
    }
}
