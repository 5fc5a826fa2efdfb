//! A call of a tool that asks for nothing but its answer, made without rmcp.
//!
//! rmcp serves each request by a service of its own, with four tasks and channels between them: that costs as much as
//! all else of a call over HTTP. A call needs none of them if it is of a revision before 2026-07-28 and has no `_meta`:
//! it hears of no progress, gets no handle in the place of an answer, and is told in one message. Everything else, and
//! whatever is not exactly as it should be, is for rmcp to answer: nothing is refused here.

use http::{HeaderMap, HeaderName, header};
use rmcp::model::{
    JsonObject, JsonRpcMessage, ProtocolVersion, RequestId, ServerJsonRpcMessage, ServerResult,
};
use serde_json::Value;

use super::McpServer;
use super::http::VERSION_HEADER;
use crate::gateway::CallControl;

/// The revisions of which such a call may be.
const REVISIONS: [ProtocolVersion; 4] = [
    ProtocolVersion::V_2024_11_05,
    ProtocolVersion::V_2025_03_26,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_11_25,
];

/// Such a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlainCall {
    pub(super) id: RequestId,
    name: String,
    arguments: JsonObject,
}

impl PlainCall {
    /// The call that a message is, if it is such a one; the message is empty then.
    pub(super) fn taken_from(message: &mut Value) -> Option<Self> {
        let members = message.as_object_mut()?;
        let is_call =
            members.len() == 4 && members.get("jsonrpc")? == "2.0" && members.get("method")? == "tools/call";
        let id = match members.get("id")? {
            Value::String(id) => RequestId::String(id.as_str().into()),
            Value::Number(id) => RequestId::Number(id.as_i64()?),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        let parameters = members.get_mut("params")?.as_object_mut()?;
        let are_all = match parameters.get("arguments") {
            Some(arguments) => parameters.len() == 2 && arguments.is_object(),
            None => parameters.len() == 1,
        };
        let name = parameters.get("name")?.as_str().filter(|_| is_call && are_all)?.to_owned();
        let arguments = match parameters.get_mut("arguments").map(Value::take) {
            Some(Value::Object(arguments)) => arguments,
            _ => JsonObject::new(),
        };
        Some(Self { id, name, arguments })
    }
}

/// Whether rmcp would take a message with these headers, and by a revision of [`REVISIONS`].
pub(super) fn are_plain(headers: &HeaderMap) -> bool {
    let Ok(Some(accepted)) = sole(headers, &header::ACCEPT) else { return false };
    let accepts = |kind: &str| accepted.split(',').any(|range| range.trim().eq_ignore_ascii_case(kind));
    let Ok(Some(kind)) = sole(headers, &header::CONTENT_TYPE) else { return false };
    let is_of_revision = match sole(headers, &VERSION_HEADER) {
        Ok(Some(version)) => REVISIONS.iter().any(|revision| revision.as_str() == version),
        // As of 2025-03-26, which had no such header.
        Ok(None) => true,
        Err(Several) => false,
    };
    // A parameter of a media range may hold a comma, and say that it is not taken.
    is_of_revision
        && !accepted.contains([';', '"'])
        && accepts("application/json")
        && accepts("text/event-stream")
        && kind.eq_ignore_ascii_case("application/json")
}

/// More than one value, or one that is not ASCII.
struct Several;

fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Several> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(Several),
    }
}

impl McpServer {
    /// Makes the call, and says how it ended, in the form of the revisions that it may be of.
    pub(super) async fn call_plainly(&self, call: PlainCall, control: CallControl) -> ServerJsonRpcMessage {
        let PlainCall { id, name, arguments } = call;
        let told = match self.call_of(&name, arguments, None) {
            // Boxed, as in `run`.
            Some(request) => {
                let ended = Box::pin(self.host.call_controlled(request, &control)).await;
                self.told(&name, ended)
            }
            None => self.unknown(&name),
        };
        match told {
            Ok(result) => {
                let mut result = ServerResult::CallToolResult(result);
                result.strip_result_type_for_legacy_peer();
                result.strip_non_object_output_for_legacy_peer();
                JsonRpcMessage::response(result, id)
            }
            Err(error) => JsonRpcMessage::error(error, Some(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(more: &Value) -> Value {
        let mut message = json!({
            "jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": { "name": "notes__add", "arguments": { "text": "x" } },
        });
        for (key, value) in more.as_object().expect("members") {
            message[key] = value.clone();
        }
        message
    }

    #[test]
    fn a_call_that_asks_for_its_answer_only_is_taken() {
        let call = PlainCall::taken_from(&mut message(&json!({}))).expect("it is one");
        let arguments = json!({ "text": "x" }).as_object().cloned().expect("an object");
        assert_eq!(call, PlainCall { id: RequestId::Number(7), name: "notes__add".to_owned(), arguments });
        let bare = json!({ "id": "a", "params": { "name": "notes__list" } });
        let call = PlainCall::taken_from(&mut message(&bare)).expect("it is one");
        let (id, name) = (RequestId::String("a".into()), "notes__list".to_owned());
        assert_eq!(call, PlainCall { id, name, arguments: JsonObject::new() });
    }

    #[test]
    fn whatever_else_a_message_has_or_lacks_it_is_left_as_it_was() {
        for more in [
            json!({ "jsonrpc": "1.0" }),
            json!({ "method": "tools/list" }),
            json!({ "id": null }),
            json!({ "id": 1.5 }),
            json!({ "id": u64::MAX }),
            json!({ "more": 1 }),
            json!({ "params": null }),
            json!({ "params": [] }),
            json!({ "params": { "arguments": {} } }),
            json!({ "params": { "name": 1 } }),
            json!({ "params": { "name": "x", "arguments": null } }),
            json!({ "params": { "name": "x", "arguments": [] } }),
            json!({ "params": { "name": "x", "_meta": {} } }),
            json!({ "params": { "name": "x", "arguments": {}, "_meta": { "progressToken": 1 } } }),
            json!({ "params": { "name": "x", "arguments": {}, "task": {} } }),
        ] {
            let mut left = message(&more);
            assert_eq!(PlainCall::taken_from(&mut left), None, "{more}");
            assert_eq!(left, message(&more), "it is rmcp's to answer");
        }
        for key in ["jsonrpc", "id", "method", "params"] {
            let mut left = message(&json!({}));
            left.as_object_mut().expect("an object").remove(key);
            assert_eq!(PlainCall::taken_from(&mut left), None, "without {key}");
        }
        assert_eq!(PlainCall::taken_from(&mut json!([])), None);
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("text")))
            .collect()
    }

    #[test]
    fn headers_that_rmcp_might_refuse_are_left_to_it() {
        let (both, json) =
            (("accept", "application/json, text/event-stream"), ("content-type", "application/json"));
        let version = |version| ("mcp-protocol-version", version);
        assert!(are_plain(&headers(&[both, json])));
        assert!(are_plain(&headers(&[both, json, version("2025-11-25")])));
        for refused in [
            vec![both],
            vec![json],
            vec![json, ("accept", "application/json")],
            vec![json, ("accept", "text/event-stream")],
            vec![json, ("accept", "*/*")],
            vec![json, ("accept", "application/json;q=0, text/event-stream")],
            vec![both, ("content-type", "text/plain")],
            vec![both, json, version("2026-07-28")],
            vec![both, json, version("2025-11-26")],
            vec![both, json, version("")],
        ] {
            assert!(!are_plain(&headers(&refused)), "{refused:?}");
        }
        for twice in ["accept", "content-type", "mcp-protocol-version"] {
            let mut headers = headers(&[both, json, version("2025-11-25")]);
            let value = headers[twice].clone();
            headers.append(twice, value);
            assert!(!are_plain(&headers), "{twice}");
        }
    }
}
