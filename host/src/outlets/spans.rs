//! Calls as spans of OpenTelemetry: one for each call, below it one for each effect. Made of records, when they end.
//!
//! Ids are made of the call's own, so that a span that is sent twice is the same span twice. The caller's `traceparent` is the
//! parent of its call; a call without one begins a trace of its own. Host calls without an effect are no spans: there can be a
//! hundred thousand in a call.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::audit::index::FoundLine;
use crate::ids::{CallId, Sequence, TraceParent, hex};

/// The most calls and attempts that are kept in mind; of what is forgotten, the span says less.
const KEPT_MAX: usize = 10_000;

/// What is known of calls and attempts that have not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    /// The trace of a call, and the span above it.
    calls: BTreeMap<CallId, Place>,
    /// What an attempt was.
    attempts: BTreeMap<Sequence, (String, Option<String>)>,
}

#[derive(Clone, Debug)]
struct Place {
    trace: String,
    parent: Option<String>,
}

/// What of a record makes a span.
#[derive(Deserialize)]
struct Record {
    time: Timestamp,
    event: String,
    call: Option<CallId>,
    parent: Option<CallId>,
    trace: Option<TraceParent>,
    principal: Option<String>,
    package: Option<String>,
    tool: Option<String>,
    interface: Option<String>,
    function: Option<String>,
    subject: Option<String>,
    attempt: Option<Sequence>,
    outcome: Option<String>,
    error: Option<String>,
    duration_ns: Option<u64>,
    usage: Option<Used>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Used {
    fuel: u64,
    wall_time_us: u64,
}

impl Spans {
    /// The span that ends with a record, if one does.
    ///
    /// # Errors
    /// If the line is no record.
    pub(super) fn of(&mut self, line: &FoundLine) -> Result<Option<Value>, String> {
        let record: Record = serde_json::from_slice(&line.line)
            .map_err(|error| format!("record {} can't be read: {error}", line.seq))?;
        let Some(call) = record.call else { return Ok(None) };
        Ok(match record.event.as_str() {
            "call_admitted" => {
                self.begin(call, &record);
                None
            }
            "effect_attempted" => {
                let name = format!(
                    "{}#{}",
                    record.interface.as_deref().unwrap_or_default(),
                    record.function.as_deref().unwrap_or_default()
                );
                self.attempts.insert(line.seq, (name, record.subject));
                if self.attempts.len() > KEPT_MAX {
                    self.attempts.pop_first();
                }
                None
            }
            "effect_finished" => Some(self.effect(call, line.seq, &record)),
            "call_finished" | "call_denied" => Some(self.call(call, &record)),
            _ => None,
        })
    }

    fn begin(&mut self, call: CallId, record: &Record) -> Place {
        if let Some(place) = self.calls.get(&call) {
            return place.clone();
        }
        let own = record.trace.as_ref().and_then(|trace| {
            let mut parts = trace.as_str().split('-').skip(1);
            Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
        });
        let place = match (record.parent, own) {
            (Some(parent), own) => {
                let known = self.calls.get(&parent).map(|place| place.trace.clone());
                let trace = known.or(own.map(|(trace, _)| trace)).unwrap_or_else(|| trace_of(parent));
                Place { trace, parent: Some(span_of(parent)) }
            }
            (None, Some((trace, parent))) => Place { trace, parent: Some(parent) },
            (None, None) => Place { trace: trace_of(call), parent: None },
        };
        self.calls.insert(call, place.clone());
        if self.calls.len() > KEPT_MAX {
            self.calls.pop_first();
        }
        place
    }

    fn call(&mut self, call: CallId, record: &Record) -> Value {
        let place = self.begin(call, record);
        self.calls.remove(&call);
        let used = record.usage.as_ref();
        let nanoseconds = used.map_or(0, |used| i128::from(used.wall_time_us) * 1_000);
        let tool = record.tool.as_deref().unwrap_or_default();
        let mut attributes = vec![
            text("gen_ai.operation.name", "execute_tool"),
            text("gen_ai.tool.name", tool),
            text("portcullis.package", record.package.as_deref().unwrap_or_default()),
            text("portcullis.call", &call.to_string()),
            text("portcullis.principal", record.principal.as_deref().unwrap_or_default()),
        ];
        if let Some(used) = used {
            attributes
                .push(json!({ "key": "portcullis.fuel", "value": { "intValue": used.fuel.to_string() } }));
        }
        let error = match record.outcome.as_deref() {
            Some("ok") => None,
            Some(outcome) => Some(outcome),
            None => Some("denied"),
        };
        let id = span_of(call);
        // The host serves it.
        span(record.time, nanoseconds, &place, &id, 2, &format!("tools/call {tool}"), attributes, error)
    }

    fn effect(&mut self, call: CallId, seq: Sequence, record: &Record) -> Value {
        let of_call = self.begin(call, record);
        let place = Place { trace: of_call.trace, parent: Some(span_of(call)) };
        let known = record.attempt.and_then(|attempt| self.attempts.remove(&attempt));
        let (name, subject) = known.unwrap_or_else(|| ("effect".to_owned(), None));
        let mut attributes = vec![text("portcullis.call", &call.to_string())];
        attributes.extend(subject.map(|subject| text("portcullis.subject", &subject)));
        let error = match record.outcome.as_deref() {
            Some("ok") | None => None,
            Some(outcome) => Some(record.error.as_deref().unwrap_or(outcome)),
        };
        let nanoseconds = i128::from(record.duration_ns.unwrap_or_default());
        let id = hash(format!("{call} {seq}").as_bytes(), 8);
        span(record.time, nanoseconds, &place, &id, 3, &name, attributes, error)
    }
}

#[expect(clippy::too_many_arguments, reason = "a span is its parts")]
fn span(
    end: Timestamp,
    nanoseconds: i128,
    place: &Place,
    id: &str,
    kind: u8,
    name: &str,
    mut attributes: Vec<Value>,
    error: Option<&str>,
) -> Value {
    let end = end.as_nanosecond();
    attributes.extend(error.map(|error| text("error.type", error)));
    let mut span = json!({
        "traceId": place.trace,
        "spanId": id,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": (end - nanoseconds).to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes,
        "status": if error.is_some() { json!({ "code": 2 }) } else { json!({}) },
    });
    if let Some(parent) = &place.parent {
        span["parentSpanId"] = parent.as_str().into();
    }
    span
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// The trace of a call that has no other: its id, which is as long.
fn trace_of(call: CallId) -> String {
    hex(call.as_bytes())
}

fn span_of(call: CallId) -> String {
    hash(call.to_string().as_bytes(), 8)
}

fn hash(bytes: &[u8], length: usize) -> String {
    hex(&Sha256::digest(bytes)[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const INNER: &str = "01890a5d-ac97-774b-bcce-b302099a8058";
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn fed(spans: &mut Spans, seq: u64, event: &str, call: &str, rest: &str) -> Option<Value> {
        let line = format!(
            r#"{{"seq":{seq},"time":"2026-01-02T03:04:05.5Z","event":"{event}","call":"{call}","principal":"ann","package":"p","tool":"t"{rest}}}"#
        );
        spans.of(&FoundLine { seq: Sequence(seq), line: line.into_bytes() }).expect("a record")
    }

    fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
        let attributes = span["attributes"].as_array().expect("a list");
        attributes.iter().find(|found| found["key"] == key)?["value"]["stringValue"].as_str()
    }

    #[test]
    fn a_call_its_effects_and_what_it_led_to_are_one_trace_below_the_callers_span() {
        let mut spans = Spans::default();
        let trace = format!(r#","trace":"{TRACE}""#);
        let nested = format!(r#"{trace},"parent":"{OUTER}""#);
        assert_eq!(fed(&mut spans, 1, "call_admitted", OUTER, &trace), None);
        let attempt =
            r#","interface":"wasi:http/outgoing-handler","function":"handle","subject":"GET https://a/""#;
        assert_eq!(fed(&mut spans, 2, "effect_attempted", OUTER, attempt), None);
        assert_eq!(fed(&mut spans, 3, "call_admitted", INNER, &nested), None);
        let inner = fed(
            &mut spans,
            4,
            "call_finished",
            INNER,
            &format!(r#"{nested},"outcome":"limit_reached","usage":{{"wall_time_us":1000}}"#),
        );
        let inner = inner.expect("a span");
        let effect = fed(
            &mut spans,
            5,
            "effect_finished",
            OUTER,
            r#","attempt":2,"outcome":"error","error":"timeout","duration_ns":2000000"#,
        );
        let effect = effect.expect("a span");
        let outer = fed(
            &mut spans,
            6,
            "call_finished",
            OUTER,
            &format!(r#"{trace},"outcome":"ok","usage":{{"wall_time_us":5000,"fuel":7}}"#),
        );
        let outer = outer.expect("a span");
        for span in [&inner, &effect, &outer] {
            assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(span["spanId"].as_str().map(str::len), Some(16));
        }
        assert_eq!(outer["parentSpanId"], "b7ad6b7169203331");
        assert_eq!((&inner["parentSpanId"], &effect["parentSpanId"]), (&outer["spanId"], &outer["spanId"]));
        assert_eq!(
            (&outer["name"], &effect["name"]),
            (&json!("tools/call t"), &json!("wasi:http/outgoing-handler#handle"))
        );
        assert_eq!(attribute(&outer, "gen_ai.operation.name"), Some("execute_tool"));
        assert_eq!((attribute(&outer, "error.type"), &outer["status"]), (None, &json!({})));
        assert_eq!(
            (attribute(&inner, "error.type"), &inner["status"]["code"]),
            (Some("limit_reached"), &json!(2))
        );
        assert_eq!(attribute(&effect, "error.type"), Some("timeout"));
        let time = |value: &Value| value.as_str().expect("text").parse::<i128>().expect("a number");
        assert_eq!(time(&outer["endTimeUnixNano"]) - time(&outer["startTimeUnixNano"]), 5_000_000);
        assert!(spans.calls.is_empty() && spans.attempts.is_empty());
    }

    #[test]
    fn without_a_caller_s_trace_a_call_begins_one_and_a_denied_one_is_an_error() {
        let mut spans = Spans::default();
        let denied = fed(&mut spans, 1, "call_denied", OUTER, "").expect("a span");
        assert_eq!((&denied["traceId"], denied.get("parentSpanId")), (&json!(OUTER.replace('-', "")), None));
        assert_eq!(attribute(&denied, "error.type"), Some("denied"));
        // Sent again after a restart that forgot everything, it is the same span.
        assert_eq!(fed(&mut Spans::default(), 1, "call_denied", OUTER, ""), Some(denied));
        assert_eq!(fed(&mut spans, 2, "host_call", OUTER, ""), None);
    }
}
