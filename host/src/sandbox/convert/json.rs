//! JSON to component values: the arguments of a call.
//!
//! The walk follows the function's shape, so its recursion is at most as deep as the types; the memory that values
//! will take is counted before they are made. It never calls the guest.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use wasmtime::component::Val;

use super::schema::FLOAT_NAMES;
use super::shape::{IntegerKind, Named, Shape, TypedFunction};
use crate::arguments::{
    ArgumentError, ArgumentErrors, ErrorCollector, JsonPath, PathStack, PathStep, describe,
};

/// The most memory that converted arguments may take, as estimated: 64 MiB. A list of a million records with
/// fields left out would otherwise make a thousand times its text.
pub(crate) const VALUE_MEMORY_MAX: usize = 64 << 20;

/// The integers that a double holds exactly: up to 2^53.
const EXACT_DOUBLE_MAX: f64 = 9_007_199_254_740_992.0;

impl TypedFunction {
    /// Converts the arguments of a call, one value for each parameter, in order.
    ///
    /// # Errors
    ///
    /// Fails with up to ten errors, each with its path, if they do not fit the schema or would take more
    /// than [`VALUE_MEMORY_MAX`]. The caller's fault.
    pub(crate) fn arguments_to_vals(&self, arguments: &Value) -> Result<Vec<Val>, ArgumentErrors> {
        let mut reader = Reader { errors: ErrorCollector::default(), memory: 0, stopped: false };
        let fields = reader.fields(&self.params, arguments, &PathStack::Root);
        reader.errors.finish()?;
        match fields {
            Some(fields) => Ok(fields.into_iter().map(|(_, value)| value).collect()),
            // Each `None` comes with an error, which was returned above. Were one forgotten, no call is made.
            None => {
                let found = describe(arguments);
                Err(ArgumentError::new(JsonPath::root(), "arguments that fit the schema", found).into())
            }
        }
    }
}

/// JSON to values. A `None` means that an error was noted.
struct Reader {
    errors: ErrorCollector,
    memory: usize,
    stopped: bool,
}

impl Reader {
    fn fail(&mut self, path: &PathStack<'_>, expected: &str, found: &Value) {
        self.errors.push(ArgumentError::new(path.path(), expected, describe(found)));
    }

    /// Whether nothing more needs to be looked at.
    fn done(&mut self) -> bool {
        if self.errors.is_full() {
            self.errors.stop_early();
        }
        self.stopped || self.errors.is_full()
    }

    fn charge(&mut self, bytes: usize, path: &PathStack<'_>) -> Option<()> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory <= VALUE_MEMORY_MAX {
            return Some(());
        }
        if !self.stopped {
            self.stopped = true;
            let expected = format!("values that take at most {VALUE_MEMORY_MAX} bytes in all");
            let found = "too many values, or too many fields left out".to_owned();
            self.errors.push(ArgumentError::new(path.path(), &expected, found));
            self.errors.stop_early();
        }
        None
    }

    fn value(&mut self, shape: &Shape, json: &Value, path: &PathStack<'_>) -> Option<Val> {
        self.charge(size_of::<Val>(), path)?;
        match shape {
            Shape::Bool => self.expect(json.as_bool().map(Val::Bool), path, "true or false", json),
            Shape::Integer(kind) => self.integer(*kind, json, path),
            Shape::Float32 => {
                let expected = "a number in the range of an f32, \"NaN\", \"Infinity\" or \"-Infinity\"";
                self.expect(float(json).and_then(narrow).map(Val::Float32), path, expected, json)
            }
            Shape::Float64 => {
                let expected = "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
                self.expect(float(json).map(Val::Float64), path, expected, json)
            }
            Shape::Char => {
                let mut characters = json.as_str().unwrap_or_default().chars();
                let only = characters.next().filter(|_| characters.next().is_none());
                self.expect(only.map(Val::Char), path, "a string of one character", json)
            }
            Shape::String => {
                self.charge(json.as_str().map_or(0, str::len), path)?;
                let string = json.as_str().map(|string| Val::String(string.to_owned()));
                self.expect(string, path, "a string", json)
            }
            Shape::Bytes => self.bytes(json, path),
            Shape::List(item) => self.list(item, json, path),
            Shape::Record(fields) => self.fields(fields, json, path).map(Val::Record),
            Shape::Tuple(shapes) => self.tuple(shapes, json, path),
            Shape::Variant(cases) => {
                let (name, payload) = self.case(cases, json, path)?;
                Some(Val::Variant(name, payload))
            }
            Shape::Result(cases) => {
                let (name, payload) = self.case(cases, json, path)?;
                Some(Val::Result(if name == "ok" { Ok(payload) } else { Err(payload) }))
            }
            Shape::Enum(names) => {
                let name = self.name(names, json, path)?;
                Some(Val::Enum(name))
            }
            Shape::Flags(names) => self.flags(names, json, path),
            Shape::Option(inner) => self.option(inner, json, path),
        }
    }

    fn expect<T>(
        &mut self,
        value: Option<T>,
        path: &PathStack<'_>,
        expected: &str,
        found: &Value,
    ) -> Option<T> {
        if value.is_none() {
            self.fail(path, expected, found);
        }
        value
    }

    fn integer(&mut self, kind: IntegerKind, json: &Value, path: &PathStack<'_>) -> Option<Val> {
        let value = integer(json, kind.digits().is_some()).and_then(|value| integer_val(kind, value));
        if value.is_none() {
            let (min, max) = kind.range();
            let digits = if kind.digits().is_some() { ", or its decimal digits as a string" } else { "" };
            self.fail(path, &format!("an integer from {min} to {max}{digits}"), json);
        }
        value
    }

    fn bytes(&mut self, json: &Value, path: &PathStack<'_>) -> Option<Val> {
        let text = self.expect(json.as_str(), path, "a base64 string", json)?;
        self.charge((text.len() / 4 * 3).saturating_mul(size_of::<Val>()), path)?;
        match BASE64.decode(text) {
            Ok(bytes) => Some(Val::List(bytes.into_iter().map(Val::U8).collect())),
            Err(_) => {
                self.fail(path, "base64 (standard alphabet, with padding)", json);
                None
            }
        }
    }

    fn list(&mut self, item: &Shape, json: &Value, path: &PathStack<'_>) -> Option<Val> {
        let items = self.expect(json.as_array(), path, "an array", json)?;
        let mut values = Vec::new();
        for (index, json) in items.iter().enumerate() {
            if self.done() {
                return None;
            }
            values.extend(self.value(item, json, &path.step(PathStep::Index(index))));
        }
        (values.len() == items.len()).then_some(Val::List(values))
    }

    fn tuple(&mut self, shapes: &[Shape], json: &Value, path: &PathStack<'_>) -> Option<Val> {
        let items = json.as_array().filter(|items| items.len() == shapes.len());
        let Some(items) = items else {
            self.fail(path, &format!("an array of exactly {}", shapes.len()), json);
            return None;
        };
        let mut values = Vec::new();
        for (index, (shape, json)) in shapes.iter().zip(items).enumerate() {
            if self.done() {
                return None;
            }
            values.extend(self.value(shape, json, &path.step(PathStep::Index(index))));
        }
        (values.len() == shapes.len()).then_some(Val::Tuple(values))
    }

    /// The fields of a record, or the parameters.
    fn fields(
        &mut self,
        fields: &Named<Shape>,
        json: &Value,
        path: &PathStack<'_>,
    ) -> Option<Vec<(String, Val)>> {
        let map = self.expect(json.as_object(), path, "an object", json)?;
        let mut values = Vec::new();
        let mut known = 0;
        for (name, shape) in fields.iter() {
            if self.done() {
                return None;
            }
            let path = path.step(PathStep::Key(name));
            self.charge(name.len() + size_of::<(String, Val)>(), &path)?;
            match (map.get(name), shape) {
                (Some(json), _) => {
                    known += 1;
                    values.extend(self.value(shape, json, &path).map(|value| (name.to_owned(), value)));
                }
                (None, Shape::Option(_)) => values.push((name.to_owned(), Val::Option(None))),
                (None, _) => self.missing(shape, &path),
            }
        }
        if known < map.len() {
            self.unknown_keys(map, |key| fields.find(key).is_some(), fields.names(), path);
            return None;
        }
        (values.len() == fields.iter().len()).then_some(values)
    }

    fn missing(&mut self, shape: &Shape, path: &PathStack<'_>) {
        let expected = format!("{}, which is required", shape_name(shape));
        self.errors.push(ArgumentError::new(path.path(), &expected, "nothing".to_owned()));
    }

    fn unknown_keys<'a>(
        &mut self,
        map: &Map<String, Value>,
        is_known: impl Fn(&str) -> bool,
        names: impl Iterator<Item = &'a str>,
        path: &PathStack<'_>,
    ) {
        // Enough for the excerpt, which is cut.
        let names: Vec<&str> = names.take(20).collect();
        let expected = format!("no such key (known here: {})", names.join(", "));
        for (key, json) in map.iter().filter(|(key, _)| !is_known(key)) {
            if self.done() {
                return;
            }
            self.fail(&path.step(PathStep::Key(key)), &expected, json);
        }
    }

    /// A case of a variant or result: its name and payload.
    fn case(
        &mut self,
        cases: &Named<Option<Shape>>,
        json: &Value,
        path: &PathStack<'_>,
    ) -> Option<(String, Option<Box<Val>>)> {
        let map = self.expect(json.as_object(), path, "an object with \"tag\"", json)?;
        let tag_path = path.step(PathStep::Key("tag"));
        let name = self.name(cases, map.get("tag").unwrap_or(&Value::Null), &tag_path)?;
        let payload = cases.find(&name)?;
        let value_path = path.step(PathStep::Key("value"));
        let (payload, known) = match (payload, map.get("value")) {
            (None, _) => (None, 1),
            (Some(shape), Some(json)) => (Some(Box::new(self.value(shape, json, &value_path)?)), 2),
            (Some(shape), None) => {
                self.missing(shape, &value_path);
                return None;
            }
        };
        if map.len() > known {
            let keys = ["tag", "value"];
            self.unknown_keys(map, |key| keys[..known].contains(&key), keys[..known].iter().copied(), path);
            return None;
        }
        Some((name, payload))
    }

    /// One of some names.
    fn name<T>(&mut self, names: &Named<T>, json: &Value, path: &PathStack<'_>) -> Option<String> {
        let name = json.as_str().filter(|name| names.find(name).is_some());
        let Some(name) = name else {
            // Enough for the excerpt, which is cut.
            let names: Vec<&str> = names.names().take(20).collect();
            self.fail(path, &format!("one of {}", names.join(", ")), json);
            return None;
        };
        self.charge(name.len(), path)?;
        Some(name.to_owned())
    }

    fn flags(&mut self, names: &Named<()>, json: &Value, path: &PathStack<'_>) -> Option<Val> {
        let items = self.expect(json.as_array(), path, "an array of names", json)?;
        // By their place in the declaration, which is the order in which the engine gives them back.
        let mut set = BTreeMap::new();
        for (index, json) in items.iter().enumerate() {
            if self.done() {
                return None;
            }
            let path = path.step(PathStep::Index(index));
            let name = self.name(names, json, &path)?;
            if set.insert(names.position(&name), name).is_some() {
                self.fail(&path, "each name at most once", json);
                return None;
            }
        }
        Some(Val::Flags(set.into_values().collect()))
    }

    fn option(&mut self, inner: &Shape, json: &Value, path: &PathStack<'_>) -> Option<Val> {
        if json.is_null() {
            return Some(Val::Option(None));
        }
        if !inner.is_option() {
            let value = self.value(inner, json, path)?;
            return Some(Val::Option(Some(Box::new(value))));
        }
        let expected = "null, or an object with nothing but \"some\"";
        let wrapped = json.as_object().filter(|map| map.len() == 1).and_then(|map| map.get("some"));
        let wrapped = self.expect(wrapped, path, expected, json)?;
        let value = self.value(inner, wrapped, &path.step(PathStep::Key("some")))?;
        Some(Val::Option(Some(Box::new(value))))
    }
}

/// An integer in JSON: a number without fraction, or its canonical decimal digits.
fn integer(json: &Value, digits: bool) -> Option<i128> {
    if let Some(text) = json.as_str().filter(|text| digits && text.len() <= 20) {
        return text.parse::<i128>().ok().filter(|value| value.to_string() == text);
    }
    let number = json.as_number()?;
    if let Some(value) = number.as_u64() {
        return Some(value.into());
    }
    if let Some(value) = number.as_i64() {
        return Some(value.into());
    }
    // Beyond 2^53 a double no longer says which integer was written.
    let value = number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() <= EXACT_DOUBLE_MAX)?;
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is at most 2^53")]
    let value = value as i128;
    Some(value)
}

/// The value of an integer type, if it is in range.
fn integer_val(kind: IntegerKind, value: i128) -> Option<Val> {
    match kind {
        IntegerKind::S8 => i8::try_from(value).ok().map(Val::S8),
        IntegerKind::U8 => u8::try_from(value).ok().map(Val::U8),
        IntegerKind::S16 => i16::try_from(value).ok().map(Val::S16),
        IntegerKind::U16 => u16::try_from(value).ok().map(Val::U16),
        IntegerKind::S32 => i32::try_from(value).ok().map(Val::S32),
        IntegerKind::U32 => u32::try_from(value).ok().map(Val::U32),
        IntegerKind::S64 => i64::try_from(value).ok().map(Val::S64),
        IntegerKind::U64 => u64::try_from(value).ok().map(Val::U64),
    }
}

fn float(json: &Value) -> Option<f64> {
    let [nan, infinity, minus_infinity] = FLOAT_NAMES;
    match json.as_str() {
        None => json.as_f64(),
        Some(name) if name == nan => Some(f64::NAN),
        Some(name) if name == infinity => Some(f64::INFINITY),
        Some(name) if name == minus_infinity => Some(f64::NEG_INFINITY),
        Some(_) => None,
    }
}

/// The nearest `f32`, unless the number is beyond its range.
pub(super) fn narrow(value: f64) -> Option<f32> {
    if value.is_finite() && value.abs() > f64::from(f32::MAX) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an f32 is the nearest to what was given, by its definition"
    )]
    let value = value as f32;
    Some(value)
}

/// What a required value is, for an error.
pub(super) fn shape_name(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "true or false",
        Shape::Integer(_) => "an integer",
        Shape::Float32 | Shape::Float64 => "a number",
        Shape::Char => "a string of one character",
        Shape::String => "a string",
        Shape::Bytes => "a base64 string",
        Shape::List(_) | Shape::Tuple(_) => "an array",
        Shape::Record(_) | Shape::Variant(_) | Shape::Result(_) => "an object",
        Shape::Enum(_) => "one of the names",
        Shape::Flags(_) => "an array of names",
        Shape::Option(_) => "a value or null",
    }
}
