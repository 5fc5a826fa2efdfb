//! Arguments that fit a tool's schema, made from it as an agent would make them.

use serde_json::{Map, Value, json};

use super::random::Random;

/// The longest list that is made, and the longest text in characters.
const LENGTH_MAX: u64 = 6;
/// Beyond this depth lists are empty and options are left out.
const DEPTH_MAX: u32 = 8;

/// What texts are made of: every length in UTF-8, and what is often treated as special.
const CHARACTERS: [char; 12] =
    ['a', 'Z', '0', ' ', '\n', '\0', '"', '\\', '\u{e9}', '\u{20ac}', '\u{1f600}', '\u{202e}'];

/// A value that fits. Understands what schemas of typed tools say; of others' schemas, enough.
pub(crate) fn fitting(schema: &Value, random: &mut Random) -> Value {
    value(schema, random, 0)
}

fn value(schema: &Value, random: &mut Random, depth: u32) -> Value {
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(values) = schema["enum"].as_array().filter(|values| !values.is_empty()) {
        return random.pick(values).clone();
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choice].as_array().filter(|choices| !choices.is_empty()) {
            return chosen(choices, random, depth);
        }
    }
    match schema["type"].as_str().unwrap_or("null") {
        "boolean" => json!(random.below(2) == 1),
        "integer" => integer(schema, random),
        "number" => number(schema, random),
        "string" => text(schema, random),
        "array" => array(schema, random, depth),
        "object" => object(schema, random, depth),
        _ => Value::Null,
    }
}

/// Deep down `null` is taken where it may be, so that values end.
fn chosen(choices: &[Value], random: &mut Random, depth: u32) -> Value {
    let null = choices.iter().find(|choice| choice["type"] == "null");
    match null {
        Some(_) if depth >= DEPTH_MAX => Value::Null,
        _ => value(random.pick(choices), random, depth + 1),
    }
}

fn integer(schema: &Value, random: &mut Random) -> Value {
    let (minimum, maximum) = (&schema["minimum"], &schema["maximum"]);
    let low = minimum.as_i64().map_or(0, i128::from);
    let high = maximum.as_i64().map(i128::from).or(maximum.as_u64().map(i128::from));
    let high = high.unwrap_or(low + 100);
    let chosen = match random.below(4) {
        0 => low,
        1 => high,
        2 => low + i128::from(random.below(3)),
        _ => low + i128::from(random.next()) % (high - low + 1),
    };
    let chosen = chosen.clamp(low, high);
    i64::try_from(chosen)
        .map_or_else(|_| json!(u64::try_from(chosen).unwrap_or_default()), |small| json!(small))
}

fn number(schema: &Value, random: &mut Random) -> Value {
    let bound = schema["maximum"].as_f64().unwrap_or(f64::MAX);
    let small = f64::from(u32::try_from(random.below(1_000)).unwrap_or_default());
    json!(*random.pick(&[0.0, -0.0, 1.5, -small, small / 7.0, bound, -bound]))
}

fn text(schema: &Value, random: &mut Random) -> Value {
    if schema["contentEncoding"] == "base64" {
        return json!(*random.pick(&["", "AA==", "AAA=", "AAAA", "////", "aGVsbG8="]));
    }
    if schema["pattern"].is_string() {
        // The typed tools' only other pattern is that of decimal digits.
        return json!(random.below(1_000).to_string());
    }
    let least = schema["minLength"].as_u64().unwrap_or(0);
    let most = schema["maxLength"].as_u64().unwrap_or(LENGTH_MAX).min(least + LENGTH_MAX);
    let length = least + random.below(most - least + 1);
    json!((0..length).map(|_| random.pick(&CHARACTERS)).collect::<String>())
}

fn array(schema: &Value, random: &mut Random, depth: u32) -> Value {
    if let Some(items) = schema["prefixItems"].as_array() {
        return items.iter().map(|item| value(item, random, depth + 1)).collect();
    }
    if schema["uniqueItems"] == true {
        let names = schema["items"]["enum"].as_array().cloned().unwrap_or_default();
        return names.into_iter().filter(|_| random.below(2) == 1).collect();
    }
    let length = if depth >= DEPTH_MAX { 0 } else { random.below(LENGTH_MAX) };
    (0..length).map(|_| value(&schema["items"], random, depth + 1)).collect()
}

fn object(schema: &Value, random: &mut Random, depth: u32) -> Value {
    let Some(properties) = schema["properties"].as_object() else { return json!({}) };
    let required = |name: &String| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    let mut made = Map::new();
    for (name, property) in properties {
        if required(name) || depth < DEPTH_MAX && random.below(2) == 1 {
            made.insert(name.clone(), value(property, random, depth + 1));
        }
    }
    Value::Object(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_has_the_form_that_is_asked_for() {
        let mut random = Random::new(1);
        let schema = json!({
            "type": "object",
            "properties": {
                "a": {"type": "integer", "minimum": -3, "maximum": 4},
                "b": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 1}},
                "c": {"oneOf": [{"const": 1}, {"enum": ["x"]}]},
            },
            "required": ["a", "b"],
        });
        for _ in 0..200 {
            let made = fitting(&schema, &mut random);
            assert!((-3..=4).contains(&made["a"].as_i64().expect("an integer")), "{made}");
            let texts = made["b"].as_array().expect("a list");
            assert!(texts.iter().all(|text| text.as_str().is_some_and(|text| text.chars().count() == 1)));
            assert!(made["c"].is_null() || made["c"] == 1 || made["c"] == "x", "{made}");
        }
        let most = json!({"type": "integer", "minimum": 0, "maximum": u64::MAX});
        assert!((0..50).any(|_| fitting(&most, &mut random) == u64::MAX));
    }
}
