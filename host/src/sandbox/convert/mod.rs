//! JSON <-> component values: makes any component's typed functions callable with JSON.
//!
//! [`shape`] walks a function's WIT types once, within bounds; from the shape come the JSON Schemas ([`schema`])
//! and the conversions (arguments: [`json`], results: [`answer`]), so that they can't disagree. [`docs`] reads descriptions, [`listed`] checks
//! arguments against a schema that a guest wrote. It never calls a guest and decides nothing about powers.
//!
//! # WIT types as JSON
//!
//! | WIT | JSON | notes |
//! | --- | --- | --- |
//! | `bool` | boolean | |
//! | `u8` … `s32` | integer | the schema carries the range; `1.0` and `1e2` are integers too |
//! | `u64`, `s64` | integer, or its decimal digits as a string | answers use the string beyond ±(2^53 - 1), where a reader that has only doubles would lose digits |
//! | `f32`, `f64` | number, or `"NaN"`, `"Infinity"`, `"-Infinity"` | an `f32` is rounded to nearest; beyond its range is refused; answers write the fewest digits that name it |
//! | `char` | string of one code point | |
//! | `string` | string | |
//! | `list<u8>` | base64 string | RFC 4648, section 4, padded; `contentEncoding: base64` |
//! | `list<T>` | array | |
//! | `tuple<…>` | array of exactly these | `prefixItems` |
//! | `record` | object of its fields | no other keys |
//! | `variant` | `{"tag": "circle", "value": …}` | `oneOf`; no `value` for a case without payload |
//! | `enum` | its name as a string | |
//! | `flags` | array of the names that are set | each at most once; answers keep the order of the declaration |
//! | `option<T>` | `T` or `null` | as a parameter or field it may be left out, and answers leave it out |
//! | `option<option<T>>` | `null`, or `{"some": …}` around the inner option | tells `some(none)` from `none` |
//! | `result<T, E>` as the result | `T`, the result; `E` is a tool error | |
//! | `result<T, E>` elsewhere | `{"tag": "ok", "value": …}` or `{"tag": "err", …}` | like a variant |
//! | no result | nothing | |
//!
//! Resources, streams, futures, `error-context`, `map`, fixed-length lists and `async` functions are not exposed: the
//! function is refused as a tool, with the place and the reason.
//!
//! The schema and the conversion accept the same values, with two exceptions, both where a schema would need hundreds of
//! characters to say it: a string of digits can be out of the range of its 64-bit integer, and an integer
//! beyond ±2^53 that was not written out (`1e18`) is refused, since a double can't say which integer was meant.

pub(crate) mod answer;
pub(crate) mod docs;
pub(crate) mod json;
pub(crate) mod listed;
pub(crate) mod schema;
pub(crate) mod shape;

#[cfg(test)]
mod tests;
