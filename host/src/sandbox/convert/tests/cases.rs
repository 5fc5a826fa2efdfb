//! Chosen cases: the schema of every type, each error, each form of result.

use serde_json::{Value, json};
use wasmtime::component::Val;

use super::super::answer::{ConvertError, ToolValue};
use super::super::schema::function_schemas;
use super::super::shape::{TypedFunction, UnconvertibleReason};
use super::{Echo, function, imported, plain};

const EVERY_TYPE: &str = r#"
    (type $record (record (field "name" string) (field "max-size" (option u32))))
    (import "record" (type $r (eq $record)))
    (type $variant (variant (case "none") (case "circle" f64) (case "named" $r)))
    (import "variant" (type $v (eq $variant)))
    (type $enum (enum "low" "high"))
    (import "enum" (type $e (eq $enum)))
    (type $flags (flags "read" "write"))
    (import "flags" (type $f (eq $flags)))
"#;

const EVERY_SIGNATURE: &str = r#"
    (param "a-bool" bool) (param "an-s8" s8) (param "a-u8" u8) (param "an-s16" s16) (param "a-u16" u16)
    (param "an-s32" s32) (param "a-u32" u32) (param "an-s64" s64) (param "a-u64" u64)
    (param "an-f32" f32) (param "an-f64" f64) (param "a-char" char) (param "a-string" string)
    (param "bytes" (list u8)) (param "a-list" (list u16)) (param "a-tuple" (tuple bool string))
    (param "a-record" $r) (param "a-variant" $v) (param "an-enum" $e) (param "some-flags" $f)
    (param "an-option" (option string)) (param "nested" (option (option bool)))
    (param "a-result" (result char (error u8))) (param "a-bare-result" (result))
    (result (result (list $r) (error $v)))
"#;

#[test]
fn the_schema_of_every_type() {
    let text = format!("(component {EVERY_TYPE} (import \"f\" (func {EVERY_SIGNATURE})))");
    let func = imported(&super::ENGINE, &text);
    let schemas = function_schemas(&func).expect("every type has a JSON form");
    // Each on a line, so that a change is easy to see.
    let properties = schemas.input["properties"].as_object().expect("an object");
    let mut lines: Vec<String> =
        properties.iter().map(|(name, schema)| format!("{name}: {schema}")).collect();
    let mut rest = schemas.input.clone();
    rest["properties"] = json!("above");
    lines.push(rest.to_string());
    lines.push(format!("result: {}", schemas.output.clone().expect("there is a result")));
    insta::assert_snapshot!(lines.join("\n"), @r###"
    a-bare-result: {"oneOf":[{"additionalProperties":false,"properties":{"tag":{"const":"ok"}},"required":["tag"],"type":"object"},{"additionalProperties":false,"properties":{"tag":{"const":"err"}},"required":["tag"],"type":"object"}]}
    a-bool: {"type":"boolean"}
    a-char: {"maxLength":1,"minLength":1,"type":"string"}
    a-list: {"items":{"maximum":65535,"minimum":0,"type":"integer"},"type":"array"}
    a-record: {"additionalProperties":false,"properties":{"max-size":{"anyOf":[{"maximum":4294967295,"minimum":0,"type":"integer"},{"type":"null"}]},"name":{"type":"string"}},"required":["name"],"type":"object"}
    a-result: {"oneOf":[{"additionalProperties":false,"properties":{"tag":{"const":"ok"},"value":{"maxLength":1,"minLength":1,"type":"string"}},"required":["tag","value"],"type":"object"},{"additionalProperties":false,"properties":{"tag":{"const":"err"},"value":{"maximum":255,"minimum":0,"type":"integer"}},"required":["tag","value"],"type":"object"}]}
    a-string: {"type":"string"}
    a-tuple: {"items":false,"maxItems":2,"minItems":2,"prefixItems":[{"type":"boolean"},{"type":"string"}],"type":"array"}
    a-u16: {"maximum":65535,"minimum":0,"type":"integer"}
    a-u32: {"maximum":4294967295,"minimum":0,"type":"integer"}
    a-u64: {"anyOf":[{"maximum":18446744073709551615,"minimum":0,"type":"integer"},{"pattern":"^(0|[1-9][0-9]{0,19})$","type":"string"}]}
    a-u8: {"maximum":255,"minimum":0,"type":"integer"}
    a-variant: {"oneOf":[{"additionalProperties":false,"properties":{"tag":{"const":"none"}},"required":["tag"],"type":"object"},{"additionalProperties":false,"properties":{"tag":{"const":"circle"},"value":{"anyOf":[{"type":"number"},{"enum":["NaN","Infinity","-Infinity"]}]}},"required":["tag","value"],"type":"object"},{"additionalProperties":false,"properties":{"tag":{"const":"named"},"value":{"additionalProperties":false,"properties":{"max-size":{"anyOf":[{"maximum":4294967295,"minimum":0,"type":"integer"},{"type":"null"}]},"name":{"type":"string"}},"required":["name"],"type":"object"}},"required":["tag","value"],"type":"object"}]}
    an-enum: {"enum":["low","high"],"type":"string"}
    an-f32: {"anyOf":[{"maximum":3.4028234663852886e+38,"minimum":-3.4028234663852886e+38,"type":"number"},{"enum":["NaN","Infinity","-Infinity"]}]}
    an-f64: {"anyOf":[{"type":"number"},{"enum":["NaN","Infinity","-Infinity"]}]}
    an-option: {"anyOf":[{"type":"string"},{"type":"null"}]}
    an-s16: {"maximum":32767,"minimum":-32768,"type":"integer"}
    an-s32: {"maximum":2147483647,"minimum":-2147483648,"type":"integer"}
    an-s64: {"anyOf":[{"maximum":9223372036854775807,"minimum":-9223372036854775808,"type":"integer"},{"pattern":"^(0|-?[1-9][0-9]{0,18})$","type":"string"}]}
    an-s8: {"maximum":127,"minimum":-128,"type":"integer"}
    bytes: {"contentEncoding":"base64","pattern":"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$","type":"string"}
    nested: {"anyOf":[{"additionalProperties":false,"properties":{"some":{"anyOf":[{"type":"boolean"},{"type":"null"}]}},"required":["some"],"type":"object"},{"type":"null"}]}
    some-flags: {"items":{"enum":["read","write"],"type":"string"},"type":"array","uniqueItems":true}
    {"additionalProperties":false,"properties":"above","required":["a-bool","an-s8","a-u8","an-s16","a-u16","an-s32","a-u32","an-s64","a-u64","an-f32","an-f64","a-char","a-string","bytes","a-list","a-tuple","a-record","a-variant","an-enum","some-flags","a-result","a-bare-result"],"type":"object"}
    result: {"items":{"additionalProperties":false,"properties":{"max-size":{"anyOf":[{"maximum":4294967295,"minimum":0,"type":"integer"},{"type":"null"}]},"name":{"type":"string"}},"required":["name"],"type":"object"},"type":"array"}
    "###);
    // Deterministic: another engine's view of the same text is the same schema.
    let again = imported(&wasmtime::Engine::default(), &text);
    assert_eq!(function_schemas(&again).expect("as before"), schemas);
}

/// The errors for some arguments, one a line.
fn errors(types: &str, signature: &str, arguments: &Value) -> String {
    let typed = function(types, signature).expect("the types have a JSON form");
    let errors = typed.arguments_to_vals(arguments).expect_err("the arguments are wrong");
    let lines: Vec<String> = errors.errors().iter().map(ToString::to_string).collect();
    format!("{}{}", lines.join("\n"), if errors.more() { "\nmore" } else { "" })
}

#[test]
fn errors_name_the_place_what_was_expected_and_what_was_found() {
    let arguments = json!({
        "a-bool": "yes", "an-s8": 128, "a-u8": -1, "an-s16": 1.5, "a-u16": "7", "an-s32": null,
        "an-s64": "9223372036854775808", "a-u64": "007", "an-f32": 1e39, "extra": 1,
    });
    insta::assert_snapshot!(errors(EVERY_TYPE, EVERY_SIGNATURE, &arguments), @r###"
    $.a-bool: expected true or false, found the string "yes"
    $.an-s8: expected an integer from -128 to 127, found the number 128
    $.a-u8: expected an integer from 0 to 255, found the number -1
    $.an-s16: expected an integer from -32768 to 32767, found the number 1.5
    $.a-u16: expected an integer from 0 to 65535, found the string "7"
    $.an-s32: expected an integer from -2147483648 to 2147483647, found null
    $.a-u32: expected an integer, which is required, found nothing
    $.an-s64: expected an integer from -9223372036854775808 to 9223372036854775807, or its decimal digits as a string, found the string "9223372036854775808"
    $.a-u64: expected an integer from 0 to 18446744073709551615, or its decimal digits as a string, found the string "007"
    $.an-f32: expected a number in the range of an f32, "NaN", "Infinity" or "-Infinity", found the number 1e+39
    more
    "###);
    let signature = r#"(param "shapes" (list $v)) (param "on" $f) (param "level" (list $e)) (param "data" (list u8))
        (param "pair" (tuple char char)) (param "deep" (option (option bool)))"#;
    let arguments = json!({
        "shapes": [{"tag": "none"}, {"tag": "square"}, {"tag": "circle"}, {"tag": "none", "value": 1}, 7,
            {"tag": "named", "value": {"name": "x", "max-size": "12", "more": 1}}],
        "on": ["read", "read"], "level": ["low", "mid"], "data": "AB==",
        "pair": ["a", "ab"], "deep": {"some": 1, "more": 2},
    });
    insta::assert_snapshot!(errors(EVERY_TYPE, signature, &arguments), @r###"
    $.shapes[1].tag: expected one of none, circle, named, found the string "square"
    $.shapes[2].value: expected a number, which is required, found nothing
    $.shapes[3].value: expected no such key (known here: tag), found the number 1
    $.shapes[4]: expected an object with "tag", found the number 7
    $.shapes[5].value.max-size: expected an integer from 0 to 4294967295, found the string "12"
    $.shapes[5].value.more: expected no such key (known here: name, max-size), found the number 1
    $.on[1]: expected each name at most once, found the string "read"
    $.level[1]: expected one of low, high, found the string "mid"
    $.data: expected base64 (standard alphabet, with padding), found the string "AB=="
    $.pair[1]: expected a string of one character, found the string "ab"
    more
    "###);
    insta::assert_snapshot!(errors("", "", &json!([])), @r###"$: expected an object, found an array of 0"###);
}

#[test]
fn an_error_shows_no_more_than_an_excerpt_and_nothing_that_acts() {
    let long = "\u{1b}]52;c;x\u{7}\u{202e}".to_owned() + &"k\n".repeat(50_000);
    let typed = function("", r#"(param "n" u8)"#).expect("a small type");
    let errors = typed.arguments_to_vals(&json!({"n": long.clone(), long: 1})).expect_err("wrong");
    let text = errors.to_string();
    assert!(text.len() < 1000 && !text.contains(['\u{1b}', '\u{202e}', '\n']), "{text:?}");
}

#[test]
fn large_integers_keep_their_digits() {
    let mut echo = Echo::new("(type $l (list u64))", "$l");
    let mut send = |value: Value| {
        let vals =
            echo.typed.arguments_to_vals(&json!({"value": [value]})).map_err(|errors| errors.to_string())?;
        Ok::<Value, String>(plain(echo.call(&vals))[0].clone())
    };
    assert_eq!(send(json!(9_007_199_254_740_991_u64)), Ok(json!(9_007_199_254_740_991_u64)));
    assert_eq!(send(json!(9_007_199_254_740_993_u64)), Ok(json!("9007199254740993")));
    assert_eq!(send(json!(u64::MAX)), Ok(json!("18446744073709551615")));
    assert_eq!(send(json!("18446744073709551615")), Ok(json!("18446744073709551615")));
    assert_eq!(send(json!("12")), Ok(json!(12)));
    assert_eq!(send(json!(1e3)), Ok(json!(1000)));
    for refused in
        [json!("18446744073709551616"), json!(1e19), json!(1e18), json!(-1), json!("-1"), json!(0.5)]
    {
        assert!(send(refused.clone()).is_err(), "{refused}");
    }
}

#[test]
fn floats_have_names_for_what_json_lacks_and_short_digits() {
    let mut echo = Echo::new("(type $l (list f32))", "$l");
    let value = json!(["NaN", "Infinity", "-Infinity", 0.1, 3, 3.4028234663852886e38]);
    let vals = echo.typed.arguments_to_vals(&json!({"value": value})).expect("floats");
    assert_eq!(
        plain(echo.call(&vals)).to_string(),
        r#"["NaN","Infinity","-Infinity",0.1,3.0,3.4028234663852886e+38]"#
    );
    assert!(echo.typed.arguments_to_vals(&json!({"value": [3.5e38]})).is_err());
    assert!(echo.typed.arguments_to_vals(&json!({"value": ["inf"]})).is_err());
}

#[test]
fn options_tell_none_from_some_none() {
    let typed =
        function("", r#"(param "a" (option (option u8))) (param "b" (option u8))"#).expect("small types");
    let some = |val: Val| Val::Option(Some(Box::new(val)));
    for (arguments, a, b) in [
        (json!({}), Val::Option(None), Val::Option(None)),
        (json!({"a": null, "b": null}), Val::Option(None), Val::Option(None)),
        (json!({"a": {"some": null}, "b": 1}), some(Val::Option(None)), some(Val::U8(1))),
        (json!({"a": {"some": 2}}), some(some(Val::U8(2))), Val::Option(None)),
    ] {
        assert_eq!(typed.arguments_to_vals(&arguments).expect("fits"), [a, b], "{arguments}");
    }
    assert!(typed.arguments_to_vals(&json!({"a": 2})).is_err());
}

#[test]
fn a_result_is_a_value_or_a_tool_error() {
    let answer = |signature: &str, val: Val| {
        let typed = function("", signature).expect("small types");
        assert_eq!(typed.result_count(), 1);
        typed.vals_to_result(&[val], 1000).expect("fits").value
    };
    let string = |text: &str| Some(Box::new(Val::String(text.to_owned())));
    let both = "(result (result string (error string)))";
    assert_eq!(answer(both, Val::Result(Ok(string("a")))), ToolValue::Ok(Some(json!("a"))));
    assert_eq!(answer(both, Val::Result(Err(string("b")))), ToolValue::ToolError(json!("b")));
    assert_eq!(answer("(result (result))", Val::Result(Ok(None))), ToolValue::Ok(None));
    assert_eq!(answer("(result (result))", Val::Result(Err(None))), ToolValue::ToolError(json!(null)));
    assert_eq!(answer("(result (option u8))", Val::Option(None)), ToolValue::Ok(Some(json!(null))));
    let nested = Val::List(vec![Val::Result(Ok(string("a"))), Val::Result(Err(None))]);
    let expected = json!([{"tag": "ok", "value": "a"}, {"tag": "err"}]);
    assert_eq!(answer("(result (list (result string)))", nested), ToolValue::Ok(Some(expected)));

    let unit = function("", "").expect("no types");
    assert_eq!(unit.result_count(), 0);
    assert_eq!(unit.vals_to_result(&[], 0).expect("nothing fits in nothing").value, ToolValue::Ok(None));
    let schemas = unit.schemas().expect("small");
    assert_eq!((schemas.input["type"].as_str(), schemas.output), (Some("object"), None));
}

#[test]
fn a_value_of_another_type_is_the_hosts_fault() {
    let typed = function("", "(result (list (tuple u8 string)))").expect("small types");
    let tuple = Val::Tuple(vec![Val::U8(1), Val::Bool(true)]);
    let error = typed.vals_to_result(&[Val::List(vec![tuple])], 1000).expect_err("a bool is no string");
    assert_eq!(error.to_string(), "the result at $[0][1] is not of the declared type (a string)");
    for vals in [&[][..], &[Val::U8(1), Val::U8(2)], &[Val::U8(1)]] {
        assert!(matches!(typed.vals_to_result(vals, 1000), Err(ConvertError::Mismatch { .. })));
    }
}

#[test]
fn what_has_no_json_form_is_refused_with_place_and_reason() {
    let resource = r#"(import "r" (type $r (sub resource)))
        (type $rec (record (field "handle" (own $r)))) (import "rec" (type $x (eq $rec)))"#;
    for (signature, place) in [
        (r#"(param "a" (list $x))"#, "parameters/a/items/handle"),
        (r#"(param "a" (borrow $r))"#, "parameters/a"),
        (r#"(result (result (error (option $x))))"#, "result/err/some/handle"),
        (r#"(result (tuple u8 (own $r)))"#, "result/1"),
    ] {
        let error = function(resource, signature).expect_err("a resource has no JSON form");
        assert_eq!(
            (error.path.as_str(), error.reason),
            (place, UnconvertibleReason::Resource),
            "{signature}"
        );
    }
}

/// Proposals that this host's engine does not even accept. They are refused here as well, should that change.
#[test]
fn types_of_later_proposals_are_refused() {
    use wasmtime::WasmFeatures;
    for (feature, signature, reason) in [
        (WasmFeatures::CM_MAP, r#"(param "a" (map string u8))"#, UnconvertibleReason::Map),
        (
            WasmFeatures::CM_FIXED_LENGTH_LISTS,
            r#"(param "a" (list u8 3))"#,
            UnconvertibleReason::FixedLengthList,
        ),
    ] {
        let mut config = wasmtime::Config::new();
        config.wasm_features(feature, true);
        let engine = wasmtime::Engine::new(&config).expect("the engine has the proposal");
        let func = imported(&engine, &format!("(component (import \"f\" (func {signature})))"));
        let error = TypedFunction::new(&func).expect_err("not served");
        assert_eq!((error.path.as_str(), error.reason), ("parameters/a", reason));
    }
}
