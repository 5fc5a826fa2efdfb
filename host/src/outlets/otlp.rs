//! OTLP over HTTP in JSON: the few messages that are sent.
//!
//! By `opentelemetry-proto` 1.x, `collector/logs/v1` and `collector/trace/v1` in the JSON of protobuf: 64-bit numbers are
//! texts, ids are hex. The official crates bring a second HTTP client; these messages are plain data.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::web::Web;

/// One log record.
pub(super) struct LogRecord {
    /// Nanoseconds since 1970.
    pub(super) time_ns: i128,
    pub(super) observed_ns: i128,
    /// Of OpenTelemetry's `SeverityNumber`, and its name.
    pub(super) severity: (u8, &'static str),
    pub(super) event: String,
    pub(super) body: String,
    pub(super) seq: u64,
}

/// The body of a request to `/v1/logs`.
pub(super) fn logs(records: Vec<LogRecord>) -> Bytes {
    let records: Vec<Value> = records
        .into_iter()
        .map(|record| {
            json!({
                "timeUnixNano": record.time_ns.to_string(),
                "observedTimeUnixNano": record.observed_ns.to_string(),
                "severityNumber": record.severity.0,
                "severityText": record.severity.1,
                "eventName": record.event,
                "body": { "stringValue": record.body },
                "attributes": [
                    { "key": "portcullis.seq", "value": { "intValue": record.seq.to_string() } },
                ],
            })
        })
        .collect();
    let document = json!({
        "resourceLogs": [{
            "resource": resource(),
            "scopeLogs": [{ "scope": { "name": "portcullis.audit" }, "logRecords": records }],
        }],
    });
    document.to_string().into()
}

/// The body of a request to `/v1/traces`.
pub(super) fn traces(spans: Vec<Value>) -> Bytes {
    let document = json!({
        "resourceSpans": [{
            "resource": resource(),
            "scopeSpans": [{ "scope": { "name": "portcullis.audit" }, "spans": spans }],
        }],
    });
    document.to_string().into()
}

fn resource() -> Value {
    json!({ "attributes": [
        { "key": "service.name", "value": { "stringValue": "portcullis" } },
        { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
    ]})
}

/// Sends one, and waits until it is taken. `Err` is worth another try, always: evidence is not thrown away because
/// a collector is set up wrongly.
pub(super) async fn send(web: &Web, body: Bytes) -> Result<(), String> {
    let (status, answer) = web.post("application/json", body).await?;
    if status != StatusCode::OK {
        return Err(format!("the collector answered {status}"));
    }
    // Those that it rejects it would reject again (OTLP, "partial success"): that is told, and not tried again.
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let rejected = partial.get("rejectedLogRecords").unwrap_or(&partial["rejectedSpans"]);
    let rejected = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or_default();
    if rejected > 0 {
        tracing::error!(rejected, "the collector rejected records, and will not have them");
    }
    Ok(())
}
