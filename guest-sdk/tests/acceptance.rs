//! What a schema accepts the tool accepts. The other way round it is so at the edges of types; where serde
//! reads more than a schema says (`{"point": null}` for a variant without content, and on the host a `usize`
//! beyond 32 bits), the schema is asked first.

#![expect(clippy::unwrap_used, clippy::unit_arg, reason = "a test, of all types")]

use std::collections::{BTreeMap, HashMap};
use std::num::{NonZeroI16, NonZeroU32};

use portcullis_sdk::{Tool, tool};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only read")]
enum Shape {
    Point,
    Circle { radius: f64 },
    Line(i32, i32),
    Named(String),
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "kind", deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
enum Tagged {
    A { a: u8 },
    B { b: Option<bool> },
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only read")]
enum Untagged {
    Number(u16),
    Text(String),
    List(Vec<i8>),
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only read")]
struct Open {
    #[serde(default)]
    name: String,
    size: usize,
}

/// One tool for each type: its argument `a` is required, unless the type says otherwise.
macro_rules! tools_of_types {
    ($($name:ident: $type:ty),+ $(,)?) => {
        $(
            /// Takes a value.
            #[tool]
            fn $name(a: $type) {
                let _ = a;
            }
        )+

        fn all() -> Vec<(&'static str, Value, fn(&str) -> bool)> {
            vec![$((
                stringify!($type),
                <$name as Tool>::input_schema(),
                |text| <$name as Tool>::call(text).is_ok(),
            )),+]
        }
    };
}

tools_of_types! {
    of_bool: bool, of_u8: u8, of_i8: i8, of_u16: u16, of_i16: i16, of_u32: u32, of_i32: i32, of_u64: u64, of_i64: i64,
    of_u128: u128, of_i128: i128,
    of_f32: f32, of_f64: f64, of_char: char, of_string: String, of_str: &str, of_slice: &[u8],
    of_option: Option<u32>, of_list: Vec<i64>, of_array: [bool; 2], of_tuple: (u8, String), of_unit: (),
    of_map: BTreeMap<String, f32>, of_numbered: HashMap<String, Vec<bool>>, of_non_zero: NonZeroU32,
    of_non_zero_signed: NonZeroI16,
    of_shape: Shape, of_tagged: Tagged, of_untagged: Untagged, of_open: Open, of_any: Value,
}

/// Whether each schema accepts some arguments, and whether its tool does.
fn asked(arguments: &Value) -> Vec<(&'static str, bool, bool)> {
    let text = arguments.to_string();
    let ask = |(name, schema, accepts): (&'static str, Value, fn(&str) -> bool)| {
        let schema = jsonschema::draft202012::options().offline().build(&schema).unwrap();
        (name, schema.is_valid(arguments), accepts(&text))
    };
    all().into_iter().map(ask).collect()
}

fn compare(arguments: &Value) {
    for (name, schema, tool) in asked(arguments) {
        assert_eq!(schema, tool, "{name}: {arguments}");
    }
}

#[test]
fn at_the_edges_of_types_both_agree() {
    let edges = [
        0_i128,
        1,
        -1,
        127,
        128,
        -128,
        -129,
        255,
        256,
        32_767,
        32_768,
        -32_768,
        -32_769,
        65_535,
        65_536,
        2_147_483_647,
        2_147_483_648,
        -2_147_483_648,
        -2_147_483_649,
        4_294_967_295,
        4_294_967_296,
        9_223_372_036_854_775_807,
        9_223_372_036_854_775_808,
        -9_223_372_036_854_775_808,
        18_446_744_073_709_551_615,
    ];
    for edge in edges {
        let value = i64::try_from(edge).map(Value::from).or_else(|_| u64::try_from(edge).map(Value::from));
        compare(&json!({ "a": value.unwrap() }));
    }
    for value in [
        json!(1.0),
        json!(-1.0),
        json!(0.5),
        json!(256.0),
        json!(4_294_967_296.0),
        json!(1e30),
        json!(-1e30),
        json!(1e300),
        json!(18_446_744_073_709_551_616.0),
        json!(null),
        json!(true),
        json!(""),
        json!("a"),
        json!("ab"),
        json!("ä"),
        json!("point"),
        json!("1"),
        json!([]),
        json!([1]),
        json!([1, "a"]),
        json!([1, "a", 2]),
        json!([true, false]),
        json!([256]),
        json!([1.0]),
        json!({}),
        json!({"radius": 1}),
        json!({"circle": {"radius": 1}}),
        json!({"circle": {}}),
        json!({"line": [1, 2]}),
        json!({"line": [1]}),
        json!({"named": "a"}),
        json!({"kind": "A", "a": 1}),
        json!({"kind": "A"}),
        json!({"kind": "B"}),
        json!({"kind": "B", "b": null}),
        json!({"kind": "C"}),
        json!({"kind": "A", "a": 1, "b": 2}),
        json!({"size": 1}),
        json!({"size": 1, "more": 2}),
        json!({"x": 0.5}),
        json!({"x": [true]}),
        json!({"x": "y"}),
    ] {
        compare(&json!({ "a": value }));
    }
    for arguments in [json!({}), json!({"a": 1, "b": 2}), json!({"b": 1})] {
        compare(&arguments);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-300_i64..300).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
        prop::sample::select(vec!["point", "circle", "line", "named", "A", "B"]).prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "a", "b", "kind", "radius", "circle", "line", "named", "point", "size", "name",
    ]);
    leaf.prop_recursive(3, 20, 4, move |inner| {
        let entries = prop::collection::btree_map(keys.clone(), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            entries.prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_schema_accepts_the_tool_accepts(value in value()) {
        let arguments = json!({ "a": value });
        for (name, schema, tool) in asked(&arguments) {
            prop_assert!(tool || !schema, "{}: {}", name, arguments);
        }
    }
}
