//! Reads the arguments of a call: strict JSON in, the function's arguments out, errors with their place.
//!
//! The host has checked them against the schema before; a test on the host machine comes here directly,
//! and must get the same answer.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_path_to_error::Segment;

use crate::error::ToolError;

/// Reads arguments.
///
/// # Errors
/// [`ErrorKind::InvalidArguments`](crate::ErrorKind), with the JSON path of the fault.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, ToolError> {
    from_value(parse(text)?)
}

/// Parses a JSON object in which no key stands twice.
pub(crate) fn parse(text: &str) -> Result<Value, ToolError> {
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = Strict { path: &Path::Root, duplicate: &duplicate };
    let parsed = strict.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    match parsed {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(ToolError::invalid_arguments("$: the arguments must be a JSON object")),
        Err(error) => Err(ToolError::invalid_arguments(match duplicate.into_inner() {
            Some(path) => format!("{path}: the key is given twice"),
            None => format!("$: the arguments are not JSON: {error}"),
        })),
    }
}

fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ToolError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut path = "$".to_owned();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => push_index(&mut path, *index),
                Segment::Map { key } | Segment::Enum { variant: key } => push_key(&mut path, key),
                Segment::Unknown => path.push_str(".?"),
            }
        }
        ToolError::invalid_arguments(format!("{path}: {}", error.inner()))
    })
}

/// A key as RFC 9535 writes it, which is how the host does.
pub(crate) fn push_key(path: &mut String, key: &str) {
    let plain = !key.is_empty()
        && !key.starts_with(|first: char| first.is_ascii_digit())
        && key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if plain {
        path.push('.');
        path.push_str(key);
    } else {
        path.push_str(&format!("[{}]", Value::from(key)));
    }
}

pub(crate) fn push_index(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}

/// Where the parser is.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut step = String::new();
        match self {
            Path::Root => f.write_str("$"),
            Path::Key(outer, key) => {
                push_key(&mut step, key);
                write!(f, "{outer}{step}")
            }
            Path::Index(outer, index) => {
                push_index(&mut step, *index);
                write!(f, "{outer}{step}")
            }
        }
    }
}

/// A JSON value, without duplicate keys.
struct Strict<'a> {
    path: &'a Path<'a>,
    duplicate: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        number(value).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        loop {
            let path = Path::Index(self.path, array.len());
            match items.next_element_seed(Strict { path: &path, duplicate: self.duplicate })? {
                Some(item) => array.push(item),
                None => return Ok(array.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path::Key(self.path, &key);
            if map.contains_key(&key) {
                *self.duplicate.borrow_mut() = Some(path.to_string());
                return Err(de::Error::custom("duplicate key"));
            }
            let value = entries.next_value_seed(Strict { path: &path, duplicate: self.duplicate })?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

/// A number without a fraction is an integer in JSON Schema, however it is written: `1.0` must be readable
/// as a `u8` where the host lets it pass.
fn number(value: f64) -> Option<Number> {
    // Both ends are exact; the upper one is the first that does not fit.
    const U64_END: f64 = 18_446_744_073_709_551_616.0;
    const I64_START: f64 = -9_223_372_036_854_775_808.0;
    if value.fract() != 0.0 || !(I64_START..U64_END).contains(&value) {
        return Number::from_f64(value);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range, without a fraction"
    )]
    Some(if value < 0.0 { Number::from(value as i64) } else { Number::from(value as u64) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_strict_json_objects() {
        for (text, told) in [
            ("", "$: the arguments are not JSON"),
            ("{} x", "$: the arguments are not JSON"),
            ("[]", "$: the arguments must be a JSON object"),
            (r#"{"a": 1, "a": 1}"#, "$.a: the key is given twice"),
            (r#"{"a": [0, {"b c": 1, "b c": 2}]}"#, r#"$.a[1]["b c"]: the key is given twice"#),
            (r#"{"a": 1e999}"#, "$: the arguments are not JSON: number out of range"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.starts_with(told), "{text}: {error:?}");
        }
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn numbers_without_a_fraction_are_integers() {
        let text = r#"{"a": [1.0, -0.0, 1e3, -2.0, 0.5, 1e300, 18446744073709551615, 18446744073709551616]}"#;
        let numbers = parse(text).expect("JSON");
        let expected = json!({"a": [1, 0, 1000, -2, 0.5, 1e300, u64::MAX, 18_446_744_073_709_551_616.0]});
        assert_eq!(numbers, expected);
    }
}
