//! A record as an event of OCSF: class 6003, API Activity, with the profiles `ai_operation` and `security_control`.
//!
//! By OCSF 1.8.0 (Apache-2.0); a test holds each kind of record against its schema. The record itself is in `raw_data`, so
//! that nothing is lost in translation, and its hash can be proved.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::audit::index::FoundLine;
use crate::ids::hex;

/// The version of the schema.
const OCSF_VERSION: &str = "1.8.0";
const CLASS: u64 = 6003;

/// A record that was translated.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Translated {
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    /// The kind of the record.
    pub(super) event: String,
    /// OCSF's: 1 is informational, 4 high.
    pub(super) severity_id: u8,
    /// One line.
    pub(super) json: String,
}

/// Translates a record's line. `origin` names the log.
///
/// # Errors
/// If the line is no record.
pub(super) fn translate(line: &FoundLine, origin: &str) -> Result<Translated, String> {
    let unreadable = |error: String| format!("record {} can't be read: {error}", line.seq);
    let raw = std::str::from_utf8(&line.line).map_err(|error| unreadable(error.to_string()))?;
    let record: Map<String, Value> =
        serde_json::from_str(raw).map_err(|error| unreadable(error.to_string()))?;
    let record = Record(&record);
    let event = record.text("event").unwrap_or_default().to_owned();
    let time_text = record.text("time").unwrap_or_default();
    let time: Timestamp = time_text.parse().map_err(|_| unreadable("it has no time".to_owned()))?;
    let (activity_id, activity_name) = activity(&event);
    let severity_id = severity(&event, &record);
    let decision = record.decision(&event);
    let package = record.text("package");
    let call = record.text("call");
    let mut profiles = Vec::new();
    let mut out = json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "type_uid": CLASS * 100 + activity_id,
        "time": time.as_millisecond(),
        "severity_id": severity_id,
        "status_id": status(&event, &record),
        "actor": actor(&record),
        "api": api(&event, &record),
        "src_endpoint": { "svc_name": "portcullis", "name": record.text("tool").unwrap_or("host") },
        "raw_data": raw,
        "raw_data_hash": { "algorithm_id": 3, "algorithm": "SHA-256", "value": hex(&Sha256::digest(&line.line)) },
    });
    if let Some(detail) = record.text("error").or(record.text("message")).or(record.text("reason")) {
        out["status_detail"] = detail.into();
    }
    if let Some(subject) = record.text("subject").or(record.text("secret")).or(record.text("name")) {
        out["resources"] = json!([{ "name": subject, "type": record.text("interface").unwrap_or(&event) }]);
    }
    if let Some(nanoseconds) = record.number("duration_ns") {
        out["duration"] = (nanoseconds / 1_000_000).into();
    }
    if let (Some(package), Some(call)) = (package, call) {
        profiles.push("ai_operation");
        out["message_context"] = json!({
            "uid": call, "name": record.text("tool").unwrap_or_default(), "service": { "name": package },
            "ai_role_id": 3, "ai_role": "Tool",
        });
    }
    if let Some(decision) = decision {
        profiles.push("security_control");
        let is_denied = decision == "denied";
        out["action_id"] = if is_denied { 2.into() } else { 1.into() };
        out["disposition_id"] = if is_denied { 2.into() } else { 1.into() };
        out["is_alert"] = is_denied.into();
        if let Some(rule) = record.text("rule") {
            let revision = record.number("revision").unwrap_or_default().to_string();
            out["policy"] = json!({ "name": rule, "version": revision });
        }
    }
    if let Some(trace) = record.text("trace").and_then(|trace| trace.split('-').nth(1)) {
        profiles.push("trace");
        out["trace"] = json!({ "uid": trace });
    }
    out["metadata"] = json!({
        "version": OCSF_VERSION,
        "product": { "name": "Portcullis", "vendor_name": "Portcullis", "version": env!("CARGO_PKG_VERSION") },
        "profiles": profiles,
        // The same whenever the record is sent: who gets it twice can see that.
        "uid": format!("{origin}/{}", line.seq),
        "sequence": line.seq.0,
        "log_name": origin,
        "event_code": event,
        "original_time": time_text,
    });
    if let Some(call) = call {
        out["metadata"]["correlation_uid"] = call.into();
    }
    Ok(Translated { seq: line.seq.0, time, event, severity_id, json: out.to_string() })
}

/// The members of a record.
struct Record<'a>(&'a Map<String, Value>);

impl<'a> Record<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.0.get(key)?.as_str()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    fn decision(&self, event: &str) -> Option<&'a str> {
        match event {
            "call_denied" => Some("denied"),
            "call_admitted" => Some("allowed"),
            _ => self.text("decision"),
        }
    }
}

/// What OCSF calls it: a host call without an effect reads, an effect updates.
fn activity(event: &str) -> (u64, &'static str) {
    match event {
        "host_call" => (2, "Read"),
        "effect_attempted" | "effect_finished" => (3, "Update"),
        "package_added" | "principal_added" | "secret_set" | "api_key_created" => (1, "Create"),
        "package_removed" | "principal_removed" | "secret_removed" | "api_key_revoked" => (4, "Delete"),
        "grants_changed"
        | "package_approved"
        | "package_quarantined"
        | "package_released"
        | "host_frozen"
        | "host_thawed"
        | "quotas_set"
        | "api_key_rotated" => (3, "Update"),
        "call_admitted" | "call_denied" | "call_finished" | "call_cancelled" | "calls_refused" => {
            (99, "Execute tool")
        }
        _ => (99, "Host"),
    }
}

fn severity(event: &str, record: &Record<'_>) -> u8 {
    let outcome = record.text("outcome");
    match event {
        "secret_leak" | "outlet_lost" => 4,
        "outlet_alarm" if record.text("because") == Some("disagrees") => 4,
        "call_finished" if outcome == Some("host_fault") => 4,
        "call_denied"
        | "recovered"
        | "outlet_alarm"
        | "segments_alarm"
        | "artifact_refused"
        | "package_refused"
        | "package_quarantined"
        | "authentication_failed"
        | "calls_refused"
        | "host_frozen" => 3,
        _ if record.text("decision") == Some("denied") => 3,
        "call_finished" if outcome != Some("ok") => 2,
        _ => 1,
    }
}

/// 1 is success, 2 failure, 0 not known, or not yet.
fn status(event: &str, record: &Record<'_>) -> u8 {
    match record.text("outcome") {
        Some("ok") => 1,
        Some("unknown") => 0,
        Some(_) => 2,
        None => match event {
            "effect_attempted" | "call_admitted" | "secret_injected" | "recovered" => 0,
            "call_denied"
            | "package_refused"
            | "artifact_refused"
            | "secret_leak"
            | "outlet_alarm"
            | "outlet_lost"
            | "segments_alarm"
            | "authentication_failed" => 2,
            _ => 1,
        },
    }
}

fn actor(record: &Record<'_>) -> Value {
    let mut actor = json!({ "app_name": "portcullis" });
    if let Some(principal) = record.text("principal").or(record.text("by")) {
        actor["user"] = json!({ "name": principal, "uid": principal });
    }
    if let Some(parent) = record.text("parent") {
        actor["invoked_by"] = parent.into();
    }
    actor
}

fn api(event: &str, record: &Record<'_>) -> Value {
    let operation = match (record.text("interface"), record.text("function"), record.text("tool")) {
        (Some(interface), Some(function), _) => format!("{interface}#{function}"),
        (_, _, Some(tool)) if event.starts_with("call_") => format!("tools/call {tool}"),
        _ => event.to_owned(),
    };
    let mut api = json!({
        "operation": operation,
        "service": { "name": record.text("package").unwrap_or("portcullis") },
    });
    if let Some(call) = record.text("call") {
        api["request"] = json!({ "uid": call });
    }
    if let Some(outcome) = record.text("outcome") {
        api["response"] = json!({ "message": outcome });
        if let Some(status) = record.number("status") {
            api["response"]["code"] = status.into();
        }
        if let Some(error) = record.text("error") {
            api["response"]["error"] = error.into();
        }
    }
    api
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Sequence;

    /// The schema of class 6003 with its profiles, made of OCSF 1.8.0: every member that is not in it is an error.
    const SCHEMA: &str = include_str!("ocsf-6003.json");

    const CONTEXT: &str = r#""call":"01890a5d-ac96-774b-bcce-b302099a8057","principal":"ann","package":"p","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","tool":"t","revision":3,"parent":"01890a5d-ac96-774b-bcce-b302099a8058""#;

    fn of(event: &str, rest: &str) -> Translated {
        let line = format!(r#"{{"seq":7,"time":"2026-01-02T03:04:05.678901Z","event":"{event}",{rest}}}"#);
        let line = FoundLine { seq: Sequence(7), line: line.into_bytes() };
        translate(&line, "portcullis/0123").expect("a record")
    }

    #[test]
    fn each_kind_of_record_is_valid_by_the_schema_of_ocsf() {
        let schema: Value = serde_json::from_str(SCHEMA).expect("a schema");
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let host_call = r#""interface":"wasi:filesystem/types","function":"[method]descriptor.open-at","subject":"/p/\u001b]52;c;x\u0007\nevil","decision":"denied","rule":"no grant","outcome":"error","error":"access","duration_ns":5000000"#;
        for (event, rest, severity, activity) in [
            ("host_started", r#""version":"1","pid":3"#.to_owned(), 1, 99),
            ("host_stopped", r#""latest":"2026-01-02T03:04:05Z""#.to_owned(), 1, 99),
            ("recovered", r#""torn_bytes":3,"quarantine":null,"interrupted":[]"#.to_owned(), 3, 99),
            (
                "package_added",
                r#""package":"p","version":"1","digest":"sha256:00","bytes":9,"by":"root""#.to_owned(),
                1,
                1,
            ),
            ("package_refused", r#""digest":"sha256:00","reason":"no","by":"root""#.to_owned(), 3, 99),
            ("grants_changed", r#""revision":4,"granted":[1],"revoked":[],"by":"root""#.to_owned(), 1, 3),
            ("principal_added", r#""revision":4,"name":"ann","role":"agent","by":"root""#.to_owned(), 1, 1),
            ("secret_removed", r#""revision":4,"name":"github","by":"root""#.to_owned(), 1, 4),
            ("authentication_failed", r#""reason":"unknown","peer":"192.0.2.7","tries":3"#.to_owned(), 3, 99),
            ("host_frozen", r#""revision":4,"because":"x","by":"root""#.to_owned(), 3, 3),
            ("segments_alarm", r#""reason":"the disk is full""#.to_owned(), 3, 99),
            (
                "outlet_alarm",
                r#""name":"siem","kind":"ship","because":"lags","reason":"no""#.to_owned(),
                3,
                99,
            ),
            ("outlet_alarm", r#""name":"w","kind":"anchor","because":"disagrees""#.to_owned(), 4, 99),
            ("outlet_recovered", r#""name":"siem","kind":"ship""#.to_owned(), 1, 99),
            ("outlet_lost", r#""name":"siem","records":3,"through":6"#.to_owned(), 4, 99),
            (
                "call_denied",
                format!(r#"{CONTEXT},"denial":{{"reason":"not_approved","package":"p"}}"#),
                3,
                99,
            ),
            (
                "call_admitted",
                format!(
                    r#"{CONTEXT},"grants":[1],"argument_bytes":2,"trace":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01""#
                ),
                1,
                99,
            ),
            ("host_call", format!("{CONTEXT},{host_call}"), 3, 2),
            (
                "effect_attempted",
                format!(
                    r#"{CONTEXT},"interface":"i","function":"f","subject":"s","decision":"allowed","rule":"grant 1""#
                ),
                1,
                3,
            ),
            (
                "effect_finished",
                format!(r#"{CONTEXT},"attempt":6,"outcome":"ok","status":200,"duration_ns":1"#),
                1,
                3,
            ),
            (
                "secret_leak",
                format!(
                    r#"{CONTEXT},"secret":"github","found_as":"hex","place":"result","action":"redacted""#
                ),
                4,
                99,
            ),
            (
                "call_finished",
                format!(r#"{CONTEXT},"outcome":"tool_error","message":"no","records":3,"usage":{{}}"#),
                2,
                99,
            ),
            (
                "call_finished",
                format!(r#"{CONTEXT},"outcome":"host_fault","message":"no","records":3,"usage":{{}}"#),
                4,
                99,
            ),
        ] {
            let translated = of(event, &rest);
            let value: Value = serde_json::from_str(&translated.json).expect("JSON");
            let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{event}: {}", translated.json);
            assert_eq!(
                (translated.severity_id, &value["activity_id"]),
                (severity, &json!(activity)),
                "{event}"
            );
            assert!(!translated.json.contains('\n') && !translated.json.contains('\u{1b}'), "one clean line");
            assert!(value["raw_data"].as_str().is_some_and(|raw| raw.contains(event)));
        }
        // Otherwise the above shows nothing.
        let mut value: Value = serde_json::from_str(&of("host_started", r#""pid":3"#).json).expect("JSON");
        value["actor"] = json!({});
        assert!(!validator.is_valid(&value));
        value["actor"] = json!({ "app_name": "a" });
        assert!(validator.is_valid(&value));
        value["unknown"] = json!(1);
        assert!(!validator.is_valid(&value));
    }

    #[test]
    fn what_was_denied_says_so_to_a_siem() {
        let rest = format!(r#"{CONTEXT},"denial":{{"reason":"not_approved","package":"p"}}"#);
        let value: Value = serde_json::from_str(&of("call_denied", &rest).json).expect("JSON");
        assert_eq!(
            (&value["action_id"], &value["disposition_id"], &value["status_id"]),
            (&json!(2), &json!(2), &json!(2))
        );
        assert_eq!(value["metadata"]["uid"], "portcullis/0123/7");
        assert_eq!(value["actor"]["user"]["name"], "ann");
        let twin: Value = serde_json::from_str(&of("call_admitted", CONTEXT).json).expect("JSON");
        assert_eq!((&twin["action_id"], &twin["is_alert"]), (&json!(1), &json!(false)));
    }

    #[test]
    fn a_line_that_is_no_record_is_an_error() {
        for line in ["", "{}", "[]", "{\"seq\":1", "\u{0}"] {
            let line = FoundLine { seq: Sequence(1), line: line.as_bytes().to_vec() };
            assert!(translate(&line, "o").is_err());
        }
    }
}
