//! What hostile types, arguments and answers cost: threats 12, 13, 14 and 22.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmtime::component::Val;

use super::super::answer::ConvertError;
use super::super::schema::SCHEMA_BYTES_MAX;
use super::super::shape::{TYPE_DEPTH_MAX, UnconvertibleReason};
use super::{function, plain};
use crate::arguments::ARGUMENT_ERRORS_MAX;
use crate::limits::{Limit, LimitReached};

/// No bound may take longer, on the slowest machine.
const SOON: Duration = Duration::from_secs(5);

/// `levels` types, each made from the one before.
fn tower(levels: usize, first: &str, next: impl Fn(&str) -> String) -> String {
    let mut types = format!("(type $t0 {first})");
    for level in 1..levels {
        types.push_str(&format!("(type $t{level} {})", next(&format!("$t{}", level - 1))));
    }
    types
}

/// Threat 12.
#[test]
fn types_may_be_nested_up_to_the_bound() {
    let list = |below: &str| format!("(list {below})");
    // The innermost `u32` is a level too.
    let levels = TYPE_DEPTH_MAX - 1;
    let types = tower(levels, "(list u32)", list);
    let typed = function(&types, &format!("(param \"a\" $t{0}) (result $t{0})", levels - 1))
        .expect("just in the bound");
    let mut value = json!(7);
    for _ in 0..levels {
        value = json!([value]);
    }
    let vals = typed.arguments_to_vals(&json!({"a": value.clone()})).expect("the value fits");
    assert_eq!(plain(typed.vals_to_result(&vals, 1000).expect("fits")), value);
    typed.schemas().expect("small");

    let types = tower(levels + 1, "(list u32)", list);
    for signature in [format!("(param \"a\" $t{levels})"), format!("(result $t{levels})")] {
        let error = function(&types, &signature).expect_err("one level too deep");
        assert_eq!(error.reason, UnconvertibleReason::TooDeep);
        assert!(error.path.len() <= 256, "{}", error.path);
    }
}

/// Threat 13: eighteen aliases that stand for 2^18 types, the most that the engine takes.
#[test]
fn exponential_aliases_are_refused_in_time() {
    let types = tower(18, "(tuple u32 u32)", |below| format!("(tuple {below} {below})"));
    let started = Instant::now();
    for signature in ["(param \"a\" $t17)", "(result $t17)", "(result (result (error $t17)))"] {
        let error = function(&types, signature).expect_err("too large");
        assert_eq!(error.reason, UnconvertibleReason::TooLarge, "{signature}");
    }
    assert!(started.elapsed() < SOON);
}

/// Threat 14, and records and names of any width.
#[test]
fn wide_types_are_refused_at_the_size_of_the_schema() {
    let declare = |text: String| format!("(type $w ({text})) (import \"w\" (type $x (eq $w)))");
    let many = |count: usize, item: fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(" ");
    let enumeration = |count| declare(format!("enum {}", many(count, |at| format!("\"case-{at}\""))));
    let variant = |count| declare(format!("variant {}", many(count, |at| format!("(case \"c{at}\" u32)"))));
    let record = |count| declare(format!("record {}", many(count, |at| format!("(field \"f{at}\" u32)"))));

    for types in [enumeration(3_000), variant(350), record(800)] {
        let schemas =
            function(&types, "(param \"a\" $x)").and_then(|typed| typed.schemas()).expect("it fits");
        let length = schemas.input.to_string().len();
        assert!(length > SCHEMA_BYTES_MAX / 2 && length <= SCHEMA_BYTES_MAX, "{length}");
    }
    for types in [enumeration(9_999), variant(1_001), record(9_999)] {
        let refused = function(&types, "(param \"a\" $x)").and_then(|typed| typed.schemas());
        assert_eq!(refused.expect_err("too large").reason, UnconvertibleReason::TooLarge);
    }
}

#[test]
fn errors_are_collected_up_to_the_bound() {
    let typed = function("", "(param \"a\" (list u8)) (param \"b\" (list u16))").expect("small");
    let wrong = |count: usize| json!({"a": "", "b": vec!["x"; count]});
    let check = |count: usize| typed.arguments_to_vals(&wrong(count)).expect_err("wrong");
    assert_eq!((check(3).errors().len(), check(3).more()), (3, false));
    assert_eq!((check(10).errors().len(), check(10).more()), (ARGUMENT_ERRORS_MAX, false));
    assert_eq!((check(100_000).errors().len(), check(100_000).more()), (ARGUMENT_ERRORS_MAX, true));
    let unknown: Value =
        (0..1_000).map(|at| (format!("x{at}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let errors = typed.arguments_to_vals(&unknown).expect_err("wrong");
    assert_eq!((errors.errors().len(), errors.more()), (ARGUMENT_ERRORS_MAX, true));
}

/// `{}` three hundred thousand times would otherwise become gigabytes.
#[test]
fn fields_left_out_are_charged() {
    let fields: String = (0..100).map(|at| format!("(field \"f{at}\" (option u8))")).collect();
    let types = format!("(type $w (record {fields})) (import \"w\" (type $x (eq $w)))");
    let typed = function(&types, "(param \"a\" (list $x))").expect("small");
    assert!(typed.arguments_to_vals(&json!({"a": vec![json!({}); 1_000]})).is_ok());
    let started = Instant::now();
    let errors = typed.arguments_to_vals(&json!({"a": vec![json!({}); 300_000]})).expect_err("too much");
    assert!(errors.to_string().contains("too many values"), "{errors}");
    assert_eq!((errors.errors().len(), errors.more()), (1, true));
    assert!(started.elapsed() < SOON);
}

/// The longest argument text of numbers and of bytes still fits.
#[test]
fn full_size_arguments_fit() {
    let typed = function("", "(param \"a\" (list u32)) (param \"b\" (list u8))").expect("small");
    assert!(typed.arguments_to_vals(&json!({"a": vec![1; 1 << 19], "b": ""})).is_ok());
    assert!(typed.arguments_to_vals(&json!({"a": [], "b": "AAAA".repeat(1 << 18)})).is_ok());
}

/// Threat 22: an answer is counted before it is copied, and stops at its limit.
#[test]
fn an_answer_stops_at_its_limit() {
    let typed = function("", "(result (list (tuple string (list u8) (option f64))))").expect("small");
    let item = |text: &str| {
        let float = Val::Option(Some(Box::new(Val::Float64(0.5))));
        Val::Tuple(vec![Val::String(text.to_owned()), Val::List(vec![Val::U8(7); 4]), float])
    };
    let answer = [Val::List(vec![item("a\"\n\u{1}é\u{7f}"), item("")])];
    let whole = typed.vals_to_result(&answer, 1000).expect("fits");
    let length = whole.bytes;
    assert_eq!(plain(whole).to_string().len() as u64, length);
    assert!(typed.vals_to_result(&answer, length).is_ok());
    for max in 0..length {
        match typed.vals_to_result(&answer, max) {
            Err(ConvertError::LimitReached(LimitReached { limit: Limit::Output, value, max: said })) => {
                assert!(said == max && value > max && value <= length);
            }
            other => panic!("{max}: {other:?}"),
        }
    }
    // It stops where the limit is, not at the end.
    let long = [Val::List(vec![item("x"); 1_000_000])];
    let started = Instant::now();
    assert!(typed.vals_to_result(&long, 100).is_err());
    assert!(started.elapsed() < Duration::from_millis(500));
}
