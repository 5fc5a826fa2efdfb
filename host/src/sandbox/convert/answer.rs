//! Component values to JSON: the result of a call.
//!
//! The walk follows the function's shape, so its recursion is at most as deep as the types; the bytes of the JSON are
//! counted before anything is copied. It never calls the guest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Number, Value};
use wasmtime::component::Val;

use super::json::{narrow, shape_name};
use super::schema::FLOAT_NAMES;
use super::shape::{IntegerKind, Named, ResultShape, Shape, TypedFunction};
use crate::arguments::{JsonPath, PathStack, PathStep};
use crate::limits::{Limit, LimitReached};

/// Answers write larger integers as strings: 2^53 - 1, the largest that JavaScript calls safe.
const SAFE_INTEGER_MAX: i128 = (1 << 53) - 1;

/// What a typed function answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToolValue {
    /// The result, or the value of `ok`; `None` if there is nothing.
    Ok(Option<Value>),
    /// The value of `err`; `null` if there is nothing.
    ToolError(Value),
}

/// An answer and its size.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolResult {
    /// The answer.
    pub(crate) value: ToolValue,
    /// Its length as compact JSON.
    pub(crate) bytes: u64,
}

/// Why an answer is not converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConvertError {
    /// The answer is longer than [`Limit::Output`] allows. The tool's fault.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// A value is not of the function's type. The host's fault: the engine checks types.
    #[error("the result at {path} is not of the declared type ({expected})")]
    Mismatch {
        /// Where.
        path: JsonPath,
        /// The declared type.
        expected: &'static str,
    },
}

impl TypedFunction {
    /// Converts what a call returned.
    ///
    /// # Errors
    ///
    /// Stops with [`LimitReached`] as soon as the compact JSON is longer than `max_bytes`: its value is the bytes that
    /// were counted up to there. Fails if a value is not of the function's type.
    pub(crate) fn vals_to_result(&self, vals: &[Val], max_bytes: u64) -> Result<ToolResult, ConvertError> {
        let mut writer = Writer { bytes: 0, max_bytes };
        let root = &PathStack::Root;
        let value = match (&self.result, vals) {
            (ResultShape::Plain(None), []) => ToolValue::Ok(None),
            (ResultShape::Plain(Some(shape)), [val]) => ToolValue::Ok(Some(writer.value(shape, val, root)?)),
            (ResultShape::Fallible { ok, err: _ }, [Val::Result(Ok(val))]) => {
                ToolValue::Ok(writer.payload(ok.as_ref(), val.as_deref(), root)?)
            }
            (ResultShape::Fallible { ok: _, err }, [Val::Result(Err(val))]) => {
                let value = writer.payload(err.as_ref(), val.as_deref(), root)?;
                ToolValue::ToolError(value.unwrap_or(Value::Null))
            }
            (ResultShape::Plain(_) | ResultShape::Fallible { .. }, _) => {
                return Err(mismatch(root, "one value for each result"));
            }
        };
        Ok(ToolResult { value, bytes: writer.bytes })
    }
}

fn mismatch(path: &PathStack<'_>, expected: &'static str) -> ConvertError {
    ConvertError::Mismatch { path: path.path(), expected }
}

/// Values to JSON, counted.
struct Writer {
    bytes: u64,
    max_bytes: u64,
}

impl Writer {
    /// Counts bytes before they are made.
    fn charge(&mut self, bytes: usize) -> Result<(), ConvertError> {
        // A usize always fits: no target of this host has more than 64 bits.
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.bytes > self.max_bytes {
            return Err(LimitReached { limit: Limit::Output, value: self.bytes, max: self.max_bytes }.into());
        }
        Ok(())
    }

    fn string(&mut self, string: &str) -> Result<Value, ConvertError> {
        self.charge(json_length(string))?;
        Ok(Value::String(string.to_owned()))
    }

    fn number(&mut self, number: Number) -> Result<Value, ConvertError> {
        self.charge(number.to_string().len())?;
        Ok(Value::Number(number))
    }

    fn payload(
        &mut self,
        shape: Option<&Shape>,
        val: Option<&Val>,
        path: &PathStack<'_>,
    ) -> Result<Option<Value>, ConvertError> {
        match (shape, val) {
            (None, None) => Ok(None),
            (Some(shape), Some(val)) => self.value(shape, val, path).map(Some),
            (None, Some(_)) | (Some(_), None) => Err(mismatch(path, "a payload where one is declared")),
        }
    }

    fn value(&mut self, shape: &Shape, val: &Val, path: &PathStack<'_>) -> Result<Value, ConvertError> {
        match (shape, val) {
            (Shape::Bool, Val::Bool(value)) => {
                self.charge(if *value { 4 } else { 5 })?;
                Ok(Value::Bool(*value))
            }
            (Shape::Integer(kind), val) => self.integer(*kind, val, path),
            (Shape::Float32, Val::Float32(value)) => self.float(widen(*value)),
            (Shape::Float64, Val::Float64(value)) => self.float(*value),
            (Shape::Char, Val::Char(value)) => self.string(value.encode_utf8(&mut [0; 4])),
            (Shape::String, Val::String(value)) => self.string(value),
            (Shape::Bytes, Val::List(vals)) => self.base64(vals, path),
            (Shape::List(item), Val::List(vals)) => {
                self.array(vals.iter().map(|val| (item.as_ref(), val)), path)
            }
            (Shape::Tuple(shapes), Val::Tuple(vals)) if shapes.len() == vals.len() => {
                self.array(shapes.iter().zip(vals), path)
            }
            (Shape::Record(fields), Val::Record(vals)) => self.record(fields, vals, path),
            (Shape::Variant(cases), Val::Variant(name, payload)) => {
                self.case(cases, name, payload.as_deref(), path)
            }
            (Shape::Result(cases), Val::Result(result)) => match result {
                Ok(payload) => self.case(cases, "ok", payload.as_deref(), path),
                Err(payload) => self.case(cases, "err", payload.as_deref(), path),
            },
            (Shape::Enum(names), Val::Enum(name)) if names.find(name).is_some() => self.string(name),
            (Shape::Flags(names), Val::Flags(set)) => self.flags(names, set, path),
            (Shape::Option(_), Val::Option(None)) => {
                self.charge(4)?;
                Ok(Value::Null)
            }
            (Shape::Option(inner), Val::Option(Some(val))) => self.some(inner, val, path),
            (shape, _) => Err(mismatch(path, shape_name(shape))),
        }
    }

    fn integer(&mut self, kind: IntegerKind, val: &Val, path: &PathStack<'_>) -> Result<Value, ConvertError> {
        let value: i128 = match (kind, val) {
            (IntegerKind::S8, Val::S8(value)) => (*value).into(),
            (IntegerKind::U8, Val::U8(value)) => (*value).into(),
            (IntegerKind::S16, Val::S16(value)) => (*value).into(),
            (IntegerKind::U16, Val::U16(value)) => (*value).into(),
            (IntegerKind::S32, Val::S32(value)) => (*value).into(),
            (IntegerKind::U32, Val::U32(value)) => (*value).into(),
            (IntegerKind::S64, Val::S64(value)) => (*value).into(),
            (IntegerKind::U64, Val::U64(value)) => (*value).into(),
            (_, _) => return Err(mismatch(path, "an integer of the declared size")),
        };
        match i64::try_from(value) {
            Ok(small) if value.abs() <= SAFE_INTEGER_MAX => self.number(small.into()),
            Ok(_) | Err(_) => self.string(&value.to_string()),
        }
    }

    fn float(&mut self, value: f64) -> Result<Value, ConvertError> {
        let [nan, infinity, minus_infinity] = FLOAT_NAMES;
        match Number::from_f64(value) {
            Some(number) => self.number(number),
            None if value.is_nan() => self.string(nan),
            None if value > 0.0 => self.string(infinity),
            None => self.string(minus_infinity),
        }
    }

    fn base64(&mut self, vals: &[Val], path: &PathStack<'_>) -> Result<Value, ConvertError> {
        self.charge(2 + vals.len().div_ceil(3).saturating_mul(4))?;
        let byte = |val: &Val| if let Val::U8(byte) = val { Some(*byte) } else { None };
        let bytes: Option<Vec<u8>> = vals.iter().map(byte).collect();
        let bytes = bytes.ok_or_else(|| mismatch(path, "a list of u8"))?;
        Ok(Value::String(BASE64.encode(bytes)))
    }

    fn array<'a>(
        &mut self,
        items: impl Iterator<Item = (&'a Shape, &'a Val)>,
        path: &PathStack<'_>,
    ) -> Result<Value, ConvertError> {
        self.charge(2)?;
        let mut array = Vec::new();
        for (index, (shape, val)) in items.enumerate() {
            self.charge(usize::from(index > 0))?;
            array.push(self.value(shape, val, &path.step(PathStep::Index(index)))?);
        }
        Ok(Value::Array(array))
    }

    fn record(
        &mut self,
        fields: &Named<Shape>,
        vals: &[(String, Val)],
        path: &PathStack<'_>,
    ) -> Result<Value, ConvertError> {
        if fields.iter().len() != vals.len() {
            return Err(mismatch(path, "a record of the declared fields"));
        }
        self.charge(2)?;
        let mut map = Map::new();
        for ((name, shape), (val_name, val)) in fields.iter().zip(vals) {
            if name != val_name {
                return Err(mismatch(path, "a record of the declared fields"));
            }
            if matches!(val, Val::Option(None)) && shape.is_option() {
                continue;
            }
            // The key, its colon, and a comma but for the first.
            self.charge(json_length(name) + 1 + usize::from(!map.is_empty()))?;
            let value = self.value(shape, val, &path.step(PathStep::Key(name)))?;
            map.insert(name.to_owned(), value);
        }
        Ok(Value::Object(map))
    }

    fn case(
        &mut self,
        cases: &Named<Option<Shape>>,
        name: &str,
        payload: Option<&Val>,
        path: &PathStack<'_>,
    ) -> Result<Value, ConvertError> {
        let shape = cases.find(name).ok_or_else(|| mismatch(path, "a declared case"))?;
        let mut map = Map::new();
        self.charge(r#"{"tag":}"#.len())?;
        map.insert("tag".to_owned(), self.string(name)?);
        if payload.is_some() {
            self.charge(r#","value":"#.len())?;
        }
        let value = self.payload(shape.as_ref(), payload, &path.step(PathStep::Key("value")))?;
        map.extend(value.map(|value| ("value".to_owned(), value)));
        Ok(Value::Object(map))
    }

    fn flags(
        &mut self,
        names: &Named<()>,
        set: &[String],
        path: &PathStack<'_>,
    ) -> Result<Value, ConvertError> {
        self.charge(2)?;
        let mut array = Vec::new();
        for name in set {
            if names.find(name).is_none() {
                return Err(mismatch(path, "declared flags"));
            }
            self.charge(usize::from(!array.is_empty()))?;
            array.push(self.string(name)?);
        }
        Ok(Value::Array(array))
    }

    fn some(&mut self, inner: &Shape, val: &Val, path: &PathStack<'_>) -> Result<Value, ConvertError> {
        if !inner.is_option() {
            return self.value(inner, val, path);
        }
        self.charge(r#"{"some":}"#.len())?;
        let value = self.value(inner, val, &path.step(PathStep::Key("some")))?;
        Ok(Value::Object(Map::from_iter([("some".to_owned(), value)])))
    }
}

/// An `f32` as the double with the fewest digits that narrows back to it: 0.1 stays 0.1.
pub(super) fn widen(value: f32) -> f64 {
    let short = value.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(value));
    match narrow(short) {
        Some(back) if back.to_bits() == value.to_bits() => short,
        Some(_) | None => f64::from(value),
    }
}

/// The length of a string as `serde_json` writes it, quotes included.
fn json_length(string: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 2,
        0x00..=0x1f => 6,
        _ => 1,
    };
    string.bytes().map(escaped).sum::<usize>() + 2
}
