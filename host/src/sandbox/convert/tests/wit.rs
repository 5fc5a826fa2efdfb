//! Random WIT types, random JSON for them, and random damage to that JSON.

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A WIT type, written independently of the code under test.
#[derive(Clone, Debug)]
pub(super) enum Ty {
    Bool,
    Int { name: &'static str, min: i128, max: i128 },
    F32,
    F64,
    Char,
    Text,
    List(Box<Ty>),
    Record(Vec<Ty>),
    Tuple(Vec<Ty>),
    Variant(Vec<Option<Ty>>),
    Result(Box<Option<Ty>>, Box<Option<Ty>>),
    Enum(usize),
    Flags(usize),
    Option(Box<Ty>),
}

const INTS: [(&str, i128, i128); 8] = [
    ("s8", -(1 << 7), (1 << 7) - 1),
    ("u8", 0, (1 << 8) - 1),
    ("s16", -(1 << 15), (1 << 15) - 1),
    ("u16", 0, (1 << 16) - 1),
    ("s32", -(1 << 31), (1 << 31) - 1),
    ("u32", 0, (1 << 32) - 1),
    ("s64", -(1 << 63), (1 << 63) - 1),
    ("u64", 0, (1 << 64) - 1),
];

/// Any type, up to four levels deep.
pub(super) fn ty() -> impl Strategy<Value = Ty> {
    let leaf = prop_oneof![
        Just(Ty::Bool),
        proptest::sample::select(&INTS[..]).prop_map(|(name, min, max)| Ty::Int { name, min, max }),
        Just(Ty::F32),
        Just(Ty::F64),
        Just(Ty::Char),
        Just(Ty::Text),
        (1_usize..5).prop_map(Ty::Enum),
        (1_usize..12).prop_map(Ty::Flags),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        let payload = proptest::option::of(inner.clone());
        prop_oneof![
            inner.clone().prop_map(|ty| Ty::List(Box::new(ty))),
            inner.clone().prop_map(|ty| Ty::Option(Box::new(ty))),
            inner.clone().prop_map(|ty| Ty::Option(Box::new(Ty::Option(Box::new(ty))))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Ty::Record),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Ty::Tuple),
            prop::collection::vec(payload.clone(), 1..4).prop_map(Ty::Variant),
            (payload.clone(), payload).prop_map(|(ok, err)| Ty::Result(Box::new(ok), Box::new(err))),
        ]
    })
}

/// Writes the declarations of a type, and gives the name to use for it. Named types are exported.
pub(super) fn declare(ty: &Ty, out: &mut String) -> String {
    let optional = |ty: &Option<Ty>, out: &mut String| ty.as_ref().map(|ty| declare(ty, out));
    let (named, text) = match ty {
        Ty::Bool => return "bool".to_owned(),
        Ty::Int { name, .. } => return (*name).to_owned(),
        Ty::F32 => return "f32".to_owned(),
        Ty::F64 => return "f64".to_owned(),
        Ty::Char => return "char".to_owned(),
        Ty::Text => return "string".to_owned(),
        Ty::List(item) => (false, format!("list {}", declare(item, out))),
        Ty::Option(inner) => (false, format!("option {}", declare(inner, out))),
        Ty::Tuple(items) => {
            let items: Vec<String> = items.iter().map(|ty| declare(ty, out)).collect();
            (false, format!("tuple {}", items.join(" ")))
        }
        Ty::Result(ok, err) => {
            let ok = optional(ok, out).unwrap_or_default();
            let err = optional(err, out).map(|err| format!("(error {err})")).unwrap_or_default();
            (false, format!("result {ok} {err}"))
        }
        Ty::Record(fields) => {
            let field = |(at, ty): (usize, &Ty)| format!("(field \"f{at}\" {})", declare(ty, out));
            let fields: Vec<String> = fields.iter().enumerate().map(field).collect();
            (true, format!("record {}", fields.join(" ")))
        }
        Ty::Variant(cases) => {
            let case = |(at, ty): (usize, &Option<Ty>)| {
                format!("(case \"c{at}\" {})", optional(ty, out).unwrap_or_default())
            };
            let cases: Vec<String> = cases.iter().enumerate().map(case).collect();
            (true, format!("variant {}", cases.join(" ")))
        }
        Ty::Enum(count) => (true, format!("enum {}", names("e", *count))),
        Ty::Flags(count) => (true, format!("flags {}", names("l", *count))),
    };
    let at = out.len();
    out.push_str(&format!("(type $t{at} ({text}))\n"));
    if named {
        out.push_str(&format!("(export $x{at} \"n{at}\" (type $t{at}))\n"));
        format!("$x{at}")
    } else {
        format!("$t{at}")
    }
}

fn names(prefix: &str, count: usize) -> String {
    (0..count).map(|at| format!("\"{prefix}{at}\"")).collect::<Vec<_>>().join(" ")
}

/// Any value of a type, in the form in which this host answers it.
pub(super) fn json_of(ty: &Ty) -> BoxedStrategy<Value> {
    match ty {
        Ty::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Ty::Int { min, max, .. } => {
            prop_oneof![*min..=*max, Just(*min), Just(*max)].prop_map(integer).boxed()
        }
        Ty::F32 => {
            // Few digits, so that the shortest form is this one.
            prop_oneof![any::<i16>().prop_map(|n| json!(f64::from(n) / 8.0)), special_floats()].boxed()
        }
        Ty::F64 => prop_oneof![
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
            special_floats()
        ]
        .boxed(),
        Ty::Char => any::<char>().prop_map(|c| json!(c.to_string())).boxed(),
        Ty::Text => any::<String>().prop_map(Value::from).boxed(),
        Ty::List(item) if matches!(**item, Ty::Int { name: "u8", .. }) => {
            let encode = |bytes: Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
            prop::collection::vec(any::<u8>(), 0..9).prop_map(move |bytes| json!(encode(bytes))).boxed()
        }
        Ty::List(item) => prop::collection::vec(json_of(item), 0..4).prop_map(Value::from).boxed(),
        Ty::Tuple(items) => items.iter().map(json_of).collect::<Vec<_>>().prop_map(Value::from).boxed(),
        Ty::Record(fields) => {
            let is_option = |ty: &Ty| matches!(ty, Ty::Option(_));
            let left_out: Vec<bool> = fields.iter().map(is_option).collect();
            let values = fields.iter().map(json_of).collect::<Vec<_>>();
            values.prop_map(move |values| record(values, &left_out)).boxed()
        }
        Ty::Variant(cases) => {
            let cases = cases.iter().enumerate().map(|(at, ty)| case(format!("c{at}"), ty.as_ref()));
            proptest::strategy::Union::new(cases).boxed()
        }
        Ty::Result(ok, err) => {
            prop_oneof![case("ok".into(), (**ok).as_ref()), case("err".into(), (**err).as_ref())].boxed()
        }
        Ty::Enum(count) => (0..*count).prop_map(|at| json!(format!("e{at}"))).boxed(),
        Ty::Flags(count) => {
            let names: Vec<String> = (0..*count).map(|at| format!("l{at}")).collect();
            proptest::sample::subsequence(names, 0..=*count).prop_map(|set| json!(set)).boxed()
        }
        Ty::Option(inner) => {
            let wrap = matches!(**inner, Ty::Option(_));
            let some =
                json_of(inner).prop_map(move |value| if wrap { json!({"some": value}) } else { value });
            prop_oneof![Just(Value::Null), some].boxed()
        }
    }
}

/// Large integers are answered as strings.
fn integer(value: i128) -> Value {
    match i64::try_from(value) {
        Ok(small) if small.unsigned_abs() < 1 << 53 => json!(small),
        _ => json!(value.to_string()),
    }
}

fn special_floats() -> impl Strategy<Value = Value> {
    proptest::sample::select(vec![
        json!("NaN"),
        json!("Infinity"),
        json!("-Infinity"),
        json!(0.0),
        json!(-0.0),
    ])
}

/// Options that are `null` are left out.
fn record(values: Vec<Value>, options: &[bool]) -> Value {
    let fields = values.into_iter().enumerate().filter(|(at, value)| !(options[*at] && value.is_null()));
    fields.map(|(at, value)| (format!("f{at}"), value)).collect::<Map<_, _>>().into()
}

fn case(name: String, payload: Option<&Ty>) -> BoxedStrategy<Value> {
    match payload {
        None => Just(json!({"tag": name})).boxed(),
        Some(ty) => json_of(ty).prop_map(move |value| json!({"tag": name, "value": value})).boxed(),
    }
}

/// One change to a JSON document.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    /// Which of its values, modulo their number.
    at: usize,
    kind: DamageKind,
}

#[derive(Clone, Debug)]
enum DamageKind {
    Replace(Value),
    AddKey(&'static str, Value),
    Remove(usize),
    Repeat,
}

/// Any change, with a liking for what is nearly right.
pub(super) fn damage() -> impl Strategy<Value = Damage> {
    let values = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(127),
        json!(128),
        json!(-129),
        json!(255),
        json!(256),
        json!(65536),
        json!(1.0),
        json!(-0.0),
        json!(1.5),
        json!(1e2),
        json!(4_294_967_296_u64),
        json!(9_007_199_254_740_993_u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e18),
        json!(1e300),
        json!(3.5e38),
        json!(""),
        json!("a"),
        json!("ab"),
        json!("é"),
        json!("👩‍🔬"),
        json!("NaN"),
        json!("nan"),
        json!("Infinity"),
        json!("12"),
        json!("-12"),
        json!("012"),
        json!("+1"),
        json!("-0"),
        json!("1e3"),
        json!("18446744073709551615"),
        json!("18446744073709551616"),
        json!("-9223372036854775808"),
        json!("-9223372036854775809"),
        json!("5\n"),
        json!("AA=="),
        json!("AB=="),
        json!("AAA="),
        json!("AAAA"),
        json!("AA"),
        json!("A-_="),
        json!("e0"),
        json!([]),
        json!([null]),
        json!([0]),
        json!(["l0"]),
        json!(["l0", "l0"]),
        json!(["l1", "l0"]),
        json!({}),
        json!({"some": null}),
        json!({"some": 1}),
        json!({"some": 1, "x": 1}),
        json!({"tag": "c0"}),
        json!({"tag": "ok"}),
        json!({"tag": "c0", "value": null}),
        json!({"tag": "ok", "value": 1}),
        json!({"tag": 0}),
        json!({"f0": null}),
    ];
    let value = proptest::sample::select(values);
    let kind = prop_oneof![
        4 => value.clone().prop_map(DamageKind::Replace),
        2 => (proptest::sample::select(vec!["f0", "f1", "tag", "value", "some", "x"]), value)
            .prop_map(|(key, value)| DamageKind::AddKey(key, value)),
        1 => any::<usize>().prop_map(DamageKind::Remove),
        1 => Just(DamageKind::Repeat),
    ];
    (any::<usize>(), kind).prop_map(|(at, kind)| Damage { at, kind })
}

impl Damage {
    /// Applies the change. One that does not fit its place changes nothing.
    pub(super) fn apply(&self, json: &mut Value) {
        let mut left = self.at % count(json);
        self.visit(json, &mut left);
    }

    /// Walks in order until `left` values were passed; gives whether it was applied.
    fn visit(&self, json: &mut Value, left: &mut usize) -> bool {
        if *left == 0 {
            self.change(json);
            return true;
        }
        *left -= 1;
        match json {
            Value::Array(items) => items.iter_mut().any(|item| self.visit(item, left)),
            Value::Object(map) => map.values_mut().any(|item| self.visit(item, left)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }

    fn change(&self, json: &mut Value) {
        match (&self.kind, json) {
            (DamageKind::Replace(value), json) => *json = value.clone(),
            (DamageKind::AddKey(key, value), Value::Object(map)) => {
                map.insert((*key).to_owned(), value.clone());
            }
            (DamageKind::Remove(at), Value::Array(items)) if !items.is_empty() => {
                items.remove(at % items.len());
            }
            (DamageKind::Remove(at), Value::Object(map)) if !map.is_empty() => {
                let key = map.keys().nth(at % map.len()).expect("it is below the length").clone();
                map.remove(&key);
            }
            (DamageKind::Repeat, Value::Array(items)) => items.extend(items.clone()),
            (DamageKind::AddKey(..) | DamageKind::Remove(_) | DamageKind::Repeat, _) => {}
        }
    }
}

fn count(json: &Value) -> usize {
    1 + match json {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
