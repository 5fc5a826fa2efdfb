//! WIT types as the parser of WIT reads them, and values of them in the form in which this host answers them. Written
//! from the table in `docs/guide.md`, and of nothing that the host has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::{Map, Value, json};
use wit_parser::{Resolve, Type, TypeDefKind};

/// The functions of an interface: name, types of the parameters, type of the result.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) params: Vec<(String, Type)>,
    pub(super) result: Option<Type>,
}

pub(super) fn read(text: &str) -> (Resolve, Vec<Function>) {
    let mut resolve = Resolve::default();
    resolve.push_str("world.wit", text).expect("valid WIT");
    let (_, interface) = resolve.interfaces.iter().next().expect("an interface");
    let functions = interface.functions.values().map(|function| Function {
        name: function.name.clone(),
        params: function.params.iter().map(|param| (param.name.clone(), param.ty)).collect(),
        result: function.result,
    });
    let functions = functions.collect();
    (resolve, functions)
}

/// Any value of a type.
pub(super) fn values(resolve: &Resolve, ty: &Type) -> BoxedStrategy<Value> {
    let integers = |min: i128, max: i128| {
        prop_oneof![
            min..=max,
            Just(min),
            Just(max),
            Just(0.max(min)),
            (-1_i128..=1).prop_map(move |step| {
                // Around the last integer that a double names alone.
                ((1 << 53) + step).clamp(min, max)
            })
        ]
        .prop_map(integer)
        .boxed()
    };
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Type::U8 => integers(0, u8::MAX.into()),
        Type::S8 => integers(i8::MIN.into(), i8::MAX.into()),
        Type::U16 => integers(0, u16::MAX.into()),
        Type::S16 => integers(i16::MIN.into(), i16::MAX.into()),
        Type::U32 => integers(0, u32::MAX.into()),
        Type::S32 => integers(i32::MIN.into(), i32::MAX.into()),
        Type::U64 => integers(0, u64::MAX.into()),
        Type::S64 => integers(i64::MIN.into(), i64::MAX.into()),
        // Eighths, so that the shortest form of the f32 is this one.
        Type::F32 => {
            prop_oneof![any::<i16>().prop_map(|eighths| json!(f64::from(eighths) / 8.0)), special()].boxed()
        }
        Type::F64 => {
            let finite = any::<f64>().prop_filter("finite", |number| number.is_finite());
            prop_oneof![finite.prop_map(Value::from), special()].boxed()
        }
        Type::Char => characters().prop_map(|one| json!(one.to_string())).boxed(),
        Type::String => text().prop_map(Value::from).boxed(),
        Type::Id(id) => compound(resolve, &resolve.types[*id].kind),
        Type::ErrorContext => panic!("no value of {ty:?} can be written"),
    }
}

fn compound(resolve: &Resolve, kind: &TypeDefKind) -> BoxedStrategy<Value> {
    let of = |ty: &Type| values(resolve, ty);
    match kind {
        TypeDefKind::Type(ty) => of(ty),
        TypeDefKind::List(Type::U8) => {
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| json!(STANDARD.encode(bytes))).boxed()
        }
        TypeDefKind::List(item) => prop::collection::vec(of(item), 0..4).prop_map(Value::from).boxed(),
        TypeDefKind::Tuple(tuple) => {
            tuple.types.iter().map(of).collect::<Vec<_>>().prop_map(Value::from).boxed()
        }
        TypeDefKind::Record(record) => {
            let fields: Vec<(String, bool)> = record
                .fields
                .iter()
                .map(|field| (field.name.clone(), option(resolve, &field.ty).is_some()))
                .collect();
            let values: Vec<_> = record.fields.iter().map(|field| of(&field.ty)).collect();
            let object = move |values: Vec<Value>| -> Value {
                let pairs = fields.iter().cloned().zip(values);
                // What is none is left out of a record.
                pairs
                    .filter(|((_, optional), value)| !(*optional && value.is_null()))
                    .map(|((name, _), value)| (name, value))
                    .collect::<Map<_, _>>()
                    .into()
            };
            values.prop_map(object).boxed()
        }
        TypeDefKind::Variant(variant) => {
            let case = |case: &wit_parser::Case| tagged(resolve, &case.name, case.ty.as_ref());
            Union::new(variant.cases.iter().map(case)).boxed()
        }
        TypeDefKind::Result(result) => prop_oneof![
            tagged(resolve, "ok", result.ok.as_ref()),
            tagged(resolve, "err", result.err.as_ref())
        ]
        .boxed(),
        TypeDefKind::Enum(cases) => {
            let names: Vec<String> = cases.cases.iter().map(|case| case.name.clone()).collect();
            prop::sample::select(names).prop_map(Value::from).boxed()
        }
        TypeDefKind::Flags(flags) => {
            let names: Vec<String> = flags.flags.iter().map(|flag| flag.name.clone()).collect();
            let count = names.len();
            prop::sample::subsequence(names, 0..=count).prop_map(|set| json!(set)).boxed()
        }
        TypeDefKind::Option(inner) => {
            let wrap = option(resolve, inner).is_some();
            let some = of(inner).prop_map(move |value| if wrap { json!({"some": value}) } else { value });
            prop_oneof![Just(Value::Null), some].boxed()
        }
        other => panic!("no value of {other:?} can be written"),
    }
}

/// What may be missing, if the type is an option.
fn option<'a>(resolve: &'a Resolve, ty: &'a Type) -> Option<&'a Type> {
    let Type::Id(id) = ty else { return None };
    if let TypeDefKind::Option(inner) = &resolve.types[*id].kind { Some(inner) } else { None }
}

/// The sides of a result.
pub(super) fn result<'a>(resolve: &'a Resolve, ty: Option<&'a Type>) -> bool {
    matches!(ty, Some(Type::Id(id)) if matches!(resolve.types[*id].kind, TypeDefKind::Result(_)))
}

fn tagged(resolve: &Resolve, name: &str, ty: Option<&Type>) -> BoxedStrategy<Value> {
    let name = name.to_owned();
    match ty {
        None => Just(json!({"tag": name})).boxed(),
        Some(ty) => values(resolve, ty).prop_map(move |value| json!({"tag": name, "value": value})).boxed(),
    }
}

/// Beyond what every reader of JSON knows, an integer is answered as its digits.
fn integer(value: i128) -> Value {
    match i64::try_from(value) {
        Ok(small) if small.unsigned_abs() < 1 << 53 => json!(small),
        _ => json!(value.to_string()),
    }
}

fn special() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!("NaN"),
        json!("Infinity"),
        json!("-Infinity"),
        json!(0.0),
        json!(-0.0),
        json!(1.5e30),
    ])
}

/// Any but surrogates, which are none; often those that other languages write as two.
fn characters() -> impl Strategy<Value = char> {
    let edges = vec![
        '\0',
        '"',
        '\\',
        '\u{7f}',
        '\u{d7ff}',
        '\u{e000}',
        '\u{fffd}',
        '\u{ffff}',
        '\u{10000}',
        '😀',
        '\u{10ffff}',
    ];
    // componentize-js takes a U+FEFF at the beginning of a text for a mark of its encoding: see `is_spoilt`.
    prop_oneof![any::<char>().prop_filter("no mark", |one| *one != '\u{feff}'), prop::sample::select(edges)]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(characters(), 0..12).prop_map(String::from_iter)
}
