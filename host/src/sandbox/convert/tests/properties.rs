//! For random types: schema and conversion accept the same values, and what goes in comes out.

use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Value, json};

use super::wit::{Damage, Ty, damage, declare, json_of, ty};
use super::{Echo, plain};
use crate::arguments::ArgumentErrors;

/// A random list type, some values of it in the form of an answer, and changes to try on each.
fn scenario() -> impl Strategy<Value = (Ty, Vec<(Value, Vec<Damage>)>)> {
    ty().prop_flat_map(|ty| {
        let list = Ty::List(Box::new(ty));
        let values = (json_of(&list), prop::collection::vec(damage(), 8));
        (Just(list), prop::collection::vec(values, 4))
    })
}

/// Whether each error is one of the two documented cases where a schema accepts more: digits that are out of the
/// range of their integer, and an integer beyond 2^53 that is not written out.
fn is_documented(errors: &ArgumentErrors) -> bool {
    errors.errors().iter().all(|error| {
        let digits = error.found.strip_prefix("the string \"").and_then(|text| text.strip_suffix('"'));
        let digits = digits.and_then(|text| text.parse::<i128>().ok());
        let number = error.found.strip_prefix("the number ").filter(|text| text.parse::<i128>().is_err());
        let number = number.and_then(|text| text.parse::<f64>().ok());
        digits.is_some_and(|value| value < i64::MIN.into() || value > i64::MAX.into())
            || number.is_some_and(|value| value.fract() == 0.0 && value.abs() > 9_007_199_254_740_992.0)
    })
}

proptest! {
    #![proptest_config(Config { cases: 128, max_shrink_iters: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn schema_and_conversion_agree_and_values_survive_a_guest((list, values) in scenario()) {
        let mut types = String::new();
        let name = declare(&list, &mut types);
        let mut echo = Echo::new(&types, &name);
        let schemas = echo.typed.schemas().expect("the types are small");
        let input = jsonschema::draft202012::new(&schemas.input).expect("a valid schema");
        let output = jsonschema::draft202012::new(&schemas.output.expect("there is a result")).expect("a valid schema");

        for (value, damages) in values {
            let arguments = json!({"value": value});
            prop_assert!(input.is_valid(&arguments), "the schema refuses {arguments}");
            let vals = echo.typed.arguments_to_vals(&arguments);
            let vals = vals.map_err(|errors| TestCaseError::fail(format!("{arguments}: {errors}")))?;
            let answer = echo.call(&vals);
            prop_assert_eq!(answer.bytes, value.to_string().len() as u64);
            let answer = plain(answer);
            prop_assert!(output.is_valid(&answer));
            prop_assert_eq!(&answer, &value);

            for damage in damages {
                let mut arguments = arguments.clone();
                damage.apply(&mut arguments);
                match echo.typed.arguments_to_vals(&arguments) {
                    Ok(vals) => {
                        prop_assert!(input.is_valid(&arguments), "only the schema refuses {arguments}");
                        // The answer may have another form (`null` left out), but it is a fixed one.
                        let answer = plain(echo.call(&vals));
                        prop_assert!(output.is_valid(&answer), "the schema refuses the answer {answer}");
                        let again = echo.typed.arguments_to_vals(&json!({"value": answer.clone()}));
                        let again = again.map_err(|errors| TestCaseError::fail(errors.to_string()))?;
                        prop_assert_eq!(plain(echo.call(&again)), answer);
                    }
                    Err(errors) => prop_assert!(
                        !input.is_valid(&arguments) || is_documented(&errors),
                        "only the conversion refuses {arguments}: {errors}"
                    ),
                }
            }
        }
    }

    #[test]
    fn an_f32_survives_as_a_number(bits in any::<u32>()) {
        let value = f32::from_bits(bits);
        let json = super::super::answer::widen(value);
        #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what is asked")]
        let back = json as f32;
        prop_assert_eq!(json.is_nan(), value.is_nan());
        prop_assert!(value.is_nan() || back.to_bits() == bits);
        prop_assert!(!value.is_finite() || json.to_string().len() <= value.to_string().len());
    }
}
