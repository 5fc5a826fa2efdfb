//! In which form an answer is asked for, and by which key it is known: `Accept`, `Prefer`, `Idempotency-Key`. Pure.

use http::{HeaderMap, header};
use sfv::{BareItem, Item, Parser};

use crate::api::messages::{IDEMPOTENCY_KEY_HEADER, PREFER_HEADER, RESPOND_ASYNC};
use crate::api::problem::Problem;
use crate::ids::IdempotencyKey;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One document, at the end.
    Document,
    /// Events until then.
    Events,
    /// At once, with an address where the answer will be.
    Async,
}

/// What a request's head asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) form: Form,
    pub(super) key: Option<IdempotencyKey>,
}

impl Ask {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Box<Problem>> {
        let form = match (prefers_async(headers), wants_events(headers)) {
            (false, false) => Form::Document,
            (false, true) => Form::Events,
            (true, false) => Form::Async,
            (true, true) => {
                let detail = "`Prefer: respond-async` is answered at once, and `Accept: text/event-stream` with \
                              events until the call ends: ask for one of them";
                return Err(Problem::bad_input(detail).into());
            }
        };
        Ok(Self { form, key: idempotency_key(headers)? })
    }
}

/// Whether the first preference of the name says so (RFC 7240, 2 and 4.1). Others are not known, and passed over.
fn prefers_async(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(PREFER_HEADER).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(items).any(|preference| {
        let name = preference.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(RESPOND_ASYNC)
    })
}

/// Whether events come before a JSON document in what is accepted (RFC 9110, 12.5.1), by weight, and then by place.
fn wants_events(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut events, mut document) = (None, None);
    for range in lines.flat_map(items) {
        let mut parts = range.split(';');
        let kind = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.trim().strip_prefix("q=")?.trim().parse::<f32>().ok());
        let weight = weight.unwrap_or(1.0);
        let found = match kind.as_str() {
            "text/event-stream" => &mut events,
            "application/json" | "application/*" | "*/*" => &mut document,
            _ => continue,
        };
        if found.is_none_or(|found| found < weight) {
            *found = Some(weight);
        }
    }
    // Of two that are as welcome, the document: clients that take both ask for events by name alone.
    events.is_some_and(|events| events > 0.0 && document.is_none_or(|document| document < events))
}

/// The members of a list, whose quoted texts may have commas.
fn items(line: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    line.split(move |character| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' => is_escaped = is_quoted,
            _ => {}
        }
        character == ',' && !is_quoted
    })
}

/// A String of RFC 9651, with no parameters (draft-ietf-httpapi-idempotency-key-header-07, 2.1).
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Box<Problem>> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refused = |why: &str| {
        let detail = format!("`Idempotency-Key` {why}; write \"…\" with 1 to 255 printable ASCII characters");
        Err(Problem::bad_input(detail).into())
    };
    if values.next().is_some() {
        return refused("is given twice");
    }
    match Parser::new(value.as_bytes()).parse::<Item>() {
        Ok(Item { bare_item: BareItem::String(key), params }) if params.is_empty() => {
            match key.as_str().parse() {
                Ok(key) => Ok(Some(key)),
                Err(_) => refused("is empty or too long"),
            }
        }
        Ok(_) => refused("is not a quoted string (RFC 9651), or has parameters"),
        Err(_) => refused("is not a quoted string (RFC 9651)"),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
            .collect()
    }

    fn form(lines: &[(&'static str, &'static str)]) -> Option<Form> {
        let mut all = HeaderMap::new();
        for (name, value) in lines {
            all.append(*name, HeaderValue::from_static(value));
        }
        Ask::of(&all).ok().map(|ask| ask.form)
    }

    #[test]
    fn a_preference_is_found_among_others_and_nothing_else_is_taken_for_it() {
        for value in [
            "respond-async",
            "Respond-Async",
            "wait=10, respond-async",
            "respond-async; foo=\"a,b\"",
            "a=\"x,\\\"y\", respond-async",
        ] {
            assert_eq!(form(&[("prefer", value)]), Some(Form::Async), "{value}");
        }
        for value in [
            "",
            "respond",
            "respond-asynchronously",
            "x=\"respond-async\"",
            "x=\"a, respond-async\"",
            "respond-async=0",
            "wait=10; respond-async",
        ] {
            assert_eq!(form(&[("prefer", value)]), Some(Form::Document), "{value}");
        }
        assert_eq!(form(&[("prefer", "wait=1"), ("prefer", "respond-async")]), Some(Form::Async));
    }

    #[test]
    fn events_are_for_who_likes_them_better_than_a_document() {
        for value in [
            "text/event-stream",
            "Text/Event-Stream",
            "text/event-stream, */*;q=0.5",
            "application/json;q=0.1, text/event-stream;q=0.2",
        ] {
            assert_eq!(form(&[("accept", value)]), Some(Form::Events), "{value}");
        }
        for value in [
            "*/*",
            "application/json",
            "application/json, text/event-stream",
            "text/event-stream;q=0",
            "text/event-stream;q=0.5, application/json",
            "text/plain",
        ] {
            assert_eq!(form(&[("accept", value)]), Some(Form::Document), "{value}");
        }
        assert_eq!(form(&[]), Some(Form::Document));
        assert_eq!(form(&[("accept", "text/event-stream"), ("prefer", "respond-async")]), None);
    }

    #[test]
    fn a_key_is_one_quoted_text() {
        let key = |value| idempotency_key(&headers(&[("idempotency-key", value)]));
        for (value, expected) in [
            ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("  \"a\"  ", "a"),
            (r#""say \"hi\" \\""#, r#"say "hi" \"#),
        ] {
            assert_eq!(key(value).expect("sound").expect("a key").as_str(), expected, "{value}");
        }
        for value in [
            "",
            "abc",
            "\"\"",
            "\"a",
            "a\"",
            "\"a\" b",
            "\"a\", \"b\"",
            "\"a\";p=1",
            "7",
            ":YQ==:",
            r#""a\n""#,
        ] {
            assert!(key(value).is_err(), "{value}");
        }
        assert!(idempotency_key(&HeaderMap::new()).expect("none").is_none());
        let mut twice = headers(&[("idempotency-key", "\"a\"")]);
        twice.append("idempotency-key", HeaderValue::from_static("\"a\""));
        assert!(idempotency_key(&twice).is_err());
        let long = format!("\"{}\"", "x".repeat(256));
        let mut too_long = HeaderMap::new();
        too_long.insert("idempotency-key", HeaderValue::from_str(&long).expect("valid"));
        assert!(idempotency_key(&too_long).is_err());
    }
}
