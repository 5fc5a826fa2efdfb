//! Components made by others: the WIT of `tests/guests/echo`, which has every type that a tool can take, implemented
//! in Rust (wit-bindgen), Python (componentize-py) and JavaScript (componentize-js). Their schemas are the same, and
//! what they are sent as JSON they give back, through the sandbox.

mod types;

use std::cell::Cell;
use std::sync::LazyLock;

use portcullis::arguments::parse_arguments;
use portcullis::gateway::CallError;
use portcullis::sandbox::InvokeError;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::types::Function;
use crate::harness::{AGENT, World, guest};

/// One WIT, three toolchains.
const GUESTS: [&str; 3] = ["echo", "echo-python", "echo-javascript"];

/// Values for each function and language: a call of the interpreters takes some 20 ms in tests.
const CASES: u32 = 12;

const WIT: &str = include_str!("../guests/echo/wit/world.wit");

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made")
});

async fn world() -> World {
    let world = World::relaxed().await;
    let mut grants = String::new();
    for name in GUESTS {
        world.add(name, guest(name)).await;
        grants += &format!("[[grant]]\npackage = \"{name}\"\nagents = [\"{AGENT}\"]\n");
    }
    world.grant(&grants).await;
    world
}

/// What a tool returned: its result, or the error that it told as data.
async fn answered(world: &World, package: &str, tool: &str, arguments: Value) -> Result<Value, Value> {
    match world.call(package, tool, arguments.clone()).await {
        Ok(answer) => Ok(answer.answer.structured.unwrap_or(Value::Null)),
        Err(CallError::Failed { error: InvokeError::Tool { data: Some(data), .. }, .. }) => Err(data),
        Err(error) => panic!("{package} {tool} {arguments}: {error}"),
    }
}

/// What is to be returned for a value: itself, or what is in a result.
fn expected(is_result: bool, value: &Value) -> Result<Value, Value> {
    match value["tag"].as_str() {
        Some("ok") if is_result => Ok(value.get("value").cloned().unwrap_or(Value::Null)),
        Some(_) if is_result => Err(value.get("value").cloned().unwrap_or(Value::Null)),
        _ => Ok(value.clone()),
    }
}

/// Whether two answers are the same to the last bit of zero's sign, which `==` of numbers passes over.
fn same(one: &Result<Value, Value>, other: &Result<Value, Value>) -> bool {
    one == other && format!("{one:?}") == format!("{other:?}")
}

/// One host for all of it: most of the time goes into compiling what holds an interpreter.
#[test]
fn components_of_three_toolchains_are_taken_alike() {
    let world = RUNTIME.block_on(world());
    RUNTIME.block_on(schemas_and_descriptions_are_the_same(&world));
    RUNTIME.block_on(chosen_values_are_the_same(&world));
    RUNTIME.block_on(what_is_no_value_of_its_type_is_refused(&world));
    what_goes_in_comes_out(&world);
}

/// What components of componentize-js 0.23 get wrong. A number that is returned as it is, and not in memory: a negative
/// `s64` traps (bytecodealliance/ComponentizeJS#343), and of a `u32` of 2^31 or more come the low bits of the double. A
/// text that begins with U+FEFF loses it. The first is told as the guest's crash; the others are what the guest said,
/// and no host can know better.
fn is_spoilt(package: &str, tool: &str, value: &Value) -> bool {
    let negative = value.as_i64().is_some_and(|number| number < 0)
        || value.as_str().is_some_and(|digits| digits.starts_with('-'));
    let large = value.as_u64().is_some_and(|number| number >= 1 << 31);
    let marked = value.as_str().is_some_and(|text| text.starts_with('\u{feff}'));
    package == "echo-javascript"
        && (marked || (tool == "signed64" && negative) || (tool == "unsigned32" && large))
}

fn what_goes_in_comes_out(world: &World) {
    let (resolve, functions) = types::read(WIT);
    let echoes: Vec<&Function> = functions
        .iter()
        .filter(|function| matches!(function.params.as_slice(), [(name, ty)] if name == "value" && function.result == Some(*ty)))
        .collect();
    assert!(echoes.len() >= 33, "{}", echoes.len());
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    for function in echoes {
        // A runner counts the cases of all that it ran.
        let (mut runner, calls) = (TestRunner::new(config.clone()), Cell::new(0));
        let strategy = types::values(&resolve, &function.params[0].1);
        let is_result = types::result(&resolve, function.result.as_ref());
        let ran = runner.run(&strategy, |value| {
            let wanted = expected(is_result, &value);
            for package in GUESTS {
                let arguments = json!({"value": value});
                calls.set(calls.get() + 1);
                if is_spoilt(package, &function.name, &value) {
                    let ended = RUNTIME.block_on(world.call(package, &function.name, arguments));
                    let right =
                        matches!(&ended, Ok(answer) if answer.answer.structured.as_ref() == Some(&value));
                    prop_assert!(!right, "the toolchain was mended: {ended:?}");
                    continue;
                }
                let answer = RUNTIME.block_on(answered(world, package, &function.name, arguments));
                prop_assert!(
                    same(&answer, &wanted),
                    "{package} {}: {answer:?}, not {wanted:?}",
                    function.name
                );
            }
            Ok(())
        });
        ran.unwrap_or_else(|error| panic!("{}: {error}", function.name));
        assert_eq!(calls.get(), CASES * 3, "{}", function.name);
    }
}

/// What chance may not find, and what is no echo.
async fn chosen_values_are_the_same(world: &World) {
    let deep = json!({
        "levels": [
            ["", null],
            ["a", []],
            ["😀\u{0}", [
                {"tag": "ok"},
                {"tag": "err", "value": []},
                {"tag": "err", "value": ["read", "execute-all"]},
                {"tag": "ok", "value": {"tag": "line", "value": []}},
                {"tag": "ok", "value": {"tag": "line", "value": [{"x": i32::MIN, "y": i32::MAX}]}},
            ]],
        ],
        "maybe": [
            {"tag": "one", "value": null},
            {"tag": "two", "value": null},
            {"tag": "two", "value": {"some": null}},
            {"tag": "two", "value": {"some": ""}},
            {"tag": "three", "value": {"tag": "err"}},
            {"tag": "four", "value": ""},
        ],
        "tuples": [[true, "18446744073709551615"], ["-Infinity", [-128, "dark-green"]]],
        "thrice": {"some": {"some": null}},
    });
    // A case without a value has none: `ok` of an option is null, which is a value.
    let mut given = deep;
    given["levels"][2][1][0] = json!({"tag": "ok", "value": null});
    let echo = |tool, value: Value| (tool, json!({"value": value.clone()}), Ok(value));
    let failure = json!({"name": "a", "corners": [{"x": 1, "y": -1}], "colour": "blue"});
    let seventeen = json!({
        "a": 255, "b": -128, "c": 65535, "d": -32768, "e": u32::MAX, "f": i32::MIN,
        "g": u64::MAX, "h": i64::MIN, "i": 0.5, "j": -2.25, "k": true, "l": "😀", "m": "größer",
        "n": "AP8=", "o": "dark-green", "p": ["execute-all", "read"], "q": {"x": 1, "y": -2},
    });
    let said = "255 -128 65535 -32768 4294967295 -2147483648 18446744073709551615 -9223372036854775808 0.5 -2.25 true \
                😀 größer 0+255 dark-green read+execute-all 1,-2";
    let cases = [
        echo("nested", given),
        echo("unsigned64", json!("18446744073709551615")),
        echo("unsigned64", json!(9_007_199_254_740_991_u64)),
        echo("signed64", json!("-9223372036854775808")),
        ("unsigned64", json!({"value": u64::MAX}), Ok(json!(u64::MAX.to_string()))),
        ("unsigned8", json!({"value": 1e2}), Ok(json!(100))),
        echo("float64", json!("NaN")),
        echo("float64", json!(5e-324)),
        echo("float64", json!(f64::MAX)),
        echo("float32", json!(-0.0)),
        ("float32", json!({"value": 0.1}), Ok(json!(0.1))),
        echo("text", json!("")),
        echo("text", json!("e\u{301} 👩‍👩‍👧 \u{202e}\u{feff}\u{0}")),
        echo("text", json!("\u{feff}marked")),
        echo("character", json!("\u{10ffff}")),
        echo("bytes", json!("")),
        echo("texts", json!([])),
        echo("matrix", json!([[], [], [1]])),
        echo("maybe", Value::Null),
        ("maybe", json!({}), Ok(Value::Null)),
        echo("maybe-maybe", json!({"some": null})),
        ("many-flags", json!({"value": ["bit31", "bit0"]}), Ok(json!(["bit0", "bit31"]))),
        ("attempt", json!({"value": {"tag": "ok", "value": 7}}), Ok(json!(7))),
        ("attempt", json!({"value": {"tag": "err", "value": "no"}}), Err(json!("no"))),
        ("attempt-err", json!({"value": {"tag": "ok"}}), Ok(Value::Null)),
        ("attempt-ok", json!({"value": {"tag": "err"}}), Err(Value::Null)),
        ("bare-attempt", json!({"fail": false}), Ok(Value::Null)),
        ("bare-attempt", json!({"fail": true}), Err(Value::Null)),
        ("structured-failure", json!({"value": failure}), Err(failure.clone())),
        ("several", json!({"first": "a", "third": [true, false]}), Ok(json!("a None [true, false]"))),
        ("several", json!({"first": "a", "second": 3, "third": []}), Ok(json!("a Some(3) []"))),
        ("seventeen", seventeen, Ok(json!(said))),
        ("nothing", json!({}), Ok(Value::Null)),
        ("constant", json!({}), Ok(json!(42))),
        ("long-text", json!({"characters": 3}), Ok(json!("xxx"))),
        ("long-bytes", json!({"count": 2}), Ok(json!("Bwc="))),
        ("shout", json!({"text": "straße"}), Ok(json!("STRASSE"))),
    ];
    for (tool, arguments, wanted) in cases {
        for package in GUESTS.into_iter().filter(|package| !is_spoilt(package, tool, &arguments["value"])) {
            let answer = answered(world, package, tool, arguments.clone()).await;
            assert!(same(&answer, &wanted), "{package} {tool} {arguments}: {answer:?}, not {wanted:?}");
        }
    }
}

/// What is no value of its type never reaches a guest: the same error for each language.
async fn what_is_no_value_of_its_type_is_refused(world: &World) {
    let cases = [
        ("unsigned8", json!(256)),
        ("unsigned8", json!(-1)),
        ("unsigned8", json!(1.5)),
        ("unsigned64", json!("18446744073709551616")),
        ("unsigned64", json!("007")),
        ("unsigned64", json!(1e18)),
        ("signed64", json!("-9223372036854775809")),
        ("unsigned32", json!("1")),
        ("float32", json!(1e39)),
        ("float64", json!("nan")),
        ("character", json!("ab")),
        ("character", json!("")),
        ("bytes", json!("AA=")),
        ("pair", json!(["a"])),
        ("choice", json!({"tag": "nothing", "value": 1})),
        ("choice", json!({"tag": "circle"})),
        ("enumeration", json!("Red")),
        ("set", json!(["read", "read"])),
        ("maybe-maybe", json!(3)),
        ("attempt", json!({"ok": 3})),
        ("structure", json!({"name": "a", "corners": [], "color": "red"})),
        ("nested", json!({"levels": [], "maybe": [], "tuples": [[true, 1], [1, [1, "red"], 2]]})),
    ];
    for (tool, value) in cases {
        let mut told = Vec::new();
        for package in GUESTS {
            match world.call(package, tool, json!({"value": value})).await {
                Err(CallError::Failed { error: InvokeError::Arguments(errors), .. }) => told.push(errors),
                other => panic!("{package} {tool} {value}: {other:?}"),
            }
        }
        assert!(told.iter().all(|one| *one == told[0] && one.contains("$.value")), "{told:#?}");
    }
    // JSON itself has no half of a character, no NaN, and no number that is not finite.
    for text in
        [r#"{"value": "\ud800"}"#, r#"{"value": "\udc00\ud800"}"#, r#"{"value": NaN}"#, r#"{"value": 1e999}"#]
    {
        assert!(parse_arguments(text.as_bytes()).is_err(), "{text}");
    }
    let pair = parse_arguments(br#"{"value": "\ud83d\ude00"}"#).expect("two halves are one character");
    for package in GUESTS {
        assert_eq!(answered(world, package, "character", pair.clone()).await, Ok(json!("😀")), "{package}");
    }
}

/// A host shows the same tools, whatever they are written in: names, schemas and descriptions.
async fn schemas_and_descriptions_are_the_same(world: &World) {
    let wanted: Value = serde_json::from_str(include_str!("schemas.json")).expect("JSON");
    for package in GUESTS {
        let details = world.host.package(&package.parse().expect("a name")).await.expect("it is there");
        let description = &details[0].description;
        let own = ["exports: how componentize-py starts its interpreter"];
        assert_eq!(description.left_out, own[usize::from(package != "echo-python")..], "{package}");
        let mut shown = serde_json::Map::new();
        for tool in &description.tools {
            let schemas = json!({"input": tool.input_schema, "output": tool.output_schema});
            shown.insert(tool.name.to_string(), schemas);
            assert!(!tool.description.is_empty(), "{package} {}", tool.name);
        }
        let shown = Value::Object(shown);
        assert!(shown == wanted, "{package}: its schemas are not those of schemas.json:\n{shown:#}");
    }
}

/// What has no form in JSON is no tool: the package says which function, where in it, and why; its other tools work.
#[tokio::test(flavor = "multi_thread")]
async fn types_without_a_form_in_json_are_left_out_with_the_reason() {
    let lifted = |name: &str, types: &str, signature: &str, params: &str| {
        format!(
            r#"(component
                (core module $m (memory (export "memory") 1)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                    (func (export "run") (result i32) (i32.const 7))
                    (func (export "f") {params}))
                (core instance $i (instantiate $m))
                (func (export "run") (result u32) (canon lift (core func $i "run")))
                {types}
                (func (export "{name}") {signature}
                    (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
        )
    };
    let resource = r#"(type $t (resource (rep i32))) (export $r "thing" (type $t))"#;
    let cases = [
        (
            "handle",
            lifted("handle", resource, r#"(param "a" (list (own $r)))"#, "(param i32 i32)"),
            "parameters/a/items: a resource handle",
        ),
        (
            "borrow",
            lifted("borrow", resource, r#"(param "a" (borrow $r))"#, "(param i32)"),
            "parameters/a: a resource handle",
        ),
    ];
    for (name, text, reason) in cases {
        let world = World::with("some", wat::parse_str(&text).expect("valid text")).await;
        let details = world.host.package(&"some".parse().expect("a name")).await.expect("it is there");
        let left_out = &details[0].description.left_out;
        assert!(
            matches!(left_out.as_slice(), [one] if one.contains(name) && one.contains(reason)),
            "{left_out:?}"
        );
        assert_eq!(world.value("some", "run", json!({})).await, 7);
    }
    // Those of proposals that this host does not take refuse the whole component, by name.
    let cases = [
        ("`stream`", "(type $t (stream u8))", r#"(param "a" $t)"#, "(param i32)"),
        ("`future`", "(type $t (future u8))", r#"(param "a" $t)"#, "(param i32)"),
        ("Fixed-length lists", "(type $t (list u8 4))", r#"(param "a" $t)"#, "(param i32 i32 i32 i32)"),
        ("Maps", "(type $t (map string u8))", r#"(param "a" $t)"#, "(param i32 i32)"),
        ("`error-context`", "", r#"(param "a" error-context)"#, "(param i32)"),
    ];
    let world = World::new().await;
    for (what, types, signature, params) in cases {
        let bytes = wat::parse_str(lifted("f", types, signature, params)).expect("valid text");
        let refused = world.register("other", bytes).await.expect_err(what).to_string();
        let named = refused.contains("the component is not valid") && refused.contains(what);
        assert!(named && refused.contains("feature"), "{what}: {refused}");
    }
}

/// What componentize-py exports for itself is known by more than its name: an author may call an interface so as well.
#[tokio::test(flavor = "multi_thread")]
async fn an_interface_of_an_author_that_is_called_as_a_toolchains_is_served() {
    let text = r#"(component
        (core module $m (func (export "init") (result i32) (i32.const 7)))
        (core instance $i (instantiate $m))
        (func $init (result u32) (canon lift (core func $i "init")))
        (instance $e (export "init" (func $init)))
        (export "exports" (instance $e)))"#;
    let world = World::with("own", wat::parse_str(text).expect("valid text")).await;
    assert_eq!(world.value("own", "init", json!({})).await, 7);
}
